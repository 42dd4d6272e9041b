"""Structures as a C compiler for Windows lays them out: initialised in C, read back member by member, written back.

The C compilers are mingw-w64's, for x64 and x86; the bytes are taken from the object file, nothing is run.
Declarations come from mingw-w64's ntddndis.h, and from tests/data/ndis_structs.h where that lacks them.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from helpers import TESTS

from ipsecfast.ndis import STRUCTURES, Abi, Structure
from ipsecfast.ndis.structs.layout import (
    Bits,
    Boolean,
    FlexibleKey,
    Integer,
    Integers,
    Nested,
    NestedArray,
    Octets,
    Opaque,
)

COMPILERS = {Abi.X64: "x86_64-w64-mingw32-gcc", Abi.X86: "i686-w64-mingw32-gcc"}
# From ntddndis.h, with the revision that its structure ends at.
FROM_HEADER = {
    "NDIS_OBJECT_HEADER": 0,
    "NDIS_OFFLOAD": 3,
    "NDIS_OFFLOAD_PARAMETERS": 3,
    "NDIS_TCP_CONNECTION_OFFLOAD": 2,
    "NDIS_TCP_IP_CHECKSUM_OFFLOAD": 0,
    "NDIS_TCP_LARGE_SEND_OFFLOAD_V1": 0,
    "NDIS_TCP_LARGE_SEND_OFFLOAD_V2": 0,
    "NDIS_IPSEC_OFFLOAD_V1": 0,
    "NDIS_IPSEC_OFFLOAD_V2": 0,
    "OFFLOAD_ALGO_INFO": 0,
    "OFFLOAD_SECURITY_ASSOCIATION": 0,
    "OFFLOAD_IPSEC_ADD_SA": 0,
    "OFFLOAD_IPSEC_DELETE_SA": 0,
    "OFFLOAD_IPSEC_UDPESP_ENCAPTYPE_ENTRY": 0,
    "OFFLOAD_IPSEC_ADD_UDPESP_SA": 0,
    "OFFLOAD_IPSEC_DELETE_UDPESP_SA": 0,
}
OWN_HEADER = TESTS / "data" / "ndis_structs.h"
OWN = [name for name in STRUCTURES if f"T_{name};" in OWN_HEADER.read_text().replace("\n", " ").replace("} ", "")]
# C type -> our structure, and revision of which the C type ends.
C_TYPES = {name: (name, revision) for name, revision in FROM_HEADER.items()}
C_TYPES |= {f"T_{name}": (name, len(STRUCTURES[name].REVISIONS)) for name in OWN}
# Bit-fields that ntddndis.h is too old for.
TOO_NEW = {"EncapsulatedPacketTaskOffloadGre.UsoSupported", "EncapsulatedPacketTaskOffloadGre.Reserved"}
N_ARMS = 6  # at most so many members in one union


def numbers(seed: int) -> Iterator[int]:
    """64-bit numbers that look like nothing."""
    n = seed
    while True:
        n = (n + 1) * 0x9E3779B97F4A7C15 % 2**64
        yield n


def leaves(cls: type[Structure], abi: Abi, arm: int, last: str | None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and declaration of each member that has a value, with one arm of every union."""
    members = list(cls.MEMBERS.values())
    if last is not None:
        members = members[: [m.name for m in members].index(last) + 1]
    if cls.IS_UNION:
        members = [members[min(arm, len(members) - 1)]]
    first = {m.beside for m in members if m.beside and not isinstance(m, Opaque)}
    for m in members:
        if isinstance(m, Opaque) or (m.beside and arm == 0) or (m.name in first and arm > 0):
            continue
        if isinstance(m, Nested):
            yield from leaves(m.cls, abi, arm, None, f"{prefix}{m.name}.")
        elif isinstance(m, NestedArray):
            for i in range(m.count):
                yield from leaves(m.cls, abi, arm, None, f"{prefix}{m.name}[{i}].")
        else:
            yield prefix + m.name, m


def value_of(member: Any, abi: Abi, n: Iterator[int]) -> Any:
    if isinstance(member, Bits):
        return next(n) >> (64 - member.width) | 1
    if isinstance(member, Boolean):
        return True
    if isinstance(member, Integer):
        bits = 8 * member.size(abi) - member.code(abi).islower()
        return next(n) >> (64 - bits) | 1
    if isinstance(member, Integers):
        return tuple(next(n) >> (64 - 8 * abi.pointer_len) for _ in range(member.size(abi) // abi.pointer_len))
    if isinstance(member, FlexibleKey):
        return bytes([next(n) >> 56])
    assert isinstance(member, Octets)
    return b"".join(next(n).to_bytes(8, "little") for _ in range(8 * 2))[: member.size(abi)]


def in_c(member: Any, value: Any) -> str:
    if isinstance(member, Integers):
        return "{" + ", ".join(f"(PVOID)0x{v:X}" for v in value) + "}"
    if member.type_name in ("IPAddr", "IPMask"):
        return hex(int.from_bytes(value, "little"))
    if member.type_name == "GUID":
        a, b, c, rest = struct.unpack("<IHH8s", value)
        return f"{{0x{a:X}, 0x{b:X}, 0x{c:X}, {{{', '.join(map(str, rest))}}}}}"
    if isinstance(value, bytes):
        return "{" + ", ".join(map(str, value)) + "}"
    pointer = isinstance(member, Integer) and member.size(Abi.X64) != member.size(Abi.X86)
    return f"(PVOID)0x{value:X}" if pointer else f"0x{int(value):X}"


def images(abi: Abi) -> Iterator[tuple[str, dict[str, Any], str]]:
    """C type, values by path, and C initialiser of every image."""
    for c_type, (name, revision) in C_TYPES.items():
        cls = STRUCTURES[name]
        through = cls.REVISIONS[revision - 1].through if cls.REVISIONS else None
        last = through.partition(".")[0] if through and c_type == name else None
        seen: list[list[str]] = []
        for arm in range(N_ARMS):
            chosen = [x for x in leaves(cls, abi, arm, last) if c_type != name or x[0] not in TOO_NEW]
            if [path for path, _ in chosen] in seen:
                continue
            seen.append([path for path, _ in chosen])
            n = numbers(len(seen))
            values = {path: value_of(member, abi, n) for path, member in chosen}
            for path in values:
                if path in ("KeyLength", "KeyLen"):  # one byte of key where there is room for it, else none
                    values[path] = int("KeyOffset" not in values)
            initialisers = {path: in_c(member, values[path]) for path, member in chosen}
            if through:
                values |= {"Header.Type": int(cls.OBJECT_TYPE or 0), "Header.Revision": revision}
                values["Header.Size"] = cls.size_through(through, abi)
                initialisers |= {path: str(values[path]) for path in ("Header.Type", "Header.Revision")}
                # The compiler's own idea of NDIS_SIZEOF_..._REVISION_n.
                initialisers["Header.Size"] = f"THROUGH({c_type}, {through})"
            body = ", ".join(f".{path} = {text}" for path, text in initialisers.items())
            yield c_type, values, f"{c_type} NAME = {{{body}}};"


def source(abi: Abi) -> str:
    lines = [
        "#include <stddef.h>",
        "#include <winsock2.h>",
        "#include <windows.h>",
        "#include <ntddndis.h>",
        f'#include "{OWN_HEADER}"',
        "#define THROUGH(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))",
    ]
    for i, (_, _, text) in enumerate(images(abi)):
        place = f'__attribute__((section(".i{i}")))'
        lines.append(text.replace("NAME", f"{place} i{i}", 1))
        lines.append(f'__attribute__((section(".s{i}"))) unsigned s{i} = sizeof(i{i});')
    return "\n".join(lines)


def sections(coff: bytes) -> dict[str, bytes]:
    """Sections of a COFF object file by name."""
    _, count, _, symbols, n_symbols, optional, _ = struct.unpack_from("<HHIIIHH", coff)
    strings = symbols + 18 * n_symbols
    found = {}
    for i in range(count):
        at = 20 + optional + 40 * i
        name = coff[at : at + 8].rstrip(b"\0").decode()
        if name.startswith("/"):
            start = strings + int(name[1:])
            name = coff[start : coff.index(b"\0", start)].decode()
        size, offset = struct.unpack_from("<II", coff, at + 16)
        found[name] = coff[offset : offset + size]
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("ndis")

    @cache
    def build(abi: Abi) -> dict[str, bytes]:
        compiler = shutil.which(COMPILERS[abi])
        if compiler is None:
            pytest.skip(f"{COMPILERS[abi]} is not installed (Debian: gcc-mingw-w64)")
        c, o = folder / f"{abi}.c", folder / f"{abi}.o"
        c.write_text(source(abi))
        defines = ["-DUM_NDIS630", "-D_WIN32_WINNT=0x0602", "-DNTDDI_VERSION=0x06020000"]
        done = subprocess.run([compiler, "-c", *defines, "-o", o, c], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return sections(o.read_bytes())

    return build


def read(obj: Any, path: str) -> Any:
    for part in path.split("."):
        name, _, index = part.rstrip("]").partition("[")
        obj = getattr(obj, name)
        if index:
            obj = obj[int(index)]
    return obj


@pytest.mark.parametrize("abi", Abi)
def test_images_of_a_compiler_read_and_written_back(built: Any, abi: Abi) -> None:
    found = built(abi)
    seen = set()
    for i, (c_type, values, _) in enumerate(images(abi)):
        name, revision = C_TYPES[c_type]
        cls = STRUCTURES[name]
        (sizeof,) = struct.unpack_from("<I", found[f".s{i}"])
        image = found[f".i{i}"][:sizeof]
        assert sizeof == cls.sizeof(abi, cls.REVISIONS[revision - 1].ndis if revision else None), c_type
        obj = cls.from_bytes(image, abi)
        for path, value in values.items():
            assert read(obj, path) == value, (c_type, path)
        assert obj.to_bytes(size=max(sizeof, len(obj.to_bytes())))[:sizeof] == image, c_type
        seen.add(name)
    assert seen == set(STRUCTURES)
