"""One batch over several threads: each takes a stretch of it, at once and in place.

0. where a library's keyed states change while they are used (libcrypto's contexts), all packets of an SA are one
   stretch's: packets are gathered by SA, and put back at the end;
1. every thread looks at the packets of its stretch and copies the SAs that they need (`_stretch`);
2. the caller gives the copies their sequence numbers, or finds the SAs whose packets must wait;
3. every thread works on its stretch with its copies;
4. the caller brings windows and counters together, and takes the packets that had to wait.

Outbound nothing waits.  Inbound these do: packets of an SA whose numbers are out of order across the border
of two stretches, of SAs that share an SPI, and layers inside another layer; SAs met inside each other
wait as a whole from the next batch on, so that all of their packets come in their order.

Each thread has its own provider contexts, scratch and random bytes; nothing adds or deletes SAs while a batch
is under work.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from ._bytes cimport raw32, wipe
from ._inbound cimport inbound_batch, take_off_waiting
from ._keys cimport context_of
from ._locate cimport locate
from ._lookup cimport spi_hash
from ._memory cimport free_scratch, new_scratch
from ._outbound cimport outbound_batch
from ._pool cimport MAX_THREADS, pool_t, run_pool
from ._sad cimport CoreSAD
from ._stretch cimport (
    count_outbound, end_inbound, end_outbound, hold_back, judge_stretches, look_inbound, number_stretches,
    restore_handles, stretch_t, unit_t,
)
from ._types cimport (
    MAX_LAYERS, PENDING, bucket_t, bundle_t, found_t, sa_t, suite_t, table_t, verdict_t, view_t, waiting_t,
)

cdef extern from *:
    """
    #include <stdlib.h>
    /* Memory of one thread: none of its lines, nor of those that a prefetcher takes with them, is another's. */
    static void *ipf_apart(size_t n) { return aligned_alloc(256, (n + 255) & ~(size_t) 255); }
    """
    void *apart "ipf_apart"(size_t n) noexcept nogil


cdef enum:
    PACKET_COST = 512       # what a packet costs by itself, in bytes that cost as much
    SAMPLES = 512
    LONG = 65000            # with AH in front, more than some algorithms of ipsec-mb take


cdef Lanes lanes_of(CoreSAD sad, int n):
    """The SAD's lanes, made anew where their number changes."""
    if sad.lanes is None or (<Lanes> sad.lanes).n != n:
        sad.lanes = None
        sad.lanes = Lanes.__new__(Lanes, n)
    return sad.lanes


cdef inline void put_packet(view_t *batch, verdict_t *out, int64_t at, const view_t *own, const verdict_t *own_out,
                            int64_t k) noexcept nogil:
    """Packet k of another batch, with what became of it, where it belongs in the whole."""
    batch.offset[at] = own.offset[k]
    batch.length[at] = own.length[k]
    out.status[at] = own_out.status[k]
    out.layer[at] = own_out.layer[k]
    out.seq[at] = own_out.seq[k]
    out.handle[at] = own_out.handle[k]


cdef inline int lowest(const int64_t *places, int n) noexcept nogil:
    """Which of them is: the thread that has the batch's next packet."""
    cdef int i, found = 0
    for i in range(1, n):
        if places[i] < places[found]:
            found = i
    return found


cdef class Lanes:
    """What each thread needs to work on one SAD; the SAD owns it."""

    def __cinit__(self, int n):
        cdef int i
        self.n = n
        self.contexts = [{} for _ in range(n)]
        self.stretches = <stretch_t **> calloc(n, sizeof(stretch_t *))
        if self.stretches == NULL:
            raise MemoryError()
        for i in range(n):
            self.stretches[i] = <stretch_t *> apart(sizeof(stretch_t))
            if self.stretches[i] == NULL:
                raise MemoryError()
            memset(self.stretches[i], 0, sizeof(stretch_t))
            self.stretches[i].table = new_table()

    def __dealloc__(self):
        cdef int i
        self.give_back()
        for i in range(self.n if self.stretches != NULL else 0):
            if self.stretches[i] != NULL and self.stretches[i].table != NULL:
                free_scratch(self.stretches[i].table.scratch)
                wipe(self.stretches[i].table, sizeof(table_t))
                free(self.stretches[i].table)
            free(self.stretches[i])
        free(self.stretches)

    cdef void give_back(self) noexcept:
        cdef int i
        for i in range(self.n if self.stretches != NULL else 0):
            if self.stretches[i] != NULL and self.stretches[i].table != NULL:
                free(self.stretches[i].sas)
                free(self.stretches[i].units)
                free(self.stretches[i].bundles)
                free(self.stretches[i].table.buckets)
                self.stretches[i].sas = NULL
                self.stretches[i].units = NULL
                self.stretches[i].bundles = NULL
                self.stretches[i].table.buckets = NULL
        free(self.block)
        free(self.waiting)
        self.block = NULL
        self.waiting = NULL
        self.packets = 0
        self.sas = 0
        self.bundles = 0

    cdef int make_room(self, size_t packets, size_t sas, size_t bundles) except -1:
        """For a batch of so many packets that need so many SAs and bundles, whoever gets them."""
        cdef int i
        cdef uint32_t bits = 4
        cdef stretch_t *own
        if packets <= self.packets and sas <= self.sas and bundles <= self.bundles:
            return 0
        packets = (max(packets, self.packets) + 7) & ~<size_t> 7      # so that all columns are aligned
        sas = max(sas, self.sas)
        bundles = max(bundles, self.bundles)
        self.give_back()
        self.block = <char *> malloc(packets * BLOCK_BYTES)
        self.waiting = <waiting_t *> malloc(packets * sizeof(waiting_t))
        if self.block == NULL or self.waiting == NULL:
            raise MemoryError()
        while <size_t> 1 << bits < 2 * (sas + bundles):
            bits += 1
        for i in range(self.n):
            own = self.stretches[i]
            own.sas = <sa_t *> apart(sas * sizeof(sa_t))
            own.units = <unit_t *> apart(sas * sizeof(unit_t))
            own.bundles = <bundle_t *> apart(bundles * sizeof(bundle_t))
            own.table.buckets = <bucket_t *> apart(sizeof(bucket_t) << bits)
            if own.sas == NULL or own.units == NULL or own.bundles == NULL or own.table.buckets == NULL:
                raise MemoryError()
            own.table.bucket_mask = (<uint32_t> 1 << bits) - 1
            own.table.bucket_shift = 32 - bits
            own.table.sas = own.sas
            own.table.bundles = own.bundles
        self.packets = packets
        self.sas = sas
        self.bundles = bundles
        return 0

    cdef int prepare(self, CoreSAD sad, job_t *job) except -1:
        """Bring every lane up to date with the SAD, and make room for a batch."""
        cdef table_t *t = &sad.table
        cdef table_t *own
        cdef int i
        cdef size_t n = <size_t> max(job.batch.n, 1), bundles = min(<size_t> t.n_bundles, n) if job.bundles else 0
        cdef size_t sas = min(<size_t> max(t.high_water, 1), n * MAX_LAYERS if bundles else n)
        self.make_room(n, sas, max(bundles, <size_t> 1))
        self.by_sa = False
        for i in range(t.n_suites):
            self.by_sa = self.by_sa or changes(&t.suites[i])
        for i in range(self.n):
            own = self.stretches[i].table
            own.whole = t
            own.n_any_mode = t.n_any_mode
            own.n_ah = t.n_ah
            own.ports = t.ports
            own.port_filter = t.port_filter
            own.random = t.random
            own.chunk = t.chunk
            while own.n_suites < t.n_suites:
                self.bind(own, i, t, sad.choices[own.n_suites])
        return 0

    cdef int bind(self, table_t *own, int lane, const table_t *t, choice) except -1:
        """The next suite, with this lane's own contexts."""
        cdef suite_t *s = &own.suites[own.n_suites]
        cdef dict contexts = self.contexts[lane]
        s[0] = t.suites[own.n_suites]
        if s.cipher_ctx != NULL:
            s.cipher_ctx = context_of(contexts, choice.cipher)
        if s.mac_ctx != NULL:
            s.mac_ctx = context_of(contexts, choice.mac)
        # what serves small groups would have to be keyed for each lane; the first provider does them as well
        s.few_cipher = NULL
        s.few_mac = NULL
        s.few_ctx = NULL
        s.few_encrypt = 0
        s.few_decrypt = 0
        s.few_macs = 0
        own.n_suites += 1
        return 0

    cdef bint run(self, pool_t *pool, table_t *whole, job_t *job) noexcept nogil:
        """The whole batch; the caller holds it and the SAD, and has called `prepare`.

        False, and nothing was done: a handle is none.
        """
        cdef bint bad = False
        cdef int i
        job.n = self.n
        job.whole = whole
        job.stretches = self.stretches
        job.later.index = <int64_t *> self.block
        job.later.length = <int32_t *> (self.block + 8 * self.packets)
        job.later.unit = <uint32_t *> (self.block + 12 * self.packets)
        job.place = <int64_t *> (self.block + 58 * self.packets) if self.by_sa else NULL
        if self.by_sa:
            self.gather(job)
        else:
            self.cut(job)
        run_pool(pool, look, job)
        if not job.outbound:
            judge_stretches(whole, self.stretches, self.n, self.by_sa)
        else:
            for i in range(self.n):
                bad = bad or self.stretches[i].bad
            if bad or not number_stretches(whole, self.stretches, self.n):
                for i in range(self.n):
                    if not self.by_sa:
                        restore_handles(self.stretches[i])
                    end_outbound(whole, self.stretches[i])
                if not bad:
                    outbound_batch(whole, job.batch, job.out, NULL, 0, job.bundles)
                return not bad
        run_pool(pool, work, job)
        if self.by_sa:
            self.put_back(job)
        for i in range(self.n):
            if job.outbound:
                end_outbound(whole, self.stretches[i])
            else:
                end_inbound(whole, self.stretches[i])
        if not job.outbound:
            self.take_later(job)
            self.take_off(job)
        return True

    cdef void cut(self, job_t *job) noexcept nogil:
        """Into stretches of about the same weight, of which many packets let a sample tell."""
        cdef view_t *batch = job.batch
        cdef verdict_t *out = job.out
        cdef int64_t total = 0, weight = 0, k = 0, step = 1 + batch.n // SAMPLES
        cdef int i
        cdef stretch_t *own
        while k < batch.n:
            total += batch.length[k] + PACKET_COST
            k += step
        k = 0
        for i in range(self.n):
            own = self.stretches[i]
            own.start = k
            while k < batch.n and (weight * self.n < total * (i + 1) or i == self.n - 1):
                weight += batch.length[k] + PACKET_COST
                k += step
            k = min(k, batch.n)
            own.view = view_t(batch.base, k - own.start, batch.offset + own.start, batch.length + own.start,
                              batch.slot_offset + own.start, batch.slot_length + own.start)
            own.out = verdict_t(out.status + own.start, out.layer + own.start, out.seq + own.start,
                                out.handle + own.start)
            self.begin(own, job)

    cdef void begin(self, stretch_t *own, job_t *job) noexcept nogil:
        own.n = 0
        own.n_bundles = 0
        own.n_later = 0
        own.bad = False
        own.table.waiting = NULL if job.outbound else self.waiting + own.start
        own.table.n_waiting = 0

    cdef void gather(self, job_t *job) noexcept nogil:
        """Stretches by SA, in columns of their own."""
        cdef size_t room = self.packets
        cdef char *block = self.block + 66 * room
        cdef const view_t *batch = job.batch
        cdef int64_t count[MAX_THREADS]
        cdef int64_t k, start = 0
        cdef uint8_t *lane_of = <uint8_t *> (block + 42 * room)
        cdef stretch_t *own
        cdef int i
        cdef found_t at
        memset(count, 0, sizeof(count))
        for k in range(batch.n):
            i = 0
            if job.outbound:
                i = <int> ((spi_hash(<uint32_t> job.out.handle[k]) >> 16) % <uint32_t> self.n)
            elif locate(job.whole, batch.base + batch.offset[k], batch.length[k], &at) == PENDING:
                i = <int> ((spi_hash(raw32(at.esp)) >> 16) % <uint32_t> self.n)
            lane_of[k] = <uint8_t> i
            count[i] += 1
        for i in range(self.n):
            own = self.stretches[i]
            own.start = start
            own.view = view_t(batch.base, 0, <int64_t *> block + start, <int32_t *> (block + 32 * room) + start,
                              <int64_t *> (block + 8 * room) + start, <int32_t *> (block + 36 * room) + start)
            own.out = verdict_t(<uint8_t *> (block + 40 * room) + start, <uint8_t *> (block + 41 * room) + start,
                                <uint64_t *> (block + 16 * room) + start, <int64_t *> (block + 24 * room) + start)
            self.begin(own, job)
            start += count[i]
        for k in range(batch.n):
            own = self.stretches[lane_of[k]]
            own.view.offset[own.view.n] = batch.offset[k]
            own.view.length[own.view.n] = batch.length[k]
            own.view.slot_offset[own.view.n] = batch.slot_offset[k]
            own.view.slot_length[own.view.n] = batch.slot_length[k]
            own.out.handle[own.view.n] = job.out.handle[k]
            job.place[own.start + own.view.n] = k
            own.view.n += 1

    cdef void put_back(self, job_t *job) noexcept nogil:
        """What `gather` took, where it belongs."""
        cdef int i
        cdef stretch_t *own
        cdef int64_t k, at
        for i in range(self.n):
            own = self.stretches[i]
            for k in range(own.view.n):
                at = job.place[own.start + k]
                put_packet(job.batch, job.out, at, &own.view, &own.out, k)
            for k in range(own.n_later):
                job.later.index[own.start + k] = job.place[job.later.index[own.start + k]]
            for k in range(own.table.n_waiting):
                own.table.waiting[k].item.index = job.place[own.table.waiting[k].item.index]

    cdef void take_later(self, job_t *job) noexcept nogil:
        """The packets that had to wait, as a batch of their own; in the batch's order, of which gathered stretches have
        each a part."""
        cdef size_t room = self.packets
        cdef char *block = self.block + 16 * room
        cdef const view_t *batch = job.batch
        cdef view_t view = view_t(batch.base, 0, <int64_t *> block, <int32_t *> (block + 32 * room),
                                  <int64_t *> (block + 8 * room), <int32_t *> (block + 36 * room))
        cdef verdict_t found = verdict_t(<uint8_t *> (block + 40 * room), <uint8_t *> (block + 41 * room),
                                         <uint64_t *> (block + 16 * room), <int64_t *> (block + 24 * room))
        cdef int64_t *order = <int64_t *> (block + 42 * room)     # where job.place was
        cdef int64_t upcoming[MAX_THREADS]
        cdef int64_t taken[MAX_THREADS]
        cdef stretch_t *own
        cdef int i
        cdef int64_t k, at, n = 0
        for i in range(self.n):
            taken[i] = self.stretches[i].start
            upcoming[i] = job.later.index[taken[i]] if self.stretches[i].n_later else batch.n
        i = lowest(upcoming, self.n)
        while upcoming[i] < batch.n:
            own = self.stretches[i]
            at = upcoming[i]
            order[n] = at
            view.offset[n] = batch.offset[at]
            view.length[n] = job.later.length[taken[i]]
            view.slot_offset[n] = batch.slot_offset[at]
            view.slot_length[n] = batch.slot_length[at]
            n += 1
            taken[i] += 1
            upcoming[i] = job.later.index[taken[i]] if taken[i] < own.start + own.n_later else batch.n
            i = lowest(upcoming, self.n)
        view.n = n
        if n:
            inbound_batch(job.whole, &view, &found)
        for k in range(n):
            put_packet(job.batch, job.out, order[k], &view, &found, k)

    cdef void take_off(self, job_t *job) noexcept nogil:
        """The layers that the threads put off, also in the batch's order."""
        cdef int64_t upcoming[MAX_THREADS]
        cdef int64_t taken[MAX_THREADS]
        cdef table_t *own
        cdef int i
        for i in range(self.n):
            own = self.stretches[i].table
            taken[i] = 0
            upcoming[i] = own.waiting[0].item.index if own.n_waiting else job.batch.n
        i = lowest(upcoming, self.n)
        while upcoming[i] < job.batch.n:
            own = self.stretches[i].table
            take_off_waiting(job.whole, job.batch, job.out, &own.waiting[taken[i]], 1)
            taken[i] += 1
            upcoming[i] = own.waiting[taken[i]].item.index if taken[i] < own.n_waiting else job.batch.n
            i = lowest(upcoming, self.n)


cdef bint changes(const suite_t *s) noexcept nogil:
    """Does a keyed state change while it is used?  Those that own something do: libcrypto's contexts."""
    return s.cipher != NULL and s.cipher.key_free != NULL or s.mac != NULL and s.mac.key_free != NULL


cdef bint one_thread_must(CoreSAD sad, const job_t *job) noexcept nogil:
    """Packets that only the provider of small groups takes, and bundles where states change while used."""
    cdef int i
    cdef int64_t k
    if job.bundles:
        for i in range(sad.table.n_suites):
            if changes(&sad.table.suites[i]):
                return True
    for k in range(job.batch.n):
        if job.batch.length[k] > LONG:
            return True
    return False


cdef table_t *new_table() except NULL:
    cdef table_t *t = <table_t *> apart(sizeof(table_t))
    if t == NULL:
        raise MemoryError()
    memset(t, 0, sizeof(table_t))
    memset(t.group, 0xFF, sizeof(t.group))
    try:
        t.scratch = new_scratch()
    except MemoryError:
        free(t)
        raise
    return t


cdef void look(void *arg, int lane) noexcept nogil:
    cdef job_t *job = <job_t *> arg
    cdef stretch_t *own = job.stretches[lane]
    memset(own.table.buckets, 0, (<size_t> own.table.bucket_mask + 1) * sizeof(bucket_t))
    if job.outbound:
        count_outbound(job.whole, own)
    else:
        look_inbound(job.whole, own, job.later.unit + own.start)
    own.table.high_water = own.n


cdef void work(void *arg, int lane) noexcept nogil:
    cdef job_t *job = <job_t *> arg
    cdef stretch_t *own = job.stretches[lane]
    cdef int64_t k
    if job.outbound:
        outbound_batch(own.table, &own.view, &own.out, NULL, 0, job.bundles)
        restore_handles(own)
        return
    if own.n_later:
        hold_back(own, &job.later)
    inbound_batch(own.table, &own.view, &own.out)
    for k in range(own.table.n_waiting):
        own.table.waiting[k].item.index += own.start
