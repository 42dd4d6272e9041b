"""The NIC's way over the bare engine's, same packets, and large sends over ready-made ones.

What is compared is measured in turns within one test, so that a loaded machine slows down both; ratios go into
``extra_info``: ``over_engine`` (time, at most 1.15) and ``over_ready_made`` (payload rate, at least 0.95).
"""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from cells import ALGORITHMS, Cell, security_association
from packets import clear_packets, ipv4

from ipsecfast import SAD, PacketBatch, SecurityAssociation, decapsulate, encapsulate, providers
from ipsecfast.ndis import Host, Miniport, profile
from ipsecfast.ndis.datapath import Datapath, SendResult
from ipsecfast.ndis.nbl import NblBatch

PROVIDERS = [p.name for p in providers() if p.available and p.name != "reference"]
BATCH = 256
ROUNDS = 120
MSS = 1400
LARGE = 64000
ETHERNET = bytes(12) + b"\x08\x00"
IS_V4, TCP, HEADER, LSO_V2 = 1, 4, 16, 1 << 30
TCP_HEADER = struct.pack(">HHIIBBHHH", 40000, 80, 1, 1, 5 << 4, 0x10, 512, 0, 0)


@dataclass
class Turns:
    """Times of two ways of doing the same, taken in turns."""

    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def take(self, which: int, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        self.times[which].append(time.perf_counter() - start)
        return result

    def quick(self, which: int) -> float:
        """Lower quartile, seconds: what others do on the machine lies above it."""
        return statistics.quantiles(self.times[which], n=4)[0]


def framed(sa: SecurityAssociation, data: bytes, next_header: int, seq: int, pad: bool = True) -> bytes:
    """An Ethernet frame as a host hands it to the NIC."""
    assert sa.icv_len is not None
    esp = struct.pack(">II", sa.spi, seq & 0xFFFFFFFF) + bytes(sa.enc_alg.iv_len) + data
    if pad:
        n = -(len(data) + 2) % sa.enc_alg.align
        esp += bytes(range(1, n + 1)) + bytes((n, next_header)) + bytes(sa.icv_len)
    packet = bytearray(ipv4(esp))
    packet[9] = 50
    return ETHERNET + bytes(packet)


def receive_turns(cell: Cell) -> Turns:
    """`decapsulate`, then `Datapath.receive`, of the same packets."""
    sa, provider = security_association(cell), cell.provider
    tx, rx = SAD(1, provider=provider), SAD(1, provider=provider)
    out = tx.add(sa, direction="outbound")
    rx.add(sa, direction="inbound")
    nic = Datapath(provider=provider)
    nic.add_bundle("inbound", [sa])
    plain, turns = clear_packets(cell), Turns()
    for i in range(ROUNDS):
        sealed = PacketBatch.from_packets(plain)
        assert encapsulate(sealed, tx, out).ok == BATCH
        wire = sealed.to_packets()
        bare = PacketBatch.from_packets(wire, headroom=64, tailroom=16)
        frames = NblBatch.from_frames([ETHERNET + packet for packet in wire], headroom=50)
        for which in (0, 1) if i % 2 else (1, 0):
            if which:
                turns.take(1, lambda frames=frames: nic.receive(frames))
                assert (frames.ipsec == 2).all()
            else:
                assert turns.take(0, lambda bare=bare: decapsulate(bare, rx)).ok == BATCH
    return turns


def send_turns(cell: Cell) -> Turns:
    """`encapsulate`, then `Datapath.send` of the same packets framed by a host."""
    sa = security_association(cell)
    tx, nic = SAD(1, provider=cell.provider), Datapath(provider=cell.provider)
    out = tx.add(sa, direction="outbound")
    handle = nic.add_bundle("outbound", [sa])
    plain, turns = clear_packets(cell), Turns()
    for i in range(ROUNDS):
        bare = PacketBatch.from_packets(plain, headroom=64, tailroom=64)
        ready = [framed(sa, packet[20:], 17, i * BATCH + k) for k, packet in enumerate(plain, start=1)]
        frames = NblBatch.from_frames(ready, headroom=50)
        frames.ipsec[:] = handle
        at = len(ready[0]) - (sa.icv_len or 0)
        frames.header[:] = [one[at - 1] | one[at - 2] << 8 | 20 // 4 << 24 for one in ready]
        for which in (0, 1) if i % 2 else (1, 0):
            if which:
                assert turns.take(1, lambda frames=frames: nic.send(frames)).ok == BATCH
            else:
                assert turns.take(0, lambda bare=bare: encapsulate(bare, tx, out)).ok == BATCH
    return turns


def large_turns(cell: Cell, sends: int, checksums: bool, writing: bool = False) -> Turns:
    """Ready-made frames of MSS bytes, then large sends of the same payload.

    Both lie in memory that the host has just written, by one copy of finished frames; `writing`: which counts.
    """
    sa = security_association(cell)
    nic = Datapath(provider=cell.provider)
    handle = nic.add_bundle("outbound", [sa])
    data, turns, seq = bytes(LARGE), Turns(), 1
    at = 14 + 20 + 8 + sa.enc_alg.iv_len
    cuts = range(0, LARGE, MSS)
    for i in range(ROUNDS):
        ready, large = [], []
        for _ in range(sends):
            for start in cuts:
                ready.append(framed(sa, TCP_HEADER + data[start : start + MSS], 6, seq))
                seq += 1
        for _ in range(sends):
            large.append(framed(sa, TCP_HEADER + data, 6, seq, pad=False))
            seq += len(cuts)
        made, whole = NblBatch.from_frames(ready, headroom=50), NblBatch.from_frames(large)
        for batch in (made, whole):
            batch.ipsec[:] = handle
        if checksums:
            made.checksum[:] = IS_V4 | TCP | HEADER
        whole.large_send[:] = MSS | at << 20 | LSO_V2
        whole.header[:] = 6
        for which, batch in ((0, made), (1, whole)) if i % 2 else ((1, whole), (0, made)):
            memory, content = np.asarray(batch.frames.data), np.array(batch.frames.data)

            def send(batch: NblBatch = batch, memory: Any = memory, content: Any = content) -> SendResult:
                if writing:
                    memory[:] = content
                return nic.send(batch)

            memory[:] = content
            assert turns.take(which, send).ok == len(batch)
    return turns


def host_turns(cell: Cell) -> Turns:
    """`Host.send` of TCP packets of MSS bytes, then `Host.send_large` of one with the same payload.

    Both are whole calls: frames made (by NumPy for all at once, or in Python for the one), sent, and handed out.
    """
    sa = security_association(cell)
    card = Miniport(profile("full"), provider=cell.provider)
    card.initialize()
    card.restart()
    host = Host(card)
    bundle = host.add("outbound", sa)
    data, turns = bytes(LARGE // MSS * MSS), Turns()
    ready = []
    for start in range(0, len(data), MSS):
        packet = bytearray(ipv4(TCP_HEADER + data[start : start + MSS]))
        packet[9] = 6
        ready.append(bytes(packet))
    large = ready[0][:20] + TCP_HEADER + data
    for i in range(ROUNDS):
        for which in (0, 1) if i % 2 else (1, 0):
            if which:
                sent = turns.take(1, lambda: host.send_large(large, bundle, MSS))
            else:
                sent = turns.take(0, lambda: host.send(ready, bundle))
            assert not sent.status.any() and len(sent.frames) == len(ready)
    return turns


def report(benchmark: Any, turns: Turns, name: str, ratio: float, group: str) -> None:
    benchmark.group = group
    benchmark.extra_info[name] = round(ratio, 3)
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info["seconds"] = [turns.quick(0), turns.quick(1)]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("size", ["64", "256", "1420"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_receive(benchmark: Any, algorithm: str, size: str, provider: str) -> None:
    turns = receive_turns(Cell("ipsecfast", provider, algorithm, size=size))
    report(benchmark, turns, "over_engine", turns.quick(1) / turns.quick(0), "nic receive")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("size", ["64", "256", "1420"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_send(benchmark: Any, algorithm: str, size: str, provider: str) -> None:
    turns = send_turns(Cell("ipsecfast", provider, algorithm, size=size))
    report(benchmark, turns, "over_engine", turns.quick(1) / turns.quick(0), "nic send")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("checksums", [False, True], ids=["host-checksums", "nic-checksums"])
@pytest.mark.parametrize("sends", [1, 6])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_large_send(benchmark: Any, algorithm: str, sends: int, checksums: bool, provider: str) -> None:
    """Against ready-made frames whose TCP checksum the host has finished, or the NIC finishes as for large sends."""
    turns = large_turns(Cell("ipsecfast", provider, algorithm), sends, checksums)
    report(benchmark, turns, "over_ready_made", turns.quick(0) / turns.quick(1), "nic large send")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_large_send_written(benchmark: Any, algorithm: str, provider: str) -> None:
    """The copy into the buffer that the card gets counts on both sides: the least that making frames costs a host."""
    turns = large_turns(Cell("ipsecfast", provider, algorithm), 6, True, writing=True)
    report(benchmark, turns, "over_ready_made", turns.quick(0) / turns.quick(1), "nic large send, written")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if not name.startswith("CHACHA")])
def test_large_send_by_host(benchmark: Any, algorithm: str, provider: str) -> None:
    """With the host's making of headers, which is NumPy and Python here."""
    turns = host_turns(Cell("ipsecfast", provider, algorithm))
    report(benchmark, turns, "over_ready_made", turns.quick(0) / turns.quick(1), "nic large send, by the host")
