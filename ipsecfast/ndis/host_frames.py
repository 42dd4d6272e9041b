"""What the host builds for the card to protect, and takes off what the card has checked: no crypto here.

On send the host frames everything: IP headers, ESP and AH headers with their numbers, padding and trailer, and zeros
where IV and ICV will stand.  On receive the card has left all of it in place, decrypted.

RFC 4301 sec. 5.1.2, 4302, 4303, 3948, 6040.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core._batch import PacketBatch
from ..reference import ah, ip
from ..sa import SecurityAssociation
from ..status import PacketStatus

__all__ = ["ESP_LEN", "Located", "Stripped", "add_bundle", "esp_frames", "ip_header_at", "locate", "strip"]

ESP_LEN = 8  # SPI and sequence number
UDP_ESP_PORT = 4500
_TRAILER_LEN = 2
_ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}


def iv_len(sa: SecurityAssociation) -> int:
    """Bytes of IV on the wire."""
    return sa.auth_alg.iv_len if sa.protocol == "ah" else sa.enc_alg.iv_len


def icv_len(sa: SecurityAssociation) -> int:
    """Bytes of ICV."""
    return sa.icv_len or 0


# Send.


def add_bundle(packet: bytes, sas: Sequence[SecurityAssociation], seqs: Sequence[int]) -> tuple[bytes, int]:
    """Put the headers of a bundle (ESP, AH, or ESP and AH) on an IP packet; the packet, and its word for slot 12.

    seqs : one 64-bit number an SA; its low half is written.
    Raises ValueError for what is no IP packet, is a fragment, or grows too long.
    """
    first = sas[0]
    length = ip.declared_len(packet)
    if length is None or length > len(packet):
        raise ValueError(f"packet: got {len(packet)} bytes that are no whole IP packet")
    packet = packet[:length]
    if first.mode == "tunnel":
        headers = _outer_header(first, packet, seqs[0])
        proto_ofs = 9 if ip.version(headers) == 4 else 6
        payload, next_header = packet, ip.PROTO_IPV4 if ip.version(packet) == 4 else ip.PROTO_IPV6
    else:
        walked = ip.walk(packet, len(packet))
        if walked is None or walked.fragment:
            raise ValueError("packet: got a fragment or a broken extension header, wanted a whole datagram")
        headers, proto_ofs = packet[: walked.end], walked.proto_ofs
        payload, next_header = packet[walked.end :], walked.proto
    word = next_header
    at = len(headers)
    esp_at = ah_at = 0
    for sa, seq in zip(sas, seqs, strict=True):
        if sa.protocol == "ah":
            header = ah.header(sa, ip.version(headers), next_header, seq & 0xFFFFFFFF, b"", b"")
            payload, next_header = header + payload, ip.PROTO_AH
            ah_at, esp_at = at, esp_at + len(header) if esp_at else 0
            continue
        if first.mode == "tunnel" and sa.tfc_pad_to:
            payload = payload.ljust(sa.tfc_pad_to, b"\0")
        pad_len = -(len(payload) + _TRAILER_LEN) % sa.enc_alg.align
        word |= pad_len << 8
        payload = (
            struct.pack(">II", sa.spi, seq & 0xFFFFFFFF)
            + bytes(sa.enc_alg.iv_len)
            + payload
            + bytes(range(1, pad_len + 1))
            + bytes((pad_len, next_header))
            + bytes(icv_len(sa))
        )
        next_header, esp_at = ip.PROTO_ESP, at
        if sa.udp_encap:
            payload = struct.pack(">HHHH", *sa.udp_encap, ip.UDP_LEN + len(payload), 0) + payload
            next_header, esp_at = ip.PROTO_UDP, at + ip.UDP_LEN
    if not ip.length_fits(len(headers) + len(payload), ip.version(headers)):
        raise ValueError(f"packet: got {len(packet)} bytes, which grow too long for an IP header")
    return ip.finish(headers, proto_ofs, next_header, payload), word | _units(ah_at) << 16 | _units(esp_at) << 24


def _units(offset: int) -> int:
    """In units of 4 bytes; 0, "absent", where a word can't say it."""
    return offset // 4 if offset % 4 == 0 and offset < 1024 else 0


def _outer_header(sa: SecurityAssociation, inner: bytes, seq: int) -> bytes:
    """A tunnel's header (RFC 4301 sec. 5.1.2, RFC 6040 sec. 4.1)."""
    src, dst = sa.src, sa.dst
    if src is None or dst is None or isinstance(src, str) or isinstance(dst, str):
        raise ValueError("SA: wanted src and dst for a tunnel")
    inner_class = ip.traffic_class(inner)
    outer_class = (inner_class & 0xFC if sa.copy_dscp else 0) | (inner_class & 3 if sa.ecn else 0)
    if dst.version == 6:
        label = ip.flow_label(inner) if sa.flow_label == "copy" else sa.flow_label
        return ip.ipv6_header(src, dst, traffic_class=outer_class, flow_label=label, hop_limit=sa.ttl)
    df = ip.dont_fragment(inner) if sa.df == "copy" else sa.df == "set"
    return ip.put16(ip.ipv4_header(src, dst, tos=outer_class, df=df, ttl=sa.ttl), 4, seq & 0xFFFF)


def esp_frames(
    link: bytes, packets: NDArray[np.uint8], sa: SecurityAssociation, seq: int
) -> tuple[PacketBatch, int] | None:
    """Frames for packets of one length and one kind of header at once: ESP in transport mode, IPv4 without options or
    IPv6 without extension headers, no UDP.

    packets : uint8[n, length], IP packets; ``seq``: the first number, no wrap among them.
    Returns a batch and the word for slot 12, or None for packets that need :func:`add_bundle`.
    """
    n, length = packets.shape
    version = int(packets[0, 0]) >> 4
    head, proto_ofs = (20, 9) if version == 4 else (40, 6)
    plain = bool((packets[:, 0] == (0x45 if version == 4 else packets[0, 0])).all()) and length > head
    plain = plain and bool((packets[:, proto_ofs] == packets[0, proto_ofs]).all())
    next_header = int(packets[0, proto_ofs])
    if not plain or sa.mode == "tunnel" or sa.udp_encap or next_header in (0, 43, 44, 60):
        return None
    if version == 4 and (packets[:, 6] & 0x3F | packets[:, 7]).any():
        return None
    data_len = length - head
    pad_len = -(data_len + _TRAILER_LEN) % sa.enc_alg.align
    start = len(link) + head
    at = start + ESP_LEN + sa.enc_alg.iv_len
    end = at + data_len + pad_len + _TRAILER_LEN
    total = end + icv_len(sa)
    frames = np.zeros((n, total), np.uint8)
    frames[:, : len(link)] = np.frombuffer(link, np.uint8)
    frames[:, len(link) : start] = packets[:, :head]
    frames[:, start : start + 4] = np.frombuffer(sa.spi.to_bytes(4, "big"), np.uint8)
    numbers = (np.arange(seq, seq + n, dtype=np.uint64) & np.uint64(0xFFFFFFFF)).astype(">u4")
    frames[:, start + 4 : start + 8] = numbers.view(np.uint8).reshape(n, 4)
    frames[:, at : at + data_len] = packets[:, head:]
    trailer = bytes(range(1, pad_len + 1)) + bytes((pad_len, next_header))
    frames[:, end - len(trailer) : end] = np.frombuffer(trailer, np.uint8)
    frames[:, len(link) + proto_ofs] = ip.PROTO_ESP
    _set_lengths(frames[:, len(link) : start], version, total - len(link))
    offset = np.arange(n, dtype=np.int64) * total
    batch = PacketBatch(frames.reshape(-1), offset, np.full(n, total, np.int32))
    return batch, next_header | pad_len << 8 | head // 4 << 24


def _set_lengths(headers: NDArray[np.uint8], version: int, length: int) -> None:
    """Write the IP length, and IPv4's checksum, into headers of one kind."""
    if version == 6:
        headers[:, 4:6] = ((length - 40) >> 8, (length - 40) & 0xFF)
        return
    headers[:, 2:4] = (length >> 8, length & 0xFF)
    headers[:, 10:12] = 0
    words = headers.reshape(len(headers), 10, 2).astype(np.uint32)
    total = (words[:, :, 0] << 8 | words[:, :, 1]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    headers[:, 10], headers[:, 11] = total >> 8, total & 0xFF


# Receive.


class Located(NamedTuple):
    """Where the outermost IPsec header of a packet stands."""

    protocol: str  # "esp" or "ah"
    spi: int
    seq_lo: int
    start: int  # of the ESP or AH header
    end: int  # of what it covers
    headers_end: int  # of the IP headers, in front of a UDP header
    proto_ofs: int


@dataclass(frozen=True, slots=True)
class Stripped:
    """A packet with one layer taken off, or why there is none.  ``tunnel``: the layer carried an IP packet."""

    status: PacketStatus
    packet: bytes = b""
    tunnel: bool = False


def ip_header_at(frame: bytes) -> int:
    """Where the IP header of an Ethernet frame starts, behind a tag (802.1Q, 802.1ad) or LLC and SNAP; 0 if nowhere."""
    at = 16 if frame[12:14] in (b"\x81\x00", b"\x88\xa8") else 12
    kind = frame[at : at + 2]
    if kind in _ETHERTYPES.values():
        return at + 2
    if len(kind) == 2 and int.from_bytes(kind, "big") < 0x600 and frame[at + 2 : at + 8] == b"\xaa\xaa\x03\0\0\0":
        return at + 10 if frame[at + 8 : at + 10] in _ETHERTYPES.values() else 0
    return 0


def ethernet(dst: bytes, src: bytes, version: int) -> bytes:
    """A link-layer header."""
    return dst + src + _ETHERTYPES[version]


def locate(packet: bytes) -> Located | PacketStatus:
    """Find ESP, AH or UDP-ESP in a packet, from its IP header on; or say why there is nothing to find."""
    length = ip.declared_len(packet)
    if length is None or length > len(packet):
        return PacketStatus.NOT_IPSEC
    walked = ip.walk(packet, length)
    if walked is None:
        return PacketStatus.NOT_IPSEC
    start, end, proto = walked.end, length, walked.proto
    if proto == ip.PROTO_UDP and walked.first and end - start >= ip.UDP_LEN + 4:
        esp = start + ip.UDP_LEN
        if UDP_ESP_PORT in (ip.u16(packet, start), ip.u16(packet, start + 2)) and any(packet[esp : esp + 4]):
            proto, start, end = ip.PROTO_ESP, esp, min(end, walked.end + ip.u16(packet, walked.end + 4))
    if proto not in (ip.PROTO_ESP, ip.PROTO_AH):
        return PacketStatus.NOT_IPSEC
    if walked.fragment:
        return PacketStatus.FRAGMENT
    if end - start < (12 if proto == ip.PROTO_AH else ESP_LEN):
        return PacketStatus.MALFORMED
    spi, seq = struct.unpack_from(">II", packet, start + (4 if proto == ip.PROTO_AH else 0))
    protocol = "ah" if proto == ip.PROTO_AH else "esp"
    return Located(protocol, spi, seq, start, end, walked.end, walked.proto_ofs)


def strip(packet: bytes, at: Located, sa: SecurityAssociation) -> Stripped:
    """Take one checked and decrypted layer off."""
    if at.protocol == "ah":
        data_at = at.start + ah.declared_len(packet, at.start)
        if data_at > at.end:
            return Stripped(PacketStatus.MALFORMED)
        data, next_header = packet[data_at : at.end], packet[at.start]
    else:
        data_at, data_end = at.start + ESP_LEN + sa.enc_alg.iv_len, at.end - icv_len(sa) - _TRAILER_LEN
        if data_end < data_at or packet[data_end] > data_end - data_at:
            return Stripped(PacketStatus.MALFORMED)
        pad_len, next_header = packet[data_end], packet[data_end + 1]
        data = packet[data_at : data_end - pad_len]
        if sa.strict_padding and packet[data_end - pad_len : data_end] != bytes(range(1, pad_len + 1)):
            return Stripped(PacketStatus.MALFORMED)
        if next_header == ip.PROTO_NONE:
            return Stripped(PacketStatus.DUMMY)
    if next_header in (ip.PROTO_IPV4, ip.PROTO_IPV6) and sa.mode != "transport":
        return _inner(packet, data, next_header, sa)
    if sa.mode == "tunnel" and not (at.protocol == "ah" and next_header == ip.PROTO_ESP):  # ESP is the bundle's other
        return Stripped(PacketStatus.MALFORMED)
    return Stripped(PacketStatus.OK, ip.finish(packet[: at.headers_end], at.proto_ofs, next_header, data))


def _inner(outer: bytes, data: bytes, next_header: int, sa: SecurityAssociation) -> Stripped:
    length = ip.declared_len(data)
    if length is None or length > len(data) or ip.version(data) != (4 if next_header == ip.PROTO_IPV4 else 6):
        return Stripped(PacketStatus.MALFORMED)
    packet = data[:length]  # the rest is TFC padding (RFC 4303 sec. 2.7)
    outer_class, inner_class = ip.traffic_class(outer), ip.traffic_class(packet)
    ecn = ip.ecn_on_decapsulation(inner_class & 3, outer_class & 3) if sa.ecn else inner_class & 3
    if ecn is None:
        return Stripped(PacketStatus.ECN)
    dscp = (outer_class if sa.decap_dscp else inner_class) & 0xFC
    return Stripped(PacketStatus.OK, ip.with_traffic_class(packet, dscp | ecn), tunnel=True)
