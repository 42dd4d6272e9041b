"""intel-ipsec-mb (1.3 or newer) as a provider; compiled only where its headers are.

Which of its interfaces serves what was decided by measurement (docs/performance.md):
GCM and GMAC by direct calls, CBC and CTR by the synchronous cipher burst, HMAC by the synchronous hash
burst, all else by single jobs.  A second manager on the SHA-NI path serves calls with few packets, for
which the multi-buffer lanes would mostly be empty.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ._bytes cimport bytes_equal, wipe
from ._crypto cimport Provider
from ._types cimport CHUNK, cipher_t, mac_t, op_t, provider_t

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **p, size_t align, size_t n)

cdef extern from *:
    """
    #define NO_COMPAT_IMB_API_053
    #include <intel-ipsec-mb.h>
    #if IMB_VERSION_NUM >= IMB_VERSION(2, 0, 0)
    #define IMB_ARCH_AVX (-1)   /* gone in 2.0 */
    #endif
    """
    enum: IMB_VERSION_NUM
    enum: IMB_STATUS_COMPLETED
    enum: IMB_FEATURE_SHANI
    enum: IMB_FEATURE_AVX512_SKX
    enum: IMB_ARCH_SSE, IMB_ARCH_AVX, IMB_ARCH_AVX2, IMB_ARCH_AVX512
    ctypedef int IMB_CIPHER_MODE
    ctypedef int IMB_HASH_ALG
    ctypedef int IMB_CIPHER_DIRECTION
    ctypedef int IMB_KEY_SIZE_BYTES
    IMB_CIPHER_MODE IMB_CIPHER_CBC, IMB_CIPHER_CNTR, IMB_CIPHER_NULL, IMB_CIPHER_DES, IMB_CIPHER_DES3
    IMB_CIPHER_MODE IMB_CIPHER_CHACHA20_POLY1305
    IMB_HASH_ALG IMB_AUTH_HMAC_SHA_1, IMB_AUTH_HMAC_SHA_256, IMB_AUTH_HMAC_SHA_384, IMB_AUTH_HMAC_SHA_512
    IMB_HASH_ALG IMB_AUTH_MD5, IMB_AUTH_NULL, IMB_AUTH_CHACHA20_POLY1305
    IMB_CIPHER_DIRECTION IMB_DIR_ENCRYPT, IMB_DIR_DECRYPT
    ctypedef int IMB_CHAIN_ORDER
    IMB_CHAIN_ORDER IMB_ORDER_CIPHER_HASH, IMB_ORDER_HASH_CIPHER

    cdef struct gcm_key_data:
        pass
    cdef struct gcm_context_data:
        pass
    ctypedef void (*aes_gcm_enc_dec_t)(const gcm_key_data *, gcm_context_data *, uint8_t *, const uint8_t *, uint64_t,
                                       const uint8_t *, const uint8_t *, uint64_t, uint8_t *, uint64_t) noexcept nogil
    ctypedef void (*aes_gmac_init_t)(const gcm_key_data *, gcm_context_data *, const uint8_t *, uint64_t) noexcept nogil
    ctypedef void (*aes_gmac_update_t)(const gcm_key_data *, gcm_context_data *, const uint8_t *,
                                       uint64_t) noexcept nogil
    ctypedef void (*aes_gmac_finalize_t)(const gcm_key_data *, gcm_context_data *, uint8_t *, uint64_t) noexcept nogil

    cdef struct hmac_fields:
        const uint8_t *_hashed_auth_key_xor_ipad
        const uint8_t *_hashed_auth_key_xor_opad
    cdef struct chacha_fields:
        const void *aad
        uint64_t aad_len_in_bytes
    cdef union auth_fields:
        hmac_fields HMAC
        chacha_fields CHACHA20_POLY1305
    ctypedef struct IMB_JOB:
        const void *enc_keys
        const void *dec_keys
        uint64_t key_len_in_bytes
        const uint8_t *src
        uint8_t *dst
        uint64_t cipher_start_src_offset_in_bytes
        uint64_t msg_len_to_cipher_in_bytes
        uint64_t hash_start_src_offset_in_bytes
        uint64_t msg_len_to_hash_in_bytes
        const uint8_t *iv
        uint64_t iv_len_in_bytes
        uint8_t *auth_tag_output
        uint64_t auth_tag_output_len_in_bytes
        auth_fields u
        int status
        int cipher_mode
        int cipher_direction
        int hash_alg
        int chain_order
        void *user_data
    ctypedef struct IMB_MGR:
        uint64_t features
        uint32_t used_arch
        aes_gcm_enc_dec_t gcm128_enc, gcm192_enc, gcm256_enc, gcm128_dec, gcm192_dec, gcm256_dec
        aes_gmac_init_t gmac128_init, gmac192_init, gmac256_init
        aes_gmac_update_t gmac128_update, gmac192_update, gmac256_update
        aes_gmac_finalize_t gmac128_finalize, gmac192_finalize, gmac256_finalize

    unsigned imb_get_version() nogil
    const char *imb_get_version_str() nogil
    IMB_MGR *alloc_mb_mgr(uint64_t flags) nogil
    void free_mb_mgr(IMB_MGR *) nogil
    void init_mb_mgr_auto(IMB_MGR *, void *) nogil
    void init_mb_mgr_sse(IMB_MGR *) nogil
    int imb_get_errno(IMB_MGR *) nogil
    void IMB_AES128_GCM_PRE(IMB_MGR *, const uint8_t *, gcm_key_data *) nogil
    void IMB_AES192_GCM_PRE(IMB_MGR *, const uint8_t *, gcm_key_data *) nogil
    void IMB_AES256_GCM_PRE(IMB_MGR *, const uint8_t *, gcm_key_data *) nogil
    void IMB_AES_KEYEXP_128(IMB_MGR *, const uint8_t *, void *, void *) nogil
    void IMB_AES_KEYEXP_192(IMB_MGR *, const uint8_t *, void *, void *) nogil
    void IMB_AES_KEYEXP_256(IMB_MGR *, const uint8_t *, void *, void *) nogil
    void IMB_DES_KEYSCHED(IMB_MGR *, uint64_t *, const uint8_t *) nogil
    void IMB_SHA1_ONE_BLOCK(IMB_MGR *, const uint8_t *, uint8_t *) nogil
    void IMB_SHA256_ONE_BLOCK(IMB_MGR *, const uint8_t *, uint8_t *) nogil
    void IMB_SHA384_ONE_BLOCK(IMB_MGR *, const uint8_t *, uint8_t *) nogil
    void IMB_SHA512_ONE_BLOCK(IMB_MGR *, const uint8_t *, uint8_t *) nogil
    void IMB_MD5_ONE_BLOCK(IMB_MGR *, const uint8_t *, uint8_t *) nogil
    uint32_t IMB_SUBMIT_CIPHER_BURST_NOCHECK(IMB_MGR *, IMB_JOB *, uint32_t, IMB_CIPHER_MODE, IMB_CIPHER_DIRECTION,
                                             IMB_KEY_SIZE_BYTES) nogil
    uint32_t IMB_SUBMIT_HASH_BURST_NOCHECK(IMB_MGR *, IMB_JOB *, uint32_t, IMB_HASH_ALG) nogil
    IMB_JOB *IMB_GET_NEXT_JOB(IMB_MGR *) nogil
    IMB_JOB *IMB_SUBMIT_JOB(IMB_MGR *) nogil
    IMB_JOB *IMB_FLUSH_JOB(IMB_MGR *) nogil
    IMB_JOB *IMB_GET_COMPLETED_JOB(IMB_MGR *) nogil


# One thread's managers and job array
cdef struct ctx_t:
    IMB_MGR *mgr
    IMB_MGR *few            # == mgr where there is no SHA-NI
    IMB_JOB jobs[CHUNK]

cdef struct hmac_state_t:
    uint8_t ipad[64]
    uint8_t opad[64]

cdef struct aes_state_t:
    uint8_t round_keys[240]     # of the SA's own direction

cdef struct des_state_t:
    uint64_t schedule[3][16]
    const void *schedules[3]

cdef struct chacha_state_t:
    uint8_t key[32]

cdef provider_t table


cdef void *ctx_new() noexcept:
    cdef void *memory = NULL
    cdef ctx_t *ctx
    if posix_memalign(&memory, 64, sizeof(ctx_t)):
        return NULL
    memset(memory, 0, sizeof(ctx_t))
    ctx = <ctx_t *> memory
    ctx.mgr = alloc_mb_mgr(0)
    if ctx.mgr == NULL:
        free(memory)
        return NULL
    init_mb_mgr_auto(ctx.mgr, NULL)
    ctx.few = ctx.mgr
    if ctx.mgr.features & IMB_FEATURE_SHANI:
        ctx.few = alloc_mb_mgr(0)
        if ctx.few == NULL:
            free_mb_mgr(ctx.mgr)
            free(memory)
            return NULL
        init_mb_mgr_sse(ctx.few)
    return ctx


cdef void ctx_free(void *memory) noexcept:
    cdef ctx_t *ctx = <ctx_t *> memory
    if ctx.few != ctx.mgr:
        free_mb_mgr(ctx.few)
    free_mb_mgr(ctx.mgr)
    wipe(ctx, sizeof(ctx_t))
    free(ctx)


# --- keys -------------------------------------------------------------------------------------------------------------

cdef int key_gcm(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
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


cdef int expand(IMB_MGR *mgr, const uint8_t *key, uint32_t n, uint8_t *enc, uint8_t *dec) noexcept nogil:
    if n == 16:
        IMB_AES_KEYEXP_128(mgr, key, enc, dec)
    elif n == 24:
        IMB_AES_KEYEXP_192(mgr, key, enc, dec)
    elif n == 32:
        IMB_AES_KEYEXP_256(mgr, key, enc, dec)
    else:
        return 0
    return 1


cdef int key_cbc(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef uint8_t both[480 + 16]
    cdef uint8_t *enc = both + (-<size_t> both & 15)
    cdef int done = expand((<ctx_t *> ctx).mgr, key, n, enc, enc + 240)
    memcpy(state, enc if encrypt else enc + 240, 240)
    wipe(both, sizeof(both))
    return done


cdef int key_ctr(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_cbc(ctx, state, key, n, 1)


cdef int key_des(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef des_state_t *des = <des_state_t *> state
    cdef int i
    if n != 8 and n != 24:
        return 0
    for i in range(3):
        IMB_DES_KEYSCHED((<ctx_t *> ctx).mgr, des.schedule[i], key + (8 * i if n == 24 else 0))
        des.schedules[i] = des.schedule[i]
    return 1


cdef int key_chacha(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    if n != 32:
        return 0
    memcpy(state, key, 32)
    return 1


cdef int key_hmac(void *ctx, void *state, const uint8_t *key, uint32_t n, uint32_t block,
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


cdef void block_md5(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_MD5_ONE_BLOCK(mgr, data, out)


cdef void block_sha1(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA1_ONE_BLOCK(mgr, data, out)


cdef void block_sha256(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA256_ONE_BLOCK(mgr, data, out)


cdef void block_sha384(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA384_ONE_BLOCK(mgr, data, out)


cdef void block_sha512(IMB_MGR *mgr, const uint8_t *data, uint8_t *out) noexcept nogil:
    IMB_SHA512_ONE_BLOCK(mgr, data, out)


cdef int key_md5(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 64, block_md5)


cdef int key_sha1(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 64, block_sha1)


cdef int key_sha256(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 64, block_sha256)


cdef int key_sha384(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 128, block_sha384)


cdef int key_sha512(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_hmac(ctx, state, key, n, 128, block_sha512)


# --- GCM and GMAC: direct calls ---------------------------------------------------------------------------------------

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


cdef void gcm128_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_seal((<ctx_t *> ctx).mgr.gcm128_enc, ops, n)


cdef void gcm192_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_seal((<ctx_t *> ctx).mgr.gcm192_enc, ops, n)


cdef void gcm256_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_seal((<ctx_t *> ctx).mgr.gcm256_enc, ops, n)


cdef void gcm128_open(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_open((<ctx_t *> ctx).mgr.gcm128_dec, ops, n)


cdef void gcm192_open(void *ctx, op_t **ops, int n) noexcept nogil:
    gcm_open((<ctx_t *> ctx).mgr.gcm192_dec, ops, n)


cdef void gcm256_open(void *ctx, op_t **ops, int n) noexcept nogil:
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


cdef void gmac128_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac128_init, m.gmac128_update, m.gmac128_finalize, ops, n, True)


cdef void gmac192_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac192_init, m.gmac192_update, m.gmac192_finalize, ops, n, True)


cdef void gmac256_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac256_init, m.gmac256_update, m.gmac256_finalize, ops, n, True)


cdef void gmac128_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac128_init, m.gmac128_update, m.gmac128_finalize, ops, n, False)


cdef void gmac192_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac192_init, m.gmac192_update, m.gmac192_finalize, ops, n, False)


cdef void gmac256_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef IMB_MGR *m = (<ctx_t *> ctx).mgr
    gmac_run(m.gmac256_init, m.gmac256_update, m.gmac256_finalize, ops, n, False)


# --- CBC and CTR: synchronous cipher burst ----------------------------------------------------------------------------

cdef inline void cipher_burst(ctx_t *ctx, op_t **ops, int n, IMB_CIPHER_MODE mode, IMB_CIPHER_DIRECTION direction,
                              IMB_KEY_SIZE_BYTES key_len) noexcept nogil:
    cdef IMB_JOB *job
    cdef op_t *op
    cdef int i
    for i in range(n):
        op = ops[i]
        job = &ctx.jobs[i]
        job.enc_keys = op.key
        job.dec_keys = op.key
        job.key_len_in_bytes = key_len
        job.src = op.text
        job.dst = op.text
        job.cipher_start_src_offset_in_bytes = 0
        job.msg_len_to_cipher_in_bytes = op.text_len
        job.iv = op.nonce
        job.iv_len_in_bytes = 16
        job.cipher_mode = mode
        job.cipher_direction = direction
        job.hash_alg = IMB_AUTH_NULL
        job.status = 0
    IMB_SUBMIT_CIPHER_BURST_NOCHECK(ctx.mgr, ctx.jobs, n, mode, direction, key_len)
    for i in range(n):
        ops[i].good = ctx.jobs[i].status == IMB_STATUS_COMPLETED


cdef void cbc128_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 16)


cdef void cbc192_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 24)


cdef void cbc256_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 32)


cdef void cbc128_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_DECRYPT, 16)


cdef void cbc192_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_DECRYPT, 24)


cdef void cbc256_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_DECRYPT, 32)


cdef void ctr128_crypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, 16)


cdef void ctr192_crypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, 24)


cdef void ctr256_crypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, 32)


# --- all else: single jobs, in order ----------------------------------------------------------------------------------

cdef inline void job_done(IMB_JOB *job) noexcept nogil:
    (<op_t *> job.user_data).good = job.status == IMB_STATUS_COMPLETED


cdef inline void job_start(IMB_JOB *job, op_t *op) noexcept nogil:
    """What every job has: the whole of text, in place, and no second algorithm."""
    job.user_data = op
    job.src = op.text
    job.dst = op.text
    job.cipher_start_src_offset_in_bytes = 0
    job.msg_len_to_cipher_in_bytes = 0
    job.hash_start_src_offset_in_bytes = 0
    job.msg_len_to_hash_in_bytes = op.text_len
    job.auth_tag_output = op.tag
    job.auth_tag_output_len_in_bytes = op.tag_len
    job.cipher_mode = IMB_CIPHER_NULL
    job.cipher_direction = IMB_DIR_ENCRYPT
    job.chain_order = IMB_ORDER_HASH_CIPHER
    job.hash_alg = IMB_AUTH_NULL
    op.good = 0


cdef inline void job_submit(IMB_MGR *mgr) noexcept nogil:
    cdef IMB_JOB *job = IMB_SUBMIT_JOB(mgr)
    while job != NULL:
        job_done(job)
        job = IMB_GET_COMPLETED_JOB(mgr)


cdef inline void job_flush(IMB_MGR *mgr) noexcept nogil:
    cdef IMB_JOB *job = IMB_FLUSH_JOB(mgr)
    while job != NULL:
        job_done(job)
        job = IMB_FLUSH_JOB(mgr)


cdef inline void des_jobs(ctx_t *ctx, op_t **ops, int n, bint triple, bint encrypt) noexcept nogil:
    cdef IMB_JOB *job
    cdef des_state_t *des
    cdef int i
    for i in range(n):
        job = IMB_GET_NEXT_JOB(ctx.mgr)
        job_start(job, ops[i])
        des = <des_state_t *> ops[i].key
        job.cipher_mode = IMB_CIPHER_DES3 if triple else IMB_CIPHER_DES
        job.cipher_direction = IMB_DIR_ENCRYPT if encrypt else IMB_DIR_DECRYPT
        job.chain_order = IMB_ORDER_CIPHER_HASH if encrypt else IMB_ORDER_HASH_CIPHER
        job.enc_keys = <void *> des.schedules if triple else <void *> des.schedule[0]
        job.dec_keys = job.enc_keys
        job.key_len_in_bytes = 24 if triple else 8
        job.iv = ops[i].nonce
        job.iv_len_in_bytes = 8
        job.msg_len_to_cipher_in_bytes = ops[i].text_len
        job.msg_len_to_hash_in_bytes = 0
        job_submit(ctx.mgr)
    job_flush(ctx.mgr)


cdef void des_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, False, True)


cdef void des_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, False, False)


cdef void des3_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, True, True)


cdef void des3_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, True, False)


cdef inline void chacha_job(ctx_t *ctx, op_t *op, uint8_t *tag, bint encrypt) noexcept nogil:
    cdef IMB_JOB *job = IMB_GET_NEXT_JOB(ctx.mgr)
    job_start(job, op)
    job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305
    job.hash_alg = IMB_AUTH_CHACHA20_POLY1305
    job.cipher_direction = IMB_DIR_ENCRYPT if encrypt else IMB_DIR_DECRYPT
    job.chain_order = IMB_ORDER_CIPHER_HASH if encrypt else IMB_ORDER_HASH_CIPHER
    job.enc_keys = op.key
    job.dec_keys = op.key
    job.key_len_in_bytes = 32
    job.iv = op.nonce
    job.iv_len_in_bytes = 12
    job.msg_len_to_cipher_in_bytes = op.text_len
    job.u.CHACHA20_POLY1305.aad = op.aad
    job.u.CHACHA20_POLY1305.aad_len_in_bytes = op.aad_len
    job.auth_tag_output = tag
    job.auth_tag_output_len_in_bytes = 16
    job_submit(ctx.mgr)


cdef void chacha_seal(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        chacha_job(<ctx_t *> ctx, ops[i], ops[i].tag, True)
    job_flush((<ctx_t *> ctx).mgr)


cdef void chacha_open(void *ctx, op_t **ops, int n) noexcept nogil:
    cdef uint8_t tags[CHUNK][16]
    cdef int i
    for i in range(n):
        chacha_job(<ctx_t *> ctx, ops[i], tags[i], False)
    job_flush((<ctx_t *> ctx).mgr)
    for i in range(n):
        ops[i].good = ops[i].good and bytes_equal(tags[i], ops[i].tag, ops[i].tag_len)


# --- HMAC -------------------------------------------------------------------------------------------------------------

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


cdef void hmac_sha1(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_1, 5)


cdef void hmac_sha256(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_256, 10)


cdef void hmac_sha384(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_384, 0)


cdef void hmac_sha512(void *ctx, op_t **ops, int n) noexcept nogil:
    hmac_burst(<ctx_t *> ctx, ops, n, IMB_AUTH_HMAC_SHA_512, 0)


cdef void hmac_md5(void *ctx, op_t **ops, int n) noexcept nogil:
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


# --- the table --------------------------------------------------------------------------------------------------------

def compiled_version():
    """(major, minor) of the headers this module was compiled with."""
    return IMB_VERSION_NUM >> 16, (IMB_VERSION_NUM >> 8) & 0xFF


def load():
    """Return the Provider; raises OSError if the library does not fit what was compiled."""
    cdef Provider provider = Provider.__new__(Provider)
    cdef unsigned version = imb_get_version()
    cdef ctx_t *ctx
    if version >> 8 != IMB_VERSION_NUM >> 8:
        major, minor = compiled_version()
        raise OSError(
            f"compiled with ipsec-mb {major}.{minor}, but the library is {imb_get_version_str().decode()}: "
            "structures differ between minor versions; reinstall ipsecfast to rebuild it")
    ctx = <ctx_t *> ctx_new()
    if ctx == NULL:
        raise MemoryError()
    path = {IMB_ARCH_SSE: "SSE", IMB_ARCH_AVX: "AVX", IMB_ARCH_AVX2: "AVX2", IMB_ARCH_AVX512: "AVX512"}.get(
        ctx.mgr.used_arch, "none")
    if ctx.few != ctx.mgr:
        path += ", few packets: SSE with SHA-NI"
    failed = imb_get_errno(ctx.mgr) != 0 or path == "none"
    ctx_free(ctx)
    if failed:
        raise OSError("ipsec-mb does not support this CPU")

    memset(&table, 0, sizeof(table))
    if version >> 16 < 2:
        # 2.0.2 gives wrong answers for several DES jobs at once on its AVX-512 path; libcrypto serves there
        table.cipher[1] = cipher_t(sizeof(des_state_t), key_des, NULL, des_encrypt, des_decrypt)
        table.cipher[2] = cipher_t(sizeof(des_state_t), key_des, NULL, des3_encrypt, des3_decrypt)
    table.cipher[3] = cipher_t(sizeof(aes_state_t), key_cbc, NULL, cbc128_encrypt, cbc128_decrypt)
    table.cipher[4] = cipher_t(sizeof(aes_state_t), key_cbc, NULL, cbc192_encrypt, cbc192_decrypt)
    table.cipher[5] = cipher_t(sizeof(aes_state_t), key_cbc, NULL, cbc256_encrypt, cbc256_decrypt)
    table.cipher[6] = cipher_t(sizeof(aes_state_t), key_ctr, NULL, ctr128_crypt, ctr128_crypt)
    table.cipher[7] = cipher_t(sizeof(aes_state_t), key_ctr, NULL, ctr192_crypt, ctr192_crypt)
    table.cipher[8] = cipher_t(sizeof(aes_state_t), key_ctr, NULL, ctr256_crypt, ctr256_crypt)
    table.cipher[9] = cipher_t(sizeof(gcm_key_data), key_gcm, NULL, gcm128_seal, gcm128_open)
    table.cipher[10] = cipher_t(sizeof(gcm_key_data), key_gcm, NULL, gcm192_seal, gcm192_open)
    table.cipher[11] = cipher_t(sizeof(gcm_key_data), key_gcm, NULL, gcm256_seal, gcm256_open)
    table.cipher[12] = cipher_t(sizeof(gcm_key_data), key_gcm, NULL, gmac128_seal, gmac128_open)
    table.cipher[13] = cipher_t(sizeof(gcm_key_data), key_gcm, NULL, gmac192_seal, gmac192_open)
    table.cipher[14] = cipher_t(sizeof(gcm_key_data), key_gcm, NULL, gmac256_seal, gmac256_open)
    table.cipher[15] = cipher_t(sizeof(chacha_state_t), key_chacha, NULL, chacha_seal, chacha_open)
    table.mac[1] = mac_t(sizeof(hmac_state_t), key_md5, NULL, hmac_md5)
    table.mac[2] = mac_t(sizeof(hmac_state_t), key_sha1, NULL, hmac_sha1)
    table.mac[3] = mac_t(sizeof(hmac_state_t), key_sha256, NULL, hmac_sha256)
    table.mac[4] = mac_t(sizeof(hmac_state_t), key_sha384, NULL, hmac_sha384)
    table.mac[5] = mac_t(sizeof(hmac_state_t), key_sha512, NULL, hmac_sha512)
    table.ctx_new = ctx_new
    table.ctx_free = ctx_free
    provider.attach(&table, "ipsec-mb", imb_get_version_str().decode(), path)
    return provider
