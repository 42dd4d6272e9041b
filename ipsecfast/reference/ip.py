"""IPv4 and IPv6 headers: lengths, the way to the protocol, checksums, ECN.

No ESP, no AH and no crypto here.  RFC 791, RFC 8200 sec. 4, RFC 1071, RFC 1624, RFC 6040.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ..sa import Address

PROTO_HOP_BY_HOP = 0
PROTO_IPV4 = 4
PROTO_UDP = 17
PROTO_IPV6 = 41
PROTO_ROUTING = 43
PROTO_FRAGMENT = 44
PROTO_ESP = 50
PROTO_AH = 51
PROTO_NONE = 59
PROTO_DEST_OPTS = 60

IPV4_LEN = 20
IPV6_LEN = 40
UDP_LEN = 8
MAX_IP_LEN = 65535

ECN_NOT_ECT, ECN_ECT1, ECN_ECT0, ECN_CE = 0, 1, 2, 3

_IPV4_DF = 0x4000
_IPV4_MF_AND_OFFSET = 0x3FFF


@dataclass(frozen=True, slots=True)
class Headers:
    """The IP headers in front of ``proto``: extension headers that ESP or AH may follow count as walked."""

    end: int  # bytes; where the protocol's own header starts
    proto: int
    proto_ofs: int  # the byte which says ``proto``
    fragment: bool  # not all of the datagram is here
    first: bool  # the part at offset 0


def version(packet: bytes) -> int:
    """The version nibble, or 0 for an empty packet."""
    return packet[0] >> 4 if packet else 0


def declared_len(packet: bytes) -> int | None:
    """The length that the IP header declares, or None if there is no sane IP header.

    The result may be larger than ``packet``: whoever asks judges truncation.
    """
    if version(packet) == 4 and len(packet) >= IPV4_LEN:
        header_len = (packet[0] & 15) * 4
        total_len = u16(packet, 2)
        sane = IPV4_LEN <= header_len <= len(packet) and header_len <= total_len
        return total_len if sane else None
    if version(packet) == 6 and len(packet) >= IPV6_LEN:
        return IPV6_LEN + u16(packet, 4)
    return None


def walk(packet: bytes, end: int) -> Headers | None:
    """Go through the headers of a packet that has a sane one, up to ``end``.

    None: an extension header runs past the end.  AH is not walked through.
    """
    if version(packet) == 6:
        return _walk6(packet, end)
    field = u16(packet, 6)
    return Headers(
        end=(packet[0] & 15) * 4,
        proto=packet[9],
        proto_ofs=9,
        fragment=field & _IPV4_MF_AND_OFFSET != 0,
        first=field & 0x1FFF == 0,
    )


def _walk6(packet: bytes, end: int) -> Headers | None:
    pos, proto, proto_ofs, fragment = IPV6_LEN, packet[6], 6, False
    while proto in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_DEST_OPTS):
        if pos + 8 > end:
            return None
        header_len = 8
        if proto == PROTO_FRAGMENT:
            field = u16(packet, pos + 2)
            if field & 0xFFF8:
                # What follows is the middle of something: only this header tells the protocol.
                return Headers(pos + 8, packet[pos], pos, fragment=True, first=False)
            # Neither M nor an offset: an atomic fragment (RFC 6946), a whole datagram.
            fragment |= field & 1 != 0
        else:
            header_len = (packet[pos + 1] + 1) * 8
        if pos + header_len > end:
            return None
        proto, proto_ofs, pos = packet[pos], pos, pos + header_len
    return Headers(pos, proto, proto_ofs, fragment, first=True)


def destination(packet: bytes) -> Address:
    """The destination address field of the IP header."""
    if version(packet) == 4:
        return ipaddress.IPv4Address(packet[16:20])
    return ipaddress.IPv6Address(packet[24:40])


def source(packet: bytes) -> Address:
    """The source address field of the IP header."""
    if version(packet) == 4:
        return ipaddress.IPv4Address(packet[12:16])
    return ipaddress.IPv6Address(packet[8:24])


def traffic_class(packet: bytes) -> int:
    """DSCP and ECN: IPv4 TOS or IPv6 traffic class."""
    return packet[1] if version(packet) == 4 else u16(packet, 0) >> 4 & 0xFF


def with_traffic_class(packet: bytes, value: int) -> bytes:
    """The packet with another TOS byte or traffic class; the checksum is corrected, not computed.

    RFC 1624 eqn. 3, so that a header checksum which was wrong before stays wrong.
    """
    if value == traffic_class(packet):
        return packet
    old = u16(packet, 0)
    if version(packet) == 6:
        return put16(packet, 0, old & 0xF00F | value << 4)
    new = old & 0xFF00 | value
    checksum = ~_fold((~u16(packet, 10) & 0xFFFF) + (~old & 0xFFFF) + new) & 0xFFFF
    return put16(put16(packet, 0, new), 10, checksum)


def ecn_on_decapsulation(inner: int, outer: int) -> int | None:
    """The ECN field that the inner packet goes on with (RFC 6040 sec. 4.2, figure 4); None: drop."""
    if outer == ECN_CE:
        return None if inner == ECN_NOT_ECT else ECN_CE
    if inner == ECN_ECT0 and outer == ECN_ECT1:
        return ECN_ECT1
    return inner


def dont_fragment(packet: bytes) -> bool:
    """The DF bit; True for IPv6, which no router fragments."""
    return version(packet) == 6 or u16(packet, 6) & _IPV4_DF != 0


def flow_label(packet: bytes) -> int:
    """The IPv6 flow label; 0 for IPv4."""
    return int.from_bytes(packet[1:4], "big") & 0xFFFFF if version(packet) == 6 else 0


def ipv4_header(src: Address, dst: Address, *, tos: int, df: bool, ttl: int) -> bytes:
    """An IPv4 header without options; :func:`finish` fills in protocol, length and checksum."""
    flags = (_IPV4_DF if df else 0).to_bytes(2, "big")
    return bytes((0x45, tos, 0, 0, 0, 0)) + flags + bytes((ttl, 0, 0, 0)) + src.packed + dst.packed


def ipv6_header(src: Address, dst: Address, *, traffic_class: int, flow_label: int, hop_limit: int) -> bytes:
    """An IPv6 header; :func:`finish` fills in next header and length."""
    first = 6 << 28 | traffic_class << 20 | flow_label
    return first.to_bytes(4, "big") + bytes((0, 0, 0, hop_limit)) + src.packed + dst.packed


def length_fits(packet_len: int, ip_version: int) -> bool:
    """True if the length field of an IP header can say ``packet_len``."""
    return packet_len - (IPV6_LEN if ip_version == 6 else 0) <= MAX_IP_LEN


def finish(headers: bytes, proto_ofs: int, proto: int, payload: bytes) -> bytes:
    """Put ``payload`` behind ``headers``: next header, length and, over IPv4, checksum are set."""
    packet = headers[:proto_ofs] + bytes((proto,)) + headers[proto_ofs + 1 :] + payload
    if version(packet) == 6:
        return put16(packet, 4, len(packet) - IPV6_LEN)
    packet = put16(put16(packet, 2, len(packet)), 10, 0)
    return put16(packet, 10, internet_checksum(packet[: (packet[0] & 15) * 4]))


def udp6_checksum(headers: bytes, udp: bytes) -> int:
    """The UDP checksum over IPv6 with its pseudo-header (RFC 8200 sec. 8.1); never 0."""
    pseudo = headers[8:40] + len(udp).to_bytes(4, "big") + bytes((0, 0, 0, PROTO_UDP))
    return internet_checksum(pseudo + udp) or 0xFFFF


def internet_checksum(data: bytes) -> int:
    """RFC 1071; an odd last byte is filled up with zero."""
    data += bytes(len(data) % 2)
    return ~_fold(sum(u16(data, i) for i in range(0, len(data), 2))) & 0xFFFF


def u16(data: bytes, ofs: int) -> int:
    """Two bytes in network order."""
    return data[ofs] << 8 | data[ofs + 1]


def put16(data: bytes, ofs: int, value: int) -> bytes:
    """A copy of ``data`` with two bytes replaced, in network order."""
    return data[:ofs] + value.to_bytes(2, "big") + data[ofs + 2 :]


def _fold(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
