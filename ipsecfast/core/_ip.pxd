# Reading IP headers without trusting a length, and the Internet checksum.  Packets only: no SA, no crypto.
#
# Every walk advances by 8 bytes or more and is bounded by the bytes that are there.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from libc.string cimport memmove

from ._bytes cimport (
    add_carry, be16, field8, field16, put_be16, put_be32, put_raw16, put_raw32, put_raw64, raw16, raw32, raw64,
    sum_fold, swap16,
)

cdef enum:
    # frag_t
    FRAG_NONE = 0
    FRAG_FIRST = 1
    FRAG_LATER = 2

cdef struct ip_t:
    uint32_t total          # bytes that the IP header says the packet has
    uint32_t hdr_len        # up to the first header that is not IP's own
    uint32_t next_ofs       # where that header's number stands
    uint8_t version
    uint8_t proto
    uint8_t fragment


cdef inline bint is_walked(uint8_t proto) noexcept nogil:
    """IPv6 headers that stand in front of ESP: hop-by-hop, routing, fragment, destination options."""
    return proto == 0 or proto == 43 or proto == 44 or proto == 60


cdef inline bint ip6_walk(const uint8_t *ip, uint32_t there, ip_t *out) noexcept nogil:
    """Go over IPv6's extension headers within `there` bytes; False where one runs past them."""
    cdef uint32_t ofs = 40, step
    cdef uint32_t next_ofs = 6
    cdef uint8_t proto = ip[6]
    cdef uint16_t word
    while is_walked(proto):
        if ofs + 8 > there:
            return False
        if proto == 44:
            step = 8
            word = be16(ip + ofs + 2)
            if word >> 3:
                out.fragment = FRAG_LATER
                proto = ip[ofs]
                break
            if word & 1:
                out.fragment = FRAG_FIRST
        else:
            step = (<uint32_t> ip[ofs + 1] + 1) * 8
            if ofs + step > there:
                return False
        proto = ip[ofs]
        next_ofs = ofs
        ofs += step
    out.proto = proto
    out.hdr_len = ofs
    out.next_ofs = next_ofs
    return True


cdef inline bint ip4_plain(const uint8_t *ip, int64_t length, ip_t *out) noexcept nogil:
    """What nearly all packets are: whole, IPv4, no options.  False says nothing; `ip_parse` comes to the same."""
    if length < 20 or raw64(ip) & (field8(0xFF, 0) | field16(0x3FFF, 6)) != field8(0x45, 0):
        return False
    out.total = be16(ip + 2)
    out.hdr_len = 20
    out.next_ofs = 9
    out.version = 4
    out.proto = ip[9]
    out.fragment = FRAG_NONE
    return 20 <= out.total <= length


cdef inline bint ip_head(const uint8_t *ip, int64_t length, ip_t *out) noexcept nogil:
    """Read the fixed header of a packet of `length` bytes; False if it is none.

    `out.total` may be more than `length`: the packet was cut short.  Of IPv6, extension headers are not looked at.
    """
    cdef uint16_t word
    if length < 20:
        return False
    out.fragment = FRAG_NONE
    if ip[0] >> 4 == 4:
        out.version = 4
        out.hdr_len = (ip[0] & 15) * 4
        out.total = be16(ip + 2)
        if out.hdr_len < 20 or length < out.hdr_len or out.total < out.hdr_len:
            return False
        out.proto = ip[9]
        out.next_ofs = 9
        word = be16(ip + 6) & 0x3FFF
        if word:
            out.fragment = FRAG_LATER if word & 0x1FFF else FRAG_FIRST
        return True
    if ip[0] >> 4 != 6 or length < 40:
        return False
    out.version = 6
    out.total = 40 + <uint32_t> be16(ip + 4)
    out.proto = ip[6]
    out.next_ofs = 6
    out.hdr_len = 40
    return True


cdef inline bint ip_parse(const uint8_t *ip, int64_t length, ip_t *out) noexcept nogil:
    """The same, and IPv6's extension headers gone over; False also where one runs past the packet's end."""
    if not ip_head(ip, length, out):
        return False
    if out.version == 6 and is_walked(out.proto):
        return ip6_walk(ip, out.total if out.total < length else <uint32_t> length, out)
    return True


cdef inline uint64_t sum_words(const uint8_t *p, uint32_t n, uint64_t total) noexcept nogil:
    """One's complement sum of n bytes (in memory order, RFC 1071), unfolded."""
    cdef uint8_t last[2]
    while n >= 4:
        total += raw32(p)
        p += 4
        n -= 4
    if n >= 2:
        total += raw16(p)
        p += 2
        n -= 2
    if n:
        last[0] = p[0]
        last[1] = 0
        total += raw16(last)
    return total


cdef inline void udp6_checksum(const uint8_t *ip, uint8_t *udp, uint32_t n) noexcept nogil:
    """Over IPv6 the UDP checksum is not optional (RFC 8200 sec. 8.1); the header's is that of n bytes at `udp`."""
    cdef uint8_t pseudo[8]
    cdef uint16_t total
    put_raw16(udp + 6, 0)
    put_be32(pseudo, n)
    put_be32(pseudo + 4, 17)
    total = sum_fold(sum_words(udp, n, sum_words(ip + 8, 32, sum_words(pseudo, 8, 0))))
    put_raw16(udp + 6, total if total else <uint16_t> 0xFFFF)


cdef inline void ip4_mend(uint64_t *first, uint64_t *second, uint32_t dst, uint32_t total,
                          uint8_t proto) noexcept nogil:
    """Give an IPv4 header without options, in memory order, a new length, protocol and checksum."""
    cdef uint64_t a = first[0] & ~field16(0xFFFF, 2) | field16(<uint16_t> total, 2)
    cdef uint64_t b = second[0] & ~(field8(0xFF, 1) | field16(0xFFFF, 2)) | field8(proto, 1)
    first[0] = a
    second[0] = b | field16(swap16(sum_fold(add_carry(add_carry(a, b), dst))), 2)


cdef inline void ip4_move(uint8_t *to, const uint8_t *ip, uint32_t hdr_len, uint32_t total,
                          uint8_t proto) noexcept nogil:
    """Put an IPv4 header somewhere else (the places may overlap) with a new length, protocol and checksum.

    The usual 20 bytes go through registers: a checksum over bytes just stored would wait for them.
    """
    cdef uint64_t a, b
    cdef uint32_t c
    if hdr_len == 20:
        a = raw64(ip)
        b = raw64(ip + 8)
        c = raw32(ip + 16)
        ip4_mend(&a, &b, c, total, proto)
        put_raw64(to, a)
        put_raw64(to + 8, b)
        put_raw32(to + 16, c)
        return
    memmove(to, ip, hdr_len)
    put_be16(to + 2, <uint16_t> total)
    to[9] = proto
    put_raw16(to + 10, 0)
    put_raw16(to + 10, sum_fold(sum_words(to, hdr_len, 0)))


cdef inline void ip6_move(uint8_t *to, const uint8_t *ip, uint32_t hdr_len, uint32_t total, uint32_t next_ofs,
                          uint8_t proto) noexcept nogil:
    """The same for IPv6 with its extension headers; `next_ofs` is where the last one names its successor."""
    cdef uint64_t a, b, c, d, e
    if hdr_len == 40:
        a = raw64(ip)
        b = raw64(ip + 8)
        c = raw64(ip + 16)
        d = raw64(ip + 24)
        e = raw64(ip + 32)
        put_raw64(to, a)
        put_raw64(to + 8, b)
        put_raw64(to + 16, c)
        put_raw64(to + 24, d)
        put_raw64(to + 32, e)
    else:
        memmove(to, ip, hdr_len)
    put_be16(to + 4, <uint16_t> (total - 40))
    to[next_ofs] = proto


cdef inline void ip4_set_tos(uint8_t *ip, uint8_t tos) noexcept nogil:
    """Change TOS and update the checksum by the difference (RFC 1624), so that a wrong one stays wrong."""
    cdef uint16_t old = raw16(ip)
    cdef uint64_t total
    if ip[1] == tos:
        return
    ip[1] = tos
    total = <uint64_t> (<uint16_t> ~raw16(ip + 10)) + <uint16_t> ~old + raw16(ip)
    put_raw16(ip + 10, sum_fold(total))


cdef inline uint8_t ip_tos(const uint8_t *ip) noexcept nogil:
    """TOS of IPv4, traffic class of IPv6."""
    if ip[0] >> 4 == 4:
        return ip[1]
    return <uint8_t> (ip[0] << 4) | (ip[1] >> 4)


cdef inline void ip_set_tos(uint8_t *ip, uint8_t tos) noexcept nogil:
    if ip[0] >> 4 == 4:
        ip4_set_tos(ip, tos)
    else:
        ip[0] = 0x60 | (tos >> 4)
        ip[1] = <uint8_t> (tos << 4) | (ip[1] & 15)
