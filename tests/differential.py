"""The core and the reference side by side: the same SAs, the same packets, and nothing may differ.

``IPSECFAST_FUZZ=n`` in the environment makes every example count n times as large (see ``ci/fuzz``); a fraction makes
it smaller (``ci/aarch64``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

import ipsecfast
from ipsecfast import PacketBatch, PacketStatus, SecurityAssociation
from ipsecfast import reference as ref
from ipsecfast.reference import ip
from ipsecfast.reference.crypto import iv_len
from ipsecfast.testing import strategies as gen

PROVIDERS = [p for p in ipsecfast.providers() if p.name != "reference" and p.available]
PROVIDER_NAMES = [p.name for p in PROVIDERS]
# what a user gets who names none: small groups of some algorithms go to the other provider
CHOICES = [*PROVIDER_NAMES, *(["any"] if len(PROVIDERS) > 1 else [])]
SIZES = (0, 1, 2, 63, 64, 65, 67, 128, 256, 257)
CANARY = 0xA5
OVERTAKEN = (PacketStatus.AUTH_FAILED, PacketStatus.REPLAYED)


def examples(n: int) -> settings:
    """So many examples of a property, or as many times more as ``IPSECFAST_FUZZ`` says."""
    return settings(
        max_examples=max(1, round(n * float(os.environ.get("IPSECFAST_FUZZ", "1")))),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def suites_of(provider: str, suites: Sequence[gen.Suite] = gen.SUITES) -> tuple[gen.Suite, ...]:
    """The algorithm combinations that a provider has."""
    names = set[str]().union(*(p.algorithms for p in PROVIDERS if provider in (p.name, "any")))
    return tuple(s for s in suites if s.algorithms <= names)


@dataclass(frozen=True)
class Slot:
    """One packet with the free bytes around it."""

    packet: bytes
    head: int = 0
    tail: int = 0


class Laid:
    """Packets in a block of canary bytes, at any alignment, so that a stray write shows."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots
        starts, at = [], 1
        for i, slot in enumerate(slots):
            starts.append(at)
            at += slot.head + len(slot.packet) + slot.tail + 1 + i * 7 % 13
        self.memory = np.full(at + 64, CANARY, np.uint8)
        for start, slot in zip(starts, slots, strict=True):
            self.memory[start + slot.head :][: len(slot.packet)] = np.frombuffer(slot.packet, np.uint8)
        self.before = self.memory.copy()
        self.starts = np.array(starts, np.int64)
        self.lengths = np.array([len(s.packet) for s in slots], np.int32)
        self.heads = np.array([s.head for s in slots], np.int64)
        self.rooms = np.array([s.head + len(s.packet) + s.tail for s in slots], np.int32)
        self.batch = PacketBatch(self.memory, self.starts + self.heads, self.lengths, self.starts, self.rooms)

    def check_outside(self, i_refused: Sequence[int]) -> None:
        """Bytes outside of all slots, and the room around refused packets, are what they were."""
        mine = np.zeros(len(self.memory), bool)
        for start, room in zip(self.starts, self.rooms, strict=True):
            mine[start : start + room] = True
        for i in i_refused:
            start, room = self.starts[i], self.rooms[i]
            mine[start : start + room] = False
            mine[start + self.heads[i] :][: self.lengths[i]] = True
        strays = np.flatnonzero((self.memory != self.before) & ~mine)
        assert not len(strays), f"bytes changed outside of the packets: {strays[:8]}"


class Pair:
    """A core SAD and the reference's table with the same SAs.

    ``shared_layers``: SAs come inside of others and alone.  Then a layer inside an earlier packet may take
    a number while a packet behind it is at work; both sides refuse that packet, but which of the two
    reasons they give, and whether its bytes are wiped, may differ.
    """

    def __init__(
        self, provider: str, direction: Any, sas: Sequence[tuple[SecurityAssociation, int]], shared_layers: bool = False
    ) -> None:
        self.shared_layers = shared_layers
        self.sad = ipsecfast.SAD(capacity=max(1, len(sas)), provider=None if provider == "any" else provider)
        self.table = ref.ReferenceTable()
        self.handles = []
        for sa, seq in sas:
            handle = self.sad.add(sa, direction=direction, seq=seq)
            assert self.table.add(sa, direction, seq, handle) == handle
            self.handles.append(handle)

    def bundle(self, members: Sequence[int]) -> int:
        """A bundle of the SAs at these places, the innermost first, on both sides; its handle."""
        handles = [self.handles[i] for i in members]
        handle = self.sad.bundle(handles)
        assert self.table.bundle(handles, handle) == handle
        return handle

    def decapsulate(self, packets: Sequence[bytes], cuts: Sequence[int] = ()) -> list[PacketStatus]:
        """Both take the packets off, the core in batches cut at ``cuts``; returns the verdicts."""
        expected = [ref.decapsulate(self.table, packet) for packet in packets]
        edges = sorted({0, len(packets), *cuts})
        for a, b in pairwise(edges):
            laid = Laid([Slot(p) for p in packets[a:b]])
            result = ipsecfast.decapsulate(laid.batch, self.sad)
            self._compare(laid, result, expected[a:b], a)
        self.compare_statistics()
        return [r.status for r in expected]

    def encapsulate(
        self, slots: Sequence[Slot], handles: Sequence[int], ivs: np.ndarray | None, cuts: Sequence[int] = ()
    ) -> list[PacketStatus]:
        """Both protect the packets, the core in batches cut at ``cuts``; returns the verdicts.

        Without ``ivs`` the core makes its own and the reference takes them over.
        """
        verdicts = []
        edges = sorted({0, len(slots), *cuts})
        for a, b in pairwise(edges):
            laid = Laid(slots[a:b])
            given = None if ivs is None else ivs[a:b]
            result = ipsecfast.encapsulate(laid.batch, self.sad, np.array(handles[a:b], np.int64), iv=given)
            after, oks = laid.batch.to_packets(), (result.status == PacketStatus.OK).tolist()
            expected = []
            for i, (slot, handle) in enumerate(zip(slots[a:b], handles[a:b], strict=True)):
                iv = None if given is None else given[i].tobytes()
                want = ref.encapsulate(self.table, slot.packet, handle, iv, ref.Room(slot.head, slot.tail))
                if iv is None and want.packet is not None and oks[i]:
                    want = replace(want, packet=self._with_ivs_of(after[i], slot.packet, handle))
                expected.append(want)
            self._compare(laid, result, expected, a)
            verdicts += [r.status for r in expected]
        self.compare_statistics()
        return verdicts

    def _with_ivs_of(self, theirs: bytes, plain: bytes, handle: int) -> bytes:
        """What the reference makes of ``plain`` with the IVs of the core's packet, the outer layers taken off it."""
        layers = [(entry.sa, entry.window.top) for entry in self.table.layers(handle)]
        ivs = []
        for sa, seq in reversed(layers):
            at = gen.header_offset(theirs) + (12 if sa.protocol == "ah" else 8)
            ivs.append(theirs[at : at + iv_len(sa)])
            if len(ivs) < len(layers):
                table = ref.ReferenceTable()
                dst = sa.dst if sa.dst == ip.destination(theirs) else None  # transport mode sends to anyone
                table.add(replace(sa, src=None, dst=dst), "inbound", seq - 1)
                inner = ref.decapsulate(table, theirs).packet
                assert inner is not None, f"the reference can't open layer {len(ivs) - 1} of {theirs.hex()}"
                theirs = inner
        packet = plain
        for (sa, seq), iv in zip(layers, reversed(ivs), strict=True):
            packet = gen.protect(sa, packet, seq, iv)
        return packet

    def _compare(self, laid: Laid, result: Any, expected: Sequence[ref.Result], first: int) -> None:
        after = laid.batch.to_packets()
        columns = [c.tolist() for c in (result.status, result.handle, result.seq, result.failed_layer)]
        for i, (want, slot, got) in enumerate(zip(expected, laid.slots, after, strict=True)):
            verdict = tuple(column[i] for column in columns)
            wanted = (want.status, want.handle, want.seq, want.failed_layer)
            where = f"packet {first + i} of batch from {first}, {slot.packet.hex()}"
            if self.shared_layers and want.status in OVERTAKEN:
                esp = gen.header_offset(slot.packet)
                wiped = slot.packet[:esp] + bytes(len(slot.packet) - esp)
                assert verdict[0] in OVERTAKEN and got in (slot.packet, wiped), where
                continue
            assert verdict == wanted, f"(status, handle, seq, layer) of {where}"
            assert got.hex() == want.left_behind(slot.packet).hex(), f"bytes after {want.status!r} of {where}"
        refused = [i for i, want in enumerate(expected) if want.packet is None]
        for i in refused:
            assert laid.batch.offset[i] == laid.starts[i] + laid.heads[i], f"packet {first + i} moved"
        assert result.ok == len(expected) - len(refused)
        laid.check_outside(refused)

    def compare_statistics(self) -> None:
        """Every counter of every SA."""
        for handle in self.handles:
            got, want = self.sad.statistics(handle), self.table.statistics(handle)
            assert (got.packets, got.bytes, got.seq) == (want.packets, want.bytes, want.last_seq)
            if self.shared_layers:
                for statuses in (got.statuses, want.statuses):
                    statuses[OVERTAKEN[0]] += statuses.pop(OVERTAKEN[1])
            assert got.statuses == want.statuses
