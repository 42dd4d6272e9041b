"""Large sends: sequence numbers and IVs are used once, whatever the host does to numbers, high halves and memory."""

from __future__ import annotations

import random
import struct
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import ipv4
from nic_cards import AH_SA, CBC, GCM, outbound
from nic_cards import sender as nic
from nic_host import AH, ESP, SUCCESS, ah_room, frame, lists, room, scapy_opens, tcp_segment
from nic_large import ACK, MSS, STREAM, V2, check_segments, cut, fails, large, no_length, tcp_offset

from ipsecfast import SecurityAssociation


@pytest.mark.parametrize("sa", [replace(GCM, esn=True), replace(AH_SA, esn=True)], ids=["ESP", "AH"])
def test_wrap_inside_a_burst_moves_the_high_half(sa: SecurityAssociation) -> None:
    made = nic()
    handle = outbound(made, sa, seq_hi=[5])
    segment = tcp_segment(4, STREAM[:7000], ACK)
    if sa.protocol == "ah":
        packet, at = ipv4(ah_room(sa, segment, 6, 0xFFFFFFFE), proto=AH), tcp_offset(4) + 24
    else:
        packet, at = large(4, sa, STREAM[:7000], seq=0xFFFFFFFE)[14:], tcp_offset(4, sa)
    sent = cut(made, frame(no_length(packet)), handle, MSS | at << 20 | V2)
    highs = [5, 5, 6, 6, 6]
    segments = [scapy_opens(sa, one[14:], high)[20:] for one, high in zip(sent, highs, strict=True)]
    check_segments(4, segments, STREAM[:7000], MSS)
    # the next send goes on in the new span, and numbers of the old one are gone
    following = (
        frame(ipv4(room(sa, b"x", 253, 3), proto=ESP))
        if sa.protocol == "esp"
        else frame(ipv4(ah_room(sa, b"x", 253, 3), proto=AH))
    )
    batch = lists([[following]], ipsec=handle)
    assert made.send(batch).ok == 1
    assert scapy_opens(sa, batch.frames.to_packets()[0][14:], 6)[20:] == b"x"


def test_a_number_used_before_fails_the_whole_send() -> None:
    made = nic()
    handle = outbound(made, GCM)
    assert made.send(lists([[frame(ipv4(room(GCM, b"x", 253, 3), proto=ESP))]], ipsec=handle)).ok == 1
    word = MSS | tcp_offset(4, GCM) << 20 | V2
    assert fails(made, large(4, GCM, STREAM[:5000], seq=1), handle, word)
    assert len(cut(made, large(4, GCM, STREAM[:5000], seq=4), handle, word)) == 4
    wrapping = large(4, GCM, STREAM[:5000], seq=0xFFFFFFFE)
    assert fails(made, wrapping, handle, word)  # no ESN: the number would come again


def test_host_ivs_are_not_used_for_segments() -> None:
    made = nic({"iv": "host"})
    one = large(4, GCM, STREAM[:5000])
    sent = cut(made, one, outbound(made, GCM), MSS | tcp_offset(4, GCM) << 20 | V2)
    assert len({packet[42:50] for packet in sent} | {bytes(8)}) == 5


@pytest.mark.parametrize(
    "change",
    [(38, b"\0\0\0\x09"), (23, b"\x06"), (34, b"\0\0\0\0"), (14, b"\x4f"), (50, b"\xff" * 20)],
    ids=["seq", "protocol", "SPI", "IHL", "TCP"],
)
def test_headers_are_those_that_were_judged(change: tuple[int, bytes]) -> None:
    """The host writes a frame's headers while the list in front of it gets its IVs."""
    at, written = change
    armed = False

    def generator(n: int) -> bytes:
        if armed:
            start = int(batch.frames.offset[1]) + at
            np.asarray(batch.frames.data)[start : start + len(written)] = list(written)
        return bytes(i * 7 & 0xFF for i in range(n))

    made = nic({"iv_generator": generator})
    frames = [[large(4, sa, STREAM[:5000], seq=5)] for sa in (CBC, GCM)]
    handles = [outbound(made, CBC), outbound(made, GCM)]
    words = [MSS | tcp_offset(4, sa) << 20 | V2 for sa in (CBC, GCM)]
    batch = lists(frames, ipsec=handles, large_send=words, header=6)
    armed = True
    result = made.send(batch)
    assert batch.frames.to_packets()[1] != frames[1][0]
    assert result.status.tolist() == [SUCCESS, SUCCESS]
    sent = [one for one, of in zip(result.transmitted.to_packets(), result.nbl, strict=True) if of == 1]
    assert [one[34:42] for one in sent] == [struct.pack(">II", GCM.spi, 5 + i) for i in range(4)]
    check_segments(4, [scapy_opens(GCM, one[14:])[20:] for one in sent], STREAM[:5000], MSS)


@pytest.mark.parametrize("change", [(41, 1, 200), (23, 6, ESP), (34, 0xFF, 0)], ids=["seq", "protocol", "SPI"])
def test_a_frame_written_all_the_time_repeats_no_nonce(change: tuple[int, int, int]) -> None:
    at, one_value, other = change
    original = large(4, GCM, STREAM[:60000])
    word = 4 | tcp_offset(4, GCM) << 20 | V2
    for _ in range(8):
        made = nic()
        batch = lists([[original]], ipsec=outbound(made, GCM), large_send=word, header=6)
        data, at_frame, done = np.asarray(batch.frames.data), int(batch.frames.offset[0]) + at, threading.Event()

        def write(data: Any = data, to: int = at_frame, done: threading.Event = done) -> None:
            while not done.is_set():
                data[to] = one_value
                data[to] = other

        writer = threading.Thread(target=write)
        writer.start()
        try:
            result = made.send(batch)
        finally:
            done.set()
            writer.join()
        sent = result.transmitted.to_packets()
        assert len(sent) == (15000 if result.ok else 0)
        assert len({packet[42:50] for packet in sent} | {bytes(8)}) == len(sent) + 1


def test_only_a_wrap_of_its_own_moves_the_high_half() -> None:
    """A large send of an older span stays in it, wherever the window's top is by then."""
    sa = replace(GCM, esn=True)
    made = nic()
    handle = outbound(made, sa, seq_hi=[1])
    word = 1000 | tcp_offset(4, sa) << 20 | V2
    assert len(cut(made, large(4, sa, STREAM[:10000], seq=0xFFFFFFFA), handle, word)) == 10
    made.update(handle, "esp", sa.spi, 1)
    assert len(cut(made, large(4, sa, STREAM[:3000], seq=0xFFFFFF00), handle, word)) == 3
    batch = lists([[frame(ipv4(room(sa, b"x", 253, 0xFFFFFF80), proto=ESP))]], ipsec=handle)
    assert made.send(batch).ok == 1
    assert scapy_opens(sa, batch.frames.to_packets()[0][14:], 1)[20:] == b"x"


def test_no_nonce_twice_under_a_key() -> None:
    """Single frames, large sends over the wrap, UPDATE back and forth, ADD again: whatever goes out has a new IV."""
    sa = replace(GCM, esn=True)
    made = nic()
    handles = [outbound(made, sa)]
    used: list[bytes] = []
    refused = 0

    def sends(frames: list[list[bytes]], word: int = 0) -> int:
        nonlocal refused
        result = made.send(lists(frames, ipsec=handles[-1], large_send=word, header=6 if word else 0))
        refused += len(frames) - result.ok
        used.extend(packet[42:50] for packet in result.transmitted.to_packets())
        return result.ok

    def singles(seqs: range) -> int:
        return sends([[frame(ipv4(room(sa, b"x", 253, seq), proto=ESP))] for seq in seqs])

    def several(seqs: range) -> int:
        return sends([[frame(ipv4(room(sa, b"x", 253, seq), proto=ESP)) for seq in seqs]])

    def run(seq: int) -> int:
        return sends([[large(4, sa, STREAM[:8000], seq=seq)]], 1000 | tcp_offset(4, sa) << 20 | V2)

    end = 1 << 32
    assert (singles(range(end - 40, end - 20)), run(end - 20), run(end - 4)) == (20, 1, 1)
    assert (singles(range(10)), run(2), several(range(2, 20))) == (6, 0, 0)  # 0 to 3 went out behind the wrap
    assert (several(range(10, 20)), run(20)) == (1, 1)
    for high in (0, 1, 0, 1, 2, 1, 0, 2):
        made.update(handles[-1], "esp", sa.spi, high)
        for seq in (end - 44, end - 30, end - 12, end - 3, 0, 17, 24, 30):
            run(seq)
            singles(range(seq - 3, seq + 6))
            several(range(seq + 1, seq + 4))
        # the same SA once more: a handle more, and not a new life
        handles.append(outbound(made, sa, seq_hi=[high // 2]))
        assert singles(range(end - 40, end - 20)) == 0 or high // 2 == 1
        run(end - 8)
    assert refused > 100 and len(used) > 150
    assert len(set(used)) == len(used)


def test_exactly_the_numbers_of_the_segments_are_used() -> None:
    """Numbers around runs that begin anywhere above the window, whose top is anywhere in a word of it."""
    draw, window = random.Random(9), 128
    made = nic({"sent_window": window})
    handle, used, top = outbound(made, GCM), set[int](), 0
    word = 16 | tcp_offset(4, GCM) << 20 | V2
    for _ in range(60):
        first, n = (
            top + draw.choice([1, 2, 60, 64, 65, 130, 300]),
            draw.choice([1, 2, 3, 63, 64, 65, 128, 129, 200, 260]),
        )
        data = STREAM[: 16 * n - draw.randrange(16)]
        assert len(cut(made, large(4, GCM, data, seq=first), handle, word)) == n
        used.update(range(first, first + n))
        top = first + n - 1
        for seq in draw.sample(range(max(1, first - 5), first + n + 5), min(12, n)):
            fresh = seq > top or (top - seq < window and seq not in used)
            assert made.send(lists([[frame(ipv4(room(GCM, b"x", 253, seq), proto=ESP))]], ipsec=handle)).ok == fresh
            used.add(seq)
            top = max(top, seq) if fresh else top


def test_no_number_comes_behind_the_last_one() -> None:
    """2^64 - 1 is the last; behind it 0, 1, 2 would come again."""
    sa = replace(GCM, esn=True)
    made = nic()
    handle = outbound(made, sa)
    assert made.send(lists([[frame(ipv4(room(sa, b"x", 253, 1), proto=ESP))]], ipsec=handle)).ok == 1
    made.update(handle, "esp", sa.spi, 0xFFFFFFFF)
    word = 1000 | tcp_offset(4, sa) << 20 | V2
    assert fails(made, large(4, sa, STREAM[:6000], seq=0xFFFFFFFD), handle, word)
    assert len(cut(made, large(4, sa, STREAM[:3000], seq=0xFFFFFFFD), handle, word)) == 3
