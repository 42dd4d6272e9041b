# One thread's stretch of a batch, and the copies of the SAs that it works with.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from ._types cimport bundle_t, sa_t, table_t, verdict_t, view_t

# What a stretch's packets ask of one SA
cdef struct unit_t:
    uint32_t real             # the SA's index
    uint32_t count            # outbound: numbers that its packets take
    uint64_t low, high        # inbound: of their numbers
    bint odd                  # inbound: its numbers mean what they seem only if no other stretch has some
    bint later                # inbound: all its packets come after the threads, in the batch's order

cdef struct stretch_t:
    int64_t start             # its first packet in the batch
    table_t *table            # the thread's own; its SAs are the copies
    sa_t *sas                 # [room]
    unit_t *units             # [room], by copy
    bundle_t *bundles         # outbound; handles in here and in `sas` are the real ones
    uint32_t n, n_bundles
    int64_t n_later           # packets
    bint bad                  # outbound: a handle is none
    view_t view               # the batch from `start` on
    verdict_t out

# Packets that come after the threads: their places in the batch, and what stood there
cdef struct later_t:
    int64_t *index
    int32_t *length
    uint32_t *unit            # by packet of the batch: its unit, counted from 1

cdef void count_outbound(const table_t *whole, stretch_t *own) noexcept nogil
cdef bint number_stretches(table_t *whole, stretch_t **stretches, int n) noexcept nogil
cdef void end_outbound(table_t *whole, stretch_t *own) noexcept nogil
cdef void restore_handles(stretch_t *own) noexcept nogil

cdef void look_inbound(const table_t *whole, stretch_t *own, uint32_t *unit) noexcept nogil
cdef void judge_stretches(table_t *whole, stretch_t **stretches, int n, bint alone) noexcept nogil
cdef void hold_back(stretch_t *own, const later_t *later) noexcept nogil
cdef void end_inbound(table_t *whole, stretch_t *own) noexcept nogil
