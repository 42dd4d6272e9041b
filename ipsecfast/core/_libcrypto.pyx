"""libcrypto (OpenSSL 3.x) as a provider, opened at run time: no header, no link.

EVP contexts are keyed once per SA; a packet only sets the IV.  Single DES is EDE3 with K, K, K, so that
the legacy provider is never loaded into the process.  XCBC, which it has not got, is a few lines over its AES-CBC.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from ._bytes cimport bytes_equal, wipe
from ._crypto cimport Provider
from ._types cimport N_ENC, cipher_t, crypt_fn, key_fn, mac_t, op_t, provider_t

import os
import sys

cdef extern from "<dlfcn.h>" nogil:
    void *dlopen(const char *name, int flags)
    void *dlsym(void *lib, const char *name)
    const char *dlerror()
    enum: RTLD_NOW
    enum: RTLD_LOCAL

cdef enum:
    EVP_CTRL_AEAD_SET_IVLEN = 0x09
    EVP_CTRL_AEAD_GET_TAG = 0x10
    EVP_CTRL_AEAD_SET_TAG = 0x11

# OSSL_PARAM of openssl/core.h; its layout is part of the 3.x ABI
cdef struct ossl_param_t:
    const char *key
    unsigned int data_type
    void *data
    size_t data_size
    size_t return_size

cdef enum:
    OSSL_PARAM_UTF8_STRING = 4

cdef struct api_t:
    unsigned long (*OpenSSL_version_num)() noexcept nogil
    const char *(*OpenSSL_version)(int) noexcept nogil
    void *(*EVP_CIPHER_fetch)(void *, const char *, const char *) noexcept nogil
    void *(*EVP_CIPHER_CTX_new)() noexcept nogil
    void (*EVP_CIPHER_CTX_free)(void *) noexcept nogil
    int (*EVP_CIPHER_CTX_ctrl)(void *, int, int, void *) noexcept nogil
    int (*EVP_CIPHER_CTX_set_padding)(void *, int) noexcept nogil
    int (*EVP_CipherInit_ex)(void *, const void *, void *, const uint8_t *, const uint8_t *, int) noexcept nogil
    int (*EVP_CipherUpdate)(void *, uint8_t *, int *, const uint8_t *, int) noexcept nogil
    int (*EVP_CipherFinal_ex)(void *, uint8_t *, int *) noexcept nogil
    void *(*EVP_MAC_fetch)(void *, const char *, const char *) noexcept nogil
    void *(*EVP_MAC_CTX_new)(void *) noexcept nogil
    void (*EVP_MAC_CTX_free)(void *) noexcept nogil
    int (*EVP_MAC_init)(void *, const uint8_t *, size_t, const ossl_param_t *) noexcept nogil
    int (*EVP_MAC_update)(void *, const uint8_t *, size_t) noexcept nogil
    int (*EVP_MAC_final)(void *, uint8_t *, size_t *, size_t) noexcept nogil
    void (*ERR_clear_error)() noexcept nogil
    int (*RAND_bytes)(uint8_t *, int) noexcept nogil

cdef api_t api
cdef void *ciphers[N_ENC]
cdef void *hmac_alg = NULL
cdef void *cmac_alg = NULL
cdef provider_t table

NAMES = {1: b"DES-EDE3-CBC", 2: b"DES-EDE3-CBC", 3: b"AES-128-CBC", 4: b"AES-192-CBC", 5: b"AES-256-CBC",
         6: b"AES-128-CTR", 7: b"AES-192-CTR", 8: b"AES-256-CTR", 9: b"AES-128-GCM", 10: b"AES-192-GCM",
         11: b"AES-256-GCM", 12: b"AES-128-GCM", 13: b"AES-192-GCM", 14: b"AES-256-GCM", 15: b"ChaCha20-Poly1305",
         16: b"AES-128-CCM", 17: b"AES-192-CCM", 18: b"AES-256-CCM"}

cdef struct state_t:
    void *ctx

# To EVP the tag's length is part of CCM's key: where it is another than the last, the context is keyed again
cdef struct ccm_state_t:
    void *ctx
    uint32_t tag_len
    uint8_t key[32]

# RFC 3566 sec. 4
cdef struct xcbc_state_t:
    void *ctx               # AES-CBC under K1
    uint8_t whole[16]       # K2, XORed into a last block that is whole ...
    uint8_t padded[16]      # ... and K3, into one that is not


cdef void *ctx_new() noexcept:
    return <void *> &api      # EVP contexts belong to the SAs; the provider itself has no scratch


cdef void ctx_free(void *ctx) noexcept:
    pass


cdef int key_with(void *state, int which, const uint8_t *key, int encrypt) noexcept nogil:
    cdef void *ctx = api.EVP_CIPHER_CTX_new()
    if ctx == NULL:
        return 0
    if (api.EVP_CipherInit_ex(ctx, ciphers[which], NULL, key, NULL, encrypt) != 1
            or api.EVP_CIPHER_CTX_set_padding(ctx, 0) != 1):
        api.EVP_CIPHER_CTX_free(ctx)
        api.ERR_clear_error()
        return 0
    (<state_t *> state).ctx = ctx
    return 1


cdef int key_des(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef uint8_t triple[24]
    cdef int done
    if n != 8:
        return 0
    memcpy(triple, key, 8)
    memcpy(triple + 8, key, 8)
    memcpy(triple + 16, key, 8)
    done = key_with(state, 1, triple, encrypt)
    wipe(triple, 24)
    return done


cdef int key_3des(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return n == 24 and key_with(state, 2, key, encrypt)


cdef int key_cbc(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return (n == 16 or n == 24 or n == 32) and key_with(state, 3 + (n - 16) // 8, key, encrypt)


cdef int key_ctr(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return (n == 16 or n == 24 or n == 32) and key_with(state, 6 + (n - 16) // 8, key, encrypt)


cdef int key_gcm(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return (n == 16 or n == 24 or n == 32) and key_with(state, 9 + (n - 16) // 8, key, encrypt)


cdef int key_gmac(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    # GMAC is always computed forward and compared, so that nothing is "decrypted"
    return (n == 16 or n == 24 or n == 32) and key_with(state, 9 + (n - 16) // 8, key, 1)


cdef int key_chacha(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return n == 32 and key_with(state, 15, key, encrypt)


cdef bint ccm_rekey(ccm_state_t *state, uint32_t tag_len) noexcept nogil:
    state.tag_len = tag_len
    return (api.EVP_CIPHER_CTX_ctrl(state.ctx, EVP_CTRL_AEAD_SET_IVLEN, 11, NULL) == 1
            and api.EVP_CIPHER_CTX_ctrl(state.ctx, EVP_CTRL_AEAD_SET_TAG, <int> tag_len, NULL) == 1
            and api.EVP_CipherInit_ex(state.ctx, NULL, NULL, state.key, NULL, -1) == 1)


cdef int key_ccm(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    if (n != 16 and n != 24 and n != 32) or not key_with(state, 16 + (n - 16) // 8, NULL, encrypt):
        return 0
    memcpy((<ccm_state_t *> state).key, key, n)
    if ccm_rekey(<ccm_state_t *> state, 16):
        return 1
    cipher_free(state)
    api.ERR_clear_error()
    return 0


cdef void cipher_free(void *state) noexcept nogil:
    api.EVP_CIPHER_CTX_free((<state_t *> state).ctx)     # cleanses the key schedule
    (<state_t *> state).ctx = NULL


cdef void plain_crypt(void *unused, op_t **ops, int n) noexcept nogil:
    """CBC and CTR: the context knows the direction."""
    cdef int i, done
    cdef op_t *op
    cdef void *ctx
    for i in range(n):
        op = ops[i]
        ctx = (<state_t *> op.key).ctx
        op.good = api.EVP_CipherInit_ex(ctx, NULL, NULL, NULL, op.nonce, -1) == 1 and api.EVP_CipherUpdate(
            ctx, op.text, &done, op.text, <int> op.text_len) == 1 and <uint32_t> done == op.text_len
        if not op.good:
            api.ERR_clear_error()        # Python's own ssl may read the same queue


cdef void aead_seal(void *unused, op_t **ops, int n) noexcept nogil:
    """Also with a key for opening: the NIC takes decryption back where the ICV was wrong."""
    cdef int i, done
    cdef op_t *op
    cdef void *ctx
    cdef uint8_t scratch[16]
    for i in range(n):
        op = ops[i]
        ctx = (<state_t *> op.key).ctx
        op.good = (api.EVP_CipherInit_ex(ctx, NULL, NULL, NULL, op.nonce, 1) == 1
                   and (op.aad_len == 0 or api.EVP_CipherUpdate(ctx, NULL, &done, op.aad, <int> op.aad_len) == 1)
                   and (op.text_len == 0 or api.EVP_CipherUpdate(ctx, op.text, &done, op.text, <int> op.text_len) == 1)
                   and api.EVP_CipherFinal_ex(ctx, scratch, &done) == 1
                   and api.EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, <int> op.tag_len, op.tag) == 1)
        if not op.good:
            api.ERR_clear_error()


cdef void aead_open(void *unused, op_t **ops, int n) noexcept nogil:
    cdef int i, done
    cdef op_t *op
    cdef void *ctx
    cdef uint8_t scratch[16]
    for i in range(n):
        op = ops[i]
        ctx = (<state_t *> op.key).ctx
        op.good = (api.EVP_CipherInit_ex(ctx, NULL, NULL, NULL, op.nonce, 0) == 1
                   and api.EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, <int> op.tag_len, op.tag) == 1
                   and (op.aad_len == 0 or api.EVP_CipherUpdate(ctx, NULL, &done, op.aad, <int> op.aad_len) == 1)
                   and (op.text_len == 0 or api.EVP_CipherUpdate(ctx, op.text, &done, op.text, <int> op.text_len) == 1)
                   and api.EVP_CipherFinal_ex(ctx, scratch, &done) == 1)
        if not op.good:
            api.ERR_clear_error()


cdef bint ccm_start(op_t *op, uint8_t *tag) noexcept nogil:
    """Nonce, length, AAD, in EVP's order; `tag`: to be checked, NULL when sealing."""
    cdef ccm_state_t *state = <ccm_state_t *> op.key
    cdef int done
    return ((state.tag_len == op.tag_len or ccm_rekey(state, op.tag_len))
            and api.EVP_CipherInit_ex(state.ctx, NULL, NULL, NULL, op.nonce, -1) == 1
            and (tag == NULL
                 or api.EVP_CIPHER_CTX_ctrl(state.ctx, EVP_CTRL_AEAD_SET_TAG, <int> op.tag_len, tag) == 1)
            and api.EVP_CipherUpdate(state.ctx, NULL, &done, NULL, <int> op.text_len) == 1
            and (op.aad_len == 0
                 or api.EVP_CipherUpdate(state.ctx, NULL, &done, op.aad, <int> op.aad_len) == 1))


cdef void ccm_seal(void *unused, op_t **ops, int n) noexcept nogil:
    cdef int i, done
    cdef op_t *op
    cdef void *ctx
    for i in range(n):
        op = ops[i]
        ctx = (<ccm_state_t *> op.key).ctx
        op.good = (ccm_start(op, NULL)
                   and api.EVP_CipherUpdate(ctx, op.text, &done, op.text, <int> op.text_len) == 1
                   and api.EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, <int> op.tag_len, op.tag) == 1)
        if not op.good:
            api.ERR_clear_error()


cdef void ccm_open(void *unused, op_t **ops, int n) noexcept nogil:
    cdef int i, done
    cdef op_t *op
    for i in range(n):
        op = ops[i]
        op.good = ccm_start(op, op.tag) and api.EVP_CipherUpdate(       # which also checks the tag
            (<ccm_state_t *> op.key).ctx, op.text, &done, op.text, <int> op.text_len) == 1
        if not op.good:
            api.ERR_clear_error()


cdef bint gmac_tag(op_t *op, uint8_t *tag, int tag_len) noexcept nogil:
    cdef void *ctx = (<state_t *> op.key).ctx
    cdef int done
    cdef uint8_t scratch[16]
    return (api.EVP_CipherInit_ex(ctx, NULL, NULL, NULL, op.nonce, -1) == 1
            and (op.aad_len == 0 or api.EVP_CipherUpdate(ctx, NULL, &done, op.aad, <int> op.aad_len) == 1)
            and (op.text_len == 0 or api.EVP_CipherUpdate(ctx, NULL, &done, op.text, <int> op.text_len) == 1)
            and api.EVP_CipherFinal_ex(ctx, scratch, &done) == 1
            and api.EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, tag_len, tag) == 1)


cdef void gmac_seal(void *unused, op_t **ops, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        ops[i].good = gmac_tag(ops[i], ops[i].tag, <int> ops[i].tag_len)
        if not ops[i].good:
            api.ERR_clear_error()


cdef void gmac_open(void *unused, op_t **ops, int n) noexcept nogil:
    cdef int i
    cdef uint8_t tag[16]
    for i in range(n):
        ops[i].good = gmac_tag(ops[i], tag, 16) and bytes_equal(tag, ops[i].tag, ops[i].tag_len)


cdef int key_evp_mac(void *state, void *alg, const uint8_t *key, uint32_t n, const char *what,
                     char *name) noexcept nogil:
    """`what` ("digest" or "cipher") the MAC is made of, and its name."""
    cdef void *ctx = api.EVP_MAC_CTX_new(alg)
    cdef ossl_param_t params[2]
    cdef uint8_t none = 0
    if ctx == NULL:
        return 0
    memset(params, 0, sizeof(params))
    params[0].key = what
    params[0].data_type = OSSL_PARAM_UTF8_STRING
    params[0].data = name
    if api.EVP_MAC_init(ctx, key if n else &none, n, params) != 1:
        api.EVP_MAC_CTX_free(ctx)
        api.ERR_clear_error()
        return 0
    (<state_t *> state).ctx = ctx
    return 1


cdef int key_md5(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_evp_mac(state, hmac_alg, key, n, b"digest", b"MD5")


cdef int key_sha1(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_evp_mac(state, hmac_alg, key, n, b"digest", b"SHA1")


cdef int key_sha256(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_evp_mac(state, hmac_alg, key, n, b"digest", b"SHA256")


cdef int key_sha384(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_evp_mac(state, hmac_alg, key, n, b"digest", b"SHA384")


cdef int key_sha512(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_evp_mac(state, hmac_alg, key, n, b"digest", b"SHA512")


cdef int key_cmac(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return n == 16 and key_evp_mac(state, cmac_alg, key, n, b"cipher", b"AES-128-CBC")


cdef void mac_free(void *state) noexcept nogil:
    api.EVP_MAC_CTX_free((<state_t *> state).ctx)
    (<state_t *> state).ctx = NULL


cdef void mac_compute(void *unused, op_t **ops, int n) noexcept nogil:
    cdef int i
    cdef op_t *op
    cdef void *ctx
    cdef size_t done
    for i in range(n):
        op = ops[i]
        ctx = (<state_t *> op.key).ctx
        op.good = (api.EVP_MAC_init(ctx, NULL, 0, NULL) == 1
                   and api.EVP_MAC_update(ctx, op.text, op.text_len) == 1
                   and api.EVP_MAC_final(ctx, op.tag, &done, 64) == 1)
        if not op.good:
            api.ERR_clear_error()


cdef bint cbc_encrypt(void *ctx, const uint8_t *text, uint32_t n, uint8_t *last) noexcept nogil:
    """Encrypt whole blocks from where the chain stands; of the ciphertext only the last block is kept."""
    cdef uint8_t scratch[1024]
    cdef uint32_t size
    cdef int done
    while n:
        size = min(n, <uint32_t> sizeof(scratch))
        if api.EVP_CipherUpdate(ctx, scratch, &done, text, <int> size) != 1 or <uint32_t> done != size:
            return False
        text += size
        n -= size
        if not n:
            memcpy(last, scratch + size - 16, 16)
    return True


cdef bint cbc_start(void *ctx, const uint8_t *key) noexcept nogil:
    """Begin a chain with an IV of zero; `key`: a new one, or NULL."""
    cdef uint8_t zero[16]
    memset(zero, 0, 16)
    return api.EVP_CipherInit_ex(ctx, NULL, NULL, key, zero, -1) == 1


cdef bint xcbc_block(void *ctx, uint8_t value, uint8_t *out) noexcept nogil:
    """One block of equal bytes, encrypted."""
    cdef uint8_t block[16]
    memset(block, value, 16)
    return cbc_start(ctx, NULL) and cbc_encrypt(ctx, block, 16, out)


cdef int key_xcbc(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef xcbc_state_t *xcbc = <xcbc_state_t *> state
    cdef uint8_t k1[16]
    cdef bint done
    if n != 16 or not key_with(state, 3, key, 1):
        return 0
    done = (xcbc_block(xcbc.ctx, 1, k1) and xcbc_block(xcbc.ctx, 2, xcbc.whole)
            and xcbc_block(xcbc.ctx, 3, xcbc.padded) and cbc_start(xcbc.ctx, k1))
    wipe(k1, 16)
    if not done:
        cipher_free(state)
        api.ERR_clear_error()
    return done


cdef void xcbc_compute(void *unused, op_t **ops, int n) noexcept nogil:
    """RFC 3566 sec. 4: CBC over the message, its last block XORed with K2, or padded and XORed with K3."""
    cdef int i
    cdef uint32_t k, rest, front
    cdef uint8_t last[16]
    cdef const uint8_t *mask
    cdef xcbc_state_t *xcbc
    cdef op_t *op
    for i in range(n):
        op = ops[i]
        xcbc = <xcbc_state_t *> op.key
        front = (op.text_len - 1) & ~<uint32_t> 15 if op.text_len else 0
        rest = op.text_len - front
        memset(last, 0, 16)
        memcpy(last, op.text + front, rest)
        mask = xcbc.whole
        if rest < 16:
            last[rest] = 0x80
            mask = xcbc.padded
        for k in range(16):
            last[k] ^= mask[k]
        op.good = (cbc_start(xcbc.ctx, NULL) and cbc_encrypt(xcbc.ctx, op.text, front, op.tag)
                   and cbc_encrypt(xcbc.ctx, last, 16, op.tag))
        if not op.good:
            api.ERR_clear_error()


cdef int random(uint8_t *out, size_t n) noexcept nogil:
    return api.RAND_bytes(out, <int> n) == 1


def candidates():
    """Names to try, best first: the user's wish, what this Python itself has loaded, the system's."""
    wish = os.environ.get("IPSECFAST_LIBCRYPTO")
    if wish:
        return [wish]
    names = []
    try:
        __import__("_hashlib")       # brings Python's own libcrypto into the process
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.split(maxsplit=5).pop().strip()
                if os.path.basename(path).startswith("libcrypto") and path not in names:
                    names.append(path)
    except (ImportError, OSError):
        pass
    names += ["libcrypto.3.dylib"] if sys.platform == "darwin" else ["libcrypto.so.3", "libcrypto.so"]
    return names


SYMBOLS = (
    "OpenSSL_version_num", "OpenSSL_version", "EVP_CIPHER_fetch", "EVP_CIPHER_CTX_new", "EVP_CIPHER_CTX_free",
    "EVP_CIPHER_CTX_ctrl", "EVP_CIPHER_CTX_set_padding", "EVP_CipherInit_ex", "EVP_CipherUpdate", "EVP_CipherFinal_ex",
    "EVP_MAC_fetch", "EVP_MAC_CTX_new", "EVP_MAC_CTX_free", "EVP_MAC_init", "EVP_MAC_update", "EVP_MAC_final",
    "ERR_clear_error", "RAND_bytes",
)   # in the order of api_t


cdef object open_library():
    """Fill `api` from the first candidate that is OpenSSL 3.x; raises OSError with every reason."""
    cdef void *lib
    cdef void **slots = <void **> &api
    reasons = []
    assert sizeof(api_t) == len(SYMBOLS) * sizeof(void *)
    for name in candidates():
        lib = dlopen(os.fsencode(name), RTLD_NOW | RTLD_LOCAL)
        if lib == NULL:
            reasons.append(dlerror().decode(errors="replace"))
            continue
        missing = []
        for i, symbol in enumerate(SYMBOLS):
            slots[i] = dlsym(lib, symbol.encode())
            if slots[i] == NULL:
                missing.append(symbol)
        if missing:
            reasons.append(f"{name} is no OpenSSL 3: it lacks {missing[0]}")
        elif api.OpenSSL_version_num() < 0x30000000:
            reasons.append(f"{name} is older than OpenSSL 3.0")
        else:
            return name
    raise OSError("no usable libcrypto (OpenSSL 3.0 or newer): " + "; ".join(reasons))


cdef void put_cipher(int code, key_fn key_init, crypt_fn encrypt, crypt_fn decrypt, uint32_t size=sizeof(state_t)):
    if ciphers[code] != NULL:
        table.cipher[code] = cipher_t(size, key_init, cipher_free, encrypt, decrypt)


def load():
    """Open libcrypto and return its Provider; raises OSError saying why there is none."""
    cdef Provider provider = Provider.__new__(Provider)
    cdef const char *name
    cdef key_fn hmac_keys[6]
    cdef int code
    open_library()
    memset(&table, 0, sizeof(table))
    for code, text in NAMES.items():
        name = text
        ciphers[code] = api.EVP_CIPHER_fetch(NULL, name, NULL)
    put_cipher(1, key_des, plain_crypt, plain_crypt)
    put_cipher(2, key_3des, plain_crypt, plain_crypt)
    for code in range(3, 6):
        put_cipher(code, key_cbc, plain_crypt, plain_crypt)
    for code in range(6, 9):
        put_cipher(code, key_ctr, plain_crypt, plain_crypt)
    for code in range(9, 12):
        put_cipher(code, key_gcm, aead_seal, aead_open)
    for code in range(12, 15):
        put_cipher(code, key_gmac, gmac_seal, gmac_open)
    put_cipher(15, key_chacha, aead_seal, aead_open)
    for code in range(16, 19):
        put_cipher(code, key_ccm, ccm_seal, ccm_open, sizeof(ccm_state_t))
    global hmac_alg, cmac_alg
    hmac_alg = api.EVP_MAC_fetch(NULL, b"HMAC", NULL)
    cmac_alg = api.EVP_MAC_fetch(NULL, b"CMAC", NULL)
    hmac_keys = [NULL, key_md5, key_sha1, key_sha256, key_sha384, key_sha512]
    if hmac_alg != NULL:
        for code in range(1, 6):
            table.mac[code] = mac_t(sizeof(state_t), hmac_keys[code], mac_free, mac_compute)
    if ciphers[3] != NULL:
        table.mac[6] = mac_t(sizeof(xcbc_state_t), key_xcbc, cipher_free, xcbc_compute)
    if cmac_alg != NULL:
        table.mac[7] = mac_t(sizeof(state_t), key_cmac, mac_free, mac_compute)
    api.ERR_clear_error()
    table.ctx_new = ctx_new
    table.ctx_free = ctx_free
    table.random = random
    provider.attach(&table, "libcrypto", api.OpenSSL_version(0).decode(), "chosen by libcrypto")
    return provider
