"""The keywords of an INF file: ``HKR`` lines of its AddReg sections.

Read are plain values (``HKR,, *IPsecOffloadV2, 0, "3"``) and the defaults and enumerations of parameters
(``HKR, Ndi\\params\\*IPsecOffloadV2, default, 0, "3"``), which Windows copies to a plain value at installation.  All
sections count together, as a device's AddReg directive may name several.  Nothing else of the INF is interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .errors import RegistryError

_SECTION = re.compile(r"\[\s*([^\]]+?)\s*\]")
_TOKEN = re.compile(r"%([^%]*)%")
_TYPE_MASK = 0xFFFF0001  # FLG_ADDREG_TYPE_...: the other bits say how to add
_TYPE_SZ, _TYPE_DWORD = 0x00000000, 0x00010001


class _Line(NamedTuple):
    number: int
    section: str
    text: str


class _Entry(NamedTuple):
    """One HKR line: subkey and value name in lower case."""

    line: int
    section: str
    subkey: str
    name: str
    spelling: str
    data: str | int | None


def looks_like(text: str) -> bool:
    """Does a text have the section that every INF has, or a line that only INFs have?"""
    return re.search(r"^\s*(\[\s*Version\s*\]|HKR\s*,)", text, re.IGNORECASE | re.MULTILINE) is not None


def keyword_values(name: str, text: str, section: str | None) -> Iterator[tuple[str, str | int | None, int]]:
    """Name, data and line of each keyword that the INF sets.  Raises RegistryError."""
    lines = list(_lines(name, text))
    strings = _strings(name, lines)
    entries = [entry for line in lines if (entry := _entry(name, line, strings)) is not None]
    if section is not None:
        entries = [e for e in entries if e.section == section.casefold()]
        if not entries:
            raise RegistryError(f"{name}: section [{section}] has no HKR line")
    _check_defaults(name, entries)
    plain: dict[str, _Entry] = {}
    defaults: dict[str, _Entry] = {}
    for e in entries:
        keyword = e.subkey.removeprefix("ndi\\params\\")
        if not e.subkey and e.name.startswith("*"):
            _add(name, plain, e.name, e)
        elif e.subkey != keyword and keyword.startswith("*") and "\\" not in keyword and e.name == "default":
            _add(name, defaults, keyword, e)
    for keyword, e in {**defaults, **plain}.items():
        spelling = e.spelling if keyword in plain else e.spelling.rpartition("\\")[2]
        yield spelling, e.data, e.line


def _add(name: str, known: dict[str, _Entry], keyword: str, entry: _Entry) -> None:
    other = known.get(keyword)
    if other is not None and other.data != entry.data:
        where = f"{name}:{entry.line}"
        raise RegistryError(f"{where}: {keyword} differs from line {other.line}; choose one section of the INF")
    known[keyword] = entry


def _check_defaults(name: str, entries: list[_Entry]) -> None:
    """A parameter's default must be one of the values that its enumeration lists."""
    listed: dict[tuple[str, str], set[str]] = {}
    for e in entries:
        if e.subkey.endswith("\\enum"):
            listed.setdefault((e.section, e.subkey.removesuffix("\\enum")), set()).add(e.name)
    for e in entries:
        values = listed.get((e.section, e.subkey))
        if values and e.name == "default" and str(e.data) not in values:
            keyword = e.subkey.rpartition("\\")[2]
            wanted = ", ".join(sorted(values))
            raise RegistryError(
                f"{name}:{e.line}: {keyword}: default: got {e.data!r}, wanted one of its enum: {wanted}"
            )


def _lines(name: str, text: str) -> Iterator[_Line]:
    section = ""
    start, joined = 0, ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = _uncommented(raw).strip()
        start = start if joined else number
        if line.endswith("\\") and line.count('"') % 2 == 0:
            joined += line[:-1]
            continue
        line, joined = (joined + line).strip(), ""
        if not line:
            continue
        if line.startswith("["):
            found = _SECTION.fullmatch(line)
            if found is None:
                raise RegistryError(f"{name}:{start}: the section's name does not end in ]")
            section = found[1].casefold()
        else:
            yield _Line(start, section, line)


def _uncommented(line: str) -> str:
    quoted = False
    for i, c in enumerate(line):
        if c == '"':
            quoted = not quoted
        elif c == ";" and not quoted:
            return line[:i]
    return line


def _strings(name: str, lines: list[_Line]) -> dict[str, str]:
    strings = {}
    for line in lines:
        if line.section == "strings":
            key, equals, value = line.text.partition("=")
            if not equals:
                raise RegistryError(f"{name}:{line.number}: is no token = string")
            strings[key.strip().strip('"').casefold()] = _unquoted(value.strip())
    return strings


def _entry(name: str, line: _Line, strings: dict[str, str]) -> _Entry | None:
    if not re.match(r"HKR\s*,", line.text, re.IGNORECASE):
        return None
    if line.text.count('"') % 2:
        raise RegistryError(f"{name}:{line.number}: a quote is not closed")
    fields = [_filled(_unquoted(f), strings) for f in _fields(line.text)]
    _, subkey, value_name, flags, data, *rest = [*fields, *[""] * 5]
    kind = _integer(flags or "0")
    if kind is None:
        raise RegistryError(f"{name}:{line.number}: flags: got {flags!r}, wanted an integer")
    value: str | int | None = None
    if kind & _TYPE_MASK == _TYPE_SZ:
        value = data
    elif kind & _TYPE_MASK == _TYPE_DWORD and not any(rest):
        value = _integer(data or "0")
        if value is None:
            raise RegistryError(f"{name}:{line.number}: {value_name}: got {data!r}, wanted an integer")
    spelling = subkey or value_name
    return _Entry(line.number, line.section, subkey.casefold(), value_name.casefold(), spelling, value)


def _fields(text: str) -> list[str]:
    """The parts between commas, those in quotes left whole."""
    return [part.strip() for part in re.findall(r'(?:^|,)((?:[^",]|"[^"]*")*)', text)]


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    return text


def _filled(text: str, strings: dict[str, str]) -> str:
    """%token% replaced by its string; %% is a percent sign, and what is unknown stays."""

    def string(found: re.Match[str]) -> str:
        return "%" if not found[1] else strings.get(found[1].casefold(), found[0])

    return _TOKEN.sub(string, text)


def _integer(text: str) -> int | None:
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", text):
        return int(text, 16 if text[:2].lower() == "0x" else 10)
    return None
