"""What a review of the core found once: lifetimes, races and wrong use at the edge of the native code."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ipsecfast
from ipsecfast import SAD, PacketBatch, PacketStatus
from ipsecfast.testing import strategies as gen

GCM = gen.Suite("AES-GCM-128", "NONE")


def test_batch_collected_in_a_cycle_gives_its_memory_back() -> None:
    class Holder:
        batch: PacketBatch
        me: Any

    data = bytearray(64)
    holder = Holder()
    holder.batch = PacketBatch(data, [0], [64])
    holder.me = holder
    del holder
    gc.collect()
    data.append(0)  # BufferError while somebody still holds it


def test_sad_collected_in_a_cycle_frees_its_states_once() -> None:
    class Cyclic(SAD):
        me: Any

    for provider in (p.name for p in ipsecfast.providers() if p.available):
        sad = Cyclic(provider=provider)
        sad.add(gen.make_sa(GCM), "inbound")
        sad.me = sad
        del sad
        gc.collect()


def test_tables_are_copied_before_they_are_checked() -> None:
    """A hook changes the caller's array in the middle of the constructor's Python-level work."""
    offset = np.array([64, 0], np.int64)  # unsorted, so that overlaps are looked for in numpy
    calls = 0

    def change(*_: object) -> None:
        nonlocal calls
        calls += 1
        offset[0] = 1 << 40

    sys.setprofile(change)
    try:
        batch = PacketBatch(bytearray(128), offset, np.array([64, 64], np.int32))
    except ValueError:
        return
    finally:
        sys.setprofile(None)
    assert calls and batch.offset.tolist() == [64, 0]


def test_sad_without_init_is_refused() -> None:
    class Forgetful(SAD):
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="not initialised"):
        ipsecfast.decapsulate(PacketBatch.from_packets([b"x"]), Forgetful())


@pytest.mark.parametrize("provider", ["libcrypto", "reference"])
def test_wildcards_of_both_families_are_duplicates(provider: str) -> None:
    sad = SAD(provider=provider)
    sad.add(gen.make_sa(GCM, src="192.0.2.1", dst=None), "inbound")
    with pytest.raises(ipsecfast.DuplicateSAError):
        sad.add(gen.make_sa(GCM, src="2001:db8::1", dst=None), "inbound")


def test_extension_header_beyond_65535_bytes() -> None:
    """The place of the last header's number does not fit 16 bits."""
    suite = gen.Suite("NULL", "HMAC-MD5-96")
    sa = gen.make_sa(suite, mode="transport", src=None, dst=None)
    options = b"".join(bytes([60, 255]) + bytes(2046) for _ in range(31))
    options += bytes([60, 250]) + bytes(2006) + bytes([50, 0]) + bytes(6)
    empty = gen.plain_packet()[:20]  # nothing behind the IP header
    esp = gen.protect(sa, empty[:2] + b"\0\x14" + empty[4:], 1)[20:]
    payload = len(options) + len(esp)
    assert 40 + len(options) - 8 > 65535 and payload <= 65535
    packet = (
        b"\x60\0\0\0"
        + payload.to_bytes(2, "big")
        + bytes([60, 64])
        + bytes(15)
        + b"\1"
        + bytes(15)
        + b"\2"
        + options
        + esp
    )
    sad = SAD()
    sad.add(sa, "inbound")
    batch = PacketBatch.from_packets([packet])
    assert ipsecfast.decapsulate(batch, sad).status.tolist() == [PacketStatus.OK]
    after = bytes(batch[0])
    assert after[0] >> 4 == 6 and after[40 + len(options) - 8] == empty[9]


@pytest.mark.parametrize("make", [np.int64, lambda h: np.array([h, 0, h, 0, h], np.int64)[::2], lambda h: [h] * 3])
def test_handles_in_any_form(make: Any) -> None:
    sad = SAD()
    handle = sad.add(gen.make_sa(GCM), "outbound")
    batch = PacketBatch.from_packets([gen.plain_packet()] * 3)
    assert ipsecfast.encapsulate(batch, sad, make(handle)).ok == 3


def test_the_collector_may_take_a_sad_apart_in_any_order() -> None:
    """A provider's scratch asked its provider how it is freed; in a cycle that was None by then: a crash."""
    script = """
import gc, ipsecfast
from ipsecfast.core._keys import Context
sa = ipsecfast.SecurityAssociation(spi=0x1000, encryption="AES-GCM-128", enc_key=bytes(16), salt=b"salt")
class Held(ipsecfast.SAD):
    pass
for _ in range(50):
    sad = Held()
    sad.add(sa, direction="inbound")
    sad.itself = sad
    found = [o for o in gc.get_referents(*gc.get_referents(sad)) if isinstance(o, Context)]
    assert found or sad.slow is not None
    found.append(found)
    del sad, found
    gc.collect()
"""
    env = os.environ | {"PYTHONPATH": str(Path(ipsecfast.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
