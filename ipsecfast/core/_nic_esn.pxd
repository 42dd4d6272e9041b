# The 64-bit numbers of received packets, of which the wire has the low half (RFC 4303 appendix A2).

from libc.stdint cimport uint32_t, uint64_t

from ._nic cimport nic_sa_t, nic_t

cdef enum:
    WRAP_ZONE = 0x40000000    # so near to a wrap of the low half other high halves come into question


cdef inline uint64_t number(const nic_t *nic, const nic_sa_t *own, uint32_t lo) noexcept nogil:
    """The 64-bit number of a packet of an ESN SA: the host's high half, or near a wrap its neighbour."""
    cdef uint32_t high = own.seq_hi, top_lo
    if nic.options.esn_literal or not own.seen:
        return <uint64_t> high << 32 | lo
    high = <uint32_t> (own.top >> 32)
    top_lo = <uint32_t> own.top
    if top_lo >= 0xFFFFFFFFU - WRAP_ZONE and lo < WRAP_ZONE:
        high += 1
    elif top_lo < WRAP_ZONE and lo >= 0xFFFFFFFFU - WRAP_ZONE and high:
        high -= 1
    return <uint64_t> high << 32 | lo


cdef inline bint another_number(const nic_t *nic, const nic_sa_t *own, uint64_t *seq) noexcept nogil:
    """Near a wrap, the other number that a packet whose ICV was wrong may have; False if there is none."""
    cdef uint32_t lo = <uint32_t> seq[0]
    cdef uint64_t now = number(nic, own, lo)
    cdef uint32_t high = <uint32_t> (now >> 32)
    if nic.options.esn_literal or (lo >= WRAP_ZONE and lo < 0xFFFFFFFFU - WRAP_ZONE):
        return False
    if now == seq[0]:                # else packets of the same chunk have told more since
        if own.seen:
            if high == <uint32_t> (own.top >> 32):
                return False
            high = <uint32_t> (own.top >> 32)
        elif lo < WRAP_ZONE:
            high += 1
        elif high == 0:
            return False
        else:
            high -= 1
    seq[0] = <uint64_t> high << 32 | lo
    return True


cdef inline void mark(nic_sa_t *own, uint64_t seq) noexcept nogil:
    """Keep the highest authenticated number, be the packet handed up as it came or not."""
    if seq > own.top or not own.seen:
        own.top = seq
    own.seen = True
