"""Outbound ESP and AH: a chunk's headers, then its crypto, then the verdicts.

Most packets of most SAs go the short ways `usual` and `usual_ah`; the others take `_protect`'s, with the same result.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from ._ah cimport ah_len_for, usual_ah_ops
from ._bytes cimport prefetch_w, put_be32, put_raw32, put_raw64, swap64
from ._esp cimport prefetch_state, seal_chunk, usual_ops
from ._ip cimport ip4_move, ip4_plain, ip4_words, ip_t
from ._outbound_bundles cimport chunk_of_bundles
from ._protect cimport ah_header, count, exhausted, plan_t, protect_any, refuse, sealed, succeed, trailer
from ._types cimport (
    FEW_SAS, IPPROTO_AH_, IPPROTO_ESP_, PENDING, SCRATCH, SA_AH, SA_USUAL, ST_OK,
    sa_t, shape_t, table_t, verdict_t, view_t, work_t,
)


cdef inline bint usual(work_t *w, sa_t *sa, uint8_t *old_ip, int64_t length, uint8_t *low, int64_t room,
                       uint64_t *number) noexcept nogil:
    """`protect` for most packets of most users, a SA_USUAL's that find room in place; False: nothing was done."""
    cdef ip_t ip
    cdef plan_t p
    cdef uint64_t seq = sa.seq + 1, iv = swap64(seq ^ sa.word[0])
    cdef uint32_t icv_len = sa.icv_len, spi_be = sa.spi_be
    cdef uint8_t *start = old_ip - 16
    if not ip4_plain(old_ip, length, &ip) or exhausted(sa):
        return False
    p.data_len = ip.total - 20
    p.pad_len = (<uint32_t> 0 - (p.data_len + 2)) & 3
    p.clear_len = p.data_len + p.pad_len + 2
    p.next_header = ip.proto
    p.total = 36 + p.clear_len + icv_len
    if start < low or low + room - start < p.total or p.total > 65535:
        return False
    sa.seq = seq
    count(sa, p.total)
    number[0] = seq
    usual_ops(w, sa, icv_len, start + 20, p.total - 20, iv)
    w.at.total = p.total
    w.usual = True
    w.status = PENDING
    ip4_move(start, old_ip, 20, p.total, IPPROTO_ESP_)
    put_raw32(start + 20, spi_be)
    put_be32(start + 24, <uint32_t> seq)
    put_raw64(start + 28, iv)
    trailer(start + 36, &p, 8)                # no AEAD's ICV is shorter
    return True


cdef bint usual_ah(work_t *w, sa_t *sa, const shape_t *shape, uint8_t *old_ip, int64_t length, uint8_t *low,
                   int64_t room) noexcept nogil:
    """The same for AH."""
    cdef ip_t ip
    cdef plan_t p
    cdef uint64_t seq = sa.seq + 1, iv = swap64(seq ^ sa.word[0]), first, second
    cdef uint32_t dst
    cdef uint8_t *start
    if not ip4_plain(old_ip, length, &ip) or exhausted(sa):
        return False
    p.head = ah_len_for(shape.iv_len, sa.icv_len, sa.ah_align)
    p.next_header = ip.proto
    p.total = ip.total + p.head
    start = old_ip - p.head
    if start < low or low + room - start < p.total or p.total > 65535:
        return False
    sa.seq = seq
    w.seq = seq
    w.usual = False
    w.status = PENDING
    w.at.ip = start
    w.at.esp = start + 24
    w.at.total = p.total
    w.at.hdr_len = 20
    w.at.version = 4
    w.at.proto = IPPROTO_AH_
    ip4_words(old_ip, p.total, IPPROTO_AH_, &first, &second, &dst)
    put_raw32(start + 16, dst)
    ah_header(sa, shape, &p, start + 20, seq, iv)
    count(sa, p.total)
    usual_ah_ops(w, sa, shape, start, p.total, start + 32 + shape.iv_len, first, second, iv)
    return True


cdef void chunk(table_t *t, view_t *batch, verdict_t *out, int64_t start, int n, const uint8_t *ivs,
                int64_t iv_stride) noexcept nogil:
    cdef work_t *work = t.work
    cdef work_t *w
    cdef sa_t *sa
    cdef bint many = t.high_water > FEW_SAS, done
    cdef int k
    cdef uint8_t *base = batch.base
    cdef uint8_t *low
    cdef uint8_t *ip
    cdef int64_t *offset = batch.offset + start
    cdef int32_t *length = batch.length + start
    cdef const int64_t *low_offset = batch.slot_offset + start
    cdef const int32_t *room = batch.slot_length + start
    cdef const int64_t *handle = out.handle + start
    cdef uint64_t *seq = out.seq + start
    cdef uint8_t *status = out.status + start
    if many:
        for k in range(n):
            sa = &t.sas[<uint32_t> handle[k] - 1]
            prefetch_w(sa)
            prefetch_w(<uint8_t *> sa + 64)
    for k in range(n):
        w = &work[k]
        sa = &t.sas[<uint32_t> handle[k] - 1]
        w.sa = sa
        w.suite = sa.suite
        if k + 6 < n:
            ip = base + offset[k + 6]
            prefetch_w(ip - 16)         # where the header goes: stores wait for each other
            prefetch_w(ip)
            prefetch_w(ip + length[k + 6])
        if many:
            prefetch_state(sa, &t.suites[sa.suite])
        low = base + low_offset[k]
        ip = base + offset[k]
        if ivs != NULL or not sa.flags & SA_USUAL:
            done = False
        elif sa.flags & SA_AH:
            done = usual_ah(w, sa, &t.suites[sa.suite].shape, ip, length[k], low, room[k])
        else:
            done = usual(w, sa, ip, length[k], low, room[k], &seq[k])
        if not done:
            w.status = protect_any(t, w, sa, ip, length[k], low, room[k],
                                   ivs + (start + k) * iv_stride if ivs != NULL else NULL, 0, t.scratch + k * SCRATCH)
    seal_chunk(t, work, n)
    for k in range(n):
        w = &work[k]
        if w.usual and w.cipher.good:
            offset[k] -= 16
            length[k] = <int32_t> w.at.total
            status[k] = ST_OK
            continue
        w.status = sealed(t, w)
        if w.status == ST_OK:
            succeed(batch, out, start + k, w)
        else:
            refuse(batch, out, start + k, w.sa, w.status, 0)


cdef void outbound_batch(table_t *t, view_t *batch, verdict_t *out, const uint8_t *ivs, int64_t iv_stride,
                         bint bundles) noexcept nogil:
    """Every packet of the batch, in order; out.handle holds handles known to be good.

    ivs : for known answers.  bundles : some of the handles are bundles' (then without ivs).
    """
    cdef int64_t start = 0
    cdef int n
    memset(out.layer, 0, batch.n)
    while start < batch.n:
        n = <int> (batch.n - start) if batch.n - start < t.chunk else t.chunk
        if bundles:
            chunk_of_bundles(t, batch, out, start, n)
        else:
            chunk(t, batch, out, start, n, ivs, iv_stride)
        start += n
