"""decapsulate against the reference: status, bytes, numbers and counters of every packet of any batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from differential import CHOICES, SIZES, Pair, examples, suites_of
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.reference import ip
from ipsecfast.testing import strategies as gen

pytestmark = pytest.mark.parametrize("provider", CHOICES)

HMAC, AH_HMAC = gen.Suite("NULL", "HMAC-SHA1-96"), gen.Suite("NULL", "HMAC-SHA1-96", protocol="ah")
INNER = gen.plain_packet()


def cuts(batch: gen.Batch) -> st.SearchStrategy[list[int]]:
    """Where a batch is cut into several."""
    return st.lists(st.integers(0, len(batch.packets)), max_size=3)


@examples(70)
@given(data=st.data())
def test_any_batch(provider: str, data: Any) -> None:
    batch = data.draw(gen.batches(suites=suites_of(provider), sizes=SIZES))
    Pair(provider, "inbound", batch.associations).decapsulate(batch.packets)


@examples(60)
@given(data=st.data())
def test_a_batch_in_pieces(provider: str, data: Any) -> None:
    """One batch, the same packets in several batches and one by one: every verdict is the reference's."""
    batch = data.draw(gen.batches(suites=suites_of(provider), sizes=(2, 13, 64, 66)))
    Pair(provider, "inbound", batch.associations).decapsulate(batch.packets, data.draw(cuts(batch)))
    Pair(provider, "inbound", batch.associations).decapsulate(batch.packets, range(len(batch.packets)))


@examples(150)
@given(data=st.data())
def test_small_batches(provider: str, data: Any) -> None:
    batch = data.draw(gen.batches(suites=suites_of(provider), sizes=(1, 2, 5, 12), max_associations=2))
    Pair(provider, "inbound", batch.associations).decapsulate(batch.packets, data.draw(cuts(batch)))


@examples(30)
@given(data=st.data())
def test_order_between_sas_does_not_matter(provider: str, data: Any) -> None:
    """Packets of different SAs may change places; within an SA the order stays, and so do the verdicts."""
    suites = suites_of(provider)
    sas = [(gen.make_sa(data.draw(st.sampled_from(suites)), i, spi=0x1000 + i), 0) for i in range(4)]
    queues = []
    for sa, _ in sas:
        numbers = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=30))
        queues.append([gen.protect(gen.peer(sa, "tunnel"), gen.plain_packet(dst=sa.dst), n) for n in numbers])
    turns = data.draw(st.permutations([i for i, q in enumerate(queues) for _ in q]))
    mixed = {i: iter(q) for i, q in enumerate(queues)}
    verdicts = Pair(provider, "inbound", sas).decapsulate([next(mixed[i]) for i in turns])
    straight = Pair(provider, "inbound", sas).decapsulate([p for q in queues for p in q])
    order = sorted(range(len(turns)), key=lambda k: turns[k])
    assert [verdicts[k] for k in order] == straight


@examples(60)
@given(run=gen.windows(), suite=st.sampled_from((HMAC, AH_HMAC)))
def test_windows(provider: str, run: gen.WindowRun, suite: gen.Suite) -> None:
    """One SA, numbers all around its window, forgeries between: chunks must not mix up the window's state."""
    sa = gen.make_sa(suite, esn=run.esn, replay_window=run.size)
    packets = []
    for offer in run.offers:
        packet = gen.protect(sa, INNER, offer.seq)
        packets.append(packet[:-1] + bytes((packet[-1] ^ offer.forged,)))
    verdicts = Pair(provider, "inbound", [(sa, run.top)]).decapsulate(packets)
    assert verdicts == [offer.status for offer in run.offers]


@examples(100)
@given(data=st.data())
def test_layers(provider: str, data: Any) -> None:
    """ESP and AH in each other, up to nine layers, any modes and families, also where one below the first fails."""
    suites = suites_of(provider)
    packets, sas = [], []
    for i in range(data.draw(st.integers(1, 8))):
        packet = data.draw(gen.inner_packets(fragments=False))
        for level in range(data.draw(st.integers(1, 9 if i < 3 else 2))):
            sa, packet = _wrap(data.draw, suites, 0x2000 + 16 * i + level, packet)
            if sa is not None:
                sas.append((sa, 0))
        packets += [packet] * data.draw(st.sampled_from((1, 1, 1, 2, 40)))
    Pair(provider, "inbound", sas).decapsulate(packets)


@examples(150)
@given(data=st.data())
def test_layers_of_sas_that_also_come_alone(provider: str, data: Any) -> None:
    """What a layer below the first does to its SA's window counts for the packets behind, also within a chunk."""
    suite = data.draw(st.sampled_from((gen.Suite("AES-GCM-128", "NONE"), HMAC, AH_HMAC)))
    fields = {"esn": data.draw(st.booleans()), "replay_window": data.draw(st.sampled_from((0, 1, 2, 64)))}
    sas = [gen.make_sa(suite, i, spi=0x1000 + i, **fields) for i in range(2)]
    layer = st.tuples(st.sampled_from(sas), st.integers(1, 6), st.integers(0, 9))
    packets = []
    for layers in data.draw(st.lists(st.lists(layer, min_size=1, max_size=2), max_size=20)):
        packet = gen.plain_packet()
        for sa, seq, fault in layers:
            packet = gen.protect(sa, packet, seq)
            packet = packet if fault else packet[:-1] + bytes((packet[-1] ^ 1,))
        packets.append(packet)
    Pair(provider, "inbound", [(sa, 0) for sa in sas], shared_layers=True).decapsulate(packets)


def _wrap(draw: Any, suites: Sequence[gen.Suite], spi: int, packet: bytes) -> tuple[SecurityAssociation | None, bytes]:
    """One more layer around a packet; None for an SA that the receiver shall not know."""
    transport = draw(st.booleans()) and gen.is_whole(packet)
    # transport mode keeps the destination; both ends of a tunnel are free
    version = ip.version(packet) if transport else draw(st.sampled_from((4, 6)))
    dst = ip.destination(packet) if transport else draw(st.sampled_from(gen.ADDRESSES[version]))
    suite = draw(st.sampled_from(suites))
    sa = gen.make_sa(
        suite, spi, spi=spi, src=gen.ADDRESSES[version][0], dst=dst,
        mode="transport" if transport else "tunnel", esn=draw(st.booleans()), ecn=draw(st.booleans()),
        udp_encap=draw(st.sampled_from((None, None, (4500, 4500), (9, 10000)))) if suite.protocol == "esp" else None,
    )
    seq = draw(st.sampled_from((1, 1, 1, 5)))
    packet = gen.protect(sa, packet, seq)
    fault = draw(st.integers(0, 11))
    if fault == 0:
        packet = packet[:-1] + bytes((packet[-1] ^ 1,))
    elif fault == 1:
        if sa.protocol == "esp":
            packet = gen.reseal_esp(sa, packet, seq, draw(gen.clear_payloads(sa)))
        else:
            packet = gen.reseal_ah(sa, packet, seq, draw(st.sampled_from((4, 41, 59, 17))), draw(gen.inner_packets()))
    elif fault == 2:
        packet = ip.with_traffic_class(packet, 3)
    elif fault == 3 and ip.version(packet) == 4:
        packet = ip.put16(packet, 6, 0x2000)
    return (None if fault == 4 else sa), packet


@examples(150)
@given(data=st.data())
def test_what_the_rfcs_refuse(provider: str, data: Any) -> None:
    """Packets with a known fault get the status that the RFCs demand, from the core and from the reference."""
    sas = data.draw(gen.bundles(suites=suites_of(provider), max_layers=3))
    bad = [data.draw(gen.invalid_packets(sas, seq)) for seq in range(1, data.draw(st.integers(2, 6)))]
    pair = Pair(provider, "inbound", [(sa, 0) for sa in sas])
    assert pair.decapsulate([one.packet for one in bad]) == [one.status for one in bad], [one.why for one in bad]


@pytest.mark.parametrize("mode", ["tunnel", "transport"])
@pytest.mark.parametrize("version", [4, 6])
def test_every_length(provider: str, mode: gen.Mode, version: int) -> None:
    """0 to 80 bytes under every algorithm: cut short, and with lengths that fit."""
    src, dst = gen.ADDRESSES[version][:2]
    for k, suite in enumerate(suites_of(provider)):
        encap = (4500, 4500) if k % 2 and suite.protocol == "esp" else None
        sa = gen.make_sa(suite, k, src=src, dst=dst, mode=mode, udp_encap=encap, esn=k % 3 == 0)
        whole = gen.protect(sa, gen.plain_packet(version, bytes(47)), 1)
        at = gen.header_offset(whole)
        fitting = [gen.with_body(whole, (whole[at:] + bytes(80))[:n]) for n in range(81)]
        verdicts = Pair(provider, "inbound", [(sa, 0)]).decapsulate([whole[:n] for n in range(81)] + fitting)
        assert PacketStatus.MALFORMED in verdicts and PacketStatus.NOT_IPSEC in verdicts


def test_every_payload_length(provider: str) -> None:
    """Sealed payloads of 0 to 300 bytes, every padding that fits, under three kinds of algorithm."""
    for name, auth in (("AES-GCM-128", "NONE"), ("AES-CBC-256", "HMAC-SHA256-128"), ("NULL", "HMAC-MD5-96")):
        sa = gen.make_sa(gen.Suite(name, auth), mode="transport")
        base = gen.protect(sa, gen.plain_packet(dst=sa.dst), 1)
        packets = []
        for n in range(2, 301):
            if n % sa.enc_alg.block:
                continue
            for pad_len in {0, 1, 7, 8, 9, n - 3, n - 2, n - 1, 255} & set(range(256)):
                pad = bytes(range(1, pad_len + 1))
                clear = (bytes(n) + pad)[-(n - 2) :] if n > 2 else b""
                seq = len(packets) + 1
                at = gen.header_offset(base)
                header = base[: at + 4] + seq.to_bytes(4, "big") + base[at + 8 :]
                packets.append(gen.reseal_esp(sa, header, seq, clear + bytes((pad_len, 6))))
        verdicts = Pair(provider, "inbound", [(sa, 0)]).decapsulate(packets)
        assert PacketStatus.OK in verdicts and PacketStatus.MALFORMED in verdicts
