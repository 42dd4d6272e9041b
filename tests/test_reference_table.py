"""The slow model: its table, and its window against RFC 4303 appendix A2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from by_hand import esp
from differential import examples
from helpers import AUTH_FAILED, GCM_SA, NO_SA, NULL_SA, OK, REPLAYED, H, ipv4, reference_table
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast import DuplicateSAError, PacketStatus
from ipsecfast.reference import ReferenceTable, ReplayWindow, decapsulate, encapsulate


def test_lookup_prefers_the_exact_destination() -> None:
    table = ReferenceTable()
    exact = table.add(NULL_SA, "inbound", handle=7)
    wildcard = table.add(replace(NULL_SA, dst=None), "inbound")
    packet = ipv4(esp(NULL_SA, ipv4() + H("01020204")), proto=50)
    assert (exact, wildcard) == (7, 8)
    assert decapsulate(table, packet).handle == exact
    table.delete(exact)
    assert decapsulate(table, packet).handle == wildcard
    table.delete(wildcard)
    assert decapsulate(table, packet).status is NO_SA


def test_reserved_spis_are_served() -> None:
    for spi in (1, 255):
        sa = replace(NULL_SA, spi=spi)
        sealed = encapsulate(reference_table(sa, direction="outbound"), ipv4(), 1).packet
        assert sealed is not None and decapsulate(reference_table(sa), sealed).packet == ipv4()


def test_wrong_use_raises() -> None:
    table = ReferenceTable()
    rx, tx = table.add(GCM_SA, "inbound"), table.add(GCM_SA, "outbound")
    esn_tx = table.add(replace(GCM_SA, esn=True, spi=77), "outbound", seq=3 << 32)
    wrong_direction: Any = "both"
    for error, call in (
        (DuplicateSAError, lambda: table.add(replace(NULL_SA), "inbound")),
        (ValueError, lambda: table.add(replace(GCM_SA, spi=999), "inbound", handle=rx)),
        (ValueError, lambda: table.add(replace(GCM_SA, spi=999), wrong_direction)),
        (ValueError, lambda: table.add(replace(GCM_SA, spi=999, mode="any"), "outbound")),
        (ValueError, lambda: table.add(replace(GCM_SA, spi=999, src=None), "outbound")),
        (ValueError, lambda: table.add(replace(GCM_SA, spi=999), "inbound", seq=2**32)),
        (ValueError, lambda: table.update(rx, seq_hi=1)),
        (ValueError, lambda: table.update(esn_tx, seq_hi=2)),  # these numbers were sent
        (ValueError, lambda: table.update(esn_tx, seq_hi=2**32)),
        (KeyError, lambda: table.update(99, seq_hi=0)),
        (ValueError, lambda: table.check_outbound(rx, None)),
        (ValueError, lambda: table.check_outbound(tx, bytes(7))),
        (KeyError, lambda: table.check_outbound(99, None)),
        (ValueError, lambda: encapsulate(table, ipv4(), rx)),
        (ValueError, lambda: encapsulate(table, ipv4(), tx, iv=bytes(7))),
        (KeyError, lambda: encapsulate(table, ipv4(), 99)),
        (KeyError, lambda: table.delete(99)),
        (ValueError, lambda: ReplayWindow(-1)),
    ):
        with pytest.raises(error):
            call()
    table.check_outbound(tx, bytes(8))
    table.update(esn_tx, seq_hi=4)
    assert encapsulate(table, ipv4(), esn_tx).seq == (4 << 32) + 1


def test_seq_is_seen_and_update_forgets() -> None:
    sa = replace(GCM_SA, esn=True)
    table = reference_table(sa, seq=100)

    def status(seq: int) -> tuple[PacketStatus, int]:
        result = decapsulate(table, ipv4(esp(sa, ipv4() + H("01020204"), seq), proto=50))
        return result.status, result.seq

    assert status(100) == (REPLAYED, 100)
    assert status(99) == (OK, 99)
    table.update(1, seq_hi=7)
    assert table.statistics(1).last_seq == 7 << 32 | 100
    assert status(7 << 32 | 100) == (OK, 7 << 32 | 100)
    # left of the window: taken for the next epoch's, which the ICV denies
    assert status(7 << 32 | 36) == (AUTH_FAILED, 8 << 32 | 36)
    assert table.statistics(1).last_seq == 7 << 32 | 100


@examples(100)
@given(st.data())
def test_window_is_rfc_4303_appendix_a2(data: st.DataObject) -> None:
    """Any true number in the 2**32 ones that start at the window's left edge is inferred."""
    size = data.draw(st.integers(1, 4096))
    top = data.draw(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5000), st.integers(2**32 - 5000, 2**32 + 5000)))
    left = top - size + 1
    seq = data.draw(st.one_of(st.integers(left, top + 5), st.integers(left, left + 2**32 - 1)))
    window = ReplayWindow(size, esn=True, top=top)
    acceptable, seq64 = window.check(seq % 2**32)
    if not 0 <= seq < 2**64:
        assert (acceptable, seq64) == (False, seq % 2**32)
        return
    assert (acceptable, seq64) == (seq != 0, seq)
    window.mark(seq)
    assert window.check(seq % 2**32) == (False, seq)
    assert window.top == max(top, seq)


@examples(100)
@given(st.integers(1, 130), st.lists(st.integers(0, 400), min_size=2))
def test_window_without_esn(size: int, numbers: list[int]) -> None:
    window, seen = ReplayWindow(size), set[int]()
    for seq in numbers:
        fresh = seq != 0 and seq not in seen and seq > max(seen, default=0) - size
        assert window.check(seq) == (fresh, seq)
        if fresh:
            window.mark(seq)
            seen.add(seq)


def test_no_window_takes_the_nearest_number() -> None:
    half, epoch = 2**31, 2**32
    assert ReplayWindow(0).check(0) == (True, 0)
    for top, seq_lo, want in (
        (0, epoch - 1, epoch - 1),
        (3 * epoch, epoch - 1, 3 * epoch - 1),
        (3 * epoch - 1, 0, 3 * epoch),
        (3 * epoch, half, 3 * epoch + half),
        (3 * epoch, half + 1, 2 * epoch + half + 1),
        (epoch * epoch - 1, 0, epoch * (epoch - 1)),
    ):
        assert ReplayWindow(0, esn=True, top=top).check(seq_lo) == (True, want)
    table = reference_table(replace(NULL_SA, replay_window=0))
    packet = ipv4(esp(NULL_SA, ipv4() + H("01020204")), proto=50)
    assert [decapsulate(table, packet).status for _ in range(2)] == [OK, OK]
