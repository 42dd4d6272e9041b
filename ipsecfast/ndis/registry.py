"""An adapter's registry key, from a mapping, a ``.reg`` export or an INF file.

Only the values are read here; which numbers a keyword may have is :mod:`.keywords`' business.  A file that is not
well-formed is refused with one line: file, line, reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..textfile import read_text
from . import inf
from .errors import RegistryError

__all__ = ["Registry", "RegistryValue", "TransportSwitches", "load_registry"]

MAX_REGISTRY_FILE_LEN = 16 * 2**20  # bytes
_MAGIC = ("Windows Registry Editor Version 5.00", "REGEDIT4")
_DWORD = re.compile(r"dword:([0-9a-fA-F]{1,8})")
_HEX = re.compile(r"hex(\([0-9a-fA-F]+\))?:[0-9a-fA-F, ]*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NAMED = re.compile(r'(@|"(?:[^"\\]|\\.)*")\s*=\s*(.*)')


@dataclass(frozen=True)
class RegistryValue:
    """A value: a string, a number (REG_DWORD), or None for any other type; and where it stands."""

    name: str
    data: str | int | None
    origin: str

    def shown(self) -> str:
        """The data, for a message of one line."""
        if self.data is None:
            return "a value that is neither string nor DWORD"
        return repr(self.data if isinstance(self.data, int) else self.data[:40])


@dataclass(frozen=True)
class TransportSwitches:
    """What the TCP/IP transport reads, not the miniport: with either it must not set OID_OFFLOAD_ENCAPSULATION.

    disable_task_offload : ...\\Services\\TCPIP\\Parameters\\DisableTaskOffload is 1: no task offload at all.
    ipsec_offload : ...\\Services\\Ipsec\\EnabledOffload is not 0: IPsec may be offloaded.
    """

    disable_task_offload: bool = False
    ipsec_offload: bool = True


class Registry:
    """The values of an adapter's software key; names are not case-sensitive.

    >>> registry = Registry({"*IPsecOffloadV2": "2"})
    >>> registry.get("*ipsecoffloadv2").data
    '2'
    """

    def __init__(
        self, values: Mapping[str, str | int] | None = None, transport: TransportSwitches | None = None
    ) -> None:
        self.transport = transport or TransportSwitches()
        self._values: dict[str, RegistryValue] = {}
        for name, data in (values or {}).items():
            if not isinstance(name, str) or not isinstance(data, (str, int)):
                raise TypeError(f"registry: got {name!r}: {data!r}, wanted strings or integers by name")
            self._add(RegistryValue(name, data, "mapping"))

    def get(self, name: str) -> RegistryValue | None:
        """The value of that name, or None."""
        return self._values.get(name.casefold())

    def write(self, name: str, value: int, origin: str) -> None:
        """Set a value, as a string of decimal digits (what enumeration keywords are stored as)."""
        self._add(RegistryValue(name, str(value), origin))

    def __iter__(self) -> Iterator[RegistryValue]:
        return iter(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def _add(self, value: RegistryValue) -> None:
        self._values[value.name.casefold()] = value


def load_registry(path: str | Path, key: str | None = None) -> Registry:
    """Read a ``.reg`` export or an INF file; which one it is, is seen from its content.

    Parameters
    ----------
    key : end of the registry key's path, or name of the INF's section, where the file has several adapters'.

    Raises RegistryError: one line with file, line and reason.
    """
    name = " ".join(str(path).split())
    text = read_text(path, name, "registry file", MAX_REGISTRY_FILE_LEN, RegistryError)
    first = next((line.strip() for line in text.split("\n") if line.strip()), "")
    if first in _MAGIC:
        return _from_reg(name, text, key)
    if inf.looks_like(text):
        registry = Registry()
        for value_name, data, line in inf.keyword_values(name, text, key):
            registry._add(RegistryValue(value_name, data, f"{name}:{line}"))
        return registry
    raise RegistryError(f"{name}:1: is neither a .reg export nor an INF file")


def _from_reg(name: str, text: str, key: str | None) -> Registry:
    sections = _read_reg(name, text)
    adapters = {
        path: values
        for path, values in sections.items()
        if any(value.startswith("*") for value in values) and "\\ndi\\" not in path
    }
    if key is not None:
        wanted = "\\" + key.casefold().strip("\\")
        adapters = {path: values for path, values in sections.items() if f"\\{path}".endswith(wanted)}
    if len(adapters) != 1 and (adapters or key is not None):
        found = f"{len(adapters)} keys" if adapters else "no key"
        which = f" ending in {key!r}" if key is not None else " with keywords"
        raise RegistryError(f"{name}: has {found}{which}, wanted one adapter's key")
    registry = Registry(transport=_transport(sections))
    for values in adapters.values():
        for value in values.values():
            registry._add(value)
    return registry


def _transport(sections: Mapping[str, Mapping[str, RegistryValue]]) -> TransportSwitches:
    def number(path: str, value: str, default: int) -> int:
        for section, values in sections.items():
            if section.endswith(path) and value in values:
                data = values[value].data
                return data if isinstance(data, int) else default
        return default

    disabled = number("\\services\\tcpip\\parameters", "disabletaskoffload", 0)
    return TransportSwitches(disabled == 1, number("\\services\\ipsec", "enabledoffload", 1) != 0)


def _read_reg(name: str, text: str) -> dict[str, dict[str, RegistryValue]]:
    """Key (casefolded) -> value name (casefolded) -> value.  What a later line removes is gone."""
    sections: dict[str, dict[str, RegistryValue]] = {}
    section: dict[str, RegistryValue] | None = None
    lines = _logical_lines(text)
    next(lines)  # the magic
    for number, line in lines:
        where = f"{name}:{number}"
        if line.startswith("["):
            if not line.endswith("]") or len(line) < 3:
                raise RegistryError(f"{where}: the key's name does not end in ]")
            path = line[1:-1].casefold()
            if path.startswith("-"):
                gone = path[1:]
                for known in [s for s in sections if s == gone or s.startswith(gone + "\\")]:
                    del sections[known]
                section = {}
            else:
                section = sections.setdefault(path, {})
            continue
        if section is None:
            raise RegistryError(f"{where}: a value stands before the first key")
        found = _NAMED.fullmatch(line)
        if found is None:
            raise RegistryError(f'{where}: is neither a [key] nor a "name"=value')
        value_name = "" if found[1] == "@" else _unescaped(found[1][1:-1])
        if found[2] == "-":
            section.pop(value_name.casefold(), None)
        else:
            section[value_name.casefold()] = RegistryValue(value_name, _reg_data(where, found[2]), where)
    return sections


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that are neither blank nor comments, with continued ones joined."""
    start, joined = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not joined:
            start = number
            if not line or line.startswith(";"):
                continue
        joined += line
        if joined.endswith("\\") and "=hex" in joined:
            joined = joined[:-1]
            continue
        yield start, joined
        joined = ""
    if joined:
        yield start, joined


def _reg_data(where: str, text: str) -> str | int | None:
    string, dword = _STRING.fullmatch(text), _DWORD.fullmatch(text)
    if string:
        return _unescaped(string[1])
    if dword:
        return int(dword[1], 16)
    if _HEX.fullmatch(text):
        return None
    raise RegistryError(f"{where}: the value is neither a string, dword:, hex: nor -")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
