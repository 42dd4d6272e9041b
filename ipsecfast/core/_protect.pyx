"""One outbound packet of any kind, up to its cipher and behind it: lengths, headers, padding, counters.

Buffer recipe, transport mode:                    tunnel mode:
    IP | data                                         IP data
    IP | UDP? | SPI seq IV | data | trailer | ICV     IP | UDP? | SPI seq IV | IP data | TFC | trailer | ICV

With AH, `next, length, 0, SPI, seq, [IV,] ICV, padding` stands in place of SPI, seq, IV, and nothing behind.
The data stays where it is if the slot has room in front and behind; it moves only if one side lacks it.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from ._ah cimport ah_coverable, ah_ops, ah_restore
from ._bytes cimport (
    be16, be32, put_be16, put_be32, put_be64, put_raw16, put_raw32, raw32, raw64,
)
from ._esp cimport count_refusal, esp_ops
from ._ip cimport ip4_move, ip4_plain, ip6_move, ip_t, ip_tos, udp6_checksum
from ._types cimport (
    CLASS_AEAD, IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_IPV4_, IPPROTO_IPV6_, IV_COUNTER, PENDING,
    SA_AH, SA_COPY_DSCP, SA_DF_COPY, SA_DF_SET, SA_ECN, SA_ESN, SA_FLOW_COPY, SA_TUNNEL, SA_UDP, SA_V6,
    ST_CRYPTO_FAILED, ST_MALFORMED, ST_NO_ROOM, ST_OK, ST_SEQ_EXHAUSTED, USUAL_ESP,
    sa_t, shape_t, table_t, verdict_t, view_t, work_t,
)


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


cdef bint refill(table_t *t) noexcept nogil:
    """A new pool of random bytes; False if there are none to be had."""
    if not t.random(t.pool, sizeof(t.pool)):
        return False
    t.pool_left = sizeof(t.pool)
    return True


cdef inline uint8_t protect(table_t *t, work_t *w, sa_t *sa, const shape_t *shape, uint32_t flags, const ip_t *ip,
                            uint8_t *old_ip, uint8_t *low, int64_t room, const uint8_t *given_iv, uint64_t given,
                            uint8_t *scratch) noexcept nogil:
    """Everything between parse and cipher: PENDING or a refusal.

    given : the packet's number if it is reserved already, else 0.
    """
    cdef uint64_t seq = given
    cdef uint8_t iv[16]
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
    if not new_iv(t, sa, shape, seq, given_iv, iv):
        return ST_CRYPTO_FAILED
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
        ah_header(sa, shape, &p, esp, seq, raw64(iv))
        if not ah_ops(w, sa, shape, low + room, scratch, raw64(iv), True):
            return ST_CRYPTO_FAILED         # somebody has written there since `covers`; nothing of it stays
        count(sa, p.total)
        return PENDING
    trailer(p.data, &p, sa.icv_len)
    esp_header(sa, shape, esp, seq, iv)
    esp_ops(w, sa, shape, (flags & SA_ESN) != 0, esp, p.esp_len, seq, iv)
    count(sa, p.total)
    return PENDING


cdef bint covers(const sa_t *sa, const ip_t *ip, uint32_t flags, const uint8_t *old_ip,
                 uint8_t *scratch) noexcept nogil:
    """Can AH's view of the headers that stay in front of it be made?  A tunnel's own headers are plain."""
    return flags & SA_TUNNEL or ip.hdr_len == (20 if ip.version == 4 else 40) or ah_coverable(
        scratch, sa, old_ip, ip.hdr_len, ip.version == 4)


cdef inline void usual_aead(shape_t *aead) noexcept nogil:
    """What all AEADs have in common but CCM and AES-GMAC."""
    aead.kind = CLASS_AEAD
    aead.iv_kind = IV_COUNTER
    aead.iv_len = 8
    aead.salt_len = 4
    aead.align_mask = 3


cdef uint8_t protect_any(table_t *t, work_t *w, sa_t *sa, uint8_t *old_ip, int64_t length, uint8_t *low, int64_t room,
                         const uint8_t *iv, uint64_t given, uint8_t *scratch) noexcept nogil:
    cdef ip_t ip
    cdef shape_t aead
    cdef const shape_t *shape = &t.suites[sa.suite].shape
    w.usual = 0
    # the same several times, with questions answered beforehand: for what most packets that come here are
    if iv == NULL and not sa.flags & (SA_TUNNEL | SA_AH | SA_V6) and ip4_plain(old_ip, length, &ip):
        if shape.kind != CLASS_AEAD or shape.salt_len != 4:
            return protect(t, w, sa, shape, sa.flags & (SA_ESN | SA_UDP), &ip, old_ip, low, room, NULL, given, scratch)
        usual_aead(&aead)
        return protect(t, w, sa, &aead, sa.flags & (SA_ESN | SA_UDP), &ip, old_ip, low, room, NULL, given, scratch)
    if not parse(sa, old_ip, length, &ip):
        return ST_MALFORMED
    if iv == NULL and shape.kind == CLASS_AEAD and shape.salt_len == 4:
        usual_aead(&aead)
        if (sa.flags & (SA_TUNNEL | SA_UDP | SA_ESN | SA_V6)) == SA_TUNNEL:
            return protect(t, w, sa, &aead, SA_TUNNEL | sa.flags & (SA_DF_SET | SA_DF_COPY | SA_ECN | SA_COPY_DSCP),
                           &ip, old_ip, low, room, NULL, given, scratch)
        return protect(t, w, sa, &aead, sa.flags & ~<uint32_t> SA_AH, &ip, old_ip, low, room, NULL, given, scratch)
    return protect(t, w, sa, shape, sa.flags, &ip, old_ip, low, room, iv, given, scratch)


cdef uint8_t sealed(const table_t *t, work_t *w) noexcept nogil:
    """After the crypto: OK, or what went wrong, which counts no more; the last of a packet's bytes are written."""
    if w.status != PENDING:
        return w.status
    if w.usual < USUAL_ESP:                   # `chunk` has dealt with those that are well
        if w.at.proto == IPPROTO_AH_:
            ah_restore(w, t.suites[w.suite].shape.iv_len, True)
        if w.cipher.good and w.mac.good:
            if w.sa.flags & SA_UDP and w.at.version == 6:
                udp6_checksum(w.at.ip, w.at.ip + w.at.hdr_len, w.at.total - w.at.hdr_len)
            return ST_OK
    uncount(w.sa, w.at.total)
    return ST_CRYPTO_FAILED


cdef void refuse(view_t *batch, verdict_t *out, int64_t i, sa_t *sa, uint8_t status,
                 uint8_t layer) noexcept nogil:
    out.status[i] = status
    out.layer[i] = layer
    out.seq[i] = 0
    if status == ST_CRYPTO_FAILED:
        memset(batch.base + batch.slot_offset[i], 0, batch.slot_length[i])
    count_refusal(sa, status)
