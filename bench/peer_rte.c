/*
 * ESP by DPDK's librte_ipsec, one core, no NIC: transport mode, IPv4, packets in mbufs, crypto in the caller's thread
 * (RTE_SECURITY_ACTION_TYPE_CPU_CRYPTO, its fastest way); SAs inbound found with rte_ipsec_sad.  DPDK 22.11 or newer.
 *
 *   peer_rte EAL-OPTIONS -- gcm|cbc-sha1 N_SAS BURST N_PACKETS SIZE...
 *
 * SIZEs are bytes behind the IPv4 header, taken in turn.  Says "ready" when all packets went there and back unchanged;
 * then for each line on standard input one lap, and its two times in ns on a line: protecting, taking back.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <netinet/in.h>
#include <sys/mman.h>

#include <rte_cryptodev.h>
#include <rte_eal.h>
#include <rte_ipsec.h>
#include <rte_ipsec_sad.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_security.h>

enum { MAX_BURST = 256, DEVICE = 0, IV_AT = sizeof(struct rte_crypto_op) + sizeof(struct rte_crypto_sym_op) };

static int n_sas, burst, n_packets, n_sizes, sizes[64], cbc;
static struct rte_ipsec_session *out_sa, *in_sa;
static struct rte_ipsec_sad *sad;
static struct rte_mbuf **packets;
static uint32_t *which;

static void give_up(const char *what)
{
    printf("failed: %s\n", what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static uint64_t draw(void)
{
    static uint64_t x = 0x2545F4914F6CDD1Dull;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

static int ask_for_huge_pages(const struct rte_memseg_list *list, void *unused)
{
    (void)unused;
    madvise(list->base_va, list->len, MADV_HUGEPAGE);
    return 0;
}

static uint8_t *bytes_of(struct rte_mbuf *m) { return rte_pktmbuf_mtod(m, uint8_t *); }

/* A session of librte_ipsec over one of the crypto device, for one direction. */
static void make_sa(struct rte_ipsec_session *s, struct rte_mempool *pool, uint32_t spi, uint32_t salt, const uint8_t *key,
                    int inbound)
{
    struct rte_crypto_sym_xform cipher = { 0 }, auth = { 0 }, *chain = &cipher;
    struct rte_ipsec_sa_prm prm = { 0 };
    int size;
    if (!cbc) {
        cipher.type = RTE_CRYPTO_SYM_XFORM_AEAD;
        cipher.aead.op = inbound ? RTE_CRYPTO_AEAD_OP_DECRYPT : RTE_CRYPTO_AEAD_OP_ENCRYPT;
        cipher.aead.algo = RTE_CRYPTO_AEAD_AES_GCM;
        cipher.aead.key.data = key, cipher.aead.key.length = 16;
        cipher.aead.iv.offset = IV_AT, cipher.aead.iv.length = 12;
        cipher.aead.digest_length = 16, cipher.aead.aad_length = 8;
    } else {
        cipher.type = RTE_CRYPTO_SYM_XFORM_CIPHER;
        cipher.cipher.op = inbound ? RTE_CRYPTO_CIPHER_OP_DECRYPT : RTE_CRYPTO_CIPHER_OP_ENCRYPT;
        cipher.cipher.algo = RTE_CRYPTO_CIPHER_AES_CBC;
        cipher.cipher.key.data = key, cipher.cipher.key.length = 16;
        cipher.cipher.iv.offset = IV_AT, cipher.cipher.iv.length = 16;
        auth.type = RTE_CRYPTO_SYM_XFORM_AUTH;
        auth.auth.op = inbound ? RTE_CRYPTO_AUTH_OP_VERIFY : RTE_CRYPTO_AUTH_OP_GENERATE;
        auth.auth.algo = RTE_CRYPTO_AUTH_SHA1_HMAC;
        auth.auth.key.data = key + 16, auth.auth.key.length = 20, auth.auth.digest_length = 12;
        if (inbound) auth.next = &cipher, chain = &auth;
        else cipher.next = &auth;
    }
    prm.ipsec_xform.spi = spi;
    prm.ipsec_xform.salt = salt;
    prm.ipsec_xform.direction = inbound ? RTE_SECURITY_IPSEC_SA_DIR_INGRESS : RTE_SECURITY_IPSEC_SA_DIR_EGRESS;
    prm.ipsec_xform.proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP;
    prm.ipsec_xform.mode = RTE_SECURITY_IPSEC_SA_MODE_TRANSPORT;
    prm.ipsec_xform.replay_win_sz = inbound ? 64 : 0;
    prm.crypto_xform = chain;
    prm.trs.proto = IPPROTO_IPIP;       /* what it calls transport mode over IPv4 */
    if ((size = rte_ipsec_sa_size(&prm)) <= 0 || !(s->sa = rte_zmalloc(NULL, size, RTE_CACHE_LINE_SIZE))
        || rte_ipsec_sa_init(s->sa, &prm, size) < 0) give_up("rte_ipsec_sa_init");
    s->type = RTE_SECURITY_ACTION_TYPE_CPU_CRYPTO;
    s->crypto.ses = rte_cryptodev_sym_session_create(DEVICE, chain, pool);
    s->crypto.dev_id = DEVICE;
    if (!s->crypto.ses || rte_ipsec_session_prepare(s)) give_up("rte_ipsec_session_prepare");
}

static void make_sas(struct rte_mempool *pool)
{
    struct rte_ipsec_sad_conf conf = { .socket_id = SOCKET_ID_ANY, .max_sa = { n_sas + 8, 8, 8 } };
    uint8_t key[40];
    if (!(sad = rte_ipsec_sad_create("sad", &conf))) give_up("rte_ipsec_sad_create");
    out_sa = rte_zmalloc(NULL, n_sas * sizeof *out_sa, RTE_CACHE_LINE_SIZE);
    in_sa = rte_zmalloc(NULL, n_sas * sizeof *in_sa, RTE_CACHE_LINE_SIZE);
    if (!out_sa || !in_sa) give_up("memory");
    for (int i = 0; i < n_sas; i++) {
        uint32_t spi = (uint32_t)draw() | 0x100, salt = (uint32_t)draw();
        union rte_ipsec_sad_key sad_key = { .v4 = { .spi = rte_cpu_to_be_32(spi) } };
        for (int k = 0; k < 40; k++) key[k] = (uint8_t)draw();
        make_sa(&out_sa[i], pool, spi, salt, key, 0);
        make_sa(&in_sa[i], pool, spi, salt, key, 1);
        if (rte_ipsec_sad_add(sad, &sad_key, RTE_IPSEC_SAD_SPI_ONLY, &in_sa[i])) give_up("rte_ipsec_sad_add");
    }
}

static uint8_t content(int packet, int at) { return (uint8_t)(packet * 7 + at * 31); }

static void make_packets(void)
{
    int most = 0;
    struct rte_mempool *pool;
    for (int i = 0; i < n_sizes; i++) most = sizes[i] > most ? sizes[i] : most;
    most = most + 256 + RTE_PKTMBUF_HEADROOM;
    pool = rte_pktmbuf_pool_create("packets", n_packets + 64, 0, 64,
                                   (uint16_t)(most < RTE_MBUF_DEFAULT_BUF_SIZE ? RTE_MBUF_DEFAULT_BUF_SIZE : most),
                                   SOCKET_ID_ANY);
    packets = calloc(n_packets, sizeof *packets);
    which = calloc(n_packets, sizeof *which);
    if (!pool || !packets || !which) give_up("rte_pktmbuf_pool_create");
    for (int i = 0; i < n_packets; i++) {
        int size = sizes[i % n_sizes];
        uint8_t header[20] = { 0x45, 0, (uint8_t)((20 + size) >> 8), (uint8_t)(20 + size), 0, 0, 0, 0, 64, 17, 0, 0,
                               192, 0, 2, 1, 192, 0, 2, 2 };
        uint8_t *p;
        if (!(packets[i] = rte_pktmbuf_alloc(pool))) give_up("rte_pktmbuf_alloc");
        p = (uint8_t *)rte_pktmbuf_append(packets[i], (uint16_t)(20 + size));
        memcpy(p, header, 20);
        for (int k = 0; k < size; k++) p[20 + k] = content(i, k);
        packets[i]->l3_len = 20;
        which[i] = (uint32_t)(draw() % n_sas);
    }
}

/* Runs of one SA go in one call, as its interface wants. */
static int through(struct rte_ipsec_session **sa, struct rte_mbuf **m, int n)
{
    int good = 0;
    for (int i = 0, end; i < n; i = end) {
        int k;
        for (end = i + 1; end < n && sa[end] == sa[i]; end++) {}
        k = rte_ipsec_pkt_cpu_prepare(sa[i], m + i, (uint16_t)(end - i));
        good += rte_ipsec_pkt_process(sa[i], m + i, (uint16_t)k);
    }
    return good;
}

static int64_t protect(void)
{
    struct rte_ipsec_session *sa[MAX_BURST];
    int good = 0;
    int64_t start = now();
    for (int i = 0; i < n_packets; i += burst) {
        for (int k = 0; k < burst; k++) sa[k] = &out_sa[which[i + k]];
        good += through(sa, packets + i, burst);
    }
    start = now() - start;
    if (good != n_packets) give_up("not all packets were protected");
    return start;
}

static int64_t take_back(void)
{
    struct rte_ipsec_session *sa[MAX_BURST];
    union rte_ipsec_sad_key keys[MAX_BURST];
    const union rte_ipsec_sad_key *at[MAX_BURST];
    int good = 0;
    int64_t start = now();
    for (int i = 0; i < n_packets; i += burst) {
        for (int k = 0; k < burst; k++) {
            memcpy(&keys[k].v4.spi, bytes_of(packets[i + k]) + 20, 4);
            packets[i + k]->l2_len = 0, packets[i + k]->l3_len = 20;
            at[k] = &keys[k];
        }
        if (rte_ipsec_sad_lookup(sad, at, (void **)sa, burst) != burst) give_up("rte_ipsec_sad_lookup");
        good += through(sa, packets + i, burst);
    }
    start = now() - start;
    if (good != n_packets) give_up("not all packets came back");
    return start;
}

static void compare(void)
{
    for (int i = 0; i < n_packets; i++) {
        int size = sizes[i % n_sizes];
        const uint8_t *p = bytes_of(packets[i]);
        if ((int)rte_pktmbuf_pkt_len(packets[i]) != 20 + size || p[9] != 17) give_up("a packet came back changed");
        for (int k = 0; k < size; k++) if (p[20 + k] != content(i, k)) give_up("a packet came back changed");
    }
}

int main(int argc, char **argv)
{
    struct rte_cryptodev_config config = { .nb_queue_pairs = 1, .socket_id = 0 };
    struct rte_cryptodev_qp_conf queue = { .nb_descriptors = 512 };
    struct rte_mempool *pool;
    char line[16];
    int used = rte_eal_init(argc, argv);
    if (used < 0) give_up("rte_eal_init");
    argc -= used, argv += used;
    if (argc < 6) give_up("wanted: gcm|cbc-sha1 N_SAS BURST N_PACKETS SIZE...");
    cbc = strcmp(argv[1], "gcm") != 0, n_sas = atoi(argv[2]), burst = atoi(argv[3]), n_packets = atoi(argv[4]);
    for (int i = 5; i < argc && n_sizes < 64; i++) sizes[n_sizes++] = atoi(argv[i]);
    if (n_sas < 1 || burst < 1 || burst > MAX_BURST || n_packets < burst || n_packets % burst) give_up("arguments");
    rte_memseg_list_walk(ask_for_huge_pages, NULL);
    if (rte_cryptodev_count() == 0 || rte_cryptodev_configure(DEVICE, &config)) give_up("no crypto device");
    pool = rte_cryptodev_sym_session_pool_create("sessions", (uint32_t)n_sas * 2 + 8,
                                                 rte_cryptodev_sym_get_private_session_size(DEVICE), 0, 0, SOCKET_ID_ANY);
    queue.mp_session = pool;
    if (!pool || rte_cryptodev_queue_pair_setup(DEVICE, 0, &queue, 0) || rte_cryptodev_start(DEVICE))
        give_up("crypto device's queue");
    make_sas(pool);
    make_packets();
    protect(), take_back(), compare();
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int64_t out = protect();
        printf("%lld %lld\n", (long long)out, (long long)take_back());
        fflush(stdout);
    }
    return 0;
}
