"""Sizes, offsets, bits and numbers of the interface (section 12 of the contract, "Layout/constants")."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import SHARED

from ipsecfast.ndis import (
    CONSTANTS,
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    IPSEC_OFFLOAD_V2_UPDATE_SA,
    NDIS_IPSEC_OFFLOAD_V1_NET_BUFFER_LIST_INFO,
    NDIS_IPSEC_OFFLOAD_V2_NET_BUFFER_LIST_INFO,
    NDIS_OFFLOAD,
    NET_BUFFER_LIST_INFO_BY_LEVEL,
    SIZE_MACROS,
    STRUCTURES,
    Abi,
    CryptoStatus,
    Encryption,
    NetBufferListInfo,
    SaAssocFlag,
    SaFlag,
)

SPEC = SHARED / "spec"


def spec(name: str) -> dict[str, Any]:
    path = SPEC / name
    if not path.exists():
        pytest.skip("the shared specification is not beside this checkout")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def test_every_struct_size_and_offset_on_x64_and_x86() -> None:
    layouts = spec("layouts.json")["structures"]
    assert set(layouts) == set(STRUCTURES)
    for name, wanted in layouts.items():
        cls = STRUCTURES[name]
        for abi in Abi:
            assert cls.sizeof(abi) == wanted[abi.value]["sizeof"], name
            assert cls.describe(abi) == wanted[abi.value]["fields"], name
            for level, sizes in wanted.get("sizeof_at_ndis_level", {}).items():
                assert cls.sizeof(abi, level) == sizes[abi.value], (name, level)
        revisions = [
            {
                "revision": r.revision,
                "macro": r.macro,
                "min_ndis": r.ndis,
                "through_field": r.through,
                **{abi.value: SIZE_MACROS[r.macro][abi] for abi in Abi},
            }
            for r in cls.REVISIONS
        ]
        assert revisions == wanted.get("revision_sizes", []), name


def test_every_constant() -> None:
    constants = spec("constants.json")["constants"]
    by_level, macros = {}, {}
    seen = set()
    for name, wanted in constants.items():
        if "by_level" in wanted:
            by_level[name.partition(".")[2]] = wanted["by_level"]
        elif "by_abi" in wanted:
            macros[name] = wanted["by_abi"]
            assert wanted["value"] in (None, macros[name]["x64"])
        else:
            assert CONSTANTS[name] == wanted["value"], name
            seen.add(name)
    assert seen == set(CONSTANTS)
    assert by_level == NET_BUFFER_LIST_INFO_BY_LEVEL
    assert macros == {macro: {abi.value: size for abi, size in sizes.items()} for macro, sizes in SIZE_MACROS.items()}


# The same facts once more for checkouts without the shared specification, and by the names of its section 12.


@pytest.mark.parametrize(
    ("cls", "x64", "x86"),
    [
        (IPSEC_OFFLOAD_V2_ADD_SA, 169, 157),
        (IPSEC_OFFLOAD_V2_ADD_SA_EX, 170, 162),
        (IPSEC_OFFLOAD_V2_DELETE_SA, 24, 12),
        (IPSEC_OFFLOAD_V2_UPDATE_SA, 28, 20),
    ],
)
def test_header_size_values(cls: Any, x64: int, x86: int) -> None:
    assert (cls("x64").Header.Size, cls("x86").Header.Size) == (x64, x86)
    assert len(cls("x64").to_bytes()) == x64 and len(cls("x86").to_bytes()) == x86


def test_ndis_offload_sizes() -> None:
    sizes = [NDIS_OFFLOAD(abi, revision=r).Header.Size for abi in Abi for r in range(1, 9)]
    assert sizes == [112, 144, 156, 177, 188, 216, 216, 217] * 2
    assert [NDIS_OFFLOAD.sizeof(Abi.X64, level) for level in ("6.1", "6.50", "6.89")] == [144, 180, 220]


def test_offsets_of_the_sa_structures() -> None:
    members = [
        "Next",
        "NumExtHdrs",
        "Flags",
        "IPv4Endpoints",
        "OffloadHandle",
        "UdpEspEncapsulation",
        "SecAssoc",
        "KeyLength",
        "KeyData",
    ]
    add = IPSEC_OFFLOAD_V2_ADD_SA
    assert [add.offset_of(m, Abi.X64) for m in members] == [8, 16, 20, 24, 56, 64, 68, 164, 168]
    assert [add.offset_of(m, Abi.X86) for m in members] == [4, 8, 12, 16, 48, 52, 56, 152, 156]
    assert add.offset_of("SecAssoc[1].EncryptionAlgorithm.KeyOffsetBytes", Abi.X64) == 68 + 48 + 28 + 8
    assert (add.sizeof(Abi.X64), add.sizeof(Abi.X86)) == (176, 160)
    assert NDIS_OFFLOAD.offset_of("IPsecV2.SaOffloadCapacity", Abi.X64) == 112 + 28


def test_ipv6_flag_inbound_esn_and_encryption_none() -> None:
    assert SaFlag.IPSEC_OFFLOAD_V2_IPv6 == 0x10
    assert SaFlag.IPSEC_OFFLOAD_V2_INBOUND == SaAssocFlag.IPSEC_OFFLOAD_V2_ESN_SA == 1
    assert Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_NONE == 1


def test_oob_slots() -> None:
    assert NetBufferListInfo.IPsecOffloadV2NetBufferListInfo == 1 == NetBufferListInfo.IPsecOffloadV1NetBufferListInfo
    assert NetBufferListInfo.IPsecOffloadV2TunnelNetBufferListInfo == 11
    assert NetBufferListInfo.IPsecOffloadV2HeaderNetBufferListInfo == 12


@pytest.mark.parametrize("abi", Abi)
def test_receive_word_bit_positions_and_v1_and_v2_identical_in_memory(abi: Abi) -> None:
    word = {"SaDeleteReq": 1, "CryptoDone": 0, "NextCryptoDone": 1}
    status = CryptoStatus.CRYPTO_TUNNEL_ESP_AUTH_FAILED
    v2 = NDIS_IPSEC_OFFLOAD_V2_NET_BUFFER_LIST_INFO(abi, Receive={**word, "CryptoStatus": status})
    v1 = NDIS_IPSEC_OFFLOAD_V1_NET_BUFFER_LIST_INFO(abi, Receive={**word, "CryptoStatus": status})
    assert v2.to_bytes() == v1.to_bytes() == (5 << 16 | 0b101).to_bytes(abi.pointer_len, "little")
    assert v2.Transmit.OffloadHandle == 0x50005
