# The IV of one ESP or AH header that the NIC sends.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._bytes cimport copy_iv, put_be64, raw64
from ._nic cimport nic_sa_t, nic_t
from ._protect cimport random_iv
from ._types cimport IV_COUNTER, IV_NONE, sa_t, shape_t, table_t

cdef bint generated(nic_t *nic, uint8_t *out, uint32_t n) noexcept nogil
cdef bint new_iv(nic_sa_t *own, uint64_t iv) noexcept nogil


cdef inline bint another_iv(table_t *t, nic_t *nic, uint8_t *iv, uint32_t n) noexcept nogil:
    return generated(nic, iv, n) if nic.generator != NULL else random_iv(t, iv, n)


cdef inline bint write_iv(table_t *t, nic_t *nic, const sa_t *sa, uint64_t seq, const shape_t *shape, uint8_t *at,
                          bint cut, uint8_t *iv) noexcept nogil:
    """The IV of one layer, at `at`, and for the cipher in `iv`; False if there is none to be had.

    The packet is memory that the host might write at any time: what is used of it was read once.
    """
    if nic.options.host_iv and not cut:
        copy_iv(iv, at, shape.iv_len)
    elif shape.iv_kind == IV_COUNTER:
        put_be64(iv, seq ^ sa.word[0])
    elif shape.iv_kind != IV_NONE and not another_iv(t, nic, iv, shape.iv_len):
        return False
    copy_iv(at, iv, shape.iv_len)
    return not (shape.iv_kind == IV_COUNTER and nic.options.host_iv) or new_iv(&nic.sas[sa - t.sas], raw64(iv))
