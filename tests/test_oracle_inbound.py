"""decapsulate against the reference: status, bytes, numbers and counters of every packet of any batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import strategies as gen
from differential import CHOICES, SIZES, Pair, examples, shapes_of
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.alg import ENCRYPTION
from ipsecfast.reference import ip

pytestmark = pytest.mark.parametrize("provider", CHOICES)

EDGES = (0, 1, 15, 16, 31, 32, 47, 48, 49, 63, 64, 65, 96, 127, 128, 192)  # of chunks, however long they are
_DELTAS = (1, 1, 1, 1, 2, 0, -1, 64, 5000, 1 << 31, (1 << 32) - 1, 1 << 32)


@dataclass
class Traffic:
    """Inbound SAs and packets for and against them."""

    sas: list[tuple[SecurityAssociation, int]]
    packets: list[bytes]
    cuts: list[int]


class Maker:
    """Draws the packets of one batch, keeping each SA's sequence numbers."""

    def __init__(self, draw: Any, sas: Sequence[tuple[SecurityAssociation, int]]) -> None:
        self.draw = draw
        self.sas = [sa for sa, _ in sas]
        self.next = [seq + 1 for _, seq in sas]
        self.sent: list[bytes] = []

    def number(self, which: int) -> int:
        """Mostly the next number, or one at an edge of window, epoch or number space."""
        sa, following = self.sas[which], self.next[which]
        window = self.draw(st.sampled_from((*_DELTAS, -sa.replay_window, 1 - sa.replay_window, -1 - sa.replay_window)))
        seq = min(max(following - 1 + window, 1), (gen.SEQ64 if sa.esn else gen.SEQ32) - 1)
        self.next[which] = min(max(following, seq + 1), gen.SEQ64 - 1 if sa.esn else gen.SEQ32 - 1)
        return seq

    def good(self) -> bytes:
        which = self.draw(st.integers(0, len(self.sas) - 1))
        return self.draw(gen.protected_packets(self.sas[which], self.number(which)))

    def earlier(self) -> bytes:
        return self.draw(st.sampled_from(self.sent)) if self.sent and self.draw(st.booleans()) else self.good()

    def replayed(self) -> bytes:
        return self.draw(st.sampled_from(self.sent)) if self.sent else self.good()

    def forged(self) -> bytes:
        packet = bytearray(self.earlier() or b"\0")
        for at in self.draw(st.lists(st.integers(0, len(packet) - 1), min_size=1, max_size=3)):
            packet[at] ^= 1 << self.draw(st.integers(0, 7))
        return bytes(packet)

    def forged_number(self) -> bytes:
        """A number of anyone's choice under an ICV that does not fit it: it must not move the window."""
        packet = self.good()
        at = gen.esp_offset(packet)
        number = self.draw(st.sampled_from((0, 1, 0x7FFFFFFF, 0xFFFFFFFF))).to_bytes(4, "big")
        return packet[: at + 4] + number + packet[at + 8 :]

    def resized(self) -> bytes:
        packet = self.earlier()
        keep = self.draw(st.integers(0, len(packet)))
        return packet[:keep] if self.draw(st.booleans()) else packet + bytes(keep % 47)

    def sealed(self) -> bytes:
        """A right ICV over a payload that may be anything."""
        which = self.draw(st.integers(0, len(self.sas) - 1))
        sa, seq = self.sas[which], self.number(which)
        packet = self.draw(gen.protected_packets(sa, seq))
        tos = self.draw(st.integers(0, 3))
        return ip.with_traffic_class(gen.reseal(sa, packet, seq, self.draw(gen.clear_payloads(sa))), tos)

    def header_changed(self) -> bytes:
        """Fragments, other lengths, protocols and traffic classes, with everything else in place."""
        packet = bytearray(self.earlier())
        if packet:
            at = self.draw(st.sampled_from((0, 1, 2, 3, 4, 5, 6, 7, 9, 41, 42, 43, 24, 25)))
            packet[at % len(packet)] = self.draw(st.sampled_from((0, 1, 3, 0x20, 0x3F, 44, 50, 60, 51, 17, 255)))
        return bytes(packet)

    def foreign(self) -> bytes:
        kind = self.draw(st.integers(0, 2))
        if kind == 0:
            return gen.filler(self.draw(st.integers(0, 255)), self.draw(st.integers(0, 90)))
        return self.draw(gen.inner_packets())

    def refused(self) -> bytes:
        which = self.draw(st.integers(0, len(self.sas) - 1))
        return self.draw(gen.refused_packets(self.sas[which], self.number(which))).packet

    def one(self) -> bytes:
        kinds = (
            self.good,
            self.good,
            self.replayed,
            self.forged,
            self.forged_number,
            self.resized,
            self.sealed,
            self.header_changed,
            self.foreign,
            self.refused,
        )
        packet = self.draw(st.sampled_from(kinds))()
        self.sent.append(packet)
        return packet


def plain_run(sas: Sequence[tuple[SecurityAssociation, int]], n: int) -> list[bytes]:
    """n sound packets in order, all SAs in turn: what the interesting ones stand between."""
    packets = []
    for i in range(n):
        sa, seq = sas[i % len(sas)]
        number = seq + 1 + i // len(sas)
        if number < (gen.SEQ64 if sa.esn else gen.SEQ32):
            out = gen.sender(sa, "tunnel")
            packets.append(gen.protect(out, gen.plain_packet(dst=out.dst, traffic_class=2), number))
    return packets


def unlike(sas: Sequence[SecurityAssociation]) -> list[SecurityAssociation]:
    """Without those that one SAD would refuse as duplicates."""
    return list({(sa.spi, sa.dst): sa for sa in sas}.values())


@st.composite
def traffics(draw: Any, shapes: Sequence[gen.Shape], sizes: Sequence[int] = SIZES, n_sas: int = 4) -> Traffic:
    """A batch for several SAs: interesting packets in a run of sound ones, some near a chunk's edge."""
    sas = [
        (sa, draw(gen.start_numbers(sa)))
        for sa in unlike(draw(st.lists(gen.security_associations(shapes=shapes), min_size=1, max_size=n_sas)))
    ]
    size = draw(st.sampled_from(sizes))
    maker = Maker(draw, sas)
    special = [maker.one() for _ in range(draw(st.integers(min(size, 3), min(size, 12))))]
    packets = plain_run(sas, size - len(special))
    for packet in special:
        near = st.sampled_from([i for i in (*EDGES, len(packets)) if i <= len(packets)])
        packets.insert(draw(near | st.integers(0, len(packets))), packet)
    return Traffic(sas, packets, draw(st.lists(st.integers(0, len(packets)), max_size=3)))


@examples(70)
@given(data=st.data())
def test_any_batch(provider: str, data: Any) -> None:
    traffic = data.draw(traffics(shapes_of(provider)))
    Pair(provider, "inbound", traffic.sas).decapsulate(traffic.packets)


@examples(60)
@given(data=st.data())
def test_a_batch_in_pieces(provider: str, data: Any) -> None:
    """One batch, the same packets in several batches and one by one: every verdict is the reference's."""
    traffic = data.draw(traffics(shapes_of(provider), (2, 13, 64, 66)))
    Pair(provider, "inbound", traffic.sas).decapsulate(traffic.packets, traffic.cuts)
    Pair(provider, "inbound", traffic.sas).decapsulate(traffic.packets, range(len(traffic.packets)))


@examples(150)
@given(data=st.data())
def test_small_batches(provider: str, data: Any) -> None:
    traffic = data.draw(traffics(shapes_of(provider), (1, 2, 5, 12), 2))
    Pair(provider, "inbound", traffic.sas).decapsulate(traffic.packets, traffic.cuts)


@examples(30)
@given(data=st.data())
def test_order_between_sas_does_not_matter(provider: str, data: Any) -> None:
    """Packets of different SAs may change places; within an SA the order stays, and so do the verdicts."""
    shapes = shapes_of(provider)
    sas = [(gen.make_sa(data.draw(st.sampled_from(shapes)), i, spi=0x1000 + i), 0) for i in range(4)]
    queues = []
    for sa, _ in sas:
        numbers = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=30))
        queues.append([gen.protect(gen.sender(sa, "tunnel"), gen.plain_packet(dst=sa.dst), n) for n in numbers])
    turns = data.draw(st.permutations([i for i, q in enumerate(queues) for _ in q]))
    mixed = {i: iter(q) for i, q in enumerate(queues)}
    verdicts = Pair(provider, "inbound", sas).decapsulate([next(mixed[i]) for i in turns])
    straight = Pair(provider, "inbound", sas).decapsulate([p for q in queues for p in q])
    order = sorted(range(len(turns)), key=lambda k: turns[k])
    assert [verdicts[k] for k in order] == straight


@examples(60)
@given(data=st.data())
def test_windows(provider: str, data: Any) -> None:
    """One SA, numbers all around its window, forgeries between: chunks must not mix up the window's state."""
    esn, window = data.draw(st.booleans()), data.draw(st.sampled_from(gen.WINDOWS))
    sa = gen.make_sa(gen.Shape("NULL", "HMAC-SHA1-96"), esn=esn, replay_window=window)
    start = data.draw(gen.start_numbers(sa))
    edges = (0, 1, 2, 3, 30, 31, 32, 33, 62, 63, 64, 65, 66, 128, 1000, 4096, 1 << 31, gen.SEQ32 - 100, gen.SEQ32 - 1)
    base, packets = start, []
    steps = st.tuples(st.sampled_from(edges), st.sampled_from((-1, 1, 1)), st.integers(0, 4))
    for size, sign, forge in data.draw(st.lists(steps, min_size=data.draw(st.integers(0, 70)), max_size=80)):
        seq = min(max(base + sign * size, 1), (gen.SEQ64 if sa.esn else gen.SEQ32) - 1)
        packet = gen.protect(sa, gen.plain_packet(dst=sa.dst), seq)
        packets.append(packet if forge else packet[:-1] + bytes((packet[-1] ^ 1,)))
        base = max(base, seq) if forge and size < 1 << 31 else base
    Pair(provider, "inbound", [(sa, start)]).decapsulate(packets)


@examples(100)
@given(data=st.data())
def test_layers(provider: str, data: Any) -> None:
    """ESP in ESP, up to nine layers, any modes and families, also where a layer below the first fails."""
    shapes = shapes_of(provider)
    packets, sas = [], []
    for i in range(data.draw(st.integers(1, 8))):
        packet = data.draw(gen.inner_packets(fragments=False))
        for level in range(data.draw(st.integers(1, 9 if i < 3 else 2))):
            sa, packet = _wrap(data.draw, shapes, 0x2000 + 16 * i + level, packet)
            if sa is not None:
                sas.append((sa, 0))
        packets += [packet] * data.draw(st.sampled_from((1, 1, 1, 2, 40)))
    Pair(provider, "inbound", sas).decapsulate(packets)


@examples(150)
@given(data=st.data())
def test_layers_of_sas_that_also_come_alone(provider: str, data: Any) -> None:
    """What a layer below the first does to its SA's window counts for the packets behind, also within a chunk."""
    shape = data.draw(st.sampled_from((gen.Shape("AES-GCM-128", "NONE"), gen.Shape("NULL", "HMAC-SHA1-96"))))
    fields = {"esn": data.draw(st.booleans()), "replay_window": data.draw(st.sampled_from((0, 1, 2, 64)))}
    sas = [gen.make_sa(shape, i, spi=0x1000 + i, **fields) for i in range(2)]
    layer = st.tuples(st.sampled_from(sas), st.integers(1, 6), st.integers(0, 9))
    packets = []
    for layers in data.draw(st.lists(st.lists(layer, min_size=1, max_size=2), max_size=20)):
        packet = gen.plain_packet()
        for sa, seq, fault in layers:
            packet = gen.protect(sa, packet, seq)
            packet = packet if fault else packet[:-1] + bytes((packet[-1] ^ 1,))
        packets.append(packet)
    Pair(provider, "inbound", [(sa, 0) for sa in sas], shared_layers=True).decapsulate(packets)


def _wrap(draw: Any, shapes: Sequence[gen.Shape], spi: int, packet: bytes) -> tuple[SecurityAssociation | None, bytes]:
    """One more layer around a packet; None for an SA that the receiver shall not know."""
    transport = draw(st.booleans()) and gen.is_whole(packet)
    # transport mode keeps the destination; both ends of a tunnel are free
    version = ip.version(packet) if transport else draw(st.sampled_from((4, 6)))
    dst = ip.destination(packet) if transport else draw(st.sampled_from(gen.ADDRESSES[version]))
    sa = gen.make_sa(
        draw(st.sampled_from(shapes)),
        spi,
        spi=spi,
        src=gen.ADDRESSES[version][0],
        dst=dst,
        mode="transport" if transport else "tunnel",
        esn=draw(st.booleans()),
        ecn=draw(st.booleans()),
        udp_encap=draw(st.sampled_from((None, None, (4500, 4500), (9, 10000)))),
    )
    seq = draw(st.sampled_from((1, 1, 1, 5)))
    packet = gen.protect(sa, packet, seq)
    fault = draw(st.integers(0, 11))
    if fault == 0:
        packet = packet[:-1] + bytes((packet[-1] ^ 1,))
    elif fault == 1:
        packet = gen.reseal(sa, packet, seq, draw(gen.clear_payloads(sa)))
    elif fault == 2:
        packet = ip.with_traffic_class(packet, 3)
    elif fault == 3 and ip.version(packet) == 4:
        packet = ip.put16(packet, 6, 0x2000)
    return (None if fault == 4 else sa), packet


@examples(150)
@given(data=st.data())
def test_what_the_rfcs_refuse(provider: str, data: Any) -> None:
    """Packets with a known fault get the status that the RFCs demand, from the core and from the reference."""
    sealing = [s for s in shapes_of(provider) if s.authentication != "NONE" or ENCRYPTION[s.encryption].combined]
    version = data.draw(st.sampled_from((4, 6)))
    sa = gen.make_sa(
        data.draw(st.sampled_from(sealing)),
        src=gen.ADDRESSES[version][0],
        dst=gen.ADDRESSES[version][1],
        mode=data.draw(st.sampled_from(("tunnel", "transport"))),
        esn=data.draw(st.booleans()),
        udp_encap=data.draw(st.sampled_from((None, (4500, 4500)))),
    )
    bad = [data.draw(gen.refused_packets(sa, seq)) for seq in range(1, data.draw(st.integers(2, 6)))]
    verdicts = Pair(provider, "inbound", [(sa, 0)]).decapsulate([one.packet for one in bad])
    assert verdicts == [one.status for one in bad], [one.why for one in bad]


@pytest.mark.parametrize("mode", ["tunnel", "transport"])
@pytest.mark.parametrize("version", [4, 6])
def test_every_length(provider: str, mode: gen.Mode, version: int) -> None:
    """0 to 80 bytes under every algorithm: cut short, and with lengths that fit."""
    src, dst = gen.ADDRESSES[version][:2]
    for k, shape in enumerate(shapes_of(provider)):
        encap = (4500, 4500) if k % 2 else None
        sa = gen.make_sa(shape, k, src=src, dst=dst, mode=mode, udp_encap=encap, esn=k % 3 == 0)
        whole = gen.protect(sa, gen.plain_packet(version, bytes(47)), 1)
        at = gen.esp_offset(whole)
        fitting = [gen.with_esp(whole, (whole[at:] + bytes(80))[:n]) for n in range(81)]
        verdicts = Pair(provider, "inbound", [(sa, 0)]).decapsulate([whole[:n] for n in range(81)] + fitting)
        assert PacketStatus.MALFORMED in verdicts and PacketStatus.NOT_IPSEC in verdicts


def test_every_payload_length(provider: str) -> None:
    """Sealed payloads of 0 to 300 bytes, every padding that fits, under three kinds of algorithm."""
    for name, auth in (("AES-GCM-128", "NONE"), ("AES-CBC-256", "HMAC-SHA256-128"), ("NULL", "HMAC-MD5-96")):
        sa = gen.make_sa(gen.Shape(name, auth), mode="transport")
        base = gen.protect(sa, gen.plain_packet(dst=sa.dst), 1)
        packets = []
        for n in range(2, 301):
            if n % sa.enc_alg.block:
                continue
            for pad_len in {0, 1, 7, 8, 9, n - 3, n - 2, n - 1, 255} & set(range(256)):
                pad = bytes(range(1, pad_len + 1))
                clear = (bytes(n) + pad)[-(n - 2) :] if n > 2 else b""
                seq = len(packets) + 1
                header = base[: gen.esp_offset(base) + 4] + seq.to_bytes(4, "big") + base[gen.esp_offset(base) + 8 :]
                packets.append(gen.reseal(sa, header, seq, clear + bytes((pad_len, 6))))
        verdicts = Pair(provider, "inbound", [(sa, 0)]).decapsulate(packets)
        assert PacketStatus.OK in verdicts and PacketStatus.MALFORMED in verdicts
