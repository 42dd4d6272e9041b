from libc.stdint cimport int64_t, uint8_t

from ._sad cimport CoreSAD
from ._types cimport table_t, verdict_t, view_t, waiting_t

cdef enum:
    MAX_THREADS = 64
    PARTS = 256         # of a batch; the unit that threads are given
    PACKET_BYTES = 52   # of `Lanes.block`: the columns that `set_tables` lays out, part and home

# What a thread counts of the packets that it looks at; and where its stretch of the batch begins
cdef struct stretch_t:
    int64_t packets[PARTS]
    int64_t weight[PARTS]           # bytes
    int64_t first[MAX_THREADS]      # by lane: where the stretch's packets begin in the lane's tables

# One batch's work, as all threads see it
cdef struct job_t:
    view_t *batch
    verdict_t *out
    bint bundles
    bint outbound
    int n                           # lanes
    table_t **tables                # [n], by lane
    stretch_t *stretches            # [n]
    waiting_t *waiting              # room for the whole batch
    uint8_t *part                   # by packet
    uint8_t *home                   # by packet: the lane that worked on it the last time ...
    bint at_home                    # ... if this is the same batch
    uint8_t lane_of[PARTS]          # by part
    view_t view[MAX_THREADS]        # by lane: its packets ...
    verdict_t verdict[MAX_THREADS]
    int64_t *index[MAX_THREADS]     # ... and where they stand in the batch

cdef extern from *:
    """
    struct ipf_pool;
    """
    cdef struct pool_t "ipf_pool"


cdef class Lanes:
    cdef readonly int n
    cdef table_t **tables           # the first is the SAD's own
    cdef list contexts              # by lane, Provider -> Context
    cdef pool_t *pool
    cdef unsigned born              # the process that the threads are in
    cdef stretch_t *stretches
    cdef char *block                # columns for all packets of a batch
    cdef waiting_t *waiting
    cdef waiting_t **order
    cdef uint8_t *base              # of the last batch ...
    cdef int64_t packets            # ... and its packets
    cdef int64_t room               # packets that there is room for

    cdef void give_back(self) noexcept
    cdef int bind(self, table_t *own, int lane, const table_t *t, choice) except -1
    cdef int prepare(self, CoreSAD sad, int64_t packets) except -1
    cdef void run(self, job_t *job) noexcept nogil


cdef Lanes lanes_of(CoreSAD sad, int n)
