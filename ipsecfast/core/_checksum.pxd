# The Internet checksum (RFC 1071) over long runs, alone or while copying: unfolded sums in memory order.

from libc.stdint cimport uint8_t, uint64_t

cdef extern from *:
    """
    #ifndef IPF_CHECKSUM_H
    #define IPF_CHECKSUM_H
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>
    typedef uint64_t ipf_pair __attribute__((vector_size(16)));
    /* dst == NULL: only the sum.  32-bit words are added in 64-bit lanes, which hold more than any packet has */
    static inline __attribute__((always_inline)) uint64_t ipf_sum_run(uint8_t *dst, const uint8_t *src, size_t n)
    {
        const ipf_pair low = {0xffffffffu, 0xffffffffu};
        ipf_pair a = {0, 0}, b = {0, 0}, x, y;
        uint64_t s;
        uint32_t w;
        uint16_t h;
        uint8_t last[2];
        for (; n >= 32; n -= 32, src += 32) {
            memcpy(&x, src, 16);
            memcpy(&y, src + 16, 16);
            if (dst) {
                memcpy(dst, &x, 16);
                memcpy(dst + 16, &y, 16);
                dst += 32;
            }
            a += x & low;
            b += x >> 32;
            a += y & low;
            b += y >> 32;
        }
        a += b;
        s = a[0] + a[1];
        if (dst) memcpy(dst, src, n);
        for (; n >= 4; n -= 4, src += 4) { memcpy(&w, src, 4); s += w; }
        if (n >= 2) { memcpy(&h, src, 2); s += h; n -= 2; src += 2; }
        if (n) { last[0] = *src; last[1] = 0; memcpy(&h, last, 2); s += h; }
        return s;
    }
    static uint64_t ipf_sum_bytes(const uint8_t *p, size_t n) { return ipf_sum_run(NULL, p, n); }
    static uint64_t ipf_sum_copy(uint8_t *dst, const uint8_t *src, size_t n) { return ipf_sum_run(dst, src, n); }
    #endif
    """
    uint64_t sum_bytes "ipf_sum_bytes"(const uint8_t *p, size_t n) noexcept nogil
    uint64_t sum_copy "ipf_sum_copy"(uint8_t *dst, const uint8_t *src, size_t n) noexcept nogil
