from libc.stdint cimport int64_t, uint8_t

from ._types cimport table_t, verdict_t, view_t

cdef void outbound_batch(table_t *t, view_t *batch, verdict_t *out, const uint8_t *ivs, int64_t iv_stride,
                         bint bundles) noexcept nogil
