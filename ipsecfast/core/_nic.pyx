"""NicTable: the NIC's view of a SAD: bundles, handles, what is switched on.

A bundle is what one ADD_SA entry says: an ESP SA, an AH SA, or both, of one direction.  Its SAs are in the
CoreSAD like everybody's; a few words beside each hold what only the NIC needs.  A handle names a bundle; two may name
the same.  Thread rule: as the SAD's, one call at a time.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from cpython.object cimport PyObject

from ._batch cimport PacketBatch, new_batch
from ._bytes cimport any32
from ._nbl cimport NblArrays
from ._nic_lso cimport complete_large_sends, cutting_t, has_large_send, large_t, measure
from ._nic_rx cimport receive_batch
from ._nic_tx cimport send_batch
from ._sad cimport CoreSAD, cast_sa, delete_sa, mould_of
from ._types cimport CLASS_GMAC, SA_AH, SA_ESN, SA_OUTBOUND, sa_t, shape_t, table_t, view_t
from ._window cimport window_words

from collections import deque

import numpy as np

from ..errors import ProviderError, SADFullError

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *o)
    PyObject *PyList_GET_ITEM(object items, Py_ssize_t i)

cdef enum:
    WRAP_ZONE = 0x40000000    # as the receive path's
    ARENAS = 4                # blocks of segments' memory that are kept ...
    KEPT = 1 << 25            # ... and bytes of the largest
    FEW_FRAMES = 8            # so few are measured sooner than the GIL is let go and taken back


cdef class NicTable:
    """Bundles over a SAD.

    sad : CoreSAD with room for two SAs a bundle; nobody else's SAs in it are touched.
    capacity : handles, and so at most bundles.
    options : an `ipsecfast.ndis.datapath.DatapathOptions`.
    """

    def __cinit__(self, *args, **kwargs):
        memset(&self.nic, 0, sizeof(self.nic))

    def __init__(self, CoreSAD sad not None, uint32_t capacity, options):
        cdef nic_t *nic = &self.nic
        if self.sad is not None:
            raise RuntimeError("a NicTable can't be initialised again")
        if sad.slow is not None:
            raise ProviderError("the NIC needs libcrypto or ipsec-mb: the reference provider does not serve it")
        self.sad = sad
        self._handle_bits = options.handle_bits
        self._index_bits = capacity.bit_length()
        self._free = deque()
        self._free_bundles = []
        self._arenas = []
        nic.capacity = capacity
        nic.handle_mask = (<uint64_t> 1 << self._index_bits) - 1
        nic.n_sas = <uint32_t> sad.capacity
        nic.sas = <nic_sa_t *> calloc(sad.capacity, sizeof(nic_sa_t))
        nic.bundles = <nic_bundle_t *> calloc(capacity, sizeof(nic_bundle_t))
        nic.handles = <nic_handle_t *> calloc(capacity, sizeof(nic_handle_t))
        if nic.sas == NULL or nic.bundles == NULL or nic.handles == NULL:
            raise MemoryError()
        nic.options.esn_literal = options.esn == "literal"
        nic.options.learn_tunnel = options.learn_tunnel
        nic.options.innermost_trailer = options.two_trailers == "innermost"
        nic.options.host_iv = options.iv == "host"
        nic.options.plaintext = options.plaintext_without_offload
        nic.options.strict_offsets = options.strict_offsets
        nic.options.udp6_zero = options.udp6_zero_checksum
        nic.options.sent_window = options.sent_window
        nic.options.strict_segments = options.strict_segments
        nic.options.lso_memory = options.lso_memory
        self._generator = options.iv_generator
        nic.generator = <void *> self._generator if self._generator is not None else NULL

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.nic.sas != NULL:
            for i in range(self.nic.n_sas):       # the collector may have taken the SAD away by now
                free(self.nic.sas[i].ivs)
        free(self.nic.sas)
        free(self.nic.bundles)
        free(self.nic.handles)

    def __len__(self):
        """Handles in use."""
        return self._count

    def configure(self, caps):
        """Take over an `ipsecfast.ndis.datapath.DatapathCapabilities`; which bundles are on is the caller's to say."""
        cdef nic_caps_t *c = &self.nic.caps
        c.receive4 = caps.receive_ipv4
        c.receive6 = caps.receive_ipv6
        c.encapsulation4 = caps.send_ipv4
        c.encapsulation6 = caps.send_ipv6
        c.udp_esp = caps.udp_esp
        c.send = caps.send_ipv4 or caps.send_ipv6
        c.ipv6 = caps.ipv6
        c.options4 = caps.ipv4_options
        c.headers6 = caps.ipv6_extension_headers
        c.esp = caps.esp
        c.ah = caps.ah
        c.transport = caps.transport
        c.tunnel = caps.tunnel
        c.any_mode = caps.transport and caps.tunnel
        c.both = caps.transport_tunnel_combined
        c.lso = caps.lso
        c.lso_v1 = _lso_caps(caps.lso_v1)
        c.lso_v2_4 = _lso_caps(caps.lso_v2_ipv4)
        c.lso_v2_6 = _lso_caps(caps.lso_v2_ipv6)
        c.send_sums[0] = _sum_caps(caps.checksum_send_ipv4)
        c.send_sums[1] = _sum_caps(caps.checksum_send_ipv6)
        c.receive_sums[0] = _sum_caps(caps.checksum_receive_ipv4)
        c.receive_sums[1] = _sum_caps(caps.checksum_receive_ipv6)
        c.sums = c.receive_sums[0].encapsulation != 0 or c.receive_sums[1].encapsulation != 0
        c.tcp = caps.tcp_coexistence
        c.udp = caps.udp_coexistence

    cdef bytearray arena(self, int64_t size):
        """Memory for segments: that of an earlier large send which nobody has any more, or new one."""
        cdef Py_ssize_t i
        cdef PyObject *at
        if size > KEPT:
            return bytearray(size)
        for i in range(len(self._arenas)):
            at = PyList_GET_ITEM(self._arenas, i)
            if Py_REFCNT(at) == 1 and len(<object> at) >= size:
                return <bytearray> at
        if len(self._arenas) == ARENAS:
            del self._arenas[0]
        self._arenas.append(bytearray(max(size, 1 << 17)))
        return self._arenas[len(self._arenas) - 1]

    # --- bundles

    def full(self):
        """Are all handles taken?"""
        return self._count == self.nic.capacity

    def moulds(self, sas, bint outbound):
        """What `add_bundle` needs of the SAs of bundles that differ in SPIs, addresses and keys alone.

        Raises ProviderError where no provider has an algorithm.
        """
        return tuple([mould_of(self.sad, sa, outbound) for sa in sas])

    def add_bundle(self, tuple moulds, members, bytes src, bytes dst, seq_hi, bint ipv6, uint32_t udp_esp,
                   bint match_src, bint on, hint):
        """Add a bundle and its SAs; returns its number, for the calls below, and the SAs' handles in the SAD.

        members : SPI, enc_key, salt and auth_key of each SA.  src, dst : in network order, empty for wildcards.
        match_src : received packets must have the source address.  on, hint : as of `switch` and the datapath's.
        Raises as `CoreSAD.add`; nothing is left then.
        """
        cdef uint32_t number = self._free_bundles.pop() if self._free_bundles else self._high_water
        cdef nic_bundle_t *b = &self.nic.bundles[number]
        cdef list handles = []
        cdef sa_t *s
        cdef uint32_t index
        self._high_water = max(self._high_water, number + 1)
        match_src = match_src and src
        b.udp_esp = udp_esp
        b.forms = _forms(udp_esp)
        b.flags = (NIC_ON if on else 0) | (NIC_V6 if ipv6 else 0) | (NIC_MATCH_SRC if match_src else 0)
        if hint is not None:
            b.flags |= NIC_HINT_TUNNEL if hint == "tunnel" else NIC_HINT_TRANSPORT
        self.sad.enter()
        try:
            for mould, (spi, enc_key, salt, auth_key) in zip(moulds, members):
                s = cast_sa(self.sad, mould, spi, src, dst, match_src, enc_key, salt, auth_key)
                handles.append(s.handle)
                b.flags |= NIC_OUTBOUND if s.flags & SA_OUTBOUND else 0
                index = <uint32_t> (s - self.sad.table.sas) + 1
                if s.flags & SA_AH:
                    b.ah = index
                else:
                    b.esp = index
            if b.forms & OUTER_PLAIN and b.esp and not b.ah:
                b.flags |= _usual(&self.sad.table, &self.sad.table.sas[b.esp - 1])
            for handle, high in zip(handles, seq_hi):
                s = &self.sad.table.sas[<uint32_t> <int64_t> handle - 1]
                self._attach(s, number)
                if s.flags & SA_ESN:
                    self.nic.sas[s - self.sad.table.sas].seq_hi = high
        except BaseException:
            self.delete_bundle(number)
            for handle in handles:
                delete_sa(self.sad, handle)
            raise
        finally:
            self.sad.leave()
        return number, handles

    cdef int _attach(self, sa_t *s, uint32_t number) except -1:
        """Give an SA the NIC's state, and an outbound one its window over the numbers that it has sent."""
        cdef nic_sa_t *own = &self.nic.sas[s - self.sad.table.sas]
        cdef uint32_t words = window_words(self.nic.options.sent_window)
        cdef const uint8_t *bits
        cdef bytes drawn
        if s.flags & SA_OUTBOUND:
            if self._generator is not None:
                drawn = _generate(self._generator, 8)
                bits = drawn
                memcpy(s.word, bits, 8)
            if s.ring == s.word:
                s.ring = <uint64_t *> calloc(words, sizeof(uint64_t))
            if s.ring == NULL:
                s.ring = s.word
                raise MemoryError()
            s.ring_mask = <uint8_t> (words - 1)
            s.window_size = <unsigned short> self.nic.options.sent_window
        memset(own, 0, sizeof(nic_sa_t))
        own.bundle = number + 1
        return 0

    def delete_bundle(self, uint32_t number):
        """Forget a bundle; its SAs are the caller's to delete from the SAD, and no handle may name it any more."""
        cdef nic_bundle_t *b = &self.nic.bundles[number]
        cdef uint32_t index
        for index in (b.esp, b.ah):
            if index:
                free(self.nic.sas[index - 1].ivs)
                memset(&self.nic.sas[index - 1], 0, sizeof(nic_sa_t))
        memset(b, 0, sizeof(nic_bundle_t))
        self._free_bundles.append(number)

    def switch(self, uint32_t number, bint on):
        """Let a bundle serve, or not."""
        _flag(&self.nic.bundles[number], NIC_ON, on)

    def ask_deletion(self, uint32_t number, bint on):
        """Set SaDeleteReq on what the bundle receives."""
        _flag(&self.nic.bundles[number], NIC_DELETE_REQ, on)

    def set_seq_hi(self, sa, uint32_t high):
        """The host's word on the high half of an SA (a handle of the SAD).

        Inbound, the highest authenticated number goes on counting where it is in the same span, or in the next one to
        it and near the wrap between them.
        """
        cdef sa_t *s = self.sad.find(sa)
        cdef nic_sa_t *own = &self.nic.sas[s - self.sad.table.sas]
        cdef uint32_t top_hi = <uint32_t> (own.top >> 32), top_lo = <uint32_t> own.top
        own.seq_hi = high
        if not s.flags & SA_OUTBOUND and top_hi != high:
            if not (top_hi + 1 == high and top_lo >= 0xFFFFFFFFU - WRAP_ZONE) and not (
                    top_hi == high + 1 and top_lo < WRAP_ZONE):
                own.seen = False
                own.restart = (s.flags & SA_ESN) != 0

    # --- handles

    def new_handle(self, uint32_t number):
        """A handle that names a bundle, an int > 0; values come round again as late as can be."""
        cdef nic_handle_t *place
        cdef uint64_t uses, index
        if self._count == self.nic.capacity:
            raise SADFullError(f"the NIC is full: its capacity is {self.nic.capacity} bundles")
        index = <uint64_t> self._count if len(self._free) == 0 else self._free[0]
        if len(self._free):
            self._free.popleft()
        place = &self.nic.handles[index]
        uses = (place.handle >> self._index_bits) + (place.handle != 0)
        if self._handle_bits == 32:
            uses &= (<uint64_t> 1 << (32 - self._index_bits)) - 1
        place.handle = uses << self._index_bits | (index + 1)
        place.bundle = number + 1
        self.nic.bundles[number].handles += 1
        self._count += 1
        return place.handle

    def delete_handle(self, handle):
        """Take a handle out; returns how many name its bundle still.  Raises KeyError."""
        cdef nic_handle_t *place = self.find(handle)
        cdef nic_bundle_t *b = &self.nic.bundles[place.bundle - 1]
        place.bundle = 0
        self._free.append(place - self.nic.handles)
        self._count -= 1
        b.handles -= 1
        return b.handles

    cdef nic_handle_t *find(self, object handle) except NULL:
        cdef uint64_t value = handle if 0 < handle < 1 << 64 else 0
        cdef uint64_t at = (value & self.nic.handle_mask) - 1
        if value and at < self.nic.capacity:
            if self.nic.handles[at].handle == value and self.nic.handles[at].bundle:
                return &self.nic.handles[at]
        raise KeyError(f"handle {handle} names no bundle of this NIC")


cdef lso_caps_t _lso_caps(lso) except *:
    cdef lso_caps_t caps
    memset(&caps, 0, sizeof(caps))
    if lso is not None:
        caps.encapsulation = _encapsulation(lso)
        caps.min_segments = lso.min_segments
        caps.max_size = lso.max_size
        caps.extensions = lso.extensions
        caps.tcp_options = lso.tcp_options
    return caps


cdef sum_caps_t _sum_caps(sums) except *:
    cdef sum_caps_t caps
    memset(&caps, 0, sizeof(caps))
    if sums is not None:
        caps.encapsulation = _encapsulation(sums)
        caps.ip = sums.ip
        caps.tcp = sums.tcp
        caps.udp = sums.udp
        caps.extensions = sums.extensions
        caps.tcp_options = sums.tcp_options
    return caps


cdef uint32_t _encapsulation(offload) except? 0:
    return 0xFFFFFFFFU if offload.encapsulation is None else offload.encapsulation


cdef uint32_t _usual(const table_t *t, const sa_t *esp) noexcept:
    """Which short way a frame may go that is sent with this SA alone."""
    cdef const shape_t *shape = &t.suites[esp.suite].shape
    if esp.flags & SA_ESN:
        return 0
    if shape.kind > CLASS_GMAC or shape.salt_len != 4:
        return NIC_USUAL
    return NIC_USUAL | NIC_AEAD | (NIC_GMAC if shape.kind == CLASS_GMAC else 0)


cdef void _flag(nic_bundle_t *b, uint32_t flag, bint on) noexcept:
    if on:
        b.flags |= flag
    else:
        b.flags &= ~flag


cdef uint32_t _forms(uint32_t udp_esp) noexcept:
    """Where SAs with these UdpEspEncapsulation bits may stand (the form that a bit names has two SAs)."""
    cdef uint32_t forms = 0
    if not udp_esp:
        return OUTER_PLAIN | INNER_PLAIN
    if udp_esp & (UDP_TRANSPORT | UDP_TUNNEL):
        forms |= OUTER_UDP
    if udp_esp & UDP_TRANSPORT_OVER_UDP_TUNNEL:
        forms |= OUTER_UDP | INNER_PLAIN
    if udp_esp & UDP_TRANSPORT_OVER_TUNNEL:
        forms |= OUTER_PLAIN | INNER_UDP
    return forms


cdef bytes _generate(generator, Py_ssize_t n):
    drawn = bytes(generator(n))
    if len(drawn) != n:
        raise ValueError(f"iv_generator: got {len(drawn)} bytes, wanted {n}")
    return drawn


# --- the datapath's calls ---------------------------------------------------------------------------------------------

cdef int enter(NicTable table, PacketBatch batch) except -1:
    if batch.busy:
        raise RuntimeError("these frames are at work in another thread")
    table.sad.enter()
    batch.busy = True
    return 0


def receive(NicTable table not None, NblArrays nbls not None):
    """Check and decrypt frames in place and write their words."""
    cdef PacketBatch frames = nbls.frames
    cdef ReceiveResult result = ReceiveResult.__new__(ReceiveResult)
    result.nbls = nbls
    if nbls.n != frames.view.n:
        raise ValueError(f"got {frames.view.n} frames in {nbls.n} lists, wanted one frame in each")
    if not nbls.n:
        return result
    enter(table, frames)
    with nogil:
        receive_batch(&table.sad.table, &table.nic, &frames.view, nbls.words, nbls.raw)
    frames.busy = False
    table.sad.leave()
    return result


def send(NicTable table not None, NblArrays nbls not None):
    """Do what each list's words ask for."""
    cdef PacketBatch frames = nbls.frames
    cdef SendResult result = SendResult.__new__(SendResult)
    cdef Py_ssize_t i, bad = 0
    result.nbls = nbls
    result.values = <uint32_t *> malloc(nbls.n * sizeof(uint32_t) + 1)
    if result.values == NULL:
        raise MemoryError()
    if not nbls.n:
        return result
    enter(table, frames)
    try:
        if has_large_send(nbls.words, nbls.n):
            _send_large(table, nbls, result)
        else:
            with nogil:
                send_batch(&table.sad.table, &table.nic, &frames.view, nbls.starts, nbls.n, nbls.words, result.values,
                           nbls.raw, NULL)
    finally:
        frames.busy = False
        table.sad.leave()
    if any32(result.values, nbls.n):
        for i in range(nbls.n):
            bad += result.values[i] != 0
    result.ok = nbls.n - bad
    return result


cdef int _send_large(NicTable table, NblArrays nbls, SendResult result) except -1:
    """Cut large sends, and send their segments and all other frames from memory of the NIC's."""
    cdef table_t *t = &table.sad.table
    cdef Py_ssize_t n = nbls.n
    cdef size_t words_size = 5 * n * sizeof(uint64_t)
    cdef int64_t segments = 0, room = 0
    cdef view_t *frames = &nbls.frames.view
    cdef PacketBatch out
    cdef cutting_t cutting
    cdef char *memory = <char *> malloc(words_size + frames.n * sizeof(large_t))
    cdef uint64_t *words = <uint64_t *> memory
    cdef large_t *large = <large_t *> (memory + words_size)
    result.starts = <int64_t *> malloc((n + 1) * sizeof(int64_t))
    try:
        if memory == NULL or result.starts == NULL:
            raise MemoryError()
        memcpy(words, nbls.words, words_size)     # which then stay the same from one reading to the next
        if frames.n < FEW_FRAMES:
            measure(t, &table.nic, frames, nbls.starts, n, words, result.values, nbls.raw, large, &segments, &room)
        else:
            with nogil:
                measure(t, &table.nic, frames, nbls.starts, n, words, result.values, nbls.raw, large, &segments, &room)
        out = new_batch(table.arena(room + 63), segments)
        with nogil:
            cutting = cutting_t(frames, nbls.starts, large, &out.view, result.starts, 0, 0, 0)
            cutting.at = -<uintptr_t> out.view.base & 63
            out.view.n = 0
            result.starts[0] = 0
            send_batch(t, &table.nic, &out.view, result.starts, n, words, result.values, nbls.raw, &cutting)
            complete_large_sends(nbls.starts, n, words, result.values, large, &out.view, result.starts)
        memcpy(nbls.words + ROW_LARGE_SEND * n, words + ROW_LARGE_SEND * n, n * sizeof(uint64_t))
    finally:
        free(memory)
    result.segments = out
    return 0


cdef class ReceiveResult:
    """What a receive wrote into the batch's words, which it reads from there."""
    cdef NblArrays nbls

    @property
    def word(self):
        """uint32[n]: the receive form of slot 1."""
        return self.nbls.oob[ROW_IPSEC].astype(np.uint32)

    @property
    def xfrm_offload(self):
        """Linux's struct xfrm_offload of each packet: ``flags`` and ``status``, both uint32[n].

        flags : SA_DELETE_REQ 1, CRYPTO_DONE 2, CRYPTO_NEXT_DONE 4.  status : 1 << CryptoStatus where CryptoDone is
        set, else 0 (include/net/xfrm.h).
        """
        word = self.word
        made = np.zeros(len(word), [("flags", np.uint32), ("status", np.uint32)])
        made["flags"] = word & 7
        made["status"] = np.where(word & 2, np.uint32(1) << (word >> 16), 0)
        return made


cdef class SendResult:
    """What became of a send.

    Attributes
    ----------
    status : uint32[n_nbl], NDIS_STATUS of each list's completion.
    ok : lists that were sent.
    transmitted : PacketBatch of the frames that went out, in order.  Without large sends they lie where the host had
        them; with any, all are in a block of their own.
    nbl : int64[n_frames], the list that each of them came from.
    """
    cdef NblArrays nbls
    cdef uint32_t *values
    cdef int64_t *starts              # with segments: where each list's begin
    cdef PacketBatch segments
    cdef readonly Py_ssize_t ok

    def __dealloc__(self):
        free(self.values)
        free(self.starts)

    @property
    def status(self):
        cdef uint32_t[::1] copy
        array = np.empty(self.nbls.n, np.uint32)
        copy = array
        if self.nbls.n:
            memcpy(&copy[0], self.values, self.nbls.n * sizeof(uint32_t))
        return array

    @property
    def transmitted(self):
        cdef PacketBatch frames = self.nbls.frames if self.segments is None else self.segments
        sent = self.status[self._of()] == 0
        return PacketBatch(frames.data, frames.offset[sent], frames.length[sent])

    @property
    def nbl(self):
        of = self._of()
        return of[self.status[of] == 0]

    def _of(self):
        """int64[frames]: the list of each frame, sent or not."""
        cdef int64_t[::1] copy
        lists = np.arange(self.nbls.n)
        first = self.nbls.first
        if self.starts != NULL:
            first = np.empty(self.nbls.n + 1, np.int64)
            copy = first
            memcpy(&copy[0], self.starts, (self.nbls.n + 1) * sizeof(int64_t))
        return lists if first is None else np.repeat(lists, np.diff(first))
