"""Structures: what they refuse, how they convert, that keys are not shown."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import pytest
from differential import examples
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    NDIS_IPSEC_OFFLOAD_V2,
    NDIS_OFFLOAD,
    NDIS_OID_REQUEST,
    NET_BUFFER,
    OFFLOAD_IPSEC_ADD_SA,
    STRUCTURES,
    Abi,
    KeyedStructure,
    NdisStatus,
    Structure,
    StructureError,
)
from ipsecfast.ndis.structs.layout import Bits, Boolean, FlexibleKey, Integer, Integers, Nested, NestedArray, Octets

INVALID_LENGTH = NdisStatus.NDIS_STATUS_INVALID_LENGTH
INVALID_DATA = NdisStatus.NDIS_STATUS_INVALID_DATA
UNSUPPORTED_REVISION = NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION
KEY = bytes(range(0xA0, 0xB4))


def refused(cls: type[Structure], data: bytes, abi: Abi, status: NdisStatus, text: str) -> None:
    with pytest.raises(StructureError, match=text) as caught:
        cls.from_bytes(data, abi)
    assert caught.value.status == status and "\n" not in str(caught.value)


@pytest.mark.parametrize("abi", Abi)
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_short_buffer_is_refused(name: str, abi: Abi) -> None:
    cls = STRUCTURES[name]
    octets = cls(abi).to_bytes()
    assert cls.from_bytes(octets, abi) == cls(abi)
    for n in {0, 3, len(octets) // 2, len(octets) - 1} - {len(octets)}:
        if n < len(octets):
            refused(cls, octets[:n], abi, INVALID_LENGTH, f"{name}: got {n} bytes, wanted")


@pytest.mark.parametrize("abi", Abi)
def test_a_wrong_header_is_refused(abi: Abi) -> None:
    octets = bytearray(IPSEC_OFFLOAD_V2_DELETE_SA(abi).to_bytes())
    for at, value, text in ((0, 0xA7, "Type: got 0xA7"), (1, 2, "Revision: got 2"), (1, 0, "Revision: got 0")):
        damaged = bytearray(octets)
        damaged[at] = value
        refused(IPSEC_OFFLOAD_V2_DELETE_SA, damaged, abi, UNSUPPORTED_REVISION, text)
    damaged = bytearray(octets)
    damaged[2] -= 1
    refused(IPSEC_OFFLOAD_V2_DELETE_SA, damaged, abi, UNSUPPORTED_REVISION, "Size: got")


def test_header_size_at_least_the_macro_is_accepted() -> None:
    for cls in (IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX):
        assert cls("x64", sizeof_header=True).Header.Size == cls.sizeof(Abi.X64) == 176
        assert cls.from_bytes(cls("x64", sizeof_header=True).to_bytes(), "x64").Header.Size == 176


def test_members_behind_the_revision_read_as_zero() -> None:
    offload = NDIS_OFFLOAD("x64", revision=2, IPsecV2={"Esp": True})
    octets = offload.to_bytes(size=220)
    assert NDIS_OFFLOAD.from_bytes(octets).IPsecV2.Esp
    older = octets[:1] + struct.pack("<BH", 1, 112) + octets[4:]
    assert not NDIS_OFFLOAD.from_bytes(older).IPsecV2.Esp and len(NDIS_OFFLOAD.from_bytes(older).to_bytes()) == 112


@pytest.mark.parametrize("abi", Abi)
@pytest.mark.parametrize("cls", [IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX, OFFLOAD_IPSEC_ADD_SA])
def test_keys_are_carried_not_shown_and_wiped(cls: type[KeyedStructure], abi: Abi) -> None:
    sa = cls(abi)
    sa.key = KEY
    octets = sa.to_bytes()
    again = cls.from_bytes(octets + b"behind", abi)
    assert again.key == KEY and again == sa and octets.count(KEY) == 1
    shown = repr(again) + str(again.to_dict())
    assert KEY.hex() not in shown and repr(KEY)[2:-1] not in shown and str(KEY[0]) not in shown.split("KeyData")[-1]
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(again)
    other = again.convert("x86" if abi is Abi.X64 else "x64")
    assert other.key == KEY and other.convert(abi) == sa
    again.wipe()
    assert again.key == bytes(len(KEY)) and KEY not in again.to_bytes()
    sa.key = b""
    assert sa.key == b"" and cls.from_bytes(sa.to_bytes(), abi) == sa and KEY not in sa.to_bytes(size=400)


@pytest.mark.parametrize("abi", Abi)
@pytest.mark.parametrize("length", [2, 0x7FFFFFFF, 0xFFFFFFFF])
def test_overlong_key_length_is_refused(abi: Abi, length: int) -> None:
    sa = IPSEC_OFFLOAD_V2_ADD_SA(abi, KeyLength=length)
    refused(IPSEC_OFFLOAD_V2_ADD_SA, sa.to_bytes(size=sa.sizeof(abi))[: sa.Header.Size], abi, INVALID_LENGTH, "KeyLen")


@pytest.mark.parametrize("abi", Abi)
def test_key_offset_is_checked_without_overflow(abi: Abi) -> None:
    least = IPSEC_OFFLOAD_V2_ADD_SA_EX(abi).Header.Size
    for offset, length, status in (
        (least - 1, 4, INVALID_DATA),
        (0, 4, INVALID_DATA),
        (0xFFFFFFFF, 1, INVALID_LENGTH),
        (0xFFFFFFF0, 0x20, INVALID_LENGTH),
        (least, 0xFFFFFFFF, INVALID_LENGTH),
        (300, 4, INVALID_LENGTH),
    ):
        sa = IPSEC_OFFLOAD_V2_ADD_SA_EX(abi, KeyOffset=offset, KeyLength=length)
        refused(IPSEC_OFFLOAD_V2_ADD_SA_EX, sa.to_bytes(size=300), abi, status, "IPSEC_OFFLOAD_V2_ADD_SA_EX")
    sa = IPSEC_OFFLOAD_V2_ADD_SA_EX(abi, KeyOffset=least, KeyLength=300 - least)
    octets = sa.to_bytes(size=300)[:least] + b"k" * (300 - least)
    assert IPSEC_OFFLOAD_V2_ADD_SA_EX.from_bytes(octets, abi).key == b"k" * (300 - least)


def test_wrong_use_says_what_was_got_and_wanted() -> None:
    v2 = NDIS_IPSEC_OFFLOAD_V2()
    with pytest.raises(ValueError, match=r"UdpEsp: got -1, wanted an unsigned integer of 32 bits"):
        v2.UdpEsp = -1
    with pytest.raises(ValueError, match=r"Ah: got 2, wanted True or False"):
        v2.Ah = 2
    with pytest.raises(AttributeError, match="has no member Esp2"):
        v2.Esp2 = True
    with pytest.raises(AttributeError, match="has no member Esp2"):
        NDIS_IPSEC_OFFLOAD_V2(Esp2=True)
    with pytest.raises(ValueError, match=r"TcpChecksum: got 4, wanted an unsigned integer of 2 bits"):
        NDIS_OFFLOAD(Checksum={"IPv4Transmit": {"TcpChecksum": 4}})
    with pytest.raises(ValueError, match=r"revision: got 9, wanted 1 to 8"):
        NDIS_OFFLOAD(revision=9)
    with pytest.raises(ValueError, match="size: got 10 bytes, wanted at least 217"):
        NDIS_OFFLOAD().to_bytes(size=10)
    with pytest.raises(ValueError, match="x32"):
        NDIS_OFFLOAD("x32")
    with pytest.raises(ValueError, match=r"SrcAddr: got 3 bytes, wanted 4"):
        IPSEC_OFFLOAD_V2_ADD_SA(IPv4Endpoints={"SrcAddr": b"abc"})
    with pytest.raises(ValueError, match="got 3 structures, wanted at most 2"):
        IPSEC_OFFLOAD_V2_ADD_SA(SecAssoc=[{}, {}, {}])
    with pytest.raises(TypeError):
        NDIS_OFFLOAD.from_bytes("text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in the order"):
        NDIS_OFFLOAD.reader(Abi.X64, "IPsecV2.UdpEsp", "Flags")


def test_conversion_between_abis_refuses_what_does_not_fit() -> None:
    delete = IPSEC_OFFLOAD_V2_DELETE_SA("x64", Next=0x10, OffloadHandle=1 << 32)
    with pytest.raises(ValueError, match="OffloadHandle"):
        delete.to_bytes("x86")
    delete.OffloadHandle = 0xFFFFFFFF
    small = IPSEC_OFFLOAD_V2_DELETE_SA.from_bytes(delete.to_bytes("x86"), "x86")
    assert (small.Next, small.OffloadHandle, small.Header.Size) == (0x10, 0xFFFFFFFF, 12)
    request = NDIS_OID_REQUEST("x64", DATA={"SET_INFORMATION": {"Oid": 7, "InformationBuffer": 9, "BytesNeeded": 3}})
    info = request.convert("x86").DATA.SET_INFORMATION
    assert (info.Oid, info.InformationBuffer, info.BytesNeeded) == (7, 9, 3)
    assert NET_BUFFER("x64", Next=5, DataLength=6).convert("x86").DataLength == 6


@examples(100)
@given(st.sampled_from(sorted(STRUCTURES)), st.sampled_from(list(Abi)), st.binary(max_size=600), st.booleans())
def test_random_buffers_raise_nothing_but_the_documented_error(
    name: str, abi: Abi, data: bytes, with_header: bool
) -> None:
    cls = STRUCTURES[name]
    if with_header and cls.REVISIONS:
        data = cls(abi).to_bytes()[:4] + data
    try:
        obj = cls.from_bytes(data, abi)
    except StructureError as error:
        assert error.status in (INVALID_LENGTH, INVALID_DATA, UNSUPPORTED_REVISION)
    else:
        assert data.startswith(obj.to_bytes()[: len(data)]) or isinstance(obj, KeyedStructure)
        assert cls.from_bytes(obj.to_bytes(), abi) == obj
        repr(obj)


def members(cls: type[Structure], abi: Abi) -> st.SearchStrategy[dict[str, Any]]:
    """Values for every member that has its own bytes, but for headers and the places of keys."""
    skip = {"Header", getattr(cls, "KEY_LENGTH", ""), getattr(cls, "KEY_OFFSET", "")}
    own = [m for m in cls.MEMBERS.values() if not m.beside and m.name not in skip]
    return st.fixed_dictionaries({m.name: value(m, abi) for m in (own[:1] if cls.IS_UNION else own)})


def value(m: Any, abi: Abi) -> st.SearchStrategy[Any]:
    if isinstance(m, Bits):
        return st.integers(0, 2**m.width - 1)
    if isinstance(m, Boolean):
        return st.booleans()
    if isinstance(m, Integer):
        bits, signed = 8 * m.size(abi), m.code(abi).islower()
        return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)
    if isinstance(m, Integers):
        n = m.size(abi) // abi.pointer_len
        return st.tuples(*[st.integers(0, 2 ** (8 * abi.pointer_len) - 1)] * n)
    if isinstance(m, FlexibleKey):
        return st.binary(max_size=80)
    if isinstance(m, Octets):
        return st.binary(min_size=m.size(abi), max_size=m.size(abi))
    if isinstance(m, Nested):
        return members(m.cls, abi)
    assert isinstance(m, NestedArray)
    return st.lists(members(m.cls, abi), min_size=m.count, max_size=m.count)


@examples(100)
@given(st.data(), st.sampled_from(sorted(STRUCTURES)), st.sampled_from(list(Abi)))
def test_what_is_written_is_read_back(data: st.DataObject, name: str, abi: Abi) -> None:
    cls = STRUCTURES[name]
    values = data.draw(members(cls, abi))
    obj = cls(abi, **values)
    again = cls.from_bytes(obj.to_bytes(), abi)
    assert again == obj
    for member, wanted in values.items():
        got = getattr(again, member)
        if isinstance(got, (int, bytes)) or (isinstance(got, tuple) and not isinstance(got[0], Structure)):
            assert got == wanted
    if abi is Abi.X86:
        assert obj.convert("x64").convert("x86") == obj
