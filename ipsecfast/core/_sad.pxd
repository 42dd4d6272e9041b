from libc.stdint cimport int64_t, uint32_t

from ._keys cimport KeyStore
from ._types cimport bundle_t, sa_t


cdef class CoreSAD(KeyStore):
    cdef readonly object slow       # the pure Python datapath, where there is no library; else None
    cdef readonly Py_ssize_t capacity
    cdef object lanes               # what further threads need, once there were some
    cdef dict _ports                # UDP port -> SAs that use it
    cdef list _free                 # indexes of deleted SAs
    cdef list _free_bundles         # and bundles
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
cdef unsigned fork_count() noexcept
