"""One batch over several threads, by SA: all packets of an SA are one thread's, in the batch's order.

1. every thread looks at some of the packets and notes the part (of 256) of each: a hash of its SA's SPI, SAs that
   share a bundle counting as one; it looks at those it worked on the last time, if the batch is the same;
2. the parts are given to the lanes, the heaviest first, each to the lane with the least to do;
3. every thread gathers the packets of its parts into tables of its own and works on them (in the batch's tables
   threads would write to each other's cache lines);
4. every thread writes the results of its stretch of the batch back;
5. inbound, layers whose SA is another thread's were put off, at any depth, and follow in the batch's order in one
   thread; from the next batch on such SAs count as one, so that all of their packets come in their order.

Each lane has its own provider contexts, scratch and random bytes; SAs and lookup are shared, and nothing
adds or deletes while a batch is under work.  Threads are kept from batch to batch.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from ._bundles cimport regrow
from ._bytes cimport prefetch, wipe
from ._inbound cimport inbound_batch, inbound_part, take_off_waiting
from ._keys cimport context_of
from ._memory cimport free_scratch, new_scratch
from ._outbound cimport outbound_batch, outbound_part
from ._sad cimport CoreSAD, fork_count
from ._types cimport MAX_LAYERS, suite_t, table_t, verdict_t, view_t, waiting_t

cdef extern from *:
    """
    #include <pthread.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdatomic.h>
    #include <stdlib.h>
    #include <time.h>
    typedef void (*ipf_work)(void *arg, int lane);
    struct ipf_pool;
    struct ipf_worker { struct ipf_pool *pool; int lane; pthread_t thread; };
    struct ipf_pool {
        pthread_mutex_t lock;
        pthread_cond_t wake;
        _Atomic unsigned round;      /* of the work that is there to be done */
        _Atomic unsigned left;       /* workers that have not finished it */
        _Atomic int asleep;
        _Atomic int stop;
        ipf_work work;
        void *arg;
        int n;                       /* lanes, the caller's included */
        struct ipf_worker worker[];
    };
    enum { IPF_SPIN_NS = 50000 };    /* the next batch of a busy caller comes sooner */

    /* Looks until `word` is no longer (or, for !differs, is) `value`, for IPF_SPIN_NS at most; 1 if it came so far.
       No pause instruction: under a hypervisor many of them cost the turn. */
    static int ipf_spin(_Atomic unsigned *word, unsigned value, int differs)
    {
        struct timespec start, now;
        int i;
        clock_gettime(CLOCK_MONOTONIC, &start);
        do {
            for (i = 0; i < 256; i++)
                if ((atomic_load_explicit(word, memory_order_acquire) != value) == differs) return 1;
            clock_gettime(CLOCK_MONOTONIC, &now);
        } while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < IPF_SPIN_NS);
        return 0;
    }
    static void *ipf_thread(void *p)
    {
        struct ipf_worker *self = p;
        struct ipf_pool *pool = self->pool;
        unsigned seen = 0;
        for (;;) {
            if (!ipf_spin(&pool->round, seen, 1)) {
                pthread_mutex_lock(&pool->lock);
                atomic_fetch_add(&pool->asleep, 1);
                while (atomic_load(&pool->round) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
                atomic_fetch_sub(&pool->asleep, 1);
                pthread_mutex_unlock(&pool->lock);
            }
            seen++;
            if (atomic_load(&pool->stop)) return NULL;
            pool->work(pool->arg, self->lane);
            atomic_fetch_sub_explicit(&pool->left, 1, memory_order_release);
        }
    }
    static void ipf_next_round(struct ipf_pool *pool)
    {
        atomic_fetch_add(&pool->round, 1);
        if (atomic_load(&pool->asleep)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_broadcast(&pool->wake);
            pthread_mutex_unlock(&pool->lock);
        }
    }
    /* work(arg, lane) once for every lane, the caller's being 0; returns when all are done */
    static void ipf_pool_run(struct ipf_pool *pool, ipf_work work, void *arg)
    {
        pool->work = work;
        pool->arg = arg;
        atomic_store(&pool->left, pool->n - 1);
        ipf_next_round(pool);
        work(arg, 0);
        while (!ipf_spin(&pool->left, 0, 0)) sched_yield();
    }
    static void ipf_pool_free(struct ipf_pool *pool)
    {
        int i;
        atomic_store(&pool->stop, 1);
        ipf_next_round(pool);
        for (i = 1; i < pool->n; i++) pthread_join(pool->worker[i].thread, NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->lock);
        free(pool);
    }
    /* NULL: the system gives no more threads */
    static struct ipf_pool *ipf_pool_new(int n)
    {
        struct ipf_pool *pool = calloc(1, sizeof(*pool) + n * sizeof(pool->worker[0]));
        sigset_t all, before;
        int i;
        if (!pool) return NULL;
        pthread_mutex_init(&pool->lock, NULL);
        pthread_cond_init(&pool->wake, NULL);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);     /* signals are for the program's own threads */
        for (i = 1; i < n; i++) {
            pool->worker[i].pool = pool;
            pool->worker[i].lane = i;
            if (pthread_create(&pool->worker[i].thread, NULL, ipf_thread, &pool->worker[i])) break;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pool->n = i;
        if (i < n) {
            ipf_pool_free(pool);
            return NULL;
        }
        return pool;
    }
    """
    ctypedef void (*work_fn "ipf_work")(void *arg, int lane) noexcept nogil
    cdef struct pool_t "ipf_pool":
        pass
    pool_t *ipf_pool_new(int n) nogil
    void ipf_pool_free(pool_t *pool) nogil
    void ipf_pool_run(pool_t *pool, work_fn work, void *arg) nogil


cdef enum:
    AHEAD = 16      # packets; another core may have them in its cache


cdef Lanes lanes_of(CoreSAD sad, int n):
    """The SAD's lanes, made anew where their number changes.  Raises RuntimeError where threads can't be had."""
    cdef Lanes lanes
    if sad.lanes is None or (<Lanes> sad.lanes).n != n:
        sad.lanes = None
        lanes = Lanes.__new__(Lanes, n)
        lanes.tables[0] = &sad.table
        sad.lanes = lanes
    return sad.lanes


cdef class Lanes:
    """Threads and what each of them needs to work on one SAD; the SAD owns it."""

    def __cinit__(self, int n):
        cdef int i
        self.n = n
        self.born = fork_count()
        self.contexts = [{} for _ in range(n)]
        self.tables = <table_t **> calloc(n, sizeof(table_t *))
        self.stretches = <stretch_t *> calloc(n, sizeof(stretch_t))
        if self.tables == NULL or self.stretches == NULL:
            raise MemoryError()
        for i in range(1, n):
            self.tables[i] = <table_t *> calloc(1, sizeof(table_t))
            if self.tables[i] == NULL:
                raise MemoryError()
            memset(self.tables[i].group, 0xFF, sizeof(self.tables[i].group))
            self.tables[i].scratch = new_scratch()
        self.pool = ipf_pool_new(n)
        if self.pool == NULL:
            raise RuntimeError(f"threads: the system gave no {n} threads")

    def __dealloc__(self):
        cdef int i
        if self.pool != NULL and self.born == fork_count():     # a forked child has no threads to end
            ipf_pool_free(self.pool)
        if self.tables != NULL:
            for i in range(1, self.n):
                if self.tables[i] != NULL:
                    free_scratch(self.tables[i].scratch)
                    wipe(self.tables[i], sizeof(table_t))
                    free(self.tables[i])
            free(self.tables)
        free(self.stretches)
        self.give_back()

    cdef void give_back(self) noexcept:
        free(self.block)
        free(self.waiting)
        free(self.order)
        self.block = NULL
        self.waiting = NULL
        self.order = NULL
        self.room = 0
        self.base = NULL

    cdef int prepare(self, CoreSAD sad, int64_t packets) except -1:
        """Bring every lane up to date with the SAD, and make room for a batch."""
        cdef table_t *t = &sad.table
        cdef table_t *own
        cdef int i
        cdef size_t room = max(packets, 1)
        regrow(t)
        if packets > self.room or self.block == NULL:
            self.give_back()
            self.block = <char *> malloc(room * PACKET_BYTES)
            self.waiting = <waiting_t *> malloc(room * sizeof(waiting_t))
            self.order = <waiting_t **> malloc(room * sizeof(waiting_t *))
            if self.block == NULL or self.waiting == NULL or self.order == NULL:
                raise MemoryError()
            self.room = room
        for i in range(1, self.n):
            own = self.tables[i]
            own.sas = t.sas
            own.buckets = t.buckets
            own.bucket_mask = t.bucket_mask
            own.bucket_shift = t.bucket_shift
            own.capacity = t.capacity
            own.high_water = t.high_water
            own.n_any_mode = t.n_any_mode
            own.n_ah = t.n_ah
            own.n_bundles = t.n_bundles
            own.bundles = t.bundles
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
        if s.few_ctx != NULL:
            s.few_ctx = context_of(contexts, choice.few)
        own.n_suites += 1
        return 0

    cdef void run(self, job_t *job) noexcept nogil:
        """The whole batch; the caller holds it and the SAD, and has called `prepare`."""
        cdef int i
        cdef int64_t n
        cdef uint32_t epoch = self.tables[0].epoch
        cdef uint32_t span = <uint32_t> (job.batch.n * MAX_LAYERS + 1)
        job.n = self.n
        job.tables = self.tables
        job.stretches = self.stretches
        job.waiting = self.waiting
        job.part = <uint8_t *> self.block + (PACKET_BYTES - 2) * self.room
        job.home = <uint8_t *> self.block + (PACKET_BYTES - 1) * self.room
        job.at_home = self.base == job.batch.base and self.packets == job.batch.n
        self.base = job.batch.base
        self.packets = job.batch.n
        memset(self.stretches, 0, self.n * sizeof(stretch_t))
        for i in range(self.n):
            # no epoch of one lane is another's, for an SA tells by it whether it has packets under work
            self.tables[i].epoch = epoch + <uint32_t> i * span
            self.tables[i].n_waiting = 0
        ipf_pool_run(self.pool, divide, job)
        share_out(job)
        set_tables(job, self.block, self.room)
        ipf_pool_run(self.pool, work, job)
        ipf_pool_run(self.pool, write_back, job)
        self.tables[0].epoch = epoch + <uint32_t> self.n * span
        if not job.outbound:
            n = merge(job, self.order)
            self.tables[0].waiting = NULL
            take_off_waiting(self.tables[0], job.batch, job.out, self.order, n)


cdef inline int64_t stretch_start(const job_t *job, int lane) noexcept nogil:
    return job.batch.n * lane // job.n


cdef void divide(void *arg, int lane) noexcept nogil:
    """Note the part of each packet that this lane looks at, how many there are of each and what they weigh."""
    cdef job_t *job = <job_t *> arg
    cdef const table_t *t = job.tables[lane]
    cdef const view_t *batch = job.batch
    cdef stretch_t *own = &job.stretches[lane]
    cdef int64_t i = 0, end = batch.n
    cdef uint8_t part
    if not job.at_home:
        i = stretch_start(job, lane)
        end = stretch_start(job, lane + 1)
    while i < end:
        if job.at_home and job.home[i] != lane:
            i += 1
            continue
        if not job.outbound and i + AHEAD < end:
            if not job.at_home or job.home[i + AHEAD] == lane:
                prefetch(batch.base + batch.offset[i + AHEAD])
                prefetch(batch.base + batch.offset[i + AHEAD] + 28)
        part = outbound_part(t, job.out.handle[i]) if job.outbound else inbound_part(t, batch, i)
        job.part[i] = part
        own.packets[part] += 1
        own.weight[part] += batch.length[i] + 256      # a packet's own cost in bytes, roughly
        i += 1


cdef void share_out(job_t *job) noexcept nogil:
    """Give each part to the lane that has least to do; few parts the heaviest first."""
    cdef int64_t load[MAX_THREADS]
    cdef int64_t total[PARTS]
    cdef uint8_t order[PARTS]
    cdef int k, i, m = 0, least
    memset(load, 0, sizeof(load))
    memset(job.lane_of, 0, sizeof(job.lane_of))
    for k in range(PARTS):
        total[k] = 0
        for i in range(job.n):
            total[k] += job.stretches[i].weight[k]
        if total[k]:
            order[m] = <uint8_t> k
            m += 1
    if m <= 128:
        sort_by_weight(order, m, total)
    for k in range(m):
        least = 0
        for i in range(1, job.n):
            if load[i] < load[least]:
                least = i
        job.lane_of[order[k]] = <uint8_t> least
        load[least] += total[order[k]]


cdef void sort_by_weight(uint8_t *order, int m, const int64_t *total) noexcept nogil:
    cdef int k, i
    cdef uint8_t part
    for k in range(1, m):
        part = order[k]
        i = k
        while i and total[order[i - 1]] < total[part]:
            order[i] = order[i - 1]
            i -= 1
        order[i] = part


cdef void set_tables(job_t *job, char *block, int64_t room) noexcept nogil:
    """Give each lane its place in the common block."""
    cdef int64_t at = 0
    cdef int lane, i, k
    cdef view_t *view
    cdef verdict_t *out
    for lane in range(job.n):
        view = &job.view[lane]
        out = &job.verdict[lane]
        view.base = job.batch.base
        view.offset = <int64_t *> block + at
        view.slot_offset = <int64_t *> block + room + at
        out.seq = <uint64_t *> block + 2 * room + at
        out.handle = <int64_t *> block + 3 * room + at
        job.index[lane] = <int64_t *> block + 4 * room + at
        view.length = <int32_t *> (block + 40 * room) + at
        view.slot_length = <int32_t *> (block + 44 * room) + at
        out.status = <uint8_t *> block + 48 * room + at
        out.layer = <uint8_t *> block + 49 * room + at
        job.tables[lane].waiting = NULL if job.outbound else job.waiting + at
        view.n = 0
        for k in range(PARTS):
            if job.lane_of[k] == lane:
                for i in range(job.n):
                    view.n += job.stretches[i].packets[k]
        at += view.n


cdef void work(void *arg, int lane) noexcept nogil:
    """Gather the lane's packets, in the batch's order, and take them through.

    For `write_back`, note how many there are in front of each stretch.
    """
    cdef job_t *job = <job_t *> arg
    cdef view_t *own = &job.view[lane]
    cdef const view_t *batch = job.batch
    cdef verdict_t *out = &job.verdict[lane]
    cdef int64_t i, k = 0, start = 0
    cdef int stretch = 0
    for i in range(batch.n):
        while i == start and stretch < job.n:
            job.stretches[stretch].first[lane] = k
            stretch += 1
            start = stretch_start(job, stretch)
        if job.lane_of[job.part[i]] != lane:
            continue
        job.index[lane][k] = i
        own.offset[k] = batch.offset[i]
        own.length[k] = batch.length[i]
        own.slot_offset[k] = batch.slot_offset[i]
        own.slot_length[k] = batch.slot_length[i]
        out.handle[k] = job.out.handle[i]
        k += 1
    if job.outbound:
        outbound_batch(job.tables[lane], own, out, NULL, 0, job.bundles)
    else:
        inbound_batch(job.tables[lane], own, out)


cdef void write_back(void *arg, int lane) noexcept nogil:
    """Put the results of this lane's stretch, whoever worked on them, where they belong."""
    cdef job_t *job = <job_t *> arg
    cdef int64_t *next_of = job.stretches[lane].first
    cdef int64_t i = stretch_start(job, lane), end = stretch_start(job, lane + 1), k
    cdef int owner
    while i < end:
        owner = job.lane_of[job.part[i]]
        job.home[i] = <uint8_t> owner
        k = next_of[owner]
        next_of[owner] += 1
        job.batch.offset[i] = job.view[owner].offset[k]
        job.batch.length[i] = job.view[owner].length[k]
        job.out.status[i] = job.verdict[owner].status[k]
        job.out.layer[i] = job.verdict[owner].layer[k]
        job.out.seq[i] = job.verdict[owner].seq[k]
        job.out.handle[i] = job.verdict[owner].handle[k]
        i += 1


cdef int64_t merge(job_t *job, waiting_t **order) noexcept nogil:
    """What all lanes put off, in the batch's order; returns how many there are."""
    cdef int64_t at[MAX_THREADS]
    cdef int64_t n = 0, k
    cdef int i, first
    cdef table_t *t
    for i in range(job.n):
        at[i] = 0
        t = job.tables[i]
        for k in range(t.n_waiting):
            t.waiting[k].item.index = job.index[i][t.waiting[k].item.index]
    while True:
        first = -1
        for i in range(job.n):
            t = job.tables[i]
            if at[i] < t.n_waiting and (
                    first < 0 or t.waiting[at[i]].item.index < job.tables[first].waiting[at[first]].item.index):
                first = i
        if first < 0:
            return n
        order[n] = &job.tables[first].waiting[at[first]]
        at[first] += 1
        n += 1
