"""Members of C structures, and where a compiler for Windows puts them.

A structure is declared once, as a class with :class:`Field` attributes (:mod:`.structure`); offsets, sizes and
bit positions of both ABIs follow from that declaration by the rules of the Microsoft compilers: natural alignment,
little-endian, bit-fields packed into units of their own type from the least significant bit on.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from ..versions import NdisVersion

if TYPE_CHECKING:
    from .structure import Structure

T = TypeVar("T")
S = TypeVar("S", bound="Structure")


class Abi(StrEnum):
    """The Windows ABI that a buffer was written for."""

    X64 = "x64"
    X86 = "x86"

    @property
    def pointer_len(self) -> int:
        """Bytes of a pointer or handle."""
        return 8 if self is Abi.X64 else 4


def align_up(n: int, alignment: int) -> int:
    """The lowest multiple of ``alignment`` that is at least ``n``."""
    return -(-n // alignment) * alignment


class Field(ABC, Generic[T]):
    """One member.  On the class it is itself (``offset``, ``size``); on an object it is the member's value.

    Parameters
    ----------
    type_name : the member's C type.
    beside : name of an earlier member that this one shares its bytes with (an anonymous union).
    align : alignment on (x64, x86) where it is not that of the type.
    since : the first NDIS level that has the member.
    """

    def __init__(
        self,
        type_name: str,
        *,
        beside: str | None = None,
        align: tuple[int, int] | None = None,
        since: str | None = None,
    ) -> None:
        self.type_name = type_name
        self.beside = beside
        self.name = ""
        self.since = NdisVersion.parse(since) if since else None
        self._align = dict(zip(Abi, align, strict=True)) if align else None
        self._ofs: dict[Abi, int] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.owner = owner

    def offset(self, abi: Abi) -> int:
        """Bytes from the structure's start."""
        return self._ofs[abi]

    @abstractmethod
    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        """Bytes (of a bit-field: of its unit), at an NDIS level where that matters."""

    def alignment(self, abi: Abi) -> int:
        """Alignment in bytes."""
        return self._align[abi] if self._align else self._natural_alignment(abi)

    def type_at(self, abi: Abi) -> str:
        """The C type, with the array's length."""
        return self.type_name

    def place(self, abi: Abi, offset: int) -> None:
        """Called once, by the structure's class."""
        self._ofs[abi] = offset

    def describe(self, abi: Abi) -> list[dict[str, Any]]:
        """Name, type, offset and size; the members of unnamed inner types follow with dotted names."""
        return [{"name": self.name, "type": self.type_at(abi), "offset": self._ofs[abi], "size": self.size(abi)}]

    def convert(self, source: Structure, target: Structure) -> None:
        """Copy the value of ``source`` to ``target``, of the same class but maybe another ABI."""
        setattr(target, self.name, getattr(source, self.name))

    def plain(self, value: Any) -> Any:
        """The value as JSON can hold it."""
        return value

    def _natural_alignment(self, abi: Abi) -> int:
        return self.size(abi)


class Stored(Field[T]):
    """A member whose value lies where the member does."""

    @overload
    def __get__(self, obj: None, owner: type) -> Self: ...
    @overload
    def __get__(self, obj: Structure, owner: type) -> T: ...
    def __get__(self, obj: Structure | None, owner: type) -> Self | T:
        if obj is None:
            return self
        return self._load(obj._buf, obj._ofs + self._ofs[obj._abi], obj._abi)

    def __set__(self, obj: Structure, value: Any) -> None:
        try:
            self._store(obj._buf, obj._ofs + self._ofs[obj._abi], obj._abi, value)
        except (struct.error, TypeError, ValueError) as e:
            kind = TypeError if isinstance(e, TypeError) else ValueError
            raise kind(f"{type(obj).__name__}.{self.name}: {self._complaint(value, obj._abi, e)}") from None

    def _complaint(self, value: object, abi: Abi, error: Exception) -> str:
        return str(error)

    @abstractmethod
    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> T: ...

    @abstractmethod
    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None: ...


_UNSIGNED = {n: struct.Struct(f"<{code}") for n, code in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}
_SIGNED = {n: struct.Struct(f"<{code}") for n, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))}


class Integer(Stored[int]):
    """An integer of ``n`` bytes; of the size of a pointer if ``n`` is None.

    NDIS_STATUS is taken as unsigned, as the constants are.
    """

    def __init__(self, type_name: str, n: int | None, *, signed: bool = False, **options: Any) -> None:
        super().__init__(type_name, **options)
        codes = _SIGNED if signed else _UNSIGNED
        self._codes = {abi: codes[n or abi.pointer_len] for abi in Abi}

    def code(self, abi: Abi) -> str:
        """The struct module's letter for it."""
        return self._codes[abi].format[-1:]

    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        return self._codes[abi].size

    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> int:
        value: int = self._codes[abi].unpack_from(buf, ofs)[0]
        return value

    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None:
        self._codes[abi].pack_into(buf, ofs, value)

    def _complaint(self, value: object, abi: Abi, error: Exception) -> str:
        kind = "a signed" if self.code(abi).islower() else "an unsigned"
        return f"got {value!r}, wanted {kind} integer of {8 * self.size(abi)} bits"


class Boolean(Stored[bool]):
    """BOOLEAN, one byte; anything but zero is true."""

    def __init__(self, **options: Any) -> None:
        super().__init__("BOOLEAN", **options)

    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        return 1

    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> bool:
        return buf[ofs] != 0

    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None:
        if value not in (0, 1):
            raise ValueError(f"got {value!r}, wanted True or False")
        buf[ofs] = value


class Bits(Integer):
    """``width`` bits of an unsigned unit; neighbours of one type share it."""

    def __init__(self, width: int, type_name: str = "ULONG", n: int = 4, **options: Any) -> None:
        super().__init__(type_name, n, **options)
        self.width = width
        self.lsb = 0

    @property
    def mask(self) -> int:
        """The bits, in place."""
        return ((1 << self.width) - 1) << self.lsb

    def describe(self, abi: Abi) -> list[dict[str, Any]]:
        (fact,) = super().describe(abi)
        fact["bits"] = {"lsb": self.lsb, "width": self.width, "msb": self.lsb + self.width - 1}
        return [fact]

    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> int:
        return (super()._load(buf, ofs, abi) & self.mask) >> self.lsb

    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None:
        if not isinstance(value, int) or not 0 <= value < 1 << self.width:
            raise ValueError
        unit = super()._load(buf, ofs, abi) & ~self.mask
        super()._store(buf, ofs, abi, unit | value << self.lsb)

    def _complaint(self, value: object, abi: Abi, error: Exception) -> str:
        return f"got {value!r}, wanted an unsigned integer of {self.width} bits"


class Octets(Stored[bytes]):
    """An array of bytes, or a type that is not looked into; ``n`` on (x64, x86), or the same on both."""

    def __init__(self, n: int | tuple[int, int], type_name: str | None = None, **options: Any) -> None:
        super().__init__(type_name or "UCHAR[]", **options)
        self._n = dict(zip(Abi, (n, n) if isinstance(n, int) else n, strict=True))

    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        return self._n[abi]

    def type_at(self, abi: Abi) -> str:
        return self.type_name.replace("[]", f"[{self._n[abi]}]")

    def convert(self, source: Structure, target: Structure) -> None:
        value = self.__get__(source, type(source))
        n = self._n[target._abi]
        if any(value[n:]):
            raise ValueError(f"{type(source).__name__}.{self.name}: {len(value)} bytes do not fit into {n}")
        self.__set__(target, value[:n].ljust(n, b"\0"))

    def plain(self, value: Any) -> str:
        return bytes(value).hex()

    def _natural_alignment(self, abi: Abi) -> int:
        return 1

    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> bytes:
        return bytes(buf[ofs : ofs + self._n[abi]])

    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None:
        octets = bytes(memoryview(value))
        n = self._n[abi]
        if len(octets) != n:
            raise ValueError(f"got {len(octets)} bytes, wanted {n}")
        buf[ofs : ofs + n] = octets


class Opaque(Octets):
    """Bytes that share a union with named members and have no meaning of their own: never converted."""


class FlexibleKey(Field[bytes]):
    """``UCHAR Name[1]`` at the end of a structure, in truth as long as the key that lies there.  Never shown."""

    def __init__(self) -> None:
        super().__init__("UCHAR[1]")

    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        return 1

    def convert(self, source: Structure, target: Structure) -> None:
        pass  # the structure's key property does it

    def plain(self, value: Any) -> str:
        return f"{len(value)} bytes, not shown"

    def __get__(self, obj: Any, owner: type) -> Any:
        return self if obj is None else obj.key

    def __set__(self, obj: Any, value: Any) -> None:
        obj.key = value


class Integers(Stored[tuple[int, ...]]):
    """An array of integers; ``counts`` gives its length where that depends on NDIS level and ABI."""

    def __init__(
        self,
        element: Integer,
        count: int,
        *,
        counts: Mapping[str, Mapping[str, int]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(f"{element.type_name}[{count}]", **options)
        self._element = element
        self._count = count
        self._counts = {NdisVersion.parse(level): by_abi for level, by_abi in (counts or {}).items()}

    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        count = self._count
        if level and self._counts:
            count = self._counts[max(known for known in self._counts if known <= level)][abi]
        return count * self._element.size(abi)

    def plain(self, value: Any) -> list[int]:
        return list(value)

    def _natural_alignment(self, abi: Abi) -> int:
        return self._element.alignment(abi)

    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> tuple[int, ...]:
        step = self._element.size(abi)
        return tuple(self._element._load(buf, ofs + i * step, abi) for i in range(self._count))

    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None:
        values = list(value)
        if len(values) != self._count:
            raise ValueError(f"got {len(values)} integers, wanted {self._count}")
        step = self._element.size(abi)
        for i, item in enumerate(values):
            self._element._store(buf, ofs + i * step, abi, item)

    def _complaint(self, value: object, abi: Abi, error: Exception) -> str:
        n = 8 * self._element.size(abi)
        return f"{error}: got {value!r}, wanted {self._count} unsigned integers of {n} bits"


class Nested(Stored[S]):
    """A member that is a structure itself: reading gives a view, writing copies.

    A mapping of member names to values can be written too; what it does not name stays.
    """

    def __init__(self, cls: type[S], **options: Any) -> None:
        kind = "union" if cls.IS_UNION else "struct"
        super().__init__(kind if cls.__name__.startswith("_") else cls.__name__, **options)
        self.cls = cls

    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        return self.cls.sizeof(abi)

    def describe(self, abi: Abi) -> list[dict[str, Any]]:
        facts = super().describe(abi)
        if self.cls.__name__.startswith("_"):
            for fact in self.cls.describe(abi):
                inner = {"name": f"{self.name}.{fact['name']}", "offset": self._ofs[abi] + fact["offset"]}
                facts.append({**fact, **inner})
        return facts

    def convert(self, source: Structure, target: Structure) -> None:
        self.__get__(source, type(source))._convert_to(self.__get__(target, type(target)))

    def plain(self, value: Any) -> Any:
        return value.to_dict()

    def _natural_alignment(self, abi: Abi) -> int:
        return self.cls.alignment(abi)

    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> S:
        return self.cls._view(buf, ofs, abi)

    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None:
        self._load(buf, ofs, abi).assign(value)


class NestedArray(Stored[tuple[S, ...]]):
    """An array of structures: reading gives views, writing copies up to its length."""

    def __init__(self, cls: type[S], count: int, **options: Any) -> None:
        super().__init__(f"{cls.__name__}[{count}]", **options)
        self.cls = cls
        self.count = count

    def size(self, abi: Abi, level: NdisVersion | None = None) -> int:
        return self.count * self.cls.sizeof(abi)

    def convert(self, source: Structure, target: Structure) -> None:
        pairs = zip(self.__get__(source, type(source)), self.__get__(target, type(target)), strict=True)
        for old, new in pairs:
            old._convert_to(new)

    def plain(self, value: Any) -> list[Any]:
        return [item.to_dict() for item in value]

    def _natural_alignment(self, abi: Abi) -> int:
        return self.cls.alignment(abi)

    def _load(self, buf: bytearray, ofs: int, abi: Abi) -> tuple[S, ...]:
        step = self.cls.sizeof(abi)
        return tuple(self.cls._view(buf, ofs + i * step, abi) for i in range(self.count))

    def _store(self, buf: bytearray, ofs: int, abi: Abi, value: Any) -> None:
        if len(value) > self.count:
            raise ValueError(f"got {len(value)} structures, wanted at most {self.count}")
        for view, item in zip(self._load(buf, ofs, abi), value, strict=False):
            view.assign(item)


def place(fields: Sequence[Field[Any]], abi: Abi, is_union: bool) -> int:
    """Give each field its offset; returns the end of the last one."""
    unions: dict[str, int] = {}  # first member of an anonymous union -> alignment of the whole
    for f in fields:
        if f.beside:
            unions[f.beside] = max(unions.get(f.beside, 1), f.alignment(abi))
    end = 0
    unit: tuple[str, int, int] | None = None  # open unit of bit-fields: type, offset, bits used
    for f in fields:
        alignment = max(f.alignment(abi), unions.get(f.name, 1))
        if is_union:
            offset = 0
        elif f.beside:
            offset = next(other for other in fields if other.name == f.beside).offset(abi)
            end = align_up(max(end, offset + f.size(abi)), alignment)
        elif isinstance(f, Bits) and unit and unit[0] == f.type_name and unit[2] + f.width <= 8 * f.size(abi):
            offset, f.lsb = unit[1:]
        else:
            offset = align_up(end, alignment)
        f.place(abi, offset)
        end = max(end, offset + f.size(abi))
        unit = (f.type_name, offset, f.lsb + f.width) if isinstance(f, Bits) else None
    return end


def end_of(fields: Iterable[Field[Any]], abi: Abi, level: NdisVersion | None = None) -> int:
    """End of the last of placed ``fields``, at an NDIS level."""
    return max(f.offset(abi) + f.size(abi, level) for f in fields)


# The types of the headers.  A name given is the member's own type.
def uchar(**options: Any) -> Integer:
    """UCHAR."""
    return Integer("UCHAR", 1, **options)


def ushort(type_name: str = "USHORT", **options: Any) -> Integer:
    """USHORT, or a type of two bytes."""
    return Integer(type_name, 2, **options)


def ulong(type_name: str = "ULONG", **options: Any) -> Integer:
    """ULONG, or an unsigned type or enumeration of four bytes."""
    return Integer(type_name, 4, **options)


def ulong64(type_name: str = "ULONG64", **options: Any) -> Integer:
    """ULONG64, or an unsigned type of eight bytes."""
    return Integer(type_name, 8, **options)


def pointer(type_name: str = "PVOID", **options: Any) -> Integer:
    """A pointer or handle, as the integer it is."""
    return Integer(type_name, None, **options)
