"""Host: the transport's half of IPsecOV2, so that with a :class:`Miniport` there is a whole IPsec stack.

It binds, offloads SAs and counts them, builds headers and numbers for what is sent, checks replay and takes headers off
what was received, keeps the high halves of extended sequence numbers up to date on both sides, and deletes SAs when the
card asks for room.  It has no crypto: what the card did not check comes out as it came in.

One thread at a time may use a host; several hosts may share a card.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import IpsecError
from ..reference import ip
from ..status import PacketStatus
from .adapter import Miniport
from .host_frames import Located, Stripped, add_bundle, esp_frames, ethernet, ip_header_at, iv_len, locate, strip
from .host_sas import HostSa, HostTable
from .nbl import NblBatch

__all__ = ["Host", "HostPacket", "HostSa", "HostSent"]

_DELETE_REQ, _CRYPTO_DONE, _NEXT_DONE = 1, 2, 4
_LSO_V2, _LSO_IPV6 = 1 << 30, 1 << 31
_FAILED = {  # CryptoStatus
    1: PacketStatus.MALFORMED,
    2: PacketStatus.AUTH_FAILED,
    3: PacketStatus.AUTH_FAILED,
    4: PacketStatus.AUTH_FAILED,
    5: PacketStatus.AUTH_FAILED,
    6: PacketStatus.MALFORMED,
    7: PacketStatus.MALFORMED,
}


class HostPacket(NamedTuple):
    """What became of a received frame.

    ``packet`` is the packet without what was taken off, whatever ``status`` says: NOT_IPSEC, NO_SA and FRAGMENT mean
    that the card has not touched it.  ``word``, ``header`` and ``checksum`` are slots 1, 12 and 0.
    """

    status: PacketStatus
    packet: bytes
    word: int
    header: int
    checksum: int = 0


class HostSent(NamedTuple):
    """``status``: uint32[n], NDIS_STATUS of each list; ``frames``: what was on the wire."""

    status: NDArray[np.uint32]
    frames: list[bytes]


class Host(HostTable):
    """A protocol driver bound to a card.

    Parameters
    ----------
    miniport : initialized.
    macs : destination and source of what it sends.
    """

    def __init__(self, miniport: Miniport, macs: tuple[bytes, bytes] = (b"\2\0\0\0\0\2", b"\2\0\0\0\0\1")) -> None:
        self.macs = macs
        self._indicated: list[HostPacket] = []
        self._asked: list[HostSa] = []
        super().__init__(miniport, self._on_receive)

    # Send.

    def send(self, packets: Iterable[bytes], sa: HostSa | None = None, tunnel: HostSa | None = None) -> HostSent:
        """Send IP packets, each in a list of its own, through a bundle, or through a transport and a tunnel bundle.

        Numbers go up by one a packet; where the high half of an ESN SA changes, the card is told in between.
        Raises IpsecError when an SA has no number left, ValueError for what is no whole IP packet.
        """
        given = list(packets)
        layers = [one for one in (sa, tunnel) if one is not None]
        for one in layers:
            if one.direction != "outbound" or not one.handle:
                raise ValueError("sa: wanted an outbound bundle that is offloaded")
        done = [self._send_run(run, layers, sa, tunnel) for run in self._runs(given, layers)]
        if not done:
            return HostSent(np.zeros(0, np.uint32), [])
        return HostSent(np.concatenate([d.status for d in done]), list(itertools.chain(*(d.frames for d in done))))

    def _runs(self, packets: list[bytes], layers: Sequence[HostSa]) -> Iterable[list[bytes]]:
        """Packets that can be sent together: no number's high half changes among them."""
        at = 0
        while at < len(packets):
            room = len(packets) - at
            for one in layers:
                for i, sa in enumerate(one.sas):
                    following = one.numbers[i] + 1
                    if following >> (64 if sa.esn else 32):
                        raise IpsecError(f"SPI 0x{sa.spi:08x}: the last sequence number is used")
                    if sa.esn and following >> 32 != one.seq_hi[i]:
                        self.update(one, i, following >> 32)
                    room = min(room, (1 << 32) - (following & 0xFFFFFFFF))
            yield packets[at : at + room]
            at += room

    def _send_run(
        self, packets: list[bytes], layers: Sequence[HostSa], sa: HostSa | None, tunnel: HostSa | None
    ) -> HostSent:
        batch, words = self._at_once(packets, layers) or self._one_by_one(packets, layers)
        batch.ipsec[:] = sa.handle if sa is not None else 0
        batch.tunnel[:] = tunnel.handle if tunnel is not None else 0
        batch.header[:] = words
        result = self.miniport.send(batch)
        return HostSent(result.status, result.transmitted.to_packets())

    def _at_once(self, packets: list[bytes], layers: Sequence[HostSa]) -> tuple[NblBatch, int] | None:
        """Frames of the usual kind: one ESP SA in transport mode, packets of one length."""
        if len(layers) != 1 or len(layers[0].sas) != 1 or layers[0].sas[0].protocol != "esp" or len(packets) < 2:
            return None
        if len(set(map(len, packets))) != 1 or len(packets[0]) < 21 or ip.declared_len(packets[0]) != len(packets[0]):
            return None
        rows = np.frombuffer(b"".join(packets), np.uint8).reshape(len(packets), -1)
        link = ethernet(*self.macs, ip.version(packets[0]))
        made = esp_frames(link, rows, layers[0].sas[0], layers[0].numbers[0] + 1)
        if made is None:
            return None
        layers[0].numbers[0] += len(packets)
        return NblBatch(made[0]), made[1]

    def _one_by_one(self, packets: list[bytes], layers: Sequence[HostSa]) -> tuple[NblBatch, NDArray[np.uint64]]:
        frames, words = [], np.zeros(len(packets), np.uint64)
        for n, original in enumerate(packets):
            packet = original
            for one in layers:
                one.numbers[:] = [number + 1 for number in one.numbers]
                packet, word = add_bundle(packet, one.sas, one.numbers)
                words[n] = word if len(layers) == 1 else 0  # two layers: the card looks itself
            frames.append(ethernet(*self.macs, ip.version(packet)) + packet)
        return NblBatch.from_frames(frames), words

    def send_large(self, packet: bytes, sa: HostSa, mss: int) -> HostSent:
        """Send a TCP packet longer than the wire takes: the card cuts it up (LSO version 2, ESP in transport mode).

        packet : IP packet with a TCP header; its IP length is not looked at, its checksums are not.
        mss : bytes of TCP payload a frame.

        Raises ValueError also for more payload than the card takes (MaxOffLoadSize), or for fewer segments than it is
        to be given (MinSegmentCount): such a packet is for :meth:`send`.
        """
        (one,) = sa.sas
        version = ip.version(packet)
        head, proto_ofs = (20, 9) if version == 4 else (40, 6)
        if (packet[0] & 15 != 5 and version == 4) or packet[proto_ofs] != 6 or one.protocol != "esp" or one.udp_encap:
            raise ValueError("packet: wanted TCP over IP without options, through ESP without UDP")
        tcp_len = (packet[head + 12] >> 4) * 4
        payload = len(packet) - head - tcp_len
        segments = -(-payload // mss)
        limits = self.offload.LsoV2.IPv4 if version == 4 else self.offload.LsoV2.IPv6
        if limits.Encapsulation and (payload > limits.MaxOffLoadSize or segments < limits.MinSegmentCount):
            raise ValueError(
                f"packet: got {payload} bytes in {segments} segments, wanted at most {limits.MaxOffLoadSize} bytes and "
                f"{limits.MinSegmentCount} segments or more"
            )
        following = sa.numbers[0] + 1
        if following + segments - 1 >> (64 if one.esn else 32):
            raise IpsecError(f"SPI 0x{one.spi:08x}: the last sequence number is used")
        if one.esn and following >> 32 != sa.seq_hi[0]:
            self.update(sa, 0, following >> 32)
        esp = one.spi.to_bytes(4, "big") + (following & 0xFFFFFFFF).to_bytes(4, "big") + bytes(iv_len(one))
        addresses = packet[12:20] if version == 4 else packet[8:40]
        seed = (~ip.internet_checksum(addresses + b"\0\6") & 0xFFFF).to_bytes(2, "big")
        frame = b"".join(
            (
                ethernet(*self.macs, version),
                packet[:2] + b"\0\0" + packet[4:9] + b"\x32\0\0" + packet[12:20]
                if version == 4
                else packet[:4] + b"\0\0\x32" + packet[7:40],
                esp,
                packet[head : head + 16],
                seed,
                packet[head + 18 :],
            )
        )
        batch = NblBatch.from_frames([frame], tailroom=0)
        batch.ipsec[:] = sa.handle
        tcp_at = 14 + head + len(esp)
        batch.large_send[:] = mss | tcp_at << 20 | _LSO_V2 | (_LSO_IPV6 if version == 6 else 0)
        batch.header[:] = 6 | head // 4 << 24
        result = self.miniport.send(batch)
        sa.numbers[0] += segments
        if one.esn:
            sa.seq_hi[0] = sa.numbers[0] >> 32  # the card has moved on by itself
        return HostSent(result.status, result.transmitted.to_packets())

    # Receive.

    def receive(self, frames: Iterable[bytes]) -> list[HostPacket]:
        """Let frames come from the wire, and take what the card indicates of them."""
        self._indicated.clear()
        self.miniport.receive(NblBatch.from_frames(frames))
        received, self._indicated = self._indicated, []
        return received

    def _on_receive(self, nbls: NblBatch) -> None:
        """What ProtocolReceiveNetBufferLists is: the card indicates a batch."""
        rows = (row.tolist() for row in (nbls.ipsec & np.uint64(0xFFFFFFFF), nbls.header, nbls.checksum))
        for frame, word, header, checksum in zip(nbls.frames.to_packets(), *rows, strict=True):
            self._indicated.append(HostPacket(*self._take(frame, word), word, header, checksum))
        asked, self._asked = list(dict.fromkeys(self._asked)), []
        for inbound in asked:
            # SaDeleteReq: DELETE_SA once for the inbound SA and once for the outbound one.
            for one in (inbound, inbound.peer):
                if one is not None:
                    self.delete(one)

    def _take(self, frame: bytes, word: int) -> tuple[PacketStatus, bytes]:
        packet = frame[ip_header_at(frame) :]
        at = locate(packet)
        if isinstance(at, PacketStatus):
            return at, packet
        found = self._find(packet, at)
        if found is not None and word & _DELETE_REQ:
            self._asked.append(found[0])
        if not word & _CRYPTO_DONE:
            return PacketStatus.NO_SA, packet
        if word >> 16:
            return _FAILED.get(word >> 16, PacketStatus.MALFORMED), packet
        return self._take_layers(packet, bundles=2 if word & _NEXT_DONE else 1)

    def _take_layers(self, packet: bytes, bundles: int) -> tuple[PacketStatus, bytes]:
        """Take off as many bundles as the card has checked; the number of each that has gone well counts."""
        seen: list[tuple[HostSa, int, int]] = []
        status = PacketStatus.NOT_IPSEC
        for _ in range(bundles):
            at = locate(packet)
            found = None if isinstance(at, PacketStatus) else self._find(packet, at)
            if found is None:
                break
            for _ in range(len(found[0].sas)):
                at = locate(packet)
                found = None if isinstance(at, PacketStatus) else self._find(packet, at)
                if found is None or isinstance(at, PacketStatus):
                    self._mark(seen)
                    return PacketStatus.NO_SA, packet
                bundle, which = found
                acceptable, seq = bundle.windows[which].check(at.seq_lo)
                if not acceptable:
                    self._mark(seen)
                    return PacketStatus.REPLAYED, packet
                seen.append((bundle, which, seq))
                stripped: Stripped = strip(packet, at, bundle.sas[which])
                status = stripped.status
                if status is not PacketStatus.OK:
                    self._mark(seen)
                    return status, packet
                packet = stripped.packet
                if stripped.tunnel:
                    break
        self._mark(seen)
        return status, packet

    def _mark(self, seen: list[tuple[HostSa, int, int]]) -> None:
        for bundle, which, seq in seen:
            bundle.windows[which].mark(seq)
            top = bundle.windows[which].top
            if bundle.sas[which].esn and top >> 32 > bundle.seq_hi[which] and bundle.handle:
                self.update(bundle, which, top >> 32)

    def _find(self, packet: bytes, at: Located) -> tuple[HostSa, int] | None:
        """The bundle, and which of its SAs, that a packet's outermost header names."""
        dst = ip.destination(packet)
        for bundle, which in self._inbound.get((at.protocol, at.spi), ()):
            if bundle.sas[which].dst in (None, dst):
                return bundle, which
        return None
