"""SA files: the ``sa`` objects of :meth:`SecurityAssociation.from_dict` as JSON or TOML.

JSON: a list of objects, or ``{"sas": [...]}``; TOML: ``[[sa]]`` tables.  Beside the SA's own fields an object may
have ``seq``, ``seq_hi``, ``selector`` and ``layer``; other fields are ignored.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from ..errors import KeyFileError
from ..sa import SecurityAssociation
from .entry import KeyEntry, key_error, make_entry

_OWN_FIELDS = ("seq", "seq_hi", "selector", "layer")
_FIELDS = (*(f.name for f in fields(SecurityAssociation)), *_OWN_FIELDS)
MAX_LAYER = 255  # far above any nesting that a packet has room for


def read_json(name: str, text: str) -> Iterator[KeyEntry | KeyFileError]:
    """Yield the SAs of a JSON text and, in their places, errors; raises KeyFileError if it is no JSON."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        # Only the fixed part of the text: what follows a colon repeats the file.
        problem = error.msg.partition(":")[0]
        raise KeyFileError(f"{name}:{error.lineno}: column {error.colno}: not valid JSON: {problem}") from None
    except (ValueError, RecursionError):  # an integer of thousands of digits; brackets without end
        raise KeyFileError(f"{name}: not valid JSON: a number or the nesting is beyond all bounds") from None
    return _entries(name, data)


def read_toml(name: str, text: str) -> Iterator[KeyEntry | KeyFileError]:
    """Yield the SAs of a TOML text and, in their places, errors; raises KeyFileError if it is no TOML."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)$", str(error))
        where = f"{name}:{place[1]}: column {place[2]}" if place else name
        raise KeyFileError(f"{where}: not valid TOML") from None
    return _entries(name, data)


def _entries(name: str, data: object) -> Iterator[KeyEntry | KeyFileError]:
    label = "sas"
    if isinstance(data, dict):
        label = "sas" if "sas" in data else "sa"
        data = data.get(label)
    if not isinstance(data, list):
        raise KeyFileError(f'{name}: holds no list of SAs: wanted [...] or {{"sas": [...]}} (JSON), [[sa]] (TOML)')
    return (_entry(f"{name}: {label}[{i}]", item) for i, item in enumerate(data))


def _entry(origin: str, item: Any) -> KeyEntry | KeyFileError:
    try:
        if not isinstance(item, Mapping):
            raise TypeError(f"SA: got {type(item).__name__}, wanted an object with the SA's fields")
        selector = item.get("selector")
        if selector is not None and not isinstance(selector, Mapping):
            raise TypeError(f"selector: got {type(selector).__name__}, wanted an object")
        return make_entry(origin, item, _seq(item), selector, _integer(item, "layer", MAX_LAYER))
    except (ValueError, TypeError, RecursionError) as error:
        return key_error(origin, f"{error}{_misspelt(item)}")


def _seq(item: Mapping[str, Any]) -> int:
    """``seq`` is the whole number; ``seq_hi``, where the test vectors have it, stands for its high half."""
    seq = _integer(item, "seq", 2**64 - 1)
    seq_hi = _integer(item, "seq_hi", 2**32 - 1)
    if item.get("esn") is not True or not seq_hi:
        return seq
    if seq >> 32 not in (0, seq_hi):
        raise ValueError("seq_hi: contradicts the high half of seq")
    return seq_hi << 32 | seq & 0xFFFFFFFF


def _integer(item: Mapping[str, Any], name: str, top: int) -> int:
    value = item.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: got {type(value).__name__}, wanted an int")
    if not 0 <= value <= top:
        raise ValueError(f"{name}: got {value}, wanted 0 to {top}")
    return value


def _misspelt(item: object) -> str:
    """A hint for an object that is refused and has a field which is almost one of ours."""
    for name in item if isinstance(item, Mapping) else ():
        if name not in _FIELDS and len(name) < 40 and (meant := difflib.get_close_matches(name, _FIELDS, 1, 0.8)):
            return f" (a field is spelt almost like {meant[0]})"
    return ""
