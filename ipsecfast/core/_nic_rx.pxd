from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ._nic cimport nic_bundle_t, nic_t
from ._types cimport sa_t, table_t, view_t

cdef enum:
    # slot 1, receive
    SA_DELETE_REQ = 1
    CRYPTO_DONE = 2
    NEXT_CRYPTO_DONE = 4
    STATUS_SHIFT = 16
    # CryptoStatus
    CRYPTO_SUCCESS = 0
    CRYPTO_GENERIC_ERROR = 1
    CRYPTO_TRANSPORT_AH_AUTH_FAILED = 2
    CRYPTO_TRANSPORT_ESP_AUTH_FAILED = 3
    CRYPTO_TUNNEL_AH_AUTH_FAILED = 4
    CRYPTO_TUNNEL_ESP_AUTH_FAILED = 5
    CRYPTO_INVALID_PACKET_SYNTAX = 6
    CRYPTO_INVALID_PROTOCOL = 7
    # what becomes of a packet next; below READY: a CryptoStatus, and done
    READY = 0x100
    DONE = 0x101
    # slot 12, receive
    HEADER_INFO_SET = 0x10000

# One packet on its way through the rounds
cdef struct rx_t:
    uint8_t *ip               # of the outer or the inner header
    const uint8_t *limit      # end of the packet's memory
    nic_bundle_t *bundle      # whose SAs the layers of this header are
    int64_t length            # bytes from ip on
    int64_t index
    uint32_t word             # slot 1 so far
    uint32_t header           # slot 12 so far
    uint32_t udp              # this header's ESP is in UDP
    uint32_t outer_udp        # the outer one's was
    uint32_t esp_layers       # decrypted so far
    bint inner                # at the transport layer inside a tunnel
    bint again                # the other high half is being tried:
    uint64_t other
    # where a mode is off, of an AH layer that was good: its SA, to be counted when ESP behind it has told the mode; or
    sa_t *owed                # NULL
    uint64_t owed_seq
    uint32_t owed_bytes
    # where checksums are on, of the last layer that was good: the IP header in front (NULL: none) and what it protects
    const uint8_t *front
    const uint8_t *data
    uint32_t data_len
    uint8_t next_header

cdef void receive_batch(table_t *t, nic_t *nic, view_t *batch, uint64_t *oob, bint raw) noexcept nogil
