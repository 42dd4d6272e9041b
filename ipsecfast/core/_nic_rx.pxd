from libc.stdint cimport uint64_t

from ._nic cimport nic_t
from ._types cimport table_t, view_t

cdef void receive_batch(table_t *t, nic_t *nic, view_t *batch, uint64_t *oob, bint raw) noexcept nogil
