"""The datapath of the provider named "reference": batches through the pure Python model, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .core._batch import PacketBatch
from .core._engine import Result, replace_packet, result_of, slots
from .errors import SADFullError
from .reference import Direction, ReferenceTable, Room, decapsulate, encapsulate
from .sa import SecurityAssociation
from .status import PacketStatus


class SlowPath:
    """A SAD and its two calls over :mod:`ipsecfast.reference`; the same surface and the same verdicts."""

    def __init__(self, capacity: int) -> None:
        self._table = ReferenceTable()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._table)

    def add(self, sa: SecurityAssociation, direction: Direction, seq: int) -> int:
        if len(self) == self._capacity:
            raise SADFullError(f"the SAD is full: its capacity is {self._capacity} SAs")
        return self._table.add(sa, direction, seq)

    def bundle(self, handles: Sequence[int]) -> int:
        return self._table.bundle(handles)

    def update(self, handle: int, seq_hi: int) -> None:
        self._table.update(handle, seq_hi=seq_hi)

    def delete(self, handle: int) -> None:
        self._table.delete(handle)

    def counters(self, handle: int) -> tuple[int, int, list[int], int]:
        s = self._table.statistics(handle)
        return s.packets, s.bytes, [s.statuses[status] for status in PacketStatus], s.last_seq

    def decapsulate(self, batch: PacketBatch) -> Result:
        verdicts = []
        for i, (packet, _, _) in enumerate(slots(batch)):
            r = decapsulate(self._table, packet)
            after = r.left_behind(packet)
            if after != packet:
                replace_packet(batch, i, after, int(batch.offset[i]))
            verdicts.append((r.status, r.handle, r.seq, r.failed_layer))
        return result_of(verdicts)

    def encapsulate(self, batch: PacketBatch, handle: NDArray[np.int64], iv: Any) -> Result:
        handles = handle.tolist()
        if iv is not None and len(iv) != len(batch):
            raise ValueError(f"iv: got {len(iv)} rows, wanted {len(batch)}")
        ivs = [None] * len(batch) if iv is None else [bytes(row) for row in iv]
        for h, row in zip(handles, ivs, strict=True):
            self._table.check_outbound(h, row)
        verdicts = []
        for i, (packet, low, size) in enumerate(slots(batch)):
            start = int(batch.offset[i])
            room = Room(start - low, low + size - start - len(packet))
            r = encapsulate(self._table, packet, handles[i], ivs[i], room)
            if r.packet is not None:
                grown = len(r.packet) - len(packet)
                replace_packet(batch, i, r.packet, min(max(low, start - grown), low + size - len(r.packet)))
            verdicts.append((r.status, r.handle, r.seq, r.failed_layer))
        return result_of(verdicts)
