"""SAD: the security association database (RFC 4301 sec. 4.4.2)."""

from __future__ import annotations

from typing import NamedTuple

from . import provider as providing
from .core._sad import CoreSAD
from .status import PacketStatus


class SAStatistics(NamedTuple):
    """Counters of one SA."""

    packets: int  # from which this SA's layer was taken, or on which it was put
    bytes: int  # their IP length, protected
    statuses: dict[PacketStatus, int]
    seq: int  # outbound: the last number sent; inbound: the highest authenticated


class SAD(CoreSAD):
    """The security association database: SAs by handle, and inbound by SPI, destination and protocol.

    Parameters
    ----------
    capacity : SAs it can hold, 1 to 2**26; memory is only taken as they come.
    provider : ``"ipsec-mb"``, ``"libcrypto"`` or ``"reference"``; None is the fastest that has each
        algorithm (or what the environment variable ``IPSECFAST_PROVIDER`` names).

    One call at a time: a second thread gets RuntimeError; different SADs are independent.  A SAD can't
    be used on after a fork, for both processes would send with the same numbers.

    Raises ValueError, TypeError, or :class:`ipsecfast.ProviderError` if the provider does not serve.
    """

    def __init__(self, capacity: int = 1024, provider: str | None = None) -> None:
        name = providing.wanted(provider)
        slow = None
        if name == "reference":
            from .slowpath import SlowPath

            slow = SlowPath(capacity)
        super().__init__(capacity, providing.chooser(name), providing.random_source() if slow is None else None, slow)

    def statistics(self, handle: int) -> SAStatistics:
        """What passed through one SA.  Raises KeyError for an unknown handle."""
        packets, n_bytes, counts, seq = self.counters(handle)
        return SAStatistics(packets, n_bytes, {status: counts[status] for status in PacketStatus}, seq)
