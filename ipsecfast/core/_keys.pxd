# The part of a SAD that binds algorithms to providers and keeps keyed states.

from libc.stdint cimport uint8_t, uint32_t

from ._crypto cimport Provider
from ._types cimport provider_t, sa_t, table_t


cdef class Context:
    cdef const provider_t *table    # the provider object itself may be gone before __dealloc__; its table never is
    cdef void *ctx


cdef class KeyStore:
    cdef table_t table
    cdef object _choose             # what names the providers of an algorithm
    cdef dict _contexts             # Provider -> its scratch
    cdef dict _suites               # (encryption code, authentication code) -> suite number
    cdef list choices               # by suite number: who serves it
    cdef void *_blocks              # keyed states' memory, a list through their first words
    cdef dict _free_states          # state size -> addresses
    cdef Py_ssize_t _count          # SAs


cdef void *context_of(dict contexts, Provider provider) except NULL
cdef int suite_of(KeyStore self, sa) except -1
cdef int key_states(KeyStore self, sa_t *s, sa, bytes enc_key, bytes auth_key, bint outbound) except -1
cdef int drop_states(KeyStore self, sa_t *s) except -1
cdef void release_states(table_t *t, sa_t *s) noexcept
