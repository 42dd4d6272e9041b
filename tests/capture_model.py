"""Captures as plain Python sees them: written and read with ``struct``, nothing shared with the package."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

SHB, IDB, PB, SPB, EPB = 0x0A0D0D0A, 1, 2, 3, 6
DEMO = Path(__file__).parent.parent / "ipsecfast" / "data"
SHARED = Path(__file__).parent.parent.parent / "shared" / "captures"


@dataclass(frozen=True)
class Frame:
    """A packet of a capture: link header, IP packet, trailer (Ethernet padding)."""

    link: bytes
    packet: bytes
    trailer: bytes = b""
    seconds: int = 1
    nanos: int = 0
    missing: int = 0  # bytes that were on the wire and not captured

    @property
    def data(self) -> bytes:
        return self.link + self.packet + self.trailer


def pcap_header(big: bool = False, nanos: bool = False, link_type: int = 1, snaplen: int = 65535) -> bytes:
    magic = 0xA1B23C4D if nanos else 0xA1B2C3D4
    return struct.pack((">" if big else "<") + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type)


def pcap_record(frame: Frame, big: bool = False, nanos: bool = False) -> bytes:
    n = len(frame.data)
    stamp = frame.nanos if nanos else frame.nanos // 1000
    return struct.pack((">" if big else "<") + "IIII", frame.seconds, stamp, n, n + frame.missing) + frame.data


def pcap(
    frames: list[Frame], big: bool = False, nanos: bool = False, link_type: int = 1, snaplen: int = 65535
) -> bytes:
    return pcap_header(big, nanos, link_type, snaplen) + b"".join(pcap_record(f, big, nanos) for f in frames)


def block(kind: int, body: bytes, big: bool = False) -> bytes:
    body += bytes(-len(body) % 4)
    total = len(body) + 12
    order = ">" if big else "<"
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total)


def section(big: bool = False, length: int = -1, options: bytes = b"") -> bytes:
    return block(SHB, struct.pack((">" if big else "<") + "IHHq", 0x1A2B3C4D, 1, 0, length) + options, big)


def option(code: int, value: bytes, big: bool = False) -> bytes:
    return struct.pack((">" if big else "<") + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link_type: int = 1, big: bool = False, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(IDB, struct.pack((">" if big else "<") + "HHI", link_type, 0, snaplen) + options, big)


def packet_block(
    frame: Frame, number: int = 0, big: bool = False, unit: int = 10**6, kind: int = EPB, options: bytes = b""
) -> bytes:
    order = ">" if big else "<"
    n = len(frame.data)
    if kind == SPB:
        return block(SPB, struct.pack(order + "I", n + frame.missing) + frame.data, big)
    stamp = frame.seconds * unit + frame.nanos * unit // 10**9
    head = struct.pack(order + ("HH" if kind == PB else "I"), number, *([7] if kind == PB else []))
    head += struct.pack(order + "IIII", stamp >> 32, stamp & 0xFFFFFFFF, n, n + frame.missing)
    return block(kind, head + frame.data + bytes(-n % 4) + options, big)


def read_pcap(data: bytes) -> tuple[int, list[tuple[int, int, bytes, int]]]:
    """Link type, and (seconds, fraction, frame, length on the wire) of every packet."""
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at, out = 24, []
    while at < len(data):
        seconds, fraction, n, wire = struct.unpack_from(order + "IIII", data, at)
        assert at + 16 + n <= len(data)
        out.append((seconds, fraction, data[at + 16 : at + 16 + n], wire))
        at += 16 + n
    return struct.unpack_from(order + "I", data, 20)[0], out


def blocks(data: bytes) -> list[tuple[str, int, bytes]]:
    """(byte order, type, body) of every block of a pcapng."""
    at, out, order = 0, [], "<"
    while at < len(data):
        (kind,) = struct.unpack_from(order + "I", data, at)
        if kind == SHB:
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
        (total,) = struct.unpack_from(order + "I", data, at + 4)
        assert total >= 12 and total % 4 == 0 and at + total <= len(data)
        assert struct.unpack_from(order + "I", data, at + total - 4)[0] == total
        out.append((order, kind, data[at + 8 : at + total - 4]))
        at += total
    return out


FAMILY_AT = {1: -2, 113: -2, 276: 0}


def with_family(frame: Frame, link_type: int, version: int) -> bytes:
    """The link header of ``frame``, made to state an IP version."""
    link = bytearray(frame.link)
    if link_type in FAMILY_AT:
        at = FAMILY_AT[link_type] % len(link)
        if link_type == 276 and len(link) > 20:
            at = len(link) - 2
        link[at : at + 2] = b"\x08\0" if version == 4 else b"\x86\xdd"
    elif link_type in (0, 108):
        at = next(i for i, x in enumerate(link) if x)
        link[at] = 2 if version == 4 else 30 if link_type == 0 else 24
    return bytes(link)


def carry(frame: Frame, link_type: int, packet: bytes) -> Frame:
    """``frame`` with another packet in it: no trailer, nothing missing, family as the packet's."""
    link = frame.link
    if packet[0] >> 4 != frame.packet[0] >> 4:
        link = with_family(frame, link_type, packet[0] >> 4)
    return replace(frame, link=link, packet=packet, trailer=b"", missing=0)
