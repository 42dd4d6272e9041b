"""Records of a capture: what index notes of one, and how a chunk of them is written again.

Inline functions only, for _capture.pyx.  The caller has checked that every packet of ``chunk_t``
with status 0 lies inside ``work``, and that ``out`` has room for what grows.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ._link cimport FAMILY_FIXED, place_t, state_family, store32

cdef enum:                      # record forms
    FORM_PCAP
    FORM_BLOCK                  # enhanced and obsolete packet block: the same from byte 12 on
    FORM_SIMPLE                 # simple packet block: no time, no captured length

cdef enum:                      # what is written
    AS_IS
    AS_PCAP
    AS_PCAPNG

cdef struct record_t:
    int64_t start               # in the chunk: of the record with its header ...
    int64_t frame               # ... of the frame ...
    int64_t end                 # ... and one past padding, options and trailer
    int64_t seconds             # the time stamp, where a conversion needs it
    int64_t nanoseconds
    int32_t caplen
    uint32_t orig_len
    place_t place
    uint8_t form
    uint8_t big

cdef struct interface_t:
    int32_t link_type
    int64_t snaplen             # 0: none
    int32_t resolution          # if_tsresol as it is in the file
    int64_t offset              # if_tsoffset, seconds

cdef struct chunk_t:
    const record_t *records
    int64_t count
    int64_t start               # what of raw was indexed
    int64_t end
    const uint8_t *raw          # as it was in the file
    const uint8_t *work         # replaced packets are here
    uint8_t *out
    const int64_t *offset       # of the packets with IP, now
    const int32_t *length
    const uint8_t *status       # 0: to be taken from work
    int out_form
    bint out_big
    bint out_nanos
    int64_t unfit               # packets whose new family the link type can't hold


cdef inline int64_t padded(int64_t n) noexcept nogil:
    return (n + 3) & ~<int64_t>3


cdef inline void split_time(record_t *r, uint64_t stamp, const interface_t *interface) noexcept nogil:
    """A pcapng time stamp as seconds and nanoseconds."""
    cdef int exponent = interface.resolution & 0x7F, _i
    cdef uint64_t unit = 1, rest
    # Whole seconds are kept in 32 bit, as a pcap does: nothing that a file says overflows below.
    r.seconds = <int64_t><uint32_t>interface.offset
    r.nanoseconds = 0
    if interface.resolution & 0x80:
        if exponent > 63:
            return
        rest = stamp & ((<uint64_t>1 << exponent) - 1)
        r.seconds += <int64_t><uint32_t>(stamp >> exponent)
        if exponent > 34:                       # keeps the product below in 64 bit
            rest >>= exponent - 34
            exponent = 34
        r.nanoseconds = <int64_t>((rest * 1000000000) >> exponent)
        return
    if exponent > 19:
        return
    for _i in range(exponent):
        unit *= 10
    rest = stamp % unit
    r.seconds += <int64_t><uint32_t>(stamp // unit)
    for _i in range(exponent, 9):
        rest *= 10
    for _i in range(9, exponent):
        rest //= 10
    r.nanoseconds = <int64_t>rest


cdef inline bint replaced(chunk_t *c, const record_t *r, int64_t k) noexcept nogil:
    """Whether packet k is to be taken from ``work``."""
    if c.status[k] != 0:
        return False
    if r.place.family == FAMILY_FIXED and (c.raw[r.frame + r.place.ip] ^ c.work[c.offset[k]]) >> 4:
        c.unfit += 1
        return False
    return True


cdef inline void correct_family(chunk_t *c, const record_t *r, int64_t k, uint8_t *frame) noexcept nogil:
    cdef const uint8_t *packet = c.work + c.offset[k]
    if (c.raw[r.frame + r.place.ip] ^ packet[0]) >> 4:
        state_family(frame, &r.place, packet[0] >> 4)


cdef inline int64_t finish_block(
    chunk_t *c, const record_t *r, uint8_t *head, int64_t to, uint32_t caplen
) noexcept nogil:
    """Padding, options and both total lengths of a packet block at ``head``; returns its end."""
    cdef int64_t tail = r.frame + padded(r.caplen), pad = padded(caplen) - caplen, size = r.end - 4 - tail
    cdef uint32_t total
    memset(c.out + to, 0, <size_t>pad)
    memcpy(c.out + to + pad, c.raw + tail, <size_t>size)
    to += pad + size
    total = <uint32_t>(c.out + to + 4 - head)
    store32(c.out + to, total, r.big)
    store32(head + 4, total, r.big)
    if r.form == FORM_SIMPLE:
        store32(head + 8, caplen, r.big)
    else:
        store32(head + 20, caplen, r.big)
        store32(head + 24, caplen, r.big)
    return to + 4


cdef inline int64_t assemble_as_is(chunk_t *c) noexcept nogil:
    """The chunk in its own form; what stands between replaced packets is copied in one piece."""
    cdef int64_t i, k = -1, done = c.start, to = 0, size
    cdef uint32_t caplen
    cdef const record_t *r
    cdef uint8_t *head
    for i in range(c.count):
        r = &c.records[i]
        if r.place.ip < 0:
            continue
        k += 1
        if not replaced(c, r, k):
            continue
        size = r.frame + r.place.ip - done
        memcpy(c.out + to, c.raw + done, <size_t>size)
        head = c.out + to + (r.start - done)
        to += size
        memcpy(c.out + to, c.work + c.offset[k], <size_t>c.length[k])
        to += c.length[k]
        correct_family(c, r, k, head + (r.frame - r.start))
        caplen = <uint32_t>(r.place.ip + c.length[k])
        if r.form == FORM_PCAP:
            store32(head + 8, caplen, r.big)
            store32(head + 12, caplen, r.big)
        else:
            to = finish_block(c, r, head, to, caplen)
        done = r.end
    memcpy(c.out + to, c.raw + done, <size_t>(c.end - done))
    return to + c.end - done


cdef inline int64_t convert(chunk_t *c) noexcept nogil:
    """Every packet with a new record header of ``out_form``; what is no packet is left out."""
    cdef int64_t i, k = -1, to = 0, before, size, caplen
    cdef const record_t *r
    cdef bint new
    for i in range(c.count):
        r = &c.records[i]
        new = False
        if r.place.ip >= 0:
            k += 1
            new = replaced(c, r, k)
        before = r.place.ip if new else r.caplen
        size = c.length[k] if new else 0
        caplen = before + size
        to += record_header(c, r, c.out + to, <uint32_t>caplen, <uint32_t>caplen if new else r.orig_len)
        memcpy(c.out + to, c.raw + r.frame, <size_t>before)
        if new:
            memcpy(c.out + to + before, c.work + c.offset[k], <size_t>size)
            correct_family(c, r, k, c.out + to)
        to += caplen
        if c.out_form == AS_PCAPNG:
            memset(c.out + to, 0, <size_t>(padded(caplen) - caplen))
            to += padded(caplen) - caplen
            store32(c.out + to, <uint32_t>(32 + padded(caplen)), False)
            to += 4
    return to


cdef inline int64_t record_header(
    chunk_t *c, const record_t *r, uint8_t *out, uint32_t caplen, uint32_t orig_len
) noexcept nogil:
    cdef int64_t fraction = r.nanoseconds if c.out_nanos else r.nanoseconds // 1000
    cdef uint64_t stamp
    if c.out_form == AS_PCAP:
        store32(out, <uint32_t>r.seconds, c.out_big)
        store32(out + 4, <uint32_t>fraction, c.out_big)
        store32(out + 8, caplen, c.out_big)
        store32(out + 12, orig_len, c.out_big)
        return 16
    stamp = <uint64_t>r.seconds * <uint64_t>(1000000000 if c.out_nanos else 1000000) + <uint64_t>fraction
    store32(out, 6, False)      # enhanced packet block
    store32(out + 4, <uint32_t>(32 + padded(caplen)), False)
    store32(out + 8, 0, False)
    store32(out + 12, <uint32_t>(stamp >> 32), False)
    store32(out + 16, <uint32_t>stamp, False)
    store32(out + 20, caplen, False)
    store32(out + 24, orig_len, False)
    return 28
