"""Bundles of outbound SAs, and the trees of SAs that must stay in one thread."""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc

from ._lookup cimport root_of
from ._types cimport BUNDLE_BIT, bundle_t, sa_t, table_t


cdef bint in_bundle(const bundle_t *bundle, uint32_t index) noexcept:
    cdef uint32_t r
    for r in range(bundle.n):
        if bundle.sa[r] == index:
            return True
    return False


cdef int64_t add_bundle(table_t *t, const bundle_t *wanted, list free_places) except 0:
    """Give a bundle of `wanted`'s SAs a place, and join their trees; returns its handle."""
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
    join(t, &fresh)
    for r in range(fresh.n):
        t.sas[fresh.sa[r]].n_bundles += 1
    return fresh.handle


cdef void join(table_t *t, const bundle_t *bundle) noexcept:
    """SAs of one bundle must go to one thread, for their numbers are taken together."""
    cdef sa_t *root = <sa_t *> root_of(t, &t.sas[bundle.sa[0]])
    cdef sa_t *other
    cdef uint32_t i
    for i in range(1, bundle.n):
        other = <sa_t *> root_of(t, &t.sas[bundle.sa[i]])
        if other != root:
            other.parent = <uint32_t> (root - t.sas) + 1
            t.n_joined += 1


cdef void regrow(table_t *t) noexcept:
    """After deletions, make the trees anew of the bundles that are left; inbound ones grow again by themselves."""
    cdef uint32_t i
    if t.left and t.n_joined:
        for i in range(t.high_water):
            t.sas[i].parent = 0
        t.n_joined = 0
        for i in range(t.n_bundles):
            if t.bundles[i].n:
                join(t, &t.bundles[i])
    t.left = False


cdef int delete_bundle(table_t *t, bundle_t *bundle, list free_places) except -1:
    cdef uint32_t r
    for r in range(bundle.n):
        t.sas[bundle.sa[r]].n_bundles -= 1
    bundle.n = 0
    t.left = True
    if ((bundle.handle >> 32) & 0x3FFFFFFF) < 0x3FFFFFFF:
        free_places.append(<uint32_t> (bundle - t.bundles))
    return 0
