"""The slow model, inbound: every way to be refused, and layers."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from by_hand import esp
from differential import examples
from helpers import (
    AUTH_FAILED,
    CBC_SA,
    DUMMY,
    FRAG_ATOMIC,
    FRAG_FIRST,
    FRAG_MIDDLE,
    FRAGMENT,
    GCM_SA,
    MALFORMED,
    NO_SA,
    NOT_IPSEC,
    NULL_SA,
    OK,
    REPLAYED,
    TRANSPORT_SA,
    TRANSPORT_SA6,
    H,
    ipv4,
    ipv6,
    keyed,
    patched,
    reference_table,
    udp,
)
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.reference import Result, decapsulate, encapsulate
from ipsecfast.reference import ip as ref_ip

SEALED = esp(GCM_SA, ipv4() + H("01020204"))
SOME_ESP = struct.pack(">II", 0x9999, 1) + bytes(40)


@pytest.mark.parametrize(
    ("status", "packet"),
    [
        pytest.param(NOT_IPSEC, b"", id="empty"),
        pytest.param(NOT_IPSEC, bytes(60), id="version 0"),
        pytest.param(NOT_IPSEC, ipv4(SEALED, proto=50)[:19], id="4: shorter than its header"),
        pytest.param(NOT_IPSEC, patched(ipv4(SEALED, proto=50), 0, 0x44), id="4: ihl 4"),
        pytest.param(NOT_IPSEC, patched(ipv4(proto=50), 0, 0x4F), id="4: ihl past the end"),
        pytest.param(NOT_IPSEC, patched(ipv4(SEALED, proto=50), 2, 0, 19), id="4: total length below ihl"),
        pytest.param(NOT_IPSEC, ipv4(SEALED), id="4: ICMP"),
        pytest.param(NOT_IPSEC, ipv6(SEALED, proto=50)[:39], id="6: shorter than its header"),
        pytest.param(NOT_IPSEC, ipv6(b"", proto=60, headers=H("3201000000000000")), id="6: options past the end"),
        pytest.param(NOT_IPSEC, ipv6(b"", proto=60, headers=b"2"), id="6: one byte of options"),
        pytest.param(NOT_IPSEC, ipv4(udp(SOME_ESP, dport=53), proto=17), id="udp: other port"),
        pytest.param(NOT_IPSEC, ipv4(b"1234567", proto=17), id="udp: no whole header"),
        pytest.param(NOT_IPSEC, ipv4(udp(b"\xff"), proto=17), id="udp: keepalive"),
        pytest.param(NOT_IPSEC, ipv4(udp(bytes(40)), proto=17), id="udp: IKE"),
        pytest.param(NOT_IPSEC, ipv4(udp(SOME_ESP), proto=17, flags=5), id="udp: fragment without ports"),
        pytest.param(NOT_IPSEC, ipv4(udp(SOME_ESP, dport=53), proto=17, flags=0x2000), id="udp: fragment, other port"),
        pytest.param(NOT_IPSEC, ipv6(proto=44, headers=patched(FRAG_MIDDLE, 0, 17)), id="6: fragment without ports"),
        pytest.param(NOT_IPSEC, ipv4(udp(SOME_ESP, dport=53), proto=17)[:-1], id="udp: cut off, other port"),
        pytest.param(NOT_IPSEC, ipv4(udp(SOME_ESP), proto=17)[:27], id="udp: cut off in its header"),
        pytest.param(FRAGMENT, ipv4(SOME_ESP, proto=50, flags=0x2000), id="4: first"),
        pytest.param(FRAGMENT, ipv4(SOME_ESP, proto=50, flags=0x4005), id="4: last"),
        pytest.param(FRAGMENT, ipv4(SOME_ESP, proto=51, flags=0x2000)[:30], id="4: AH, cut off"),
        pytest.param(FRAGMENT, ipv4(udp(SOME_ESP), proto=17, flags=0x2000), id="udp: first"),
        pytest.param(FRAGMENT, ipv4(udp(SOME_ESP, dport=4600), proto=17, flags=0x2000), id="udp: an SA's port"),
        pytest.param(FRAGMENT, ipv6(SOME_ESP, proto=44, headers=FRAG_FIRST), id="6: first"),
        pytest.param(FRAGMENT, ipv6(b"", proto=44, headers=FRAG_MIDDLE), id="6: middle"),
        pytest.param(
            FRAGMENT,
            ipv6(SOME_ESP, proto=44, headers=patched(FRAG_FIRST, 0, 60) + H("3200000000000000")),
            id="6: walked",
        ),
        pytest.param(MALFORMED, ipv4(SOME_ESP, proto=50)[:-1], id="cut off"),
        pytest.param(MALFORMED, ipv6(SOME_ESP, proto=50)[:-1], id="6: cut off"),
        pytest.param(MALFORMED, ipv4(udp(SOME_ESP), proto=17)[:-1], id="udp: cut off"),
        pytest.param(MALFORMED, ipv4(b"1234567", proto=50), id="7 bytes of ESP"),
        pytest.param(MALFORMED, ipv4(b"12345678901", proto=51), id="11 bytes of AH"),
        pytest.param(MALFORMED, ipv4(udp(SOME_ESP, length=0), proto=17), id="udp: length 0"),
        pytest.param(MALFORMED, ipv4(udp(SOME_ESP, length=7), proto=17), id="udp: length 7"),
        pytest.param(MALFORMED, ipv4(udp(SOME_ESP, length=57), proto=17), id="udp: length past the end"),
        pytest.param(MALFORMED, ipv4(udp(SOME_ESP, length=15), proto=17), id="udp: 7 bytes of ESP"),
        pytest.param(NO_SA, ipv4(SOME_ESP, proto=50), id="ESP"),
        pytest.param(NO_SA, ipv4(SEALED, proto=50, dst=3), id="another destination"),
        pytest.param(NO_SA, ipv4(bytes(12), proto=51), id="AH"),
        pytest.param(NO_SA, ipv6(SOME_ESP, proto=44, headers=FRAG_ATOMIC), id="6: atomic fragment"),
        pytest.param(NO_SA, ipv4(udp(SOME_ESP, dport=4600), proto=17), id="udp: an SA's port"),
    ],
)
def test_refused_before_lookup(status: PacketStatus, packet: bytes) -> None:
    table = reference_table(GCM_SA, keyed("AES-GCM-128", spi=0x777, udp_encap=(4600, 4700)))
    assert decapsulate(table, packet) == Result(status)
    assert all(not n for h in (1, 2) for n in table.statistics(h).statuses.values())


@pytest.mark.parametrize(
    ("status", "sa", "payload"),
    [
        (OK, GCM_SA, ipv4() + H("01020204")),
        (OK, GCM_SA, ipv4() + bytes(100) + H("01020204")),  # TFC padding
        (OK, replace(GCM_SA, strict_padding=False), ipv4() + H("00ff0204")),
        (MALFORMED, GCM_SA, ipv4() + H("01030204")),
        (MALFORMED, GCM_SA, H("0104")),
        (MALFORMED, GCM_SA, ipv4() + H("ff04")),
        (MALFORMED, GCM_SA, H("0004")),
        (MALFORMED, GCM_SA, ipv4() + H("0001")),
        (MALFORMED, GCM_SA, ipv4() + H("0029")),
        (MALFORMED, GCM_SA, ipv4()[:19] + H("0004")),
        (MALFORMED, GCM_SA, ipv4()[:-1] + H("0004")),
        (MALFORMED, GCM_SA, patched(ipv4(), 0, 0x44) + H("0004")),
        (MALFORMED, GCM_SA, patched(ipv4(), 2, 0, 19) + H("0004")),
        (OK, GCM_SA, ipv6() + H("0029")),
        (MALFORMED, GCM_SA, ipv6()[:-1] + H("0029")),
        (MALFORMED, GCM_SA, ipv6()[:39] + H("0029")),
        (DUMMY, GCM_SA, b"anything" + H("003b")),
        (DUMMY, TRANSPORT_SA, H("003b")),
        (OK, TRANSPORT_SA, H("0006")),
        (OK, TRANSPORT_SA, b"no IP" + H("0004")),
        (OK, replace(GCM_SA, mode="any"), ipv4() + H("0004")),
        (OK, replace(GCM_SA, mode="any"), b"ping" + H("0001")),
        (MALFORMED, replace(GCM_SA, mode="any"), b"ping" + H("0004")),
    ],
)
def test_after_the_icv(status: PacketStatus, sa: SecurityAssociation, payload: bytes) -> None:
    table = reference_table(sa)
    packet = ipv4(esp(sa, payload), proto=50) + b"ethernet"
    result = decapsulate(table, packet)
    assert (result.status, result.seq, result.handle, result.failed_layer) == (status, 1, 1, 0)
    if status is not OK:
        assert result.left_behind(packet) == packet[:20] + bytes(len(packet) - 20)
    statistics = table.statistics(1)
    assert statistics.packets == (status is OK) and statistics.statuses[status] == 1
    assert statistics.bytes == (len(packet) - 8 if status is OK else 0)
    assert statistics.last_seq == 1
    assert decapsulate(table, packet) == Result(REPLAYED, seq=1, handle=1)


@pytest.mark.parametrize(
    ("sa", "wiped"),
    [
        (GCM_SA, True),
        (keyed("CHACHA20-POLY1305"), True),
        (keyed("AES-GMAC-256"), False),
        (CBC_SA, False),
        (NULL_SA, False),
    ],
)
def test_wrong_icv(sa: SecurityAssociation, wiped: bool) -> None:
    table = reference_table(sa)
    packet = ipv4(udp(esp(sa, ipv4(bytes(4)) + H("0102030405060604"), seq=9)), proto=17)
    forged = patched(packet, len(packet) - 1, packet[-1] ^ 1) + b"tail"
    result = decapsulate(table, forged)
    assert (result.status, result.seq, result.handle) == (AUTH_FAILED, 9, 1)
    assert result.left_behind(forged) == (forged[:28] + bytes(len(forged) - 28) if wiped else forged)
    assert table.statistics(1).last_seq == 0
    assert decapsulate(table, packet).packet == ipv4(bytes(4))
    assert table.statistics(1).last_seq == 9


@pytest.mark.parametrize("sa", [GCM_SA, CBC_SA, NULL_SA, TRANSPORT_SA])
def test_too_short_for_the_sa(sa: SecurityAssociation) -> None:
    """Every length that can't be: refused as it is, and before the window is asked."""
    table = reference_table(sa, seq=5)
    assert sa.icv_len is not None
    least = 8 + sa.enc_alg.iv_len + 2 + sa.icv_len
    for size in range(8, least):
        result = decapsulate(table, ipv4(struct.pack(">II", sa.spi, 5) + bytes(size - 8), proto=50))
        assert result == Result(MALFORMED, handle=1)
    for size in range(least, least + 40):
        whole = (size - 8 - sa.enc_alg.iv_len - sa.icv_len) % sa.enc_alg.block == 0
        result = decapsulate(table, ipv4(struct.pack(">II", sa.spi, 5) + bytes(size - 8), proto=50))
        assert result.status is (REPLAYED if whole else MALFORMED)
        assert result.seq == (5 if whole else 0)


def test_no_integrity_at_all() -> None:
    sa = keyed("AES-CBC-128", allow_unauthenticated=True)
    tx, rx = reference_table(sa, direction="outbound"), reference_table(sa)
    sealed = encapsulate(tx, ipv4(), 1).packet
    assert sealed is not None
    assert decapsulate(rx, sealed).packet == ipv4()
    # RFC 4303 sec. 1: no anti-replay without integrity, for a forged number would shut out the true ones
    assert decapsulate(rx, patched(sealed, 24, 0xFF)).packet == ipv4()
    assert decapsulate(rx, sealed).packet == ipv4()


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("same", [(0, 8), (8, 16)])
def test_triple_des_with_one_des_left(same: tuple[int, int], parity: int) -> None:
    """E(K3, D(K2, E(K1, x))) is one DES where two neighbours are equal, parity bits aside."""
    key = bytearray(range(2, 50, 2))
    key[same[1] : same[1] + 8] = bytes(b ^ parity for b in key[same[0] : same[0] + 8])
    single = bytes(key[16:] if same == (0, 8) else key[:8])
    triple_sa, single_sa = (
        keyed(name, "HMAC-SHA1-96", enc_key=k) for name, k in (("3DES-CBC", bytes(key)), ("DES-CBC", single))
    )
    sealed = encapsulate(reference_table(triple_sa, direction="outbound"), ipv4(), 1).packet
    assert sealed is not None
    for sa in (single_sa, triple_sa):
        assert decapsulate(reference_table(sa), sealed).packet == ipv4()


# ---------------------------------------------------------------- layers


def _nested(n: int) -> tuple[list[SecurityAssociation], bytes]:
    """``n`` SAs (outermost last) and a packet that has been through all of them."""
    sas = [replace(GCM_SA, spi=0x1000 + i) for i in range(n)]
    packet = ipv4()
    for sa in sas:
        packet = encapsulate(reference_table(sa, direction="outbound", seq=sa.spi), packet, 1).packet or b""
    return sas, packet


def test_layers_come_off_one_after_another() -> None:
    sas, packet = _nested(3)
    table = reference_table(*reversed(sas))
    result = decapsulate(table, packet)
    assert result == Result(OK, ipv4(), seq=0x1003, handle=1)
    assert [table.statistics(h).packets for h in (1, 2, 3)] == [1, 1, 1]
    # without the innermost SA it ends there
    result = decapsulate(reference_table(*sas[1:]), packet)
    assert result.status is OK and result.packet is not None and result.packet[20:24] == H("00001000")


def test_inner_failure_wipes_from_the_outermost_header() -> None:
    sas, packet = _nested(3)
    table = reference_table(*reversed(sas))
    assert decapsulate(table, packet).status is OK
    again = encapsulate(reference_table(sas[2], direction="outbound", seq=0x2000), _nested(2)[1], 1).packet or b""
    result = decapsulate(table, again + b"tail")
    assert result == Result(REPLAYED, seq=0x2001, handle=1, wiped_from=20, failed_layer=1)
    assert result.left_behind(again + b"tail") == again[:20] + bytes(len(again) - 20 + 4)


@pytest.mark.parametrize(
    "inner", [ipv4(udp(SOME_ESP, length=0), proto=17), ipv4(b"", proto=50), ipv4(bytes(12), proto=51)]
)
def test_inner_packet_without_an_sa_is_the_result(inner: bytes) -> None:
    assert decapsulate(reference_table(GCM_SA), ipv4(esp(GCM_SA, inner + H("0004")), proto=50)).packet == inner


def test_eight_layers_at_the_most() -> None:
    sas, packet = _nested(9)
    result = decapsulate(reference_table(*sas), packet)
    assert result.status is OK and result.packet is not None
    assert result.packet[9] == 50 and decapsulate(reference_table(*sas), result.packet).packet == ipv4()


# ---------------------------------------------------------------- whatever a peer may send


@examples(100)
@given(st.data())
def test_any_bytes_give_a_status(data: st.DataObject) -> None:
    """No packet raises, in either direction, and refused ones are untouched or wiped in one piece."""
    sas = (GCM_SA, TRANSPORT_SA6, replace(NULL_SA, spi=0x2222, mode="any", strict_padding=False))
    sa = data.draw(st.sampled_from(sas))
    payload = data.draw(st.sampled_from([ipv4(), ipv6(), b""])) + data.draw(st.binary(max_size=6)) + H("0004")
    sealed = data.draw(st.sampled_from([(esp(sa, payload), 50), (udp(esp(sa, payload)), 17)]))
    packet = bytearray((ipv6 if sa is TRANSPORT_SA6 else ipv4)(*sealed))
    for _ in range(data.draw(st.integers(0, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(packet[: data.draw(st.integers(0, len(packet)))]) + data.draw(st.binary(max_size=9))
    table = reference_table(*sas)
    result = decapsulate(table, raw)
    after = result.left_behind(raw)
    assert (result.packet is not None) == (result.status is OK)
    if result.packet is None:
        start = len(raw) if result.wiped_from is None else result.wiped_from
        assert after == raw[:start] + bytes(len(raw) - start)
    else:
        assert ref_ip.declared_len(after) == len(after) <= len(raw)
    for tx_sa in (replace(sa, spi=0x3333) for sa in (GCM_SA, TRANSPORT_SA, TRANSPORT_SA6)):
        again = encapsulate(reference_table(tx_sa, direction="outbound"), raw, 1)
        if again.packet is not None:
            declared = ref_ip.declared_len(raw)
            rx_sa = replace(tx_sa, src=None, dst=None)
            assert decapsulate(reference_table(rx_sa), again.packet).status in (OK, DUMMY)
            assert declared is not None and declared <= len(raw)
