"""The NIC receives: results of checksums in slot 0, of plain frames and of what it has decrypted.

Judge: scapy makes the packets, whose checksums are then right or spoilt.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import H, ipv4, ipv6, keyed, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from nic_cards import AH_SA, GCM, INNER, TUNNEL, flipped, receiver
from nic_host import ESP, IPIP, UDP, ah_sealed, frame, in_udp, ip, l4_sum, padded, sealed
from readers import scapy_ipsec

from ipsecfast import PacketBatch, SecurityAssociation
from ipsecfast.ndis import NDIS_TCP_IP_CHECKSUM_NET_BUFFER_LIST_INFO, Checksum, Datapath, NblBatch

ON = {"checksum_receive_ipv4": Checksum(), "checksum_receive_ipv6": Checksum()}
TCP_FAILED, UDP_FAILED, IP_FAILED, TCP_GOOD, UDP_GOOD, IP_GOOD = (1 << i for i in range(6))
ENDS6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}
DATA = bytes(range(77))


def nic(*bundles: Any, **caps: Any) -> Datapath:
    return receiver(*bundles, **{**ON, **caps})


def results(made: Datapath, *frames: bytes, medium: Any = "ethernet") -> list[int]:
    """Slot 0 of each frame; with checksums off all else is the same."""
    batch = NblBatch.from_frames(frames, medium)
    batch.oob[:] = 0xDEADBEEFDEADBEEF
    made.receive(batch)
    assert not batch.oob[[2, 3]].any()
    return [int(word) for word in batch.checksum]


def scapy_packet(version: int, proto: int, options: bool = False, data: bytes = DATA) -> bytes:
    """TCP or UDP between the two ends, all checksums scapy's."""
    scapy_ipsec()
    inet, inet6 = (importlib.import_module(f"scapy.layers.{name}") for name in ("inet", "inet6"))
    front = inet.IP(src="192.0.2.1", dst="192.0.2.2") if version == 4 else inet6.IPv6(**ENDS6)
    tcp = inet.TCP(sport=1000, dport=80, flags="A", options=[("MSS", 1400)] if options else [])
    return bytes(front / (tcp if proto == 6 else inet.UDP(sport=1000, dport=80)) / data)


def header_of(version: int) -> int:
    return 20 if version == 4 else 40


def good(version: int, proto: int) -> int:
    return (IP_GOOD if version == 4 else 0) | (TCP_GOOD if proto == 6 else UDP_GOOD)


def bad(version: int, proto: int) -> int:
    return (IP_GOOD if version == 4 else 0) | (TCP_FAILED if proto == 6 else UDP_FAILED)


@pytest.mark.parametrize("proto", [6, 17])
@pytest.mark.parametrize("version", [4, 6])
def test_receive_checksums_of_plain_frames(version: int, proto: int) -> None:
    made = nic()
    one = frame(scapy_packet(version, proto))
    assert l4_sum(version, proto, one[14 + header_of(version) :]) == 0
    for at in range(14 + header_of(version), len(one)):
        if at not in (14 + header_of(version) + 4, 14 + header_of(version) + 5) or proto == 6:  # UDP's length
            (word,) = results(made, flipped(one, at))
            # TCP's data offset may become one that is none
            assert word == bad(version, proto) or (proto == 6 and at == 14 + header_of(version) + 12)
    odd = frame(scapy_packet(version, proto, data=DATA[:-2]))
    assert results(made, one, one + bytes(9), odd) == [good(version, proto)] * 3
    assert results(made, one[14:], medium="null") == [good(version, proto)]
    assert results(receiver(), one) == [0]


def test_receive_checksums_by_name() -> None:
    """The bits are where the structure has them."""
    names = ("TcpChecksum", "UdpChecksum", "IpChecksum")
    one = scapy_packet(4, 6)
    batch = NblBatch.from_frames([frame(one), frame(flipped(one)), frame(flipped(scapy_packet(4, 17), 8))])
    nic().receive(batch)
    for i, (failed, succeeded) in enumerate((((0, 0, 0), (1, 0, 1)), ((1, 0, 0), (0, 0, 1)), ((0, 0, 1), (0, 1, 0)))):
        structure = NDIS_TCP_IP_CHECKSUM_NET_BUFFER_LIST_INFO.from_bytes(batch.checksum[i : i + 1].tobytes())
        for view in (batch[i], structure.Receive):
            assert tuple(getattr(view, f"{name}Failed") for name in names) == failed
            assert tuple(getattr(view, f"{name}Succeeded") for name in names) == succeeded


def test_receive_checksum_of_the_ip_header() -> None:
    made = nic()
    one = frame(scapy_packet(4, 6))
    for at in range(15, 34):
        (word,) = results(made, flipped(one, at))
        assert word & (IP_FAILED | IP_GOOD) == IP_FAILED or (at in (16, 17) and word in (0, IP_FAILED))
    assert results(made, frame(ipv4(b"no port", proto=253))) == [IP_GOOD]
    assert results(made, frame(ipv6(b"no port", proto=253)), b"", b"\0" * 60) == [0, 0, 0]


WAYS = ("transport", "tunnel", "ah", "ah tunnel", "ah and esp", "over tunnel", "udp-esp", "udp-esp tunnel")


def wrapped(way: str, packet: bytes) -> tuple[bytes, list[Any]]:
    """A packet as a peer sends it through SAs, and the bundles that open it."""
    version = packet[0] >> 4
    at, ends = header_of(version), ENDS6 if version == 6 else {}
    gcm, tunnel, ah, inner = (replace(sa, **ends) for sa in (GCM, TUNNEL, AH_SA, INNER))
    proto, behind, ipip = packet[9 if version == 4 else 6], packet[at:], IPIP if version == 4 else 41
    if way == "transport":
        return ip(version, sealed(gcm, behind, proto), ESP), [gcm]
    if way == "tunnel":
        return ip(version, sealed(tunnel, packet, ipip), ESP), [tunnel]
    if way == "ah":
        return ah_sealed(ah, behind, proto, version=version), [ah]
    if way == "ah tunnel":
        return ah_sealed(ah, packet, ipip, version=version), [ah]
    if way == "ah and esp":
        return ah_sealed(ah, sealed(gcm, behind, proto), ESP, version=version), [[gcm, ah]]
    if way == "over tunnel":
        transport = ip(version, sealed(inner, behind, proto), ESP)
        return ip(version, sealed(tunnel, transport, ipip), ESP), [tunnel, inner]
    if way == "udp-esp":
        return ip(version, in_udp(sealed(gcm, behind, proto)), UDP), [(gcm, {"udp_esp": 1})]
    return ip(version, in_udp(sealed(tunnel, packet, ipip)), UDP), [(tunnel, {"udp_esp": 2})]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("proto", [6, 17])
@pytest.mark.parametrize("version", [4, 6])
def test_receive_checksums_after_decryption(version: int, proto: int, way: str) -> None:
    packet = scapy_packet(version, proto)
    for one, word in ((packet, good(version, proto)), (flipped(packet), bad(version, proto))):
        if way == "udp-esp" and one is not packet:
            word &= IP_GOOD  # a NAT may have changed the addresses: nothing is said of what does not fit
        secured, bundles = wrapped(way, one)
        made = nic(*bundles)
        batch = NblBatch.from_frames([frame(secured)])
        assert made.receive(batch).word[0] in (2, 6) and batch.checksum.tolist() == [word]
        # without the coexistence flags there is IP's alone
        off = {"tcp_coexistence": False} if proto == 6 else {"udp_coexistence": False}
        assert results(nic(*bundles, **off), frame(secured)) == [word & (IP_GOOD | IP_FAILED)]
        assert results(receiver(*bundles), frame(secured)) == [0]


def test_receive_checksums_of_what_stays_encrypted_are_ips_alone() -> None:
    segment = scapy_packet(4, 6)[20:]
    esp, made = sealed(GCM, segment, 6), nic(GCM, AH_SA)
    unknown = ipv4(sealed(replace(GCM, spi=0x99), segment, 6), proto=ESP)
    no_ah = ah_sealed(replace(AH_SA, spi=0x99), segment, 6)
    other_esp = ah_sealed(AH_SA, sealed(INNER, segment, 6), ESP)
    frames = [unknown, flipped(ipv4(esp, proto=ESP)), flipped(ah_sealed(AH_SA, segment, 6)), no_ah, other_esp]
    assert results(made, *map(frame, frames)) == [IP_GOOD] * 5
    # an inner layer that fails, or that is nobody's
    for inner in (flipped(ipv4(sealed(INNER, segment, 6), proto=ESP)), unknown):
        assert results(nic(TUNNEL, INNER), frame(ipv4(sealed(TUNNEL, inner, IPIP), proto=ESP))) == [IP_GOOD]
    # in UDP and left alone it is a datagram like others: without a checksum, or with one
    alone = ipv4(in_udp(esp), proto=UDP)
    datagram = alone[20:26] + l4_sum(4, UDP, alone[20:]).to_bytes(2, "big") + alone[28:]
    assert results(made, frame(alone), frame(ipv4(datagram, proto=UDP))) == [IP_GOOD, IP_GOOD | UDP_GOOD]


def test_receive_checksum_counts_both_ip_headers_of_a_tunnel() -> None:
    packet, made = scapy_packet(4, 17), nic(TUNNEL, INNER)
    wrong = flipped(packet, 8)  # its TTL
    for inner, word in ((packet, IP_GOOD), (wrong, IP_FAILED)):
        one = ipv4(sealed(TUNNEL, inner, IPIP), proto=ESP)
        assert results(made, frame(one), frame(flipped(one, 8))) == [word | UDP_GOOD, IP_FAILED | UDP_GOOD]
    transport = flipped(ipv4(sealed(INNER, packet[20:], 17), proto=ESP), 8)
    assert results(made, frame(ipv4(sealed(TUNNEL, transport, IPIP), proto=ESP))) == [IP_FAILED | UDP_GOOD]
    six = replace(TUNNEL, **ENDS6)
    assert results(nic(six), frame(ipv6(sealed(six, wrong, IPIP), proto=ESP))) == [IP_FAILED | UDP_GOOD]
    fragment = ipv4(packet[20:], proto=17, flags=0x2000)
    assert results(made, frame(ipv4(sealed(TUNNEL, fragment, IPIP), proto=ESP))) == [IP_GOOD]


def test_receive_checksums_as_far_as_they_are_on() -> None:
    tcp, datagram = frame(scapy_packet(4, 6)), frame(scapy_packet(4, 17))
    six = frame(scapy_packet(6, 6))
    for fields, words in (
        ({"ip": False}, [TCP_GOOD, UDP_GOOD]),
        ({"tcp": False}, [IP_GOOD, IP_GOOD | UDP_GOOD]),
        ({"udp": False}, [IP_GOOD | TCP_GOOD, IP_GOOD]),
        ({"encapsulation": 0x4}, [0, 0]),
    ):
        assert results(nic(checksum_receive_ipv4=Checksum(**fields)), tcp, datagram, six) == [*words, TCP_GOOD]
    assert results(nic(checksum_receive_ipv4=None), tcp, six) == [0, TCP_GOOD]
    assert results(nic(checksum_receive_ipv6=None), tcp, six) == [IP_GOOD | TCP_GOOD, 0]
    # also where IPsec receive work is off
    assert results(nic(GCM, receive_ipv4=0, receive_ipv6=0), tcp, six) == [IP_GOOD | TCP_GOOD, TCP_GOOD]
    tagged = frame(tcp[14:], tag=H("81000005"))
    assert results(nic(), tagged) == [IP_GOOD | TCP_GOOD]
    assert results(nic(checksum_receive_ipv4=Checksum(encapsulation=0x2)), tagged) == [0]


def test_receive_checksums_with_options_and_extension_headers() -> None:
    plain = {"checksum_receive_ipv4": Checksum(extensions=False, tcp_options=False)}
    plain["checksum_receive_ipv6"] = plain["checksum_receive_ipv4"]
    segment = scapy_packet(4, 6)[20:]
    options = frame(ipv4(segment, proto=6, options=H("01010101")))
    assert results(nic(), options) == [IP_GOOD | TCP_GOOD] and results(nic(**plain), options) == [0]
    mss = frame(scapy_packet(4, 6, options=True))
    assert results(nic(), mss) == [IP_GOOD | TCP_GOOD] and results(nic(**plain), mss) == [IP_GOOD]
    segment = scapy_packet(6, 6)[40:]
    hops = frame(ipv6(segment, proto=0, headers=H("0600010400000000")))
    assert results(nic(), hops) == [TCP_GOOD] and results(nic(**plain), hops) == [0]
    # a routing header: the destination of the pseudo-header may be another
    assert results(nic(), frame(ipv6(segment, proto=43, headers=H("0600010000000000")))) == [0]
    sa = replace(GCM, **ENDS6)
    behind = frame(ipv6(sealed(sa, H("0600010400000000") + segment, 60), proto=ESP))
    assert results(nic(sa), behind) == [TCP_GOOD] and results(nic(sa, **plain), behind) == [0]


def test_receive_checksums_that_can_not_be_told() -> None:
    """No checksum, fragments, lengths that do not fit: neither bit, and the host looks itself."""
    made, datagram = nic(), scapy_packet(4, 17)[20:]
    assert results(made, frame(ipv4(udp(DATA), proto=UDP)), frame(ipv6(udp(DATA), proto=UDP))) == [IP_GOOD, 0]
    assert (
        results(made, frame(ipv4(datagram, proto=17, flags=0x2000)), frame(ipv4(datagram, proto=17, flags=9)))
        == [IP_GOOD] * 2
    )
    for one in (datagram[:7], datagram[:-1], datagram[:4] + b"\0\7" + datagram[6:]):
        assert results(made, frame(ipv4(one, proto=17))) == [IP_GOOD]
    assert results(made, frame(ipv4(datagram, proto=17))[:-1]) == [IP_GOOD]
    segment = scapy_packet(4, 6)[20:]
    for one in (segment[:19], segment[:12] + b"\x40" + segment[13:], segment[:12] + b"\xf0" + segment[13:30]):
        assert results(made, frame(ipv4(one, proto=6))) == [IP_GOOD]
    # of a datagram that is shorter than its packet only the datagram counts
    assert results(made, frame(ipv4(datagram + b"more", proto=17))) == [IP_GOOD | UDP_GOOD]


@pytest.mark.parametrize("tfc", [bytes(64), b"\xa5" * 63], ids=["zeros", "others"])
@pytest.mark.parametrize("version", [4, 6])
def test_receive_checksums_in_front_of_tfc_padding(version: int, tfc: bytes) -> None:
    """RFC 4303 sec. 2.7: UDP and IP say where they end; TCP does not, and all of the payload is its data."""
    ends = ENDS6 if version == 6 else {}
    gcm, tunnel = (replace(sa, **ends) for sa in (GCM, TUNNEL))
    made, at, ipip = nic(gcm, tunnel), header_of(version), IPIP if version == 4 else 41
    for proto in (6, 17):
        packet = scapy_packet(version, proto)
        for one, word in ((packet, good(version, proto)), (flipped(packet), bad(version, proto))):
            inside = frame(ip(version, sealed(tunnel, one + tfc, ipip), ESP))
            behind = frame(ip(version, sealed(gcm, one[at:] + tfc, proto), ESP))
            without = frame(ip(version, sealed(gcm, one[at:], proto), ESP))
            told = word if proto == 17 else bad(version, proto)
            assert results(made, inside, behind, without) == [word, told, word]


@pytest.mark.parametrize("sa", [GCM, INNER], ids=["GCM", "CBC"])
def test_receive_checksums_change_nothing_else(sa: SecurityAssociation) -> None:
    frames = [frame(ipv4(sealed(sa, scapy_packet(4, 6)[20:], 6, n), proto=ESP)) for n in range(1, 90)]
    batches = [NblBatch.from_frames(frames) for _ in range(2)]
    for made, batch in zip((nic(sa), receiver(sa)), batches, strict=True):
        made.receive(batch)
    assert batches[0].frames.to_packets() == batches[1].frames.to_packets()
    assert (batches[0].oob[1:] == batches[1].oob[1:]).all()
    assert (batches[0].checksum == (IP_GOOD | TCP_GOOD)).all() and not batches[1].checksum.any()
    assert padded(sa, scapy_packet(4, 6)[20:], 6) in batches[0].frames.to_packets()[0]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_receive_checksums_of_mutated_frames(data: st.DataObject) -> None:
    """No crash, nothing written outside of slot 0; a result is one that the bytes have, for plain frames."""
    keep = keyed("NULL", "HMAC-SHA1-96", spi=0x2222)
    made = nic(GCM, AH_SA, TUNNEL, keep)
    samples = [frame(scapy_packet(v, p)) for v in (4, 6) for p in (6, 17)]
    samples += [frame(wrapped(way, samples[0][14:])[0]) for way in WAYS]
    samples.append(frame(ipv4(sealed(keep, b"x" * 9, IPIP), proto=ESP)))
    frames = []
    for _ in range(data.draw(st.integers(1, 5))):
        one = bytearray(data.draw(st.sampled_from(samples)))
        for at in data.draw(st.lists(st.integers(0, len(one) - 1), max_size=3)):
            one[at] = data.draw(st.integers(0, 255))
        frames.append(bytes(one[: data.draw(st.integers(0, len(one)))] if data.draw(st.booleans()) else one))
    memory = bytearray(b"".join(frames))
    offsets = np.cumsum([0, *map(len, frames)])[:-1]
    batch = NblBatch(PacketBatch(memory, offsets, np.array([len(one) for one in frames], np.int32)))
    made.receive(batch)
    for one, (word, ipsec) in zip(frames, zip(batch.checksum.tolist(), batch.ipsec.tolist(), strict=True), strict=True):
        assert word < 0x40 and not word & word >> 3 & 7
        plain = one[12:14] == b"\x08\x00" and one[14:15] == b"\x45" and not ipsec
        if plain and word & (TCP_GOOD | TCP_FAILED):
            packet = one[14 : 14 + int.from_bytes(one[16:18], "big")]
            summed = packet[12:20] + b"\0\6" + (len(packet) - 20).to_bytes(2, "big") + packet[20:] + b"\0"
            total = sum(int.from_bytes(summed[i : i + 2], "big") for i in range(0, len(summed) - 1, 2))
            assert bool(word & TCP_GOOD) == (total % 0xFFFF == 0 and total > 0)
