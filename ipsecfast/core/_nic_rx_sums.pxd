# Results of receive checksums (slot 0): of plain frames, and of what IPsec layers that were checked stand in front of.
#
# Of each kind there is "failed", "succeeded", or neither: not looked at, and the host does.  IPv4's header counts for
# all such headers that can be seen: one wrong one is a failure.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from ._bytes cimport put_be32, raw16, sum_fold
from ._checksum cimport sum_bytes
from ._frame cimport ip_offset
from ._ip cimport FRAG_NONE, ip_parse, ip_t, sum_words
from ._nic cimport nic_t, sum_caps_t
from ._nic_parse cimport find_l4, has_header, l4_t, names_ip, sums_of
from ._types cimport IPPROTO_UDP_

cdef enum:
    # slot 0, receive
    TCP_FAILED = 0x01
    UDP_FAILED = 0x02
    IP_FAILED = 0x04
    TCP_SUCCEEDED = 0x08
    UDP_SUCCEEDED = 0x10
    IP_SUCCEEDED = 0x20

cdef enum:
    ROUTING_ = 43


cdef inline uint32_t header_result(const sum_caps_t *sums, const uint8_t *ip) noexcept nogil:
    """Of an IPv4 header, all of which is there."""
    cdef uint32_t n = <uint32_t> (ip[0] & 15) * 4
    if ip[0] >> 4 != 4 or not sums.ip or (n > 20 and not sums.extensions):
        return 0
    return IP_FAILED if sum_fold(sum_words(ip, n, 0)) else IP_SUCCEEDED


cdef inline uint32_t both_headers(uint32_t a, uint32_t b) noexcept nogil:
    """Results with two headers': one failure is one."""
    cdef uint32_t either = a | b
    return either & ~<uint32_t> IP_SUCCEEDED if either & IP_FAILED else either


cdef inline uint32_t data_result(const sum_caps_t *sums, const uint8_t *ip, uint32_t hdr_len, uint8_t proto,
                                 const uint8_t *data, uint32_t n, bint tcp, bint udp) noexcept nogil:
    """Of TCP or UDP in the n bytes at `data`, whose pseudo-header is made of the IP header at `ip`.

    hdr_len : of that header, which is gone over already.  tcp, udp : may it be looked at?
    """
    cdef uint8_t pseudo[8]
    cdef bint v6 = ip[0] >> 4 == 6
    cdef uint64_t total
    cdef l4_t l4
    if not find_l4(sums, ip, hdr_len, proto, data, n, tcp, udp, &l4) or (l4.udp and raw16(l4.at + 6) == 0):
        return 0                     # also UDP without a checksum
    if v6 and has_header(ip, hdr_len, ROUTING_):
        return 0                     # the pseudo-header's destination may be another
    put_be32(pseudo, l4.n)
    put_be32(pseudo + 4, 17 if l4.udp else 6)
    total = sum_words(pseudo, 8, sum_bytes(l4.at, l4.n))
    total = sum_words(ip + 8, 32, total) if v6 else sum_words(ip + 12, 8, total)
    if l4.udp:
        return UDP_FAILED if sum_fold(total) else UDP_SUCCEEDED
    return TCP_FAILED if sum_fold(total) else TCP_SUCCEEDED


cdef inline uint32_t secured_result(const nic_t *nic, const uint8_t *frame, int64_t length, bint raw,
                                    const uint8_t *front, uint8_t next_header, const uint8_t *data,
                                    uint32_t n) noexcept nogil:
    """Of a frame with IPsec layers that were good, but for its outermost header.

    front : the IP header in front of the last of these layers.  data : what that one protects, n bytes.
    """
    cdef const sum_caps_t *sums
    cdef uint32_t encapsulation, told, result = 0
    cdef ip_t ip
    cdef int at = ip_offset(frame, length, raw, &encapsulation)
    if at < 0 or not ip_parse(front, <int64_t> (data - front), &ip):
        return 0
    told = ~<uint32_t> 0
    if ip.proto == IPPROTO_UDP_ and not names_ip(next_header):
        told = ~<uint32_t> (TCP_FAILED | UDP_FAILED)     # a NAT may have changed the addresses (RFC 3948 sec. 3.1.2)
    sums = sums_of(nic.caps.receive_sums, front, encapsulation)
    if front != frame + at and sums != NULL:
        result = header_result(sums, front)
    if names_ip(next_header):
        front = data
        sums = sums_of(nic.caps.receive_sums, front, encapsulation) if n >= 20 else NULL
        if sums == NULL or not ip_parse(front, n, &ip):
            return result
        result = both_headers(result, header_result(sums, front))
        if ip.fragment != FRAG_NONE or ip.total > n:
            return result
        next_header = ip.proto
        data = front + ip.hdr_len
        n = ip.total - ip.hdr_len
    if sums == NULL:
        return result
    return result | told & data_result(sums, front, ip.hdr_len, next_header, data, n, nic.caps.tcp, nic.caps.udp)


cdef inline uint32_t frame_result(const nic_t *nic, const uint8_t *frame, int64_t length, bint raw, bint checked,
                                  uint32_t inside) noexcept nogil:
    """Slot 0 of a frame.

    checked : IPsec work was done; inside : the results of what it showed.
    """
    cdef const sum_caps_t *sums
    cdef uint32_t encapsulation, result
    cdef ip_t ip
    cdef int at = ip_offset(frame, length, raw, &encapsulation)
    if at < 0:
        return inside
    frame += at
    length -= at
    sums = sums_of(nic.caps.receive_sums, frame, encapsulation)
    if sums == NULL or not ip_parse(frame, length, &ip):
        return inside
    result = both_headers(inside, header_result(sums, frame))
    if checked or ip.fragment != FRAG_NONE or ip.total > length:
        return result
    return result | data_result(sums, frame, ip.hdr_len, ip.proto, frame + ip.hdr_len, ip.total - ip.hdr_len,
                                True, True)
