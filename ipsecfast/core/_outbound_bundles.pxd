from libc.stdint cimport int64_t

from ._types cimport table_t, verdict_t, view_t

cdef void chunk_of_bundles(table_t *t, view_t *batch, verdict_t *out, int64_t start, int n) noexcept nogil
