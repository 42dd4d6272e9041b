"""Wireshark's ``esp_sa`` table: one quoted, comma separated line per SA.

Eight columns as of Wireshark 4.0 (protocol, source, destination, SPI, encryption, its key, authentication, its
key), and up to two more in later versions (sequence number length, high half of the ESN).  The table does not
tell the mode, so it is ``"any"``.  Spellings: packet-ipsec.c and uat.c of Wireshark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

from ..errors import KeyFileError
from .entry import KeyEntry, check_address, encryption_fields, key_error, make_entry

_FIELD = re.compile(rb'\s*"((?:[^"\\]|\\.)*)"\s*(,|$)')
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.?))")
_MIN_COLUMNS = 8
_SN_DEFAULTS = [b"32-bit", b"0"]
_MAX_COLUMNS = _MIN_COLUMNS + len(_SN_DEFAULTS)
_Row = TypeVar("_Row")

# Names without their "[RFC...]": family, salt length, ICV length in bytes (None: not in the name, or no ICV).
_ENCRYPTION: dict[str, tuple[str, int, int | None]] = {
    "null": ("NULL", 0, None),
    "des-cbc": ("DES-CBC", 0, None),
    "tripledes-cbc": ("3DES-CBC", 0, None),
    "aes-cbc": ("AES-CBC", 0, None),
    "aes-ctr": ("AES-CTR", 4, None),
    "aes-gcm": ("AES-GCM", 4, None),
    "aes-gcm with 8 octet icv": ("AES-GCM", 4, 8),
    "aes-gcm with 12 octet icv": ("AES-GCM", 4, 12),
    "aes-gcm with 16 octet icv": ("AES-GCM", 4, 16),
    "chacha20 with poly1305": ("CHACHA20-POLY1305", 4, 16),
}
_AUTHENTICATION: dict[str, tuple[str, int | None]] = {
    "null": ("NONE", None),
    "hmac-md5-96": ("HMAC-MD5-96", 12),
    "hmac-sha-1-96": ("HMAC-SHA1-96", 12),
    "hmac-sha-256-96": ("HMAC-SHA256-128", 12),
    "hmac-sha-256-128": ("HMAC-SHA256-128", 16),
    "hmac-sha-384-192": ("HMAC-SHA384-192", 24),
    "hmac-sha-512-256": ("HMAC-SHA512-256", 32),
}
_UNCHECKED = {f"any {8 * n} bit authentication": n for n in (8, 12, 16, 24, 32)}
_NOT_OURS = {
    name.lower(): name
    for name in (
        "CAST5-CBC",
        "BLOWFISH-CBC",
        "TWOFISH-CBC",
        "MAC-RIPEMD-160-96",
        "AES-GCM with IIV and 16 octet ICV",
        "ChaCha20 with Poly1305 and IIV",
    )
}


def looks_like(line: str) -> bool:
    """Whether a file with this first line is an ``esp_sa`` table."""
    return re.match(r'"?(?:IPv4|IPv6|Any)"?\s*,', line, re.IGNORECASE) is not None


def read(name: str, text: str) -> Iterator[KeyEntry | KeyFileError]:
    """Yield the SAs and, in their places, errors."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        origin = f"{name}:{number}"
        try:
            yield _entry(origin, _columns(line))
        except (ValueError, TypeError) as error:
            yield key_error(origin, error)


def _columns(line: str) -> list[bytes]:
    # Octets, since Wireshark writes each octet that is not printable ASCII as \xHH.
    octets, at, more = line.encode(), 0, True
    columns: list[bytes] = []
    while more and len(columns) < _MAX_COLUMNS:
        match = _FIELD.match(octets, at)
        if match is None:
            raise ValueError(f"column {len(columns) + 1}: is not in double quotes, or misses a comma behind it")
        columns.append(_ESCAPE.sub(_unescape, match[1]))
        at, more = match.end(), bool(match[2])
    if more or len(columns) < _MIN_COLUMNS:
        got = f"{'more than ' if more else ''}{len(columns)}"
        raise ValueError(f"columns: got {got}, wanted {_MIN_COLUMNS} (or up to {_MAX_COLUMNS}, with ESN)")
    return columns


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes.fromhex(match[1].decode())
    if match[2] in (b'"', b"\\"):
        return match[2]
    raise ValueError(r"an escape is none of \xHH, \" and \\")


def _entry(origin: str, columns: list[bytes]) -> KeyEntry:
    columns += _SN_DEFAULTS[len(columns) - _MIN_COLUMNS :]
    protocol, src, dst, spi, enc, _, auth, _, sn, esn_hi = (c.decode(errors="replace").strip() for c in columns)
    if sn not in ("32-bit", "64-bit"):
        raise ValueError("SN: is neither 32-bit nor 64-bit")
    esn = sn == "64-bit"
    fields: dict[str, Any] = {"protocol": "esp", "mode": "any", "spi": _spi(spi), "esn": esn, "replay_window": 64}
    fields |= _addresses(protocol, src, dst)
    fields |= _algorithms(enc, _key("encryption", columns[5]), auth, _key("authentication", columns[7]))
    return make_entry(origin, fields, _esn_hi(esn_hi) << 32 if esn else 0)


def _spi(text: str) -> int:
    if "*" in text:
        raise ValueError("SPI: has a wildcard; an SA needs its one SPI")
    # Wireshark reads 0123 as octal: no one who writes it means that.
    if not re.fullmatch(r"0[xX][0-9A-Fa-f]{1,8}|[1-9][0-9]{0,9}", text):
        raise ValueError("SPI: is neither 0x and up to 8 hex digits nor a decimal number")
    return int(text, 0)


def _esn_hi(text: str) -> int:
    if not re.fullmatch(r"(0[xX])?[0-9A-Fa-f]{1,8}", text):
        raise ValueError("ESN high bits: are not up to 8 hex digits")
    return int(text, 16)


def _addresses(protocol: str, src: str, dst: str) -> dict[str, str | None]:
    if protocol.lower() == "any":  # Wireshark then looks at neither address
        return {"src": None, "dst": None}
    if protocol.lower() not in ("ipv4", "ipv6"):
        raise ValueError("protocol: is none of IPv4, IPv6 and Any")
    for name, text in (("src", src), ("dst", dst)):
        if text != "*" and ("*" in text or "/" in text):
            raise ValueError(f"{name}: is a pattern; only a whole address or * can be used")
        if text != "*":
            check_address(name, text)
            if (":" in text) != (protocol.lower() == "ipv6"):
                raise ValueError(f"{name}: is no {protocol} address")
    return {"src": None if src == "*" else src, "dst": None if dst == "*" else dst}


def _key(name: str, column: bytes) -> bytes:
    if column[:2] not in (b"0x", b"0X"):
        return column
    digits = column[2:].decode(errors="replace")
    if not re.fullmatch(r"[0-9A-Fa-f]*", digits):
        raise ValueError(f"{name} key: is no hex string")
    return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)  # as Wireshark does


def _algorithms(enc: str, enc_key: bytes, auth: str, auth_key: bytes) -> dict[str, Any]:
    enc, auth = (name.partition("[")[0].strip().lower() for name in (enc, auth))
    family, salt_len, icv_len = _known("encryption", enc, _ENCRYPTION)
    fields = encryption_fields(family, salt_len, enc_key)
    if auth in _UNCHECKED:
        # With the oldest GCM name, it says how long the ICV is; GCM itself checks it.
        if family != "AES-GCM" or icv_len not in (None, _UNCHECKED[auth]):
            raise ValueError(f"authentication: {auth} has no key, and unchecked ICVs are not accepted")
        return fields | {"icv_len": _UNCHECKED[auth]}
    authentication, auth_icv_len = _known("authentication", auth, _AUTHENTICATION)
    icv_len = auth_icv_len if icv_len is None else icv_len
    return fields | {"authentication": authentication, "auth_key": auth_key, "icv_len": icv_len}


def _known(column: str, name: str, table: dict[str, _Row]) -> _Row:
    if name in table:
        return table[name]
    if name in _NOT_OURS:
        raise ValueError(f"{column}: {_NOT_OURS[name]} is not supported")
    # Not repeated: a key may have got into this column.
    raise ValueError(f"{column}: is no algorithm name that Wireshark has")
