"""Does a provider compute rightly?  Asked once, when it is first used.

Each published result of `known_answers` by itself, in both directions.  Then groups in one call, as batches make
them: published results and others beside them, no two of a group alike, so that lanes that take each other's keys or
give each other's results do not go unseen.  The others' results are what the same operation gave by itself.  Wrong
tags among right ones must be refused, and they alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .alg import AUTHENTICATION, ENCRYPTION, Authentication, Encryption
from .known_answers import CIPHERS, MACS

# Packets in a call: for few packets and for many there are different ways through a library, and the widest of them
# has 16 lanes.
GROUPS = (2, 7, 17)

CipherOperation = tuple[bytes, bytes, bytes, bytes, bytes | int]
MacOperation = tuple[bytes, bytes, int]
Sealed = tuple[bytes, bytes]


class Provider(Protocol):
    """What is asked of a provider: `ipsecfast.core._crypto.Provider`'s calls."""

    def has_cipher(self, code: int) -> bool: ...
    def has_mac(self, code: int) -> bool: ...
    def ciphers(self, code: int, encrypt: bool, operations: Sequence[CipherOperation]) -> list[Sealed | None]: ...
    def macs(self, code: int, operations: Sequence[MacOperation]) -> list[bytes | None]: ...


def _turned(octets: bytes, n: int) -> bytes:
    """Other bytes of the same length."""
    n %= max(1, len(octets))
    return octets[n:] + octets[:n]


def _published(row: Encryption) -> list[tuple[CipherOperation, Sealed]]:
    found: list[tuple[CipherOperation, Sealed]] = []
    for answer in CIPHERS[row.name]:
        key, nonce, aad, plaintext, ciphertext, tag = map(bytes.fromhex, answer)
        found.append(((key, nonce, aad, plaintext, len(tag)), (ciphertext, tag)))
    return found


def _more(row: Encryption, published: CipherOperation, n: int) -> CipherOperation:
    """The n-th operation beside a published one: another key, nonce, length, and for an AEAD another tag length."""
    key, nonce, aad, plaintext, tag_len = published
    length = row.block * (1 + 7 * n % 17) if row.block > 1 else 1 + 29 * n % 101
    text = (_turned(plaintext or aad, n) * 101)[:length]
    if row.combined:
        tag_len = row.icv_lens[n % len(row.icv_lens)]
    if not row.encrypts:
        return _turned(key, n), _turned(nonce, n), text, b"", tag_len
    return _turned(key, n), _turned(nonce, n), aad[: 8 + n % 2 * 4], text, tag_len


def _forged(sealed: Sequence[Sealed], n: int) -> Sealed:
    text, tag = sealed[n]
    return text, tag[:-1] + bytes((tag[-1] ^ 1,))


def _cipher_holds(provider: Provider, row: Encryption) -> bool:
    known = _published(row)
    operations, sealed = [o for o, _ in known], [s for _, s in known]
    for operation, wanted in known:
        if provider.ciphers(row.code, True, [operation]) != [wanted]:
            return False
    for n in range(1, max(GROUPS) - len(known) + 1):
        operation = _more(row, known[n % len(known)][0], n)
        (alone,) = provider.ciphers(row.code, True, [operation])
        if alone is None:
            return False
        operations.append(operation)
        sealed.append(alone)
    plain = [(text, b"") for _, _, _, text, _ in operations]

    def opened(tampered: range, n: int) -> list[Sealed | None]:
        given = [_forged(sealed, i) if i in tampered else sealed[i] for i in range(n)]
        calls = [(*operation[:3], *each) for operation, each in zip(operations, given, strict=False)]
        return provider.ciphers(row.code, False, calls)

    for n in (1, *GROUPS):
        if provider.ciphers(row.code, True, operations[:n]) != sealed[:n] or opened(range(0), n) != plain[:n]:
            return False
        for first in range(3) if row.combined else ():
            tampered = range(first, n, 3)
            if opened(tampered, n) != [None if i in tampered else plain[i] for i in range(n)]:
                return False
    return True


def _mac_holds(provider: Provider, row: Authentication) -> bool:
    known = [tuple(map(bytes.fromhex, answer)) for answer in MACS[row.name]]
    operations = [(key, data, row.digest_len) for key, data, _ in known]
    digests: list[bytes | None] = [digest for _, _, digest in known]
    for operation, wanted in zip(operations, digests, strict=True):
        if provider.macs(row.code, [operation]) != [wanted]:
            return False
    for n in range(1, max(GROUPS) - len(known) + 1):
        _, data, _ = known[n % len(known)]
        key = bytes(range(n, n + row.key_len))
        operations.append((key, (_turned(data, n) * 101)[: 1 + 29 * n % 101], row.digest_len))
        digests += provider.macs(row.code, operations[-1:])
    return None not in digests and all(provider.macs(row.code, operations[:n]) == digests[:n] for n in GROUPS)


def failures(provider: Provider) -> list[str]:
    """Names of the algorithms for which a provider does not hold; empty is good."""
    wrong = [r.name for r in ENCRYPTION.values() if provider.has_cipher(r.code) and not _cipher_holds(provider, r)]
    return wrong + [r.name for r in AUTHENTICATION.values() if provider.has_mac(r.code) and not _mac_holds(provider, r)]
