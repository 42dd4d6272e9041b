"""Captures that are cut off, damaged or no captures at all; and any others that chance makes."""

from __future__ import annotations

import gzip
import os
import struct

import capture_model as model
import numpy as np
import pytest
from capture_model import EPB, PB, SPB, Frame
from capture_run import LINKS, expect, frames_of, packet, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipsecfast.capture import Capture, ChunkBuffer, DamagedCapture
from ipsecfast.errors import CaptureError


@pytest.fixture(params=[(1 << 20, 1 << 15), (64, 2), (257, 1)], ids=["one chunk", "tiny chunks", "record by record"])
def buffer(request) -> ChunkBuffer:
    return ChunkBuffer(*request.param)


def test_pcap_cut_at_every_byte(tmp_path):
    frames = frames_of(1, 4)
    data = model.pcap(frames)
    ends = [len(model.pcap(frames[:k])) for k in range(len(frames) + 1)]
    for cut in range(len(data) + 1):
        if cut < 24:
            with pytest.raises(CaptureError):
                run(tmp_path, data[:cut])
            continue
        whole = sum(e <= cut for e in ends) - 1
        got, damaged = run(tmp_path, data[:cut])
        assert got == model.pcap(expect(frames[:whole]))
        assert bool(damaged) == (cut not in ends), cut


def test_pcapng_cut_at_every_byte(tmp_path):
    frames = frames_of(1, 3)

    def pieces(frames: list[Frame]) -> list[bytes]:
        return [model.section(), model.interface(), *map(model.packet_block, frames), model.block(5, b"end.")]

    data = b"".join(pieces(frames))
    ends = [len(b"".join(pieces(frames)[:k])) for k in range(7)]
    for cut in range(len(data) + 1):
        if cut < ends[1]:  # an OUT without a section header would be no capture
            with pytest.raises(CaptureError):
                run(tmp_path, data[:cut])
            continue
        whole = sum(e <= cut for e in ends) - 1
        got, damaged = run(tmp_path, data[:cut])
        assert got == b"".join(pieces(expect(frames))[:whole])
        assert bool(damaged) == (cut not in ends), cut


def test_gzip_of_one_and_several_members(tmp_path, buffer):
    frames = frames_of(1)
    data = model.pcap(frames)
    packed = gzip.compress(data[:100]) + gzip.compress(data[100:]) + bytes(512)
    got, damaged = run(tmp_path, packed, buffer=buffer)
    assert got == model.pcap(expect(frames)) and not damaged


def test_gzip_cut_off_keeps_what_was_read(tmp_path):
    frames = [Frame(LINKS[1][0], packet(0) + os.urandom(1000)) for _ in range(50)]
    packed = gzip.compress(model.pcap(frames))
    for cut in (25_000, len(packed) - 5):
        got, damaged = run(tmp_path, packed[:cut])
        count = len(model.read_pcap(got)[1])
        assert len(damaged) == 1 and "gzip" in str(damaged[0])
        assert got == model.pcap(frames[:count]) and count >= cut // 1100
    with pytest.raises(CaptureError):
        run(tmp_path, packed[:15])


def test_gzip_damage_is_told(tmp_path):
    frames = frames_of(1)
    packed = bytearray(gzip.compress(model.pcap(frames)))
    packed[-6] ^= 1  # its CRC, which comes after all data
    got, damaged = run(tmp_path, bytes(packed))
    assert got == model.pcap(expect(frames[:-1])) and "gzip" in str(damaged[0])  # zlib keeps the last byte to itself


@pytest.mark.parametrize(
    "data,text",
    [
        (b"", "empty"),
        (b"\xd4", "neither"),
        (b"hello, this is no capture at all", "neither"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 1, 0, 0, 0, 0, 1), "version 1.0"),
        (struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 0, 1), "modified"),
        (model.pcap([], link_type=105), "link type 105"),
        (model.pcap([])[:23], "inside its file header"),
        (model.section()[:12] + b"\2\0" + model.section()[14:], "version 2.0"),
        (model.section()[:8] + bytes(20), "byte-order"),
        (model.section()[:4] + b"\x1b\0\0\0" + model.section()[8:], "27 bytes"),
    ],
)
def test_no_capture_at_all(tmp_path, data, text):
    with pytest.raises(CaptureError, match=text) as e:
        run(tmp_path, data)
    assert "in0" in str(e.value) and "\n" not in str(e.value)
    assert os.listdir(tmp_path) == ["in0"]


@pytest.mark.parametrize(
    "middle,text",
    [
        (struct.pack("<II", 6, 13) + bytes(20), "impossible length"),
        (struct.pack("<II", 6, 8) + bytes(20), "impossible length"),
        (struct.pack("<II", 6, 1 << 28) + bytes(20), "impossible length"),
        (struct.pack("<II", 6, 16) + bytes(20), "two lengths differ"),
        (model.block(EPB, bytes(16)), "impossible length"),
        (model.block(1, bytes(4)), "impossible length"),
        (model.block(EPB, struct.pack("<IIIII", 0, 0, 0, 5, 5) + bytes(4)), "longer than its block"),
        (model.block(EPB, struct.pack("<IIIII", 0, 0, 0, 1 << 31, 5) + bytes(4)), "impossible length"),
        (model.block(EPB, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFFF, 5) + bytes(4)), "impossible length"),
        (model.block(0x0A0D0D0A, bytes(16)), "byte-order"),
        (model.block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 3, 0, -1)), "unknown version"),
    ],
)
def test_damage_in_the_middle_of_a_pcapng(tmp_path, buffer, middle, text):
    frames = frames_of(1, 3)
    head = model.section() + model.interface()
    data = head + b"".join(map(model.packet_block, frames))
    got, damaged = run(tmp_path, data + middle + data, buffer=buffer)
    assert got == head + b"".join(map(model.packet_block, expect(frames)))
    assert len(damaged) == 1 and text in str(damaged[0]) and f"byte {len(data)}:" in str(damaged[0])


def test_damage_in_the_middle_of_a_pcap(tmp_path, buffer):
    frames = frames_of(1, 3)
    data = model.pcap(frames)
    got, damaged = run(tmp_path, data + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 60) + data[24:], buffer=buffer)
    assert got == model.pcap(expect(frames))
    assert f"byte {len(data)}: a packet with an impossible length" in str(damaged[0])


def test_damage_does_not_end_the_other_captures(tmp_path):
    frames = frames_of(1, 3)
    got, damaged = run(tmp_path, model.pcap(frames)[:-1], model.pcap(frames))
    assert got == model.pcap(expect(frames[:2] + frames)) and len(damaged) == 1


def test_large_records_pass(tmp_path):
    frames = [Frame(LINKS[1][0], packet(1, 1 << 19)), Frame(LINKS[1][0], packet(2, 70_000))]
    secrets = model.block(10, bytes(3 << 20))
    got, damaged = run(tmp_path, model.pcap(frames), buffer=ChunkBuffer(4096, 8))
    assert got == model.pcap(expect(frames)) and not damaged
    head = model.section() + model.interface()
    got, damaged = run(tmp_path, head + secrets + model.packet_block(frames[0]), buffer=ChunkBuffer(4096, 8))
    assert got == head + secrets + model.packet_block(expect(frames)[0]) and not damaged


def test_a_packet_outside_of_the_memory_is_refused(tmp_path):
    (tmp_path / "in").write_bytes(model.pcap(frames_of(1, 3)))
    for chunk in Capture(str(tmp_path / "in")).chunks(ChunkBuffer()):
        ok = np.zeros(3, np.uint8)
        end, last = len(chunk.work), int(chunk.length[0])
        wrong = ((-1, 1), (end - last + 1, last), (0, end + 1), (1 << 40, 1), (-(1 << 40), 1), (0, 0), (0, -1000))
        for at, size in wrong:
            offset, length = chunk.offset.copy(), chunk.length.copy()
            offset[0], length[0] = at, size
            with pytest.raises(ValueError, match="outside of the"):
                chunk.assemble(offset, length, ok)
        with pytest.raises(ValueError, match="outside of the"):
            chunk.assemble(chunk.offset, chunk.length, ok, work=chunk.work[: int(chunk.offset[2])])
        with pytest.raises(ValueError, match="too small"):
            few = np.empty(chunk.index.out_room(chunk.length + 1, ok) - 1, np.uint8)
            chunk.index.assemble(chunk.raw, chunk.work, few, chunk.offset, chunk.length + 1, ok)
        with pytest.raises(ValueError, match="entries"):
            chunk.assemble(chunk.offset, chunk.length, ok[:2])
        assert bytes(chunk.unchanged()) == model.pcap(frames_of(1, 3))[24:]


frame_lists = st.lists(
    st.builds(
        Frame,
        link=st.sampled_from(LINKS[1]),
        packet=st.builds(packet, op=st.integers(0, 255), n=st.integers(2, 90), version=st.sampled_from([4, 6])),
        trailer=st.binary(max_size=5),
        seconds=st.integers(0, 2**32 - 1),
        nanos=st.integers(0, 10**9 - 1),
        missing=st.integers(0, 100),
    ),
    max_size=12,
)
fuzzing = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzing
@given(frames=frame_lists, big=st.booleans(), nanos=st.booleans(), size=st.integers(24, 400), records=st.integers(1, 9))
def test_any_capture(tmp_path, frames, big, nanos, size, records):
    buffer = ChunkBuffer(size, records)
    got, damaged = run(tmp_path, model.pcap(frames, big, nanos), buffer=buffer)
    assert got == model.pcap(expect(frames), big, nanos) and not damaged
    head = model.section(big) + model.interface(1, big)
    data = head + b"".join(model.packet_block(f, big=big) for f in frames)
    got, damaged = run(tmp_path, data, buffer=buffer)
    assert got == head + b"".join(model.packet_block(f, big=big) for f in expect(frames)) and not damaged


@fuzzing
@given(data=st.data(), ng=st.booleans(), big=st.booleans(), size=st.integers(24, 400))
def test_any_damage(tmp_path, data, ng, big, size):
    frames = frames_of(1, 6)
    good = bytearray(model.pcap(frames, big))
    if ng:
        good = bytearray(model.section(big) + model.interface(1, big, options=model.option(9, b"\x09", big)))
        good += b"".join(model.packet_block(f, big=big, kind=kind) for f in frames for kind in (EPB, PB, SPB))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.sampled_from([0, 1, 3, 4, 0x7F, 0x80, 0xFF]))
    reference = model.pcap(frames)
    for files in ([bytes(good)], [reference, bytes(good)], [model.section() + model.interface(), bytes(good)]):
        try:
            got, damaged = run(tmp_path, *files, buffer=ChunkBuffer(size, 4))
        except CaptureError as e:
            assert "\n" not in str(e)
            continue
        assert all(isinstance(e, DamagedCapture) for e in damaged)
        (tmp_path / "again").write_bytes(got)
        again, damaged = run(tmp_path, got, transform=ChunkBuffer.unchanged)
        assert again == got and not damaged
