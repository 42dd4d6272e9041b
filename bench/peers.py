"""Other implementations of ESP in Python, one packet a call.

Each is given what suits it: scapy packets that are parsed already, the others bytes.  All check the ICV
and the padding; scapy looks for no replays.
"""

from __future__ import annotations

import importlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any, Protocol

from cells import Cell, LeftOut, security_association
from flow import Lap
from packets import checksum, clear_packets

from ipsecfast import SecurityAssociation
from ipsecfast.reference import ReferenceTable, decapsulate, encapsulate


class Peer(Protocol):
    """Lists of packets in, lists of packets out."""

    def load(self, clear: Sequence[bytes]) -> list[Any]: ...
    def encapsulate(self, clear: Sequence[Any]) -> list[Any]: ...
    def decapsulate(self, protected: Sequence[Any]) -> list[Any]: ...


class Scapy:
    """scapy.layers.ipsec."""

    def __init__(self, sa: SecurityAssociation) -> None:
        from scapy.layers.inet import IP
        from scapy.layers.ipsec import ESP
        from scapy.layers.ipsec import SecurityAssociation as ScapySA

        self._parse: Any = IP
        make: Any = ScapySA
        self._sa = make(
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
    """ipsecfast.reference: the model of the tests, plain Python over pycryptodome."""

    def __init__(self, sa: SecurityAssociation) -> None:
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
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:]


class Loop(ABC):
    """A plain loop over a library's AES-GCM: transport mode, one SA, a window of 64, IPv4 without options."""

    # nonce, text or what was sealed, associated data
    seal: Callable[[bytes, bytes, bytes], bytes]
    open: Callable[[bytes, bytes, bytes], bytes]

    def __init__(self, sa: SecurityAssociation) -> None:
        self._spi, self._salt = sa.spi, sa.salt
        self._seq = self._top = self._seen = 0
        self.set_key(sa.enc_key)

    @abstractmethod
    def set_key(self, key: bytes) -> None:
        """Take the key, and see to `seal` and `open`."""

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
        sealed = self.seal(self._salt + iv, text, esp)
        return _ipv4(packet, 36 + len(sealed), 50) + esp + iv + sealed

    def _unprotect(self, packet: bytes) -> bytes:
        spi, seq = struct.unpack_from(">II", packet, 20)
        behind = self._top - seq
        if spi != self._spi or behind >= 64 or (behind >= 0 and self._seen >> behind & 1):
            raise ValueError("no SA, or a replay")
        text = self.open(self._salt + packet[28:36], packet[36:], packet[20:28])
        if behind < 0:
            self._seen, self._top = (self._seen << -behind | 1) & (2**64 - 1), seq
        else:
            self._seen |= 1 << behind
        end = len(text) - 2 - text[-2]
        if end < 0 or text[end:-2] != bytes(range(1, text[-2] + 1)):
            raise ValueError("bad padding")
        return _ipv4(packet, 20 + end, text[-1]) + text[:end]


class Cryptography(Loop):
    """Over cryptography's AESGCM."""

    def set_key(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        aead = AESGCM(key)
        self.seal, self.open = aead.encrypt, aead.decrypt


class PyCryptodome(Loop):
    """Over pycryptodome's, which wants a new object for every message."""

    def set_key(self, key: bytes) -> None:
        from Crypto.Cipher import AES

        self._new, self._mode, self._key = AES.new, AES.MODE_GCM, key

    def seal(self, nonce: bytes, text: bytes, aad: bytes) -> bytes:
        cipher = self._new(self._key, self._mode, nonce=nonce)
        cipher.update(aad)
        return b"".join(cipher.encrypt_and_digest(text))

    def open(self, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        cipher = self._new(self._key, self._mode, nonce=nonce)
        cipher.update(aad)
        text: bytes = cipher.decrypt_and_verify(sealed[:-16], sealed[-16:])
        return text


# how a peer is called here: what must be importable, and what runs
PEERS: dict[str, tuple[str, Any]] = {
    "scapy": ("scapy.layers.ipsec", Scapy),
    "reference": ("Crypto.Cipher.AES", Reference),
    "pycryptodome": ("Crypto.Cipher.AES", PyCryptodome),
    "cryptography": ("cryptography.hazmat.primitives.ciphers.aead", Cryptography),
}


class PeerWork:
    """A peer at a cell's packets."""

    pid = None

    def __init__(self, cell: Cell) -> None:
        module, make = PEERS[cell.who]
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise LeftOut(f"{cell.who}: {error}") from None
        if issubclass(make, Loop) and cell.algorithm != "AES-128-GCM":
            raise LeftOut(f"{cell.who}: this loop is AES-GCM alone")
        if (cell.mode, cell.sas, cell.batch, cell.threads) != ("transport", 1, 1, 1):
            raise LeftOut(f"{cell.who}: one packet a call, one SA, transport mode")
        self.cell = cell
        self.clear = clear_packets(cell)
        self._peer: Peer = make(security_association(cell))
        self._loaded = self._peer.load(self.clear)
        self._protected: list[Any] = []

    def encapsulate(self) -> int:
        self._protected = self._peer.encapsulate(self._loaded)
        return len(self._protected)

    def decapsulate(self) -> int:
        return len(self._peer.decapsulate(self._protected))

    def lap(self) -> Lap:
        start = perf_counter_ns()
        self.encapsulate()
        middle = perf_counter_ns()
        self.decapsulate()
        return middle - start, perf_counter_ns() - middle

    def verify(self) -> None:
        self.encapsulate()
        if [bytes(packet) for packet in self._peer.decapsulate(self._protected)] != self.clear:
            raise RuntimeError(f"{self.cell}: the packets came back changed")

    def close(self) -> None:
        self._loaded, self._protected = [], []
