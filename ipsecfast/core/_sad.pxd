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


cdef unsigned fork_count() noexcept
