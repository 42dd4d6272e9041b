"""Taking ESP and AH off one packet: RFC 4303 sec. 3.4, 4302 sec. 3.4, 3948, 6040, 4301 sec. 5.2.

One layer, as :func:`_open_esp` and :func:`_open_ah` do it:

1. lengths: ESP has room for IV, two bytes of trailer and ICV, its ciphertext is whole blocks; AH is as long
   as its SA says and lies in the packet;
2. the window says whether the number is acceptable, and which 64 bits it stands for;
3. ICV and decryption; the options and extension headers in front of AH must be readable for that;
4. the number is marked, whatever comes after;
5. ESP's padding is checked and cut off;
6. transport: the IP headers close the gap that ESP (and UDP) or AH leave;
   tunnel: the inner packet goes on alone, with the outer ECN mark, without TFC padding.

Nothing is reassembled.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from ..status import PacketStatus
from . import ah, ip
from .crypto import ah_icv, icv_len, iv_len, one_pass, open_payload
from .result import Result
from .table import Entry, Protocol, ReferenceTable
from .window import SEQ32

MAX_LAYERS = 8

ESP_HEADER_LEN = 8
ESP_TRAILER_LEN = 2
_IKE_MARKER = bytes(4)  # RFC 3948 sec. 2.2


@dataclass(frozen=True, slots=True)
class _Found:
    """Where ESP or AH lies in a packet; offsets in bytes."""

    ip_len: int
    headers_len: int  # IP headers, without UDP
    proto_ofs: int
    protocol: Protocol
    start: int  # of the ESP or AH header
    end: int  # of what it protects, by the IP or UDP length


@dataclass(frozen=True, slots=True)
class _Layer:
    status: PacketStatus
    packet: bytes = b""
    seq: int = 0
    wiped: bool = False


def decapsulate(table: ReferenceTable, packet: bytes) -> Result:
    """Take off one layer after another while a known SA matches, eight at the most.

    ``packet`` begins at its IP header and may be longer than its IP length.  Every status but OK
    comes without a packet.
    """
    known = _find(table, packet)
    if isinstance(known, PacketStatus):
        return Result(known)
    entry, found = known
    outermost = layer = _take_off(entry, packet, found)
    depth = 0
    while layer.status is PacketStatus.OK and depth + 1 < MAX_LAYERS:
        inner = _find(table, layer.packet)
        if isinstance(inner, PacketStatus):
            break
        layer = _take_off(inner[0], layer.packet, inner[1])
        depth += 1
    if layer.status is PacketStatus.OK:
        return Result(layer.status, layer.packet, outermost.seq, entry.handle)
    # By the time an inner layer was looked at, the outer ones had been taken off.
    wiped = layer.wiped or depth > 0
    return Result(
        layer.status,
        seq=outermost.seq,
        handle=entry.handle,
        wiped_from=found.start if wiped else None,
        failed_layer=depth,
    )


def _find(table: ReferenceTable, packet: bytes) -> tuple[Entry, _Found] | PacketStatus:
    found = _locate(table, packet)
    if isinstance(found, PacketStatus):
        return found
    spi_ofs = found.start + (4 if found.protocol == "ah" else 0)
    spi = int.from_bytes(packet[spi_ofs : spi_ofs + 4], "big")
    entry = table.lookup(found.protocol, spi, ip.destination(packet), ip.source(packet))
    return PacketStatus.NO_SA if entry is None else (entry, found)


def _locate(table: ReferenceTable, packet: bytes) -> _Found | PacketStatus:
    ip_len = ip.declared_len(packet)
    if ip_len is None:
        return PacketStatus.NOT_IPSEC
    end = min(ip_len, len(packet))
    headers = ip.walk(packet, end)
    if headers is None:
        return PacketStatus.NOT_IPSEC
    start = headers.end
    if headers.proto == ip.PROTO_UDP:
        # The ports are in the first fragment only.
        visible = headers.first and end - start >= ip.UDP_LEN
        if not visible or not table.is_encapsulated(ip.u16(packet, start), ip.u16(packet, start + 2)):
            return PacketStatus.NOT_IPSEC
    elif headers.proto not in (ip.PROTO_ESP, ip.PROTO_AH):
        return PacketStatus.NOT_IPSEC
    if headers.fragment:
        return PacketStatus.FRAGMENT
    if ip_len > len(packet):
        return PacketStatus.MALFORMED
    if headers.proto == ip.PROTO_AH:
        if end - start < ah.HEADER_LEN:
            return PacketStatus.MALFORMED
        return _Found(ip_len, start, headers.proto_ofs, "ah", start, end)
    esp = start
    if headers.proto == ip.PROTO_UDP:
        esp = start + ip.UDP_LEN
        udp_end = start + ip.u16(packet, start + 4)
        if not esp <= udp_end <= end:
            return PacketStatus.MALFORMED
        end = udp_end
        # RFC 3948 sec. 2.2 and 2.3: IKE and keepalives share the port with ESP.
        if end - esp < len(_IKE_MARKER) or packet[esp : esp + 4] == _IKE_MARKER:
            return PacketStatus.NOT_IPSEC
    if end - esp < ESP_HEADER_LEN:
        return PacketStatus.MALFORMED
    return _Found(ip_len, start, headers.proto_ofs, "esp", esp, end)


def _take_off(entry: Entry, packet: bytes, found: _Found) -> _Layer:
    layer = (_open_ah if found.protocol == "ah" else _open_esp)(entry, packet, found)
    entry.count(layer.status, found.ip_len)
    return layer


def _open_esp(entry: Entry, packet: bytes, found: _Found) -> _Layer:
    sa, alg = entry.sa, entry.sa.enc_alg
    iv_ofs = found.start + ESP_HEADER_LEN
    payload_ofs = iv_ofs + alg.iv_len
    icv_ofs = found.end - icv_len(sa)
    if icv_ofs - payload_ofs < ESP_TRAILER_LEN or (icv_ofs - payload_ofs) % alg.block:
        return _Layer(PacketStatus.MALFORMED)

    acceptable, seq = entry.window.check(int.from_bytes(packet[found.start + 4 : iv_ofs], "big"))
    if not acceptable:
        return _Layer(PacketStatus.REPLAYED, seq=seq)

    payload = open_payload(
        sa,
        header=packet[found.start : iv_ofs],
        seq_hi=seq // SEQ32,
        iv=packet[iv_ofs:payload_ofs],
        ciphertext=packet[payload_ofs:icv_ofs],
        icv=packet[icv_ofs : found.end],
    )
    if payload is None:
        return _Layer(PacketStatus.AUTH_FAILED, seq=seq, wiped=one_pass(alg))
    entry.window.mark(seq)

    result = _strip(entry, packet, found, payload)
    if isinstance(result, PacketStatus):
        return _Layer(result, seq=seq, wiped=True)
    return _Layer(PacketStatus.OK, result, seq)


def _open_ah(entry: Entry, packet: bytes, found: _Found) -> _Layer:
    sa, start = entry.sa, found.start
    payload_ofs = start + ah.declared_len(packet, start)
    if not ah.is_acceptable(sa, ip.version(packet), payload_ofs - start) or payload_ofs > found.end:
        return _Layer(PacketStatus.MALFORMED)

    iv_ofs = start + ah.HEADER_LEN
    acceptable, seq = entry.window.check(int.from_bytes(packet[start + 8 : iv_ofs], "big"))
    if not acceptable:
        return _Layer(PacketStatus.REPLAYED, seq=seq)

    covered = ah.covered(sa, packet[: found.end], start)
    if covered is None:
        return _Layer(PacketStatus.MALFORMED, seq=seq)
    icv_ofs = iv_ofs + iv_len(sa)
    icv = ah_icv(sa, seq // SEQ32, packet[iv_ofs:icv_ofs], covered)
    if not hmac.compare_digest(icv, packet[icv_ofs : icv_ofs + len(icv)]):
        return _Layer(PacketStatus.AUTH_FAILED, seq=seq)
    entry.window.mark(seq)

    result = _delivered(entry, packet, found, packet[payload_ofs : found.end], packet[start])
    return _Layer(result, seq=seq) if isinstance(result, PacketStatus) else _Layer(PacketStatus.OK, result, seq)


def _strip(entry: Entry, packet: bytes, found: _Found, payload: bytes) -> bytes | PacketStatus:
    """Cut the trailer off and build the packet that ESP carried."""
    sa = entry.sa
    pad_len, next_header = payload[-2:]
    if pad_len + ESP_TRAILER_LEN > len(payload):
        return PacketStatus.MALFORMED
    data_len = len(payload) - ESP_TRAILER_LEN - pad_len
    # RFC 4303 sec. 2.4: the receiver SHOULD inspect it.
    if sa.strict_padding and payload[data_len:-2] != bytes(range(1, pad_len + 1)):
        return PacketStatus.MALFORMED
    if next_header == ip.PROTO_NONE:
        return PacketStatus.DUMMY
    return _delivered(entry, packet, found, payload[:data_len], next_header)


def _delivered(entry: Entry, packet: bytes, found: _Found, data: bytes, next_header: int) -> bytes | PacketStatus:
    """The packet that ESP or AH carried."""
    sa = entry.sa
    if sa.mode == "tunnel" or (sa.mode == "any" and next_header in (ip.PROTO_IPV4, ip.PROTO_IPV6)):
        return _inner_packet(entry, packet, data, next_header)
    return ip.finish(packet[: found.headers_len], found.proto_ofs, next_header, data)


def _inner_packet(entry: Entry, outer: bytes, data: bytes, next_header: int) -> bytes | PacketStatus:
    wanted = {ip.PROTO_IPV4: 4, ip.PROTO_IPV6: 6}.get(next_header)
    if wanted is None or ip.version(data) != wanted:
        return PacketStatus.MALFORMED
    inner_len = ip.declared_len(data)
    if inner_len is None or inner_len > len(data):
        return PacketStatus.MALFORMED
    inner = data[:inner_len]  # the rest is TFC padding (RFC 4303 sec. 2.7)

    outer_class, inner_class = ip.traffic_class(outer), ip.traffic_class(inner)
    ecn = ip.ecn_on_decapsulation(inner_class & 3, outer_class & 3) if entry.sa.ecn else inner_class & 3
    if ecn is None:
        return PacketStatus.ECN
    dscp = (outer_class if entry.sa.decap_dscp else inner_class) & 0xFC
    return ip.with_traffic_class(inner, dscp | ecn)
