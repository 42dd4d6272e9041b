/* The second half of ceiling.c: a minimal ESP in two phases over ipsec-mb (transport mode, IPv4 without options). */

static inline uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~(sum + (sum >> 16));
}

/* Copy the 20 bytes to their new place with another length and protocol; the checksum is mended, RFC 1624. */
static inline void move_header(uint8_t *to, const uint8_t *from, uint32_t total, uint8_t proto)
{
    uint64_t a, b;
    uint32_t dst;
    uint16_t sum, old_len, new_len = __builtin_bswap16((uint16_t)total), new_sum;
    memcpy(&a, from, 8), memcpy(&b, from + 8, 8), memcpy(&dst, from + 16, 4);
    old_len = (uint16_t)(a >> 16), sum = (uint16_t)(b >> 16);
    new_sum = fold((uint32_t)(uint16_t)~sum + (uint16_t)~old_len + new_len + (uint16_t)~(uint16_t)(b & 0xFF00)
                   + ((uint32_t)proto << 8));
    a = (a & ~0xFFFF0000ull) | (uint64_t)new_len << 16;
    b = (b & ~0xFFFFFF00ull) | (uint64_t)proto << 8 | (uint64_t)new_sum << 16;
    memcpy(to, &a, 8), memcpy(to + 8, &b, 8), memcpy(to + 16, &dst, 4);
}

static inline int run_chunk(ceiling_t *c, int n, int alg, int seal)
{
    if (is_gcm(alg)) {
        if (seal || alg == GMAC128) mb_gcm(c, c->ops, n, alg, 1, 8);
        else mb_gcm(c, c->ops, n, alg, 0, 8);
        return 1;
    }
    if (seal) return mb_cbc(c, c->ops, n, alg == CBC128_SHA1 ? 16 : 32, 1) && mb_hmac(c, c->ops, n, alg == CBC128_SHA1);
    return mb_hmac(c, c->ops, n, alg == CBC128_SHA1);      /* the cipher runs behind the ICV's verdict */
}

static inline __attribute__((always_inline)) int64_t encapsulate(
    ceiling_t *c, int alg, uint8_t *base, int64_t *offset, int32_t *length, const int64_t *which, int64_t count)
{
    const uint32_t iv_len = iv_of(alg), icv_len = icv_of(alg), align = align_of(alg), front = 8 + iv_len;
    const int chunk = is_gcm(alg) ? CHUNK : CHUNK_LANES;
    for (int64_t at = 0; at < count; at += chunk) {
        int n = count - at < chunk ? (int)(count - at) : chunk;
        for (int k = 0; k < n; k++) {
            uint8_t *old = base + offset[at + k], *ip = old - front, *esp = ip + 20;
            op_t *o = &c->ops[k];
            sa_t *sa = &c->sas[which[at + k]];
            uint32_t data = (uint32_t)length[at + k] - 20, pad = -(data + 2) & (align - 1), text = data + pad + 2;
            uint64_t seq = ++sa->sent, iv = seq ^ sa->iv;
            uint32_t seq_be = __builtin_bswap32((uint32_t)seq);
            uint8_t *end = esp + front + data, proto = old[9];
            if (k + 6 < n) __builtin_prefetch(base + offset[at + k + 6]);
            move_header(ip, old, 20 + front + text + icv_len, 50);
            memcpy(esp, &sa->spi_be, 4), memcpy(esp + 4, &seq_be, 4);
            for (uint32_t p = 0; p < pad; p++) end[p] = (uint8_t)(p + 1);
            end[pad] = (uint8_t)pad, end[pad + 1] = proto;
            if (iv_len == 8) {
                memcpy(esp + 8, &iv, 8), memcpy(o->nonce, &sa->salt, 4), memcpy(o->nonce + 4, &iv, 8);
            } else {
                memcpy(esp + 8, c->pool + c->pool_at, 16), memcpy(o->nonce, c->pool + c->pool_at, 16);
                c->pool_at = (c->pool_at + 16) & (sizeof c->pool - 1);
            }
            o->esp = esp, o->text = esp + front, o->len = text, o->tag = o->text + text, o->sa = (uint32_t)which[at + k];
        }
        if (!run_chunk(c, n, alg, 1)) return -1;
        for (int k = 0; k < n; k++) {
            offset[at + k] -= front;
            length[at + k] = (int32_t)(20 + front + c->ops[k].len + icv_len);
        }
    }
    return count;
}

static inline int same(const uint8_t *a, const uint8_t *b, uint32_t n)
{
    uint64_t x, y, p, q;
    uint32_t v, w;
    memcpy(&x, a, 8), memcpy(&y, b, 8);
    if (n == 12) return memcpy(&v, a + 8, 4), memcpy(&w, b + 8, 4), ((x ^ y) | (v ^ w)) == 0;
    return memcpy(&p, a + 8, 8), memcpy(&q, b + 8, 8), ((x ^ y) | (p ^ q)) == 0;
}

static inline int fresh(const sa_t *sa, uint64_t seq)
{
    uint64_t behind = sa->seq - seq;
    return seq && (seq > sa->seq || (behind < WINDOW && !(sa->seen >> behind & 1)));
}

static inline void mark(sa_t *sa, uint64_t seq)
{
    if (seq > sa->seq) {
        sa->seen = seq - sa->seq < WINDOW ? sa->seen << (seq - sa->seq) | 1 : 1;
        sa->seq = seq;
    } else {
        sa->seen |= 1ull << (sa->seq - seq);
    }
}

/* Every packet must be one of ours: the number of those that came out. */
static inline __attribute__((always_inline)) int64_t decapsulate(
    ceiling_t *c, int alg, uint8_t *base, int64_t *offset, int32_t *length, int64_t count)
{
    const uint32_t iv_len = iv_of(alg), icv_len = icv_of(alg), align = align_of(alg), front = 8 + iv_len;
    const int chunk = is_gcm(alg) ? CHUNK : CHUNK_LANES;
    uint64_t seqs[CHUNK_LANES];
    int64_t good = 0;
    for (int64_t at = 0; at < count; at += chunk) {
        int n = count - at < chunk ? (int)(count - at) : chunk;
        for (int k = 0; k < n; k++) {
            uint8_t *ip = base + offset[at + k], *esp = ip + 20;
            op_t *o = &c->ops[k];
            uint32_t total = (uint32_t)ip[2] << 8 | ip[3], spi, dst, seq, slot, found;
            if (k + 6 < n) __builtin_prefetch(base + offset[at + k + 6]);
            if (ip[0] != 0x45 || ip[9] != 50 || (ip[6] & 0x3F) || ip[7] || total > (uint32_t)length[at + k]
                || total < 20 + front + 2 + icv_len || ((total - 20 - front - icv_len) & (align - 1))) return -1;
            memcpy(&spi, esp, 4), memcpy(&dst, ip + 16, 4), memcpy(&seq, esp + 4, 4);
            for (slot = slot_of(c, spi, dst); (found = c->table[slot]); slot = (slot + 1) & c->mask)
                if (c->sas[found - 1].spi_be == spi && c->sas[found - 1].dst == dst) break;
            if (!found || !fresh(&c->sas[found - 1], seqs[k] = __builtin_bswap32(seq))) return -1;
            if (iv_len == 8) memcpy(o->nonce, &c->sas[found - 1].salt, 4), memcpy(o->nonce + 4, esp + 8, 8);
            else memcpy(o->nonce, esp + 8, 16);
            o->esp = esp, o->text = esp + front, o->len = total - 20 - front - icv_len, o->tag = o->made, o->sa = found - 1;
        }
        if (!run_chunk(c, n, alg, 0)) return -1;
        for (int k = 0; k < n; k++) {
            op_t *o = &c->ops[k];
            if (!same(o->made, o->text + o->len, icv_len) || !fresh(&c->sas[o->sa], seqs[k])) return -1;
            mark(&c->sas[o->sa], seqs[k]);
        }
        if (!is_gcm(alg) && !mb_cbc(c, c->ops, n, alg == CBC128_SHA1 ? 16 : 32, 0)) return -1;
        for (int k = 0; k < n; k++) {
            op_t *o = &c->ops[k];
            uint8_t *end = o->text + o->len, *ip = o->text - 20, wrong = 0;
            uint32_t pad = end[-2], data;
            if (pad + 2 > o->len) return -1;
            for (uint32_t p = 0; p < pad; p++) wrong |= end[-2 - (int)pad + (int)p] ^ (uint8_t)(p + 1);
            if (wrong) return -1;
            data = o->len - 2 - pad;
            move_header(ip, o->esp - 20, 20 + data, end[-1]);
            offset[at + k] = ip - base;
            length[at + k] = (int32_t)(20 + data);
            good++;
        }
    }
    return good;
}

/* The whole arena in batches; ns. */
int64_t ceiling_encapsulate(ceiling_t *c, uint8_t *base, int64_t *offset, int32_t *length, const int64_t *which)
{
    int64_t start = now(), done = 0, n = c->batch;
    for (int64_t i = 0; i < c->n_ops; i += n) {
        if (c->n_ops - i < n) n = c->n_ops - i;
        switch (c->alg) {
        case GCM128: done += encapsulate(c, GCM128, base, offset + i, length + i, which + i, n); break;
        case GMAC128: done += encapsulate(c, GMAC128, base, offset + i, length + i, which + i, n); break;
        case CBC128_SHA1: done += encapsulate(c, CBC128_SHA1, base, offset + i, length + i, which + i, n); break;
        default: return -1;
        }
    }
    return done == c->n_ops ? now() - start : -1;
}

int64_t ceiling_decapsulate(ceiling_t *c, uint8_t *base, int64_t *offset, int32_t *length)
{
    int64_t start = now(), done = 0, n = c->batch;
    for (int64_t i = 0; i < c->n_ops; i += n) {
        if (c->n_ops - i < n) n = c->n_ops - i;
        switch (c->alg) {
        case GCM128: done += decapsulate(c, GCM128, base, offset + i, length + i, n); break;
        case GMAC128: done += decapsulate(c, GMAC128, base, offset + i, length + i, n); break;
        case CBC128_SHA1: done += decapsulate(c, CBC128_SHA1, base, offset + i, length + i, n); break;
        default: return -1;
        }
    }
    return done == c->n_ops ? now() - start : -1;
}
