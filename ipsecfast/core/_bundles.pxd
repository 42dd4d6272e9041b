# Bundles of outbound SAs.

from libc.stdint cimport int64_t, uint32_t

from ._types cimport bundle_t, table_t

cdef bint in_bundle(const bundle_t *bundle, uint32_t index) noexcept
cdef int64_t add_bundle(table_t *t, const bundle_t *wanted, list free_places) except 0
cdef int delete_bundle(table_t *t, bundle_t *bundle, list free_places) except -1
