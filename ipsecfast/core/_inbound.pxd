from libc.stdint cimport int64_t

from ._types cimport table_t, verdict_t, view_t, waiting_t

cdef void inbound_batch(table_t *t, view_t *batch, verdict_t *out) noexcept nogil
cdef void take_off_waiting(table_t *t, view_t *batch, verdict_t *out, waiting_t *waiting, int64_t n) noexcept nogil
