"""A cell is one thing that is measured: who does the work, on which packets, in batches of what.

Two cells may be compared where they differ in nothing but what the comparison is about; `results` sees to it.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, fields
from functools import cache
from hashlib import shake_128
from io import BytesIO
from typing import Any, Literal

from ipsecfast import SecurityAssociation
from ipsecfast.alg import AUTHENTICATION, ENCRYPTION

Direction = Literal["encapsulate", "decapsulate"]
DIRECTIONS: tuple[Direction, ...] = ("encapsulate", "decapsulate")

# name here -> (encryption, authentication) of an SA
ALGORITHMS = {
    "AES-128-GCM": ("AES-GCM-128", "NONE"),
    "AES-256-GCM": ("AES-GCM-256", "NONE"),
    "AES-128-GMAC": ("AES-GMAC-128", "NONE"),
    "AES-CBC-128+SHA1": ("AES-CBC-128", "HMAC-SHA1-96"),
    "AES-CBC-256+SHA256": ("AES-CBC-256", "HMAC-SHA256-128"),
    "CHACHA20-POLY1305": ("CHACHA20-POLY1305", "NONE"),
    "NULL+SHA1": ("NULL", "HMAC-SHA1-96"),
    "NULL+SHA256": ("NULL", "HMAC-SHA256-128"),
}
# bytes behind the IP header of the packet in clear
SIZES = {"64": (64,), "256": (256,), "IMIX": (64,) * 7 + (594,) * 4 + (1500,), "1420": (1420,), "9000": (9000,)}
BATCHES = (1, 8, 32, 256, 4096)
SAS = (1, 64, 1024, 16384, 1_000_000)
# "esn" to "ipv6" are transport mode; "ah" is RFC 4302 in transport mode
MODES = ("transport", "tunnel", "ipv6", "natt", "esn", "ah")


class LeftOut(Exception):
    """This cell can't be measured here; the text says why."""


@dataclass(frozen=True)
class Cell:
    """One column of figures.

    who : ipsecfast; crypto (the bare calls of a library, on the same bytes); c-loop (a minimal ESP in C over the
        same calls); or a peer: librte_ipsec, cryptography, pycryptodome, reference, scapy.
    provider : the library below: ipsec-mb, libcrypto; "auto" is ipsecfast's own choice; "" a peer's own.
    packets : under work in one lap; few stay in the cache.
    cold : the caches are emptied before every lap of either direction.
    """

    who: str
    provider: str
    algorithm: str = "AES-128-GCM"
    mode: str = "transport"
    size: str = "64"
    batch: int = 256
    sas: int = 1
    threads: int = 1
    packets: int = 256
    cold: bool = False

    def __str__(self) -> str:
        return "-".join(str(value) for value in asdict(self).values() if value not in ("", False))

    @property
    def name(self) -> str:
        """Who, and over what."""
        return f"{self.who}, {self.provider}" if self.provider else self.who

    @property
    def payload_bits(self) -> float:
        """Of an average packet: what lies behind its IP header in clear."""
        mix = SIZES[self.size]
        return 8 * sum(mix) / len(mix)

    def differs(self, other: Cell) -> set[str]:
        """The names of the fields in which two cells differ."""
        return {f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)}


def cell_of(values: dict[str, Any]) -> Cell:
    """The cell that a result file describes."""
    return Cell(**values)


@cache
def _spis(n: int) -> list[int]:
    return random.Random(n).sample(range(256, 1 << 32), n)


def spi_of(i: int, n: int) -> int:
    """The SPI of SA i of n: drawn at random, as peers draw them, but the same every time."""
    return _spis(n)[i]


def security_association(cell: Cell, spi: int = 0x1000) -> SecurityAssociation:
    """An SA of the cell's kind, with keys that are the same every time; raises LeftOut where it can't be made."""
    encryption, authentication = ALGORITHMS[cell.algorithm]
    if cell.mode == "ah" and "GMAC" in encryption:  # where it is the integrity algorithm (RFC 4543 sec. 9)
        encryption, authentication = "NULL", encryption
    if authentication not in AUTHENTICATION:
        raise LeftOut(f"authentication: {authentication} is not there")
    salt_len = 4 if "GMAC" in authentication else ENCRYPTION[encryption].salt_len
    octets = BytesIO(shake_128(spi.to_bytes(8, "big")).digest(128))
    wide = cell.mode == "ipv6"
    settings: dict[str, Any] = {
        "protocol": "ah" if cell.mode == "ah" else "esp",
        "mode": "tunnel" if cell.mode == "tunnel" else "transport",
        "src": "2001:db8::1" if wide else "192.0.2.1",
        "dst": "2001:db8::2" if wide else "192.0.2.2",
        "esn": cell.mode == "esn",
        "udp_encap": (4500, 4500) if cell.mode == "natt" else None,
    }
    try:
        return SecurityAssociation(
            spi=spi,
            **settings,
            encryption=encryption,
            enc_key=octets.read(ENCRYPTION[encryption].key_len),
            salt=octets.read(salt_len),
            authentication=authentication,
            auth_key=octets.read(AUTHENTICATION[authentication].key_len),
        )
    except ValueError as error:
        raise LeftOut(str(error)) from None
