"""Differences between core and reference that were found once, each as the smallest example."""

from __future__ import annotations

import pytest
from differential import PROVIDER_NAMES, Pair

from ipsecfast import PacketStatus
from ipsecfast.testing import strategies as gen

pytestmark = pytest.mark.parametrize("provider", PROVIDER_NAMES)

GCM = gen.Suite("AES-GCM-128", "NONE")
INNER = gen.plain_packet()
OK, REPLAYED, AUTH_FAILED = PacketStatus.OK, PacketStatus.REPLAYED, PacketStatus.AUTH_FAILED


def test_esn_number_that_the_packet_before_makes_possible(provider: str) -> None:
    """Near the start of the first epoch there is no epoch before, until the window has moved on in the batch."""
    sa = gen.make_sa(GCM, esn=True)
    packets = [gen.protect(sa, INNER, seq) for seq in (100, (1 << 32) - 10)]
    assert Pair(provider, "inbound", [(sa, 10)]).decapsulate(packets) == [OK, OK]


def test_failing_layer_in_udp_leaves_the_udp_header(provider: str) -> None:
    """The IP header of transport mode moves over the UDP header while the layers come off."""
    inside = gen.make_sa(GCM, spi=0x1001, mode="transport")
    outside = gen.make_sa(GCM, mode="transport", udp_encap=(4500, 4500))
    sealed = gen.protect(inside, INNER, 1)
    packet = gen.protect(outside, sealed[:-1] + bytes((sealed[-1] ^ 1,)), 1)
    pair = Pair(provider, "inbound", [(inside, 0), (outside, 0)])
    assert pair.decapsulate([packet]) == [AUTH_FAILED]


def test_an_sa_met_inside_another_and_alone(provider: str) -> None:
    """A layer below the first comes before the packets behind it, also within one batch."""
    inside, outside = gen.make_sa(GCM, spi=0x1001), gen.make_sa(GCM)
    alone = gen.protect(inside, INNER, 1)
    nested = gen.protect(outside, alone, 1)
    pair = Pair(provider, "inbound", [(inside, 0), (outside, 0)], shared_layers=True)
    assert pair.decapsulate([nested, alone]) == [OK, REPLAYED]


def test_an_sa_inside_itself(provider: str) -> None:
    sa = gen.make_sa(GCM)
    twice = gen.protect(sa, gen.protect(sa, INNER, 2), 1)
    pair = Pair(provider, "inbound", [(sa, 0)], shared_layers=True)
    assert pair.decapsulate([twice, gen.protect(sa, INNER, 2), gen.protect(sa, INNER, 3)]) == [OK, REPLAYED, OK]
