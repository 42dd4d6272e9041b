"""What the model says about one packet."""

from __future__ import annotations

from dataclasses import dataclass

from ..status import PacketStatus


@dataclass(frozen=True, slots=True)
class Room:
    """The free bytes of a packet's slot; the packet may move in its slot when it grows."""

    headroom: int
    tailroom: int

    def holds(self, old_len: int, new_len: int) -> bool:
        """True if a packet of ``old_len`` bytes can become one of ``new_len``."""
        return new_len <= self.headroom + old_len + self.tailroom


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on one packet, and the new packet if it is ``OK``.

    ``seq`` and ``handle`` are the outermost layer's, 0 where there is none.  ``failed_layer`` is
    the layer that gave the status (0 = outermost); it is 0 for ``OK``.
    """

    status: PacketStatus
    packet: bytes | None = None
    seq: int = 0
    handle: int = 0
    wiped_from: int | None = None  # a refused packet is zero from here on
    failed_layer: int = 0

    def left_behind(self, packet: bytes) -> bytes:
        """The bytes that a call working in place leaves of ``packet``."""
        if self.packet is not None:
            return self.packet
        if self.wiped_from is None:
            return packet
        return packet[: self.wiped_from] + bytes(len(packet) - self.wiped_from)
