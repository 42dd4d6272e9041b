from libc.stdint cimport int64_t, uint8_t, uint64_t

from ._types cimport MAX_LAYERS, sa_t, table_t, verdict_t, view_t

# One packet on its way through the layers of a bundle
cdef struct climb_t:
    sa_t *sa[MAX_LAYERS]      # the innermost first
    uint64_t seq[MAX_LAYERS]
    uint8_t *ip
    int64_t length
    int n
    int failed                # layer, counted from the outermost
    uint8_t status

cdef void climb_from(const table_t *t, const view_t *batch, int64_t i, int64_t handle, climb_t *c) noexcept nogil
cdef uint8_t fits(table_t *t, const view_t *batch, int64_t i, climb_t *c) noexcept nogil
cdef void chunk_of_bundles(table_t *t, view_t *batch, verdict_t *out, int64_t start, int n) noexcept nogil
