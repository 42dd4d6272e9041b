# Network-order loads and stores, hints to compiler and caches, constant-time compare, wiping.  No Python objects.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef IPF_BYTES_H
    #define IPF_BYTES_H
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define ipf_little16(x) __builtin_bswap16(x)
    #define ipf_little64(x) __builtin_bswap64(x)
    #define ipf_shift(ofs, n) (64 - 8 * ((ofs) + (n)))
    #define ipf_swap16(x) ((uint16_t)(x))
    #define ipf_swap32(x) ((uint32_t)(x))
    #define ipf_swap64(x) ((uint64_t)(x))
    #else
    #define ipf_little16(x) ((uint16_t)(x))
    #define ipf_little64(x) ((uint64_t)(x))
    #define ipf_shift(ofs, n) (8 * (ofs))
    #define ipf_swap16(x) __builtin_bswap16(x)
    #define ipf_swap32(x) __builtin_bswap32(x)
    #define ipf_swap64(x) __builtin_bswap64(x)
    #endif
    static inline uint16_t ipf_raw16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
    static inline uint32_t ipf_raw32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
    static inline uint64_t ipf_raw64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
    static inline void ipf_put_raw16(void *p, uint16_t v) { memcpy(p, &v, 2); }
    static inline void ipf_put_raw32(void *p, uint32_t v) { memcpy(p, &v, 4); }
    static inline void ipf_put_raw64(void *p, uint64_t v) { memcpy(p, &v, 8); }
    static inline uint16_t ipf_be16(const void *p) { return ipf_swap16(ipf_raw16(p)); }
    static inline uint32_t ipf_be32(const void *p) { return ipf_swap32(ipf_raw32(p)); }
    static inline uint64_t ipf_be64(const void *p) { return ipf_swap64(ipf_raw64(p)); }
    static inline void ipf_put_be16(void *p, uint16_t v) { ipf_put_raw16(p, ipf_swap16(v)); }
    static inline void ipf_put_be32(void *p, uint32_t v) { ipf_put_raw32(p, ipf_swap32(v)); }
    static inline void ipf_put_be64(void *p, uint64_t v) { ipf_put_raw64(p, ipf_swap64(v)); }
    /* a network-order field as it stands in 8 bytes loaded raw, `ofs` bytes from their start */
    static inline uint64_t ipf_field8(uint8_t v, int ofs) { return (uint64_t)v << ipf_shift(ofs, 1); }
    static inline uint64_t ipf_field16(uint16_t v, int ofs) { return (uint64_t)ipf_swap16(v) << ipf_shift(ofs, 2); }
    /* one's complement sum (RFC 1071) of 8-byte words, folded to 16 bits and complemented; raw byte order */
    static inline uint64_t ipf_add_carry(uint64_t a, uint64_t b) { a += b; return a + (a < b); }
    static inline uint16_t ipf_fold(uint64_t s)
    {
        uint32_t t;
        s += s >> 32 | s << 32;
        t = (uint32_t)(s >> 32);
        t += t >> 16 | t << 16;
        return (uint16_t)~(t >> 16);
    }
    /* what most packets are: the others' way then takes no registers from theirs */
    #define ipf_likely(x) __builtin_expect(!!(x), 1)
    /* the empty statement keeps gcc from taking functions that only prefetch for functions without effect */
    static inline void ipf_prefetch(const void *p) { __builtin_prefetch(p, 0, 3); __asm__ volatile(""); }
    static inline void ipf_prefetch_w(const void *p) { __builtin_prefetch(p, 1, 3); __asm__ volatile(""); }
    /* 1 if equal; time depends on n alone */
    static inline int ipf_equal(const void *a, const void *b, size_t n)
    {
        const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
        uint64_t d = 0;
        if (n == 16) {
            d = (ipf_raw64(x) ^ ipf_raw64(y)) | (ipf_raw64(x + 8) ^ ipf_raw64(y + 8));
            n = 0;
        } else if (n == 12) {
            d = (ipf_raw64(x) ^ ipf_raw64(y)) | (ipf_raw32(x + 8) ^ ipf_raw32(y + 8));
            n = 0;
        }
        for (; n >= 8; n -= 8, x += 8, y += 8) d |= ipf_raw64(x) ^ ipf_raw64(y);
        for (; n; n--, x++, y++) d |= (uint64_t)(*x ^ *y);
        __asm__ volatile("" : "+r"(d));
        return d == 0;
    }
    /* copies and zeros of ICVs, which are 12 or 16 bytes nearly always */
    static inline void ipf_copy_icv(void *to, const void *from, size_t n)
    {
        if (n == 12) memcpy(to, from, 12);
        else if (n == 16) memcpy(to, from, 16);
        else memcpy(to, from, n);
    }
    /* IVs have 8 or 16 bytes, or none */
    static inline void ipf_copy_iv(void *to, const void *from, size_t n)
    {
        if (n == 8) memcpy(to, from, 8);
        else if (n == 16) memcpy(to, from, 16);
    }
    static inline void ipf_zero_iv(void *to, size_t n)
    {
        if (n == 8) memset(to, 0, 8);
        else if (n == 16) memset(to, 0, 16);
    }
    static inline void ipf_zero_icv(void *to, size_t n)
    {
        if (n == 12) memset(to, 0, 12);
        else if (n == 16) memset(to, 0, 16);
        else memset(to, 0, n);
    }
    /* the bits that are set in any of n words */
    static inline uint64_t ipf_any64(const uint64_t *p, size_t n)
    {
        uint64_t a = 0, b = 0;
        for (; n >= 4; n -= 4, p += 4) {
            a |= p[0] | p[1];
            b |= p[2] | p[3];
        }
        for (; n; n--) a |= *p++;
        return a | b;
    }
    static inline uint32_t ipf_any32(const uint32_t *p, size_t n)
    {
        uint64_t a = 0;
        for (; n >= 4; n -= 4, p += 4) a |= ipf_raw64(p) | ipf_raw64(p + 2);
        for (; n; n--) a |= *p++;
        return (uint32_t)(a | a >> 32);
    }
    /* a memset that the compiler keeps */
    static inline void ipf_wipe(void *p, size_t n)
    {
        memset(p, 0, n);
        __asm__ volatile("" : : "r"(p) : "memory");
    }
    #endif
    """
    uint16_t raw16 "ipf_raw16"(const void *p) noexcept nogil
    uint32_t raw32 "ipf_raw32"(const void *p) noexcept nogil
    uint64_t raw64 "ipf_raw64"(const void *p) noexcept nogil
    void put_raw16 "ipf_put_raw16"(void *p, uint16_t v) noexcept nogil
    void put_raw32 "ipf_put_raw32"(void *p, uint32_t v) noexcept nogil
    void put_raw64 "ipf_put_raw64"(void *p, uint64_t v) noexcept nogil
    uint16_t be16 "ipf_be16"(const void *p) noexcept nogil
    uint32_t be32 "ipf_be32"(const void *p) noexcept nogil
    uint64_t be64 "ipf_be64"(const void *p) noexcept nogil
    void put_be16 "ipf_put_be16"(void *p, uint16_t v) noexcept nogil
    void put_be32 "ipf_put_be32"(void *p, uint32_t v) noexcept nogil
    void put_be64 "ipf_put_be64"(void *p, uint64_t v) noexcept nogil
    uint16_t swap16 "ipf_swap16"(uint16_t v) noexcept nogil
    uint32_t swap32 "ipf_swap32"(uint32_t v) noexcept nogil
    uint64_t swap64 "ipf_swap64"(uint64_t v) noexcept nogil
    uint16_t little16 "ipf_little16"(uint16_t v) noexcept nogil      # low byte first in memory
    uint64_t little64 "ipf_little64"(uint64_t v) noexcept nogil
    uint64_t field8 "ipf_field8"(uint8_t v, int ofs) noexcept nogil
    uint64_t field16 "ipf_field16"(uint16_t v, int ofs) noexcept nogil
    uint64_t add_carry "ipf_add_carry"(uint64_t a, uint64_t b) noexcept nogil
    uint16_t sum_fold "ipf_fold"(uint64_t s) noexcept nogil
    bint likely "ipf_likely"(bint x) noexcept nogil
    void prefetch "ipf_prefetch"(const void *p) noexcept nogil
    void prefetch_w "ipf_prefetch_w"(const void *p) noexcept nogil
    int bytes_equal "ipf_equal"(const void *a, const void *b, size_t n) noexcept nogil
    void copy_icv "ipf_copy_icv"(void *to, const void *source, size_t n) noexcept nogil
    void copy_iv "ipf_copy_iv"(void *to, const void *source, size_t n) noexcept nogil
    void zero_iv "ipf_zero_iv"(void *to, size_t n) noexcept nogil
    void zero_icv "ipf_zero_icv"(void *to, size_t n) noexcept nogil
    uint64_t any64 "ipf_any64"(const uint64_t *p, size_t n) noexcept nogil
    uint32_t any32 "ipf_any32"(const uint32_t *p, size_t n) noexcept nogil
    void wipe "ipf_wipe"(void *p, size_t n) noexcept nogil
