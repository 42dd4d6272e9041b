# Results of receive checksums (slot 0): of plain frames, and of what IPsec layers that were checked stand in front of.
#
# Of each kind there is "failed", "succeeded", or neither: not looked at, and the host does.  IPv4's header counts for
# all such headers that can be seen: one wrong one is a failure.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from ._bytes cimport be16, put_be32, raw16, sum_fold
from ._checksum cimport sum_bytes
from ._frame cimport ip_offset
from ._ip cimport FRAG_NONE, ip_parse, ip_t, sum_words
from ._nic cimport nic_t, sum_caps_t
from ._nic_parse cimport has_header, names_ip

cdef enum:
    # slot 0, receive
    TCP_FAILED = 0x01
    UDP_FAILED = 0x02
    IP_FAILED = 0x04
    TCP_SUCCEEDED = 0x08
    UDP_SUCCEEDED = 0x10
    IP_SUCCEEDED = 0x20

cdef enum:
    TCP_ = 6
    UDP_ = 17
    ROUTING_ = 43
    OPTIONS_ = 60


cdef inline const sum_caps_t *sums_of(const nic_t *nic, const uint8_t *ip, uint32_t encapsulation) noexcept nogil:
    """What is on for a header's family and such frames, or NULL."""
    cdef const sum_caps_t *sums = &nic.caps.sums4 if ip[0] >> 4 == 4 else &nic.caps.sums6
    return sums if sums.encapsulation & encapsulation else NULL


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
    cdef uint32_t step, covered = n
    cdef uint64_t total
    if hdr_len > <uint32_t> (40 if v6 else 20) and not sums.extensions:
        return 0
    if v6 and has_header(ip, hdr_len, ROUTING_):
        return 0                     # the pseudo-header's destination may be another
    while proto == OPTIONS_ and v6 and sums.extensions and n >= 8:
        step = (<uint32_t> data[1] + 1) * 8
        if step > n:
            return 0
        proto = data[0]
        data += step
        n -= step
        covered = n
    if proto == TCP_:
        if not tcp or not sums.tcp or n < 20:
            return 0
        step = <uint32_t> (data[12] >> 4) * 4
        if step < 20 or step > n or (step > 20 and not sums.tcp_options):
            return 0
    elif proto == UDP_:
        if not udp or not sums.udp or n < 8 or raw16(data + 6) == 0:
            return 0                 # without a checksum
        covered = be16(data + 4)
        if covered < 8 or covered > n:
            return 0
    else:
        return 0
    put_be32(pseudo, covered)
    put_be32(pseudo + 4, proto)
    total = sum_words(pseudo, 8, sum_bytes(data, covered))
    total = sum_words(ip + 8, 32, total) if v6 else sum_words(ip + 12, 8, total)
    if proto == TCP_:
        return TCP_FAILED if sum_fold(total) else TCP_SUCCEEDED
    return UDP_FAILED if sum_fold(total) else UDP_SUCCEEDED


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
    if ip.proto == UDP_ and not names_ip(next_header):
        told = ~<uint32_t> (TCP_FAILED | UDP_FAILED)     # a NAT may have changed the addresses (RFC 3948 sec. 3.1.2)
    sums = sums_of(nic, front, encapsulation)
    if front != frame + at and sums != NULL:
        result = header_result(sums, front)
    if names_ip(next_header):
        front = data
        sums = sums_of(nic, front, encapsulation) if n >= 20 else NULL
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
    sums = sums_of(nic, frame, encapsulation)
    if sums == NULL or not ip_parse(frame, length, &ip):
        return inside
    result = both_headers(inside, header_result(sums, frame))
    if checked or ip.fragment != FRAG_NONE or ip.total > length:
        return result
    return result | data_result(sums, frame, ip.hdr_len, ip.proto, frame + ip.hdr_len, ip.total - ip.hdr_len,
                                True, True)
