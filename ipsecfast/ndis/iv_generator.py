"""The guard around a caller's generator of IVs: it is called in the middle of a send, and must not come back in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["CallLock", "IvGenerator"]


class IvGenerator:
    """A generator that knows which thread is in it.

    A card that is called from there raises RuntimeError before anything is touched: in that call, and, since the
    generator may have caught it, at the end of the call that asked for IVs.  Another thread waits: that the generator
    waits for it can't be seen, and callers that have nothing to do with it must not fail.
    """

    def __init__(self, generator: Callable[[int], bytes]) -> None:
        self._generator = generator
        self._threads: set[int] = set()  # that are in the generator: cards may share it
        self._caught: dict[int, RuntimeError] = {}  # by thread

    def __call__(self, n: int) -> bytes:
        me = threading.get_ident()
        self._threads.add(me)
        try:
            return self._generator(n)
        finally:
            self._threads.discard(me)

    def check(self) -> None:
        """RuntimeError if the caller is in the generator."""
        me = threading.get_ident()
        if me in self._threads:
            self._caught[me] = RuntimeError("iv_generator: it calls the card that it makes IVs for")
            raise self._caught[me]

    def caught(self) -> RuntimeError | None:
        """The error that was raised since this was asked last."""
        return self._caught.pop(threading.get_ident(), None)


class CallLock:
    """A lock for a card's calls, which its generator can't take again."""

    def __init__(self, generator: IvGenerator) -> None:
        self._generator = generator
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._generator.check()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        caught = self._generator.caught()
        self._lock.release()
        if caught is not None and error is None:
            raise caught
