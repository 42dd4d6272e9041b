from ._types cimport view_t


cdef class PacketBatch:
    cdef view_t view
    cdef object _data           # what owns the memory
    cdef Py_buffer _buffer
    cdef bint _held
    cdef bint busy              # a call is at work on it
