from libc.stdint cimport int64_t, uint32_t, uint64_t

from ._nic cimport nic_t
from ._nic_lso cimport cutting_t
from ._types cimport table_t, view_t

cdef void send_batch(table_t *t, nic_t *nic, view_t *batch, const int64_t *first, int64_t n, const uint64_t *oob,
                     uint32_t *status, bint raw, cutting_t *cutting) noexcept nogil
