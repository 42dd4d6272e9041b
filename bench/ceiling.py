"""The ceilings of ceiling.c: a library's bare calls on the same bytes, and a minimal ESP loop in C over ipsec-mb."""

from __future__ import annotations

import ctypes
import functools
from ipaddress import ip_address
from typing import Any

import numpy as np
from cells import Cell, LeftOut, security_association, spi_of
from flow import Caches, Lap, fill
from numpy.typing import NDArray
from packets import Arena, clear_packets

from build import NotBuilt, compiled
from ipsecfast import PacketBatch, SecurityAssociation, decapsulate, encapsulate
from ipsecfast.core._libcrypto import candidates

CODES = {
    "AES-128-GCM": 0,
    "AES-256-GCM": 1,
    "AES-128-GMAC": 2,
    "AES-CBC-128+SHA1": 3,
    "AES-CBC-256+SHA256": 4,
    "CHACHA20-POLY1305": 5,
    "NULL+SHA1": 6,
    "NULL+SHA256": 7,
}
LOOPS = ("AES-128-GCM", "AES-128-GMAC", "AES-CBC-128+SHA1")  # what the loop in C has
LIBRARIES = {"ipsec-mb": 0, "libcrypto": 1}
AH_FIXED = 12  # bytes of AH in front of the ICV

GIVEN = np.dtype([("spi", "<u4"), ("salt", "<u4"), ("dst", "u1", 4), ("enc_key", "u1", 32), ("auth_key", "u1", 64)])


@functools.cache
def library() -> ctypes.CDLL:
    """ceiling.c, with ipsec-mb where its headers are; raises LeftOut."""
    try:
        try:
            path = compiled("ceiling.c", ("-DHAVE_IPSEC_MB",), ("-lIPSec_MB", "-ldl"))
        except NotBuilt:
            path = compiled("ceiling.c", (), ("-ldl",))
    except NotBuilt as error:
        raise LeftOut(f"ceiling.c: {error}") from None
    lib = ctypes.CDLL(str(path))
    lib.ceiling_new.restype = ctypes.c_void_p
    lib.ceiling_open_libcrypto.restype = ctypes.c_char_p
    for name in ("ceiling_crypto", "ceiling_encapsulate", "ceiling_decapsulate"):
        getattr(lib, name).restype = ctypes.c_int64
    return lib


@functools.cache
def _open_libcrypto() -> str:
    """Empty, or why there is none; the same file that the provider opens."""
    why = "no libcrypto"
    for name in candidates():
        missing = library().ceiling_open_libcrypto(name.encode())
        if missing is None:
            return ""
        why = str(missing.decode())
    return why


def served(provider: str) -> None:
    """Raise LeftOut unless ceiling.c can call that library here."""
    if provider == "ipsec-mb" and not library().ceiling_has_ipsec_mb():
        raise LeftOut("ceiling.c: compiled without ipsec-mb: no headers, or of another version than the library")
    if provider == "libcrypto" and (why := _open_libcrypto()):
        raise LeftOut(f"ceiling.c: {why}")
    if provider not in LIBRARIES:
        raise LeftOut(f"ceiling.c: no calls for {provider}")


def key_schedule_size(algorithm: str) -> int:
    """Bytes of ipsec-mb's keyed state for one direction of an SA."""
    served("ipsec-mb")
    return int(library().ceiling_key_size(CODES[algorithm]))


def _given(sas: list[SecurityAssociation]) -> NDArray[Any]:
    given = np.zeros(len(sas), GIVEN)
    for row, sa in zip(given, sas, strict=True):
        row["spi"] = sa.spi
        row["salt"] = int.from_bytes(sa.salt, "little")
        row["dst"] = np.frombuffer(ip_address(str(sa.dst)).packed, np.uint8)
        row["enc_key"][: len(sa.enc_key)] = np.frombuffer(sa.enc_key, np.uint8)
        row["auth_key"][: len(sa.auth_key)] = np.frombuffer(sa.auth_key, np.uint8)
    return given


class _Ceiling:
    """What both kinds have."""

    pid = None

    def __init__(self, cell: Cell) -> None:
        served(cell.provider)
        self.cell = cell
        plain = Cell("", "", cell.algorithm)
        self.sas = [security_association(plain, spi_of(i, cell.sas)) for i in range(cell.sas)]
        self._given = _given(self.sas)
        self._state = ctypes.c_void_p(
            library().ceiling_new(
                CODES[cell.algorithm],
                LIBRARIES[cell.provider],
                cell.sas,
                ctypes.c_void_p(self._given.ctypes.data),
                cell.packets,
                cell.batch,
            )
        )
        if not self._state:
            raise LeftOut(f"ceiling.c: {cell.provider} does not serve {cell.algorithm}")
        self.arena = Arena(clear_packets(cell))
        self._caches = Caches(cell.cold)
        self._rng = np.random.default_rng(1)
        self._which: NDArray[np.int64] = np.zeros(cell.packets, np.int64)

    def _call(self, name: str, *arguments: Any) -> float:
        ns: int = getattr(library(), name)(self._state, *arguments)
        if ns < 0:
            raise RuntimeError(f"{self.cell}: {name} failed")
        return ns

    def _draw(self) -> None:
        if self.cell.sas > 1:
            self._which[:] = self._rng.integers(0, self.cell.sas, self.cell.packets)

    def close(self) -> None:
        library().ceiling_free(self._state)
        self._state = ctypes.c_void_p()


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class Crypto(_Ceiling):
    """Bare calls.  The bytes are those that ESP in the cell's mode gives the library, or AH for mode "ah"."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        sa, a = self.sas[0], self.arena
        iv_len, align = sa.enc_alg.iv_len, sa.enc_alg.align
        header = 40 if cell.mode == "ipv6" else 20
        if cell.mode == "ah":  # the whole packet, with AH in it
            self._head, extra = 0, AH_FIXED + iv_len + (sa.icv_len or 0)
            self._text = (a.length + extra).astype(np.int32)
            self._at = a.offset - extra
        else:
            self._head = 8 + iv_len
            clear = a.length - (0 if cell.mode == "tunnel" else header)
            self._text = (clear + 2 + -(clear + 2) % align).astype(np.int32)
            self._at = a.offset + (0 if cell.mode == "tunnel" else header) - self._head
        self._aad_len = 12 if cell.mode == "esn" else 8
        self._prepare()

    def _prepare(self) -> None:
        self._draw()
        library().ceiling_prepare(
            self._state,
            _pointer(self.arena.data),
            _pointer(self._at),
            _pointer(self._text),
            _pointer(self._which),
            ctypes.c_uint32(self._head),
            ctypes.c_uint32(self._aad_len),
        )

    def encapsulate(self) -> float:
        return self._call("ceiling_crypto", 1)

    def decapsulate(self) -> float:
        return self._call("ceiling_crypto", 0)

    def lap(self) -> Lap:
        lap = self.encapsulate(), self.decapsulate()
        if self.cell.sas > 1:
            self._prepare()
        return lap

    def verify(self) -> None:
        """Sealing changes the text unless nothing is encrypted; opening gives it back."""
        before = self.arena.data.copy()
        self._call("ceiling_crypto", 1)
        encrypts = self.cell.mode != "ah" and self.sas[0].enc_alg.encrypts
        if encrypts == bool((self.arena.data == before).all()):
            raise RuntimeError(f"{self.cell}: the library did not do what it was asked")
        self._call("ceiling_crypto", 0)
        if not (self.arena.data == before).all():
            raise RuntimeError(f"{self.cell}: the text came back changed")


class Loop(_Ceiling):
    """The minimal ESP in C."""

    def __init__(self, cell: Cell) -> None:
        if cell.algorithm not in LOOPS or cell.mode != "transport" or cell.provider != "ipsec-mb":
            raise LeftOut("the loop in C is transport mode over ipsec-mb, " + ", ".join(LOOPS))
        super().__init__(cell)

    def _run(self, name: str, *more: Any) -> float:
        a = self.arena
        return self._call(name, _pointer(a.data), _pointer(a.offset), _pointer(a.length), *more)

    def encapsulate(self) -> float:
        return self._run("ceiling_encapsulate", _pointer(self._which))

    def decapsulate(self) -> float:
        return self._run("ceiling_decapsulate")

    def lap(self) -> Lap:
        self._caches.empty()
        out = self.encapsulate()
        self._caches.empty()
        lap = out, self.decapsulate()
        self._draw()
        return lap

    def verify(self) -> None:
        """What the loop protects ipsecfast takes back, and the other way."""
        theirs = Cell("ipsecfast", self.cell.provider, self.cell.algorithm, sas=self.cell.sas)
        tx, rx, handles = fill(theirs)
        a = self.arena
        self.encapsulate()
        batch = PacketBatch(a.data, a.offset, a.length, a.slot_offset, a.slot_length)
        if decapsulate(batch, rx).ok != len(a.packets) or batch.to_packets() != list(a.packets):
            raise RuntimeError(f"{self.cell}: ipsecfast can't read what the loop in C sent")
        a.offset[:], a.length[:] = batch.offset, batch.length
        if encapsulate(batch, tx, handles[self._which]).ok != len(a.packets):
            raise RuntimeError(f"{self.cell}: ipsecfast did not send")
        a.offset[:], a.length[:] = batch.offset, batch.length
        self.decapsulate()
        if not a.is_as_before():
            raise RuntimeError(f"{self.cell}: the loop in C can't read what ipsecfast sent")
