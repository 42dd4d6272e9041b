# The anti-replay window and the inference of ESN's high half (RFC 4303 sec. 3.4.3, appendix A2).
# Numbers and bits only: no packet, no crypto.
#
# The bits live in a ring of 64-bit words, one bit a sequence number, at (seq / 64) & ring_mask.  The
# ring is a power of two with one word more than the window needs, so that a word is never shared by
# numbers of both edges.
#
#      top - size              top
#   ......|= = = = = = = = = = =|......
#  refused  checked bit by bit    new

from libc.stdint cimport uint32_t, uint64_t


cdef inline uint32_t window_words(uint32_t size) noexcept nogil:
    """Words of the ring for `size` packets: a power of two, at least 1."""
    cdef uint32_t need = (size + 62) // 64 + 1, words = 1
    while words < need:
        words *= 2
    return words


cdef inline bint window_check(const uint64_t *ring, uint64_t mask, uint64_t size, uint64_t top,
                              uint64_t seq) noexcept nogil:
    """May `seq` be accepted?  0 is never sent (RFC 4303 sec. 3.3.3)."""
    if seq > top:
        return True
    if seq == 0 or top - seq >= size:
        return False
    return not (ring[(seq >> 6) & mask] >> (seq & 63)) & 1


cdef inline uint64_t window_mark(uint64_t *ring, uint64_t mask, uint64_t top, uint64_t seq) noexcept nogil:
    """Mark `seq` as seen, moving the window if it lies beyond; returns the new top."""
    cdef uint64_t word, last
    if seq > top:
        word = top >> 6
        last = seq >> 6
        if word != last:
            if last - word > mask:
                word = last - mask - 1
            while word < last:
                word += 1
                ring[word & mask] = 0
        top = seq
    ring[(seq >> 6) & mask] |= (<uint64_t> 1) << (seq & 63)
    return top


cdef inline uint64_t esn_infer(uint64_t top, uint64_t size, uint32_t seq_lo, bint *valid) noexcept nogil:
    """The 64-bit number that `seq_lo` most likely stands for."""
    cdef uint64_t high = top >> 32, guess
    cdef uint32_t top_lo = <uint32_t> top, bottom
    valid[0] = True
    if size == 0:
        # no window to go by: the number nearest to the highest one
        guess = (high << 32) | seq_lo
        if guess < top and top - guess >= 0x80000000U and high < 0xFFFFFFFFU:
            guess += (<uint64_t> 1) << 32
        elif guess > top and guess - top > 0x80000000U and high > 0:
            guess -= (<uint64_t> 1) << 32
        return guess
    bottom = top_lo - <uint32_t> size + 1
    if top_lo >= size - 1:
        # Case A: the window lies within one span of 2^32
        if seq_lo < bottom:
            if high == 0xFFFFFFFFU:
                valid[0] = False
                return seq_lo
            high += 1
    elif seq_lo >= bottom:
        # Case B: it reaches back into the span before, which at the start does not exist
        if high == 0:
            valid[0] = False
            return seq_lo
        high -= 1
    return (high << 32) | seq_lo
