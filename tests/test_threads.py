"""threads=n: the results of one thread, whatever is in the batch."""

import itertools
import os
import random
import threading

import helpers
import numpy as np
import pytest

import ipsecfast
from ipsecfast import SAD, PacketBatch, PacketStatus, SecurityAssociation, decapsulate, encapsulate

SUITES = [
    ("AES-GCM-128", "NONE"),
    ("AES-CBC-128", "HMAC-SHA1-96"),
    ("NULL", "HMAC-SHA256-128"),
    ("AES-GMAC-256", "NONE"),
    ("3DES-CBC", "HMAC-MD5-96"),
]


def sas(n: int) -> list[SecurityAssociation]:
    """ESP and AH SAs in turn, every fifth with ESN, every third a tunnel."""
    found = []
    for i in range(n):
        enc, auth = SUITES[i % len(SUITES)]
        fields = {"spi": 0x1000 + 17 * i, "esn": i % 5 == 0, "mode": "tunnel" if i % 3 == 0 else "transport"}
        if i % 4 == 3:
            fields |= {"protocol": "ah"}
            enc, auth = "NULL", "HMAC-SHA1-96"
        found.append(helpers.keyed(enc, auth, **fields))
    return found


def both_ways(found: list[SecurityAssociation]) -> tuple[SAD, list[int], SAD]:
    sender, receiver = SAD(), SAD()
    handles = [sender.add(sa, direction="outbound") for sa in found]
    for sa in found:
        receiver.add(sa, direction="inbound")
    return sender, handles, receiver


def traffic(found: list[SecurityAssociation], n: int, seed: int) -> tuple[list[bytes], list[bytes]]:
    """One packet of each bundle; then packets of all SAs, some in bundles, twice, late, forged, of nobody."""
    rng = random.Random(seed)
    sender, handles, _ = both_ways(found)
    bundles = [sender.bundle([handles[i], handles[i + 1]]) for i in range(0, len(handles) - 1, 4)]
    choices = handles + bundles
    plain = [helpers.ipv4(bytes(rng.randrange(1400))) for _ in range(n)]
    first = PacketBatch.from_packets([helpers.ipv4(b"first")] * len(bundles), headroom=256, tailroom=128)
    encapsulate(first, sender, bundles)
    batch = PacketBatch.from_packets(plain, headroom=256, tailroom=128)
    assert encapsulate(batch, sender, [rng.choice(choices) for _ in range(n)]).ok == n
    packets = batch.to_packets()
    for i in range(n):
        kind = rng.randrange(12)
        if kind == 0:
            packets[i] = packets[rng.randrange(n)]
        elif kind == 1:
            forged = bytearray(packets[i])
            forged[rng.randrange(len(forged))] ^= 1
            packets[i] = bytes(forged)
        elif kind == 2:
            packets[i] = plain[i]
        elif kind == 3:
            j = min(n - 1, i + rng.randrange(80))
            packets[i], packets[j] = packets[j], packets[i]
    return first.to_packets(), packets


def received(
    packets: tuple[list[bytes], list[bytes]], found: list[SecurityAssociation], threads: int
) -> tuple[object, ...]:
    _, _, receiver = both_ways(found)
    first, later = packets
    assert decapsulate(PacketBatch.from_packets(first), receiver, threads=threads).ok == len(first)
    out: list[object] = []
    for start in range(0, len(later), 700):  # more than one batch, of which the last is smaller
        batch = PacketBatch.from_packets(later[start : start + 700])
        r = decapsulate(batch, receiver, threads=threads)
        out += [r.status.tolist(), r.handle.tolist(), r.seq.tolist(), r.failed_layer.tolist()]
        out += [left_of(*pair) for pair in zip(later[start : start + 700], batch.to_packets(), r.status, strict=True)]
    return tuple(out)


def left_of(sent: bytes, got: bytes, status: int) -> bytes:
    """A packet after decapsulate; of a refused one, which is as it was or wiped behind its headers, as it was."""
    if status == PacketStatus.OK:
        return got
    kept = len(got.rstrip(b"\0"))
    assert got == sent or (len(got) == len(sent) and got[:20] == sent[:20] and kept <= 20)
    return sent


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("n_sas", [1, 5, 40])
def test_inbound_is_the_same(threads: int, n_sas: int) -> None:
    found = sas(n_sas)
    packets = traffic(found, 1500, n_sas)
    assert received(packets, found, threads) == received(packets, found, 1)


@pytest.mark.parametrize("threads", [2, 5])
def test_outbound_numbers_are_the_same_and_open_again(threads: int) -> None:
    found = sas(30)
    rng = random.Random(1)
    picks = [rng.randrange(40) for _ in range(1000)]
    plain = [helpers.ipv4(bytes(rng.randrange(900))) for _ in picks]
    seqs = []
    for t in (1, threads):
        sender, handles, receiver = both_ways(found)
        choices = handles + [sender.bundle([handles[i], handles[29 - i]]) for i in range(10)]
        batch = PacketBatch.from_packets(plain, headroom=256, tailroom=128)
        r = encapsulate(batch, sender, [choices[i] for i in picks], threads=t)
        assert r.ok == len(plain)
        seqs.append((r.seq.tolist(), batch.length.tolist()))
        assert decapsulate(batch, receiver).ok == len(plain)
        assert batch.to_packets() == plain
    assert seqs[0] == seqs[1]


def test_bundles_that_share_sas_stay_together_when_one_of_them_goes() -> None:
    found = sas(12)
    sender, handles, receiver = both_ways(found)
    for a, b in itertools.pairwise(handles):
        sender.bundle([a, b])
    sender.delete(handles[5])
    bundle = sender.bundle([handles[0], handles[11]])
    batch = PacketBatch.from_packets([helpers.ipv4(b"x" * 40)] * 500, headroom=256, tailroom=128)
    r = encapsulate(batch, sender, bundle, threads=4)
    assert r.ok == 500 and r.seq.tolist() == list(range(1, 501))
    assert decapsulate(batch, receiver, threads=4).ok == 500


def test_empty_and_tiny_batches() -> None:
    found = sas(3)
    sender, handles, receiver = both_ways(found)
    for n in (0, 1, 2):
        batch = PacketBatch.from_packets([helpers.ipv4(b"abc")] * n)
        assert encapsulate(batch, sender, handles[0], threads=8).ok == n
        assert decapsulate(batch, receiver, threads=3).ok == n


@pytest.mark.parametrize("threads", [0, -1, 65, True, 1.5, "2"])
def test_wrong_number_of_threads(threads: object) -> None:
    batch = PacketBatch.from_packets([b"abc"])
    with pytest.raises((TypeError, ValueError), match="threads: got"):
        decapsulate(batch, SAD(), threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", [None, "libcrypto"])
def test_a_handle_that_is_none_is_told_before_any_packet_is_touched(provider: str | None) -> None:
    if provider and not next(p for p in ipsecfast.providers() if p.name == provider).available:
        pytest.skip(f"{provider} is not installed")
    sender = SAD(provider=provider)
    found = sas(6)
    handles = [sender.add(sa, direction="outbound") for sa in found]
    bundles = [sender.bundle(pair) for pair in itertools.pairwise(handles)]
    inbound = sender.add(helpers.keyed("AES-GCM-128", spi=0x99), direction="inbound")
    sender.delete(handles[0])  # and the bundle
    reused = sender.add(found[0], direction="outbound")
    good = [*handles[1:], reused, *bundles[1:]]
    top = 1 << 62  # a bundle's handle
    bad = [0, -1, -top, -(1 << 63), -good[0], 7000, 0x80000001, 0xFFFFFFFF, 1 << 32, handles[0], handles[1] | 1 << 40]
    bad += [inbound, bundles[0], top, top | 7000, top | 0xFFFFFFFF, bundles[1] | 1 << 40, (1 << 63) - 1]
    rng = random.Random(11)
    plain = [helpers.ipv4(bytes(rng.randrange(200))) for _ in range(90)]
    before = [sender.statistics(h) for h in good if h < top]

    def told(choice: list[int] | int, n: int, threads: int) -> tuple[str, str]:
        batch = PacketBatch.from_packets(plain[:n], headroom=256, tailroom=128)
        where = batch.offset.tolist()
        with pytest.raises((KeyError, ValueError)) as caught:
            encapsulate(batch, sender, choice, threads=threads)
        assert batch.to_packets() == plain[:n] and batch.offset.tolist() == where
        return caught.type.__name__, str(caught.value)

    for usable in (good, [h for h in good if h < top], good[:1]):
        for wrong in bad:
            choices: list[list[int] | int] = [wrong, [wrong] * 90]
            for at in (0, 1, 44, 45, 46, 89):
                choices.append([rng.choice(usable) for _ in range(90)])
                choices[-1][at] = wrong  # type: ignore[index]
            choices.append([rng.choice([*usable, *bad]) for _ in range(89)] + [wrong])
            for choice in choices:
                assert len({told(choice, 90, threads) for threads in (1, 2, 3, 8)}) == 1, choice
            assert told(wrong, 1, 4) == told(wrong, 1, 1)
    assert [sender.statistics(h) for h in good if h < top] == before
    batch = PacketBatch.from_packets(plain, headroom=256, tailroom=128)
    assert encapsulate(batch, sender, [rng.choice(good) for _ in plain], threads=3).ok == 90


def test_handles_of_the_caller_are_not_kept() -> None:
    found = sas(4)
    sender, handles, _ = both_ways(found)
    mine = np.array([handles[i % 4] for i in range(64)])
    batch = PacketBatch.from_packets([helpers.ipv4(b"abc")] * 64)
    r = encapsulate(batch, sender, mine, threads=2)
    assert r.handle.tolist() == mine.tolist()


def test_different_sads_at_once() -> None:
    found = sas(8)
    packets = traffic(found, 600, 3)
    want = received(packets, found, 1)
    got: list[object] = [None] * 4

    def run(k: int) -> None:
        got[k] = received(packets, found, 2)

    workers = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert all(g == want for g in got)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_ends_well() -> None:
    """The child has no threads to end, and must not wait for them."""
    found = sas(2)
    sender, handles, _ = both_ways(found)
    encapsulate(PacketBatch.from_packets([helpers.ipv4(b"abc")] * 8), sender, handles[0], threads=2)
    child = os.fork()
    if child == 0:
        status = 3
        try:
            encapsulate(PacketBatch.from_packets([b"abc"]), sender, handles[0], threads=2)
        except RuntimeError:
            del sender
            status = 0
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ipsecfast.SAD().capacity == 1024


@pytest.mark.parametrize("provider", [None, "libcrypto"])
def test_sas_inside_each_other_stay_in_the_order_of_the_batch(provider: str | None) -> None:
    """Also where each SA is one thread's, and a window is shorter than what an SA has in the batch."""
    if provider and not next(p for p in ipsecfast.providers() if p.name == provider).available:
        pytest.skip(f"{provider} is not installed")
    found = [
        helpers.keyed("AES-CBC-128", "HMAC-SHA1-96", spi=0x1000 + 17 * i, mode="tunnel", replay_window=64)
        for i in range(6)
    ]
    sender, receiver = SAD(), SAD(provider=provider)
    handles = [sender.add(sa, direction="outbound") for sa in found]
    for sa in found:
        receiver.add(sa, direction="inbound")
    bundles = [sender.bundle(pair) for pair in itertools.pairwise(handles)]
    plain = helpers.ipv4(b"x" * 40)
    first = PacketBatch.from_packets([plain] * len(bundles), headroom=256, tailroom=128)
    encapsulate(first, sender, bundles)
    assert decapsulate(first, receiver).ok == len(bundles)
    for threads in (1, 2, 3, 8):
        rng = random.Random(threads)
        batch = PacketBatch.from_packets([plain] * 1200, headroom=256, tailroom=128)
        assert encapsulate(batch, sender, [rng.choice(handles + bundles) for _ in range(1200)]).ok == 1200
        assert decapsulate(batch, receiver, threads=threads).ok == 1200, threads


@pytest.mark.parametrize("provider", [None, "libcrypto"])
def test_an_sa_inside_several_others_stays_in_the_order_of_the_batch(provider: str | None) -> None:
    """From the first batch on, though the others are different threads'."""
    if provider and not next(p for p in ipsecfast.providers() if p.name == provider).available:
        pytest.skip(f"{provider} is not installed")
    inner, *outer = (
        helpers.keyed("AES-CBC-128", "HMAC-SHA1-96", spi=0x1000 + 17 * i, mode="tunnel", replay_window=64)
        for i in range(6)
    )
    sender = SAD()
    handle = sender.add(inner, direction="outbound")
    bundles = [sender.bundle((handle, sender.add(sa, direction="outbound"))) for sa in outer]
    for threads in (1, 2, 3, 8):
        receiver = SAD(provider=provider)
        for sa in (inner, *outer):
            receiver.add(sa, direction="inbound")
        rng = random.Random(threads)
        batch = PacketBatch.from_packets([helpers.ipv4(b"x" * 40)] * 1200, headroom=256, tailroom=128)
        assert encapsulate(batch, sender, [rng.choice(bundles) for _ in range(1200)]).ok == 1200
        assert decapsulate(batch, receiver, threads=threads).ok == 1200, threads


def test_three_layers_of_sas_that_also_come_alone() -> None:
    """The innermost SA's own packets are another thread's: no number is taken twice, nothing is spoilt."""
    a, b, c = (
        helpers.keyed("AES-CBC-128", "HMAC-SHA1-96", spi=0x1000 + 0x111 * i, mode="tunnel", replay_window=4096)
        for i in range(3)
    )
    sender, receiver = SAD(), SAD(provider="libcrypto")
    handles = [sender.add(sa, direction="outbound") for sa in (c, b, a)]
    for sa in (a, b, c):
        receiver.add(sa, direction="inbound")
    nest = sender.bundle(handles)
    plain = helpers.ipv4(b"x" * 100)
    for _ in range(6):
        batch = PacketBatch.from_packets([plain] * 1200, headroom=256, tailroom=128)
        choice = np.where(np.arange(1200) % 3 == 0, nest, handles[0])
        assert encapsulate(batch, sender, choice).ok == 1200
        packets = batch.to_packets()
        twice = PacketBatch.from_packets(packets + packets)
        r = decapsulate(twice, receiver, threads=2)
        assert r.ok == 1200
        out = twice.to_packets()
        assert all(out[i] == plain for i in np.flatnonzero(r.status == 0))


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize(("window", "esn", "first"), [
    (0, False, 1), (0, True, (1 << 32) - 300), (32, False, 1), (64, True, (1 << 32) - 300), (64, True, (5 << 32) - 40),
    (1024, False, 7), (1024, True, (1 << 32) - 700), (4096, True, (1 << 32) + 5),
])  # fmt: skip
def test_windows_at_the_border_of_stretches(threads: int, window: int, esn: bool, first: int) -> None:
    """Verdicts, numbers, what is left of the window: in order, late, twice, forged, across the end of a span."""
    rng = random.Random(window + first)
    found = [
        helpers.keyed("AES-GCM-128", "NONE", spi=0x2000 + i, esn=esn, replay_window=window, mode="tunnel")
        for i in range(3)
    ]
    sender = SAD()
    handles = [sender.add(sa, direction="outbound", seq=first - 1) for sa in found]
    n = 900
    batch = PacketBatch.from_packets([helpers.ipv4(bytes(rng.randrange(300))) for _ in range(n)], 96, 64)
    assert encapsulate(batch, sender, [handles[rng.randrange(3)] for _ in range(n)]).ok == n
    packets = batch.to_packets()
    mixed = packets[:]
    for i in range(n):
        kind = rng.randrange(20)
        if kind == 0:
            mixed[i] = packets[rng.randrange(n)]
        elif kind == 1:
            mixed[i] = mixed[i][:-1] + bytes([mixed[i][-1] ^ 1])
        elif kind < 5:
            j = min(n - 1, i + rng.randrange(1 + window // 4))
            mixed[i], mixed[j] = mixed[j], mixed[i]
    outcomes = []
    for t in (1, threads):
        receiver = SAD()
        keys = [receiver.add(sa, direction="inbound", seq=max(first - 2, 0)) for sa in found]
        seen: list[object] = []
        for some in (packets[:200], mixed, packets[600:], packets):
            got = PacketBatch.from_packets(some)
            r = decapsulate(got, receiver, threads=t)
            seen += [r.status.tolist(), r.handle.tolist(), r.seq.tolist()]
            seen += [left_of(*pair) for pair in zip(some, got.to_packets(), r.status, strict=True)]
            seen += [receiver.counters(key) for key in keys]
        outcomes.append(seen)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("left", [1000, 300, 299, 10, 0])
def test_refused_packets_use_no_numbers_and_the_last_one_is_the_last(left: int) -> None:
    found = [helpers.keyed("AES-GCM-128", "NONE", spi=0x3000), helpers.keyed("AES-CBC-128", "HMAC-SHA1-96", spi=0x3001)]
    plain = [helpers.ipv4(bytes(k % 200)) if k % 7 else b"nothing" for k in range(600)]
    outcomes = []
    for t in (1, 2, 4):
        sender = SAD()
        handles = [sender.add(sa, direction="outbound", seq=0xFFFFFFFF - left) for sa in found]
        both = sender.bundle(handles)
        choice = [(*handles, both)[k % 3] for k in range(600)]
        batch = PacketBatch.from_packets(plain, headroom=128, tailroom=64)
        r = encapsulate(batch, sender, choice, threads=t)
        outcomes.append((r.status.tolist(), r.seq.tolist(), r.handle.tolist(), batch.length.tolist(),
                         [sender.counters(h) for h in handles]))  # fmt: skip
        assert PacketStatus.MALFORMED in r.status
        assert (PacketStatus.SEQ_EXHAUSTED in r.status) == (left < 1000)
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_one_sa_has_all_threads() -> None:
    """A tunnel alone is spread as well: what each thread has done is in the order of the batch."""
    (sa,) = sas(1)
    sender, (handle,), receiver = both_ways([sa])
    plain = [helpers.ipv4(bytes(k % 100)) for k in range(1000)]
    batch = PacketBatch.from_packets(plain, headroom=96, tailroom=64)
    r = encapsulate(batch, sender, handle, threads=4)
    assert r.seq.tolist() == list(range(1, 1001))
    assert decapsulate(batch, receiver, threads=3).ok == 1000
    assert batch.to_packets() == plain


@pytest.mark.parametrize("provider", [None, "libcrypto"])
@pytest.mark.parametrize(
    ("enc", "auth"),
    [*SUITES, ("CHACHA20-POLY1305", "NONE"), ("AES-CCM-128", "NONE"), ("AES-CBC-128", "HMAC-SHA512-256")],
)
def test_one_sa_in_threads_at_once(provider: str | None, enc: str, auth: str) -> None:
    """Keyed states that a library changes while it uses them are one thread's, also those of small groups."""
    if provider and not next(p for p in ipsecfast.providers() if p.name == provider).available:
        pytest.skip("not here")
    sa = helpers.keyed(enc, auth, spi=0x4000, replay_window=1024)
    sender, receiver, other = SAD(provider=provider), SAD(provider=provider), SAD(provider=provider)
    handle = sender.add(sa, direction="outbound")
    receiver.add(sa, direction="inbound")
    other.add(sa, direction="inbound")
    for n in [2, 3, 4, 7] * 40 + [600] * 3:
        plain = [helpers.ipv4(bytes([k % 256]) * (40 + k % 90)) for k in range(n)]
        batch = PacketBatch.from_packets(plain, headroom=96, tailroom=64)
        assert encapsulate(batch, sender, handle, threads=2).ok == n
        packets = batch.to_packets()
        assert decapsulate(batch, receiver).ok == n
        assert batch.to_packets() == plain
        batch = PacketBatch.from_packets(packets)
        assert decapsulate(batch, other, threads=2).ok == n
        assert batch.to_packets() == plain


def test_what_an_int_says_of_itself_is_not_believed() -> None:
    class Sly(int):
        def __le__(self, other: object) -> bool:
            return True

        def __ge__(self, other: object) -> bool:
            return True

    with pytest.raises(ValueError, match="threads: got 200"):
        decapsulate(PacketBatch.from_packets([b"abc"]), SAD(), threads=Sly(200))
