"""Text files from outside, read whole: bounded in size, UTF-8 or UTF-16, with either line end."""

from __future__ import annotations

import codecs
from pathlib import Path

from .errors import IpsecError


def read_text(path: str | Path, name: str, what: str, max_len: int, error: type[IpsecError]) -> str:
    """The text of a file, line ends made ``\\n``.

    Parameters
    ----------
    name : the file as errors should call it.
    what : what it should be, for the error about its size: ``"key file"``.
    max_len : bytes, whole MiB.
    error : raised with one line for what can't be read, is too large, or is no text.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(max_len + 1)
    except OSError as e:
        raise error(f"{name}: can't be read: {e.strerror}") from None
    except ValueError:  # a NUL in the path
        raise error(f"{name}: can't be read: not a file name") from None
    if len(data) > max_len:
        raise error(f"{name}: is larger than {max_len >> 20} MiB, no {what}")
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what PowerShell's ">" writes
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise error(f"{name}:{line}: is no {'UTF-16' if utf16 else 'UTF-8'} text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
