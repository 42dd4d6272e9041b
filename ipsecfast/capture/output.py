"""The output file: it appears under its name when it is complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import CaptureError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

STDOUT = "-"
# Names of an open descriptor: to be written to as it is, whatever it leads to.
_DESCRIPTOR = re.compile(r"/dev/(?:stdout|stderr|fd/\d+)|/proc/(?:self|\d+)/fd/\d+")


def names_stdout(path: str) -> bool:
    """Whether ``path`` is one of the names of standard output."""
    return path in (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


class OutputFile:
    """Context manager; ``commit`` as the last step inside it makes the file appear.

    A regular file (or a name that is not there yet) is written as a temporary file beside it and
    renamed; through a symbolic link, beside what it leads to.  Devices, fifos and descriptors
    (``-`` is standard output) are written to directly.  A name ending in ``.gz`` is compressed.
    With ``behind`` a regular file is compressed and written by a thread, one call at a time, while the
    caller makes the next one's data; an error then comes with the call after it.
    All methods raise CaptureError for what the system refuses.
    """

    def __init__(self, path: str, behind: bool = False) -> None:
        self.path = path
        self._behind = behind
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._temporary: str | None = None
        self._deflate = zlib.compressobj(level=1, wbits=31) if path.endswith(".gz") else None
        self._fd = -1

    def __enter__(self) -> OutputFile:
        if self._behind:
            from concurrent.futures import ThreadPoolExecutor
        try:
            with self._errors():
                direct = self.path == STDOUT or _DESCRIPTOR.fullmatch(self.path)
                self._target = self.path if direct else os.path.realpath(self.path)
                self._fd = os.dup(1) if names_stdout(self.path) else self._open(bool(direct))
            if self._behind and self._temporary is not None:  # a fifo could keep a thread waiting for ever
                self._writer = ThreadPoolExecutor(1, "writer")
        except BaseException:  # also a signal that comes right after the file was made
            self.discard()
            raise
        return self

    def _open(self, direct: bool) -> int:
        mode = None
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(self._target).st_mode
        if mode is not None and (direct or not stat.S_ISREG(mode)):
            return os.open(self._target, os.O_WRONLY | os.O_CLOEXEC)  # a folder raises here
        if mode is not None and not os.access(self._target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        folder, name = os.path.split(self._target)
        self._temporary = os.path.join(folder, f".{name[:100]}.{os.urandom(8).hex()}.part")
        fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if mode is not None:
            os.fchmod(fd, stat.S_IMODE(mode))
        return fd

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise CaptureError(f"{self.path}: can't be written: {e.strerror}") from None
        except ValueError as e:  # a NUL in the name
            raise CaptureError(f"{self.path}: can't be written: {e}") from None

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data`` (bytes-like), which with ``behind`` must stay as it is until the call after this one."""
        if self._writer is None:
            self._append(data)
            return
        self._wait()
        self._writing = self._writer.submit(self._append, data)

    def _wait(self) -> None:
        """Until everything is written; raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _append(self, data: bytes | memoryview) -> None:
        if self._deflate is not None:
            data = self._deflate.compress(data)
        self._write(data)

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        with self._errors():
            while len(view):
                view = view[os.write(self._fd, view) :]

    def commit(self) -> None:
        """Complete the file and give it its name."""
        self._wait()
        if self._deflate is not None:
            self._write(self._deflate.flush())
        with self._errors():
            fd, self._fd = self._fd, -1
            os.close(fd)
            if self._temporary is not None:
                os.replace(self._temporary, self._target)
                self._temporary = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove and close what was not committed; again, if a signal's exception interrupted that."""
        if self._temporary is not None:  # first, for the writer may be long at its last data
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            self._temporary = None
        if self._writer is not None:
            self._writer.shutdown(cancel_futures=True)
            self._writer = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
