"""The crypto stage of a chunk: packets grouped by suite, one call per algorithm and group.

No headers, no windows, no lookup: the work items come filled by `esp_ops` or `ah_ops`.  Packets whose status is not
PENDING are passed over.
"""

from libc.stdint cimport int16_t, uint32_t
from libc.string cimport memcpy

from ._bytes cimport bytes_equal, copy_icv, put_be32
from ._types cimport CHUNK, PENDING, ST_AUTH_FAILED, ST_CRYPTO_FAILED, op_t, suite_t, table_t, work_t


cdef int by_suite(table_t *t, work_t *work, int n, int16_t *following, uint8_t *suites) noexcept nogil:
    """Chain the pending packets of each suite in arrival order; returns how many suites there are."""
    cdef int k = n, found = 0
    cdef uint32_t s
    while k > 0:
        k -= 1
        if work[k].status != PENDING:
            continue
        s = work[k].suite
        if t.group[s] < 0:
            suites[found] = <uint8_t> s
            found += 1
        following[k] = t.group[s]
        t.group[s] = <int16_t> k
    return found


cdef inline work_t *work_of(op_t *cipher) noexcept nogil:
    return <work_t *> cipher


cdef enum:
    LONGEST_JOB = 65534     # bytes; of a longer AH packet, MACs that are single jobs go to the other provider


cdef void run_mac(const suite_t *suite, op_t **ciphers, int n) noexcept nogil:
    """Compute a group's tags, ESN's high half behind what they cover for that time."""
    cdef op_t *ops[CHUNK]
    cdef int k
    cdef work_t *w
    cdef bint short = True
    for k in range(n):
        w = work_of(ciphers[k])
        if w.hi != NULL:
            memcpy(w.saved, w.hi, 4)
            put_be32(w.hi, <uint32_t> (w.seq >> 32))
        ops[k] = &w.mac
        short = short and w.mac.text_len <= LONGEST_JOB
    if n >= suite.few_macs and (short or suite.few_mac == NULL):
        suite.mac.compute(suite.mac_ctx, ops, n)
    else:
        for k in range(n):
            ops[k].key = work_of(ciphers[k]).sa.key + suite.few_mac_ofs
        suite.few_mac.compute(suite.few_ctx, ops, n)
    for k in range(n):
        w = work_of(ciphers[k])
        if w.hi != NULL:
            memcpy(w.hi, w.saved, 4)


cdef void to_few(const suite_t *suite, op_t **ciphers, int n) noexcept nogil:
    """Point a small group's operations to the states that the other provider keyed."""
    cdef int k
    for k in range(n):
        ciphers[k].key = work_of(ciphers[k]).sa.key + suite.few_cipher_ofs


cdef void seal_group(const suite_t *suite, op_t **ciphers, int n) noexcept nogil:
    cdef int k
    cdef work_t *w
    if n < suite.few_encrypt:
        to_few(suite, ciphers, n)
        suite.few_cipher.encrypt(suite.few_ctx, ciphers, n)
    elif suite.cipher != NULL:
        suite.cipher.encrypt(suite.cipher_ctx, ciphers, n)
    if suite.mac != NULL:
        run_mac(suite, ciphers, n)
        for k in range(n):
            w = work_of(ciphers[k])
            copy_icv(w.icv, w.tag, w.sa.icv_len)


cdef void open_group(const suite_t *suite, op_t **ciphers, int n) noexcept nogil:
    cdef int k, good = n
    cdef work_t *w
    if suite.mac != NULL:
        run_mac(suite, ciphers, n)
        good = 0
        for k in range(n):
            w = work_of(ciphers[k])
            if w.mac.good and bytes_equal(w.tag, w.icv, w.sa.icv_len):
                ciphers[good] = ciphers[k]
                good += 1
            else:
                w.status = ST_AUTH_FAILED if w.mac.good else ST_CRYPTO_FAILED
    if suite.cipher == NULL or not good:
        return
    if good < suite.few_decrypt:
        to_few(suite, ciphers, good)
        suite.few_cipher.decrypt(suite.few_ctx, ciphers, good)
    else:
        suite.cipher.decrypt(suite.cipher_ctx, ciphers, good)


cdef inline void run(table_t *t, work_t *work, int n, bint seal) noexcept nogil:
    """Call seal_group or open_group for the pending packets of each suite."""
    cdef op_t *ciphers[CHUNK]
    cdef int16_t following[CHUNK]
    cdef uint8_t suites[CHUNK]
    cdef int k = 0, i, m = 0, found = 1
    cdef uint8_t suite
    cdef work_t *w = work
    cdef work_t *end = work + n
    while w < end and w.status != PENDING:
        w += 1
    if w == end:
        return
    suite = w.suite
    suites[0] = suite
    while w < end:
        if w.status == PENDING:
            if w.suite != suite:
                found = by_suite(t, work, n, following, suites)
                break
            ciphers[m] = &w.cipher
            m += 1
        w += 1
    for i in range(found):
        if w < end:
            m = 0
            k = t.group[suites[i]]
            t.group[suites[i]] = -1
            while k >= 0:
                ciphers[m] = &work[k].cipher
                m += 1
                k = following[k]
        if seal:
            seal_group(&t.suites[suites[i]], ciphers, m)
        else:
            open_group(&t.suites[suites[i]], ciphers, m)


cdef void seal_chunk(table_t *t, work_t *work, int n) noexcept nogil:
    """Encrypt, then write the ICV; w.cipher.good and w.mac.good say whether the library did its part."""
    run(t, work, n, True)


cdef void open_chunk(table_t *t, work_t *work, int n) noexcept nogil:
    """Check the ICV, then decrypt.

    A wrong separate ICV gives AUTH_FAILED, nothing decrypted; w.cipher.good is 0 for a wrong ICV of an AEAD.
    """
    run(t, work, n, False)
