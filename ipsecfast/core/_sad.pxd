from libc.stdint cimport int64_t, uint8_t, uint32_t

from ._crypto cimport Provider
from ._types cimport bundle_t, provider_t, sa_t, table_t


cdef class Context:
    cdef const provider_t *table    # the provider object itself may be gone before __dealloc__; its table never is
    cdef void *ctx


cdef class CoreSAD:
    cdef table_t table
    cdef readonly object slow       # the pure Python datapath, where there is no library; else None
    cdef readonly Py_ssize_t capacity
    cdef object _choose             # what names the providers of an algorithm
    cdef dict _contexts             # Provider -> its scratch
    cdef dict _suites               # (encryption code, authentication code) -> suite number
    cdef list choices               # by suite number: who serves it
    cdef object lanes               # what further threads need, once there were some
    cdef dict _ports                # UDP port -> SAs that use it
    cdef void *_blocks              # keyed states' memory, a list through their first words
    cdef dict _free_states          # state size -> addresses
    cdef list _free                 # indexes of deleted SAs
    cdef list _free_bundles         # and bundles
    cdef Py_ssize_t _count
    cdef unsigned _born             # the process it belongs to
    cdef bint busy                  # a call is at work on it

    cdef int enter(self) except -1
    cdef void leave(self) noexcept
    cdef sa_t *find(self, object which) except NULL
    cdef bundle_t *find_bundle(self, object number) noexcept


cdef class Mould:
    cdef sa_t sa                    # without SPI, addresses and keys
    cdef object like                # the SecurityAssociation, for its algorithms
    cdef bint ah_only


cdef Mould mould_of(CoreSAD self, sa, bint outbound)
cdef sa_t *cast_sa(CoreSAD self, Mould mould, uint32_t spi, bytes src, bytes dst, bint match_src, bytes enc_key,
                   bytes salt, bytes auth_key) except NULL
cdef object delete_sa(CoreSAD self, int64_t handle)
cdef void *context_of(dict contexts, Provider provider) except NULL
cdef uint8_t *new_scratch() except NULL
cdef void free_scratch(uint8_t *memory) noexcept
cdef unsigned fork_count() noexcept
cdef void regrow(table_t *t) noexcept
