# From an SPI to its SA: open-addressed buckets, each the head of a chain in the order of the longest match.

from libc.stdint cimport int64_t, uint8_t, uint32_t

from ._bytes cimport raw32, raw64
from ._types cimport SA_DST_ANY, SA_IN_USE, SA_MATCH_SRC, SA_OUTBOUND, SA_V6, found_t, sa_t, table_t


cdef inline uint32_t spi_hash(uint32_t spi_be) noexcept nogil:
    """Its high bits are the ones to use."""
    return spi_be * <uint32_t> 0x9E3779B1U


cdef inline uint32_t bucket_of(const table_t *t, uint32_t spi_be) noexcept nogil:
    return spi_hash(spi_be) >> t.bucket_shift


cdef inline uint32_t chain_head(const table_t *t, uint32_t spi_be) noexcept nogil:
    """First SA with this SPI, index + 1, or 0."""
    cdef uint32_t at = bucket_of(t, spi_be)
    while t.buckets[at].head and t.buckets[at].spi_be != spi_be:
        at = (at + 1) & t.bucket_mask
    return t.buckets[at].head


cdef inline bint same_destination(const sa_t *sa, const found_t *at) noexcept nogil:
    if at.version == 4:
        return not (sa.flags & SA_V6) and raw32(sa.dst) == raw32(at.ip + 16)
    return (sa.flags & SA_V6) and raw64(sa.dst) == raw64(at.ip + 24) and raw64(sa.dst + 8) == raw64(at.ip + 32)


cdef inline bint same_source(const sa_t *sa, const found_t *at) noexcept nogil:
    """Of an SA and a packet of one family."""
    if at.version == 4:
        return raw32(sa.src) == raw32(at.ip + 12)
    return raw64(sa.src) == raw64(at.ip + 8) and raw64(sa.src + 8) == raw64(at.ip + 16)


cdef inline sa_t *choose(const table_t *t, uint32_t head, const found_t *at) noexcept nogil:
    """The first of the chain that fits, which is the longest match (RFC 4301 sec. 4.1), or NULL."""
    cdef sa_t *sa
    while head:
        sa = &t.sas[head - 1]
        if sa.flags & SA_OUTBOUND:
            return NULL
        if sa.proto == at.proto:
            if sa.flags & SA_DST_ANY:
                return sa
            if same_destination(sa, at) and (not sa.flags & SA_MATCH_SRC or same_source(sa, at)):
                return sa
        head = sa.next
    return NULL


cdef inline bint is_outbound(const table_t *t, int64_t handle) noexcept nogil:
    """Is the handle an outbound SA's?"""
    cdef uint32_t index = <uint32_t> handle - 1
    return (index < t.high_water and t.sas[index].handle == handle
            and (t.sas[index].flags & (SA_IN_USE | SA_OUTBOUND)) == SA_IN_USE | SA_OUTBOUND)


cdef inline bint is_bundle(const table_t *t, int64_t handle) noexcept nogil:
    """Is the handle a bundle's?"""
    cdef uint32_t index = <uint32_t> handle - 1
    return index < t.n_bundles and t.bundles[index].handle == handle and t.bundles[index].n
