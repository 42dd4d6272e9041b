"""The buffers that a capture goes through, and the packets of the chunk in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..core._capture import CaptureIndex

CHUNK = 1 << 21  # bytes; two of these fit a current L2 cache, and the cost of a call is long forgotten
RECORDS = 1 << 15  # packets per chunk at the most

_NONE: NDArray[np.uint8] = np.empty(0, np.uint8)
_NO_OFFSET: NDArray[np.int64] = np.empty(0, np.int64)
_NO_LENGTH: NDArray[np.int32] = np.empty(0, np.int32)


class ChunkBuffer:
    """One chunk at a time; made once and used for all captures.

    Attributes
    ----------
    raw : uint8[n_bytes], as read from the file.
    work : uint8[n_bytes], the same: packets are decrypted in it, in place.
    index : the native index of what is in them.
    start, end : int, what of ``raw`` was read and is not yet indexed.
    """

    def __init__(self, size: int = CHUNK, records: int = RECORDS) -> None:
        self._offset: NDArray[np.int64] = np.empty(records, np.int64)
        self._length: NDArray[np.int32] = np.empty(records, np.int32)
        self.index = CaptureIndex(self._offset, self._length)
        self.raw: NDArray[np.uint8] = np.empty(size, np.uint8)
        self.work: NDArray[np.uint8] = np.empty(size, np.uint8)
        # In turn: one may still be written while the other is filled.
        self._out: NDArray[np.uint8] = np.empty(size, np.uint8)
        self._other_out: NDArray[np.uint8] = np.empty(size, np.uint8)
        self.start = self.end = 0

    @property
    def count(self) -> int:
        """Packets in the chunk, with or without IP."""
        return self.index.count

    @property
    def full(self) -> bool:
        """True if indexing ended only because the index holds no more packets."""
        return self.index.count == len(self._offset)

    @property
    def offset(self) -> NDArray[np.int64]:
        """int64[n_ip]: where the IP headers are in ``work``; valid until the next chunk."""
        return self._offset[: self.index.n_ip]

    @property
    def length(self) -> NDArray[np.int32]:
        """int32[n_ip], bytes: from the IP header to the end of the frame."""
        return self._length[: self.index.n_ip]

    def load(self, lead: bytes) -> None:
        """Forget what was read, and begin with ``lead``."""
        self.raw[: len(lead)] = np.frombuffer(lead, np.uint8)
        self.start, self.end = 0, len(lead)

    def advance(self) -> bool:
        """Index what was read and not yet indexed; False if that holds no complete record."""
        start, self.start = self.start, self.index.index(self.raw, self.work, self.start, self.end)
        return self.start > start

    def fill(self, readinto: Callable[[memoryview], int]) -> bool:
        """Read on behind what is not yet indexed, which moves to the front; False at the end.

        There is room for the whole next record afterwards, as far as its size is known.
        """
        rest = self.end - self.start
        raw = self.raw
        if self.index.needed > len(raw):
            raw = np.empty(self.index.needed + CHUNK, np.uint8)
            self.work = np.empty(len(raw), np.uint8)
        if self.start or raw is not self.raw:
            raw[:rest] = self.raw[self.start : self.end]
        self.raw, self.start = raw, 0
        n = readinto(raw[rest:].data)
        self.end = rest + n
        return n > 0

    def assemble(
        self,
        offset: NDArray[np.int64] = _NO_OFFSET,
        length: NDArray[np.int32] = _NO_LENGTH,
        status: NDArray[np.uint8] = _NONE,
        work: NDArray[np.uint8] | None = None,
    ) -> memoryview:
        """The bytes of the chunk to be written; they stay until the call after the next one.

        offset, length, status : int64[n_ip], int32[n_ip], uint8[n_ip]; a packet with status 0 is taken
            from ``work`` (the chunk's own, if it is None) at its offset, all others from ``raw`` as they were.
        """
        self._out, self._other_out = self._other_out, self._out
        room = self.index.out_room(length, status)
        if len(self._out) < room:
            self._out = np.empty(room, np.uint8)
        n = self.index.assemble(self.raw, self.work if work is None else work, self._out, offset, length, status)
        return self._out[:n].data

    def unchanged(self) -> memoryview:
        """The bytes of the chunk to be written, with every packet as it was."""
        return self.assemble(self.offset, self.length, np.ones(self.index.n_ip, np.uint8))
