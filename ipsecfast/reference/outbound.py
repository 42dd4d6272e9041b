"""Putting ESP and AH on one packet: RFC 4303 sec. 3.3, 4302 sec. 3.3, 3948, 4301 sec. 5.1.2, 6040 sec. 4.1.

One layer, as :func:`_protect` does it:

1. the packet is checked and cut to its IP length; transport: split where ESP or AH goes in;
   tunnel: the whole packet is the payload, for ESP with TFC padding behind it;
2. ESP: padding 1, 2, 3, ..., its length and the next header make the payload whole;
3. the new length must fit the IP header;
4. IV, encryption, ICV; AH: its ICV is over the new packet as it will arrive;
5. a UDP header if the SA has one, then the IP header, old or new, with length and checksum.

A bundle does so with each of its SAs, the innermost first.  Numbers count as used when all of them have gone
well, the last packet fits the slot, and every SA had a number left: a packet refused before uses none.

Nothing is fragmented, and no policy is looked up: the caller names the SA or bundle.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from ..sa import Address, SecurityAssociation
from ..status import PacketStatus
from . import ah, ip
from .crypto import ah_icv, icv_len, iv_len, seal
from .inbound import ESP_HEADER_LEN, ESP_TRAILER_LEN
from .result import Result, Room
from .table import Entry, ReferenceTable, next_seq, sa_address
from .window import SEQ32


@dataclass(frozen=True, slots=True)
class _Split:
    """A packet on its way into ESP or AH."""

    headers: bytes  # in front; length, checksum and protocol are set at the end
    version: int  # of these headers
    proto_ofs: int
    payload: bytes
    next_header: int


def encapsulate(
    table: ReferenceTable, packet: bytes, handle: int, iv: bytes | None = None, room: Room | None = None
) -> Result:
    """Protect one packet, from its IP header on, with the outbound SA or the bundle of ``handle``.

    ``iv`` is for known answers; ``room`` is the packet's slot, None for no limit.  ``Result.seq`` is
    set for OK only, and the outermost layer's.  Raises KeyError for an unknown handle, ValueError for an
    inbound one, an IV of the wrong length, or one with a bundle.
    """
    table.check_outbound(handle, iv)
    layers = table.layers(handle)
    # An SA without a number left is refused last: until then, 0 stands for the number.
    numbers = [next_seq(entry) or 0 for entry in layers]
    stages: list[bytes] = []
    refused = _protect_all(layers, numbers, packet, iv, stages)
    if refused is None and room is not None and not room.holds(len(packet), len(stages[-1])):
        refused = len(layers) - 1, PacketStatus.NO_ROOM
    if refused is None and 0 in numbers:
        refused = numbers.index(0), PacketStatus.SEQ_EXHAUSTED
    if refused is not None:
        at, status = refused
        layers[at].count(status, 0)
        return Result(status, handle=handle, failed_layer=len(layers) - 1 - at)
    for entry, seq, stage in zip(layers, numbers, stages, strict=True):
        entry.window.top = seq
        entry.count(PacketStatus.OK, len(stage))
    return Result(PacketStatus.OK, stages[-1], numbers[-1], handle)


def _protect_all(
    layers: Sequence[Entry], numbers: Sequence[int], packet: bytes, iv: bytes | None, stages: list[bytes]
) -> tuple[int, PacketStatus] | None:
    """Append the packet after each layer to ``stages``; return the layer that refuses, and why."""
    for i, (entry, seq) in enumerate(zip(layers, numbers, strict=True)):
        protected = _protect(entry, packet, seq, _fresh_iv(entry, seq) if iv is None else iv)
        if isinstance(protected, PacketStatus):
            return i, protected
        stages.append(protected)
        packet = protected
    return None


def _protect(entry: Entry, packet: bytes, seq: int, iv: bytes) -> bytes | PacketStatus:
    sa = entry.sa
    inner_len = ip.declared_len(packet)
    if inner_len is None or inner_len > len(packet):
        return PacketStatus.MALFORMED
    inner = packet[:inner_len]
    split = _split_tunnel(sa, inner, seq) if sa.mode == "tunnel" else _split_transport(sa, inner)
    if isinstance(split, PacketStatus):
        return split
    return (_put_ah if sa.protocol == "ah" else _put_esp)(sa, split, seq, iv)


def _put_esp(sa: SecurityAssociation, split: _Split, seq: int, iv: bytes) -> bytes | PacketStatus:
    pad_len = -(len(split.payload) + ESP_TRAILER_LEN) % sa.enc_alg.align
    payload = split.payload + bytes(range(1, pad_len + 1)) + bytes((pad_len, split.next_header))
    udp_len = ip.UDP_LEN if sa.udp_encap else 0
    esp_len = ESP_HEADER_LEN + len(iv) + len(payload) + icv_len(sa)
    if not ip.length_fits(len(split.headers) + udp_len + esp_len, split.version):
        return PacketStatus.NO_ROOM
    seq_hi, seq_lo = divmod(seq, SEQ32)
    header = sa.spi.to_bytes(4, "big") + seq_lo.to_bytes(4, "big")
    ciphertext, icv = seal(sa, header, seq_hi, iv, payload)
    return _assemble(sa, split, header + iv + ciphertext + icv)


def _put_ah(sa: SecurityAssociation, split: _Split, seq: int, iv: bytes) -> bytes | PacketStatus:
    ofs = len(split.headers)
    if not ip.length_fits(ofs + ah.sent_len(sa, split.version) + len(split.payload), split.version):
        return PacketStatus.NO_ROOM
    seq_hi, seq_lo = divmod(seq, SEQ32)

    def packet_with(icv: bytes) -> bytes:
        header = ah.header(sa, split.version, split.next_header, seq_lo, iv, icv)
        return ip.finish(split.headers, split.proto_ofs, ip.PROTO_AH, header + split.payload)

    covered = ah.covered(sa, packet_with(bytes(icv_len(sa))), ofs)
    return PacketStatus.MALFORMED if covered is None else packet_with(ah_icv(sa, seq_hi, iv, covered))


def _split_tunnel(sa: SecurityAssociation, inner: bytes, seq: int) -> _Split:
    headers = _outer_header(sa, inner)
    if ip.version(headers) == 4:
        headers = ip.put16(headers, 4, seq & 0xFFFF)  # the identification
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
        return PacketStatus.FRAGMENT  # RFC 4303 and 4302 sec. 3.3.4: transport mode takes whole datagrams only
    return _Split(inner[: headers.end], version, headers.proto_ofs, inner[headers.end :], headers.proto)


def _fresh_iv(entry: Entry, seq: int) -> bytes:
    alg = entry.sa.enc_alg
    if alg.block > 1:
        return os.urandom(alg.iv_len)  # RFC 3602 sec. 3: CBC wants an unpredictable one
    # Counter modes must not repeat one under a key (RFC 4106 sec. 3.1); the mask differs per add().
    return (seq ^ entry.iv_mask).to_bytes(8, "big")[: iv_len(entry.sa)]


def _assemble(sa: SecurityAssociation, split: _Split, esp: bytes) -> bytes:
    headers = split.headers
    if not sa.udp_encap:
        return ip.finish(headers, split.proto_ofs, ip.PROTO_ESP, esp)
    sport, dport = sa.udp_encap
    udp_len = ip.UDP_LEN + len(esp)
    udp = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + udp_len.to_bytes(2, "big") + bytes(2) + esp
    if split.version == 6:
        # RFC 3948 sec. 2.1 wants 0, which RFC 8200 sec. 8.1 does not allow over IPv6.
        udp = ip.put16(udp, 6, ip.udp6_checksum(headers, udp))
    return ip.finish(headers, split.proto_ofs, ip.PROTO_UDP, udp)
