"""SecurityAssociation: one SA as a user states it, checked once, unchangeable afterwards."""

from __future__ import annotations

import ipaddress
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal

from .alg import AUTHENTICATION, ENCRYPTION, Authentication, Encryption

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressLike = str | Address

MAX_REPLAY_WINDOW = 4096


def _choice(name: str, got: object, wanted: tuple[str, ...]) -> None:
    if got not in wanted:
        raise ValueError(f"{name}: got {got!r}, wanted one of {', '.join(wanted)}")


def _integer(name: str, got: object, low: int, high: int) -> int:
    if isinstance(got, bool) or not isinstance(got, int):
        raise TypeError(f"{name}: got {type(got).__name__}, wanted an int")
    if not low <= got <= high:
        raise ValueError(f"{name}: got {got}, wanted {low} to {high}")
    return got


def _flag(name: str, got: object) -> bool:
    if not isinstance(got, bool):
        raise TypeError(f"{name}: got {type(got).__name__}, wanted True or False")
    return got


def _octets(name: str, got: object, length: int, algorithm: str) -> bytes:
    # Texts of these errors must not show the bytes: they are keys.
    if not isinstance(got, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name}: got {type(got).__name__}, wanted bytes")
    value = bytes(got)
    if len(value) != length:
        raise ValueError(f"{name}: got {len(value)} bytes, {algorithm} wants {length}")
    return value


def _address(name: str, got: AddressLike | None) -> Address | None:
    if got is None or isinstance(got, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return got
    if not isinstance(got, str):
        raise TypeError(f"{name}: got {type(got).__name__}, wanted str or an ipaddress object")
    return ipaddress.ip_address(got)


@dataclass(frozen=True, kw_only=True, repr=False)
class SecurityAssociation:
    """One ESP or AH security association (RFC 4301 sec. 4.4.2.1).

    Parameters
    ----------
    spi : 256 to 2**32-1 (RFC 4303 sec. 2.1 forbids 0 on the wire and reserves 1 to 255, which are taken with
        ``allow_reserved_spi=True`` alone: test traffic has them).
    protocol : ``"esp"`` or ``"ah"``; AH has ``encryption="NULL"`` and an authentication, no UDP and no TFC padding.
    mode : ``"tunnel"``, ``"transport"``, or ``"any"``: inbound only, a decrypted packet with next
        header 4 or 41 is taken as a tunnel's (for key lists that do not tell).
    src, dst : str or ipaddress object; the IP header in front of ESP or AH.  inbound, ``dst=None``
        matches every destination, and ``src`` is compared with ``match_src`` alone; outbound tunnels need both.
    encryption, authentication : names of :mod:`ipsecfast.alg`.
    enc_key, auth_key, salt : bytes, as long as the algorithm wants; ``salt`` is the part of the
        keying material that goes into the nonce (with AH, of AES-GMAC as authentication).
    icv_len : bytes; ``None`` is the algorithm's default.  A separate integrity algorithm may be
        cut down to 8 bytes or left as long as its digest.
    esn : extended (64 bit) sequence numbers (RFC 4303 sec. 2.2.1).
    replay_window : packets, 0 to 4096; 0 is off.
    udp_encap : (sport, dport) of RFC 3948, or a mapping with these names, or None.
    allow_unauthenticated : permits encryption without an ICV, which an attacker can alter at will.
    ttl, df, copy_dscp, ecn, flow_label : outer header of an outbound tunnel (RFC 4301 sec. 5.1.2);
        ``df`` is ``"copy"``, ``"set"`` or ``"clear"``; ``flow_label`` an int or ``"copy"``.
        ``ecn`` is RFC 6040 in both directions; False sends Not-ECT and ignores outer marks.
    decap_dscp : inbound tunnels copy the outer DSCP inward.
    tfc_pad_to : bytes; outbound tunnels pad shorter inner packets up to it (RFC 4303 sec. 2.7).
    ah_align : 4 or 8; outbound AH headers are padded to a multiple of it.  None is 4 over IPv4 and 8 over IPv6
        (RFC 4302 sec. 2.6); Linux sends 8 over both.  Inbound both are taken.
    strict_padding : inbound padding must be 1, 2, 3, ... (RFC 4303 sec. 2.4).
    match_src : inbound lookup compares ``src`` too; such an SA is preferred to one by SPI and destination,
        and that to one with ``dst=None`` (RFC 4301 sec. 4.1).
    allow_reserved_spi : permits SPIs 1 to 255; :meth:`from_dict` does where nothing else is said.

    Raises TypeError or ValueError for anything out of place; no text ever shows a key.
    """

    spi: int
    protocol: Literal["esp", "ah"] = "esp"
    mode: Literal["tunnel", "transport", "any"] = "tunnel"
    src: AddressLike | None = None
    dst: AddressLike | None = None
    encryption: str = "NULL"
    enc_key: bytes = field(default=b"")
    salt: bytes = field(default=b"")
    authentication: str = "NONE"
    auth_key: bytes = field(default=b"")
    icv_len: int | None = None
    esn: bool = False
    replay_window: int = 64
    udp_encap: tuple[int, int] | None = None
    allow_unauthenticated: bool = False
    ttl: int = 64
    df: Literal["copy", "set", "clear"] = "copy"
    copy_dscp: bool = True
    ecn: bool = True
    decap_dscp: bool = False
    flow_label: int | Literal["copy"] = 0
    tfc_pad_to: int | None = None
    ah_align: int | None = None
    strict_padding: bool = True
    match_src: bool = False
    allow_reserved_spi: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        _integer("spi", self.spi, 1, 0xFFFFFFFF)
        if self.spi < 256 and not self.allow_reserved_spi:
            raise ValueError(f"spi: got {self.spi}, wanted 256 or more: 1 to 255 need allow_reserved_spi=True")
        _choice("protocol", self.protocol, ("esp", "ah"))
        _choice("mode", self.mode, ("tunnel", "transport", "any"))
        _choice("df", self.df, ("copy", "set", "clear"))
        for name in ("src", "dst"):
            put(name, _address(name, getattr(self, name)))
        if self.src is not None and self.dst is not None and self.src.version != self.dst.version:  # type: ignore[union-attr]
            raise ValueError(f"src and dst: got {self.src} and {self.dst}, wanted one family")
        for name in _FLAGS:
            _flag(name, getattr(self, name))
        if self.match_src and (self.src is None or self.dst is None):
            raise ValueError("match_src: wanted src and dst with it")
        _integer("replay_window", self.replay_window, 0, MAX_REPLAY_WINDOW)
        _integer("ttl", self.ttl, 1, 255)
        if self.flow_label != "copy":
            _integer("flow_label", self.flow_label, 0, 0xFFFFF)
        if self.tfc_pad_to is not None:
            _integer("tfc_pad_to", self.tfc_pad_to, 0, 65535)
            if self.mode != "tunnel":
                raise ValueError(
                    f"tfc_pad_to: got mode {self.mode}, wanted tunnel: a transport payload need not tell its length"
                )
        put("udp_encap", _udp_encap(self.udp_encap))
        if self.ah_align is not None and _integer("ah_align", self.ah_align, 4, 8) not in (4, 8):
            raise ValueError(f"ah_align: got {self.ah_align}, wanted 4, 8 or None")
        if self.protocol == "ah":
            self._check_ah()
        self._check_algorithms(put)

    def _check_ah(self) -> None:
        for name in ("udp_encap", "tfc_pad_to"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name}: got a value, wanted None: AH has no such thing")
        if self.encryption != "NULL":
            raise ValueError(f"encryption: got {reprlib.repr(self.encryption)}, wanted NULL: AH does not encrypt")
        if self.authentication == "NONE":
            raise ValueError("authentication: got NONE, wanted an integrity algorithm: AH is nothing else")
        if self.ah_align == 4 and any(a is not None and a.version == 6 for a in (self.src, self.dst)):  # type: ignore[union-attr]
            raise ValueError("ah_align: got 4, wanted 8 or None: over IPv6 AH is a multiple of 8 (RFC 4302 sec. 2.2)")

    def _check_algorithms(self, put: Callable[[str, Any], None]) -> None:
        enc, auth = self.enc_alg, self.auth_alg
        put("enc_key", _octets("enc_key", self.enc_key, enc.key_len, enc.name))
        salted = auth if auth.salt_len else enc
        put("salt", _octets("salt", self.salt, salted.salt_len, salted.name))
        if auth.ah_only and self.protocol != "ah":
            raise ValueError(f"authentication: got {auth.name} with ESP, wanted it as encryption (RFC 4543 sec. 3)")
        put("auth_key", _octets("auth_key", self.auth_key, auth.key_len, auth.name))
        if self.icv_len is not None:
            _integer("icv_len", self.icv_len, 0, 64)
        if enc.combined:
            if auth.code:
                raise ValueError(f"authentication: got {auth.name}, wanted NONE: {enc.name} has its own ICV")
            icv_len = enc.icv_lens[0] if self.icv_len is None else self.icv_len
            if icv_len not in enc.icv_lens:
                raise ValueError(f"icv_len: got {icv_len}, {enc.name} wants one of {sorted(enc.icv_lens)}")
        elif auth.code:
            icv_len = auth.icv_len if self.icv_len is None else self.icv_len
            _integer("icv_len", icv_len, auth.min_icv_len, auth.digest_len)
        else:
            icv_len = 0 if self.icv_len is None else self.icv_len
            if icv_len:
                raise ValueError(f"icv_len: got {icv_len}, wanted 0: no integrity algorithm")
            if not enc.encrypts:
                raise ValueError(
                    "authentication: got NONE with encryption NULL, wanted at least one of the two (RFC 4301 sec. 3.2)"
                )
            if not self.allow_unauthenticated:
                raise ValueError(
                    f"authentication: got NONE, {enc.name} without an ICV needs allow_unauthenticated=True"
                )
        put("icv_len", icv_len)

    @property
    def enc_alg(self) -> Encryption:
        """The row of :data:`ipsecfast.alg.ENCRYPTION`."""
        try:
            return ENCRYPTION[self.encryption]
        except (KeyError, TypeError):
            raise ValueError(
                f"encryption: got {reprlib.repr(self.encryption)}, wanted one of {', '.join(ENCRYPTION)}"
            ) from None

    @property
    def auth_alg(self) -> Authentication:
        """The row of :data:`ipsecfast.alg.AUTHENTICATION`."""
        try:
            return AUTHENTICATION[self.authentication]
        except (KeyError, TypeError):
            raise ValueError(
                f"authentication: got {reprlib.repr(self.authentication)}, wanted one of {', '.join(AUTHENTICATION)}"
            ) from None

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> SecurityAssociation:
        """Make an SA from the JSON form: keys and salt as hex, addresses as text.

        Fields that are no part of an SA (``seq``, ``seq_hi``, ``layer``, ``selector``, ...) are
        ignored.  Raises ValueError or TypeError, naming the field.
        """
        if not isinstance(d, Mapping):
            raise TypeError(f"SA: got {type(d).__name__}, wanted an object with the SA's fields")
        if "spi" not in d:
            raise ValueError("spi: missing")
        kw = {"allow_reserved_spi": True} | {f.name: d[f.name] for f in fields(cls) if f.name in d}
        for name in _SECRETS:
            if isinstance(kw.get(name), str):
                try:
                    kw[name] = bytes.fromhex(kw[name])
                except ValueError:
                    raise ValueError(f"{name}: is no hex string") from None
        return cls(**kw)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the keys: handle it as a secret."""
        d = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in _SECRETS:
            d[name] = d[name].hex()
        for name in ("src", "dst"):
            d[name] = None if d[name] is None else str(d[name])
        if self.udp_encap:
            d["udp_encap"] = {"sport": self.udp_encap[0], "dport": self.udp_encap[1]}
        return d

    def __repr__(self) -> str:
        return (
            f"<SecurityAssociation spi=0x{self.spi:08x} {self.protocol} {self.mode} {self.src} -> {self.dst} "
            f"{self.encryption} {self.authentication} icv_len={self.icv_len}>"
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a SecurityAssociation can't be pickled: its keys would be written in clear; see to_dict()")


_SECRETS = ("enc_key", "auth_key", "salt")
_FLAGS = (
    "esn",
    "allow_unauthenticated",
    "copy_dscp",
    "ecn",
    "decap_dscp",
    "strict_padding",
    "match_src",
    "allow_reserved_spi",
)


def _udp_encap(got: Any) -> tuple[int, int] | None:
    if got is None:
        return None
    if isinstance(got, Mapping):
        got = (got.get("sport"), got.get("dport"))
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise TypeError("udp_encap: wanted (sport, dport) or None")
    return _integer("udp_encap sport", got[0], 1, 65535), _integer("udp_encap dport", got[1], 1, 65535)
