"""The primitives one call at a time, for self-tests and known answers: the datapath's own code.

Not a crypto library for applications: no key management, no nonce discipline.  ``provider`` names one;
None is the fastest that is here.  Where the named provider can't meet an input that no packet has (a key
longer than the hash's block, an empty message), the other one may serve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from . import provider as providing
from .alg import AUTHENTICATION, ENCRYPTION, Authentication, Encryption
from .core._crypto import Provider
from .errors import ProviderError

BytesLike = bytes | bytearray | memoryview
_T = TypeVar("_T")


def _integrity() -> dict[str, Authentication]:
    """The names that `hmac` takes: IPsec's, and those of whole digests."""
    rows = [a for a in AUTHENTICATION.values() if a.code and not a.ah_only]
    return {a.name: a for a in rows} | {a.name.rpartition("-")[0]: a for a in rows}


_INTEGRITY = _integrity()
_LONGEST = 65000  # bytes in one call of ipsec-mb's jobs; no packet has more


def _octets(name: str, value: BytesLike) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name}: got {type(value).__name__}, wanted bytes")
    return bytes(value)


def _cipher(algorithm: str, prefixes: tuple[str, ...], key: BytesLike) -> Encryption:
    row = ENCRYPTION.get(algorithm)
    if row is None or not algorithm.startswith(prefixes):
        names = ", ".join(name for name in ENCRYPTION if name.startswith(prefixes))
        raise ValueError(f"algorithm: got {algorithm!r}, wanted one of {names}")
    if len(key) != row.key_len:
        raise ValueError(f"key: got {len(key)} bytes, {algorithm} wants {row.key_len}")
    return row


def _length(name: str, value: BytesLike, wanted: int) -> None:
    if len(value) != wanted:
        raise ValueError(f"{name}: got {len(value)} bytes, wanted {wanted}")


def _serve(
    row: Encryption | Authentication,
    provider: str | None,
    size: int,
    native: Callable[[Provider], _T],
    model: Callable[[Any], _T],
) -> _T:
    """Run on the provider asked for: native, or the pure Python model (also for what no packet has)."""
    name = providing.wanted(provider)
    if name != "reference":
        serving = providing.find(row, name)
        if serving.name != "ipsec-mb" or size <= _LONGEST:
            return native(serving)
    from .reference import primitives  # pycryptodome takes a while to load: only when asked for

    result: _T = model(primitives)
    return result


_AEADS = ("AES-GCM", "AES-GMAC", "AES-CCM", "CHACHA20")
_CCM_AAD = 46  # bytes of AAD in ipsec-mb's CCM; ESP has 8 or 12


def aead_seal(
    algorithm: str,
    key: BytesLike,
    nonce: BytesLike,
    aad: BytesLike,
    plaintext: BytesLike,
    tag_len: int = 16,
    *,
    provider: str | None = None,
) -> tuple[bytes, bytes]:
    """Encrypt: (ciphertext, tag).  ``nonce`` is 12 bytes, with AES-CCM 11: salt then IV in ESP's case (RFC 4106
    sec. 4, RFC 4309 sec. 4).

    AES-GMAC authenticates ``aad`` and takes no plaintext.  Raises ValueError for wrong sizes.
    """
    key, nonce, aad = _octets("key", key), _octets("nonce", nonce), _octets("aad", aad)
    plaintext = _octets("plaintext", plaintext)
    row = _aead(algorithm, key, nonce, tag_len, plaintext)
    sealed: tuple[bytes, bytes] | None = _serve(
        row,
        provider,
        _size(row, aad, plaintext),
        lambda p: p.cipher(row.code, key, True, nonce, aad, plaintext, tag_len=tag_len),
        lambda slow: slow.aead_seal(algorithm, key, nonce, aad, plaintext, tag_len),
    )
    if sealed is None:
        raise ProviderError(f"the crypto library refused to encrypt with {algorithm}")
    return sealed


def aead_open(
    algorithm: str,
    key: BytesLike,
    nonce: BytesLike,
    aad: BytesLike,
    ciphertext: BytesLike,
    tag: BytesLike,
    *,
    provider: str | None = None,
) -> bytes | None:
    """Check the tag and decrypt: the plaintext, or None if the tag is wrong.  Sizes as in :func:`aead_seal`."""
    key, nonce, aad = _octets("key", key), _octets("nonce", nonce), _octets("aad", aad)
    ciphertext, tag = _octets("ciphertext", ciphertext), _octets("tag", tag)
    row = _aead(algorithm, key, nonce, len(tag), ciphertext)
    opened = _serve(
        row,
        provider,
        _size(row, aad, ciphertext),
        lambda p: p.cipher(row.code, key, False, nonce, aad, ciphertext, tag=tag),
        lambda slow: slow.aead_open(algorithm, key, nonce, aad, ciphertext, tag),
    )
    return None if opened is None else opened[0]


def _aead(algorithm: str, key: BytesLike, nonce: BytesLike, tag_len: int, text: BytesLike) -> Encryption:
    row = _cipher(algorithm, _AEADS, key)
    _length("nonce", nonce, row.salt_len + row.iv_len)
    shortest = 4 if row.name.startswith("AES") else 16  # NIST SP 800-38C, 38D; ESP itself uses 8, 12 and 16
    step = 2 if row.name.startswith("AES-CCM") else 1
    if tag_len not in range(shortest, 17, step):
        even = ", an even number" if step == 2 else ""
        raise ValueError(f"tag: got {tag_len} bytes, {algorithm} wants {shortest} to 16{even}")
    if not row.encrypts and len(text):
        raise ValueError(f"text: got {len(text)} bytes, {algorithm} takes everything as aad")
    return row


def _size(row: Encryption, aad: BytesLike, text: BytesLike) -> int:
    """Bytes of text as ipsec-mb is asked about them: too many where it can't take the AAD."""
    return _LONGEST + 1 if row.name.startswith("AES-CCM") and len(aad) > _CCM_AAD else len(text)


def cbc_encrypt(
    algorithm: str, key: BytesLike, iv: BytesLike, data: BytesLike, *, provider: str | None = None
) -> bytes:
    """Encrypt whole blocks, no padding added.  Raises ValueError for wrong sizes."""
    return _cbc(algorithm, key, iv, data, True, provider)


def cbc_decrypt(
    algorithm: str, key: BytesLike, iv: BytesLike, data: BytesLike, *, provider: str | None = None
) -> bytes:
    """Decrypt whole blocks, padding left in place.  Raises ValueError for wrong sizes."""
    return _cbc(algorithm, key, iv, data, False, provider)


def _cbc(algorithm: str, key: BytesLike, iv: BytesLike, data: BytesLike, encrypt: bool, provider: str | None) -> bytes:
    key, iv, data = _octets("key", key), _octets("iv", iv), _octets("data", data)
    row = _cipher(algorithm, ("DES-CBC", "3DES-CBC", "AES-CBC"), key)
    _length("iv", iv, row.block)
    if len(data) % row.block:
        raise ValueError(f"data: got {len(data)} bytes, wanted a multiple of {row.block}")
    if not len(data):
        return b""
    return _crypt(row, key, iv, data, encrypt, provider)


def ctr_crypt(
    algorithm: str, key: BytesLike, counter_block: BytesLike, data: BytesLike, *, provider: str | None = None
) -> bytes:
    """Encrypt or decrypt; ``counter_block`` is the first 16-byte block (RFC 3686: nonce, IV, 00000001).

    What follows a counter of ffffffff in its last 4 bytes is the library's matter: no packet gets there.
    """
    key, counter_block, data = _octets("key", key), _octets("counter_block", counter_block), _octets("data", data)
    row = _cipher(algorithm, ("AES-CTR",), key)
    _length("counter_block", counter_block, 16)
    return _crypt(row, key, counter_block, data, True, provider) if len(data) else b""


def _crypt(
    row: Encryption, key: BytesLike, iv: BytesLike, data: BytesLike, encrypt: bool, provider: str | None
) -> bytes:
    done = _serve(
        row,
        provider,
        len(data),
        lambda p: p.cipher(row.code, key, encrypt, iv, b"", data),
        lambda slow: (slow.crypt(row.name, key, iv, data, encrypt), b""),
    )
    if done is None:
        raise ProviderError(f"the crypto library refused to work with {row.name}")
    return done[0]


def hmac(algorithm: str, key: BytesLike, data: BytesLike, *, provider: str | None = None) -> bytes:
    """HMAC with a key of any length, or AES-XCBC or AES-CMAC with one of 16 bytes.

    Cut to IPsec's length for the names of the algorithm table (``HMAC-SHA1-96``, ``AES-CMAC-96``), the whole digest
    for ``HMAC-MD5``, ``HMAC-SHA1``, ``HMAC-SHA256``, ``HMAC-SHA384``, ``HMAC-SHA512``, ``AES-XCBC`` and
    ``AES-CMAC``.  Raises ValueError for another name or length of key.
    """
    row = _INTEGRITY.get(algorithm)
    if row is None:
        raise ValueError(f"algorithm: got {algorithm!r}, wanted one of {', '.join(_INTEGRITY)}")
    key, data = _octets("key", key), _octets("data", data)
    if not row.hash_name and len(key) != row.key_len:
        raise ValueError(f"key: got {len(key)} bytes, {algorithm} wants {row.key_len}")
    # no packet is empty and no IPsec key longer than a block: ipsec-mb's burst does not take them
    block = 128 if row.digest_len > 32 else 64
    odd = len(key) > block or not data
    digest: bytes = _serve(
        row,
        provider,
        _LONGEST + 1 if odd else len(data),
        lambda p: _digest(p, row, key, data),
        lambda slow: slow.digest(row, key, data),
    )
    return digest[: row.icv_len] if algorithm in AUTHENTICATION else digest


def _digest(provider: Provider, row: Authentication, key: BytesLike, data: BytesLike) -> bytes:
    digest = provider.mac(row.code, key, data, row.digest_len)
    if digest is None:
        raise ProviderError(f"the crypto library refused to work with {row.name}")
    return digest
