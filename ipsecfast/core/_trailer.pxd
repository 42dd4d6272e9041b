# ESP's padding, pad length and next header (RFC 4303 sec. 2.4 to 2.6).

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from ._bytes cimport little16, little64, put_raw16, put_raw64, raw64

cdef extern from *:
    """
    #ifndef IPF_TRAILER_H
    #define IPF_TRAILER_H
    /* n bytes 1, 2, 3, ..., then n; the first byte lowest */
    static const uint64_t ipf_paddings[7] = {
        0, 0x0101, 0x020201, 0x03030201, 0x0404030201, 0x050504030201, 0x06060504030201 };
    #define IPF_COUNTING 0x0807060504030201ull   /* 1 to 8 */
    #define IPF_EACH_BYTE 0x0101010101010101ull
    #endif
    """
    const uint64_t *paddings "ipf_paddings"
    const uint64_t COUNTING "IPF_COUNTING"
    const uint64_t EACH_BYTE "IPF_EACH_BYTE"

cdef enum:
    SHORT_PADDING = 6


cdef inline uint64_t short_trailer(uint32_t pad_len, uint8_t next_header) noexcept nogil:
    """As its bytes stand in memory, zeros behind."""
    return little64(paddings[pad_len] | <uint64_t> next_header << (8 * pad_len + 8))


cdef inline void put_trailer(uint8_t *at, uint32_t pad_len, uint8_t next_header) noexcept nogil:
    """A padding of up to 15 bytes, its length, the next header; up to 8 bytes behind are written too."""
    if pad_len <= SHORT_PADDING:
        put_raw64(at, short_trailer(pad_len, next_header))
        return
    put_raw64(at, little64(COUNTING))
    put_raw64(at + 8, little64(COUNTING + 8 * EACH_BYTE))
    put_raw16(at + pad_len, little16(<uint16_t> (pad_len | <uint32_t> next_header << 8)))


cdef inline bint padding_counts(const uint8_t *end, uint32_t n) noexcept nogil:
    """The n bytes in front of `end` are 1, 2, 3, ... (RFC 4303 sec. 2.4)."""
    cdef uint32_t i
    cdef uint8_t wrong = 0
    if n <= 8:
        # the ESP header stands in front, so 8 bytes are always there; shifts of 0 to 64 in two steps
        return ((little64(raw64(end - 8)) ^ (COUNTING << (32 - 4 * n) << (32 - 4 * n)))
                >> (32 - 4 * n) >> (32 - 4 * n)) == 0
    if n <= 16:
        return little64(raw64(end - n)) == COUNTING and little64(raw64(end - 8)) == COUNTING + (n - 8) * EACH_BYTE
    for i in range(n):
        wrong |= (end - n)[i] ^ <uint8_t> (i + 1)
    return wrong == 0


cdef inline bint is_short_trailer(uint64_t last, uint32_t *pad_len, uint8_t *next_header) noexcept nogil:
    """Are the last 8 bytes of a text, as they stand in memory, good ones with a short padding?"""
    last = little64(last)
    pad_len[0] = (last >> 48) & 0xFF
    next_header[0] = <uint8_t> (last >> 56)
    return pad_len[0] <= SHORT_PADDING and (last << 8) >> (56 - 8 * pad_len[0]) == paddings[pad_len[0]]
