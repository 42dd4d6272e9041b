"""Open-addressed buckets of SPIs, each the head of a chain of SAs in the order of the longest match."""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from ._lookup cimport bucket_of
from ._types cimport SA_DST_ANY, SA_MATCH_SRC, SA_OUTBOUND, SA_V6, sa_t, table_t


cdef bint is_duplicate(const table_t *t, const sa_t *s) noexcept:
    cdef uint32_t at = bucket_of(t, s.spi_be), head
    cdef const sa_t *other
    cdef uint32_t what = SA_OUTBOUND | SA_MATCH_SRC | SA_DST_ANY | (0 if s.flags & SA_DST_ANY else SA_V6)
    while t.buckets[at].head and t.buckets[at].spi_be != s.spi_be:
        at = (at + 1) & t.bucket_mask
    head = t.buckets[at].head
    while head:
        other = &t.sas[head - 1]
        if (other.proto == s.proto and (other.flags & what) == (s.flags & what) and memcmp(other.dst, s.dst, 16) == 0
                and (not s.flags & SA_MATCH_SRC or memcmp(other.src, s.src, 16) == 0)):
            return True
        head = other.next
    return False


cdef int rank_of(const sa_t *s) noexcept:
    """Where it belongs in its SPI's chain: longest match first (RFC 4301 sec. 4.1), outbound SAs last."""
    if s.flags & SA_OUTBOUND:
        return 3
    return 2 if s.flags & SA_DST_ANY else 0 if s.flags & SA_MATCH_SRC else 1


cdef void put_in_chain(table_t *t, uint32_t index) noexcept:
    """Put an SA into its SPI's chain, in front of those of its own rank."""
    cdef sa_t *s = &t.sas[index]
    cdef uint32_t at = bucket_of(t, s.spi_be)
    cdef uint32_t *link
    cdef int rank = rank_of(s)
    while t.buckets[at].head and t.buckets[at].spi_be != s.spi_be:
        at = (at + 1) & t.bucket_mask
    t.buckets[at].spi_be = s.spi_be
    link = &t.buckets[at].head
    while link[0] and rank_of(&t.sas[link[0] - 1]) < rank:
        link = &t.sas[link[0] - 1].next
    s.next = link[0]
    link[0] = index + 1


cdef void take_from_chain(table_t *t, uint32_t index) noexcept:
    cdef sa_t *s = &t.sas[index]
    cdef uint32_t at = bucket_of(t, s.spi_be)
    cdef uint32_t gap, home
    cdef uint32_t *link
    while t.buckets[at].spi_be != s.spi_be:
        at = (at + 1) & t.bucket_mask
    link = &t.buckets[at].head
    while link[0] != index + 1:
        link = &t.sas[link[0] - 1].next
    link[0] = s.next
    if t.buckets[at].head:
        return
    # the bucket is empty: move up those behind it that were displaced past it
    gap = at
    while True:
        at = (at + 1) & t.bucket_mask
        if not t.buckets[at].head:
            break
        home = bucket_of(t, t.buckets[at].spi_be)
        if ((at - home) & t.bucket_mask) >= ((at - gap) & t.bucket_mask):
            t.buckets[gap] = t.buckets[at]
            gap = at
    t.buckets[gap].head = 0
    t.buckets[gap].spi_be = 0
