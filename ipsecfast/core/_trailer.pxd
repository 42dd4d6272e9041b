# ESP's padding, pad length and next header (RFC 4303 sec. 2.4 to 2.6) where the padding is short, as nearly always.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._bytes cimport little64

cdef extern from *:
    """
    #ifndef IPF_TRAILER_H
    #define IPF_TRAILER_H
    /* n bytes 1, 2, 3, ..., then n; the first byte lowest */
    static const uint64_t ipf_paddings[7] = {
        0, 0x0101, 0x020201, 0x03030201, 0x0404030201, 0x050504030201, 0x06060504030201 };
    #endif
    """
    const uint64_t *paddings "ipf_paddings"

cdef enum:
    SHORT_PADDING = 6


cdef inline uint64_t short_trailer(uint32_t pad_len, uint8_t next_header) noexcept nogil:
    """As its bytes stand in memory, zeros behind."""
    return little64(paddings[pad_len] | <uint64_t> next_header << (8 * pad_len + 8))


cdef inline bint is_short_trailer(uint64_t last, uint32_t *pad_len, uint8_t *next_header) noexcept nogil:
    """Are the last 8 bytes of a text, as they stand in memory, good ones with a short padding?"""
    last = little64(last)
    pad_len[0] = (last >> 48) & 0xFF
    next_header[0] = <uint8_t> (last >> 56)
    return pad_len[0] <= SHORT_PADDING and (last << 8) >> (56 - 8 * pad_len[0]) == paddings[pad_len[0]]
