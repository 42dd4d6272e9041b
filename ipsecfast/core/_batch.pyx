"""PacketBatch: packets in one block of memory, and the only place that checks user arrays.

The addresses are taken once, when the batch is made; the offset and length tables are the batch's own
copies, so that nobody can move a packet out of its slot behind the engine's back.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import numpy as np


cdef object _integers(str name, values, dtype, Py_ssize_t n):
    """`values` as a new contiguous array of dtype and length n (any if n < 0): nobody else can change it."""
    array = np.asarray(values)
    if array.ndim != 1 or (n >= 0 and array.shape[0] != n):
        raise ValueError(f"{name}: got shape {array.shape}, wanted ({'n' if n < 0 else n},)")
    if array.shape[0] == 0:
        return np.zeros(0, dtype)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: got {array.dtype}, wanted {np.dtype(dtype)}")
    limit = np.iinfo(dtype)
    if int(array.min()) < limit.min or int(array.max()) > limit.max:
        raise ValueError(f"{name}: a value does not fit {np.dtype(dtype)}")
    return np.array(array, dtype, order="C")


cdef class PacketBatch:
    """Packets in place in one writable block of memory.

    Parameters
    ----------
    data : uint8[n_bytes], C-contiguous and writable (numpy array, bytearray, memoryview, mmap); used in
        place and held until the batch is gone.
    offset, length : int64[n], int32[n]; where each packet's IP header starts and how many bytes there are
        from it on.  Copied.
    slot_offset, slot_length : int64[n], int32[n]; the room that each packet may move and grow in.  Copied.
        Without them the slot is the packet itself, and growth gives ``NO_ROOM``.

    Raises
    ------
    TypeError, ValueError, BufferError : for a wrong type or shape, read-only memory, a packet outside its
        slot, a slot outside the data, or slots that overlap.
    """

    def __cinit__(self):
        memset(&self.view, 0, sizeof(view_t))

    def __init__(self, data, offset, length, slot_offset=None, slot_length=None):
        if self._memory is not None:
            raise RuntimeError("a PacketBatch can't be initialised again")
        if (slot_offset is None) != (slot_length is None):
            raise ValueError("slot_offset and slot_length: wanted both or neither")
        cdef const int64_t[::1] offsets = _integers("offset", offset, np.int64, -1)
        cdef Py_ssize_t n = offsets.shape[0]
        cdef const int32_t[::1] lengths = _integers("length", length, np.int32, n)
        cdef const int64_t[::1] slot_offsets = offsets
        cdef const int32_t[::1] slot_lengths = lengths
        if slot_offset is not None:
            slot_offsets = _integers("slot_offset", slot_offset, np.int64, n)
            slot_lengths = _integers("slot_length", slot_length, np.int32, n)
        _hold(self, data)
        cdef int64_t size = len(self._memory), end, last = 0, low, room, start, span
        cdef Py_ssize_t i
        cdef bint sorted_slots = True
        for i in range(n):
            low, room, start, span = slot_offsets[i], slot_lengths[i], offsets[i], lengths[i]
            if room < 0 or low < 0 or low > size or room > size - low:
                raise ValueError(f"packet {i}: slot {low}+{room} is outside of the {size} bytes of data")
            end = low + room
            if span < 0 or start < low or start > end or span > end - start:
                raise ValueError(f"packet {i}: {start}+{span} is outside of its slot {low}+{room}")
            if low < last:
                sorted_slots = False
            last = end
        if not sorted_slots:
            _refuse_overlap(np.asarray(slot_offsets), np.asarray(slot_lengths))
        _tables(self, n)
        if n:
            memcpy(self.view.offset, &offsets[0], n * sizeof(int64_t))
            memcpy(self.view.length, &lengths[0], n * sizeof(int32_t))
            memcpy(self.view.slot_offset, &slot_offsets[0], n * sizeof(int64_t))
            memcpy(self.view.slot_length, &slot_lengths[0], n * sizeof(int32_t))

    def __dealloc__(self):
        free(self.view.offset)

    @staticmethod
    def from_packets(packets, headroom=128, tailroom=64):
        """Copy packets (bytes-like, each from its IP header on) into one packed block.

        Each gets `headroom` bytes in front and at least `tailroom` behind; slots start on 64-byte boundaries.
        Raises TypeError for something that is not bytes-like, ValueError for a negative room.
        """
        cdef int64_t front, room, size
        front, room = _room(headroom, tailroom)
        cdef list items = list(packets)
        cdef Py_ssize_t n = len(items), i
        cdef PacketBatch batch = PacketBatch.__new__(PacketBatch)
        cdef Py_buffer view
        _tables(batch, n)
        for i in range(n):
            PyObject_GetBuffer(items[i], &view, PyBUF_SIMPLE)
            size = view.len
            PyBuffer_Release(&view)
            _fits_slot(i, size, room)
            batch.view.length[i] = <int32_t> size
        _lay_out(batch, front, room)
        for i in range(n):
            PyObject_GetBuffer(items[i], &view, PyBUF_SIMPLE)
            if view.len != batch.view.length[i]:
                PyBuffer_Release(&view)
                raise ValueError(f"packet {i}: its size changed while it was read")
            if view.len:
                memcpy(batch.view.base + batch.view.offset[i], view.buf, view.len)
            PyBuffer_Release(&view)
        return batch

    def take(self, rows, headroom=128, tailroom=64):
        """A new batch of copies of some packets, with room around each as of `from_packets`.

        rows : int[m], which packets, in any order; one may stand there more than once.
        Raises IndexError for a row that is no packet, TypeError and ValueError for a wrong type, shape or room,
        RuntimeError while another thread works on the batch.
        """
        cdef int64_t front, room
        front, room = _room(headroom, tailroom)
        cdef const int64_t[::1] wanted = _integers("rows", rows, np.int64, -1)
        cdef Py_ssize_t n = wanted.shape[0], i
        cdef PacketBatch batch = PacketBatch.__new__(PacketBatch)
        _at_rest(self)
        _tables(batch, n)
        for i in range(n):
            if not 0 <= wanted[i] < self.view.n:
                raise IndexError(f"row {i}: got packet {wanted[i]} of {self.view.n}")
            _fits_slot(i, self.view.length[wanted[i]], room)
            batch.view.length[i] = self.view.length[wanted[i]]
        self.busy = True
        try:
            _lay_out(batch, front, room)
            with nogil:
                for i in range(n):
                    memcpy(batch.view.base + batch.view.offset[i], self.view.base + self.view.offset[wanted[i]],
                           <size_t> batch.view.length[i])
        finally:
            self.busy = False
        return batch

    def __len__(self):
        return self.view.n

    def __getitem__(self, index):
        """memoryview of one packet as it stands now (shape (length,), dtype uint8, writable)."""
        cdef Py_ssize_t i = index
        if i < 0:
            i += self.view.n
        if not 0 <= i < self.view.n:
            raise IndexError(f"packet {index} of {self.view.n}")
        _at_rest(self)
        return self._memory[self.view.offset[i]:self.view.offset[i] + self.view.length[i]]

    @property
    def offset(self):
        """int64[n], read-only: where each packet starts; the batch's own table, so it follows every call."""
        return _table(self, <char *> self.view.offset, np.int64)

    @property
    def length(self):
        """int32[n], read-only: bytes of each packet."""
        return _table(self, <char *> self.view.length, np.int32)

    @property
    def data(self):
        """The memory that the packets lie in."""
        return self._data

    def to_packets(self):
        """Copies of all packets: list[bytes]."""
        cdef Py_ssize_t i
        _at_rest(self)
        return [(<char *> self.view.base + self.view.offset[i])[:self.view.length[i]] for i in range(self.view.n)]


cdef object _at_rest(PacketBatch self):
    """While a call is at work its tables and packets do not fit together."""
    if self.busy:
        raise RuntimeError("this batch is at work in another thread")


cdef (int64_t, int64_t) _room(headroom, tailroom) except *:
    """Room in front, and in front and behind together."""
    if headroom < 0 or tailroom < 0 or headroom + tailroom > 1 << 20:
        raise ValueError(f"headroom, tailroom: got {headroom}, {tailroom}, wanted 0 to 1 MiB together")
    return headroom, headroom + tailroom


cdef int _fits_slot(Py_ssize_t i, int64_t size, int64_t room) except -1:
    if size > 0x7FFFFFFF - room - 64:
        raise ValueError(f"packet {i}: {size} bytes are more than a slot can hold")
    return 0


cdef int _lay_out(PacketBatch self, int64_t front, int64_t room) except -1:
    """Slots for packets of the lengths that are in the table, and memory for them; each on a 64-byte boundary."""
    cdef int64_t at = 0
    cdef Py_ssize_t i
    for i in range(self.view.n):
        self.view.slot_offset[i] = at
        self.view.slot_length[i] = <int32_t> ((self.view.length[i] + room + 63) & ~63)
        self.view.offset[i] = at + front
        at += self.view.slot_length[i]
    memory = np.zeros(at + 64, np.uint8)
    cdef Py_ssize_t skip = -<uintptr_t> memory.ctypes.data & 63
    _hold(self, memory[skip:skip + at])
    return 0


cdef object _hold(PacketBatch self, data):
    """Take the memory of `data`, contiguous bytes that may be written, and keep it."""
    memory = memoryview(data)
    cdef Py_buffer *view = PyMemoryView_GET_BUFFER(memory)
    if memory.readonly:
        raise BufferError("data: got read-only memory, wanted writable memory: packets are worked on in place")
    if memory.format != "B" or memory.ndim != 1:
        raise TypeError(f"data: got {memory.ndim} dimensions of format {memory.format!r}, wanted uint8[n_bytes]")
    if not PyBuffer_IsContiguous(view, b"C"):
        raise BufferError("data: got strided memory, wanted contiguous bytes")
    self._data = data
    self._memory = memory
    self.view.base = <uint8_t *> view.buf


cdef PacketBatch new_batch(bytearray data, Py_ssize_t n):
    """A batch of n packets in `data`, whose tables are the caller's to fill."""
    cdef PacketBatch batch = PacketBatch.__new__(PacketBatch)
    _tables(batch, n)
    batch._data = data
    batch._memory = memoryview(data)          # while there is one, the memory stays where it is
    batch.view.base = <uint8_t *> PyByteArray_AS_STRING(data)
    return batch


cdef object _tables(PacketBatch self, Py_ssize_t n):
    """One block for the four tables."""
    cdef char *block = <char *> malloc(n * 24 + 8)
    if block == NULL:
        raise MemoryError()
    self.view.n = n
    self.view.offset = <int64_t *> block
    self.view.slot_offset = <int64_t *> (block + n * 8)
    self.view.length = <int32_t *> (block + n * 16)
    self.view.slot_length = <int32_t *> (block + n * 20)


cdef class _Table:
    """Read-only memory of a batch's table; keeps the batch alive."""
    cdef PacketBatch _batch
    cdef char *_at
    cdef Py_ssize_t _bytes

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self._at, self._bytes, 1, flags)


cdef object _table(PacketBatch self, char *at, dtype):
    if self.view.n == 0:
        return np.zeros(0, dtype)
    cdef _Table table = _Table.__new__(_Table)
    table._batch = self
    table._at = at
    table._bytes = self.view.n * np.dtype(dtype).itemsize
    return np.frombuffer(table, dtype)


cdef object _refuse_overlap(offsets, lengths):
    order = np.argsort(offsets, kind="stable")
    order = order[lengths[order] > 0]
    starts = offsets[order]
    ends = starts + lengths[order]
    clash = np.flatnonzero(ends[:len(ends) - 1] > starts[1:])
    if len(clash):
        raise ValueError(f"packets {order[clash[0]]} and {order[clash[0] + 1]}: their slots overlap")
