# What both directions of the NIC ask about the headers of a packet.

from libc.stdint cimport uint8_t, uint32_t

from ._bytes cimport be16
from ._ip cimport FRAG_NONE, ip_t
from ._nic cimport nic_t, sum_caps_t
from ._types cimport IPPROTO_ESP_, IPPROTO_IPV4_, IPPROTO_IPV6_, IPPROTO_NONE_, IPPROTO_UDP_, found_t

cdef enum:
    IPPROTO_TCP_ = 6

# TCP or UDP in a packet
cdef struct l4_t:
    uint8_t *at
    uint32_t n                # bytes that its checksum covers
    bint udp


cdef inline bint names_ip(uint8_t next_header) noexcept nogil:
    return next_header == IPPROTO_IPV4_ or next_header == IPPROTO_IPV6_


cdef inline bint mode_on(const nic_t *nic, uint8_t next_header) noexcept nogil:
    """Is the mode on that an IPsec header with this next header has?  A dummy packet's (59) may be either."""
    if names_ip(next_header):
        return nic.caps.tunnel
    return nic.caps.transport or next_header == IPPROTO_NONE_


cdef inline bint has_header(const uint8_t *ip, uint32_t hdr_len, uint8_t wanted) noexcept nogil:
    """Is there such an IPv6 extension header?  They were gone over before."""
    cdef uint32_t at = 40
    cdef uint8_t proto = ip[6]
    while at < hdr_len:
        if proto == wanted:
            return True
        proto = ip[at]
        at += (<uint32_t> ip[at + 1] + 1) * 8
    return False


cdef inline bint behind_ah(const nic_t *nic, const found_t *ah, uint32_t n, found_t *esp) noexcept nogil:
    """ESP behind the n bytes of AH at `ah`, IPv6 destination options between them gone over; False if there is none."""
    cdef uint8_t *start = ah.esp - 4
    cdef uint32_t at = n, end = ah.esp_len + 4
    cdef uint8_t proto = start[0]
    while proto == 60 and ah.version == 6 and nic.caps.headers6 and at + 8 <= end:
        proto = start[at]
        at += (<uint32_t> start[at + 1] + 1) * 8
    if proto != IPPROTO_ESP_ or at + 8 > end:
        return False
    esp[0] = ah[0]
    esp.esp = start + at
    esp.esp_len = end - at
    esp.proto = IPPROTO_ESP_
    return True


cdef inline bint served(const nic_t *nic, const uint8_t *packet, const ip_t *ip) noexcept nogil:
    """Is it whole, of a family, and with no options or extension headers but those that are advertised?"""
    if ip.fragment != FRAG_NONE:
        return False
    if ip.version == 4:
        return ip.hdr_len == 20 or nic.caps.options4
    # a fragment header of a whole datagram (RFC 6946) is one too
    return nic.caps.ipv6 and (ip.hdr_len == 40 or (nic.caps.headers6 and not has_header(packet, ip.hdr_len, 44)))


cdef inline const sum_caps_t *sums_of(const sum_caps_t *sums, const uint8_t *ip, uint32_t encapsulation) noexcept nogil:
    """What of `sums` (IPv4's, IPv6's) is on for a header's family and such frames, or NULL."""
    if ip[0] >> 4 != 4:
        sums += 1
    return sums if sums.encapsulation & encapsulation else NULL


cdef inline bint find_l4(const sum_caps_t *sums, const uint8_t *ip, uint32_t hdr_len, uint8_t proto,
                         const uint8_t *data, uint32_t n, bint tcp, bint udp, l4_t *out) noexcept nogil:
    """TCP or UDP in the n bytes at `data`; False if it is none, or one whose checksum is not offered.

    ip : the header in front, hdr_len bytes that are gone over already.  tcp, udp : which one is of interest?
    """
    cdef bint v6 = ip[0] >> 4 == 6
    cdef uint32_t step
    if hdr_len > <uint32_t> (40 if v6 else 20) and not sums.extensions:
        return False
    while proto == 60 and v6 and sums.extensions and n >= 8:
        step = (<uint32_t> data[1] + 1) * 8
        if step > n:
            return False
        proto = data[0]
        data += step
        n -= step
    out.at = <uint8_t *> data
    out.n = n
    out.udp = proto == IPPROTO_UDP_
    if proto == IPPROTO_TCP_:
        if not tcp or not sums.tcp or n < 20:
            return False
        step = <uint32_t> (data[12] >> 4) * 4
        return 20 <= step <= n and (step == 20 or sums.tcp_options)
    if not out.udp or not udp or not sums.udp or n < 8:
        return False
    out.n = be16(data + 4)
    return 8 <= out.n <= n
