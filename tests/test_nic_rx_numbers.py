"""The NIC receives: extended sequence numbers, and SaDeleteReq."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import ipv4, keyed
from nic_cards import AH_SA, ESN_SA, GCM, INNER, assert_untouched, flipped, numbered, status
from nic_cards import receiver as nic
from nic_host import (
    DELETE_REQ,
    DONE,
    Received,
    esp4,
    frame,
    receive,
    scapy_seals,
)

from ipsecfast import SecurityAssociation
from ipsecfast.ndis.nbl import NblBatch


def test_replayed_packet_is_still_success() -> None:
    made = nic(GCM)
    old, new = esp4(GCM, seq=1), esp4(GCM, seq=100000)
    assert [got.word for got in receive(made, new, old, old, new)] == [status(0)] * 4


@pytest.mark.parametrize("sa", [ESN_SA, keyed("AES-CBC-128", "HMAC-SHA1-96", esn=True)], ids=["GCM", "CBC"])
def test_valid_packets_around_the_wrap_are_success_before_update(sa: SecurityAssociation) -> None:
    made = nic((sa, {"seq_hi": [5]}))
    wrap = 6 << 32
    numbers = [wrap - 3, wrap - 2, wrap + 1, wrap - 1, wrap, wrap + 500, wrap - 7, wrap + 2]
    assert {got.word for got in receive(made, *(numbered(seq, sa) for seq in numbers))} == {status(0)}
    handle = next(iter(made._by_handle))
    made.update(handle, "esp", sa.spi, 6)
    assert {got.word for got in receive(made, *(numbered(seq, sa) for seq in numbers))} == {status(0)}
    assert receive(made, numbered((7 << 32) + 9, sa))[0].word == status(3)


def test_first_packets_after_add_may_lie_behind_the_wrap() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    assert receive(made, numbered((6 << 32) + 1))[0].word == status(0)
    made = nic((ESN_SA, {"seq_hi": [5]}))
    assert receive(made, numbered((5 << 32) - 1))[0].word == status(0)


def test_update_before_the_wrap_reaches_us() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    wrap = 6 << 32
    receive(made, numbered(wrap - 10))
    made.update(next(iter(made._by_handle)), "esp", ESN_SA.spi, 6)
    assert [got.word for got in receive(made, numbered(wrap - 9), numbered(wrap), numbered(wrap - 8))] == [
        status(0)
    ] * 3


def test_update_far_away_counts() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    receive(made, numbered((5 << 32) + 0x50000000))
    made.update(next(iter(made._by_handle)), "esp", ESN_SA.spi, 9)
    assert receive(made, numbered((9 << 32) + 0x50000000))[0].word == status(0)
    assert receive(made, numbered((5 << 32) + 0x50000001))[0].word == status(3)


def test_literal_esn_takes_the_given_half_alone() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}), options={"esn": "literal"})
    wrap = 6 << 32
    sent = numbered(wrap)
    assert receive(made, numbered(wrap - 1))[0].word == status(0)
    assert receive(made, sent) == [Received(status(3), 0, sent)]
    made.update(next(iter(made._by_handle)), "esp", ESN_SA.spi, 6)
    assert receive(made, sent)[0].word == status(0)


def test_esn_in_ah() -> None:
    sa = replace(AH_SA, esn=True)
    made = nic((sa, {"seq_hi": [3]}))
    good = frame(scapy_seals(sa, ipv4(b"data", proto=253), seq=3 << 32 | 77))
    assert receive(made, good) == [Received(status(0), 0, good)]
    other = frame(scapy_seals(sa, ipv4(b"data", proto=253), seq=4 << 32 | 0x70000000))
    assert receive(made, other) == [Received(status(2), 0, other)]


def test_forged_number_does_not_move_the_top() -> None:
    made = nic((ESN_SA, {"seq_hi": [5]}))
    receive(made, numbered((5 << 32) + 0xF0000000), flipped(numbered((6 << 32) + 0x10000000)))
    assert receive(made, numbered((5 << 32) + 0xF0000001))[0].word == status(0)
    (one,) = made.statistics(next(iter(made._by_handle)))
    assert one.seq == (5 << 32) + 0xF0000001


# ---------------------------------------------------------------- the table


def test_delete_request_is_set_until_deleted() -> None:
    made = nic(GCM)
    (handle,) = made._by_handle
    made.request_deletion(handle)
    assert [got.word for got in receive(made, esp4(GCM), flipped(esp4(GCM)))] == [
        status(0, DONE | DELETE_REQ),
        status(3, DONE | DELETE_REQ),
    ]
    assert_untouched(made, esp4(INNER))
    made.delete(handle)
    assert_untouched(made, esp4(GCM))


def test_xfrm_offload() -> None:
    made = nic(GCM, AH_SA)
    batch = NblBatch.from_frames([esp4(GCM), flipped(esp4(GCM)), esp4(INNER)])
    offload = made.receive(batch).xfrm_offload
    assert offload["flags"].tolist() == [2, 2, 0] and offload["status"].tolist() == [1, 8, 0]


def test_receive_takes_lists_of_one_frame() -> None:
    batch = NblBatch.from_frames([[esp4(GCM), esp4(GCM)]])
    with pytest.raises(ValueError, match="one frame"):
        nic(GCM).receive(batch)
