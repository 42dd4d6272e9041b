# Checksums that a send asks for: TCP's and UDP's, whose field holds the pseudo-header's sum, and IPv4's.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from ._bytes cimport put_raw16, sum_fold
from ._checksum cimport sum_bytes
from ._ip cimport ip_parse, ip_t, sum_words
from ._nic cimport nic_t, sum_caps_t
from ._nic_parse cimport find_l4, l4_t, names_ip, sums_of

cdef enum:
    # slot 0, transmit
    IS_IPV4 = 0x01
    IS_IPV6 = 0x02
    TCP_CHECKSUM = 0x04
    UDP_CHECKSUM = 0x08
    IP_HEADER_CHECKSUM = 0x10


cdef inline void complete(uint8_t *l4, uint32_t n, uint32_t field, bint udp) noexcept nogil:
    """Finish a checksum whose field holds the pseudo-header's sum."""
    cdef uint16_t total = sum_fold(sum_bytes(l4, n))
    if total == 0 and udp:
        total = 0xFFFF
    put_raw16(l4 + field, total)


cdef inline void transport_checksum(const nic_t *nic, uint64_t asked, uint32_t encapsulation, const uint8_t *front,
                                    uint32_t hdr_len, uint8_t next_header, uint8_t *data, uint32_t n,
                                    bint secured) noexcept nogil:
    """TCP or UDP in the n bytes at `data`, where such a checksum is offered; else the field stays as it is.

    front : the IP header in front, hdr_len bytes; another one may follow it.
    """
    cdef const sum_caps_t *sums
    cdef ip_t ip
    cdef l4_t l4
    if not asked & (IS_IPV4 | IS_IPV6):
        return
    if names_ip(next_header):
        if not ip_parse(data, n, &ip) or ip.total > n or ip.fragment:
            return
        next_header = ip.proto
        front = data
        hdr_len = ip.hdr_len
        data += hdr_len
        n = ip.total - hdr_len
    sums = sums_of(nic.caps.send_sums, front, encapsulation)
    if sums != NULL and find_l4(sums, front, hdr_len, next_header, data, n,
                                asked & TCP_CHECKSUM and (nic.caps.tcp or not secured),
                                asked & UDP_CHECKSUM and (nic.caps.udp or not secured), &l4):
        complete(l4.at, l4.n, 6 if l4.udp else 16, l4.udp)


cdef inline bint wants_header(const nic_t *nic, uint64_t asked, uint32_t encapsulation,
                              const uint8_t *ip) noexcept nogil:
    """Is the checksum of this header asked for, and offered?"""
    cdef const sum_caps_t *sums
    if not (asked & IP_HEADER_CHECKSUM and asked & IS_IPV4):
        return False
    sums = sums_of(nic.caps.send_sums, ip, encapsulation)
    return sums != NULL and sums.ip and (ip[0] & 15 == 5 or sums.extensions)


cdef inline void header_checksum(uint8_t *ip, uint32_t hdr_len) noexcept nogil:
    """Of IPv4, over whatever stands in the header now."""
    put_raw16(ip + 10, 0)
    put_raw16(ip + 10, sum_fold(sum_words(ip, hdr_len, 0)))
