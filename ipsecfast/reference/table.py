"""The SAD as a model: SAs and bundles by handle, SAs found inbound by SPI and addresses (RFC 4301 sec. 4.1, 4.4.2).

One thread at a time.
"""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from ..errors import DuplicateSAError
from ..sa import Address, AddressLike, SecurityAssociation
from ..status import PacketStatus
from .crypto import iv_len
from .window import SEQ32, SEQ64, ReplayWindow

Direction = Literal["inbound", "outbound"]
Protocol = Literal["esp", "ah"]

NATT_PORT = 4500  # RFC 3948 sec. 2.1
MAX_BUNDLE = 8  # layers

# direction, protocol, SPI, destination (None: any), source (None: any)
_Key = tuple[Direction, Protocol, int, Address | None, Address | None]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of one SA."""

    packets: int  # with status OK
    bytes: int  # IP length of their protected form
    statuses: dict[PacketStatus, int]
    last_seq: int  # outbound: sent last; inbound: highest authenticated


@dataclass(slots=True)
class Entry:
    """One SA in the table with all that changes as packets pass."""

    handle: int
    sa: SecurityAssociation
    direction: Direction
    window: ReplayWindow  # inbound; outbound only its ``top`` is used, the last number sent
    iv_mask: int = field(default_factory=lambda: int.from_bytes(os.urandom(8), "big"))
    n_bytes: int = 0
    statuses: Counter[PacketStatus] = field(default_factory=Counter)

    def count(self, status: PacketStatus, protected_len: int) -> None:
        """Count one packet; its length only if it went through."""
        self.statuses[status] += 1
        if status is PacketStatus.OK:
            self.n_bytes += protected_len


class ReferenceTable:
    """SAs of both directions; ``len()`` counts them, without bundles."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._bundles: dict[int, tuple[int, ...]] = {}
        self._by_key: dict[_Key, Entry] = {}
        self._ports = {NATT_PORT}
        self._any_mode = False
        self._last_handle = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, sa: SecurityAssociation, direction: Direction, seq: int = 0, handle: int | None = None) -> int:
        """Add an SA and return its handle, the next free one unless given.

        ``seq`` is the last number used: outbound the first packet gets the next one; inbound it is
        the highest authenticated so far and itself seen, lower ones in the window are not.

        Raises DuplicateSAError for a second SA with this SPI, destination, protocol and direction (and
        source, where it is compared), ValueError for a handle in use, a ``seq`` out of range or an SA that
        can't serve this direction.
        """
        if direction not in ("inbound", "outbound"):
            raise ValueError(f"direction: got {direction!r}, wanted inbound or outbound")
        if direction == "outbound" and sa.mode == "any":
            raise ValueError("mode: got any, wanted tunnel or transport for an outbound SA")
        if direction == "outbound" and sa.mode == "tunnel" and (sa.src is None or sa.dst is None):
            raise ValueError("src and dst: an outbound tunnel needs both")
        handle = self._free_handle(handle)
        key = _key(direction, sa)
        if key in self._by_key:
            raise DuplicateSAError(
                f"there is an {direction} {sa.protocol} SA with SPI 0x{sa.spi:08x} and destination {sa.dst} already"
            )
        # RFC 4303 sec. 1: no anti-replay without integrity, or one forged number would move the window
        window = ReplayWindow(sa.replay_window if sa.icv_len else 0, sa.esn, seq)
        entry = Entry(handle, sa, direction, window)
        if seq:
            entry.window.mark(seq)
        self._entries[handle] = self._by_key[key] = entry
        self._last_handle = max(handle, self._last_handle)
        self._collect_ports()
        return handle

    def bundle(self, handles: Sequence[int], handle: int | None = None) -> int:
        """Return a handle that protects with several outbound SAs, the innermost first.

        Raises TypeError for anything but ints, KeyError for one that names no SA (a bundle is none), ValueError
        unless they are 1 to 8 different outbound SAs, or for a ``handle`` in use.
        """
        members = tuple(map(operator.index, handles))
        if not 1 <= len(members) <= MAX_BUNDLE or len(set(members)) != len(members):
            raise ValueError(f"handles: got {list(members)}, wanted 1 to {MAX_BUNDLE} different ones")
        for member in members:
            _assert_outbound(self.entry(member))
        handle = self._free_handle(handle)
        self._bundles[handle] = members
        self._last_handle = max(handle, self._last_handle)
        return handle

    def delete(self, handle: int) -> None:
        """Take out a bundle, or an SA with all bundles that it is in.  Raises KeyError for an unknown handle."""
        if handle in self._bundles:
            del self._bundles[handle]
            return
        entry = self.entry(handle)
        del self._entries[handle]
        del self._by_key[_key(entry.direction, entry.sa)]
        self._bundles = {of: members for of, members in self._bundles.items() if handle not in members}
        self._collect_ports()

    def update(self, handle: int, *, seq_hi: int) -> None:
        """Replace the high half of the highest number and clear the window: nothing in it is seen.

        Raises KeyError for an unknown handle, ValueError if the SA has no extended numbers.
        """
        entry = self.entry(handle)
        if not entry.sa.esn:
            raise ValueError("seq_hi: this SA has no extended sequence numbers")
        if not 0 <= seq_hi < SEQ32:
            raise ValueError(f"seq_hi: got {seq_hi}, wanted 32 bits")
        if entry.direction == "outbound" and seq_hi < entry.window.top // SEQ32:
            raise ValueError(f"seq_hi: got {seq_hi}, but numbers sent before would be sent again")
        entry.window.restart(seq_hi * SEQ32 + entry.window.top % SEQ32)

    def statistics(self, handle: int) -> Statistics:
        """The counters of one SA.  Raises KeyError for an unknown handle."""
        entry = self.entry(handle)
        statuses = {status: entry.statuses[status] for status in PacketStatus}
        return Statistics(statuses[PacketStatus.OK], entry.n_bytes, statuses, entry.window.top)

    def entry(self, handle: int) -> Entry:
        """The SA of a handle.  Raises KeyError if there is none."""
        if handle not in self._entries:
            raise KeyError(f"handle {handle} names no SA")
        return self._entries[handle]

    def layers(self, handle: int) -> tuple[Entry, ...]:
        """The SAs that a handle protects with, the innermost first.  Raises KeyError for an unknown one."""
        return tuple(self.entry(member) for member in self._bundles.get(handle, (handle,)))

    def check_outbound(self, handle: int, iv: bytes | None) -> None:
        """Raise KeyError or ValueError if no packet can be sent with this handle and IV."""
        for entry in self.layers(handle):
            _assert_outbound(entry)
        if iv is None:
            return
        if handle in self._bundles:
            raise ValueError(f"iv: got one with handle {handle}, a bundle, wanted none")
        sa = self.entry(handle).sa
        if len(iv) != iv_len(sa):
            raise ValueError(f"iv: got {len(iv)} bytes, this SA's algorithms want {iv_len(sa)}")

    def lookup(self, protocol: Protocol, spi: int, dst: Address, src: Address) -> Entry | None:
        """The inbound SA for a packet: by destination and source, else by destination, else by SPI alone."""
        addresses: tuple[tuple[Address | None, Address | None], ...] = ((dst, src), (dst, None), (None, None))
        found = (self._by_key.get(("inbound", protocol, spi, *pair)) for pair in addresses)
        return next((entry for entry in found if entry), None)

    def is_encapsulated(self, sport: int, dport: int) -> bool:
        """True if UDP between these ports may carry ESP: NAT may have moved one side's port, not both.

        Source port 4500 says so too where an SA of mode "any" does not tell its ports.
        """
        return dport in self._ports or (self._any_mode and sport == NATT_PORT)

    def _free_handle(self, wanted: int | None) -> int:
        handle = self._last_handle + 1 if wanted is None else wanted
        if handle < 1 or handle in self._entries or handle in self._bundles:
            raise ValueError(f"handle: got {handle}, wanted a positive one not in use")
        return handle

    def _collect_ports(self) -> None:
        inbound = (entry.sa for entry in self._entries.values() if entry.direction == "inbound")
        self._ports = {NATT_PORT}.union(*(sa.udp_encap for sa in inbound if sa.udp_encap))
        self._any_mode = any(entry.sa.mode == "any" for entry in self._entries.values())


def next_seq(entry: Entry) -> int | None:
    """The number of an outbound SA's next packet, or None when it has no more (RFC 4303 sec. 3.3.3)."""
    seq = entry.window.top + 1
    return seq if seq < (SEQ64 if entry.sa.esn else SEQ32) else None


def _assert_outbound(entry: Entry) -> None:
    if entry.direction != "outbound":
        raise ValueError(f"handle {entry.handle} is an inbound SA, wanted an outbound one")


def _key(direction: Direction, sa: SecurityAssociation) -> _Key:
    src = sa_address(sa.src) if sa.match_src else None
    return direction, sa.protocol, sa.spi, sa_address(sa.dst), src


def sa_address(address: AddressLike | None) -> Address | None:
    """An SA's ``src`` or ``dst``: SecurityAssociation has turned every text into an address."""
    return cast("Address | None", address)
