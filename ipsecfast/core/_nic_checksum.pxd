# Checksums that a send asks for: TCP's and UDP's, whose field holds the pseudo-header's sum, and IPv4's.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from ._bytes cimport put_raw16, sum_fold
from ._checksum cimport sum_bytes
from ._ip cimport ip_parse, ip_t, sum_words
from ._nic cimport nic_t
from ._nic_parse cimport names_ip

cdef enum:
    # slot 0, transmit
    IS_IPV4 = 0x01
    IS_IPV6 = 0x02
    TCP_CHECKSUM = 0x04
    UDP_CHECKSUM = 0x08
    IP_HEADER_CHECKSUM = 0x10
    # nic_caps_t.checksum
    CAN_IP = 1
    CAN_TCP4 = 2
    CAN_UDP4 = 4
    CAN_TCP6 = 8
    CAN_UDP6 = 16


cdef inline void complete(uint8_t *l4, uint32_t n, uint32_t field, bint udp) noexcept nogil:
    """Finish a checksum whose field holds the pseudo-header's sum."""
    cdef uint16_t total = sum_fold(sum_bytes(l4, n))
    if total == 0 and udp:
        total = 0xFFFF
    put_raw16(l4 + field, total)


cdef inline void transport_checksum(const nic_t *nic, uint64_t asked, uint8_t next_header, uint8_t *data,
                                    uint32_t n, bint secured) noexcept nogil:
    """TCP or UDP over the n bytes at `data`, which an IP header may still stand in front of."""
    cdef ip_t ip
    cdef bint v6 = (asked & IS_IPV6) != 0
    cdef uint32_t step
    if not asked & (IS_IPV4 | IS_IPV6):
        return
    if names_ip(next_header):
        if not ip_parse(data, n, &ip) or ip.total > n or ip.fragment:
            return
        next_header = ip.proto
        data += ip.hdr_len
        n = ip.total - ip.hdr_len
    while next_header == 60 and n >= 8:
        step = (<uint32_t> data[1] + 1) * 8
        if step > n:
            return
        next_header = data[0]
        data += step
        n -= step
    if next_header == 6 and asked & TCP_CHECKSUM and n >= 20:
        if nic.caps.checksum & (CAN_TCP6 if v6 else CAN_TCP4) and (nic.caps.tcp or not secured):
            complete(data, n, 16, False)
    elif next_header == 17 and asked & UDP_CHECKSUM and n >= 8:
        if nic.caps.checksum & (CAN_UDP6 if v6 else CAN_UDP4) and (nic.caps.udp or not secured):
            complete(data, n, 6, True)


cdef inline void header_checksum(uint8_t *ip) noexcept nogil:
    """Of IPv4, over whatever stands in the header now."""
    if ip[0] >> 4 == 4:
        put_raw16(ip + 10, 0)
        put_raw16(ip + 10, sum_fold(sum_words(ip, (ip[0] & 15) * 4, 0)))
