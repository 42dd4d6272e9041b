"""The packets in clear, and the memory they lie in.

An arena is packed as `ipsecfast.PacketBatch.from_packets` packs: a slot for each packet, on 64-byte boundaries, with
room in front and behind.  ipsecfast and the ceilings in C work on arenas of the same make.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import numpy as np
from cells import SIZES, Cell
from numpy.typing import NDArray

HEADROOM = 64
TAILROOM = 64


def checksum(header: bytes) -> int:
    """Of an IPv4 header whose own checksum field is zero."""
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(payload: bytes) -> bytes:
    """A UDP packet's IPv4 header in front of any payload."""
    header = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + len(payload), 0, 0, 64, 17, 0, bytes.fromhex("c0000201c0000202"))
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + payload


def ipv6(payload: bytes) -> bytes:
    """The same with an IPv6 header."""
    ends = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002")
    return struct.pack(">IHBB32s", 6 << 28, len(payload), 17, 64, ends) + payload


def clear_packets(cell: Cell) -> list[bytes]:
    """The cell's packets; the mix of IMIX is shuffled, and the same every time."""
    draw = random.Random(1)
    mix = SIZES[cell.size]
    payloads = [draw.randbytes(mix[i % len(mix)]) for i in range(min(cell.packets, 4096))]
    draw.shuffle(payloads)
    make = ipv6 if cell.mode == "ipv6" else ipv4
    made = [make(payload) for payload in payloads]
    return [made[i % len(made)] for i in range(cell.packets)]


class Arena:
    """Packets in one block of memory: `data` (uint8), where each starts and how long it is."""

    def __init__(self, packets: Sequence[bytes]) -> None:
        self.packets = packets
        self.length: NDArray[np.int32] = np.array([len(p) for p in packets], np.int32)
        self.slot_length: NDArray[np.int32] = (self.length + HEADROOM + TAILROOM + 63) & ~np.int32(63)
        ends = np.cumsum(self.slot_length, dtype=np.int64)
        self.slot_offset: NDArray[np.int64] = ends - self.slot_length
        self.offset: NDArray[np.int64] = self.slot_offset + HEADROOM
        memory = np.zeros(int(ends[-1]) + 64, np.uint8)
        skip = -memory.ctypes.data & 63
        self.data = memory[skip : skip + int(ends[-1])]
        for packet, start in zip(packets, self.offset.tolist(), strict=True):
            self.data[start : start + len(packet)] = np.frombuffer(packet, np.uint8)

    def packet(self, i: int) -> bytes:
        """Packet i as it stands now."""
        start = int(self.offset[i])
        return self.data[start : start + int(self.length[i])].tobytes()

    def is_as_before(self) -> bool:
        """Are all packets those in clear that were put in?"""
        return all(self.packet(i) == packet for i, packet in enumerate(self.packets))
