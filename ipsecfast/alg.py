"""The algorithms of ESP and AH: one row per name, shared by the core, the reference and the key readers.

``code`` is the number the core knows an algorithm by; sizes are in bytes.  Nothing here computes.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Encryption:
    """One encryption algorithm as ESP uses it (combined-mode ones bring their own ICV)."""

    name: str
    code: int
    rfc: str
    key_len: int
    iv_len: int  # explicit IV on the wire
    block: int = 1  # the plaintext must be a multiple of it
    salt_len: int = 0  # implicit part of the nonce, from the keying material
    icv_lens: tuple[int, ...] = ()  # allowed ICV lengths; the first is the default; () = no ICV
    encrypts: bool = True  # False: NULL and GMAC leave the payload in clear

    @property
    def combined(self) -> bool:
        """True if the algorithm computes the ICV itself (RFC 4303 combined mode)."""
        return bool(self.icv_lens)

    @property
    def align(self) -> int:
        """ESP pads payload and trailer to a multiple of this (RFC 4303 sec. 2.4)."""
        return max(4, self.block)


@dataclass(frozen=True, slots=True)
class Authentication:
    """One separate integrity algorithm."""

    name: str
    code: int
    rfc: str
    key_len: int
    icv_len: int  # the RFC's truncation, and the default
    digest_len: int  # before truncation
    hash_name: str = ""  # of HMAC, as hashlib spells it
    min_icv_len: int = field(default=8)
    iv_len: int = 0  # in front of the ICV, in AH's ICV field (RFC 4543 sec. 4)
    salt_len: int = 0
    ah_only: bool = False  # ESP has it as a combined mode among ENCRYPTION


def _aes(prefix: str, code: int, rfc: str, **fields: object) -> list[Encryption]:
    return [
        Encryption(f"{prefix}-{bits}", code + i, rfc, bits // 8, **fields)  # type: ignore[arg-type]
        for i, bits in enumerate((128, 192, 256))
    ]


_ENCRYPTIONS = [
    Encryption("NULL", 0, "RFC 2410", 0, 0, encrypts=False),
    Encryption("DES-CBC", 1, "RFC 2405", 8, 8, block=8),
    Encryption("3DES-CBC", 2, "RFC 2451", 24, 8, block=8),
    *_aes("AES-CBC", 3, "RFC 3602", iv_len=16, block=16),
    *_aes("AES-CTR", 6, "RFC 3686", iv_len=8, salt_len=4),
    *_aes("AES-GCM", 9, "RFC 4106", iv_len=8, salt_len=4, icv_lens=(16, 12, 8)),
    *_aes("AES-GMAC", 12, "RFC 4543", iv_len=8, salt_len=4, icv_lens=(16,), encrypts=False),
    Encryption("CHACHA20-POLY1305", 15, "RFC 7634", 32, 8, salt_len=4, icv_lens=(16,)),
    *_aes("AES-CCM", 16, "RFC 4309", iv_len=8, salt_len=3, icv_lens=(16, 12, 8)),
]

_AUTHENTICATIONS = [
    Authentication("NONE", 0, "", 0, 0, 0),
    Authentication("HMAC-MD5-96", 1, "RFC 2403", 16, 12, 16, "md5"),
    Authentication("HMAC-SHA1-96", 2, "RFC 2404", 20, 12, 20, "sha1"),
    Authentication("HMAC-SHA256-128", 3, "RFC 4868", 32, 16, 32, "sha256"),
    Authentication("HMAC-SHA384-192", 4, "RFC 4868", 48, 24, 48, "sha384"),
    Authentication("HMAC-SHA512-256", 5, "RFC 4868", 64, 32, 64, "sha512"),
    Authentication("AES-XCBC-96", 6, "RFC 3566", 16, 12, 16),
    Authentication("AES-CMAC-96", 7, "RFC 4494", 16, 12, 16),
    *(
        Authentication(
            f"AES-GMAC-{bits}", 8 + i, "RFC 4543", bits // 8, 16, 16, min_icv_len=16, iv_len=8, salt_len=4, ah_only=True
        )
        for i, bits in enumerate((128, 192, 256))
    ),
]

ENCRYPTION: dict[str, Encryption] = {a.name: a for a in _ENCRYPTIONS}
AUTHENTICATION: dict[str, Authentication] = {a.name: a for a in _AUTHENTICATIONS}
