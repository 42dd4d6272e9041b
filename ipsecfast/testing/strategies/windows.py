"""What arrives at one replay window: numbers around its edges, forgeries between them, and the verdict on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import strategies as st

from ...reference import ReplayWindow
from ...status import PacketStatus
from .associations import WINDOWS
from .suites import SEQ32, SEQ64

_STEPS = (0, 1, 2, 3, 30, 31, 32, 33, 62, 63, 64, 65, 66, 128, 1000, 4096, 1 << 31, SEQ32 - 100, SEQ32 - 1, SEQ32)


class Offer(NamedTuple):
    """One packet: the sender's true number (64 bits with ESN), whether its ICV is forged, and the verdict."""

    seq: int
    forged: bool
    status: PacketStatus  # OK, REPLAYED, or AUTH_FAILED: also where the receiver takes it for another number


@dataclass(frozen=True)
class WindowRun:
    """A window and what is offered to it, in order."""

    size: int  # packets; 0: no window
    esn: bool
    top: int  # the highest number so far
    top_seen: bool  # whether ``top`` itself has been seen; the numbers below it have not
    offers: tuple[Offer, ...]


@st.composite
def windows(
    draw: st.DrawFn,
    *,
    sizes: Sequence[int] = WINDOWS,
    top_seen: bool = True,
    max_offers: int = 80,
) -> WindowRun:
    """A window of one of ``sizes`` and up to ``max_offers`` packets, by RFC 4303 sec. 3.4.3 and appendix A2.

    A receiver sees the low 32 bits of ``Offer.seq``; only OK packets may change its window.
    """
    size, esn = draw(st.sampled_from(sizes)), draw(st.booleans())
    limit = SEQ64 if esn else SEQ32
    edges = (0, size, 1 << 31, SEQ32, 5 * SEQ32, SEQ32 + size, SEQ64) if esn else (0, size, 1 << 31, SEQ32)
    top = min(max(draw(st.sampled_from(edges)) + draw(st.integers(-70, 70)), 0), limit - 1)
    model = ReplayWindow(size, esn, top)
    if top_seen and top:
        model.mark(top)
    offers, base = [], top
    one = st.tuples(st.sampled_from((*_STEPS, size, size + 1)), st.sampled_from((-1, 1, 1)), st.integers(0, 4))
    for step, sign, genuine in draw(st.lists(one, max_size=max_offers)):
        seq = min(max(base + sign * step, 1), limit - 1)
        acceptable, seen_as = model.check(seq % SEQ32)
        if not acceptable:
            status = PacketStatus.REPLAYED
        elif not genuine or seen_as != seq:
            status = PacketStatus.AUTH_FAILED
        else:
            status = PacketStatus.OK
            model.mark(seq)
        offers.append(Offer(seq, not genuine, status))
        base = max(base, seq) if genuine and step < 1 << 31 else base
    return WindowRun(size, esn, top, top_seen, tuple(offers))
