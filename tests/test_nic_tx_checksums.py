"""The NIC sends: checksums that slot 0 asks for."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from helpers import H, checksum, ipv4, ipv6
from nic_cards import AH_SA, GCM, HEADER, IS_V4, IS_V6, TCP, TUNNEL, UDP_SUM, esp_frame, opened, outbound
from nic_cards import sender as nic
from nic_host import (
    AH,
    ESP,
    IPIP,
    ah_room,
    frame,
    ip,
    l4_sum,
    lists,
    pseudo_sum,
    room,
    scapy_opens,
    send_one,
    tcp_segment,
)
from nic_large import MSS, V2, check_segments, large, tcp_offset

from ipsecfast.ndis import Checksum

pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")


def udp_datagram(version: int, data: bytes) -> bytes:
    """With the pseudo-header's sum in the checksum field."""
    n = 8 + len(data)
    return struct.pack(">HHHH", 1000, 2000, n, pseudo_sum(version, 17, n)) + data


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("proto", [6, 17])
@pytest.mark.parametrize("way", ["plain", "transport", "tunnel", "ah"])
def test_checksum_before_encryption(version: int, proto: int, way: str) -> None:
    data = bytes(range(77))
    segment = tcp_segment(version, data, seed_len=True) if proto == 6 else udp_datagram(version, data)
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
    gcm, ah = replace(GCM, **ends), replace(AH_SA, **ends)
    made, handle = nic(), 0
    if way == "plain":
        before = ip(version, segment, proto)
    elif way == "ah":
        handle, before = outbound(made, ah), ip(version, ah_room(ah, segment, proto, version=version), AH)
    elif way == "transport":
        handle, before = outbound(made, gcm), ip(version, room(gcm, segment, proto), ESP)
    else:
        handle = outbound(made, gcm)
        before = ip(version, room(gcm, ip(version, segment, proto), IPIP if version == 4 else 41), ESP)
    word = (IS_V4 if version == 4 else IS_V6) | (TCP if proto == 6 else UDP_SUM)
    sent = send_one(made, frame(before), handle=handle, checksum=word)
    assert sent is not None
    start = 14 + (20 if version == 4 else 40)
    if way == "plain":
        found = sent[start:]
    elif way == "ah":
        found = sent[-len(segment) :]
    else:
        text = opened(gcm, sent[start:])
        found = text[: -2 - text[-2]]
        if way == "tunnel":
            found = found[start - 14 :]
    assert l4_sum(version, proto, found) == 0 and found[-77:] == data


def test_checksum_of_secured_packets_needs_the_coexistence_flag() -> None:
    segment = tcp_segment(4, b"data", seed_len=True)
    made = nic(tcp_coexistence=False)
    sent = send_one(made, esp_frame(GCM, segment, 6), handle=outbound(made, GCM), checksum=IS_V4 | TCP)
    assert sent is not None and opened(GCM, sent[34:])[: len(segment)] == segment
    plain = send_one(made, frame(ipv4(segment, proto=6)), checksum=IS_V4 | TCP)
    assert plain is not None and l4_sum(4, 6, plain[34:]) == 0


def test_neither_family_bit_means_no_checksum_work() -> None:
    before = frame(ipv4(tcp_segment(4, b"data", seed_len=True), proto=6))
    assert send_one(nic(), before, checksum=TCP | HEADER) == before


def test_a_udp_checksum_of_zero_is_sent_as_ones() -> None:
    data = udp_datagram(4, b"\0\0")
    data = data[:8] + struct.pack(">H", l4_sum(4, 17, data[:6] + b"\0\0" + data[8:]))
    sent = send_one(nic(), frame(ipv4(data, proto=17)), checksum=IS_V4 | UDP_SUM)
    assert sent is not None and sent[40:42] == b"\xff\xff"


def test_header_checksum_is_last() -> None:
    made = nic()
    esp = bytearray(ipv4(ah_room(AH_SA, b"data", 253), proto=AH))
    esp[10:12] = b"\0\0"
    sent = send_one(made, frame(bytes(esp)), handle=outbound(made, AH_SA), checksum=IS_V4 | HEADER)
    assert sent is not None and checksum(sent[14:34]) == 0
    assert scapy_opens(AH_SA, sent[14:]) == ipv4(b"data", proto=253)
    plain = send_one(nic(), frame(bytes(esp)), checksum=IS_V4 | HEADER)
    assert plain is not None and checksum(plain[14:34]) == 0
    assert send_one(nic(checksum_send_ipv4=None), frame(bytes(esp)), checksum=IS_V4 | HEADER) == frame(bytes(esp))


# ---------------------------------------------------------------- what is not reported


def optioned(version: int, data: bytes) -> bytes:
    """TCP with four bytes of options, and the pseudo-header's sum of this length."""
    plain = tcp_segment(version, b"\1\1\1\1" + data, seed_len=True)
    return plain[:12] + b"\x60" + plain[13:]


def extended(version: int, payload: bytes, proto: int) -> bytes:
    """With IPv4 options, or an IPv6 extension header."""
    if version == 4:
        return ipv4(payload, proto=proto, options=H("01010101"))
    return ipv6(payload, proto=0, headers=bytes((proto,)) + H("00010400000000"))


@pytest.mark.parametrize("way", ["plain", "transport", "tunnel"])
@pytest.mark.parametrize("version", [4, 6])
def test_checksums_that_are_not_reported_are_sent_as_they_are(version: int, way: str) -> None:
    """As where they are switched off: encapsulation, options in IP and in TCP, kinds."""
    data = bytes(range(77))
    tcp, datagram, options = (
        tcp_segment(version, data, seed_len=True),
        udp_datagram(version, data),
        optioned(version, data),
    )
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
    gcm = replace(GCM, **ends)
    word = (IS_V4 if version == 4 else IS_V6) | TCP | UDP_SUM
    seq = 0

    def completed(part: bytes, proto: int, more: bool = False, tag: bytes = b"", **fields: object) -> bool:
        nonlocal seq
        seq += 1
        limits = None if fields.pop("off", False) else Checksum(**fields)  # type: ignore[arg-type]
        made = nic(**{f"checksum_send_ipv{version}": limits})
        handle = outbound(made, gcm) if way != "plain" else 0
        inner = (extended if more else ip)(version, part, proto)
        packet, hidden = inner, len(part)
        if way == "transport":
            packet = (extended if more else ip)(version, room(gcm, part, proto), ESP)
        elif way == "tunnel":
            packet = ip(version, room(gcm, inner, IPIP if version == 4 else 41), ESP)
        sent = send_one(made, frame(packet, tag), handle=handle, checksum=word)
        assert sent is not None
        if way != "plain":
            front = len(packet) - len(room(gcm, part if way == "transport" else inner, 0))
            text = opened(gcm, sent[14 + len(tag) + front :])
            sent = text[: -2 - text[-2]]
        found = sent[-hidden:]
        at = 16 if proto == 6 else 6
        assert found[:at] + found[at + 2 :] == part[:at] + part[at + 2 :]
        if l4_sum(version, proto, found) == 0:
            return True
        assert found == part
        return False

    assert completed(tcp, 6) and completed(datagram, 17) and completed(options, 6) and completed(tcp, 6, more=True)
    assert not completed(tcp, 6, off=True) and not completed(datagram, 17, off=True)
    assert not completed(tcp, 6, tcp=False) and completed(datagram, 17, tcp=False)
    assert not completed(datagram, 17, udp=False) and completed(tcp, 6, udp=False)
    assert not completed(options, 6, tcp_options=False) and completed(tcp, 6, tcp_options=False)
    for proto, part in ((6, tcp), (17, datagram)):
        assert not completed(part, proto, more=True, extensions=False) and completed(part, proto, extensions=False)
        assert completed(part, proto, encapsulation=0x2)
        assert not completed(part, proto, tag=H("81000005"), encapsulation=0x2)
        assert completed(part, proto, tag=H("81000005"), encapsulation=0x6)


def test_header_checksum_that_is_not_reported_stays() -> None:
    plain, options = (bytearray(one) for one in (ipv4(b"x" * 30), ipv4(b"x" * 30, options=H("01010101"))))
    for one in (plain, options):
        one[10:12] = b"\x12\x34"
    word = IS_V4 | HEADER
    for fields, one, tag, made in (
        ({}, plain, b"", True),
        ({}, options, b"", True),
        ({"ip": False}, plain, b"", False),
        ({"extensions": False}, plain, b"", True),
        ({"extensions": False}, options, b"", False),
        ({"encapsulation": 0x2}, plain, b"", True),
        ({"encapsulation": 0x2}, plain, H("81000005"), False),
    ):
        sent = send_one(nic(checksum_send_ipv4=Checksum(**fields)), frame(bytes(one), tag), checksum=word)
        assert sent is not None
        header = sent[14 + len(tag) :][: (one[0] & 15) * 4]
        assert (checksum(header) == 0) == made and (made or sent == frame(bytes(one), tag))


def test_checksum_of_an_inner_packet_is_its_own_familys() -> None:
    """IPv6 in IPv4: the header in front of TCP counts."""
    segment = tcp_segment(6, b"data", seed_len=True)
    one = frame(ipv4(room(TUNNEL, ip(6, segment, 6), 41), proto=ESP))
    for off, done in (("checksum_send_ipv4", True), ("checksum_send_ipv6", False)):
        made = nic(**{off: None})
        sent = send_one(made, one, handle=outbound(made, TUNNEL), checksum=IS_V6 | TCP)
        assert sent is not None
        found = opened(TUNNEL, sent[34:])[40 : 40 + len(segment)]
        assert (l4_sum(6, 6, found) == 0) == done and (done or found == segment)


def test_large_sends_have_limits_of_their_own() -> None:
    """Their checksums are part of them; frames beside them are as in any batch."""
    made = nic(checksum_send_ipv4=Checksum(tcp=False, ip=False))
    handle = outbound(made, GCM)
    segment = tcp_segment(4, b"data", seed_len=True)
    plain = frame(ipv4(segment, proto=6))
    batch = lists([[large(4, GCM, bytes(3000))], [plain], [esp_frame(GCM, segment, 6, seq=9)]])
    batch.ipsec[[0, 2]] = handle
    batch.checksum[:] = IS_V4 | TCP | HEADER
    batch.large_send[0] = MSS | tcp_offset(4, GCM) << 20 | V2
    batch.header[0] = 6
    result = made.send(batch)
    sent = result.transmitted.to_packets()
    assert result.ok == 3 and result.nbl.tolist() == [0, 0, 0, 1, 2] and sent[3] == plain
    check_segments(4, [scapy_opens(GCM, one[14:])[20:] for one in sent[:3]], bytes(3000), MSS)
    assert all(checksum(one[14:34]) == 0 for one in sent[:3])
    assert opened(GCM, sent[4][34:])[: len(segment)] == segment


@pytest.mark.parametrize("version", [4, 6])
def test_a_udp_checksum_covers_what_udp_says(version: int) -> None:
    """TFC padding behind it (RFC 4303 sec. 2.7) is not UDP's; a length that does not fit leaves the field as it is."""
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"} if version == 6 else {}
    gcm = replace(GCM, **ends)
    word, at = (IS_V4 if version == 4 else IS_V6) | UDP_SUM, 34 if version == 4 else 54
    datagram = udp_datagram(version, b"datagram")
    wrong = datagram[:4] + b"\0\x63" + datagram[6:]
    for one, done in ((datagram, True), (wrong, False)):
        made = nic()
        before = frame(ip(version, room(gcm, one + b"padding", 17), ESP))
        sent = send_one(made, before, handle=outbound(made, gcm), checksum=word)
        assert sent is not None
        text = opened(gcm, sent[at:])
        assert text[16:23] == b"padding"
        assert l4_sum(version, 17, text[:16]) == 0 if done else text[:16] == wrong


def test_what_has_no_checksum_to_make_is_sent_as_it_is() -> None:
    tcp, datagram = tcp_segment(4, b"data", seed_len=True), udp_datagram(4, b"datagram")
    word = IS_V4 | TCP | UDP_SUM
    for offset in (b"\x40", b"\xf0"):
        broken = frame(ipv4(tcp[:12] + offset + tcp[13:], proto=6))
        assert send_one(nic(), broken, checksum=word) == broken
    for one in (ipv4(tcp, proto=6, flags=0x2000), ipv4(datagram, proto=17, flags=9), ipv4(tcp[:19], proto=6)):
        assert send_one(nic(), frame(one), checksum=word) == frame(one)
