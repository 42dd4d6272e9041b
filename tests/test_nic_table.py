"""The NIC's table: bundles, handles, capacity; and what a batch must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nic_cards import AH_SA, CBC, GCM, esp_frame, outbound, refused
from nic_cards import sender as nic
from nic_host import (
    send_one,
)

import ipsecfast
from ipsecfast import PacketBatch, SADFullError, SecurityAssociation
from ipsecfast.ndis.datapath import BundleError, Datapath, DatapathOptions
from ipsecfast.ndis.nbl import NblBatch

pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")


def test_capacity_counts_bundles() -> None:
    made = Datapath(capacity=3)
    outbound(made, GCM, AH_SA)
    outbound(made, CBC)
    made.add_bundle("inbound", [GCM, AH_SA])
    with pytest.raises(SADFullError, match="3 bundles"):
        made.add_bundle("inbound", [CBC])
    assert len(made) == 3


def test_adding_the_same_again_gives_another_handle_for_the_same_sa() -> None:
    made = nic()
    first = outbound(made, GCM)
    second = outbound(made, GCM)
    assert first != second
    assert send_one(made, esp_frame(GCM), handle=first) is not None
    assert refused(made, esp_frame(GCM), ipsec=second)
    made.delete(first)
    assert send_one(made, esp_frame(GCM, seq=2), handle=second) is not None
    made.delete(second)
    assert len(made) == 0


def test_adding_other_keys_under_the_same_spi_is_refused() -> None:
    made = nic()
    handle = outbound(made, GCM, AH_SA)
    for sas in (
        [replace(GCM, enc_key=bytes(16))],
        [GCM],
        [replace(GCM, salt=b"1234"), AH_SA],
        [replace(GCM, icv_len=8)],
    ):
        with pytest.raises(BundleError, match="already"):
            outbound(made, *sas)
    assert len(made) == 1 and made.statistics(handle)[0].packets == 0


def test_handles_are_not_handed_out_again_soon() -> None:
    made = Datapath(DatapathOptions(handle_bits=32), capacity=4)
    seen = []
    for i in range(1000):
        seen.append(outbound(made, replace(GCM, spi=0x1000 + i)))
        if i % 2:
            made.delete(seen[-1])
            made.delete(seen[-2])
    assert len(set(seen)) == 1000 and min(seen) > 0 and max(seen) < 1 << 32


def test_update_wants_the_right_sa() -> None:
    made = nic()
    plain, esn = outbound(made, CBC), outbound(made, replace(GCM, esn=True))
    for bad in ((plain, "esp", CBC.spi), (esn, "ah", GCM.spi), (esn, "esp", 99), (esn + 1, "esp", GCM.spi)):
        with pytest.raises(KeyError):
            made.update(*bad, 1)
    made.update(esn, "esp", GCM.spi, 1)


@pytest.mark.parametrize(
    ("sas", "fields", "message"),
    [
        ([], {}, "wanted ESP, AH, or ESP and AH"),
        ([AH_SA, GCM], {}, "wanted ESP, AH, or ESP and AH"),
        ([GCM, GCM], {}, "wanted ESP, AH, or ESP and AH"),
        ([GCM, replace(AH_SA, dst="192.0.2.9")], {}, "same addresses"),
        ([replace(GCM, src=None, dst=None)], {}, "ipv6"),
        ([GCM], {"ipv6": True}, "otherwise"),
        ([GCM], {"udp_esp": 16}, "udp_esp"),
        ([GCM, AH_SA], {"udp_esp": 1}, "udp_esp"),
        ([GCM], {"seq_hi": [1 << 32]}, "seq_hi"),
        ([GCM], {"mode_hint": "any"}, "mode_hint"),
    ],
)
def test_bundles_that_are_none(sas: list[SecurityAssociation], fields: dict[str, Any], message: str) -> None:
    made = nic()
    with pytest.raises(ValueError, match=message):
        made.add_bundle("outbound", sas, **fields)
    assert len(made) == 0


def test_clear() -> None:
    made = nic()
    handle = outbound(made, GCM, AH_SA)
    outbound(made, GCM, AH_SA)
    made.clear()
    assert len(made) == 0 and refused(made, esp_frame(GCM), ipsec=handle)
    outbound(made, GCM)


def test_an_add_that_fails_leaves_nothing() -> None:
    calls = iter([b"12345678"])
    made = nic({"iv_generator": lambda n: next(calls)})
    with pytest.raises(StopIteration):
        outbound(made, GCM, replace(AH_SA, authentication="HMAC-SHA1-96"))
    assert len(made) == 0
    made.add_bundle("inbound", [GCM])


def test_capacity_and_provider_are_checked() -> None:
    for capacity in (0, (1 << 20) + 1):
        with pytest.raises(ValueError, match="capacity"):
            Datapath(capacity=capacity)
    with pytest.raises(ipsecfast.ProviderError, match="reference"):
        Datapath(provider="reference")
    with pytest.raises(ValueError, match="handle_bits"):
        DatapathOptions(handle_bits=16)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sent_window"):
        DatapathOptions(sent_window=0)


def test_a_batch_is_checked() -> None:
    frames = PacketBatch.from_packets([b"x" * 60] * 3)
    for first in ([0, 3, 2], [1, 3], [0, 0, 3], [0, 2], [[0, 3]]):
        with pytest.raises(ValueError, match="first"):
            NblBatch(frames, first)
    with pytest.raises(TypeError, match="first"):
        NblBatch(frames, [0.0, 3.0])
    with pytest.raises(ValueError, match="medium"):
        NblBatch(frames, medium="token ring")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="frames"):
        NblBatch([b"x"])  # type: ignore[arg-type]
    batch = NblBatch(frames, [0, 1, 3])
    assert len(batch) == 2 and [len(batch[i].net_buffers) for i in (0, -1)] == [1, 2]
    with pytest.raises(IndexError):
        batch[2]
    batch[1].MSS, batch[1].LsoType = 1460, 1
    assert batch.large_send.tolist() == [0, 1 << 30 | 1460]
    with pytest.raises(ValueError, match="20 bits"):
        batch[0].MSS = 1 << 20
