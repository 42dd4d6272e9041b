"""IVs of the NIC that are not the usual ones: a test's own generator, or the host's, of which none is taken twice."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from ._nic cimport nic_sa_t, nic_t

cdef enum:
    IVS = 64                  # places of a new table of IVs


cdef bint generated(nic_t *nic, uint8_t *out, uint32_t n) noexcept nogil:
    """n bytes of the caller's generator, which is asked for many at a time."""
    if nic.pool_left < n:
        with gil:
            try:
                data = bytes((<object> nic.generator)(sizeof(nic.pool)))
                if len(data) != sizeof(nic.pool):
                    return False
                memcpy(nic.pool, <const char *> data, sizeof(nic.pool))
            except Exception:
                return False
        nic.pool_left = sizeof(nic.pool)
    memcpy(out, nic.pool + sizeof(nic.pool) - nic.pool_left, n)
    nic.pool_left -= n
    return True


cdef bint new_iv(nic_sa_t *own, uint64_t iv) noexcept nogil:
    """Remember the IV of a counter mode; False if it is zero, was used before, or can't be remembered."""
    cdef uint64_t *grown
    cdef uint64_t mask, i, at
    if iv == 0:
        return False
    if 2 * own.n_ivs >= own.iv_mask:
        mask = 2 * own.iv_mask + 1 if own.ivs != NULL else IVS - 1
        grown = <uint64_t *> calloc(mask + 1, sizeof(uint64_t))
        if grown == NULL:
            return False
        if own.ivs != NULL:
            for i in range(own.iv_mask + 1):
                if own.ivs[i]:
                    grown[free_place(grown, mask, own.ivs[i])] = own.ivs[i]
            free(own.ivs)
        own.ivs = grown
        own.iv_mask = mask
    at = free_place(own.ivs, own.iv_mask, iv)
    if own.ivs[at] == iv:
        return False
    own.ivs[at] = iv
    own.n_ivs += 1
    return True


cdef uint64_t free_place(const uint64_t *ivs, uint64_t mask, uint64_t iv) noexcept nogil:
    """Where it is in the table, or should be."""
    cdef uint64_t at = ((iv * <uint64_t> 0x9E3779B97F4A7C15U) >> 32) & mask
    while ivs[at] and ivs[at] != iv:
        at = (at + 1) & mask
    return at
