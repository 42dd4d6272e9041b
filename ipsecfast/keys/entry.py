"""What the key readers share: their result, errors without keys, keying material cut into key and salt."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import KeyFileError
from ..sa import SecurityAssociation

# Eight hex digits (four octets), also in groups, may be a piece of a key in the wrong field.
_KEY_LIKE = re.compile(r"(?:[0-9A-Fa-f][\s:]{0,2}){8}")
_MAX_REASON_LEN = 200  # characters; what is longer repeats much of the file

AES_KEY_LENS = (16, 24, 32)


@dataclass(frozen=True)
class KeyEntry:
    """One SA of a key file.

    Attributes
    ----------
    sa : the security association.
    seq : 64 bit; the last sequence number used before, 0 if none was.
    origin : where it stands, ``"file:line"`` or ``"file: sas[3]"``.
    selector : the traffic that the SA is for, as read; None if the file does not tell.
    layer : order of application by the sender, 0 = innermost.
    """

    sa: SecurityAssociation
    seq: int
    origin: str
    selector: Mapping[str, Any] | None = None
    layer: int = 0


def key_error(where: str, reason: object) -> KeyFileError:
    """One line ``where: reason``, for a reason of the form ``field: got this, wanted that``.

    Where ``this`` may be octets of a key, or is very long, it is left out.
    """
    head, wanted, tail = one_line(str(reason)).rpartition(", wanted")
    if not wanted:
        head, tail = tail, ""
    if len(head) > _MAX_REASON_LEN or _KEY_LIKE.search(head):
        head = f"{head.partition(':')[0]}: got a value that is not shown"
    return KeyFileError(f"{one_line(where)}: {head}{wanted}{tail}")


def one_line(text: str) -> str:
    """``text`` with everything unprintable, line ends included, made spaces."""
    return "".join(c if c.isprintable() else " " for c in text)


def make_entry(
    origin: str, fields: Mapping[str, Any], seq: int, selector: Mapping[str, Any] | None = None, layer: int = 0
) -> KeyEntry:
    """Check ``fields`` (those of :meth:`SecurityAssociation.from_dict`) and ``seq``.

    Raises ValueError or TypeError, naming the field.
    """
    for name in ("src", "dst"):
        check_address(name, fields.get(name))
    sa = SecurityAssociation.from_dict(fields)
    top = 2**64 - 1 if sa.esn else 2**32 - 1
    if not 0 <= seq <= top:
        raise ValueError(f"seq: got {seq}, wanted 0 to {top}{'' if sa.esn else ' (no ESN)'}")
    return KeyEntry(sa, seq, origin, selector, layer)


def check_address(name: str, text: object) -> None:
    """Raise ValueError if ``text`` is a str but no address; without repeating it, as ipaddress would."""
    if isinstance(text, str):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ValueError(f"{name}: is no IPv4 or IPv6 address") from None


def encryption_fields(family: str, salt_len: int, keymat: bytes) -> dict[str, Any]:
    """The encryption's fields from keying material: the key, then ``salt_len`` octets of salt (RFC 4106 sec. 8.1).

    ``family`` is an algorithm's name without the key's size.  Raises ValueError for AES keys of other sizes.
    """
    cut = max(0, len(keymat) - salt_len)
    key, salt = keymat[:cut], keymat[cut:]
    if family.startswith("AES-"):
        if len(key) not in AES_KEY_LENS:
            sizes = ", ".join(str(n + salt_len) for n in AES_KEY_LENS)
            salted = f" ({salt_len} of them salt)" if salt_len else ""
            raise ValueError(f"encryption key: got {len(keymat)} bytes, wanted one of {sizes} for {family}{salted}")
        family = f"{family}-{8 * len(key)}"
    return {"encryption": family, "enc_key": key, "salt": salt}
