"""PacketBatch: wrong use raises before anything is touched, views can't be written, memory outlives the batch.

Also that no call reads or writes outside of the packets: canary bytes, and pages that must not be touched.
"""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differential import PROVIDER_NAMES

import ipsecfast
from ipsecfast import SAD, PacketBatch, PacketStatus
from ipsecfast.testing import strategies as gen

SA = gen.make_sa(gen.Suite("AES-GCM-128", "NONE"))
INNER = gen.plain_packet(4, bytes(range(40)))
PROTECTED = gen.protect(SA, INNER, 1)
DATA = np.full(400, 0x5A, np.uint8)

WRONG: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "data is a list": ({"data": [1, 2]}, TypeError),
    "data is None": ({"data": None}, TypeError),
    "data is bytes": ({"data": bytes(400)}, BufferError),
    "data is a read-only view": ({"data": memoryview(bytearray(400)).toreadonly()}, BufferError),
    "data is strided": ({"data": np.zeros(800, np.uint8)[::2]}, (BufferError, ValueError)),
    "data is int32": ({"data": np.zeros(100, np.int32)}, TypeError),
    "data is float64": ({"data": np.zeros(50)}, TypeError),
    "data is of objects": ({"data": np.array([None] * 50)}, (TypeError, ValueError, BufferError)),
    "offset is None": ({"offset": None}, (TypeError, ValueError)),
    "offset is float": ({"offset": np.zeros(2)}, TypeError),
    "offset is bool": ({"offset": [False, True]}, TypeError),
    "offset is text": ({"offset": ["0", "1"]}, TypeError),
    "offset is two-dimensional": ({"offset": np.zeros((2, 1), np.int64)}, ValueError),
    "offset is a number": ({"offset": 0}, ValueError),
    "offset is negative": ({"offset": [-1, 100]}, ValueError),
    "offset is behind the data": ({"offset": [0, 401]}, ValueError),
    "offset of 2**63": ({"offset": np.array([0, 1 << 63], np.uint64)}, ValueError),
    "offset beyond 64 bits": ({"offset": [0, 1 << 64]}, (TypeError, ValueError)),
    "offset of 2**63 - 1": ({"offset": [0, (1 << 63) - 1]}, ValueError),
    "lengths are too few": ({"length": [20]}, ValueError),
    "lengths are too many": ({"length": [20, 20, 20]}, ValueError),
    "length is negative": ({"length": [20, -1]}, ValueError),
    "length beyond the data": ({"length": [20, 301]}, ValueError),
    "length of 2**31": ({"length": [20, 1 << 31]}, ValueError),
    "length of 2**32": ({"length": [20, 1 << 32]}, ValueError),
    "length is float": ({"length": [20.0, 20.0]}, TypeError),
    "packets overlap": ({"length": [101, 20]}, ValueError),
    "packets are the same": ({"offset": [100, 100]}, ValueError),
    "slot_offset alone": ({"slot_offset": [0, 100]}, ValueError),
    "slot_length alone": ({"slot_length": [100, 100]}, ValueError),
    "slots are too few": ({"slot_offset": [0], "slot_length": [100]}, ValueError),
    "slots overlap": ({"slot_offset": [0, 99], "slot_length": [100, 100]}, ValueError),
    "slots overlap, last first": ({"offset": [200, 0], "slot_offset": [150, 0], "slot_length": [100, 151]}, ValueError),
    "slot around the other": ({"slot_offset": [0, 100], "slot_length": [400, 20]}, ValueError),
    "slot beyond the data": ({"slot_offset": [0, 100], "slot_length": [100, 301]}, ValueError),
    "slot is negative": ({"slot_offset": [-1, 100], "slot_length": [100, 100]}, ValueError),
    "slot of negative length": ({"slot_offset": [0, 100], "slot_length": [100, -1]}, ValueError),
    "slot end beyond 64 bits": ({"slot_offset": [0, (1 << 63) - 1], "slot_length": [100, (1 << 31) - 1]}, ValueError),
    "packet in front of its slot": ({"slot_offset": [0, 101], "slot_length": [100, 100]}, ValueError),
    "packet behind its slot": ({"slot_offset": [0, 100], "slot_length": [100, 19]}, ValueError),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name: str) -> None:
    """Each of these, and the data is as it was."""
    change, error = WRONG[name]
    good = {"data": DATA, "offset": [0, 100], "length": [20, 20]}
    assert len(PacketBatch(**good)) == 2
    with pytest.raises(error):
        PacketBatch(**(good | change))
    assert (DATA == 0x5A).all()


@pytest.mark.parametrize(
    ("packets", "rooms", "error"),
    [
        ([1, 2], {}, TypeError),
        (["text"], {}, TypeError),
        (b"bytes are ints", {}, TypeError),
        (None, {}, TypeError),
        ([b"x"], {"headroom": -1}, ValueError),
        ([b"x"], {"tailroom": -1}, ValueError),
        ([b"x"], {"headroom": 1 << 40}, ValueError),
        ([b"x"], {"headroom": "1"}, TypeError),
        ([np.zeros(20, np.uint8)[::2]], {}, (BufferError, ValueError)),
    ],
)
def test_wrong_use_of_from_packets(packets: Any, rooms: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        PacketBatch.from_packets(packets, **rooms)


def test_a_batch_can_not_be_made_again() -> None:
    """A second __init__ would pull the memory away from under the views."""
    batch = PacketBatch(DATA, [0], [20])
    with pytest.raises(RuntimeError):
        batch.__init__(DATA, [0], [20])  # type: ignore[misc]


MIXED = [bytearray(b"ab"), memoryview(b"c")]


@pytest.mark.parametrize("packets", [[], [b""], [b"", b"a", b""], [bytes(n) for n in range(130)], MIXED])
@pytest.mark.parametrize("rooms", [(0, 0), (128, 64), (1, 3)])
def test_from_packets(packets: list[Any], rooms: tuple[int, int]) -> None:
    batch = PacketBatch.from_packets(packets, *rooms)
    assert batch.to_packets() == [bytes(p) for p in packets] and len(batch) == len(packets)
    assert batch.length.tolist() == [len(p) for p in packets]
    starts, lengths = batch.offset.tolist(), batch.length.tolist()
    for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        behind = starts[i + 1] - rooms[0] if i + 1 < len(starts) else batch.data.nbytes
        assert start >= rooms[0] and behind - start - length >= rooms[1]


def test_items() -> None:
    batch = PacketBatch(DATA.copy(), [0, 100, 400], [20, 7, 0])
    assert [len(batch[i]) for i in (0, 1, 2, -1, -3)] == [20, 7, 0, 0, 20]
    assert isinstance(batch[1], memoryview) and batch[1].format == "B"
    batch[1][0] = 1
    assert batch.to_packets()[1][0] == 1
    for i in (3, -4):
        with pytest.raises(IndexError):
            batch[i]
    with pytest.raises(TypeError):
        batch["0"]


def test_tables_are_copies_that_nobody_can_write() -> None:
    offset, length = np.array([0, 100]), np.array([20, 20], np.int32)
    batch = PacketBatch(DATA.copy(), offset, length)
    offset[:] = length[:] = 399
    assert batch.offset.tolist() == [0, 100] and batch.length.tolist() == [20, 20]
    for table in (batch.offset, batch.length):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            table.flags.writeable = True
    for name in ("offset", "length", "data"):
        with pytest.raises(AttributeError):
            setattr(batch, name, offset)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, ">i8", list])
def test_integers_of_any_width(dtype: Any) -> None:
    offset, length = ([0, 100], [20, 7]) if dtype is list else (np.array([0, 100], dtype), np.array([20, 7], dtype))
    assert PacketBatch(DATA, offset, length).length.tolist() == [20, 7]


@pytest.mark.parametrize("make", [bytearray, lambda n: memoryview(bytearray(n)), lambda n: np.zeros(n, np.uint8)])
def test_data_is_used_in_place(make: Any) -> None:
    data = make(200)
    batch = PacketBatch(data, [100], [20])
    data[100] = 77
    assert batch[0][0] == 77 and batch.data is data
    if isinstance(data, bytearray):
        with pytest.raises(BufferError):
            data.append(0)  # it would move
        del batch
        data.append(0)


def test_lifetimes() -> None:
    """Tables, items and results keep what they need when everything else is gone."""
    batch = PacketBatch.from_packets([PROTECTED] * 100)
    sad = SAD()
    sad.add(SA, direction="inbound")
    result = ipsecfast.decapsulate(batch, sad)
    offset, length, item, columns = batch.offset, batch.length, batch[0], (result.status, result.handle, result.seq)
    before = [bytes(offset), bytes(length), bytes(item), *map(bytes, columns)]
    del batch, sad, result
    gc.collect()
    noise = [bytearray(b"\xee" * 2400) for _ in range(200)]
    assert [bytes(offset), bytes(length), bytes(item), *map(bytes, columns)] == before and len(noise) == 200


@pytest.mark.parametrize("provider", [*PROVIDER_NAMES, "reference"])
def test_result_columns(provider: str) -> None:
    sad = SAD(provider=provider)
    handle = sad.add(SA, direction="inbound")
    for n in (0, 1, 65):
        result = ipsecfast.decapsulate(PacketBatch.from_packets([PROTECTED] * n), sad)
        assert [c.dtype.name for c in (result.status, result.handle, result.seq, result.failed_layer)] == [
            "uint8", "int64", "uint64", "uint8"]
        for column in (result.status, result.handle, result.seq, result.failed_layer):
            assert column.shape == (n,) and not (n and column.flags.writeable)
        assert len(result) == n and result.ok == (n == 1) and set(result.handle.tolist()) <= {handle}


ROWS = np.zeros((3, 8), np.uint8)  # of IVs
BAD_CALLS: dict[str, tuple[Any, type[Exception]]] = {
    "no batch": (lambda sad, h, b: ipsecfast.encapsulate([b""], sad, h), TypeError),
    "batch None": (lambda sad, h, b: ipsecfast.encapsulate(None, sad, h), TypeError),
    "no SAD": (lambda sad, h, b: ipsecfast.encapsulate(b, {}, h), TypeError),
    "handle 0": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, 0), KeyError),
    "handle -1": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, -1), KeyError),
    "unknown handle": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h + 100), KeyError),
    "handle of another generation": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h + (1 << 32)), KeyError),
    "inbound handle": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h - 1), ValueError),
    "handle is text": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, "1"), TypeError),
    "handle is None": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, None), TypeError),
    "handle is float": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, [1.0, 1.0, 1.0]), TypeError),
    "too few handles": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, [h]), ValueError),
    "one handle is bad": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, [h, h, 0]), KeyError),
    "one handle is inbound": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, [h, h, h - 1]), ValueError),
    "IVs are too few": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h, iv=ROWS[:2]), ValueError),
    "IVs are too long": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h, iv=np.hstack((ROWS, ROWS))), ValueError),
    "IVs are one row": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h, iv=np.zeros(8, np.uint8)), ValueError),
    "IVs are int64": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h, iv=np.zeros((3, 8), np.int64)), ValueError),
    "IVs are bytes": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h, iv=bytes(24)), ValueError),
    "threads 0": (lambda sad, h, b: ipsecfast.encapsulate(b, sad, h, threads=0), ValueError),
    "threads text": (lambda sad, h, b: ipsecfast.decapsulate(b, sad, threads="2"), (TypeError, ValueError)),
    "decapsulate None": (lambda sad, h, b: ipsecfast.decapsulate(b, None), TypeError),
    "decapsulate a list": (lambda sad, h, b: ipsecfast.decapsulate([b""], sad), TypeError),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_wrong_calls_touch_nothing(name: str) -> None:
    sad = SAD()
    sad.add(SA, direction="inbound")
    handle = sad.add(SA, direction="outbound")
    batch = PacketBatch.from_packets([INNER, PROTECTED, INNER])
    call, error = BAD_CALLS[name]
    with pytest.raises(error):
        call(sad, handle, batch)
    assert batch.to_packets() == [INNER, PROTECTED, INNER]
    assert sad.statistics(handle).seq == 0
    assert ipsecfast.encapsulate(batch, sad, handle).status.tolist() == [PacketStatus.OK] * 3


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
def test_pages_around_the_packets_are_never_touched(provider: str) -> None:
    """Packets at the very end and the very start of memory, under every algorithm, in a process of their own."""
    script = Path(__file__).with_name("guard_page.py")
    home = str(Path(ipsecfast.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(script), provider], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": home}
    )
    end = f"ended by {done.returncode} (-11: a page was touched) after:\n{done.stdout[-200:]}{done.stderr}"
    assert done.returncode == 0, end
    assert "calls" in done.stdout


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
@pytest.mark.parametrize("authentication", ["AES-XCBC-96", "AES-CMAC-96"])
def test_many_packets_that_end_with_a_page(authentication: str, provider: str) -> None:
    """ipsec-mb is given copies of such messages: each has its own."""
    sa = gen.make_sa(gen.Suite("NULL", authentication, 8))
    memory = mmap.mmap(-1, 40 * mmap.PAGESIZE)
    packets = [gen.protect(sa, gen.plain_packet(4, bytes(range(n))), n + 1) for n in range(40)]
    ends = [(i + 1) * mmap.PAGESIZE for i in range(40)]
    for packet, end in zip(packets, ends, strict=True):
        memory[end - len(packet) : end] = packet
    lengths = [len(packet) for packet in packets]
    batch = PacketBatch(memory, [end - n for end, n in zip(ends, lengths, strict=True)], lengths)
    sad = SAD(provider=provider)
    sad.add(sa, direction="inbound")
    assert ipsecfast.decapsulate(batch, sad).ok == 40
    assert batch.to_packets() == [gen.plain_packet(4, bytes(range(n))) for n in range(40)]


NESTED = """
import sys, threading
from ipsecfast import SAD, PacketBatch, decapsulate, encapsulate
from ipsecfast.testing import strategies as gen

suite = gen.Suite("AES-CBC-128", "HMAC-SHA1-96")
inner, sender, receiver = gen.plain_packet(4, bytes(40)), SAD(), SAD()
sas = [gen.make_sa(suite, spi=0x1000 + i) for i in range(8)]
bundle = sender.bundle([sender.add(sa, direction="outbound") for sa in sas])
for sa in sas:
    receiver.add(sa, direction="inbound")
batch = PacketBatch.from_packets([inner] * 300, headroom=600, tailroom=400)
assert encapsulate(batch, sender, bundle).ok == 300
threading.stack_size(112 << 10)
thread = threading.Thread(target=decapsulate, args=(batch, receiver))
thread.start()
thread.join()
assert batch.to_packets() == [inner] * 300
"""


def test_layers_inside_layers_need_little_of_the_stack() -> None:
    """A peer decides how deep it nests: no reason to run out of the 128 KiB that musl gives a thread."""
    home = str(Path(ipsecfast.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-P", "-c", NESTED], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": home}
    )
    assert done.returncode == 0, done.stderr
