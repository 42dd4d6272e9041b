"""Packets in ESP and AH, made by the reference, and what a hostile peer could seal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from hypothesis import strategies as st

from ...reference import ReferenceTable, ah, encapsulate, ip
from ...reference.crypto import ah_icv, icv_len, iv_len, seal
from ...sa import Address, SecurityAssociation
from .associations import peer
from .plain import PROTOCOLS, inner_packets
from .suites import ADDRESSES, SEQ32, Mode, filler


@dataclass(frozen=True)
class Protected:
    """A packet on the wire, and what the receiver must make of it."""

    packet: bytes
    inner: bytes  # decapsulation gives exactly this
    seqs: tuple[int, ...]  # 64 bits; of each layer, the innermost first


def protect(sa: SecurityAssociation, inner: bytes, seq: int, iv: bytes | int = 0) -> bytes:
    """``inner`` in ESP or AH with number ``seq`` (from 1), by the reference.

    ``iv`` is the IV, or a seed for one.  Raises ValueError if the reference refuses to send the packet.
    """
    table = ReferenceTable()
    handle = table.add(sa, "outbound", seq - 1)
    if isinstance(iv, int):
        iv = filler(iv + seq % SEQ32, iv_len(sa))
    result = encapsulate(table, inner, handle, iv)
    if result.packet is None:
        raise ValueError(f"the reference refuses to send this packet: {result.status!r}")
    return result.packet


def protect_all(sas: Sequence[SecurityAssociation], inner: bytes, seqs: Sequence[int], iv: int = 0) -> bytes:
    """``inner`` protected by several SAs, the innermost first, as :func:`protect` does it."""
    packet = inner
    for sa, seq in zip(sas, seqs, strict=True):
        packet = protect(sa, packet, seq, iv)
    return packet


def header_offset(packet: bytes) -> int:
    """Where the outermost ESP or AH header starts in a packet that :func:`protect` made."""
    headers = ip.walk(packet, len(packet))
    if headers is None:
        raise ValueError("packet: an extension header runs past the end")
    return headers.end + (ip.UDP_LEN if headers.proto == ip.PROTO_UDP else 0)


def with_body(packet: bytes, body: bytes) -> bytes:
    """A protected packet with other bytes from its ESP or AH header on; lengths and checksums follow."""
    headers = ip.walk(packet, len(packet))
    if headers is None:
        raise ValueError("packet: an extension header runs past the end")
    udp = packet[headers.end : header_offset(packet)]
    if udp:
        udp = ip.put16(ip.put16(udp, 4, len(udp) + len(body)), 6, 0)
    return ip.finish(packet[: headers.end], headers.proto_ofs, headers.proto, udp + body)


def reseal_esp(sa: SecurityAssociation, packet: bytes, seq: int, clear: bytes) -> bytes:
    """A packet in ESP whose payload with its trailer is ``clear`` instead, under a right ICV."""
    at = header_offset(packet)
    header, iv = packet[at : at + 8], packet[at + 8 : at + 8 + iv_len(sa)]
    ciphertext, icv = seal(sa, header, seq // SEQ32, iv, clear)
    return with_body(packet, header + iv + ciphertext + icv)


def reseal_ah(
    sa: SecurityAssociation, packet: bytes, seq: int, next_header: int | None = None, data: bytes | None = None
) -> bytes:
    """A packet in AH with this number, and with another next header or data behind AH, under a right ICV.

    Raises ValueError for headers in front of AH that it can't cover.
    """
    at = header_offset(packet)
    iv = packet[at + ah.HEADER_LEN : at + ah.HEADER_LEN + iv_len(sa)]
    number = packet[at] if next_header is None else next_header
    behind = packet[at + ah.declared_len(packet, at) :] if data is None else data

    def packet_with(icv: bytes) -> bytes:
        header = ah.header(sa, ip.version(packet), number, seq % SEQ32, iv, icv)
        return with_body(packet, header + behind)

    covered = ah.covered(sa, packet_with(bytes(icv_len(sa))), at)
    if covered is None:
        raise ValueError("packet: malformed options or extension headers in front of AH")
    return packet_with(ah_icv(sa, seq // SEQ32, iv, covered))


@st.composite
def clear_payloads(draw: st.DrawFn, sa: SecurityAssociation) -> bytes:
    """ESP payload with trailer as a faulty or hostile peer could seal it; whole blocks, at least 2 bytes."""
    block = sa.enc_alg.block
    data = filler(draw(st.integers(0, 9)), draw(st.integers(0, 60)))
    if draw(st.booleans()):
        data = draw(inner_packets()) + data
    pad_len = draw(st.sampled_from((0, 1, 2, 3, 7, 8, 9, 15, 16, 254, 255)))
    pad = bytes(range(1, pad_len + 1))
    if pad and draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, pad_len - 1))
        pad = pad[:at] + bytes((pad[at] ^ 1,)) + pad[at + 1 :]
    if draw(st.booleans()):
        data, pad = data[:16], pad[:3]
    data += bytes(-(len(data) + len(pad) + 2) % block)
    stated = pad_len if draw(st.integers(0, 3)) else draw(st.integers(0, 255))
    return data + pad + bytes((stated, draw(st.sampled_from((4, 41, 59, 6, 17, 50, 0, 255)))))


@st.composite
def protected_packets(
    draw: st.DrawFn,
    sas: SecurityAssociation | Sequence[SecurityAssociation],
    seqs: int | Sequence[int] = 1,
    inner: bytes | None = None,
) -> Protected:
    """A sound packet for an inbound SA, or for several at once (the innermost first), with these numbers (from 1).

    ``inner`` is what it carries if the innermost SA may carry that.  Wildcards of the SA (mode ``"any"``, no
    destination) are drawn.  A receiver that has these SAs and takes these numbers gives ``Protected.inner``.
    """
    layers = (sas,) if isinstance(sas, SecurityAssociation) else tuple(sas)
    numbers = (seqs,) * len(layers) if isinstance(seqs, int) else tuple(seqs)
    mode: Mode = draw(st.sampled_from(("tunnel", "transport")))
    out = peer(layers[0], mode, draw(st.sampled_from(ADDRESSES[4] + ADDRESSES[6])))
    if out.mode == "tunnel" and out.protocol == "esp" and draw(st.integers(0, 5)) == 0:
        out = peer(layers[0], mode, cast(Address, out.dst), tfc_pad_to=120)
    if inner is None or not _may_carry(layers[0], out, inner):
        inner = draw(_carried(layers[0], out))
    packet = protect_all((out, *map(peer, layers[1:])), inner, numbers, draw(st.integers(0, 1)))
    return Protected(packet, inner, numbers)


def _may_carry(sa: SecurityAssociation, out: SecurityAssociation, inner: bytes) -> bool:
    if out.mode == "tunnel":
        return True
    headers = ip.walk(inner, len(inner))
    if headers is None or headers.fragment or ip.destination(inner) != out.dst:
        return False
    if sa.match_src and ip.source(inner) != out.src:
        return False
    covered = out.protocol == "esp" or ah.covered(out, inner[: headers.end], headers.end) is not None
    return covered and headers.proto not in _not_in_transport(sa)


def _carried(sa: SecurityAssociation, out: SecurityAssociation) -> st.SearchStrategy[bytes]:
    if out.mode == "tunnel":
        return inner_packets()
    src = cast(Address, out.src) if sa.match_src else None
    protocols = [number for number in PROTOCOLS if number not in _not_in_transport(sa)]
    return inner_packets(src=src, dst=cast(Address, out.dst), fragments=False, protocols=protocols)


def _not_in_transport(sa: SecurityAssociation) -> Sequence[int]:
    """ESP's next header 59 is a dummy packet, and mode "any" takes IP in IP as a tunnel."""
    dummy = (ip.PROTO_NONE,) if sa.protocol == "esp" else ()
    return dummy + ((ip.PROTO_IPV4, ip.PROTO_IPV6) if sa.mode == "any" else ())
