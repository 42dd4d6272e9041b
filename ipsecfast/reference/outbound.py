"""Putting ESP on one packet: RFC 4303 sec. 3.3, RFC 3948, RFC 4301 sec. 5.1.2, RFC 6040 sec. 4.1.

1. the packet is checked and cut to its IP length; transport: split where ESP goes in;
   tunnel: the whole packet is the payload, with TFC padding behind it;
2. padding 1, 2, 3, ..., its length and the next header make the payload whole;
3. the new length must fit the IP header and the slot;
4. the next sequence number is taken: a packet refused before this uses none;
5. IV, encryption, ICV;
6. a UDP header if the SA has one, then the IP header, old or new, with length and checksum.

Nothing is fragmented, and no policy is looked up: the caller names the SA.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import cast

from ..sa import Address, SecurityAssociation
from ..status import PacketStatus
from . import ip
from .crypto import icv_len, seal
from .inbound import ESP_HEADER_LEN, ESP_TRAILER_LEN
from .result import Result, Room
from .table import Entry, ReferenceTable, next_seq, sa_address
from .window import SEQ32


@dataclass(frozen=True, slots=True)
class _Split:
    """A packet on its way into ESP."""

    headers: bytes  # in front of ESP; length, checksum and protocol are set at the end
    version: int  # of these headers
    proto_ofs: int
    payload: bytes
    next_header: int


def encapsulate(
    table: ReferenceTable, packet: bytes, handle: int, iv: bytes | None = None, room: Room | None = None
) -> Result:
    """Protect one packet, from its IP header on, with the outbound SA of ``handle``.

    ``iv`` is for known answers; ``room`` is the packet's slot, None for no limit.  ``Result.seq`` is
    set for OK only.  Raises KeyError for an unknown handle, ValueError for an inbound one or an
    IV of the wrong length.
    """
    table.check_outbound(handle, iv)
    entry = table.entry(handle)
    result = _encapsulate(entry, packet, iv, room)
    entry.count(result.status, len(result.packet or b""))
    return result


def _encapsulate(entry: Entry, packet: bytes, iv: bytes | None, room: Room | None) -> Result:
    sa, handle = entry.sa, entry.handle
    inner_len = ip.declared_len(packet)
    if inner_len is None or inner_len > len(packet):
        return Result(PacketStatus.MALFORMED, handle=handle)
    inner = packet[:inner_len]
    split = _split_tunnel(sa, inner) if sa.mode == "tunnel" else _split_transport(sa, inner)
    if isinstance(split, PacketStatus):
        return Result(split, handle=handle)

    pad_len = -(len(split.payload) + ESP_TRAILER_LEN) % sa.enc_alg.align
    payload = split.payload + bytes(range(1, pad_len + 1)) + bytes((pad_len, split.next_header))
    udp_len = ip.UDP_LEN if sa.udp_encap else 0
    esp_len = ESP_HEADER_LEN + sa.enc_alg.iv_len + len(payload) + icv_len(sa)
    new_len = len(split.headers) + udp_len + esp_len
    if not ip.length_fits(new_len, split.version) or (room is not None and not room.holds(len(packet), new_len)):
        return Result(PacketStatus.NO_ROOM, handle=handle)

    seq = next_seq(entry)
    if seq is None:
        return Result(PacketStatus.SEQ_EXHAUSTED, handle=handle)
    entry.window.top = seq

    if iv is None:
        iv = _fresh_iv(entry, seq)
    seq_hi, seq_lo = divmod(seq, SEQ32)
    header = sa.spi.to_bytes(4, "big") + seq_lo.to_bytes(4, "big")
    ciphertext, icv = seal(sa, header, seq_hi, iv, payload)
    esp = header + iv + ciphertext + icv

    headers = split.headers
    if sa.mode == "tunnel" and split.version == 4:
        headers = ip.put16(headers, 4, seq & 0xFFFF)  # the identification
    return Result(PacketStatus.OK, _assemble(sa, headers, split, esp), seq, handle)


def _split_tunnel(sa: SecurityAssociation, inner: bytes) -> _Split:
    headers = _outer_header(sa, inner)
    return _Split(
        headers,
        version=ip.version(headers),
        proto_ofs=9 if ip.version(headers) == 4 else 6,
        payload=inner.ljust(sa.tfc_pad_to or 0, b"\0"),
        next_header=ip.PROTO_IPV4 if ip.version(inner) == 4 else ip.PROTO_IPV6,
    )


def _outer_header(sa: SecurityAssociation, inner: bytes) -> bytes:
    """A tunnel's header: RFC 4301 sec. 5.1.2 and RFC 6040 sec. 4.1 (normal mode)."""
    src, dst = cast("tuple[Address, Address]", (sa.src, sa.dst))  # ReferenceTable.add() wants both
    inner_class = ip.traffic_class(inner)
    outer_class = (inner_class & 0xFC if sa.copy_dscp else 0) | (inner_class & 3 if sa.ecn else 0)
    if dst.version == 6:
        label = ip.flow_label(inner) if sa.flow_label == "copy" else sa.flow_label
        return ip.ipv6_header(src, dst, traffic_class=outer_class, flow_label=label, hop_limit=sa.ttl)
    df = ip.dont_fragment(inner) if sa.df == "copy" else sa.df == "set"
    return ip.ipv4_header(src, dst, tos=outer_class, df=df, ttl=sa.ttl)


def _split_transport(sa: SecurityAssociation, inner: bytes) -> _Split | PacketStatus:
    version = ip.version(inner)
    if any(address.version != version for address in (sa_address(sa.src), sa_address(sa.dst)) if address):
        return PacketStatus.MALFORMED
    headers = ip.walk(inner, len(inner))
    if headers is None:
        return PacketStatus.MALFORMED
    if headers.fragment:
        return PacketStatus.FRAGMENT  # RFC 4303 sec. 3.3.4: transport mode takes whole datagrams only
    return _Split(inner[: headers.end], version, headers.proto_ofs, inner[headers.end :], headers.proto)


def _fresh_iv(entry: Entry, seq: int) -> bytes:
    alg = entry.sa.enc_alg
    if alg.block > 1:
        return os.urandom(alg.iv_len)  # RFC 3602 sec. 3: CBC wants an unpredictable one
    # Counter modes must not repeat one under a key (RFC 4106 sec. 3.1); the mask differs per add().
    return (seq ^ entry.iv_mask).to_bytes(8, "big")[: alg.iv_len]


def _assemble(sa: SecurityAssociation, headers: bytes, split: _Split, esp: bytes) -> bytes:
    if not sa.udp_encap:
        return ip.finish(headers, split.proto_ofs, ip.PROTO_ESP, esp)
    sport, dport = sa.udp_encap
    udp_len = ip.UDP_LEN + len(esp)
    udp = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + udp_len.to_bytes(2, "big") + bytes(2) + esp
    if split.version == 6:
        # RFC 3948 sec. 2.1 wants 0, which RFC 8200 sec. 8.1 does not allow over IPv6.
        udp = ip.put16(udp, 6, ip.udp6_checksum(headers, udp))
    return ip.finish(headers, split.proto_ofs, ip.PROTO_UDP, udp)
