"""The NIC receives: what fails, and how it is reported."""

from __future__ import annotations

import struct
from dataclasses import replace

import by_hand
import pytest
from helpers import ipv4, keyed, udp
from nic_cards import AH_SA, GCM, INNER, flipped, info, status
from nic_cards import receiver as nic
from nic_host import (
    AH,
    ESP,
    IPIP,
    SERVED,
    UDP,
    Received,
    ah_sealed,
    esp4,
    frame,
    in_udp,
    receive,
    scapy_seals,
    sealed,
)


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
