"""The Authentication Header of one packet: its layout, and the bytes that its ICV is computed over.

1. the IP headers in front of AH are turned into what they are on arrival: fields that change on the way
   are zero, those that change in a predictable way stand as the receiver sees them;
2. AH follows with its ICV zeroed; an IV in front of the ICV and padding behind it stay;
3. then all that follows AH, as it is, up to the end by the IP length.

RFC 4302 sec. 2, 3.3.3 and appendix A; RFC 791 and 8200 (options), 5095 and 6275 (routing headers of type 0
and 2), 4543 sec. 4 (the IV of AES-GMAC).  The high half of extended sequence numbers and the MAC itself are
in :mod:`.crypto`.  No windows and no lookup here.
"""

from __future__ import annotations

from ..sa import SecurityAssociation
from . import ip
from .crypto import icv_len, iv_len

HEADER_LEN = 12  # in front of the ICV field: next header, length, reserved, SPI, sequence number

_EOL, _NOP = 0, 1
_SOURCE_ROUTES = (131, 137)  # loose and strict
_ROUTE_LEN = 7  # with one address
# RFC 4302 A1: security, extended security, commercial security, router alert, sender-directed multi-destination
_IMMUTABLE_OPTIONS = (130, 133, 134, 148, 149)

_PAD1 = 0
_CHANGES_EN_ROUTE = 0x20  # bit of an IPv6 option's type (RFC 8200 sec. 4.2)
_FORWARDING_ROUTES = (0, 2)
_ADDRESS_LEN = 16


def field_len(sa: SecurityAssociation) -> int:
    """Bytes of AH up to the end of the ICV, without padding."""
    return HEADER_LEN + iv_len(sa) + icv_len(sa)


def sent_len(sa: SecurityAssociation, ip_version: int) -> int:
    """Bytes of the whole AH as it is sent: RFC 4302 sec. 2.6 pads it to 4 or, over IPv6, 8."""
    return _aligned(field_len(sa), 8 if ip_version == 6 else sa.ah_align or 4)


def is_acceptable(sa: SecurityAssociation, ip_version: int, length: int) -> bool:
    """True if a received AH may have this length: over IPv4 some senders pad to 8 as well."""
    lengths = {_aligned(field_len(sa), 8)} | ({_aligned(field_len(sa), 4)} if ip_version == 4 else set())
    return length in lengths


def declared_len(packet: bytes, ofs: int) -> int:
    """The length which the AH at ``ofs`` declares: in words of 4 bytes, less 2 (RFC 4302 sec. 2.2)."""
    return (packet[ofs + 1] + 2) * 4


def header(sa: SecurityAssociation, ip_version: int, next_header: int, seq_lo: int, iv: bytes, icv: bytes) -> bytes:
    """The whole AH, padded with zeros."""
    length = sent_len(sa, ip_version)
    start = bytes((next_header, length // 4 - 2, 0, 0)) + sa.spi.to_bytes(4, "big") + seq_lo.to_bytes(4, "big")
    return (start + iv + icv).ljust(length, b"\0")


def covered(sa: SecurityAssociation, packet: bytes, ofs: int) -> bytes | None:
    """What the ICV of the AH at ``ofs`` is computed over, ESN aside; None if a header in front is malformed.

    ``packet`` ends where its IP length says; what stands in place of the ICV does not matter.
    """
    if ip.version(packet) == 4:
        # A packet that is where its SA ends has arrived, whatever its source route says.
        in_front = _ipv4_on_arrival(packet[:ofs], arrived=ip.destination(packet) == sa.dst)
    else:
        in_front = _ipv6_on_arrival(packet[:ofs])
    if in_front is None:
        return None
    icv_ofs = ofs + HEADER_LEN + iv_len(sa)
    return in_front + packet[ofs:icv_ofs] + bytes(icv_len(sa)) + packet[icv_ofs + icv_len(sa) :]


def _aligned(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _ipv4_on_arrival(header: bytes, arrived: bool) -> bytes | None:
    """RFC 4302 sec. 3.3.3.1.1 and appendix A1: TOS, flags, offset, TTL, checksum and options may change."""
    destination = header[16:20]
    options, pos = b"", 20
    while pos < len(header):
        kind = header[pos]
        if kind == _EOL:
            options += header[pos:]
            break
        if kind == _NOP:
            options += header[pos : pos + 1]
            pos += 1
            continue
        length = header[pos + 1] if pos + 1 < len(header) else 0
        if length < 2 or pos + length > len(header):
            return None
        option = header[pos : pos + length]
        # The pointer within the option: hops are left, and the last one is the receiver.
        if kind in _SOURCE_ROUTES and length >= _ROUTE_LEN and option[2] <= length and not arrived:
            destination = option[-4:]
        options += option if kind in _IMMUTABLE_OPTIONS else bytes(length)
        pos += length
    kept = header[:1] + b"\0" + header[2:6] + bytes(3) + header[9:10] + bytes(2)
    return kept + header[12:16] + destination + options


def _ipv6_on_arrival(headers: bytes) -> bytes | None:
    """RFC 4302 sec. 3.3.3.1.2 and appendix A2: traffic class, flow label, hop limit; extension headers."""
    destination = headers[24:40]
    kept: list[tuple[int, bytes]] = []  # (its protocol number, the header)
    pos, proto = ip.IPV6_LEN, headers[6]
    while pos < len(headers):
        length = 8 if proto == ip.PROTO_FRAGMENT else (headers[pos + 1] + 1) * 8
        part = headers[pos : pos + length]
        arrived: bytes | None = part
        if proto == ip.PROTO_ROUTING:
            arrived, destination = _route_on_arrival(part, destination)
        elif proto != ip.PROTO_FRAGMENT:
            arrived = _options_on_arrival(part)
        if arrived is None:
            return None
        # Fragmentation comes after AH (RFC 4302 sec. 3.3.4): AH was computed without such a header.
        if proto != ip.PROTO_FRAGMENT:
            kept.append((proto, arrived))
        proto, pos = part[0], pos + length
    numbers = [number for number, _ in kept] + [proto]
    chain = b"".join(bytes((following,)) + part[1:] for following, (_, part) in zip(numbers[1:], kept, strict=True))
    dropped = len(headers) - ip.IPV6_LEN - len(chain)
    payload_len = (ip.u16(headers, 4) - dropped).to_bytes(2, "big")
    return bytes((0x60, 0, 0, 0)) + payload_len + bytes((numbers[0], 0)) + headers[8:24] + destination + chain


def _options_on_arrival(part: bytes) -> bytes | None:
    """Hop-by-hop or destination options: the data of those that may change on the way is zero."""
    arrived, pos = part[:2], 2
    while pos < len(part):
        kind = part[pos]
        if kind == _PAD1:
            arrived += part[pos : pos + 1]
            pos += 1
            continue
        if pos + 2 > len(part) or pos + 2 + part[pos + 1] > len(part):
            return None
        end = pos + 2 + part[pos + 1]
        data = part[pos + 2 : end]
        arrived += part[pos : pos + 2] + (bytes(len(data)) if kind & _CHANGES_EN_ROUTE else data)
        pos = end
    return arrived


def _route_on_arrival(part: bytes, destination: bytes) -> tuple[bytes | None, bytes]:
    """(the routing header, the destination) at the last hop; (None, ...) if that can't be told."""
    kind, left = part[2], part[3]
    if not left:
        return part, destination
    addresses = [part[i : i + _ADDRESS_LEN] for i in range(8, len(part), _ADDRESS_LEN)]
    if kind not in _FORWARDING_ROUTES or left > len(addresses) or len(addresses[-1]) < _ADDRESS_LEN:
        return None, destination
    # Each hop swaps the destination with the next address (RFC 2460 sec. 4.4).
    visited = len(addresses) - left
    passed = [*addresses[:visited], destination, *addresses[visited:-1]]
    return part[:3] + b"\0" + part[4:8] + b"".join(passed), addresses[-1]
