"""The public strategies: what they call sound comes through, what they call invalid gets the verdict they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from differential import examples
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import ipsecfast
from ipsecfast import PacketStatus, ReplayWindow, SecurityAssociation
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION
from ipsecfast.reference import ReferenceTable, decapsulate, encapsulate, ip
from ipsecfast.testing import strategies as gen


def receiver(*sas: SecurityAssociation, before: int = 0) -> ReferenceTable:
    table = ReferenceTable()
    for sa in sas:
        table.add(sa, "inbound", before)
    return table


def test_every_algorithm_is_there() -> None:
    assert set[str]().union(*(suite.algorithms for suite in gen.SUITES)) == {*ENCRYPTION, *AUTHENTICATION} - {"NONE"}
    assert len({str(suite) for suite in gen.SUITES}) == len(gen.SUITES)
    for i, suite in enumerate(gen.SUITES):
        assert gen.make_sa(suite, i).protocol == suite.protocol


@examples(150)
@given(data=st.data())
def test_sound_packets(data: Any) -> None:
    sa = data.draw(gen.security_associations())
    seq = data.draw(gen.start_numbers(sa)) + 1
    if seq == (gen.SEQ64 if sa.esn else gen.SEQ32):
        seq -= 1
    made = data.draw(gen.protected_packets(sa, seq))
    result = decapsulate(receiver(sa, before=seq - 1), made.packet)
    assert (result.status, result.packet, result.seq) == (PacketStatus.OK, made.inner, seq)
    assert made.seqs == (seq,)


@examples(80)
@given(data=st.data())
def test_sound_bundles(data: Any) -> None:
    sas = data.draw(gen.bundles(max_layers=8))
    made = data.draw(gen.protected_packets(sas, tuple(range(7, 7 + len(sas)))))
    result = decapsulate(receiver(*sas), made.packet)
    assert (result.packet, result.seq) == (made.inner, 6 + len(sas))
    table = ReferenceTable()
    handles = [table.add(sa, "outbound") for sa in sas]
    sent = encapsulate(table, made.inner, table.bundle(handles))
    assert sent.packet is not None and len(sent.packet) == len(gen.protect_all(sas, made.inner, [1] * len(sas)))


@examples(250)
@given(data=st.data())
def test_invalid_packets(data: Any) -> None:
    one, several = gen.security_associations().map(lambda sa: (sa,)), gen.bundles(max_layers=3)
    sas = data.draw(one | several)
    bad = data.draw(gen.invalid_packets(sas, 5))
    result = decapsulate(receiver(*sas), bad.packet)
    assert (result.status, result.failed_layer) == (bad.status, bad.failed_layer), bad.why


def test_every_verdict_comes_up() -> None:
    """Each status that a packet can bring about has an example, for ESP and for AH."""
    outbound = {PacketStatus.OK, PacketStatus.SEQ_EXHAUSTED, PacketStatus.NO_ROOM, PacketStatus.CRYPTO_FAILED}
    for suites, lacking in ((gen.ESP_SUITES, set()), (gen.AH_SUITES, {PacketStatus.DUMMY})):
        sa = gen.make_sa(suites[-1], udp_encap=(4500, 4500) if suites is gen.ESP_SUITES else None)
        for status in set(PacketStatus) - outbound - lacking:
            assert _one_with(sa, status) is status


def _one_with(sa: SecurityAssociation, status: PacketStatus) -> PacketStatus:
    """What the reference says of a packet that is drawn for this status."""
    verdicts = []

    @settings(max_examples=1, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
    @given(bad=gen.invalid_packets(sa, 1, statuses=(status,)))
    def draw_one(bad: gen.Invalid) -> None:
        verdicts.append(decapsulate(receiver(sa), bad.packet).status)

    draw_one()
    return verdicts[0]


@examples(100)
@given(run=gen.windows(top_seen=False))
def test_windows(run: gen.WindowRun) -> None:
    window = ReplayWindow(run.size, run.esn, run.top)
    for offer in run.offers:
        acceptable, seq = window.check(offer.seq % gen.SEQ32)
        authentic = seq == offer.seq and not offer.forged
        got = PacketStatus.REPLAYED if not acceptable else PacketStatus.OK if authentic else PacketStatus.AUTH_FAILED
        assert got is offer.status
        if got is PacketStatus.OK:
            window.mark(seq)


@examples(60)
@given(batch=gen.batches(sizes=(0, 1, 13, 40)))
def test_batches(batch: gen.Batch) -> None:
    expected = batch.expected()
    assert len(expected) == len(batch.packets)
    assert all(len(result.packet or b"") <= len(packet) for result, packet in zip(expected, batch.packets, strict=True))


def test_batches_are_mixed() -> None:
    seen: Counter[PacketStatus] = Counter()

    @settings(examples(1), max_examples=40)  # fewer do not show all
    @given(batch=gen.batches(sizes=(40,)))
    def collect(batch: gen.Batch) -> None:
        seen.update(result.status for result in batch.expected())

    collect()
    assert {PacketStatus.OK, PacketStatus.AUTH_FAILED, PacketStatus.REPLAYED, PacketStatus.MALFORMED} <= set(seen)


@examples(100)
@given(packet=gen.inner_packets())
def test_inner_packets_are_sound(packet: bytes) -> None:
    assert ip.declared_len(packet) == len(packet)
    headers = ip.walk(packet, len(packet))
    assert headers is not None and headers.end <= len(packet)


@examples(100)
@given(packet=gen.inner_packets(fragments=False, headers="sent"))
def test_what_is_sent_can_be_covered(packet: bytes) -> None:
    assert gen.is_whole(packet)
    sa = gen.make_sa(gen.AH_SUITES[0], mode="transport", src=None, dst=None)
    table = ReferenceTable()
    assert encapsulate(table, packet, table.add(sa, "outbound")).status is PacketStatus.OK


def test_without_hypothesis() -> None:
    """The message names the extra."""
    script = "import sys; sys.modules['hypothesis'] = None\nimport ipsecfast.testing.strategies"
    env = os.environ | {"PYTHONPATH": str(Path(ipsecfast.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode and done.stderr.splitlines()[-1].endswith("pip install 'ipsecfast[testing]'")


@pytest.mark.parametrize("wrong", [b"", bytes(40)])
def test_what_can_not_be_protected(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="refuses"):
        gen.protect(gen.make_sa(gen.SUITES[0]), wrong, 1)
