"""intel-ipsec-mb (1.3 or newer) as a provider; compiled only where its headers are.

The algorithms are in `_imb_aead`, `_imb_cipher` and `_imb_mac`; here are the managers and the table.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from ._bytes cimport wipe
from ._crypto cimport Provider
from ._imb cimport (
    IMB_ARCH_AVX, IMB_ARCH_AVX2, IMB_ARCH_AVX512, IMB_ARCH_SSE, IMB_FEATURE_SHANI, IMB_VERSION_NUM, LONGEST,
    alloc_mb_mgr, ctx_t, free_mb_mgr, gcm_key_data, imb_get_errno, imb_get_version, imb_get_version_str,
    init_mb_mgr_auto, init_mb_mgr_sse,
)
from ._imb_aead cimport (
    ccm128_open, ccm128_seal, ccm256_open, ccm256_seal, chacha_open, chacha_seal, chacha_state_t, gcm128_open,
    gcm128_seal, gcm192_open, gcm192_seal, gcm256_open, gcm256_seal, gmac128_open, gmac128_seal, gmac192_open,
    gmac192_seal, gmac256_open, gmac256_seal, key_chacha, key_gcm,
)
from ._imb_cipher cimport (
    aes_state_t, cbc128_decrypt, cbc128_encrypt, cbc192_decrypt, cbc192_encrypt, cbc256_decrypt, cbc256_encrypt,
    ctr128_crypt, ctr192_crypt, ctr256_crypt, des3_decrypt, des3_encrypt, des_decrypt, des_encrypt, des_state_t,
    key_cbc, key_ctr, key_des,
)
from ._imb_mac cimport (
    cbcmac_state_t, hmac_md5, hmac_sha1, hmac_sha256, hmac_sha384, hmac_sha512, hmac_state_t, key_cmac, key_md5,
    key_sha1, key_sha256, key_sha384, key_sha512, key_xcbc, mac_cbcmac,
)
from ._types cimport cipher_t, mac_t, provider_t

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **p, size_t align, size_t n)

cdef provider_t table


cdef void *ctx_new() noexcept:
    cdef void *memory = NULL
    cdef ctx_t *ctx
    if posix_memalign(&memory, 64, sizeof(ctx_t)):
        return NULL
    memset(memory, 0, sizeof(ctx_t))
    ctx = <ctx_t *> memory
    ctx.copy = <uint8_t *> malloc(LONGEST + 16)
    ctx.mgr = alloc_mb_mgr(0)
    if ctx.copy == NULL or ctx.mgr == NULL:
        ctx_free(ctx)
        return NULL
    init_mb_mgr_auto(ctx.mgr, NULL)
    ctx.few = ctx.mgr
    if ctx.mgr.features & IMB_FEATURE_SHANI:
        ctx.few = alloc_mb_mgr(0)
        if ctx.few == NULL:
            ctx_free(ctx)
            return NULL
        init_mb_mgr_sse(ctx.few)
    return ctx


cdef void ctx_free(void *memory) noexcept:
    cdef ctx_t *ctx = <ctx_t *> memory
    if ctx.few != NULL and ctx.few != ctx.mgr:
        free_mb_mgr(ctx.few)
    if ctx.mgr != NULL:
        free_mb_mgr(ctx.mgr)
    free(ctx.copy)
    wipe(ctx, sizeof(ctx_t))
    free(ctx)


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
    # no key of 192 bits in its CCM
    table.cipher[16] = cipher_t(sizeof(aes_state_t), key_ctr, NULL, ccm128_seal, ccm128_open)
    table.cipher[18] = cipher_t(sizeof(aes_state_t), key_ctr, NULL, ccm256_seal, ccm256_open)
    table.mac[1] = mac_t(sizeof(hmac_state_t), key_md5, NULL, hmac_md5)
    table.mac[2] = mac_t(sizeof(hmac_state_t), key_sha1, NULL, hmac_sha1)
    table.mac[3] = mac_t(sizeof(hmac_state_t), key_sha256, NULL, hmac_sha256)
    table.mac[4] = mac_t(sizeof(hmac_state_t), key_sha384, NULL, hmac_sha384)
    table.mac[5] = mac_t(sizeof(hmac_state_t), key_sha512, NULL, hmac_sha512)
    table.mac[6] = mac_t(sizeof(cbcmac_state_t), key_xcbc, NULL, mac_cbcmac)
    table.mac[7] = mac_t(sizeof(cbcmac_state_t), key_cmac, NULL, mac_cbcmac)
    table.ctx_new = ctx_new
    table.ctx_free = ctx_free
    provider.attach(&table, "ipsec-mb", imb_get_version_str().decode(), path)
    return provider
