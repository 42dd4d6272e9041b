"""Threads that do one piece of work at once.

They are the process's and not a SAD's: a program that sends with one SAD and receives with another would
otherwise have threads of the one wait, and take the other's core while they do.
"""

from ._sad cimport fork_count

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
        _Atomic unsigned alarm;      /* there will be work soon */
        _Atomic int asleep;
        _Atomic int stop;
        ipf_work work;
        void *arg;
        struct ipf_pool *next;       /* in the list of those that are not in use */
        int n;                       /* lanes, the caller's included */
        struct ipf_worker worker[];
    };
    enum { IPF_SPIN_NS = 200000 };   /* the next batch of a busy caller comes sooner */

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
        unsigned seen = 0, heard = 0;
        for (;;) {
            while (!ipf_spin(&pool->round, seen, 1)) {
                pthread_mutex_lock(&pool->lock);
                atomic_fetch_add(&pool->asleep, 1);
                while (atomic_load(&pool->round) == seen && atomic_load(&pool->alarm) == heard)
                    pthread_cond_wait(&pool->wake, &pool->lock);
                heard = atomic_load(&pool->alarm);
                atomic_fetch_sub(&pool->asleep, 1);
                pthread_mutex_unlock(&pool->lock);
            }
            seen++;
            if (atomic_load(&pool->stop)) return NULL;
            pool->work(pool->arg, self->lane);
            atomic_fetch_sub_explicit(&pool->left, 1, memory_order_release);
        }
    }
    /* `word` is one of those that sleepers wait for */
    static void ipf_call(struct ipf_pool *pool, _Atomic unsigned *word)
    {
        atomic_fetch_add(word, 1);
        if (atomic_load(&pool->asleep)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_broadcast(&pool->wake);
            pthread_mutex_unlock(&pool->lock);
        }
    }
    static void ipf_pool_wake(struct ipf_pool *pool) { if (atomic_load(&pool->asleep)) ipf_call(pool, &pool->alarm); }
    /* work(arg, lane) once for every lane, the caller's being 0; returns when all are done */
    static void ipf_pool_run(struct ipf_pool *pool, ipf_work work, void *arg)
    {
        pool->work = work;
        pool->arg = arg;
        atomic_store(&pool->left, pool->n - 1);
        ipf_call(pool, &pool->round);
        work(arg, 0);
        while (!ipf_spin(&pool->left, 0, 0)) sched_yield();
    }
    static void ipf_pool_free(struct ipf_pool *pool)
    {
        int i;
        atomic_store(&pool->stop, 1);
        ipf_call(pool, &pool->round);
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
    pool_t *ipf_pool_new(int n) nogil
    void ipf_pool_wake(pool_t *pool) nogil
    void ipf_pool_run(pool_t *pool, work_fn work, void *arg) nogil


cdef pool_t *idle[MAX_THREADS + 1]      # by how many lanes they have
cdef unsigned born                      # the process that their threads are in


cdef void know_the_process() noexcept:
    """A forked child has none of its parent's threads."""
    global born
    cdef int i
    if born != fork_count():
        for i in range(MAX_THREADS + 1):
            idle[i] = NULL
        born = fork_count()


cdef pool_t *take_pool(int n) except NULL:
    """n lanes, the caller's among them, until `give_pool`.  Raises RuntimeError where threads can't be had."""
    cdef pool_t *pool
    know_the_process()
    pool = idle[n]
    if pool != NULL:
        idle[n] = pool.next
        return pool
    pool = ipf_pool_new(n)
    if pool == NULL:
        raise RuntimeError(f"threads: the system gave no {n} threads")
    return pool


cdef void give_pool(pool_t *pool, int n) noexcept:
    pool.next = idle[n]
    idle[n] = pool


cdef void wake_pool(int n) noexcept:
    """Work is coming: let threads that sleep wake up while it is being prepared."""
    know_the_process()
    if idle[n] != NULL:
        ipf_pool_wake(idle[n])


cdef void run_pool(pool_t *pool, work_fn work, void *arg) noexcept nogil:
    """work(arg, lane) once for every lane; returns when all are done."""
    ipf_pool_run(pool, work, arg)
