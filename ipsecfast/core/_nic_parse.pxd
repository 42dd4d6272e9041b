# What both directions of the NIC ask about the headers of a packet.

from libc.stdint cimport uint8_t, uint32_t

from ._ip cimport FRAG_NONE, ip_t
from ._nic cimport nic_t
from ._types cimport IPPROTO_ESP_, IPPROTO_IPV4_, IPPROTO_IPV6_, IPPROTO_NONE_, found_t


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
