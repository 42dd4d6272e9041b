"""Packets that a receiver must refuse, each with the status that the RFCs demand and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from hypothesis import reject
from hypothesis import strategies as st

from ...reference import ah, ip
from ...reference.crypto import icv_len, iv_len
from ...sa import SecurityAssociation
from ...status import PacketStatus
from .associations import peer
from .plain import plain_packet
from .protected import header_offset, protect, protected_packets, reseal_ah, reseal_esp, with_body
from .suites import filler

NOT_IPSEC, NO_SA, MALFORMED = PacketStatus.NOT_IPSEC, PacketStatus.NO_SA, PacketStatus.MALFORMED


@dataclass(frozen=True)
class Invalid:
    """A packet and what the RFCs say about it."""

    packet: bytes
    status: PacketStatus
    why: str = field(compare=False)
    failed_layer: int = 0  # 0 is the outermost


@dataclass(frozen=True)
class _Fault:
    """One way to be wrong.  ``make`` is called for the one that is drawn."""

    status: PacketStatus
    why: str
    make: Callable[[], bytes]
    in_sa: bool = True  # found out by a layer whose SA is known, so that it counts below the first layer too


@st.composite
def invalid_packets(
    draw: st.DrawFn,
    sas: SecurityAssociation | Sequence[SecurityAssociation],
    seqs: int | Sequence[int] = 1,
    *,
    statuses: Sequence[PacketStatus] = tuple(PacketStatus),
) -> Invalid:
    """A packet that a receiver with these inbound SAs (the innermost first), taking these numbers, must refuse.

    With several SAs one layer has the fault, and all others are sound.  ``statuses`` narrows down the verdicts.
    What an SA does not look at is no fault: padding without ``strict_padding``, ECN without ``ecn``, and so on.
    """
    layers = (sas,) if isinstance(sas, SecurityAssociation) else tuple(sas)
    numbers = (seqs,) * len(layers) if isinstance(seqs, int) else tuple(seqs)
    at = draw(st.integers(0, len(layers) - 1))
    good = draw(protected_packets(layers[: at + 1], numbers[: at + 1])).packet
    below_the_first = at + 1 < len(layers)
    faults = [
        fault
        for fault in _faults(layers[at], numbers[at], good)
        if fault.status in statuses and (fault.in_sa or not below_the_first)
    ]
    if PacketStatus.AUTH_FAILED in statuses and layers[at].icv_len:
        faults.append(draw(_forged(layers[at], good)))
    if not faults:
        reject()  # this layer has no fault with such a verdict
    fault = draw(st.sampled_from(faults))
    packet = fault.make()
    for sa, seq in zip(layers[at + 1 :], numbers[at + 1 :], strict=True):
        try:
            packet = protect(peer(sa), packet, seq)
        except ValueError:
            reject()  # headers that the next layer can't carry either
    return Invalid(packet, fault.status, fault.why, len(layers) - 1 - at)


def _faults(sa: SecurityAssociation, seq: int, good: bytes) -> Iterator[_Fault]:
    yield from _addressing(sa, good)
    yield from _headers(sa, good)
    yield from _ah_faults(sa, seq, good) if sa.protocol == "ah" else _esp_faults(sa, seq, good)
    if sa.mode == "tunnel":
        yield from _tunnel_faults(sa, seq, good)


@st.composite
def _forged(draw: st.DrawFn, sa: SecurityAssociation, good: bytes) -> _Fault:
    """One bit changed that the ICV covers, or in it: not those that say where and how to look."""
    at = header_offset(good)
    if sa.protocol == "esp":
        covered = range(at + 8, len(good))
    else:
        icv_end = at + ah.field_len(sa)
        covered = range(at + ah.HEADER_LEN, max(icv_end, len(good)))
    place, bit = draw(st.integers(0, len(covered) - 1)), 1 << draw(st.integers(0, 7))
    return _Fault(
        PacketStatus.AUTH_FAILED, "a bit that the ICV covers is flipped", lambda: _flipped(good, covered[place], bit)
    )


def _flipped(packet: bytes, at: int, bit: int) -> bytes:
    return packet[:at] + bytes((packet[at] ^ bit,)) + packet[at + 1 :]


def _put(packet: bytes, at: int, data: bytes) -> bytes:
    return packet[:at] + data + packet[at + len(data) :]


# --- in front of ESP and AH -------------------------------------------------------------------------------------------


def _addressing(sa: SecurityAssociation, good: bytes) -> Iterator[_Fault]:
    at = header_offset(good) + (4 if sa.protocol == "ah" else 0)
    other = (sa.spi ^ 0x5A5A).to_bytes(4, "big")
    yield _Fault(NO_SA, "no SA with this SPI", lambda: _put(good, at, other), False)
    four = ip.version(good) == 4
    elsewhere = bytes((203, 0, 113, 9)) if four else bytes.fromhex("20010db8") + bytes(11) + b"\xf9"
    if sa.dst is not None:
        yield _Fault(NO_SA, "no SA for this destination", lambda: _put(good, 16 if four else 24, elsewhere), False)
    if sa.match_src:
        yield _Fault(NO_SA, "no SA for this source", lambda: _put(good, 12 if four else 8, elsewhere), False)
    if not sa.esn and sa.replay_window and sa.icv_len:
        zero = partial(_sealed, sa, _put(good, at + 4, bytes(4)), 0)
        yield _Fault(PacketStatus.REPLAYED, "0 is never sent (RFC 4303 sec. 3.3.3, RFC 4302 sec. 3.3.2)", zero)


def _headers(sa: SecurityAssociation, good: bytes) -> Iterator[_Fault]:
    yield _Fault(MALFORMED, "cut short behind its IP header", lambda: good[:-1], False)
    yield _Fault(NOT_IPSEC, "cut short within its IP header", lambda: good[:19], False)
    if ip.version(good) == 4:
        first = ip.put16(good, 6, 0x2000)
        yield _Fault(NOT_IPSEC, "TCP", lambda: _put(good, 9, b"\6"), False)
    else:
        first = _before_others(good, 44, bytes.fromhex("000100000007"))
        yield _Fault(NOT_IPSEC, "TCP", lambda: _put(good, 6, b"\6"), False)
    yield _Fault(PacketStatus.FRAGMENT, "the first fragment", lambda: first, False)
    if sa.udp_encap:
        ike = bytes(4) + filler(1, 40)
        yield _Fault(NOT_IPSEC, "IKE's zero marker (RFC 3948 sec. 2.2)", lambda: with_body(good, ike), False)
        yield _Fault(NOT_IPSEC, "a keepalive (RFC 3948 sec. 2.3)", lambda: with_body(good, b"\xff"), False)


def _before_others(packet: bytes, number: int, part: bytes) -> bytes:
    """An IPv6 packet with one more extension header in front of all others; ``part`` is without its first 2 bytes."""
    length = 0 if number == ip.PROTO_FRAGMENT else (len(part) + 2) // 8 - 1
    return ip.finish(packet[:40], 6, number, bytes((packet[6], length)) + part + packet[40:])


# --- ESP --------------------------------------------------------------------------------------------------------------


def _esp_faults(sa: SecurityAssociation, seq: int, good: bytes) -> Iterator[_Fault]:
    at = header_offset(good)
    least = 8 + iv_len(sa) + icv_len(sa) + 2
    yield _Fault(MALFORMED, "half an ESP header", lambda: with_body(good, good[at : at + 7]), False)
    yield _Fault(MALFORMED, "no room for the trailer", lambda: with_body(good, good[at : at + least - 1]))
    if sa.enc_alg.block > 1:
        yield _Fault(MALFORMED, "no whole cipher blocks", lambda: with_body(good, good[at:] + b"\0"))
    for status, why, clear in (
        (MALFORMED, "more padding than payload", bytes(14) + bytes((15, 6))),
        (PacketStatus.DUMMY, "next header 59 (RFC 4303 sec. 2.6)", bytes(14) + b"\0\x3b"),
    ):
        yield _Fault(status, why, partial(reseal_esp, sa, good, seq, clear))
    if sa.strict_padding:
        clear = bytes(12) + bytes((1, 3, 2, 6))
        why = "padding that is not 1, 2, 3, ... (RFC 4303 sec. 2.4)"
        yield _Fault(MALFORMED, why, lambda: reseal_esp(sa, good, seq, clear))


# --- AH ---------------------------------------------------------------------------------------------------------------


def _ah_faults(sa: SecurityAssociation, seq: int, good: bytes) -> Iterator[_Fault]:
    at = header_offset(good)
    size = ah.declared_len(good, at)
    yield _Fault(MALFORMED, "half an AH", lambda: with_body(good, good[at : at + 11]), False)
    yield _Fault(MALFORMED, "less than the length that AH says", lambda: with_body(good, good[at : at + size - 1]))
    for words in (0, (size - 8) // 4, size // 4 + 2, 255):
        if not ah.is_acceptable(sa, ip.version(good), (words + 2) * 4):
            yield _Fault(MALFORMED, "no length that AH has with this ICV", partial(_put, good, at + 1, bytes((words,))))
    for ofs, what in ((0, "next header"), (2, "reserved field")):
        yield _Fault(PacketStatus.AUTH_FAILED, f"another {what} in AH", partial(_flipped, good, at + ofs, 64))
    if ip.version(good) == 4:
        yield _Fault(PacketStatus.AUTH_FAILED, "another IP identification", lambda: _flipped(good, 5, 1))
        if not sa.match_src:
            yield _Fault(PacketStatus.AUTH_FAILED, "another source", lambda: _flipped(good, 15, 64))
        if good[0] & 15 < 15:
            for bad, what in (("07000000", "of length 0"), ("073d0400", "that runs past the header")):
                yield _Fault(MALFORMED, f"an IP option {what}", partial(_with_option, good, bytes.fromhex(bad)))
        return
    if not sa.match_src:
        yield _Fault(PacketStatus.AUTH_FAILED, "another source", lambda: _flipped(good, 23, 64))
    for number, part, what in (
        (60, "01ff00000000", "an option that runs past its header"),
        (60, "010300000005", "an option without a length"),
        (43, "ff0100000000", "hops left in a routing header that nobody knows"),
        (43, "000100000000", "a hop left in a route without addresses"),
    ):
        yield _Fault(MALFORMED, what, partial(_before_others, good, number, bytes.fromhex(part)))


def _with_option(packet: bytes, option: bytes) -> bytes:
    """An IPv4 packet with an option in front of all others."""
    header = bytes((packet[0] + 1,)) + packet[1:20] + option
    return ip.finish(header, 9, packet[9], packet[20:])


# --- behind both ------------------------------------------------------------------------------------------------------


def _sealed(sa: SecurityAssociation, good: bytes, seq: int, next_header: int = 6, data: bytes = bytes(14)) -> bytes:
    """``data`` instead of what ``good`` carries, under a right ICV."""
    if sa.protocol == "ah":
        return reseal_ah(sa, good, seq, next_header, data)
    pad_len = -(len(data) + 2) % sa.enc_alg.align
    return reseal_esp(sa, good, seq, data + bytes(range(1, pad_len + 1)) + bytes((pad_len, next_header)))


def _tunnel_faults(sa: SecurityAssociation, seq: int, good: bytes) -> Iterator[_Fault]:
    inner = plain_packet(4, bytes(26))
    long = ip.put16(inner, 2, len(inner) + 40)
    for next_header, data, why in (
        (6, inner, "a tunnel's payload that is no IP"),
        (41, inner, "IPv4 that says it is IPv6"),
        (4, inner[:19], "half an inner header"),
        (4, long, "an inner length beyond the payload"),
    ):
        yield _Fault(MALFORMED, why, partial(_sealed, sa, good, seq, next_header, data))

    if not sa.ecn:
        return

    def marked() -> bytes:
        return ip.with_traffic_class(_sealed(sa, good, seq, 4, inner), 3)

    yield _Fault(PacketStatus.ECN, "CE outside, Not-ECT inside (RFC 6040 sec. 4.2)", marked)
