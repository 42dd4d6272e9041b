"""Packets that `locate` has no quick answer for: options, IPv6, UDP, fragments, and what is no IPsec."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from ._bytes cimport be16, raw32
from ._ip cimport FRAG_FIRST, FRAG_NONE, ip_parse, ip_t
from ._types cimport (
    IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_UDP_, PENDING, ST_FRAGMENT, ST_MALFORMED, ST_NOT_IPSEC, found_t, table_t,
)


cdef uint8_t locate_udp(const table_t *t, found_t *at, const ip_t *ip, int64_t length) noexcept nogil:
    """ESP in UDP (RFC 3948), or something else on that port."""
    cdef uint8_t *udp = at.ip + ip.hdr_len
    cdef uint32_t there = ip.total if ip.total < length else <uint32_t> length, udp_len
    if ip.hdr_len + 8 > there or not carries_esp(t, udp):
        return ST_NOT_IPSEC
    if ip.fragment != FRAG_NONE:
        return ST_FRAGMENT
    if ip.total > length:
        return ST_MALFORMED
    udp_len = be16(udp + 4)
    if udp_len < 8 or udp_len > ip.total - ip.hdr_len:
        return ST_MALFORMED
    if udp_len < 12 or raw32(udp + 8) == 0:
        return ST_NOT_IPSEC          # keepalive; IKE behind its zero marker
    at.esp = udp + 8
    at.esp_len = udp_len - 8
    return PENDING


cdef uint8_t locate_any(const table_t *t, int64_t length, found_t *at) noexcept nogil:
    """ESP or AH behind any IP header, ESP in UDP, or none of them."""
    cdef ip_t ip
    cdef uint8_t status
    if not ip_parse(at.ip, length, &ip):
        return ST_NOT_IPSEC
    at.version = ip.version
    at.hdr_len = ip.hdr_len
    at.next_ofs = ip.next_ofs
    at.total = ip.total
    at.proto = IPPROTO_ESP_
    if ip.proto == IPPROTO_ESP_:
        if ip.fragment != FRAG_NONE:
            return ST_FRAGMENT
        if ip.total > length:
            return ST_MALFORMED
        at.esp = at.ip + ip.hdr_len
        at.esp_len = ip.total - ip.hdr_len
    elif ip.proto == IPPROTO_UDP_ and ip.fragment <= FRAG_FIRST:
        status = locate_udp(t, at, &ip, length)
        if status != PENDING:
            return status
    elif ip.proto == IPPROTO_AH_:
        if ip.fragment != FRAG_NONE:
            return ST_FRAGMENT
        if ip.total > length or ip.total - ip.hdr_len < 12:
            return ST_MALFORMED
        at.proto = IPPROTO_AH_
        at.esp = at.ip + ip.hdr_len + 4
        at.esp_len = ip.total - ip.hdr_len - 4
    else:
        return ST_NOT_IPSEC
    return PENDING if at.esp_len >= 8 else ST_MALFORMED
