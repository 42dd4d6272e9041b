"""Algorithm combinations, and SAs of them with keys that mean nothing."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Any, Literal, NamedTuple

from ...alg import AUTHENTICATION, ENCRYPTION
from ...sa import SecurityAssociation

Mode = Literal["tunnel", "transport"]

ADDRESSES = {
    4: tuple(ipaddress.ip_address(f"192.0.2.{i}") for i in range(1, 5)),
    6: tuple(ipaddress.ip_address(f"2001:db8::{i}") for i in range(1, 5)),
}
SEQ32, SEQ64 = 1 << 32, 1 << 64


class Suite(NamedTuple):
    """The algorithms of an SA, named as in :mod:`ipsecfast.alg`; ``icv_len`` in bytes, None is the default."""

    encryption: str
    authentication: str
    icv_len: int | None = None
    protocol: Literal["esp", "ah"] = "esp"

    @property
    def iv_len(self) -> int:
        """Bytes of IV on the wire."""
        return AUTHENTICATION[self.authentication].iv_len or ENCRYPTION[self.encryption].iv_len

    @property
    def algorithms(self) -> set[str]:
        """Both names, without NONE."""
        return {self.encryption, self.authentication} - {"NONE"}

    @property
    def has_icv(self) -> bool:
        """False for encryption alone, whose packets nobody can tell from forged ones."""
        return ENCRYPTION[self.encryption].combined or self.authentication != "NONE"

    def __str__(self) -> str:
        return f"{self.protocol}/{self.encryption}/{self.authentication}/{self.icv_len}"


def _esp_suites() -> tuple[Suite, ...]:
    suites = []
    auths = [a for a in AUTHENTICATION.values() if not a.ah_only]
    for enc in ENCRYPTION.values():
        if enc.combined:
            suites += [Suite(enc.name, "NONE", n) for n in enc.icv_lens]
            continue
        suites += [Suite(enc.name, auth.name) for auth in auths if enc.encrypts or auth.code]
    cut = [Suite("AES-CBC-128", a.name, n) for a in auths if a.code for n in (8, a.digest_len)]
    return (*suites, *cut)


def _ah_suites() -> tuple[Suite, ...]:
    suites = []
    for auth in AUTHENTICATION.values():
        if auth.code:
            lengths = {None} if auth.ah_only else {None, 8, 9, auth.digest_len}
            suites += [Suite("NULL", auth.name, n, "ah") for n in sorted(lengths, key=lambda n: n or 0)]
    return tuple(suites)


ESP_SUITES = _esp_suites()
AH_SUITES = _ah_suites()
SUITES = ESP_SUITES + AH_SUITES


def filler(seed: int, length: int) -> bytes:
    """Bytes that mean nothing, the same for the same seed."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(length)


def make_sa(suite: Suite, seed: int = 0, **fields: Any) -> SecurityAssociation:
    """An SA of these algorithms, its keys made from ``seed``; ``fields`` are SecurityAssociation's.

    Without them: SPI 0x1000, tunnel mode from 192.0.2.1 to 192.0.2.2.
    """
    enc, auth = ENCRYPTION[suite.encryption], AUTHENTICATION[suite.authentication]
    salt_len = auth.salt_len or enc.salt_len
    material = filler(seed, enc.key_len + salt_len + auth.key_len)
    keys: dict[str, Any] = {
        "enc_key": material[: enc.key_len],
        "salt": material[enc.key_len : enc.key_len + salt_len],
        "auth_key": material[enc.key_len + salt_len :],
    }
    fields = {"spi": 0x1000, "src": ADDRESSES[4][0], "dst": ADDRESSES[4][1], **fields}
    return SecurityAssociation(
        protocol=suite.protocol,
        allow_reserved_spi=True,
        encryption=enc.name,
        authentication=auth.name,
        icv_len=suite.icv_len,
        allow_unauthenticated=not suite.has_icv,
        **keys,
        **fields,
    )
