# The Internet checksum (RFC 1071) over long runs, alone or while copying: unfolded sums in memory order.

from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #ifndef IPF_CHECKSUM_H
    #define IPF_CHECKSUM_H
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>
    /* dst == NULL: only the sum.  Sums of 64-bit words modulo 2^64 (a, b) and of their upper halves (c, d), from which
       that of the lower halves follows: no lane has more than any packet has */
    #define IPF_SUM(NAME, LANES, TARGET) \
    TARGET static uint64_t NAME(uint8_t *dst, const uint8_t *src, size_t n) \
    { \
        typedef uint64_t quads __attribute__((vector_size(8 * LANES))); \
        quads a = {0}, b = a, c = a, d = a, x, y; \
        uint64_t s = 0; \
        uint32_t w; \
        uint16_t h; \
        uint8_t last[2]; \
        int i; \
        if (dst) { \
            for (; (uintptr_t)dst & (8 * LANES - 4) && n >= 4; n -= 4, src += 4, dst += 4) { \
                memcpy(&w, src, 4); \
                memcpy(dst, &w, 4); \
                s += w; \
            } \
            for (; n >= 16 * LANES; n -= 16 * LANES, src += 16 * LANES, dst += 16 * LANES) { \
                memcpy(&x, src, 8 * LANES); \
                memcpy(&y, src + 8 * LANES, 8 * LANES); \
                memcpy(dst, &x, 8 * LANES); \
                memcpy(dst + 8 * LANES, &y, 8 * LANES); \
                a += x; b += y; c += x >> 32; d += y >> 32; \
            } \
            memcpy(dst, src, n); \
        } \
        for (; n >= 8 * LANES; n -= 8 * LANES, src += 8 * LANES) { \
            memcpy(&x, src, 8 * LANES); \
            a += x; c += x >> 32; \
        } \
        a += b; \
        c += d; \
        a -= c << 32; \
        a += c; \
        for (i = 0; i < LANES; i++) s += a[i]; \
        for (; n >= 4; n -= 4, src += 4) { memcpy(&w, src, 4); s += w; } \
        if (n >= 2) { memcpy(&h, src, 2); s += h; n -= 2; src += 2; } \
        if (n) { last[0] = *src; last[1] = 0; memcpy(&h, last, 2); s += h; } \
        return s; \
    }
    IPF_SUM(ipf_sum_any, 2, )
    #if defined(__x86_64__)
    IPF_SUM(ipf_sum_avx2, 4, __attribute__((target("avx2"))))
    static uint64_t ipf_sum(uint8_t *dst, const uint8_t *src, size_t n)
    {
        return __builtin_cpu_supports("avx2") ? ipf_sum_avx2(dst, src, n) : ipf_sum_any(dst, src, n);
    }
    #else
    #define ipf_sum ipf_sum_any
    #endif
    #define ipf_sum_bytes(p, n) ipf_sum(NULL, p, n)
    #define ipf_sum_copy ipf_sum
    #endif
    """
    uint64_t sum_bytes "ipf_sum_bytes"(const uint8_t *p, size_t n) noexcept nogil
    uint64_t sum_copy "ipf_sum_copy"(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
