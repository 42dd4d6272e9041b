"""Large send offload: one frame with much TCP payload is cut into frames as a host would have built them.

    frame | IP | UDP? | AH | ESP IV | TCP | payload ...................... | filler     (v2: no length in IPv4)

    frame | IP | UDP? | AH | ESP IV | TCP | MSS bytes | pad, next header | room for the ICV
    frame | IP | UDP? | AH | ESP IV | TCP | MSS bytes | pad, next header | room
    ...

Headers are copied; lengths, IP identification, sequence numbers of AH, ESP and TCP, TCP's flags and its checksum are
each segment's own, IPv4's checksum too.  What follows (numbers, IVs, encryption, ICVs) is the send path's.  Lists
without large send are copied as they are.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ._ah cimport ah_len_for
from ._bytes cimport (
    any64, be16, be32, prefetch, prefetch_w, put_be16, put_be32, put_raw16, raw16, raw32, sum_fold, swap16,
)
from ._checksum cimport sum_copy
from ._frame cimport ip_offset
from ._ip cimport FRAG_NONE, ip6_walk, ip_t, sum_words
from ._nic cimport (
    NDIS_STATUS_FAILURE, NDIS_STATUS_RESOURCES, NDIS_STATUS_SUCCESS, NIC_ON, NIC_OUTBOUND,
    ROW_HEADER, ROW_IPSEC, ROW_LARGE_SEND, ROW_TUNNEL,
    UDP_TRANSPORT,
    bundle_named, lso_caps_t, nic_bundle_t, nic_t,
)
from ._nic_parse cimport IPPROTO_TCP_, served
from ._types cimport IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_UDP_, sa_t, shape_t, table_t, view_t

cdef enum:
    IPPROTO_DSTOPTS_ = 60
    # slot 2
    MSS_MASK = 0xFFFFF
    OFFSET_SHIFT = 20
    OFFSET_MASK = 0x3FF
    TYPE_V2 = 1 << 30
    IP_VERSION_6 = 1 << 31
    # TCP's flags
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    URG = 0x20
    CWR = 0x80

cdef inline uint64_t slot(int64_t length) noexcept nogil:
    """Room that so many bytes are given: some behind them are the NIC's too."""
    return (<uint64_t> length + 16 + 63) & ~<uint64_t> 63


cdef bint has_large_send(const uint64_t *oob, int64_t n) noexcept nogil:
    """Is there any list with an MSS?"""
    return (any64(oob + ROW_LARGE_SEND * n, n) & MSS_MASK) != 0


cdef const lso_caps_t *limits_of(const nic_t *nic, uint64_t word, uint8_t version) noexcept nogil:
    """What this kind of large send may be; NULL: there is no such kind."""
    if not word & TYPE_V2:
        return &nic.caps.lso_v1 if version == 4 else NULL
    if ((word & IP_VERSION_6) != 0) != (version == 6):
        return NULL
    return &nic.caps.lso_v2_6 if version == 6 else &nic.caps.lso_v2_4


cdef bint parse_ip(const nic_t *nic, const uint8_t *ip, int64_t length, bint v2, bint secured,
                   ip_t *out) noexcept nogil:
    """The IP header of a large packet, whose length fields tell nothing with version 2."""
    out.fragment = FRAG_NONE
    out.version = ip[0] >> 4
    if out.version == 4:
        out.hdr_len = (ip[0] & 15) * 4
        if length < 20 or out.hdr_len < 20 or out.hdr_len > length or be16(ip + 6) & 0x3FFF:
            return False
        out.proto = ip[9]
        out.total = be16(ip + 2)
    else:
        if length < 40 or not ip6_walk(ip, <uint32_t> min(length, 0x10000), out):
            return False
        out.total = 40 + <uint32_t> be16(ip + 4)
    if v2:
        out.total = 0
    return not secured or served(nic, ip, out)


cdef bint read_large(const table_t *t, const nic_t *nic, const view_t *batch, int64_t at, const uint64_t *oob,
                     int64_t n, int64_t i, bint raw, large_t *big) noexcept nogil:
    """Copy the headers of a large send and judge the copy; False if it can't be sent."""
    cdef uint64_t word = oob[ROW_LARGE_SEND * n + i], handle = oob[ROW_IPSEC * n + i]
    cdef uint32_t header = <uint32_t> oob[ROW_HEADER * n + i], encapsulation, expected, hinted
    cdef int64_t length = batch.length[at], copied = min(length, <int64_t> HEAD_ROOM)
    cdef const uint8_t *frame = big.headers
    cdef nic_bundle_t *b = NULL
    cdef const lso_caps_t *limits
    cdef const sa_t *sa
    cdef const shape_t *shape
    cdef ip_t ip
    cdef uint8_t proto
    cdef uint32_t filler = 0
    cdef int offset
    memset(big, 0, sizeof(large_t) - HEAD_ROOM)
    big.frame = batch.base + batch.offset[at]
    memcpy(big.headers, big.frame, copied)
    offset = ip_offset(frame, copied, raw, &encapsulation)
    if offset < 0 or oob[ROW_TUNNEL * n + i]:
        return False
    limits = limits_of(nic, word, frame[offset] >> 4)
    if limits == NULL or not encapsulation & limits.encapsulation:
        return False
    if handle:
        b = bundle_named(nic, handle)
        if b == NULL or (b.flags & (NIC_ON | NIC_OUTBOUND)) != (NIC_ON | NIC_OUTBOUND) or not nic.caps.lso:
            return False
        if not nic.caps.transport:
            return False
        if not nic.caps.send or (b.udp_esp and not b.udp_esp & UDP_TRANSPORT):
            return False
    big.v2 = (word & TYPE_V2) != 0
    big.mss = <uint32_t> word & MSS_MASK
    big.ip = offset
    big.version = frame[offset] >> 4
    if not parse_ip(nic, frame + offset, copied - offset, big.v2, b != NULL, &ip):
        return False
    if ip.hdr_len > <uint32_t> (20 if big.version == 4 else 40) and not limits.extensions:
        return False
    if ip.total:
        if ip.total > length - offset:
            return False
        length = offset + ip.total
        copied = min(copied, length)
    expected = offset + ip.hdr_len
    proto = ip.proto
    if b != NULL:
        if proto == IPPROTO_UDP_ and b.udp_esp:
            big.udp = expected
            expected += 8
            proto = IPPROTO_ESP_
        if b.ah:
            sa = &t.sas[b.ah - 1]
            shape = &t.suites[sa.suite].shape
            big.ah = expected
            if proto != IPPROTO_AH_ or expected + 12 > copied:
                return False
            proto = frame[expected]
            expected += (<uint32_t> frame[expected + 1] + 2) * 4
            if expected - big.ah < ah_len_for(shape.iv_len, sa.icv_len, 4):
                return False
        if b.esp:
            sa = &t.sas[b.esp - 1]
            shape = &t.suites[sa.suite].shape
            big.esp = expected
            big.align_mask = shape.align_mask
            big.icv_len = sa.icv_len
            big.next_header = <uint8_t> header
            filler = header >> 8 & 0xFF
            if proto != IPPROTO_ESP_:
                return False
            proto = big.next_header
            expected += 8 + shape.iv_len
    # the host says where TCP is, which counts where destination options stand in front of it
    hinted = <uint32_t> (word >> OFFSET_SHIFT) & OFFSET_MASK
    if proto == IPPROTO_DSTOPTS_ and b != NULL:
        if hinted < expected + 8 or not limits.extensions:
            return False
        expected = hinted
    elif proto != IPPROTO_TCP_ or (hinted and hinted != expected):
        return False
    if expected + 20 > copied:
        return False
    big.tcp = expected
    big.lead = (<uint32_t> 0 - expected) & 63
    big.head = expected + (frame[expected + 12] >> 4) * 4
    if big.head < expected + 20 or big.head > copied:
        return False
    # all of TCP's header but the words that are each segment's own: sequence number, and offset with flags
    big.tcp_sum = sum_words(frame + expected, big.head - expected, 0) - raw32(frame + expected + 4)
    big.tcp_sum += raw16(frame + expected + 14)
    big.tcp_sum -= raw32(frame + expected + 12)
    if big.version == 4:
        big.ip_sum = sum_words(frame + offset, ip.hdr_len, 0)
        big.ip_sum -= raw16(frame + offset + 2)
        big.ip_sum -= raw16(frame + offset + 4)
        big.ip_sum -= raw16(frame + offset + 10)
    big.payload = length - big.head - filler
    if big.payload < 1 or big.payload > limits.max_size or (big.head > expected + 20 and not limits.tcp_options):
        return False
    if nic.options.strict_segments and (big.payload + big.mss - 1) // big.mss < limits.min_segments:
        return False
    if frame[expected + 13] & (SYN | RST | URG):
        return False
    # the longest segment has to fit IP's length field
    return <int64_t> big.head - offset - (40 if big.version == 6 else 0) + min(big.payload, <int64_t> big.mss) + (
        2 + 255 + big.icv_len if big.esp else 0) <= 65535 and big.mss <= 65535


cdef inline int64_t frame_len(const large_t *big, uint32_t data) noexcept nogil:
    """Length of the segment with so much payload."""
    cdef uint32_t clear = big.head - big.tcp + data
    if not big.esp:
        return big.head + data
    return big.head + data + pad_len(big, clear) + 2 + big.icv_len


cdef inline uint32_t pad_len(const large_t *big, uint32_t clear) noexcept nogil:
    """ESP padding behind `clear` bytes."""
    return (<uint32_t> 0 - (clear + 2)) & big.align_mask


cdef void measure(const table_t *t, const nic_t *nic, const view_t *batch, const int64_t *first, int64_t n,
                  const uint64_t *oob, uint32_t *status, bint raw, large_t *large, int64_t *segments,
                  int64_t *room) noexcept nogil:
    """Read every large send into `large`, an entry a frame, and count frames and memory after cutting.

    Lists that can't be cut get FAILURE; those whose segments would take more memory than one call may, RESOURCES.
    What follows relies on `large` alone, headers and all: the frames may change meanwhile, and of large ones only
    payload is read again.
    """
    cdef int64_t i, k, low, high, count, size, left = nic.options.lso_memory
    cdef uint64_t word
    cdef large_t *big
    segments[0] = 0
    room[0] = 0
    for i in range(n):
        low = first[i] if first != NULL else i
        high = first[i + 1] if first != NULL else i + 1
        word = oob[ROW_LARGE_SEND * n + i]
        count = 0
        size = 0
        status[i] = NDIS_STATUS_SUCCESS
        if high - low > 1 and word & MSS_MASK and word & TYPE_V2:
            status[i] = NDIS_STATUS_FAILURE
            continue
        for k in range(low, high):
            big = &large[k]
            if not word & MSS_MASK:
                big.mss = 0
                count += 1
                size += slot(batch.length[k])
            elif not read_large(t, nic, batch, k, oob, n, i, raw, big):
                status[i] = NDIS_STATUS_FAILURE
                break
            else:
                count += segments_of(big)
                size += (big.payload // big.mss) * <int64_t> slot(big.lead + frame_len(big, big.mss))
                if big.payload % big.mss:
                    size += slot(big.lead + frame_len(big, <uint32_t> (big.payload % big.mss)))
                if size > left:
                    status[i] = NDIS_STATUS_RESOURCES
                    break
        if status[i] == NDIS_STATUS_SUCCESS:
            if word & MSS_MASK:
                left -= size
            segments[0] += count
            room[0] += size


cdef inline uint8_t *add_frame(view_t *out, uint32_t lead, int64_t length, int64_t *at) noexcept nogil:
    """The next frame's tables; where it lies."""
    cdef int64_t k = out.n
    out.offset[k] = at[0] + lead
    out.length[k] = <int> length
    out.slot_offset[k] = at[0]
    out.slot_length[k] = <int> slot(lead + length)
    at[0] += slot(lead + length)
    out.n += 1
    return out.base + out.offset[k]


cdef inline void add_to(const large_t *big, uint8_t *to, uint32_t at, uint32_t by) noexcept nogil:
    """A 32-bit field of the large packet's header, and more.

    It is read there, as all fields are: from memory just copied it would have to wait.
    """
    put_be32(to + at, be32(big.headers + at) + by)


cdef inline void segment(const large_t *big, uint8_t *to, int64_t start, uint32_t data, int64_t length,
                         uint32_t number) noexcept nogil:
    """Write segment `number`, whose `data` bytes of payload begin at `start`."""
    cdef uint32_t clear = big.head - big.tcp + data, i, pad
    cdef uint8_t *ip = to + big.ip
    cdef uint8_t *tcp = to + big.tcp
    cdef uint8_t *end
    cdef uint64_t total
    cdef uint16_t id, word = be16(big.headers + big.tcp + 12)
    cdef uint32_t seq = be32(big.headers + big.tcp + 4) + <uint32_t> start
    memcpy(to, big.headers, big.head)
    if big.version == 4:
        id = be16(big.headers + big.ip + 4) + <uint16_t> number
        if big.v2:
            id &= 0x7FFF
        put_be16(ip + 2, <uint16_t> (length - big.ip))
        put_be16(ip + 4, id)
        put_raw16(ip + 10, sum_fold(big.ip_sum + swap16(<uint16_t> (length - big.ip)) + swap16(id)))
    else:
        put_be16(ip + 4, <uint16_t> (length - big.ip - 40))
    if big.udp:
        put_be16(to + big.udp + 4, <uint16_t> (length - big.udp))
    if big.ah:
        add_to(big, to, big.ah + 8, number)
    if big.esp:
        add_to(big, to, big.esp + 4, number)
    if start + data < big.payload:
        word &= ~<uint16_t> (FIN | PSH)
    if start:
        word &= ~<uint16_t> CWR
    put_be32(tcp + 4, seq)
    put_be16(tcp + 12, word)
    # the field holds the pseudo-header's sum but for the length
    total = sum_copy(to + big.head, big.frame + big.head + start, data) + big.tcp_sum
    total += swap16(<uint16_t> clear) + swap16(word) + swap16(<uint16_t> seq) + swap16(<uint16_t> (seq >> 16))
    put_raw16(tcp + 16, sum_fold(total))
    if big.esp:
        end = to + big.head + data
        pad = pad_len(big, clear)
        for i in range(pad):
            end[i] = <uint8_t> (i + 1)
        end[pad] = <uint8_t> pad
        end[pad + 1] = big.next_header


cdef void cut_first(cutting_t *c, const large_t *big) noexcept nogil:
    """The first segment of a large send."""
    c.start = 0
    c.number = 0
    cut_next(c, big)


cdef void cut_next(cutting_t *c, const large_t *big) noexcept nogil:
    """The next one, of the same."""
    cdef uint32_t data = <uint32_t> min(big.payload - c.start, <int64_t> big.mss)
    cdef int64_t length = frame_len(big, data)
    segment(big, add_frame(c.out, big.lead, length, &c.at), c.start, data, length, c.number)
    c.start += data
    c.number += 1


cdef void ask_ahead(const cutting_t *c, const large_t *big, int64_t n) noexcept nogil:
    """Ask for the payload of the next n segments, which comes while those before are encrypted."""
    cdef int64_t at = c.start, end = min(at + n * big.mss, big.payload)
    cdef const uint8_t *to = c.out.base + c.at
    while at < end:
        prefetch(big.frame + big.head + at)
        prefetch_w(to)
        at += 64
        to += 64


cdef void cut_list(cutting_t *c, int64_t i) noexcept nogil:
    """Write all frames of list i behind those of the lists before."""
    cdef const view_t *batch = c.batch
    cdef view_t *out = c.out
    cdef int64_t low = c.first[i] if c.first != NULL else i
    cdef int64_t high = c.first[i + 1] if c.first != NULL else i + 1
    cdef int64_t k
    cdef const large_t *big
    for k in range(low, high):
        big = &c.large[k]
        if not big.mss:
            memcpy(add_frame(out, 0, batch.length[k], &c.at), batch.base + batch.offset[k], batch.length[k])
            continue
        cut_first(c, big)
        while c.start < big.payload:
            cut_next(c, big)


cdef void complete_large_sends(const int64_t *first, int64_t n, uint64_t *oob, const uint32_t *status,
                               const large_t *large, const view_t *out, const int64_t *out_first) noexcept nogil:
    """Write slot 2's completion form: version 2 says no more, version 1 how much payload went out.

    Segments of lists that failed are wiped: their payload may not be encrypted.
    """
    cdef int64_t i, k, low, total
    cdef uint64_t word
    for i in range(n):
        if status[i] != NDIS_STATUS_SUCCESS:
            for k in range(out_first[i], out_first[i + 1]):
                memset(out.base + out.offset[k], 0, out.length[k])
        word = oob[ROW_LARGE_SEND * n + i]
        if not word & MSS_MASK:
            continue
        total = 0
        if status[i] == NDIS_STATUS_SUCCESS:
            low = first[i] if first != NULL else i
            for k in range(low, first[i + 1] if first != NULL else i + 1):
                total += large[k].payload
        oob[ROW_LARGE_SEND * n + i] = TYPE_V2 if word & TYPE_V2 else total & 0x3FFFFFFF
