"""What several tests share: packets built byte by byte, SAs with fixed keys, the providers to run on.

The packets are made without the package.
"""

from __future__ import annotations

import itertools
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ipsecfast
from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION
from ipsecfast.reference import Direction, ReferenceTable

TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parent.parent / "shared"

H = bytes.fromhex
OK, REPLAYED, AUTH_FAILED = PacketStatus.OK, PacketStatus.REPLAYED, PacketStatus.AUTH_FAILED
NOT_IPSEC, NO_SA, MALFORMED = PacketStatus.NOT_IPSEC, PacketStatus.NO_SA, PacketStatus.MALFORMED
FRAGMENT, NO_ROOM, DUMMY = PacketStatus.FRAGMENT, PacketStatus.NO_ROOM, PacketStatus.DUMMY

ENDS4 = H("c0000201c0000202")
ENDS6 = H("20010db800000000000000000000000120010db8000000000000000000000002")
# IPv6 fragment headers in front of ESP: the first part, one from the middle, and a whole datagram (RFC 6946)
FRAG_FIRST, FRAG_MIDDLE, FRAG_ATOMIC = H("3200000100000009"), H("3200001900000009"), H("3200000000000009")

ALL = ipsecfast.providers()
PROVIDERS = [
    pytest.param(
        p.name, id=p.name, marks=() if p.available else pytest.mark.skip(reason=f"provider {p.name}: {p.message}")
    )
    for p in ALL
]


def has(provider: str, *names: str) -> bool:
    """Does a provider have all these algorithms?  One that is not here counts: its tests are skipped, and say why."""
    (info,) = (p for p in ALL if p.name == provider)
    return not info.available or {*names} - {"NONE"} <= {*info.algorithms}


def served(choices: Iterable[Any]) -> list[Any]:
    """(*choice, provider) for every provider and every choice of algorithms that it has: a name, or a tuple in which
    names may stand."""
    known = {*ENCRYPTION, *AUTHENTICATION}
    found = []
    for choice, provider in itertools.product(choices, PROVIDERS):
        row = choice if isinstance(choice, tuple) else (choice,)
        if has(provider.id, *known.intersection(row)):
            name = "-".join(map(str, (*row, provider.id)))
            found.append(pytest.param(*row, *provider.values, id=name, marks=provider.marks))
    return found


# ---------------------------------------------------------------- packets


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071); 0 over a header whose own checksum is right."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(
    payload: bytes = b"data", proto: int = 1, tos: int = 0, flags: int = 0, dst: int = 2, options: bytes = b""
) -> bytes:
    """An IPv4 packet from 192.0.2.1 to 192.0.2.``dst``; ``flags`` is the whole field with the offset."""
    header_len = 20 + len(options)
    start = struct.pack(">BBHHHBB", 0x40 + header_len // 4, tos, header_len + len(payload), 7, flags, 61, proto)
    ends = ENDS4[:7] + bytes((dst,)) + options
    return start + struct.pack(">H", checksum(start + bytes(2) + ends)) + ends + payload


def ipv6(payload: bytes = b"data", proto: int = 58, first: int = 0x60000000, headers: bytes = b"") -> bytes:
    """An IPv6 packet; ``proto`` is the base header's next header, ``headers`` the extension headers."""
    rest = headers + payload
    return struct.pack(">IHBB", first, len(rest), proto, 60) + ENDS6 + rest


def udp(payload: bytes, dport: int = 4500, length: int | None = None) -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack(">HHHH", 40000, dport, len(payload) + 8 if length is None else length, 0) + payload


def udp6_sum(packet: bytes) -> int:
    """0 if the checksum of the UDP datagram behind an IPv6 header without extensions is right."""
    return checksum(packet[8:40] + struct.pack(">II", len(packet) - 40, 17) + packet[40:])


def patched(packet: bytes, ofs: int, *values: int) -> bytes:
    """The packet with some bytes replaced."""
    return packet[:ofs] + bytes(values) + packet[ofs + len(values) :]


# ---------------------------------------------------------------- SAs


def keyed(encryption: str, authentication: str = "NONE", **fields: Any) -> SecurityAssociation:
    """An SA between the two ends of :func:`ipv4` with keys 01 02 03 ... and 40 41 42 ..."""
    enc, auth = ENCRYPTION[encryption], AUTHENTICATION[authentication]
    stated = {
        "spi": 0x1234,
        "src": "192.0.2.1",
        "dst": "192.0.2.2",
        "encryption": encryption,
        "enc_key": bytes(range(1, enc.key_len + 1)),
        "salt": bytes(range(0xA0, 0xA0 + (auth.salt_len or enc.salt_len))),
        "authentication": authentication,
        "auth_key": bytes(range(0x40, 0x40 + auth.key_len)),
        "allow_reserved_spi": True,
    }
    return SecurityAssociation(**{**stated, **fields})


NULL_SA = keyed("NULL", "HMAC-SHA1-96")
GCM_SA = keyed("AES-GCM-128")
CBC_SA = keyed("AES-CBC-128", "HMAC-SHA1-96")
TRANSPORT_SA = replace(GCM_SA, mode="transport")
SA6 = replace(GCM_SA, src="2001:db8::1", dst="2001:db8::2")
TRANSPORT_SA6 = replace(SA6, mode="transport")


def reference_table(*sas: SecurityAssociation, direction: Direction = "inbound", seq: int = 0) -> ReferenceTable:
    """The slow model's table with SAs of handle 1, 2, ..."""
    table = ReferenceTable()
    for sa in sas:
        table.add(sa, direction, seq)
    return table


def frames_of(path: Path) -> list[bytes]:
    """Frames of a little-endian pcap file."""
    data, pos, frames = path.read_bytes(), 24, []
    while pos < len(data):
        (caplen,) = struct.unpack_from("<I", data, pos + 8)
        frames.append(data[pos + 16 : pos + 16 + caplen])
        pos += 16 + caplen
    return frames


def captures() -> list[Any]:
    """The kernel's scenarios, for parametrize; one that is skipped where they are not here."""
    found = sorted((SHARED / "captures").glob("*/keys.json"))
    if not found:
        return [pytest.param(SHARED, marks=pytest.mark.skip(reason="shared/captures is not here"))]
    return [pytest.param(path.parent, id=path.parent.name) for path in found]


# ---------------------------------------------------------------- threads


@contextmanager
def at_work(work: Callable[[], object], probe: Callable[[], object]) -> Iterator[None]:
    """Inside, another thread is in the middle of ``work``, a call that releases the GIL and can't end without it.

    For as long as the code inside keeps the GIL, that is: it is not taken away here, however long that takes.
    ``work`` is done again and again until ``probe`` raises what tells off a second thread.
    """
    seen = threading.Event()

    def run() -> None:
        while not seen.is_set():
            work()

    worker = threading.Thread(target=run)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    worker.start()
    try:
        with pytest.raises(RuntimeError, match="another thread"):
            while worker.is_alive():
                time.sleep(0.001)  # the GIL is the worker's until it is inside
                probe()
        yield
    finally:
        seen.set()
        sys.setswitchinterval(interval)
        worker.join()
