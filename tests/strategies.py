"""Hypothesis strategies for IPsec: SAs, inner packets, protected packets, whole batches, and refused packets.

Everything is made by ``ipsecfast.reference`` and by hand, nothing by the core.  Bytes that mean nothing
(payloads, keys) come from a small drawn number, so that examples stay small and shrink well.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from hypothesis import strategies as st

from ipsecfast import PacketStatus, SecurityAssociation
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION
from ipsecfast.reference import ReferenceTable, encapsulate, ip
from ipsecfast.reference.crypto import icv_len, seal

Draw = st.DrawFn
Mode = Literal["tunnel", "transport"]

WINDOWS = (0, 1, 2, 31, 32, 63, 64, 65, 128, 1000, 4096)
ADDRESSES = {
    4: tuple(ipaddress.ip_address(f"192.0.2.{i}") for i in range(1, 5)),
    6: tuple(ipaddress.ip_address(f"2001:db8::{i}") for i in range(1, 5)),
}
PORTS = (4500, 4501, 10000)
SEQ32, SEQ64 = 1 << 32, 1 << 64


class Shape(NamedTuple):
    """The algorithms of an SA; ``icv_len`` None is the default."""

    encryption: str
    authentication: str
    icv_len: int | None = None

    @property
    def iv_len(self) -> int:
        """Bytes of IV on the wire."""
        return ENCRYPTION[self.encryption].iv_len

    def __str__(self) -> str:
        return f"{self.encryption}/{self.authentication}/{self.icv_len}"


def _shapes() -> tuple[Shape, ...]:
    shapes = []
    auths = [a for a in AUTHENTICATION.values() if not a.ah_only]
    for enc in ENCRYPTION.values():
        if enc.combined:
            shapes += [Shape(enc.name, "NONE", n) for n in enc.icv_lens]
            continue
        shapes += [Shape(enc.name, auth.name) for auth in auths if enc.encrypts or auth.code]
    cut = [Shape("AES-CBC-128", a.name, n) for a in auths if a.code for n in (8, a.digest_len)]
    return (*shapes, *cut)


SHAPES = _shapes()


def filler(seed: int, length: int) -> bytes:
    """Bytes that mean nothing, the same for the same seed."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(length)


def make_sa(shape: Shape, seed: int = 0, **fields: Any) -> SecurityAssociation:
    """An SA of these algorithms, its keys made from ``seed``."""
    enc, auth = ENCRYPTION[shape.encryption], AUTHENTICATION[shape.authentication]
    material = filler(seed, enc.key_len + enc.salt_len + auth.key_len)
    keys = {
        "enc_key": material[: enc.key_len],
        "salt": material[enc.key_len : enc.key_len + enc.salt_len],
        "auth_key": material[enc.key_len + enc.salt_len :],
    }
    fields = {"spi": 0x1000, "src": ADDRESSES[4][0], "dst": ADDRESSES[4][1], **fields}
    return SecurityAssociation(
        allow_reserved_spi=True,
        encryption=enc.name,
        authentication=auth.name,
        icv_len=shape.icv_len,
        allow_unauthenticated=not enc.combined and not auth.code,
        **keys,
        **fields,
    )


@st.composite
def security_associations(
    draw: Draw,
    *,
    direction: Literal["inbound", "outbound"] = "inbound",
    shapes: Sequence[Shape] = SHAPES,
    spis: Sequence[int] = (0x1000, 0x1001, 0xFFFFFFFF),
    modes: Sequence[Mode] = ("tunnel", "transport"),
) -> SecurityAssociation:
    """An SA with any algorithms, window and options that fit the direction; one in four is as plain as can be."""
    aeads = [s for s in shapes if s.encryption.startswith("AES-GCM")]
    if aeads and draw(st.integers(0, 3)) == 0:
        mode = draw(st.sampled_from(modes))
        return make_sa(draw(st.sampled_from(aeads)), spi=draw(st.sampled_from(spis)), mode=mode)
    version = draw(st.sampled_from((4, 6)))
    src, dst = ADDRESSES[version][0], draw(st.sampled_from(ADDRESSES[version][1:3]))
    options: dict[str, Any] = {
        "spi": draw(st.sampled_from(spis)),
        "src": src,
        "dst": dst,
        "mode": draw(st.sampled_from(modes)),
        "esn": draw(st.booleans()),
        "ecn": draw(st.booleans()),
        "udp_encap": draw(st.sampled_from((None, None, (4500, 4500), (10000, 4501)))),
    }
    if direction == "inbound":
        options["replay_window"] = draw(st.sampled_from(WINDOWS))
        options["decap_dscp"] = draw(st.booleans())
        options["strict_padding"] = draw(st.integers(0, 3)) > 0
        if draw(st.integers(0, 4)) == 0:
            options["dst"] = None
        if draw(st.integers(0, 4)) == 0:
            options["mode"] = "any"
    else:
        options["ttl"] = draw(st.sampled_from((1, 64, 255)))
        options["df"] = draw(st.sampled_from(("copy", "set", "clear")))
        options["copy_dscp"] = draw(st.booleans())
        options["flow_label"] = draw(st.sampled_from((0, 0xABCDE, "copy")))
        if options["mode"] == "tunnel":
            options["tfc_pad_to"] = draw(st.sampled_from((None, 0, 1, 64, 255, 700)))
        elif draw(st.booleans()):
            options["src"] = options["dst"] = None
    return make_sa(draw(st.sampled_from(shapes)), draw(st.integers(0, 3)), **options)


@st.composite
def start_numbers(draw: Draw, sa: SecurityAssociation) -> int:
    """A last number used, near one of the edges of the SA's window and number space."""
    limit = SEQ64 if sa.esn else SEQ32
    edges = [0, sa.replay_window, 1 << 31, SEQ32]
    if sa.esn:
        edges += [SEQ32 + sa.replay_window, 5 * SEQ32, SEQ64 - SEQ32, SEQ64]
    number = draw(st.sampled_from(edges)) + draw(st.integers(-70, 70))
    return min(max(number, 0), limit - 1)


# --- packets in clear -------------------------------------------------------------------------------------------------

_PROTOCOLS = (1, 4, 6, 17, 41, 50, 51, 58, 59, 255)
_V6_CHAINS = ((), (), (0,), (60,), (43,), (0, 60), (0, 43, 60), (44,), (0, 44, 60))


def plain_packet(version: int = 4, body: bytes = b"payload", *, dst: Any = None, traffic_class: int = 0) -> bytes:
    """A sound packet without anything special, protocol UDP."""
    dst = dst or ADDRESSES[version][1]
    src = ADDRESSES[dst.version][0]
    if dst.version == 4:
        return ip.finish(ip.ipv4_header(src, dst, tos=traffic_class, df=False, ttl=9), 9, ip.PROTO_UDP, body)
    header = ip.ipv6_header(src, dst, traffic_class=traffic_class, flow_label=1, hop_limit=9)
    return ip.finish(header, 6, ip.PROTO_UDP, body)


@st.composite
def payload_lengths(draw: Draw) -> int:
    """Mostly around block edges, now and then a whole MTU, also odd."""
    kind = draw(st.integers(0, 9))
    if kind < 7:
        return draw(st.integers(0, 70))
    return draw(st.integers(71, 300) if kind < 9 else st.integers(1300, 1500))


@st.composite
def inner_packets(
    draw: Draw, *, version: int | None = None, dst: Any = None, fragments: bool = True
) -> bytes:
    """A sound IPv4 or IPv6 packet: options, extension headers, any length, any traffic class.

    ``fragments=False`` leaves out fragments, which transport mode refuses (atomic ones stay).
    """
    version = version or (dst.version if dst else draw(st.sampled_from((4, 6))))
    dst = dst or draw(st.sampled_from(ADDRESSES[version]))
    src = draw(st.sampled_from(ADDRESSES[version]))
    proto, seed = draw(st.sampled_from(_PROTOCOLS)), draw(st.integers(0, 255))
    body = filler(seed, draw(payload_lengths()))
    tos = draw(st.sampled_from((0, 1, 2, 3, 0xB8, 0x2A, 0xFF)))
    cut = draw(st.sampled_from((0, 0, 0, 1, 8, 9))) if fragments else 0
    if version == 6:
        header = ip.ipv6_header(src, dst, traffic_class=tos, flow_label=seed << 12 | 0xABC, hop_limit=seed)
        chain = draw(st.sampled_from(_V6_CHAINS)) + ((44,) if cut else ())
        return v6_packet(header, chain, proto, body, cut, seed % 3)
    header = ip.ipv4_header(src, dst, tos=tos, df=draw(st.booleans()), ttl=seed)
    options = filler(seed, 4 * draw(st.sampled_from((0, 0, 0, 1, 9, 10))))
    header = bytes((0x45 + len(options) // 4,)) + header[1:] + options
    field = ip.u16(header, 6) | (cut & 1) << 13 | cut >> 3
    return ip.finish(ip.put16(ip.put16(header, 6, field), 4, seed * 257), 9, proto, body)


def v6_packet(header: bytes, chain: Sequence[int], proto: int, body: bytes, cut: int = 0, more: int = 0) -> bytes:
    """An IPv6 packet with these extension headers; ``cut`` is offset and M of the last fragment header.

    ``more`` is how many units of 8 bytes the others have beyond the first.
    """
    numbers = [*chain, proto]
    for i, (this, following) in enumerate(zip(chain, numbers[1:], strict=True)):
        last = i == len(chain) - 1
        if this == ip.PROTO_FRAGMENT:
            header += bytes((following, 0)) + (cut if last else 0).to_bytes(2, "big") + bytes(4)
        else:
            header += bytes((following, more)) + filler(this, 6 + 8 * more)
    return ip.finish(header, 6, numbers[0], body)


# --- packets in ESP ---------------------------------------------------------------------------------------------------


def sender(sa: SecurityAssociation, mode: Mode, dst: Any = None, **options: Any) -> SecurityAssociation:
    """The outbound SA at the other end of an inbound one; the mode counts if that one takes any."""
    dst = sa.dst or dst or ADDRESSES[4][1]
    src = ADDRESSES[dst.version][0]
    return replace(sa, mode=mode if sa.mode == "any" else sa.mode, src=src, dst=dst, **options)


def protect(sa: SecurityAssociation, inner: bytes, seq: int, iv_seed: int = 0) -> bytes:
    """``inner`` in ESP with number ``seq`` (from 1), by the reference; ValueError for one that it refuses."""
    table = ReferenceTable()
    handle = table.add(sa, "outbound", seq - 1)
    result = encapsulate(table, inner, handle, filler(iv_seed + seq % SEQ32, sa.enc_alg.iv_len))
    if result.packet is None:
        raise ValueError(f"the reference refuses to send this packet: {result.status!r}")
    return result.packet


def esp_offset(packet: bytes) -> int:
    """Where ESP starts in a packet that ``protect`` made."""
    headers = ip.walk(packet, len(packet))
    assert headers is not None
    return headers.end + (ip.UDP_LEN if headers.proto == ip.PROTO_UDP else 0)


def is_whole(packet: bytes) -> bool:
    """True if transport mode can take the packet: sound headers, no fragment."""
    end = ip.declared_len(packet)
    headers = ip.walk(packet, end) if end is not None and end <= len(packet) else None
    return headers is not None and not headers.fragment


def reseal(sa: SecurityAssociation, packet: bytes, seq: int, clear: bytes) -> bytes:
    """A protected packet whose payload with its trailer is ``clear`` instead, under a right ICV."""
    at = esp_offset(packet)
    header, iv = packet[at : at + 8], packet[at + 8 : at + 8 + sa.enc_alg.iv_len]
    ciphertext, icv = seal(sa, header, seq // SEQ32, iv, clear)
    return with_esp(packet, header + iv + ciphertext + icv)


def with_esp(packet: bytes, esp: bytes) -> bytes:
    """A protected packet with other bytes from ESP's header on; lengths and checksums follow."""
    headers = ip.walk(packet, len(packet))
    assert headers is not None
    udp = packet[headers.end : esp_offset(packet)]
    if udp:
        udp = ip.put16(ip.put16(udp, 4, len(udp) + len(esp)), 6, 0)
    return ip.finish(packet[: headers.end], headers.proto_ofs, headers.proto, udp + esp)


@st.composite
def clear_payloads(draw: Draw, sa: SecurityAssociation) -> bytes:
    """Payload with trailer as a faulty or hostile peer could seal it; whole blocks, at least 2 bytes."""
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
def protected_packets(draw: Draw, sa: SecurityAssociation, seq: int, inner: bytes | None = None) -> bytes:
    """A sound packet for an inbound SA, with the number ``seq`` (from 1)."""
    mode: Mode = sa.mode if sa.mode != "any" else draw(st.sampled_from(("tunnel", "transport")))
    dst = sa.dst or draw(st.sampled_from(ADDRESSES[4] + ADDRESSES[6]))
    options = {"tfc_pad_to": 120} if mode == "tunnel" and draw(st.integers(0, 5)) == 0 else {}
    out = sender(sa, mode, dst, **options)
    if inner is None or (mode == "transport" and (ip.version(inner) != dst.version or ip.destination(inner) != dst)):
        inner = draw(inner_packets()) if mode == "tunnel" else draw(inner_packets(dst=dst, fragments=False))
    return protect(out, inner, seq, draw(st.integers(0, 1)))


# --- packets that are refused -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """A packet and what the RFCs say about it."""

    packet: bytes
    status: PacketStatus
    why: str = field(compare=False)


@st.composite
def refused_packets(draw: Draw, sa: SecurityAssociation, seq: int) -> Refused:
    """A packet that an inbound SA with ``seq`` acceptable must refuse, and the status it must get.

    ``sa`` needs an ICV, a destination, a window, mode tunnel or transport, ECN on and strict padding.
    """
    good = draw(protected_packets(sa, seq))
    candidates = [*_refused_headers(sa, good), *_refused_lengths(sa, good), *_refused_payloads(sa, good, seq)]
    at = draw(st.integers(esp_offset(good) + 8, len(good) - 1))
    forged = good[:at] + bytes((good[at] ^ 1 << draw(st.integers(0, 7)),)) + good[at + 1 :]
    candidates.append(Refused(forged, PacketStatus.AUTH_FAILED, "a bit behind the ESP header is flipped"))
    return draw(st.sampled_from(candidates))


def _refused_headers(sa: SecurityAssociation, good: bytes) -> list[Refused]:
    at = esp_offset(good)
    other_spi = good[:at] + (sa.spi ^ 0x5A5A).to_bytes(4, "big") + good[at + 4 :]
    found = [Refused(other_spi, PacketStatus.NO_SA, "no SA with this SPI")]
    seq_zero = reseal(sa, good[: at + 4] + bytes(4) + good[at + 8 :], 0, bytes((1, 2, 2, 6)) * 4)
    if not sa.esn:
        found.append(Refused(seq_zero, PacketStatus.REPLAYED, "0 is never sent (RFC 4303 sec. 3.3.3)"))
    if good[0] >> 4 == 4:
        elsewhere = good[:16] + bytes((203, 0, 113, 9)) + good[20:]
        found.append(Refused(ip.put16(good, 6, 0x2000), PacketStatus.FRAGMENT, "the first fragment"))
        found.append(Refused(good[:9] + b"\6" + good[10:], PacketStatus.NOT_IPSEC, "TCP"))
    else:
        elsewhere = good[:24] + bytes(15) + b"\1" + good[40:]
        found.append(Refused(good[:6] + b"\6" + good[7:], PacketStatus.NOT_IPSEC, "TCP"))
    found.append(Refused(elsewhere, PacketStatus.NO_SA, "no SA for this destination"))
    if sa.udp_encap:
        ike = with_esp(good, bytes(4) + filler(1, 40))
        found.append(Refused(ike, PacketStatus.NOT_IPSEC, "the zero marker of IKE (RFC 3948 sec. 2.2)"))
        found.append(Refused(with_esp(good, b"\xff"), PacketStatus.NOT_IPSEC, "a keepalive (RFC 3948 sec. 2.3)"))
    return found


def _refused_lengths(sa: SecurityAssociation, good: bytes) -> list[Refused]:
    at = esp_offset(good)
    least = 8 + sa.enc_alg.iv_len + icv_len(sa) + 2
    found = [
        Refused(good[:-1], PacketStatus.MALFORMED, "cut short behind its IP header"),
        Refused(good[:19], PacketStatus.NOT_IPSEC, "cut short within its IP header"),
        Refused(with_esp(good, good[at : at + 7]), PacketStatus.MALFORMED, "half an ESP header"),
        Refused(with_esp(good, good[at : at + least - 1]), PacketStatus.MALFORMED, "no room for the trailer"),
    ]
    if sa.enc_alg.block > 1:
        found.append(Refused(with_esp(good, good[at:] + b"\0"), PacketStatus.MALFORMED, "no whole cipher blocks"))
    return found


def _refused_payloads(sa: SecurityAssociation, good: bytes, seq: int) -> list[Refused]:
    wrong = {
        "padding that is not 1, 2, 3, ...": bytes(12) + bytes((1, 3, 2, 6)),
        "more padding than payload": bytes(14) + bytes((15, 6)),
    }
    found = [Refused(reseal(sa, good, seq, clear), PacketStatus.MALFORMED, why) for why, clear in wrong.items()]
    found.append(Refused(reseal(sa, good, seq, bytes(14) + b"\0\x3b"), PacketStatus.DUMMY, "next header 59"))
    if sa.mode == "tunnel":
        inner = plain_packet(4, bytes(26))
        trailer = b"\0\4"
        long = ip.put16(inner, 2, len(inner) + 1)
        found += [
            Refused(reseal(sa, good, seq, inner + b"\0\6"), PacketStatus.MALFORMED, "a tunnel's payload that is no IP"),
            Refused(reseal(sa, good, seq, inner + b"\0\x29"), PacketStatus.MALFORMED, "IPv4 that says it is IPv6"),
            Refused(reseal(sa, good, seq, long + trailer), PacketStatus.MALFORMED, "inner length beyond the payload"),
        ]
        marked = ip.with_traffic_class(reseal(sa, good, seq, inner + trailer), 3)
        found.append(Refused(marked, PacketStatus.ECN, "CE outside, Not-ECT inside (RFC 6040 sec. 4.2)"))
    return found
