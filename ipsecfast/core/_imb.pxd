# intel-ipsec-mb's own declarations, and what all of the ipsec-mb provider's parts share.
#
# Which of the library's interfaces serves what was decided by measurement (docs/performance.md): GCM and GMAC by
# direct calls, CBC and CTR by the synchronous cipher burst, HMAC by the synchronous hash burst, all else by single
# jobs.  A second manager on the SHA-NI path serves calls with few packets, for which the multi-buffer lanes would
# mostly be empty.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ._types cimport CHUNK, op_t

cdef extern from *:
    """
    #define NO_COMPAT_IMB_API_053
    #include <intel-ipsec-mb.h>
    #if IMB_VERSION_NUM >= IMB_VERSION(2, 0, 0)
    #define IMB_ARCH_AVX (-1)   /* gone in 2.0 */
    #endif
    #if defined(IMB_MAX_BURST_SIZE) && IMB_MAX_BURST_SIZE < 128
    #error "a chunk (CHUNK in _types.pxd) does not fit a burst of this ipsec-mb"
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
    IMB_CIPHER_MODE IMB_CIPHER_CHACHA20_POLY1305, IMB_CIPHER_CCM
    IMB_HASH_ALG IMB_AUTH_HMAC_SHA_1, IMB_AUTH_HMAC_SHA_256, IMB_AUTH_HMAC_SHA_384, IMB_AUTH_HMAC_SHA_512
    IMB_HASH_ALG IMB_AUTH_MD5, IMB_AUTH_NULL, IMB_AUTH_CHACHA20_POLY1305, IMB_AUTH_AES_CCM
    IMB_HASH_ALG IMB_AUTH_AES_CMAC
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
    cdef struct aad_fields:
        const void *aad
        uint64_t aad_len_in_bytes
    cdef struct cmac_fields:
        const void *_key_expanded
        const void *_skey1
        const void *_skey2
    cdef union auth_fields:
        hmac_fields HMAC
        aad_fields CHACHA20_POLY1305
        aad_fields CCM
        cmac_fields CMAC
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
    void IMB_AES_XCBC_KEYEXP(IMB_MGR *, const uint8_t *, void *, void *, void *) nogil
    void IMB_AES_CMAC_SUBKEY_GEN_128(IMB_MGR *, const void *, void *, void *) nogil
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


cdef enum:
    LONGEST = 65534         # bytes of a message that its job interface takes

# One thread's managers, job array, and room for one packet
cdef struct ctx_t:
    IMB_MGR *mgr
    IMB_MGR *few            # == mgr where there is no SHA-NI
    IMB_JOB jobs[CHUNK]
    uint8_t *copy           # LONGEST + 16 bytes


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
