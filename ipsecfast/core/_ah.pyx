"""AH's ICV coverage (RFC 4302 sec. 3.3.3, appendix A): mutable fields, options, extension headers.

One packet at a time, whose headers `ip_parse` has gone over.  No windows, no lookup.  Every walk
advances and is bounded by the header that it is in.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from ._bytes cimport (
    be16, copy_icv, put_be16, put_be32, put_raw32, put_raw64, raw32, raw64, zero_icv,
)
from ._types cimport CLASS_GMAC, SA_DST_ANY, SA_ESN, SA_V6, op_t, sa_t, shape_t, work_t

cdef enum:
    OPT_EOL = 0
    OPT_NOP = 1
    OPT_SECURITY = 130
    OPT_LSRR = 131
    OPT_EXT_SECURITY = 133
    OPT_COMMERCIAL_SECURITY = 134
    OPT_SSRR = 137
    OPT_ROUTER_ALERT = 148
    OPT_SENDER_DIRECTED = 149
    OPT6_PAD1 = 0
    OPT6_MUTABLE = 0x20
    HDR_ROUTING = 43
    HDR_FRAGMENT = 44


cdef inline void cover6(uint8_t *ip) noexcept nogil:
    """Traffic class, flow label, hop limit."""
    put_be32(ip, <uint32_t> 0x60000000)
    ip[7] = 0


cdef bint cover_options4(uint8_t *ip, uint32_t hdr_len, bint arrived) noexcept nogil:
    """Zero every option that may change on the way (RFC 4302 A1); False where one does not fit.

    Under a source route that is not used up the destination counts as it will be on arrival, unless it is the
    SA's already.
    """
    cdef uint32_t at = 20, n
    cdef uint8_t kind
    while at < hdr_len:
        kind = ip[at]
        if kind == OPT_EOL:
            break
        if kind == OPT_NOP:
            at += 1
            continue
        if hdr_len - at < 2:
            return False
        n = ip[at + 1]
        if n < 2 or n > hdr_len - at:
            return False
        if (kind == OPT_LSRR or kind == OPT_SSRR) and n >= 7 and ip[at + 2] <= n and not arrived:
            memcpy(ip + 16, ip + at + n - 4, 4)
        if not (kind == OPT_SECURITY or kind == OPT_EXT_SECURITY or kind == OPT_COMMERCIAL_SECURITY
                or kind == OPT_ROUTER_ALERT or kind == OPT_SENDER_DIRECTED):
            memset(ip + at, 0, n)
        at += n
    return True


cdef bint cover_options6(uint8_t *header, uint32_t n) noexcept nogil:
    """Zero the data of options whose type says that it may change (RFC 8200 sec. 4.2)."""
    cdef uint32_t at = 2, data
    while at < n:
        if header[at] == OPT6_PAD1:
            at += 1
            continue
        if n - at < 2:
            return False
        data = header[at + 1]
        if data > n - at - 2:
            return False
        if header[at] & OPT6_MUTABLE:
            memset(header + at + 2, 0, data)
        at += 2 + data
    return True


cdef bint cover_routing(uint8_t *ip, uint8_t *header, uint32_t n) noexcept nogil:
    """A routing header as it will look on arrival; False where that can't be foretold."""
    cdef uint32_t left = header[3], hops = (n - 8) // 16
    cdef uint8_t *addresses = header + 8
    cdef uint8_t last[16]
    if left == 0:
        return True
    if (header[2] != 0 and header[2] != 2) or (n - 8) & 15 or left > hops:
        return False
    memcpy(last, addresses + (hops - 1) * 16, 16)
    memmove(addresses + (hops - left + 1) * 16, addresses + (hops - left) * 16, (left - 1) * 16)
    memcpy(addresses + (hops - left) * 16, ip + 24, 16)
    memcpy(ip + 24, last, 16)
    header[3] = 0
    return True


cdef uint32_t copy_headers(uint8_t *to, const sa_t *sa, const uint8_t *ip, uint32_t hdr_len, bint v4) noexcept nogil:
    """Copy what stands in front of AH as the ICV sees it; returns its length there, 0 if an option does not fit.

    A fragment header is left out: fragmentation comes after AH (RFC 4302 sec. 3.3.4).
    """
    cdef uint32_t at = 40, n = 40, step, link = 6
    cdef uint8_t proto
    cdef bint good, arrived
    if v4:
        memcpy(to, ip, hdr_len)
        cover4(to, raw64(ip), raw64(ip + 8))
        arrived = not sa.flags & (SA_DST_ANY | SA_V6) and raw32(sa.dst) == raw32(ip + 16)
        return hdr_len if cover_options4(to, hdr_len, arrived) else 0
    memcpy(to, ip, 40)
    cover6(to)
    proto = ip[6]
    while at < hdr_len:
        step = 8 if proto == HDR_FRAGMENT else (<uint32_t> ip[at + 1] + 1) * 8
        if step > hdr_len - at:
            return 0                    # somebody has written there since `ip_parse`
        if proto != HDR_FRAGMENT:
            memcpy(to + n, ip + at, step)
            good = cover_routing(to, to + n, step) if proto == HDR_ROUTING else cover_options6(to + n, step)
            if not good:
                return 0
            link = n
            n += step
        proto = ip[at]
        to[link] = proto
        at += step
    put_be16(to + 4, <uint16_t> (be16(ip + 4) - (hdr_len - n)))
    return n


cdef bint ah_coverable(uint8_t *scratch, const sa_t *sa, const uint8_t *ip, uint32_t hdr_len, bint v4) noexcept nogil:
    """Can the ICV's view of these headers be made?  `scratch` has room for them."""
    return copy_headers(scratch, sa, ip, hdr_len, v4) != 0


cdef bint ah_ops(work_t *w, const sa_t *sa, const shape_t *shape, const uint8_t *limit, uint8_t *scratch,
                 uint64_t iv, bint seal) noexcept nogil:
    """Fill w.cipher or w.mac for the AH packet at w.at, whose headers must be in place; w.seq is its number.

    limit : end of the memory that belongs to the packet.  iv : GMAC's, as it stands in memory; outbound not read from
        there, where somebody might have written since.
    False: a header can't be covered; nothing was written.  Else `ah_restore` must follow the crypto.
    """
    cdef uint8_t *ip = w.at.ip
    cdef uint8_t *ah = w.at.esp - 4
    cdef uint8_t *icv = ah + 12 + shape.iv_len
    cdef uint8_t *text = ip
    cdef uint32_t covered = w.at.total, icv_len = sa.icv_len, hdr_len = w.at.hdr_len, n
    cdef bint esn = (sa.flags & SA_ESN) != 0, tail = esn and shape.kind != CLASS_GMAC, v4 = w.at.version == 4
    w.icv = icv
    w.in_place = hdr_len == (20 if v4 else 40) and not (tail and limit - (ip + covered) < 4)
    if w.in_place:
        put_raw64(w.header, raw64(ip))
        put_raw64(w.header + 8, raw64(ip + 8))
        if v4:
            cover4(ip, raw64(ip), raw64(ip + 8))
        else:
            cover6(ip)
        if not seal:
            copy_icv(w.ah_icv, icv, icv_len)
            w.icv = w.ah_icv
        zero_icv(icv, icv_len)
    else:
        n = copy_headers(scratch, sa, ip, hdr_len, v4)
        if n == 0:
            return False
        memcpy(scratch + n, ah, covered - hdr_len)
        memset(scratch + n + (icv - ah), 0, icv_len)
        text = scratch
        covered -= hdr_len - n
    w.hi = text + covered if tail else NULL
    if shape.kind == CLASS_GMAC:
        w.mac.good = 1
        cover_gmac(w, sa, text, covered, iv, icv_len, esn)
        return True
    w.cipher.good = 1
    w.mac.key = sa.key + shape.mac_ofs
    w.mac.text = text
    w.mac.text_len = covered + (4 if tail else 0)
    w.mac.tag = w.tag
    w.mac.tag_len = shape.mac_len
    return True


cdef inline void cover_gmac(work_t *w, const sa_t *sa, uint8_t *text, uint32_t covered, uint64_t iv,
                            uint32_t icv_len, bint esn) noexcept nogil:
    """RFC 4543 sec. 4: IV and ICV share AH's ICV field; the nonce is salt, then IV."""
    cdef op_t *op = &w.cipher
    put_raw32(w.nonce, sa.salt)
    put_raw64(w.nonce + 4, iv)
    op.key = sa.key
    op.nonce = w.nonce
    op.aad = text
    op.aad_len = 0
    op.text = text
    op.text_len = covered
    op.tag = w.icv
    op.tag_len = icv_len
    if esn:
        op.aad_len = covered
        op.text = w.aad
        op.text_len = 4
        put_be32(w.aad, <uint32_t> (w.seq >> 32))
