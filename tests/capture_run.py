"""A rule for what packets become, and what a capture with such packets must turn into: no crypto."""

from __future__ import annotations

import struct
from pathlib import Path

import capture_model as model
import numpy as np
from capture_model import Frame

from ipsecfast.capture import Capture, ChunkBuffer, OutputFile, rewrite

ETHERNET = bytes(range(12))
LINKS: dict[int, list[bytes]] = {
    1: [
        ETHERNET + b"\x08\0",
        ETHERNET + b"\x86\xdd",
        ETHERNET + b"\x81\0\0\x05\x08\0",
        ETHERNET + b"\x88\xa8\0\x05\x81\0\0\x06\x86\xdd",
        ETHERNET + b"\x91\0\0\x05\x08\0",
    ],
    101: [b""],
    12: [b""],
    14: [b""],
    113: [bytes(14) + b"\x08\0", bytes(14) + b"\x86\xdd"],
    276: [b"\x08\0" + bytes(18), b"\x81\0" + bytes(18) + b"\0\x05\x86\xdd"],
    0: [struct.pack("<I", 2), struct.pack(">I", 30), struct.pack("<I", 24)],
    108: [struct.pack(">I", 2), struct.pack(">I", 24)],
}


def rule(packet: bytes) -> bytes | None:
    """What a packet becomes; None: it stays.  Byte 1 says, so that any test can ask for any case."""
    if len(packet) < 12 or packet[1] % 3 == 0:
        return None
    if packet[1] % 3 == 1:
        return bytes([packet[0]]) + packet[9:-2]
    return bytes([packet[0] ^ 0x20]) + packet[9:-2]  # 4 <-> 6


def apply_rule(chunk: ChunkBuffer) -> memoryview:
    """As a decryption: in place, packets that fail are wiped."""
    offset, length = chunk.offset.copy(), chunk.length.copy()
    status = np.ones(len(offset), np.uint8)
    for k, (at, n) in enumerate(zip(offset.tolist(), length.tolist(), strict=True)):
        old = chunk.work[at : at + n].tobytes()
        new = rule(old)
        chunk.work[at : at + n] = 0
        if new is not None:
            chunk.work[at + 8 : at + 8 + len(new)] = np.frombuffer(new, np.uint8)
            offset[k], length[k], status[k] = at + 8, len(new), 0
    return chunk.assemble(offset, length, status)


def expect(frames: list[Frame], link_type: int = 1) -> list[Frame]:
    out = []
    for f in frames:
        new = rule(f.packet + f.trailer) if f.packet and f.packet[0] >> 4 in (4, 6) else None
        out.append(f if new is None else model.carry(f, link_type, new))
    return out


def packet(op: int, n: int = 40, version: int = 4) -> bytes:
    return bytes([version << 4 | 5, op]) + bytes((7 * i + op) % 256 for i in range(n - 2))


def frames_of(link_type: int, count: int = 9) -> list[Frame]:
    links = LINKS[link_type]
    return [
        Frame(links[i % len(links)], packet(i, 30 + i), b"\0" * (i % 4), 1000 + i, 123456789 + i * 1000)
        for i in range(count)
    ]


def run(tmp_path: Path, *files: bytes, transform=apply_rule, buffer: ChunkBuffer | None = None):
    """Write the captures, rewrite them; returns (bytes of OUT, what was damaged)."""
    paths = []
    for i, data in enumerate(files):
        path = tmp_path / f"in{i}"
        path.write_bytes(data)
        paths.append(str(path))
    out = tmp_path / "out"
    with OutputFile(str(out)) as output:
        damaged = rewrite([Capture(p) for p in paths], output, transform, buffer=buffer)
        output.commit()
    return out.read_bytes(), damaged
