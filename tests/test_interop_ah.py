"""AH as scapy speaks it: alone, around ESP, and in nested tunnels, in both directions.

Every separate integrity algorithm that scapy has, both modes, all pairs of families, with and without extended
sequence numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from helpers import OK, PROVIDERS, H, ipv4, ipv6, served
from test_interop import ENDS, SCAPY_AUTHENTICATION, Way, scapy_modules, scapy_sa

from ipsecfast import SAD, PacketBatch, SecurityAssociation, decapsulate, encapsulate
from ipsecfast.alg import ENCRYPTION

pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")

ALGORITHMS = [name for name in SCAPY_AUTHENTICATION if name != "NONE"]
WAYS = [
    Way(mode, outer, inner, in_udp=False, esn=esn)
    for mode, outer, inner, esn in itertools.product(("tunnel", "transport"), (4, 6), (4, 6), (False, True))
    if mode == "tunnel" or outer == inner
]


def ah(authentication: str, way: Way, **fields: Any) -> SecurityAssociation:
    return way.association("NULL", authentication, protocol="ah", **fields)


def put_on(provider: str, layers: Sequence[tuple[SecurityAssociation, Way]], plain: list[bytes]) -> list[bytes]:
    """The packets after all layers, the innermost first."""
    sad = SAD(capacity=8, provider=provider)
    handles = [sad.add(sa, direction="outbound", seq=way.last_seq) for sa, way in layers]
    batch = PacketBatch.from_packets(plain, headroom=256)
    result = encapsulate(batch, sad, sad.bundle(handles))
    assert result.ok == len(plain), result.status
    return batch.to_packets()


def take_off(provider: str, layers: Sequence[tuple[SecurityAssociation, Way]], packets: list[bytes]) -> list[bytes]:
    sad = SAD(capacity=8, provider=provider)
    for sa, way in layers:
        sad.add(sa, direction="inbound", seq=way.last_seq)
    batch = PacketBatch.from_packets(packets)
    assert decapsulate(batch, sad).status.tolist() == [OK] * len(packets)
    return batch.to_packets()


def check(provider: str, layers: Sequence[tuple[SecurityAssociation, Way]], plain: list[bytes]) -> None:
    """scapy takes off what this side puts on, and the other way round."""
    _, ip = scapy_modules()
    theirs = [scapy_sa(sa, way) for sa, way in layers]
    for packet, clear in zip(put_on(provider, layers, plain), plain, strict=True):
        rest = packet
        for one in reversed(theirs):
            rest = bytes(one.decrypt(ip[rest[0] >> 4](rest)))
        assert rest == clear, layers
    theirs = [scapy_sa(sa, way) for sa, way in layers]
    sealed = []
    for clear in plain:
        packet = clear
        for one, (sa, _) in zip(theirs, layers, strict=True):
            packet = put_on_by_scapy(one, sa, packet)
        sealed.append(packet)
    assert take_off(provider, layers, sealed) == plain, layers


def put_on_by_scapy(theirs: Any, sa: SecurityAssociation, packet: bytes) -> bytes:
    """One layer.  Where scapy sees ESP inside of AH it signs the ESP: for AH it is not to know it."""
    ipsec, ip = scapy_modules()
    with pytest.MonkeyPatch.context() as patch:
        for layer in (*ip.values(), ipsec.UDP) if sa.protocol == "ah" else ():
            known = [guess for guess in layer.payload_guess if guess[1] is not ipsec.ESP]
            patch.setattr(layer, "payload_guess", known)
        return bytes(theirs.encrypt(ip[packet[0] >> 4](packet)))


@pytest.mark.parametrize(("authentication", "provider"), served(ALGORITHMS))
def test_alone(authentication: str, provider: str) -> None:
    for way in WAYS:
        check(provider, [(ah(authentication, way), way)], way.plain()[1:])


SUITES = [
    ("AES-GCM-256", "HMAC-SHA256-128"),
    ("CHACHA20-POLY1305", "HMAC-MD5-96"),
    ("AES-CBC-128", "HMAC-SHA1-96"),
    ("NULL", "AES-CMAC-96"),
]


@pytest.mark.parametrize(("encryption", "authentication", "provider"), served(SUITES))
def test_around_esp(encryption: str, authentication: str, provider: str) -> None:
    separate = "NONE" if ENCRYPTION[encryption].combined else authentication
    for way in WAYS:
        esp = way.association(encryption, separate, spi=0x777)
        outside = Way("transport", way.outer, way.outer, in_udp=False, esn=way.esn)
        check(provider, [(esp, way), (ah(authentication, outside), outside)], way.plain()[::2])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("inner", [4, 6])
def test_tunnels_in_tunnels(inner: int, outer: int, provider: str) -> None:
    """ESP tunnel in AH tunnel in ESP tunnel, and ESP transport in them all."""
    ways = [
        Way("transport", inner, inner, in_udp=False, esn=True),
        Way("tunnel", outer, inner, in_udp=False, esn=False),
        Way("tunnel", inner, outer, in_udp=False, esn=True),
        Way("tunnel", outer, inner, in_udp=True, esn=True),
    ]
    layers = [
        (ways[0].association("NULL", "HMAC-SHA256-128", spi=0x2000), ways[0]),
        (ways[1].association("AES-GCM-128", "NONE", spi=0x2001), ways[1]),
        (ah("HMAC-SHA1-96", ways[2], spi=0x2002), ways[2]),
        (ways[3].association("AES-CBC-256", "HMAC-SHA512-256", spi=0x2003), ways[3]),
    ]
    for n in range(1, len(layers) + 1):
        check(provider, layers[:n], ways[0].plain()[1::2])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("version", "plain"),
    [
        pytest.param(4, ipv4(b"x" * 33, proto=253, options=H("9404000001010100")), id="4: router alert"),
        pytest.param(4, ipv4(b"x" * 33, proto=253, options=H("070704000000000001010100")), id="4: record route"),
        pytest.param(6, ipv6(b"x" * 33, proto=0, headers=H("fd00050200000100")), id="6: hop-by-hop options"),
        pytest.param(6, ipv6(b"x" * 33, proto=0, headers=H("3c003e0411223344fd003f0155010100")), id="6: mutable ones"),
    ],
)
def test_headers_in_front(version: int, plain: bytes, provider: str) -> None:
    way = Way("transport", version, version, in_udp=False, esn=False)
    check(provider, [(ah("HMAC-SHA1-96", way), way)], [plain])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_scapy_finds_a_flipped_bit(provider: str) -> None:
    ipsec, ip = scapy_modules()
    way = Way("transport", 4, 4, in_udp=False, esn=False)
    sa = replace(ah("HMAC-SHA1-96", way), src=ENDS[4][0])
    (packet,) = put_on(provider, [(sa, way)], [ipv4(bytes(30), proto=253)])
    for at in (13, 24, 40, len(packet) - 1):
        changed = packet[:at] + bytes((packet[at] ^ 1,)) + packet[at + 1 :]
        with pytest.raises((ipsec.IPSecIntegrityError, TypeError, ValueError)):
            scapy_sa(sa, way).decrypt(ip[4](changed))
