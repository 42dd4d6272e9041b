"""IPsecOV2: SA requests, damaged OID buffers, out-of-band words, registry keywords.

Apart from the other strategies, for these are bound to :mod:`ipsecfast.ndis`: its structures are what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from ...ndis.constants import Operation
from ...ndis.keywords import KEYWORDS
from ...ndis.sa_bundle import AUTHENTICATIONS, ENCRYPTIONS
from ...ndis.sa_request import UNUSED, SaAlgorithm, SaProtocol, SaRequest
from .suites import ADDRESSES, filler

__all__ = ["damaged_buffers", "keyword_values", "oob_words", "sa_requests"]

_CIPHER_KEYS = {0x1: 0, 0x2: 8, 0x4: 24, 0x8: 20, 0x10: 28, 0x20: 36, 0x40: 16, 0x80: 24, 0x100: 32}
_MAC_KEYS = {0x1: 16, 0x2: 20, 0x4: 32, 0x8: 20, 0x10: 28, 0x20: 36}
_GCM, _GMAC, _NULL = 0x38, 0x38, 0x1
_EDGES = (0, 1, 2, 3, 4, 15, 16, 17, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@st.composite
def sa_requests(
    draw: st.DrawFn,
    *,
    inbound: bool | None = None,
    spis: Sequence[int] = (1, 0x100, 0x1234, 0xFFFFFFFF),
    encryptions: Sequence[int] = tuple(ENCRYPTIONS),
    authentications: Sequence[int] = tuple(AUTHENTICATIONS),
) -> SaRequest:
    """A bundle that every card with these algorithms, and everything else that the interface has, must take.

    ``encryptions``, ``authentications``: identifiers to choose from.  Addresses may be wildcards.
    """
    version = draw(st.sampled_from((4, 6)))
    ends = ADDRESSES[version]
    kind = draw(st.sampled_from(("esp", "ah", "both")))
    protocols = []
    if kind != "ah":
        protocols.append(_esp(draw, draw(st.sampled_from(spis)), encryptions, authentications))
    if kind != "esp":
        auth = draw(st.sampled_from(authentications))
        key = filler(draw(st.integers(0, 3)), _MAC_KEYS[auth])
        esn = draw(st.booleans())
        spi = draw(st.sampled_from(spis))
        protocols.append(SaProtocol(Operation.IPsecOffloadV2Ah, spi, SaAlgorithm(auth, key), UNUSED, esn))
    zero = bytes(4 if version == 4 else 16)
    return SaRequest(
        draw(st.booleans()) if inbound is None else inbound,
        draw(st.sampled_from((ends[0].packed, zero))),
        draw(st.sampled_from((ends[1].packed, ends[1].packed, ends[2].packed, zero))),
        tuple(protocols),
        draw(st.sampled_from((0, 0, 1, 2, 4, 8))) if kind == "esp" else 0,
    )


def _esp(draw: st.DrawFn, spi: int, encryptions: Sequence[int], authentications: Sequence[int]) -> SaProtocol:
    enc = draw(st.sampled_from(encryptions))
    seed = draw(st.integers(0, 3))
    auth = UNUSED
    if not enc & _GCM:
        fitting = [a for a in authentications if enc == _NULL or not a & _GMAC]
        number = draw(st.sampled_from(fitting))
        auth = SaAlgorithm(number, filler(seed + 9, _MAC_KEYS[number]))
    info = draw(st.sampled_from((0, 8, 12, 16))) if enc & _GCM else 0
    cipher = SaAlgorithm(enc, filler(seed, _CIPHER_KEYS[enc]), info)
    esn = draw(st.booleans())
    return SaProtocol(Operation.IPsecOffloadV2Esp, spi, auth, cipher, esn, draw(st.integers(0, 3)) if esn else 0)


@st.composite
def damaged_buffers(draw: st.DrawFn, buffer: bytes) -> bytes:
    """A structure's bytes with one to three things wrong: cut short, made longer, bytes or ULONGs replaced."""
    octets = bytearray(buffer)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(("cut", "grow", "byte", "ulong", "ulong", "ulong")))
        if kind == "cut":
            del octets[draw(st.integers(0, len(octets))) :]
        elif kind == "grow":
            octets += bytes(draw(st.integers(1, 64)))
        elif kind == "byte" and octets:
            octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
        elif kind == "ulong" and len(octets) >= 4:
            at = draw(st.integers(0, len(octets) // 4 - 1)) * 4
            value = draw(st.sampled_from(_EDGES) | st.integers(0, 0xFFFFFFFF))
            octets[at : at + 4] = value.to_bytes(4, "little")
    return bytes(octets)


@st.composite
def oob_words(draw: st.DrawFn, handles: Sequence[int] = ()) -> tuple[int, int, int, int, int]:
    """Raw words for slots 0, 1, 2, 11 and 12 of a list to be sent; ``handles``: some that mean something."""
    handle = st.sampled_from((0, 0, *handles)) | st.integers(0, (1 << 64) - 1)
    checksum = draw(st.sampled_from((0, 0, 0x15, 0x16, 0x19, 0x1D)) | st.integers(0, 0xFFFFFFFF))
    large = draw(st.sampled_from((0, 0, 0, 1460 | 54 << 20, 1 << 30 | 1000 | 50 << 20)) | st.integers(0, 0xFFFFFFFF))
    header = draw(st.sampled_from((0, 0, 6, 6 | 2 << 8 | 5 << 24)) | st.integers(0, 0xFFFFFFFF))
    return checksum, draw(handle), large, draw(handle), header


@st.composite
def keyword_values(draw: st.DrawFn) -> dict[str, str | int]:
    """Some of the standardized keywords with values: in range, at the edges, out of range, no number at all."""
    names = draw(st.lists(st.sampled_from([k.name for k in KEYWORDS]), unique=True))
    value: st.SearchStrategy[str | int] = st.sampled_from(
        ("0", "1", "2", "3", "4", "-1", "", "on", " 2", "0x1", 0, 1, 2, 3, 4, 0xFFFFFFFF)
    )
    return {name: draw(value) for name in names}
