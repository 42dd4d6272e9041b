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

    def cipher(self, int code, key not None, bint encrypt, nonce not None, aad not None, text not None, tag=b"",
               tag_len=0):
        """Run one cipher once: bytes out, and for an AEAD also the tag.

        Encrypting returns (text, tag), the tag `tag_len` bytes long; decrypting (text, b"") or None if `tag` is
        wrong.  `nonce` is what op_t says: 11 or 12 bytes for an AEAD, 16 for CTR (counter block), the IV for CBC.
        """
        return self.ciphers(code, encrypt, [(key, nonce, aad, text, tag_len if encrypt else tag)])[0]

    def ciphers(self, int code, bint encrypt, operations not None):
        """Run one cipher over several operations in one call, as a batch does; the results of `cipher` in a list.

        Each is (key, nonce, aad, text, tag): the tag to check, or the length of the one to make.
        """
        if not self.has_cipher(code):
            raise ValueError(f"{self.name} does not have this algorithm")
        cdef const cipher_t *alg = &self.table.cipher[code]
        cdef _Run run = _Run(operations, encrypt)
        run.go(self, alg.state_len, alg.key_init, alg.key_free, alg.encrypt if encrypt else alg.decrypt)
        return run.results()

    def mac(self, int code, key not None, text not None, length):
        """The whole digest (`length` bytes) of one MAC over `text`, or None if the library refuses."""
        return self.macs(code, [(key, text, length)])[0]

    def macs(self, int code, operations not None):
        """One MAC over several operations (key, text, length) in one call; the results of `mac` in a list."""
        if not self.has_mac(code):
            raise ValueError(f"{self.name} does not have this algorithm")
        cdef const mac_t *alg = &self.table.mac[code]
        cdef _Run run = _Run([(key, b"", b"", text, length) for key, text, length in operations], True)
        run.go(self, alg.state_len, alg.key_init, alg.key_free, alg.compute)
        return [None if result is None else result[1] for result in run.results()]


cdef class _Run:
    """Operations for one call of a provider; those of equal keys share a state."""

    cdef list keys           # distinct ones
    cdef list buffers        # what the operations point into
    cdef uint8_t tags[CHUNK][MAX_MAC]
    cdef int which[CHUNK]    # index of each operation's key
    cdef op_t operations[CHUNK]
    cdef op_t *ops[CHUNK]
    cdef int n
    cdef bint encrypt

    def __init__(self, operations, bint encrypt):
        if not 1 <= len(operations) <= CHUNK:
            raise ValueError(f"operations: got {len(operations)}, wanted 1 to {CHUNK}")
        self.keys, self.buffers = [], []
        self.n = len(operations)
        self.encrypt = encrypt
        memset(self.operations, 0, sizeof(self.operations))
        memset(self.tags, 0, sizeof(self.tags))
        for i, (key, nonce, aad, text, tag) in enumerate(operations):
            self.put(i, bytes(key), bytes(nonce), bytes(aad), bytearray(text), b"" if encrypt else bytes(tag),
                     tag if encrypt else len(tag))

    cdef int put(self, int i, bytes key, bytes nonce, bytes aad, bytearray text, bytes tag, size_t tag_len) except -1:
        cdef op_t *op = &self.operations[i]
        if len(nonce) > 16 or tag_len > MAX_MAC:
            raise ValueError("nonce or tag: too long")
        if key not in self.keys:
            self.keys.append(key)
        self.which[i] = self.keys.index(key)
        nonce = nonce.ljust(16, b"\0")
        op.text_len = <uint32_t> len(text)
        text.append(0)       # so that an empty one has an address too
        self.buffers.append((nonce, aad, text))
        memcpy(self.tags[i], <const uint8_t *> tag, len(tag))
        op.nonce = nonce
        op.aad = aad
        op.aad_len = <uint32_t> len(aad)
        op.text = <uint8_t *> <char *> text
        op.tag = self.tags[i]
        op.tag_len = <uint32_t> tag_len
        self.ops[i] = op
        return 0

    cdef int go(self, Provider provider, uint32_t state_len, key_fn key_init, wipe_fn key_free,
                crypt_fn call) except -1:
        """Key the states, run, wipe the states."""
        cdef void *memory = NULL
        cdef uint8_t *states
        cdef size_t step = (state_len + 63) & ~63
        cdef int keyed = 0, i
        cdef bytes key
        cdef void *ctx = provider.ctx
        if ctx == NULL:
            ctx = provider.ctx = provider.table.ctx_new()
        if ctx == NULL or posix_memalign(&memory, 64, len(self.keys) * step + 64):
            raise MemoryError()
        states = <uint8_t *> memory
        memset(states, 0, len(self.keys) * step)
        for key in self.keys:
            if not key_init(ctx, states + keyed * step, <const uint8_t *> key, <uint32_t> len(key), self.encrypt):
                break
            keyed += 1
        if keyed == len(self.keys):
            for i in range(self.n):
                self.ops[i].key = states + self.which[i] * step
            call(ctx, self.ops, self.n)
        if key_free != NULL:
            for i in range(keyed):
                key_free(states + i * step)
        wipe(states, len(self.keys) * step)
        free(memory)
        if keyed != len(self.keys):
            raise ValueError(f"the crypto library refused a key of {len(self.keys[keyed])} bytes")
        return 0

    cdef list results(self):
        cdef int i
        cdef const op_t *op
        found = []
        for i in range(self.n):
            op = &self.operations[i]
            tag = self.tags[i][:op.tag_len] if self.encrypt else b""
            found.append((bytes(self.buffers[i][2][:op.text_len]), tag) if op.good else None)
        return found
