"""Captures in and out, without any crypto: packets are moved by a rule that the model knows as well."""

from __future__ import annotations

import gzip
import io
import os
import struct
from dataclasses import replace

import capture_model as model
import pytest
from capture_model import EPB, PB, SPB, Frame
from capture_run import ETHERNET, LINKS, apply_rule, expect, frames_of, packet, run

from ipsecfast.capture import Capture, ChunkBuffer, OutputFile, rewrite
from ipsecfast.errors import CaptureError


@pytest.fixture(params=[(1 << 20, 1 << 15), (64, 2), (257, 1)], ids=["one chunk", "tiny chunks", "record by record"])
def buffer(request) -> ChunkBuffer:
    return ChunkBuffer(*request.param)


@pytest.mark.parametrize("link_type", LINKS)
@pytest.mark.parametrize("nanos", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_pcap(tmp_path, buffer, big, nanos, link_type):
    frames = frames_of(link_type)
    got, damaged = run(tmp_path, model.pcap(frames, big, nanos, link_type), buffer=buffer)
    assert not damaged
    assert got == model.pcap(expect(frames, link_type), big, nanos, link_type)


@pytest.mark.parametrize("kind", [EPB, PB, SPB])
@pytest.mark.parametrize("link_type", [1, 0, 276])
@pytest.mark.parametrize("big", [False, True])
def test_pcapng_every_block_is_kept(tmp_path, buffer, big, link_type, kind):
    frames = frames_of(link_type)
    options = model.option(1, b"a comment", big) + model.option(0, b"", big) if kind != SPB else b""
    name_resolution, custom = model.block(4, b"names!", big), model.block(0x0BAD, b"\x01\x02\x03", big)

    def capture(frames: list[Frame]) -> bytes:
        first = model.section(big, options=model.option(3, b"Linux", big)) + custom
        first += model.interface(link_type, big) + model.interface(105, big)
        body = b"".join(model.packet_block(f, 0, big, kind=kind, options=options) + name_resolution for f in frames)
        second = model.section(not big) + model.interface(link_type, not big, snaplen=0x40000)
        return first + body + second + b"".join(model.packet_block(f, 0, not big) for f in frames)

    got, damaged = run(tmp_path, capture(frames), buffer=buffer)
    assert not damaged
    assert got == capture(expect(frames, link_type))
    model.blocks(got)


def test_pcapng_interfaces_of_one_section_differ(tmp_path):
    ether, raw, other = frames_of(1, 6), frames_of(101, 6), frames_of(101, 6)

    def capture(ether: list[Frame], raw: list[Frame]) -> bytes:
        data = model.section() + model.interface(1) + model.interface(101) + model.interface(105)
        for e, r, o in zip(ether, raw, other, strict=True):
            data += model.packet_block(e, 0) + model.packet_block(r, 1) + model.packet_block(o, 2)
            data += model.packet_block(r, 99)  # there is no such interface
        return data

    def kept(chunk: ChunkBuffer) -> memoryview:
        assert chunk.count == 24 and len(chunk.offset) == 12
        return apply_rule(chunk)

    got, damaged = run(tmp_path, capture(ether, raw), transform=kept)
    want = model.section() + model.interface(1) + model.interface(101) + model.interface(105)
    for e, r, o, r_old in zip(expect(ether), expect(raw, 101), other, raw, strict=True):
        want += model.packet_block(e, 0) + model.packet_block(r, 1) + model.packet_block(o, 2)
        want += model.packet_block(r_old, 99)
    assert got == want and not damaged


def test_section_length_is_set_to_unknown(tmp_path):
    frames = frames_of(1)
    data = model.section(length=4096) + model.interface() + b"".join(map(model.packet_block, frames))
    got, _ = run(tmp_path, data)
    assert got[16:24] == b"\xff" * 8
    assert got == model.section() + model.interface() + b"".join(map(model.packet_block, expect(frames)))


def test_simple_packets_are_cut_by_the_snapshot_length(tmp_path):
    whole = Frame(LINKS[1][0], packet(1, 40))
    cut = replace(whole, trailer=b"\0" * 6, missing=8)
    data = (
        model.section() + model.interface(snaplen=60) + b"".join(model.packet_block(f, kind=SPB) for f in (whole, cut))
    )
    got, damaged = run(tmp_path, data)
    want = [model.packet_block(f, kind=SPB) for f in expect([whole, cut])]
    assert got == model.section() + model.interface(snaplen=60) + b"".join(want) and not damaged


@pytest.mark.parametrize("link_type,version", [(228, 4), (229, 6)])
def test_fixed_families_stay(tmp_path, link_type, version):
    frames = [Frame(b"", packet(op, version=version)) for op in range(3)]
    buffer = ChunkBuffer()
    got, _ = run(tmp_path, model.pcap(frames, link_type=link_type), buffer=buffer)
    want = expect(frames, link_type)
    assert got == model.pcap([frames[0], want[1], frames[2]], link_type=link_type)
    assert buffer.index.unfit == 1


def test_frames_without_ip_are_no_packets_for_the_core(tmp_path):
    good = LINKS[1][0]
    frames = [
        Frame(b"", b""),
        Frame(ETHERNET, b""),
        Frame(good, b""),
        Frame(ETHERNET + b"\x08\x06", packet(1)),
        Frame(good, packet(1, version=5)),
        Frame(ETHERNET + b"\x81\0\0", b""),
        Frame(ETHERNET + b"\x81\0" * 20, b""),
        Frame(good, packet(0)),
    ]
    data = model.pcap(frames)

    def one(chunk: ChunkBuffer) -> memoryview:
        assert chunk.count == len(frames) and chunk.length.tolist() == [40]
        return apply_rule(chunk)

    got, damaged = run(tmp_path, data, transform=one)
    assert got == data and not damaged


@pytest.mark.parametrize(
    "value,ip", [(2, True), (10, True), (24, True), (28, True), (30, True), (3, False), (0, False)]
)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("link_type", [0, 108])
def test_loopback_families(tmp_path, link_type, order, value, ip):
    frames = [Frame(struct.pack(order + "I", value), packet(0))]

    def count(chunk: ChunkBuffer) -> memoryview:
        assert len(chunk.offset) == ip
        return chunk.unchanged()

    run(tmp_path, model.pcap(frames, link_type=link_type), transform=count)


@pytest.mark.parametrize("first", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("second", [(False, False), (True, False), (False, True), (True, True)])
def test_pcaps_of_several_forms_into_one(tmp_path, buffer, first, second):
    a, b = frames_of(1, 4), frames_of(1, 5)
    got, damaged = run(tmp_path, model.pcap(a, *first), model.pcap(b, *second), buffer=buffer)
    # A time stamp loses what the first capture's resolution can't hold, and what it never had.
    cut = [f if first[1] and second[1] else replace(f, nanos=f.nanos // 1000 * 1000) for f in expect(b)]
    assert got == model.pcap(expect(a) + cut, *first) and not damaged


def test_snapshot_length_is_that_of_the_largest(tmp_path):
    frames = frames_of(1, 2)
    got, _ = run(tmp_path, model.pcap(frames, snaplen=96), model.pcap(frames, snaplen=2000))
    assert got == model.pcap(expect(frames) * 2, snaplen=2000)


@pytest.mark.parametrize("nanos", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_pcap_after_a_pcapng_becomes_a_section(tmp_path, buffer, big, nanos):
    a, b = frames_of(1, 4), frames_of(101, 5)
    one = model.section(True) + model.interface(1, True) + b"".join(model.packet_block(f, big=True) for f in a)
    got, damaged = run(tmp_path, one, model.pcap(b, big, nanos, 101), one, buffer=buffer)
    a, b = expect(a), expect(b, 101)
    one = model.section(True) + model.interface(1, True) + b"".join(model.packet_block(f, big=True) for f in a)
    resolution = model.option(9, b"\x09" if nanos else b"\x06") + model.option(0, b"")
    two = model.section() + model.interface(101, snaplen=65535, options=resolution)
    unit = 10**9 if nanos else 10**6
    assert got == one + two + b"".join(model.packet_block(f, unit=unit) for f in b) + one
    assert not damaged


RESOLUTIONS = [(b"\x06", 10**6), (b"\x09", 10**9), (b"\x03", 10**3), (b"\x00", 1), (b"\x0c", 10**12), (b"\x94", 2**20)]


@pytest.mark.parametrize("kind", [EPB, PB])
@pytest.mark.parametrize("code,unit", RESOLUTIONS)
@pytest.mark.parametrize("nanos", [False, True])
def test_pcapng_after_a_pcap_becomes_records(tmp_path, nanos, code, unit, kind):
    frames = frames_of(1)
    options = model.option(9, code) + model.option(14, struct.pack("<q", -100)) + model.option(0, b"")
    second = model.section() + model.interface(options=options)
    second += b"".join(model.packet_block(f, unit=unit, kind=kind) + model.block(0xBAD, b"gone") for f in frames)
    got, damaged = run(tmp_path, model.pcap(frames, nanos=nanos), second)
    assert not damaged
    link_type, records = model.read_pcap(got)
    assert link_type == 1 and len(records) == 2 * len(frames)
    for f, (seconds, fraction, data, wire) in zip(expect(frames), records[len(frames) :], strict=True):
        ticks = f.nanos * unit // 10**9  # what the time stamp in the file has kept
        assert seconds == f.seconds - 100
        assert fraction == ticks * 10**9 // unit // (1 if nanos else 1000)
        assert data == f.data and wire == len(data) + f.missing


@pytest.mark.parametrize("code", [b"\x13", b"\x14", b"\x7f", b"\xbf", b"\xff"])
def test_absurd_resolutions_do_no_harm(tmp_path, code):
    frames = frames_of(1, 3)
    second = model.section() + model.interface(options=model.option(9, code))
    second += b"".join(model.packet_block(f, unit=2**33) for f in frames)
    got, damaged = run(tmp_path, model.pcap(frames), second)
    assert [r[2] for r in model.read_pcap(got)[1]] == [f.data for f in expect(frames) * 2] and not damaged


def test_other_link_types_need_a_pcapng(tmp_path):
    a, b = model.pcap(frames_of(1)), model.pcap(frames_of(101), link_type=101)
    ng = model.section() + model.interface(101) + model.packet_block(frames_of(101)[0])
    for second in (b, ng):
        with pytest.raises(CaptureError, match="pcapng as the first"):
            run(tmp_path, a, second)
        assert sorted(os.listdir(tmp_path)) == ["in0", "in1"]


def test_output_gz(tmp_path):
    frames = frames_of(1)
    (tmp_path / "in").write_bytes(model.pcap(frames))
    with OutputFile(str(tmp_path / "out.pcap.gz")) as out:
        rewrite([Capture(str(tmp_path / "in"))], out, apply_rule)
        out.commit()
    assert gzip.decompress((tmp_path / "out.pcap.gz").read_bytes()) == model.pcap(expect(frames))


def test_pipes(tmp_path):
    frames = frames_of(1, 50)
    data = model.pcap(frames)
    r, w = os.pipe()
    os.write(w, data)
    os.close(w)
    capture = Capture(f"/dev/fd/{r}")
    with OutputFile(str(tmp_path / "out")) as out:
        assert not rewrite([capture], out, apply_rule)
        out.commit()
    os.close(r)
    assert (tmp_path / "out").read_bytes() == model.pcap(expect(frames))


def test_an_output_that_is_not_committed_vanishes(tmp_path):
    (tmp_path / "out").write_bytes(b"before")
    with OutputFile(str(tmp_path / "out")) as out:
        out.write(b"new")
        assert len(os.listdir(tmp_path)) == 2
    assert os.listdir(tmp_path) == ["out"] and (tmp_path / "out").read_bytes() == b"before"


def test_an_output_keeps_mode_and_link(tmp_path):
    (tmp_path / "real").write_bytes(b"before")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    with OutputFile(str(tmp_path / "link")) as out:
        out.write(b"new")
        out.commit()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("path", ["", "no/such/folder/out", ".", "a\0b", "x" * 300])
def test_outputs_that_can_not_be(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptureError, match="can't be written"), OutputFile(path):
        pass
    assert os.listdir(tmp_path) == []


def test_scapy_reads_what_was_written(tmp_path):
    utils = pytest.importorskip("scapy.utils")
    frames = frames_of(1)
    ng = (
        model.section()
        + model.interface(options=model.option(9, b"\x09"))
        + b"".join(model.packet_block(f, unit=10**9) for f in frames)
    )
    got, _ = run(tmp_path, ng, model.pcap(frames, big=True))
    with utils.RawPcapNgReader(io.BytesIO(got)) as reader:
        assert [bytes(data) for data, _ in reader] == [f.data for f in expect(frames) * 2]
    got, _ = run(tmp_path, model.pcap(frames, big=True), ng)
    with utils.RawPcapReader(io.BytesIO(got)) as reader:
        seen = [(bytes(data), meta.sec, meta.usec) for data, meta in reader]
    assert seen == [(f.data, f.seconds, f.nanos // 1000) for f in expect(frames) * 2]


def test_real_captures_pass_unchanged(tmp_path):
    paths = sorted(model.SHARED.glob("*/*.pcap")) or [model.DEMO / "demo.pcap"]
    for path in paths:
        data = path.read_bytes()
        assert run(tmp_path, data, transform=ChunkBuffer.unchanged) == (data, [])
