# CBC and CTR by the synchronous cipher burst, DES by single jobs.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ._bytes cimport wipe
from ._imb cimport (
    IMB_AES_KEYEXP_128, IMB_AES_KEYEXP_192, IMB_AES_KEYEXP_256, IMB_AUTH_NULL, IMB_CIPHER_CBC, IMB_CIPHER_CNTR,
    IMB_CIPHER_DES, IMB_CIPHER_DES3, IMB_CIPHER_DIRECTION, IMB_CIPHER_MODE, IMB_DES_KEYSCHED, IMB_DIR_DECRYPT,
    IMB_DIR_ENCRYPT, IMB_GET_NEXT_JOB, IMB_JOB, IMB_KEY_SIZE_BYTES, IMB_MGR, IMB_ORDER_CIPHER_HASH,
    IMB_ORDER_HASH_CIPHER, IMB_STATUS_COMPLETED, IMB_SUBMIT_CIPHER_BURST_NOCHECK, ctx_t, job_flush, job_start,
    job_submit,
)
from ._types cimport op_t

cdef struct aes_state_t:
    uint8_t round_keys[240]     # of the SA's own direction

cdef struct des_state_t:
    uint64_t schedule[3][16]
    const void *schedules[3]


cdef inline int expand(IMB_MGR *mgr, const uint8_t *key, uint32_t n, uint8_t *enc, uint8_t *dec) noexcept nogil:
    if n == 16:
        IMB_AES_KEYEXP_128(mgr, key, enc, dec)
    elif n == 24:
        IMB_AES_KEYEXP_192(mgr, key, enc, dec)
    elif n == 32:
        IMB_AES_KEYEXP_256(mgr, key, enc, dec)
    else:
        return 0
    return 1


cdef inline int key_cbc(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef uint8_t both[480 + 16]
    cdef uint8_t *enc = both + (-<size_t> both & 15)
    cdef int done = expand((<ctx_t *> ctx).mgr, key, n, enc, enc + 240)
    memcpy(state, enc if encrypt else enc + 240, 240)
    wipe(both, sizeof(both))
    return done


cdef inline int key_ctr(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    return key_cbc(ctx, state, key, n, 1)


cdef inline int key_des(void *ctx, void *state, const uint8_t *key, uint32_t n, int encrypt) noexcept nogil:
    cdef des_state_t *des = <des_state_t *> state
    cdef int i
    if n != 8 and n != 24:
        return 0
    for i in range(3):
        IMB_DES_KEYSCHED((<ctx_t *> ctx).mgr, des.schedule[i], key + (8 * i if n == 24 else 0))
        des.schedules[i] = des.schedule[i]
    return 1


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


cdef inline void cbc128_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 16)


cdef inline void cbc192_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 24)


cdef inline void cbc256_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_ENCRYPT, 32)


cdef inline void cbc128_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_DECRYPT, 16)


cdef inline void cbc192_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_DECRYPT, 24)


cdef inline void cbc256_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CBC, IMB_DIR_DECRYPT, 32)


cdef inline void ctr128_crypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, 16)


cdef inline void ctr192_crypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, 24)


cdef inline void ctr256_crypt(void *ctx, op_t **ops, int n) noexcept nogil:
    cipher_burst(<ctx_t *> ctx, ops, n, IMB_CIPHER_CNTR, IMB_DIR_ENCRYPT, 32)


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


cdef inline void des_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, False, True)


cdef inline void des_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, False, False)


cdef inline void des3_encrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, True, True)


cdef inline void des3_decrypt(void *ctx, op_t **ops, int n) noexcept nogil:
    des_jobs(<ctx_t *> ctx, ops, n, True, False)
