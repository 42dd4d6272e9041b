"""Counting what became of the packets, and telling it: as a table, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core._capture import tally
from ..keys import KeyEntry
from ..status import PacketStatus

N_STATUSES = len(PacketStatus)
MAX_SPIS = 10_000  # SPIs without an SA that are told apart: a hostile capture can have any number
SHOWN_SPIS = 10


class Tally:
    """Packets by SA and status.

    sas : each SA with the handles that its packets come with (its own, or of bundles with it); handle 0 stands for
        packets without an SA.
    done : what a packet with status OK is: ``"decrypted"``.
    """

    def __init__(self, sas: Sequence[tuple[KeyEntry, Sequence[int]]], done: str) -> None:
        self._done = done
        self._handles: NDArray[np.int64] = np.array(sorted({0, *(h for _, handles in sas for h in handles)}), np.int64)
        self._sas = [(entry, np.searchsorted(self._handles, handles)) for entry, handles in sas]
        self._counts: NDArray[np.int64] = np.zeros((len(self._handles), N_STATUSES), np.int64)
        self._bytes: NDArray[np.int64] = np.zeros(len(self._handles), np.int64)
        self._unknown: Counter[int] = Counter()
        self._other_unknown = 0

    def add(self, handle: NDArray[np.int64], status: NDArray[np.uint8], length: NDArray[np.int32]) -> None:
        """Count the packets of one batch: int64[n], uint8[n], int32[n] (bytes as captured)."""
        tally(handle, status, length, self._handles, self._counts, self._bytes)

    def add_no_ip(self, n: int) -> None:
        """Count frames without IP."""
        self._counts[0, PacketStatus.NOT_IPSEC] += n

    def add_unknown(self, spis: NDArray[np.uint32]) -> None:
        """Count SPIs that have no SA."""
        for spi, n in zip(*np.unique(spis, return_counts=True), strict=True):
            if int(spi) in self._unknown or len(self._unknown) < MAX_SPIS:
                self._unknown[int(spi)] += int(n)
            else:
                self._other_unknown += int(n)

    @property
    def packets(self) -> int:
        """All frames."""
        return int(self._counts.sum())

    def total(self, status: PacketStatus) -> int:
        """Packets of all SAs and none with ``status``."""
        return int(self._counts[:, status].sum())

    @property
    def failed(self) -> int:
        """Packets that were to be worked on, with any status but OK."""
        return self.packets - self.total(PacketStatus.OK) - self.total(PacketStatus.NOT_IPSEC)

    def _statuses(self, counts: NDArray[np.int64]) -> dict[str, int]:
        """By name, in the order of PacketStatus; OK always, others if there are any."""
        return {s.name: int(counts[s]) for s in PacketStatus if s == PacketStatus.OK or counts[s]}

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        sas = []
        for entry, rows in self._sas:
            counts = self._counts[rows].sum(axis=0)
            sas.append(
                {
                    "spi": entry.sa.spi,
                    "src": None if entry.sa.src is None else str(entry.sa.src),
                    "dst": None if entry.sa.dst is None else str(entry.sa.dst),
                    "packets": int(counts.sum()),
                    "bytes": int(self._bytes[rows].sum()),
                    "statuses": self._statuses(counts),
                }
            )
        return {
            "packets": self.packets,
            self._done: self.total(PacketStatus.OK),
            "statuses": self._statuses(self._counts.sum(axis=0)),
            "sas": sas,
            "unknown_spis": [{"spi": spi, "packets": n} for spi, n in self._unknown.most_common()],
        }

    def as_table(self) -> str:
        """The table for standard error: one line per SA, totals, SPIs without an SA."""
        data = self.as_json()
        rows = [("SPI", "source -> destination", "packets", "bytes", "statuses")]
        for sa in data["sas"]:
            ends = f"{sa['src'] or 'any'} -> {sa['dst'] or 'any'}"
            statuses = _join(sa["statuses"]) if sa["packets"] else ""
            rows.append((f"0x{sa['spi']:08x}", ends, f"{sa['packets']:,}", f"{sa['bytes']:,}", statuses))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            f"{spi:<{widths[0]}}  {ends:<{widths[1]}}  {packets:>{widths[2]}}  {size:>{widths[3]}}  {statuses}".rstrip()
            for spi, ends, packets, size, statuses in rows
        ]
        lines.append(f"{data['packets']:,} packets, {data[self._done]:,} {self._done}: {_join(data['statuses'])}")
        if self._unknown:
            shown = [f"0x{spi:08x} ({n:,})" for spi, n in self._unknown.most_common(SHOWN_SPIS)]
            rest = len(self._unknown) - len(shown)
            more = f" and {'at least ' if self._other_unknown else ''}{rest:,} more" if rest else ""
            lines.append(f"no SA for SPI {', '.join(shown)}{more}")
        return "\n".join(lines)


def _join(statuses: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in statuses.items())
