"""The NIC's send path: frames that the host has built, padded and numbered get checksums, IVs, encryption, ICVs.

What is done to one frame, in this order (large sends were cut into such frames before, by `_nic_lso`):

    TCP or UDP checksum | transport ESP | transport AH | tunnel ESP | tunnel AH | IP header checksum

    frame | IP | UDP? | AH | ESP IV | data | trailer | room for the ICV
    frame | IP | UDP? | AH | ESP IV | IP | UDP? | AH | ESP IV | data | trailer | room | trailer | room

A list is checked as a whole before any of its frames is written or any number is used: then all of it is sent, or
nothing.  A chunk of frames goes through the crypto in rounds, a layer a round.

No number is sent twice: each SA remembers those that it sent, so no nonce is used twice under a key.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from ._ah cimport ah_coverable, ah_ops, ah_restore
from ._bytes cimport be16, be32, put_be64, put_raw16, raw32, raw64, swap64
from ._esp cimport count_refusal, esp_ops, put_to_work, seal_chunk, usual_ops
from ._frame cimport ip_offset
from ._ip cimport ip4_plain, ip_parse, ip_t, udp6_checksum
from ._nic cimport (
    NDIS_STATUS_FAILURE, NDIS_STATUS_SUCCESS, NIC_AEAD, NIC_GMAC, NIC_USUAL, ROW_LARGE_SEND, ask_for, nic_t,
)
from ._nic_checksum cimport header_checksum, transport_checksum, wants_header
from ._nic_iv cimport write_iv
from ._nic_lso cimport ask_ahead, cut_first, cut_list, cut_next, cutting_t, large_t, segments_of
from ._nic_plan cimport AH_LAYERS, LAYERS, layer_t, no_wish, plan, tx_t, understand, wish_t
from ._nic_sent cimport adopt, draft_numbers, draft_run, draft_t, follow, forget, fresh, lowest, use_numbers
from ._protect cimport count, uncount
from ._types cimport (
    CHUNK, CHUNK_ONE_PASS, IPPROTO_AH_, IPPROTO_ESP_, PENDING, SA_ESN, SCRATCH, ST_CRYPTO_FAILED,
    USUAL_AEAD, USUAL_ESP,
    found_t, sa_t, shape_t, table_t, view_t, work_t,
)
from ._window cimport window_mark

cdef enum:
    AHEAD = 6                 # frames whose memory is asked for
    FEW = 4                   # segments between cutting and sealing

# Frames whose headers are done, waiting for the crypto
cdef struct burst_t:
    tx_t frames[CHUNK]
    int n


# --- one list ---------------------------------------------------------------------------------------------------------

cdef void pass_on(const nic_t *nic, const wish_t *wish, uint8_t *frame, int64_t length, bint raw) noexcept nogil:
    """A frame without IPsec: checksums, if they are asked for."""
    cdef uint32_t encapsulation
    cdef ip_t ip
    cdef int offset
    if not wish.checksum or wish.cut:
        return
    offset = ip_offset(frame, length, raw, &encapsulation)
    if offset < 0 or not ip_parse(frame + offset, length - offset, &ip) or ip.total > length - offset:
        return
    if not ip.fragment:
        transport_checksum(nic, wish.checksum, encapsulation, frame + offset, ip.hdr_len, ip.proto,
                           frame + offset + ip.hdr_len, ip.total - ip.hdr_len, False)
    if ip.version == 4 and wants_header(nic, wish.checksum, encapsulation, frame + offset):
        header_checksum(frame + offset, ip.hdr_len)


cdef void checksums(const nic_t *nic, uint64_t asked, tx_t *tx) noexcept nogil:
    """Of a frame that is to be protected; IPv4's is made at the end."""
    cdef const found_t *last = &tx.layers[lowest(tx.left)].at
    cdef const found_t *first = &tx.layers[3 if tx.left & 8 else 2].at
    transport_checksum(nic, asked, tx.encapsulation, last.ip, last.hdr_len, tx.next_header, tx.data, tx.data_len, True)
    if first.version == 4 and wants_header(nic, asked, tx.encapsulation, tx.ip):
        tx.ip_checksum = first.hdr_len


cdef inline void enqueue(table_t *t, nic_t *nic, const wish_t *wish, burst_t *burst, int64_t nbl,
                         uint32_t *status) noexcept nogil:
    """The frame planned last is sent: checksum, then its turn with the others of the chunk."""
    cdef tx_t *tx = &burst.frames[burst.n]
    tx.nbl = nbl
    tx.cut = wish.cut
    tx.ip_checksum = 0
    if wish.checksum and not wish.cut:            # in segments there are all of them
        checksums(nic, wish.checksum, tx)
    if fill(t, nic, tx, &t.work[burst.n], burst.n):
        burst.n += 1
    else:
        lose(tx, status)
    if burst.n == t.chunk:
        seal_burst(t, nic, burst, status)


cdef inline bint coverable(const table_t *t, const burst_t *burst) noexcept nogil:
    """Can AH's view of the headers in front of it be made?"""
    cdef int k
    cdef const tx_t *tx = &burst.frames[burst.n]
    cdef const found_t *at
    if not tx.left & AH_LAYERS:
        return True
    for k in range(1, LAYERS, 2):
        at = &tx.layers[k].at
        if tx.left >> k & 1 and at.hdr_len != (20 if at.version == 4 else 40):
            if not ah_coverable(t.scratch + burst.n * SCRATCH, tx.layers[k].sa, at.ip, at.hdr_len, at.version == 4):
                return False
    return True


cdef bint send_several(table_t *t, nic_t *nic, const view_t *batch, int64_t low, int64_t high, bint raw,
                       const wish_t *wish, burst_t *burst, int64_t nbl, uint32_t *status) noexcept nogil:
    """A list of several frames: all are judged, with their numbers, before the first is written."""
    cdef draft_t drafts[LAYERS]
    cdef int64_t i
    cdef bint good = True
    forget(drafts)
    for i in range(low, high):
        if not draft_frame(t, nic, batch, i, raw, wish, burst, drafts):
            return False
    forget(drafts)
    for i in range(low, high):
        # once more: a frame is memory that somebody may have written since
        if not draft_frame(t, nic, batch, i, raw, wish, burst, drafts):
            good = False
            break
        enqueue(t, nic, wish, burst, nbl, status)
    adopt(t, nic, drafts, wish.cut)
    return good


cdef inline bint draft_frame(const table_t *t, const nic_t *nic, const view_t *batch, int64_t at, bint raw,
                             const wish_t *wish, burst_t *burst, draft_t *drafts) noexcept nogil:
    """Plan a frame as the next of the burst, and take its numbers in the drafts."""
    cdef tx_t *tx = &burst.frames[burst.n]
    return plan(t, nic, batch, at, raw, wish, tx) and coverable(t, burst) and draft_numbers(drafts, tx, wish.cut)


cdef inline void aead_ops(work_t *w, const sa_t *sa, uint32_t flags, uint8_t *esp, uint32_t esp_len,
                          uint64_t iv) noexcept nogil:
    """Write the IV of a frame of a NIC_AEAD with these flags, and fill the operation."""
    usual_ops(w, sa, sa.icv_len, esp, esp_len, swap64(iv))
    if flags & NIC_GMAC:
        w.cipher.text = esp                   # all of it is covered, as one run of bytes
        w.cipher.text_len = esp_len - sa.icv_len
        w.cipher.aad_len = 0
    put_be64(esp + 8, iv)


cdef inline void follow_usual(const tx_t *first, const view_t *batch, int64_t at, int64_t i, uint32_t flags,
                              int64_t nbl, tx_t *tx, work_t *w) noexcept nogil:
    """`follow` and `enqueue` for a segment of a NIC_AEAD."""
    cdef const layer_t *like = &first.layers[2]
    cdef sa_t *sa = like.sa
    cdef uint32_t longer = <uint32_t> (batch.length[at] - first.length)
    tx.frame = batch.base + batch.offset[at]
    tx.length = batch.length[at]
    tx.nbl = nbl
    put_to_work(w, sa, USUAL_AEAD)
    w.at.total = like.at.total + longer
    count(sa, w.at.total)
    aead_ops(w, sa, flags, like.at.esp + (tx.frame - first.frame), like.at.esp_len + longer,
             (like.seq + i) ^ sa.word[0])


cdef bint send_run(table_t *t, nic_t *nic, cutting_t *cutting, const large_t *big, bint raw, const wish_t *wish,
                   burst_t *burst, int64_t nbl, uint32_t *status) noexcept nogil:
    """Cut one large send and protect its segments, a few at a time: so they stay in the nearest cache in between.

    They are alike, their numbers in order, and in memory that nobody else can write: the first one's judgement holds
    for all.
    """
    cdef draft_t drafts[LAYERS]
    cdef const view_t *batch = cutting.out
    cdef tx_t first
    cdef tx_t *tx = &burst.frames[burst.n]
    cdef int64_t i, low = batch.n, n = segments_of(big)
    cdef int few = FEW if t.chunk == CHUNK_ONE_PASS else t.chunk
    cdef bint usual
    forget(drafts)
    cut_first(cutting, big)
    if not plan(t, nic, batch, low, raw, wish, tx) or not coverable(t, burst) or not draft_run(drafts, tx, n):
        return False
    first = tx[0]
    usual = wish.usual and wish.outer.flags & NIC_AEAD and wish.inner == NULL and first.layers[2].udp == NULL
    enqueue(t, nic, wish, burst, nbl, status)
    for i in range(1, n):
        cut_next(cutting, big)
        tx = &burst.frames[burst.n]
        if usual:
            follow_usual(&first, batch, low + i, i, wish.outer.flags, nbl, tx, &t.work[burst.n])
            burst.n += 1
        else:
            follow(&first, batch, low + i, i, tx)
            enqueue(t, nic, wish, burst, nbl, status)
        if burst.n >= few:
            ask_ahead(cutting, big, few)
            seal_burst(t, nic, burst, status)
    adopt(t, nic, drafts, True)
    return True


cdef inline bint send_usual(table_t *t, nic_t *nic, const view_t *batch, int64_t at, bint raw, const wish_t *wish,
                            burst_t *burst, int64_t nbl, uint32_t *status, bint aead) noexcept nogil:
    """One IPv4 frame of a NIC_USUAL, which is a NIC_AEAD or is not: most frames of most users.

    False: it is not that, or not good, and nothing was written; the long way comes to the same.
    """
    cdef tx_t *tx = &burst.frames[burst.n]
    cdef work_t *w = &t.work[burst.n]
    cdef sa_t *sa = &t.sas[wish.outer.esp - 1]
    cdef const shape_t *shape = &t.suites[sa.suite].shape
    cdef uint8_t *frame = batch.base + batch.offset[at]
    cdef int64_t length = batch.length[at]
    cdef uint32_t encapsulation, esp_len, text_len, trailer, icv_len = sa.icv_len
    cdef uint32_t front = 16 if aead else 8 + shape.iv_len
    cdef uint8_t ivs[16]
    cdef uint64_t seq, top = sa.seq, prefix = sa.word[0]
    cdef uint8_t *esp
    cdef ip_t ip
    cdef int offset = ip_offset(frame, length, raw, &encapsulation)
    if offset < 0 or not encapsulation & nic.caps.encapsulation4 or not ip4_plain(frame + offset, length - offset, &ip):
        return False
    esp = frame + offset + 20
    esp_len = ip.total - 20
    text_len = esp_len - icv_len - front
    if ip.proto != IPPROTO_ESP_ or esp_len < front + 2 + icv_len or raw32(esp) != sa.spi_be:
        return False
    if not aead and (text_len & (shape.block - 1) or nic.generator != NULL):
        return False
    trailer = be16(esp + esp_len - icv_len - 2)
    if trailer >> 8 > text_len - 2 or wish.header & 0xFFFF and trailer != wish.header & 0xFFFF:
        return False
    seq = be32(esp + 4)
    if seq <= top and not fresh(sa.ring, sa.ring_mask, sa.window_size, top, seq):
        return False
    if not aead and not write_iv(t, nic, sa, seq, shape, esp + 8, False, ivs):
        return False
    put_to_work(w, sa, USUAL_AEAD if aead else USUAL_ESP)
    w.at.total = ip.total
    if aead:
        aead_ops(w, sa, wish.outer.flags, esp, esp_len, seq ^ prefix)
    else:
        esp_ops(w, sa, shape, False, esp, esp_len, seq, ivs)
    sa.seq = window_mark(sa.ring, sa.ring_mask, top, seq)
    count(sa, ip.total)
    tx.frame = frame
    tx.length = length
    tx.nbl = nbl
    burst.n += 1
    if burst.n == t.chunk:
        seal_burst(t, nic, burst, status)
    return True


cdef inline bint send_list(table_t *t, nic_t *nic, const view_t *batch, int64_t low, int64_t high, bint raw,
                           wish_t *wish, burst_t *burst, int64_t nbl, uint32_t *status) noexcept nogil:
    """Frames low to high of one list; False if it is not sent, and then nothing of it was written."""
    cdef tx_t *tx
    cdef int64_t i
    if wish.outer == NULL:
        for i in range(low, high):
            pass_on(nic, wish, batch.base + batch.offset[i], batch.length[i], raw)
        return True
    wish.cross_check = high - low == 1 and not wish.cut
    if high - low > 1 or wish.cut:
        return send_several(t, nic, batch, low, high, raw, wish, burst, nbl, status)
    if wish.usual and wish.outer.flags & NIC_USUAL and wish.inner == NULL and not wish.checksum:
        if wish.outer.flags & NIC_AEAD:
            if send_usual(t, nic, batch, low, raw, wish, burst, nbl, status, True):
                return True
        elif send_usual(t, nic, batch, low, raw, wish, burst, nbl, status, False):
            return True
    tx = &burst.frames[burst.n]
    if not plan(t, nic, batch, low, raw, wish, tx) or not coverable(t, burst) or not use_numbers(tx):
        return False
    enqueue(t, nic, wish, burst, nbl, status)
    return True


cdef inline bint cut_and_send(table_t *t, nic_t *nic, cutting_t *cutting, bint raw, wish_t *wish, burst_t *burst,
                              int64_t nbl, uint32_t *status) noexcept nogil:
    """A list of a batch with large sends, which the NIC makes the frames of; False if it is not sent."""
    cdef int64_t at = cutting.first[nbl] if cutting.first != NULL else nbl, low = cutting.out.n
    cdef bint sent, alone = cutting.first == NULL or cutting.first[nbl + 1] - at == 1
    if wish.cut and alone and wish.outer != NULL:
        wish.cross_check = False
        sent = send_run(t, nic, cutting, &cutting.large[at], raw, wish, burst, nbl, status)
    else:
        cut_list(cutting, nbl)
        sent = send_list(t, nic, cutting.out, low, cutting.out.n, raw, wish, burst, nbl, status)
    cutting.out_first[nbl + 1] = cutting.out.n
    return sent


# --- rounds -----------------------------------------------------------------------------------------------------------

cdef inline bint fill(table_t *t, nic_t *nic, tx_t *tx, work_t *w, int k) noexcept nogil:
    """The operations of a frame's next layer; False if there is no IV for it."""
    cdef layer_t *layer = &tx.layers[lowest(tx.left)]
    cdef const shape_t *shape
    cdef sa_t *sa = layer.sa
    cdef uint8_t iv[16]
    shape = &t.suites[sa.suite].shape
    w.at = layer.at
    w.sa = sa
    w.suite = sa.suite
    w.seq = layer.seq
    w.usual = 0
    w.status = PENDING
    if not write_iv(t, nic, sa, layer.seq, shape, layer.at.esp + 8, tx.cut, iv):
        return False
    if sa.proto == IPPROTO_AH_:
        return ah_ops(w, sa, shape, tx.limit, t.scratch + k * SCRATCH, raw64(iv) if shape.iv_len else 0, True)
    esp_ops(w, sa, shape, (sa.flags & SA_ESN) != 0, layer.at.esp, layer.at.esp_len, layer.seq, iv)
    return True


cdef inline bint sealed(table_t *t, nic_t *nic, tx_t *tx, work_t *w) noexcept nogil:
    """After the crypto of a layer; False if the library failed."""
    cdef layer_t *layer
    if w.usual:
        # it did: the others have been passed over
        uncount(w.sa, w.at.total)
        count_refusal(w.sa, ST_CRYPTO_FAILED)
        return False
    layer = &tx.layers[lowest(tx.left)]
    tx.left &= tx.left - 1
    if w.sa.proto == IPPROTO_AH_:
        ah_restore(w, t.suites[w.suite].shape.iv_len, True)
    if not (w.cipher.good and w.mac.good):
        count_refusal(w.sa, ST_CRYPTO_FAILED)
        return False
    w.sa.packets += 1
    w.sa.bytes += w.at.total
    if layer.udp != NULL:
        put_raw16(layer.udp + 6, 0)
        if w.at.version == 6 and not nic.options.udp6_zero:
            udp6_checksum(w.at.ip, layer.udp, w.at.esp_len + 8)
    return True


cdef inline bint stage(table_t *t, nic_t *nic, burst_t *burst, const tx_t *from_, int to,
                       uint32_t *status) noexcept nogil:
    """Get a frame ready for the next round as number `to`; False if it needs none, or fails."""
    if &burst.frames[to] != from_:
        burst.frames[to] = from_[0]
    if fill(t, nic, &burst.frames[to], &t.work[to], to):
        return True
    lose(&burst.frames[to], status)
    return False


cdef void lose(tx_t *tx, uint32_t *status) noexcept nogil:
    """A frame whose list was taken on, but that can't be made: nothing of it stays."""
    status[tx.nbl] = NDIS_STATUS_FAILURE
    memset(tx.frame, 0, tx.length)


cdef void seal_burst(table_t *t, nic_t *nic, burst_t *burst, uint32_t *status) noexcept nogil:
    """Take the chunk through all its layers."""
    cdef tx_t *tx
    cdef work_t *w
    cdef int k, before, m = burst.n
    burst.n = 0
    while m:
        seal_chunk(t, t.work, m)
        before = m
        m = 0
        for k in range(before):
            w = &t.work[k]
            if w.cipher.good and (w.usual == USUAL_AEAD or w.usual == USUAL_ESP and w.mac.good):
                continue
            tx = &burst.frames[k]
            if not sealed(t, nic, tx, w):
                lose(tx, status)
            elif tx.left:
                m += stage(t, nic, burst, tx, m, status)
            elif tx.ip_checksum:
                header_checksum(tx.ip, tx.ip_checksum)


cdef void send_batch(table_t *t, nic_t *nic, view_t *batch, const int64_t *first, int64_t n, const uint64_t *oob,
                     uint32_t *status, bint raw, cutting_t *cutting) noexcept nogil:
    """Every list of the batch, in order.

    first : where each of the n lists begins, and the end; NULL: one frame each.  oob : uint64[5][n].
    cutting : fills batch and first, list by list, so that segments are protected while they are in the caches; lists
        whose status is a failure already are left out.  NULL: there are no large sends.
    """
    cdef burst_t burst
    cdef wish_t wish
    cdef int64_t i, low, high
    cdef bint sent
    burst.n = 0
    no_wish(&wish)
    wish.cut = False
    wish.usual = nic.caps.any_mode and not nic.options.host_iv and not nic.options.strict_offsets
    for i in range(n):
        if cutting != NULL:
            cutting.out_first[i + 1] = batch.n
            if status[i] != NDIS_STATUS_SUCCESS:
                continue
        status[i] = NDIS_STATUS_SUCCESS
        sent = understand(nic, oob, n, i, &wish)
        if sent and cutting != NULL:
            wish.cut = (oob[ROW_LARGE_SEND * n + i] & 0xFFFFF) != 0
            sent = cut_and_send(t, nic, cutting, raw, &wish, &burst, i, status)
        elif sent:
            low = first[i] if first != NULL else i
            high = first[i + 1] if first != NULL else i + 1
            if high + AHEAD <= batch.n:
                ask_for(batch, high + AHEAD - 1)
            sent = send_list(t, nic, batch, low, high, raw, &wish, &burst, i, status)
        if not sent:
            status[i] = NDIS_STATUS_FAILURE
    if burst.n:
        seal_burst(t, nic, &burst, status)
