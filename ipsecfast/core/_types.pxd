# C structures and enums of the core; no code.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SCRATCH = 65536 + 192     # a packet, and ESN's high half behind it

# Packets on the short ways, of a SA_USUAL and over IPv4 without options
cdef enum:
    USUAL_AH = 1
    USUAL_ESP = 2   # of `at`, outbound only total is set, to the length before
    USUAL_AEAD = 3  # ESP of a SA_AEAD: the same, and inbound only total and ip

cdef enum:
    PENDING = 255  # no status yet

cdef enum:
    CHUNK = 128         # packets whose headers are done before their cipher calls begin, at most ...
    CHUNK_ONE_PASS = 32  # ... and where no algorithm of the SAD gains by seeing more of them at once
    MAX_LAYERS = 8      # ESP in AH in ESP in ...: what decapsulate follows and a bundle holds
    MAX_SUITES = 256
    MAX_KEPT = 64       # bytes; longer headers in front of a layer that has others inside take memory of their own
    FEW_SAS = 128       # up to here caches and out-of-order execution do better than asking ahead
    MAX_MAC = 64        # longest digest
    N_ENC = 19          # codes of alg.ENCRYPTION
    N_AUTH = 11         # codes of alg.AUTHENTICATION
    N_STATUS = 12

# PacketStatus; a test compares both
cdef enum:
    ST_OK = 0
    ST_NOT_IPSEC = 1
    ST_NO_SA = 2
    ST_AUTH_FAILED = 3
    ST_REPLAYED = 4
    ST_MALFORMED = 5
    ST_FRAGMENT = 6
    ST_SEQ_EXHAUSTED = 7
    ST_NO_ROOM = 8
    ST_DUMMY = 9
    ST_ECN = 10
    ST_CRYPTO_FAILED = 11

cdef enum:
    IPPROTO_UDP_ = 17
    IPPROTO_ESP_ = 50
    IPPROTO_AH_ = 51
    IPPROTO_IPV4_ = 4
    IPPROTO_IPV6_ = 41
    IPPROTO_NONE_ = 59   # next header of a dummy packet (RFC 4303 sec. 2.6)

# How a suite's crypto stage works
cdef enum:
    CLASS_AEAD = 0       # one pass, nonce and AAD, own ICV
    CLASS_GMAC = 1       # an AEAD whose AAD is the whole packet: nothing is encrypted
    CLASS_MAC = 2        # cipher (or none), then a separate ICV (or none)

# How the cipher's IV is made
cdef enum:
    IV_NONE = 0
    IV_COUNTER = 1       # 8 bytes: sequence number XOR the SA's random value
    IV_RANDOM = 2        # CBC: unpredictable

# One packet's work for a provider.  Providers know nothing of ESP.
#   AEAD:  text ciphered in place, aad authenticated first; nonce is 12 bytes, 11 with CCM (16 may be read)
#   GMAC:  as AEAD with text_len 0: covered = aad then text (text stays as it is)
#   CTR:   nonce is the 16-byte counter block;  CBC: nonce is the IV (8 or 16 bytes)
#   MAC:   tag = MAC over text; the engine cuts and compares
# good: 1 after success; AEAD open: 0 if the tag does not match; else 0 on a library failure
cdef struct op_t:
    void *key
    uint8_t *text
    const uint8_t *aad
    const uint8_t *nonce
    uint8_t *tag
    uint32_t text_len
    uint32_t aad_len
    uint32_t tag_len
    uint32_t good

cdef enum:
    BUNDLE_BIT = 62           # is set in the handles of bundles

ctypedef void (*crypt_fn)(void *ctx, op_t **ops, int n) noexcept nogil
ctypedef int (*key_fn)(void *ctx, void *state, const uint8_t *key, uint32_t key_len, int encrypt) noexcept nogil
ctypedef void (*wipe_fn)(void *state) noexcept nogil

# One algorithm at one provider; key_init == NULL: the provider lacks it.
# key_free frees what the state owns; the engine zeroes the state itself.
cdef struct cipher_t:
    uint32_t state_len
    key_fn key_init
    wipe_fn key_free
    crypt_fn encrypt
    crypt_fn decrypt

cdef struct mac_t:
    uint32_t state_len
    key_fn key_init
    wipe_fn key_free
    crypt_fn compute

ctypedef int (*random_fn)(uint8_t *out, size_t n) noexcept nogil

cdef struct provider_t:
    cipher_t cipher[N_ENC]
    mac_t mac[N_AUTH]
    void *(*ctx_new)() noexcept
    void (*ctx_free)(void *ctx) noexcept
    random_fn random     # NULL: the provider has no generator

# What a suite makes of a packet's layout
cdef struct shape_t:
    uint8_t kind              # CLASS_*
    uint8_t iv_kind           # IV_*
    uint8_t iv_len
    uint8_t salt_len          # in front of the IV in an AEAD's nonce
    uint8_t align_mask        # payload + trailer padded to align_mask + 1
    uint8_t block             # ciphertext is a multiple of it
    uint8_t is_ctr
    uint8_t is_ccm
    uint8_t mac_len           # of the whole digest
    uint32_t mac_ofs          # of the MAC's state behind the cipher's

# What an SA's algorithms come to: shared by all SAs of the same choice
cdef struct suite_t:
    const cipher_t *cipher    # NULL: NULL encryption
    const mac_t *mac          # NULL: none (AEAD, or unauthenticated)
    void *cipher_ctx
    void *mac_ctx
    shape_t shape
    uint32_t state_len        # all of them together
    uint32_t tail             # where the first two end
    # For groups so small that lanes would mostly stay empty: another provider, keyed beside the first; or NULL
    const cipher_t *few_cipher
    const mac_t *few_mac
    void *few_ctx
    uint32_t few_cipher_ofs   # of their states
    uint32_t few_mac_ofs
    int few_encrypt           # groups below these sizes go there; 0: none
    int few_decrypt
    int few_macs

cdef enum:
    SA_OUTBOUND = 0x01
    SA_ESN = 0x02
    SA_V6 = 0x04
    SA_TUNNEL = 0x08
    SA_ANY_MODE = 0x10
    SA_DST_ANY = 0x20
    SA_STRICT_PADDING = 0x40
    SA_UDP = 0x80
    SA_ECN = 0x100
    SA_COPY_DSCP = 0x200
    SA_DECAP_DSCP = 0x400
    SA_DF_SET = 0x800
    SA_DF_COPY = 0x1000
    SA_FLOW_COPY = 0x2000
    SA_HAS_ADDRESS = 0x4000
    SA_IN_USE = 0x8000
    SA_AH = 0x10000
    SA_MATCH_SRC = 0x20000
    SA_NESTED = 0x80000       # inbound: has been met inside another SA's packets, or the other way round
    SA_USUAL = 0x40000        # with an ICV, without ESN, over IPv4: most packets go a short way ...
    SA_AEAD = 0x100000        # ... and the shortest if its nonce is 4 bytes of salt and the IV (not AES-GMAC)

# One SA.  Line 0 is all that most packets need, line 1 lookup and counters, line 2 tunnels.
cdef struct sa_t:
    uint32_t spi_be
    uint32_t salt             # as the bytes stand in the keying material
    uint64_t seq              # outbound: last sent; inbound: top, the highest authenticated
    uint64_t word[2]          # inbound: window of up to 64 packets; outbound: XORed into IVs, and the last number
    uint64_t *ring            # the window's words: word, or memory of its own
    uint8_t *key              # keyed states, made by the suite's providers
    uint32_t flags
    uint32_t next             # next SA of the same SPI, index + 1; 0 ends the chain
    uint16_t window_size
    uint8_t ring_mask
    uint8_t suite
    uint8_t icv_len
    uint8_t proto
    uint8_t ttl
    uint8_t ah_align          # outbound AH over IPv4: 4 or 8
    # line 1
    uint8_t dst[16]
    uint64_t packets
    uint64_t bytes
    uint64_t *refused         # uint64[N_STATUS], made at the first refusal
    uint64_t pend_top         # highest number of this SA in the chunk under work ...
    uint32_t pend_epoch       # ... which is this one
    uint32_t tfc_pad_to
    int64_t handle            # how often the place was used << 32 | index + 1
    # line 2
    uint8_t src[16]
    uint32_t flow_label
    uint16_t sport
    uint16_t dport
    uint32_t n_bundles        # that it is in
    uint32_t spare[9]

# A batch, as the engine sees it
cdef struct view_t:
    uint8_t *base
    int64_t n
    int64_t *offset
    int32_t *length
    int64_t *slot_offset
    int32_t *slot_length

# Where the engine writes verdicts
cdef struct verdict_t:
    uint8_t *status
    uint8_t *layer
    uint64_t *seq
    int64_t *handle

# Where ESP or AH lies in a packet
cdef struct found_t:
    uint8_t *ip               # first byte of the IP header
    uint8_t *esp              # SPI; AH's header starts 4 bytes in front of it
    uint32_t esp_len          # SPI to the end of the packet or UDP datagram
    uint32_t total            # of the protected packet: IP header to its end
    uint32_t hdr_len          # IP header(s) without UDP
    uint32_t next_ofs         # where the header in front names what follows
    uint8_t version           # 4 or 6
    uint8_t proto             # ESP or AH

# One packet on its way through a chunk; what usual packets need stands in front
cdef struct work_t:
    op_t cipher               # first: an operation's address is its work item's
    sa_t *sa
    uint8_t status
    uint8_t suite
    uint8_t begun             # decryption may have changed the bytes
    uint8_t usual             # USUAL_*
    uint32_t head             # first candidate, index + 1
    uint64_t seq
    found_t at
    uint8_t nonce[16]
    op_t mac
    uint8_t *icv              # a separate ICV: what to compare with, or where to write it
    uint8_t *hi               # where ESN's high half stands during the MAC; NULL: not needed
    uint8_t saved[4]          # what stands in ESN's high half's place when no MAC is computed
    uint8_t aad[16]
    uint8_t tag[MAX_MAC]
    # AH: what of the packet is zero while the ICV is computed (RFC 4302 sec. 3.3.3)
    bint in_place             # and has to be put back
    uint8_t header[16]
    uint8_t ah_icv[MAX_MAC]

cdef struct bucket_t:
    uint32_t spi_be
    uint32_t head             # first SA with this SPI, index + 1; 0: empty

# Outbound SAs that go on together, the innermost first
cdef struct bundle_t:
    int64_t handle            # bit BUNDLE_BIT | how often the place was used << 32 | index + 1
    uint32_t n                # 0: the place is free
    uint32_t sa[MAX_LAYERS]   # indexes

# One packet at one layer
cdef struct item_t:
    uint8_t *ip
    int64_t length
    int64_t index             # in the batch
    outer_t *outer            # NULL at the outermost layer itself

# What stood outermost, for the case that an inner layer fails
cdef struct outer_t:
    uint8_t *ip
    uint8_t *start            # of ESP or AH
    uint8_t *header           # copy of what stood in front of it in transport mode: its new place covers the old
    uint32_t header_len       # 0: none was needed
    int64_t length
    uint8_t room[MAX_KEPT]    # for the copy, unless it is longer

# A packet whose next layer waits until every thread is done
cdef struct waiting_t:
    item_t item
    outer_t outer
    uint32_t over             # the SA of the layer in front of it: its index
    sa_t *inner               # the next layer's
    int depth

# All that a thread needs of one SAD while the GIL is released.  The first part is the same for all threads.
cdef struct table_t:
    sa_t *sas
    bucket_t *buckets
    uint32_t bucket_mask
    uint32_t bucket_shift
    uint32_t capacity
    uint32_t high_water       # SAs ever in use
    uint32_t n_any_mode       # SAs that do not tell their mode, nor their ports
    uint32_t n_ah             # SAs with AH
    uint32_t n_bundles        # places ever in use
    bundle_t *bundles
    uint8_t *ports            # [8192], a bit a UDP port that carries ESP
    uint64_t port_filter      # bit p % 64 is set for every such port p
    random_fn random
    int chunk                 # CHUNK, or CHUNK_ONE_PASS
    int n_suites
    # from here on each thread has its own
    suite_t suites[MAX_SUITES]
    uint32_t epoch            # of the chunk under work
    int16_t group[MAX_SUITES]  # first packet of each suite in the chunk, -1: none
    uint8_t pool[16384]       # random bytes for CBC's IVs
    uint32_t pool_left
    uint8_t *scratch          # CHUNK * SCRATCH bytes
    table_t *whole            # the SAD's own, of whose SAs a thread has copies of some
    waiting_t *waiting        # room for a batch's packets; NULL: inner layers are taken off at once
    int64_t n_waiting
    work_t work[CHUNK]
    outer_t outer[CHUNK]      # of the chunk's packets that have a further layer
