"""Both ends of a cell's SAs in ipsecfast, and the packets that one protects and the other takes back."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any, Protocol

import numpy as np
from cells import Cell, LeftOut, security_association, spi_of
from numpy.typing import NDArray
from packets import Arena, clear_packets

from ipsecfast import SAD, PacketBatch, decapsulate, encapsulate
from ipsecfast.errors import IpsecError

Lap = tuple[float, float]


EVICTING = 64 << 20  # bytes
BYTES_PER_SA = 4096  # of both directions and this test's own arrays, at most


class Work(Protocol):
    """What a cell does when it is measured; made by `works.work_of`."""

    @property
    def pid(self) -> int | None:
        """The process that does it, if not this one."""

    def encapsulate(self) -> float:
        """Protect all packets."""

    def decapsulate(self) -> float:
        """Take them back."""

    def lap(self) -> Lap:
        """Both; ns for each.  Raises RuntimeError if a packet did not come back."""

    def verify(self) -> None:
        """A lap that also compares all packets, and with ipsecfast's own where another one did the work."""

    def close(self) -> None:
        """Give memory or the process back."""


def available_memory() -> int:
    """Bytes, as the kernel estimates them."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return 0


def fill(cell: Cell) -> tuple[SAD, SAD, NDArray[np.int64]]:
    """The sender's SAD, the receiver's, and the sender's handles.  Raises LeftOut with the engine's reason."""
    if cell.sas * BYTES_PER_SA > available_memory():
        raise LeftOut(f"{cell.sas} SAs: not enough memory here")
    try:
        provider = None if cell.provider == "auto" else cell.provider
        tx, rx = SAD(cell.sas, provider=provider), SAD(cell.sas, provider=provider)
        handles = np.empty(cell.sas, np.int64)
        for i in range(cell.sas):
            sa = security_association(cell, spi_of(i, cell.sas))
            handles[i] = tx.add(sa, direction="outbound")
            rx.add(sa, direction="inbound")
    except (IpsecError, ValueError) as error:
        raise LeftOut(str(error)) from None
    return tx, rx, handles


class Caches:
    """What empties them: more memory than they hold, written to."""

    def __init__(self, cold: bool) -> None:
        self._memory = np.zeros(EVICTING if cold else 0, np.uint8)

    def empty(self) -> None:
        self._memory += 1


class Flow:
    """ipsecfast through its public calls, in place."""

    pid = None

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._tx, self._rx, self._handles = fill(cell)
        self.arena = Arena(clear_packets(cell))
        self._caches = Caches(cell.cold)
        self._rng = np.random.default_rng(1)
        self._batches = [self._batch(at, at + cell.batch) for at in range(0, cell.packets, cell.batch)]
        self._work: list[tuple[PacketBatch, Any]] = []
        self.draw()
        try:
            assert self.encapsulate() == self.decapsulate() == cell.packets
        except ValueError as error:
            raise LeftOut(str(error)) from None

    def _batch(self, start: int, end: int) -> PacketBatch:
        a = self.arena
        one = slice(start, end)
        return PacketBatch(a.data, a.offset[one], a.length[one], a.slot_offset[one], a.slot_length[one])

    def draw(self) -> None:
        """Which SA each packet goes through: any of them, drawn anew."""
        if self.cell.sas == 1:
            self._work = [(batch, int(self._handles[0])) for batch in self._batches]
            return
        chosen = self._handles[self._rng.integers(0, self.cell.sas, self.cell.packets)]
        step = self.cell.batch
        parts = [chosen[at : at + step] for at in range(0, len(chosen), step)]
        self._work = [
            (batch, int(part[0]) if step == 1 else part) for batch, part in zip(self._batches, parts, strict=True)
        ]

    def encapsulate(self) -> int:
        """Protect all packets; how many are OK."""
        threads, tx, good = self.cell.threads, self._tx, 0
        if threads == 1:
            for batch, handle in self._work:
                good += encapsulate(batch, tx, handle).ok
        else:
            for batch, handle in self._work:
                good += encapsulate(batch, tx, handle, threads=threads).ok
        return good

    def decapsulate(self) -> int:
        """Take them back; how many are OK."""
        threads, rx, good = self.cell.threads, self._rx, 0
        if threads == 1:
            for batch, _ in self._work:
                good += decapsulate(batch, rx).ok
        else:
            for batch, _ in self._work:
                good += decapsulate(batch, rx, threads=threads).ok
        return good

    def lap(self) -> Lap:
        self._caches.empty()
        start = perf_counter_ns()
        sent = self.encapsulate()
        out = perf_counter_ns() - start
        self._caches.empty()
        start = perf_counter_ns()
        received = self.decapsulate()
        back = perf_counter_ns() - start
        if sent != self.cell.packets or received != sent:
            raise RuntimeError(f"{self.cell}: {sent} sent, {received} received of {self.cell.packets}")
        if self.cell.sas > 1:
            self.draw()
        return out, back

    def verify(self) -> None:
        self.lap()
        back = [packet for batch in self._batches for packet in batch.to_packets()]
        if back != list(self.arena.packets):
            raise RuntimeError(f"{self.cell}: the packets came back changed")

    def close(self) -> None:
        self._work, self._batches = [], []
