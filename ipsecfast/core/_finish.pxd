# Behind the crypto, for what most inbound packets are: window mark and strip.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._ah cimport ah_len_of
from ._bytes cimport put_raw32, put_raw64, raw32, raw64
from ._ip cimport ip4_mend, ip4_move
from ._strip cimport leads_on
from ._trailer cimport is_short_trailer
from ._types cimport IPPROTO_NONE_, PENDING, SA_TUNNEL, sa_t, table_t, work_t
from ._window cimport window_mark


cdef inline void mark(sa_t *sa, uint64_t seq) noexcept nogil:
    if sa.window_size:
        sa.seq = window_mark(sa.ring, sa.ring_mask, sa.seq, seq)
    elif seq > sa.seq:
        sa.seq = seq


cdef inline bint plainly_good(const work_t *w, uint32_t epoch) noexcept nogil:
    """Genuine, in its turn, and in transport mode?"""
    return w.cipher.good and w.sa.pend_epoch == epoch and not w.sa.flags & SA_TUNNEL


cdef inline bint finish_usual(const table_t *t, work_t *w, uint8_t *data, uint32_t n, uint32_t pad_len,
                              uint8_t next_header, uint8_t **packet, uint32_t *length) noexcept nogil:
    """`finish` for what most ESP packets are when all is well: plainly good, with nothing of ours inside.

    data, n : what was encrypted, its trailer included.  False: nothing was done.
    """
    if pad_len + 2 > n:
        return False
    n -= pad_len + 2
    if next_header == IPPROTO_NONE_ or leads_on(t, next_header, data, n):
        return False
    mark(w.sa, w.seq)
    ip4_move(data - 20, w.at.ip, 20, 20 + n, next_header)
    packet[0] = data - 20
    length[0] = 20 + n
    return True


cdef inline bint finish_usual_aead(const table_t *t, work_t *w, uint32_t epoch, uint8_t **packet,
                                   uint32_t *length) noexcept nogil:
    """For a USUAL_AEAD."""
    cdef uint8_t *data = w.cipher.text
    cdef uint32_t n = w.cipher.text_len, pad_len
    cdef uint8_t next_header
    # ESP's header is in front, so 8 bytes are always there
    return (plainly_good(w, epoch) and is_short_trailer(raw64(data + n - 8), &pad_len, &next_header)
            and finish_usual(t, w, data, n, pad_len, next_header, packet, length))


cdef inline bint finish_usual_ah(const table_t *t, work_t *w, uint32_t epoch, uint8_t **packet,
                                 uint32_t *length) noexcept nogil:
    """For a USUAL_AH; the header goes from where it was kept to its new place."""
    cdef sa_t *sa = w.sa
    cdef const uint8_t *ah = w.at.esp - 4
    cdef uint8_t *data = w.at.esp - 4 + ah_len_of(&w.at)
    cdef uint8_t next_header = ah[0]
    cdef uint32_t n = w.at.total - <uint32_t> (data - w.at.ip), dst = raw32(w.at.ip + 16)
    cdef uint64_t first = raw64(w.header), second = raw64(w.header + 8)
    if w.status != PENDING or not plainly_good(w, epoch) or data - w.at.ip > w.at.total:
        return False
    if leads_on(t, next_header, data, n):
        return False
    mark(sa, w.seq)
    ip4_mend(&first, &second, dst, 20 + n, next_header)
    put_raw64(data - 20, first)
    put_raw64(data - 12, second)
    put_raw32(data - 4, dst)
    packet[0] = data - 20
    length[0] = 20 + n
    return True
