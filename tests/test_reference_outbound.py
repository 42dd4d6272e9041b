"""The slow model, outbound: headers, ECN, padding, refusals, sequence numbers and IVs."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from by_hand import esp
from helpers import (
    CBC_SA,
    ENDS6,
    FRAG_FIRST,
    FRAG_MIDDLE,
    FRAGMENT,
    GCM_SA,
    MALFORMED,
    NO_ROOM,
    OK,
    SA6,
    TRANSPORT_SA,
    TRANSPORT_SA6,
    H,
    checksum,
    ipv4,
    ipv6,
    keyed,
    patched,
    reference_table,
    udp,
)

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.reference import ReferenceTable, Result, Room, decapsulate, encapsulate
from ipsecfast.reference import ip as ref_ip


def _there_and_back(sa: SecurityAssociation, plain: bytes) -> bytes:
    sealed = encapsulate(reference_table(sa, direction="outbound"), plain + b"ethernet padding", 1).packet
    assert sealed is not None
    assert decapsulate(reference_table(sa), sealed + b"ethernet padding").packet == plain
    return sealed


def test_outer_ipv4_header() -> None:
    table = reference_table(GCM_SA, direction="outbound", seq=0x12344)
    plain = ipv4(tos=0xBA, flags=0x4000)
    sealed = encapsulate(table, plain, 1).packet
    assert sealed is not None
    assert sealed[:10] == struct.pack(">BBHHHBB", 0x45, 0xBA, len(sealed), 0x2345, 0x4000, 64, 50)
    assert sealed[12:20] == H("c0000201c0000202") and checksum(sealed[:20]) == 0
    for change, tos, flags in (
        ({"copy_dscp": False}, 0x02, 0x40),
        ({"ecn": False}, 0xB8, 0x40),
        ({"df": "clear"}, 0xBA, 0),
    ):
        sealed = _there_and_back(replace(GCM_SA, ttl=3, **change), plain)
        assert (sealed[1], sealed[6], sealed[8]) == (tos, flags, 3)
    assert _there_and_back(GCM_SA, ipv4())[6] == 0
    assert _there_and_back(replace(GCM_SA, df="set"), ipv4())[6] == 0x40
    assert _there_and_back(GCM_SA, ipv6(first=0x6BA54321))[:2] == H("45ba")
    assert _there_and_back(GCM_SA, ipv6())[6] == 0x40


def test_outer_ipv6_header() -> None:
    assert _there_and_back(SA6, ipv6(first=0x6BA54321))[:4] == H("6ba00000")
    assert _there_and_back(replace(SA6, flow_label=0xABCDE), ipv4(tos=0xBA))[:4] == H("6baabcde")
    copied = replace(SA6, flow_label="copy", ttl=9)
    assert _there_and_back(copied, ipv6(first=0x6BA54321))[:4] == H("6ba54321")
    sealed = _there_and_back(copied, ipv4(tos=0xBA))
    assert sealed[:8] == H("6ba00000") + struct.pack(">HBB", len(sealed) - 40, 50, 9) and sealed[8:40] == ENDS6


def test_udp_encapsulation() -> None:
    for sa, plain, start in (
        (GCM_SA, ipv4(), 20),
        (TRANSPORT_SA, ipv4(options=H("94040000")), 24),
        (SA6, ipv6(), 40),
        (TRANSPORT_SA6, ipv6(proto=60, headers=H("3a00010400000000")), 48),
    ):
        sealed = _there_and_back(replace(sa, udp_encap=(40001, 4500)), plain)
        assert sealed[start : start + 6] == struct.pack(">HHH", 40001, 4500, len(sealed) - start)
        udp_sum = ref_ip.u16(sealed, start + 6)
        assert (udp_sum == 0) == (sealed[0] >> 4 == 4)
        if udp_sum:
            pseudo = ENDS6 + struct.pack(">II", len(sealed) - start, 17)
            assert checksum(pseudo + sealed[start:]) == 0
        # The SA's own ports are not compared, and plain ESP is fine as well.
        _there_and_back(replace(sa, udp_encap=(1, 2)), plain)
        assert decapsulate(reference_table(sa), sealed).packet == plain


def test_udp6_checksum_of_zero_is_sent_as_ones() -> None:
    headers = ipv6(b"", proto=17)
    datagram = udp(b"\0\0")
    filler = ref_ip.udp6_checksum(headers, datagram)
    assert ref_ip.udp6_checksum(headers, datagram[:8] + filler.to_bytes(2, "big")) == 0xFFFF


def test_transport_keeps_the_headers_in_front() -> None:
    plain = ipv4(b"x" * 33, options=H("94040000"), proto=6, tos=0x13, flags=0x4000)
    sealed = _there_and_back(TRANSPORT_SA, plain)
    assert sealed[:2] + sealed[4:9] + sealed[12:24] == plain[:2] + plain[4:9] + plain[12:24]
    assert sealed[9] == 50 and checksum(sealed[:24]) == 0
    # hop-by-hop, routing, an atomic fragment and destination options stay in front of ESP
    headers = H("2b000104000000002c000400000000003c000000000000070600010400000000")
    plain = ipv6(b"x" * 33, proto=0, headers=headers)
    sealed = _there_and_back(TRANSPORT_SA6, plain)
    assert sealed[6:64] == plain[6:64] and sealed[64:72] == H("3200010400000000")
    assert sealed[72:76] == struct.pack(">I", TRANSPORT_SA6.spi)
    _there_and_back(TRANSPORT_SA, ipv4(b""))


def test_ecn_of_rfc_6040() -> None:
    inner_by_outer = {  # figure 4, in the order Not-ECT, ECT(1), ECT(0), CE of the outer header
        0: (0, 0, 0, None),
        1: (1, 1, 1, 3),
        2: (2, 1, 2, 3),
        3: (3, 3, 3, 3),
    }
    for inner, wanted in inner_by_outer.items():
        for outer, want in enumerate(wanted):
            for sa, plain in ((GCM_SA, ipv4(tos=0xB8 | inner)), (GCM_SA, ipv6(first=0x6B800000 | inner << 20))):
                sealed = ipv4(esp(sa, plain + H("0029" if plain[0] >> 4 == 6 else "0004")), proto=50, tos=0x60 | outer)
                result = decapsulate(reference_table(sa), sealed)
                if want is None:
                    assert result.status is PacketStatus.ECN
                    assert result.left_behind(sealed) == sealed[:20] + bytes(len(sealed) - 20)
                else:
                    assert result.packet is not None and ref_ip.traffic_class(result.packet) == 0xB8 | want
                    assert plain[0] >> 4 == 6 or result.packet == ipv4(tos=0xB8 | want)
                unmoved = decapsulate(reference_table(replace(sa, ecn=False)), sealed)
                assert unmoved.packet == plain
                copied = decapsulate(reference_table(replace(sa, ecn=False, decap_dscp=True)), sealed).packet
                assert copied is not None and ref_ip.traffic_class(copied) == 0x60 | inner


def test_wrong_inner_checksum_stays_wrong() -> None:
    wrong = patched(ipv4(tos=2), 10, 0x12, 0x34)
    result = decapsulate(reference_table(GCM_SA), ipv4(esp(GCM_SA, wrong + H("0004")), proto=50, tos=3)).packet
    assert result is not None and result[1] == 3
    off = (ref_ip.u16(ipv4(tos=2), 10) - 0x1234) % 0xFFFF
    assert (ref_ip.u16(ipv4(tos=3), 10) - ref_ip.u16(result, 10)) % 0xFFFF == off


def test_tfc_padding() -> None:
    sa = replace(GCM_SA, tfc_pad_to=600)
    sizes = {len(_there_and_back(sa, ipv4(bytes(n)))) for n in (0, 1, 579, 580)}
    assert sizes == {20 + 16 + 604 + 16}
    assert len(_there_and_back(sa, ipv4(bytes(583)))) > sizes.pop()


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("status", "sa", "packet"),
    [
        (MALFORMED, GCM_SA, b""),
        (MALFORMED, GCM_SA, bytes(40)),
        (MALFORMED, GCM_SA, ipv4()[:-1]),
        (MALFORMED, GCM_SA, ipv6()[:-1]),
        (MALFORMED, GCM_SA, patched(ipv4(), 2, 0, 19)),
        (MALFORMED, TRANSPORT_SA, ipv6()),
        (MALFORMED, TRANSPORT_SA6, ipv4()),
        (MALFORMED, TRANSPORT_SA6, ipv6(b"", proto=60, headers=H("3a01000000000000"))),
        (FRAGMENT, TRANSPORT_SA, ipv4(flags=0x2000)),
        (FRAGMENT, TRANSPORT_SA, ipv4(flags=0x0001)),
        (FRAGMENT, TRANSPORT_SA6, ipv6(proto=44, headers=FRAG_FIRST)),
        (FRAGMENT, TRANSPORT_SA6, ipv6(proto=44, headers=FRAG_MIDDLE)),
        (OK, GCM_SA, ipv4(flags=0x2000)),
        (OK, SA6, ipv6(proto=44, headers=FRAG_MIDDLE)),
        (OK, replace(TRANSPORT_SA, src=None, dst=None), ipv6()),
        (OK, GCM_SA, ipv4(bytes(65456))),
        (NO_ROOM, GCM_SA, ipv4(bytes(65460))),
        (OK, SA6, ipv4(bytes(65476))),
        (NO_ROOM, SA6, ipv4(bytes(65480))),
        (NO_ROOM, replace(GCM_SA, tfc_pad_to=65535), ipv4()),
    ],
)
def test_outbound_status(status: PacketStatus, sa: SecurityAssociation, packet: bytes) -> None:
    table = reference_table(sa, direction="outbound", seq=41)
    result = encapsulate(table, packet, 1)
    assert (result.status, result.handle) == (status, 1)
    assert (result.packet is None) == (status is not OK)
    statistics = table.statistics(1)
    assert statistics.statuses[status] == 1 and statistics.bytes == len(result.packet or b"")
    assert result.seq == (42 if status is OK else 0) and statistics.last_seq == (42 if status is OK else 41)


def test_room_is_the_whole_slot() -> None:
    plain = ipv4()
    table = reference_table(GCM_SA, direction="outbound")
    growth = len(encapsulate(table, plain, 1).packet or b"") - len(plain)
    for headroom in (0, 7, growth):
        assert encapsulate(table, plain, 1, room=Room(headroom, growth - headroom)).status is OK
        assert encapsulate(table, plain, 1, room=Room(headroom, growth - headroom - 1)).status is NO_ROOM


@pytest.mark.parametrize(("esn", "last"), [(False, 2**32 - 1), (True, 2**64 - 1)])
def test_sequence_numbers_end(esn: bool, last: int) -> None:
    table = reference_table(replace(GCM_SA, esn=esn), direction="outbound", seq=last - 1)
    assert encapsulate(table, ipv4(), 1).seq == last
    assert encapsulate(table, ipv4(), 1) == Result(PacketStatus.SEQ_EXHAUSTED, handle=1)
    # Order: what is wrong with the packet itself comes first.
    assert encapsulate(table, ipv4(), 1, room=Room(0, 0)).status is NO_ROOM
    assert encapsulate(table, b"", 1, room=Room(0, 0)).status is MALFORMED
    assert table.statistics(1).last_seq == last


def test_ivs() -> None:
    def iv_of(sa: SecurityAssociation, table: ReferenceTable) -> bytes:
        sealed = encapsulate(table, ipv4(), 1).packet
        assert sealed is not None
        return sealed[28 : 28 + sa.enc_alg.iv_len]

    for sa in (GCM_SA, CBC_SA, keyed("AES-CTR-128", "HMAC-SHA1-96")):
        tables = [reference_table(sa, direction="outbound") for _ in range(2)]
        ivs = [iv_of(sa, table) for table in tables for _ in range(3)]
        assert len(set(ivs)) == 6
    table = reference_table(GCM_SA, direction="outbound")
    masks = {int.from_bytes(iv_of(GCM_SA, table), "big") ^ seq for seq in range(1, 20)}
    assert len(masks) == 1
