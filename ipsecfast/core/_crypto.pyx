"""Provider: a crypto library behind the function table that the engine calls.

Also its primitives one call at a time, through the same table: for known answers and for
`ipsecfast.crypto`.  A table belongs to its module and lives as long as the process.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ._bytes cimport wipe
from ._types cimport CHUNK, MAX_MAC, N_AUTH, N_ENC, cipher_t, crypt_fn, key_fn, mac_t, op_t, provider_t, wipe_fn

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **p, size_t align, size_t n)


cdef class Provider:
    """One loaded crypto library."""

    def __init__(self):
        raise TypeError("providers are made by ipsecfast; see ipsecfast.providers()")

    cdef void attach(self, const provider_t *table, str name, str version, str cpu_path):
        self.table = table
        self.name = name
        self.version = version
        self.cpu_path = cpu_path

    def has_cipher(self, int code):
        """Does it have the encryption algorithm with this code of `ipsecfast.alg`?"""
        return 0 <= code < N_ENC and self.table != NULL and self.table.cipher[code].key_init != NULL

    def has_mac(self, int code):
        """Does it have the authentication algorithm with this code?"""
        return 0 <= code < N_AUTH and self.table != NULL and self.table.mac[code].key_init != NULL

    def cipher(self, int code, const uint8_t[::1] key not None, bint encrypt, const uint8_t[::1] nonce not None,
               const uint8_t[::1] aad not None, const uint8_t[::1] text not None, tag=b"", uint32_t tag_len=0,
               int copies=1):
        """Run one cipher, on `copies` copies of the text in one call: bytes out, and for an AEAD also the tag.

        Encrypting returns (text, tag); decrypting (text, b"") or None if the tag is wrong.  Copies that differ
        in the result are a RuntimeError.  `nonce` is what op_t says: 12 bytes for an AEAD, 16 for CTR (counter
        block), the IV for CBC.
        """
        if not self.has_cipher(code):
            raise ValueError(f"{self.name} does not have this algorithm")
        cdef const cipher_t *alg = &self.table.cipher[code]
        cdef bytes given = bytes(tag)
        cdef _Run run = _Run(key, text, nonce, aad, given, tag_len if encrypt else len(given), copies)
        run.go(self, alg.state_len, alg.key_init, alg.key_free, alg.encrypt if encrypt else alg.decrypt, encrypt)
        return run.result(encrypt)

    def mac(self, int code, const uint8_t[::1] key not None, const uint8_t[::1] text not None, uint32_t length,
            int copies=1):
        """The whole digest (`length` bytes) of one MAC over `text`, or None if the library refuses."""
        if not self.has_mac(code):
            raise ValueError(f"{self.name} does not have this algorithm")
        cdef const mac_t *alg = &self.table.mac[code]
        cdef _Run run = _Run(key, text, b"", b"", b"", length, copies)
        run.go(self, alg.state_len, alg.key_init, alg.key_free, alg.compute, True)
        got = run.result(True)
        return None if got is None else got[1]


cdef class _Run:
    """One key, and equal operations on copies of one text."""

    cdef const uint8_t[::1] key
    cdef uint8_t[::1] texts
    cdef bytes nonce, aad
    cdef uint8_t tags[CHUNK][MAX_MAC]
    cdef op_t operations[CHUNK]
    cdef op_t *ops[CHUNK]
    cdef int n
    cdef uint32_t size, tag_len

    def __init__(self, const uint8_t[::1] key, const uint8_t[::1] text, nonce, aad, bytes tag, uint32_t tag_len,
                 int copies):
        cdef int i
        cdef op_t *op
        if len(nonce) > 16 or max(len(tag), tag_len) > MAX_MAC or not 1 <= copies <= CHUNK:
            raise ValueError("nonce, tag or number of copies: too much")
        self.key = key
        self.n = copies
        self.size = <uint32_t> text.shape[0]
        self.tag_len = tag_len
        self.nonce = bytes(nonce).ljust(16, b"\0")
        self.aad = bytes(aad)
        self.texts = bytearray(bytes(text) * copies + bytes(1))
        memset(self.operations, 0, sizeof(self.operations))
        memset(self.tags, 0, sizeof(self.tags))
        for i in range(copies):
            op = self.ops[i] = &self.operations[i]
            memcpy(self.tags[i], <const uint8_t *> tag, len(tag))
            op.nonce = self.nonce
            op.aad = self.aad
            op.aad_len = <uint32_t> len(self.aad)
            op.text = &self.texts[<Py_ssize_t> i * self.size]
            op.text_len = self.size
            op.tag = self.tags[i]
            op.tag_len = tag_len

    cdef int go(self, Provider provider, uint32_t state_len, key_fn key_init, wipe_fn key_free, crypt_fn call,
                bint encrypt) except -1:
        """Key a state, run, wipe the state."""
        cdef void *state = NULL
        cdef uint8_t nothing = 0
        cdef int keyed, i
        cdef void *ctx = provider.ctx
        if ctx == NULL:
            ctx = provider.ctx = provider.table.ctx_new()
        if ctx == NULL or posix_memalign(&state, 64, state_len + 64):
            raise MemoryError()
        memset(state, 0, state_len)
        keyed = key_init(
            ctx, state, &self.key[0] if self.key.shape[0] else &nothing, <uint32_t> self.key.shape[0], encrypt)
        if keyed:
            for i in range(self.n):
                self.ops[i].key = state
            call(ctx, self.ops, self.n)
            if key_free != NULL:
                key_free(state)
        wipe(state, state_len)
        free(state)
        if not keyed:
            raise ValueError(f"the crypto library refused a key of {self.key.shape[0]} bytes")
        return 0

    cdef object result(self, bint encrypt):
        whole = bytes(self.texts)
        outs = {
            (whole[i * self.size:(i + 1) * self.size], self.tags[i][:self.tag_len] if encrypt else b"")
            if self.operations[i].good else None
            for i in range(self.n)
        }
        if len(outs) != 1:
            raise RuntimeError("equal operations gave different results")
        return outs.pop()
