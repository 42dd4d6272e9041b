"""IVs and sequence numbers of the core: never the same twice under a key, and no way to foretell CBC's."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from differential import PROVIDER_NAMES, suites_of

import ipsecfast
from ipsecfast import SAD, PacketBatch, PacketStatus, SecurityAssociation
from ipsecfast.reference import ah, ip
from ipsecfast.reference.crypto import iv_len
from ipsecfast.testing import strategies as gen

pytestmark = pytest.mark.parametrize("provider", PROVIDER_NAMES)

PACKET = gen.plain_packet(4, bytes(20))


def with_iv(provider: str, *, counter: bool) -> list[SecurityAssociation]:
    """One SA of each algorithm with IVs of this kind."""
    with_one = [s for s in suites_of(provider) if s.iv_len and ("CBC" not in s.encryption) == counter]
    by_name = {s.authentication if s.protocol == "ah" else s.encryption: s for s in with_one}
    return [gen.make_sa(suite) for suite in by_name.values()]


def send(sad: SAD, handle: int, sa: SecurityAssociation, n: int) -> list[tuple[int, int, bytes]]:
    """(number, IV, ICV) of n packets."""
    batch = PacketBatch.from_packets([PACKET] * n)
    result = ipsecfast.encapsulate(batch, sad, handle)
    assert result.ok == n
    at = ip.IPV4_LEN + (ah.HEADER_LEN if sa.protocol == "ah" else 8)
    ivs = [int.from_bytes(p[at : at + iv_len(sa)], "big") for p in batch.to_packets()]
    return [(seq, iv, p[-8:]) for seq, iv, p in zip(result.seq.tolist(), ivs, batch.to_packets(), strict=True)]


def test_counter_ivs_never_repeat(provider: str) -> None:
    """Within a batch, over batches, and when the same key is added again: after a delete, and beside."""
    for sa in with_iv(provider, counter=True):
        sad, sent = SAD(provider=provider), []
        for _ in range(20):
            handle = sad.add(sa, direction="outbound")
            twin = sad.add(replace(sa, spi=7), direction="outbound")
            for n in (1, 63, 66):
                sent += send(sad, handle, sa, n) + send(sad, twin, sa, n)
            sad.delete(handle)
            sad.delete(twin)
        ivs = [iv for _, iv, _ in sent]
        assert len(set(ivs)) == len(ivs), sa.encryption


def test_counter_ivs_are_number_xor_a_secret_of_the_sa(provider: str) -> None:
    """So they can't repeat while the numbers don't, and tell nothing of other SAs'."""
    for sa in with_iv(provider, counter=True):
        sad = SAD(provider=provider)
        masks = []
        for spi in range(1, 9):
            handle = sad.add(replace(sa, spi=spi, esn=True), direction="outbound", seq=(1 << 32) - 3)
            found = {seq ^ iv for seq, iv, _ in send(sad, handle, sa, 70)}
            assert len(found) == 1, sa.encryption
            masks += found
        assert len(set(masks)) == len(masks)


def test_cbc_ivs_look_random(provider: str) -> None:
    """Distinct, every bit as often 0 as 1 (within 6 standard deviations), no function of what was sent."""
    n = 2000
    for sa in with_iv(provider, counter=False):
        sad = SAD(provider=provider)
        handle = sad.add(sa, direction="outbound")
        sent = [one for _ in range(4) for one in send(sad, handle, sa, n // 4)]
        ivs = [iv for _, iv, _ in sent]
        assert len(set(ivs)) == n, sa.encryption
        for bit in range(8 * sa.enc_alg.iv_len):
            ones = sum(iv >> bit & 1 for iv in ivs)
            assert abs(ones - n / 2) < 6 * (n / 4) ** 0.5, f"bit {bit} of {sa.encryption}"
        # not the last block of the packet before (what SSL 3.0 did), no counter, no number
        assert len({a ^ b for a, b in pairwise(ivs)}) == n - 1
        assert len({b - a for a, b in pairwise(ivs)}) == n - 1
        assert len({seq ^ iv for seq, iv, _ in sent}) == n


def test_numbers_rise_over_batches_and_failures(provider: str) -> None:
    """One number a packet that goes out, none for one that does not, in the order of the batch."""
    sad = SAD(provider=provider)
    handle = sad.add(gen.make_sa(gen.Suite("AES-GCM-128", "NONE")), direction="outbound", seq=40)
    numbers = []
    for n in (0, 1, 2, 63, 64, 65, 130):
        packets = [PACKET if i % 3 else PACKET[:-1] for i in range(n)]
        result = ipsecfast.encapsulate(PacketBatch.from_packets(packets), sad, handle)
        good = [i % 3 != 0 for i in range(n)]
        assert (result.status == PacketStatus.OK).tolist() == good
        assert all((seq != 0) == ok for seq, ok in zip(result.seq.tolist(), good, strict=True))
        numbers += [seq for seq in result.seq.tolist() if seq]
    assert numbers == list(range(41, 41 + len(numbers)))
    assert sad.statistics(handle).seq == numbers[-1]


def test_numbers_of_many_sas_in_one_batch(provider: str) -> None:
    sad = SAD(provider=provider)
    sas = [gen.make_sa(suite, spi=1 + i) for i, suite in enumerate(suites_of(provider)[:9])]
    handles = [sad.add(sa, direction="outbound", seq=100 * i) for i, sa in enumerate(sas)]
    order = [handles[i * i % 9] for i in range(200)]
    result = ipsecfast.encapsulate(PacketBatch.from_packets([PACKET] * 200), sad, order)
    assert result.ok == 200
    for i, handle in enumerate(handles):
        mine = [seq for seq, h in zip(result.seq.tolist(), order, strict=True) if h == handle]
        assert mine == list(range(100 * i + 1, 100 * i + 1 + len(mine)))
