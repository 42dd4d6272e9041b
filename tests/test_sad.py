"""SAD: add, delete, update, statistics; what is refused; threads and forks."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differential import PROVIDER_NAMES, examples
from helpers import at_work
from hypothesis import given
from hypothesis import strategies as st

import ipsecfast
from ipsecfast import SAD, DuplicateSAError, PacketBatch, PacketStatus, SADFullError, SecurityAssociation
from ipsecfast.testing import strategies as gen

HMAC = gen.Suite("NULL", "HMAC-SHA1-96")
GCM = gen.Suite("AES-GCM-128", "NONE")
INNER = gen.plain_packet(4, bytes(20))
EVERY = [*PROVIDER_NAMES, "reference"]


def status_of(sad: SAD, *packets: bytes) -> list[PacketStatus]:
    return [PacketStatus(s) for s in ipsecfast.decapsulate(PacketBatch.from_packets(packets), sad).status]


@pytest.mark.parametrize("provider", EVERY)
def test_handles_are_never_handed_out_again(provider: str) -> None:
    sad, seen = SAD(capacity=3, provider=provider), set()
    for i in range(60):
        handle = sad.add(gen.make_sa(GCM, spi=1 + i % 5), direction="inbound")
        assert isinstance(handle, int) and handle > 0 and handle not in seen
        seen.add(handle)
        sad.delete(handle)
        for use in (sad.delete, sad.statistics, lambda h: sad.update(h, seq_hi=0)):
            with pytest.raises(KeyError):
                use(handle)
    assert len(sad) == 0


@pytest.mark.parametrize("provider", EVERY)
def test_duplicates(provider: str) -> None:
    """One SA for an SPI, destination and direction; all that differs in one of them is another SA."""
    sad = SAD(provider=provider)
    sa = gen.make_sa(GCM)
    different = [
        (sa, "inbound"), (sa, "outbound"), (gen.make_sa(GCM, dst=None), "inbound"),
        (gen.make_sa(GCM, dst=gen.ADDRESSES[4][2]), "inbound"), (gen.make_sa(GCM, spi=0x1001), "inbound"),
        (gen.make_sa(GCM, src=gen.ADDRESSES[6][0], dst=gen.ADDRESSES[6][1]), "inbound"),
    ]
    for one, direction in different:
        sad.add(one, direction=direction)
    for one, direction in different:
        with pytest.raises(DuplicateSAError, match=f"0x{one.spi:08x}"):
            sad.add(one, direction=direction)
    assert len(sad) == len(different)


@pytest.mark.parametrize("provider", EVERY)
def test_capacity(provider: str) -> None:
    sad = SAD(capacity=3, provider=provider)
    handles = [sad.add(gen.make_sa(GCM, spi=spi), direction="inbound") for spi in (1, 2, 3)]
    with pytest.raises(SADFullError):
        sad.add(gen.make_sa(GCM, spi=4), direction="inbound")
    sad.delete(handles[1])
    sad.add(gen.make_sa(GCM, spi=4), direction="inbound")
    assert len(sad) == 3


@pytest.mark.parametrize("provider", EVERY)
def test_longest_match(provider: str) -> None:
    """The SA of the packet's destination before the one for every destination (RFC 4301 sec. 4.1)."""
    exact, wildcard = gen.make_sa(HMAC, 1, replay_window=0), gen.make_sa(HMAC, 2, dst=None, replay_window=0)
    for_exact, for_any = gen.protect(exact, INNER, 1), gen.protect(gen.peer(wildcard, "tunnel"), INNER, 1)
    elsewhere = gen.protect(gen.peer(wildcard, "tunnel", gen.ADDRESSES[6][1]), INNER, 1)
    for order in itertools.permutations((exact, wildcard)):
        sad = SAD(provider=provider)
        handle = {sa.dst: sad.add(sa, direction="inbound") for sa in order}
        bad, good = PacketStatus.AUTH_FAILED, PacketStatus.OK
        assert status_of(sad, for_exact, for_any, elsewhere) == [good, bad, good]
        sad.delete(handle[exact.dst])
        assert status_of(sad, for_exact, for_any, elsewhere) == [bad, good, good]
        sad.delete(handle[None])
        assert set(status_of(sad, for_exact, for_any, elsewhere)) == {PacketStatus.NO_SA}


# Few SPIs and few buckets: chains, probe clusters that wrap around, and deletes in the middle of both.
_KEYS = [(spi, dst) for spi in range(1, 25) for dst in (*gen.ADDRESSES[4][:2], gen.ADDRESSES[6][0], None)]
_FIELDS = {"src": None, "mode": "transport", "replay_window": 0}
_SAS = [gen.make_sa(HMAC, i, spi=spi, dst=dst, **_FIELDS) for i, (spi, dst) in enumerate(_KEYS)]


def _packet_of(i: int) -> bytes:
    sender = gen.peer(_SAS[i], "transport", gen.ADDRESSES[6][3])
    return gen.protect(sender, gen.plain_packet(dst=sender.dst), 1)


_PACKETS = [_packet_of(i) for i in range(len(_KEYS))]


@pytest.mark.parametrize("provider", PROVIDER_NAMES[:1])
@pytest.mark.parametrize("capacity", [5, 8, 16, 100])
@examples(100)
@given(data=st.data())
def test_table_against_a_dict(provider: str, capacity: int, data: Any) -> None:
    """After every few changes each packet finds what a dict finds."""
    sad, model = SAD(capacity=capacity, provider=provider), dict[Any, int]()
    for step in data.draw(st.lists(st.lists(st.integers(0, len(_SAS) - 1), max_size=40), max_size=6)):
        for i in step:
            if _KEYS[i] in model:
                sad.delete(model.pop(_KEYS[i]))
            elif len(model) < capacity:
                model[_KEYS[i]] = sad.add(_SAS[i], direction="inbound")
            else:
                with pytest.raises(SADFullError):
                    sad.add(_SAS[i], direction="inbound")
        result = ipsecfast.decapsulate(PacketBatch.from_packets(_PACKETS), sad)
        found = [model.get(key) or model.get((key[0], None)) or 0 for key in _KEYS]
        assert result.handle.tolist() == found
        ok = [model.get(key) for key in _KEYS]
        assert (result.status == PacketStatus.OK).tolist() == [handle is not None for handle in ok]
        assert len(sad) == len(model)


def test_200_000_sas() -> None:
    """Two of three deleted, then some again: every SA that is left answers, no other does."""
    n = 200_000
    sad = SAD(capacity=n)
    template = gen.make_sa(HMAC, mode="transport", src=None).to_dict()
    handles = []
    for spi in range(1, n + 1):
        sa = SecurityAssociation.from_dict(template | {"spi": spi * 2654435761 % (1 << 32) or 1})
        handles.append(sad.add(sa, direction="inbound"))
    assert len(sad) == n and len(set(handles)) == n
    for i in range(n):
        if i % 3:
            sad.delete(handles[i])
    picked = range(0, n, 997)
    packets = []
    for i in picked:
        sa = SecurityAssociation.from_dict(template | {"spi": (i + 1) * 2654435761 % (1 << 32) or 1})
        packets.append(gen.protect(sa, INNER, 1))
    result = ipsecfast.decapsulate(PacketBatch.from_packets(packets), sad)
    assert result.handle.tolist() == [0 if i % 3 else handles[i] for i in picked]
    assert result.ok == sum(i % 3 == 0 for i in picked)


@pytest.mark.parametrize("provider", EVERY)
def test_statistics(provider: str) -> None:
    sad = SAD(provider=provider)
    sa = gen.make_sa(GCM)
    rx, tx = sad.add(sa, direction="inbound", seq=4), sad.add(sa, direction="outbound", seq=8)
    assert sad.statistics(rx).statuses == dict.fromkeys(PacketStatus, 0) and sad.statistics(rx).seq == 4
    good, later = gen.protect(sa, INNER, 5), gen.protect(sa, INNER, 9)
    status_of(sad, good, good, good[:-1] + b"\0", later, good[:-1], b"nothing")
    got = sad.statistics(rx)
    counted = {status: n for status, n in got.statuses.items() if n}
    assert counted == {PacketStatus.OK: 2, PacketStatus.REPLAYED: 2}, "NOT_IPSEC and a cut packet belong to no SA"
    assert (got.packets, got.bytes, got.seq) == (2, len(good) + len(later), 9)
    ipsecfast.encapsulate(PacketBatch.from_packets([INNER, INNER[:-1]]), sad, tx)
    sent = sad.statistics(tx)
    assert (sent.packets, sent.bytes, sent.seq) == (1, len(good), 9) and sent.statuses[PacketStatus.MALFORMED] == 1


@pytest.mark.parametrize("provider", EVERY)
def test_update(provider: str) -> None:
    """The high half is replaced and nothing counts as seen; numbers that were sent are not sent again."""
    sad = SAD(provider=provider)
    sa = gen.make_sa(HMAC, esn=True)
    rx, tx = sad.add(sa, direction="inbound", seq=100), sad.add(sa, direction="outbound", seq=(3 << 32) + 7)
    old, new = gen.protect(sa, INNER, 100), gen.protect(sa, INNER, (5 << 32) + 100)
    assert status_of(sad, old) == [PacketStatus.REPLAYED]
    sad.update(rx, seq_hi=5)
    assert sad.statistics(rx).seq == (5 << 32) + 100
    assert status_of(sad, old, new, new) == [PacketStatus.AUTH_FAILED, PacketStatus.OK, PacketStatus.REPLAYED]
    sad.update(rx, seq_hi=0)
    assert status_of(sad, old, old) == [PacketStatus.OK, PacketStatus.REPLAYED]
    sad.update(tx, seq_hi=4)
    assert ipsecfast.encapsulate(PacketBatch.from_packets([INNER]), sad, tx).seq.tolist() == [(4 << 32) + 8]
    with pytest.raises(ValueError, match="again"):
        sad.update(tx, seq_hi=3)
    with pytest.raises(ValueError):
        sad.update(sad.add(gen.make_sa(HMAC, spi=9), direction="inbound"), seq_hi=1)


SECRET = bytes(range(0x61, 0x71))
WRONG: dict[str, tuple[Any, Any]] = {
    "capacity 0": (lambda sad: SAD(capacity=0), ValueError),
    "capacity -1": (lambda sad: SAD(capacity=-1), ValueError),
    "capacity beyond the limit": (lambda sad: SAD(capacity=(1 << 26) + 1), ValueError),
    "capacity of 2**64": (lambda sad: SAD(capacity=1 << 64), ValueError),
    "capacity float": (lambda sad: SAD(capacity=1.0), TypeError),
    "provider unknown": (lambda sad: SAD(provider="nothing"), ValueError),
    "made again": (lambda sad: sad.__init__(), RuntimeError),
    "direction missing": (lambda sad: sad.add(gen.make_sa(GCM)), TypeError),
    "direction unknown": (lambda sad: sad.add(gen.make_sa(GCM), direction="both"), ValueError),
    "seq negative": (lambda sad: sad.add(gen.make_sa(GCM), direction="inbound", seq=-1), ValueError),
    "seq of 2**32": (lambda sad: sad.add(gen.make_sa(GCM), direction="inbound", seq=1 << 32), ValueError),
    "seq of 2**64": (lambda sad: sad.add(gen.make_sa(GCM, esn=True), direction="inbound", seq=1 << 64), ValueError),
    "seq float": (lambda sad: sad.add(gen.make_sa(GCM), direction="inbound", seq=1.0), TypeError),
    "mode any outbound": (lambda sad: sad.add(gen.make_sa(GCM, mode="any"), direction="outbound"), ValueError),
    "tunnel to nowhere": (lambda sad: sad.add(gen.make_sa(GCM, dst=None), direction="outbound"), ValueError),
    "tunnel from nowhere": (lambda sad: sad.add(gen.make_sa(GCM, src=None), direction="outbound"), ValueError),
    "handle text": (lambda sad: sad.statistics("1"), (TypeError, KeyError)),
    "handle None": (lambda sad: sad.delete(None), (TypeError, KeyError)),
    "handle 0": (lambda sad: sad.delete(0), KeyError),
    "handle -1": (lambda sad: sad.statistics(-1), KeyError),
    "handle unknown": (lambda sad: sad.update(77, seq_hi=0), KeyError),
    "seq_hi negative": (lambda sad: sad.update(1, seq_hi=-1), ValueError),
    "seq_hi of 2**32": (lambda sad: sad.update(1, seq_hi=1 << 32), ValueError),
    "seq_hi text": (lambda sad: sad.update(1, seq_hi="1"), TypeError),
    "pickle of a SAD": (pickle.dumps, TypeError),
    "pickle of an SA": (lambda sad: pickle.dumps(gen.make_sa(GCM)), TypeError),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("provider", EVERY)
def test_wrong_use(provider: str, name: str) -> None:
    """Each raises and leaves the SAD working."""
    sad = SAD(capacity=2, provider=provider)
    use, error = WRONG[name]
    with pytest.raises(error):
        use(sad)
    assert len(sad) == 0 and sad.add(gen.make_sa(GCM), direction="inbound") > 0


@pytest.mark.parametrize("provider", EVERY)
def test_no_text_shows_a_key(provider: str) -> None:
    """repr, str and the texts of errors, whatever is wrong."""
    good = {"spi": 0x505, "src": "192.0.2.1", "dst": "192.0.2.2", "encryption": "AES-CBC-128", "enc_key": SECRET,
            "authentication": "HMAC-MD5-96", "auth_key": SECRET}
    sa = SecurityAssociation(**good)
    sad = SAD(capacity=1, provider=provider)
    sad.add(sa, direction="inbound")
    texts = [repr(sa), str(sa), f"{sa}", repr(sad), str(sad)]
    wrong = [
        {"enc_key": SECRET * 2}, {"auth_key": SECRET * 2}, {"salt": SECRET}, {"enc_key": SECRET.hex()},
        {"auth_key": list(SECRET)}, {"authentication": "NONE"}, {"encryption": "AES-GCM-128"}, {"spi": 0},
    ]
    for change in wrong:
        with pytest.raises((TypeError, ValueError)) as caught:
            SecurityAssociation(**good | change)
        texts += [str(caught.value), repr(caught.value)]
    for direction in ("inbound", "outbound"):
        with pytest.raises(ipsecfast.IpsecError) as refused:
            sad.add(sa, direction=direction)
        texts.append(str(refused.value))
    for text in texts:
        assert SECRET.decode() not in text and SECRET.hex() not in text.lower() and "97, 98" not in text


def test_second_thread_in_one_sad_is_told_off() -> None:
    """RuntimeError in whoever comes second, for every kind of call; the first one's work is right."""
    sad, other, receiver = SAD(), SAD(), SAD()
    sa = gen.make_sa(gen.Suite("3DES-CBC", "HMAC-SHA512-256"))
    handle = sad.add(sa, direction="outbound")
    other_handle = other.add(sa, direction="outbound")
    receiver.add(sa, direction="inbound")
    packets = [INNER[:2] + (1400).to_bytes(2, "big") + INNER[4:] + bytes(1360)] * 500
    big = PacketBatch.from_packets(packets)
    results: list[int] = []

    def there_and_back() -> None:
        results.append(ipsecfast.encapsulate(big, sad, handle).ok)
        results.append(ipsecfast.decapsulate(big, receiver).ok)

    small = PacketBatch.from_packets([INNER])
    calls = [
        lambda: sad.statistics(handle),
        lambda: ipsecfast.decapsulate(small, sad),
        lambda: ipsecfast.encapsulate(small, sad, handle),
        lambda: ipsecfast.encapsulate(big, other, other_handle),
        lambda: sad.add(gen.make_sa(GCM), direction="inbound"),
        lambda: sad.update(handle, seq_hi=0),
        lambda: sad.delete(handle),
    ]
    with at_work(there_and_back, probe=lambda: sad.statistics(handle)):
        for call in calls:
            with pytest.raises(RuntimeError, match="another thread"):
                call()
    assert results == [500] * len(results) and big.to_packets() == packets
    assert sad.statistics(handle).seq == 250 * len(results)


def test_sads_in_parallel() -> None:
    """Four threads with a SAD each: what one seals, its receiver opens, and the numbers stay apart."""
    wrong: list[str] = []

    def work(seed: int) -> None:
        sa = gen.make_sa(gen.ESP_SUITES[seed * 7], seed)
        tx, rx = SAD(), SAD()
        out = tx.add(sa, direction="outbound")
        rx.add(sa, direction="inbound")
        for k in range(40):
            batch = PacketBatch.from_packets([INNER] * 100)
            sent = ipsecfast.encapsulate(batch, tx, out)
            got = ipsecfast.decapsulate(batch, rx)
            expected = np.arange(100 * k + 1, 100 * k + 101)
            if got.ok != 100 or not (sent.seq == expected).all() or batch.to_packets() != [INNER] * 100:
                wrong.append(f"thread {seed}, round {k}: {got}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


FORK = """
import os, sys
from ipsecfast.testing import strategies as gen
from ipsecfast import SAD, PacketBatch, decapsulate, encapsulate
sa = gen.make_sa(gen.Suite("AES-GCM-128", "NONE"))
sad = SAD(provider=sys.argv[1])
handle = sad.add(sa, direction="outbound")
batch = PacketBatch.from_packets([bytes(20)])
uses = [lambda: encapsulate(batch, sad, handle), lambda: decapsulate(batch, sad), lambda: sad.statistics(handle),
        lambda: sad.delete(handle), lambda: sad.update(handle, 0), lambda: sad.add(sa, direction="inbound")]
child = os.fork()
if child == 0:
    refused = 0
    for use in uses:
        try:
            use()
        except RuntimeError as error:
            refused += "fork" in str(error)
    SAD(provider=sys.argv[1]).add(sa, direction="outbound")
    os._exit(refused)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), "of", len(uses), "refused;", sad.statistics(handle).seq)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("provider", EVERY)
def test_child_process_can_not_send_on(provider: str) -> None:
    """Both would use the same numbers and IVs; a SAD of the child's own works, and so does the parent's."""
    paths = os.pathsep.join((str(Path(ipsecfast.__file__).parents[1]), str(Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, "-P", "-c", FORK, provider],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.stdout == "6 of 6 refused; 0\n", done.stderr
