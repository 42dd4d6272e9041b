"""The NIC sends: what it refuses, and slot 12."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import H, ipv4, ipv6, keyed
from nic_cards import AH_SA, CBC, GCM, TUNNEL, esp_frame, opened, outbound, refused
from nic_cards import sender as nic
from nic_host import (
    AH,
    ESP,
    FAILURE,
    IPIP,
    SUCCESS,
    UDP,
    ah_room,
    frame,
    in_udp,
    ip,
    lists,
    room,
    send_one,
)

from ipsecfast.ndis.datapath import DatapathCapabilities

pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")


def test_unknown_handle_fails_and_nothing_is_transmitted() -> None:
    made = nic()
    handle = outbound(made, GCM)
    for bad in (handle + 1, handle + 1000, 1 << 63, (1 << 64) - 1, 0xFFFFFFFF):
        assert refused(made, esp_frame(GCM), ipsec=bad)
        assert refused(made, esp_frame(GCM), tunnel=bad)
        assert refused(made, esp_frame(GCM), ipsec=handle, tunnel=bad)
    made.delete(handle)
    assert refused(made, esp_frame(GCM), ipsec=handle)
    assert outbound(made, GCM) != handle


def test_a_list_takes_nothing_over_from_the_one_before() -> None:
    made = nic()
    inbound, handle = made.add_bundle("inbound", [TUNNEL]), outbound(made, GCM)
    plain, ready = frame(ipv4(b"plain", proto=253)), [esp_frame(GCM, seq=seq) for seq in range(1, 5)]
    batch = lists(
        [[ready[0]], [plain], [ready[1]], [plain], [ready[2]], [ready[3]], [plain]],
        ipsec=[inbound, 0, handle, 0, handle, handle, 0],
        tunnel=[0, 0, 0, 0, inbound, 0, 0],
    )
    result = made.send(batch)
    assert result.status.tolist() == [FAILURE, SUCCESS, SUCCESS, SUCCESS, FAILURE, SUCCESS, SUCCESS]
    sent = batch.frames.to_packets()
    assert [sent[i] for i in (0, 1, 3, 4, 6)] == [ready[0], plain, plain, ready[2], plain]
    assert all(opened(GCM, sent[i][34:])[:7] == b"payload" for i in (2, 5))


def test_inbound_handle_fails() -> None:
    made = nic()
    assert refused(made, esp_frame(GCM), ipsec=made.add_bundle("inbound", [GCM]))


def test_disabled_offload_never_leaks_plaintext() -> None:
    made = nic(send_ipv4=0, send_ipv6=0)
    assert refused(made, esp_frame(GCM), ipsec=outbound(made, GCM))
    assert refused(made, esp_frame(GCM), ipsec=99)
    assert send_one(made, frame(ipv4())) == frame(ipv4())


@pytest.mark.parametrize("off", [4, 6])
def test_a_family_switched_off_fails_its_sends_alone(off: int) -> None:
    made = nic(**{f"send_ipv{off}": 0})
    for version, sa in ((4, GCM), (6, replace(GCM, src="2001:db8::1", dst="2001:db8::2"))):
        for slot, one in (("handle", sa), ("tunnel", replace(sa, spi=0x7777))):
            packet = frame(ip(version, room(one, b"data", 253), ESP))
            assert (send_one(made, packet, **{slot: outbound(made, one)}) is None) == (version == off)
    # an IPv4 SA for an IPv6 frame, and the other way round, don't get around it
    cross = outbound(made, replace(GCM, spi=0x99, src=None, dst=None), ipv6=off == 4)
    assert refused(made, frame(ip(off, room(replace(GCM, spi=0x99), b"data", 253), ESP)), ipsec=cross)


def test_plaintext_without_offload_is_an_option() -> None:
    made = nic({"plaintext_without_offload": True}, send_ipv4=0, send_ipv6=0)
    before = esp_frame(GCM)
    assert send_one(made, before, handle=outbound(made, GCM)) == before


def test_lost_algorithms_or_esn_stop_the_sas_that_need_them() -> None:
    esn = replace(GCM, spi=0xE5, esn=True)
    gmac = keyed("AES-GMAC-128", spi=0x6AC)
    made = nic()
    sas = {"gcm": GCM, "cbc": CBC, "esn": esn, "gmac": gmac}
    handles = {name: outbound(made, sa) for name, sa in sas.items()}
    ah = outbound(made, AH_SA)

    def sent(seq: int) -> set[str]:
        return {
            name for name, sa in sas.items() if send_one(made, esp_frame(sa, seq=seq), handle=handles[name]) is not None
        }

    every = frozenset({"NULL", "AES-GCM-128", "AES-CBC-128", "HMAC-SHA1-96", "AES-GMAC-128"})
    gone = {"esn": {"esn"}, "AES-GCM-128": {"gcm", "esn"}, "HMAC-SHA1-96": {"cbc"}, "AES-CBC-128": {"cbc"}}
    gone |= {"NULL": {"gmac"}, "AES-GMAC-128": {"gmac"}}
    for seq, (what, lost) in enumerate(gone.items(), 1):
        made.configure(DatapathCapabilities(esn=what != "esn", algorithms=every - {what}))
        assert sent(2 * seq) == set(sas) - lost
        packet = frame(ip(4, ah_room(AH_SA, b"x", 253, seq), AH))
        assert (send_one(made, packet, handle=ah) is None) == (what == "HMAC-SHA1-96")
        made.configure(DatapathCapabilities())
        assert sent(2 * seq + 1) == set(sas)


@pytest.mark.parametrize("gone", ["esp", "ipv6"])
def test_capability_switched_off_fails_sends(gone: str) -> None:
    sa = replace(GCM, src="2001:db8::1", dst="2001:db8::2")
    before = frame(ipv6(room(sa, b"x", 253), proto=ESP))
    made = nic(**{gone: False})
    handle = outbound(made, sa)
    assert refused(made, before, ipsec=handle)
    made.configure(DatapathCapabilities())
    assert send_one(made, before, handle=handle) is not None


def test_wrong_spi_fails() -> None:
    made = nic()
    assert refused(made, esp_frame(replace(GCM, spi=0x9999)), ipsec=outbound(made, GCM))


def test_wrong_layers_fail() -> None:
    made = nic()
    gcm, tunnel, ah = outbound(made, GCM), outbound(made, TUNNEL), outbound(made, AH_SA)
    both = nic()
    pair = outbound(both, GCM, AH_SA)
    assert refused(made, frame(ipv4(b"no esp", proto=253)), ipsec=gcm)
    assert refused(made, b"\0" * 20, ipsec=gcm)
    assert refused(made, esp_frame(GCM), ipsec=gcm, tunnel=tunnel)
    assert refused(made, esp_frame(TUNNEL, ipv4(b"x")), ipsec=gcm, tunnel=tunnel)
    assert refused(made, esp_frame(GCM), ipsec=ah)
    assert refused(made, frame(ipv4(ah_room(AH_SA, b"data", 253), proto=AH)), ipsec=gcm)
    assert refused(both, esp_frame(GCM), ipsec=pair)
    assert refused(both, frame(ipv4(ah_room(AH_SA, b"data", 253), proto=AH)), ipsec=pair)
    assert refused(made, esp_frame(GCM), ipsec=gcm, tunnel=gcm)
    assert refused(made, frame(ipv4(in_udp(room(GCM, b"x", 253)), proto=UDP)), ipsec=gcm)


def test_transport_over_tunnel_needs_the_capability() -> None:
    made = nic(transport_tunnel_combined=False)
    handles = {"ipsec": outbound(made, CBC), "tunnel": outbound(made, TUNNEL)}
    assert refused(made, esp_frame(TUNNEL, ipv4(room(CBC, b"deep", 253), proto=ESP), IPIP), **handles)


def test_fragments_options_and_extension_headers() -> None:
    made = nic(ipv4_options=False, ipv6_extension_headers=False)
    handle = outbound(made, GCM)
    esp = room(GCM, b"x", 253)
    assert refused(made, frame(ipv4(esp, proto=ESP, flags=0x2000)), ipsec=handle)
    assert refused(made, frame(ipv4(esp, proto=ESP, options=H("01010101"))), ipsec=handle)
    assert refused(made, frame(ipv6(esp, proto=0, headers=H("3200050200000100"))), ipsec=handle)
    willing = nic()
    handle = outbound(willing, GCM)
    assert send_one(willing, frame(ipv4(esp, proto=ESP, options=H("01010101"))), handle=handle) is not None
    assert refused(willing, frame(ipv4(esp, proto=ESP, flags=0x2000)), ipsec=handle)


def test_lengths_that_do_not_fit_fail() -> None:
    made = nic()
    gcm, cbc = outbound(made, GCM), outbound(made, CBC)
    whole = esp_frame(GCM)
    assert refused(made, whole[:-1], ipsec=gcm)
    assert refused(made, frame(ipv4(room(CBC, b"x", 253)[:-3], proto=ESP)), ipsec=cbc)
    assert refused(made, frame(ipv4(room(GCM, b"x", 253)[:20], proto=ESP)), ipsec=gcm)
    assert refused(made, frame(ipv4(room(GCM, b"", 253)[:-18] + b"\x77\xfd" + bytes(16), proto=ESP)), ipsec=gcm)


def test_unadvertised_encapsulation_fails() -> None:
    made = nic(send_ipv4=0x2)
    handle = outbound(made, GCM)
    tagged = frame(ipv4(room(GCM, b"x", 253), proto=ESP), tag=H("81000005"))
    assert refused(made, tagged, ipsec=handle)
    assert send_one(nic(), tagged) == tagged


def test_one_bad_frame_fails_its_whole_list() -> None:
    made = nic()
    handle = outbound(made, GCM)
    good = [esp_frame(GCM, seq=seq) for seq in range(1, 6)]
    bad = esp_frame(replace(GCM, spi=1))
    batch = lists([good[:2], [good[2], bad], good[3:]], ipsec=handle)
    result = made.send(batch)
    assert result.status.tolist() == [SUCCESS, FAILURE, SUCCESS] and result.ok == 2
    assert result.nbl.tolist() == [0, 0, 2, 2] and len(result.transmitted) == 4
    assert [bytes(one) for one in batch[1].net_buffers] == [good[2], bad]
    # its numbers were not used
    assert send_one(made, good[2], handle=handle) is not None


# ---------------------------------------------------------------- slot 12


def test_header_word_is_checked_for_a_single_frame() -> None:
    made = nic()
    handle = outbound(made, GCM)
    one = esp_frame(GCM, b"payload")  # padding of 3
    assert refused(made, one, ipsec=handle, header=253 | 2 << 8)
    assert refused(made, one, ipsec=handle, header=6 | 3 << 8)
    assert send_one(made, one, handle=handle, header=253 | 3 << 8) is not None
    batch = lists([[esp_frame(GCM, seq=2), esp_frame(GCM, seq=3)]], ipsec=handle, header=6 | 9 << 8)
    assert made.send(batch).ok == 1


@pytest.mark.parametrize("strict", [False, True])
def test_strict_offsets(strict: bool) -> None:
    made = nic({"strict_offsets": strict})
    handle, udp_handle = outbound(made, GCM), outbound(made, TUNNEL, udp_esp=1)
    word = 253 | 3 << 8
    off = nic({"strict_offsets": strict})
    sent = send_one(off, esp_frame(GCM), handle=outbound(off, GCM), header=word | 6 << 24)
    assert (sent is None) == strict
    assert send_one(made, esp_frame(GCM, seq=7), handle=handle, header=word | 5 << 24) is not None
    in_datagram = frame(ipv4(in_udp(room(TUNNEL, b"payload", 253)), proto=UDP))
    assert send_one(made, in_datagram, handle=udp_handle, header=word | 7 << 24) is not None
    ah = nic({"strict_offsets": strict})
    both = frame(ipv4(ah_room(AH_SA, room(GCM, b"payload", 253), ESP), proto=AH))
    pair = outbound(ah, GCM, AH_SA)
    assert send_one(ah, both, handle=pair, header=word | 5 << 16 | 11 << 24) is not None
