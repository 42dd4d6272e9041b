# The numbers that outbound SAs have sent: none goes out twice, so that no nonce is used twice under a key.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ._nic cimport nic_t
from ._nic_plan cimport LAYERS, layer_t, tx_t
from ._types cimport SA_ESN, sa_t, table_t, view_t
from ._window cimport window_mark

cdef enum:
    RING = 128                # words of the longest window of sent numbers

cdef extern from *:
    """
    #define ipf_lowest(bits) __builtin_ctz(bits)
    """
    int lowest "ipf_lowest"(uint32_t bits) noexcept nogil     # number of the lowest bit that is set

# Numbers of a list with several frames, until it is known that all of it is sent
cdef struct draft_t:
    uint64_t ring[RING]
    uint64_t top
    sa_t *sa                  # NULL: none of this layer yet
    uint64_t first            # of the list's own numbers
    uint64_t last             # the highest of them


cdef inline bint fresh(const uint64_t *ring, uint64_t mask, uint64_t size, uint64_t top, uint64_t seq) noexcept nogil:
    """Was `seq` never sent, as far as the window remembers?"""
    if seq > top:
        return True
    return top - seq < size and not (ring[(seq >> 6) & mask] >> (seq & 63)) & 1


cdef inline bint use_numbers(tx_t *tx) noexcept nogil:
    """Take the numbers of a frame that is its list's only one: all of them, or none and False."""
    cdef layer_t *layer
    cdef uint32_t left = tx.left
    while left:
        layer = &tx.layers[lowest(left)]
        if not fresh(layer.sa.ring, layer.sa.ring_mask, layer.sa.window_size, layer.sa.seq, layer.seq):
            return False
        left &= left - 1
    left = tx.left
    while left:
        layer = &tx.layers[lowest(left)]
        layer.sa.seq = window_mark(layer.sa.ring, layer.sa.ring_mask, layer.sa.seq, layer.seq)
        left &= left - 1
    return True


cdef inline void forget(draft_t *drafts) noexcept nogil:
    cdef int k
    for k in range(LAYERS):
        drafts[k].sa = NULL
        drafts[k].first = 0


cdef inline void begin_draft(draft_t *draft, sa_t *sa, uint64_t seq) noexcept nogil:
    """Start from what the SA remembers."""
    draft.sa = sa
    draft.top = sa.seq
    draft.first = seq
    draft.last = seq
    memcpy(draft.ring, sa.ring, (<size_t> sa.ring_mask + 1) * 8)


cdef inline bint draft_number(draft_t *draft, uint64_t seq) noexcept nogil:
    cdef const sa_t *sa = draft.sa
    if not fresh(draft.ring, sa.ring_mask, sa.window_size, draft.top, seq):
        return False
    draft.top = window_mark(draft.ring, sa.ring_mask, draft.top, seq)
    draft.last = max(draft.last, seq)
    return True


cdef inline bint draft_numbers(draft_t *drafts, tx_t *tx, bint cut) noexcept nogil:
    """Take the numbers of one of several frames in the draft of its list.

    cut : a low half below the first one's has wrapped inside this large send, and has the next high half.
    """
    cdef layer_t *layer
    cdef draft_t *draft
    cdef uint32_t left = tx.left
    while left:
        layer = &tx.layers[lowest(left)]
        draft = &drafts[lowest(left)]
        left &= left - 1
        if draft.sa == NULL:
            begin_draft(draft, layer.sa, layer.seq)
        if cut and layer.sa.flags & SA_ESN and <uint32_t> layer.seq < <uint32_t> draft.first:
            layer.seq += <uint64_t> 1 << 32
        if not draft_number(draft, layer.seq):
            return False
    return True


cdef inline uint64_t mark_run(uint64_t *ring, uint64_t mask, uint64_t top, uint64_t first, uint64_t n) noexcept nogil:
    """`window_mark` for n numbers above the window, which has room for them; returns the new top."""
    cdef uint64_t word, bits, last = first + n - 1, at = first >> 6
    top = window_mark(ring, mask, top, last)
    for word in range(at, (last >> 6) + 1):
        bits = <uint64_t> -1
        if word == at:
            bits <<= first & 63
        if word == last >> 6:
            bits &= <uint64_t> -1 >> (63 - (last & 63))
        ring[word & mask] |= bits
    return top


cdef inline bint draft_run(draft_t *drafts, const tx_t *tx, int64_t n) noexcept nogil:
    """Take the numbers of n segments whose first one is `tx`: they follow each other."""
    cdef const layer_t *layer
    cdef draft_t *draft
    cdef uint32_t left = tx.left
    cdef uint64_t last
    cdef int64_t i
    while left:
        layer = &tx.layers[lowest(left)]
        draft = &drafts[lowest(left)]
        left &= left - 1
        last = layer.seq + <uint64_t> n - 1
        if last < layer.seq or last > <uint64_t> 0xFFFFFFFF and not layer.sa.flags & SA_ESN:
            return False
        begin_draft(draft, layer.sa, layer.seq)
        if layer.seq > draft.top and n <= <int64_t> layer.sa.ring_mask * 64:
            draft.top = mark_run(draft.ring, layer.sa.ring_mask, draft.top, layer.seq, n)
            draft.last = draft.top
            continue
        for i in range(n):
            if not draft_number(draft, layer.seq + i):
                return False
    return True


cdef inline void follow(const tx_t *first, const view_t *batch, int64_t at, int64_t i, tx_t *tx) noexcept nogil:
    """Frame `at`, segment i of the run that begins with `first`: made of the same headers, with the numbers drafted."""
    cdef const layer_t *like
    cdef layer_t *layer
    cdef int64_t longer = batch.length[at] - first.length, away
    cdef uint32_t left = first.left
    cdef int k
    tx.frame = batch.base + batch.offset[at]
    tx.length = batch.length[at]
    tx.limit = batch.base + batch.slot_offset[at] + batch.slot_length[at]
    tx.left = left
    away = tx.frame - first.frame
    tx.ip = first.ip + away
    while left:
        k = lowest(left)
        left &= left - 1
        like = &first.layers[k]
        layer = &tx.layers[k]
        layer.at = like.at
        layer.at.ip += away
        layer.at.esp += away
        layer.at.esp_len += <uint32_t> longer
        layer.at.total += <uint32_t> longer
        layer.sa = like.sa
        layer.seq = like.seq + i
        layer.udp = like.udp + away if like.udp != NULL else NULL


cdef inline void adopt(const table_t *t, nic_t *nic, draft_t *drafts, bint cut) noexcept nogil:
    """The list's numbers are used, and after a wrap among them the SA's high half moves on.

    The window's top tells nothing about that: it may be of another span, which the host has come back from.
    """
    cdef int k
    cdef draft_t *draft
    for k in range(LAYERS):
        draft = &drafts[k]
        if draft.sa == NULL:
            continue
        memcpy(draft.sa.ring, draft.ring, (<size_t> draft.sa.ring_mask + 1) * 8)
        draft.sa.seq = draft.top
        if cut and draft.last >> 32 != draft.first >> 32:
            nic.sas[draft.sa - t.sas].seq_hi = <uint32_t> (draft.last >> 32)
