# The IV of one ESP or AH header that the NIC sends.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._bytes cimport put_be64, raw64
from ._nic cimport nic_sa_t, nic_t
from ._protect cimport random_iv
from ._types cimport IV_COUNTER, IV_NONE, sa_t, shape_t, table_t

cdef bint generated(nic_t *nic, uint8_t *out, uint32_t n) noexcept nogil
cdef bint new_iv(nic_sa_t *own, uint64_t iv) noexcept nogil


cdef inline bint write_iv(table_t *t, nic_t *nic, const sa_t *sa, uint64_t seq, const shape_t *shape, uint8_t *at,
                          bint cut) noexcept nogil:
    """The IV of one layer, at `at`; False if there is none to be had."""
    cdef bint host = nic.options.host_iv and not cut
    if shape.iv_kind == IV_COUNTER:
        if not host:
            put_be64(at, seq ^ sa.word[0])
        return not nic.options.host_iv or new_iv(&nic.sas[sa - t.sas], raw64(at))
    if shape.iv_kind == IV_NONE or host:
        return True
    if nic.generator != NULL:
        return generated(nic, at, shape.iv_len)
    return random_iv(t, at, shape.iv_len)
