"""Faults that real cards show, for tests of what lies above and beyond the card: each named, seeded, off by default."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core._batch import PacketBatch
from ..status import PacketStatus
from .completion import Completion
from .datapath import SendResult
from .host_frames import ip_header_at, locate
from .nbl import Medium, NblBatch

__all__ = ["Faults"]

_T = TypeVar("_T")
_HEADER_INFO_SET = np.uint64(1 << 16)
_IN_AH_ICV = 20  # with each algorithm: of 12 bytes from 12 on, or of 16 behind AES-GMAC's IV


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What the card does wrong; ``Faults()`` is a good one.  The same seed and the same calls give the same faults.

    Parameters
    ----------
    seed : of everything that is drawn.
    drop_short : frames of fewer bytes vanish: sends of them complete with SUCCESS, receives are not indicated.
    corrupt_icv : how likely a protected frame leaves with one bit of its outermost ICV wrong, 0 to 1.
    stale_esn : UPDATE_SA succeeds, whatever it says, and takes effect so many batches later.
    full_early : ADD_SA finds the table full with so many bundles, whatever capacity is reported.
    delete_pressure : with so many bundles or more, the oldest inbound one has SaDeleteReq set on what it receives.
    late : direct OID requests are answered PENDING and completed by ``Miniport.poll`` in an order that is drawn; frames
        of a send leave in an order that is drawn.
    wrong_pad : how likely a received packet's header word (slot 12) has a PadLength that is one too high, 0 to 1.
    """

    seed: int = 0
    drop_short: int = 0
    corrupt_icv: float = 0.0
    stale_esn: int = 0
    full_early: int | None = None
    delete_pressure: int | None = None
    late: bool = False
    wrong_pad: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False, compare=False)
    _random: random.Random = field(default_factory=random.Random, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("corrupt_icv", "wrong_pad"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted 0 to 1")
        for name in ("drop_short", "stale_esn", "full_early", "delete_pressure"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}: got {value}, wanted 0 or more")
        self._random.seed(self.seed)

    @property
    def names(self) -> tuple[str, ...]:
        """The faults that are on."""
        off = Faults()
        named = [f.name for f in fields(self) if f.compare and f.name != "seed"]
        return tuple(name for name in named if getattr(self, name) != getattr(off, name))

    @property
    def on_packets(self) -> bool:
        """Is there any that sends and receives must know of?"""
        return bool(
            self.drop_short
            or self.corrupt_icv
            or self.stale_esn
            or self.delete_pressure is not None
            or self.late
            or self.wrong_pad
        )

    def reordered(self, items: Sequence[_T]) -> list[_T]:
        """In the order in which the card completes them."""
        mixed = list(items)
        if self.late:
            with self.lock:
                self._random.shuffle(mixed)
        return mixed

    def drawn(self, likely: float, n: int) -> NDArray[np.bool_]:
        """bool[n]: which of n it happens to."""
        with self.lock:
            return np.fromiter((self._random.random() < likely for _ in range(n)), np.bool_, n)

    def lost(self, nbls: NblBatch) -> NblBatch:
        """What of a received batch is left: lists of short frames are gone."""
        if not self.drop_short or len(nbls) < len(nbls.frames):  # the datapath refuses lists of several
            return nbls
        kept = nbls.frames.length >= self.drop_short
        if kept.all():
            return nbls
        frames = nbls.frames
        return NblBatch(PacketBatch(frames.data, frames.offset[kept], frames.length[kept]), None, nbls.medium)

    def spoil_words(self, nbls: NblBatch) -> None:
        """Put a wrong PadLength into the header words of a received batch."""
        if not self.wrong_pad:
            return
        hit = self.drawn(self.wrong_pad, len(nbls)) & ((nbls.header & _HEADER_INFO_SET) != 0)
        pad = (nbls.header >> np.uint64(8)) + np.uint64(1) & np.uint64(0xFF)
        nbls.header[hit] = (nbls.header & ~np.uint64(0xFF00) | pad << np.uint64(8))[hit]

    def spoil_send(self, good: SendResult, handles: NDArray[np.uint64], medium: Medium) -> Completion:
        """What leaves the card of what it should send: copies, with the statuses of a good one.

        ``handles``: per list, not 0 where it was to be protected.
        """
        frames, of = good.transmitted, good.nbl
        order = self.reordered(range(len(frames)))
        if self.drop_short:
            order = [i for i in order if frames.length[i] >= self.drop_short]
        left = PacketBatch.from_packets([bytes(frames[i]) for i in order], 0, 16)
        of = of[np.array(order, np.int64)]
        if self.corrupt_icv:
            hit = self.drawn(self.corrupt_icv, len(left)) & (handles[of] != 0)
            for i in np.flatnonzero(hit).tolist():
                frame = left[i]
                at = _icv_at(bytes(frame), medium)
                if at is not None:
                    frame[at] ^= 1
        return Completion(good.status, left, of)


def _icv_at(frame: bytes, medium: Medium) -> int | None:
    """Where a byte of the outermost ICV of a frame is, None where there is none; Ethernet padding may be behind it."""
    start = ip_header_at(frame) if medium == "ethernet" else 0
    found = locate(frame[start:])
    if isinstance(found, PacketStatus):
        return None
    return start + (found.start + _IN_AH_ICV if found.protocol == "ah" else found.end - 1)
