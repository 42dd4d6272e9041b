"""``ipsecfast.crypto``: what it refuses, and that every provider gives what plain pycryptodome and hashlib give."""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable
from typing import Any

import by_hand
import pytest
from Crypto.Cipher import AES, DES, DES3, ChaCha20_Poly1305
from helpers import PROVIDERS, H, has, keyed, served
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsecfast import SAD, ProviderError, crypto
from ipsecfast import provider as providing
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
AES_MACS = {"AES-XCBC": 16, "AES-CMAC": 16, "AES-XCBC-96": 12, "AES-CMAC-96": 12}
LENGTHS = [*range(70), 127, 128, 129, 255, 256, 257, 1399, 1500, 9000, 65535, 100_001]

each_provider = pytest.mark.parametrize("provider", PROVIDERS)


def noise(seed: object, length: int) -> bytes:
    """Bytes that look random and are the same in every run."""
    return random.Random(str(seed)).randbytes(length)


def key_of(algorithm: str) -> bytes:
    return noise(algorithm, ENCRYPTION[algorithm].key_len)


def nonce_len(algorithm: str) -> int:
    return 11 if algorithm.startswith("AES-CCM") else 12


# ---------------------------------------------------------------- what the primitives have to give


def aead_by_hand(
    algorithm: str, key: bytes, nonce: bytes, aad: bytes, text: bytes, tag_len: int
) -> tuple[bytes, bytes]:
    aead: Any
    if algorithm == "CHACHA20-POLY1305":
        aead = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    else:
        mode = AES.MODE_CCM if algorithm.startswith("AES-CCM") else AES.MODE_GCM
        aead = AES.new(key, mode, nonce=nonce, mac_len=tag_len)
    aead.update(aad)
    ciphertext, tag = aead.encrypt_and_digest(text)
    return bytes(ciphertext), bytes(tag)


def cbc_by_hand(algorithm: str, key: bytes, iv: bytes, text: bytes) -> bytes:
    module: Any = DES if algorithm == "DES-CBC" else DES3 if algorithm == "3DES-CBC" else AES
    return bytes(module.new(key, module.MODE_CBC, iv).encrypt(text))


@pytest.mark.parametrize(("algorithm", "provider"), served(AEADS))
def test_aead(algorithm: str, provider: str) -> None:
    key = key_of(algorithm)
    for length in LENGTHS:
        sizes = ("n", nonce_len(algorithm)), ("a", length * 7 % 61), ("t", length)
        nonce, aad, text = (noise((what, length), n) for what, n in sizes)
        if algorithm.startswith("AES-GMAC"):
            aad, text = text, b""
        sealed = crypto.aead_seal(algorithm, key, nonce, aad, text, provider=provider)
        assert sealed == aead_by_hand(algorithm, key, nonce, aad, text, 16), length
        assert crypto.aead_open(algorithm, key, nonce, aad, *sealed, provider=provider) == text


@pytest.mark.parametrize(("algorithm", "provider"), served([name for name in AEADS if name.startswith("AES")]))
def test_aead_with_shorter_tags(algorithm: str, provider: str) -> None:
    key, nonce, aad = key_of(algorithm), noise("n", nonce_len(algorithm)), noise("a", 12)
    text = b"" if "GMAC" in algorithm else noise("t", 33)
    for tag_len in range(4, 17, 2 if "CCM" in algorithm else 1):
        sealed = crypto.aead_seal(algorithm, key, nonce, aad, text, tag_len, provider=provider)
        assert sealed == aead_by_hand(algorithm, key, nonce, aad, text, tag_len)
        assert crypto.aead_open(algorithm, key, nonce, aad, *sealed, provider=provider) == text
        wrong = sealed[1][:-1] + bytes((sealed[1][-1] ^ 1,))
        assert crypto.aead_open(algorithm, key, nonce, aad, sealed[0], wrong, provider=provider) is None


@pytest.mark.parametrize(("algorithm", "provider"), served(AEADS))
def test_aead_refuses_what_was_changed(algorithm: str, provider: str) -> None:
    key, nonce, aad = key_of(algorithm), noise("n", nonce_len(algorithm)), noise("a", 20)
    text = b"" if "GMAC" in algorithm else noise("t", 37)
    good = [key, nonce, aad, *crypto.aead_seal(algorithm, key, nonce, aad, text, provider=provider)]
    for i, part in enumerate(good):
        for at in {0, len(part) // 2, len(part) - 1} if part else ():
            changed = [*good[:i], part[:at] + bytes((part[at] ^ 0x10,)) + part[at + 1 :], *good[i + 1 :]]
            assert crypto.aead_open(algorithm, *changed, provider=provider) is None, (i, at)
    assert crypto.aead_open(algorithm, key, nonce, aad[:-1], *good[3:], provider=provider) is None
    assert crypto.aead_open(algorithm, *good, provider=provider) == text


@pytest.mark.parametrize(("algorithm", "provider"), served(CBCS))
def test_cbc(algorithm: str, provider: str) -> None:
    key, block = key_of(algorithm), ENCRYPTION[algorithm].block
    for n_blocks in (*range(40), 93, 94, 512, 4096):
        iv, text = noise(("iv", n_blocks), block), noise(("t", n_blocks), n_blocks * block)
        sealed = crypto.cbc_encrypt(algorithm, key, iv, text, provider=provider)
        assert sealed == cbc_by_hand(algorithm, key, iv, text), n_blocks
        assert crypto.cbc_decrypt(algorithm, key, iv, sealed, provider=provider) == text


@pytest.mark.parametrize(("algorithm", "provider"), served(CTRS))
def test_ctr(algorithm: str, provider: str) -> None:
    key = key_of(algorithm)
    for length in LENGTHS:
        nonce, text, first = noise(("n", length), 12), noise(("t", length), length), 1 + 251 * length
        want = AES.new(key, AES.MODE_CTR, nonce=nonce, initial_value=first).encrypt(text)
        block = nonce + first.to_bytes(4, "big")
        assert crypto.ctr_crypt(algorithm, key, block, text, provider=provider) == want, length
        assert crypto.ctr_crypt(algorithm, key, block, want, provider=provider) == text


@pytest.mark.parametrize(("algorithm", "provider"), served(HMACS))
def test_hmac(algorithm: str, provider: str) -> None:
    name, length = HMACS[algorithm]
    for key_len in (0, 1, 15, 20, 32, 63, 64, 65, 127, 128, 129, 200, 1000):
        for data_len in (0, 1, 7, 55, 56, 63, 64, 65, 111, 112, 127, 128, 1433, 65535):
            key, data = noise(("k", key_len), key_len), noise(("d", data_len), data_len)
            want = hmac.new(key, data, name).digest()[:length]
            assert crypto.hmac(algorithm, key, data, provider=provider) == want, (key_len, data_len)


@pytest.mark.parametrize(("algorithm", "provider"), served(AES_MACS))
def test_aes_macs(algorithm: str, provider: str) -> None:
    key, length = noise(algorithm, 16), AES_MACS[algorithm]
    for data_len in LENGTHS:
        data = noise(("d", data_len), data_len)
        want = by_hand.aes_mac(algorithm, key, data)[:length]
        assert crypto.hmac(algorithm, key, data, provider=provider) == want, data_len


# RFC 3566 sec. 4.6: the key is 00 01 02 ..., and so is the data but in the last case
RFC_3566 = {
    0: "75f0251d528ac01c4573dfd584d79f29",
    3: "5b376580ae2f19afe7219ceef172756f",
    16: "d2a246fa349b68a79998a4394ff7a263",
    20: "47f51b4564966215b8985c63055ed308",
    32: "f54f0ec8d2b9f3d36807734bd5283fd4",
    34: "becbb3bccdb518a30677d5481fb6b4d8",
    1000: "f0dafee895db30253761103b5d84528f",
}
# RFC 4493 sec. 4 (also NIST SP 800-38B); RFC 4494 sec. 4 has the first 12 bytes of the same
RFC_4493_KEY = H("2b7e151628aed2a6abf7158809cf4f3c")
RFC_4493_DATA = H(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
RFC_4493 = {
    0: "bb1d6929e95937287fa37d129b756746",
    16: "070a16b46b4d4144f79bdd9dd04a287c",
    40: "dfa66747de9ae63030ca32611497c827",
    64: "51f0bebf7e3b9d92fc49741779363cfe",
}
# NIST CAVP, CCM, VNT128, VNT192, VNT256: counts 40 and 41, the nonces of 11 bytes; tag behind the ciphertext
CCM_KEYS = {
    "AES-CCM-128": "e6ab9e70a4fb51b01c2e262233e64c0d",
    "AES-CCM-192": "af84c6f302c59aeee6d5728ed5da2e3c64a5a781c52c4d1b",
    "AES-CCM-256": "97bc7482a87ba005475dfa3448f59d4b3f9c4c969d08b39b1b21ef965c0f5125",
}
NIST_CCM = [
    (
        "AES-CCM-128",
        "74e689eb5af9441dd690a6",
        "42f6518ee0fbe42f28e13b4bb2eb60517b37c9744394d9143393a879c3e107c7",
        "ba15916733550d7aa82b2f6b117cd3f54c83ddc16cd0288a",
        "dcc151443288f35d39ed8fae6f0ce1d1eb656f4f7fd65c0b16f322ce85d7c54e71ac560fd4da9651",
    ),
    (
        "AES-CCM-128",
        "eb118fb41284bfcb1bc338",
        "b5a6067fbac46578cfc8d3fe04108588c9de077eb009249374f205553bba9d02",
        "863da00c7accf45418d47c1eda72338734dcc49cd599f328",
        "d64de7a56146b971e21bf5784d67bab32dd837cfb81591da4a0177883346dc896eb39e8a32bc1393",
    ),
    (
        "AES-CCM-192",
        "df990c42a268950677c433",
        "a6ab5d78427f297a4b7e21f1091ff3a5b20caa3fe1cbcb09459d9df596a6c8e1",
        "6db41aeb5f7c24df8929dbc30483b3c7934b3bd1cdce5bb9",
        "8c9328258bf71970d33e23a3ff81cc1c9cbe196a1294264bfd6a7255e4801963bb30a63de3fc5b82",
    ),
    (
        "AES-CCM-192",
        "b7ea72641bbe2dca6d85e7",
        "4e0f2ddf183281ec131693bdcea3fc9743733c07a486a42d5737735b3f6e3fdf",
        "726844e41b1e4d883024b32fee0dcea38c889cb328885b7c",
        "9a133e4582c2ebc445862a9c6f2f4e39223c84081e322c8f262de30da6ef505fe640c53d765f672c",
    ),
    (
        "AES-CCM-256",
        "0bcf78103ec52d6df28887",
        "049c10f0cb37ae08eae2d0766563b7c5a8454f841c2061a4f71a0a2158ae6ce5",
        "b99bf4dc781795fc4d3a8467b06e1665d4e543657f23129f",
        "0d3891fa0caac1f7ebe41b480920ffd34d4155064c24f3b17a483163dd8f228d1f20cd4f86cf38fd",
    ),
    (
        "AES-CCM-256",
        "ab6374c6b2faefd92fa3d3",
        "f19c044023e5cf339203738ee70e76527519763664c06ae00e002a5ba94c32c6",
        "a2e5c51f516db01688b64c173bb25645182a005018022ee1",
        "f70c598df3c64d3527ebb7fc8408b7de2cfaa1da7984ec361f1ad61758d828b70d4881b7d6ae8cd0",
    ),
]


@each_provider
@pytest.mark.parametrize("length", RFC_3566)
def test_xcbc_of_rfc_3566(length: int, provider: str) -> None:
    data = bytes(1000) if length == 1000 else bytes(range(length))
    want = H(RFC_3566[length])
    assert crypto.hmac("AES-XCBC", bytes(range(16)), data, provider=provider) == want
    assert crypto.hmac("AES-XCBC-96", bytes(range(16)), data, provider=provider) == want[:12]


@each_provider
@pytest.mark.parametrize("length", RFC_4493)
def test_cmac_of_rfc_4493(length: int, provider: str) -> None:
    data, want = RFC_4493_DATA[:length], H(RFC_4493[length])
    assert crypto.hmac("AES-CMAC", RFC_4493_KEY, data, provider=provider) == want
    assert crypto.hmac("AES-CMAC-96", RFC_4493_KEY, data, provider=provider) == want[:12]


@pytest.mark.parametrize(("algorithm", "nonce", "aad", "payload", "sealed", "provider"), served(NIST_CCM))
def test_ccm_of_nist(algorithm: str, nonce: str, aad: str, payload: str, sealed: str, provider: str) -> None:
    key, text, tag = H(CCM_KEYS[algorithm]), H(sealed)[:-16], H(sealed)[-16:]
    assert crypto.aead_seal(algorithm, key, H(nonce), H(aad), H(payload), provider=provider) == (text, tag)
    assert crypto.aead_open(algorithm, key, H(nonce), H(aad), text, tag, provider=provider) == H(payload)


@each_provider
@settings(deadline=None)
@given(data=st.data())
def test_anything(data: st.DataObject, provider: str) -> None:
    """Any bytes of any length, in any of the types taken."""
    ciphers = [name for name in (*AEADS, *CBCS, *CTRS) if has(provider, name)]
    algorithm = data.draw(st.sampled_from([*ciphers, *HMACS, *AES_MACS]))
    kind: Callable[[bytes], Any] = data.draw(st.sampled_from([bytes, bytearray, memoryview]))
    text = data.draw(st.binary(max_size=300))
    if algorithm in HMACS:
        key, (name, length) = data.draw(st.binary(max_size=200)), HMACS[algorithm]
        assert crypto.hmac(algorithm, kind(key), kind(text), provider=provider) == hmac.digest(key, text, name)[:length]
        return
    if algorithm in AES_MACS:
        key = data.draw(st.binary(min_size=16, max_size=16))
        want = by_hand.aes_mac(algorithm, key, text)[: AES_MACS[algorithm]]
        assert crypto.hmac(algorithm, kind(key), kind(text), provider=provider) == want
        return
    key = key_of(algorithm)
    if algorithm in AEADS:
        nonce_size = nonce_len(algorithm)
        nonce = data.draw(st.binary(min_size=nonce_size, max_size=nonce_size))
        aad = data.draw(st.binary(max_size=100))
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
        (lambda p: crypto.aead_seal("AES-CCM-128", SECRET, bytes(12), b"", b"", provider=p), "nonce.* 12 .* 11"),
        (lambda p: crypto.aead_seal("AES-CCM-128", SECRET, bytes(11), b"", b"", 9, provider=p), "tag.* 9 .* even"),
        (lambda p: crypto.aead_open("AES-CCM-128", SECRET, bytes(11), b"", b"", bytes(2), provider=p), "tag.* 2 "),
        (lambda p: crypto.hmac("AES-CMAC-96", SECRET * 2, b"", provider=p), "32 bytes.* 16"),
        (lambda p: crypto.hmac("AES-GMAC-128", SECRET, b"", provider=p), "AES-GMAC-128"),
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


def test_an_algorithm_that_the_provider_has_not() -> None:
    """ipsec-mb's CCM takes no key of 192 bits: an error with a name in it, and libcrypto where nobody is named."""
    arguments = "AES-CCM-192", SECRET + SECRET[:8], bytes(11), b"", b"text"
    if not has("ipsec-mb", "AES-CBC-128") or has("ipsec-mb", "AES-CCM-192") or not has("libcrypto", "AES-CCM-192"):
        pytest.skip("needs ipsec-mb without and libcrypto with AES-CCM-192")
    said = r"AES-CCM-192 is not in provider ipsec-mb; see `ipsecfast info`"
    with pytest.raises(ProviderError, match=said):
        crypto.aead_seal(*arguments, provider="ipsec-mb")
    with pytest.raises(ProviderError, match=said):
        SAD(provider="ipsec-mb").add(keyed("AES-CCM-192"), direction="inbound")
    assert crypto.aead_seal(*arguments) == crypto.aead_seal(*arguments, provider="reference")


@pytest.mark.parametrize(("encryption", "authentication"), [("AES-CCM-128", "NONE"), ("NULL", "AES-XCBC-96")])
def test_an_algorithm_that_no_provider_has(
    encryption: str, authentication: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bare:
        def has_cipher(self, code: int) -> bool:
            return False

        has_mac = has_cipher

    sad = SAD()
    monkeypatch.setattr(providing, "_native", lambda: [Bare()])
    missing = encryption if authentication == "NONE" else authentication
    with pytest.raises(ProviderError, match=f"{missing} is not in any provider here"):
        sad.add(keyed(encryption, authentication), direction="outbound")
    assert len(sad) == 0
