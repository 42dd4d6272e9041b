"""What is measured: the cases, the packets, and one SA pair's way through ipsecfast.

Size is the bytes behind the IPv4 header of the packet in clear, in both modes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from ipsecfast import SAD, PacketBatch, SecurityAssociation, decapsulate, encapsulate
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION

Direction = Literal["encapsulate", "decapsulate"]
DIRECTIONS: tuple[Direction, ...] = ("encapsulate", "decapsulate")

ALGORITHMS = {
    "AES-128-GCM": ("AES-GCM-128", "NONE"),
    "AES-256-GCM": ("AES-GCM-256", "NONE"),
    "AES-CBC-128+SHA1": ("AES-CBC-128", "HMAC-SHA1-96"),
    "AES-CBC-256+SHA256": ("AES-CBC-256", "HMAC-SHA256-128"),
    "CHACHA20-POLY1305": ("CHACHA20-POLY1305", "NONE"),
    "NULL+SHA256": ("NULL", "HMAC-SHA256-128"),
}
SIZES = {"64": (64,), "256": (256,), "1420": (1420,), "9000": (9000,), "IMIX": (64,) * 7 + (594,) * 4 + (1500,)}
BATCHES = (1, 8, 32, 256, 1024)
SAS = (1, 64, 1024)
AT_ONCE = 256  # packets under work in a round, at least: no case has its one packet in the nearest cache


@dataclass(frozen=True)
class Case:
    """One cell of the tables."""

    direction: Direction
    algorithm: str
    provider: str
    mode: Literal["transport", "tunnel"] = "transport"
    size: str = "64"
    sas: int = 1
    batch: int = 256

    def __str__(self) -> str:
        return "-".join(str(value) for value in asdict(self).values())


def chosen(provider: str) -> Iterator[Case]:
    """The set for a few minutes: one thing is varied at a time, around one SA and batches of 256."""
    for direction in DIRECTIONS:
        for algorithm in ALGORITHMS:
            yield from (Case(direction, algorithm, provider, size=size) for size in SIZES)
        for algorithm in ("AES-128-GCM", "AES-CBC-128+SHA1"):
            for size in ("64", "1420"):
                base = Case(direction, algorithm, provider, size=size)
                yield from (replace(base, batch=batch) for batch in BATCHES if batch != base.batch)
                yield from (replace(base, sas=sas) for sas in SAS if sas != base.sas)
                yield replace(base, mode="tunnel")


def every(provider: str) -> Iterator[Case]:
    """All combinations."""
    for direction in DIRECTIONS:
        for algorithm in ALGORITHMS:
            for mode in ("transport", "tunnel"):
                for size in SIZES:
                    for sas in SAS:
                        yield from (Case(direction, algorithm, provider, mode, size, sas, batch) for batch in BATCHES)


def ipv4(payload: bytes) -> bytes:
    """A UDP packet's IPv4 header and a payload of any content."""
    header = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(payload), 0, 0, 64, 17)
    ends = bytes.fromhex("c0000201c0000202")
    total = sum(struct.unpack(">8H", header[:8] + ends)) + struct.unpack(">H", header[8:10])[0]
    total = (total & 0xFFFF) + (total >> 16)
    return header + struct.pack(">H", (total + (total >> 16)) & 0xFFFF ^ 0xFFFF) + ends + payload


def packets(size: str, n: int) -> list[bytes]:
    """Packets in clear; IMIX in a shuffled order that is the same every time."""
    mix = SIZES[size]
    made = [ipv4(random.randbytes(mix[i % len(mix)])) for i in range(n)]
    random.Random(1).shuffle(made)
    return made


def security_association(algorithm: str, mode: str = "transport", spi: int = 0x1000) -> SecurityAssociation:
    """An SA with keys drawn anew."""
    encryption, authentication = ALGORITHMS[algorithm]
    fields: dict[str, Any] = {"spi": spi, "mode": mode, "src": "192.0.2.1", "dst": "192.0.2.2"}
    return SecurityAssociation(
        **fields,
        encryption=encryption,
        enc_key=random.randbytes(ENCRYPTION[encryption].key_len),
        salt=random.randbytes(ENCRYPTION[encryption].salt_len),
        authentication=authentication,
        auth_key=random.randbytes(AUTHENTICATION[authentication].key_len),
    )


class Flow:
    """Both ends of a case's SAs, and its packets, which one call protects and the other takes back."""

    def __init__(self, case: Case) -> None:
        self._tx = SAD(case.sas, provider=case.provider)
        self._rx = SAD(case.sas, provider=case.provider)
        handles = []
        for i in range(case.sas):
            sa = security_association(case.algorithm, case.mode, 0x1000 + i)
            handles.append(self._tx.add(sa, direction="outbound"))
            self._rx.add(sa, direction="inbound")
        self.packets = packets(case.size, max(AT_ONCE, case.batch, case.sas))
        step = case.batch
        self._work: list[tuple[PacketBatch, Any]] = []
        for start in range(0, len(self.packets), step):
            batch = PacketBatch.from_packets(self.packets[start : start + step], headroom=64, tailroom=64)
            which = np.resize(np.roll(handles, -start), step)
            self._work.append((batch, int(which[0]) if step == 1 or case.sas == 1 else which))

    def encapsulate(self) -> int:
        """Protect all packets; how many are OK."""
        return sum(encapsulate(batch, self._tx, handle).ok for batch, handle in self._work)

    def decapsulate(self) -> int:
        """Take them back; how many are OK."""
        return sum(decapsulate(batch, self._rx).ok for batch, _ in self._work)

    def verify(self) -> None:
        """Every packet is OK there and back, and the same as before."""
        assert self.encapsulate() == self.decapsulate() == len(self.packets)
        assert [packet for batch, _ in self._work for packet in batch.to_packets()] == self.packets
