# HMAC by the synchronous hash burst (MD5 by single jobs), AES-XCBC and AES-CMAC by single jobs.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from ._bytes cimport wipe
from ._imb cimport (
    IMB_AES_CMAC_SUBKEY_GEN_128, IMB_AES_KEYEXP_128, IMB_AES_XCBC_KEYEXP, IMB_AUTH_AES_CMAC, IMB_AUTH_HMAC_SHA_1,
    IMB_AUTH_HMAC_SHA_256, IMB_AUTH_HMAC_SHA_384, IMB_AUTH_HMAC_SHA_512, IMB_AUTH_MD5,
    IMB_CIPHER_NULL, IMB_GET_NEXT_JOB, IMB_HASH_ALG, IMB_JOB, IMB_MD5_ONE_BLOCK, IMB_MGR, IMB_SHA1_ONE_BLOCK,
    IMB_SHA256_ONE_BLOCK, IMB_SHA384_ONE_BLOCK, IMB_SHA512_ONE_BLOCK, IMB_STATUS_COMPLETED,
    IMB_SUBMIT_HASH_BURST_NOCHECK, LONGEST, ctx_t, job_flush, job_start, job_submit,
)
from ._types cimport op_t

cdef struct hmac_state_t:
    uint8_t ipad[64]
    uint8_t opad[64]

# XCBC: the expanded K1, then K2 and K3 (RFC 3566 sec. 4); CMAC: the expanded key, then its two subkeys (RFC 4493)
cdef struct cbcmac_state_t:
    uint8_t round_keys[176]
    uint8_t whole[16]       # XORed into a last block that is whole ...
    uint8_t padded[16]      # ... and into one that is not


cdef inline int key_hmac(void *ctx, void *state, const uint8_t *key, uint32_t n, uint32_t block,
                         void (*one_block)(IMB_MGR *, const uint8_t *, uint8_t *) noexcept nogil) noexcept nogil:
    """RFC 2104's two key blocks, each taken through the library's compression function once."""
    cdef hmac_state_t *hmac = <hmac_state_t *> state
    cdef uint8_t inner[128]
    cdef uint8_t outer[128]
    cdef uint32_t i
    if n > block:
        return 0        # IPsec's keys are never longer; hashing them down is another provider's work
    memset(inner, 0x36, 128)
    memset(outer, 0x5C, 128)
    for i in range(n):
        inner[i] ^= key[i]
        outer[i] ^= key[i]
    one_block((<ctx_t *> ctx).mgr, inner, hmac.ipad)
    one_block((<ctx_t *> ctx).mgr, outer, hmac.opad)
    wipe(inner, 128)
    wipe(outer, 128)
    return 1


cdef inline void block_md5(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_MD5_ONE_BLOCK(mgr, data, out)


cdef inline void block_sha1(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA1_ONE_BLOCK(mgr, data, out)


cdef inline void block_sha256(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA256_ONE_BLOCK(mgr, data, out)


cdef inline void block_sha384(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA384_ONE_BLOCK(mgr, data, out)


cdef inline void block_sha512(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA512_ONE_BLOCK(mgr, data, out)


cdef inline int key_md5(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 64, block_md5)


cdef inline int key_sha1(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 64, block_sha1)


cdef inline int key_sha256(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 64, block_sha256)


cdef inline int key_sha384(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 128, block_sha384)


cdef inline int key_sha512(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 128, block_sha512)


cdef inline void hmac_burst(ctx_t *ctx, op_t **ops, int n, IMB_HASH_ALG alg, int few) noexcept nogil:
    """`few`: below so many packets the lanes are better left alone."""
    cdef IMB_JOB *job
    cdef op_t *op
    cdef int i
    for i in range(n):
        op = ops[i]
        job = &ctx.jobs[i]
        job.src = op.text
        job.hash_start_src_offset_in_bytes = 0
        job.msg_len_to_hash_in_bytes = op.text_len
        job.auth_tag_output = op.tag
        job.auth_tag_output_len_in_bytes = op.tag_len
        job.hash_alg = alg
        job.cipher_mode = IMB_CIPHER_NULL
        job.u.HMAC._hashed_auth_key_xor_ipad = (<hmac_state_t *> op.key).ipad
        job.u.HMAC._hashed_auth_key_xor_opad = (<hmac_state_t *> op.key).opad
        job.status = 0
    IMB_SUBMIT_HASH_BURST_NOCHECK(ctx.few if n < few else ctx.mgr, ctx.jobs, n, alg)
    for i in range(n):
        ops[i].good = ctx.jobs[i].status == IMB_STATUS_COMPLETED


cdef inline void hmac_sha1(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_1, 5)


cdef inline void hmac_sha256(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_256, 10)


cdef inline void hmac_sha384(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_384, 0)


cdef inline void hmac_sha512(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_512, 0)


cdef inline void hmac_md5(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *mgr = (<ctx_t *> ctx).mgr
    cdef IMB_JOB *job
    cdef int i
    for i in range(n):
        job = IMB_GET_NEXT_JOB(mgr)
        job_start(job, ops[i])
        job.hash_alg = IMB_AUTH_MD5
        job.u.HMAC._hashed_auth_key_xor_ipad = (<hmac_state_t *> ops[i].key).ipad
        job.u.HMAC._hashed_auth_key_xor_opad = (<hmac_state_t *> ops[i].key).opad
        job_submit(mgr)
    job_flush(mgr)


cdef inline int key_xcbc(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef cbcmac_state_t *mac = <cbcmac_state_t *> state
    if n != 16:
        return 0
    IMB_AES_XCBC_KEYEXP((<ctx_t *> ctx).mgr, key, mac.round_keys, mac.whole, mac.padded)
    return 1


cdef inline int key_cmac(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef IMB_MGR *mgr = (<ctx_t *> ctx).mgr
    cdef cbcmac_state_t *mac = <cbcmac_state_t *> state
    cdef uint8_t unused[240 + 16]      # decryption's round keys
    if n != 16:
        return 0
    IMB_AES_KEYEXP_128(mgr, key, mac.round_keys, unused + (-<size_t> unused & 15))
    wipe(unused, sizeof(unused))
    IMB_AES_CMAC_SUBKEY_GEN_128(mgr, mac.round_keys, mac.whole, mac.padded)
    return 1


cdef inline bint overread(const op_t *op) noexcept nogil:
    """Would 16 bytes from where the last block starts touch a page that the message does not?"""
    cdef size_t end = <size_t> op.text + op.text_len
    return op.text_len & 15 != 0 and ((end - 1) ^ (end - (op.text_len & 15) + 15)) >> 12 != 0


cdef inline void mac_cbcmac(void *ctx, op_t **ops, int n) noexcept nogil:
    """Both by the library's CMAC, which is XCBC but for where the keys come from; its XCBC stops at 12 bytes.

    Before 2.0.2 it may load 16 bytes of a last block that is shorter; messages that end so near the end of a page
    are copied.
    """
    cdef uint8_t *copy = (<ctx_t *> ctx).copy
    cdef IMB_MGR *mgr = (<ctx_t *> ctx).mgr
    cdef IMB_JOB *job
    cdef cbcmac_state_t *mac
    cdef bint copied = False, copies
    cdef int i
    for i in range(n):
        ops[i].good = 0
        if ops[i].text_len > LONGEST:
            continue
        copies = overread(ops[i])
        if copies and copied:
            job_flush(mgr)           # the one before is then done with the copy
        job = IMB_GET_NEXT_JOB(mgr)
        job_start(job, ops[i])
        if copies:
            memcpy(copy, ops[i].text, ops[i].text_len)
            job.src = copy
            copied = True
        mac = <cbcmac_state_t *> ops[i].key
        job.hash_alg = IMB_AUTH_AES_CMAC
        job.u.CMAC._key_expanded = mac.round_keys
        job.u.CMAC._skey1 = mac.whole
        job.u.CMAC._skey2 = mac.padded
        job_submit(mgr)
    job_flush(mgr)
