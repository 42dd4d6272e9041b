"""ESP as others speak it: scapy opens what `encapsulate` makes, and `decapsulate` opens what scapy makes.

Every encryption with every authentication, both modes, all pairs of families, plain and in UDP, with and without
extended sequence numbers.  Where scapy has no such length of ICV, ``by_hand`` is the judge.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import struct
from typing import Any, NamedTuple

import by_hand
import pytest
from helpers import OK, PROVIDERS, H, checksum, ipv4, ipv6, keyed, served, udp6_sum

from ipsecfast import SAD, PacketBatch, SecurityAssociation, decapsulate, encapsulate
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION

# cryptography of some versions, on the way scapy makes DES of it
pytestmark = pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")

SCAPY_ENCRYPTION = {
    "NULL": "NULL",
    "DES-CBC": "DES",
    "3DES-CBC": "3DES",
    "AES-CBC": "AES-CBC",
    "AES-CTR": "AES-CTR",
    "AES-GCM": "AES-GCM",
    "AES-GMAC": "AES-NULL-GMAC",
    "AES-CCM": "AES-CCM",
    "CHACHA20-POLY1305": "CHACHA20-POLY1305",
}
SCAPY_AUTHENTICATION = {
    "NONE": "NULL",
    "HMAC-MD5-96": "HMAC-MD5-96",
    "HMAC-SHA1-96": "HMAC-SHA1-96",
    "HMAC-SHA256-128": "SHA2-256-128",
    "HMAC-SHA384-192": "SHA2-384-192",
    "HMAC-SHA512-256": "SHA2-512-256",
    "AES-CMAC-96": "AES-CMAC-96",
}
# scapy has no XCBC, which has by_hand as its judge, and no name for AES-GMAC but as encryption
SUITES = [
    (enc.name, auth)
    for enc, auth in itertools.product(ENCRYPTION.values(), SCAPY_AUTHENTICATION)
    if enc.combined == (auth == "NONE")
]
LENGTHS = (0, 1, 2, 14, 45, 1400)
SEQ_HI, SEQ_LO = 5, 0x7FFFFFF0
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}


class Way(NamedTuple):
    """How packets travel: mode, IP version outside and inside, in UDP or not, extended numbers or not."""

    mode: str
    outer: int
    inner: int
    in_udp: bool
    esn: bool

    def association(self, encryption: str, authentication: str, **fields: Any) -> SecurityAssociation:
        src, dst = ENDS[self.outer]
        stated = {"mode": self.mode, "src": src, "dst": dst, "esn": self.esn}
        return keyed(encryption, authentication, **stated, udp_encap=(4500, 4500) if self.in_udp else None, **fields)

    def plain(self) -> list[bytes]:
        """One packet of each length, of a protocol that nobody takes apart."""
        make = ipv4 if self.inner == 4 else ipv6
        return [make(bytes(range(256)) * (n // 256) + bytes(range(n % 256)), proto=253) for n in LENGTHS]

    @property
    def last_seq(self) -> int:
        return (SEQ_HI << 32 if self.esn else 0) + SEQ_LO


WAYS = [
    Way(mode, outer, inner, in_udp, esn)
    for mode, outer, inner, in_udp, esn in itertools.product(
        ("tunnel", "transport"), (4, 6), (4, 6), (False, True), (False, True)
    )
    if mode == "tunnel" or outer == inner
]


# ---------------------------------------------------------------- this side


def _seal(provider: str, sa: SecurityAssociation, seq: int, plain: list[bytes]) -> list[bytes]:
    sad = SAD(capacity=1, provider=provider)
    batch = PacketBatch.from_packets(plain)
    result = encapsulate(batch, sad, sad.add(sa, direction="outbound", seq=seq))
    assert result.ok == len(plain), result.status
    return batch.to_packets()


def _open(provider: str, sa: SecurityAssociation, seq: int, sealed: list[bytes]) -> list[bytes]:
    sad = SAD(capacity=1, provider=provider)
    sad.add(sa, direction="inbound", seq=seq)
    batch = PacketBatch.from_packets(sealed)
    result = decapsulate(batch, sad)
    assert result.status.tolist() == [OK] * len(sealed)
    return batch.to_packets()


def _esp_of(packet: bytes, in_udp: bool) -> bytes:
    """The ESP packet inside; everything in front of it must be right."""
    if packet[0] >> 4 == 4:
        start, declared, proto = (packet[0] & 15) * 4, struct.unpack_from(">H", packet, 2)[0], packet[9]
        assert checksum(packet[:start]) == 0
    else:
        start, declared, proto = 40, 40 + struct.unpack_from(">H", packet, 4)[0], packet[6]
    assert (declared, proto) == (len(packet), 17 if in_udp else 50)
    if not in_udp:
        return packet[start:]
    sport, dport, length, udp_sum = struct.unpack_from(">HHHH", packet, start)
    assert (sport, dport, length) == (4500, 4500, len(packet) - start)
    assert udp_sum == 0 if packet[0] >> 4 == 4 else udp6_sum(packet) == 0
    return packet[start + 8 :]


# ---------------------------------------------------------------- scapy's side


@functools.cache
def scapy_modules() -> tuple[Any, Any]:
    """scapy's IPsec and IP modules."""
    pytest.importorskip("scapy", reason="scapy is not installed")
    ipsec = importlib.import_module("scapy.layers.ipsec")
    if not ipsec.conf.crypto_valid:
        pytest.skip("scapy has no cryptography")
    return ipsec, {4: ipsec.IP, 6: ipsec.IPv6}


def scapy_sa(sa: SecurityAssociation, way: Way) -> Any:
    """scapy's SA of the same keys, whose numbers go on where ``way.last_seq`` ends."""
    ipsec, ip = scapy_modules()
    family = sa.encryption if sa.encryption in SCAPY_ENCRYPTION else sa.encryption.rpartition("-")[0]
    return ipsec.SecurityAssociation(
        ipsec.ESP if sa.protocol == "esp" else ipsec.AH,
        spi=sa.spi,
        seq_num=SEQ_LO + 1,
        crypt_algo=SCAPY_ENCRYPTION[family],
        crypt_key=sa.enc_key + sa.salt,
        auth_algo=SCAPY_AUTHENTICATION[sa.authentication],
        auth_key=sa.auth_key,
        tunnel_header=ip[way.outer](src=str(sa.src), dst=str(sa.dst)) if way.mode == "tunnel" else None,
        nat_t_header=ipsec.UDP(sport=4500, dport=4500) if way.in_udp else None,
        esn_en=way.esn,
        esn=SEQ_HI if way.esn else 0,
    )


@functools.cache
def _sealed_by_scapy(encryption: str, authentication: str, way: Way) -> list[bytes]:
    theirs = scapy_sa(way.association(encryption, authentication), way)
    return [bytes(theirs.encrypt(scapy_modules()[1][way.inner](plain))) for plain in way.plain()]


@pytest.mark.parametrize(("encryption", "authentication", "provider"), served(SUITES))
def test_scapy_opens_it(encryption: str, authentication: str, provider: str) -> None:
    _, ip = scapy_modules()
    for way in WAYS:
        sa = way.association(encryption, authentication)
        theirs = scapy_sa(sa, way)
        for plain, packet in zip(way.plain(), _seal(provider, sa, way.last_seq, way.plain()), strict=True):
            _esp_of(packet, way.in_udp)
            assert bytes(theirs.decrypt(ip[way.outer](packet))) == plain, way


@pytest.mark.parametrize(("encryption", "authentication", "provider"), served(SUITES))
def test_it_opens_scapys(encryption: str, authentication: str, provider: str) -> None:
    for way in WAYS:
        sa = way.association(encryption, authentication)
        sealed = _sealed_by_scapy(encryption, authentication, way)
        assert _open(provider, sa, way.last_seq, sealed) == way.plain(), way


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("encryption", ["AES-GCM-128", "AES-CBC-128"])
@pytest.mark.parametrize(
    ("version", "plain"),
    [
        pytest.param(4, ipv4(b"x" * 33, proto=253, options=H("9404000001010100")), id="4: router alert"),
        pytest.param(6, ipv6(b"x" * 33, proto=0, headers=H("fd00050200000100")), id="6: hop-by-hop options"),
        pytest.param(6, ipv6(b"x" * 33, proto=60, headers=H("fd00010400000000")), id="6: destination options"),
    ],
)
def test_headers_in_front_of_transport(version: int, plain: bytes, encryption: str, provider: str) -> None:
    way = Way("transport", version, version, in_udp=False, esn=False)
    sa = way.association(encryption, "NONE" if "GCM" in encryption else "HMAC-SHA1-96")
    theirs, ip = scapy_sa(sa, way), scapy_modules()[1][version]
    (packet,) = _seal(provider, sa, way.last_seq, [plain])
    assert bytes(theirs.decrypt(ip(packet))) == plain
    assert _open(provider, sa, way.last_seq, [bytes(theirs.encrypt(ip(plain)))]) == [plain]


# ---------------------------------------------------------------- what scapy has not got: XCBC, lengths of ICV

OTHER_ICVS = [
    *((name, "NONE", icv_len) for name in ENCRYPTION if "GCM" in name or "CCM" in name for icv_len in (8, 12, 16)),
    *(
        (encryption, auth.name, icv_len)
        for encryption in ("NULL", "AES-CBC-128", "AES-CTR-256")
        for auth in AUTHENTICATION.values()
        for icv_len in {8, 12, 16, auth.digest_len}
        if auth.code and not auth.ah_only and icv_len <= auth.digest_len
        if icv_len != auth.icv_len or auth.name not in SCAPY_AUTHENTICATION
    ),
]
PROTOS = {4: 4, 6: 41}


@pytest.mark.parametrize(("encryption", "authentication", "icv_len", "provider"), served(OTHER_ICVS))
def test_other_icv_lengths(encryption: str, authentication: str, icv_len: int, provider: str) -> None:
    for way in WAYS:
        sa = way.association(encryption, authentication, icv_len=icv_len)
        carried = [p if way.mode == "tunnel" else p[20 if way.inner == 4 else 40 :] for p in way.plain()]
        proto = PROTOS[way.inner] if way.mode == "tunnel" else 253

        for data, packet in zip(carried, _seal(provider, sa, way.last_seq, way.plain()), strict=True):
            payload = by_hand.payload_of(sa, _esp_of(packet, way.in_udp), SEQ_HI if way.esn else 0)
            assert payload == _padded(sa, data, proto), way

        sealed = []
        for seq, data in enumerate(carried, start=way.last_seq + 1):
            esp = by_hand.esp(sa, _padded(sa, data, proto), seq, iv=bytes(range(7, 7 + sa.enc_alg.iv_len)))
            in_front = (struct.pack(">HHHH", 4500, 4500, 8 + len(esp), 0), 17) if way.in_udp else (b"", 50)
            sealed.append((ipv4 if way.outer == 4 else ipv6)(in_front[0] + esp, proto=in_front[1]))
        assert _open(provider, sa, way.last_seq, sealed) == way.plain(), way


def _padded(sa: SecurityAssociation, data: bytes, next_header: int) -> bytes:
    """Data with the shortest padding of RFC 4303 sec. 2.4 and the trailer."""
    align = 16 if "AES-CBC" in sa.encryption else 4
    pad_len = -(len(data) + 2) % align
    return data + bytes(range(1, pad_len + 1)) + bytes((pad_len, next_header))
