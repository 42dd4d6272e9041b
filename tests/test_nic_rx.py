"""The NIC receives: each test is a line of section 12 of the contract, or a choice that docs/ndis.md lists.

Judges: packets sealed by ``by_hand`` and by scapy, and the kernel's captures.
"""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import by_hand
import numpy as np
import pytest
from helpers import SHARED, H, has, ipv4, ipv6, keyed, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from nic_host import (
    AH,
    DELETE_REQ,
    DONE,
    ESP,
    IPIP,
    NATIVE,
    NEXT_DONE,
    SERVED,
    UDP,
    Received,
    ah_room,
    ah_sealed,
    esp4,
    frame,
    in_udp,
    ip,
    padded,
    receive,
    scapy_seals,
    sealed,
)

from ipsecfast import PacketBatch, SecurityAssociation
from ipsecfast.ndis.datapath import Datapath, DatapathCapabilities, DatapathOptions
from ipsecfast.ndis.nbl import NblBatch

GCM = keyed("AES-GCM-128")
AH_SA = keyed("NULL", "HMAC-SHA1-96", spi=0xA4A4, protocol="ah")
INNER = keyed("AES-CBC-128", "HMAC-SHA256-128", spi=0x5678)
UNTOUCHED = (0, 0)


def nic(*bundles: Any, options: dict[str, Any] | None = None, provider: str | None = None, **caps: Any) -> Datapath:
    """A NIC with inbound bundles: SAs, or (SAs, keywords)."""
    made = Datapath(DatapathOptions(**options or {}), DatapathCapabilities(**caps), provider, capacity=16)
    for bundle in bundles:
        sas, fields = bundle if isinstance(bundle, tuple) and isinstance(bundle[1], dict) else (bundle, {})
        made.add_bundle("inbound", [sas] if isinstance(sas, SecurityAssociation) else sas, **fields)
    return made


def status(code: int, bits: int = DONE) -> int:
    return bits | code << 16


def info(next_header: int, pad_len: int) -> int:
    return 1 << 16 | pad_len << 8 | next_header


def flipped(one: bytes, at: int = -1) -> bytes:
    changed = bytearray(one)
    changed[at] ^= 0x10
    return bytes(changed)


def assert_untouched(made: Datapath, *frames: bytes, **fields: Any) -> None:
    assert receive(made, *frames, **fields) == [Received(0, 0, one) for one in frames]


# ---------------------------------------------------------------- good packets


@pytest.mark.parametrize(("encryption", "authentication", "provider"), SERVED)
def test_good_packet_is_plain_in_place(encryption: str, authentication: str, provider: str) -> None:
    sa = keyed(encryption, authentication)
    made = nic(sa, provider=provider)
    plain = [bytes(range(n % 256)) + bytes(n - n % 256) for n in (0, 1, 7, 33, 1400)]
    sent = [esp4(sa, data, 253, seq) for seq, data in enumerate(plain, start=1)]
    for data, before, got in zip(plain, sent, receive(made, *sent), strict=True):
        start = 14 + 20 + 8 + sa.enc_alg.iv_len
        text = padded(sa, data, 253)
        assert got.word == status(0)
        assert got.header == info(253, len(text) - len(data) - 2)
        assert got.frame == before[:start] + text + before[start + len(text) :]


@pytest.mark.parametrize("n", [1, 2, 33, 67, 256, 257])
def test_batches_of_every_size(n: int) -> None:
    made = nic(GCM, INNER)
    sent = [esp4((GCM, INNER)[i % 2], bytes(i), 253, i + 1) for i in range(n)]
    assert {got.word for got in receive(made, *sent)} == {status(0)}


def test_no_frames() -> None:
    assert receive(nic(GCM)) == []


def test_ipv6() -> None:
    sa = replace(GCM, src="2001:db8::1", dst="2001:db8::2")
    (got,) = receive(nic(sa), frame(ipv6(sealed(sa, b"six", 58), proto=ESP)))
    assert (got.word, got.header) == (status(0), info(58, 3))


@pytest.mark.parametrize("medium", ["ethernet", "null"])
def test_media(medium: str) -> None:
    packet = ipv4(sealed(GCM, b"data", 1), proto=ESP)
    (got,) = receive(nic(GCM), frame(packet) if medium == "ethernet" else packet, medium=medium)
    assert got.word == status(0)


def test_tagged_and_snap_frames() -> None:
    packet = ipv4(sealed(GCM, b"data", 1), proto=ESP)
    tagged = frame(packet, tag=H("81000005"))
    snap = frame(packet)[:12] + struct.pack(">H", len(packet) + 8) + H("aaaa030000000800") + packet
    assert [got.word for got in receive(nic(GCM), tagged, snap)] == [status(0)] * 2
    assert_untouched(nic(GCM, receive_ipv4=0x2), tagged, snap)


def test_padding_behind_the_ip_packet() -> None:
    """Short frames are filled up to 60 bytes; what is behind the IP packet is none of it."""
    sent = esp4(GCM, b"") + b"\xee" * 10
    (got,) = receive(nic(GCM), sent)
    assert got.word == status(0) and got.frame.endswith(b"\xee" * 10)


# ---------------------------------------------------------------- not the NIC's


def test_unknown_spi_is_untouched() -> None:
    assert_untouched(nic(GCM), esp4(replace(GCM, spi=0x9999)))


def test_wrong_destination_is_untouched() -> None:
    assert_untouched(nic(GCM), frame(ipv4(sealed(GCM, b"x", 1), proto=ESP, dst=3)))


def test_wrong_source_is_untouched_unless_sources_are_ignored() -> None:
    sa = replace(GCM, src="198.51.100.1")
    assert_untouched(nic(sa), esp4(sa))
    (got,) = receive(nic(sa, options={"match_source": False}), esp4(sa))
    assert got.word == status(0)


def test_wildcard_addresses() -> None:
    anyone = replace(GCM, src=None, dst=None)
    (got,) = receive(nic((anyone, {"ipv6": False})), esp4(GCM))
    assert got.word == status(0)
    assert_untouched(nic((anyone, {"ipv6": True})), esp4(GCM))
    only_src = replace(GCM, dst=None)
    assert receive(nic(only_src), esp4(GCM))[0].word == status(0)
    assert_untouched(nic(replace(only_src, src="198.51.100.1")), esp4(GCM))


def test_fragments_are_untouched() -> None:
    packet = sealed(GCM, b"x" * 30, 1)
    first, later = ipv4(packet, proto=ESP, flags=0x2000), ipv4(packet, proto=ESP, flags=3)
    assert_untouched(nic(GCM), frame(first), frame(later))


@pytest.mark.parametrize("header", ["3200000100000009", "3200001900000009", "3200000000000009"])
def test_fragment_header_is_untouched(header: str) -> None:
    sa = replace(GCM, src="2001:db8::1", dst="2001:db8::2")
    assert_untouched(nic(sa), frame(ipv6(sealed(sa, b"x" * 30, 1), proto=44, headers=H(header))))


def test_ike_marker_keepalive_and_short_datagrams_are_untouched() -> None:
    made = nic((GCM, {"udp_esp": 1}))
    ike, keepalive, short = udp(bytes(4) + b"ike message"), udp(b"\xff"), udp(b"abc")
    assert_untouched(made, *(frame(ipv4(one, proto=UDP)) for one in (ike, keepalive, short)))


def test_another_udp_port_is_untouched() -> None:
    made = nic((GCM, {"udp_esp": 1}))
    assert_untouched(made, frame(ipv4(in_udp(sealed(GCM, b"x", 1), dport=4501), proto=UDP)))


def test_unadvertised_options_are_untouched() -> None:
    sent = frame(ipv4(sealed(GCM, b"x", 1), proto=ESP, options=H("01010101")))
    assert_untouched(nic(GCM, ipv4_options=False), sent)
    assert receive(nic(GCM), sent)[0].word == status(0)


def test_unadvertised_extension_headers_are_untouched() -> None:
    sa = replace(GCM, src="2001:db8::1", dst="2001:db8::2")
    sent = frame(ipv6(sealed(sa, b"x", 1), proto=0, headers=H("3200050200000100")))
    assert_untouched(nic(sa, ipv6_extension_headers=False), sent)
    assert receive(nic(sa), sent)[0].word == status(0)


@pytest.mark.parametrize(("family", "off"), [(4, "receive_ipv4"), (6, "receive_ipv6")])
def test_before_encapsulation_is_set_everything_is_untouched(family: int, off: str) -> None:
    sa = GCM if family == 4 else replace(GCM, src="2001:db8::1", dst="2001:db8::2")
    sent = frame(ip(family, sealed(sa, b"x", 1), ESP))
    assert_untouched(nic(sa, **{off: 0}), sent)
    other = "receive_ipv6" if family == 4 else "receive_ipv4"
    assert receive(nic(sa, **{other: 0}), sent)[0].word == status(0)


@pytest.mark.parametrize("gone", ["esp", "ah", "ah_esp_combined"])
def test_capability_switched_off_stops_matching_and_comes_back(gone: str) -> None:
    made = nic((GCM, AH_SA), INNER)
    sent = esp4(INNER) if gone == "esp" else frame(ah_sealed(AH_SA, sealed(GCM, b"x", 1), ESP))
    made.configure(replace(made.capabilities, **{gone: False}))
    assert_untouched(made, sent)
    made.configure(DatapathCapabilities())
    assert receive(made, sent)[0].word == status(0)
    assert len(made) == 2


def test_not_ipsec_is_untouched() -> None:
    made = nic(GCM, AH_SA)
    assert_untouched(
        made,
        frame(ipv4()),
        frame(ipv6()),
        b"",
        b"\x01",
        frame(ipv4())[:33],
        H("ffffffffffff0200000000010806") + bytes(46),
    )


def test_frames_too_short_for_an_spi_are_untouched() -> None:
    made = nic(GCM, AH_SA)
    assert_untouched(made, *(frame(ipv4(b"\0\0\x12\x34"[:n], proto=proto)) for n in range(4) for proto in (ESP, AH)))


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(("encryption", "authentication", "provider"), SERVED)
def test_failed_packet_is_indicated_and_not_decrypted(encryption: str, authentication: str, provider: str) -> None:
    sa = keyed(encryption, authentication)
    made = nic(sa, provider=provider)
    for at in (-1, 40, 34 + 8 + sa.enc_alg.iv_len):
        bad = [flipped(esp4(sa, bytes(range(n)), 253), at) for n in (14, 100, 255)]
        assert receive(made, *bad) == [Received(status(3), 0, one) for one in bad]
    assert receive(made, esp4(sa))[0].word == status(0)


def test_every_failure_code() -> None:
    transport_ah = frame(scapy_seals(AH_SA, ipv4(b"data", proto=253)))
    tunnel_ah = frame(scapy_seals(replace(AH_SA), ipv4(ipv4(b"inner"), proto=IPIP)))
    made = nic(GCM, AH_SA)
    hinted = nic((GCM, {"mode_hint": "tunnel"}))
    for made_for, sent, code in (
        (made, flipped(transport_ah), 2),
        (made, flipped(esp4(GCM)), 3),
        (made, flipped(tunnel_ah), 4),
        (hinted, flipped(esp4(GCM)), 5),
    ):
        assert receive(made_for, sent) == [Received(status(code), 0, sent)]


@pytest.mark.parametrize(("udp_esp", "code"), [(1, 3), (2, 5), (4, 5)])
def test_udp_esp_tells_the_mode_of_a_failed_packet(udp_esp: int, code: int) -> None:
    sent = flipped(frame(ipv4(in_udp(sealed(GCM, b"x", 1)), proto=UDP)))
    assert receive(nic((GCM, {"udp_esp": udp_esp})), sent) == [Received(status(code), 0, sent)]


def test_learn_tunnel() -> None:
    tunnelled = frame(ipv4(sealed(GCM, ipv4(b"inner"), IPIP), proto=ESP))
    for learn, code in ((False, 3), (True, 5)):
        made = nic(GCM, options={"learn_tunnel": learn})
        assert receive(made, tunnelled)[0].word == status(0)
        assert receive(made, flipped(tunnelled))[0].word == status(code)


def test_invalid_packet_syntax() -> None:
    cbc = keyed("AES-CBC-128", "HMAC-SHA1-96")
    made = nic(cbc, AH_SA)
    good = esp4(cbc, b"x" * 40)
    cut = good[:-1]
    no_block = frame(ipv4(sealed(cbc, b"x" * 40, 1)[:-3], proto=ESP))
    only_spi = frame(ipv4(struct.pack(">I", cbc.spi), proto=ESP))
    no_icv = frame(ipv4(struct.pack(">II", cbc.spi, 1), proto=ESP))
    ah = scapy_seals(AH_SA, ipv4(b"data", proto=253))
    short_ah = frame(ipv4(ah[20:32], proto=AH))
    long_ah = frame(ah[:21] + b"\x40" + ah[22:])
    for sent in (cut, no_block, only_spi, no_icv, short_ah, long_ah):
        assert receive(made, sent) == [Received(status(6), 0, sent)]


def test_datagram_longer_than_the_packet_is_invalid_syntax() -> None:
    sent = frame(ipv4(udp(sealed(GCM, b"x", 1), length=200), proto=UDP))
    assert receive(nic((GCM, {"udp_esp": 1})), sent) == [Received(status(6), 0, sent)]


def test_invalid_protocol() -> None:
    """7 where an SA has this SPI and destination but another protocol, or a bundle's other header is missing."""
    esp_only, ah_only = esp4(GCM), frame(scapy_seals(replace(AH_SA, spi=GCM.spi), ipv4(b"data", proto=253)))
    assert receive(nic(GCM), ah_only) == [Received(status(7), 0, ah_only)]
    assert receive(nic(replace(AH_SA, spi=GCM.spi)), esp_only) == [Received(status(7), 0, esp_only)]
    both = nic((GCM, AH_SA))
    alone = frame(scapy_seals(AH_SA, ipv4(b"data", proto=253)))
    other_esp = frame(ah_sealed(AH_SA, sealed(INNER, b"x", 1), ESP))
    for sent in (esp_only, alone, other_esp):
        assert receive(both, sent) == [Received(status(7), 0, sent)]


def test_ah_and_esp_sas_may_share_an_spi() -> None:
    ah = replace(AH_SA, spi=GCM.spi)
    sent = esp4(GCM), frame(scapy_seals(ah, ipv4(b"data", proto=253)))
    assert [got.word for got in receive(nic(GCM, ah), *sent)] == [status(0)] * 2


def test_pad_length_that_does_not_fit_is_a_generic_error() -> None:
    null = keyed("NULL", "HMAC-SHA1-96")
    by = by_hand.esp(null, b"xx" + bytes((200, 1)), 1)
    (got,) = receive(nic(null), frame(ipv4(by, proto=ESP)))
    assert (got.word, got.header) == (status(1), 0)


def test_pad_bytes_and_next_header_are_not_judged() -> None:
    null = keyed("NULL", "HMAC-SHA1-96")
    by = by_hand.esp(null, b"xx" + bytes((9, 9, 9, 9)) + bytes((4, 59)), 1)
    (got,) = receive(nic(null), frame(ipv4(by, proto=ESP)))
    assert (got.word, got.header) == (status(0), info(59, 4))


# ---------------------------------------------------------------- layers


TUNNEL = keyed("AES-GCM-256", spi=0x7777)


def nested(inner: bytes, sa: SecurityAssociation = TUNNEL, seq: int = 1) -> bytes:
    return frame(ipv4(sealed(sa, inner, IPIP if inner[0] >> 4 == 4 else 41, seq), proto=ESP))


def test_truth_table_of_transport_over_tunnel() -> None:
    transport = ipv4(sealed(INNER, b"inside", 253), proto=ESP)
    both = nic(TUNNEL, INNER)
    (got,) = receive(both, nested(transport))
    assert got.word == status(0, DONE | NEXT_DONE)
    assert padded(INNER, b"inside", 253) in got.frame

    (got,) = receive(both, nested(flipped(transport)))
    assert got.word == status(3, DONE | NEXT_DONE) and flipped(transport) in got.frame

    bad = flipped(nested(transport))
    assert receive(both, bad) == [Received(status(3), 0, bad)]
    bad_tunnel = nic((TUNNEL, {"mode_hint": "tunnel"}), INNER)
    assert receive(bad_tunnel, bad) == [Received(status(5), 0, bad)]

    (got,) = receive(nic(TUNNEL), nested(transport))
    assert got.word == status(0) and transport in got.frame

    (got,) = receive(nic(TUNNEL, INNER, transport_tunnel_combined=False), nested(transport))
    assert got.word == status(0) and transport in got.frame

    (got,) = receive(nic(TUNNEL, replace(INNER, protocol="ah", encryption="NULL", enc_key=b"")), nested(transport))
    assert got.word == status(7, DONE | NEXT_DONE) and transport in got.frame


def test_header_info_with_two_esp_layers() -> None:
    sent = nested(ipv4(sealed(INNER, b"inside", 253), proto=ESP))
    assert receive(nic(TUNNEL, INNER), sent)[0].header == 0
    (got,) = receive(nic(TUNNEL, INNER, options={"two_trailers": "innermost"}), sent)
    assert got.header == info(253, 8)
    assert receive(nic(TUNNEL), sent)[0].header & 0xFF == IPIP


def test_ah_and_esp() -> None:
    esp = sealed(GCM, b"both", 253)
    sent = frame(ah_sealed(AH_SA, esp, ESP))
    made = nic((GCM, AH_SA))
    (got,) = receive(made, sent)
    assert got.word == status(0) and padded(GCM, b"both", 253) in got.frame and got.header == info(253, 2)

    bad_esp = frame(ah_sealed(AH_SA, flipped(esp), ESP))
    assert receive(made, bad_esp) == [Received(status(3), 0, bad_esp)]
    bad_ah = flipped(sent, 14 + 20 + 14)
    assert receive(made, bad_ah) == [Received(status(2), 0, bad_ah)]


def test_ah_alone_sets_no_header_info() -> None:
    sent = frame(scapy_seals(AH_SA, ipv4(b"data", proto=253)))
    assert receive(nic(AH_SA), sent) == [Received(status(0), 0, sent)]


def test_ah_sa_in_front_of_another_ones_esp() -> None:
    """Two SAs of their own: the NIC's part is done, the rest is the host's."""
    sent = frame(ah_sealed(AH_SA, sealed(GCM, b"x", 1), ESP))
    assert receive(nic(AH_SA), sent) == [Received(status(0), 0, sent)]


def test_four_layers() -> None:
    """AH and ESP of a tunnel around AH and ESP of a transport bundle."""
    ah_in = keyed("NULL", "HMAC-SHA256-128", spi=0xA5A5, protocol="ah")
    transport = ah_sealed(ah_in, sealed(INNER, b"deep", 253), ESP)
    tunnel = sealed(TUNNEL, transport, IPIP)
    made = nic((TUNNEL, AH_SA), (INNER, ah_in))
    (got,) = receive(made, frame(ah_sealed(AH_SA, tunnel, ESP)))
    assert got.word == status(0, DONE | NEXT_DONE) and padded(INNER, b"deep", 253) in got.frame
    bad = flipped(transport, 20 + 14)
    (got,) = receive(made, frame(ah_sealed(AH_SA, sealed(TUNNEL, bad, IPIP), ESP)))
    assert got.word == status(2, DONE | NEXT_DONE) and bad in got.frame


def test_ah_tunnel_around_esp_transport() -> None:
    sent = frame(ah_sealed(AH_SA, ipv4(sealed(INNER, b"deep", 253), proto=ESP), IPIP))
    (got,) = receive(nic(AH_SA, INNER), sent)
    assert got.word == status(0, DONE | NEXT_DONE) and got.header == info(253, 10)


def test_a_tunnel_in_a_tunnel_is_left_to_the_host() -> None:
    inner = scapy_seals(AH_SA, ipv4(ipv4(b"deep"), proto=IPIP))
    (got,) = receive(nic(TUNNEL, AH_SA), nested(inner))
    assert got.word == status(0) and inner in got.frame


UDP_FORMS = {
    1: lambda: (ipv4(in_udp(sealed(GCM, b"x", 253)), proto=UDP), [(GCM, {"udp_esp": 1})], DONE),
    2: lambda: (ipv4(in_udp(sealed(TUNNEL, ipv4(b"x"), IPIP)), proto=UDP), [(TUNNEL, {"udp_esp": 2})], DONE),
    4: lambda: (
        ipv4(in_udp(sealed(TUNNEL, ipv4(sealed(INNER, b"x", 253), proto=ESP), IPIP)), proto=UDP),
        [(TUNNEL, {"udp_esp": 4}), (INNER, {"udp_esp": 4})],
        DONE | NEXT_DONE,
    ),
    8: lambda: (
        ipv4(sealed(TUNNEL, ipv4(in_udp(sealed(INNER, b"x", 253)), proto=UDP), IPIP), proto=ESP),
        [(TUNNEL, {"udp_esp": 8}), (INNER, {"udp_esp": 8})],
        DONE | NEXT_DONE,
    ),
}


@pytest.mark.parametrize("form", UDP_FORMS)
def test_udp_esp_form(form: int) -> None:
    packet, bundles, bits = UDP_FORMS[form]()
    (got,) = receive(nic(*bundles), frame(packet))
    assert got.word == status(0, bits)
    # a form that is not advertised, or not the SA's
    assert_untouched(nic(*bundles, udp_esp=0xF & ~form), frame(packet))
    plain = [(sas, {}) for sas, _ in bundles]
    if form != 8:
        assert_untouched(nic(*plain), frame(packet))
    else:
        assert receive(nic(*plain), frame(packet))[0].word == status(0)


def test_udp_in_both_layers_is_no_form() -> None:
    inner = ipv4(in_udp(sealed(INNER, b"x", 253)), proto=UDP)
    sent = frame(ipv4(in_udp(sealed(TUNNEL, inner, IPIP)), proto=UDP))
    (got,) = receive(nic((TUNNEL, {"udp_esp": 6}), (INNER, {"udp_esp": 8})), sent)
    assert got.word == status(0) and inner in got.frame


# ---------------------------------------------------------------- numbers


def test_replayed_packet_is_still_success() -> None:
    made = nic(GCM)
    old, new = esp4(GCM, seq=1), esp4(GCM, seq=100000)
    assert [got.word for got in receive(made, new, old, old, new)] == [status(0)] * 4


ESN_SA = keyed("AES-GCM-128", esn=True)


def numbered(seq: int, sa: SecurityAssociation = ESN_SA) -> bytes:
    return esp4(sa, b"numbered", 253, seq)


@pytest.mark.parametrize("sa", [ESN_SA, keyed("AES-CBC-128", "HMAC-SHA1-96", esn=True)], ids=["GCM", "CBC"])
def test_valid_packets_around_the_wrap_are_success_before_update(sa: SecurityAssociation) -> None:
    made = nic((sa, {"seq_hi": [5]}))
    wrap = 6 << 32
    numbers = [wrap - 3, wrap - 2, wrap + 1, wrap - 1, wrap, wrap + 500, wrap - 7, wrap + 2]
    assert {got.word for got in receive(made, *(numbered(seq, sa) for seq in numbers))} == {status(0)}
    handle = next(iter(made._by_handle))
    made.update(handle, "esp", sa.spi, 6)
    assert {got.word for got in receive(made, *(numbered(seq, sa) for seq in numbers))} == {status(0)}
    assert receive(made, numbered((7 << 32) + 9, sa))[0].word == status(3)


def test_first_packets_after_add_may_lie_behind_the_wrap() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    assert receive(made, numbered((6 << 32) + 1))[0].word == status(0)
    made = nic((ESN_SA, {"seq_hi": [5]}))
    assert receive(made, numbered((5 << 32) - 1))[0].word == status(0)


def test_update_before_the_wrap_reaches_us() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    wrap = 6 << 32
    receive(made, numbered(wrap - 10))
    made.update(next(iter(made._by_handle)), "esp", ESN_SA.spi, 6)
    assert [got.word for got in receive(made, numbered(wrap - 9), numbered(wrap), numbered(wrap - 8))] == [
        status(0)
    ] * 3


def test_update_far_away_counts() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    receive(made, numbered((5 << 32) + 0x50000000))
    made.update(next(iter(made._by_handle)), "esp", ESN_SA.spi, 9)
    assert receive(made, numbered((9 << 32) + 0x50000000))[0].word == status(0)
    assert receive(made, numbered((5 << 32) + 0x50000001))[0].word == status(3)


def test_literal_esn_takes_the_given_half_alone() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}), options={"esn": "literal"})
    wrap = 6 << 32
    sent = numbered(wrap)
    assert receive(made, numbered(wrap - 1))[0].word == status(0)
    assert receive(made, sent) == [Received(status(3), 0, sent)]
    made.update(next(iter(made._by_handle)), "esp", ESN_SA.spi, 6)
    assert receive(made, sent)[0].word == status(0)


def test_esn_in_ah() -> None:
    sa = replace(AH_SA, esn=True)
    made = nic((sa, {"seq_hi": [3]}))
    good = frame(scapy_seals(sa, ipv4(b"data", proto=253), seq=3 << 32 | 77))
    assert receive(made, good) == [Received(status(0), 0, good)]
    other = frame(scapy_seals(sa, ipv4(b"data", proto=253), seq=4 << 32 | 0x70000000))
    assert receive(made, other) == [Received(status(2), 0, other)]


def test_forged_number_does_not_move_the_top() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    receive(made, numbered((5 << 32) + 0xF0000000), flipped(numbered((6 << 32) + 0x10000000)))
    assert receive(made, numbered((5 << 32) + 0xF0000001))[0].word == status(0)
    (one,) = made.statistics(next(iter(made._by_handle)))
    assert one.seq == (5 << 32) + 0xF0000001


# ---------------------------------------------------------------- the table


def test_delete_request_is_set_until_deleted() -> None:
    made = nic(GCM)
    (handle,) = made._by_handle
    made.request_deletion(handle)
    assert [got.word for got in receive(made, esp4(GCM), flipped(esp4(GCM)))] == [
        status(0, DONE | DELETE_REQ),
        status(3, DONE | DELETE_REQ),
    ]
    assert_untouched(made, esp4(INNER))
    made.delete(handle)
    assert_untouched(made, esp4(GCM))


def test_xfrm_offload() -> None:
    made = nic(GCM, AH_SA)
    batch = NblBatch.from_frames([esp4(GCM), flipped(esp4(GCM)), esp4(INNER)])
    offload = made.receive(batch).xfrm_offload
    assert offload["flags"].tolist() == [2, 2, 0] and offload["status"].tolist() == [1, 8, 0]


def test_receive_takes_lists_of_one_frame() -> None:
    batch = NblBatch.from_frames([[esp4(GCM), esp4(GCM)]])
    with pytest.raises(ValueError, match="one frame"):
        nic(GCM).receive(batch)


# ---------------------------------------------------------------- captures


def _frames(path: Path) -> list[bytes]:
    data, pos, frames = path.read_bytes(), 24, []
    while pos < len(data):
        (caplen,) = struct.unpack_from("<I", data, pos + 8)
        frames.append(data[pos + 16 : pos + 16 + caplen])
        pos += 16 + caplen
    return frames


def _captures() -> list[Any]:
    found = sorted((SHARED / "captures").glob("*/keys.json"))
    if not found:
        return [pytest.param(SHARED, marks=pytest.mark.skip(reason="shared/captures is not here"))]
    return [pytest.param(path.parent, id=path.parent.name) for path in found]


def _plain_at(packet: bytes, record: dict[str, Any], sas: dict[int, SecurityAssociation]) -> bytes:
    """The innermost packet or payload as it stands in a received frame's IP packet."""
    data = packet
    for layer in record["layers"]:
        sa = sas[int(layer["spi"], 16)]
        start = data.index(struct.pack(">II", sa.spi, layer["seq"]))
        if layer["protocol"] == "ah":
            data = data[start - 4 + layer["ah_len"] :]
        else:
            assert sa.icv_len is not None
            data = data[start + 8 + sa.enc_alg.iv_len : len(data) - sa.icv_len]
            assert data[-2:] == bytes((layer["pad_len"], layer["next_header"]))
            data = data[: len(data) - 2 - layer["pad_len"]]
    return data


@pytest.mark.parametrize("provider", NATIVE)
@pytest.mark.parametrize("folder", _captures())
def test_capture(folder: Path, provider: str) -> None:
    keys = json.loads((folder / "keys.json").read_text())
    if not has(provider, *(key[kind] for key in keys for kind in ("encryption", "authentication"))):
        pytest.skip(f"{provider} has no such algorithm")
    expected = json.loads((folder / "expected.json").read_text())
    made = Datapath(provider=provider)
    sas = {key["spi"]: SecurityAssociation.from_dict(key) for key in keys}
    for key in keys:
        udp_esp = 0 if not key["udp_encap"] else 2 if key["mode"] == "tunnel" else 1
        made.add_bundle("inbound", [sas[key["spi"]]], seq_hi=[key["seq"] >> 32], udp_esp=udp_esp)
    wire, plain = _frames(folder / "wire.pcap"), _frames(folder / "plain.pcap")
    got = receive(made, *wire)
    for record in expected["packets"]:
        one, before = got[record["frame"]], wire[record["frame"]]
        natt_back = record["kind"] == "udp-esp" and before[14 + 22 : 14 + 24] != struct.pack(">H", 4500)
        if len(record["frames"]) > 1 or natt_back:
            assert all(got[i] == Received(0, 0, wire[i]) for i in record["frames"])
            continue
        assert one.word == status(0)
        (layer,) = record["layers"]
        assert len(one.frame) == len(before) and one.frame[:14] == before[:14]
        assert one.header == (info(layer["next_header"], layer["pad_len"]) if layer["protocol"] == "esp" else 0)
        data = _plain_at(one.frame[14:], record, sas)
        if record.get("plain_equal") == "exact":
            inner = plain[record["plain"]]
            if sas[int(layer["spi"], 16)].mode == "transport":
                inner = inner[len(inner) - len(data) :]
            if before[14] >> 4 == 4 and before[15] & 3 == 3:
                # the receiver has since merged the outer header's mark into the inner one
                assert data[1] & 3 in (1, 2, 3)
                data, inner = (p[:1] + p[2:10] + p[12:] for p in (data, inner))
            assert data[: len(inner)] == inner and not any(data[len(inner) :])
    for other in expected["other_frames"]:
        assert got[other["frame"]] == Received(0, 0, wire[other["frame"]])


# ---------------------------------------------------------------- rough handling


MANY = [GCM, AH_SA, INNER, TUNNEL, keyed("NULL", "HMAC-MD5-96", spi=0x2222), keyed("CHACHA20-POLY1305", spi=0x3333)]


def _samples() -> list[bytes]:
    return [
        esp4(GCM, b"x" * 50),
        esp4(MANY[4], b"y" * 9),
        esp4(MANY[5], b"z" * 77),
        nested(ipv4(sealed(INNER, b"inside", 253), proto=ESP)),
        frame(ipv4(in_udp(sealed(TUNNEL, ipv4(b"u"), IPIP)), proto=UDP)),
        frame(ipv4(ah_room(AH_SA, b"data", 253), proto=AH)),
        frame(ipv6(ah_room(AH_SA, b"data", 253, version=6), proto=AH)),
    ]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_frames(data: st.DataObject) -> None:
    """Any word, no crash; nothing outside of a frame changes, and a frame that fails stays as it was."""
    made = nic(*MANY[:3], (TUNNEL, {"udp_esp": 2}), *MANY[4:])
    frames = []
    for _ in range(data.draw(st.integers(1, 5))):
        one = bytearray(data.draw(st.sampled_from(_samples())))
        for at in data.draw(st.lists(st.integers(0, len(one) - 1), max_size=4)):
            one[at] = data.draw(st.integers(0, 255))
        frames.append(bytes(one[: data.draw(st.integers(0, len(one)))] if data.draw(st.booleans()) else one))
    gap = b"\xa5" * 8
    memory = bytearray(gap + b"".join(one + gap for one in frames))
    offsets = np.cumsum([8, *(len(one) + 8 for one in frames)])[:-1]
    lengths = [len(one) for one in frames]
    batch = NblBatch(PacketBatch(memory, offsets, np.array(lengths, np.int32)))
    before = bytes(memory)
    words = made.receive(batch).word.tolist()
    after = bytes(memory)
    for at, n, word in zip(offsets.tolist(), lengths, words, strict=True):
        assert after[at - 8 : at] == gap and after[at + n : at + n + 8] == gap
        if (not word & NEXT_DONE and word >> 16 > 1) or not word:
            assert after[at : at + n] == before[at : at + n]
        assert word & ~0x70007 == 0


def test_threads() -> None:
    """SA changes and receives from several threads wait for each other."""
    made = nic(GCM)
    sent = [esp4(GCM, b"x" * 500, seq=i + 1) for i in range(64)]
    wrong: list[object] = []

    def traffic() -> None:
        for _ in range(30):
            wrong.extend(got.word for got in receive(made, *sent) if got.word != status(0))

    def changes() -> None:
        for i in range(60):
            made.delete(made.add_bundle("inbound", [replace(INNER, spi=0x10000 + i)]))

    threads = [threading.Thread(target=job) for job in (traffic, traffic, changes, changes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(made) == 1
