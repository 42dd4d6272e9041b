cdef enum:
    MAX_THREADS = 64

cdef extern from *:
    """
    struct ipf_pool;
    typedef void (*ipf_work)(void *arg, int lane);
    """
    ctypedef void (*work_fn "ipf_work")(void *arg, int lane) noexcept nogil
    cdef struct pool_t "ipf_pool":
        pool_t *next

cdef pool_t *take_pool(int n) except NULL
cdef void give_pool(pool_t *pool, int n) noexcept
cdef void wake_pool(int n) noexcept
cdef void run_pool(pool_t *pool, work_fn work, void *arg) noexcept nogil
