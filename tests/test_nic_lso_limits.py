"""Limits of large sends: those that NDIS_OFFLOAD reports, each kind's own, and the memory that segments may take."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from helpers import H, ipv4, ipv6
from nic_cards import AH_SA, CBC, GCM, outbound
from nic_cards import sender as nic
from nic_host import AH, ESP, FAILURE, SUCCESS, ah_room, frame, ip, lists, room, scapy_opens, tcp_segment
from nic_large import ACK, MSS, STREAM, V2, V6, cut, fails, large, no_length, tcp_offset

from ipsecfast.ndis import Datapath, DatapathOptions, Lso, NblBatch, NdisStatus

RESOURCES = NdisStatus.NDIS_STATUS_RESOURCES
GCM6 = replace(GCM, spi=0x66, src="2001:db8::1", dst="2001:db8::2")
KINDS = {"lso_v1": (4, 0), "lso_v2_ipv4": (4, V2), "lso_v2_ipv6": (6, V2 | V6)}


def one_of(kind: str, size: int, secured: bool, seq: int = 1) -> tuple[bytes, int]:
    """A large packet with so much payload, and its word."""
    version, bits = KINDS[kind]
    sa = (GCM if version == 4 else GCM6) if secured else None
    packet = large(version, sa, STREAM[:size], seq=seq)
    if not bits:  # version 1 has the length
        packet = packet[:16] + struct.pack(">H", len(packet) - 14) + packet[18:]
    return packet, MSS | tcp_offset(version, sa) << 20 | bits


def handles(made: Datapath) -> dict[int, int]:
    return {4: outbound(made, GCM), 6: outbound(made, GCM6)}


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "ESP"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_large_send_has_its_own_limit(kind: str, secured: bool) -> None:
    made = nic(**{kind: Lso(max_size=3000)})
    to = handles(made)
    numbers = iter(range(1, 1000, 100))
    for other, (version, _) in KINDS.items():
        for size in (3000, 3001):
            one, word = one_of(other, size, secured, next(numbers))
            handle = to[version] if secured else 0
            if other == kind and size > 3000:
                assert fails(made, one, handle, word)
            else:
                assert len(cut(made, one, handle, word)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_large_send_of_a_kind_that_is_off(kind: str) -> None:
    made = nic(**{kind: None})
    for other in KINDS:
        one, word = one_of(other, 5000, False)
        assert fails(made, one, 0, word) if other == kind else cut(made, one, 0, word)


@pytest.mark.parametrize("kind", KINDS)
def test_large_send_in_an_encapsulation_that_is_not_reported(kind: str) -> None:
    one, word = one_of(kind, 5000, False)
    tagged = one[:12] + H("81000005") + one[12:]
    made = nic(**{kind: Lso(encapsulation=0x2)})
    assert fails(made, tagged, 0, word + (4 << 20)) and len(cut(made, one, 0, word)) == 4
    assert len(cut(nic(), tagged, 0, word + (4 << 20))) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_large_send_with_options_that_are_not_reported(kind: str) -> None:
    version, bits = KINDS[kind]
    data = tcp_segment(version, STREAM[:3000], ACK)
    options = H("01010101")
    with_tcp = data[:12] + b"\x60" + data[13:20] + options + data[20:]
    front = ipv4(with_tcp, proto=6) if version == 4 else ipv6(with_tcp, proto=6)
    word = MSS | tcp_offset(version) << 20 | bits
    assert fails(nic(**{kind: Lso(tcp_options=False)}), frame(front), 0, word)
    assert len(cut(nic(**{kind: Lso(extensions=False)}), frame(front), 0, word)) == 3
    if version == 4:
        packet, more = ipv4(data, proto=6, options=options), 4
    else:
        packet, more = ipv6(data, proto=0, headers=H("0600010400000000")), 8
    word += more << 20
    assert fails(nic(**{kind: Lso(extensions=False)}), frame(packet), 0, word)
    assert len(cut(nic(**{kind: Lso(tcp_options=False)}), frame(packet), 0, word)) == 3


def test_destination_options_behind_esp_are_extensions_too() -> None:
    packet = ipv6(
        struct.pack(">II", GCM6.spi, 1) + bytes(8) + H("0600010400000000") + tcp_segment(6, STREAM[:3000], ACK),
        proto=ESP,
    )
    word = MSS | (tcp_offset(6, GCM6) + 8) << 20 | V2 | V6
    made = nic(lso_v2_ipv6=Lso(extensions=False))
    assert fails(made, frame(packet), outbound(made, GCM6), word, header=60)


def test_fewer_segments_than_the_least_are_the_hosts_matter() -> None:
    """MinSegmentCount binds the transport [LSO]; the card cuts what it is given, unless it is to be strict."""
    limits = {"lso_v2_ipv4": Lso(min_segments=4)}
    one, word = one_of("lso_v2_ipv4", 3 * MSS, False)
    four, _ = one_of("lso_v2_ipv4", 3 * MSS + 1, False)
    assert len(cut(nic(**limits), one, 0, word)) == 3
    strict = nic({"strict_segments": True}, **limits)
    assert fails(strict, one, 0, word) and len(cut(strict, four, 0, word)) == 4
    single, word = one_of("lso_v1", 10, False)
    assert len(cut(strict, single, 0, word)) == 1  # another kind, another limit


def test_large_sends_in_a_mode_that_is_off_fail() -> None:
    made = nic(transport=False)
    one, word = one_of("lso_v2_ipv4", 5000, True)
    assert fails(made, one, outbound(made, GCM), word)
    plain, word = one_of("lso_v2_ipv4", 5000, False)
    assert len(cut(made, plain, 0, word)) == 4


# ---------------------------------------------------------------- memory


def test_segments_take_no_more_memory_than_is_allowed() -> None:
    """A list beyond it is completed with RESOURCES and uses no number; those behind it that fit are sent."""
    made = nic({"lso_memory": 100_000})
    handle = outbound(made, GCM)
    big, word = one_of("lso_v2_ipv4", 60000, True)
    plain, ready = frame(ipv4(b"plain")), frame(ipv4(room(GCM, b"ready", 253, 500), proto=ESP))
    batch = NblBatch.from_frames([big, plain, big, ready, one_of("lso_v2_ipv4", 5000, True, 1000)[0]])
    batch.ipsec[:] = [handle, 0, handle, handle, handle]
    batch.large_send[[0, 2, 4]] = word & ~0xFFFFF | 1000
    batch.header[[0, 2, 4]] = 6
    before = batch.frames.to_packets()
    result = made.send(batch)
    assert result.status.tolist() == [SUCCESS, SUCCESS, RESOURCES, SUCCESS, SUCCESS]
    assert batch.frames.to_packets() == before and batch.large_send[2] == V2  # completed
    assert result.nbl.tolist() == [0] * 60 + [1, 3] + [4] * 5
    again = one_of("lso_v2_ipv4", 60000, True, 61)[0]
    assert len(cut(made, again, handle, word & ~0xFFFFF | 1000)) == 60


@pytest.mark.parametrize("mss", [1, 2, 7])
def test_a_tiny_segment_size_is_bounded(mss: int) -> None:
    """Frames in the same memory, each with a quarter of a million segments: tens of GB if they were all made."""
    made = nic({"lso_memory": 1 << 20})
    handle = outbound(made, GCM)
    one, word = one_of("lso_v2_ipv4", 65000, True)
    assert fails_with(made, RESOURCES, one, handle, word & ~0xFFFFF | mss)
    batch = lists([[one]] * 300, ipsec=handle, large_send=word & ~0xFFFFF | mss, header=6)
    result = made.send(batch)
    assert set(result.status.tolist()) == {RESOURCES} and len(result.transmitted) == 0
    # what fits is cut, byte by byte if that is wanted
    small = one_of("lso_v2_ipv4", 300, True)[0]
    sent = cut(made, small, handle, word & ~0xFFFFF | mss)
    assert b"".join(scapy_opens(GCM, packet[14:])[40:] for packet in sent) == STREAM[:300]


def fails_with(made: Datapath, status: int, one: bytes, handle: int, word: int) -> bool:
    result = made.send(lists([[one]], ipsec=handle, large_send=word, header=6))
    return result.status.tolist() == [status] and not len(result.transmitted)


def test_version_1_lists_of_many_frames_are_bounded_as_one() -> None:
    made = nic({"lso_memory": 100_000})
    one, word = one_of("lso_v1", 50000, False)
    batch = lists([[one, one, one], [one]], large_send=word)
    assert made.send(batch).status.tolist() == [RESOURCES, SUCCESS]
    assert [batch[i].TcpPayload for i in range(2)] == [0, 50000]


def test_the_default_bound_takes_a_batch_of_the_largest_sends() -> None:
    assert DatapathOptions().lso_memory >= 256 * (1 << 18) * 2
    for wrong in (0, -1, 1 << 40, True, 1.5):
        with pytest.raises(ValueError, match="lso_memory"):
            DatapathOptions(lso_memory=wrong)  # type: ignore[arg-type]


def test_blocks_of_many_segments_are_not_kept() -> None:
    made = nic()
    word = 1 | tcp_offset(4) << 20 | V2
    sent = made.send(lists([[large(4, None, STREAM)]] * 6, large_send=word))
    assert sent.ok == 6 and len(sent.transmitted) == 6 * len(STREAM)
    sent = made.send(lists([[large(4, None, STREAM[:9000])]], large_send=MSS | tcp_offset(4) << 20 | V2))
    assert len(bytes(sent.transmitted.data)) < 1 << 20


def test_limits_hold_for_ah_and_for_other_algorithms() -> None:
    made = nic(lso_v2_ipv4=Lso(max_size=4000))
    cbc, ah = outbound(made, CBC), outbound(made, AH_SA)
    head = struct.pack(">II", CBC.spi, 1) + bytes(16)
    for size, good in ((4000, True), (4001, False)):
        segment = tcp_segment(4, STREAM[:size], ACK)
        esp = frame(no_length(ip(4, head + segment, ESP)))
        signed = frame(no_length(ip(4, ah_room(AH_SA, segment, 6), AH)))
        words = MSS | tcp_offset(4, CBC) << 20 | V2, MSS | (tcp_offset(4) + 24) << 20 | V2
        for one, handle, word in ((esp, cbc, words[0]), (signed, ah, words[1])):
            result = made.send(lists([[one]], ipsec=handle, large_send=word, header=6))
            assert result.status.tolist() == [SUCCESS if good else FAILURE]


def test_limits_are_what_can_be_reported() -> None:
    for fields in ({"max_size": -1}, {"max_size": 1 << 32}, {"min_segments": -1}):
        with pytest.raises(ValueError, match="Lso: "):
            Lso(**fields)
