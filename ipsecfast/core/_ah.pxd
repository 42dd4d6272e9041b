# The authentication header (RFC 4302) on one packet: what its ICV covers.
#
#   IP [options or extension headers] | next, length, 0, SPI, seq, [IV,] ICV, padding | payload [| seq_hi]
#      mutable fields as zeros                                      zeros
#
# The usual headers are changed in the packet itself for as long as the ICV is computed, and put back
# afterwards (`ah_restore`).  Others, and ESN where no room is left behind the packet, go by a copy.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._bytes cimport copy_icv, field16, field8, put_raw32, put_raw64, raw64
from ._types cimport CLASS_GMAC, found_t, op_t, sa_t, shape_t, work_t


cdef inline uint32_t ah_min_len(uint32_t iv_len, uint32_t icv_len) noexcept nogil:
    """Bytes of the AH header without padding to 8 (RFC 4302 sec. 2.2)."""
    return (12 + iv_len + icv_len + 3) & ~<uint32_t> 3


cdef inline uint32_t ah_len_for(uint32_t iv_len, uint32_t icv_len, uint32_t align) noexcept nogil:
    return (ah_min_len(iv_len, icv_len) + align - 1) & ~(align - 1)


cdef inline bint ah_len_fits(uint32_t ah_len, uint32_t iv_len, uint32_t icv_len, uint8_t version) noexcept nogil:
    """Is it a multiple of 4 (IPv4) or 8 with the least padding?  Linux sends 8 over IPv4 too."""
    cdef uint32_t least = ah_min_len(iv_len, icv_len)
    return ah_len == ah_len_for(iv_len, icv_len, 8) or (version == 4 and ah_len == least)


cdef inline uint32_t ah_len_of(const found_t *at) noexcept nogil:
    """What AH's length field says, in bytes (RFC 4302 sec. 2.2)."""
    return (<uint32_t> (at.esp - 4)[1] + 2) * 4


cdef inline bint ah_fits(const sa_t *sa, const shape_t *shape, const found_t *at) noexcept nogil:
    cdef uint32_t n = ah_len_of(at)
    return n <= at.esp_len + 4 and ah_len_fits(n, shape.iv_len, sa.icv_len, at.version)


cdef inline void cover4(uint8_t *ip, uint64_t first, uint64_t second) noexcept nogil:
    """Write a header's first 16 bytes without TOS, flags and offset, TTL, checksum."""
    put_raw64(ip, first & ~(field8(0xFF, 1) | field16(0xFFFF, 6)))
    put_raw64(ip + 8, second & ~(field8(0xFF, 0) | field16(0xFFFF, 2)))


cdef inline void usual_ah_ops(work_t *w, const sa_t *sa, const shape_t *shape, uint8_t *ip, uint32_t total,
                              uint8_t *icv, uint64_t first, uint64_t second, uint64_t iv) noexcept nogil:
    """`ah_ops` for a SA_USUAL behind a header without options, which begins with `first` and `second`.

    icv : where the ICV goes, or is compared with; in the packet there are zeros.  iv : GMAC's, as it stands in memory.
    """
    cdef op_t *op = &w.cipher
    w.in_place = True
    put_raw64(w.header, first)
    put_raw64(w.header + 8, second)
    cover4(ip, first, second)
    w.icv = icv
    w.hi = NULL
    if shape.kind == CLASS_GMAC:
        w.mac.good = 1
        put_raw32(w.nonce, sa.salt)
        put_raw64(w.nonce + 4, iv)
        op.key = sa.key
        op.nonce = w.nonce
        op.text = ip
        op.text_len = total
        op.aad_len = 0
        op.tag = icv
        op.tag_len = sa.icv_len
        return
    op.good = 1
    w.mac.key = sa.key + shape.mac_ofs
    w.mac.text = ip
    w.mac.text_len = total
    w.mac.tag = w.tag
    w.mac.tag_len = shape.mac_len


cdef bint ah_coverable(uint8_t *scratch, const sa_t *sa, const uint8_t *ip, uint32_t hdr_len, bint v4) noexcept nogil
cdef bint ah_ops(work_t *w, const sa_t *sa, const shape_t *shape, const uint8_t *limit, uint8_t *scratch,
                 uint64_t iv, bint seal) noexcept nogil


cdef inline void ah_restore(work_t *w, uint32_t iv_len, bint seal) noexcept nogil:
    """Put back what the ICV did not see; the ICV itself too unless it is a new one."""
    if not w.in_place:
        return
    put_raw64(w.at.ip, raw64(w.header))
    put_raw64(w.at.ip + 8, raw64(w.header + 8))
    if not seal:
        copy_icv(w.at.esp + 8 + iv_len, w.ah_icv, w.sa.icv_len)
