"""Packets in clear: IPv4 with options, IPv6 with extension headers, of any length and protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hypothesis import strategies as st

from ...reference import ip
from ...sa import Address
from .suites import ADDRESSES, filler

HeaderKind = Literal["arrived", "sent", "any"]

PROTOCOLS = (1, 4, 6, 17, 41, 50, 51, 58, 59, 255)
_V6_CHAINS = ((), (), (0,), (60,), (43,), (0, 60), (0, 43, 60), (44,), (0, 44, 60))

# whole IPv4 options: immutable under AH (security, router alert, ...) and mutable (routes, time stamps, ...)
_IPV4_OPTIONS = (
    b"\1",
    b"\x94\4\0\0",
    b"\x82\x0b" + bytes(range(9)),
    b"\x85\4\1\1",
    b"\x86\x08\0\0\0\1\1\4",
    b"\x95\6\xc0\0\2\3",
    b"\x88\4\xab\xcd",
    b"\7\7\4\0\0\0\0",
    b"\7\x0b\x08\xc0\0\2\5\0\0\0\0",
    b"\x44\x08\5\0\0\0\0\0",
    b"\x44\x0c\5\1\xc0\0\2\5\0\0\0\0",
    b"\x83\7\x08\xc0\0\2\2",
    b"\x89\7\x08\xc0\0\2\3",
)
# source routes with hops left
_IPV4_ROUTES = (
    b"\x83\7\4\xc0\0\2\2",
    b"\x89\x0b\4\xc0\0\2\3\xc0\0\2\4",
    b"\x83\x0b\x08\xc0\0\2\3\xc0\0\2\4",
)
# whole IPv6 options, padding among them; 0x20 in the type: AH does not cover the data
_IPV6_OPTIONS = (b"\0", b"\1\0", b"\1\2\0\0", b"\5\2\0\0", b"\x1e\4data", b"\x3e\4data", b"\x3e\0")


def plain_packet(
    version: int = 4,
    body: bytes = b"payload",
    *,
    dst: Address | None = None,
    proto: int = ip.PROTO_UDP,
    traffic_class: int = 0,
) -> bytes:
    """A sound packet without anything special: ``body`` right behind the IP header, of protocol ``proto``."""
    to = dst or ADDRESSES[version][1]
    src = ADDRESSES[to.version][0]
    if to.version == 4:
        return ip.finish(ip.ipv4_header(src, to, tos=traffic_class, df=False, ttl=9), 9, proto, body)
    header = ip.ipv6_header(src, to, traffic_class=traffic_class, flow_label=1, hop_limit=9)
    return ip.finish(header, 6, proto, body)


@st.composite
def _payload_lengths(draw: st.DrawFn) -> int:
    """Mostly around block edges, now and then a whole MTU, also odd."""
    kind = draw(st.integers(0, 9))
    if kind < 7:
        return draw(st.integers(0, 70))
    return draw(st.integers(71, 300) if kind < 9 else st.integers(1300, 1500))


@st.composite
def inner_packets(
    draw: st.DrawFn,
    *,
    version: int | None = None,
    src: Address | None = None,
    dst: Address | None = None,
    fragments: bool = True,
    headers: HeaderKind = "arrived",
    protocols: Sequence[int] = PROTOCOLS,
) -> bytes:
    """A sound IPv4 or IPv6 packet: options, extension headers, any length, any traffic class.

    ``fragments=False`` leaves out fragments, which transport mode refuses (atomic ones stay).  ``headers``:
    ``"arrived"`` has well-formed options and routing headers as the destination sees them; ``"sent"`` may have hops
    left; ``"any"`` has bytes in them that mean nothing, which AH can't cover, but a tunnel or ESP carries.
    """
    version = version or (dst.version if dst else draw(st.sampled_from((4, 6))))
    to = dst or draw(st.sampled_from(ADDRESSES[version]))
    sender = src or draw(st.sampled_from(ADDRESSES[version]))
    proto, seed = draw(st.sampled_from(protocols)), draw(st.integers(0, 255))
    body = filler(seed, draw(_payload_lengths()))
    tos = draw(st.sampled_from((0, 1, 2, 3, 0xB8, 0x2A, 0xFF)))
    cut = draw(st.sampled_from((0, 0, 0, 1, 8, 9))) if fragments else 0
    if version == 6:
        base = ip.ipv6_header(sender, to, traffic_class=tos, flow_label=seed << 12 | 0xABC, hop_limit=seed)
        chain = draw(st.sampled_from(_V6_CHAINS)) + ((44,) if cut else ())
        parts = [b"" if number == ip.PROTO_FRAGMENT else draw(_extension(number, headers)) for number in chain]
        return _ipv6_packet(base, chain, proto, body, parts, cut)
    base = ip.ipv4_header(sender, to, tos=tos, df=draw(st.booleans()), ttl=seed)
    options = draw(_ipv4_options(headers, seed))
    base = bytes((0x45 + len(options) // 4,)) + base[1:] + options
    field = ip.u16(base, 6) | (cut & 1) << 13 | cut >> 3
    return ip.finish(ip.put16(ip.put16(base, 6, field), 4, seed * 257), 9, proto, body)


@st.composite
def _ipv4_options(draw: st.DrawFn, headers: HeaderKind, seed: int) -> bytes:
    if headers == "any":
        return filler(seed, 4 * draw(st.sampled_from((0, 0, 0, 1, 9, 10))))
    if draw(st.booleans()):
        return b""
    chosen = draw(st.lists(st.sampled_from(_IPV4_OPTIONS), max_size=5))
    if headers == "sent" and draw(st.booleans()):
        chosen.append(draw(st.sampled_from(_IPV4_ROUTES)))
    options = b""
    for option in chosen:
        if len(options) + len(option) <= 40:
            options += option
    return options + draw(st.sampled_from((b"\0", b"\1"))) * (-len(options) % 4)


@st.composite
def _extension(draw: st.DrawFn, number: int, headers: HeaderKind) -> bytes:
    """An extension header without its next header and length: 6, 14, 22, ... bytes."""
    if headers == "any":
        return filler(number, 6 + 8 * draw(st.integers(0, 2)))
    if number == ip.PROTO_ROUTING:
        return draw(_routing_header(headers))
    options = b"".join(draw(st.lists(st.sampled_from(_IPV6_OPTIONS), max_size=5)))
    missing = -(len(options) + 2) % 8
    return options + (b"\0" if missing == 1 else bytes((1, missing - 2)) + bytes(missing - 2) if missing else b"")


@st.composite
def _routing_header(draw: st.DrawFn, headers: HeaderKind) -> bytes:
    kind = draw(st.sampled_from((0, 0, 2, 4)))  # source route (RFC 5095), mobility (RFC 6275), segments (RFC 8754)
    hops = 1 if kind == 2 else draw(st.integers(0, 3))
    left = draw(st.integers(0, hops)) if headers == "sent" and kind != 4 else 0
    return bytes((kind, left)) + bytes(4) + b"".join(ADDRESSES[6][i].packed for i in range(hops))


def _ipv6_packet(
    base: bytes, chain: Sequence[int], proto: int, body: bytes, parts: Sequence[bytes], cut: int = 0
) -> bytes:
    """An IPv6 packet with the extension headers of ``chain``, by their numbers.

    ``parts`` has each one's bytes behind its next header and length, which are filled in (none for a fragment header).
    ``cut`` is offset and M of a last fragment header; others are atomic.
    """
    numbers = [*chain, proto]
    for i, (this, following) in enumerate(zip(chain, numbers[1:], strict=True)):
        if this == ip.PROTO_FRAGMENT:
            last = i == len(chain) - 1
            base += bytes((following, 0)) + (cut if last else 0).to_bytes(2, "big") + bytes(4)
        else:
            base += bytes((following, (len(parts[i]) + 2) // 8 - 1)) + parts[i]
    return ip.finish(base, 6, numbers[0], body)


def is_whole(packet: bytes) -> bool:
    """True if transport mode can take the packet: sound headers, no fragment."""
    end = ip.declared_len(packet)
    headers = ip.walk(packet, end) if end is not None and end <= len(packet) else None
    return headers is not None and not headers.fragment
