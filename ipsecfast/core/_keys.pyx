"""KeyStore: suites bound to providers, and memory for keyed states; the base of `CoreSAD`."""

from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from libc.string cimport memset

from ._bytes cimport wipe
from ._crypto cimport Provider
from ._memory cimport CHUNK_BYTES, free_blocks, new_block
from ._types cimport (
    CHUNK, CLASS_AEAD, CLASS_GMAC, CLASS_MAC, IV_COUNTER, IV_NONE, IV_RANDOM, sa_t, suite_t, table_t,
)

from ..alg import AUTHENTICATION, ENCRYPTION


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


cdef class KeyStore:
    """What a SAD has of it; `table.suites` and the states that SAs point to."""

    def __cinit__(self, *args, **kwargs):
        memset(&self.table, 0, sizeof(table_t))
        self._contexts = {}
        self._suites = {}
        self.choices = []
        self._free_states = {}

    def __dealloc__(self):
        free_blocks(&self._blocks)


cdef Provider _provider(choice):
    return choice


cdef void *context_of(dict contexts, Provider provider) except NULL:
    """The provider's scratch in `contexts`, made when first asked for."""
    context = contexts.get(provider)
    if context is None:
        context = contexts[provider] = Context(provider)
    return (<Context> context).ctx


cdef void *_context(KeyStore self, Provider provider) except NULL:
    return context_of(self._contexts, provider)


cdef int suite_of(KeyStore self, sa) except -1:
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


cdef int _few(KeyStore self, suite_t *s, choice, int enc, int auth) except -1:
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


cdef int key_states(KeyStore self, sa_t *s, sa, bytes enc_key, bytes auth_key, bint outbound) except -1:
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
        drop_states(self, s)
        raise ValueError(f"enc_key or auth_key: the crypto library refused it for {sa.encryption}, {sa.authentication}")
    return 0


cdef int drop_states(KeyStore self, sa_t *s) except -1:
    """Wipe an SA's keyed states and keep the memory for another."""
    cdef uint32_t size = self.table.suites[s.suite].state_len
    release_states(&self.table, s)
    self._free_states[size].append(<uintptr_t> s.key)
    return 0


cdef uint8_t *_state(KeyStore self, uint32_t size) except NULL:
    """Zeroed memory for one SA's keyed states, 64-byte aligned."""
    cdef list spare = self._free_states.setdefault(size, [])
    cdef size_t n, i
    cdef uint8_t *memory
    if not spare:
        n = min(max(4, self._count), max(1, CHUNK_BYTES // size))
        if n * size >= CHUNK_BYTES // 16:
            n = max(1, (CHUNK_BYTES - 64) // size)
        memory = new_block(&self._blocks, n * size)
        for i in range(n):
            spare.append(<uintptr_t> memory + (n - 1 - i) * size)
    return <uint8_t *> <uintptr_t> spare.pop()


cdef void release_states(table_t *t, sa_t *s) noexcept:
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
