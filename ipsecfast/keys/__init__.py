"""Security associations from key files: SA files (JSON, TOML), ``ip xfrm state`` text, Wireshark ``esp_sa`` tables.

The format is recognised from the content.  Nothing here opens a capture or touches an SAD; two files that hold
the same SA give it twice.  No error or warning ever shows a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import KeyFileError
from ..textfile import read_text
from . import esp_sa, safile, xfrm
from .entry import KeyEntry, one_line
from .policy import Policy, policies

__all__ = ["MAX_KEY_FILE_LEN", "KeyEntry", "Policy", "load_keys", "policies"]

MAX_KEY_FILE_LEN = 64 * 2**20  # bytes; some hundred thousand SAs

_TOML = re.compile(r"\[\[?\s*[A-Za-z_][\w.-]*\s*\]|[\"']?[A-Za-z_][\w.-]*[\"']?\s*=")

Reader = Callable[[str, str], Iterator[KeyEntry | KeyFileError]]


def load_keys(
    paths: Iterable[str | Path], *, skip_bad: bool = False, warn: Callable[[str], None] | None = None
) -> list[KeyEntry]:
    """Read the SAs of all ``paths``, in order.

    Parameters
    ----------
    paths : key files, each at most 64 MiB of UTF-8 (or, with a byte order mark, UTF-16) text.
    skip_bad : pass what is wrong with a bad entry to ``warn`` and go on, instead of raising it.
    warn : called with one line per skipped entry.

    Raises KeyFileError, one line with file, line (or index) and reason, for the first bad entry; and, whatever
    ``skip_bad`` says, for a file that can't be read, recognised or parsed.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise TypeError(f"paths: got {type(paths).__name__}, wanted an iterable of them")
    entries: list[KeyEntry] = []
    for path in paths:
        name = one_line(str(path))
        text = read_text(path, name, "key file", MAX_KEY_FILE_LEN, KeyFileError)
        for entry in _reader(name, text)(name, text):
            if isinstance(entry, KeyEntry):
                entries.append(entry)
            elif not skip_bad:
                raise entry
            elif warn is not None:
                warn(str(entry))
    return entries


def _reader(name: str, text: str) -> Reader:
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if _TOML.match(first):
        return safile.read_toml
    if first.startswith(("[", "{")):
        return safile.read_json
    if esp_sa.looks_like(first):
        return esp_sa.read
    if xfrm.looks_like(text):
        return xfrm.read
    if not first:
        raise KeyFileError(f"{name}: holds no keys: the file is empty, or nothing but comments")
    raise KeyFileError(
        f"{name}: is none of an SA file (JSON or TOML), 'ip xfrm state' output, and a Wireshark esp_sa table"
    )
