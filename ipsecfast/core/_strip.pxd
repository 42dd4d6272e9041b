# Taking ESP and AH off an authenticated packet: padding, tunnels, what remains and whether a layer may follow.
#
# Transport mode:                           tunnel mode:
#    IP | UDP? | SPI seq IV | data | trailer | ICV    IP | UDP? | SPI seq IV | IP data | TFC | trailer | ICV
#                        IP | data                                           | IP data

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from ._ah cimport ah_len_of
from ._bytes cimport be16
from ._ip cimport ip4_move, ip6_move, ip_set_tos, ip_tos, is_walked
from ._locate cimport carries_esp
from ._trailer cimport padding_counts
from ._types cimport (
    IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_IPV4_, IPPROTO_IPV6_, IPPROTO_NONE_, IPPROTO_UDP_, MAX_KEPT,
    SA_ANY_MODE, SA_DECAP_DSCP, SA_ECN, SA_STRICT_PADDING, SA_TUNNEL, ST_DUMMY, ST_ECN, ST_MALFORMED, ST_OK,
    found_t, outer_t, sa_t, table_t,
)

cdef enum:
    ECN_MASK = 3
    ECN_CE = 3
    ECN_ECT1 = 1
    ECN_ECT0 = 2

# What stripping leaves
cdef struct stripped_t:
    uint8_t *packet
    uint32_t length
    bint leads_on             # a further layer may follow
    outer_t *kept             # where to keep what is in front of the outermost layer; NULL for others


cdef inline uint8_t merge_tos(const sa_t *sa, const uint8_t *outer, uint8_t *inner) noexcept nogil:
    """RFC 6040 sec. 4.2 (ECN) and RFC 4301 sec. 5.1.2 (DSCP) on the way out of a tunnel."""
    cdef uint8_t mark_out = ip_tos(outer), tos = ip_tos(inner), ecn = tos & ECN_MASK
    if sa.flags & SA_ECN:
        if (mark_out & ECN_MASK) == ECN_CE:
            if ecn == 0:
                return ST_ECN
            ecn = ECN_CE
        elif (mark_out & ECN_MASK) == ECN_ECT1 and ecn == ECN_ECT0:
            ecn = ECN_ECT1
    if sa.flags & SA_DECAP_DSCP:
        tos = mark_out
    ip_set_tos(inner, (tos & ~ECN_MASK) | ecn)
    return ST_OK


cdef inline uint8_t strip_tunnel(const sa_t *sa, const uint8_t *outer, uint8_t *inner, uint32_t there,
                                 uint8_t next_header, uint32_t *length, uint32_t *hdr_len) noexcept nogil:
    """Uncover the inner packet; TFC padding is what lies behind its own length (RFC 4303 sec. 2.7)."""
    cdef uint32_t n, hdr
    if next_header == IPPROTO_IPV4_:
        if there < 20 or inner[0] >> 4 != 4:
            return ST_MALFORMED
        hdr = (inner[0] & 15) * 4
        n = be16(inner + 2)
        if hdr < 20 or n < hdr or n > there:
            return ST_MALFORMED
    else:
        if there < 40 or inner[0] >> 4 != 6:
            return ST_MALFORMED
        hdr = 40
        n = 40 + <uint32_t> be16(inner + 4)
        if n > there:
            return ST_MALFORMED
    length[0] = n
    hdr_len[0] = hdr
    if sa.flags & (SA_ECN | SA_DECAP_DSCP):
        return merge_tos(sa, outer, inner)
    return ST_OK


cdef inline uint8_t *strip_transport(const found_t *at, uint8_t *data, uint32_t n, uint8_t next_header) noexcept nogil:
    """Move the IP header up to its payload and mend it; returns where it is now."""
    cdef uint8_t *ip = data - at.hdr_len
    if at.version == 4:
        ip4_move(ip, at.ip, at.hdr_len, at.hdr_len + n, next_header)
    else:
        ip6_move(ip, at.ip, at.hdr_len, at.hdr_len + n, at.next_ofs, next_header)
    return ip


cdef inline bint leads_on(const table_t *t, uint8_t proto, const uint8_t *payload, uint32_t n) noexcept nogil:
    """Could a header of this kind hold, or stand in front of, a further layer?  The next parse decides."""
    if proto == IPPROTO_UDP_:
        return n >= 8 and carries_esp(t, payload)
    return proto == IPPROTO_ESP_ or proto == IPPROTO_AH_ or is_walked(proto)


cdef inline void keep(const uint8_t *header, uint32_t n, stripped_t *out) noexcept nogil:
    """Copy what an inner layer's failure will have to put back."""
    cdef outer_t *kept = out.kept
    if kept == NULL:
        return
    kept.header = &kept.room[0]
    if n > MAX_KEPT:
        kept.header = <uint8_t *> malloc(n)
        if kept.header == NULL:
            out.leads_on = False
            return
    memcpy(kept.header, header, n)
    kept.header_len = n


cdef inline void let_go(outer_t *outer) noexcept nogil:
    if outer.header_len > MAX_KEPT:
        free(outer.header)
    outer.header_len = 0


cdef inline uint8_t uncover(const table_t *t, const sa_t *sa, uint32_t flags, const found_t *at, uint8_t *start,
                            uint8_t *data, uint32_t n, uint8_t next_header, stripped_t *out) noexcept nogil:
    """What remains of a packet whose ESP or AH began at `start`: the n bytes at `data` go on."""
    cdef bint is_ip = next_header == IPPROTO_IPV4_ or next_header == IPPROTO_IPV6_
    cdef uint8_t status
    cdef uint32_t hdr = 0
    if flags & SA_TUNNEL or (flags & SA_ANY_MODE and is_ip):
        if not is_ip:
            return ST_MALFORMED
        out.packet = data
        status = strip_tunnel(sa, at.ip, data, n, next_header, &out.length, &hdr)
        if status == ST_OK:
            next_header = data[9] if next_header == IPPROTO_IPV4_ else data[6]
            out.leads_on = leads_on(t, next_header, data + hdr, out.length - hdr)
        return status
    out.leads_on = leads_on(t, next_header, data, n)
    if out.leads_on:
        keep(at.ip, <uint32_t> (start - at.ip), out)
    out.packet = strip_transport(at, data, n, next_header)
    out.length = at.hdr_len + n
    return ST_OK


cdef inline uint8_t strip(const table_t *t, const sa_t *sa, uint32_t flags, uint32_t iv_len, const found_t *at,
                          stripped_t *out) noexcept nogil:
    """Take ESP off an authenticated and decrypted packet (RFC 4303 sec. 3.4.4.1, steps 4 to 6)."""
    cdef uint8_t *data = at.esp + 8 + iv_len
    cdef uint8_t *end = at.esp + at.esp_len - sa.icv_len
    cdef uint32_t room = <uint32_t> (end - data) - 2, pad_len = (end - 2)[0]
    cdef uint8_t next_header = (end - 1)[0]
    out.leads_on = False
    if pad_len > room:
        return ST_MALFORMED
    if flags & SA_STRICT_PADDING and not padding_counts(end - 2, pad_len):
        return ST_MALFORMED
    if next_header == IPPROTO_NONE_:
        return ST_DUMMY
    return uncover(t, sa, flags, at, at.esp, data, room - pad_len, next_header, out)


cdef inline uint8_t strip_ah(const table_t *t, const sa_t *sa, const found_t *at, stripped_t *out) noexcept nogil:
    """Take AH off an authenticated packet (RFC 4302 sec. 3.4.4)."""
    cdef uint8_t *ah = at.esp - 4
    cdef uint32_t n = ah_len_of(at)
    out.leads_on = False
    if n > at.esp_len + 4:
        return ST_MALFORMED         # somebody has written there since
    return uncover(t, sa, sa.flags, at, ah, ah + n, at.esp_len + 4 - n, ah[0], out)
