"""The NIC's receive path: what a card with IPsecOV2 does to frames that arrive, and the words it writes.

Frames stay whole and where they are.  A chunk goes through in rounds, so that the crypto library sees many
packets at once; a packet takes part in one round for each of its layers:

    frame | IP | AH | ESP ... IP | AH | ESP ... trailer | ICV | trailer | ICV
               1    2             3    4

1, 2 are the outer bundle's, 3, 4 those of the transport SAs inside a tunnel.  Only payload and trailer of ESP
are written, once its ICV has proved right; a packet whose ICV is wrong stays bit for bit as it came, and so does every
packet that is none of the NIC's.

Receive checksums come last, when they are on; `_nic_rx_sums` says what of.

No replay check, no stripping, nothing is dropped: that is the host's.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ._ah cimport ah_fits, ah_len_of, ah_ops, ah_restore
from ._bytes cimport be16, be32, raw32, raw64
from ._esp cimport count_refusal, esp_fits, esp_ops, open_chunk, usual_ops
from ._frame cimport ip_offset
from ._ip cimport ip4_plain, ip_parse, ip_t
from ._lookup cimport chain_head, same_destination, same_source
from ._nic cimport (
    INNER_PLAIN, INNER_UDP, NIC_DELETE_REQ, NIC_HINT_TRANSPORT, NIC_HINT_TUNNEL, NIC_LEARNED_TUNNEL, NIC_MATCH_SRC,
    NIC_ON, NIC_V6,
    OUTER_PLAIN, OUTER_UDP, ROW_CHECKSUM, ROW_HEADER, ROW_IPSEC,
    UDP_TRANSPORT_OVER_TUNNEL, UDP_TRANSPORT_OVER_UDP_TUNNEL, UDP_TUNNEL,
    ask_for, bundle_of, nic_bundle_t, nic_sa_t, nic_t,
)
from ._nic_esn cimport another_number, mark, number
from ._nic_parse cimport behind_ah, mode_on, names_ip, served
from ._nic_rx_sums cimport frame_result, secured_result
from ._types cimport (
    CHUNK, CLASS_AEAD, CLASS_MAC, IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_UDP_, PENDING,
    SA_DST_ANY, SA_ESN, SA_OUTBOUND, SCRATCH, ST_AUTH_FAILED, ST_CRYPTO_FAILED, ST_MALFORMED,
    USUAL_AEAD,
    found_t, op_t, sa_t, shape_t, suite_t, table_t, view_t, work_t,
)

# --- lookup -----------------------------------------------------------------------------------------------------------

cdef inline bint matches(const nic_bundle_t *b, const sa_t *sa, const found_t *at, uint32_t form) noexcept nogil:
    """Everything but SPI and protocol."""
    if not b.flags & NIC_ON or not b.forms & form or ((b.flags & NIC_V6) != 0) != (at.version == 6):
        return False
    if not sa.flags & SA_DST_ANY and not same_destination(sa, at):
        return False
    return not b.flags & NIC_MATCH_SRC or same_source(sa, at)


cdef inline sa_t *choose(const table_t *t, const nic_t *nic, const found_t *at, uint32_t form,
                         nic_bundle_t **bundle) noexcept nogil:
    """The SA of (SPI, destination, protocol); else one of (SPI, destination), whose protocol is another; or NULL."""
    cdef uint32_t head = chain_head(t, raw32(at.esp))
    cdef sa_t *sa
    cdef sa_t *other = NULL
    cdef nic_bundle_t *b
    while head:
        sa = &t.sas[head - 1]
        if sa.flags & SA_OUTBOUND:
            break
        b = bundle_of(nic, head - 1)
        if b != NULL and (other == NULL or sa.proto == at.proto) and matches(b, sa, at, form):
            bundle[0] = b
            if sa.proto == at.proto:
                return sa
            other = sa
        head = sa.next
    return other


# --- parse ------------------------------------------------------------------------------------------------------------

cdef int locate(const nic_t *nic, rx_t *p, found_t *at, bint *cut) noexcept nogil:
    """Find ESP or AH behind the header at p.ip: READY if there is an SPI to go by, DONE: none of the NIC's.

    cut : a length says more than is there; of which the SA's owner hears, if there is an SA.
    """
    cdef ip_t ip
    cdef uint32_t there, n
    cdef uint8_t *udp
    if not ip_parse(p.ip, p.length, &ip) or not served(nic, p.ip, &ip):
        return DONE
    at.version = ip.version
    at.hdr_len = ip.hdr_len
    at.next_ofs = ip.next_ofs
    at.total = ip.total
    at.proto = IPPROTO_ESP_
    at.esp = at.ip + ip.hdr_len
    cut[0] = ip.total > p.length
    there = <uint32_t> p.length if cut[0] else ip.total
    there -= ip.hdr_len
    at.esp_len = there
    if ip.proto == IPPROTO_ESP_:
        return READY if there >= 4 else DONE
    if ip.proto == IPPROTO_AH_:
        if there < 8:
            return DONE
        at.proto = IPPROTO_AH_
        at.esp += 4
        at.esp_len -= 4
        return READY
    if ip.proto != IPPROTO_UDP_ or there < 12:
        return DONE
    udp = at.esp
    n = be16(udp + 4)
    if be16(udp + 2) != 4500 or n < 12 or raw32(udp + 8) == 0:
        return DONE                  # another port; a keepalive; IKE behind its zero marker
    p.udp = True
    at.esp += 8
    if n > there:
        cut[0] = True
        n = there
    at.esp_len = n - 8
    return READY


cdef inline int take(table_t *t, nic_t *nic, rx_t *p, work_t *w, int k) noexcept nogil:
    """Find the SA of the header at p.ip and fill w: READY, DONE (not for the NIC), or a CryptoStatus."""
    cdef ip_t plain
    cdef found_t esp
    cdef sa_t *sa
    cdef nic_bundle_t *b = NULL
    cdef bint cut = False
    cdef uint32_t form
    w.at.ip = p.ip
    p.udp = False
    if ip4_plain(p.ip, p.length, &plain) and plain.proto == IPPROTO_ESP_ and plain.total >= 28:
        w.at.esp = p.ip + 20
        w.at.esp_len = plain.total - 20
        w.at.hdr_len = 20
        w.at.total = plain.total
        w.at.next_ofs = 9
        w.at.version = 4
        w.at.proto = IPPROTO_ESP_
    elif locate(nic, p, &w.at, &cut) == DONE:
        return DONE
    if p.inner:
        if p.udp and (p.outer_udp or not nic.caps.udp_esp & UDP_TRANSPORT_OVER_TUNNEL):
            return DONE
        if p.outer_udp and not nic.caps.udp_esp & UDP_TRANSPORT_OVER_UDP_TUNNEL:
            return DONE
        form = INNER_UDP if p.udp else INNER_PLAIN
    else:
        form = OUTER_UDP if p.udp else OUTER_PLAIN
    sa = choose(t, nic, &w.at, form, &b)
    if sa == NULL:
        return DONE
    if not mode_allowed(nic, p, b, &w.at):
        return DONE
    if sa.proto != w.at.proto or (b.ah and sa.proto == IPPROTO_ESP_):
        return other_protocol(nic, p, b, &w.at)
    p.bundle = b
    if b.flags & NIC_DELETE_REQ:
        p.word |= SA_DELETE_REQ
    if cut or w.at.esp_len < 8:
        return refused(p, CRYPTO_INVALID_PACKET_SYNTAX)
    if b.ah and b.esp and ah_len_of(&w.at) <= w.at.esp_len + 4 and (
            not behind_ah(nic, &w.at, ah_len_of(&w.at), &esp) or raw32(esp.esp) != t.sas[b.esp - 1].spi_be):
        return refused(p, CRYPTO_INVALID_PROTOCOL)
    return fill(t, nic, p, w, sa, k)


cdef int other_protocol(const nic_t *nic, rx_t *p, const nic_bundle_t *b, const found_t *at) noexcept nogil:
    """A packet with a bundle's SPI whose protocol is not the bundle's outermost."""
    if not (nic.caps.esp if at.proto == IPPROTO_ESP_ else nic.caps.ah):
        return DONE                  # one that is off: not the NIC's, whoever has its SPI
    if b.flags & NIC_DELETE_REQ:
        p.word |= SA_DELETE_REQ
    return refused(p, CRYPTO_INVALID_PROTOCOL)


cdef inline bint mode_allowed(const nic_t *nic, const rx_t *p, const nic_bundle_t *b, const found_t *at) noexcept nogil:
    """Is the packet's mode, where it can be seen before decryption, one that is advertised?"""
    if p.inner:
        # a tunnel in a tunnel is more than the NIC takes
        return nic.caps.transport and not b.flags & NIC_HINT_TUNNEL and not (
            at.proto == IPPROTO_AH_ and names_ip((at.esp - 4)[0]))
    if nic.caps.any_mode or at.proto != IPPROTO_AH_ or b.esp:
        return True                  # of ESP `passed_esp` asks again, when its trailer can be read
    return mode_on(nic, (at.esp - 4)[0])


cdef bint tunnel(const nic_t *nic, const rx_t *p, const nic_bundle_t *b, const found_t *at) noexcept nogil:
    """Does a packet that says nothing of its mode any more count as a tunnel's?"""
    if p.inner or b.flags & NIC_HINT_TRANSPORT:
        return False
    if b.flags & NIC_HINT_TUNNEL or not nic.caps.transport:
        return True
    if not nic.caps.tunnel:
        return False
    if b.udp_esp & (UDP_TUNNEL | UDP_TRANSPORT_OVER_UDP_TUNNEL | UDP_TRANSPORT_OVER_TUNNEL):
        return True
    if at.proto == IPPROTO_AH_ and not b.esp:
        return names_ip((at.esp - 4)[0])
    return nic.options.learn_tunnel and (b.flags & NIC_LEARNED_TUNNEL) != 0


cdef inline int refused(rx_t *p, int code) noexcept nogil:
    """A verdict without a look at the ICV; it counts as a check, or nobody would read it."""
    p.word |= NEXT_CRYPTO_DONE if p.inner else CRYPTO_DONE
    return code


cdef inline int fill(table_t *t, nic_t *nic, rx_t *p, work_t *w, sa_t *sa, int k) noexcept nogil:
    """The operations of one layer, whose place is w.at."""
    cdef const suite_t *suite = &t.suites[sa.suite]
    cdef bint esn = (sa.flags & SA_ESN) != 0
    cdef uint32_t lo = be32(w.at.esp + 4)
    cdef shape_t aead
    w.sa = sa
    w.suite = sa.suite
    w.status = PENDING
    w.usual = 0
    w.seq = lo
    if suite.shape.kind == CLASS_AEAD and not esn and not suite.shape.is_ccm and nic.caps.any_mode:
        # most packets of most users: the same code with most of its questions answered
        aead.iv_len = 8
        aead.block = 1
        if not esp_fits(sa, &aead, &w.at):
            return refused(p, CRYPTO_INVALID_PACKET_SYNTAX)
        w.usual = USUAL_AEAD
        usual_ops(w, sa, sa.icv_len, w.at.esp, w.at.esp_len, raw64(w.at.esp + 8))
        return READY
    if esn:
        w.seq = p.other if p.again else number(nic, &nic.sas[sa - t.sas], lo)
    if sa.proto == IPPROTO_ESP_:
        if not esp_fits(sa, &suite.shape, &w.at):
            return refused(p, CRYPTO_INVALID_PACKET_SYNTAX)
        esp_ops(w, sa, &suite.shape, esn, w.at.esp, w.at.esp_len, w.seq, w.at.esp + 8)
        if suite.shape.is_ccm or not nic.caps.any_mode:
            memcpy(t.scratch + k * SCRATCH, w.cipher.text, w.cipher.text_len)
        return READY
    if not ah_fits(sa, &suite.shape, &w.at) or not ah_ops(
            w, sa, &suite.shape, p.limit, t.scratch + k * SCRATCH, raw64(w.at.esp + 8), False):
        return refused(p, CRYPTO_INVALID_PACKET_SYNTAX)
    return READY


# --- verdicts ---------------------------------------------------------------------------------------------------------

cdef void undo(table_t *t, work_t *w, int k) noexcept nogil:
    """Make an AEAD's text what it was before it was decrypted: by the cipher's stream once more.

    libcrypto's CCM leaves zeros of a text whose ICV is wrong, so for CCM there is a copy.
    """
    cdef const suite_t *suite = &t.suites[w.suite]
    cdef op_t *op = &w.cipher
    if suite.shape.is_ccm:
        memcpy(w.cipher.text, t.scratch + k * SCRATCH, w.cipher.text_len)
        return
    w.cipher.key = w.sa.key
    w.cipher.tag = w.tag
    suite.cipher.encrypt(suite.cipher_ctx, &op, 1)


cdef int failed(table_t *t, nic_t *nic, rx_t *p, work_t *w, int k, int to) noexcept nogil:
    """A wrong ICV: nothing of the packet is changed.  READY: another number is to be tried, as work item `to`."""
    cdef uint8_t kind = t.suites[w.suite].shape.kind
    cdef uint64_t seq = w.seq
    cdef sa_t *sa = w.sa
    cdef found_t at = w.at
    if kind == CLASS_MAC and w.status == PENDING:
        count_refusal(sa, ST_CRYPTO_FAILED)
        return refused(p, CRYPTO_GENERIC_ERROR)      # the library failed
    if kind == CLASS_AEAD:
        undo(t, w, k)
    if sa.flags & SA_ESN and not p.again and another_number(nic, &nic.sas[sa - t.sas], &seq):
        p.again = True
        p.other = seq
        w = &t.work[to]
        w.at = at
        return fill(t, nic, p, w, sa, to)
    count_refusal(sa, ST_AUTH_FAILED)
    refused(p, 0)
    if tunnel(nic, p, p.bundle, &w.at):
        return CRYPTO_TUNNEL_AH_AUTH_FAILED if sa.proto == IPPROTO_AH_ else CRYPTO_TUNNEL_ESP_AUTH_FAILED
    return CRYPTO_TRANSPORT_AH_AUTH_FAILED if sa.proto == IPPROTO_AH_ else CRYPTO_TRANSPORT_ESP_AUTH_FAILED


cdef int go_inside(table_t *t, nic_t *nic, rx_t *p, uint8_t *data, int64_t n, int to) noexcept nogil:
    """Look for a transport layer in the packet that a tunnel carried."""
    if n < 20 or p.inner or not nic.caps.both or not (nic.caps.receive4 if data[0] >> 4 == 4 else nic.caps.receive6):
        return DONE
    p.inner = True
    p.outer_udp = p.udp
    p.ip = data
    p.length = n
    return take(t, nic, p, &t.work[to], to)


cdef void protects(rx_t *p, const uint8_t *front, uint8_t next_header, const uint8_t *data, uint32_t n) noexcept nogil:
    """Note what a good layer stands in front of."""
    p.front = front
    p.next_header = next_header
    p.data = data
    p.data_len = n


cdef int passed_ah(table_t *t, nic_t *nic, rx_t *p, work_t *w, int to) noexcept nogil:
    """What follows an AH header that has proved right."""
    cdef uint32_t n = ah_len_of(&w.at)
    cdef uint8_t *ah = w.at.esp - 4
    cdef found_t esp
    if n > w.at.esp_len + 4:                         # `fill` has looked, but the memory is not ours alone
        return CRYPTO_GENERIC_ERROR
    if nic.caps.sums:
        protects(p, w.at.ip, ah[0], ah + n, w.at.esp_len + 4 - n)
    if p.bundle.esp:
        if not behind_ah(nic, &w.at, n, &esp):       # `take` has looked, but the memory is not ours alone
            return CRYPTO_GENERIC_ERROR
        w = &t.work[to]
        w.at = esp
        return fill(t, nic, p, w, &t.sas[p.bundle.esp - 1], to)
    if not names_ip(ah[0]):
        return DONE
    return go_inside(t, nic, p, ah + n, w.at.esp_len + 4 - n, to)


cdef inline void count(const table_t *t, nic_t *nic, sa_t *sa, uint64_t seq, uint32_t n) noexcept nogil:
    """A layer of n bytes has proved right."""
    cdef nic_sa_t *own = &nic.sas[sa - t.sas]
    sa.packets += 1
    sa.bytes += n
    if seq > sa.seq or own.restart:
        sa.seq = seq
        own.restart = False


cdef int as_it_came(table_t *t, rx_t *p, work_t *w, int k) noexcept nogil:
    """A packet of a mode that is off, which only its trailer has told: the NIC has done nothing."""
    memcpy(w.cipher.text, t.scratch + k * SCRATCH, w.cipher.text_len)
    p.word = 0
    p.front = NULL
    p.owed = NULL
    return DONE


cdef inline int passed_esp(table_t *t, nic_t *nic, rx_t *p, work_t *w, int k, int to) noexcept nogil:
    """The trailer of an authenticated and decrypted packet, and what it carries."""
    cdef uint8_t *data = w.at.esp + 8 + t.suites[w.suite].shape.iv_len
    cdef uint8_t *end = w.at.esp + w.at.esp_len - w.sa.icv_len
    cdef uint32_t room = <uint32_t> (end - data) - 2, pad_len = (end - 2)[0]
    cdef uint8_t next_header = (end - 1)[0]
    if not nic.caps.any_mode and not p.inner and pad_len <= room and not mode_on(nic, next_header):
        return as_it_came(t, p, w, k)
    count(t, nic, w.sa, w.seq, w.at.total)
    if pad_len > room:
        count_refusal(w.sa, ST_MALFORMED)
        return CRYPTO_GENERIC_ERROR
    if nic.caps.sums:
        protects(p, w.at.ip, next_header, data, room - pad_len)
    p.esp_layers += 1
    if p.esp_layers == 1 or nic.options.innermost_trailer:
        p.header = HEADER_INFO_SET | pad_len << 8 | next_header
    else:
        p.header = 0
    if not names_ip(next_header) or p.inner:
        return DONE
    p.bundle.flags |= NIC_LEARNED_TUNNEL
    return go_inside(t, nic, p, data, room - pad_len, to)


cdef inline int judge(table_t *t, nic_t *nic, rx_t *p, int k, int to) noexcept nogil:
    """After the crypto of work item k: DONE, a CryptoStatus, or READY for another round, as work item `to`."""
    cdef work_t *w = &t.work[k]
    if w.status != PENDING or not w.cipher.good:
        return failed(t, nic, p, w, k, to)
    p.again = False
    p.word |= NEXT_CRYPTO_DONE if p.inner else CRYPTO_DONE
    if w.sa.flags & SA_ESN:
        mark(&nic.sas[w.sa - t.sas], w.seq)
    if w.sa.proto == IPPROTO_ESP_:
        return passed_esp(t, nic, p, w, k, to)
    if nic.caps.any_mode or p.inner or not p.bundle.esp:
        count(t, nic, w.sa, w.seq, w.at.total)
    else:
        p.owed = w.sa
        p.owed_seq = w.seq
        p.owed_bytes = w.at.total
    return passed_ah(t, nic, p, w, to)


cdef inline bint usual_verdict(const nic_t *nic, rx_t *p, const work_t *w) noexcept nogil:
    """`judge` for what most packets of AEADs are, ESP in transport mode and good; False: nothing was done."""
    cdef const uint8_t *end = w.cipher.text + w.cipher.text_len
    cdef uint32_t pad_len
    cdef uint8_t next_header
    cdef sa_t *sa = w.sa
    if w.usual != USUAL_AEAD or not w.cipher.good or p.inner or nic.caps.sums:
        return False
    pad_len = (end - 2)[0]
    next_header = (end - 1)[0]
    if names_ip(next_header) or pad_len > w.cipher.text_len - 2:
        return False
    sa.packets += 1
    sa.bytes += w.at.total
    if w.seq > sa.seq:
        sa.seq = w.seq
    p.word |= CRYPTO_DONE
    p.header = HEADER_INFO_SET | pad_len << 8 | next_header
    return True


# --- one chunk --------------------------------------------------------------------------------------------------------

cdef inline void write_words(const nic_t *nic, const view_t *batch, uint64_t *oob, const rx_t *p, int verdict,
                             bint raw) noexcept nogil:
    """Slots 1 and 12, and for now in slot 0 what is behind the layers; the others are zero already."""
    cdef int64_t n = batch.n, i = p.index
    oob[ROW_IPSEC * n + i] = p.word | (<uint32_t> verdict << STATUS_SHIFT if verdict < READY else 0)
    oob[ROW_HEADER * n + i] = p.header if verdict == DONE else 0
    if nic.caps.sums and p.front != NULL:
        oob[ROW_CHECKSUM * n + i] = secured_result(nic, batch.base + batch.offset[i], batch.length[i], raw, p.front,
                                                   p.next_header, p.data, p.data_len)


cdef void checksums(const nic_t *nic, const view_t *batch, uint64_t *oob, int64_t start, int n,
                    bint raw) noexcept nogil:
    """Slot 0 of a chunk."""
    cdef int64_t i
    cdef uint64_t *word
    for i in range(start, start + n):
        word = &oob[ROW_CHECKSUM * batch.n + i]
        word[0] = frame_result(nic, batch.base + batch.offset[i], batch.length[i], raw,
                               oob[ROW_IPSEC * batch.n + i] != 0, <uint32_t> word[0])


cdef void chunk(table_t *t, nic_t *nic, view_t *batch, uint64_t *oob, int64_t start, int n, bint raw) noexcept nogil:
    cdef rx_t packets[CHUNK]
    cdef rx_t *p
    cdef work_t *w
    cdef uint8_t *frame
    cdef uint32_t encapsulation
    cdef int k, m = 0, before, at, verdict
    cdef int64_t i
    for k in range(n):
        i = start + k
        if i + 6 < batch.n:
            ask_for(batch, i + 6)
        frame = batch.base + batch.offset[i]
        at = ip_offset(frame, batch.length[i], raw, &encapsulation)
        if at < 0 or not encapsulation & (nic.caps.receive4 if frame[at] >> 4 == 4 else nic.caps.receive6):
            continue
        p = &packets[m]
        p.ip = frame + at
        p.length = batch.length[i] - at
        p.limit = batch.base + batch.slot_offset[i] + batch.slot_length[i]
        p.index = i
        p.word = 0
        p.header = 0
        p.outer_udp = 0
        p.esp_layers = 0
        p.inner = False
        p.again = False
        p.owed = NULL
        if nic.caps.sums:
            p.front = NULL
        verdict = take(t, nic, p, &t.work[m], m)
        if verdict == READY:
            m += 1
        elif verdict != DONE:
            write_words(nic, batch, oob, p, verdict, raw)
    while m:
        open_chunk(t, t.work, m)
        if t.n_ah:
            for k in range(m):
                w = &t.work[k]
                if w.sa.proto == IPPROTO_AH_:
                    ah_restore(w, t.suites[w.suite].shape.iv_len, False)
        before = m
        m = 0
        for k in range(before):
            p = &packets[k]
            if usual_verdict(nic, p, &t.work[k]):
                write_words(nic, batch, oob, p, DONE, raw)
                continue
            verdict = judge(t, nic, p, k, m)
            if verdict == READY:
                packets[m] = p[0]
                m += 1
            else:
                if p.owed != NULL:
                    count(t, nic, p.owed, p.owed_seq, p.owed_bytes)
                write_words(nic, batch, oob, p, verdict, raw)


cdef void receive_batch(table_t *t, nic_t *nic, view_t *batch, uint64_t *oob, bint raw) noexcept nogil:
    """Every frame of the batch; oob is uint64[5][n].  The caller holds batch and table for itself.

    raw : frames begin with the IP header.
    """
    cdef int64_t start = 0
    cdef int n
    memset(oob, 0, 5 * batch.n * sizeof(uint64_t))
    if not nic.caps.receive4 and not nic.caps.receive6 and not nic.caps.sums:
        return
    while start < batch.n:
        n = <int> (batch.n - start) if batch.n - start < t.chunk else t.chunk
        chunk(t, nic, batch, oob, start, n, raw)
        if nic.caps.sums:
            checksums(nic, batch, oob, start, n, raw)
        start += n
