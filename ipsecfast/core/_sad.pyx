"""CoreSAD: owner of SAs, keyed states and lookup table.

One SA is a `sa_t` at a fixed place; its handle is that place and how often it was used before, so that a
handle is never handed out again.  SPIs hash into open-addressed buckets, each the head of a chain of
candidates.  Nothing is rebuilt by add or delete.  Thread rule: one call at a time; the second raises.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from ._bundles cimport add_bundle, delete_bundle, in_bundle
from ._bytes cimport swap32, wipe
from ._chains cimport is_duplicate, put_in_chain, take_from_chain
from ._crypto cimport Provider
from ._keys cimport KeyStore, drop_states, key_states, release_states, suite_of
from ._memory cimport free_scratch, map_dense, new_scratch, unmap
from ._types cimport (
    BUNDLE_BIT, CHUNK_ONE_PASS, CLASS_AEAD, IPPROTO_AH_, IPPROTO_ESP_, MAX_LAYERS, N_STATUS,
    SA_AEAD, SA_AH, SA_ANY_MODE, SA_COPY_DSCP, SA_DECAP_DSCP, SA_DF_COPY, SA_DF_SET, SA_DST_ANY, SA_ECN, SA_ESN,
    SA_FLOW_COPY, SA_HAS_ADDRESS, SA_IN_USE, SA_MATCH_SRC, SA_OUTBOUND, SA_STRICT_PADDING,
    SA_TUNNEL, SA_UDP, SA_USUAL, SA_V6,
    bucket_t, bundle_t, sa_t, shape_t, table_t,
)
from ._window cimport window_mark, window_words

import operator
import os
from ipaddress import ip_address

from ..errors import DuplicateSAError, ProviderError, SADFullError
from ..sa import SecurityAssociation

cdef enum:
    MAX_CAPACITY = 1 << 26
    ROOMY = 8192    # capacities up to here have buckets enough that nearly every SPI is in its first one

cdef unsigned processes = 0     # forks survived


cdef unsigned fork_count() noexcept:
    """Differs between a process and its parent."""
    return processes


def _forked():
    global processes
    processes += 1


os.register_at_fork(after_in_child=_forked)

assert sizeof(sa_t) == 192


cdef int system_random(uint8_t *out, size_t n) noexcept nogil:
    """The kernel's generator, where libcrypto's is not to be had."""
    with gil:
        try:
            data = os.urandom(n)
            memcpy(out, <const char *> data, n)
            return 1
        except Exception:
            return 0


cdef class CoreSAD(KeyStore):
    """The security association database of the core; `ipsecfast.SAD` is its public face.

    capacity : SAs it can hold, 1 to 2**26.
    choose : callable (Encryption, Authentication) -> `ipsecfast.provider.Choice`; raises if no provider may serve.
    random : Provider with a random generator, or None.
    slow : the pure Python datapath, which then does all the work, or None.
    """

    def __cinit__(self, *args, **kwargs):
        self._ports = {}
        self._free = []
        self._free_bundles = []
        self._born = processes

    def __init__(self, capacity, choose, random, slow):
        cdef table_t *t = &self.table
        cdef uint32_t bits = 4
        if t.sas != NULL:
            raise RuntimeError("a SAD can't be initialised again")
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(f"capacity: got {type(capacity).__name__}, wanted an int")
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ValueError(f"capacity: got {capacity}, wanted 1 to {MAX_CAPACITY} SAs")
        self.capacity = capacity
        self.slow = slow
        self._choose = choose
        while (1 << bits) < (4 if capacity <= ROOMY else 2) * capacity:
            bits += 1
        t.chunk = CHUNK_ONE_PASS
        t.capacity = <uint32_t> capacity
        t.bucket_mask = (<uint32_t> 1 << bits) - 1
        t.bucket_shift = 32 - bits
        t.sas = <sa_t *> map_dense(capacity * sizeof(sa_t))
        t.buckets = <bucket_t *> map_dense((<size_t> t.bucket_mask + 1) * sizeof(bucket_t))
        t.scratch = new_scratch()
        t.ports = <uint8_t *> calloc(8192, 1)
        if t.sas == NULL or t.buckets == NULL or t.ports == NULL:
            raise MemoryError()
        memset(t.group, 0xFF, sizeof(t.group))
        _use_port(self, 4500)
        t.random = system_random
        if random is not None and (<Provider?> random).table.random != NULL:
            t.random = (<Provider> random).table.random

    def __dealloc__(self):
        cdef table_t *t = &self.table
        cdef uint32_t i
        if t.sas != NULL:
            for i in range(t.high_water):
                if t.sas[i].flags & SA_IN_USE:
                    release_states(t, &t.sas[i])
                    _release(&t.sas[i])
            wipe(t.sas, t.high_water * sizeof(sa_t))
            unmap(t.sas, t.capacity * sizeof(sa_t))
        if t.buckets != NULL:
            unmap(t.buckets, (<size_t> t.bucket_mask + 1) * sizeof(bucket_t))
        free_scratch(t.scratch)
        free(t.ports)
        free(t.bundles)
        wipe(t.pool, sizeof(t.pool))
        wipe(t.work, sizeof(t.work))

    def __reduce_ex__(self, protocol):
        raise TypeError("a SAD can't be pickled: it holds keys")

    def __len__(self):
        return self._count if self.slow is None else len(self.slow)

    cdef int enter(self) except -1:
        """Take the SAD for one call."""
        if self.table.sas == NULL:
            raise RuntimeError("this SAD was not initialised: a subclass must call SAD.__init__")
        if self._born != processes:
            raise RuntimeError("this SAD belongs to the parent process: sending on with its sequence numbers in two "
                               "processes would repeat IVs; make a SAD of its own after the fork")
        if self.busy:
            raise RuntimeError("this SAD is at work in another thread; different SADs are independent")
        self.busy = True
        return 0

    cdef void leave(self) noexcept:
        self.busy = False

    cdef sa_t *find(self, object which) except NULL:
        """The SA of a handle that is valid; raises KeyError, TypeError for what is no integer."""
        number = operator.index(which)
        if self.find_bundle(number) != NULL:
            raise KeyError(f"handle {number} is a bundle, wanted an SA")
        cdef int64_t handle = number if 0 < number < 1 << 63 else 0
        cdef uint32_t index = <uint32_t> handle - 1
        cdef sa_t *sa
        if handle > 0 and index < self.table.high_water:
            sa = &self.table.sas[index]
            if sa.flags & SA_IN_USE and sa.handle == handle:
                return sa
        raise KeyError(f"handle {number} names no SA of this SAD")

    cdef bundle_t *find_bundle(self, object number) noexcept:
        """The bundle of a handle, or NULL."""
        cdef int64_t handle = number if 0 < number < 1 << 63 else 0
        cdef uint32_t index = <uint32_t> handle - 1
        if handle >> BUNDLE_BIT and index < self.table.n_bundles and self.table.bundles[index].handle == handle:
            return &self.table.bundles[index] if self.table.bundles[index].n else NULL
        return NULL

    def add(self, sa, direction, seq=0):
        """Put an SA in and return its handle, an int > 0 that is never handed out again.

        direction : ``"inbound"`` or ``"outbound"``.
        seq : the last number sent, or the highest authenticated one (64 bits with ESN, else 32).

        Raises DuplicateSAError for an SPI that is there already with this destination, protocol and
        direction; SADFullError; ProviderError where no provider has the algorithm; TypeError, ValueError.
        """
        cdef bint outbound = _direction(sa, direction)
        cdef uint64_t top = _sequence(seq, sa.esn)
        self.enter()
        try:
            if self.slow is not None:
                return self.slow.add(sa, direction, seq)
            return _add(self, sa, outbound, top)
        finally:
            self.leave()

    def update(self, handle, seq_hi):
        """Replace the high half of the highest number and clear the window (what UPDATE_SA needs).

        seq_hi : 32 bits.  Raises KeyError for an unknown handle, ValueError for an SA without ESN.
        """
        if isinstance(seq_hi, bool) or not isinstance(seq_hi, int):
            raise TypeError(f"seq_hi: got {type(seq_hi).__name__}, wanted an int")
        if not 0 <= seq_hi <= 0xFFFFFFFF:
            raise ValueError(f"seq_hi: got {seq_hi}, wanted 32 bits")
        cdef sa_t *s
        cdef uint64_t high = seq_hi
        self.enter()
        try:
            if self.slow is not None:
                self.slow.update(handle, seq_hi)
                return
            s = self.find(handle)
            if not s.flags & SA_ESN:
                raise ValueError("seq_hi: this SA has no extended sequence numbers")
            if s.flags & SA_OUTBOUND:
                if high < s.seq >> 32:
                    raise ValueError(
                        f"seq_hi: got {seq_hi}, wanted {s.seq >> 32} or more: numbers sent before would be sent again")
            else:
                memset(s.ring, 0, (<size_t> s.ring_mask + 1) * 8)
            s.seq = high << 32 | <uint32_t> s.seq
        finally:
            self.leave()

    def delete(self, handle):
        """Take an SA out; its keys are wiped at once, and bundles that it is in go too.  Or take a bundle out, alone.

        Raises KeyError for an unknown handle.
        """
        cdef bundle_t *bundle
        self.enter()
        try:
            if self.slow is not None:
                self.slow.delete(operator.index(handle))
                return
            bundle = self.find_bundle(operator.index(handle))
            if bundle != NULL:
                delete_bundle(&self.table, bundle, self._free_bundles)
            else:
                _delete(self, self.find(handle))
        finally:
            self.leave()

    def bundle(self, handles):
        """Make a handle that puts several outbound SAs on, the first of ``handles`` innermost (RFC 4301 sec. 4.3).

        handles : 1 to 8 different outbound SAs: transport in tunnel, AH around ESP, tunnel in tunnel, ...

        `encapsulate` with it protects a packet by all of them or refuses it and uses nothing of any;
        ``failed_layer`` then says which, 0 being the outermost.  Raises KeyError for an unknown handle or a
        bundle's, ValueError for an inbound SA, one that is there twice, or a wrong number of them.
        """
        members = list(handles)
        if not 1 <= len(members) <= MAX_LAYERS:
            raise ValueError(f"handles: got {len(members)}, wanted 1 to {MAX_LAYERS}")
        self.enter()
        try:
            if self.slow is not None:
                return self.slow.bundle(members)
            return _bundle(self, members)
        finally:
            self.leave()

    def counters(self, handle):
        """(packets, bytes, counter per PacketStatus, last sequence number) of one SA."""
        cdef sa_t *s
        cdef int i
        self.enter()
        try:
            if self.slow is not None:
                return self.slow.counters(handle)
            s = self.find(handle)
            counts = [0 if s.refused == NULL else s.refused[i] for i in range(N_STATUS)]
            counts[0] = s.packets
            return s.packets, s.bytes, counts, s.seq
        finally:
            self.leave()


cdef bint _direction(sa, direction) except -1:
    """Is it outbound?  Also checks that the SA may go that way."""
    if not isinstance(sa, SecurityAssociation):
        raise TypeError(f"sa: got {type(sa).__name__}, wanted SecurityAssociation")
    if direction == "inbound":
        return False
    if direction != "outbound":
        raise ValueError(f"direction: got {direction!r}, wanted inbound or outbound")
    if sa.mode == "any":
        raise ValueError("mode: got any, wanted tunnel or transport for an outbound SA")
    if sa.mode == "tunnel" and (sa.src is None or sa.dst is None):
        raise ValueError("src and dst: an outbound tunnel needs both")
    return True


cdef uint64_t _sequence(seq, bint esn) except? 0:
    if isinstance(seq, bool) or not isinstance(seq, int):
        raise TypeError(f"seq: got {type(seq).__name__}, wanted an int")
    if not 0 <= seq <= (0xFFFFFFFFFFFFFFFF if esn else 0xFFFFFFFF):
        raise ValueError(f"seq: got {seq}, wanted {64 if esn else 32} bits" + ("" if esn else " without ESN"))
    return seq


cdef object _add(CoreSAD self, sa, bint outbound, uint64_t top):
    cdef sa_t fresh
    _has_room(self)
    memset(&fresh, 0, sizeof(sa_t))
    _describe(&fresh, sa, outbound)
    fresh.suite = <uint8_t> suite_of(self, sa)
    try:
        return _enter(self, &fresh, sa, sa.auth_key if sa.auth_alg.ah_only else sa.enc_key, sa.auth_key, top).handle
    finally:
        wipe(&fresh, sizeof(sa_t))


cdef int _has_room(CoreSAD self) except -1:
    if not self._free and self.table.high_water == self.table.capacity:
        raise SADFullError(f"the SAD is full: its capacity is {self.table.capacity} SAs")
    return 0


cdef sa_t *_enter(CoreSAD self, sa_t *fresh, sa, bytes enc_key, bytes auth_key, uint64_t top) except NULL:
    """Put in an SA that is described, with a suite; `fresh` is the caller's to wipe.  sa : for its algorithms."""
    cdef table_t *t = &self.table
    cdef uint32_t index
    cdef sa_t *s = fresh
    cdef bint outbound = (s.flags & SA_OUTBOUND) != 0
    s.flags |= _usual(s, &t.suites[s.suite].shape)
    if is_duplicate(t, s):
        dst = None if s.flags & SA_DST_ANY else ip_address(s.dst[:16 if s.flags & SA_V6 else 4])
        raise DuplicateSAError(
            f"an {'outbound' if outbound else 'inbound'} SA with SPI 0x{swap32(s.spi_be):08x}, destination {dst} and "
            f"protocol {sa.protocol} is already there")
    key_states(self, s, sa, enc_key, auth_key, outbound)
    s.seq = top
    if outbound:
        s.word[1] = <uint64_t> -1 if s.flags & SA_ESN else <uint64_t> 0xFFFFFFFFU
    if outbound and not t.random(<uint8_t *> s.word, 8):
        drop_states(self, s)
        raise ProviderError("no randomness to be had for the IVs of this SA")
    if not outbound and not _window(s, top):
        drop_states(self, s)
        raise MemoryError()
    index = self._free.pop() if self._free else t.high_water
    s.handle = t.sas[index].handle or index + 1
    t.sas[index] = fresh[0]
    s = &t.sas[index]
    if outbound or s.ring == fresh.word:
        s.ring = s.word
    if index == t.high_water:
        t.high_water += 1
    put_in_chain(t, index)
    self._count += 1
    if s.flags & SA_UDP and not outbound:
        for port in {s.sport, s.dport}:
            _use_port(self, port)
    if s.flags & SA_ANY_MODE:
        t.n_any_mode += 1
    if s.flags & SA_AH:
        t.n_ah += 1
    return s


# --- SAs of one mould: what the NIC adds ------------------------------------------------------------------------------

cdef class Mould:
    """What SAs have in common that differ in SPI, addresses and keys alone."""


cdef Mould mould_of(CoreSAD self, sa, bint outbound):
    """The mould of SAs like this one, which has no addresses."""
    cdef Mould mould = Mould.__new__(Mould)
    _direction(sa, "outbound" if outbound else "inbound")
    memset(&mould.sa, 0, sizeof(sa_t))
    _describe(&mould.sa, sa, outbound)
    mould.sa.suite = <uint8_t> suite_of(self, sa)
    mould.sa.flags &= ~<uint32_t> (SA_DST_ANY | SA_MATCH_SRC)
    mould.like = sa
    mould.ah_only = sa.auth_alg.ah_only
    return mould


cdef sa_t *cast_sa(CoreSAD self, Mould mould, uint32_t spi, bytes src, bytes dst, bint match_src, bytes enc_key,
                   bytes salt, bytes auth_key) except NULL:
    """Add an SA.  src, dst : in network order, empty for a wildcard.  Raises as `CoreSAD.add`."""
    cdef sa_t fresh = mould.sa
    _has_room(self)
    fresh.spi_be = swap32(spi)
    if dst or src:
        fresh.flags |= SA_HAS_ADDRESS | (SA_V6 if len(dst or src) == 16 else 0)
    if not dst:
        fresh.flags |= SA_DST_ANY
    elif src and match_src:
        fresh.flags |= SA_MATCH_SRC
    _put(fresh.dst, dst, 16)
    _put(fresh.src, src, 16)
    _put(<uint8_t *> &fresh.salt, salt, 4)
    try:
        return _enter(self, &fresh, mould.like, auth_key if mould.ah_only else enc_key, auth_key, 0)
    finally:
        wipe(&fresh, sizeof(sa_t))


cdef object delete_sa(CoreSAD self, int64_t handle):
    """`CoreSAD.delete` of an SA that is there, without taking the SAD."""
    return _delete(self, &self.table.sas[<uint32_t> handle - 1])


# ----------------------------------------------------------------------------------------------------------------------


cdef uint32_t _usual(const sa_t *s, const shape_t *shape) noexcept:
    """Which short way this SA's usual packets may go through `_outbound` or `_inbound`: SA_USUAL, SA_AEAD, or 0."""
    cdef uint32_t not_so = SA_ESN | SA_V6 | SA_ANY_MODE | SA_MATCH_SRC
    if s.flags & SA_OUTBOUND:
        not_so |= SA_TUNNEL | SA_UDP
    if s.flags & not_so or s.icv_len < 8:
        return 0
    return SA_USUAL | (SA_AEAD if not s.flags & SA_AH and shape.kind == CLASS_AEAD and shape.salt_len == 4 else 0)


cdef int _describe(sa_t *s, sa, bint outbound) except -1:
    """Everything of an SA that is no key and no state."""
    cdef uint32_t flags = SA_IN_USE
    address = sa.dst if sa.dst is not None else sa.src
    flags |= SA_OUTBOUND if outbound else 0
    flags |= SA_ESN if sa.esn else 0
    flags |= SA_TUNNEL if sa.mode == "tunnel" else 0
    flags |= SA_ANY_MODE if sa.mode == "any" else 0
    flags |= SA_STRICT_PADDING if sa.strict_padding else 0
    flags |= SA_ECN if sa.ecn else 0
    flags |= SA_COPY_DSCP if sa.copy_dscp else 0
    flags |= SA_DECAP_DSCP if sa.decap_dscp else 0
    flags |= SA_AH if sa.protocol == "ah" else 0
    flags |= SA_MATCH_SRC if sa.match_src and not outbound else 0
    flags |= {"copy": SA_DF_COPY, "set": SA_DF_SET, "clear": 0}[sa.df]
    if address is not None:
        flags |= SA_HAS_ADDRESS | (SA_V6 if address.version == 6 else 0)
    if sa.dst is None:
        flags |= SA_DST_ANY
    else:
        _put(s.dst, sa.dst.packed, 16)
    if sa.src is not None:
        _put(s.src, sa.src.packed, 16)
    if sa.flow_label == "copy":
        flags |= SA_FLOW_COPY
    else:
        s.flow_label = sa.flow_label
    if sa.udp_encap is not None:
        flags |= SA_UDP
        s.sport, s.dport = sa.udp_encap
    _put(<uint8_t *> &s.salt, sa.salt, 4)
    s.spi_be = swap32(sa.spi)
    s.flags = flags
    s.proto = IPPROTO_AH_ if flags & SA_AH else IPPROTO_ESP_
    s.ah_align = sa.ah_align or 4
    s.icv_len = sa.icv_len
    s.ttl = sa.ttl
    # RFC 4303 sec. 1: no anti-replay without integrity, or one forged number would move the window
    s.window_size = sa.replay_window if sa.icv_len else 0
    s.tfc_pad_to = sa.tfc_pad_to or 0
    return 0


cdef void _put(uint8_t *to, bytes data, size_t room):
    memcpy(to, <const char *> data, min(room, <size_t> len(data)))


cdef bint _window(sa_t *s, uint64_t top) noexcept:
    """Give an inbound SA its window; False if there is no memory."""
    cdef uint32_t words = window_words(s.window_size)
    s.ring_mask = <uint8_t> (words - 1)
    s.ring = s.word
    if words > 2:
        s.ring = <uint64_t *> calloc(words, 8)
        if s.ring == NULL:
            return False
    if top and s.window_size:
        window_mark(s.ring, s.ring_mask, top, top)
    return True


cdef void _use_port(CoreSAD self, uint32_t port):
    self._ports[port] = self._ports.get(port, 0) + 1
    self.table.ports[port >> 3] |= 1 << (port & 7)
    self.table.port_filter |= (<uint64_t> 1) << (port & 63)


cdef void _leave_port(CoreSAD self, uint32_t port):
    self._ports[port] -= 1
    if not self._ports[port]:
        del self._ports[port]
        self.table.ports[port >> 3] &= ~(1 << (port & 7))


cdef void _release(sa_t *s) noexcept:
    """Give back an SA's own memory."""
    if s.ring != s.word:
        free(s.ring)
    free(s.refused)


cdef object _delete(CoreSAD self, sa_t *s):
    cdef table_t *t = &self.table
    cdef uint32_t index = <uint32_t> (s - t.sas), i
    cdef int64_t handle = s.handle
    take_from_chain(t, index)
    if s.flags & SA_UDP and not s.flags & SA_OUTBOUND:
        for port in {s.sport, s.dport}:
            _leave_port(self, port)
    if s.flags & SA_ANY_MODE:
        t.n_any_mode -= 1
    if s.flags & SA_AH:
        t.n_ah -= 1
    for i in range(t.n_bundles if s.n_bundles else 0):
        if in_bundle(&t.bundles[i], index):
            delete_bundle(t, &t.bundles[i], self._free_bundles)
    drop_states(self, s)
    _release(s)
    wipe(s, sizeof(sa_t))
    self._count -= 1
    if handle >> 32 < 0x3FFFFFFF:       # else the place is used up
        s.handle = handle + ((<int64_t> 1) << 32)
        self._free.append(index)


cdef object _bundle(CoreSAD self, list members):
    cdef table_t *t = &self.table
    cdef bundle_t wanted
    cdef sa_t *s
    cdef uint32_t index
    memset(&wanted, 0, sizeof(wanted))
    for member in members:
        s = self.find(member)
        if not s.flags & SA_OUTBOUND:
            raise ValueError(f"handle {member} is an inbound SA, wanted an outbound one")
        index = <uint32_t> (s - t.sas)
        if in_bundle(&wanted, index):
            raise ValueError(f"handle {member} is there twice: one SA protects a packet once")
        wanted.sa[wanted.n] = index
        wanted.n += 1
    return add_bundle(t, &wanted, self._free_bundles)
