"""One thread's stretch of a batch: what it asks of the SAs, their copies, and how they come together again.

A thread writes to nothing that another one reads, so it works with copies of the SAs.  What a copy starts
with is known beforehand:

- outbound, how many numbers the stretches in front of it take: every packet is asked for, without
  writing, whether it will be protected;
- inbound, the SA's window as it was before the batch.  That gives the verdicts of one packet after the
  other if all numbers of a later stretch lie above those of the earlier ones, whichever of them turn out
  to be genuine; for an SA of which that can't be said its packets wait until the threads are done.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from ._bytes cimport be32, prefetch_w, raw32, wipe
from ._ip cimport ip4_plain, ip_t
from ._locate cimport locate
from ._lookup cimport bucket_of, chain_head, is_bundle, is_outbound
from ._outbound_bundles cimport climb_from, climb_t, fits
from ._types cimport (
    BUNDLE_BIT, IPPROTO_ESP_, N_STATUS, PENDING, SA_AEAD, SA_ESN, SA_NESTED, SA_OUTBOUND,
    bucket_t, bundle_t, found_t, sa_t, table_t,
)
from ._window cimport esn_infer

cdef enum:
    AHEAD = 8                   # packets
    BUNDLE_KEY = 0x80000000U    # in front of a bundle's index in a stretch's map; an SA's is below


cdef inline bucket_t *place_of(const table_t *own, uint32_t key) noexcept nogil:
    """Where the stretch's map has a key, or has room for it."""
    cdef uint32_t at = bucket_of(own, key)
    while own.buckets[at].head and own.buckets[at].spi_be != key:
        at = (at + 1) & own.bucket_mask
    return &own.buckets[at]


cdef bint copy_ring(sa_t *copy, const sa_t *real) noexcept nogil:
    cdef size_t size = (<size_t> real.ring_mask + 1) * 8
    copy.ring = copy.word
    if real.ring == real.word:
        return True
    copy.ring = <uint64_t *> malloc(size)
    if copy.ring == NULL:
        return False
    memcpy(copy.ring, real.ring, size)
    return True


cdef uint32_t add_unit(const table_t *whole, stretch_t *own, uint32_t real) noexcept nogil:
    """A copy of an SA, with counters of its own; returns its index."""
    cdef uint32_t at = own.n
    cdef sa_t *copy = &own.sas[at]
    copy[0] = whole.sas[real]
    copy.packets = 0
    copy.bytes = 0
    copy.refused = NULL
    copy.next = 0
    copy.pend_epoch = own.table.epoch
    memset(&own.units[at], 0, sizeof(own.units[at]))
    own.units[at].real = real
    own.n += 1
    return at


cdef void end_unit(sa_t *copy, sa_t *real) noexcept nogil:
    """Add its counters to the SA's; nothing of it stays."""
    cdef int k
    real.packets += copy.packets
    real.bytes += copy.bytes
    if copy.refused != NULL and real.refused == NULL:
        real.refused = copy.refused
    elif copy.refused != NULL:
        for k in range(N_STATUS):
            real.refused[k] += copy.refused[k]
        free(copy.refused)
    wipe(copy, sizeof(sa_t))


# --- outbound ---------------------------------------------------------------------------------------------------------

cdef inline uint32_t unit_of_handle(const table_t *whole, stretch_t *own, int64_t handle) noexcept nogil:
    """A unit for an outbound SA, counted from 1; 0 if the handle is none."""
    cdef uint32_t index = <uint32_t> handle - 1
    cdef bucket_t *place
    if index >= whole.high_water:
        return 0
    place = place_of(own.table, index)
    if not place.head:
        if not is_outbound(whole, handle):
            return 0
        place.spi_be = index
        place.head = add_unit(whole, own, index) + 1
    return place.head if own.sas[place.head - 1].handle == handle else 0


cdef inline uint32_t unit_of_sa(const table_t *whole, stretch_t *own, uint32_t index) noexcept nogil:
    cdef bucket_t *place = place_of(own.table, index)
    if not place.head:
        place.spi_be = index
        place.head = add_unit(whole, own, index) + 1
    return place.head - 1


cdef int64_t local_bundle(const table_t *whole, stretch_t *own, int64_t handle) noexcept nogil:
    """The stretch's handle for a bundle; 0 if the handle is none."""
    cdef uint32_t index = <uint32_t> handle - 1
    cdef bucket_t *place
    cdef bundle_t *copy
    cdef uint32_t r
    if not is_bundle(whole, handle):
        return 0
    place = place_of(own.table, index | BUNDLE_KEY)
    if not place.head:
        place.spi_be = index | BUNDLE_KEY
        place.head = own.n_bundles + 1
        copy = &own.bundles[own.n_bundles]
        copy[0] = whole.bundles[index]
        for r in range(copy.n):
            copy.sa[r] = unit_of_sa(whole, own, copy.sa[r])
        own.n_bundles += 1
    return (<int64_t> 1 << BUNDLE_BIT) | place.head


cdef inline bint surely_fits(const stretch_t *own, int64_t k, const sa_t *sa) noexcept nogil:
    """Most packets of most users: IPv4 without options and room for more than ESP takes on either side."""
    cdef ip_t ip
    cdef int64_t at = own.view.offset[k], low = own.view.slot_offset[k]
    return (
        sa.flags & SA_AEAD
        and ip4_plain(own.view.base + at, own.view.length[k], &ip)
        and ip.total <= 65000 and at - low >= 16 and low + own.view.slot_length[k] - at >= ip.total + 64
    )


cdef void count_outbound(const table_t *whole, stretch_t *own) noexcept nogil:
    """Copy the SAs of the stretch, count the numbers that they will give; handles become the copies'.

    At a handle that is none the stretch ends, and is bad.
    """
    cdef int64_t k, handle, last = 0, local = 0
    cdef uint32_t unit = 0
    cdef climb_t c
    cdef int r
    cdef bint bundled = False
    for k in range(own.view.n):
        if k + AHEAD < own.view.n:
            prefetch_w(own.view.base + own.view.offset[k + AHEAD])
        handle = own.out.handle[k]
        if handle != last or not local:     # 0 is none, too
            last = handle
            bundled = handle > 0 and handle >> BUNDLE_BIT
            if bundled:
                local = local_bundle(whole, own, handle)
            else:
                local = unit_of_handle(whole, own, handle)
                unit = <uint32_t> local - 1
            if not local:
                own.bad = True
                own.view.n = k
                return
        own.out.handle[k] = local
        if not bundled and surely_fits(own, k, &own.sas[unit]):
            own.units[unit].count += 1
            continue
        climb_from(own.table, &own.view, k, local, &c)
        if fits(own.table, &own.view, k, &c) == PENDING:
            for r in range(c.n):
                own.units[c.sa[r] - own.sas].count += 1


cdef bint number_stretches(table_t *whole, stretch_t **stretches, int n) noexcept nogil:
    """Give every copy the numbers it may use; False, and nothing is given, if an SA has not as many."""
    cdef int i
    cdef uint32_t u
    cdef stretch_t *own
    cdef sa_t *real
    cdef bint enough = True
    for i in range(n):
        own = stretches[i]
        for u in range(own.n):
            real = &whole.sas[own.units[u].real]
            own.sas[u].seq = real.seq
            if real.word[1] - real.seq < own.units[u].count:
                enough = False
                own.units[u].count = 0
            real.seq += own.units[u].count
            own.sas[u].word[1] = real.seq
    if not enough:
        for i in range(n):
            for u in range(stretches[i].n):
                whole.sas[stretches[i].units[u].real].seq -= stretches[i].units[u].count
    return enough


cdef void restore_handles(stretch_t *own) noexcept nogil:
    cdef int64_t k, handle
    for k in range(own.view.n):
        handle = own.out.handle[k]
        if handle >> BUNDLE_BIT:
            own.out.handle[k] = own.bundles[<uint32_t> handle - 1].handle
        else:
            own.out.handle[k] = own.sas[handle - 1].handle


cdef void end_outbound(table_t *whole, stretch_t *own) noexcept nogil:
    cdef uint32_t u
    for u in range(own.n):
        end_unit(&own.sas[u], &whole.sas[own.units[u].real])


# --- inbound ----------------------------------------------------------------------------------------------------------

cdef uint32_t unit_of_spi(const table_t *whole, stretch_t *own, bucket_t *place, uint32_t spi_be) noexcept nogil:
    """A unit for the SA with this SPI, counted from 1; 0 if there is none."""
    cdef uint32_t head = chain_head(whole, spi_be), at
    cdef const sa_t *real
    if not head:
        return 0
    real = &whole.sas[head - 1]
    at = add_unit(whole, own, head - 1)
    place.spi_be = spi_be
    place.head = at + 1
    # the copies have no chains; what one SA does in another one's packets shows only when they are open
    own.units[at].later = real.next != 0 or (real.flags & (SA_OUTBOUND | SA_NESTED)) != 0
    if not copy_ring(&own.sas[at], real):
        own.units[at].later = True
    return at + 1


cdef inline uint64_t number_of(const sa_t *sa, uint32_t seq_lo, unit_t *unit) noexcept nogil:
    """A packet's number as the SA infers it before the batch."""
    cdef bint valid
    cdef uint64_t seq = seq_lo
    if sa.flags & SA_ESN:
        seq = esn_infer(sa.seq, sa.window_size, seq_lo, &valid)
        if not valid or (seq ^ sa.seq) >> 32 or (seq - sa.seq if seq > sa.seq else sa.seq - seq) >> 31:
            unit.odd = True         # near the end of a span, where the top decides
    return seq


cdef void look_inbound(const table_t *whole, stretch_t *own, uint32_t *unit) noexcept nogil:
    """Copy the SAs of the stretch and note the lowest and highest number of each, and each packet's unit."""
    cdef int64_t k
    cdef found_t at
    cdef ip_t plain
    cdef bucket_t *place
    cdef uint8_t *ip
    cdef const uint8_t *esp
    cdef uint32_t spi_be, u
    cdef uint64_t seq
    cdef unit_t *its
    for k in range(own.view.n):
        if k + AHEAD < own.view.n:
            prefetch_w(own.view.base + own.view.offset[k + AHEAD])
        unit[k] = 0
        ip = own.view.base + own.view.offset[k]
        if ip4_plain(ip, own.view.length[k], &plain) and plain.proto == IPPROTO_ESP_ and plain.total >= 32:
            esp = ip + 20
        elif locate(whole, ip, own.view.length[k], &at) == PENDING:
            esp = at.esp
        else:
            continue
        spi_be = raw32(esp)
        place = place_of(own.table, spi_be)
        u = place.head
        if not u:
            u = unit_of_spi(whole, own, place, spi_be)
            if not u:
                continue
        unit[k] = u
        its = &own.units[u - 1]
        seq = number_of(&own.sas[u - 1], be32(esp + 4), its)
        if not its.count:
            its.low = seq
            its.high = seq
        its.count += 1
        its.low = min(its.low, seq)
        its.high = max(its.high, seq)


cdef void judge_stretches(table_t *whole, stretch_t **stretches, int n, bint alone) noexcept nogil:
    """Find the SAs whose packets must wait, in all stretches alike.

    alone : no SA may be in two stretches, and none is unless somebody writes to the packets meanwhile.
    """
    cdef uint32_t seen = whole.epoch + 1, mixed = whole.epoch + 2, u
    cdef int i
    cdef stretch_t *own
    cdef unit_t *unit
    cdef sa_t *real
    whole.epoch += 2
    for i in range(n):
        own = stretches[i]
        for u in range(own.n):
            unit = &own.units[u]
            real = &whole.sas[unit.real]
            if unit.later:
                real.pend_epoch = mixed
            elif not alone and not real.window_size and not real.flags & SA_ESN:
                continue
            elif real.pend_epoch != seen and real.pend_epoch != mixed:
                real.pend_epoch = seen
                real.pend_top = <uint64_t> -1 if unit.odd or alone else unit.high
            elif unit.odd or unit.low <= real.pend_top:
                real.pend_epoch = mixed
            else:
                real.pend_top = unit.high
    for i in range(n):
        own = stretches[i]
        own.n_later = 0
        for u in range(own.n):
            unit = &own.units[u]
            if whole.sas[unit.real].pend_epoch == mixed:
                unit.later = True
            if unit.later:
                own.n_later += unit.count
                own.sas[u].flags |= SA_OUTBOUND     # nobody's, should a packet name it now that did not before


cdef void hold_back(stretch_t *own, const later_t *later) noexcept nogil:
    """Let the packets that must wait look like none, and note them from the stretch's start on."""
    cdef const uint32_t *unit = later.unit + own.start
    cdef int64_t *index = later.index + own.start
    cdef int32_t *length = later.length + own.start
    cdef int64_t k, n = 0
    for k in range(own.view.n):
        if unit[k] and own.units[unit[k] - 1].later:
            index[n] = own.start + k
            length[n] = own.view.length[k]
            own.view.length[k] = 0
            n += 1


cdef void merge_window(const sa_t *copy, sa_t *real) noexcept nogil:
    """All numbers of the copy lie above those that were merged before, or below a top that has not moved."""
    cdef uint64_t mask = real.ring_mask, word = real.seq >> 6, last = copy.seq >> 6, k
    if copy.seq < real.seq:
        return                      # none of its packets was genuine
    if real.window_size:
        if last - word > mask:
            word = last - mask - 1
        while word < last:
            word += 1
            real.ring[word & mask] = 0
        for k in range(mask + 1):
            real.ring[k] |= copy.ring[k]
    real.seq = copy.seq


cdef void end_inbound(table_t *whole, stretch_t *own) noexcept nogil:
    """Bring windows and counters back; the stretches in the batch's order."""
    cdef uint32_t u
    cdef sa_t *copy
    cdef sa_t *real
    for u in range(own.n):
        copy = &own.sas[u]
        real = &whole.sas[own.units[u].real]
        if not own.units[u].later:
            merge_window(copy, real)
        if copy.ring != copy.word:
            free(copy.ring)
        end_unit(copy, real)
