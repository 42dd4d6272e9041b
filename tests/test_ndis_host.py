"""Host and card together are a whole IPsec stack: checked against the kernel's captures, scapy, and each other."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vector_files
from helpers import OK, REPLAYED, captures, frames_of, ipv4, ipv6, keyed, udp
from nic_host import NATIVE, l4_sum, scapy_opens, tcp_segment
from nic_oids import small

from ipsecfast import IpsecError, PacketStatus, SADFullError, SecurityAssociation
from ipsecfast.ndis import DatapathOptions, Host, HostSa, Lso, Miniport, NdisError, Options, profile
from ipsecfast.ndis.host_frames import ethernet

TAG = b"\x81\x00\x00\x05"
MODES = ("transport", "tunnel")


def card(ndis: str = "6.30", name: str = "full", hardware: Any = None, **fields: Any) -> Miniport:
    made = Miniport(hardware or profile(name), ndis=ndis, **fields)
    made.initialize()
    made.restart()
    return made


def stack(ndis: str = "6.30", name: str = "full", **fields: Any) -> Host:
    host = Host(card(ndis, name, **fields))
    host.set_encapsulation()
    return host


def both(ndis: str, *sas: SecurityAssociation, seq: int = 0, **fields: Any) -> tuple[Host, HostSa, Host, HostSa]:
    """A sender and a receiver with one bundle between them."""
    sender, receiver = stack(ndis, **fields), stack(ndis, **fields)
    return sender, sender.add("outbound", *sas, seq=seq), receiver, receiver.add("inbound", *sas, seq=seq)


# ---------------------------------------------------------------- captures


@pytest.mark.parametrize("provider", NATIVE)
@pytest.mark.parametrize("folder", captures())
def test_capture_through_card_and_host(folder: Path, provider: str) -> None:
    """Right words, right inner packets; what the card or IPsecOV2 can't do comes out as it came in."""
    keys = json.loads((folder / "keys.json").read_text())
    expected = json.loads((folder / "expected.json").read_text())
    host = stack(provider=provider)
    offloaded, refused = set(), set()
    for key in keys:
        sa = SecurityAssociation.from_dict(key)
        try:
            host.add("inbound", sa, seq=key["seq"])
            offloaded.add(sa.spi)
        except ValueError:  # IPsecOV2 has no such algorithm
            refused.add(sa.spi)
        except NdisError as error:  # this library has none
            assert error.status == 0xC00000BB
            refused.add(sa.spi)
    wire, plain = frames_of(folder / "wire.pcap"), frames_of(folder / "plain.pcap")
    got = host.receive(wire)
    for record in expected["packets"]:
        one, before = got[record["frame"]], wire[record["frame"]]
        (layer,) = record["layers"]
        natt_back = record["kind"] == "udp-esp" and before[14 + 22 : 14 + 24] != struct.pack(">H", 4500)
        if len(record["frames"]) > 1 or int(layer["spi"], 16) in refused or natt_back:
            untouched = {PacketStatus.NO_SA, PacketStatus.FRAGMENT, PacketStatus.NOT_IPSEC}
            assert all(got[i].status in untouched and got[i].packet == wire[i][14:] for i in record["frames"])
            assert all((got[i].word, got[i].header) == (0, 0) for i in record["frames"])
            continue
        assert one.word == 2
        esp = layer["protocol"] == "esp"
        assert one.header == (layer["next_header"] | layer["pad_len"] << 8 | 1 << 16 if esp else 0)
        if record.get("dropped"):
            assert one.status is REPLAYED
        else:
            assert one.status is OK and hashlib.sha256(one.packet).hexdigest() == record["sha256"]
            assert record.get("plain_equal") != "exact" or one.packet == plain[record["plain"]]
    for other in expected["other_frames"]:
        assert got[other["frame"]].word == 0
    assert offloaded or refused


EXPECTED = {"ok": OK, "auth_failed": PacketStatus.AUTH_FAILED, "malformed": PacketStatus.MALFORMED}


@pytest.mark.parametrize("provider", NATIVE)
@pytest.mark.parametrize("vectors", vector_files.files("packet", wanted=lambda v: v["expect"] in EXPECTED))
def test_published_packets_through_card_and_host(vectors: list[Any], provider: str) -> None:
    """Each by itself; what IPsecOV2 or the library has no algorithm for is left out."""
    done = 0
    for v in (v for v in vectors if vector_files.inbound(v)):
        literal = DatapathOptions(esn="literal")  # some have the wrong high half at a wrap, where it would be inferred
        host = stack(provider=provider, options=Options(unauthenticated_esp=True), datapath_options=literal)
        layers = vector_files.layers(v)
        try:
            if [sa.protocol for sa, _ in layers] == ["ah", "esp"]:
                (ah, ah_seq), (esp, esp_seq) = layers
                host.add("inbound", esp, ah, seq=[esp_seq, ah_seq])
            else:
                for sa, seq in layers:
                    host.add("inbound", sa, seq=seq)
        except (ValueError, NdisError):
            continue
        packet = bytes.fromhex(v["protected"])
        version = 6 if packet[0] >> 4 == 6 else 4
        (got,) = host.receive([ethernet(bytes(6), bytes(6), version) + packet])
        if not got.word:  # not whole: left to software
            assert v["expect"] == "malformed" and got.packet == packet
            continue
        done += 1
        if v["expect"] == "ok":
            assert (got.status, got.packet.hex()) == (OK, v["plain"]), v["id"]
        else:
            assert got.status is not OK, v["id"]
    if not done:
        pytest.skip("none of these packets is for IPsecOV2")


# ---------------------------------------------------------------- A to B


SUITES = [
    ("AES-GCM-128", "NONE"),
    ("AES-GCM-256", "NONE"),
    ("AES-GMAC-192", "NONE"),
    ("AES-CBC-256", "HMAC-SHA256-128"),
    ("3DES-CBC", "HMAC-MD5-96"),
    ("NULL", "HMAC-SHA1-96"),
]


@pytest.mark.parametrize("ndis", ["6.1", "6.20", "6.30", "6.89"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [4, 6])
def test_send_on_nic_a_is_receive_on_nic_b(ndis: str, mode: Any, version: int) -> None:
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
    make = ipv6 if version == 6 else ipv4
    packets = [make(udp(bytes(range(n)), dport=9), proto=17) for n in (0, 1, 7, 64, 255, 255, 255)]
    for encryption, authentication in SUITES:
        sa = keyed(encryption, authentication, mode=mode, esn=True, **ends)
        sender, out, receiver, _ = both(ndis, sa, seq=7 << 32 | 5)
        sent = sender.send(packets, out)
        assert not sent.status.any() and len(sent.frames) == len(packets)
        assert scapy_opens(replace(sa, mode="transport"), sent.frames[3][14:], 7)[-64:] == bytes(range(64))
        got = receiver.receive(sent.frames)
        assert [(g.status, g.packet, g.word) for g in got] == [(OK, packet, 2) for packet in packets]
        again = receiver.receive(sent.frames)
        assert {(g.status, g.word) for g in again} == {(REPLAYED, 2)}


def test_ah_esp_and_both_and_transport_over_tunnel() -> None:
    esp, ah = keyed("AES-GCM-128", mode="transport"), keyed("NULL", "HMAC-SHA256-128", protocol="ah", mode="transport")
    tunnel = keyed("AES-CBC-128", "HMAC-SHA1-96", mode="tunnel", spi=0x7000, src="198.51.100.1", dst="198.51.100.2")
    packets = [ipv4(bytes(n)) for n in (9, 10, 11)]
    for sas in (
        [ah],
        [esp, ah],
        [replace(esp, mode="tunnel"), replace(ah, mode="tunnel")],
        [replace(ah, mode="tunnel")],
    ):
        sender, out, receiver, _ = both("6.30", *sas)
        got = receiver.receive(sender.send(packets, out).frames)
        assert [(g.status, g.packet) for g in got] == [(OK, p) for p in packets]
    sender, receiver = stack(), stack()
    outer, inner = sender.add("outbound", tunnel), sender.add("outbound", esp)
    receiver.add("inbound", tunnel)
    receiver.add("inbound", esp)
    got = receiver.receive(sender.send(packets, inner, tunnel=outer).frames)
    assert [(g.status, g.packet, g.word, g.header) for g in got] == [(OK, p, 6, 0) for p in packets]


@pytest.mark.parametrize("why", ["replayed", "unknown"])
def test_outer_number_counts_when_the_inner_layer_is_refused(why: str) -> None:
    esp = keyed("AES-GCM-128", mode="transport")
    tunnel = keyed("AES-CBC-128", "HMAC-SHA1-96", mode="tunnel", spi=0x7000, src="198.51.100.1", dst="198.51.100.2")
    sender, receiver = stack(), stack()
    outer, inner = sender.add("outbound", tunnel), sender.add("outbound", esp)
    seen, known = receiver.add("inbound", tunnel), receiver.add("inbound", esp)
    if why == "replayed":
        known.windows[0].mark(1)
    else:
        receiver._inbound.pop(("esp", esp.spi))
    frames = sender.send([ipv4(b"once")], inner, tunnel=outer).frames
    (first,), (again,) = (receiver.receive(frames) for _ in range(2))
    assert first.word == again.word == 6
    assert again.status is REPLAYED and seen.windows[0].top == 1
    # what is left the second time is the whole packet: it was the outer number that was refused
    assert len(again.packet) == len(frames[0]) - 14


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [4, 6])
def test_udp_esp(mode: Any, version: int) -> None:
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
    sa = keyed("AES-GCM-128", mode=mode, udp_encap=(4500, 4500), **ends)
    sender, out, receiver, _ = both("6.30", sa)
    packets = [(ipv6 if version == 6 else ipv4)(b"natted", proto=253)] * 3
    got = receiver.receive(sender.send(packets, out).frames)
    assert [(g.status, g.packet) for g in got] == [(OK, p) for p in packets]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("form", [4, 8])
def test_udp_esp_of_a_transport_layer_in_a_tunnel(form: int, version: int) -> None:
    """UDP around the tunnel, or around the transport layer inside it, from host to host over two cards."""
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
    outer = (
        {"src": "2001:db8::1:1", "dst": "2001:db8::1:2"} if version == 6 else {"src": "192.0.2.7", "dst": "192.0.2.8"}
    )
    in_udp = {"udp_encap": (4500, 4500)}
    esp = keyed("AES-CBC-128", "HMAC-SHA1-96", mode="transport", **ends, **(in_udp if form == 8 else {}))
    tunnel = keyed("AES-GCM-128", mode="tunnel", spi=0x7000, **outer, **(in_udp if form == 4 else {}))
    sender, receiver = stack(), stack()
    out_tunnel, out = (sender.add("outbound", sa, udp_esp=form) for sa in (tunnel, esp))
    for sa in (tunnel, esp):
        receiver.add("inbound", sa, udp_esp=form)
    packets = [(ipv6 if version == 6 else ipv4)(udp(bytes(n), dport=9), proto=17) for n in (0, 9, 600)]
    sent = sender.send(packets, out, tunnel=out_tunnel)
    assert not sent.status.any()
    at = 14 + (40 if version == 6 else 20)
    assert {one[20 if version == 6 else 23] for one in sent.frames} == {17 if form == 4 else 50}
    assert form == 8 or all(one[at + 2 : at + 4] == b"\x11\x94" for one in sent.frames)
    got = receiver.receive(sent.frames)
    assert [(g.status, g.packet, g.word) for g in got] == [(OK, packet, 6) for packet in packets]
    assert {g.status for g in receiver.receive(sent.frames)} == {REPLAYED}
    # a card that does not report the form leaves its inner or its outer layer alone
    other = stack(hardware=small(8, udp_esp=0xF & ~form))
    with pytest.raises(NdisError, match="NOT_SUPPORTED"):
        other.add("inbound", tunnel, udp_esp=form)
    bad = [one[:-30] + bytes([one[-30] ^ 1]) + one[-29:] for one in sent.frames]
    assert {g.status for g in receiver.receive(bad)} == {PacketStatus.AUTH_FAILED}


def test_host_keeps_to_the_limits_of_large_sends() -> None:
    full = profile("full")
    made = stack(hardware=replace(full, lso_v2_ipv4=Lso(max_size=5000, min_segments=3)))
    out = made.add("outbound", keyed("AES-GCM-128", mode="transport"))
    for size, mss in ((5001, 1000), (2000, 1000), (10, 1000)):
        with pytest.raises(ValueError, match="wanted at most 5000 bytes and 3 segments or more"):
            made.send_large(ipv4(tcp_segment(4, bytes(size)), proto=6), out, mss)
    assert out.numbers == [0]
    assert len(made.send_large(ipv4(tcp_segment(4, bytes(5000)), proto=6), out, 1000).frames) == 5


def test_checksum_results_reach_the_host() -> None:
    sa = keyed("AES-GCM-128", mode="tunnel")
    sender, out, receiver, _ = both("6.30", sa)
    packets = [ipv4(tcp_segment(4, b"sum", seed_len=True), proto=6), ipv4(udp(b"none", dport=9), proto=17)]
    (seeded, plain) = receiver.receive(sender.send(packets, out).frames)
    assert (seeded.checksum, plain.checksum) == (0x20 | 0x01, 0x20)
    whole = (
        packets[0][:36]
        + l4_sum(4, 6, packets[0][20:36] + b"\0\0" + packets[0][38:]).to_bytes(2, "big")
        + packets[0][38:]
    )
    (got,) = receiver.receive(sender.send([whole], out).frames)
    assert (got.status, got.packet, got.checksum) == (OK, whole, 0x20 | 0x08)


@pytest.mark.parametrize("version", [4, 6])
def test_large_send_arrives_as_one_stream(version: int) -> None:
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
    sa = keyed("AES-GCM-128", mode="transport", esn=True, **ends)
    sender, out, receiver, _ = both("6.30", sa, seq=(1 << 32) - 20)
    stream = bytes(i * i >> 3 & 0xFF for i in range(60000))
    packet = (ipv6 if version == 6 else ipv4)(tcp_segment(version, stream), proto=6)
    sent = sender.send_large(packet, out, mss=1400)
    got = receiver.receive(sent.frames)
    assert sent.status.tolist() == [0] and {g.status for g in got} == {OK} and len(got) == 43
    assert b"".join(g.packet[(40 if version == 6 else 20) + 20 :] for g in got) == stream
    assert out.seq_hi == [1] and out.numbers == [(1 << 32) + 23]


def test_equal_packets_are_built_as_one_by_one() -> None:
    """The vectorised builder and the plain one make the same frames."""
    sa = keyed("AES-GCM-128", mode="transport")
    packets = [ipv4(bytes([i]) * 100, proto=17) for i in range(5)]
    frames = []
    for runs in ([packets], [[p] for p in packets]):
        host = stack(datapath_options=None)
        out = host.add("outbound", sa)
        made = [host._at_once(run, [out]) or host._one_by_one(run, [out]) for run in runs]
        frames.append([f for batch, _ in made for f in batch.frames.to_packets()])
        assert {int(w) for _, words in made for w in ([words] if isinstance(words, int) else words)} == {
            17 | 2 << 8 | 5 << 24
        }
    assert frames[0] == frames[1]


# ---------------------------------------------------------------- numbers, room, configuration


def test_update_sa_is_sent_when_the_number_wraps() -> None:
    sa = keyed("AES-GCM-128", mode="transport", esn=True)
    sender, out, receiver, inbound = both("6.20", sa, seq=(1 << 32) - 4)
    packets = [ipv4(bytes([n])) for n in range(8)]
    sent = sender.send(packets, out)
    assert not sent.status.any() and out.seq_hi == [1]
    got = receiver.receive(sent.frames)
    assert [(g.status, g.packet) for g in got] == [(OK, p) for p in packets]
    assert inbound.seq_hi == [1] and inbound.windows[0].top == (1 << 32) + 4


def test_last_number_is_not_passed() -> None:
    sa = keyed("AES-GCM-128", mode="transport")
    host = stack()
    out = host.add("outbound", sa, seq=(1 << 32) - 2)
    assert not host.send([ipv4()], out).status.any()
    with pytest.raises(IpsecError, match="last sequence number"):
        host.send([ipv4()], out)


def test_host_counts_capacity() -> None:
    host = stack(name="windows-certified")
    assert host.capacity == 1024
    host.offload.IPsecV2.SaOffloadCapacity = 2
    for i in range(2):
        host.add("inbound", keyed("AES-GCM-128", spi=300 + i))
    with pytest.raises(SADFullError, match="takes 2 bundles"):
        host.add("inbound", keyed("AES-GCM-128", spi=999))


def test_host_follows_status_indications_and_copes_with_pending() -> None:
    host = stack(options=Options(direct_oids="pending"))
    assert host.offload.IPsecV2.Ah
    host.set_parameters(IPsecV2=3)
    assert not host.offload.IPsecV2.Ah and host.offload.IPsecV2.Esp
    made = host.add("inbound", keyed("AES-GCM-128"))
    with pytest.raises(NdisError, match="NOT_SUPPORTED"):
        host.add("inbound", keyed("NULL", "HMAC-SHA1-96", protocol="ah"))
    host.delete(made)
    assert not host.sas and not len(host.miniport.datapath)
    host.close()


def test_one_list_where_there_are_lists() -> None:
    for ndis in ("6.20", "6.30"):
        host = stack(ndis)
        made = host.add_all("outbound", [[keyed("AES-GCM-128", spi=300 + i)] for i in range(9)])
        assert len({one.handle for one in made}) == 9 and len(host.miniport.memory) == len(stack(ndis).miniport.memory)
        host.close()
        assert not len(host.miniport.datapath)
