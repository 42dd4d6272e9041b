"""The NIC sends: checksums that slot 0 asks for."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from helpers import checksum, ipv4
from nic_cards import AH_SA, GCM, HEADER, IS_V4, IS_V6, TCP, UDP_SUM, esp_frame, opened, outbound
from nic_cards import sender as nic
from nic_host import (
    AH,
    ESP,
    IPIP,
    ah_room,
    frame,
    ip,
    l4_sum,
    pseudo_sum,
    room,
    scapy_opens,
    send_one,
    tcp_segment,
)

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
    assert send_one(nic(checksum=0), frame(bytes(esp)), checksum=IS_V4 | HEADER) == frame(bytes(esp))
