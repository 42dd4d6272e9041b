"""The NIC receives: packets with several layers, and the four forms of UDP-ESP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import ipv4, keyed
from nic_cards import AH_SA, GCM, INNER, TUNNEL, assert_untouched, flipped, info, nested, status
from nic_cards import receiver as nic
from nic_host import (
    DONE,
    ESP,
    IPIP,
    NEXT_DONE,
    UDP,
    Received,
    ah_sealed,
    frame,
    in_udp,
    padded,
    receive,
    scapy_seals,
    sealed,
)


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
