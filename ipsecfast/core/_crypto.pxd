from libc.stdint cimport uint8_t, uint32_t

from ._types cimport provider_t


cdef class Provider:
    cdef const provider_t *table
    cdef void *ctx              # for calls one at a time; made when first needed, lives as long as the process
    cdef readonly str name, version, cpu_path

    cdef void attach(self, const provider_t *table, str name, str version, str cpu_path)
