from libc.stdint cimport int64_t, uint32_t, uint64_t

from ._nic cimport nic_t
from ._types cimport table_t, view_t

cdef enum:
    NDIS_STATUS_SUCCESS = 0
    NDIS_STATUS_FAILURE = 0xC0000001U

cdef void send_batch(table_t *t, nic_t *nic, view_t *batch, const int64_t *first, int64_t n, const uint64_t *oob,
                     uint32_t *status, bint raw, const int64_t *whole, bint cut) noexcept nogil
