"""Structures: views on the bytes of a C structure, checked when they come from outside.

An object owns its bytes (a copy of what it was made from), and reads and writes its members in place; a nested
structure is a view on the same bytes.  So unions are what they are in C, and padding is written back as it came.
No lock is taken: one thread at a time per object.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Self

from ..constants import NdisStatus, ObjectType
from ..errors import StructureError
from ..versions import NdisVersion
from .layout import Abi, Bits, Field, Integer, Nested, NestedArray, Opaque, align_up, end_of, place

_HEADER = struct.Struct("<BBH")  # NDIS_OBJECT_HEADER

Reader = Callable[..., tuple[Any, ...]]

__all__ = ["KeyedStructure", "Reader", "RevisionSize", "Structure", "Union"]


@dataclass(frozen=True)
class RevisionSize:
    """A revision of a structure: Header.Size is the end of member ``through`` (maybe dotted).

    ``macro`` is the header's name of that size, and ``ndis`` the first version that knows the revision.
    """

    revision: int
    ndis: str
    through: str
    macro: str


def revisions(prefix: str, *rows: tuple[str, str]) -> tuple[RevisionSize, ...]:
    """Revisions 1, 2, ... from (NDIS version, last member) each."""
    return tuple(RevisionSize(i, ndis, through, f"{prefix}_REVISION_{i}") for i, (ndis, through) in enumerate(rows, 1))


class Structure:
    """Base of all structures; a subclass declares its members, in order, as :class:`Field` attributes.

    Parameters
    ----------
    abi : "x64" or "x86".
    revision : what the header says; the newest known by default.
    sizeof_header : Header.Size is the compiler's sizeof instead of the end of the revision's last member.
    members : values; a nested structure also takes a mapping.  The others are zero.

    Raises ValueError or TypeError for a value that does not fit its member, AttributeError for an unknown one.
    """

    IS_UNION: ClassVar[bool] = False
    OBJECT_TYPE: ClassVar[ObjectType | None] = None
    REVISIONS: ClassVar[tuple[RevisionSize, ...]] = ()
    MEMBERS: ClassVar[Mapping[str, Field[Any]]] = {}
    _ends: ClassVar[Mapping[Abi, int]]
    _portable: ClassVar[bool]  # the same on both ABIs
    _converted: ClassVar[list[Field[Any]]]  # members that hold all values: of every union the widest
    _through: ClassVar[Mapping[Abi, Mapping[int, int]]] = {}

    __slots__ = ("_abi", "_buf", "_ofs")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        members = {name: member for name, member in vars(cls).items() if isinstance(member, Field)}
        if members:
            cls.MEMBERS = members
            cls._ends = {abi: place(list(members.values()), abi, cls.IS_UNION) for abi in Abi}
            cls._portable = cls.describe(Abi.X64) == cls.describe(Abi.X86)
            cls._converted = _without_overlaps(list(members.values()), cls.IS_UNION)
            cls._through = {abi: {r.revision: cls.size_through(r.through, abi) for r in cls.REVISIONS} for abi in Abi}

    def __init__(
        self, abi: str = Abi.X64, *, revision: int | None = None, sizeof_header: bool = False, **members: Any
    ) -> None:
        self._abi = Abi(abi)
        self._ofs = 0
        self._buf = bytearray(self.sizeof(self._abi))
        if self.REVISIONS:
            known = self._revision(self.REVISIONS[-1].revision if revision is None else revision)
            if known is None:
                wanted = f"1 to {self.REVISIONS[-1].revision}"
                raise ValueError(f"{type(self).__name__}: revision: got {revision}, wanted {wanted}")
            size = len(self._buf) if sizeof_header else self.size_through(known.through, self._abi)
            self._buf[:4] = _HEADER.pack(self.OBJECT_TYPE or 0, known.revision, size)
        for name, value in members.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.MEMBERS and name not in Structure.__slots__ and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no member {name}")
        object.__setattr__(self, name, value)

    # What the compiler knows.

    @classmethod
    def sizeof(cls, abi: Abi, ndis: str | NdisVersion | None = None) -> int:
        """Bytes of the structure, as declared in the headers of an NDIS version (default: the newest)."""
        end = cls._ends[abi]
        if ndis is not None:
            end = end_of(cls._members_at(NdisVersion.parse(ndis)), abi, NdisVersion.parse(ndis))
        return align_up(end, cls.alignment(abi))

    @classmethod
    def alignment(cls, abi: Abi) -> int:
        """Alignment in bytes."""
        return max(member.alignment(abi) for member in cls.MEMBERS.values())

    @classmethod
    def offset_of(cls, path: str, abi: Abi) -> int:
        """Bytes from the start to a member, also of a nested structure: ``"SecAssoc[1].Spi"``."""
        return cls._resolve(path, abi)[0]

    @classmethod
    def size_through(cls, path: str, abi: Abi) -> int:
        """Bytes from the start to the end of a member (RTL_SIZEOF_THROUGH_FIELD)."""
        offset, size, _ = cls._resolve(path, abi)
        return offset + size

    @classmethod
    def least(cls, abi: Abi) -> int:
        """Header.Size of revision 1 (what a buffer must have at least)."""
        return cls._through[abi][1]

    @classmethod
    def describe(cls, abi: Abi) -> list[dict[str, Any]]:
        """Name, type, offset, size (and bits) of every member; those of unnamed inner types with dotted names."""
        return [fact for member in cls.MEMBERS.values() for fact in member.describe(abi)]

    @classmethod
    def revision_for(cls, ndis: str | NdisVersion) -> RevisionSize | None:
        """The newest revision that an NDIS version knows; None where it knows none."""
        level = NdisVersion.parse(ndis)
        known = [r for r in cls.REVISIONS if NdisVersion.parse(r.ndis) <= level]
        return known[-1] if known else None

    @classmethod
    def reader(cls, abi: Abi, *paths: str) -> Reader:
        """A function (buffer, offset=0) that gives many members at once, for what :meth:`from_bytes` is too slow for.

        Integers come as numbers, everything else as bytes.  The members must be named in the order of their offsets.
        """
        text = "<"
        end = 0
        for path in paths:
            offset, size, member = cls._resolve(path, abi)
            if isinstance(member, Bits) or offset < end:
                raise ValueError(f"{cls.__name__}.{path}: wanted members, no bit-fields, in the order of their offsets")
            code = member.code(abi) if isinstance(member, Integer) else f"{size}s"
            text += f"{offset - end}x{code}"
            end = offset + size
        return struct.Struct(text).unpack_from

    # Bytes in and out.

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, abi: str = Abi.X64) -> Self:
        """Read and check a buffer that starts with the structure; what lies behind it is ignored.

        A structure with a header is as long as Header.Size says, and members behind that are zero.

        Raises StructureError: INVALID_LENGTH for a buffer that is too short for what it claims to hold,
        UNSUPPORTED_REVISION for a header of another type, an unknown revision, or a Size below the revision's.
        """
        view = memoryview(data).cast("B")
        self = cls._view(bytearray(cls.sizeof(Abi(abi))), 0, Abi(abi))
        end = min(cls.check(view, Abi(abi)), len(self._buf))
        self._buf[:end] = view[:end]
        self._read_rest(view)
        return self

    @classmethod
    def check(cls, data: bytes | bytearray | memoryview, abi: Abi) -> int:
        """Bytes that the fixed part of a buffer has; StructureError as of :meth:`from_bytes`."""
        n = len(data)
        if not cls.REVISIONS:
            least = cls._fixed_length(abi)
            if n < least:
                raise cls._short(n, least, "")
            return n
        if n < 4:
            raise cls._short(n, 4, " for the header")
        kind, revision, size = _HEADER.unpack_from(data)
        least = cls._through[abi].get(revision, 0)
        if kind != cls.OBJECT_TYPE:
            raise cls._wrong(f"Type: got 0x{kind:02X}, wanted 0x{cls.OBJECT_TYPE or 0:02X}")
        if not least:
            raise cls._wrong(f"Revision: got {revision}, wanted 1 to {cls.REVISIONS[-1].revision}")
        if size < least:
            raise cls._wrong(f"Size: got {size}, wanted at least {least} ({abi.value})")
        if n < size:
            raise cls._short(n, size, ", its Header.Size")
        return int(size)

    def to_bytes(self, abi: str | None = None, *, size: int | None = None) -> bytes:
        """The structure as bytes: Header.Size of them if it has a header, else sizeof; and its key, if any.

        ``size`` gives another number (sizeof, the room of a buffer); another ``abi`` converts first.
        Raises ValueError for a value that does not fit (a 64-bit handle on x86), or a smaller ``size``.
        """
        if abi is not None and Abi(abi) is not self._abi:
            return self.convert(abi).to_bytes(size=size)
        length = self._length()
        if size is not None and size < length:
            raise ValueError(f"{type(self).__name__}: size: got {size} bytes, wanted at least {length}")
        end = self._ofs + (length if size is None else size)
        return bytes(self._buf[self._ofs : end]).ljust(end - self._ofs, b"\0")

    def convert(self, abi: str) -> Self:
        """The same values for an ABI; ValueError for one that does not fit."""
        other = type(self)(abi)
        self._convert_to(other)
        if self.REVISIONS:
            size = self._header()[2]
            known = self._revision(self._header()[1]) or self.REVISIONS[-1]
            whole = size == self.sizeof(self._abi) != self.size_through(known.through, self._abi)
            size = other.sizeof(other._abi) if whole else other.size_through(known.through, other._abi)
            other._buf[2:4] = struct.pack("<H", size)
        return other

    def assign(self, values: Mapping[str, Any] | Structure) -> None:
        """Set members from a mapping, or all from a structure of the same class."""
        if isinstance(values, Mapping):
            for name, value in values.items():
                setattr(self, name, value)
        elif type(values) is type(self):
            values._convert_to(self)
        else:
            raise TypeError(f"got {type(values).__name__}, wanted {type(self).__name__} or a mapping")

    def to_dict(self) -> dict[str, Any]:
        """The members, as JSON can hold them; bytes as hex, keys not shown."""
        return {name: member.plain(getattr(self, name)) for name, member in self.MEMBERS.items()}

    @property
    def abi(self) -> Abi:
        """The ABI of these bytes."""
        return self._abi

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, Structure):
            return NotImplemented
        return self._abi is other._abi and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # can change

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items())
        return f"{type(self).__name__}({self._abi.value!r}, {members})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can't be pickled: it may hold keys; use to_bytes")

    # Inside.

    @classmethod
    def _view(cls, buf: bytearray, ofs: int, abi: Abi) -> Self:
        self = cls.__new__(cls)
        object.__setattr__(self, "_abi", abi)
        object.__setattr__(self, "_buf", buf)
        object.__setattr__(self, "_ofs", ofs)
        return self

    @classmethod
    def _resolve(cls, path: str, abi: Abi) -> tuple[int, int, Field[Any]]:
        """Offset, size and declaration of what ``path`` names."""
        head, _, rest = path.partition(".")
        found = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", head)
        member = cls.MEMBERS.get(found[1]) if found else None
        if found is None or member is None:
            raise ValueError(f"{cls.__name__} has no member {path!r}")
        offset, size = member.offset(abi), member.size(abi)
        if found[2] and isinstance(member, NestedArray):
            size = member.cls.sizeof(abi)
            offset += int(found[2]) * size
        if not rest:
            return offset, size, member
        if not isinstance(member, (Nested, NestedArray)):
            raise ValueError(f"{cls.__name__}.{head} has no members")
        inner, size, member = member.cls._resolve(rest, abi)
        return offset + inner, size, member

    @classmethod
    def _members_at(cls, level: NdisVersion) -> list[Field[Any]]:
        members = [m for m in cls.MEMBERS.values() if m.since is None or m.since <= level]
        known = cls.revision_for(level)
        if known is not None and known is not cls.REVISIONS[-1]:
            last = known.through.partition(".")[0]
            members = members[: [m.name for m in members].index(last) + 1]
        return members

    @classmethod
    def _revision(cls, number: int) -> RevisionSize | None:
        return next((r for r in cls.REVISIONS if r.revision == number), None)

    def _header(self) -> tuple[int, int, int]:
        kind, revision, size = _HEADER.unpack_from(self._buf, self._ofs)
        return kind, revision, size

    def _length(self) -> int:
        return self._header()[2] if self.REVISIONS else self.sizeof(self._abi)

    @classmethod
    def _short(cls, got: int, wanted: int, why: str) -> StructureError:
        text = f"{cls.__name__}: got {got} bytes, wanted {wanted}{why}"
        return StructureError(NdisStatus.NDIS_STATUS_INVALID_LENGTH, text)

    @classmethod
    def _wrong(cls, what: str) -> StructureError:
        return StructureError(NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION, f"{cls.__name__}: Header.{what}")

    @classmethod
    def _fixed_length(cls, abi: Abi) -> int:
        return cls.sizeof(abi)

    def _read_rest(self, view: memoryview) -> None:
        """Of a structure with a variable part: check and copy it."""

    def _convert_to(self, other: Structure) -> None:
        if self._abi is other._abi or self._portable:
            n = self.sizeof(self._abi)
            other._buf[other._ofs : other._ofs + n] = self._buf[self._ofs : self._ofs + n]
            return
        for member in self._converted:
            member.convert(self, other)


def _without_overlaps(members: list[Field[Any]], is_union: bool) -> list[Field[Any]]:
    """Of every union the widest member (the first, where several are), and all that are in none."""
    widest: dict[str, Field[Any]] = {}
    for m in members:
        group = "" if is_union else m.beside or m.name
        if group not in widest or (not isinstance(m, Opaque) and m.size(Abi.X64) > widest[group].size(Abi.X64)):
            widest[group] = m
    return list(widest.values())


class Union(Structure):
    """A union: every member at offset 0."""

    IS_UNION = True


class KeyedStructure(Structure):
    """A structure that carries key material, of as many bytes as its member ``KEY_LENGTH`` says.

    It lies at member ``KEY_AT``, or where member ``KEY_OFFSET`` says (bytes from the structure's start).  It is not
    shown by repr and to_dict; :meth:`wipe` zeroes it.
    """

    KEY_LENGTH: ClassVar[str] = "KeyLength"
    KEY_AT: ClassVar[str | None] = None
    KEY_OFFSET: ClassVar[str | None] = None

    @property
    def key(self) -> bytes:
        """The key material: a copy.  Writing sets the length (and offset) members too."""
        start, length = self._key_place()
        return bytes(self._buf[start : start + length])

    @key.setter
    def key(self, value: bytes | bytearray | memoryview) -> None:
        octets = memoryview(value).cast("B")
        self.wipe()
        if self.KEY_OFFSET:
            setattr(self, self.KEY_OFFSET, self.sizeof(self._abi))
        setattr(self, self.KEY_LENGTH, len(octets))
        start, length = self._key_place()
        del self._buf[max(start, self.sizeof(self._abi)) :]
        self._buf.extend(bytes(max(0, start + length - len(self._buf))))
        self._buf[start : start + length] = octets

    def wipe(self) -> None:
        """Zero the key material, here; its length stays."""
        start, length = self._key_place()
        start, end = max(start, self._least_key_at(self._abi)), min(start + length, len(self._buf))
        if start < end:
            self._buf[start:end] = bytes(end - start)

    def _key_place(self) -> tuple[int, int]:
        at = self.MEMBERS[self.KEY_AT].offset(self._abi) if self.KEY_AT else getattr(self, self.KEY_OFFSET or "")
        return at, getattr(self, self.KEY_LENGTH)

    @classmethod
    def check_key(cls, n: int, abi: Abi, start: int, length: int) -> None:
        """Is the key inside a buffer of ``n`` bytes, and behind the members?  StructureError if not."""
        if not length:
            return
        least = cls._least_key_at(abi)
        if start < least:
            text = f"{cls.__name__}: {cls.KEY_OFFSET}: got {start}, wanted {least} or more"
            raise StructureError(NdisStatus.NDIS_STATUS_INVALID_DATA, text)
        if length > n - start:
            raise cls._short(n, start + length, f", the end of its key ({cls.KEY_LENGTH} {length})")

    @classmethod
    def _fixed_length(cls, abi: Abi) -> int:
        return cls.MEMBERS[cls.KEY_AT].offset(abi) if cls.KEY_AT else cls.sizeof(abi)

    @classmethod
    def _least_key_at(cls, abi: Abi) -> int:
        return cls.MEMBERS[cls.KEY_AT].offset(abi) if cls.KEY_AT else cls._through[abi][cls.REVISIONS[-1].revision]

    def _length(self) -> int:
        start, length = self._key_place()
        fixed = super()._length() if self.REVISIONS else self._fixed_length(self._abi)
        return max(fixed, min(start + length, len(self._buf)))

    def _read_rest(self, view: memoryview) -> None:
        start, length = self._key_place()
        self.check_key(len(view), self._abi, start, length)
        if length:
            self._buf.extend(bytes(max(0, start + length - len(self._buf))))
            self._buf[start : start + length] = view[start : start + length]

    def _convert_to(self, other: Structure) -> None:
        super()._convert_to(other)
        key = self.key
        if isinstance(other, KeyedStructure) and key:
            setattr(other, self.KEY_LENGTH, 0)
            other.key = key
