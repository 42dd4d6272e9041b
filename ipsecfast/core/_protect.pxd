# One outbound packet's lengths, numbers and headers: what `protect_any`, the short ways and bundles share.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ._ah cimport ah_len_for
from ._bytes cimport copy_iv, put_be32, put_be64, put_raw16, put_raw32, put_raw64, zero_iv
from ._ip cimport FRAG_NONE, ip_head, ip_parse, ip_t
from ._trailer cimport put_trailer
from ._types cimport (
    IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_IPV4_, IPPROTO_IPV6_, IPPROTO_UDP_, IV_COUNTER, IV_RANDOM, PENDING,
    SA_AH, SA_ESN, SA_HAS_ADDRESS, SA_TUNNEL, SA_UDP, SA_V6, ST_FRAGMENT, ST_MALFORMED, ST_NO_ROOM, ST_OK,
    sa_t, shape_t, table_t, verdict_t, view_t, work_t,
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


cdef inline void count(sa_t *sa, uint32_t total) noexcept nogil:
    """In front of the cipher, where it costs no waiting; `sealed` takes back what goes wrong."""
    sa.packets += 1
    sa.bytes += total


cdef inline void uncount(sa_t *sa, uint32_t total) noexcept nogil:
    sa.packets -= 1
    sa.bytes -= total


cdef inline void trailer(uint8_t *data, const plan_t *plan, uint8_t icv_len) noexcept nogil:
    """TFC padding of zeros, padding 1, 2, 3, ..., pad length, next header (RFC 4303 sec. 2.4 to 2.7)."""
    if plan.pad_len < 16 and icv_len >= 8 and plan.clear_len == plan.data_len + plan.pad_len + 2:
        put_trailer(data + plan.data_len, plan.pad_len, plan.next_header)
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


cdef bint refill(table_t *t) noexcept nogil


cdef inline bint random_iv(table_t *t, uint8_t *out, uint32_t n) noexcept nogil:
    """n bytes that nobody can foretell, of an IV; used bytes are wiped from the pool."""
    cdef uint8_t *at
    if t.pool_left < n and not refill(t):
        return False
    t.pool_left -= n
    at = t.pool + t.pool_left
    copy_iv(out, at, n)
    zero_iv(at, n)
    return True


cdef inline bint new_iv(table_t *t, const sa_t *sa, const shape_t *shape, uint64_t seq, const uint8_t *given,
                        uint8_t *iv) noexcept nogil:
    """The IV of packet `seq`, or the one that is given; False if there is no randomness to be had."""
    if given != NULL:
        memcpy(iv, given, shape.iv_len)
    elif shape.iv_kind == IV_COUNTER:
        put_be64(iv, seq ^ sa.word[0])
    elif shape.iv_kind == IV_RANDOM:
        return random_iv(t, iv, shape.iv_len)
    else:
        put_raw64(iv, 0)
    return True


cdef inline void esp_header(const sa_t *sa, const shape_t *shape, uint8_t *esp, uint64_t seq,
                            const uint8_t *iv) noexcept nogil:
    put_raw32(esp, sa.spi_be)
    put_be32(esp + 4, <uint32_t> seq)
    copy_iv(esp + 8, iv, shape.iv_len)


cdef inline void ah_header(const sa_t *sa, const shape_t *shape, const plan_t *p, uint8_t *ah, uint64_t seq,
                           uint64_t iv) noexcept nogil:
    """RFC 4302 sec. 2; ICV and padding are zeros.  iv : GMAC's, as it stands in memory."""
    cdef uint32_t at = 12
    ah[0] = p.next_header
    ah[1] = <uint8_t> (p.head // 4 - 2)
    put_raw16(ah + 2, 0)
    put_raw32(ah + 4, sa.spi_be)
    put_be32(ah + 8, <uint32_t> seq)
    while at + 8 <= p.head:
        put_raw64(ah + at, 0)
        at += 8
    if at < p.head:
        put_raw32(ah + at, 0)
    if shape.iv_len:
        put_raw64(ah + 12, iv)


cdef inline bint parse(const sa_t *sa, const uint8_t *old_ip, int64_t length, ip_t *ip) noexcept nogil:
    """A tunnel takes any IP packet whole; extension headers concern transport mode alone."""
    cdef bint good = ip_head(old_ip, length, ip) if sa.flags & SA_TUNNEL else ip_parse(old_ip, length, ip)
    return good and ip.total <= length


cdef inline void succeed(view_t *batch, verdict_t *out, int64_t i, const work_t *w) noexcept nogil:
    out.status[i] = ST_OK
    out.seq[i] = w.seq
    batch.offset[i] = w.at.ip - batch.base
    batch.length[i] = <int32_t> w.at.total


cdef bint covers(const sa_t *sa, const ip_t *ip, uint32_t flags, const uint8_t *old_ip, uint8_t *scratch) noexcept nogil
cdef uint8_t protect_any(table_t *t, work_t *w, sa_t *sa, uint8_t *old_ip, int64_t length, uint8_t *low, int64_t room,
                         const uint8_t *iv, uint64_t given, uint8_t *scratch) noexcept nogil
cdef uint8_t sealed(const table_t *t, work_t *w) noexcept nogil
cdef void refuse(view_t *batch, verdict_t *out, int64_t i, sa_t *sa, uint8_t status, uint8_t layer) noexcept nogil
