from ._types cimport table_t, verdict_t, view_t

cdef void inbound_batch(table_t *t, view_t *batch, verdict_t *out) noexcept nogil
