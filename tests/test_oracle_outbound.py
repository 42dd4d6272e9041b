"""encapsulate against the reference, byte by byte, in slots with and without room.

With IVs given, and with the core's own ones, which the reference takes over: the two go different ways
in the core.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from differential import CHOICES, SIZES, Pair, Slot, examples, suites_of
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.reference import ReferenceTable, encapsulate, ip
from ipsecfast.testing import strategies as gen

pytestmark = pytest.mark.parametrize("provider", CHOICES)

EDGES = (0, 1, 15, 16, 31, 32, 47, 48, 49, 63, 64, 65, 96, 127, 128, 192)


def growth(sa: SecurityAssociation, packet: bytes) -> int:
    """Bytes that the packet gains, 0 if the reference refuses it."""
    table = ReferenceTable()
    result = encapsulate(table, packet, table.add(sa, "outbound"))
    return len(result.packet) - len(packet) if result.packet is not None else 0


@st.composite
def slots(draw: Any, sa: SecurityAssociation, packet: bytes) -> Slot:
    """Room as needed, one byte too little, on one side only, none, or plenty."""
    need = max(0, growth(sa, packet))
    kind = draw(st.integers(0, 9))
    if kind < 4:
        return Slot(packet, 128, 64)
    if kind == 4:
        return Slot(packet)
    total = max(0, need - (kind == 5))
    head = {6: 0, 7: total, 8: total + 30}.get(kind)
    if head is None:
        head = draw(st.integers(0, total))
    return Slot(packet, head, max(0, total - head))


@st.composite
def outgoing(draw: Any, sa: SecurityAssociation) -> bytes:
    """A packet to send: mostly sound ones that the SA may carry, also longer than their IP length, also none."""
    kind = draw(st.integers(0, 11))
    dst = sa.dst if sa.dst and sa.mode == "transport" and kind != 9 else None
    headers = draw(st.sampled_from(("arrived", "sent", "sent", "any")))
    packet = draw(gen.inner_packets(dst=dst, fragments=kind > 6, headers=headers))
    if kind == 10:
        return packet + gen.filler(kind, draw(st.integers(1, 50)))
    if kind == 11:
        cut = bytearray(packet[: draw(st.integers(0, len(packet)))])
        for at in draw(st.lists(st.integers(0, 47), max_size=2)):
            if at < len(cut):
                cut[at] = draw(st.sampled_from((0, 1, 44, 60, 0x40, 0x4F, 0x60, 255)))
        return bytes(cut)
    return packet


@st.composite
def sendings(draw: Any, suites: Sequence[gen.Suite], sizes: Sequence[int] = SIZES) -> Any:
    """(SAs with their last number, slots, the SA of each, IVs or None, cuts)."""
    fresh = draw(st.booleans())
    iv_len = draw(st.sampled_from(sorted({s.iv_len for s in suites})))
    fitting = suites if fresh else [s for s in suites if s.iv_len == iv_len]  # one array has rows of one length
    sas = draw(st.lists(gen.security_associations(direction="outbound", suites=fitting), min_size=1, max_size=4))
    starts = [(sa, draw(gen.start_numbers(sa))) for sa in {(sa.protocol, sa.spi, sa.dst): sa for sa in sas}.values()]
    size = draw(st.sampled_from(sizes))
    which = [i % len(starts) for i in range(size)]
    lots: list[Slot] = []
    simple = {version: draw(gen.inner_packets(version=version, fragments=False)) for version in (4, 6)}
    for i in which:
        sa = starts[i][0]
        lots.append(Slot(simple[sa.dst.version if sa.dst else 4], 128, 64 + (sa.tfc_pad_to or 0)))
    for _ in range(draw(st.integers(0, min(size, 14)))):
        at = draw(st.sampled_from([e for e in EDGES if e < size]) | st.integers(0, size - 1))
        sa = starts[which[at]][0]
        lots[at] = draw(slots(sa, draw(outgoing(sa))))
    ivs = np.frombuffer(gen.filler(draw(st.integers(0, 9)), size * iv_len), np.uint8).reshape(size, iv_len)
    return starts, lots, which, None if fresh else ivs, draw(st.lists(st.integers(0, size), max_size=3))


def run(provider: str, sending: Any, cuts: Sequence[int] = ()) -> list[PacketStatus]:
    starts, lots, which, ivs, _ = sending
    pair = Pair(provider, "outbound", starts)
    return pair.encapsulate(lots, [pair.handles[i] for i in which], ivs, cuts)


@examples(80)
@given(data=st.data())
def test_any_batch(provider: str, data: Any) -> None:
    run(provider, data.draw(sendings(suites_of(provider))))


@examples(80)
@given(data=st.data())
def test_a_batch_in_pieces(provider: str, data: Any) -> None:
    """Whole, in several batches, and one by one: the same bytes."""
    sending = data.draw(sendings(suites_of(provider), (2, 13, 65)))
    whole = run(provider, sending)
    assert run(provider, sending, sending[4]) == whole
    assert run(provider, sending, range(len(sending[1]))) == whole


@examples(100)
@given(data=st.data())
def test_numbers_run_out(provider: str, data: Any) -> None:
    """The last number goes out, the packet behind it does not; refused packets use none."""
    suite = data.draw(st.sampled_from([s for s in suites_of(provider) if s.iv_len in (0, 8)]))
    esn, left = data.draw(st.booleans()), data.draw(st.integers(0, 70))
    sa = gen.make_sa(suite, esn=esn)
    packet = data.draw(gen.inner_packets(version=4))
    lots = [Slot(packet, 128, 64) if fits else Slot(packet) for fits in data.draw(st.lists(st.booleans(), max_size=90))]
    limit = gen.SEQ64 if esn else gen.SEQ32
    verdicts = run(provider, ([(sa, limit - 1 - left)], lots, [0] * len(lots), None, []))
    fitting = sum(slot.head > 0 for slot in lots)
    assert verdicts.count(PacketStatus.OK) == min(left, fitting)
    assert verdicts.count(PacketStatus.SEQ_EXHAUSTED) == max(0, fitting - left)


@pytest.mark.parametrize("mode", ["tunnel", "transport"])
@pytest.mark.parametrize("version", [4, 6])
def test_longest_packets(provider: str, mode: gen.Mode, version: int) -> None:
    """Around the length that an IP header can still say: one packet of each size near the edge."""
    src, dst = gen.ADDRESSES[version][:2]
    esp, ah = (("AES-CBC-128", "HMAC-SHA256-128"), ("AES-GCM-256", "NONE")), ("NULL", "HMAC-SHA256-128")
    suites = [gen.Suite(*names) for names in (*esp, ah)] + [gen.Suite(*ah, protocol="ah")]
    for suite in suites:
        for encap in (None, (4500, 4500)):
            if encap and suite.protocol == "ah":
                continue
            sa = gen.make_sa(suite, src=src, dst=dst, mode=mode, udp_encap=encap)
            lots = [Slot(gen.plain_packet(version, bytes(n)), 200, 200) for n in range(65400, 65516)]
            ivs = np.zeros((len(lots), suite.iv_len), np.uint8)
            verdicts = run(provider, ([(sa, 0)], lots, [0] * len(lots), ivs, []))
            assert {PacketStatus.OK, PacketStatus.NO_ROOM} == set(verdicts)


@pytest.mark.parametrize("mode", ["tunnel", "transport"])
def test_every_length_and_room(provider: str, mode: gen.Mode) -> None:
    """Payloads of 0 to 80 bytes under every algorithm, each in a slot that just fits and one that just does not."""
    for k, suite in enumerate(suites_of(provider)):
        version = 4 if k % 2 else 6
        src, dst = gen.ADDRESSES[version][:2]
        encap = (4500, 4500) if k % 4 < 2 and suite.protocol == "esp" else None
        sa = gen.make_sa(suite, k, src=src, dst=dst, mode=mode, esn=k % 3 == 0, udp_encap=encap)
        lots = []
        for n in range(81):
            packet = gen.plain_packet(version, bytes(n), traffic_class=n)
            need = growth(sa, packet)
            head = need * (n % 3) // 2
            lots += [Slot(packet, head, need - head), Slot(packet, need // 2, need - need // 2 - 1)]
        for ivs in (None, np.full((len(lots), suite.iv_len), 7, np.uint8)):
            verdicts = run(provider, ([(sa, 0)], lots, [0] * len(lots), ivs, []))
            assert verdicts == [PacketStatus.OK, PacketStatus.NO_ROOM] * 81


@pytest.mark.parametrize("mode", ["tunnel", "transport"])
def test_extension_headers_that_do_not_fit(provider: str, mode: gen.Mode) -> None:
    """A tunnel carries IPv6 whose extension headers run past its end; transport mode can't place ESP in it."""
    src, dst = gen.ADDRESSES[6][:2]
    header = ip.ipv6_header(src, dst, traffic_class=0, flow_label=0, hop_limit=1)
    packet = ip.finish(header, 6, ip.PROTO_DEST_OPTS, bytes((6, 9, 0, 0)))
    sa = gen.make_sa(gen.Suite("NULL", "HMAC-SHA1-96"), src=src, dst=dst, mode=mode)
    verdicts = run(provider, ([(sa, 0)], [Slot(packet, 128, 64)], [0], np.zeros((1, 0), np.uint8), []))
    assert verdicts == [PacketStatus.OK if mode == "tunnel" else PacketStatus.MALFORMED]


@st.composite
def bundled(draw: Any, provider: str) -> Any:
    """SAs with their last number, bundles of them and SAs alone, and the slots to send with each."""
    sas = draw(gen.bundles(suites=suites_of(provider), max_layers=6))
    starts = [(sa, draw(gen.start_numbers(sa)) if draw(st.booleans()) else 7) for sa in sas]
    members = [list(range(len(sas)))]
    members += draw(st.lists(st.lists(st.sampled_from(members[0]), min_size=1, unique=True), max_size=3))
    which = draw(st.lists(st.integers(0, len(members) - 1), min_size=1, max_size=40))
    simple = {version: draw(gen.inner_packets(version=version, fragments=False)) for version in (4, 6)}
    lots = []
    for i in which:
        first = sas[members[i][0]]
        kind = draw(st.integers(0, 9))
        packet = simple[first.dst.version if first.mode == "transport" else draw(st.sampled_from((4, 6)))]
        if kind < 3:
            packet = draw(outgoing(first))
        room = 300, 300
        if kind == 9:  # about as much as it takes
            need = sum(growth(sas[at], gen.plain_packet(dst=sas[at].dst)) for at in members[i])
            room = need // 2, max(0, need // 2 + draw(st.integers(-40, 40)))
        lots.append(Slot(packet, *room))
    return starts, members, which, lots


@examples(150)
@given(data=st.data())
def test_bundles(provider: str, data: Any) -> None:
    """Several SAs on a packet, in any order, some also alone: all of them or none, and the numbers of each."""
    starts, members, which, lots = data.draw(bundled(provider))
    pair = Pair(provider, "outbound", starts)
    handles = [pair.handles[m[0]] if len(m) == 1 and i % 2 else pair.bundle(m) for i, m in enumerate(members)]
    cuts = data.draw(st.lists(st.integers(0, len(lots)), max_size=3))
    pair.encapsulate(lots, [handles[i] for i in which], None, cuts)


@pytest.mark.parametrize("dst", [None, "192.0.2.4", "192.0.2.2"])
def test_source_route_with_hops_left(provider: str, dst: str | None) -> None:
    """AH covers the destination on arrival, the route's last hop (RFC 4302 A1), but where the SA ends at the first."""
    plain = gen.plain_packet()
    route = bytes.fromhex("830b04c0000203c000020400")
    packet = ip.finish(bytes((0x48,)) + plain[1:20] + route, 9, ip.PROTO_UDP, plain[20:])
    sa = gen.make_sa(gen.Suite("NULL", "HMAC-SHA1-96", protocol="ah"), mode="transport", src=None, dst=dst)
    assert run(provider, ([(sa, 0)], [Slot(packet, 64, 64)], [0], None, [])) == [PacketStatus.OK]


def test_options_that_can_not_be_covered_in_a_small_slot(provider: str) -> None:
    """What is wrong with the packet itself comes before the slot, for an SA alone as in a bundle."""
    plain = gen.plain_packet()
    packet = ip.finish(bytes((0x46,)) + plain[1:20] + bytes((7, 0, 0, 0)), 9, ip.PROTO_UDP, plain[20:])
    sa = gen.make_sa(gen.Suite("NULL", "HMAC-SHA1-96", protocol="ah"), mode="transport")
    pair = Pair(provider, "outbound", [(sa, 0)])
    for handle in pair.bundle([0]), pair.handles[0]:
        assert pair.encapsulate([Slot(packet)], [handle], None) == [PacketStatus.MALFORMED]
