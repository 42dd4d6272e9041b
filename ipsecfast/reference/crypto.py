"""What an SA's algorithms do to one packet, by pycryptodome and the standard library's HMAC.

XCBC, which neither has, is a few lines over pycryptodome's AES.

No IP headers, no padding, no windows here: ``seal`` and ``open_payload`` take the 8 bytes of ESP
header, the IV and the payload with its trailer, ``ah_icv`` the bytes that AH covers.
RFC 4303 sec. 3.3.2 and 3.4.4, RFC 4302 sec. 3.3.3.
"""

from __future__ import annotations

import hmac
from typing import Any, cast

from Crypto.Cipher import AES, DES, DES3, ChaCha20_Poly1305
from Crypto.Hash import CMAC

from ..alg import Authentication, Encryption
from ..sa import SecurityAssociation


def one_pass(alg: Encryption) -> bool:
    """True for AEADs that decrypt while they check: a forged packet has been decrypted by then."""
    return alg.combined and alg.encrypts


def icv_len(sa: SecurityAssociation) -> int:
    """Bytes of ICV on the wire: SecurityAssociation has put the default where None stood."""
    return cast(int, sa.icv_len)


def iv_len(sa: SecurityAssociation) -> int:
    """Bytes of IV on the wire, in front of ESP's payload or of AH's ICV."""
    return sa.auth_alg.iv_len or sa.enc_alg.iv_len


def seal(sa: SecurityAssociation, header: bytes, seq_hi: int, iv: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """Return (ciphertext, ICV) of a payload which includes padding and trailer."""
    alg = sa.enc_alg
    if one_pass(alg):
        aead = _aead(sa, iv)
        aead.update(_aad(sa, header, seq_hi))
        ciphertext, icv = aead.encrypt_and_digest(payload)
        return bytes(ciphertext), bytes(icv)
    ciphertext = bytes(_cipher(sa, iv).encrypt(payload)) if alg.encrypts else payload
    return ciphertext, _icv(sa, header, seq_hi, iv, ciphertext)


def open_payload(
    sa: SecurityAssociation, header: bytes, seq_hi: int, iv: bytes, ciphertext: bytes, icv: bytes
) -> bytes | None:
    """Return the payload with its trailer, or None if the ICV is wrong."""
    alg = sa.enc_alg
    if one_pass(alg):
        aead = _aead(sa, iv)
        aead.update(_aad(sa, header, seq_hi))
        try:
            return bytes(aead.decrypt_and_verify(ciphertext, icv))
        except ValueError:
            return None
    if not hmac.compare_digest(_icv(sa, header, seq_hi, iv, ciphertext), icv):
        return None
    return bytes(_cipher(sa, iv).decrypt(ciphertext)) if alg.encrypts else ciphertext


def ah_icv(sa: SecurityAssociation, seq_hi: int, iv: bytes, covered: bytes) -> bytes:
    """The ICV of an AH SA over the bytes that :func:`ipsecfast.reference.ah.covered` gives."""
    if not sa.auth_alg.iv_len:
        return _mac(sa, seq_hi, covered)
    # RFC 4543 sec. 4: all that AH covers, its own IV with it, is AAD.
    gmac = AES.new(sa.auth_key, AES.MODE_GCM, nonce=sa.salt + iv, mac_len=icv_len(sa))
    gmac.update(covered + _seq_hi_of(sa, seq_hi))
    return bytes(gmac.digest())


def _aad(sa: SecurityAssociation, header: bytes, seq_hi: int) -> bytes:
    # RFC 4106 sec. 5, RFC 4309 sec. 5: SPI, then 32 or 64 bits of sequence number.
    return header[:4] + _seq_hi_of(sa, seq_hi) + header[4:]


def _icv(sa: SecurityAssociation, header: bytes, seq_hi: int, iv: bytes, ciphertext: bytes) -> bytes:
    if sa.enc_alg.combined:
        # RFC 4543 sec. 3.3: GMAC authenticates the IV as well, and the payload is in the AAD.
        gmac = _aead(sa, iv)
        gmac.update(_aad(sa, header, seq_hi) + iv + ciphertext)
        return bytes(gmac.digest())
    return _mac(sa, seq_hi, header + iv + ciphertext) if sa.auth_alg.code else b""


def _mac(sa: SecurityAssociation, seq_hi: int, data: bytes) -> bytes:
    """The separate ICV of an SA, ESP's or AH's."""
    data += _seq_hi_of(sa, seq_hi)
    return digest(sa.auth_alg, sa.auth_key, data)[: icv_len(sa)]


def _seq_hi_of(sa: SecurityAssociation, seq_hi: int) -> bytes:
    # RFC 4303 sec. 2.2.1, RFC 4302 sec. 2.5.1: the high half is authenticated behind the packet, but not sent.
    return seq_hi.to_bytes(4, "big") if sa.esn else b""


def digest(alg: Authentication, key: bytes, data: bytes) -> bytes:
    """The whole digest of a separate integrity algorithm, before it is cut to the ICV."""
    if alg.name == "AES-CMAC-96":
        return CMAC.new(key, data, ciphermod=AES).digest()
    if alg.name == "AES-XCBC-96":
        return _xcbc(key, data)
    return hmac.digest(key, data, alg.hash_name)


def _xcbc(key: bytes, data: bytes) -> bytes:
    # RFC 3566 sec. 4: CBC under K1; the last block is XORed with K2, or padded and XORed with K3.
    k1, k2, k3 = (AES.new(key, AES.MODE_ECB).encrypt(bytes((i,)) * 16) for i in (1, 2, 3))
    front, last = data[: (len(data) - 1) // 16 * 16], data[(len(data) - 1) // 16 * 16 :]
    mask = k2 if len(last) == 16 else k3
    padded = last if len(last) == 16 else (last + b"\x80").ljust(16, b"\0")
    block = bytes(a ^ b for a, b in zip(padded, mask, strict=True))
    return bytes(AES.new(k1, AES.MODE_CBC, bytes(16)).encrypt(front + block)[-16:])


def aead(algorithm: str, key: bytes, nonce: bytes, tag_len: int) -> Any:
    """A combined-mode cipher object of pycryptodome."""
    if algorithm == "CHACHA20-POLY1305":
        return ChaCha20_Poly1305.new(key=key, nonce=nonce)
    mode = AES.MODE_CCM if algorithm.startswith("AES-CCM") else AES.MODE_GCM
    return AES.new(key, mode, nonce=nonce, mac_len=tag_len)


def _aead(sa: SecurityAssociation, iv: bytes) -> Any:
    # RFC 4106 sec. 4, RFC 4309 sec. 4, RFC 4543 sec. 3.2, RFC 7634 sec. 2: the nonce is salt, then IV.
    return aead(sa.encryption, sa.enc_key, sa.salt + iv, icv_len(sa))


def _cipher(sa: SecurityAssociation, iv: bytes) -> Any:
    name, key = sa.encryption, sa.enc_key
    if name == "DES-CBC":
        return DES.new(key, DES.MODE_CBC, iv)
    if name == "3DES-CBC":
        return triple_des(key, iv)
    if name.startswith("AES-CTR"):
        # RFC 3686 sec. 4: the counter block is nonce, IV and a 32-bit counter from 1.
        return AES.new(key, AES.MODE_CTR, nonce=sa.salt + iv, initial_value=1)
    return AES.new(key, AES.MODE_CBC, iv)


def triple_des(key: bytes, iv: bytes) -> Any:
    # pycryptodome refuses K1 = K2 and K2 = K3 (parity aside), where one DES is left of three.
    k1, k2, k3 = (bytes(b & 0xFE for b in key[i : i + 8]) for i in (0, 8, 16))
    if k1 == k2:
        return DES.new(k3, DES.MODE_CBC, iv)
    if k2 == k3:
        return DES.new(k1, DES.MODE_CBC, iv)
    return DES3.new(key, DES3.MODE_CBC, iv)
