"""Outbound ESP and AH: a chunk's headers, then its crypto, then the verdicts.

Most packets of most SAs go the short ways, `usual_*`; the others take `_protect`'s, with the same result.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from ._ah cimport ah_len_for, ah_restore, usual_ah_ops
from ._bytes cimport likely, prefetch_w, put_be32, put_raw32, put_raw64, raw32, raw64, swap64
from ._esp cimport esp_ops, prefetch_state, put_to_work, seal_chunk, usual_ops
from ._ip cimport ip4_mend, ip4_move, ip4_plain, ip_t
from ._outbound_bundles cimport chunk_of_bundles
from ._protect cimport (
    ah_header, count, esp_header, exhausted, new_iv, plan_t, protect_any, refuse, sealed, succeed,
)
from ._trailer cimport put_trailer, short_trailer
from ._types cimport (
    FEW_SAS, IPPROTO_AH_, IPPROTO_ESP_, PENDING, SCRATCH, SA_AEAD, SA_AH, SA_USUAL, ST_OK,
    USUAL_AEAD, USUAL_AH, USUAL_ESP,
    sa_t, shape_t, table_t, verdict_t, view_t, work_t,
)


cdef inline void promise(work_t *w, sa_t *sa, uint8_t usual, int64_t at, uint32_t total, uint64_t seq, int64_t *offset,
                         int32_t *length, uint64_t *number) noexcept nogil:
    """Use a number, and write the verdict that is right if the cipher does its part; `chunk` takes back others."""
    sa.seq = seq
    count(sa, total)
    put_to_work(w, sa, usual)
    w.at.total = <uint32_t> length[0]
    offset[0] = at
    length[0] = <int32_t> total
    number[0] = seq


cdef inline bint usual_aead(work_t *w, sa_t *sa, uint8_t *base, int64_t *offset, int32_t *length, int64_t low,
                            int64_t room, uint64_t *number) noexcept nogil:
    """`protect` for most packets of most users, a SA_AEAD's that find room in place; False: nothing was done.

    offset, length, number : the packet's; they become what is right if the cipher does its part.
    """
    cdef ip_t ip
    cdef int64_t at = offset[0] - 16
    cdef uint8_t *start = base + at
    cdef uint64_t seq = sa.seq + 1, iv = swap64(seq ^ sa.word[0])
    cdef uint32_t data_len, pad_len, total
    if not ip4_plain(start + 16, length[0], &ip) or exhausted(sa):
        return False
    data_len = ip.total - 20
    pad_len = (<uint32_t> 0 - (data_len + 2)) & 3
    total = 38 + data_len + pad_len + sa.icv_len
    if at < low or room - (at - low) < total or total > 65535:
        return False
    promise(w, sa, USUAL_AEAD, at, total, seq, offset, length, number)
    usual_ops(w, sa, sa.icv_len, start + 20, total - 20, iv)
    put_raw64(start + 36 + data_len, short_trailer(pad_len, ip.proto))      # no AEAD's ICV is shorter than 8 bytes
    ip4_move(start, start + 16, 20, total, IPPROTO_ESP_)
    put_raw32(start + 20, sa.spi_be)
    put_be32(start + 24, <uint32_t> seq)
    put_raw64(start + 28, iv)
    return True


cdef bint usual_esp(table_t *t, work_t *w, sa_t *sa, const shape_t *shape, uint8_t *base, int64_t *offset,
                    int32_t *length, int64_t low, int64_t room, uint64_t *number) noexcept nogil:
    """The same for ESP with any other algorithms."""
    cdef ip_t ip
    cdef uint32_t head = 8 + shape.iv_len, data_len, pad_len, total
    cdef int64_t at = offset[0] - head
    cdef uint8_t *start = base + at
    cdef uint8_t *esp = start + 20
    cdef uint8_t iv[16]
    cdef uint64_t seq = sa.seq + 1
    if not ip4_plain(start + head, length[0], &ip) or exhausted(sa):
        return False
    data_len = ip.total - 20
    pad_len = (<uint32_t> 0 - (data_len + 2)) & shape.align_mask
    total = 20 + head + data_len + pad_len + 2 + sa.icv_len
    if at < low or room - (at - low) < total or total > 65535 or not new_iv(t, sa, shape, seq, NULL, iv):
        return False
    promise(w, sa, USUAL_ESP, at, total, seq, offset, length, number)
    esp_ops(w, sa, shape, False, esp, total - 20, seq, iv)
    put_trailer(esp + head + data_len, pad_len, ip.proto)
    ip4_move(start, start + head, 20, total, IPPROTO_ESP_)
    esp_header(sa, shape, esp, seq, iv)
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
    w.usual = USUAL_AH
    w.status = PENDING
    w.at.ip = start
    w.at.esp = start + 24
    w.at.total = p.total
    w.at.hdr_len = 20
    w.at.version = 4
    w.at.proto = IPPROTO_AH_
    first = raw64(old_ip)
    second = raw64(old_ip + 8)
    dst = raw32(old_ip + 16)
    ip4_mend(&first, &second, dst, p.total, IPPROTO_AH_)
    put_raw32(start + 16, dst)
    ah_header(sa, shape, &p, start + 20, seq, iv)
    count(sa, p.total)
    usual_ah_ops(w, sa, shape, start, p.total, start + 32 + shape.iv_len, first, second, iv)
    return True


cdef void look_ahead(table_t *t, const int64_t *handle, int n) noexcept nogil:
    """Ask for SAs and their keyed states."""
    cdef int k
    cdef sa_t *sa
    for k in range(n):
        sa = &t.sas[<uint32_t> handle[k] - 1]
        prefetch_w(sa)
        prefetch_w(<uint8_t *> sa + 64)
    for k in range(n):
        sa = &t.sas[<uint32_t> handle[k] - 1]
        prefetch_state(sa, &t.suites[sa.suite])


cdef void chunk(table_t *t, view_t *batch, verdict_t *out, int64_t start, int n, const uint8_t *ivs,
                int64_t iv_stride) noexcept nogil:
    cdef work_t *work = t.work
    cdef work_t *w
    cdef sa_t *sa
    cdef int k
    cdef uint32_t short_ways = SA_USUAL | SA_AEAD | SA_AH if ivs == NULL else 0
    cdef uint32_t kind, total
    cdef int64_t left = batch.n - start     # of the batch: the next chunk's first ones are asked for too
    cdef uint8_t *base = batch.base
    cdef uint8_t *ip
    cdef int64_t *offset = batch.offset + start
    cdef int32_t *length = batch.length + start
    cdef const int64_t *low = batch.slot_offset + start
    cdef const int32_t *room = batch.slot_length + start
    cdef const int64_t *handle = out.handle + start
    cdef uint64_t *seq = out.seq + start
    if t.high_water > FEW_SAS:
        look_ahead(t, handle, n)
    for k in range(n):
        w = &work[k]
        sa = &t.sas[<uint32_t> handle[k] - 1]
        if k + 6 < left:
            ip = base + offset[k + 6]
            prefetch_w(ip - 16)         # where the header goes: stores wait for each other
            prefetch_w(ip)
            prefetch_w(ip + length[k + 6])
        kind = sa.flags & short_ways
        if likely(kind == SA_USUAL | SA_AEAD) and likely(
                usual_aead(w, sa, base, &offset[k], &length[k], low[k], room[k], &seq[k])):
            continue
        w.sa = sa
        w.suite = sa.suite
        ip = base + offset[k]
        if kind == SA_USUAL | SA_AH and usual_ah(
                w, sa, &t.suites[sa.suite].shape, ip, length[k], base + low[k], room[k]):
            continue
        if kind == SA_USUAL and usual_esp(
                t, w, sa, &t.suites[sa.suite].shape, base, &offset[k], &length[k], low[k], room[k], &seq[k]):
            continue
        w.status = protect_any(t, w, sa, ip, length[k], base + low[k], room[k],
                               ivs + (start + k) * iv_stride if ivs != NULL else NULL, 0, t.scratch + k * SCRATCH)
    seal_chunk(t, work, n)
    for k in range(n):
        w = &work[k]
        if w.cipher.good and (w.usual == USUAL_AEAD or w.usual == USUAL_ESP and w.mac.good):
            continue
        if w.usual >= USUAL_ESP:
            total = <uint32_t> length[k]
            length[k] = <int32_t> w.at.total
            offset[k] += 8 + t.suites[w.suite].shape.iv_len
            w.at.total = total
        elif w.usual == USUAL_AH and w.cipher.good and w.mac.good:
            ah_restore(w, 0, True)
            succeed(batch, out, start + k, w)
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
    memset(out.status, ST_OK, batch.n)
    while start < batch.n:
        n = <int> (batch.n - start) if batch.n - start < t.chunk else t.chunk
        if bundles:
            chunk_of_bundles(t, batch, out, start, n)
        else:
            chunk(t, batch, out, start, n, ivs, iv_stride)
        start += n
