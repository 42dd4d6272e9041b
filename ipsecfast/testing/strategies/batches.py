"""Whole batches: several SAs, sound packets in order, and between them everything that may arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from ...reference import ReferenceTable, Result, decapsulate, ip
from ...sa import SecurityAssociation
from .associations import peer, security_associations, start_numbers
from .invalid import invalid_packets
from .plain import inner_packets, plain_packet
from .protected import clear_payloads, header_offset, protect, protected_packets, reseal_ah, reseal_esp
from .suites import SEQ32, SEQ64, SUITES, Suite, filler

EDGES = (0, 1, 15, 16, 31, 32, 47, 48, 49, 63, 64, 65, 96, 127, 128, 192)  # of an implementation's own portions
_DELTAS = (1, 1, 1, 1, 2, 0, -1, 64, 5000, 1 << 31, SEQ32 - 1, SEQ32)


@dataclass(frozen=True)
class Batch:
    """Inbound SAs, each with the last number used before, and packets for and against them, in order."""

    associations: tuple[tuple[SecurityAssociation, int], ...]
    packets: tuple[bytes, ...]

    def expected(self) -> list[Result]:
        """The reference's verdict on each packet: status, numbers, the packet that comes out."""
        table = ReferenceTable()
        for sa, seq in self.associations:
            table.add(sa, "inbound", seq)
        return [decapsulate(table, packet) for packet in self.packets]


class _Maker:
    """Draws the packets of one batch, keeping each SA's sequence numbers."""

    def __init__(self, draw: st.DrawFn, sas: Sequence[tuple[SecurityAssociation, int]]) -> None:
        self.draw = draw
        self.sas = [sa for sa, _ in sas]
        self.next = [seq + 1 for _, seq in sas]
        self.sent: list[bytes] = []

    def one_of_them(self) -> tuple[SecurityAssociation, int]:
        """An SA, and mostly its next number, or one at an edge of window, epoch or number space."""
        which = self.draw(st.integers(0, len(self.sas) - 1))
        sa, following = self.sas[which], self.next[which]
        last = (SEQ64 if sa.esn else SEQ32) - 1
        size = sa.replay_window
        delta = self.draw(st.sampled_from((*_DELTAS, -size, 1 - size, -1 - size)))
        seq = min(max(following - 1 + delta, 1), last)
        self.next[which] = min(max(following, seq + 1), last)
        return sa, seq

    def good(self) -> bytes:
        return self.draw(protected_packets(*self.one_of_them())).packet

    def earlier(self) -> bytes:
        return self.replayed() if self.draw(st.booleans()) else self.good()

    def replayed(self) -> bytes:
        return self.draw(st.sampled_from(self.sent)) if self.sent else self.good()

    def forged(self) -> bytes:
        packet = bytearray(self.earlier() or b"\0")
        for at in self.draw(st.lists(st.integers(0, len(packet) - 1), min_size=1, max_size=3)):
            packet[at] ^= 1 << self.draw(st.integers(0, 7))
        return bytes(packet)

    def forged_number(self) -> bytes:
        """A number of anyone's choice under an ICV that does not fit it: it must not move the window."""
        sa, seq = self.one_of_them()
        packet = self.draw(protected_packets(sa, seq)).packet
        at = header_offset(packet) + (8 if sa.protocol == "ah" else 4)
        number = self.draw(st.sampled_from((0, 1, 0x7FFFFFFF, 0xFFFFFFFF))).to_bytes(4, "big")
        return packet[:at] + number + packet[at + 4 :]

    def resized(self) -> bytes:
        packet = self.earlier()
        keep = self.draw(st.integers(0, len(packet)))
        return packet[:keep] if self.draw(st.booleans()) else packet + bytes(keep % 47)

    def sealed(self) -> bytes:
        """A right ICV over a payload that may be anything."""
        sa, seq = self.one_of_them()
        packet = self.draw(protected_packets(sa, seq)).packet
        tos = self.draw(st.integers(0, 3))
        if sa.protocol == "ah":
            data = self.draw(inner_packets()) + filler(1, self.draw(st.integers(0, 9)))
            number = self.draw(st.sampled_from((4, 41, 59, 6, 17, 50, 51)))
            packet = reseal_ah(sa, packet, seq, number, data[: self.draw(st.sampled_from((0, 19, 39, 1 << 16)))])
        else:
            packet = reseal_esp(sa, packet, seq, self.draw(clear_payloads(sa)))
        return ip.with_traffic_class(packet, tos)

    def header_changed(self) -> bytes:
        """Fragments, other lengths, protocols and traffic classes, with everything else in place."""
        packet = bytearray(self.earlier())
        if packet:
            at = self.draw(st.sampled_from((0, 1, 2, 3, 4, 5, 6, 7, 9, 20, 21, 22, 41, 42, 43, 24, 25)))
            packet[at % len(packet)] = self.draw(st.sampled_from((0, 1, 3, 0x20, 0x3F, 44, 50, 60, 51, 17, 255)))
        return bytes(packet)

    def foreign(self) -> bytes:
        if self.draw(st.integers(0, 2)) == 0:
            return filler(self.draw(st.integers(0, 255)), self.draw(st.integers(0, 90)))
        return self.draw(inner_packets(headers="any"))

    def refused(self) -> bytes:
        return self.draw(invalid_packets(*self.one_of_them())).packet

    def one(self) -> bytes:
        kinds = (
            self.good, self.good, self.replayed, self.forged, self.forged_number, self.resized, self.sealed,
            self.header_changed, self.foreign, self.refused,
        )  # fmt: skip
        packet = self.draw(st.sampled_from(kinds))()
        self.sent.append(packet)
        return packet


def _sound_run(sas: Sequence[tuple[SecurityAssociation, int]], n: int) -> list[bytes]:
    """n sound packets in order, all SAs in turn: what the interesting ones stand between."""
    packets = []
    for i in range(n):
        sa, seq = sas[i % len(sas)]
        number = seq + 1 + i // len(sas)
        if number < (SEQ64 if sa.esn else SEQ32):
            out = peer(sa)
            inner = plain_packet(dst=out.dst, traffic_class=2)  # type: ignore[arg-type]
            packets.append(protect(out, inner, number))
    return packets


@st.composite
def batches(
    draw: st.DrawFn,
    *,
    suites: Sequence[Suite] = SUITES,
    sizes: Sequence[int] = (0, 1, 2, 13, 63, 64, 65, 67, 128, 257),
    max_associations: int = 4,
) -> Batch:
    """A batch for several SAs: interesting packets in a run of sound ones, some near a portion's edge.

    Good packets, replayed, forged, cut and lengthened ones, payloads and headers that a hostile peer could seal, and
    what is no IPsec at all.  :meth:`Batch.expected` has the verdicts.
    """
    drawn = draw(st.lists(security_associations(suites=suites), min_size=1, max_size=max_associations))
    # without those that one SAD would refuse as duplicates
    unlike = {(sa.protocol, sa.spi, sa.dst, sa.src if sa.match_src else None): sa for sa in drawn}
    sas = tuple((sa, draw(start_numbers(sa))) for sa in unlike.values())
    size = draw(st.sampled_from(sizes))
    maker = _Maker(draw, sas)
    special = [maker.one() for _ in range(draw(st.integers(min(size, 3), min(size, 12))))]
    packets = _sound_run(sas, size - len(special))
    for packet in special:
        near = st.sampled_from([i for i in (*EDGES, len(packets)) if i <= len(packets)])
        packets.insert(draw(near | st.integers(0, len(packets))), packet)
    return Batch(sas, tuple(packets))
