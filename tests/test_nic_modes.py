"""Transport or tunnel mode, AH or ESP, switched off: what is received so is untouched, what is sent so fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import by_hand
import pytest
from helpers import ipv4, keyed, udp
from nic_cards import AH_SA, GCM, INNER, TUNNEL, assert_untouched, esp_frame, flipped, outbound, receiver, refused
from nic_cards import sender as nic
from nic_host import (
    AH,
    DELETE_REQ,
    DONE,
    ESP,
    IPIP,
    SERVED,
    UDP,
    Received,
    ah_room,
    ah_sealed,
    esp4,
    frame,
    in_udp,
    padded,
    receive,
    room,
    sealed,
    send_one,
    tcp_segment,
)

from ipsecfast import SecurityAssociation
from ipsecfast.ndis import Checksum, NblBatch

INSIDE = ipv4(udp(b"inside", dport=9), proto=UDP)
DUMMY = 59


def tunnelled(sa: SecurityAssociation, inner: bytes = INSIDE, seq: int = 1) -> bytes:
    return frame(ipv4(sealed(sa, inner, IPIP, seq), proto=ESP))


@pytest.mark.parametrize(("encryption", "authentication", "provider"), SERVED)
@pytest.mark.parametrize("esn", [False, True])
def test_mode_that_is_off_is_untouched_on_receive(
    encryption: str, authentication: str, provider: str, esn: bool
) -> None:
    """Only the trailer tells ESP's mode: the packet is decrypted, and made what it was."""
    sa = keyed(encryption, authentication, esn=esn)
    transport, tunnel = [esp4(sa, bytes(range(n)), 253, n + 1) for n in (0, 7, 255)], tunnelled(sa, seq=1000)
    only_tunnel = receiver(sa, provider=provider, transport=False)
    assert_untouched(only_tunnel, *transport)
    (got,) = receive(only_tunnel, tunnel)
    assert got.word == DONE and padded(sa, INSIDE, IPIP) in got.frame
    assert receive(only_tunnel, *transport, tunnel)[-1].word == DONE
    only_transport = receiver(sa, provider=provider, tunnel=False)
    assert_untouched(only_transport, tunnel)
    assert [got.word for got in receive(only_transport, *transport)] == [DONE] * 3
    (handle,) = only_transport._by_handle
    assert only_transport.statistics(handle)[0].packets == 3


def test_mode_that_is_off_sets_no_word_at_all() -> None:
    """Nor checksums, nor SaDeleteReq: the NIC has done nothing."""
    made = receiver(GCM, (INNER, AH_SA), transport=False, checksum_receive_ipv4=Checksum())
    for handle in made._by_handle:
        made.request_deletion(handle)
    segment = tcp_segment(4, b"data")
    sent = [
        frame(ipv4(sealed(GCM, segment, 6), proto=ESP)),
        frame(ah_sealed(AH_SA, sealed(INNER, segment, 6), ESP)),
    ]
    batch = NblBatch.from_frames(sent)
    made.receive(batch)
    assert batch.frames.to_packets() == sent
    assert not batch.oob[1:].any() and batch.checksum.tolist() == [0x20] * 2
    (got,) = receive(receiver((INNER, AH_SA), transport=False), frame(ah_sealed(AH_SA, sealed(INNER, INSIDE, 4), ESP)))
    assert got.word == DONE


@pytest.mark.parametrize("esn", [False, True])
@pytest.mark.parametrize("off", ["transport", "tunnel"])
def test_mode_that_is_off_counts_nothing(off: str, esn: bool) -> None:
    """Neither packets, bytes, nor the highest number, of ESP and AH in front of it; what is served or fails does."""
    gcm, inner, ah = (replace(sa, esn=esn) for sa in (GCM, INNER, AH_SA))
    made = receiver(gcm, (inner, ah), **{off: False})
    handles = list(made._by_handle)

    def counters() -> list[Any]:
        return [one for handle in handles for one in made.statistics(handle)]

    def sent(mode: str, seq: int) -> list[bytes]:
        data, proto = (b"data", 253) if mode == "transport" else (INSIDE, IPIP)
        both = ah_sealed(ah, sealed(inner, data, proto, seq), ESP, seq)
        return [frame(ipv4(sealed(gcm, data, proto, seq), proto=ESP)), frame(both)]

    on = "tunnel" if off == "transport" else "transport"
    untouched = sent(off, 7000)
    before = counters()
    assert_untouched(made, *untouched)
    assert counters() == before
    served = sent(on, 5)
    for got in receive(made, *untouched, *served, *sent(off, 9000))[2:4]:
        assert got.word == DONE
    whole = [len(one) - 14 for one in (served[0], served[1], served[1])]
    assert [(one.packets, one.bytes, one.seq) for one in counters()] == [(1, n, 5) for n in whole]
    bad = frame(ah_sealed(ah, flipped(sealed(inner, INSIDE, IPIP, 6)), ESP, 6))
    assert receive(made, bad)[0].word == DONE | (5 if off == "transport" else 3) << 16
    assert [(one.packets, one.seq) for one in counters()] == [(1, 5), (1, 5), (2, 6)]


@pytest.mark.parametrize("options", [{}, {"tunnel": False}], ids=["all on", "tunnel off"])
def test_a_number_tells_of_the_next_span_at_once(options: dict[str, bool]) -> None:
    """Also where AH's count waits for the mode, in one batch."""
    ah = replace(AH_SA, esn=True, mode="transport")
    made = receiver(([INNER, ah], {}), **options)
    both = [
        frame(ah_sealed(ah, sealed(INNER, b"data", 253, k), ESP, seq))
        for k, seq in enumerate((0x80000000, 0xFFFFFFF0, (1 << 32) + 3), start=1)
    ]
    assert [got.word for one in (both[:1], both[1:]) for got in receive(made, *one)] == [DONE] * 3


def test_untouched_packets_tell_of_the_next_span_too() -> None:
    """Else a valid one far behind the wrap would be reported as forged."""
    sa = replace(GCM, esn=True)
    made = receiver(sa, transport=False)
    for seq in (0xFFFFFFF0, (1 << 32) + 5, (1 << 32) + 0x50000000):
        assert_untouched(made, esp4(sa, b"data", 253, seq))
    assert made.statistics(next(iter(made._by_handle)))[0].seq == 0


@pytest.mark.parametrize("off", ["transport", "tunnel"])
def test_mode_of_ah_that_is_off(off: str) -> None:
    sent = {"transport": frame(ah_sealed(AH_SA, b"data", 253)), "tunnel": frame(ah_sealed(AH_SA, INSIDE, IPIP))}
    made = receiver(AH_SA, **{off: False})
    assert_untouched(made, sent[off], flipped(sent[off]))
    assert receive(made, sent["tunnel" if off == "transport" else "transport"])[0].word == DONE


def test_mode_of_a_failed_packet_is_the_one_that_is_on() -> None:
    bad = flipped(esp4(GCM))
    assert receive(receiver(GCM, transport=False), bad) == [Received(DONE | 5 << 16, 0, bad)]
    assert receive(receiver((GCM, {"udp_esp": 0}), tunnel=False), bad) == [Received(DONE | 3 << 16, 0, bad)]


def test_mode_of_a_dummy_packet_is_either() -> None:
    for off in ("transport", "tunnel"):
        assert receive(receiver(GCM, **{off: False}), esp4(GCM, b"", DUMMY))[0].word == DONE


def test_transport_off_leaves_the_inner_layer() -> None:
    transport = ipv4(sealed(INNER, b"deep", 253), proto=ESP)
    (got,) = receive(receiver(TUNNEL, INNER, transport=False), tunnelled(TUNNEL, transport))
    assert got.word == DONE and transport in got.frame


def test_udp_esp_in_transport_mode_when_that_is_off() -> None:
    made = receiver((GCM, {"udp_esp": 3}), transport=False)
    assert_untouched(made, frame(ipv4(in_udp(sealed(GCM, b"data", 253)), proto=UDP)))
    assert receive(made, frame(ipv4(in_udp(sealed(GCM, INSIDE, IPIP)), proto=UDP)))[0].word == DONE


@pytest.mark.parametrize("off", ["transport", "tunnel"])
def test_mode_that_is_off_fails_on_send(off: str) -> None:
    made = nic(**{off: False})
    gcm, ah, both = outbound(made, GCM), outbound(made, AH_SA), outbound(made, INNER, replace(AH_SA, spi=0xA5A5))
    forms: dict[str, list[tuple[int, Any]]] = {}
    for mode, data, proto in (("transport", b"data", 253), ("tunnel", INSIDE, IPIP)):
        pair = ah_room(replace(AH_SA, spi=0xA5A5), room(INNER, data, proto), ESP)
        forms[mode] = [
            (gcm, esp_frame(GCM, data, proto)),
            (ah, frame(ipv4(ah_room(AH_SA, data, proto), proto=AH))),
            (both, frame(ipv4(pair, proto=AH))),
        ]
    for handle, one in forms.pop(off):
        assert refused(made, one, ipsec=handle)
    for handle, one in next(iter(forms.values())):
        assert send_one(made, one, handle=handle) is not None
    sent = send_one(made, esp_frame(GCM, b"", DUMMY, seq=9), handle=gcm)
    assert sent is not None and by_hand.payload_of(GCM, sent[34:]) == padded(GCM, b"", DUMMY)


# ---------------------------------------------------------------- protocols


@pytest.mark.parametrize("off", ["esp", "ah"])
def test_protocol_that_is_off_is_untouched_whoever_has_its_spi(off: str) -> None:
    """Step 5 of the contract's order comes before INVALID_PROTOCOL."""
    ah = replace(AH_SA, spi=GCM.spi)
    sent = {"esp": esp4(GCM), "ah": frame(ah_sealed(ah, b"data", 253))}
    holder = ah if off == "esp" else GCM
    made = receiver(holder, **{off: False})
    assert_untouched(made, sent[off])
    assert receive(made, sent["ah" if off == "esp" else "esp"])[0].word == DONE
    assert receive(receiver(holder), sent[off]) == [Received(DONE | 7 << 16, 0, sent[off])]


def test_inner_protocol_that_is_off_is_left() -> None:
    """Nor does its SA's SaDeleteReq show."""
    inner_ah = replace(AH_SA, spi=INNER.spi)
    transport = ah_sealed(inner_ah, b"data", 253)
    made = receiver(TUNNEL, INNER, ah=False)
    made.request_deletion(list(made._by_handle)[1])
    (got,) = receive(made, tunnelled(TUNNEL, transport))
    assert got.word == DONE and transport in got.frame
    made = receiver(TUNNEL, INNER)
    made.request_deletion(list(made._by_handle)[1])
    assert receive(made, tunnelled(TUNNEL, transport))[0].word == DONE | 4 | 7 << 16 | DELETE_REQ
