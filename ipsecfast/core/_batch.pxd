from ._types cimport view_t


cdef class PacketBatch:
    cdef view_t view
    cdef object _data           # what owns the memory
    cdef object _memory         # memoryview of it, which keeps it where it is
    cdef bint busy              # a call is at work on it


cdef PacketBatch new_batch(bytearray data, Py_ssize_t n)
