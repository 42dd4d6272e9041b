# GCM and GMAC by direct calls, ChaCha20-Poly1305 and CCM by single jobs (CCM is keyed as CTR is).

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from ._bytes cimport bytes_equal
from ._imb cimport (
    IMB_AES128_GCM_PRE, IMB_AES192_GCM_PRE, IMB_AES256_GCM_PRE, IMB_AUTH_AES_CCM, IMB_AUTH_CHACHA20_POLY1305,
    IMB_CIPHER_CCM, IMB_CIPHER_CHACHA20_POLY1305, IMB_DIR_DECRYPT, IMB_DIR_ENCRYPT, IMB_GET_NEXT_JOB, IMB_JOB,
    IMB_MGR, IMB_ORDER_CIPHER_HASH, IMB_ORDER_HASH_CIPHER, aes_gcm_enc_dec_t, aes_gmac_finalize_t, aes_gmac_init_t,
    aes_gmac_update_t, ctx_t, gcm_context_data, gcm_key_data, job_flush, job_start, job_submit,
)
from ._types cimport CHUNK, op_t

cdef struct chacha_state_t:
    uint8_t key[32]


cdef inline int key_gcm(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef IMB_MGR *mgr = (<ctx_t *> ctx).mgr
    if n == 16:
        IMB_AES128_GCM_PRE(mgr, key, <gcm_key_data *> state)
    elif n == 24:
        IMB_AES192_GCM_PRE(mgr, key, <gcm_key_data *> state)
    elif n == 32:
        IMB_AES256_GCM_PRE(mgr, key, <gcm_key_data *> state)
    else:
        return 0
    return 1


cdef inline void gcm_seal(aes_gcm_enc_dec_t call, op_t **ops, int n) noexcept nogil:
    cdef gcm_context_data scratch
    cdef op_t *op
    cdef int i
    for i in range(n):
        op = ops[i]
        call(<gcm_key_data *> op.key, &scratch, op.text, op.text, op.text_len, op.nonce, op.aad, op.aad_len,
             op.tag, op.tag_len)
        op.good = 1


cdef inline void gcm_open(aes_gcm_enc_dec_t call, op_t **ops, int n) noexcept nogil:
    cdef gcm_context_data scratch
    cdef uint8_t tag[16]
    cdef op_t *op
    cdef int i
    for i in range(n):
        op = ops[i]
        call(<gcm_key_data *> op.key, &scratch, op.text, op.text, op.text_len, op.nonce, op.aad, op.aad_len, tag, 16)
        op.good = bytes_equal(tag, op.tag, op.tag_len)


cdef inline void gcm128_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_seal((<ctx_t *> ctx).mgr.gcm128_enc, ops, n)


cdef inline void gcm192_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_seal((<ctx_t *> ctx).mgr.gcm192_enc, ops, n)


cdef inline void gcm256_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_seal((<ctx_t *> ctx).mgr.gcm256_enc, ops, n)


cdef inline void gcm128_open(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_open((<ctx_t *> ctx).mgr.gcm128_dec, ops, n)


cdef inline void gcm192_open(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_open((<ctx_t *> ctx).mgr.gcm192_dec, ops, n)


cdef inline void gcm256_open(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_open((<ctx_t *> ctx).mgr.gcm256_dec, ops, n)


cdef inline void gmac_run(aes_gmac_init_t init, aes_gmac_update_t update, aes_gmac_finalize_t finalize,
                          op_t **ops, int n, bint seal) noexcept nogil:
    cdef gcm_context_data scratch
    cdef uint8_t tag[16]
    cdef op_t *op
    cdef int i
    for i in range(n):
        op = ops[i]
        init(<gcm_key_data *> op.key, &scratch, op.nonce, 12)
        if op.aad_len:
            update(<gcm_key_data *> op.key, &scratch, op.aad, op.aad_len)
        update(<gcm_key_data *> op.key, &scratch, op.text, op.text_len)
        if seal:
            finalize(<gcm_key_data *> op.key, &scratch, op.tag, op.tag_len)
            op.good = 1
        else:
            finalize(<gcm_key_data *> op.key, &scratch, tag, 16)
            op.good = bytes_equal(tag, op.tag, op.tag_len)


cdef inline void gmac128_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac128_init, m.gmac128_update, m.gmac128_finalize, ops, n, True)


cdef inline void gmac192_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac192_init, m.gmac192_update, m.gmac192_finalize, ops, n, True)


cdef inline void gmac256_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac256_init, m.gmac256_update, m.gmac256_finalize, ops, n, True)


cdef inline void gmac128_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac128_init, m.gmac128_update, m.gmac128_finalize, ops, n, False)


cdef inline void gmac192_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac192_init, m.gmac192_update, m.gmac192_finalize, ops, n, False)


cdef inline void gmac256_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac256_init, m.gmac256_update, m.gmac256_finalize, ops, n, False)


cdef inline int key_chacha(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    if n != 32:
        return 0
    memcpy(state, key, 32)
    return 1


cdef inline IMB_JOB *aead_job(ctx_t *ctx, op_t *op, bint encrypt) noexcept nogil:
    """A job with everything but its algorithm, its AAD and its tag."""
    cdef IMB_JOB *job = IMB_GET_NEXT_JOB(ctx.mgr)
    job_start(job, op)
    job.cipher_direction = IMB_DIR_ENCRYPT if encrypt else IMB_DIR_DECRYPT
    job.enc_keys = op.key
    job.dec_keys = op.key
    job.iv = op.nonce
    job.msg_len_to_cipher_in_bytes = op.text_len
    return job


cdef inline void chacha_job(ctx_t *ctx, op_t *op, uint8_t *tag, bint encrypt) noexcept nogil:
    cdef IMB_JOB *job = aead_job(ctx, op, encrypt)
    job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305
    job.hash_alg = IMB_AUTH_CHACHA20_POLY1305
    job.chain_order = IMB_ORDER_CIPHER_HASH if encrypt else IMB_ORDER_HASH_CIPHER
    job.key_len_in_bytes = 32
    job.iv_len_in_bytes = 12
    job.u.CHACHA20_POLY1305.aad = op.aad
    job.u.CHACHA20_POLY1305.aad_len_in_bytes = op.aad_len
    job.auth_tag_output = tag
    job.auth_tag_output_len_in_bytes = 16
    job_submit(ctx.mgr)


cdef inline void ccm_job(ctx_t *ctx, op_t *op, uint8_t *tag, int key_len, bint encrypt) noexcept nogil:
    cdef IMB_JOB *job = aead_job(ctx, op, encrypt)
    job.cipher_mode = IMB_CIPHER_CCM
    job.hash_alg = IMB_AUTH_AES_CCM
    job.chain_order = IMB_ORDER_HASH_CIPHER if encrypt else IMB_ORDER_CIPHER_HASH     # the tag is over the clear text
    job.key_len_in_bytes = key_len
    job.iv_len_in_bytes = 11
    job.u.CCM.aad = op.aad
    job.u.CCM.aad_len_in_bytes = op.aad_len
    job.auth_tag_output = tag
    job_submit(ctx.mgr)


cdef inline void check_tags(op_t **ops, uint8_t (*tags)[16], int n) noexcept nogil:
    cdef int i
    for i in range(n):
        ops[i].good = ops[i].good and bytes_equal(tags[i], ops[i].tag, ops[i].tag_len)


cdef inline void chacha_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        chacha_job(<ctx_t *> ctx, ops[i], ops[i].tag, True)
    job_flush((<ctx_t *> ctx).mgr)


cdef inline void chacha_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef uint8_t tags[CHUNK][16]
    cdef int i
    for i in range(n):
        chacha_job(<ctx_t *> ctx, ops[i], tags[i], False)
    job_flush((<ctx_t *> ctx).mgr)
    check_tags(ops, tags, n)


cdef inline void ccm_seal(ctx_t *ctx, op_t **ops, int n, int key_len) noexcept nogil:
    cdef int i
    for i in range(n):
        ccm_job(ctx, ops[i], ops[i].tag, key_len, True)
    job_flush(ctx.mgr)


cdef inline void ccm_open(ctx_t *ctx, op_t **ops, int n, int key_len) noexcept nogil:
    cdef uint8_t tags[CHUNK][16]
    cdef int i
    for i in range(n):
        ccm_job(ctx, ops[i], tags[i], key_len, False)
    job_flush(ctx.mgr)
    check_tags(ops, tags, n)


cdef inline void ccm128_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    ccm_seal(<ctx_t *> ctx, ops, n, 16)


cdef inline void ccm256_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    ccm_seal(<ctx_t *> ctx, ops, n, 32)


cdef inline void ccm128_open(void *ctx, op_t **ops, int n) noexcept nogil:
    ccm_open(<ctx_t *> ctx, ops, n, 16)


cdef inline void ccm256_open(void *ctx, op_t **ops, int n) noexcept nogil:
    ccm_open(<ctx_t *> ctx, ops, n, 32)
