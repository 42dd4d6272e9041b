"""ReplayWindow, the datapath's own, against a set of numbers: every size, both edges, both epochs."""

from __future__ import annotations

from typing import Any

import pytest
from differential import examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ipsecfast import ReplayWindow

SEQ32, SEQ64 = 1 << 32, 1 << 64
SIZES = (1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 1024, 4032, 4033, 4095, 4096)


class Model:
    """RFC 4303 A2: of the numbers with these low bits, the one that lies in the window or next beyond it."""

    def __init__(self, size: int, esn: bool, top: int) -> None:
        self.size, self.esn, self.top = size, esn, top
        self.seen: set[int] = set()

    def check(self, seq_lo: int) -> tuple[bool, int]:
        reach = self.size or SEQ32 // 2  # without a window: the nearest number
        bottom = self.top - reach + 1
        seq = bottom + (seq_lo - bottom) % SEQ32 if self.esn else seq_lo
        if not self.size:
            return True, seq + SEQ32 if seq < 0 else seq - SEQ32 if seq >= SEQ64 else seq
        if not 0 <= seq < SEQ64:
            return False, seq_lo
        return max(bottom, 1) <= seq and seq not in self.seen, seq

    def mark(self, seq: int) -> None:
        self.top = max(self.top, seq)
        self.seen.add(seq)


class WindowMachine(RuleBasedStateMachine):
    """Packets around a window, some of which turn out to be forged."""

    @initialize(
        size=st.sampled_from((0, *SIZES)),
        esn=st.booleans(),
        base=st.sampled_from((0, 1 << 31, SEQ32, 2 * SEQ32, 7 * SEQ32, SEQ64 - SEQ32, SEQ64)),
        offset=st.integers(-5000, 5000),
    )
    def start(self, size: int, esn: bool, base: int, offset: int) -> None:
        top = min(max(base + offset, 0), (SEQ64 if esn else SEQ32) - 1)
        self.window, self.model = ReplayWindow(size, esn, top), Model(size, esn, top)

    @rule(
        around=st.sampled_from(("top", "bottom", "wrap", "anywhere")),
        delta=st.integers(-70, 70) | st.integers(-(1 << 31), 1 << 31),
        authentic=st.booleans(),
    )
    def packet(self, around: str, delta: int, authentic: bool) -> None:
        top, size = self.model.top, self.model.size
        place = {"top": top, "bottom": top - size, "wrap": 0, "anywhere": 1 << 31}[around]
        seq_lo = (place + delta) % SEQ32
        acceptable, seq = self.window.check(seq_lo)
        assert (acceptable, seq) == self.model.check(seq_lo)
        if acceptable and authentic:
            self.window.mark(seq)
            self.model.mark(seq)
            assert not self.model.size or self.window.check(seq_lo) == (False, seq)

    @rule(run=st.integers(1, 300), gap=st.sampled_from((1, 1, 2, 63, 64, 65)))
    def flow(self, run: int, gap: int) -> None:
        limit = SEQ64 if self.model.esn else SEQ32
        for seq in range(self.model.top, min(self.model.top + run * gap, limit), gap):
            assert self.window.check(seq % SEQ32) == self.model.check(seq % SEQ32)
            self.window.mark(seq)
            self.model.mark(seq)

    @invariant()
    def same_top(self) -> None:
        if hasattr(self, "window"):
            assert self.window.top == self.model.top


WindowMachine.TestCase.settings = examples(150)
TestWindow = WindowMachine.TestCase


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("top", [5000, SEQ32 - 1])
def test_edges_without_esn(size: int, top: int) -> None:
    """top - size + 1 is the last number inside, top - size the first outside."""
    window = ReplayWindow(size, top=top)
    window.mark(top)
    assert window.check(top) == (False, top)
    assert window.check(top - size + 1) == (size > 1, top - size + 1)
    assert window.check(top - size) == (False, top - size)
    window.mark(top - size)
    assert window.check(top - size) == (False, top - size) and window.top == top


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("top", [3 * SEQ32 + 5000, 3 * SEQ32 + 7, 3 * SEQ32, 4 * SEQ32 - 1])
def test_edges_with_esn(size: int, top: int) -> None:
    """RFC 4303 A2: left of the window lies the next epoch, in case A and in case B."""
    window = ReplayWindow(size, esn=True, top=top)
    window.mark(top)
    assert window.check((top - size + 1) % SEQ32) == (size > 1, top - size + 1)
    assert window.check((top - size) % SEQ32) == (True, top - size + SEQ32)
    assert window.check((top + 1) % SEQ32) == (True, top + 1)


@pytest.mark.parametrize("size", SIZES)
def test_no_number_before_the_first_and_behind_the_last(size: int) -> None:
    first = ReplayWindow(size, esn=True)
    assert first.check(0) == (False, 0)
    if size > 1:
        assert first.check(SEQ32 - 1) == (False, SEQ32 - 1)
    last = ReplayWindow(size, esn=True, top=SEQ64 - 1)
    assert last.check(SEQ32 - 1) == (True, SEQ64 - 1)
    last.mark(SEQ64 - 1)
    assert last.check((-size - 1) % SEQ32)[0] is False and last.check(0)[0] is False


def test_no_window_accepts_everything() -> None:
    window = ReplayWindow(0)
    for seq in (5, 5, 0, 1, SEQ32 - 1):
        assert window.check(seq) == (True, seq)
        window.mark(seq)
    assert window.top == SEQ32 - 1 and window.size == 0


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda: ReplayWindow(-1), ValueError),
        (lambda: ReplayWindow(4097), ValueError),
        (lambda: ReplayWindow(1 << 70), ValueError),
        (lambda: ReplayWindow("64"), TypeError),
        (lambda: ReplayWindow(64, top=SEQ32), ValueError),
        (lambda: ReplayWindow(64, esn=True, top=SEQ64), ValueError),
        (lambda: ReplayWindow(64, top=-1), ValueError),
        (lambda: ReplayWindow(64).check(-1), ValueError),
        (lambda: ReplayWindow(64).check(SEQ32), ValueError),
        (lambda: ReplayWindow(64).check("1"), TypeError),
        (lambda: ReplayWindow(64).mark(SEQ32), ValueError),
        (lambda: ReplayWindow(64, esn=True).mark(SEQ64), ValueError),
        (lambda: ReplayWindow(64).mark(-1), ValueError),
    ],
)
def test_wrong_use(use: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        use()
