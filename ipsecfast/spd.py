"""SPD: which traffic an outbound SA or bundle is for (RFC 4301 sec. 4.4.1)."""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from .core._select import SelectorTable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA "Assigned Internet Protocol Numbers", as key files and iproute2 spell them.
PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "ipv4": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "ospf": 89,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
}
WITH_PORTS = ("tcp", "udp", "dccp", "sctp", "udplite")  # as in core/_select.pyx
_PORT_NUMBERS = {PROTOCOLS[name] for name in WITH_PORTS}
_PORT_FIELD = re.compile(rf"({'|'.join(WITH_PORTS)})_([sd]port)")


@dataclass(frozen=True, kw_only=True)
class Selector:
    """What a packet must look like to be an SA's traffic (RFC 4301 sec. 4.4.1.1); None is any.

    Parameters
    ----------
    src, dst : prefix or address; str or ipaddress object.  Bits behind the prefix are ignored.  With one of them
        only its IP family matches, with none both do.
    proto : 0 to 255, or a name (``"udp"``); the header behind IPv4's, or behind IPv6's hop-by-hop, routing,
        fragment and destination options headers.
    sport, dport : int, ``"low-high"`` or (low, high); ports of TCP, UDP, DCCP, SCTP and UDP-Lite.  A packet
        whose ports can't be seen (a later fragment, another protocol) only matches selectors without ports.

    ICMP types and codes can't be selected.  Raises ValueError or TypeError, naming the field.
    """

    src: str | Network | Address | None = None
    dst: str | Network | Address | None = None
    proto: int | str | None = None
    sport: int | str | tuple[int, int] | None = None
    dport: int | str | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        put("src", _network("src", self.src))
        put("dst", _network("dst", self.dst))
        put("proto", _protocol(self.proto))
        put("sport", _ports("sport", self.sport))
        put("dport", _ports("dport", self.dport))
        versions = {end.version for end in self._networks if end is not None}
        if len(versions) == 2:
            raise ValueError(f"src and dst: got {self.src} and {self.dst}, wanted one family")
        if (self.sport or self.dport) and self.proto is not None and self.proto not in _PORT_NUMBERS:
            raise ValueError(f"proto: got {self.proto} with ports, wanted one of {', '.join(WITH_PORTS)}")

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Selector:
        """Make a selector from a key file's ``selector`` object.

        Its fields are ``src``, ``dst``, ``proto``, ``sport``, ``dport``; ``udp_dport`` and the like stand for
        ``proto`` and ``dport``.  A field that is none of these is an error: without it the selector would match
        more than it says.  Raises ValueError or TypeError, naming the field.
        """
        if not isinstance(d, Mapping):
            raise TypeError(f"selector: got {type(d).__name__}, wanted an object")
        values: dict[str, Any] = {}
        for name, value in d.items():
            stated = {name: value}
            if isinstance(name, str) and (match := _PORT_FIELD.fullmatch(name)):
                stated = {"proto": PROTOCOLS[match[1]], match[2]: value} if value is not None else {}
            for key, part in stated.items():
                if key not in cls.__dataclass_fields__:
                    raise ValueError("selector: has an unknown field, wanted src, dst, proto, sport, dport only")
                part = _protocol(part) if key == "proto" else part
                if values.get(key) not in (None, part):
                    raise ValueError(f"{key}: is given twice")
                values[key] = part
        return cls(**values)

    @property
    def _networks(self) -> tuple[Network | None, Network | None]:
        return self.src, self.dst  # type: ignore[return-value]  # since __post_init__

    def __str__(self) -> str:
        text = f"{self.src or 'any'} -> {self.dst or 'any'}"
        if self.proto is not None:
            text += f" proto {self.proto}"
        for name, ports in (("sport", self.sport), ("dport", self.dport)):
            if ports is not None:
                text += f" {name} {'-'.join(map(str, dict.fromkeys(ports)))}"  # type: ignore[arg-type]
        return text


def _network(name: str, got: object) -> Network | None:
    if got is None or isinstance(got, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        return got
    if isinstance(got, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        got = str(got)
    if not isinstance(got, str):
        raise TypeError(f"{name}: got {type(got).__name__}, wanted a prefix: str or an ipaddress object")
    try:
        return ipaddress.ip_network(got, strict=False)
    except ValueError:
        raise ValueError(f"{name}: is no IPv4 or IPv6 prefix") from None


def _protocol(got: object) -> int | None:
    if got is None or got == "any":
        return None
    if isinstance(got, str):
        number = int(got) if re.fullmatch("[0-9]{1,3}", got) else PROTOCOLS.get(got.lower(), -1)
    elif isinstance(got, bool) or not isinstance(got, int):
        raise TypeError(f"proto: got {type(got).__name__}, wanted a name or a number")
    else:
        number = got
    if not 0 <= number <= 255:
        raise ValueError(f"proto: got {got!r}, wanted 0 to 255 or one of {', '.join(PROTOCOLS)}")
    return number


def _ports(name: str, got: object) -> tuple[int, int] | None:
    """Lowest and highest; None for all of them, which also lets packets match that show none (RFC 4301: ANY)."""
    low: object
    high: object
    if got is None:
        return None
    if isinstance(got, str):
        match = re.fullmatch(r"\s*([0-9]{1,5})\s*(?:-\s*([0-9]{1,5})\s*)?", got)
        if match is None:
            raise ValueError(f"{name}: is neither a port nor a range like 5000-5010")
        low, high = int(match[1]), int(match[2] or match[1])
    elif isinstance(got, (tuple, list)) and len(got) == 2:
        low, high = got
    else:
        low = high = got
    if any(isinstance(port, bool) or not isinstance(port, int) for port in (low, high)):
        raise TypeError(f"{name}: got {type(got).__name__}, wanted a port, 'low-high' or (low, high)")
    assert isinstance(low, int) and isinstance(high, int)
    if not 0 <= low <= high <= 0xFFFF:
        raise ValueError(f"{name}: got {low} to {high}, wanted a range of 0 to 65535")
    return None if (low, high) == (0, 0xFFFF) else (low, high)


class SPD(SelectorTable):
    """The outbound security policy database: selectors in order, each with the SA or bundle of its packets.

    >>> spd = SPD()
    >>> spd.add(Selector(dst="10.2.0.0/16", proto="udp", dport="7000-7009"), handle)    # doctest: +SKIP
    >>> spd.select(batch)                                                               # doctest: +SKIP

    The first selector that matches decides.  ``add`` puts one behind all others.  ``select(batch)`` reads the
    packets of a :class:`PacketBatch` (the GIL is released for the batch) and returns int64[n]: handles for
    :func:`ipsecfast.encapsulate`, 0 where no selector matches or there is no IP header; of a packet whose
    headers run past its end only the addresses count.

    One call at a time: a second thread in one SPD, or in one batch, gets RuntimeError.
    """

    def add(self, selector: Selector, handle: int) -> None:
        """Put ``selector`` behind all others; ``handle`` is of an outbound SA or bundle.

        A handle of 0 lets what it matches pass as it is (BYPASS).  Raises TypeError or ValueError.
        """
        if not isinstance(selector, Selector):
            raise TypeError(f"selector: got {type(selector).__name__}, wanted a Selector")
        number = operator.index(handle)
        if not 0 <= number < 1 << 63:
            raise ValueError(f"handle: got {number}, wanted a handle of a SAD, or 0")
        src, dst = selector._networks
        version = src.version if src is not None else dst.version if dst is not None else 0
        proto = -1 if selector.proto is None else selector.proto
        self.append(version, _octets(src), _octets(dst), proto, selector.sport, selector.dport, number)  # type: ignore[arg-type]


def _octets(end: Network | None) -> tuple[bytes, bytes] | tuple[()]:
    return () if end is None else (end.network_address.packed, end.netmask.packed)
