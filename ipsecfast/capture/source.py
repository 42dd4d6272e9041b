"""Where a capture's bytes come from: a file, a pipe or standard input, plain or gzip."""

from __future__ import annotations

import io
import os
import stat
import zlib

from ..errors import CaptureError

STDIN = "-"
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 18


class SourceError(CaptureError):
    """The bytes can't be read on; what was read before is good."""


class Source:
    """Bytes of a plain capture.

    Attributes
    ----------
    name : for messages.
    size : of the file in bytes, 0 if not known beforehand (a pipe).
    seekable : True for a regular file, which may be closed and opened again.
    """

    def __init__(self, file: io.RawIOBase, name: str, head: bytes, size: int, seekable: bool) -> None:
        self.name = name
        self.size = size
        self.seekable = seekable
        self._file = file
        self._head = head
        self._read = len(head)

    @property
    def position(self) -> int:
        """Bytes of the file (compressed, if it is) taken so far."""
        return self._read

    def readinto(self, view: memoryview) -> int:
        """Fill the front of ``view``; returns how many bytes, 0 at the end.  Raises SourceError."""
        if self._head:
            n = min(len(self._head), len(view))
            view[:n] = self._head[:n]
            self._head = self._head[n:]
            return n
        try:
            n = self._file.readinto(view) or 0
        except OSError as e:
            raise SourceError(f"can't be read: {e.strerror}") from None
        self._read += n
        return n

    def read_up_to(self, n: int) -> bytes:
        """The next ``n`` bytes, fewer at the end."""
        data = bytearray(n)
        done = 0
        while done < n and (got := self.readinto(memoryview(data)[done:])):
            done += got
        return bytes(data[:done])

    def close(self) -> None:
        self._file.close()


class GzipSource(Source):
    """Bytes of a gzip capture (RFC 1952), of one member or several."""

    def __init__(self, file: io.RawIOBase, name: str, head: bytes, size: int, seekable: bool) -> None:
        super().__init__(file, name, head, size, seekable)
        self._inflate = zlib.decompressobj(wbits=31)
        self._pending = b""
        self._piece = memoryview(bytearray(_PIECE))

    def readinto(self, view: memoryview) -> int:
        while True:
            if self._inflate.eof and not self._next_member():
                return 0
            saved = self._inflate.copy()
            try:
                data = self._inflate.decompress(self._pending, len(view))
            except zlib.error as e:
                if len(view) == 1:
                    raise SourceError(f"is damaged: gzip: {e}") from None
                # What comes before the damage is good: it is got in smaller pieces.
                self._inflate, view = saved, view[: len(view) // 2]
                continue
            self._pending = self._inflate.unconsumed_tail
            if data:
                view[: len(data)] = data
                return len(data)
            if not self._inflate.eof and not self._more():
                raise SourceError("is cut off: its gzip data ends early")

    def _more(self) -> bool:
        n = super().readinto(self._piece)
        self._pending = bytes(self._piece[:n])
        return n > 0

    def _next_member(self) -> bool:
        self._pending = self._inflate.unused_data.lstrip(b"\0")  # zeros may fill up a tape block
        while not self._pending:
            if not self._more():
                return False
            self._pending = self._pending.lstrip(b"\0")
        self._inflate = zlib.decompressobj(wbits=31)
        return True


def open_source(path: str) -> Source:
    """Open a capture (``"-"``: standard input).  Raises CaptureError, without the file's name."""
    name = "standard input" if path == STDIN else path
    try:
        file = io.FileIO(0, closefd=False) if path == STDIN else io.FileIO(path)
        try:
            status = os.fstat(file.fileno())
            head = file.read(2) or b""
            if len(head) == 1:  # a pipe may give one byte at a time
                head += file.read(1) or b""
        except BaseException:
            file.close()
            raise
    except OSError as e:
        raise CaptureError(f"can't be read: {e.strerror}") from None
    except ValueError as e:  # a NUL in the name
        raise CaptureError(f"can't be read: {e}") from None
    regular = stat.S_ISREG(status.st_mode)
    kind = GzipSource if head == _GZIP_MAGIC else Source
    return kind(file, name, head, status.st_size if regular else 0, regular and path != STDIN)
