"""Packets that several outbound SAs protect together (RFC 4301 sec. 4.3): all of their layers or none."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from ._esp cimport seal_chunk
from ._ip cimport FRAG_NONE, ip_t
from ._protect cimport covers, exhausted, number, parse, plan_t, protect_any, refuse, sealed, sized, succeed
from ._types cimport (
    BUNDLE_BIT, CHUNK, PENDING, SCRATCH, SA_AH, SA_TUNNEL, ST_MALFORMED, ST_NO_ROOM, ST_OK,
    ST_SEQ_EXHAUSTED,
    bundle_t, sa_t, table_t, verdict_t, view_t, work_t,
)


cdef uint8_t fits(table_t *t, const view_t *batch, int64_t i, climb_t *c) noexcept nogil:
    """Go through all layers without writing: PENDING, or a refusal with c.failed."""
    cdef int r
    cdef ip_t ip
    cdef plan_t p
    cdef sa_t *sa
    cdef uint8_t status
    cdef bint tunnelled = False
    ip.total = 0
    for r in range(c.n):
        sa = c.sa[r]
        c.failed = c.n - 1 - r
        if r == 0 and not parse(sa, c.ip, c.length, &ip):
            return ST_MALFORMED
        status = sized(sa, &t.suites[sa.suite].shape, c.ip, &ip, sa.flags, &p)
        if status != PENDING:
            return status
        if sa.flags & SA_AH and not tunnelled and not covers(sa, &ip, sa.flags, c.ip, t.scratch):
            return ST_MALFORMED
        tunnelled = tunnelled or sa.flags & SA_TUNNEL
        ip.total = p.total
        ip.version = p.version
        ip.hdr_len = p.hdr_len
        ip.next_ofs = p.next_ofs
        ip.proto = p.proto
        ip.fragment = FRAG_NONE
    if <int64_t> ip.total > batch.slot_length[i]:
        c.failed = 0
        return ST_NO_ROOM
    return PENDING


cdef uint8_t reserve(climb_t *c) noexcept nogil:
    """Take a number of each layer: all of them or none."""
    cdef int r
    for r in range(c.n):
        if exhausted(c.sa[r]):
            c.failed = c.n - 1 - r
            return ST_SEQ_EXHAUSTED
    for r in range(c.n):
        number(c.sa[r], &c.seq[r])
    return PENDING


cdef void climb_from(const table_t *t, const view_t *batch, int64_t i, int64_t handle, climb_t *c) noexcept nogil:
    """The layers that a handle stands for."""
    cdef const bundle_t *bundle
    cdef int r
    c.ip = batch.base + batch.offset[i]
    c.length = batch.length[i]
    c.n = 1
    if not handle >> BUNDLE_BIT:
        c.sa[0] = &t.sas[<uint32_t> handle - 1]
        return
    bundle = &t.bundles[<uint32_t> handle - 1]
    c.n = <int> bundle.n
    for r in range(c.n):
        c.sa[r] = &t.sas[bundle.sa[r]]


cdef void chunk_of_bundles(table_t *t, view_t *batch, verdict_t *out, int64_t start, int n) noexcept nogil:
    """Layer by layer over the chunk; numbers are those of one packet after the other."""
    cdef climb_t climbs[CHUNK]
    cdef int of[CHUNK]         # whose work item it is
    cdef climb_t *c
    cdef work_t *w
    cdef int k, j, m, r = 0, most = 0
    cdef int64_t i
    for k in range(n):
        c = &climbs[k]
        climb_from(t, batch, start + k, out.handle[start + k], c)
        c.status = fits(t, batch, start + k, c)
        if c.status == PENDING:
            c.status = reserve(c)
        if c.status == PENDING:
            most = max(most, c.n)
        else:
            refuse(batch, out, start + k, c.sa[c.n - 1 - c.failed], c.status, <uint8_t> c.failed)
    for r in range(most):
        m = 0
        for k in range(n):
            c = &climbs[k]
            if c.status != PENDING or r >= c.n:
                continue
            i = start + k
            w = &t.work[m]
            of[m] = k
            w.sa = c.sa[r]
            w.suite = w.sa.suite
            w.status = protect_any(t, w, w.sa, c.ip, c.length, batch.base + batch.slot_offset[i],
                                   batch.slot_length[i], NULL, c.seq[r], t.scratch + m * SCRATCH)
            m += 1
        seal_chunk(t, t.work, m)
        for j in range(m):
            w = &t.work[j]
            c = &climbs[of[j]]
            c.ip = w.at.ip
            c.length = w.at.total
            w.status = sealed(t, w)
            if w.status != ST_OK:
                c.status = w.status
                refuse(batch, out, start + of[j], w.sa, w.status, <uint8_t> (c.n - 1 - r))
            elif r == c.n - 1:
                succeed(batch, out, start + of[j], w)
