"""``ipsecfast.crypto``: what it refuses, and that every provider gives what plain pycryptodome and hashlib give."""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable
from typing import Any

import pytest
from Crypto.Cipher import AES, DES, DES3, ChaCha20_Poly1305
from helpers import PROVIDERS
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsecfast import crypto
from ipsecfast.alg import ENCRYPTION

AEADS = [name for name, row in ENCRYPTION.items() if row.combined]
CBCS = [name for name in ENCRYPTION if "CBC" in name]
CTRS = [name for name in ENCRYPTION if "CTR" in name]
HMACS = {
    "HMAC-MD5": ("md5", 16),
    "HMAC-SHA1": ("sha1", 20),
    "HMAC-SHA256": ("sha256", 32),
    "HMAC-SHA384": ("sha384", 48),
    "HMAC-SHA512": ("sha512", 64),
    "HMAC-MD5-96": ("md5", 12),
    "HMAC-SHA1-96": ("sha1", 12),
    "HMAC-SHA256-128": ("sha256", 16),
    "HMAC-SHA384-192": ("sha384", 24),
    "HMAC-SHA512-256": ("sha512", 32),
}
LENGTHS = [*range(70), 127, 128, 129, 255, 256, 257, 1399, 1500, 9000, 65535, 100_001]

each_provider = pytest.mark.parametrize("provider", PROVIDERS)


def noise(seed: object, length: int) -> bytes:
    """Bytes that look random and are the same in every run."""
    return random.Random(str(seed)).randbytes(length)


def key_of(algorithm: str) -> bytes:
    return noise(algorithm, ENCRYPTION[algorithm].key_len)


# ---------------------------------------------------------------- what the primitives have to give


def aead_by_hand(
    algorithm: str, key: bytes, nonce: bytes, aad: bytes, text: bytes, tag_len: int
) -> tuple[bytes, bytes]:
    aead: Any
    if algorithm == "CHACHA20-POLY1305":
        aead = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    else:
        aead = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=tag_len)
    aead.update(aad)
    ciphertext, tag = aead.encrypt_and_digest(text)
    return bytes(ciphertext), bytes(tag)


def cbc_by_hand(algorithm: str, key: bytes, iv: bytes, text: bytes) -> bytes:
    module: Any = DES if algorithm == "DES-CBC" else DES3 if algorithm == "3DES-CBC" else AES
    return bytes(module.new(key, module.MODE_CBC, iv).encrypt(text))


@each_provider
@pytest.mark.parametrize("algorithm", AEADS)
def test_aead(algorithm: str, provider: str) -> None:
    key = key_of(algorithm)
    for length in LENGTHS:
        nonce, aad, text = (noise((what, length), n) for what, n in (("n", 12), ("a", length * 7 % 61), ("t", length)))
        if algorithm.startswith("AES-GMAC"):
            aad, text = text, b""
        sealed = crypto.aead_seal(algorithm, key, nonce, aad, text, provider=provider)
        assert sealed == aead_by_hand(algorithm, key, nonce, aad, text, 16), length
        assert crypto.aead_open(algorithm, key, nonce, aad, *sealed, provider=provider) == text


@each_provider
@pytest.mark.parametrize("algorithm", [name for name in AEADS if name.startswith("AES")])
def test_aead_with_shorter_tags(algorithm: str, provider: str) -> None:
    key, nonce, aad = key_of(algorithm), noise("n", 12), noise("a", 12)
    text = b"" if "GMAC" in algorithm else noise("t", 33)
    for tag_len in range(4, 17):
        sealed = crypto.aead_seal(algorithm, key, nonce, aad, text, tag_len, provider=provider)
        assert sealed == aead_by_hand(algorithm, key, nonce, aad, text, tag_len)
        assert crypto.aead_open(algorithm, key, nonce, aad, *sealed, provider=provider) == text
        wrong = sealed[1][:-1] + bytes((sealed[1][-1] ^ 1,))
        assert crypto.aead_open(algorithm, key, nonce, aad, sealed[0], wrong, provider=provider) is None


@each_provider
@pytest.mark.parametrize("algorithm", AEADS)
def test_aead_refuses_what_was_changed(algorithm: str, provider: str) -> None:
    key, nonce, aad = key_of(algorithm), noise("n", 12), noise("a", 20)
    text = b"" if "GMAC" in algorithm else noise("t", 37)
    good = [key, nonce, aad, *crypto.aead_seal(algorithm, key, nonce, aad, text, provider=provider)]
    for i, part in enumerate(good):
        for at in {0, len(part) // 2, len(part) - 1} if part else ():
            changed = [*good[:i], part[:at] + bytes((part[at] ^ 0x10,)) + part[at + 1 :], *good[i + 1 :]]
            assert crypto.aead_open(algorithm, *changed, provider=provider) is None, (i, at)
    assert crypto.aead_open(algorithm, key, nonce, aad[:-1], *good[3:], provider=provider) is None
    assert crypto.aead_open(algorithm, *good, provider=provider) == text


@each_provider
@pytest.mark.parametrize("algorithm", CBCS)
def test_cbc(algorithm: str, provider: str) -> None:
    key, block = key_of(algorithm), ENCRYPTION[algorithm].block
    for n_blocks in (*range(40), 93, 94, 512, 4096):
        iv, text = noise(("iv", n_blocks), block), noise(("t", n_blocks), n_blocks * block)
        sealed = crypto.cbc_encrypt(algorithm, key, iv, text, provider=provider)
        assert sealed == cbc_by_hand(algorithm, key, iv, text), n_blocks
        assert crypto.cbc_decrypt(algorithm, key, iv, sealed, provider=provider) == text


@each_provider
@pytest.mark.parametrize("algorithm", CTRS)
def test_ctr(algorithm: str, provider: str) -> None:
    key = key_of(algorithm)
    for length in LENGTHS:
        nonce, text, first = noise(("n", length), 12), noise(("t", length), length), 1 + 251 * length
        want = AES.new(key, AES.MODE_CTR, nonce=nonce, initial_value=first).encrypt(text)
        block = nonce + first.to_bytes(4, "big")
        assert crypto.ctr_crypt(algorithm, key, block, text, provider=provider) == want, length
        assert crypto.ctr_crypt(algorithm, key, block, want, provider=provider) == text


@each_provider
@pytest.mark.parametrize("algorithm", HMACS)
def test_hmac(algorithm: str, provider: str) -> None:
    name, length = HMACS[algorithm]
    for key_len in (0, 1, 15, 20, 32, 63, 64, 65, 127, 128, 129, 200, 1000):
        for data_len in (0, 1, 7, 55, 56, 63, 64, 65, 111, 112, 127, 128, 1433, 65535):
            key, data = noise(("k", key_len), key_len), noise(("d", data_len), data_len)
            want = hmac.new(key, data, name).digest()[:length]
            assert crypto.hmac(algorithm, key, data, provider=provider) == want, (key_len, data_len)


@each_provider
@settings(deadline=None)
@given(data=st.data())
def test_anything(data: st.DataObject, provider: str) -> None:
    """Any bytes of any length, in any of the types taken."""
    algorithm = data.draw(st.sampled_from([*AEADS, *CBCS, *CTRS, *HMACS]))
    kind: Callable[[bytes], Any] = data.draw(st.sampled_from([bytes, bytearray, memoryview]))
    text = data.draw(st.binary(max_size=300))
    if algorithm in HMACS:
        key, (name, length) = data.draw(st.binary(max_size=200)), HMACS[algorithm]
        assert crypto.hmac(algorithm, kind(key), kind(text), provider=provider) == hmac.digest(key, text, name)[:length]
        return
    key = key_of(algorithm)
    if algorithm in AEADS:
        nonce, aad = data.draw(st.binary(min_size=12, max_size=12)), data.draw(st.binary(max_size=100))
        text = b"" if "GMAC" in algorithm else text
        sealed = crypto.aead_seal(algorithm, kind(key), kind(nonce), kind(aad), kind(text), provider=provider)
        assert sealed == aead_by_hand(algorithm, key, nonce, aad, text, 16)
        opened = crypto.aead_open(algorithm, kind(key), kind(nonce), kind(aad), *map(kind, sealed), provider=provider)
        assert opened == text
    elif algorithm in CBCS:
        block = ENCRYPTION[algorithm].block
        iv, text = data.draw(st.binary(min_size=block, max_size=block)), text[: len(text) // block * block]
        sealed_text = crypto.cbc_encrypt(algorithm, kind(key), kind(iv), kind(text), provider=provider)
        assert sealed_text == cbc_by_hand(algorithm, key, iv, text)
        assert crypto.cbc_decrypt(algorithm, kind(key), kind(iv), kind(sealed_text), provider=provider) == text
    else:
        start = data.draw(st.binary(min_size=12, max_size=12))
        want = AES.new(key, AES.MODE_CTR, nonce=start, initial_value=1).encrypt(text)
        counter = kind(start + b"\0\0\0\1")
        assert crypto.ctr_crypt(algorithm, kind(key), counter, kind(text), provider=provider) == want


# ---------------------------------------------------------------- what they refuse

Call = Callable[[str], object]
SECRET = bytes(range(0xC1, 0xD1))


@each_provider
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda p: crypto.aead_seal("AES-GCM-129", SECRET, bytes(12), b"", b"", provider=p), "AES-GCM-129"),
        (lambda p: crypto.aead_seal("AES-CBC-128", SECRET, bytes(12), b"", b"", provider=p), "AES-CBC-128"),
        (lambda p: crypto.aead_open("HMAC-SHA1", SECRET, bytes(12), b"", b"", bytes(16), provider=p), "HMAC-SHA1"),
        (lambda p: crypto.cbc_encrypt("AES-GCM-128", SECRET, bytes(16), b"", provider=p), "AES-GCM-128"),
        (lambda p: crypto.cbc_decrypt("AES-CBC", SECRET, bytes(16), b"", provider=p), "'AES-CBC'"),
        (lambda p: crypto.ctr_crypt("AES-CBC-128", SECRET, bytes(16), b"", provider=p), "AES-CBC-128"),
        (lambda p: crypto.hmac("HMAC-SHA1-97", SECRET, b"", provider=p), "HMAC-SHA1-97"),
        (lambda p: crypto.hmac("SHA1", SECRET, b"", provider=p), "SHA1"),
        (lambda p: crypto.hmac("HMAC-", SECRET, b"", provider=p), "HMAC-"),
        (lambda p: crypto.hmac("NONE", SECRET, b"", provider=p), "NONE"),
        (lambda p: crypto.aead_seal("AES-GCM-256", SECRET, bytes(12), b"", b"", provider=p), "16 bytes.* 32"),
        (lambda p: crypto.cbc_encrypt("3DES-CBC", SECRET, bytes(8), b"", provider=p), "16 bytes.* 24"),
        (lambda p: crypto.cbc_encrypt("DES-CBC", b"", bytes(8), b"", provider=p), "0 bytes.* 8"),
        (lambda p: crypto.ctr_crypt("AES-CTR-192", SECRET, bytes(16), b"", provider=p), "16 bytes.* 24"),
        (lambda p: crypto.aead_seal("AES-GCM-128", SECRET, bytes(11), b"", b"", provider=p), "nonce.* 11 .* 12"),
        (lambda p: crypto.aead_open("AES-GCM-128", SECRET, bytes(16), b"", b"", bytes(16), provider=p), "nonce.* 16 "),
        (lambda p: crypto.aead_seal("AES-GCM-128", SECRET, bytes(12), b"", b"", 3, provider=p), "tag.* 3 .* 4 to 16"),
        (lambda p: crypto.aead_seal("AES-GCM-128", SECRET, bytes(12), b"", b"", 17, provider=p), "tag.* 17 "),
        (lambda p: crypto.aead_open("AES-GCM-128", SECRET, bytes(12), b"", b"", b"", provider=p), "tag.* 0 "),
        (lambda p: crypto.aead_seal("CHACHA20-POLY1305", SECRET * 2, bytes(12), b"", b"", 12, provider=p), "tag.* 12 "),
        (lambda p: crypto.aead_seal("AES-GMAC-128", SECRET, bytes(12), b"", b"x", provider=p), "1 bytes.* aad"),
        (lambda p: crypto.cbc_encrypt("AES-CBC-128", SECRET, bytes(8), b"", provider=p), "iv.* 8 .* 16"),
        (lambda p: crypto.cbc_encrypt("AES-CBC-128", SECRET, bytes(16), bytes(17), provider=p), "17 .*multiple of 16"),
        (lambda p: crypto.cbc_decrypt("DES-CBC", SECRET[:8], bytes(8), bytes(4), provider=p), "4 .*multiple of 8"),
        (lambda p: crypto.ctr_crypt("AES-CTR-128", SECRET, bytes(12), b"", provider=p), "counter_block.* 12 .* 16"),
    ],
)
def test_wrong_values(call: Call, said: str, provider: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        call(provider)
    assert SECRET.hex() not in str(caught.value) and repr(SECRET)[2:-1] not in str(caught.value)


@each_provider
@pytest.mark.parametrize(
    "call",
    [
        lambda p: crypto.aead_seal("AES-GCM-128", "k" * 16, bytes(12), b"", b"", provider=p),
        lambda p: crypto.aead_seal("AES-GCM-128", SECRET, "n" * 12, b"", b"", provider=p),
        lambda p: crypto.aead_seal("AES-GCM-128", SECRET, bytes(12), "a", b"", provider=p),
        lambda p: crypto.aead_seal("AES-GCM-128", SECRET, bytes(12), b"", "text", provider=p),
        lambda p: crypto.aead_seal("AES-GCM-128", SECRET, bytes(12), b"", None, provider=p),
        lambda p: crypto.aead_open("AES-GCM-128", SECRET, bytes(12), b"", b"", "t" * 16, provider=p),
        lambda p: crypto.cbc_encrypt("AES-CBC-128", SECRET, bytes(16), "x" * 16, provider=p),
        lambda p: crypto.cbc_encrypt("AES-CBC-128", SECRET, "i" * 16, bytes(16), provider=p),
        lambda p: crypto.ctr_crypt("AES-CTR-128", SECRET, bytes(16), ["x"], provider=p),
        lambda p: crypto.hmac("HMAC-SHA1", "key", b"data", provider=p),
        lambda p: crypto.hmac("HMAC-SHA1", b"key", "data", provider=p),
        lambda p: crypto.hmac("HMAC-SHA1", b"key", 5, provider=p),
    ],
)
def test_wrong_types(call: Call, provider: str) -> None:
    with pytest.raises(TypeError):
        call(provider)


def test_provider_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(**kw: str) -> bytes:
        return crypto.hmac("HMAC-SHA1", b"key", b"data", **kw)

    want = hmac.digest(b"key", b"data", "sha1")
    assert digest() == want
    with pytest.raises(ValueError, match=r"'openssl', wanted one of ipsec-mb, libcrypto, reference"):
        digest(provider="openssl")
    monkeypatch.setenv("IPSECFAST_PROVIDER", "openssl")
    with pytest.raises(ValueError, match="'openssl'"):
        digest()
    assert digest(provider="reference") == want
    monkeypatch.setenv("IPSECFAST_PROVIDER", "reference")
    assert digest() == want
