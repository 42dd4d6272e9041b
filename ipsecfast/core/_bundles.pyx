"""Bundles of outbound SAs."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc

from ._types cimport BUNDLE_BIT, bundle_t, table_t


cdef bint in_bundle(const bundle_t *bundle, uint32_t index) noexcept:
    cdef uint32_t r
    for r in range(bundle.n):
        if bundle.sa[r] == index:
            return True
    return False


cdef int64_t add_bundle(table_t *t, const bundle_t *wanted, list free_places) except 0:
    """Give a bundle of `wanted`'s SAs a place; returns its handle."""
    cdef bundle_t fresh = wanted[0]
    cdef bundle_t *grown
    cdef uint32_t index, r
    if free_places:
        index = free_places.pop()
        fresh.handle = t.bundles[index].handle + ((<int64_t> 1) << 32)
    else:
        index = t.n_bundles
        if not index & (index - 1):     # 0 or a power of two: the places are used up
            grown = <bundle_t *> realloc(t.bundles, (2 * <size_t> index + 1) * sizeof(bundle_t))
            if grown == NULL:
                raise MemoryError()
            t.bundles = grown
        t.n_bundles += 1
        fresh.handle = <int64_t> 1 << BUNDLE_BIT | <int64_t> (index + 1)
    t.bundles[index] = fresh
    for r in range(fresh.n):
        t.sas[fresh.sa[r]].n_bundles += 1
    return fresh.handle


cdef int delete_bundle(table_t *t, bundle_t *bundle, list free_places) except -1:
    cdef uint32_t r
    for r in range(bundle.n):
        t.sas[bundle.sa[r]].n_bundles -= 1
    bundle.n = 0
    if ((bundle.handle >> 32) & 0x3FFFFFFF) < 0x3FFFFFFF:
        free_places.append(<uint32_t> (bundle - t.bundles))
    return 0
