"""An adapter's states, and the gate in front of its work: who may come in, and when everybody is out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from .constants import NdisStatus
from .iv_generator import IvGenerator

__all__ = ["AdapterState", "Gate"]


class AdapterState(Enum):
    """States of a miniport adapter (NDIS' page "Miniport Adapter States and Operations"), and what else may be so.

    RESETTING, STANDBY and REMOVED are no states in NDIS' drawing, but refuse work as states do.
    """

    HALTED = "halted"
    PAUSED = "paused"
    PAUSING = "pausing"
    RUNNING = "running"
    RESETTING = "resetting"
    STANDBY = "standby"
    REMOVED = "removed"


# What a send is completed with where it is not accepted.
SEND_REFUSALS = {
    AdapterState.HALTED: NdisStatus.NDIS_STATUS_FAILURE,
    AdapterState.REMOVED: NdisStatus.NDIS_STATUS_FAILURE,
    AdapterState.PAUSED: NdisStatus.NDIS_STATUS_PAUSED,
    AdapterState.PAUSING: NdisStatus.NDIS_STATUS_PAUSED,
    AdapterState.RESETTING: NdisStatus.NDIS_STATUS_RESET_IN_PROGRESS,
    AdapterState.STANDBY: NdisStatus.NDIS_STATUS_LOW_POWER_STATE,
}


class Gate:
    """The adapter's state, and how many calls are at work in it.

    Work comes in by :meth:`work` or :meth:`enter` and :meth:`leave`, and is short; a change of state by
    :meth:`move` waits until what came in before is out.  A thread must not change the state from inside its own work.

    generator : what makes the card's IVs, in the middle of its work; from there nobody comes in (RuntimeError).
    """

    def __init__(self, generator: object = None) -> None:
        self._generator = generator if isinstance(generator, IvGenerator) else None
        self.state = AdapterState.HALTED
        self._at_work = 0
        self._changed = threading.Condition()

    def enter(self, *states: AdapterState) -> AdapterState | None:
        """Come in; None if the adapter is in one of ``states``, else the state that keeps the caller out."""
        self.check()
        with self._changed:
            if self.state not in states:
                return self.state
            self._at_work += 1
        return None

    def check(self) -> None:
        """RuntimeError if the caller is in the card's generator of IVs."""
        if self._generator is not None:
            self._generator.check()

    def leave(self) -> None:
        """Go out again."""
        with self._changed:
            self._at_work -= 1
            if not self._at_work:
                self._changed.notify_all()

    @contextmanager
    def work(self, *states: AdapterState) -> Iterator[AdapterState | None]:
        """:meth:`enter` and :meth:`leave`; gives the state that keeps the caller out."""
        refused = self.enter(*states)
        try:
            yield refused
        finally:
            if refused is None:
                self.leave()

    def need(self, wanted: tuple[AdapterState, ...], what: str) -> AdapterState:
        """The state; RuntimeError from one not wanted."""
        now = self.state
        if now not in wanted:
            names = " or ".join(s.value for s in wanted)
            raise RuntimeError(f"{what}: the adapter is {now.value}, wanted {names}")
        return now

    def move(self, wanted: tuple[AdapterState, ...], to: AdapterState, what: str) -> AdapterState:
        """Change the state and wait until all work is out; the state before.  RuntimeError from a state not wanted."""
        self.check()
        with self._changed:
            before = self.need(wanted, what)
            self.state = to
            while self._at_work:
                self._changed.wait()
            return before
