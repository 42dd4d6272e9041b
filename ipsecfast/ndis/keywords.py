"""The standardized registry keywords of task offload: one table, one loop.

Keywords are read when the adapter starts, shown in the user interface or not (Microsoft: "Using Registry Values to
Enable and Disable Task Offloading", "Enumeration Keywords").  Reading never fails for a bad value, unless asked to:
the default is used, and a notice says so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import RegistryError
from .options import Options
from .registry import Registry, RegistryValue

__all__ = ["KEYWORDS", "Keyword", "KeywordValues", "read_keywords"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keyword:
    """A keyword: an enumeration 0 to ``highest``.

    ``parameter`` is the member of NDIS_OFFLOAD_PARAMETERS that sets the same thing at run time, to one more;
    "" for the grouped keywords, which only the registry has.
    """

    name: str
    description: str
    highest: int
    default: int
    parameter: str = ""


KEYWORDS = (
    Keyword("*IPsecOffloadV2", "IPsec Offload", 3, 3, "IPsecV2"),
    Keyword("*IPsecOffloadV2IPv4", "IPsec Offload (IPv4 only)", 3, 3, "IPsecV2IPv4"),
    Keyword("*IPsecOffloadV1IPv4", "IPsec Offload Version 1 (IPv4)", 3, 3, "IPsecV1"),
    Keyword("*IPChecksumOffloadIPv4", "IPv4 Checksum Offload", 3, 3, "IPv4Checksum"),
    Keyword("*TCPChecksumOffloadIPv4", "TCP Checksum Offload (IPv4)", 3, 3, "TCPIPv4Checksum"),
    Keyword("*TCPChecksumOffloadIPv6", "TCP Checksum Offload (IPv6)", 3, 3, "TCPIPv6Checksum"),
    Keyword("*UDPChecksumOffloadIPv4", "UDP Checksum Offload (IPv4)", 3, 3, "UDPIPv4Checksum"),
    Keyword("*UDPChecksumOffloadIPv6", "UDP Checksum Offload (IPv6)", 3, 3, "UDPIPv6Checksum"),
    Keyword("*TCPUDPChecksumOffloadIPv4", "TCP/UDP Checksum Offload (IPv4)", 3, 3),
    Keyword("*TCPUDPChecksumOffloadIPv6", "TCP/UDP Checksum Offload (IPv6)", 3, 3),
    Keyword("*LsoV1IPv4", "Large Send Offload Version 1 (IPv4)", 1, 1, "LsoV1"),
    Keyword("*LsoV2IPv4", "Large Send Offload V2 (IPv4)", 1, 1, "LsoV2IPv4"),
    Keyword("*LsoV2IPv6", "Large Send Offload V2 (IPv6)", 1, 1, "LsoV2IPv6"),
)

# A grouped keyword covers all of these; it and the granular ones must both allow what is to be on.
_GROUPS = {
    "*TCPUDPChecksumOffloadIPv4": ("IPv4Checksum", "TCPIPv4Checksum", "UDPIPv4Checksum"),
    "*TCPUDPChecksumOffloadIPv6": ("TCPIPv6Checksum", "UDPIPv6Checksum"),
}


@dataclass(frozen=True)
class KeywordValues:
    """What the keywords say.

    Attributes
    ----------
    values : keyword -> value, every one of KEYWORDS.
    origins : keyword -> where the value stands; absent where the default is used.
    notices : one line per value that could not be used.
    """

    values: Mapping[str, int]
    origins: Mapping[str, str]
    notices: tuple[str, ...]

    def settings(self) -> dict[str, int]:
        """Value per member of NDIS_OFFLOAD_PARAMETERS (not plus one), with the grouped keywords worked in."""
        settings = {k.parameter: self.values[k.name] for k in KEYWORDS if k.parameter}
        for group, members in _GROUPS.items():
            for member in members:
                settings[member] &= self.values[group]  # bit 0 transmit, bit 1 receive
        return settings


def read_keywords(registry: Registry, options: Options | None = None) -> KeywordValues:
    """Read every keyword; a missing one has its default.

    What can't be used (not a decimal number, out of range) is taken as the default too, logged, and noted; with
    ``out_of_range_keyword="refuse"`` it raises RegistryError.
    """
    options = options or Options()
    values, origins, notices = {}, {}, []
    for keyword in KEYWORDS:
        values[keyword.name] = keyword.default
        found = registry.get(keyword.name)
        if found is None:
            continue
        number = _number(found, options)
        if number is not None and 0 <= number <= keyword.highest:
            values[keyword.name] = number
            origins[keyword.name] = found.origin
            continue
        complaint = f"{found.origin}: {keyword.name}: got {found.shown()}, wanted 0 to {keyword.highest}"
        if options.out_of_range_keyword == "refuse":
            raise RegistryError(complaint)
        notices.append(f"{complaint}; {keyword.default}, the default, is used")
        _log.warning("%s", notices[-1])
    return KeywordValues(values, origins, tuple(notices))


def _number(value: RegistryValue, options: Options) -> int | None:
    if isinstance(value.data, int):
        return value.data if options.numeric_keywords else None
    if value.data is not None and re.fullmatch(r"[0-9]{1,10}", value.data):
        return int(value.data)
    return None
