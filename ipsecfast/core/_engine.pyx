"""encapsulate and decapsulate: the only functions of the datapath that Python calls.

All checks of the caller's arguments are made here, before the GIL is released and before any packet is
touched; what follows is one call into `_inbound` or `_outbound` for the whole batch.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBuffer_FillInfo, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from ._batch cimport PacketBatch
from ._bytes cimport any64, raw64
from ._inbound cimport inbound_batch
from ._lanes cimport Lanes, job_t, lanes_of, one_thread_must
from ._lookup cimport is_bundle, is_outbound
from ._outbound cimport outbound_batch
from ._pool cimport MAX_THREADS, give_pool, pool_t, take_pool, wake_pool
from ._sad cimport CoreSAD
from ._types cimport BUNDLE_BIT, SA_OUTBOUND, ST_OK, sa_t, table_t, verdict_t

import numpy as np

cdef enum:
    FEW_HANDLES = 64        # to give up the GIL takes longer than to check them


cdef class _Column:
    """One column of a result as a buffer; keeps the result alive."""
    cdef Result result
    cdef void *at
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.at, self.size, 1, flags)


cdef class Result:
    """What became of a batch: one entry a packet, in the batch's order.

    Attributes
    ----------
    status : uint8[n], values of `ipsecfast.PacketStatus`.
    ok : how many are OK.
    handle : int64[n], the SA of the outermost layer, 0 where there is none.
    seq : uint64[n], its sequence number (inferred, with ESN), 0 where there is none.
    failed_layer : uint8[n], the layer that a refused packet failed at, 0 = outermost.
    """

    cdef verdict_t verdict
    cdef readonly Py_ssize_t n
    cdef readonly Py_ssize_t ok

    def __init__(self):
        raise TypeError("results are made by encapsulate and decapsulate")

    def __dealloc__(self):
        free(self.verdict.seq)

    def __len__(self):
        return self.n

    def __repr__(self):
        return f"<ipsecfast result: {self.ok} of {self.n} packets OK>"

    cdef object column(self, void *at, dtype):
        if self.n == 0:
            return np.zeros(0, dtype)
        cdef _Column column = _Column.__new__(_Column)
        column.result = self
        column.at = at
        column.size = self.n * np.dtype(dtype).itemsize
        return np.frombuffer(column, dtype)

    @property
    def status(self):
        return self.column(self.verdict.status, np.uint8)

    @property
    def handle(self):
        return self.column(self.verdict.handle, np.int64)

    @property
    def seq(self):
        return self.column(self.verdict.seq, np.uint64)

    @property
    def failed_layer(self):
        return self.column(self.verdict.layer, np.uint8)


cdef Result new_result(Py_ssize_t n):
    cdef Result result = Result.__new__(Result)
    cdef char *block = <char *> malloc(n * 18 + 1)
    if block == NULL:
        raise MemoryError()
    result.n = n
    result.verdict.seq = <uint64_t *> block
    result.verdict.handle = <int64_t *> (block + n * 8)
    result.verdict.status = <uint8_t *> (block + n * 16)
    result.verdict.layer = <uint8_t *> (block + n * 17)
    return result


cdef void count_ok(Result result) noexcept nogil:
    cdef Py_ssize_t i = 0, ok = 0
    cdef const uint8_t *status = result.verdict.status
    while i < result.n:
        if result.n - i >= 8 and raw64(status + i) == 0:
            ok += 8         # ST_OK is 0
            i += 8
        else:
            ok += status[i] == ST_OK
            i += 1
    result.ok = ok


def result_of(verdicts):
    """A Result of (status, handle, seq, failed layer) tuples, for the pure Python datapath."""
    cdef Result result = new_result(len(verdicts))
    cdef Py_ssize_t i
    for i, (status, handle, seq, layer) in enumerate(verdicts):
        result.verdict.status[i] = status
        result.verdict.handle[i] = handle
        result.verdict.seq[i] = seq
        result.verdict.layer[i] = layer
    count_ok(result)
    return result


def replace_packet(PacketBatch batch not None, Py_ssize_t i, const uint8_t[::1] packet not None, Py_ssize_t offset):
    """Write a packet into its slot at `offset` (for the pure Python datapath); raises ValueError outside of it."""
    cdef Py_ssize_t low, n = packet.shape[0], k
    if not 0 <= i < batch.view.n:
        raise IndexError(f"packet {i} of {batch.view.n}")
    low = batch.view.slot_offset[i]
    if offset < low or n > batch.view.slot_length[i] or offset > low + batch.view.slot_length[i] - n:
        raise ValueError(f"packet {i}: {n} bytes at {offset} are outside of its slot")
    for k in range(n):
        batch.view.base[offset + k] = packet[k]
    batch.view.offset[i] = offset
    batch.view.length[i] = <int> n


def slots(PacketBatch batch not None):
    """(packet, slot offset, slot length) of every packet, for the pure Python datapath at work on the batch."""
    cdef Py_ssize_t i
    return [
        ((<char *> batch.view.base + batch.view.offset[i])[:batch.view.length[i]],
         batch.view.slot_offset[i], batch.view.slot_length[i])
        for i in range(batch.view.n)
    ]


cdef int enter(PacketBatch batch, CoreSAD sad, threads) except -1:
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"threads: got {type(threads).__name__}, wanted an int")
    cdef int overflow = 0
    cdef int64_t n = PyLong_AsLongLongAndOverflow(threads, &overflow)     # what a subclass says of itself counts not
    if overflow or not 1 <= n <= MAX_THREADS:
        raise ValueError(f"threads: got {threads}, wanted 1 to {MAX_THREADS}")
    if batch.busy:
        raise RuntimeError("this batch is at work in another thread")
    sad.enter()
    if n > 1:
        wake_pool(<int> n)
    batch.busy = True
    return 0


cdef void leave(PacketBatch batch, CoreSAD sad) noexcept:
    batch.busy = False
    sad.leave()


cdef int spread(PacketBatch batch, CoreSAD sad, Result result, int threads, bint outbound,
                Py_ssize_t handles) except -1:
    """A batch over several threads.  handles : how many outbound ones are different at most; not checked yet."""
    cdef Lanes lanes
    cdef job_t job
    cdef pool_t *pool
    cdef bint good
    job.batch = &batch.view
    job.out = &result.verdict
    job.outbound = outbound
    job.bundles = any64(<uint64_t *> result.verdict.handle, handles) >> BUNDLE_BIT & 1
    if one_thread_must(sad, &job):
        if outbound:
            _check_handles(sad, result, handles, -1)
        with nogil:
            if outbound:
                outbound_batch(&sad.table, &batch.view, &result.verdict, NULL, 0, job.bundles)
            else:
                inbound_batch(&sad.table, &batch.view, &result.verdict)
            count_ok(result)
        return 0
    lanes = lanes_of(sad, threads)
    lanes.prepare(sad, &job)
    pool = take_pool(threads)
    with nogil:
        good = lanes.run(pool, &sad.table, &job)
        count_ok(result)
    give_pool(pool, threads)
    if not good:
        _check_handles(sad, result, handles, -1)
    return 0


def decapsulate(PacketBatch batch not None, CoreSAD sad not None, *, threads=1):
    """Check, decrypt and strip every packet of a batch in place (RFC 4303 sec. 3.4, RFC 4302 sec. 3.4).

    The SA is found by SPI, protocol, destination and, where an SA says so, source; plain and UDP-encapsulated
    ESP, and AH; layer after layer while a known SA matches.  Packets with status OK have a new offset and
    length in the batch; every other packet keeps both, and its bytes are as they were or, where decryption
    had begun, zero from the outermost ESP or AH header on.  At most 8 layers are taken off.

    threads : 1 to 64; each takes a stretch of the batch, with the results of one thread.  The exceptions: in
        the first batch in which an SA's packets come both by themselves and inside another SA's, the latter
        are taken as if they had come last; from the third layer on verdicts depend on how packets are grouped;
        and a refused packet may be wiped where one thread leaves its bytes, or the other way round, and, nested
        with ESN, be reported with another high half.  Left to one thread are layers inside others, SAs whose
        numbers are out of order at the border of two stretches, and SAs that share an SPI.  With libcrypto
        each SA is one thread's, and outbound bundles are left to one.  Threads wait 0.2 ms for the next batch
        before they sleep.

    Raises TypeError, ValueError or RuntimeError (SAD or batch in use by another thread, or taken over a
    fork) before any packet is touched.  What a peer can cause is a status.
    """
    cdef Result result
    enter(batch, sad, threads)
    try:
        if sad.slow is not None:
            return sad.slow.decapsulate(batch)
        result = new_result(batch.view.n)
        if threads == 1:
            with nogil:
                inbound_batch(&sad.table, &batch.view, &result.verdict)
                count_ok(result)
        else:
            spread(batch, sad, result, threads, False, 0)
    finally:
        leave(batch, sad)
    return result


def encapsulate(PacketBatch batch not None, CoreSAD sad not None, handle, *, threads=1, iv=None):
    """Protect every packet of a batch in place with ESP or AH (RFC 4303 and 4302 sec. 3.3).

    Parameters
    ----------
    handle : one outbound SA's or bundle's handle for all packets, or int64[n].
    threads : 1 to 64; each takes a stretch of the batch, with the results of one thread.
    iv : known-answer tests only: uint8[n, iv_len] instead of fresh IVs; one thread then does it all.

    Packets with status OK have a new offset and length in the batch; every other packet keeps both and
    uses no sequence number.  (CRYPTO_FAILED, the crypto library refused, is the exception: the number is
    used up, and the packet's whole slot is zero.)

    Raises KeyError for a handle that is none, ValueError for an inbound one or a wrong IV shape, and as
    `decapsulate` does; always before any packet is touched.
    """
    cdef Result result
    cdef Py_ssize_t n = batch.view.n
    cdef const uint8_t[:, ::1] ivs = None
    cdef const uint8_t *iv_at = NULL
    cdef int64_t stride = -1
    cdef bint bundles
    if iv is not None:
        ivs = np.ascontiguousarray(iv)
        if ivs.shape[0] != n:
            raise ValueError(f"iv: got {ivs.shape[0]} rows, wanted {n}")
        stride = ivs.shape[1]
        if n and stride:
            iv_at = &ivs[0, 0]
    enter(batch, sad, threads)
    try:
        result = new_result(n)
        handles = _copy_handles(handle, result.verdict.handle, n)
        if sad.slow is not None:
            return sad.slow.encapsulate(batch, result.handle, iv)
        if threads == 1 or iv is not None:
            bundles = _check_handles(sad, result, handles, stride)
            with nogil:
                outbound_batch(&sad.table, &batch.view, &result.verdict, iv_at, stride, bundles)
                count_ok(result)
        else:
            spread(batch, sad, result, threads, True, handles)
    finally:
        leave(batch, sad)
    return result


cdef const int64_t[::1] _handles(handle, Py_ssize_t n):
    """int64[n] of whatever integers the caller has."""
    array = np.asarray(handle)
    if array.shape == (0,):
        array = array.astype(np.int64)      # of an empty list numpy makes floats
    if array.dtype.kind not in "iu" or array.dtype == np.uint64:
        raise TypeError(f"handle: got {array.dtype}, wanted an int or int64[n]")
    if array.shape != (n,):
        raise ValueError(f"handle: got shape {array.shape}, wanted ({n},)")
    return np.ascontiguousarray(array, np.int64)


cdef bint _plain(handle):
    """Can its buffer be asked for without strides?"""
    return not isinstance(handle, np.ndarray) or (<object> handle).flags.c_contiguous


cdef Py_ssize_t _copy_handles(handle, int64_t *to, Py_ssize_t n) except -1:
    """The caller's array may change under our feet, so it is copied before it is checked.

    Returns how many are different at most: 1 for a single handle.
    """
    cdef Py_buffer view
    cdef Py_ssize_t i
    cdef int64_t one
    cdef int overflow = 0
    cdef const int64_t[::1] converted
    if type(handle) is int or hasattr(handle, "__index__") and not getattr(handle, "shape", ()):
        one = PyLong_AsLongLongAndOverflow(handle, &overflow)
        if overflow:
            one = -1
        if n:
            to[0] = one
        i = 1
        while i < n:
            memcpy(to + i, to, (i if i < n - i else n - i) * 8)
            i *= 2
        return n > 0
    if PyObject_CheckBuffer(handle) and _plain(handle):
        PyObject_GetBuffer(handle, &view, PyBUF_FORMAT | PyBUF_ND)
        try:
            if view.ndim == 1 and view.itemsize == 8 and view.format[0] in (c"l", c"q") and view.len == n * 8:
                memcpy(to, view.buf, view.len)
                return n
        finally:
            PyBuffer_Release(&view)
    converted = _handles(handle, n)
    if n:
        memcpy(to, &converted[0], n * 8)
    return n


cdef Py_ssize_t _first_bad(const table_t *t, const int64_t *handles, Py_ssize_t n, int64_t iv_len,
                           bint *bundles) noexcept nogil:
    """Index of the first handle that is none, or -1; whether there are bundles."""
    cdef Py_ssize_t i
    cdef int64_t h
    for i in range(n):
        h = handles[i]
        if i and h == handles[i - 1]:
            continue
        if h > 0 and h >> BUNDLE_BIT:
            bundles[0] = True
            if iv_len >= 0 or not is_bundle(t, h):
                return i
            continue
        if not is_outbound(t, h):
            return i
        if iv_len >= 0 and t.suites[t.sas[<uint32_t> h - 1].suite].shape.iv_len != iv_len:
            return i
    return -1


cdef int _check_handles(CoreSAD sad, Result result, Py_ssize_t n, int64_t iv_len) except -1:
    """Raise unless the first n handles name outbound SAs or bundles of ours, with IVs of `iv_len` bytes (-1: any).

    Returns whether there are bundles.
    """
    cdef table_t *t = &sad.table
    cdef sa_t *sa
    cdef Py_ssize_t bad
    cdef int64_t h
    cdef bint bundles = False
    if n > FEW_HANDLES:
        with nogil:
            bad = _first_bad(t, result.verdict.handle, n, iv_len, &bundles)
    else:
        bad = _first_bad(t, result.verdict.handle, n, iv_len, &bundles)
    if bad < 0:
        return bundles
    h = result.verdict.handle[bad]
    if sad.find_bundle(h) != NULL:
        raise ValueError("iv: got IVs for a bundle, wanted none: each of its layers has its own")
    sa = sad.find(h)
    if not sa.flags & SA_OUTBOUND:
        raise ValueError(f"handle {h} is an inbound SA, wanted an outbound one")
    raise ValueError(f"iv: got rows of {iv_len} bytes, the SA of packet {bad} wants {t.suites[sa.suite].shape.iv_len}")
