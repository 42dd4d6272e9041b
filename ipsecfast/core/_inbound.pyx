"""Inbound ESP and AH: parse, lookup, window check, crypto, window mark, strip; layer after layer.

Packets go through in chunks.  The verdicts are those of one packet after the other: where a packet's
window check could depend on packets of the same chunk whose ICV is not yet known, the chunk ends in
front of it (`hazard`); a second layer whose SA also has packets of its own in the chunk comes in its turn
(`meets_chunk`), and the window is asked again behind it (`overtaken`).  Not so the third layer and
deeper: their numbers are accepted once as well, but after all packets of the chunk.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ._ah cimport ah_fits, ah_ops, ah_restore, usual_ah_ops
from ._bytes cimport be32, copy_icv, likely, prefetch, prefetch_w, raw32, raw64, zero_icv
from ._esp cimport count_refusal, esp_fits, esp_ops, open_chunk, prefetch_state, put_to_work, usual_ops
from ._finish cimport finish_usual, finish_usual_aead, finish_usual_ah, mark, plainly_good
from ._ip cimport ip4_plain, ip_t
from ._locate cimport locate
from ._lookup cimport bucket_of, chain_head, choose
from ._strip cimport let_go, strip, strip_ah, stripped_t
from ._trailer cimport padding_counts
from ._types cimport (
    CHUNK, CLASS_GMAC, CLASS_MAC, FEW_SAS, IPPROTO_AH_, IPPROTO_ESP_, MAX_KEPT, MAX_LAYERS, PENDING,
    SA_AEAD, SA_AH, SA_ANY_MODE, SA_DST_ANY, SA_ESN, SA_NESTED, SA_OUTBOUND, SA_USUAL,
    ST_AUTH_FAILED, ST_CRYPTO_FAILED, ST_MALFORMED, ST_NO_SA, ST_OK, ST_REPLAYED,
    SCRATCH, USUAL_AEAD, USUAL_AH, USUAL_ESP,
    found_t, item_t, outer_t, sa_t, shape_t, table_t, verdict_t, view_t, waiting_t, work_t,
)
from ._window cimport esn_infer, window_check

# --- window check -----------------------------------------------------------------------------------------------------


cdef bint pending_twice(const work_t *work, int k, const sa_t *sa, uint64_t seq) noexcept nogil:
    """Is this number of this SA under work already?"""
    cdef int j
    for j in range(k):
        if work[j].sa == sa and work[j].seq == seq and work[j].status == PENDING:
            return True
    return False


cdef inline bint hazard(const work_t *work, int k, const sa_t *sa, bint esn, uint64_t seq, bint valid,
                        uint32_t seq_lo) noexcept nogil:
    """Could the packets of this chunk, if their ICVs hold, change what becomes of this one?"""
    cdef uint64_t after = sa.pend_top
    cdef bint valid_after
    if esn and (esn_infer(after, sa.window_size, seq_lo, &valid_after) != seq or valid_after != valid):
        return True
    if sa.window_size == 0 or seq > after:
        return False
    return after - seq >= sa.window_size or pending_twice(work, k, sa, seq)


cdef inline uint8_t admit(uint32_t epoch, const work_t *work, int k, sa_t *sa, bint esn, uint32_t seq_lo,
                          uint64_t *seq) noexcept nogil:
    """The window (RFC 4303 sec. 3.4.3): PENDING, a refusal, or ST_OK for "end the chunk here"."""
    cdef bint valid = True, alone = sa.pend_epoch != epoch or k == 0
    seq[0] = seq_lo
    if esn:
        seq[0] = esn_infer(sa.seq, sa.window_size, seq_lo, &valid)
    if not alone and hazard(work, k, sa, esn, seq[0], valid, seq_lo):
        return ST_OK
    if sa.window_size and not (valid and window_check(sa.ring, sa.ring_mask, sa.window_size, sa.seq, seq[0])):
        return ST_REPLAYED
    if alone:
        sa.pend_epoch = epoch
        sa.pend_top = sa.seq
    if seq[0] > sa.pend_top:
        sa.pend_top = seq[0]
    return PENDING


cdef uint8_t admit_late(uint32_t epoch, const work_t *work, int k, sa_t *sa, uint32_t seq_lo,
                        uint64_t *seq) noexcept nogil:
    """Once for all that is not in order."""
    return admit(epoch, work, k, sa, False, seq_lo, seq)


cdef inline uint8_t admit_next(uint32_t epoch, const work_t *work, int k, sa_t *sa, uint32_t seq_lo,
                               uint64_t *seq) noexcept nogil:
    """`admit` without ESN: most packets have a higher number than those before."""
    # 0 where it is of another chunk; with many SAs nobody can foretell that, so there is no branch
    cdef uint64_t pending = sa.pend_top & (<uint64_t> 0 - <uint64_t> (sa.pend_epoch == epoch))
    if seq_lo <= sa.seq or seq_lo <= pending:
        return admit_late(epoch, work, k, sa, seq_lo, seq)
    sa.pend_epoch = epoch
    sa.pend_top = seq_lo
    seq[0] = seq_lo
    return PENDING


# --- one chunk --------------------------------------------------------------------------------------------------------

cdef void refuse(view_t *batch, verdict_t *out, const item_t *item, const work_t *w, int depth) noexcept nogil:
    """Note a refusal; where decryption had begun nothing of it stays."""
    cdef const outer_t *outer = item.outer
    if w.sa != NULL:
        count_refusal(w.sa, w.status)
    if outer == NULL:
        if w.begun:
            memset(w.at.esp, 0, item.ip + item.length - w.at.esp)
    elif w.sa == NULL:
        return                       # no further layer of ours: the outer result stands
    else:
        if outer.header_len:
            memcpy(outer.ip, outer.header, outer.header_len)
        memset(outer.start, 0, outer.ip + outer.length - outer.start)
        batch.offset[item.index] = outer.ip - batch.base
        batch.length[item.index] = <int32_t> outer.length
    out.status[item.index] = w.status
    out.layer[item.index] = <uint8_t> depth


cdef inline void ask_for(const item_t *item) noexcept nogil:
    """A packet's ends, and what follows the IP header; of a short one the cipher would wait for the last."""
    prefetch_w(item.ip)
    prefetch_w(item.ip + 32)
    prefetch_w(item.ip + item.length - 1)


cdef void look_ahead(table_t *t, const item_t *items, work_t *work, int n) noexcept nogil:
    """Parse and find the chains' heads, and ask for SAs and keyed states, each read of memory a stage ahead."""
    cdef int k
    cdef work_t *w
    for k in range(n):
        ask_for(&items[k])
    for k in range(n):
        w = &work[k]
        w.status = locate(t, items[k].ip, items[k].length, &w.at)
        if w.status == PENDING:
            prefetch(&t.buckets[bucket_of(t, raw32(w.at.esp))])
    for k in range(n):
        w = &work[k]
        w.head = 0
        if w.status == PENDING:
            w.head = chain_head(t, raw32(w.at.esp))
            if w.head:
                prefetch_w(&t.sas[w.head - 1])
                prefetch_w(<uint8_t *> &t.sas[w.head - 1] + 64)
    for k in range(n):
        if work[k].head:
            prefetch_state(&t.sas[work[k].head - 1], &t.suites[t.sas[work[k].head - 1].suite])


cdef inline bint is_usual(const sa_t *sa, const uint8_t *ip) noexcept nogil:
    """Is an ESP packet over IPv4 without options, whose SPI's first SA this is, one of a SA_USUAL?"""
    return ((sa.flags & (SA_USUAL | SA_AH | SA_OUTBOUND)) == SA_USUAL
            and (sa.flags & SA_DST_ANY or raw32(sa.dst) == raw32(ip + 16)))


cdef inline bint usual_aead(uint32_t epoch, work_t *work, int k, sa_t *sa, uint8_t *ip, uint32_t total, uint8_t *esp,
                            uint32_t esp_len) noexcept nogil:
    """`admit_any` for ESP of a SA_AEAD, which most packets are; False: not so simple, nothing was done."""
    cdef work_t *w = &work[k]
    cdef uint64_t seq
    cdef uint32_t icv_len = sa.icv_len
    if esp_len < 18 + icv_len or admit_next(epoch, work, k, sa, be32(esp + 4), &seq) != PENDING:
        return False
    put_to_work(w, sa, USUAL_AEAD)
    w.seq = seq
    w.at.ip = ip
    w.at.total = total
    usual_ops(w, sa, icv_len, esp, esp_len, raw64(esp + 8))
    return True


cdef bint usual_esp(uint32_t epoch, work_t *work, int k, sa_t *sa, const shape_t *shape, uint8_t *ip, uint32_t total,
                    uint8_t *esp, uint32_t esp_len) noexcept nogil:
    """The same for ESP with any other algorithms."""
    cdef work_t *w = &work[k]
    cdef uint64_t seq
    cdef uint32_t overhead = 8 + shape.iv_len + sa.icv_len
    if esp_len < overhead + 2 or (esp_len - overhead) & (shape.block - 1):
        return False
    if admit_next(epoch, work, k, sa, be32(esp + 4), &seq) != PENDING:
        return False
    put_to_work(w, sa, USUAL_ESP)
    w.seq = seq
    w.begun = False
    w.at.ip = ip
    w.at.esp = esp
    w.at.esp_len = esp_len
    w.at.total = total
    w.at.hdr_len = 20
    w.at.version = 4
    w.at.proto = IPPROTO_ESP_
    esp_ops(w, sa, shape, False, esp, esp_len, seq, esp + 8)
    return True


cdef inline bint usual(const table_t *t, work_t *work, int k, sa_t *sa, uint8_t *ip, uint32_t total, uint8_t *esp,
                       uint32_t esp_len) noexcept nogil:
    """One of both."""
    if likely(sa.flags & SA_AEAD):
        return usual_aead(t.epoch, work, k, sa, ip, total, esp, esp_len)
    return usual_esp(t.epoch, work, k, sa, &t.suites[sa.suite].shape, ip, total, esp, esp_len)


cdef inline bint is_usual_ah(const sa_t *sa, const found_t *at) noexcept nogil:
    """The same for AH."""
    return (at.esp == at.ip + 24 and at.proto == IPPROTO_AH_
            and (sa.flags & (SA_USUAL | SA_AH | SA_OUTBOUND)) == SA_USUAL | SA_AH
            and (sa.flags & SA_DST_ANY or raw32(sa.dst) == raw32(at.ip + 16)))


cdef uint8_t admit_any(table_t *t, const view_t *batch, const item_t *item, work_t *work, int k,
                       sa_t *sa, const shape_t *shape, uint64_t *seq) noexcept nogil:
    """`admit`, and the operations filled, for every kind of SA."""
    cdef work_t *w = &work[k]
    cdef bint esn = (sa.flags & SA_ESN) != 0
    cdef uint8_t status
    cdef const uint8_t *limit
    if not (ah_fits(sa, shape, &w.at) if sa.proto == IPPROTO_AH_ else esp_fits(sa, shape, &w.at)):
        return ST_MALFORMED
    status = admit(t.epoch, work, k, sa, esn, be32(w.at.esp + 4), seq)
    if status != PENDING:
        return status
    if sa.proto == IPPROTO_ESP_:
        esp_ops(w, sa, shape, esn, w.at.esp, w.at.esp_len, seq[0], w.at.esp + 8)
        return PENDING
    limit = batch.base + batch.slot_offset[item.index] + batch.slot_length[item.index]
    w.seq = seq[0]
    return PENDING if ah_ops(w, sa, shape, limit, t.scratch + k * SCRATCH, raw64(w.at.esp + 8), False) else ST_MALFORMED


cdef int admit_chunk(table_t *t, const view_t *batch, verdict_t *out, const item_t *items, work_t *work, int n,
                     int depth) noexcept nogil:
    """Find each packet's SA, check lengths and window, fill the operations; returns where the chunk ends."""
    cdef int k
    cdef uint32_t epoch = t.epoch
    cdef bint many = t.high_water > FEW_SAS
    cdef work_t *w
    cdef sa_t *sa
    cdef uint8_t status
    cdef uint64_t seq
    cdef uint32_t head
    cdef int64_t *handles = out.handle + items[0].index      # at depth 0 the chunk is a run of the batch
    cdef uint64_t *seqs = out.seq + items[0].index
    cdef uint8_t *icv
    cdef uint8_t *ip
    cdef ip_t plain
    cdef const shape_t *shape
    if many:
        look_ahead(t, items, work, n)
    for k in range(n):
        w = &work[k]
        if k + 6 < n:
            ask_for(&items[k + 6])
        ip = items[k].ip
        head = 0
        if ip4_plain(ip, items[k].length, &plain) and plain.proto == IPPROTO_ESP_ and plain.total >= 32:
            head = w.head if many else chain_head(t, raw32(ip + 20))
            if head and is_usual(&t.sas[head - 1], ip) and usual(
                    t, work, k, &t.sas[head - 1], ip, plain.total, ip + 20, plain.total - 20):
                if depth == 0:
                    handles[k] = w.sa.handle
                    seqs[k] = w.seq
                continue
            status = PENDING
            w.at = found_t(ip, ip + 20, plain.total - 20, plain.total, 20, 9, 4, IPPROTO_ESP_)
        elif many:
            status = w.status
            head = w.head
        else:
            status = locate(t, ip, items[k].length, &w.at)
            if status == PENDING:
                head = chain_head(t, raw32(w.at.esp))
        sa = NULL
        seq = 0
        w.usual = 0
        if status == PENDING:
            sa = &t.sas[head - 1] if head else NULL
            if (sa != NULL and w.at.hdr_len == 20 and w.at.esp == ip + 28 and is_usual(sa, ip)
                    and usual(t, work, k, sa, ip, w.at.total, w.at.esp, w.at.esp_len)):
                seq = w.seq                     # in UDP
            elif sa != NULL and is_usual_ah(sa, &w.at):
                shape = &t.suites[sa.suite].shape
                w.usual = USUAL_AH
                w.suite = sa.suite
                status = ST_MALFORMED
                if ah_fits(sa, shape, &w.at):
                    status = admit_next(epoch, work, k, sa, be32(w.at.esp + 4), &seq)
                if status == PENDING:
                    icv = w.at.esp + 8 + shape.iv_len
                    copy_icv(w.ah_icv, icv, sa.icv_len)
                    zero_icv(icv, sa.icv_len)
                    usual_ah_ops(w, sa, shape, w.at.ip, w.at.total, w.ah_icv, raw64(w.at.ip), raw64(w.at.ip + 8),
                                 raw64(w.at.esp + 8))
            else:
                sa = choose(t, head, &w.at)
                status = ST_NO_SA
                if sa != NULL:
                    w.suite = sa.suite
                    status = admit_any(t, batch, &items[k], work, k, sa, &t.suites[sa.suite].shape, &seq)
        if status == ST_OK:
            return k
        w.sa = sa
        w.seq = seq
        w.status = status
        w.begun = False
        if depth == 0:
            handles[k] = sa.handle if sa != NULL else 0
            seqs[k] = seq
    return n


cdef bint overtaken(const sa_t *sa, uint64_t seq, uint8_t *status) noexcept nogil:
    """Has a layer inside an earlier packet of the chunk used this SA, so that the window must be asked again?"""
    cdef bint valid = True
    if sa.flags & SA_ESN and esn_infer(sa.seq, sa.window_size, <uint32_t> seq, &valid) != seq and valid:
        status[0] = ST_AUTH_FAILED       # another number would have been inferred
        return True
    if not valid or sa.window_size and not window_check(sa.ring, sa.ring_mask, sa.window_size, sa.seq, seq):
        status[0] = ST_REPLAYED
        return True
    return False


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
    if w.usual == USUAL_AEAD or w.usual == USUAL_AH:
        at.ip = w.at.ip
        at.esp = w.at.esp
        at.esp_len = w.at.esp_len
        at.version = 4
        at.hdr_len = 20
        if w.usual == USUAL_AH:
            w.status = strip_ah(t, sa, &at, stripped)
        else:
            w.status = strip(t, sa, sa.flags & ~<uint32_t> SA_ANY_MODE, 8, &at, stripped)
    elif w.at.proto == IPPROTO_AH_:
        w.status = strip_ah(t, sa, &w.at, stripped)
    else:
        w.status = strip(t, sa, sa.flags, t.suites[w.suite].shape.iv_len, &w.at, stripped)


cdef bint meets_chunk(table_t *t, const item_t *item, sa_t *over, uint32_t epoch) noexcept nogil:
    """Does the next layer's SA have packets in the chunk that is being finished?"""
    cdef found_t at
    cdef sa_t *sa
    if locate(t, item.ip, item.length, &at) != PENDING:
        return False
    sa = choose(t, chain_head(t, raw32(at.esp)), &at)
    if sa == NULL:
        return False
    if t.whole == NULL:
        sa.flags |= SA_NESTED
        over.flags |= SA_NESTED
    return <int32_t> (sa.pend_epoch - epoch) >= 0


cdef bint put_off(table_t *t, const item_t *follower, const sa_t *over, int depth) noexcept nogil:
    """Keep a packet that has a further layer, for `take_off_waiting`: its SA may be at work in another thread."""
    cdef waiting_t *w = &t.waiting[t.n_waiting]
    cdef found_t at
    if locate(t, follower.ip, follower.length, &at) != PENDING:
        return False
    w.inner = choose(t.whole, chain_head(t.whole, raw32(at.esp)), &at)
    if w.inner == NULL:
        return False
    w.over = <uint32_t> over.handle - 1
    w.item = follower[0]
    w.outer = follower.outer[0]
    w.depth = depth
    if w.outer.header_len <= MAX_KEPT:
        w.outer.header = w.outer.room
    follower.outer.header_len = 0        # a long copy is now the waiting one's
    t.n_waiting += 1
    return True


cdef bint finish_usual_esp(const table_t *t, work_t *w, uint32_t epoch, uint8_t **packet,
                           uint32_t *length) noexcept nogil:
    """For a USUAL_ESP, whose padding may be longer."""
    cdef uint32_t head = 8 + t.suites[w.suite].shape.iv_len, n = w.at.esp_len - head - w.sa.icv_len
    cdef uint8_t *data = w.at.esp + head
    cdef uint32_t pad_len = (data + n - 2)[0]
    cdef uint8_t next_header = (data + n - 1)[0]
    return (w.status == PENDING and plainly_good(w, epoch)
            and pad_len + 2 <= n and padding_counts(data + n - 2, pad_len)
            and finish_usual(t, w, data, n, pad_len, next_header, packet, length))


cdef int chunk(table_t *t, view_t *batch, verdict_t *out, item_t *items, int n, int depth, work_t *work) noexcept nogil:
    """Take up to n packets one layer further; returns how many (at least one)."""
    cdef work_t *w
    cdef work_t alone
    cdef item_t inner[CHUNK]
    cdef item_t *follower
    cdef stripped_t stripped
    cdef uint32_t epoch = t.epoch + 1
    cdef uint8_t *packet = NULL
    cdef uint32_t length = 0
    cdef int64_t i
    cdef int k, n_inner = 0
    cdef bint with_ah = t.n_ah != 0, done
    stripped = stripped_t(NULL, 0, False, NULL)
    t.epoch = epoch
    n = admit_chunk(t, batch, out, items, work, n, depth)
    open_chunk(t, work, n)
    for k in range(n):
        w = &work[k]
        if w.usual == USUAL_AEAD:
            done = finish_usual_aead(t, w, epoch, &packet, &length)
        elif w.usual == USUAL_AH:
            done = finish_usual_ah(t, w, epoch, &packet, &length)
        else:
            done = w.usual == USUAL_ESP and finish_usual_esp(t, w, epoch, &packet, &length)
        if done:
            i = items[k].index
            w.sa.packets += 1
            w.sa.bytes += w.at.total
            batch.offset[i] = packet - batch.base
            batch.length[i] = <int32_t> length
            out.status[i] = ST_OK
            continue
        if with_ah and w.usual < USUAL_ESP and w.at.proto == IPPROTO_AH_ and (
                w.status == PENDING or w.status == ST_AUTH_FAILED or w.status == ST_CRYPTO_FAILED):
            ah_restore(w, t.suites[w.suite].shape.iv_len, False)      # also after a wrong ICV: as it was
        if w.status == PENDING:
            if depth == 0:
                stripped.kept = &t.outer[n_inner]
                stripped.kept.header_len = 0
            finish(t, w, epoch, &stripped)
        if w.status != ST_OK:
            refuse(batch, out, &items[k], w, depth)
            continue
        i = items[k].index
        w.sa.packets += 1
        w.sa.bytes += w.at.total
        batch.offset[i] = stripped.packet - batch.base
        batch.length[i] = <int32_t> stripped.length
        out.status[i] = ST_OK
        if stripped.leads_on and depth + 1 < MAX_LAYERS:
            follower = &inner[n_inner]
            follower[0] = item_t(stripped.packet, stripped.length, i, items[k].outer)
            if depth == 0:
                follower.outer = &t.outer[n_inner]
                follower.outer.ip = w.at.ip
                follower.outer.start = w.at.esp - (4 if w.at.proto == IPPROTO_AH_ else 0)
                follower.outer.length = items[k].length
            if t.waiting != NULL and put_off(t, follower, w.sa, depth + 1):
                continue
            n_inner += 1
            if meets_chunk(t, follower, w.sa, epoch):
                # its turn comes before the packets behind it, and so before theirs that wait here
                layer(t, batch, out, inner, n_inner, depth + 1, &alone, 1)
                let_all_go(t.outer, n_inner, depth)
                n_inner = 0
    if n_inner:
        layer(t, batch, out, inner, n_inner, depth + 1, work, CHUNK)
        let_all_go(t.outer, n_inner, depth)
    return n


cdef void let_all_go(outer_t *outer, int n, int depth) noexcept nogil:
    cdef int k
    if depth == 0:
        for k in range(n):
            let_go(&outer[k])


cdef void layer(table_t *t, view_t *batch, verdict_t *out, item_t *items, int n, int depth, work_t *work,
                int most) noexcept nogil:
    """Take all n packets one layer further, at most `most` at a time, with `work` as scratch."""
    cdef int done = 0
    while done < n:
        done += chunk(t, batch, out, items + done, n - done if n - done < most else most, depth, work)


cdef void take_off_waiting(table_t *t, view_t *batch, verdict_t *out, waiting_t *waiting, int64_t n) noexcept nogil:
    """The layers that a thread put off, in the batch's order; SAs met inside each other are marked."""
    cdef waiting_t *w
    cdef int64_t k
    for k in range(n):
        w = &waiting[k]
        w.item.outer = &w.outer
        layer(t, batch, out, &w.item, 1, w.depth, t.work, 1)
        let_go(&w.outer)
        w.inner.flags |= SA_NESTED
        t.sas[w.over].flags |= SA_NESTED


cdef void inbound_batch(table_t *t, view_t *batch, verdict_t *out) noexcept nogil:
    """Every packet of the batch, in order.  The caller holds batch and table for itself."""
    cdef item_t items[CHUNK]
    cdef int64_t start = 0
    cdef int k, n
    memset(out.layer, 0, batch.n)
    while start < batch.n:
        n = <int> (batch.n - start) if batch.n - start < t.chunk else t.chunk
        for k in range(n):
            items[k] = item_t(batch.base + batch.offset[start + k], batch.length[start + k], start + k, NULL)
        layer(t, batch, out, items, n, 0, t.work, CHUNK)
        start += n
