"""The NIC sends: sequence numbers and IVs."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import pytest
from helpers import keyed
from nic_cards import CBC, GCM, esp_frame, opened, outbound, refused
from nic_cards import sender as nic
from nic_host import (
    FAILURE,
    NATIVE,
    SUCCESS,
    lists,
    padded,
    send,
    send_one,
)

pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")


def test_a_repeated_number_is_refused() -> None:
    made = nic({"sent_window": 64})
    handle = outbound(made, GCM)
    order = [100, 99, 101, 40, 38]
    assert all(send_one(made, esp_frame(GCM, seq=seq), handle=handle) is not None for seq in order)
    for seq in (100, 99, 101, 40, 38, 37, 1):
        assert refused(made, esp_frame(GCM, seq=seq), ipsec=handle), seq
    assert send_one(made, esp_frame(GCM, seq=39), handle=handle) is not None


def test_a_number_repeated_in_one_list_or_batch_is_refused() -> None:
    made = nic()
    handle = outbound(made, GCM)
    twice = [esp_frame(GCM, seq=5), esp_frame(GCM, seq=6), esp_frame(GCM, seq=5)]
    batch = lists([twice, [esp_frame(GCM, seq=5)], [esp_frame(GCM, seq=5)]], ipsec=handle)
    assert made.send(batch).status.tolist() == [FAILURE, SUCCESS, FAILURE]
    far = lists([[esp_frame(GCM, seq=100000), esp_frame(GCM, seq=7)]], ipsec=handle)
    assert made.send(far).status.tolist() == [FAILURE]


def test_wrap_before_update_is_refused_and_update_moves_on() -> None:
    sa = replace(GCM, esn=True)
    made = nic()
    handle = outbound(made, sa, seq_hi=[5])
    last, first = esp_frame(sa, seq=0xFFFFFFFF), esp_frame(sa, seq=0)
    assert send_one(made, last, handle=handle) is not None
    assert refused(made, first, ipsec=handle)
    made.update(handle, "esp", sa.spi, 6)
    sent = send_one(made, first, handle=handle)
    assert sent is not None and opened(sa, sent[34:], 6) == padded(sa, b"payload", 253)
    made.update(handle, "esp", sa.spi, 5)
    assert refused(made, last, ipsec=handle)


def test_esn_half_is_in_the_icv() -> None:
    for sa in (replace(GCM, esn=True), replace(CBC, esn=True), keyed("AES-GMAC-128", esn=True)):
        made = nic()
        sent = send_one(made, esp_frame(sa), handle=outbound(made, sa, seq_hi=[9]))
        assert sent is not None and opened(sa, sent[34:], 9) == padded(sa, b"payload", 253)
        with pytest.raises(ValueError):
            opened(sa, sent[34:], 8)


def test_no_nonce_twice_under_a_key() -> None:
    made = nic()
    handle = outbound(made, GCM)
    seen = set()
    for _ in range(2):  # deleted and added again: another random part
        for seq in range(1, 50):
            sent = send_one(made, esp_frame(GCM, seq=seq), handle=handle)
            assert sent is not None
            seen.add(sent[42:50])
        made.delete(handle)
        handle = outbound(made, GCM)
    assert len(seen) == 98


@pytest.mark.parametrize("provider", NATIVE)
def test_iv_generator(provider: str) -> None:
    def run() -> list[bytes | None]:
        made = nic({"iv_generator": random.Random(7).randbytes}, provider=provider)
        handles = outbound(made, CBC), outbound(made, GCM)
        return [
            send_one(made, esp_frame(sa, seq=seq), handle=h)
            for seq in range(1, 30)
            for sa, h in zip((CBC, GCM), handles, strict=True)
        ]

    assert run() == run()
    assert len({one[42:58] for one in run() if one}) == 58


def test_cbc_ivs_differ() -> None:
    made = nic()
    handle = outbound(made, CBC)
    sent = send(made, *(esp_frame(CBC, seq=seq) for seq in range(1, 600)), handle=handle)
    assert len({one[42:58] for one in sent if one}) == 599


def test_a_generator_that_fails_fails_the_send() -> None:
    calls = iter([b"12345678"])
    made = nic({"iv_generator": lambda n: next(calls)})
    handle = outbound(made, CBC)
    batch = lists([[esp_frame(CBC)]], ipsec=handle)
    assert made.send(batch).status.tolist() == [FAILURE]
    assert not any(b"".join(batch.frames.to_packets()))


def with_iv(one: bytes, iv: bytes) -> bytes:
    return one[:42] + iv + one[42 + len(iv) :]


def test_host_ivs() -> None:
    made = nic({"iv": "host"})
    handle = outbound(made, GCM)
    ivs = [struct.pack(">Q", n * 0x9E3779B97F4A7C15 & (1 << 64) - 1) for n in range(1, 400)]
    for seq, iv in enumerate(ivs, start=1):
        sent = send_one(made, with_iv(esp_frame(GCM, seq=seq), iv), handle=handle)
        assert sent is not None and sent[42:50] == iv and opened(GCM, sent[34:]) == padded(GCM, b"payload", 253)
    for seq, iv in enumerate([bytes(8), ivs[0], ivs[-1]], start=1000):
        batch = lists([[with_iv(esp_frame(GCM, seq=seq), iv)]], ipsec=handle)
        assert made.send(batch).status.tolist() == [FAILURE]
    cbc = outbound(made, CBC)
    sent = send_one(made, with_iv(esp_frame(CBC), b"sixteen bytes !!"), handle=cbc)
    assert sent is not None and sent[42:58] == b"sixteen bytes !!"
