"""pycryptodome's and the standard library's primitives under the names of :mod:`ipsecfast.crypto`."""

from __future__ import annotations

from typing import Any

from Crypto.Cipher import AES, DES

from ..alg import Authentication
from . import crypto

BytesLike = bytes | bytearray | memoryview


def aead_seal(
    algorithm: str, key: BytesLike, nonce: BytesLike, aad: BytesLike, plaintext: BytesLike, tag_len: int
) -> tuple[bytes, bytes]:
    """(ciphertext, tag)."""
    cipher = crypto.aead(algorithm, bytes(key), bytes(nonce), tag_len)
    cipher.update(bytes(aad))
    ciphertext, tag = cipher.encrypt_and_digest(bytes(plaintext))
    return bytes(ciphertext), bytes(tag)


def aead_open(
    algorithm: str, key: BytesLike, nonce: BytesLike, aad: BytesLike, ciphertext: BytesLike, tag: BytesLike
) -> tuple[bytes, bytes] | None:
    """(plaintext, b""), or None if the tag is wrong."""
    cipher = crypto.aead(algorithm, bytes(key), bytes(nonce), len(tag))
    cipher.update(bytes(aad))
    try:
        return bytes(cipher.decrypt_and_verify(bytes(ciphertext), bytes(tag))), b""
    except ValueError:
        return None


def crypt(algorithm: str, key: BytesLike, iv: BytesLike, data: BytesLike, encrypt: bool) -> bytes:
    """CBC on whole blocks, or CTR from a whole counter block."""
    key, iv, data = bytes(key), bytes(iv), bytes(data)
    if algorithm.startswith("AES-CTR"):
        counter = int.from_bytes(iv[12:], "big")
        return bytes(AES.new(key, AES.MODE_CTR, nonce=iv[:12], initial_value=counter).encrypt(data))
    cipher: Any
    if algorithm == "DES-CBC":
        cipher = DES.new(key, DES.MODE_CBC, iv)
    elif algorithm == "3DES-CBC":
        cipher = crypto.triple_des(key, iv)
    else:
        cipher = AES.new(key, AES.MODE_CBC, iv)
    return bytes(cipher.encrypt(data) if encrypt else cipher.decrypt(data))


def digest(algorithm: Authentication, key: BytesLike, data: BytesLike) -> bytes:
    """The whole digest."""
    return crypto.digest(algorithm, bytes(key), bytes(data))
