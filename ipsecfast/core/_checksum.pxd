# The Internet checksum (RFC 1071) over long runs, alone or while copying: unfolded sums in memory order.

from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #ifndef IPF_CHECKSUM_H
    #define IPF_CHECKSUM_H
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>
    typedef uint64_t ipf_quad __attribute__((vector_size(32)));
    /* dst == NULL: only the sum.  32-bit words are added in 64-bit lanes, which hold more than any packet has */
    static inline __attribute__((always_inline)) uint64_t ipf_sum_run(uint8_t *dst, const uint8_t *src, size_t n)
    {
        const ipf_quad low = {0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu};
        ipf_quad a = {0, 0, 0, 0}, b = a, c = a, d = a, x, y;
        uint64_t s;
        uint32_t w;
        uint16_t h;
        uint8_t last[2];
        for (; n >= 64; n -= 64, src += 64) {
            memcpy(&x, src, 32);
            memcpy(&y, src + 32, 32);
            if (dst) {
                memcpy(dst, &x, 32);
                memcpy(dst + 32, &y, 32);
                dst += 64;
            }
            a += x & low;
            b += x >> 32;
            c += y & low;
            d += y >> 32;
        }
        a += b + c + d;
        s = a[0] + a[1] + a[2] + a[3];
        if (dst) memcpy(dst, src, n);
        for (; n >= 4; n -= 4, src += 4) { memcpy(&w, src, 4); s += w; }
        if (n >= 2) { memcpy(&h, src, 2); s += h; n -= 2; src += 2; }
        if (n) { last[0] = *src; last[1] = 0; memcpy(&h, last, 2); s += h; }
        return s;
    }
    #if defined(__x86_64__)
    #define IPF_WIDE __builtin_cpu_supports("avx2")
    __attribute__((target("avx2"))) static uint64_t ipf_sum_wide(uint8_t *dst, const uint8_t *src, size_t n)
    {
        return dst ? ipf_sum_run(dst, src, n) : ipf_sum_run(NULL, src, n);
    }
    #else
    #define IPF_WIDE 0
    #define ipf_sum_wide ipf_sum_run
    #endif
    static uint64_t ipf_sum_bytes(const uint8_t *p, size_t n)
    {
        return IPF_WIDE ? ipf_sum_wide(NULL, p, n) : ipf_sum_run(NULL, p, n);
    }
    static uint64_t ipf_sum_copy(uint8_t *dst, const uint8_t *src, size_t n)
    {
        return IPF_WIDE ? ipf_sum_wide(dst, src, n) : ipf_sum_run(dst, src, n);
    }
    #endif
    """
    uint64_t sum_bytes "ipf_sum_bytes"(const uint8_t *p, size_t n) noexcept nogil
    uint64_t sum_copy "ipf_sum_copy"(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
