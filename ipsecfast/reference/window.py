"""The receiver's sequence numbers: RFC 4303 sec. 3.4.3 and appendix A, with a plain Python set.

No packets and no crypto here.  One thread at a time.
"""

from __future__ import annotations

SEQ32 = 1 << 32
SEQ64 = 1 << 64


class ReplayWindow:
    """An anti-replay window of ``size`` packets, whose right edge is ``top``.

    ``top`` itself counts as not yet seen until it is marked.  ``size=0`` turns the check off; the
    high half of extended sequence numbers is still inferred.

    Raises ValueError if ``size`` is negative or ``top`` doesn't fit the sequence numbers.
    """

    def __init__(self, size: int, esn: bool = False, top: int = 0) -> None:
        if size < 0:
            raise ValueError(f"size: got {size}, wanted 0 or more")
        limit = SEQ64 if esn else SEQ32
        if not 0 <= top < limit:
            raise ValueError(f"top: got {top}, wanted 0 to {limit - 1}")
        self.size = size
        self.esn = esn
        self.top = top
        self._seen: set[int] = set()

    def check(self, seq_lo: int) -> tuple[bool, int]:
        """Return (acceptable, seq64) for the 32 bits on the wire; changes nothing."""
        if self.size == 0:
            return True, self._nearest(seq_lo) if self.esn else seq_lo
        seq64 = self._infer(seq_lo) if self.esn else seq_lo
        if not 0 <= seq64 < SEQ64:
            return False, seq_lo
        # A sender starts at 1 and stops before it cycles (RFC 4303 sec. 2.2): 0 was never sent.
        in_range = seq64 != 0 and seq64 >= self.top - self.size + 1
        return in_range and seq64 not in self._seen, seq64

    def mark(self, seq64: int) -> None:
        """Note an authenticated number: the window moves right if it lies beyond ``top``."""
        self.top = max(self.top, seq64)
        self._seen.add(seq64)
        # check() never looks left of the window: dropping what fell out of it only saves memory.
        if len(self._seen) > 2 * self.size:
            self._seen = {s for s in self._seen if s >= self.top - self.size + 1}

    def restart(self, top: int) -> None:
        """Set a new ``top`` and forget which numbers were seen."""
        self.top = top
        self._seen.clear()

    def _infer(self, seq_lo: int) -> int:
        # RFC 4303 A2.1.     case A: the window lies within one epoch of 2**32
        #                         |        [=====W=====T]        |
        #                    case B: it spans two, and its left end belongs to the one before
        #                         |==W==T]                [======|
        top_hi, top_lo = divmod(self.top, SEQ32)
        bottom = top_lo - self.size + 1
        if bottom >= 0:
            seq_hi = top_hi if seq_lo >= bottom else top_hi + 1
        else:
            seq_hi = top_hi - 1 if seq_lo >= bottom + SEQ32 else top_hi
        return seq_hi * SEQ32 + seq_lo

    def _nearest(self, seq_lo: int) -> int:
        epoch = self.top // SEQ32 * SEQ32
        near = [s for s in (epoch - SEQ32 + seq_lo, epoch + seq_lo, epoch + SEQ32 + seq_lo) if 0 <= s < SEQ64]
        return min(near, key=lambda s: (abs(s - self.top), -s))
