"""What the NIC's tests share: frames as a host builds them for send, frames as a peer sends them, scapy as the peer.

Nothing here uses the package's datapath.
"""

from __future__ import annotations

import hmac
import importlib
import itertools
import struct
from typing import Any, NamedTuple

import by_hand
import numpy as np
from helpers import PROVIDERS, ipv4, ipv6, served, udp
from readers import scapy_ipsec

from ipsecfast import SecurityAssociation
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION
from ipsecfast.ndis.datapath import Datapath
from ipsecfast.ndis.nbl import NblBatch

NATIVE = [p for p in PROVIDERS if p.id != "reference"]
SUITES = [
    (enc.name, auth.name)
    for enc, auth in itertools.product(ENCRYPTION.values(), AUTHENTICATION.values())
    if enc.combined != bool(auth.code) and not auth.ah_only
]
# every choice of algorithms for ESP with every library that has it
SERVED = [param for param in served(SUITES) if param.values[-1] != "reference"]
MACS = bytes.fromhex("020000000002020000000001")
ESP, AH, UDP, IPIP = 50, 51, 17, 4
DONE, NEXT_DONE, DELETE_REQ = 2, 4, 1
SUCCESS, FAILURE = 0, 0xC0000001

SCAPY_ENCRYPTION = {
    "NULL": "NULL",
    "DES-CBC": "DES",
    "3DES-CBC": "3DES",
    "AES-CBC": "AES-CBC",
    "AES-CTR": "AES-CTR",
    "AES-GCM": "AES-GCM",
    "AES-CCM": "AES-CCM",
    "AES-GMAC": "AES-NULL-GMAC",
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


# ---------------------------------------------------------------- frames


def frame(packet: bytes, tag: bytes = b"") -> bytes:
    """An Ethernet frame around an IP packet; ``tag`` is an 802.1Q tag's four bytes."""
    return MACS + tag + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def padded(sa: SecurityAssociation, data: bytes, next_header: int) -> bytes:
    """Data with the shortest padding of RFC 4303 sec. 2.4 and the trailer."""
    pad_len = -(len(data) + 2) % sa.enc_alg.align
    return data + bytes(range(1, pad_len + 1)) + bytes((pad_len, next_header))


def sealed(sa: SecurityAssociation, data: bytes, next_header: int, seq: int = 1) -> bytes:
    """ESP as a peer sends it; 64-bit number."""
    return by_hand.esp(sa, padded(sa, data, next_header), seq, iv=bytes(range(7, 7 + sa.enc_alg.iv_len)))


def room(sa: SecurityAssociation, data: bytes, next_header: int, seq: int = 1) -> bytes:
    """ESP as a host hands it to the NIC: framed and padded, with room for IV and ICV."""
    assert sa.icv_len is not None
    iv_room = bytes(sa.enc_alg.iv_len)
    header = struct.pack(">II", sa.spi, seq & 0xFFFFFFFF)
    return header + iv_room + padded(sa, data, next_header) + bytes(sa.icv_len)


def ah_room(sa: SecurityAssociation, data: bytes, next_header: int, seq: int = 1, version: int = 4) -> bytes:
    """AH with a zero ICV field, and what it stands in front of."""
    assert sa.icv_len is not None
    length = 12 + sa.auth_alg.iv_len + sa.icv_len
    length += -length % (8 if version == 6 else 4)
    header = struct.pack(">BBHII", next_header, length // 4 - 2, 0, sa.spi, seq & 0xFFFFFFFF)
    return header.ljust(length, b"\0") + data


def ah_sealed(sa: SecurityAssociation, data: bytes, next_header: int, seq: int = 1, version: int = 4) -> bytes:
    """An IP packet with AH as a peer sends it (RFC 4302 sec. 3.3.3, no options): scapy does not, with ESP in it."""
    packet = bytearray(ip(version, ah_room(sa, data, next_header, seq, version), AH))
    covered = bytearray(packet)
    for at in (1, 6, 7, 8, 10, 11) if version == 4 else (1, 2, 3, 7):
        covered[at] = 0
    at = 20 if version == 4 else 40
    if sa.esn:
        covered += struct.pack(">I", seq >> 32)
    assert sa.icv_len is not None
    icv = hmac.digest(sa.auth_key, covered, by_hand.HASHES[sa.authentication])[: sa.icv_len]
    packet[at + 12 : at + 12 + sa.icv_len] = icv
    return bytes(packet)


def ip(version: int, payload: bytes, proto: int) -> bytes:
    return (ipv4 if version == 4 else ipv6)(payload, proto=proto)


def esp4(sa: SecurityAssociation, data: bytes = b"payload", next_header: int = 253, seq: int = 1) -> bytes:
    """A frame with an IPv4 packet that a peer sent."""
    return frame(ipv4(sealed(sa, data, next_header, seq), proto=ESP))


def in_udp(esp: bytes, dport: int = 4500) -> bytes:
    return udp(esp, dport=dport)


def tcp_segment(version: int, data: bytes, flags: int = 0x18, seq: int = 1000, seed_len: bool = False) -> bytes:
    """A TCP segment between the two ends whose checksum field holds the pseudo-header's sum.

    ``seed_len``: with the length, as a checksum offload wants it; a large send wants it without.
    """
    segment = struct.pack(">HHIIBBHHH", 40000, 80, seq, 77, 5 << 4, flags, 512, 0, 0) + data
    return segment[:16] + struct.pack(">H", pseudo_sum(version, 6, len(segment) if seed_len else 0)) + segment[18:]


def pseudo_sum(version: int, proto: int, length: int) -> int:
    """The pseudo-header's sum, not complemented."""
    ends = ip(version, b"", 6)[12 if version == 4 else 8 :]
    total = sum(struct.unpack(f">{len(ends) // 2}H", ends)) + proto + length
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def l4_sum(version: int, proto: int, segment: bytes) -> int:
    """0 if the checksum of a TCP or UDP segment between the two ends is right."""
    data = segment + bytes(len(segment) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data)) + pseudo_sum(version, proto, len(segment))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


# ---------------------------------------------------------------- the NIC


class Received(NamedTuple):
    """What a receive did to one frame."""

    word: int
    header: int
    frame: bytes


def receive(nic: Datapath, *frames: bytes, **fields: Any) -> list[Received]:
    """Receive frames over words full of old values."""
    batch = NblBatch.from_frames(frames, **fields)
    batch.oob[:] = 0xDEADBEEFDEADBEEF
    nic.receive(batch)
    assert not batch.oob[[0, 2, 3]].any()
    return [
        Received(*words, packet)
        for *words, packet in zip(batch.ipsec.tolist(), batch.header.tolist(), batch.frames.to_packets(), strict=True)
    ]


def send(nic: Datapath, *frames: bytes, handle: int = 0, tunnel: int = 0, **rows: int) -> list[bytes | None]:
    """Send frames, one a list, with the same words; None for one that failed."""
    batch = NblBatch.from_frames(frames)
    batch.ipsec[:] = handle
    batch.tunnel[:] = tunnel
    for name, value in rows.items():
        getattr(batch, name)[:] = value
    result = nic.send(batch)
    out = iter(result.transmitted.to_packets())
    assert set(result.status.tolist()) <= {SUCCESS, FAILURE}
    return [next(out) if status == SUCCESS else None for status in result.status]


def send_one(nic: Datapath, one: bytes, **fields: Any) -> bytes | None:
    (out,) = send(nic, one, **fields)
    return out


def lists(nbls: list[list[bytes]], **rows: Any) -> NblBatch:
    batch = NblBatch.from_frames(nbls)
    for name, value in rows.items():
        getattr(batch, name)[:] = np.array(value, np.uint64)
    return batch


# ---------------------------------------------------------------- scapy


def scapy_sa(sa: SecurityAssociation, seq_hi: int = 0, **fields: Any) -> Any:
    ipsec = scapy_ipsec()
    if sa.protocol == "ah":
        algorithms = {"auth_algo": SCAPY_AUTHENTICATION[sa.authentication], "auth_key": sa.auth_key}
        kind = ipsec.AH
    else:
        family = sa.encryption if sa.encryption in SCAPY_ENCRYPTION else sa.encryption.rpartition("-")[0]
        kind = ipsec.ESP
        algorithms = {
            "crypt_algo": SCAPY_ENCRYPTION[family],
            "crypt_key": sa.enc_key + sa.salt,
            "auth_algo": SCAPY_AUTHENTICATION[sa.authentication],
            "auth_key": sa.auth_key,
        }
    return ipsec.SecurityAssociation(kind, spi=sa.spi, esn_en=sa.esn, esn=seq_hi, **algorithms, **fields)


def scapy_opens(sa: SecurityAssociation, packet: bytes, seq_hi: int = 0, **fields: Any) -> bytes:
    """What scapy makes of an IP packet; raises if the ICV is wrong.  It has no XCBC: then `by_hand` is the judge."""
    if sa.authentication == "AES-XCBC-96":
        at = 20 if packet[0] >> 4 == 4 else 40
        text = by_hand.payload_of(sa, packet[at:], seq_hi)
        return packet[:at] + text[: -2 - text[-2]]
    ipsec = scapy_ipsec()
    read = (ipsec.IP if packet[0] >> 4 == 4 else ipsec.IPv6)(packet)
    if sa.protocol == "ah":
        behind = bytes(read[ipsec.AH].payload)
        read[ipsec.AH].remove_payload()
        read = read / _raw(behind)
    return bytes(scapy_sa(sa, seq_hi, **fields).decrypt(read))


def _raw(data: bytes) -> Any:
    return importlib.import_module("scapy.packet").Raw(data)


def _blind(packet: bytes) -> Any:
    """scapy's IP packet with a payload that it does not look into: with ESP in it, it would sign that instead of AH."""
    ipsec = scapy_ipsec()
    n, layer = ((packet[0] & 15) * 4, ipsec.IP) if packet[0] >> 4 == 4 else (40, ipsec.IPv6)
    return layer(packet[:n]) / _raw(packet[n:])


def scapy_seals(sa: SecurityAssociation, packet: bytes, seq: int = 1, **fields: Any) -> bytes:
    """An IP packet as scapy sends it through an SA."""
    theirs = scapy_sa(sa, seq >> 32, **fields)
    return bytes(theirs.encrypt(_blind(packet), seq_num=seq & 0xFFFFFFFF, esn=seq >> 32 if sa.esn else None))
