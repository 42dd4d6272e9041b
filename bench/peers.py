"""Other implementations of ESP in Python, one packet a call.

Each is given what suits it: scapy packets that are parsed already, the others bytes.  All check the ICV
and the padding; scapy looks for no replays.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from common import security_association

from ipsecfast.reference import ReferenceTable, decapsulate, encapsulate


class Scapy:
    """scapy.layers.ipsec."""

    def __init__(self, algorithm: str) -> None:
        from scapy.layers.inet import IP
        from scapy.layers.ipsec import ESP
        from scapy.layers.ipsec import SecurityAssociation as ScapySA

        sa = security_association(algorithm)
        self._parse = IP
        self._sa = ScapySA(
            ESP,
            spi=sa.spi,
            crypt_algo="AES-GCM" if sa.enc_alg.combined else "AES-CBC",
            crypt_key=sa.enc_key + sa.salt,
            auth_algo="NULL" if sa.enc_alg.combined else sa.authentication,
            auth_key=sa.auth_key,
        )

    def load(self, clear: Sequence[bytes]) -> list[Any]:
        return [self._parse(packet) for packet in clear]

    def encapsulate(self, clear: Sequence[Any]) -> list[Any]:
        return [self._sa.encrypt(packet) for packet in clear]

    def decapsulate(self, protected: Sequence[Any]) -> list[Any]:
        return [self._sa.decrypt(packet) for packet in protected]


class Reference:
    """ipsecfast.reference: plain Python over pycryptodome."""

    def __init__(self, algorithm: str) -> None:
        sa = security_association(algorithm)
        self._tx, self._rx = ReferenceTable(), ReferenceTable()
        self._handle = self._tx.add(sa, "outbound")
        self._rx.add(sa, "inbound")

    def load(self, clear: Sequence[bytes]) -> list[bytes]:
        return list(clear)

    def encapsulate(self, clear: Sequence[bytes]) -> list[Any]:
        return [encapsulate(self._tx, packet, self._handle).packet for packet in clear]

    def decapsulate(self, protected: Sequence[bytes]) -> list[Any]:
        return [decapsulate(self._rx, packet).packet for packet in protected]


def _ipv4(old: bytes, length: int, proto: int) -> bytes:
    """The header with a new length, protocol and checksum."""
    header = struct.pack(">2sH5sB2x8s", old[:2], length, old[4:9], proto, old[12:20])
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack(">H", (total + (total >> 16)) & 0xFFFF ^ 0xFFFF) + header[12:]


class Cryptography:
    """A plain loop over cryptography's AESGCM: transport mode, one SA, a window of 64, IPv4 without options."""

    def __init__(self, algorithm: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        sa = security_association(algorithm)
        self._spi, self._salt = sa.spi, sa.salt
        self._aead = AESGCM(sa.enc_key)
        self._seq = self._top = self._seen = 0

    def load(self, clear: Sequence[bytes]) -> list[bytes]:
        return list(clear)

    def encapsulate(self, clear: Sequence[bytes]) -> list[bytes]:
        return [self._protect(packet) for packet in clear]

    def decapsulate(self, protected: Sequence[bytes]) -> list[bytes]:
        return [self._unprotect(packet) for packet in protected]

    def _protect(self, packet: bytes) -> bytes:
        self._seq += 1
        esp, iv = struct.pack(">II", self._spi, self._seq), struct.pack(">Q", self._seq)
        pad_len = -(len(packet) - 20 + 2) % 4
        text = packet[20:] + bytes(range(1, pad_len + 1)) + bytes((pad_len, packet[9]))
        sealed = self._aead.encrypt(self._salt + iv, text, esp)
        return _ipv4(packet, 36 + len(sealed), 50) + esp + iv + sealed

    def _unprotect(self, packet: bytes) -> bytes:
        spi, seq = struct.unpack_from(">II", packet, 20)
        behind = self._top - seq
        if spi != self._spi or behind >= 64 or (behind >= 0 and self._seen >> behind & 1):
            raise ValueError("no SA, or a replay")
        text = self._aead.decrypt(self._salt + packet[28:36], packet[36:], packet[20:28])
        if behind < 0:
            self._seen, self._top = (self._seen << -behind | 1) & (2**64 - 1), seq
        else:
            self._seen |= 1 << behind
        end = len(text) - 2 - text[-2]
        if end < 0 or text[end:-2] != bytes(range(1, text[-2] + 1)):
            raise ValueError("bad padding")
        return _ipv4(packet, 20 + end, text[-1]) + text[:end]
