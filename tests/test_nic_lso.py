"""Large sends: cut into frames as a host would have built them, each then protected like anybody's.

Judges: scapy, ``by_hand`` and tshark open the segments; the stream is put together again here.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import by_hand
import pytest
from helpers import H, checksum, ipv4, ipv6, keyed
from nic_cards import AH_SA, GCM, TUNNEL, outbound
from nic_cards import sender as nic
from nic_host import (
    AH,
    ESP,
    FAILURE,
    IPIP,
    SERVED,
    SUCCESS,
    UDP,
    ah_room,
    frame,
    in_udp,
    ip,
    lists,
    padded,
    room,
    scapy_opens,
    tcp_segment,
)
from nic_large import (
    ACK,
    CWR,
    ENDS6,
    FIN,
    MSS,
    PSH,
    STREAM,
    V2,
    V6,
    check_segments,
    cut,
    fails,
    large,
    no_length,
    tcp_offset,
)

from ipsecfast import SecurityAssociation
from ipsecfast.ndis.nbl import NblBatch

pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")


@pytest.mark.parametrize(("encryption", "authentication", "provider"), SERVED)
def test_64_kb_for_every_algorithm(encryption: str, authentication: str, provider: str) -> None:
    """Per-segment trailer and IV, sequence numbers, filler dropped, checksum before encryption."""
    for version in (4, 6):
        sa = keyed(encryption, authentication, **(ENDS6 if version == 6 else {}))
        made = nic(provider=provider)
        handle = outbound(made, sa)
        one = large(version, sa, STREAM, filler=9, seq=50)
        one = one[:14] + no_length(one[14:])
        mss = MSS if version == 4 else 8900
        word = mss | tcp_offset(version, sa) << 20 | V2 | (V6 if version == 6 else 0)
        sent = cut(made, one, handle, word, pad=9)
        assert len(sent) == -(-len(STREAM) // mss)
        segments, ivs, at = [], set(), 14 + (20 if version == 4 else 40)
        for i, packet in enumerate(sent):
            assert checksum(packet[14:34]) == 0 or version == 6
            spi, seq = struct.unpack_from(">II", packet, at)
            assert (spi, seq) == (sa.spi, 50 + i)
            if version == 4:
                assert struct.unpack_from(">H", packet, 18)[0] == 7 + i
            ivs.add(packet[at + 8 : at + 8 + sa.enc_alg.iv_len])
            inner = scapy_opens(sa, packet[14:])[at - 14 :]
            segments.append(inner)
            text = by_hand.payload_of(sa, packet[at:])
            assert text == padded(sa, inner, 6)
        assert len(ivs) == (len(sent) if sa.enc_alg.iv_len else 1)
        check_segments(version, segments, STREAM, mss)
        counted = made.statistics(handle)[0]
        assert (counted.packets, counted.bytes) == (len(sent), sum(len(packet) - 14 for packet in sent))


@pytest.mark.parametrize("sa", [GCM, keyed("AES-GMAC-128", "NONE")], ids=["GCM", "GMAC"])
def test_the_short_way_makes_the_same_segments(sa: SecurityAssociation) -> None:
    """With checked offsets in slot 12, which come to nothing here, a NIC goes the long way."""
    sent = []
    for strict in (False, True):
        made = nic({"strict_offsets": strict, "iv_generator": lambda n: b"\x55" * n})
        sent.append(cut(made, large(4, sa, STREAM, seq=9), outbound(made, sa), MSS | tcp_offset(4, sa) << 20 | V2))
    assert sent[0] == sent[1] and len(sent[0]) == -(-len(STREAM) // MSS)


@pytest.mark.parametrize("version", [4, 6])
def test_without_ipsec(version: int) -> None:
    one = large(version, None, STREAM[:9999], flags=ACK | PSH | FIN | CWR)
    one = one[:14] + no_length(one[14:])
    word = 1000 | tcp_offset(version) << 20 | V2 | (V6 if version == 6 else 0)
    sent = cut(nic(), one, 0, word)
    at = tcp_offset(version)
    assert all(len(packet) == at + 20 + 1000 for packet in sent[:-1])
    assert all(checksum(packet[14:34]) == 0 for packet in sent) or version == 6
    check_segments(version, [packet[at:] for packet in sent], STREAM[:9999], 1000, ACK | PSH | FIN | CWR)


def test_fin_and_psh_only_on_the_last_and_cwr_on_the_first() -> None:
    made = nic()
    flags = ACK | FIN | PSH | CWR
    sent = cut(
        made, large(4, GCM, STREAM[:5000], flags=flags), outbound(made, GCM), MSS | tcp_offset(4, GCM) << 20 | V2
    )
    check_segments(4, [scapy_opens(GCM, one[14:])[20:] for one in sent], STREAM[:5000], MSS, flags)


@pytest.mark.parametrize("size", [1, 1399, 1400, 1401, 2800])
def test_edges_of_the_segment_size(size: int) -> None:
    made = nic()
    sent = cut(made, large(4, GCM, STREAM[:size]), outbound(made, GCM), MSS | tcp_offset(4, GCM) << 20 | V2)
    assert len(sent) == -(-size // MSS)
    check_segments(4, [scapy_opens(GCM, one[14:])[20:] for one in sent], STREAM[:size], MSS)


@pytest.mark.parametrize("data", [STREAM[:6001], b"\xff" * 6001, bytes(6001)], ids=["any", "ones", "zeros"])
@pytest.mark.parametrize("mss", [*range(57, 70), 127, 255, 1399, 1401, 4099])
def test_checksums_of_every_length(mss: int, data: bytes) -> None:
    sent = cut(nic(), large(4, None, data), 0, mss | tcp_offset(4) << 20 | V2)
    check_segments(4, [one[34:] for one in sent], data, mss)
    assert all(checksum(one[14:34]) == 0 for one in sent)


def test_version_1_carries_the_length_and_reports_the_payload() -> None:
    made = nic()
    head = struct.pack(">II", GCM.spi, 1) + bytes(8)
    one = frame(ipv4(head + tcp_segment(4, STREAM[:3000], ACK), proto=ESP)) + b"\0" * 7
    batch = lists([[one]], ipsec=outbound(made, GCM), large_send=MSS | tcp_offset(4, GCM) << 20, header=6)
    result = made.send(batch)
    assert result.ok == 1 and batch[0].TcpPayload == 3000 and batch[0].LsoType == 0
    segments = [scapy_opens(GCM, sent[14:])[20:] for sent in result.transmitted.to_packets()]
    check_segments(4, segments, STREAM[:3000], MSS)


def test_ip_identification_wraps_within_the_half_of_version_2() -> None:
    for v2, wanted in ((V2, [0x7FFE, 0x7FFF, 0, 1]), (0, [0x7FFE, 0x7FFF, 0x8000, 0x8001])):
        one = bytearray(large(4, None, STREAM[:4000]))
        one[16:18] = struct.pack(">H", len(one) - 14)
        one[18:20] = b"\x7f\xfe"
        sent = cut(nic(), bytes(one), 0, 1000 | tcp_offset(4) << 20 | v2)
        assert [struct.unpack_from(">H", packet, 18)[0] for packet in sent] == wanted


@pytest.mark.parametrize("version", [4, 6])
def test_ah(version: int) -> None:
    sa = replace(AH_SA, **ENDS6) if version == 6 else AH_SA
    made = nic()
    packet = ip(version, ah_room(sa, tcp_segment(version, STREAM[:4500], ACK), 6, 77, version), AH)
    at = tcp_offset(version) + 24
    word = MSS | at << 20 | V2 | (V6 if version == 6 else 0)
    sent = cut(made, frame(no_length(packet)), outbound(made, sa), word)
    segments = []
    for i, one in enumerate(sent):
        assert struct.unpack_from(">I", one, at - 24 + 8)[0] == 77 + i
        segments.append(scapy_opens(sa, one[14:])[20 if version == 4 else 40 :])
    check_segments(version, segments, STREAM[:4500], MSS)


def test_ah_and_esp() -> None:
    made = nic()
    head = struct.pack(">II", GCM.spi, 9) + bytes(8)
    packet = ipv4(ah_room(AH_SA, head + tcp_segment(4, STREAM[:4500], ACK), ESP, 77), proto=AH)
    sent = cut(made, frame(no_length(packet)), outbound(made, GCM, AH_SA), MSS | (14 + 20 + 24 + 16) << 20 | V2)
    segments = [scapy_opens(GCM, scapy_opens(AH_SA, one[14:]))[20:] for one in sent]
    check_segments(4, segments, STREAM[:4500], MSS)


@pytest.mark.parametrize("version", [4, 6])
def test_udp_encapsulated(version: int) -> None:
    sa = replace(GCM, **ENDS6) if version == 6 else GCM
    made = nic()
    head = struct.pack(">II", sa.spi, 9) + bytes(8)
    packet = ip(version, in_udp(head + tcp_segment(version, STREAM[:4500], ACK)), UDP)
    word = MSS | (tcp_offset(version, sa) + 8) << 20 | V2 | (V6 if version == 6 else 0)
    start = 34 if version == 4 else 54
    segments = []
    for one in cut(made, frame(no_length(packet)), outbound(made, sa, udp_esp=1), word):
        assert struct.unpack_from(">H", one, start + 4)[0] == len(one) - start
        text = by_hand.payload_of(sa, one[start + 8 :])
        segments.append(text[: -2 - text[-2]])
    check_segments(version, segments, STREAM[:4500], MSS)


def test_nothing_of_a_failed_large_send_stays_in_the_nics_memory() -> None:
    made = nic()
    handle = outbound(made, GCM)
    batch = lists([[large(4, replace(GCM, spi=0x99), STREAM[:5000])]], ipsec=handle, large_send=0, header=6)
    batch.large_send[:] = MSS | tcp_offset(4, GCM) << 20 | V2
    result = made.send(batch)
    assert result.status.tolist() == [FAILURE] and STREAM[100:200] not in bytes(result.transmitted.data)


def test_what_is_no_large_send_fails() -> None:
    made = nic()
    handle, tunnel_sa = outbound(made, GCM), outbound(made, TUNNEL)
    one, word = large(4, GCM, STREAM[:5000]), MSS | tcp_offset(4, GCM) << 20 | V2
    at = tcp_offset(4, GCM)
    tunnelled = large(4, TUNNEL, STREAM[:5000])
    assert fails(made, one, handle, word, tunnel=tunnel_sa)
    assert fails(made, one, 0, word, tunnel=tunnel_sa)
    assert fails(made, tunnelled, tunnel_sa, word, header=IPIP)
    assert fails(made, one, handle, word, header=0)
    assert fails(made, [one, one], handle, word)
    assert fails(made, one, handle, word | V6)
    assert fails(made, one, handle, word + (4 << 20))
    assert fails(made, one[: at + 19], handle, word)
    assert fails(made, one[: at + 20], handle, word)
    assert fails(made, one[: at + 24], handle, word, header=6 | 5 << 8)
    assert fails(made, one, handle + 9, word)
    assert fails(made, one, handle, 70000 | at << 20 | V2)
    for flag in (0x02, 0x04, 0x20):
        assert fails(made, one[: at + 13] + bytes((0x10 | flag,)) + one[at + 14 :], handle, word)
    assert fails(made, one[: at + 12] + b"\x40" + one[at + 13 :], handle, word)
    assert fails(made, b"\0" * 60, handle, word)
    assert fails(made, frame(ipv4(b"x" * 5000, proto=17)), 0, word)
    # and the real one still goes
    assert len(cut(made, one, handle, word)) == 4


@pytest.mark.parametrize("off", ["lso", "lso_v2_ipv4", "send_ipv4"])
def test_large_send_switched_off_is_dropped(off: str) -> None:
    made = nic(**{off: None if off == "lso_v2_ipv4" else False})
    assert fails(made, large(4, GCM, STREAM[:5000]), outbound(made, GCM), MSS | tcp_offset(4, GCM) << 20 | V2)
    assert fails(nic(lso_v1=None), large(4, None, STREAM[:5000]), 0, MSS | tcp_offset(4) << 20)
    assert fails(nic(lso_v2_ipv6=None), large(6, None, STREAM[:5000]), 0, MSS | tcp_offset(6) << 20 | V2 | V6)


def test_tunnel_forms_of_udp_esp_fail() -> None:
    made = nic()
    head = struct.pack(">II", GCM.spi, 9) + bytes(8)
    packet = ipv4(in_udp(head + tcp_segment(4, STREAM[:4500], ACK)), proto=UDP)
    handle = outbound(made, GCM, udp_esp=2)
    assert fails(made, frame(no_length(packet)), handle, MSS | (tcp_offset(4, GCM) + 8) << 20 | V2)


def test_mixed_batch_keeps_its_order() -> None:
    made = nic()
    handle = outbound(made, GCM)
    plain, ready = frame(ipv4(b"plain")), frame(ipv4(room(GCM, b"ready", 253, 100), proto=ESP))
    word = MSS | tcp_offset(4, GCM) << 20 | V2
    batch = NblBatch.from_frames(
        [plain, large(4, GCM, STREAM[:3000], seq=1), [ready], large(4, GCM, b"", seq=9), plain]
    )
    batch.ipsec[:] = [0, handle, handle, handle, 0]
    batch.large_send[[1, 3]] = word
    batch.header[[1, 3]] = 6
    before = batch.frames.to_packets()
    result = made.send(batch)
    assert result.status.tolist() == [SUCCESS, SUCCESS, SUCCESS, FAILURE, SUCCESS]
    sent = result.transmitted.to_packets()
    assert result.nbl.tolist() == [0, 1, 1, 1, 2, 4] and sent[0] == sent[-1] == plain
    assert scapy_opens(GCM, sent[4][14:])[20:] == b"ready"
    assert batch.frames.to_packets() == before
    again = made.send(NblBatch.from_frames([plain]))
    assert sent == result.transmitted.to_packets() and again.ok == 1


def test_the_segments_memory_is_used_again_only_when_nobody_has_it() -> None:
    made = nic()
    word = 1000 | tcp_offset(4) << 20 | V2
    first = made.send(lists([[large(4, None, STREAM[:4000])]], large_send=word))
    kept = first.transmitted
    copies = kept.to_packets()
    del first
    made.send(lists([[large(4, None, STREAM[4000:8000])]], large_send=word))
    assert kept.to_packets() == copies


def test_options_in_front_and_destination_options_behind() -> None:
    made = nic()
    handle = outbound(made, GCM)
    head = struct.pack(">II", GCM.spi, 1) + bytes(8)
    options = H("01010101")
    packet = ipv4(head + tcp_segment(4, STREAM[:3000], ACK), proto=ESP, options=options)
    sent = cut(made, frame(no_length(packet)), handle, MSS | (tcp_offset(4, GCM) + 4) << 20 | V2)
    assert [one[34:38] for one in sent] == [options] * 3
    check_segments(4, [scapy_opens(GCM, one[14:])[24:] for one in sent], STREAM[:3000], MSS)

    sa = replace(GCM, spi=0x6666, **ENDS6)
    head = struct.pack(">II", sa.spi, 1) + bytes(8)
    behind = H("0600010400000000")
    packet = ipv6(head + behind + tcp_segment(6, STREAM[:3000], ACK), proto=ESP)
    handle = outbound(made, sa)
    word = MSS | (tcp_offset(6, sa) + 8) << 20 | V2 | V6
    batch = lists([[frame(packet)]], ipsec=handle, large_send=word, header=60)
    result = made.send(batch)
    assert result.ok == 1
    texts = [by_hand.payload_of(sa, one[54:]) for one in result.transmitted.to_packets()]
    assert all(text[:8] == behind and text[-1] == 60 for text in texts)
    check_segments(6, [text[8 : -2 - text[-2]] for text in texts], STREAM[:3000], MSS)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize(
    ("encryption", "authentication", "theirs"),
    [
        ("AES-GCM-128", "NONE", "AES-GCM with 16 octet ICV [RFC4106]"),
        ("AES-CBC-256", "HMAC-SHA1-96", "AES-CBC [RFC3602]"),
        ("3DES-CBC", "HMAC-SHA256-128", "TripleDES-CBC [RFC2451]"),
        ("NULL", "HMAC-SHA1-96", "NULL"),
    ],
)
def test_tshark_reassembles_it(encryption: str, authentication: str, theirs: str, tmp_path: Path) -> None:
    sa = keyed(encryption, authentication)
    made = nic()
    sent = cut(made, large(4, sa, STREAM), outbound(made, sa), MSS | tcp_offset(4, sa) << 20 | V2)
    pcap = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    pcap += b"".join(struct.pack("<IIII", 0, i, len(one), len(one)) + one for i, one in enumerate(sent))
    (tmp_path / "sent.pcap").write_bytes(pcap)
    auth = {"NONE": "NULL", "HMAC-SHA1-96": "HMAC-SHA-1-96 [RFC2404]", "HMAC-SHA256-128": "HMAC-SHA-256-128 [RFC4868]"}
    row: list[Any] = ["IPv4", sa.src, sa.dst, f"0x{sa.spi:08x}", theirs, "0x" + (sa.enc_key + sa.salt).hex()]
    row += [auth[authentication], "0x" + sa.auth_key.hex() if sa.auth_key else ""]
    entry = "uat:esp_sa:" + ",".join(f'"{"" if value == "0x" else value}"' for value in row)
    command = ["tshark", "-r", str(tmp_path / "sent.pcap"), "-o", "esp.enable_encryption_decode:TRUE", "-o", entry]
    command += ["-T", "fields", "-e", "tcp.seq_raw", "-e", "tcp.payload", "-o", "tcp.check_checksum:TRUE"]
    out = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    )
    rows = [line.split("\t") for line in out.stdout.splitlines()]
    assert [int(seq) for seq, _ in rows] == [1000 + i * MSS for i in range(len(sent))]
    assert bytes.fromhex("".join(data for _, data in rows)) == STREAM


def test_offset_of_zero_takes_tcp_from_the_headers() -> None:
    made = nic()
    one = large(4, GCM, STREAM[:3000])
    batch = lists([[one]], ipsec=outbound(made, GCM), large_send=MSS | V2, header=6)
    result = made.send(batch)
    check_segments(
        4, [scapy_opens(GCM, sent[14:])[20:] for sent in result.transmitted.to_packets()], STREAM[:3000], MSS
    )
