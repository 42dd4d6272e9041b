"""Taking ESP off one packet: RFC 4303 sec. 3.4, RFC 3948, RFC 6040, RFC 4301 sec. 5.2.

One layer, as :func:`_open_layer` does it:

1. lengths: IV, two bytes of trailer and ICV must be there, the ciphertext in whole blocks;
2. the window says whether the number is acceptable, and which 64 bits it stands for;
3. ICV and decryption;
4. the number is marked, whatever comes after;
5. padding and next header are checked and cut off;
6. transport: the IP headers close the gap that ESP (and UDP) leave;
   tunnel: the inner packet goes on alone, with the outer ECN mark, without TFC padding.

Nothing is reassembled and AH is not taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..status import PacketStatus
from . import ip
from .crypto import icv_len, one_pass, open_payload
from .result import Result
from .table import Entry, ReferenceTable
from .window import SEQ32

MAX_LAYERS = 8

ESP_HEADER_LEN = 8
ESP_TRAILER_LEN = 2
_AH_MIN_LEN = 12
_IKE_MARKER = bytes(4)  # RFC 3948 sec. 2.2


@dataclass(frozen=True, slots=True)
class _Found:
    """Where ESP lies in a packet; offsets in bytes."""

    ip_len: int
    headers_len: int  # IP headers, without UDP
    proto_ofs: int
    esp: int
    end: int  # of the ESP packet, by the IP or UDP length


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
    # By the time an inner layer was looked at, the outer ones had been decrypted.
    wiped = layer.wiped or depth > 0
    return Result(
        layer.status,
        seq=outermost.seq,
        handle=entry.handle,
        wiped_from=found.esp if wiped else None,
        failed_layer=depth,
    )


def _find(table: ReferenceTable, packet: bytes) -> tuple[Entry, _Found] | PacketStatus:
    found = _locate(table, packet)
    if isinstance(found, PacketStatus):
        return found
    spi = int.from_bytes(packet[found.esp : found.esp + 4], "big")
    entry = table.lookup(spi, ip.destination(packet))
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
        return PacketStatus.NO_SA if end - start >= _AH_MIN_LEN else PacketStatus.MALFORMED
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
    return _Found(ip_len, start, headers.proto_ofs, esp, end)


def _take_off(entry: Entry, packet: bytes, found: _Found) -> _Layer:
    layer = _open_layer(entry, packet, found)
    entry.count(layer.status, found.ip_len)
    return layer


def _open_layer(entry: Entry, packet: bytes, found: _Found) -> _Layer:
    sa, alg = entry.sa, entry.sa.enc_alg
    iv_ofs = found.esp + ESP_HEADER_LEN
    payload_ofs = iv_ofs + alg.iv_len
    icv_ofs = found.end - icv_len(sa)
    if icv_ofs - payload_ofs < ESP_TRAILER_LEN or (icv_ofs - payload_ofs) % alg.block:
        return _Layer(PacketStatus.MALFORMED)

    acceptable, seq = entry.window.check(int.from_bytes(packet[found.esp + 4 : iv_ofs], "big"))
    if not acceptable:
        return _Layer(PacketStatus.REPLAYED, seq=seq)

    payload = open_payload(
        sa,
        header=packet[found.esp : iv_ofs],
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
    data = payload[:data_len]
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
