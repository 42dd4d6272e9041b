"""Outbound ESP and AH: sequence number, headers, padding, crypto, counters.

Buffer recipe, transport mode:                    tunnel mode:
    IP | data                                         IP data
    IP | UDP? | SPI seq IV | data | trailer | ICV     IP | UDP? | SPI seq IV | IP data | TFC | trailer | ICV

With AH, `next, length, 0, SPI, seq, [IV,] ICV, padding` stands in place of SPI, seq, IV, and nothing behind.
The data stays where it is if the slot has room in front and behind; it moves only if one side lacks it.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ._ah cimport ah_coverable, ah_len_for, ah_ops, ah_restore
from ._bytes cimport (
    be16, be32, little64, prefetch_w, put_be16, put_be32, put_be64, put_raw16, put_raw32, put_raw64, raw32, swap64,
)
from ._esp cimport count_refusal, esp_ops, prefetch_state, seal_chunk, usual_ops
from ._ip cimport FRAG_NONE, ip4_move, ip4_plain, ip6_move, ip_head, ip_parse, ip_t, ip_tos, udp6_checksum
from ._types cimport (
    BUNDLE_BIT, CHUNK, FEW_SAS, IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_IPV4_, IPPROTO_IPV6_, IPPROTO_UDP_,
    IV_COUNTER, IV_RANDOM, MAX_LAYERS, PENDING, SCRATCH,
    SA_AH, SA_COPY_DSCP, SA_DF_COPY, SA_DF_SET, SA_ECN, SA_ESN, SA_FLOW_COPY, SA_HAS_ADDRESS, SA_TUNNEL,
    SA_UDP, SA_USUAL, SA_V6,
    ST_CRYPTO_FAILED, ST_FRAGMENT, ST_MALFORMED, ST_NO_ROOM, ST_OK, ST_SEQ_EXHAUSTED,
    bundle_t, sa_t, shape_t, table_t, verdict_t, view_t, work_t,
)

# One packet's lengths and places, in registers: stores to packets make a compiler read work_t and sa_t again
cdef struct plan_t:
    uint8_t *ip               # header in front of ESP or AH, new place
    uint8_t *data             # what is protected
    uint8_t *old_ip
    uint32_t data_len
    uint32_t clear_len        # data, TFC padding, padding, trailer
    uint32_t pad_len
    uint32_t udp_len          # 8 or 0
    uint32_t hdr_len
    uint32_t head             # ESP header and IV, or AH header
    uint32_t esp_len          # head to the end
    uint32_t total
    uint32_t next_ofs
    uint8_t version
    uint8_t next_header       # of what is protected
    uint8_t proto             # ESP, AH or UDP


cdef inline uint8_t sized(const sa_t *sa, const shape_t *shape, uint8_t *old_ip, const ip_t *ip, uint32_t flags,
                          plan_t *p) noexcept nogil:
    """Work out every length; PENDING or a refusal.  Nothing is written."""
    cdef uint32_t clear
    p.old_ip = old_ip
    p.udp_len = 8 if flags & SA_UDP else 0
    p.proto = IPPROTO_UDP_ if flags & SA_UDP else IPPROTO_AH_ if flags & SA_AH else IPPROTO_ESP_
    if flags & SA_TUNNEL:
        p.data = old_ip
        p.data_len = ip.total
        p.next_header = IPPROTO_IPV4_ if ip.version == 4 else IPPROTO_IPV6_
        p.version = 6 if flags & SA_V6 else 4
        p.hdr_len = 40 if flags & SA_V6 else 20
        p.next_ofs = 0
    else:
        if flags & SA_HAS_ADDRESS and (ip.version == 6) != ((flags & SA_V6) != 0):
            return ST_MALFORMED
        if ip.fragment != FRAG_NONE:
            return ST_FRAGMENT
        p.data = old_ip + ip.hdr_len
        p.data_len = ip.total - ip.hdr_len
        p.next_header = ip.proto
        p.version = ip.version
        p.hdr_len = ip.hdr_len
        p.next_ofs = ip.next_ofs
    if flags & SA_AH:
        p.pad_len = 0
        p.clear_len = p.data_len
        p.head = ah_len_for(shape.iv_len, sa.icv_len, 8 if p.version == 6 else sa.ah_align)
        p.esp_len = p.head + p.data_len
        p.total = p.hdr_len + p.esp_len
        return PENDING if p.total - (40 if p.version == 6 else 0) <= 65535 else ST_NO_ROOM
    clear = p.data_len
    if flags & SA_TUNNEL and clear < sa.tfc_pad_to:
        clear = sa.tfc_pad_to
    p.pad_len = (<uint32_t> 0 - (clear + 2)) & shape.align_mask
    p.clear_len = clear + p.pad_len + 2
    p.head = 8 + shape.iv_len
    p.esp_len = p.head + p.clear_len + sa.icv_len
    p.total = p.hdr_len + p.udp_len + p.esp_len
    if p.total - (40 if p.version == 6 else 0) > 65535:
        return ST_NO_ROOM
    return PENDING


cdef inline bint exhausted(const sa_t *sa) noexcept nogil:
    """Was the last sequence number used (RFC 4303 sec. 3.3.3)?"""
    return sa.seq >= sa.word[1]


cdef inline bint number(sa_t *sa, uint64_t *seq) noexcept nogil:
    """Take the next sequence number; False if there is none left."""
    if exhausted(sa):
        return False
    sa.seq += 1
    seq[0] = sa.seq
    return True


cdef inline void place(uint8_t *low, uint8_t *high, uint32_t front, plan_t *p, uint32_t flags) noexcept nogil:
    """Move header and data to their new place in the slot, which is known to be large enough.

    A transport mode header gets its new length and protocol on the way.
    """
    cdef uint8_t *start = p.data - front
    cdef uint8_t *data
    if p.data - low < front:
        start = low
    elif high - start < p.total:
        start = high - p.total
    data = start + front
    # towards the end: data first, for the header's new place may be the data's old one; else the reverse
    if data > p.data:
        memmove(data, p.data, p.data_len)
    if not flags & SA_TUNNEL:
        if p.version == 4:
            ip4_move(start, p.old_ip, p.hdr_len, p.total, p.proto)
        else:
            ip6_move(start, p.old_ip, p.hdr_len, p.total, p.next_ofs, p.proto)
    if data < p.data:
        memmove(data, p.data, p.data_len)
    p.ip = start
    p.data = data


cdef inline void outer_header(const sa_t *sa, const plan_t *p, uint32_t flags, uint64_t seq) noexcept nogil:
    """A tunnel's own IP header (RFC 4301 sec. 5.1.2, RFC 6040 sec. 4.1)."""
    cdef uint8_t *ip = p.ip
    cdef const uint8_t *inner = p.data
    cdef uint8_t tos = ip_tos(inner)
    cdef uint8_t header[20]
    cdef uint32_t flow
    cdef uint16_t df = 0
    tos = (tos & 0xFC if flags & SA_COPY_DSCP else 0) | (tos & 3 if flags & SA_ECN else 0)
    if p.version == 4:
        if flags & SA_DF_SET:
            df = 0x4000
        elif flags & SA_DF_COPY:
            df = be16(inner + 6) & 0x4000 if p.next_header == IPPROTO_IPV4_ else 0x4000
        put_be64(header, <uint64_t> 0x45 << 56 | <uint64_t> tos << 48 | <uint64_t> <uint16_t> seq << 16 | df)
        put_be32(header + 8, <uint32_t> sa.ttl << 24)
        put_raw32(header + 12, raw32(sa.src))
        put_raw32(header + 16, raw32(sa.dst))
        ip4_move(ip, header, 20, p.total, p.proto)
        return
    flow = sa.flow_label
    if flags & SA_FLOW_COPY:
        flow = be32(inner) & 0xFFFFF if p.next_header == IPPROTO_IPV6_ else 0
    put_be32(ip, <uint32_t> 0x60000000 | <uint32_t> tos << 20 | flow)
    put_be32(ip + 4, (p.total - 40) << 16 | <uint32_t> p.proto << 8 | sa.ttl)
    memcpy(ip + 8, sa.src, 16)
    memcpy(ip + 24, sa.dst, 16)


cdef inline void udp_header(const sa_t *sa, const plan_t *p) noexcept nogil:
    """UDP encapsulation (RFC 3948); the checksum is 0, over IPv6 it follows when the packet is done."""
    cdef uint8_t *udp = p.ip + p.hdr_len
    put_be16(udp, sa.sport)
    put_be16(udp + 2, sa.dport)
    put_be16(udp + 4, <uint16_t> (8 + p.esp_len))
    put_raw16(udp + 6, 0)


cdef inline void trailer(uint8_t *data, const plan_t *plan, uint8_t icv_len) noexcept nogil:
    """TFC padding of zeros, padding 1, 2, 3, ..., pad length, next header (RFC 4303 sec. 2.4 to 2.7)."""
    cdef uint64_t word
    cdef uint32_t bits = 8 * plan.pad_len
    if plan.pad_len <= 6 and icv_len >= 8 and plan.clear_len == plan.data_len + plan.pad_len + 2:
        # one store; what it writes behind the trailer is the ICV's place
        word = <uint64_t> 0x0807060504030201 & ((<uint64_t> 1 << bits) - 1)
        word |= <uint64_t> (plan.pad_len | <uint32_t> plan.next_header << 8) << bits
        put_raw64(data + plan.data_len, little64(word))
        return
    cdef uint8_t *end = data + plan.clear_len
    cdef uint8_t *pad = end - 2 - plan.pad_len
    cdef uint32_t i
    if pad > data + plan.data_len:
        memset(data + plan.data_len, 0, pad - data - plan.data_len)
    for i in range(plan.pad_len):
        pad[i] = <uint8_t> (i + 1)
    (end - 2)[0] = <uint8_t> plan.pad_len
    (end - 1)[0] = plan.next_header


cdef bint random_iv(table_t *t, uint8_t *out, uint32_t n) noexcept nogil:
    """n bytes that nobody can foretell; used bytes are wiped from the pool."""
    cdef uint8_t *at
    if t.pool_left < n:
        if not t.random(t.pool, sizeof(t.pool)):
            return False
        t.pool_left = sizeof(t.pool)
    t.pool_left -= n
    at = t.pool + t.pool_left
    memcpy(out, at, n)
    memset(at, 0, n)
    return True


cdef inline bint esp_header(table_t *t, const sa_t *sa, const shape_t *shape, uint8_t *esp, uint64_t seq,
                            const uint8_t *iv) noexcept nogil:
    """SPI, sequence number and IV; False if there is no randomness to be had."""
    put_raw32(esp, sa.spi_be)
    put_be32(esp + 4, <uint32_t> seq)
    if iv != NULL:
        memcpy(esp + 8, iv, shape.iv_len)
    elif shape.iv_kind == IV_COUNTER:
        put_be64(esp + 8, seq ^ sa.word[0])
    elif shape.iv_kind == IV_RANDOM:
        return random_iv(t, esp + 8, shape.iv_len)
    return True


cdef inline void ah_header(const sa_t *sa, const shape_t *shape, const plan_t *p, uint8_t *ah, uint64_t seq,
                           const uint8_t *iv) noexcept nogil:
    """RFC 4302 sec. 2; ICV and padding are zeros."""
    cdef uint32_t at = 12
    ah[0] = p.next_header
    ah[1] = <uint8_t> (p.head // 4 - 2)
    put_raw16(ah + 2, 0)
    put_raw32(ah + 4, sa.spi_be)
    put_be32(ah + 8, <uint32_t> seq)
    while at < p.head:
        put_raw32(ah + at, 0)
        at += 4
    if iv != NULL:
        memcpy(ah + 12, iv, shape.iv_len)
    elif shape.iv_kind == IV_COUNTER:
        put_be64(ah + 12, seq ^ sa.word[0])


cdef inline uint8_t protect(table_t *t, work_t *w, sa_t *sa, const shape_t *shape, uint32_t flags, const ip_t *ip,
                            uint8_t *old_ip, uint8_t *low, int64_t room, const uint8_t *iv, uint64_t given,
                            uint8_t *scratch) noexcept nogil:
    """Everything between parse and cipher: PENDING or a refusal.

    given : the packet's number if it is reserved already, else 0.
    """
    cdef uint64_t seq = given
    cdef plan_t p
    cdef uint8_t *esp
    cdef uint8_t status = sized(sa, shape, old_ip, ip, flags, &p)
    if status != PENDING:
        return status
    if flags & SA_AH and not given and not covers(sa, ip, flags, old_ip, scratch):
        return ST_MALFORMED
    if p.total > room:
        return ST_NO_ROOM
    if not given and not number(sa, &seq):
        return ST_SEQ_EXHAUSTED
    place(low, low + room, p.hdr_len + p.udp_len + p.head, &p, flags)
    if flags & SA_TUNNEL:
        outer_header(sa, &p, flags, seq)
    if flags & SA_UDP:
        udp_header(sa, &p)
    esp = p.ip + p.hdr_len + p.udp_len
    w.at.ip = p.ip
    w.at.esp = esp
    w.at.esp_len = p.esp_len
    w.at.hdr_len = p.hdr_len
    w.at.total = p.total
    w.at.version = p.version
    w.at.proto = IPPROTO_ESP_
    w.seq = seq
    if flags & SA_AH:
        w.at.esp = esp + 4
        w.at.esp_len = p.esp_len - 4
        w.at.proto = IPPROTO_AH_
        ah_header(sa, shape, &p, esp, seq, iv)
        ah_ops(w, sa, shape, low + room, scratch, True)
        return PENDING
    trailer(p.data, &p, sa.icv_len)
    if not esp_header(t, sa, shape, esp, seq, iv):
        return ST_CRYPTO_FAILED
    esp_ops(w, sa, shape, (flags & SA_ESN) != 0, esp, p.esp_len, seq)
    return PENDING


cdef bint covers(const sa_t *sa, const ip_t *ip, uint32_t flags, const uint8_t *old_ip,
                 uint8_t *scratch) noexcept nogil:
    """Can AH's view of the headers that stay in front of it be made?  A tunnel's own headers are plain."""
    return flags & SA_TUNNEL or ip.hdr_len == (20 if ip.version == 4 else 40) or ah_coverable(
        scratch, sa, old_ip, ip.hdr_len)


cdef inline bint parse(const sa_t *sa, const uint8_t *old_ip, int64_t length, ip_t *ip) noexcept nogil:
    """A tunnel takes any IP packet whole; extension headers concern transport mode alone."""
    cdef bint good = ip_head(old_ip, length, ip) if sa.flags & SA_TUNNEL else ip_parse(old_ip, length, ip)
    return good and ip.total <= length


cdef uint8_t protect_any(table_t *t, work_t *w, sa_t *sa, uint8_t *old_ip, int64_t length, uint8_t *low, int64_t room,
                         const uint8_t *iv, uint64_t given, uint8_t *scratch) noexcept nogil:
    cdef ip_t ip
    w.usual = False
    if not parse(sa, old_ip, length, &ip):
        return ST_MALFORMED
    return protect(t, w, sa, &t.suites[sa.suite].shape, sa.flags, &ip, old_ip, low, room, iv, given, scratch)


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
    sa.packets += 1                           # here, where it costs no waiting; `sealed` takes back what goes wrong
    sa.bytes += p.total
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
    cdef uint64_t seq = sa.seq + 1
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
    ip4_move(start, old_ip, 20, p.total, IPPROTO_AH_)
    ah_header(sa, shape, &p, start + 20, seq, NULL)
    return ah_ops(w, sa, shape, low + room, NULL, True)      # plain headers are always coverable


cdef uint8_t sealed(const table_t *t, work_t *w) noexcept nogil:
    """After the crypto: OK, or what went wrong; the last of a packet's bytes are written."""
    if w.status != PENDING:
        return w.status
    if w.usual:                               # `chunk` has dealt with those that are well
        w.sa.packets -= 1
        w.sa.bytes -= w.at.total
        return ST_CRYPTO_FAILED
    if w.at.proto == IPPROTO_AH_:
        ah_restore(w, t.suites[w.suite].shape.iv_len, True)
    if not (w.cipher.good and w.mac.good):
        return ST_CRYPTO_FAILED
    if w.sa.flags & SA_UDP and w.at.version == 6:
        udp6_checksum(w.at.ip, w.at.ip + w.at.hdr_len, w.at.total - w.at.hdr_len)
    w.sa.packets += 1
    w.sa.bytes += w.at.total
    return ST_OK


cdef void refuse(view_t *batch, verdict_t *out, int64_t i, sa_t *sa, uint8_t status,
                 uint8_t layer) noexcept nogil:
    out.status[i] = status
    out.layer[i] = layer
    out.seq[i] = 0
    if status == ST_CRYPTO_FAILED:
        memset(batch.base + batch.slot_offset[i], 0, batch.slot_length[i])
    count_refusal(sa, status)


cdef void succeed(view_t *batch, verdict_t *out, int64_t i, const work_t *w) noexcept nogil:
    out.status[i] = ST_OK
    out.seq[i] = w.seq
    batch.offset[i] = w.at.ip - batch.base
    batch.length[i] = <int32_t> w.at.total


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


# --- bundles ----------------------------------------------------------------------------------------------------------

cdef uint8_t fits(table_t *t, const view_t *batch, int64_t i, climb_t *c) noexcept nogil:
    """Go through all layers without writing: PENDING, or a refusal with c.failed."""
    cdef int r
    cdef ip_t ip
    cdef plan_t p
    cdef sa_t *sa
    cdef uint8_t status
    cdef bint tunnelled = False
    ip.total = 0
    for r in range(c.n):
        sa = c.sa[r]
        c.failed = c.n - 1 - r
        if r == 0 and not parse(sa, c.ip, c.length, &ip):
            return ST_MALFORMED
        status = sized(sa, &t.suites[sa.suite].shape, c.ip, &ip, sa.flags, &p)
        if status != PENDING:
            return status
        if sa.flags & SA_AH and not tunnelled and not covers(sa, &ip, sa.flags, c.ip, t.scratch):
            return ST_MALFORMED
        tunnelled = tunnelled or sa.flags & SA_TUNNEL
        ip.total = p.total
        ip.version = p.version
        ip.hdr_len = p.hdr_len
        ip.next_ofs = p.next_ofs
        ip.proto = p.proto
        ip.fragment = FRAG_NONE
    if <int64_t> ip.total > batch.slot_length[i]:
        c.failed = 0
        return ST_NO_ROOM
    return PENDING


cdef uint8_t reserve(climb_t *c) noexcept nogil:
    """Take a number of each layer: all of them or none."""
    cdef int r
    for r in range(c.n):
        if exhausted(c.sa[r]):
            c.failed = c.n - 1 - r
            return ST_SEQ_EXHAUSTED
    for r in range(c.n):
        number(c.sa[r], &c.seq[r])
    return PENDING


cdef void climb_from(const table_t *t, const view_t *batch, int64_t i, int64_t handle, climb_t *c) noexcept nogil:
    """The layers that a handle stands for."""
    cdef const bundle_t *bundle
    cdef int r
    c.ip = batch.base + batch.offset[i]
    c.length = batch.length[i]
    c.n = 1
    if not handle >> BUNDLE_BIT:
        c.sa[0] = &t.sas[<uint32_t> handle - 1]
        return
    bundle = &t.bundles[<uint32_t> handle - 1]
    c.n = <int> bundle.n
    for r in range(c.n):
        c.sa[r] = &t.sas[bundle.sa[r]]


cdef void chunk_of_bundles(table_t *t, view_t *batch, verdict_t *out, int64_t start, int n) noexcept nogil:
    """Layer by layer over the chunk; numbers are those of one packet after the other."""
    cdef climb_t climbs[CHUNK]
    cdef int of[CHUNK]         # whose work item it is
    cdef climb_t *c
    cdef work_t *w
    cdef int k, j, m, r = 0, most = 0
    cdef int64_t i
    for k in range(n):
        c = &climbs[k]
        climb_from(t, batch, start + k, out.handle[start + k], c)
        c.status = fits(t, batch, start + k, c)
        if c.status == PENDING:
            c.status = reserve(c)
        if c.status == PENDING:
            most = max(most, c.n)
        else:
            refuse(batch, out, start + k, c.sa[c.n - 1 - c.failed], c.status, <uint8_t> c.failed)
    for r in range(most):
        m = 0
        for k in range(n):
            c = &climbs[k]
            if c.status != PENDING or r >= c.n:
                continue
            i = start + k
            w = &t.work[m]
            of[m] = k
            w.sa = c.sa[r]
            w.suite = w.sa.suite
            w.status = protect_any(t, w, w.sa, c.ip, c.length, batch.base + batch.slot_offset[i],
                                   batch.slot_length[i], NULL, c.seq[r], t.scratch + m * SCRATCH)
            m += 1
        seal_chunk(t, t.work, m)
        for j in range(m):
            w = &t.work[j]
            c = &climbs[of[j]]
            c.ip = w.at.ip
            c.length = w.at.total
            w.status = sealed(t, w)
            if w.status != ST_OK:
                c.status = w.status
                refuse(batch, out, start + of[j], w.sa, w.status, <uint8_t> (c.n - 1 - r))
            elif r == c.n - 1:
                succeed(batch, out, start + of[j], w)


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
