"""SPD and Selector against a model in plain Python: what matches, in which order, and what is refused."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import pytest
from differential import examples
from helpers import FRAG_ATOMIC, FRAG_FIRST, FRAG_MIDDLE, at_work, ipv4, ipv6, patched, udp
from hypothesis import example, given
from hypothesis import strategies as st

from ipsecfast import SPD, PacketBatch, Selector
from ipsecfast.testing import strategies as gen

EXTENSIONS = (0, 43, 44, 60)
WITH_PORTS = (6, 17, 33, 132, 136)
Flow = tuple[Any, Any, int | None, tuple[int, int] | None]


# ---------------------------------------------------------------- the model


def flow_of(packet: bytes) -> Flow | None:
    """Source, destination, protocol and ports; None each where they can't be seen, or for no IP packet."""
    if len(packet) < 20 or packet[0] >> 4 not in (4, 6):
        return None
    later = False
    proto: int | None
    if packet[0] >> 4 == 4:
        at, total, proto = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big"), packet[9]
        if at < 20 or at > len(packet) or total < at:
            return None
        src, dst = (ipaddress.IPv4Address(packet[i : i + 4]) for i in (12, 16))
        later = bool(int.from_bytes(packet[6:8], "big") & 0x1FFF)
        packet = packet[:total]
    else:
        if len(packet) < 40:
            return None
        at, total, proto = 40, 40 + int.from_bytes(packet[4:6], "big"), packet[6]
        src, dst = (ipaddress.IPv6Address(packet[i : i + 16]) for i in (8, 24))
        packet = packet[:total]
        while proto in EXTENSIONS and not later:
            size = 8 if proto == 44 else 8 * (packet[at + 1] + 1) if len(packet) >= at + 2 else 8
            if len(packet) < at + size:
                return src, dst, None, None
            later = proto == 44 and int.from_bytes(packet[at + 2 : at + 4], "big") >= 8
            proto, at = packet[at], at + size
    ports = packet[at : at + 4]
    if later or proto not in WITH_PORTS or len(ports) < 4:
        return src, dst, proto, None
    return src, dst, proto, (int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big"))


def matches(s: dict[str, Any], flow: Flow) -> bool:
    src, dst, proto, ports = flow
    for name, address in (("src", src), ("dst", dst)):
        if s.get(name) is not None and address not in ipaddress.ip_network(s[name], strict=False):
            return False
    if any(s.get(n) and ipaddress.ip_network(s[n], strict=False).version != src.version for n in ("src", "dst")):
        return False
    if s.get("proto") is not None and s["proto"] != proto:
        return False
    for i, name in enumerate(("sport", "dport")):
        if s.get(name) not in (None, (0, 65535)) and not (ports and s[name][0] <= ports[i] <= s[name][1]):
            return False
    return True


def select(selectors: list[dict[str, Any]], packet: bytes) -> int:
    flow = flow_of(packet)
    return next((i + 1 for i, s in enumerate(selectors) if flow is not None and matches(s, flow)), 0)


def spd_of(selectors: list[dict[str, Any]]) -> SPD:
    spd = SPD()
    for i, s in enumerate(selectors):
        spd.add(Selector(**s), i + 1)
    return spd


def handles(spd: SPD, *packets: bytes) -> list[int]:
    return spd.select(PacketBatch.from_packets(packets)).tolist()


# ---------------------------------------------------------------- hypothesis

PORTS = st.sampled_from((0, 1, 53, 500, 4500, 7001, 7002, 65535))


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Sound ones with ports, whatever else the strategies have, then some cut or with changed bytes."""
    packet = draw(gen.inner_packets(headers=draw(st.sampled_from(("arrived", "sent", "any")))))
    if draw(st.booleans()):
        ports = draw(PORTS).to_bytes(2, "big") + draw(PORTS).to_bytes(2, "big")
        proto = draw(st.sampled_from((*WITH_PORTS, 1)))
        version = draw(st.sampled_from((4, 6)))
        head = gen.plain_packet(version, ports + bytes(8), dst=draw(st.sampled_from(gen.ADDRESSES[version])))
        packet = patched(head, 9 if version == 4 else 6, proto)
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return packet[: draw(st.integers(0, len(packet)))]
    if kind == 1:
        return patched(packet, draw(st.integers(0, min(len(packet), 60) - 1)), draw(st.integers(0, 255)))
    return packet


@st.composite
def selector_fields(draw: st.DrawFn) -> dict[str, Any]:
    version = draw(st.sampled_from((4, 6)))
    fields: dict[str, Any] = {}
    for name in ("src", "dst"):
        if draw(st.integers(0, 3)):
            top = 32 if version == 4 else 128
            bits = draw(st.sampled_from((top - 1, top, top, top)) | st.integers(0, top))
            fields[name] = f"{draw(st.sampled_from(gen.ADDRESSES[version]))}/{bits}"
    if draw(st.booleans()):
        fields["proto"] = draw(st.sampled_from((*WITH_PORTS, 1, 58, 44, 50)))
    for name in ("sport", "dport"):
        if fields.get("proto", 6) in WITH_PORTS and draw(st.integers(0, 2)) == 0:
            fields[name] = tuple(sorted((draw(PORTS), draw(PORTS))))
    return fields


@examples(100)
@given(st.lists(selector_fields(), max_size=12), st.lists(packets(), min_size=1, max_size=12))
@example([{}], [b""])
def test_as_the_model(selectors: list[dict[str, Any]], some: list[bytes]) -> None:
    spd = spd_of(selectors)
    assert len(spd) == len(selectors)
    want = [select(selectors, p) for p in some]
    assert handles(spd, *some) == want
    for packet, handle in zip(some, want, strict=True):  # nothing behind the packet: a sanitizer sees reads there
        alone = PacketBatch(np.frombuffer(packet, np.uint8).copy(), [0], [len(packet)])
        assert spd.select(alone).tolist() == [handle]


@examples(100)
@given(st.lists(selector_fields(), min_size=1, max_size=8), packets())
def test_selectors_may_come_later(selectors: list[dict[str, Any]], packet: bytes) -> None:
    """What was looked up before is no hint any more."""
    spd, batch = SPD(), PacketBatch.from_packets([packet])
    for i, s in enumerate(selectors):
        spd.add(Selector(**s), i + 1)
        assert spd.select(batch).tolist() == [select(selectors[: i + 1], packet)]


def test_many_selectors() -> None:
    """Thousands, of few prefix lengths: each packet finds the first of its own, not another one's."""
    ends = [f"10.{i >> 8}.{i & 255}.1" for i in range(3000)]
    selectors: list[dict[str, Any]] = [{"dst": f"{end}/32", "proto": 17} for end in ends]
    selectors += [{"dst": f"{end}/24"} for end in ends[:300]] + [{"dst": end} for end in ends]
    spd = spd_of(selectors)
    some = [patched(ipv4(udp(b""), proto=p), 16, 10, i >> 8, i & 255, 1) for i in range(0, 3000, 41) for p in (17, 1)]
    got = handles(spd, *some)
    assert got == [select(selectors, p) for p in some] and len(set(got)) > 140


def test_nested_prefixes() -> None:
    """One address under every prefix length, in some order: the first counts, whatever lies in one bucket."""
    lengths = [8, 32, 9, 24, 31, *range(10, 24), *range(25, 31)]
    for net in range(10, 60):
        selectors = [{"dst": f"{net}.0.0.0/{bits}"} for bits in lengths[net % 7 :] + lengths[: net % 7]]
        ends = ((128, 0, 1), (0, 0, 0), (0, 1, 0))
        some = [patched(ipv4(), 16, net, *end) for end in ends]
        some += [patched(ipv6(), 24, net, *end, *bytes(12)) for end in ends]
        selectors += [{"dst": f"{net:02x}00::/{bits}"} for bits in lengths[net % 7 :] + lengths[: net % 7]]
        assert handles(spd_of(selectors), *some) == [select(selectors, p) for p in some]


def test_a_later_match_of_another_prefix_length_does_not_count() -> None:
    selectors = [{"dst": "10.0.0.1"}, {"dst": "10.1.0.0/24"}, {"dst": "192.0.2.2"}, {"dst": "192.0.2.0/24"}]
    assert handles(spd_of(selectors), ipv4()) == [3]


# ---------------------------------------------------------------- single cases

DNS = Selector(proto="udp", dport=53)


def test_first_match_wins_and_bypass() -> None:
    spd = SPD()
    spd.add(Selector(proto="udp", dport=500), 0)
    spd.add(Selector(dst="192.0.2.2", proto=17), 7)
    spd.add(Selector(dst="192.0.2.0/24"), 8)
    some = [ipv4(udp(b"", port), proto=17) for port in (500, 53)]
    assert handles(spd, *some, ipv4(), ipv4(dst=99), ipv6()) == [0, 7, 8, 8, 0]
    assert handles(SPD(), *some) == [0, 0] and handles(spd) == []


def test_ports_are_in_the_first_fragment_alone() -> None:
    spd = SPD()
    spd.add(DNS, 1)
    spd.add(Selector(proto="udp", dport="0-65535"), 2)  # any port, seen or not
    spd.add(Selector(), 3)
    first, later = (ipv4(udp(b"data", 53), proto=17, flags=flags) for flags in (0x2000, 0x0001))
    assert handles(spd, first, later) == [1, 2]
    spd = spd_of([{"proto": "udp", "dport": 0x3500}, {}])
    assert handles(spd, ipv4(udp(b"", 0x3500)[:3], proto=17)) == [2]  # a zero behind the packet is none of its bytes
    spd = spd_of([{"proto": "udp", "dport": 53}, {}])
    some = [ipv6(udp(b"", 53), proto=44, headers=b"\x11" + h[1:]) for h in (FRAG_FIRST, FRAG_ATOMIC, FRAG_MIDDLE)]
    assert handles(spd, *some) == [1, 1, 2]


def test_extension_headers() -> None:
    spd = SPD()
    spd.add(DNS, 1)
    for proto in (0, 44, 60):
        spd.add(Selector(proto=proto), 2)
    spd.add(Selector(dst="2001:db8::/32"), 3)
    options = bytes((60, 1)) + bytes(14) + bytes((17, 0)) + bytes(6)
    whole = ipv6(udp(b"", 53), proto=0, headers=options)
    assert handles(spd, whole) == [1]
    # cut inside the headers, or a length that runs past the end: protocol and ports are unknown
    assert handles(spd, whole[:63], patched(whole, 41, 255), patched(whole, 57, 200)) == [3, 3, 3]
    chain = ipv6(udp(b"", 53), proto=60, headers=bytes((60, 0, 1, 4, 0, 0, 0, 0)) * 255 + bytes((17, 0)) + bytes(6))
    assert handles(spd, chain) == [1]


def test_bits_behind_a_prefix_do_not_count() -> None:
    assert Selector(src="10.1.2.3/8") == Selector(src=ipaddress.ip_network("10.0.0.0/8"))
    spd = spd_of([{"dst": "2001:db8::ffff/64"}])
    assert handles(spd, ipv6()) == [1]


GOOD: list[tuple[dict[str, Any], Selector]] = [
    ({}, Selector()),
    ({"src": "10.1.0.1", "dst": "10.2.0.0/16"}, Selector(src="10.1.0.1/32", dst="10.2.0.0/16")),
    ({"src": None, "dst": "::1", "proto": "any"}, Selector(dst="::1/128")),
    ({"proto": "TCP", "sport": 80}, Selector(proto=6, sport=(80, 80))),
    ({"proto": "132", "dport": " 5 - 9 "}, Selector(proto="sctp", dport=(5, 9))),
    ({"udp_dport": 7001}, Selector(proto=17, dport=7001)),
    ({"udp_sport": "1-2", "udp_dport": 3, "proto": 17}, Selector(proto="udp", sport=(1, 2), dport=3)),
    ({"tcp_dport": None}, Selector()),
    ({"sport": "0-65535"}, Selector()),
    ({"dport": [5, 6]}, Selector(dport="5-6")),
    ({"proto": 0}, Selector(proto=0)),
]


@pytest.mark.parametrize("fields,selector", GOOD)
def test_from_dict(fields: dict[str, Any], selector: Selector) -> None:
    assert Selector.from_dict(fields) == selector and hash(Selector.from_dict(fields)) == hash(selector)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"src": "10.0.0.0/33"}, ValueError, "src: is no"),
    ({"dst": "host.example"}, ValueError, "dst: is no"),
    ({"dst": 167772161}, TypeError, "dst: got int"),
    ({"src": "10.0.0.1", "dst": "::1"}, ValueError, "one family"),
    ({"proto": "quic"}, ValueError, "proto: got 'quic'"),
    ({"proto": 256}, ValueError, "proto: got 256"),
    ({"proto": -1}, ValueError, "proto: got -1"),
    ({"proto": True}, TypeError, "proto: got bool"),
    ({"proto": "icmp", "dport": 1}, ValueError, "with ports"),
    ({"sport": 65536}, ValueError, "sport: got 65536"),
    ({"sport": "9-5"}, ValueError, "sport: got 9 to 5"),
    ({"dport": "http"}, ValueError, "dport: is neither"),
    ({"dport": 1.5}, TypeError, "dport: got float"),
    ({"dport": [1, 2, 3]}, TypeError, "dport: got list"),
    ({"type": 8}, ValueError, "unknown field"),
    ({"udp_dport": 1, "proto": "tcp"}, ValueError, "proto: is given twice"),
    ({"udp_dport": 1, "dport": 2}, ValueError, "dport: is given twice"),
]


@pytest.mark.parametrize("fields,error,text", BAD)
def test_from_dict_refuses(fields: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Selector.from_dict(fields)


def test_wrong_use() -> None:
    spd = SPD()
    with pytest.raises(TypeError, match="wanted an object"):
        Selector.from_dict([])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="wanted a Selector"):
        spd.add({"dst": "10.0.0.1"}, 1)  # type: ignore[arg-type]
    for handle in (-1, 1 << 63):
        with pytest.raises(ValueError, match="handle"):
            spd.add(Selector(), handle)
    with pytest.raises(TypeError):
        spd.add(Selector(), "1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        spd.select([b""])  # type: ignore[arg-type]
    assert len(spd) == 0


def test_the_text_of_a_selector() -> None:
    selector = Selector(src="10.1.0.0/16", proto="udp", sport=5, dport="7-9")
    assert str(selector) == "10.1.0.0/16 -> any proto 17 sport 5 dport 7-9"


def test_a_second_thread_is_told_off() -> None:
    spd = spd_of([{"proto": 17, "sport": 1, "dport": i} for i in range(5000)])
    batch = PacketBatch.from_packets([ipv4(udp(b"", 9999), proto=17)] * 1000)
    small = PacketBatch.from_packets([ipv4()])
    got: list[Any] = []
    with at_work(lambda: got.append(spd.select(batch)), probe=lambda: batch[0]):
        calls = (
            lambda: spd.select(small),
            lambda: spd.add(Selector(), 1),
            lambda: SPD().select(batch),
            lambda: batch.take([0]),
        )
        for call in calls:
            with pytest.raises(RuntimeError, match="another thread"):
                call()
    assert all(found.shape == (1000,) and found.dtype == np.int64 and not found.any() for found in got)
    assert handles(spd, ipv4()) == [0]


# ---------------------------------------------------------------- PacketBatch.take


def test_take() -> None:
    some = [ipv4(b"x" * n) for n in (1, 50, 0)]
    batch = PacketBatch.from_packets(some, headroom=0, tailroom=0)
    taken = batch.take([2, 0, 2], headroom=64, tailroom=32)
    assert taken.to_packets() == [some[2], some[0], some[2]]
    taken[0][0] = 0
    assert taken.to_packets()[1:] == [some[0], some[2]] and batch.to_packets() == some
    assert (np.diff(taken.offset) >= 96 + 20).all() and taken.offset[0] == 64
    assert len(batch.take([])) == 0 and len(batch.take(np.flatnonzero([0, 1, 0]))) == 1


@pytest.mark.parametrize(
    "rows,room,error",
    [
        ([3], (0, 0), IndexError),
        ([-1], (0, 0), IndexError),
        ([1 << 40], (0, 0), IndexError),
        ([0.5], (0, 0), TypeError),
        ([[0]], (0, 0), ValueError),
        ([0], (-1, 0), ValueError),
        ([0], (1 << 20, 1), ValueError),
        ([0], ("1", 1), TypeError),
    ],
)
def test_take_refuses(rows: Any, room: tuple[Any, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        PacketBatch.from_packets([ipv4()] * 3).take(rows, *room)
