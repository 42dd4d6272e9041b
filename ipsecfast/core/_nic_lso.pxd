from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ._nic cimport nic_t
from ._types cimport table_t, view_t

cdef enum:
    HEAD_ROOM = 1023 + 60     # TcpHeaderOffset has 10 bits, TCP's header at most 60 bytes

# One large send, understood.  Offsets are from the start of the frame; 0: there is none.
cdef struct large_t:
    const uint8_t *frame      # the host's, who may write it at any time: only payload is read there
    uint32_t ip
    uint32_t udp
    uint32_t ah
    uint32_t esp
    uint32_t tcp
    uint32_t head             # everything in front of the payload
    uint32_t lead             # free bytes in front of each segment, so that what is encrypted begins a cache line
    int64_t payload
    uint64_t tcp_sum          # of TCP's header, without the words that are each segment's own
    uint64_t ip_sum           # the same of IPv4's
    uint32_t mss              # 0: the frame is copied as it is
    uint32_t align_mask
    uint32_t icv_len          # of ESP
    uint8_t next_header       # for ESP's trailer
    uint8_t version
    bint v2
    uint8_t headers[HEAD_ROOM]    # `head` bytes that were judged, which every segment begins with

# A batch on its way from large frames to segments
cdef struct cutting_t:
    const view_t *batch       # the host's
    const int64_t *first      # where its lists begin, or NULL
    const large_t *large      # what `measure` found, an entry a frame
    view_t *out               # segments, whose memory and tables have room for all
    int64_t *out_first
    int64_t at                # where the next one goes
    int64_t start             # of its payload in that of its large send
    uint32_t number           # in its large send


cdef inline int64_t segments_of(const large_t *big) noexcept nogil:
    return (big.payload + big.mss - 1) // big.mss


cdef bint has_large_send(const uint64_t *oob, int64_t n) noexcept nogil
cdef void measure(const table_t *t, const nic_t *nic, const view_t *batch, const int64_t *first, int64_t n,
                  const uint64_t *oob, uint32_t *status, bint raw, large_t *large, int64_t *segments,
                  int64_t *room) noexcept nogil
cdef void cut_first(cutting_t *c, const large_t *big) noexcept nogil
cdef void cut_next(cutting_t *c, const large_t *big) noexcept nogil
cdef void ask_ahead(const cutting_t *c, const large_t *big, int64_t n) noexcept nogil
cdef void cut_list(cutting_t *c, int64_t i) noexcept nogil
cdef void complete_large_sends(const int64_t *first, int64_t n, uint64_t *oob, const uint32_t *status,
                               const large_t *large, const view_t *out, const int64_t *out_first) noexcept nogil
