"""The text that ``ip xfrm state`` prints (also with -d, -s and -o), by iproute2's ip/ipxfrm.c.

One block per SA, from its ``src ... dst ...`` line to the next.  Lines that no SA needs are ignored, and so are
states of other protocols (IPComp, Mobile IPv6), states without an SPI yet, and ``ip xfrm policy`` blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import KeyFileError
from .entry import KeyEntry, check_address, encryption_fields, key_error, make_entry

_BLOCK = re.compile(r"[ \t]*src (\S+) dst (\S+)")
_ALGORITHM = re.compile(r"\S+ (\S+)(?: 0x([0-9A-Fa-f]*))?(?: \((\d{1,6}) bits\))?(?: (\d{1,6}))?")
_TEMPLATE = re.compile(r"[a-z][a-z0-9_]{0,15}\([a-z0-9_,()-]{1,40}\)")

_OTHER_PROTOCOLS = ("comp", "route2", "hao", "ipsec-any")
_OTHER_MODES = ("beet", "ro", "in_trigger", "iptfs")

# Kernel names (net/xfrm/xfrm_algo.c), the old short ones too: family and length of the salt behind the key.
_AEAD = {
    "rfc4106(gcm(aes))": ("AES-GCM", 4),
    "rfc4543(gcm(aes))": ("AES-GMAC", 4),
    "rfc4309(ccm(aes))": ("AES-CCM", 3),
    "rfc7539esp(chacha20,poly1305)": ("CHACHA20-POLY1305", 4),
}
_ENC = {
    "ecb(cipher_null)": ("NULL", 0),
    "cipher_null": ("NULL", 0),
    "cbc(des)": ("DES-CBC", 0),
    "des": ("DES-CBC", 0),
    "cbc(des3_ede)": ("3DES-CBC", 0),
    "des3_ede": ("3DES-CBC", 0),
    "cbc(aes)": ("AES-CBC", 0),
    "aes": ("AES-CBC", 0),
    "rfc3686(ctr(aes))": ("AES-CTR", 4),
}
# With the kernel's own truncation, in bits: 96 for SHA-256, from before RFC 4868.
_AUTH = {
    "digest_null": ("NONE", 0),
    "hmac(md5)": ("HMAC-MD5-96", 96),
    "md5": ("HMAC-MD5-96", 96),
    "hmac(sha1)": ("HMAC-SHA1-96", 96),
    "sha1": ("HMAC-SHA1-96", 96),
    "hmac(sha256)": ("HMAC-SHA256-128", 96),
    "sha256": ("HMAC-SHA256-128", 96),
    "hmac(sha384)": ("HMAC-SHA384-192", 192),
    "hmac(sha512)": ("HMAC-SHA512-256", 256),
    "xcbc(aes)": ("AES-XCBC-96", 96),
    "cmac(aes)": ("AES-CMAC-96", 96),
}
_KINDS = {  # first words of the lines that matter -> what they are; each may stand once in a block
    **{w: w for w in ("proto", "replay-window", "aead", "enc", "auth", "encap", "anti-replay", "tfcpad", "sel")},
    **{w: w for w in ("seq-hi", "replay_window")},
    "auth-trunc": "auth",
}


class _BadLine(ValueError):
    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


@dataclass
class _Line:
    number: int
    words: list[str]

    def pairs(self, start: int = 0) -> dict[str, str]:
        """``name value, name value``, from word ``start`` on."""
        words = [w.rstrip(",") for w in self.words[start:]]
        return dict(zip(words[::2], words[1::2], strict=False))

    def number_of(self, values: dict[str, str], name: str, top: int = 2**32 - 1) -> int:
        match = re.fullmatch(r"(0x[0-9A-Fa-f]{1,16}|[0-9]{1,20})(\([0-9]+\))?", values.get(name, ""))
        if match is None:
            raise _BadLine(self.number, f"{name}: is missing or no number; is the dump cut off?")
        value = int(match[1], 16 if match[1].startswith("0x") else 10)
        if value > top:
            raise _BadLine(self.number, f"{name}: is too large, wanted {top} at most")
        return value


@dataclass
class _Block:
    number: int
    src: str
    dst: str
    lines: dict[str, _Line] = field(default_factory=dict)
    repeated: _Line | None = None

    @property
    def is_policy(self) -> bool:
        return "/" in self.src + self.dst

    def add(self, line: _Line) -> None:
        kind = _KINDS.get(line.words[0])
        if kind is None or (kind == "replay-window" and "failed" in line.words):  # that one is a counter
            return
        if kind in self.lines:
            self.repeated = self.repeated or line
        else:
            self.lines[kind] = line

    def line(self, kind: str) -> _Line:
        if kind not in self.lines:
            raise _BadLine(self.number, f"{kind}: no such line; is the dump cut off?")
        return self.lines[kind]


def looks_like(text: str) -> bool:
    """Whether a line of ``text`` is the head of a block."""
    return re.search(f"(?m)^{_BLOCK.pattern}", text) is not None


def read(name: str, text: str) -> Iterator[KeyEntry | KeyFileError]:
    """Yield the SAs and, in their places, errors; raises KeyFileError if there are only policies."""
    blocks = _blocks(text)
    if all(block.is_policy for block in blocks):
        raise KeyFileError(
            f"{name}:{blocks[0].number}: is the output of 'ip xfrm policy', which has no keys; use 'ip xfrm state'"
        )
    return (entry for block in blocks if not block.is_policy and (entry := _entry(name, block)) is not None)


def _blocks(text: str) -> list[_Block]:
    blocks: list[_Block] = []
    for number, whole in enumerate(text.split("\n"), 1):
        for part in whole.split("\\"):  # -o prints a backslash for each line end
            if match := _BLOCK.match(part):
                blocks.append(_Block(number, match[1], match[2]))
            elif blocks and (words := part.split()):
                blocks[-1].add(_Line(number, words))
    return blocks


def _entry(name: str, block: _Block) -> KeyEntry | KeyFileError | None:
    try:
        return _parse(f"{name}:{block.number}", block)
    except _BadLine as error:
        return key_error(f"{name}:{error.number}", error)
    except (ValueError, TypeError) as error:
        return key_error(f"{name}:{block.number}", error)


def _parse(origin: str, block: _Block) -> KeyEntry | None:
    """None for a state that is none of ours."""
    head = block.line("proto")
    ids = head.pairs()
    protocol = ids.get("proto", "")
    if protocol in _OTHER_PROTOCOLS or re.fullmatch("[0-9]{1,3}", protocol):
        return None
    if protocol not in ("esp", "ah"):
        raise _BadLine(head.number, "proto: is neither esp nor ah")
    spi = head.number_of(ids, "spi")
    if spi == 0:  # a larval state: the kernel is still asking for keys
        return None
    if block.repeated:
        raise _BadLine(block.repeated.number, f"{block.repeated.words[0]}: second such line of one SA")
    for field_name, address in (("src", block.src), ("dst", block.dst)):
        check_address(field_name, address)
    fields: dict[str, Any] = {"protocol": protocol, "spi": spi, "src": block.src, "dst": block.dst}
    fields |= _flags(block, protocol) | _keys(block, protocol)
    mode = _mode(head, ids)
    fields |= {"mode": mode, "udp_encap": _udp_encap(block), "tfc_pad_to": _tfc_pad_to(block)}
    fields["replay_window"], seq = _replay(block, fields["esn"])
    return make_entry(origin, fields, seq, _selector(block, mode))


def _mode(head: _Line, ids: dict[str, str]) -> str:
    mode = ids.get("mode", "")
    if mode in ("tunnel", "transport"):
        return mode
    raise _BadLine(head.number, f"mode: {mode if mode in _OTHER_MODES else 'it'} is neither tunnel nor transport")


def _flags(block: _Block, protocol: str) -> dict[str, Any]:
    flags = block.line("replay-window").words[2:]
    return {
        "esn": "esn" in flags,
        "ecn": "noecn" not in flags,
        "decap_dscp": "decap-dscp" in flags,
        "copy_dscp": "dont-encap-dscp" not in flags,
        "df": "clear" if "nopmtudisc" in flags else "copy",
        # Without align4, Linux pads AH to a multiple of 8 on IPv4 as well.
        "ah_align": None if protocol == "esp" else 4 if "align4" in flags else 8,
    }


def _replay(block: _Block, esn: bool) -> tuple[int, int]:
    """The window in packets, and the larger of the last numbers received and sent."""
    context = block.lines.get("anti-replay")
    # The kernel has the "esn context" for windows above 32 too: only the flag tells whether the SA uses ESN.
    if esn or (context and "esn" in context.words):
        line = block.line("replay_window")
        window = line.number_of(line.pairs(), "replay_window")
        line = block.line("seq-hi")
        at = line.pairs()
        high = {name: line.number_of(at, f"{name}-hi") if esn else 0 for name in ("seq", "oseq")}
        return window, max(high[name] << 32 | line.number_of(at, name) for name in high)
    line = block.line("replay-window")
    window = line.number_of(line.pairs(), "replay-window")
    if context is None:  # iproute2 before 3.18
        return window, 0
    at = context.pairs(2)
    return window, max(context.number_of(at, "seq"), context.number_of(at, "oseq"))


def _udp_encap(block: _Block) -> dict[str, int] | None:
    line = block.lines.get("encap")
    if line is None:
        return None
    values = line.pairs(1)
    if values.get("type") != "espinudp":
        raise _BadLine(line.number, "encap: is not of type espinudp (RFC 3948)")
    return {name: line.number_of(values, name, 0xFFFF) for name in ("sport", "dport")}


def _tfc_pad_to(block: _Block) -> int | None:
    line = block.lines.get("tfcpad")
    return None if line is None else line.number_of(line.pairs(), "tfcpad") or None


def _selector(block: _Block, mode: str) -> dict[str, str | int] | None:
    """What the ``sel`` line narrows down; None if nothing.

    The kernel chooses traffic by policies, so most SAs say 0.0.0.0/0: in transport mode that can only be traffic
    between the SA's own addresses.
    """
    line = block.lines.get("sel")
    values = line.pairs(1) if line else {}
    values.pop("uid", None)
    for name, own in (("src", block.src), ("dst", block.dst)):
        if values.get(name, "/0").endswith("/0") and mode == "transport":
            values[name] = own
    if all(name in ("src", "dst") and value.endswith("/0") for name, value in values.items()):
        return None
    return {name: int(v) if re.fullmatch("[0-9]{1,5}", v) else v for name, v in values.items()}


def _keys(block: _Block, protocol: str) -> dict[str, Any]:
    wanted = ("aead", "enc", "auth") if protocol == "esp" else ("auth",)
    lines = {kind: block.lines[kind] for kind in wanted if kind in block.lines}
    if not lines:
        raise _BadLine(block.number, "keys: there are none: the SA is still being negotiated, or the dump is cut off")
    if protocol == "esp" and ("aead" in lines) == ("enc" in lines):
        raise _BadLine(block.number, "keys: wanted either an aead line or an enc line")
    fields: dict[str, Any] = {}
    for kind, line in lines.items():
        name, key, bits = _algorithm(line)
        try:
            fields |= _auth_fields(name, key, bits) if kind == "auth" else _enc_fields(kind, name, key, bits)
        except ValueError as error:
            raise _BadLine(line.number, str(error)) from None
    return fields


def _algorithm(line: _Line) -> tuple[str, bytes, int | None]:
    """Name, keying material, and the number of bits at the line's end."""
    text = " ".join(line.words)
    if "<<Keys hidden>>" in text:
        raise _BadLine(line.number, "keys are hidden: dumped with 'nokeys'; dump with 'ip -s xfrm state', as root")
    match = _ALGORITHM.fullmatch(text)
    if match is None or len(match[2] or "") % 2:
        raise _BadLine(line.number, f"{line.words[0]}: wanted algorithm, 0x and the key, bits; is the dump cut off?")
    key = bytes.fromhex(match[2] or "")
    if match[3] is not None and int(match[3]) != 8 * len(key):
        raise _BadLine(line.number, f"{line.words[0]}: the key has {8 * len(key)} bits, the line says {int(match[3])}")
    return match[1], key, None if match[4] is None else int(match[4])


def _enc_fields(kind: str, name: str, key: bytes, bits: int | None) -> dict[str, Any]:
    fields = encryption_fields(*_known(kind, name, _AEAD if kind == "aead" else _ENC), key)
    return fields | {"icv_len": _octets(kind, bits)} if kind == "aead" else fields


def _auth_fields(name: str, key: bytes, bits: int | None) -> dict[str, Any]:
    authentication, usual_bits = _known("auth", name, _AUTH)
    fields = {"authentication": authentication, "auth_key": key}
    return fields if authentication == "NONE" else fields | {"icv_len": _octets("auth", bits or usual_bits)}


def _octets(kind: str, bits: int | None) -> int:
    if bits is None or bits % 8:
        raise ValueError(f"{kind}: the ICV's length in bits is missing or no multiple of 8; is the dump cut off?")
    return bits // 8


def _known(kind: str, name: str, table: dict[str, tuple[str, int]]) -> tuple[str, int]:
    if name in table:
        return table[name]
    shown = name if _TEMPLATE.fullmatch(name) else "this"  # nothing that may be a piece of a key
    raise ValueError(f"{kind}: {shown} is no algorithm that is supported")
