"""Run by test_batch.py: every call on packets whose neighbours are pages without access.

A touch ends the process; the last line printed tells which algorithm it was.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

from differential import suites_of

import ipsecfast
from ipsecfast import SAD, PacketBatch
from ipsecfast.testing import strategies as gen

PAGE = mmap.PAGESIZE


class Fenced:
    """One page that may be used, with a page without access on either side."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 3 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (0, 2):
            if libc.mprotect(ctypes.c_void_p(start + page * PAGE), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.page = memoryview(self._map)[PAGE : 2 * PAGE]

    def batch(self, packet: bytes, room: int, *, at_end: bool, push: bool) -> PacketBatch:
        """``packet`` in a slot with ``room`` more bytes that touches a fence; pushed to the slot's far end or not."""
        size = len(packet) + room
        slot = PAGE - size if at_end else 0
        start = slot + room if push else slot
        self.page[start : start + len(packet)] = packet
        return PacketBatch(self.page, [start], [len(packet)], [slot], [size])


def check(fenced: Fenced, provider: str, suite: gen.Suite, version: int, mode: gen.Mode) -> int:
    """Both directions for packets of 0 to 80 bytes, sound, of any bytes, and cut; returns the number of calls."""
    src, dst = gen.ADDRESSES[version][:2]
    encap = (4500, 4500) if len(suite.encryption) % 2 and suite.protocol == "esp" else None
    sa = gen.make_sa(suite, src=src, dst=dst, mode=mode, esn=version == 6, udp_encap=encap)
    sad = SAD(provider=provider)
    sad.add(sa, direction="inbound")
    out = sad.add(sa, direction="outbound")
    calls = 0
    for n in range(81):
        inner = gen.plain_packet(version, bytes(n))
        sealed = gen.protect(sa, inner, n + 1)
        start = gen.header_offset(sealed)
        fitting = gen.with_body(sealed, (sealed[start:] + bytes(80))[:n])
        for at_end in (True, False):
            for packet in (sealed[:n], fitting, sealed):
                ipsecfast.decapsulate(fenced.batch(packet, 0, at_end=at_end, push=False), sad)
            need = len(sealed) - len(inner)
            for push in (True, False):
                for room in (0, need - 1, need):
                    result = ipsecfast.encapsulate(fenced.batch(inner, room, at_end=at_end, push=push), sad, out)
                    assert result.ok == (room == need), (suite, n, room)
                ipsecfast.encapsulate(fenced.batch(inner[:n], 0, at_end=at_end, push=push), sad, out)
            calls += 11
    return calls


def main() -> None:
    fenced, calls = Fenced(), 0
    for i, suite in enumerate(suites_of(sys.argv[1])):
        print(suite, flush=True)
        modes: tuple[gen.Mode, gen.Mode] = ("tunnel", "transport") if i % 2 else ("transport", "tunnel")
        for version, mode in zip((4, 6), modes, strict=True):
            calls += check(fenced, sys.argv[1], suite, version, mode)
    print(calls, "calls")


if __name__ == "__main__":
    main()
