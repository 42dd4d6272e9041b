"""Known answers for every algorithm, run once when a provider is first used.

Sources: NIST CAVP (CBC, GMAC), RFC 3686 (CTR), Project Wycheproof (GCM), RFC 8439 sec. 2.8.2
(ChaCha20-Poly1305), RFC 2202 and RFC 4231 (HMAC).  Each runs alone and as one of 17, so that every
multi-buffer lane has answered once; both directions, and a wrong tag must be refused.
"""

from __future__ import annotations

from typing import NamedTuple

from .alg import AUTHENTICATION, ENCRYPTION
from .core._crypto import Provider

LANES = 17


class CipherAnswer(NamedTuple):
    """One known answer; all hex."""

    key: str
    nonce: str
    aad: str
    plaintext: str
    ciphertext: str
    tag: str


_GCM_NONCES = "32bcb9b569e3b852d37c766a", "817fe51c31f2879141a34335", "376187894605a8d45e30de51"
_CHACHA_TEXT = (
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
)

CIPHERS = {
    "DES-CBC": CipherAnswer(
        "989dd9341aec9efd",
        "1dad342c0fb3c9b1",
        "",
        "aafe7854d34e6730899599c879dcc28ea0397361b2a19d01",
        "69ceb8567acbac1b47d91802a235c4e9e4d0af894c533759",
        "",
    ),
    "3DES-CBC": CipherAnswer(
        "70a88fa1dfb9942fa77f40157ffef2ad70a88fa1dfb9942f",
        "ece08ce2fdc6ce80",
        "",
        "bc225304d5a3a5c9918fc5006cbc40cc",
        "27f67dc87af7ddb4b68f63fa7c2d454a",
        "",
    ),
    "AES-CBC-128": CipherAnswer(
        "00" * 16, "00" * 16, "", "f34481ec3cc627bacd5dc3fb08f273e6", "0336763e966d92595a567cc9ce537f5e", ""
    ),
    "AES-CBC-192": CipherAnswer(
        "00" * 24, "00" * 16, "", "1b077a6af4b7f98229de786d7516b639", "275cfc0413d8ccb70513c3859b1d0f72", ""
    ),
    "AES-CBC-256": CipherAnswer(
        "00" * 32, "00" * 16, "", "761c1fe41a18acf20d241650611d90f1", "623a52fcea5d443e48d9181ab32c7421", ""
    ),
    "AES-CTR-128": CipherAnswer(
        "ae6852f8121067cc4bf7a5765577f39e",
        "00000030000000000000000000000001",
        "",
        "53696e676c6520626c6f636b206d7367",
        "e4095d4fb7a7b3792d6175a3261311b8",
        "",
    ),
    "AES-CTR-192": CipherAnswer(
        "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515",
        "0000004836733c147d6d93cb00000001",
        "",
        "53696e676c6520626c6f636b206d7367",
        "4b55384fe259c9c84e7935a003cbe928",
        "",
    ),
    "AES-CTR-256": CipherAnswer(
        "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104",
        "00000060db5672c97aa8f0b200000001",
        "",
        "53696e676c6520626c6f636b206d7367",
        "145ad01dbf824ec7560863dc71e3e0c0",
        "",
    ),
    "AES-GCM-128": CipherAnswer(
        "28ff3def08179311e2734c6d1c4e2871",
        _GCM_NONCES[0],
        "c3",
        "dfc61a20df8505b53e3cd59f25770d5018add3d6",
        "f58d453212c2c8a436e9283672f579f119122978",
        "5901131d0760c8715901d881fdfd3bc0",
    ),
    "AES-GCM-192": CipherAnswer(
        "969fed5068541d65418c2c1de8fe1f845e036030496e1272",
        _GCM_NONCES[1],
        "cb",
        "3d8233191a2823bf767e99167b1d4af4f4848458",
        "0d2c3a3c0cc4b40e70ed45e188e356a0e1533b31",
        "92909a80e90540e1878ab59ef300072b",
    ),
    "AES-GCM-256": CipherAnswer(
        "cdccfe3f46d782ef47df4e72f0c02d9c7f774def970d23486f11a57f54247f17",
        _GCM_NONCES[2],
        "956846a209e087ed",
        "e28e0e9f9d22463ac0e42639b530f42102fded75",
        "feca44952447015b5df1f456df8ca4bb4eee2ce2",
        "082e91924deeb77880e1b1c84f9b8d30",
    ),
    "AES-GMAC-128": CipherAnswer(
        "7680c5d3ca6154758e510f4d25b98820",
        "f8f105f9c3df4965780321f8",
        "c94c410194c765e3dcc7964379758ed3",
        "",
        "",
        "94dca8edfcf90bb74b153c8d48a17930",
    ),
    "AES-GMAC-192": CipherAnswer(
        "41c5da8667ef725220ffe39ae0ac590ac9fca729ab60ada0",
        "05ad13a5e2c2ab667e1a6fbc",
        "8b5c124bef6e2f0fe4d8c95cd5fa4cf1",
        "",
        "",
        "204bdb1bd62154bf08922aaa54eed705",
    ),
    "AES-GMAC-256": CipherAnswer(
        "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
        "d79cf22d504cc793c3fb6c8a",
        "b96baa8c1c75a671bfb2d08d06be5f36",
        "",
        "",
        "3e5d486aa2e30b22e040b85723a06e76",
    ),
    "CHACHA20-POLY1305": CipherAnswer(
        bytes(range(0x80, 0xA0)).hex(),
        "070000004041424344454647",
        "50515253c0c1c2c3c4c5c6c7",
        _CHACHA_TEXT.encode().hex(),
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b6116",
        "1ae10b594f09e26a7e902ecbd0600691",
    ),
}

# RFC 2202 sec. 2 and 3, RFC 4231 sec. 4.2, each test case 1: key 0b 0b ..., data "Hi There"
MACS = {
    "HMAC-MD5-96": (16, "9294727a3638bb1c13f48ef8158bfc9d"),
    "HMAC-SHA1-96": (20, "b617318655057264e28bc0b6fb378c8ef146be00"),
    "HMAC-SHA256-128": (20, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    "HMAC-SHA384-192": (
        20,
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
    ),
    "HMAC-SHA512-256": (
        20,
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    ),
}


def _cipher_holds(provider: Provider, name: str, copies: int) -> bool:
    key, nonce, aad, plaintext, ciphertext, tag = (bytes.fromhex(text) for text in CIPHERS[name])
    code = ENCRYPTION[name].code
    sealed = provider.cipher(code, key, True, nonce, aad, plaintext, tag_len=len(tag), copies=copies)
    opened = provider.cipher(code, key, False, nonce, aad, ciphertext, tag=tag, copies=copies)
    if sealed != (ciphertext, tag) or opened != (plaintext, b""):
        return False
    if not tag:
        return True
    forged = tag[:-1] + bytes([tag[-1] ^ 1])
    return provider.cipher(code, key, False, nonce, aad, ciphertext, tag=forged, copies=copies) is None


def _mac_holds(provider: Provider, name: str, copies: int) -> bool:
    key_len, digest = MACS[name]
    want = bytes.fromhex(digest)
    return provider.mac(AUTHENTICATION[name].code, b"\x0b" * key_len, b"Hi There", len(want), copies=copies) == want


def failures(provider: Provider) -> list[str]:
    """Names of the algorithms whose known answer a provider does not give; empty is good."""
    wrong = []
    for copies in (1, LANES):
        wrong += [
            name
            for name, row in ENCRYPTION.items()
            if provider.has_cipher(row.code) and not _cipher_holds(provider, name, copies)
        ]
        wrong += [
            name
            for name, row in AUTHENTICATION.items()
            if provider.has_mac(row.code) and not _mac_holds(provider, name, copies)
        ]
    return list(dict.fromkeys(wrong))
