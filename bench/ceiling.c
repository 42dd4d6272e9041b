/*
 * The ceilings that ipsecfast is held against, called through ctypes so that they run in its process:
 *
 *   crypto   bare calls of a library on the bytes that ESP or AH would give it, everything prepared beforehand;
 *            ipsec-mb (with HAVE_IPSEC_MB) by the interface that is fastest for each algorithm, libcrypto's EVP
 *   loop     a minimal ESP over ipsec-mb: transport mode, IPv4 without options, no ESN, one algorithm, no statuses
 *            and no statistics; per chunk first all headers, then all ciphers, then all that follows
 *
 * What it leaves out is not to be copied: it is a yardstick.  Calls return ns, or -1 if anything went wrong.
 * Not thread safe.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef HAVE_IPSEC_MB
#define NO_COMPAT_IMB_API_053
#include <intel-ipsec-mb.h>
#endif

enum { GCM128, GCM256, GMAC128, CBC128_SHA1, CBC256_SHA256, CHACHA, SHA1_ONLY, SHA256_ONLY };
enum { CHUNK = 32, CHUNK_LANES = 128, WINDOW = 64 };

/* What Python gives for each SA; keys are padded with zeros */
typedef struct { uint32_t spi, salt; uint8_t dst[4], enc_key[32], auth_key[64]; } given_t;

/* One packet's crypto: `esp` is the first authenticated byte, the cipher's text begins `head` bytes behind it */
typedef struct { uint8_t *esp, *text, *tag; uint32_t len, sa; uint8_t nonce[16], made[32]; } op_t;

/* What every packet of an SA touches; one cache line */
typedef struct {
    uint32_t spi_be, dst, salt, unused;
    uint64_t sent, seq, seen, iv;      /* the last number sent; the highest received and the window below it */
    uint8_t spare[16];
} __attribute__((aligned(64))) sa_t;

#ifdef HAVE_IPSEC_MB
typedef struct {
    union { struct gcm_key_data gcm; struct { uint8_t enc[240], dec[240]; } aes; uint8_t chacha[32]; } u;
    uint8_t ipad[64], opad[64];
} __attribute__((aligned(64))) key_t_;
#endif

typedef struct { void *cipher[2], *mac; } evp_key_t;

typedef struct {
    int alg, n_sas, n_ops, batch;
    uint32_t head, aad_len;
    sa_t *sas;
    evp_key_t *evp;
    op_t *ops;
    uint32_t *table, mask;          /* SPI and destination -> SA + 1, open addressing */
    uint8_t pool[4096];             /* CBC's IVs are taken from here: drawing them is not what is measured */
    uint32_t pool_at;
#ifdef HAVE_IPSEC_MB
    IMB_MGR *mgr, *few;
    key_t_ *keys;
    IMB_JOB jobs[CHUNK_LANES];
#endif
} ceiling_t;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *aligned(size_t n)
{
    void *p = NULL;
    n = (n + 63) & ~(size_t)63;
    if (posix_memalign(&p, 64, n)) abort();
    memset(p, 0, n);
    return p;
}

static int is_gcm(int alg) { return alg <= GMAC128; }
static int has_cipher(int alg) { return alg <= CHACHA && alg != GMAC128; }
static int has_mac(int alg) { return alg == CBC128_SHA1 || alg == CBC256_SHA256 || alg >= SHA1_ONLY; }
static int is_sha1(int alg) { return alg == CBC128_SHA1 || alg == SHA1_ONLY; }
static uint32_t iv_of(int alg) { return alg == CBC128_SHA1 || alg == CBC256_SHA256 ? 16 : alg >= SHA1_ONLY ? 0 : 8; }
static uint32_t icv_of(int alg) { return is_sha1(alg) ? 12 : 16; }
static uint32_t align_of(int alg) { return iv_of(alg) == 16 ? 16 : 4; }

/* --- libcrypto ------------------------------------------------------------------------------------------------------ */

typedef struct { const char *key; unsigned type; void *data; size_t size, returned; } param_t;
static struct {
    void *(*EVP_CIPHER_fetch)(void *, const char *, const char *);
    void *(*EVP_CIPHER_CTX_new)(void);
    void (*EVP_CIPHER_CTX_free)(void *);
    int (*EVP_CIPHER_CTX_ctrl)(void *, int, int, void *);
    int (*EVP_CIPHER_CTX_set_padding)(void *, int);
    int (*EVP_CipherInit_ex)(void *, const void *, void *, const uint8_t *, const uint8_t *, int);
    int (*EVP_CipherUpdate)(void *, uint8_t *, int *, const uint8_t *, int);
    int (*EVP_CipherFinal_ex)(void *, uint8_t *, int *);
    void *(*EVP_MAC_fetch)(void *, const char *, const char *);
    void *(*EVP_MAC_CTX_new)(void *);
    void (*EVP_MAC_CTX_free)(void *);
    int (*EVP_MAC_init)(void *, const uint8_t *, size_t, const param_t *);
    int (*EVP_MAC_update)(void *, const uint8_t *, size_t);
    int (*EVP_MAC_final)(void *, uint8_t *, size_t *, size_t);
} evp;
static const char *const evp_names[] = {
    "EVP_CIPHER_fetch", "EVP_CIPHER_CTX_new", "EVP_CIPHER_CTX_free", "EVP_CIPHER_CTX_ctrl",
    "EVP_CIPHER_CTX_set_padding", "EVP_CipherInit_ex", "EVP_CipherUpdate", "EVP_CipherFinal_ex", "EVP_MAC_fetch",
    "EVP_MAC_CTX_new", "EVP_MAC_CTX_free", "EVP_MAC_init", "EVP_MAC_update", "EVP_MAC_final" };
enum { GET_TAG = 0x10, SET_TAG = 0x11, UTF8 = 4 };

/* Returns what is missing, or NULL. */
const char *ceiling_open_libcrypto(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), **slot = (void **)&evp;
    if (library == NULL) return dlerror();
    for (size_t i = 0; i < sizeof evp_names / sizeof *evp_names; i++)
        if ((slot[i] = dlsym(library, evp_names[i])) == NULL) return evp_names[i];
    return NULL;
}

static int evp_key(ceiling_t *c, const given_t *g, evp_key_t *k)
{
    static const char *const names[] = { "AES-128-GCM", "AES-256-GCM", "AES-128-GCM", "AES-128-CBC", "AES-256-CBC",
                                         "ChaCha20-Poly1305" };
    static void *fetched[6], *hmac;
    if (c->alg <= CHACHA) {
        if (!fetched[c->alg] && !(fetched[c->alg] = evp.EVP_CIPHER_fetch(NULL, names[c->alg], NULL))) return 0;
        for (int way = 0; way < 2; way++) {
            k->cipher[way] = evp.EVP_CIPHER_CTX_new();
            if (!evp.EVP_CipherInit_ex(k->cipher[way], fetched[c->alg], NULL, g->enc_key, NULL, !way)
                || !evp.EVP_CIPHER_CTX_set_padding(k->cipher[way], 0)) return 0;
        }
    }
    if (has_mac(c->alg)) {
        char digest[] = "SHA256", sha1[] = "SHA1";
        param_t params[2] = { { "digest", UTF8, is_sha1(c->alg) ? sha1 : digest, 0, 0 }, { 0 } };
        if (!hmac && !(hmac = evp.EVP_MAC_fetch(NULL, "HMAC", NULL))) return 0;
        k->mac = evp.EVP_MAC_CTX_new(hmac);
        if (!evp.EVP_MAC_init(k->mac, g->auth_key, is_sha1(c->alg) ? 20 : 32, params)) return 0;
    }
    return 1;
}

static int evp_aead(ceiling_t *c, op_t *o, int seal)
{
    void *x = c->evp[o->sa].cipher[!seal];
    int n, all_aad = c->alg == GMAC128;
    uint8_t rest[16];
    return evp.EVP_CipherInit_ex(x, NULL, NULL, NULL, o->nonce, -1) == 1
        && (seal || evp.EVP_CIPHER_CTX_ctrl(x, SET_TAG, 16, o->made) == 1)
        && evp.EVP_CipherUpdate(x, NULL, &n, o->esp, (int)(all_aad ? c->head + o->len : c->aad_len)) == 1
        && (all_aad || evp.EVP_CipherUpdate(x, o->text, &n, o->text, (int)o->len) == 1)
        && evp.EVP_CipherFinal_ex(x, rest, &n) == 1
        && (!seal || evp.EVP_CIPHER_CTX_ctrl(x, GET_TAG, 16, o->made) == 1);
}

static int evp_mac(ceiling_t *c, op_t *o)
{
    void *x = c->evp[o->sa].mac;
    size_t n;
    return evp.EVP_MAC_init(x, NULL, 0, NULL) == 1 && evp.EVP_MAC_update(x, o->esp, c->head + o->len) == 1
        && evp.EVP_MAC_final(x, o->made, &n, 32) == 1;
}

static int evp_cbc(ceiling_t *c, op_t *o, int seal)
{
    void *x = c->evp[o->sa].cipher[!seal];
    int n;
    return evp.EVP_CipherInit_ex(x, NULL, NULL, NULL, o->nonce, -1) == 1
        && evp.EVP_CipherUpdate(x, o->text, &n, o->text, (int)o->len) == 1;
}

static int evp_run(ceiling_t *c, op_t *o, int n, int seal)
{
    int good = 1;
    for (; n--; o++) {
        if (!has_mac(c->alg)) good &= evp_aead(c, o, seal);
        else if (!has_cipher(c->alg)) good &= evp_mac(c, o);
        else if (seal) good &= evp_cbc(c, o, 1) && evp_mac(c, o);
        else good &= evp_mac(c, o) && evp_cbc(c, o, 0);
    }
    return good;
}

/* --- ipsec-mb ------------------------------------------------------------------------------------------------------- */

#ifdef HAVE_IPSEC_MB
static void mb_key(ceiling_t *c, const given_t *g, key_t_ *k)
{
    uint8_t inner[64], outer[64];
    if (c->alg == GCM256) IMB_AES256_GCM_PRE(c->mgr, g->enc_key, &k->u.gcm);
    else if (is_gcm(c->alg)) IMB_AES128_GCM_PRE(c->mgr, g->enc_key, &k->u.gcm);
    else if (c->alg == CBC128_SHA1) IMB_AES_KEYEXP_128(c->mgr, g->enc_key, k->u.aes.enc, k->u.aes.dec);
    else if (c->alg == CBC256_SHA256) IMB_AES_KEYEXP_256(c->mgr, g->enc_key, k->u.aes.enc, k->u.aes.dec);
    else if (c->alg == CHACHA) memcpy(k->u.chacha, g->enc_key, 32);
    for (int i = 0; i < 64; i++) inner[i] = g->auth_key[i] ^ 0x36, outer[i] = g->auth_key[i] ^ 0x5C;
    if (is_sha1(c->alg)) IMB_SHA1_ONE_BLOCK(c->mgr, inner, k->ipad), IMB_SHA1_ONE_BLOCK(c->mgr, outer, k->opad);
    else IMB_SHA256_ONE_BLOCK(c->mgr, inner, k->ipad), IMB_SHA256_ONE_BLOCK(c->mgr, outer, k->opad);
}

static inline __attribute__((always_inline)) void mb_gcm(ceiling_t *c, op_t *o, int n, int alg, int seal, uint32_t aad)
{
    struct gcm_context_data scratch;
    for (; n--; o++) {
        struct gcm_key_data *k = &c->keys[o->sa].u.gcm;
        uint8_t *t = o->text;
        if (alg == GMAC128) {
            IMB_AES128_GMAC_INIT(c->mgr, k, &scratch, o->nonce, 12);
            IMB_AES128_GMAC_UPDATE(c->mgr, k, &scratch, o->esp, (uint64_t)(o->text - o->esp) + o->len);
            IMB_AES128_GMAC_FINALIZE(c->mgr, k, &scratch, o->tag, 16);
        } else if (alg == GCM128) {
            if (seal) IMB_AES128_GCM_ENC(c->mgr, k, &scratch, t, t, o->len, o->nonce, o->esp, aad, o->tag, 16);
            else IMB_AES128_GCM_DEC(c->mgr, k, &scratch, t, t, o->len, o->nonce, o->esp, aad, o->tag, 16);
        } else {
            if (seal) IMB_AES256_GCM_ENC(c->mgr, k, &scratch, t, t, o->len, o->nonce, o->esp, aad, o->tag, 16);
            else IMB_AES256_GCM_DEC(c->mgr, k, &scratch, t, t, o->len, o->nonce, o->esp, aad, o->tag, 16);
        }
    }
}

static inline __attribute__((always_inline)) int mb_cbc(ceiling_t *c, op_t *o, int n, int key_len, int seal)
{
    IMB_CIPHER_DIRECTION way = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    for (int i = 0; i < n; i++) {
        IMB_JOB *j = &c->jobs[i];
        key_t_ *k = &c->keys[o[i].sa];
        j->enc_keys = k->u.aes.enc, j->dec_keys = k->u.aes.dec, j->key_len_in_bytes = key_len;
        j->src = j->dst = o[i].text, j->cipher_start_src_offset_in_bytes = 0;
        j->msg_len_to_cipher_in_bytes = o[i].len, j->iv = o[i].nonce, j->iv_len_in_bytes = 16;
        j->cipher_mode = IMB_CIPHER_CBC, j->cipher_direction = way, j->hash_alg = IMB_AUTH_NULL, j->status = 0;
    }
    return (int)IMB_SUBMIT_CIPHER_BURST_NOCHECK(c->mgr, c->jobs, n, IMB_CIPHER_CBC, way, key_len) == n;
}

static inline __attribute__((always_inline)) int mb_hmac(ceiling_t *c, op_t *o, int n, int sha1)
{
    IMB_HASH_ALG hash = sha1 ? IMB_AUTH_HMAC_SHA_1 : IMB_AUTH_HMAC_SHA_256;
    for (int i = 0; i < n; i++) {
        IMB_JOB *j = &c->jobs[i];
        key_t_ *k = &c->keys[o[i].sa];
        j->src = o[i].esp, j->hash_start_src_offset_in_bytes = 0;
        j->msg_len_to_hash_in_bytes = (uint64_t)(o[i].text - o[i].esp) + o[i].len;
        j->auth_tag_output = o[i].tag, j->auth_tag_output_len_in_bytes = sha1 ? 12 : 16;
        j->hash_alg = hash, j->cipher_mode = IMB_CIPHER_NULL, j->status = 0;
        j->u.HMAC._hashed_auth_key_xor_ipad = k->ipad, j->u.HMAC._hashed_auth_key_xor_opad = k->opad;
    }
    /* a manager on the SHA-NI path is faster than lanes that are mostly empty */
    return (int)IMB_SUBMIT_HASH_BURST_NOCHECK(n < (sha1 ? 5 : 10) ? c->few : c->mgr, c->jobs, n, hash) == n;
}

static int mb_chacha(ceiling_t *c, op_t *o, int n, int seal)
{
    int done = 0, all = n;
    IMB_JOB *j;
    for (; n--; o++) {
        j = IMB_GET_NEXT_JOB(c->mgr);
        j->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305, j->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
        j->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
        j->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
        j->enc_keys = j->dec_keys = c->keys[o->sa].u.chacha, j->key_len_in_bytes = 32;
        j->src = j->dst = o->text, j->cipher_start_src_offset_in_bytes = j->hash_start_src_offset_in_bytes = 0;
        j->msg_len_to_cipher_in_bytes = j->msg_len_to_hash_in_bytes = o->len;
        j->iv = o->nonce, j->iv_len_in_bytes = 12, j->auth_tag_output = o->tag, j->auth_tag_output_len_in_bytes = 16;
        j->u.CHACHA20_POLY1305.aad = o->esp, j->u.CHACHA20_POLY1305.aad_len_in_bytes = c->aad_len;
        for (j = IMB_SUBMIT_JOB(c->mgr); j; j = IMB_GET_COMPLETED_JOB(c->mgr)) done += j->status == IMB_STATUS_COMPLETED;
    }
    while ((j = IMB_FLUSH_JOB(c->mgr))) done += j->status == IMB_STATUS_COMPLETED;
    return done == all;
}

static int mb_run(ceiling_t *c, op_t *o, int n, int seal)
{
    int good = 1, alg = c->alg;
    switch (alg) {
    case GCM128: seal ? mb_gcm(c, o, n, GCM128, 1, c->aad_len) : mb_gcm(c, o, n, GCM128, 0, c->aad_len); break;
    case GCM256: seal ? mb_gcm(c, o, n, GCM256, 1, c->aad_len) : mb_gcm(c, o, n, GCM256, 0, c->aad_len); break;
    case GMAC128: mb_gcm(c, o, n, GMAC128, 1, 0); break;
    case CHACHA: good = mb_chacha(c, o, n, seal); break;
    case SHA1_ONLY: case SHA256_ONLY: good = mb_hmac(c, o, n, alg == SHA1_ONLY); break;
    default:
        if (!seal) good = mb_hmac(c, o, n, alg == CBC128_SHA1);
        good &= mb_cbc(c, o, n, alg == CBC128_SHA1 ? 16 : 32, seal);
        if (seal) good &= mb_hmac(c, o, n, alg == CBC128_SHA1);
    }
    return good;
}
#endif

/* --- instances ------------------------------------------------------------------------------------------------------ */

int ceiling_has_ipsec_mb(void)
{
#ifdef HAVE_IPSEC_MB
    return (int)(imb_get_version() >> 8) == (int)(IMB_VERSION_NUM >> 8);
#else
    return 0;
#endif
}

/* Bytes of ipsec-mb's key schedule for one direction, and of what AH and the MAC of ESP need. */
int ceiling_key_size(int alg)
{
#ifdef HAVE_IPSEC_MB
    if (is_gcm(alg)) return (int)sizeof(struct gcm_key_data);
    return (alg == CHACHA ? 32 : has_cipher(alg) ? 240 : 0) + (has_mac(alg) ? 128 : 0);
#else
    (void)alg;
    return 0;
#endif
}

static uint32_t slot_of(const ceiling_t *c, uint32_t spi_be, uint32_t dst)
{
    return (uint32_t)(((uint64_t)dst << 32 | spi_be) * 0x9E3779B97F4A7C15u >> 36) & c->mask;
}

void ceiling_free(ceiling_t *c)
{
    for (int i = 0; c->evp && i < c->n_sas; i++) {
        evp.EVP_CIPHER_CTX_free(c->evp[i].cipher[0]);
        evp.EVP_CIPHER_CTX_free(c->evp[i].cipher[1]);
        evp.EVP_MAC_CTX_free(c->evp[i].mac);
    }
#ifdef HAVE_IPSEC_MB
    if (c->few && c->few != c->mgr) free_mb_mgr(c->few);
    if (c->mgr) free_mb_mgr(c->mgr);
    free(c->keys);
#endif
    free(c->sas), free(c->evp), free(c->ops), free(c->table), free(c);
}

/* `library` 0: ipsec-mb, 1: libcrypto; NULL if it does not serve. */
ceiling_t *ceiling_new(int alg, int library, int n_sas, const given_t *given, int n_ops, int batch)
{
    ceiling_t *c = aligned(sizeof *c);
    c->alg = alg, c->n_sas = n_sas, c->n_ops = n_ops, c->batch = batch;
    c->sas = aligned(n_sas * sizeof(sa_t));
    c->ops = aligned(n_ops * sizeof(op_t));
    for (c->mask = 15; c->mask < 4u * n_sas; c->mask = c->mask << 1 | 1) {}
    c->table = aligned((c->mask + 1) * sizeof *c->table);
    for (size_t i = 0; i < sizeof c->pool; i++) c->pool[i] = (uint8_t)(i * 167 + (i >> 8));
#ifdef HAVE_IPSEC_MB
    if (library == 0) {
        if ((c->mgr = alloc_mb_mgr(0)) == NULL) goto failed;
        init_mb_mgr_auto(c->mgr, NULL);
        c->few = c->mgr;
        if (c->mgr->features & IMB_FEATURE_SHANI) {
            if ((c->few = alloc_mb_mgr(0)) == NULL) goto failed;
            init_mb_mgr_sse(c->few);
        }
        c->keys = aligned(n_sas * sizeof(key_t_));
    }
#endif
    if (library == 1) c->evp = aligned(n_sas * sizeof(evp_key_t));
    for (int i = 0; i < n_sas; i++) {
        uint32_t dst, spi_be = __builtin_bswap32(given[i].spi), slot;
        memcpy(&dst, given[i].dst, 4);
        c->sas[i] = (sa_t){ .spi_be = spi_be, .dst = dst, .salt = given[i].salt, .iv = 0x5DEECE66DULL * (i + 1) };
        for (slot = slot_of(c, spi_be, dst); c->table[slot]; slot = (slot + 1) & c->mask) {}
        c->table[slot] = (uint32_t)i + 1;
#ifdef HAVE_IPSEC_MB
        if (library == 0) mb_key(c, &given[i], &c->keys[i]);
#endif
        if (library == 1 && !evp_key(c, &given[i], &c->evp[i])) goto failed;
    }
    return c;
failed:
    ceiling_free(c);
    return NULL;
}

/* --- crypto alone --------------------------------------------------------------------------------------------------- */

/* Where each packet's authenticated bytes begin, how long its text is, which SA it is of. */
void ceiling_prepare(ceiling_t *c, uint8_t *base, const int64_t *at, const int32_t *text_len, const int64_t *sa,
                     uint32_t head, uint32_t aad_len)
{
    c->head = head, c->aad_len = aad_len;
    for (int i = 0; i < c->n_ops; i++) {
        op_t *o = &c->ops[i];
        o->esp = base + at[i], o->text = o->esp + head, o->len = (uint32_t)text_len[i], o->sa = (uint32_t)sa[i];
        o->tag = o->made;
        for (int k = 0; k < 16; k++) o->nonce[k] = (uint8_t)(i * 31 + k);
    }
}

int64_t ceiling_crypto(ceiling_t *c, int seal)
{
    int good = 1, most = c->batch;
    int64_t start = now();
#ifdef HAVE_IPSEC_MB
    if (c->mgr && most > CHUNK_LANES) most = CHUNK_LANES;
#endif
    for (int i = 0, n; i < c->n_ops; i += n) {
        n = c->n_ops - i < most ? c->n_ops - i : most;
        if (c->evp) good &= evp_run(c, c->ops + i, n, seal);
#ifdef HAVE_IPSEC_MB
        else good &= mb_run(c, c->ops + i, n, seal);
#endif
    }
    return good ? now() - start : -1;
}

#ifdef HAVE_IPSEC_MB
#include "ceiling_loop.h"
#endif
