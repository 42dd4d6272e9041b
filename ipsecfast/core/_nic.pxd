# What the NIC's datapath knows beside the SAD: bundles, handles, what is switched on, options.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ._bytes cimport prefetch_w
from ._sad cimport CoreSAD
from ._types cimport sa_t, view_t

cdef enum:
    # NDIS_ENCAPSULATION_*
    ENCAPSULATION_NULL = 0x1
    ENCAPSULATION_802_3 = 0x2
    ENCAPSULATION_802_3_PQ = 0x4
    ENCAPSULATION_SNAP = 0x10

cdef enum:
    # UdpEspEncapsulation
    UDP_TRANSPORT = 0x1
    UDP_TUNNEL = 0x2
    UDP_TRANSPORT_OVER_UDP_TUNNEL = 0x4
    UDP_TRANSPORT_OVER_TUNNEL = 0x8

cdef enum:
    NDIS_STATUS_SUCCESS = 0
    NDIS_STATUS_FAILURE = 0xC0000001U
    NDIS_STATUS_RESOURCES = 0xC000009AU

cdef enum:
    # nic_bundle_t.flags
    NIC_OUTBOUND = 0x01
    NIC_V6 = 0x02
    NIC_ON = 0x04             # nothing that it needs is switched off
    NIC_DELETE_REQ = 0x08
    NIC_LEARNED_TUNNEL = 0x10
    NIC_HINT_TUNNEL = 0x20
    NIC_HINT_TRANSPORT = 0x40
    NIC_MATCH_SRC = 0x80      # received packets must have the SA's source address
    NIC_USUAL = 0x100         # ESP alone, without ESN or UDP: most sends go a short way ...
    NIC_AEAD = 0x200          # ... and the shortest with an AEAD whose nonce is 4 bytes of salt and the IV
    NIC_GMAC = 0x400          # which is AES-GMAC

cdef enum:
    # nic_bundle_t.forms: where its SAs may stand in a packet
    OUTER_PLAIN = 1
    OUTER_UDP = 2
    INNER_PLAIN = 4
    INNER_UDP = 8

cdef enum:
    # rows of the out-of-band words
    ROW_CHECKSUM = 0
    ROW_IPSEC = 1
    ROW_LARGE_SEND = 2
    ROW_TUNNEL = 3
    ROW_HEADER = 4

# Large sends of one version and family (hardware.Lso)
cdef struct lso_caps_t:
    uint32_t encapsulation    # 0: off
    uint32_t min_segments
    int64_t max_size
    bint extensions           # with IPv4 options or IPv6 extension headers
    bint tcp_options

# Checksums of one family and direction (hardware.Checksum)
cdef struct sum_caps_t:
    uint32_t encapsulation    # 0: off
    bint ip
    bint tcp
    bint udp
    bint extensions
    bint tcp_options

# What is switched on (DatapathCapabilities)
cdef struct nic_caps_t:
    uint32_t receive4         # encapsulations
    uint32_t receive6
    uint32_t encapsulation4   # for sends
    uint32_t encapsulation6
    uint32_t udp_esp
    lso_caps_t lso_v1
    lso_caps_t lso_v2_4
    lso_caps_t lso_v2_6
    sum_caps_t send_sums[2]   # IPv4, IPv6
    sum_caps_t receive_sums[2]
    bint sums                 # any on receive
    bint send
    bint ipv6
    bint options4
    bint headers6
    bint ah
    bint esp
    bint transport
    bint tunnel
    bint any_mode             # transport and tunnel
    bint both
    bint lso
    bint tcp
    bint udp

# DatapathOptions
cdef struct nic_options_t:
    bint esn_literal
    bint learn_tunnel
    bint innermost_trailer
    bint host_iv
    bint plaintext
    bint strict_offsets
    bint udp6_zero
    bint strict_segments
    uint32_t sent_window
    int64_t lso_memory        # bytes of segments that one call may make

# Beside each sa_t, under the same index
cdef struct nic_sa_t:
    uint32_t bundle           # index + 1; 0: the NIC knows no such SA
    uint32_t seq_hi           # the host's last word; outbound, a large send moves it on
    bint seen                 # inbound: there was an authenticated packet in the span that the host named ...
    uint64_t top              # ... the highest of their numbers; sa_t.seq is that of the packets that count
    bint restart              # the next one that counts is the highest
    uint64_t *ivs             # host_iv: every IV of a counter mode so far, a hash table
    uint64_t iv_mask
    uint64_t n_ivs

# One ADD_SA entry
cdef struct nic_bundle_t:
    uint32_t esp              # index of the SA + 1, or 0
    uint32_t ah
    uint32_t handles          # how many name it
    uint32_t udp_esp
    uint32_t forms
    uint32_t flags

cdef struct nic_handle_t:
    uint64_t handle           # uses before << bits | index + 1
    uint32_t bundle           # index + 1; 0: the place is free

cdef struct nic_t:
    nic_caps_t caps
    nic_options_t options
    nic_sa_t *sas
    uint32_t n_sas            # places in it
    nic_bundle_t *bundles
    nic_handle_t *handles
    uint64_t handle_mask      # the part of a handle that is an index + 1
    uint32_t capacity
    void *generator           # the callable that makes IVs, borrowed; NULL: the SAD's generator
    uint8_t pool[4096]
    uint32_t pool_left


cdef inline void ask_for(const view_t *batch, int64_t i) noexcept nogil:
    """A frame's ends, and the IP and ESP headers, which often are in the second line."""
    cdef uint8_t *frame = batch.base + batch.offset[i]
    prefetch_w(frame)
    prefetch_w(frame + 50)
    prefetch_w(frame + batch.length[i] - 1)


cdef inline nic_bundle_t *bundle_of(const nic_t *nic, uint32_t sa_index) noexcept nogil:
    """The bundle of an SA, or NULL if it is none of the NIC's."""
    cdef uint32_t b = nic.sas[sa_index].bundle
    return &nic.bundles[b - 1] if b else NULL


cdef inline nic_bundle_t *bundle_named(const nic_t *nic, uint64_t handle) noexcept nogil:
    """The bundle that a handle names, or NULL."""
    cdef uint64_t at = (handle & nic.handle_mask) - 1
    if handle == 0 or at >= nic.capacity or nic.handles[at].handle != handle or not nic.handles[at].bundle:
        return NULL
    return &nic.bundles[nic.handles[at].bundle - 1]


cdef class NicTable:
    cdef CoreSAD sad
    cdef nic_t nic
    cdef object _generator
    cdef list _arenas                 # memory of large sends' segments
    cdef object _free                 # indexes of handles, the longest unused first
    cdef list _free_bundles
    cdef int _handle_bits
    cdef int _index_bits
    cdef uint32_t _high_water
    cdef Py_ssize_t _count

    cdef nic_handle_t *find(self, object handle) except NULL
    cdef bytearray arena(self, int64_t size)
    cdef int _attach(self, sa_t *s, uint32_t number) except -1
