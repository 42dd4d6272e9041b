from libc.stdint cimport int64_t

from ._pool cimport pool_t
from ._sad cimport CoreSAD
from ._stretch cimport later_t, stretch_t
from ._types cimport table_t, verdict_t, view_t, waiting_t

cdef enum:
    BLOCK_BYTES = 109   # a packet: the columns of later_t, of `take_later`, and of `gather`

# One batch's work, as all threads see it
cdef struct job_t:
    view_t *batch
    verdict_t *out
    bint bundles
    bint outbound
    int n                           # lanes
    table_t *whole
    stretch_t **stretches           # [n]
    later_t later
    int64_t *place                  # of gathered packets in the batch; NULL: the stretches are the batch's own


cdef class Lanes:
    cdef readonly int n
    cdef list contexts              # by lane, Provider -> Context
    cdef stretch_t **stretches
    cdef char *block                # columns for all packets of a batch
    cdef waiting_t *waiting
    cdef size_t packets             # that there is room for
    cdef size_t sas
    cdef size_t bundles
    cdef bint by_sa                 # stretches are gathered by SA

    cdef void give_back(self) noexcept
    cdef int make_room(self, size_t packets, size_t sas, size_t bundles) except -1
    cdef int bind(self, table_t *own, int lane, const table_t *t, choice) except -1
    cdef int prepare(self, CoreSAD sad, job_t *job) except -1
    cdef bint run(self, pool_t *pool, table_t *whole, job_t *job) noexcept nogil
    cdef void cut(self, job_t *job) noexcept nogil
    cdef void begin(self, stretch_t *own, job_t *job) noexcept nogil
    cdef void gather(self, job_t *job) noexcept nogil
    cdef void put_back(self, job_t *job) noexcept nogil
    cdef void take_later(self, job_t *job) noexcept nogil
    cdef void take_off(self, job_t *job) noexcept nogil


cdef Lanes lanes_of(CoreSAD sad, int n)
cdef bint one_thread_must(CoreSAD sad, const job_t *job) noexcept nogil
