"""File headers of pcap (pcap-savefile(5)) and pcapng (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from ..errors import CaptureError

HEADER_LEN = 24  # of a pcap; a pcapng section header has 28 bytes or more
MAX_SNAPLEN = 262144  # what libpcap calls "everything"

_PCAP_MAGIC = {0xA1B2C3D4: False, 0xA1B23C4D: True}  # -> nanoseconds?
_PCAP_KUZNETZOV = 0xA1B2CD34
_SECTION_HEADER = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDER_MAGIC = 0x1A2B3C4D

LINK_TYPES = {
    0: "BSD loopback",
    1: "Ethernet",
    12: "raw IP",
    14: "raw IP",
    101: "raw IP",
    108: "OpenBSD loopback",
    113: "Linux cooked",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2",
}


class OutForm(IntEnum):
    """What packets are written as; the numbers of ``core/_record.pxd``."""

    AS_IS = 0
    PCAP = 1
    PCAPNG = 2  # enhanced packet blocks of interface 0, little-endian


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the first 24 bytes of a capture say.

    ``nanos``, ``link_type`` and ``snaplen`` are a pcap's; a pcapng states them per interface
    (here False, -1, 0).  ``raw`` holds the bytes themselves.
    """

    pcapng: bool
    big: bool
    nanos: bool
    link_type: int
    snaplen: int
    raw: bytes

    @property
    def lead(self) -> bytes:
        """What of ``raw`` belongs to the first record."""
        return self.raw if self.pcapng else b""

    def with_snaplen(self, snaplen: int) -> bytes:
        """The bytes of this pcap header with another snapshot length."""
        return self.raw[:16] + struct.pack(">I" if self.big else "<I", snaplen) + self.raw[20:]


def parse_header(raw: bytes) -> FileHeader:
    """Read the first 24 bytes of a capture.  Raises CaptureError with what is wrong, without the file's name."""
    if not raw:
        raise CaptureError("is empty")
    if raw[:4] == _SECTION_HEADER:
        return _parse_pcapng(raw)
    for big, order in ((False, "<"), (True, ">")):
        magic = int.from_bytes(raw[:4], "big" if big else "little")
        if magic == _PCAP_KUZNETZOV:
            raise CaptureError('is a pcap of the old "modified" kind, which is not supported')
        if magic in _PCAP_MAGIC:
            _complete(raw)
            major, minor, _, _, snaplen, link = struct.unpack(order + "HHiIII", raw[4:])
            if major != 2:
                raise CaptureError(f"is a pcap of version {major}.{minor}, wanted 2.x")
            link_type = link & 0xFFFF  # the upper half tells of the FCS
            if link_type not in LINK_TYPES:
                raise CaptureError(f"has link type {link_type}, wanted one of {', '.join(map(str, LINK_TYPES))}")
            return FileHeader(False, big, _PCAP_MAGIC[magic], link_type, snaplen, raw)
    raise CaptureError("is neither pcap nor pcapng")


def _parse_pcapng(raw: bytes) -> FileHeader:
    _complete(raw)
    for big, order in ((False, "<"), (True, ">")):
        length, magic, major, minor = struct.unpack(order + "IIHH", raw[4:16])
        if magic == _BYTE_ORDER_MAGIC:
            if major != 1:
                raise CaptureError(f"is a pcapng of version {major}.{minor}, wanted 1.x")
            if length < 28 or length % 4:
                raise CaptureError(f"is damaged: its first block says it has {length} bytes")
            return FileHeader(True, big, False, -1, 0, raw)
    raise CaptureError("is damaged: a pcapng without a byte-order magic")


def _complete(raw: bytes) -> None:
    if len(raw) < HEADER_LEN:
        raise CaptureError("ends inside its file header")


def pcapng_section(link_type: int, snaplen: int, nanos: bool) -> bytes:
    """A section header block and one interface block, little-endian."""
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, _BYTE_ORDER_MAGIC, 1, 0, -1, 28)
    resolution = struct.pack("<HHBxxxI", 9, 1, 9 if nanos else 6, 0)  # if_tsresol, end of options
    return section + struct.pack("<IIHHI", 1, 32, link_type, 0, snaplen) + resolution + struct.pack("<I", 32)
