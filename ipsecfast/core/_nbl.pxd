from libc.stdint cimport int64_t, uint64_t

from ._batch cimport PacketBatch


cdef class NblArrays:
    cdef readonly PacketBatch frames
    cdef readonly object oob          # uint64[5, n], whose memory is `words`
    cdef uint64_t[:, ::1] held
    cdef uint64_t *words
    cdef int64_t *starts              # int64[n + 1], or NULL: one frame each
    cdef Py_ssize_t n                 # lists
    cdef bint raw                     # frames begin with the IP header
