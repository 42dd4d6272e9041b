# What ESP's two directions share: where the pieces of one ESP packet lie, as operations for a provider.
# Recipe (RFC 4303 sec. 2, 3.3.2, 3.4.4):
#
#   esp: SPI | seq | IV | payload, TFC padding, padding, pad length, next header | ICV
#                       |<------------------ cipher.text ------------------->|
#   AEAD  aad = SPI, [seq_hi,] seq            nonce = salt, IV
#   GMAC  aad = the same, then IV and text    (as one run of bytes where there is no ESN)
#   MAC   over SPI .. next header[, seq_hi]; seq_hi stands in the ICV's place for that time

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc

from ._bytes cimport copy_iv, prefetch, put_be32, put_raw32, put_raw64, raw32, raw64, swap32
from ._types cimport CLASS_AEAD, CLASS_GMAC, N_STATUS, PENDING, found_t, op_t, sa_t, shape_t, suite_t, table_t, work_t


cdef inline void esp_ops(work_t *w, const sa_t *sa, const shape_t *shape, bint esn, uint8_t *esp, uint32_t esp_len,
                         uint64_t seq, const uint8_t *iv) noexcept nogil:
    """Fill w.cipher and w.mac for the ESP packet at `esp`, whose header must be in place.

    iv : outbound not the packet's memory, which somebody might have written since.
    """
    cdef uint32_t head = 8 + shape.iv_len, icv_len = sa.icv_len, covered = esp_len - icv_len
    cdef op_t *op = &w.cipher
    op.key = sa.key
    op.nonce = w.nonce
    op.text = esp + head
    op.text_len = covered - head
    op.good = 1              # for NULL encryption, which no provider is asked to do
    w.mac.good = 1           # for suites without a separate ICV
    if shape.kind <= CLASS_GMAC:
        put_raw32(w.nonce, sa.salt)
        put_raw64(w.nonce + shape.salt_len, raw64(iv))     # over the salt's fourth byte where it has three
        op.tag = esp + covered
        op.tag_len = icv_len
        op.aad = esp
        op.aad_len = 8
        if esn:
            put_raw32(w.aad, raw32(esp))
            put_be32(w.aad + 4, <uint32_t> (seq >> 32))
            put_raw32(w.aad + 8, raw32(esp + 4))
            op.aad = w.aad
            op.aad_len = 12
        if shape.kind == CLASS_GMAC:
            # all of it is covered; without ESN as one run of bytes
            op.text = esp + 8 if esn else esp
            op.text_len = covered - 8 if esn else covered
            op.aad_len = 12 if esn else 0
        return
    if shape.is_ctr:
        put_raw32(w.nonce, sa.salt)
        put_raw64(w.nonce + 4, raw64(iv))
        put_be32(w.nonce + 12, 1)
    else:
        copy_iv(w.nonce, iv, shape.iv_len)
    w.mac.key = sa.key + shape.mac_ofs
    w.mac.text = esp
    w.mac.text_len = covered + (4 if esn else 0)
    w.mac.tag = w.tag
    w.mac.tag_len = shape.mac_len
    w.icv = esp + covered
    w.hi = esp + covered if esn else NULL


cdef inline bint esp_fits(const sa_t *sa, const shape_t *shape, const found_t *at) noexcept nogil:
    """Room for IV, trailer and ICV, the ciphertext in whole blocks."""
    cdef uint32_t overhead = 8 + shape.iv_len + sa.icv_len
    return at.esp_len >= overhead + 2 and not (at.esp_len - overhead) & (shape.block - 1)


cdef inline void usual_ops(work_t *w, const sa_t *sa, uint32_t icv_len, uint8_t *esp, uint32_t esp_len,
                           uint64_t iv) noexcept nogil:
    """`esp_ops` for a SA_AEAD, with what its caller has in registers; iv as it stands in memory."""
    cdef op_t *op = &w.cipher
    cdef uint32_t text_len = esp_len - 16 - icv_len
    op.key = sa.key
    op.text = esp + 16
    op.aad = esp
    op.nonce = w.nonce
    op.tag = esp + 16 + text_len
    op.text_len = text_len
    op.aad_len = 8
    op.tag_len = icv_len
    put_raw32(w.nonce, sa.salt)
    put_raw64(w.nonce + 4, iv)


cdef inline void put_to_work(work_t *w, sa_t *sa, uint8_t usual) noexcept nogil:
    """A packet whose operations are about to be filled, on a short way."""
    w.sa = sa
    w.suite = sa.suite
    w.usual = usual
    w.status = PENDING


cdef inline void prefetch_state(const sa_t *sa, const suite_t *suite) noexcept nogil:
    """Ask for what short packets need of a state: round keys in front, GHASH's lowest powers or a MAC at the end."""
    prefetch(sa.key)
    prefetch(sa.key + 64)
    prefetch(sa.key + 128)
    prefetch(sa.key + suite.tail - 64)
    prefetch(sa.key + suite.tail - 128)


cdef inline void count_refusal(sa_t *sa, uint8_t status) noexcept nogil:
    """One more packet of this SA refused; the counters are made at the first."""
    if sa.refused == NULL:
        sa.refused = <uint64_t *> calloc(N_STATUS, sizeof(uint64_t))
    if sa.refused != NULL:
        sa.refused[status] += 1


cdef void seal_chunk(table_t *t, work_t *work, int n) noexcept nogil
cdef void open_chunk(table_t *t, work_t *work, int n) noexcept nogil
