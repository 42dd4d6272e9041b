"""CoreSAD: owner of SAs, keyed states and lookup table.

One SA is a `sa_t` at a fixed place; its handle is that place and how often it was used before, so that a
handle is never handed out again.  SPIs hash into open-addressed buckets, each the head of a chain of
candidates.  Nothing is rebuilt by add or delete.  Thread rule: one call at a time; the second raises.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from ._bytes cimport swap32, wipe
from ._crypto cimport Provider
from ._lookup cimport bucket_of, root_of
from ._types cimport (
    BUNDLE_BIT, CHUNK, CHUNK_ONE_PASS, CLASS_AEAD, CLASS_GMAC, CLASS_MAC, IPPROTO_AH_, IPPROTO_ESP_, IV_COUNTER,
    IV_NONE, IV_RANDOM, MAX_LAYERS, N_STATUS, SCRATCH,
    SA_AH, SA_ANY_MODE, SA_COPY_DSCP, SA_DECAP_DSCP, SA_DF_COPY, SA_DF_SET, SA_DST_ANY, SA_ECN, SA_ESN, SA_FLOW_COPY,
    SA_HAS_ADDRESS, SA_IN_USE, SA_MATCH_SRC, SA_OUTBOUND, SA_STRICT_PADDING,
    SA_TUNNEL, SA_UDP, SA_USUAL, SA_V6,
    bucket_t, bundle_t, sa_t, shape_t, suite_t, table_t,
)
from ._window cimport window_mark, window_words

import operator
import os
from ipaddress import ip_address

from ..alg import AUTHENTICATION, ENCRYPTION
from ..errors import DuplicateSAError, ProviderError, SADFullError
from ..sa import SecurityAssociation

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **p, size_t align, size_t n)

cdef extern from *:
    """
    #include <sys/mman.h>
    #include <unistd.h>
    #ifndef MAP_ANONYMOUS
    #define MAP_ANONYMOUS MAP_ANON
    #endif
    /* zeroed memory, taken as it is touched; large blocks of `dense` use lie so that huge pages can serve them */
    static void *ipf_map(size_t n, int dense)
    {
        size_t huge = 2u << 20, page = (size_t)sysconf(_SC_PAGESIZE), spare;
        n = (n + page - 1) & ~(page - 1);
        spare = dense && n >= huge ? huge : 0;
        char *p = mmap(NULL, n + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return NULL;
        if (spare) {
            size_t front = -(size_t)p & (huge - 1);
            if (front) munmap(p, front);
            if (front != spare) munmap(p + front + n, spare - front);
            p += front;
    #ifdef MADV_HUGEPAGE
            madvise(p, n, MADV_HUGEPAGE);
    #endif
        }
        return p;
    }
    """
    void *ipf_map(size_t n, int dense) nogil
    int munmap(void *p, size_t n) nogil

cdef enum:
    MAX_CAPACITY = 1 << 26
    CHUNK_BYTES = 1 << 21   # large blocks are multiples of a huge page, and mapped

cdef unsigned processes = 0     # forks survived


cdef unsigned fork_count() noexcept:
    """Differs between a process and its parent."""
    return processes


def _forked():
    global processes
    processes += 1


os.register_at_fork(after_in_child=_forked)

assert sizeof(sa_t) == 192


cdef class Context:
    """A provider's scratch memory for one thread at a time."""

    def __cinit__(self, Provider provider not None):
        self.table = provider.table
        self.ctx = provider.table.ctx_new()
        if self.ctx == NULL:
            raise MemoryError()

    def __dealloc__(self):
        if self.ctx != NULL:
            self.table.ctx_free(self.ctx)


# A block of keyed states begins with this.  Not a Python object: the garbage collector could take it away before
# the SAD, whose __dealloc__ still needs the states.
cdef struct block_t:
    block_t *next
    size_t size


cdef uint8_t *new_block(CoreSAD self, size_t size) except NULL:
    """Zeroed memory for keyed states, 64-byte aligned; the SAD frees it."""
    cdef void *memory = NULL
    cdef block_t *block
    size += 64
    if size >= CHUNK_BYTES // 16:
        size = (size + CHUNK_BYTES - 1) // CHUNK_BYTES * CHUNK_BYTES
        memory = ipf_map(size, 1)
    elif posix_memalign(&memory, 64, size):
        memory = NULL
    if memory == NULL:
        raise MemoryError()
    if size < CHUNK_BYTES:
        memset(memory, 0, size)
    block = <block_t *> memory
    block.next = <block_t *> self._blocks
    block.size = size
    self._blocks = block
    return <uint8_t *> memory + 64


cdef void free_blocks(CoreSAD self) noexcept:
    """Wipe and give back every block."""
    cdef block_t *block
    cdef size_t size
    while self._blocks != NULL:
        block = <block_t *> self._blocks
        self._blocks = block.next
        size = block.size
        wipe(block, size)
        if size >= CHUNK_BYTES:
            munmap(block, size)
        else:
            free(block)


cdef uint8_t *new_scratch() except NULL:
    """CHUNK * SCRATCH bytes, taken as they are touched."""
    cdef void *memory = ipf_map(CHUNK * SCRATCH, 0)
    if memory == NULL:
        raise MemoryError()
    return <uint8_t *> memory


cdef void free_scratch(uint8_t *memory) noexcept:
    if memory != NULL:
        munmap(memory, CHUNK * SCRATCH)


cdef int system_random(uint8_t *out, size_t n) noexcept nogil:
    """The kernel's generator, where libcrypto's is not to be had."""
    with gil:
        try:
            data = os.urandom(n)
            memcpy(out, <const char *> data, n)
            return 1
        except Exception:
            return 0


cdef class CoreSAD:
    """The security association database of the core; `ipsecfast.SAD` is its public face.

    capacity : SAs it can hold, 1 to 2**26.
    choose : callable (Encryption, Authentication) -> `ipsecfast.provider.Choice`; raises if no provider may serve.
    random : Provider with a random generator, or None.
    slow : the pure Python datapath, which then does all the work, or None.
    """

    def __cinit__(self, *args, **kwargs):
        memset(&self.table, 0, sizeof(table_t))
        self._contexts = {}
        self._suites = {}
        self.choices = []
        self._ports = {}
        self._free_states = {}
        self._free = []
        self._free_bundles = []
        self._born = processes

    def __init__(self, capacity, choose, random, slow):
        cdef table_t *t = &self.table
        cdef uint32_t bits = 4
        if t.sas != NULL:
            raise RuntimeError("a SAD can't be initialised again")
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(f"capacity: got {type(capacity).__name__}, wanted an int")
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ValueError(f"capacity: got {capacity}, wanted 1 to {MAX_CAPACITY} SAs")
        self.capacity = capacity
        self.slow = slow
        self._choose = choose
        while (1 << bits) < 2 * capacity:
            bits += 1
        t.chunk = CHUNK_ONE_PASS
        t.capacity = <uint32_t> capacity
        t.bucket_mask = (<uint32_t> 1 << bits) - 1
        t.bucket_shift = 32 - bits
        t.sas = <sa_t *> ipf_map(capacity * sizeof(sa_t), 1)
        t.buckets = <bucket_t *> ipf_map((<size_t> t.bucket_mask + 1) * sizeof(bucket_t), 1)
        t.scratch = new_scratch()
        t.ports = <uint8_t *> calloc(8192, 1)
        if t.sas == NULL or t.buckets == NULL or t.ports == NULL:
            raise MemoryError()
        memset(t.group, 0xFF, sizeof(t.group))
        _use_port(self, 4500)
        t.random = system_random
        if random is not None and (<Provider?> random).table.random != NULL:
            t.random = (<Provider> random).table.random

    def __dealloc__(self):
        cdef table_t *t = &self.table
        cdef uint32_t i
        if t.sas != NULL:
            for i in range(t.high_water):
                if t.sas[i].flags & SA_IN_USE:
                    _release_state(t, &t.sas[i])
                    _release(&t.sas[i])
            wipe(t.sas, t.high_water * sizeof(sa_t))
            munmap(t.sas, t.capacity * sizeof(sa_t))
        if t.buckets != NULL:
            munmap(t.buckets, (<size_t> t.bucket_mask + 1) * sizeof(bucket_t))
        free_scratch(t.scratch)
        free(t.ports)
        free(t.bundles)
        free_blocks(self)
        wipe(t.pool, sizeof(t.pool))
        wipe(t.work, sizeof(t.work))

    def __reduce_ex__(self, protocol):
        raise TypeError("a SAD can't be pickled: it holds keys")

    def __len__(self):
        return self._count if self.slow is None else len(self.slow)

    cdef int enter(self) except -1:
        """Take the SAD for one call."""
        if self.table.sas == NULL:
            raise RuntimeError("this SAD was not initialised: a subclass must call SAD.__init__")
        if self._born != processes:
            raise RuntimeError("this SAD belongs to the parent process: sending on with its sequence numbers in two "
                               "processes would repeat IVs; make a SAD of its own after the fork")
        if self.busy:
            raise RuntimeError("this SAD is at work in another thread; different SADs are independent")
        self.busy = True
        return 0

    cdef void leave(self) noexcept:
        self.busy = False

    cdef sa_t *find(self, object which) except NULL:
        """The SA of a handle that is valid; raises KeyError, TypeError for what is no integer."""
        number = operator.index(which)
        if self.find_bundle(number) != NULL:
            raise KeyError(f"handle {number} is a bundle, wanted an SA")
        cdef int64_t handle = number if 0 < number < 1 << 63 else 0
        cdef uint32_t index = <uint32_t> handle - 1
        cdef sa_t *sa
        if handle > 0 and index < self.table.high_water:
            sa = &self.table.sas[index]
            if sa.flags & SA_IN_USE and sa.handle == handle:
                return sa
        raise KeyError(f"handle {number} names no SA of this SAD")

    cdef bundle_t *find_bundle(self, object number) noexcept:
        """The bundle of a handle, or NULL."""
        cdef int64_t handle = number if 0 < number < 1 << 63 else 0
        cdef uint32_t index = <uint32_t> handle - 1
        if handle >> BUNDLE_BIT and index < self.table.n_bundles and self.table.bundles[index].handle == handle:
            return &self.table.bundles[index] if self.table.bundles[index].n else NULL
        return NULL

    def add(self, sa, direction, seq=0):
        """Put an SA in and return its handle, an int > 0 that is never handed out again.

        direction : ``"inbound"`` or ``"outbound"``.
        seq : the last number sent, or the highest authenticated one (64 bits with ESN, else 32).

        Raises DuplicateSAError for an SPI that is there already with this destination, protocol and
        direction; SADFullError; ProviderError where no provider has the algorithm; TypeError, ValueError.
        """
        cdef bint outbound = _direction(sa, direction)
        cdef uint64_t top = _sequence(seq, sa.esn)
        self.enter()
        try:
            if self.slow is not None:
                return self.slow.add(sa, direction, seq)
            return _add(self, sa, outbound, top)
        finally:
            self.leave()

    def update(self, handle, seq_hi):
        """Replace the high half of the highest number and clear the window (what UPDATE_SA needs).

        seq_hi : 32 bits.  Raises KeyError for an unknown handle, ValueError for an SA without ESN.
        """
        if isinstance(seq_hi, bool) or not isinstance(seq_hi, int):
            raise TypeError(f"seq_hi: got {type(seq_hi).__name__}, wanted an int")
        if not 0 <= seq_hi <= 0xFFFFFFFF:
            raise ValueError(f"seq_hi: got {seq_hi}, wanted 32 bits")
        cdef sa_t *s
        cdef uint64_t high = seq_hi
        self.enter()
        try:
            if self.slow is not None:
                self.slow.update(handle, seq_hi)
                return
            s = self.find(handle)
            if not s.flags & SA_ESN:
                raise ValueError("seq_hi: this SA has no extended sequence numbers")
            if s.flags & SA_OUTBOUND:
                if high < s.seq >> 32:
                    raise ValueError(
                        f"seq_hi: got {seq_hi}, wanted {s.seq >> 32} or more: numbers sent before would be sent again")
            else:
                memset(s.ring, 0, (<size_t> s.ring_mask + 1) * 8)
            s.seq = high << 32 | <uint32_t> s.seq
        finally:
            self.leave()

    def delete(self, handle):
        """Take an SA out; its keys are wiped at once, and bundles that it is in go too.  Or take a bundle out, alone.

        Raises KeyError for an unknown handle.
        """
        cdef bundle_t *bundle
        self.enter()
        try:
            if self.slow is not None:
                self.slow.delete(operator.index(handle))
                return
            bundle = self.find_bundle(operator.index(handle))
            if bundle != NULL:
                _delete_bundle(self, bundle)
            else:
                _delete(self, self.find(handle))
        finally:
            self.leave()

    def bundle(self, handles):
        """Make a handle that puts several outbound SAs on, the first of ``handles`` innermost (RFC 4301 sec. 4.3).

        handles : 1 to 8 different outbound SAs: transport in tunnel, AH around ESP, tunnel in tunnel, ...

        `encapsulate` with it protects a packet by all of them or refuses it and uses nothing of any;
        ``failed_layer`` then says which, 0 being the outermost.  Raises KeyError for an unknown handle or a
        bundle's, ValueError for an inbound SA, one that is there twice, or a wrong number of them.
        """
        members = list(handles)
        if not 1 <= len(members) <= MAX_LAYERS:
            raise ValueError(f"handles: got {len(members)}, wanted 1 to {MAX_LAYERS}")
        self.enter()
        try:
            if self.slow is not None:
                return self.slow.bundle(members)
            return _bundle(self, members)
        finally:
            self.leave()

    def counters(self, handle):
        """(packets, bytes, counter per PacketStatus, last sequence number) of one SA."""
        cdef sa_t *s
        cdef int i
        self.enter()
        try:
            if self.slow is not None:
                return self.slow.counters(handle)
            s = self.find(handle)
            counts = [0 if s.refused == NULL else s.refused[i] for i in range(N_STATUS)]
            counts[0] = s.packets
            return s.packets, s.bytes, counts, s.seq
        finally:
            self.leave()


cdef bint _direction(sa, direction) except -1:
    """Is it outbound?  Also checks that the SA may go that way."""
    if not isinstance(sa, SecurityAssociation):
        raise TypeError(f"sa: got {type(sa).__name__}, wanted SecurityAssociation")
    if direction == "inbound":
        return False
    if direction != "outbound":
        raise ValueError(f"direction: got {direction!r}, wanted inbound or outbound")
    if sa.mode == "any":
        raise ValueError("mode: got any, wanted tunnel or transport for an outbound SA")
    if sa.mode == "tunnel" and (sa.src is None or sa.dst is None):
        raise ValueError("src and dst: an outbound tunnel needs both")
    return True


cdef uint64_t _sequence(seq, bint esn) except? 0:
    if isinstance(seq, bool) or not isinstance(seq, int):
        raise TypeError(f"seq: got {type(seq).__name__}, wanted an int")
    if not 0 <= seq <= (0xFFFFFFFFFFFFFFFF if esn else 0xFFFFFFFF):
        raise ValueError(f"seq: got {seq}, wanted {64 if esn else 32} bits" + ("" if esn else " without ESN"))
    return seq


cdef Provider _provider(choice):
    return choice


cdef void *context_of(dict contexts, Provider provider) except NULL:
    """The provider's scratch in `contexts`, made when first asked for."""
    context = contexts.get(provider)
    if context is None:
        context = contexts[provider] = Context(provider)
    return (<Context> context).ctx


cdef void *_context(CoreSAD self, Provider provider) except NULL:
    return context_of(self._contexts, provider)


cdef int _suite(CoreSAD self, sa) except -1:
    """Number of the suite for this SA's algorithms, bound to providers when first seen."""
    enc, auth = sa.enc_alg, sa.auth_alg
    if auth.ah_only:
        enc, auth = ENCRYPTION[auth.name], AUTHENTICATION["NONE"]      # GMAC is one algorithm, whoever uses it
    key = (enc.code, auth.code)
    known = self._suites.get(key)
    if known is not None:
        return known
    choice = self._choose(enc, auth)
    cipher, mac = choice.cipher, choice.mac
    cdef int number = self.table.n_suites
    cdef suite_t *s = &self.table.suites[number]
    memset(s, 0, sizeof(suite_t))
    if cipher is not None:
        s.cipher_ctx = _context(self, cipher)
        s.cipher = &_provider(cipher).table.cipher[<int> enc.code]
        s.shape.mac_ofs = (s.cipher.state_len + 63) & ~63
    if mac is not None:
        s.mac_ctx = _context(self, mac)
        s.mac = &_provider(mac).table.mac[<int> auth.code]
    s.state_len = s.shape.mac_ofs + (0 if s.mac == NULL else (s.mac.state_len + 63) & ~63)
    s.tail = s.state_len
    if choice.few is not None:
        _few(self, s, choice, enc.code, auth.code)
    # an odd number of lines: with a power of two the same few lines of all states would share few cache sets
    s.state_len = (s.state_len + 63) & ~63 | 64
    s.shape.kind = CLASS_MAC if not enc.combined else CLASS_AEAD if enc.encrypts else CLASS_GMAC
    s.shape.iv_kind = IV_NONE if not enc.iv_len else IV_COUNTER if enc.salt_len else IV_RANDOM
    s.shape.iv_len = enc.iv_len
    s.shape.salt_len = enc.salt_len
    s.shape.align_mask = enc.align - 1
    s.shape.block = enc.block
    s.shape.is_ctr = enc.salt_len != 0 and not enc.combined
    s.shape.is_ccm = enc.name.startswith("AES-CCM")
    s.shape.mac_len = auth.digest_len
    if s.mac != NULL or enc.name.startswith("AES-CCM"):      # these have lanes to fill
        self.table.chunk = CHUNK
    self._suites[key] = number
    self.choices.append(choice)
    self.table.n_suites += 1
    return number


cdef int _few(CoreSAD self, suite_t *s, choice, int enc, int auth) except -1:
    """Bind the provider that serves small groups."""
    s.few_ctx = _context(self, choice.few)
    if choice.few_encrypt or choice.few_decrypt:
        s.few_cipher = &_provider(choice.few).table.cipher[enc]
        s.few_encrypt, s.few_decrypt = choice.few_encrypt, choice.few_decrypt
        s.few_cipher_ofs = s.state_len
        s.state_len += (s.few_cipher.state_len + 15) & ~15
    if choice.few_macs:
        s.few_mac = &_provider(choice.few).table.mac[auth]
        s.few_macs = choice.few_macs
        s.few_mac_ofs = s.state_len
        s.state_len += (s.few_mac.state_len + 15) & ~15
    return 0


cdef int _key(CoreSAD self, sa_t *s, sa, bytes enc_key, bytes auth_key, bint outbound) except -1:
    """Key every state of a new SA; on failure nothing is left.  sa : for its algorithms."""
    cdef suite_t *suite = &self.table.suites[s.suite]
    cdef const uint8_t *enc = enc_key
    cdef const uint8_t *auth = auth_key
    cdef uint32_t enc_len = <uint32_t> len(enc_key), auth_len = <uint32_t> len(auth_key)
    cdef bint good = True
    s.key = _state(self, suite.state_len)
    if suite.cipher != NULL:
        good = suite.cipher.key_init(suite.cipher_ctx, s.key, enc, enc_len, outbound)
    if good and (suite.few_encrypt if outbound else suite.few_decrypt):
        good = suite.few_cipher.key_init(suite.few_ctx, s.key + suite.few_cipher_ofs, enc, enc_len, outbound)
    if good and suite.mac != NULL:
        good = suite.mac.key_init(suite.mac_ctx, s.key + suite.shape.mac_ofs, auth, auth_len, True)
    if good and suite.few_macs:
        good = suite.few_mac.key_init(suite.few_ctx, s.key + suite.few_mac_ofs, auth, auth_len, True)
    if not good:
        _drop_state(self, s)
        raise ValueError(f"enc_key or auth_key: the crypto library refused it for {sa.encryption}, {sa.authentication}")
    return 0


cdef int _drop_state(CoreSAD self, sa_t *s) except -1:
    """Wipe an SA's keyed states and keep the memory for another."""
    cdef uint32_t size = self.table.suites[s.suite].state_len
    _release_state(&self.table, s)
    self._free_states[size].append(<uintptr_t> s.key)
    return 0


cdef uint8_t *_state(CoreSAD self, uint32_t size) except NULL:
    """Zeroed memory for one SA's keyed states, 64-byte aligned."""
    cdef list spare = self._free_states.setdefault(size, [])
    cdef size_t n, i
    cdef uint8_t *memory
    if not spare:
        n = min(max(4, self._count), max(1, CHUNK_BYTES // size))
        if n * size >= CHUNK_BYTES // 16:
            n = max(1, (CHUNK_BYTES - 64) // size)
        memory = new_block(self, n * size)
        for i in range(n):
            spare.append(<uintptr_t> memory + (n - 1 - i) * size)
    return <uint8_t *> <uintptr_t> spare.pop()


cdef object _add(CoreSAD self, sa, bint outbound, uint64_t top):
    cdef sa_t fresh
    _has_room(self)
    memset(&fresh, 0, sizeof(sa_t))
    _describe(&fresh, sa, outbound)
    fresh.suite = <uint8_t> _suite(self, sa)
    try:
        return _enter(self, &fresh, sa, sa.auth_key if sa.auth_alg.ah_only else sa.enc_key, sa.auth_key, top).handle
    finally:
        wipe(&fresh, sizeof(sa_t))


cdef int _has_room(CoreSAD self) except -1:
    if not self._free and self.table.high_water == self.table.capacity:
        raise SADFullError(f"the SAD is full: its capacity is {self.table.capacity} SAs")
    return 0


cdef sa_t *_enter(CoreSAD self, sa_t *fresh, sa, bytes enc_key, bytes auth_key, uint64_t top) except NULL:
    """Put in an SA that is described, with a suite; `fresh` is the caller's to wipe.  sa : for its algorithms."""
    cdef table_t *t = &self.table
    cdef uint32_t index
    cdef sa_t *s = fresh
    cdef bint outbound = (s.flags & SA_OUTBOUND) != 0
    if _usual(s.flags, &t.suites[s.suite].shape):
        s.flags |= SA_USUAL
    if _duplicate(t, s):
        dst = None if s.flags & SA_DST_ANY else ip_address(s.dst[:16 if s.flags & SA_V6 else 4])
        raise DuplicateSAError(
            f"an {'outbound' if outbound else 'inbound'} SA with SPI 0x{swap32(s.spi_be):08x}, destination {dst} and "
            f"protocol {sa.protocol} is already there")
    _key(self, s, sa, enc_key, auth_key, outbound)
    s.seq = top
    if outbound and not t.random(<uint8_t *> s.word, 8):
        _drop_state(self, s)
        raise ProviderError("no randomness to be had for the IVs of this SA")
    if not outbound and not _window(s, top):
        _drop_state(self, s)
        raise MemoryError()
    index = self._free.pop() if self._free else t.high_water
    s.handle = t.sas[index].handle or index + 1
    s.parent = t.sas[index].parent
    t.sas[index] = fresh[0]
    s = &t.sas[index]
    if outbound or s.ring == fresh.word:
        s.ring = s.word
    if index == t.high_water:
        t.high_water += 1
    _chain(t, index)
    self._count += 1
    if s.flags & SA_UDP and not outbound:
        for port in {s.sport, s.dport}:
            _use_port(self, port)
    if s.flags & SA_ANY_MODE:
        t.n_any_mode += 1
    if s.flags & SA_AH:
        t.n_ah += 1
    return s


# --- SAs of one mould: what the NIC adds ------------------------------------------------------------------------------

cdef class Mould:
    """What SAs have in common that differ in SPI, addresses and keys alone."""


cdef Mould mould_of(CoreSAD self, sa, bint outbound):
    """The mould of SAs like this one, which has no addresses."""
    cdef Mould mould = Mould.__new__(Mould)
    _direction(sa, "outbound" if outbound else "inbound")
    memset(&mould.sa, 0, sizeof(sa_t))
    _describe(&mould.sa, sa, outbound)
    mould.sa.suite = <uint8_t> _suite(self, sa)
    mould.sa.flags &= ~<uint32_t> (SA_DST_ANY | SA_MATCH_SRC)
    mould.like = sa
    mould.ah_only = sa.auth_alg.ah_only
    return mould


cdef sa_t *cast_sa(CoreSAD self, Mould mould, uint32_t spi, bytes src, bytes dst, bint match_src, bytes enc_key,
                   bytes salt, bytes auth_key) except NULL:
    """Add an SA.  src, dst : in network order, empty for a wildcard.  Raises as `CoreSAD.add`."""
    cdef sa_t fresh = mould.sa
    _has_room(self)
    fresh.spi_be = swap32(spi)
    if dst or src:
        fresh.flags |= SA_HAS_ADDRESS | (SA_V6 if len(dst or src) == 16 else 0)
    if not dst:
        fresh.flags |= SA_DST_ANY
    elif src and match_src:
        fresh.flags |= SA_MATCH_SRC
    _put(fresh.dst, dst, 16)
    _put(fresh.src, src, 16)
    _put(<uint8_t *> &fresh.salt, salt, 4)
    try:
        return _enter(self, &fresh, mould.like, auth_key if mould.ah_only else enc_key, auth_key, 0)
    finally:
        wipe(&fresh, sizeof(sa_t))


cdef object delete_sa(CoreSAD self, int64_t handle):
    """`CoreSAD.delete` of an SA that is there, without taking the SAD."""
    return _delete(self, &self.table.sas[<uint32_t> handle - 1])


# ----------------------------------------------------------------------------------------------------------------------


cdef bint _usual(uint32_t flags, const shape_t *shape) noexcept:
    """May this SA's usual packets go the short way through `_outbound` or `_inbound`?"""
    cdef uint32_t not_so = SA_ESN | SA_V6 | SA_ANY_MODE | SA_MATCH_SRC
    if flags & SA_OUTBOUND:
        not_so |= SA_TUNNEL | SA_UDP
    return (flags & SA_AH or shape.kind == CLASS_AEAD and shape.salt_len == 4) and not flags & not_so


cdef int _describe(sa_t *s, sa, bint outbound) except -1:
    """Everything of an SA that is no key and no state."""
    cdef uint32_t flags = SA_IN_USE
    address = sa.dst if sa.dst is not None else sa.src
    flags |= SA_OUTBOUND if outbound else 0
    flags |= SA_ESN if sa.esn else 0
    flags |= SA_TUNNEL if sa.mode == "tunnel" else 0
    flags |= SA_ANY_MODE if sa.mode == "any" else 0
    flags |= SA_STRICT_PADDING if sa.strict_padding else 0
    flags |= SA_ECN if sa.ecn else 0
    flags |= SA_COPY_DSCP if sa.copy_dscp else 0
    flags |= SA_DECAP_DSCP if sa.decap_dscp else 0
    flags |= SA_AH if sa.protocol == "ah" else 0
    flags |= SA_MATCH_SRC if sa.match_src and not outbound else 0
    flags |= {"copy": SA_DF_COPY, "set": SA_DF_SET, "clear": 0}[sa.df]
    if address is not None:
        flags |= SA_HAS_ADDRESS | (SA_V6 if address.version == 6 else 0)
    if sa.dst is None:
        flags |= SA_DST_ANY
    else:
        _put(s.dst, sa.dst.packed, 16)
    if sa.src is not None:
        _put(s.src, sa.src.packed, 16)
    if sa.flow_label == "copy":
        flags |= SA_FLOW_COPY
    else:
        s.flow_label = sa.flow_label
    if sa.udp_encap is not None:
        flags |= SA_UDP
        s.sport, s.dport = sa.udp_encap
    _put(<uint8_t *> &s.salt, sa.salt, 4)
    s.spi_be = swap32(sa.spi)
    s.flags = flags
    s.proto = IPPROTO_AH_ if flags & SA_AH else IPPROTO_ESP_
    s.ah_align = sa.ah_align or 4
    s.icv_len = sa.icv_len
    s.ttl = sa.ttl
    # RFC 4303 sec. 1: no anti-replay without integrity, or one forged number would move the window
    s.window_size = sa.replay_window if sa.icv_len else 0
    s.tfc_pad_to = sa.tfc_pad_to or 0
    return 0


cdef void _put(uint8_t *to, bytes data, size_t room):
    memcpy(to, <const char *> data, min(room, <size_t> len(data)))


cdef bint _window(sa_t *s, uint64_t top) noexcept:
    """Give an inbound SA its window; False if there is no memory."""
    cdef uint32_t words = window_words(s.window_size)
    s.ring_mask = <uint8_t> (words - 1)
    s.ring = s.word
    if words > 2:
        s.ring = <uint64_t *> calloc(words, 8)
        if s.ring == NULL:
            return False
    if top and s.window_size:
        window_mark(s.ring, s.ring_mask, top, top)
    return True


cdef void _use_port(CoreSAD self, uint32_t port):
    self._ports[port] = self._ports.get(port, 0) + 1
    self.table.ports[port >> 3] |= 1 << (port & 7)
    self.table.port_filter |= (<uint64_t> 1) << (port & 63)


cdef void _leave_port(CoreSAD self, uint32_t port):
    self._ports[port] -= 1
    if not self._ports[port]:
        del self._ports[port]
        self.table.ports[port >> 3] &= ~(1 << (port & 7))


cdef bint _duplicate(const table_t *t, const sa_t *s) noexcept:
    cdef uint32_t at = bucket_of(t, s.spi_be), head
    cdef const sa_t *other
    cdef uint32_t what = SA_OUTBOUND | SA_MATCH_SRC | SA_DST_ANY | (0 if s.flags & SA_DST_ANY else SA_V6)
    while t.buckets[at].head and t.buckets[at].spi_be != s.spi_be:
        at = (at + 1) & t.bucket_mask
    head = t.buckets[at].head
    while head:
        other = &t.sas[head - 1]
        if (other.proto == s.proto and (other.flags & what) == (s.flags & what) and memcmp(other.dst, s.dst, 16) == 0
                and (not s.flags & SA_MATCH_SRC or memcmp(other.src, s.src, 16) == 0)):
            return True
        head = other.next
    return False


cdef int _rank(const sa_t *s) noexcept:
    """Where it belongs in its SPI's chain: longest match first (RFC 4301 sec. 4.1), outbound SAs last."""
    if s.flags & SA_OUTBOUND:
        return 3
    return 2 if s.flags & SA_DST_ANY else 0 if s.flags & SA_MATCH_SRC else 1


cdef void _chain(table_t *t, uint32_t index) noexcept:
    """Put an SA into its SPI's chain, in front of those of its own rank."""
    cdef sa_t *s = &t.sas[index]
    cdef uint32_t at = bucket_of(t, s.spi_be)
    cdef uint32_t *link
    cdef int rank = _rank(s)
    while t.buckets[at].head and t.buckets[at].spi_be != s.spi_be:
        at = (at + 1) & t.bucket_mask
    t.buckets[at].spi_be = s.spi_be
    link = &t.buckets[at].head
    while link[0] and _rank(&t.sas[link[0] - 1]) < rank:
        link = &t.sas[link[0] - 1].next
    s.next = link[0]
    link[0] = index + 1


cdef void _unchain(table_t *t, uint32_t index) noexcept:
    cdef sa_t *s = &t.sas[index]
    cdef uint32_t at = bucket_of(t, s.spi_be)
    cdef uint32_t gap, home
    cdef uint32_t *link
    while t.buckets[at].spi_be != s.spi_be:
        at = (at + 1) & t.bucket_mask
    link = &t.buckets[at].head
    while link[0] != index + 1:
        link = &t.sas[link[0] - 1].next
    link[0] = s.next
    if t.buckets[at].head:
        return
    # the bucket is empty: move up those behind it that were displaced past it
    gap = at
    while True:
        at = (at + 1) & t.bucket_mask
        if not t.buckets[at].head:
            break
        home = bucket_of(t, t.buckets[at].spi_be)
        if ((at - home) & t.bucket_mask) >= ((at - gap) & t.bucket_mask):
            t.buckets[gap] = t.buckets[at]
            gap = at
    t.buckets[gap].head = 0
    t.buckets[gap].spi_be = 0


cdef void _release_state(table_t *t, sa_t *s) noexcept:
    """Give back what the providers' states own, then wipe them."""
    cdef suite_t *suite = &t.suites[s.suite]
    if suite.cipher != NULL and suite.cipher.key_free != NULL:
        suite.cipher.key_free(s.key)
    if suite.mac != NULL and suite.mac.key_free != NULL:
        suite.mac.key_free(s.key + suite.shape.mac_ofs)
    if suite.few_cipher != NULL and suite.few_cipher.key_free != NULL:
        suite.few_cipher.key_free(s.key + suite.few_cipher_ofs)
    if suite.few_mac != NULL and suite.few_mac.key_free != NULL:
        suite.few_mac.key_free(s.key + suite.few_mac_ofs)
    wipe(s.key, suite.state_len)


cdef void _release(sa_t *s) noexcept:
    """Give back an SA's own memory."""
    if s.ring != s.word:
        free(s.ring)
    free(s.refused)


cdef object _delete(CoreSAD self, sa_t *s):
    cdef table_t *t = &self.table
    cdef uint32_t index = <uint32_t> (s - t.sas), i, parent
    cdef int64_t handle = s.handle
    _unchain(t, index)
    if s.flags & SA_UDP and not s.flags & SA_OUTBOUND:
        for port in {s.sport, s.dport}:
            _leave_port(self, port)
    if s.flags & SA_ANY_MODE:
        t.n_any_mode -= 1
    if s.flags & SA_AH:
        t.n_ah -= 1
    for i in range(t.n_bundles if s.n_bundles else 0):
        if _in_bundle(&t.bundles[i], index):
            _delete_bundle(self, &t.bundles[i])
    _drop_state(self, s)
    _release(s)
    parent = s.parent
    wipe(s, sizeof(sa_t))
    s.parent = parent       # others may hang on it, until `regrow`
    t.left = True
    self._count -= 1
    if handle >> 32 < 0x3FFFFFFF:       # else the place is used up
        s.handle = handle + ((<int64_t> 1) << 32)
        self._free.append(index)


# --- bundles ----------------------------------------------------------------------------------------------------------

cdef bint _in_bundle(const bundle_t *bundle, uint32_t index) noexcept:
    cdef uint32_t r
    for r in range(bundle.n):
        if bundle.sa[r] == index:
            return True
    return False


cdef object _bundle(CoreSAD self, list members):
    cdef table_t *t = &self.table
    cdef bundle_t fresh
    cdef bundle_t *grown
    cdef sa_t *s
    cdef uint32_t index, r
    memset(&fresh, 0, sizeof(fresh))
    for member in members:
        s = self.find(member)
        if not s.flags & SA_OUTBOUND:
            raise ValueError(f"handle {member} is an inbound SA, wanted an outbound one")
        index = <uint32_t> (s - t.sas)
        if _in_bundle(&fresh, index):
            raise ValueError(f"handle {member} is there twice: one SA protects a packet once")
        fresh.sa[fresh.n] = index
        fresh.n += 1
    if self._free_bundles:
        index = self._free_bundles.pop()
        fresh.handle = t.bundles[index].handle + ((<int64_t> 1) << 32)
    else:
        index = t.n_bundles
        if not index & (index - 1):     # 0 or a power of two: the places are used up
            grown = <bundle_t *> realloc(t.bundles, (2 * <size_t> index + 1) * sizeof(bundle_t))
            if grown == NULL:
                raise MemoryError()
            t.bundles = grown
        t.n_bundles += 1
        fresh.handle = <int64_t> 1 << BUNDLE_BIT | <int64_t> (index + 1)
    t.bundles[index] = fresh
    _join(t, &fresh)
    for r in range(fresh.n):
        t.sas[fresh.sa[r]].n_bundles += 1
    return fresh.handle


cdef void _join(table_t *t, const bundle_t *bundle) noexcept:
    """SAs of one bundle must go to one thread, for their numbers are taken together."""
    cdef sa_t *root = <sa_t *> root_of(t, &t.sas[bundle.sa[0]])
    cdef sa_t *other
    cdef uint32_t i
    for i in range(1, bundle.n):
        other = <sa_t *> root_of(t, &t.sas[bundle.sa[i]])
        if other != root:
            other.parent = <uint32_t> (root - t.sas) + 1
            t.n_joined += 1


cdef void regrow(table_t *t) noexcept:
    """After deletions, make the trees anew of the bundles that are left; inbound ones grow again by themselves."""
    cdef uint32_t i
    if t.left and t.n_joined:
        for i in range(t.high_water):
            t.sas[i].parent = 0
        t.n_joined = 0
        for i in range(t.n_bundles):
            if t.bundles[i].n:
                _join(t, &t.bundles[i])
    t.left = False


cdef int _delete_bundle(CoreSAD self, bundle_t *bundle) except -1:
    cdef uint32_t r
    for r in range(bundle.n):
        self.table.sas[bundle.sa[r]].n_bundles -= 1
    bundle.n = 0
    self.table.left = True
    if ((bundle.handle >> 32) & 0x3FFFFFFF) < 0x3FFFFFFF:
        self._free_bundles.append(<uint32_t> (bundle - self.table.bundles))
    return 0
