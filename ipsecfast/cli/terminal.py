"""What a user sees beside the results: messages, the progress bar; and signals that end a run."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(BaseException):
    """A signal asked the run to end; passes through everything, so that all is cleaned up."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def complain(text: str) -> None:
    """One line on standard error."""
    line = " ".join(text.splitlines())
    with contextlib.suppress(OSError):
        print(f"ipsecfast: {line}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One line on standard error, for what does not end the run."""
    complain(f"warning: {text}")


@contextlib.contextmanager
def ended_by_signals() -> Iterator[Callable[[], None]]:
    """SIGTERM, SIGHUP and SIGINT raise Interrupted inside, instead of ending the process without a clean-up.

    What is given out must be called now and then, and before anything final: it raises for a signal whose exception
    was lost, as in NumPy, which forgets whatever is raised while it looks at an object.  A signal that comes while
    all is cleaned up after another raises nothing: that would end the clean-up.
    """
    caught: list[int] = []
    leaving = False

    def end(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        if not leaving and not isinstance(sys.exception(), Interrupted):
            raise Interrupted(signum)

    def check() -> None:
        if caught:
            raise Interrupted(caught[0])

    if threading.current_thread() is not threading.main_thread():
        yield check  # signals belong to the main thread
        return
    before = {}
    try:
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            handler = signal.getsignal(signum)
            if handler in (signal.SIG_DFL, signal.default_int_handler):  # nohup ignores, and so do we
                before[signum] = handler
                signal.signal(signum, end)
        yield check
    finally:
        leaving = True  # all of them, also if a signal comes meanwhile
        for signum, handler in before.items():
            signal.signal(signum, handler)
    check()


class Progress:
    """A bar on standard error if that is a terminal and the work takes long; context manager.

    total : bytes, 0 if unknown (then only what is done is shown).
    """

    DELAY = 0.5  # seconds before it appears
    INTERVAL = 0.1
    WIDTH = 30

    def __init__(self, total: int, enabled: bool = True) -> None:
        self._total = total
        self._on = enabled and sys.stderr.isatty()
        self._shown = False
        self._start = time.monotonic()
        self._next = self._start + self.DELAY

    def __call__(self, done: int) -> None:
        """``done``: bytes."""
        if not self._on:
            return
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self.INTERVAL
        self._shown = True
        text = f"{done / 1e6:,.0f} MB, {done / 1e6 / (now - self._start):,.0f} MB/s"
        if self._total:
            part = min(done / self._total, 1.0)
            full = round(part * self.WIDTH)
            text = f"[{'#' * full}{'.' * (self.WIDTH - full)}] {part:4.0%}  {text}"
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
