# What becomes of an inbound packet behind its crypto: the ICV's verdict, window mark, strip.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._ah cimport ah_len_of
from ._bytes cimport put_raw32, put_raw64, raw32, raw64
from ._ip cimport ip4_mend, ip4_move
from ._strip cimport leads_on, strip, strip_ah, stripped_t
from ._trailer cimport is_short_trailer, padding_counts
from ._types cimport (
    CLASS_GMAC, CLASS_MAC, IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_NONE_, PENDING, SA_ANY_MODE, SA_ESN, SA_TUNNEL,
    ST_AUTH_FAILED, ST_CRYPTO_FAILED, ST_REPLAYED, USUAL_AEAD, USUAL_AH,
    found_t, sa_t, shape_t, table_t, work_t,
)
from ._window cimport esn_infer, window_check, window_mark


cdef inline void mark(sa_t *sa, uint64_t seq) noexcept nogil:
    if sa.window_size:
        sa.seq = window_mark(sa.ring, sa.ring_mask, sa.seq, seq)
    elif seq > sa.seq:
        sa.seq = seq


cdef inline bint overtaken(const sa_t *sa, uint64_t seq, uint8_t *status) noexcept nogil:
    """Has a layer inside an earlier packet of the chunk used this SA, so that the window must be asked again?"""
    cdef bint valid = True
    if sa.flags & SA_ESN and esn_infer(sa.seq, sa.window_size, <uint32_t> seq, &valid) != seq and valid:
        status[0] = ST_AUTH_FAILED       # another number would have been inferred
        return True
    if not valid or sa.window_size and not window_check(sa.ring, sa.ring_mask, sa.window_size, sa.seq, seq):
        status[0] = ST_REPLAYED
        return True
    return False


cdef inline bint finish_usual(const table_t *t, work_t *w, uint8_t *data, uint32_t n, uint32_t pad_len,
                              uint8_t next_header, uint32_t epoch, uint8_t **packet, uint32_t *length) noexcept nogil:
    """`finish` for what most ESP packets are when all is well: transport mode with nothing of ours inside.

    data, n : what was encrypted, its trailer included.  False: nothing was done.
    """
    cdef sa_t *sa = w.sa
    if not w.cipher.good or sa.pend_epoch != epoch or sa.flags & SA_TUNNEL or pad_len + 2 > n:
        return False
    n -= pad_len + 2
    if next_header == IPPROTO_NONE_ or leads_on(t, next_header, data, n):
        return False
    mark(sa, w.seq)
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
    return (is_short_trailer(raw64(data + n - 8), &pad_len, &next_header)
            and finish_usual(t, w, data, n, pad_len, next_header, epoch, packet, length))


cdef inline bint finish_usual_esp(const table_t *t, work_t *w, uint32_t epoch, uint8_t **packet,
                                  uint32_t *length) noexcept nogil:
    """For a USUAL_ESP, whose padding may be longer."""
    cdef uint32_t head = 8 + t.suites[w.suite].shape.iv_len, n = w.at.esp_len - head - w.sa.icv_len
    cdef uint8_t *data = w.at.esp + head
    cdef uint32_t pad_len = (data + n - 2)[0]
    cdef uint8_t next_header = (data + n - 1)[0]
    return (w.status == PENDING and pad_len + 2 <= n and padding_counts(data + n - 2, pad_len)
            and finish_usual(t, w, data, n, pad_len, next_header, epoch, packet, length))


cdef inline bint finish_usual_ah(const table_t *t, work_t *w, uint32_t epoch, uint8_t **packet,
                                 uint32_t *length) noexcept nogil:
    """For a USUAL_AH; the header goes from where it was kept to its new place."""
    cdef sa_t *sa = w.sa
    cdef const uint8_t *ah = w.at.esp - 4
    cdef uint8_t *data = w.at.esp - 4 + ah_len_of(&w.at)
    cdef uint8_t next_header = ah[0]
    cdef uint32_t n = w.at.total - <uint32_t> (data - w.at.ip), dst = raw32(w.at.ip + 16)
    cdef uint64_t first = raw64(w.header), second = raw64(w.header + 8)
    if not w.cipher.good or w.status != PENDING or sa.pend_epoch != epoch or sa.flags & SA_TUNNEL:
        return False
    if data - w.at.ip > w.at.total:
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


cdef inline void finish(table_t *t, work_t *w, uint32_t epoch, stripped_t *stripped) noexcept nogil:
    """The ICV's verdict, window mark, strip."""
    cdef const shape_t *shape
    cdef sa_t *sa = w.sa
    cdef found_t at
    if w.usual == USUAL_AEAD:
        w.at.esp = w.cipher.text - 16
        w.at.esp_len = 16 + w.cipher.text_len + sa.icv_len
        w.at.proto = IPPROTO_ESP_
    if not w.cipher.good:
        shape = &t.suites[w.suite].shape
        w.status = ST_CRYPTO_FAILED if shape.kind == CLASS_MAC else ST_AUTH_FAILED
        w.begun = shape.kind != CLASS_GMAC
        return
    w.begun = w.at.proto == IPPROTO_ESP_
    if sa.pend_epoch != epoch and overtaken(sa, w.seq, &w.status):
        return
    mark(sa, w.seq)
    if w.usual:
        at.ip = w.at.ip
        at.esp = w.at.esp
        at.esp_len = w.at.esp_len
        at.version = 4
        at.hdr_len = 20
        if w.usual == USUAL_AH:
            w.status = strip_ah(t, sa, &at, stripped)
        else:
            w.status = strip(t, sa, sa.flags & ~<uint32_t> SA_ANY_MODE, t.suites[w.suite].shape.iv_len, &at, stripped)
    elif w.at.proto == IPPROTO_AH_:
        w.status = strip_ah(t, sa, &w.at, stripped)
    else:
        w.status = strip(t, sa, sa.flags, t.suites[w.suite].shape.iv_len, &w.at, stripped)
