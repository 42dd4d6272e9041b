"""The slow model of AH: every header field, option and extension header by hand from the tables of RFC 4302.

``by_hand`` computes the ICV over bytes that the test states; the model must agree inbound and outbound.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import by_hand
import pytest
from helpers import (
    AUTH_FAILED,
    ENDS4,
    ENDS6,
    FRAG_ATOMIC,
    FRAG_FIRST,
    FRAGMENT,
    GCM_SA,
    MALFORMED,
    NO_SA,
    OK,
    REPLAYED,
    H,
    ipv4,
    ipv6,
    keyed,
    patched,
    reference_table,
)

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.reference import ReferenceTable, Result, decapsulate, encapsulate

AH_SA = keyed("NULL", "HMAC-SHA1-96", protocol="ah", mode="transport")
AH_SA6 = replace(AH_SA, src="2001:db8::1", dst="2001:db8::2")
TUNNEL_SA = replace(AH_SA, mode="tunnel")
GMAC_SA = keyed("NULL", "AES-GMAC-128", protocol="ah", mode="transport")
SIZE = 24  # of AH with 12 bytes of ICV
PAYLOAD = bytes(range(30))


def with_icv(sa: SecurityAssociation, wire: bytes, covered: bytes, ofs: int, seq_hi: int = 0, iv: bytes = b"") -> bytes:
    """``wire`` with the ICV over ``covered`` in the AH at ``ofs``."""
    at = ofs + 12 + len(iv)
    return patched(wire, at, *by_hand.ah_icv(sa, covered, seq_hi, iv))


def sealed4(options: bytes, as_covered: bytes, destination: bytes = ENDS4[4:], payload: bytes = PAYLOAD) -> bytes:
    """An IPv4 packet in AH whose options are covered as stated."""
    ofs = 20 + len(options)
    wire = ipv4(by_hand.ah(AH_SA, 253, size=SIZE) + payload, proto=51, tos=0xB9, flags=0x4000, options=options)
    covered = wire[:1] + b"\0" + wire[2:6] + bytes(3) + b"\x33" + bytes(2) + ENDS4[:4] + destination
    return with_icv(AH_SA, wire, covered + as_covered + wire[ofs:], ofs)


def sealed6(
    first: int, headers: bytes, covered_first: int, as_covered: bytes, destination: bytes = ENDS6[16:]
) -> bytes:
    """An IPv6 packet in AH whose extension headers are covered as stated; ``first`` is the base header's next."""
    wire = ipv6(by_hand.ah(AH_SA, 253, size=SIZE) + PAYLOAD, proto=first, first=0x6B912345, headers=headers)
    ofs = 40 + len(headers)
    payload_len = len(as_covered) + SIZE + len(PAYLOAD)
    covered = struct.pack(">IHBB", 6 << 28, payload_len, covered_first, 0) + ENDS6[:16] + destination
    return with_icv(AH_SA6, wire, covered + as_covered + wire[ofs:], ofs)


def statuses(packet: bytes, sa: SecurityAssociation) -> tuple[PacketStatus, PacketStatus]:
    """What the model says inbound, and outbound of the same headers in front of the payload."""
    inbound = decapsulate(reference_table(sa), packet)
    plain = inbound.packet
    if plain is None:
        return inbound.status, inbound.status
    outbound = encapsulate(reference_table(sa, direction="outbound"), plain, 1)
    assert outbound.packet == packet
    return inbound.status, outbound.status


# ---------------------------------------------------------------- what is covered


# RFC 4302 A1: immutable are the end of the list, no operation, security, extended security, commercial security,
# router alert and sender-directed multi-destination delivery; the rest counts as zero, type and length with it
@pytest.mark.parametrize(
    ("options", "as_covered"),
    [
        ("", ""),
        ("01010100", "01010100"),
        ("00112233", "00112233"),  # nothing is an option behind the end of the list
        ("820b11223344556677889900", "820b11223344556677889900"),
        ("8504112201010101", "8504112201010101"),
        ("8604112201010101", "8604112201010101"),
        ("94040000", "94040000"),
        ("9506c00002010101", "9506c00002010101"),
        ("0707040000000000", "0000000000000000"),  # record route
        ("440c0501c000020100000000", "000000000000000000000000"),  # time stamp
        ("8804abcd", "00000000"),  # stream identifier
        ("5204abcd", "00000000"),  # traceroute
        ("9004abcd9404000007020100", "000000009404000000000100"),
        ("830b0c010203040506070801", "00" * 11 + "01"),  # loose source route at its end
        ("8907080102030401", "00" * 7 + "01"),  # strict
        ("8303ff01", "00000001"),  # without a single hop
        ("83020101", "00000101"),  # without a pointer
        ("8306040102030101", "0000000000000101"),  # without a whole address
    ],
)
def test_ipv4_options(options: str, as_covered: str) -> None:
    packet = sealed4(H(options), H(as_covered))
    assert statuses(packet, AH_SA) == (OK, OK)


@pytest.mark.parametrize("kind", ["83", "89"])
def test_source_route_on_its_way(kind: str) -> None:
    """The destination is the route's last one, where the packet arrives; unless the SA ends here already."""
    options = H(kind + "0b080102030405060708" + "01")
    packet = sealed4(options, bytes(11) + b"\1", H("05060708"))
    assert decapsulate(reference_table(replace(AH_SA, src=None, dst=None)), packet).status is OK
    plain = ipv4(PAYLOAD, proto=253, tos=0xB9, flags=0x4000, options=options)
    for dst in ("5.6.7.8", None):
        table = reference_table(replace(AH_SA, dst=dst), direction="outbound")
        assert encapsulate(table, plain, 1).packet == packet
    here = sealed4(options, bytes(11) + b"\1")
    assert statuses(here, AH_SA) == (OK, OK)


@pytest.mark.parametrize(
    "options",
    [
        "07000000",
        "07010000",
        "01010107",
        "07050000",
        "01010703",
        "82000000",
        "01019404",
    ],
)
def test_ipv4_options_that_can_not_be(options: str) -> None:
    packet = sealed4(H(options), H(options))
    assert decapsulate(reference_table(AH_SA), packet) == Result(MALFORMED, seq=1, handle=1)
    assert decapsulate(reference_table(AH_SA, seq=1), packet).status is REPLAYED
    plain = ipv4(PAYLOAD, proto=253, options=H(options))
    table = reference_table(AH_SA, direction="outbound")
    assert encapsulate(table, plain, 1).status is MALFORMED and table.statistics(1).last_seq == 0
    # a tunnel does not look into the packet that it carries
    assert encapsulate(reference_table(TUNNEL_SA, direction="outbound"), plain, 1).status is OK


A1, A2, A3 = (H(f"20010db8{i:024x}") for i in (0xA1, 0xA2, 0xA3))
DST6 = ENDS6[16:]


# RFC 4302 A2 and RFC 8200 sec. 4.2: bit 0x20 of an option's type says that its data may change on the way
@pytest.mark.parametrize(
    ("first", "headers", "covered_first", "as_covered", "destination"),
    [
        pytest.param(51, "", 51, "", DST6, id="nothing"),
        pytest.param(0, "3300010400000000", 0, "3300010400000000", DST6, id="hop-by-hop: PadN"),
        pytest.param(0, "3300000000000000", 0, "3300000000000000", DST6, id="hop-by-hop: Pad1"),
        pytest.param(0, "33000502abcd0100", 0, "33000502abcd0100", DST6, id="router alert"),
        pytest.param(0, "33003e0411223344", 0, "33003e0400000000", DST6, id="mutable"),
        pytest.param(60, "3300e501221e0133", 60, "3300e501001e0133", DST6, id="destination: both kinds"),
        pytest.param(60, "33003e0000000000", 60, "33003e0000000000", DST6, id="mutable, empty"),
        pytest.param(
            0,
            "3c013f0c" + "77" * 12 + "33001e0411223344",
            0,
            "3c013f0c" + "00" * 12 + "33001e0411223344",
            DST6,
            id="hop-by-hop and destination",
        ),
        pytest.param(44, FRAG_ATOMIC.hex().replace("32", "33", 1), 51, "", DST6, id="atomic fragment"),
        pytest.param(
            0,
            "2c000104000000003c000000000000093300010400000000",
            0,
            "3c000104000000003300010400000000",
            DST6,
            id="atomic fragment between others",
        ),
        pytest.param(
            44,
            "2c000000000000093300000000000007",
            51,
            "",
            DST6,
            id="two atomic fragments",
        ),
        pytest.param(43, "3300ff0011223344", 43, "3300ff0011223344", DST6, id="routing at its end"),
        pytest.param(43, "33020401" + "00" * 20, 43, "", b"", id="segments of another type left"),
        pytest.param(
            43, "33020000ffffffff" + A1.hex(), 43, "33020000ffffffff" + A1.hex(), DST6, id="type 0 at its end"
        ),
        pytest.param(
            43,
            "3302000100000000" + A1.hex(),
            43,
            "3302000000000000" + DST6.hex(),
            A1,
            id="type 0, one left",
        ),
        pytest.param(
            43,
            "3306000212345678" + (A1 + A2 + A3).hex(),
            43,
            "3306000012345678" + (A1 + DST6 + A2).hex(),
            A3,
            id="type 0, two of three left",
        ),
        pytest.param(
            43,
            "3306000300000000" + (A1 + A2 + A3).hex(),
            43,
            "3306000000000000" + (DST6 + A1 + A2).hex(),
            A3,
            id="type 0, three left",
        ),
        pytest.param(
            43,
            "3302020100000000" + A2.hex(),
            43,
            "3302020000000000" + DST6.hex(),
            A2,
            id="type 2",
        ),
        pytest.param(
            43,
            "2b02000100000000" + A1.hex() + "3302000100000000" + A2.hex(),
            43,
            "2b02000000000000" + DST6.hex() + "3302000000000000" + A1.hex(),
            A2,
            id="one route after another",
        ),
        pytest.param(43, "3302000200000000" + A1.hex(), 43, "", b"", id="more left than there are"),
        pytest.param(43, "3303000100000000" + A1.hex() + "00" * 8, 43, "", b"", id="half an address"),
        pytest.param(43, "3300000100000000", 43, "", b"", id="no address"),
        pytest.param(0, "3300010500000000", 0, "", b"", id="option past the end"),
        pytest.param(60, "3300010300000005", 60, "", b"", id="option without a length"),
        pytest.param(60, "33003eff00000000", 60, "", b"", id="length 255"),
    ],
)
def test_ipv6_headers(first: int, headers: str, covered_first: int, as_covered: str, destination: bytes) -> None:
    malformed = not destination
    packet = sealed6(first, H(headers), covered_first, H(as_covered), destination or DST6)
    if not malformed:
        assert statuses(packet, AH_SA6) == (OK, OK)
        return
    assert decapsulate(reference_table(AH_SA6), packet) == Result(MALFORMED, seq=1, handle=1)
    own_next = len(headers) // 2 - 8 if first != 43 else 0
    plain = ipv6(PAYLOAD, proto=first, headers=patched(H(headers), own_next, 253))
    assert encapsulate(reference_table(AH_SA6, direction="outbound"), plain, 1).status is MALFORMED


def test_every_bit_of_ipv4() -> None:
    """Each bit of the packet flipped: what may change on the way does not matter, all else is noticed."""
    options = H("94040000070704000000000001")
    packet = sealed4(options + bytes(3), H("94040000" + "00" * 8 + "01") + bytes(3))
    changes = {1, 8, 10, 11, *range(26, 31)}  # TOS, TTL, checksum, the recorded route; the first two flags
    for at in range(4, len(packet) * 8):  # the version aside
        status = decapsulate(reference_table(AH_SA), patched(packet, at // 8, packet[at // 8] ^ 128 >> at % 8)).status
        if at // 8 in (24, 25):
            continue  # type and length of the mutable option count as zero too, if what they say makes sense
        if at // 8 in changes or at in (48, 49):
            assert status is OK, at
        else:
            assert status is not OK, at


def test_every_bit_of_ipv6() -> None:
    packet = sealed6(0, H("33003e0411223344"), 0, H("33003e0400000000"))
    changes = {1, 2, 3, 7, *range(44, 48)}  # flow label, hop limit, the option's data
    for at in range(4, len(packet) * 8):
        status = decapsulate(reference_table(AH_SA6), patched(packet, at // 8, packet[at // 8] ^ 128 >> at % 8)).status
        assert (status is OK) == (at // 8 in changes or at < 16), at


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize(
    ("icv_len", "sizes4", "size6"),
    [(12, {24}, 24), (16, {28, 32}, 32), (9, {24}, 24), (20, {32}, 32), (8, {20, 24}, 24)],
)
def test_length_of_the_header(icv_len: int, sizes4: set[int], size6: int) -> None:
    sa = replace(AH_SA, authentication="HMAC-SHA256-128", auth_key=bytes(32), icv_len=icv_len)
    sa6 = replace(sa, src=AH_SA6.src, dst=AH_SA6.dst)
    for size in range(8, 60, 4):
        pad = b"\xee" * (size - 12 - icv_len) if size > 12 + icv_len else b""
        for association, make, fitting in ((sa, ipv4, sizes4), (sa6, ipv6, {size6})):
            wire = make(by_hand.ah(sa, 17, size=max(size, 12 + icv_len), pad=pad) + PAYLOAD, proto=51)
            ofs = len(make(b""))
            wire = patched(wire, ofs + 1, size // 4 - 2)
            base = wire[:1] + b"\0" + wire[2:6] + bytes(3) + wire[9:10] + bytes(2) + wire[12:20]
            covered = base if make is ipv4 else wire[:7] + b"\0" + wire[8:40]
            packet = with_icv(sa, wire, covered + wire[ofs:], ofs)
            result = decapsulate(reference_table(association), packet)
            assert result.status is (OK if size in fitting else MALFORMED), size
            if result.packet is not None:
                assert result.packet == make(PAYLOAD, proto=17)
    for align, want in ((None, min(sizes4)), (4, min(sizes4)), (8, max(sizes4))):
        sealed = encapsulate(reference_table(replace(sa, ah_align=align), direction="outbound"), ipv4(), 1).packet
        assert sealed is not None and sealed[21] == want // 4 - 2 and len(sealed) == len(ipv4()) + want
        assert sealed[32 + icv_len : 20 + want] == bytes(want - 12 - icv_len)
    sealed = encapsulate(reference_table(sa6, direction="outbound"), ipv6(), 1).packet
    assert sealed is not None and sealed[41] == size6 // 4 - 2


def test_too_short() -> None:
    table = reference_table(AH_SA, seq=1)
    header = by_hand.ah(AH_SA, 17, size=SIZE)
    for n in range(12):
        assert decapsulate(table, ipv4(header[:n], proto=51)) == Result(MALFORMED)
    for n in range(12, SIZE):
        assert decapsulate(table, ipv4(header[:n], proto=51)) == Result(MALFORMED, handle=1)
    assert decapsulate(table, ipv4(header, proto=51)) == Result(REPLAYED, seq=1, handle=1)
    # what lies behind the IP packet is not AH's
    assert decapsulate(table, ipv4(header[:16], proto=51) + header[16:]) == Result(MALFORMED, handle=1)


def test_gmac_and_extended_numbers() -> None:
    iv, seq = H("0102030405060708"), 5 << 32 | 9
    for esn in (False, True):
        sa = replace(GMAC_SA, esn=esn)
        wire = ipv4(by_hand.ah(sa, 1, 9, size=36, iv=iv) + PAYLOAD, proto=51)
        covered = wire[:1] + b"\0" + wire[2:6] + bytes(3) + wire[9:10] + bytes(2) + wire[12:]
        wire = with_icv(sa, wire, covered, 20, 5, iv)
        before = seq - 1 if esn else 8
        assert decapsulate(reference_table(sa, seq=before), wire) == Result(OK, ipv4(PAYLOAD), before + 1, 1)
        table = reference_table(sa, direction="outbound", seq=before)
        assert encapsulate(table, ipv4(PAYLOAD), 1, iv).packet == wire
        assert decapsulate(reference_table(replace(sa, esn=not esn), seq=8), wire).status is AUTH_FAILED
        with pytest.raises(ValueError, match="iv"):
            encapsulate(table, ipv4(), 1, b"")
    table = reference_table(GMAC_SA, direction="outbound")
    ivs = {(encapsulate(table, ipv4(), 1).packet or b"")[32:40] for _ in range(9)}
    assert len(ivs) == 9


# ---------------------------------------------------------------- what becomes of the packet


def sealed(sa: SecurityAssociation, payload: bytes, next_header: int, tos: int = 0) -> bytes:
    """A packet in AH over IPv4 without options."""
    wire = ipv4(by_hand.ah(sa, next_header, size=SIZE) + payload, proto=51, tos=tos)
    return with_icv(sa, wire, wire[:1] + b"\0" + wire[2:6] + bytes(3) + b"\x33" + bytes(2) + wire[12:], 20)


@pytest.mark.parametrize(
    ("status", "sa", "packet"),
    [
        (OK, AH_SA, sealed(AH_SA, b"", 59)),
        (OK, AH_SA, sealed(AH_SA, b"no IP", 4)),
        (OK, TUNNEL_SA, sealed(AH_SA, ipv4(), 4)),
        (OK, TUNNEL_SA, sealed(AH_SA, ipv6() + b"more", 41)),
        (MALFORMED, TUNNEL_SA, sealed(AH_SA, ipv4(), 41)),
        (MALFORMED, TUNNEL_SA, sealed(AH_SA, ipv4(), 59)),
        (MALFORMED, TUNNEL_SA, sealed(AH_SA, ipv4()[:-1], 4)),
        (MALFORMED, TUNNEL_SA, sealed(AH_SA, b"", 4)),
        (OK, replace(AH_SA, mode="any"), sealed(AH_SA, b"x", 17)),
        (OK, replace(AH_SA, mode="any"), sealed(AH_SA, ipv4(), 4)),
        (MALFORMED, replace(AH_SA, mode="any"), sealed(AH_SA, b"x", 4)),
        (PacketStatus.ECN, TUNNEL_SA, sealed(AH_SA, ipv4(), 4, tos=3)),
        (FRAGMENT, AH_SA, patched(sealed(AH_SA, b"", 17), 6, 0x20)),
        (FRAGMENT, AH_SA6, ipv6(bytes(40), proto=44, headers=patched(FRAG_FIRST, 0, 51))),
        (AUTH_FAILED, AH_SA, patched(sealed(AH_SA, b"xyz", 17), 44, 0)),
        (NO_SA, GCM_SA, sealed(AH_SA, b"", 17)),
        (NO_SA, replace(AH_SA, spi=9), sealed(AH_SA, b"", 17)),
    ],
)
def test_after_the_icv(status: PacketStatus, sa: SecurityAssociation, packet: bytes) -> None:
    """Refused packets stay as they were: nothing has been decrypted."""
    table = reference_table(sa)
    result = decapsulate(table, packet)
    assert result.status is status and result.failed_layer == 0
    if status is OK:
        inner_len = {4: len(ipv4()), 41: len(ipv6())}.get(packet[20]) if sa.mode != "transport" else None
        assert result.packet == (packet[44:][:inner_len] if inner_len else ipv4(packet[44:], proto=packet[20]))
    else:
        assert result.left_behind(packet) == packet
    if result.seq and status is not AUTH_FAILED:
        assert table.statistics(1).last_seq == 1 and decapsulate(table, packet).status is REPLAYED


def test_inner_failures_wipe() -> None:
    """AH in AH: the outermost layer's failure leaves the bytes, an inner one's does not."""
    inner, outer = replace(AH_SA, spi=0x777), AH_SA
    both = encapsulate(
        reference_table(outer, direction="outbound"), patched(sealed(inner, b"xyz", 17), 44, 0), 1
    ).packet
    assert both is not None
    table = reference_table(outer, inner)
    assert decapsulate(table, both + b"tail").left_behind(both + b"tail") == both[:20] + bytes(len(both) - 20 + 4)
    assert decapsulate(table, both) == Result(REPLAYED, seq=1, handle=1)
    assert [table.statistics(h).statuses[s] for h, s in ((1, OK), (2, AUTH_FAILED))] == [1, 1]


# ---------------------------------------------------------------- lookup


def test_longest_match_first() -> None:
    src, packet = AH_SA.src, sealed(AH_SA, b"", 17)
    by_source = replace(AH_SA, match_src=True)
    table = ReferenceTable()
    handles = [table.add(sa, "inbound") for sa in (replace(AH_SA, dst=None), AH_SA, by_source)]
    for sa in (replace(AH_SA, src="192.0.2.77", match_src=True), replace(GCM_SA, mode="transport")):
        table.add(sa, "inbound")
    for handle in reversed(handles):
        assert decapsulate(table, packet).handle == handle
        table.delete(handle)
    assert src is not None and decapsulate(table, packet).status is NO_SA
    for sa in (AH_SA, by_source, replace(AH_SA, dst=None)):
        table.add(sa, "inbound")
        with pytest.raises(ValueError, match="already"):
            table.add(replace(sa, mode="tunnel"), "inbound")


def test_multicast_is_nothing_special() -> None:
    sa = replace(AH_SA, src=None, dst="224.0.0.9")
    plain = patched(ipv4(), 16, 224, 0, 0, 9)
    packet = encapsulate(reference_table(sa, direction="outbound"), plain, 1).packet
    assert packet is not None
    assert [p[12:20] == plain[12:20] for p in (packet, decapsulate(reference_table(sa), packet).packet or b"")] == [
        True
    ] * 2
