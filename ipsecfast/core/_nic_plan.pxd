# What a list's words ask for, and where the headers of a frame are that its SAs stand for.  Nothing is written here.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ._ah cimport ah_fits, ah_len_of
from ._bytes cimport be16, be32, raw32
from ._esp cimport esp_fits
from ._frame cimport ip_offset
from ._ip cimport ip4_plain, ip_parse, ip_t
from ._nic cimport (
    INNER_PLAIN, INNER_UDP, NIC_ON, NIC_OUTBOUND, OUTER_PLAIN, OUTER_UDP, ROW_CHECKSUM, ROW_HEADER, ROW_IPSEC,
    ROW_TUNNEL,
    bundle_named, nic_bundle_t, nic_t,
)
from ._nic_parse cimport behind_ah, mode_on, names_ip, served
from ._types cimport (
    IPPROTO_AH_, IPPROTO_ESP_, IPPROTO_UDP_, SA_ESN, found_t, sa_t, shape_t, table_t, view_t,
)

cdef enum:
    LAYERS = 4                # transport ESP, transport AH, tunnel ESP, tunnel AH
    AH_LAYERS = 0xA

# One ESP or AH header of a frame
cdef struct layer_t:
    found_t at
    sa_t *sa
    uint64_t seq
    uint8_t *udp              # header in front of ESP, or NULL

# One frame on its way through the rounds
cdef struct tx_t:
    uint8_t *frame            # of the short ways this, length and nbl alone are set
    int64_t length
    int64_t nbl
    layer_t layers[LAYERS]
    uint32_t left             # a bit a layer still to do
    const uint8_t *limit
    uint8_t *ip               # outermost header
    uint8_t *data             # what the innermost header in front of it protects
    uint32_t data_len
    uint8_t next_header
    uint32_t ip_checksum      # bytes of the header whose checksum is made at the end, or 0
    uint32_t encapsulation
    bint cut                  # a segment

# What is asked for one NET_BUFFER_LIST
cdef struct wish_t:
    uint64_t handle           # slot 1
    uint64_t tunnel           # slot 11
    nic_bundle_t *inner       # transport layer of a transport-over-tunnel packet, or NULL
    nic_bundle_t *outer       # the only one of all others
    uint64_t checksum         # slot 0
    uint32_t header           # slot 12
    bint cut                  # its frames are segments of large sends
    bint cross_check          # slot 12 is about its only frame
    bint usual                # a NIC_USUAL may go the short way


cdef inline bint usable(const nic_bundle_t *b) noexcept nogil:
    return b != NULL and (b.flags & (NIC_ON | NIC_OUTBOUND)) == (NIC_ON | NIC_OUTBOUND)


cdef inline void no_wish(wish_t *wish) noexcept nogil:
    wish.handle = 0
    wish.tunnel = 0
    wish.inner = NULL
    wish.outer = NULL


cdef inline bint understand(const nic_t *nic, const uint64_t *oob, int64_t n, int64_t i, wish_t *wish) noexcept nogil:
    """Read a list's words; False if it can't be sent.  Without handles `wish.outer` is NULL.

    wish : of the list before, whose handles are mostly this one's too.
    """
    cdef uint64_t handle = oob[ROW_IPSEC * n + i], tunnel = oob[ROW_TUNNEL * n + i]
    wish.checksum = oob[ROW_CHECKSUM * n + i]
    wish.header = <uint32_t> oob[ROW_HEADER * n + i]
    if handle == wish.handle and tunnel == wish.tunnel:
        return True
    no_wish(wish)
    if not name_bundles(nic, handle, tunnel, wish):
        no_wish(wish)
        return False
    wish.handle = handle
    wish.tunnel = tunnel
    return True


cdef inline bint name_bundles(const nic_t *nic, uint64_t handle, uint64_t tunnel, wish_t *wish) noexcept nogil:
    if not (handle | tunnel):
        return True
    if not nic.caps.send:
        return nic.options.plaintext
    wish.outer = bundle_named(nic, tunnel if tunnel else handle)
    if not usable(wish.outer):
        return False
    if handle and tunnel:
        wish.inner = bundle_named(nic, handle)
        return usable(wish.inner) and wish.inner != wish.outer and nic.caps.both
    return True


cdef inline bint put_layer(const table_t *t, const nic_t *nic, uint32_t index, const found_t *at, uint8_t *udp,
                           tx_t *tx, int k) noexcept nogil:
    """Note layer k of a frame; False if SPI or lengths are not the SA's."""
    cdef sa_t *sa = &t.sas[index - 1]
    cdef const shape_t *shape = &t.suites[sa.suite].shape
    cdef layer_t *layer = &tx.layers[k]
    cdef uint32_t lo = be32(at.esp + 4)
    if raw32(at.esp) != sa.spi_be:
        return False
    if not (ah_fits(sa, shape, at) if sa.proto == IPPROTO_AH_ else esp_fits(sa, shape, at)):
        return False
    layer.at = at[0]
    layer.sa = sa
    layer.udp = udp
    layer.seq = lo
    if sa.flags & SA_ESN:
        layer.seq |= <uint64_t> nic.sas[index - 1].seq_hi << 32
    tx.left |= 1 << k
    return True


cdef inline bint place(const table_t *t, const nic_t *nic, const nic_bundle_t *b, uint8_t *packet, int64_t length,
                       bint inner, tx_t *tx) noexcept nogil:
    """Find the headers of a bundle's SAs behind the IP header at `packet`; tx.data is what they protect."""
    cdef ip_t ip
    cdef found_t at
    cdef uint8_t *udp = NULL
    cdef uint8_t *end
    cdef uint32_t room, n
    cdef int k = 0 if inner else 2
    if not ip4_plain(packet, length, &ip):
        if not ip_parse(packet, length, &ip) or ip.total > length or not served(nic, packet, &ip):
            return False
    at.ip = packet
    at.version = ip.version
    at.hdr_len = ip.hdr_len
    at.next_ofs = ip.next_ofs
    at.total = ip.total
    at.proto = ip.proto
    at.esp = packet + ip.hdr_len
    at.esp_len = ip.total - ip.hdr_len
    if at.proto == IPPROTO_UDP_:
        udp = at.esp
        if not b.forms & (INNER_UDP if inner else OUTER_UDP) or at.esp_len < 8 or be16(udp + 4) != at.esp_len:
            return False
        at.esp += 8
        at.esp_len -= 8
        at.proto = IPPROTO_ESP_
    elif not b.forms & (INNER_PLAIN if inner else OUTER_PLAIN):
        return False
    if at.esp_len < 12 or at.proto != (IPPROTO_AH_ if b.ah else IPPROTO_ESP_):
        return False
    if b.ah:
        at.esp += 4
        at.esp_len -= 4
        if not put_layer(t, nic, b.ah, &at, NULL, tx, k + 1):
            return False
        n = ah_len_of(&at)
        if n > at.esp_len + 4:              # somebody has written there since `put_layer`
            return False
        tx.data = at.esp - 4 + n
        tx.data_len = at.esp_len + 4 - n
        tx.next_header = (at.esp - 4)[0]
        if not b.esp:
            return True
        if not behind_ah(nic, &at, n, &at):
            return False
    if not put_layer(t, nic, b.esp, &at, udp, tx, k):
        return False
    tx.data = at.esp + 8 + t.suites[tx.layers[k].sa.suite].shape.iv_len
    end = at.esp + at.esp_len - tx.layers[k].sa.icv_len
    room = <uint32_t> (end - tx.data) - 2
    n = (end - 2)[0]
    tx.next_header = (end - 1)[0]
    if n > room:
        return False
    tx.data_len = room - n
    return True


cdef inline bint agrees(const nic_t *nic, const wish_t *wish, const tx_t *tx) noexcept nogil:
    """Does slot 12 say what the only frame of its list says?  It is about the only ESP or AH header there is."""
    cdef const layer_t *esp = &tx.layers[2]
    cdef const layer_t *ah = &tx.layers[3]
    cdef const uint8_t *end
    cdef uint32_t offsets = 0
    if wish.inner != NULL:
        return True
    if wish.outer.esp and wish.header & 0xFFFF:
        end = esp.at.esp + esp.at.esp_len - esp.sa.icv_len
        if (wish.header & 0xFF) != (end - 1)[0] or (wish.header >> 8 & 0xFF) != (end - 2)[0]:
            return False
    if not nic.options.strict_offsets:
        return True
    if wish.outer.esp:
        offsets |= <uint32_t> (esp.at.esp - tx.ip) // 4 << 8
    if wish.outer.ah:
        offsets |= <uint32_t> (ah.at.esp - 4 - tx.ip) // 4
    return wish.header >> 16 == offsets


cdef inline bint plan(const table_t *t, const nic_t *nic, const view_t *batch, int64_t at, bint raw,
                      const wish_t *wish, tx_t *tx) noexcept nogil:
    """Find every layer of a frame and judge it, writing nothing but `tx`; False if it can't be sent."""
    cdef int offset
    tx.frame = batch.base + batch.offset[at]
    tx.length = batch.length[at]
    tx.limit = batch.base + batch.slot_offset[at] + batch.slot_length[at]
    tx.left = 0
    offset = ip_offset(tx.frame, tx.length, raw, &tx.encapsulation)
    if offset < 0:
        return False
    tx.ip = tx.frame + offset
    if not tx.encapsulation & (nic.caps.encapsulation6 if tx.ip[0] >> 4 == 6 else nic.caps.encapsulation4):
        return False
    if not place(t, nic, wish.outer, tx.ip, tx.length - offset, False, tx):
        return False
    if wish.cross_check and wish.header and not agrees(nic, wish, tx):
        return False
    if wish.inner == NULL:
        return nic.caps.any_mode or mode_on(nic, tx.next_header)
    return names_ip(tx.next_header) and place(t, nic, wish.inner, tx.data, tx.data_len, True, tx)
