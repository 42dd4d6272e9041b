"""Hypothesis strategies for IPsec: SAs, packets in clear, in ESP and in AH, whole batches, replay windows, and packets
that the RFCs refuse, each with its verdict.

They are not bound to ipsecfast: packets are bytes from the IP header on, and any implementation can be put under test
(``docs/testing.md`` has scapy).  Protected packets are made by :mod:`ipsecfast.reference`, plain Python over
pycryptodome, or by hand; nothing here calls the native core or one of its crypto libraries.  Bytes that mean nothing
(payloads, keys) come from a small drawn number, so that examples stay small and shrink well.

Strategies: :func:`security_associations`, :func:`bundles`, :func:`start_numbers`, :func:`inner_packets`,
:func:`protected_packets`, :func:`clear_payloads`, :func:`invalid_packets`, :func:`windows`, :func:`batches`.
The other functions here make one SA or packet without drawing anything.

Needs hypothesis: ``pip install ipsecfast[testing]``.
"""

try:
    import hypothesis as _hypothesis
except ImportError as error:
    raise ImportError("ipsecfast.testing.strategies needs hypothesis: pip install 'ipsecfast[testing]'") from error

from .associations import bundles, peer, security_associations, start_numbers
from .batches import Batch, batches
from .invalid import Invalid, invalid_packets
from .plain import inner_packets, is_whole, plain_packet
from .protected import (
    Protected,
    clear_payloads,
    header_offset,
    protect,
    protect_all,
    protected_packets,
    reseal_ah,
    reseal_esp,
    with_body,
)
from .suites import ADDRESSES, AH_SUITES, ESP_SUITES, SEQ32, SEQ64, SUITES, Mode, Suite, filler, make_sa
from .windows import Offer, WindowRun, windows

del _hypothesis

__all__ = [
    "ADDRESSES",
    "AH_SUITES",
    "ESP_SUITES",
    "SEQ32",
    "SEQ64",
    "SUITES",
    "Batch",
    "Invalid",
    "Mode",
    "Offer",
    "Protected",
    "Suite",
    "WindowRun",
    "batches",
    "bundles",
    "clear_payloads",
    "filler",
    "header_offset",
    "inner_packets",
    "invalid_packets",
    "is_whole",
    "make_sa",
    "peer",
    "plain_packet",
    "protect",
    "protect_all",
    "protected_packets",
    "reseal_ah",
    "reseal_esp",
    "security_associations",
    "start_numbers",
    "windows",
    "with_body",
]
