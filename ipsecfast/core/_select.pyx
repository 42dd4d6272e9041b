"""Which SA or bundle a packet is for: the selectors of an SPD (RFC 4301 sec. 4.4.1.1), first match wins.

Selectors of an IP family that look at the same address bits (which is what prefix lengths say) share a mask.
A packet is looked up once a mask, by hash of its addresses under it; of what matches, the first in order
counts.  So thousands of selectors cost little as long as they have few prefix lengths; those that differ in
protocol and ports alone are gone through one by one.

Headers are read by `_ip`, whose walks advance and end.  Knows nothing of SAs: handles are numbers.
One call at a time per table and per batch: a second thread gets RuntimeError.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from ._batch cimport PacketBatch
from ._bytes cimport be16, raw64
from ._ip cimport FRAG_LATER, ip6_walk, ip_head, ip_t, is_walked
from ._types cimport view_t

import numpy as np

cdef enum:
    WORDS = 4                # source and destination as they stand in a header
    WORDS4 = 1               # of IPv4
    UNKNOWN = -2             # no protocol number, so only "any" matches
    MAX_SELECTORS = 1 << 24
    NONE = 0xFFFFFFFF        # no further rule: behind all others

# One selector
cdef struct rule_t:
    uint64_t want[WORDS]     # addresses under the mask
    int64_t handle
    uint32_t mask            # index
    uint32_t next            # a later rule of the same bucket
    int32_t proto            # -1: any
    uint8_t with_ports       # asks for ports, so they must be there
    uint16_t sport_low
    uint16_t sport_span      # how many more
    uint16_t dport_low
    uint16_t dport_span

cdef struct mask_t:
    uint64_t bits[WORDS]
    uint32_t first           # rule that has it

# The selectors of one IP family, in order
cdef struct family_t:
    rule_t *rules
    mask_t *masks            # by their first rules
    uint32_t *buckets        # first rule of each, the others behind it in order
    uint32_t n
    uint32_t room
    uint32_t n_masks
    uint32_t room_masks
    uint32_t shift           # 64 - log2 of the buckets' number
    uint32_t hashed          # rules that are in the buckets

# What selectors look at in a packet
cdef struct flow_t:
    uint64_t ends[WORDS]
    int32_t proto
    uint8_t with_ports
    uint16_t sport
    uint16_t dport


cdef inline bint has_ports(int32_t proto) noexcept nogil:
    """TCP, UDP, DCCP, SCTP, UDP-Lite: source and destination port are their first four bytes."""
    return proto == 6 or proto == 17 or proto == 33 or proto == 132 or proto == 136


cdef inline bint read_flow(const uint8_t *ip, int64_t length, ip_t *head, flow_t *flow) noexcept nogil:
    """Read what selectors look at; False if there is no IP header.

    Protocol and ports are unknown (OPAQUE, RFC 4301) where they are not in the packet: ports of a later
    fragment, all that lies behind an extension header which runs past the end.
    """
    cdef uint32_t there
    if not ip_head(ip, length, head):
        return False
    there = head.total if head.total < length else <uint32_t> length
    flow.sport = flow.dport = flow.with_ports = 0
    if head.version == 4:
        flow.ends[0] = raw64(ip + 12)
    else:
        flow.ends[0] = raw64(ip + 8)
        flow.ends[1] = raw64(ip + 16)
        flow.ends[2] = raw64(ip + 24)
        flow.ends[3] = raw64(ip + 32)
        if is_walked(head.proto) and not ip6_walk(ip, there, head):
            flow.proto = UNKNOWN
            return True
    flow.proto = head.proto
    # ip6_walk leaves hdr_len at the fragment header of a later fragment: nothing behind it is a port
    if has_ports(flow.proto) and head.fragment != FRAG_LATER and there >= head.hdr_len + 4:
        flow.with_ports = True
        flow.sport = be16(ip + head.hdr_len)
        flow.dport = be16(ip + head.hdr_len + 2)
    return True


cdef inline bint upper_fits(const rule_t *rule, const flow_t *flow) noexcept nogil:
    """Protocol and ports."""
    if rule.proto >= 0 and rule.proto != flow.proto:
        return False
    if not rule.with_ports:
        return True
    return (flow.with_ports and <uint16_t> (flow.sport - rule.sport_low) <= rule.sport_span
            and <uint16_t> (flow.dport - rule.dport_low) <= rule.dport_span)


cdef inline uint32_t bucket(const uint64_t *ends, int words, uint32_t mask, uint32_t shift) noexcept nogil:
    cdef uint64_t h = (ends[0] ^ mask) * <uint64_t> 0x9E3779B97F4A7C15
    if words > 1:
        h = ((h ^ h >> 32) + ends[1]) * <uint64_t> 0xC2B2AE3D27D4EB4F
        h = ((h ^ h >> 32) + ends[2]) * <uint64_t> 0x9E3779B97F4A7C15
        h = ((h ^ h >> 32) + ends[3]) * <uint64_t> 0xC2B2AE3D27D4EB4F
    return <uint32_t> (h >> shift)


cdef inline int64_t find(const family_t *family, const flow_t *flow, int words) noexcept nogil:
    """The handle of the first rule that matches, or 0.  `words` is 1 or 4 and known when this is compiled."""
    cdef uint32_t best = NONE, m, i
    cdef int k
    cdef uint64_t ends[WORDS]
    cdef uint64_t other
    cdef const mask_t *mask
    cdef const rule_t *rule
    for m in range(family.n_masks):
        mask = &family.masks[m]
        if mask.first >= best:
            break
        for k in range(words):
            ends[k] = flow.ends[k] & mask.bits[k]
        i = family.buckets[bucket(ends, words, m, family.shift)]
        while i < best:
            rule = &family.rules[i]
            other = rule.mask ^ m
            for k in range(words):
                other |= rule.want[k] ^ ends[k]
            if other == 0 and upper_fits(rule, flow):
                best = i
                break
            i = rule.next
    return 0 if best == NONE else family.rules[best].handle


cdef class SelectorTable:
    """Selectors in order, each with the handle that it stands for."""

    cdef family_t family[2]  # IPv4, IPv6
    cdef Py_ssize_t count
    cdef bint busy

    def __cinit__(self):
        memset(self.family, 0, sizeof(self.family))

    def __dealloc__(self):
        cdef int i
        for i in range(2):
            free(self.family[i].rules)
            free(self.family[i].masks)
            free(self.family[i].buckets)

    def __len__(self):
        return self.count

    def append(self, int version, src not None, dst not None, int proto, sport, dport, int64_t handle):
        """Put a selector behind all others.

        Parameters
        ----------
        version : 4, 6, or 0 for both (then src and dst are empty).
        src, dst : (address, mask), bytes of the family's length each; () is any.
        proto : 0 to 255, -1 any.
        sport, dport : (lowest, highest) port, or None for any.
        handle : what `select` gives for the packets that it matches; 0 as if nothing had matched.
        """
        cdef rule_t rule
        cdef mask_t mask4, mask6
        cdef rule_t rule6
        memset(&rule, 0, sizeof(rule))
        rule.handle, rule.proto = handle, proto
        rule.next = NONE
        rule.with_ports = sport is not None or dport is not None
        rule.sport_low, rule.sport_span = _range(sport)
        rule.dport_low, rule.dport_span = _range(dport)
        rule6 = rule
        if version != 6:
            _ends(src, dst, 4, rule.want, mask4.bits)
        if version != 4:
            _ends(src, dst, 16, rule6.want, mask6.bits)
        _at_rest(self)
        _make_room(&self.family[0])
        _make_room(&self.family[1])
        if version != 6:
            _append(&self.family[0], &rule, &mask4)
        if version != 4:
            _append(&self.family[1], &rule6, &mask6)
        self.count += 1

    def select(self, PacketBatch batch not None):
        """The handle of the first selector that matches each packet: int64[n], 0 where none does.

        The batch is only read.  Raises RuntimeError while another thread works on it or on this table.
        """
        _at_rest(self)
        if batch.busy:
            raise RuntimeError("this batch is at work in another thread")
        self.busy = batch.busy = True
        cdef int64_t[::1] out
        try:
            _hash_rules(&self.family[0], WORDS4)
            _hash_rules(&self.family[1], WORDS)
            handles = np.empty(batch.view.n, np.int64)
            out = handles
            if batch.view.n:
                with nogil:
                    self.select_all(&batch.view, &out[0])
        finally:
            self.busy = batch.busy = False
        return handles

    cdef void select_all(self, const view_t *view, int64_t *out) noexcept nogil:
        cdef const uint8_t *ip
        cdef Py_ssize_t i
        cdef ip_t head
        cdef flow_t flow
        for i in range(view.n):
            ip = view.base + view.offset[i]
            out[i] = 0
            if read_flow(ip, view.length[i], &head, &flow):
                out[i] = (find(&self.family[0], &flow, WORDS4) if head.version == 4
                          else find(&self.family[1], &flow, WORDS))


cdef object _at_rest(SelectorTable table):
    if table.busy:
        raise RuntimeError("these selectors are at work in another thread")


cdef (uint16_t, uint16_t) _range(ports) except *:
    """Lowest port, and how many more."""
    if ports is None:
        return 0, 0xFFFF
    cdef int low = ports[0], high = ports[1]
    if not 0 <= low <= high <= 0xFFFF:
        raise ValueError(f"ports: got {low} to {high}, wanted a range of 0 to 65535")
    return <uint16_t> low, <uint16_t> (high - low)


cdef int _ends(src, dst, Py_ssize_t size, uint64_t *want, uint64_t *bits) except -1:
    """Addresses and masks as they stand in a header."""
    cdef const uint8_t[::1] address, mask
    cdef Py_ssize_t i, at = 0
    memset(want, 0, WORDS * 8)
    memset(bits, 0, WORDS * 8)
    for end in (src, dst):
        if end:
            address, mask = end
            if address.shape[0] != size or mask.shape[0] != size:
                raise ValueError(f"address, mask: wanted {size} bytes each")
            memcpy(<uint8_t *> bits + at, &mask[0], size)
            for i in range(size):
                (<uint8_t *> want)[at + i] = address[i] & mask[i]
        at += size
    return 0


cdef int _make_room(family_t *family) except -1:
    """For one rule and one mask more."""
    cdef void *more
    if family.n == MAX_SELECTORS:
        raise ValueError(f"selectors: got more than {MAX_SELECTORS}")
    if family.n == family.room:
        more = realloc(family.rules, (<size_t> family.room * 2 + 8) * sizeof(rule_t))
        if more == NULL:
            raise MemoryError()
        family.rules, family.room = <rule_t *> more, family.room * 2 + 8
    if family.n_masks == family.room_masks:
        more = realloc(family.masks, (<size_t> family.room_masks * 2 + 8) * sizeof(mask_t))
        if more == NULL:
            raise MemoryError()
        family.masks, family.room_masks = <mask_t *> more, family.room_masks * 2 + 8
    return 0


cdef void _append(family_t *family, rule_t *rule, mask_t *mask) noexcept:
    cdef uint32_t m = 0
    while m < family.n_masks and memcmp(family.masks[m].bits, mask.bits, sizeof(mask.bits)) != 0:
        m += 1
    if m == family.n_masks:
        mask.first = family.n
        family.masks[m] = mask[0]
        family.n_masks += 1
    rule.mask = m
    family.rules[family.n] = rule[0]
    family.n += 1


cdef int _hash_rules(family_t *family, int words) except -1:
    """Put every rule into its bucket, if any were added."""
    cdef uint32_t bits = 4, i
    cdef rule_t *rule
    cdef uint32_t *head
    cdef void *more
    if family.hashed == family.n:
        return 0
    while (<uint32_t> 1 << bits) < 2 * family.n:
        bits += 1
    more = realloc(family.buckets, (<size_t> 1 << bits) * sizeof(uint32_t))
    if more == NULL:
        raise MemoryError()
    family.buckets, family.shift = <uint32_t *> more, 64 - bits
    memset(family.buckets, 0xFF, (<size_t> 1 << bits) * sizeof(uint32_t))     # NONE
    for i in range(family.n, 0, -1):            # from the last on, so that each chain is in order
        rule = &family.rules[i - 1]
        head = &family.buckets[bucket(rule.want, words, rule.mask, family.shift)]
        rule.next = head[0]
        head[0] = i - 1
    family.hashed = family.n
    return 0
