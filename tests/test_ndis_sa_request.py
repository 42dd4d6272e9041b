"""SA requests in memory that is not trusted: lists, pointers, keys; IPsecOV2 and IPsecOV1."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace

import pytest
from differential import examples
from hypothesis import given
from hypothesis import strategies as st

from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    IPSEC_OFFLOAD_V2_UPDATE_SA,
    OFFLOAD_IPSEC_ADD_SA,
    Abi,
    Authentication,
    Encryption,
    IPsecV1Confidentiality,
    IPsecV1Integrity,
    IPsecV1Operation,
    Memory,
    MemoryFault,
    NdisStatus,
    Operation,
    Options,
    SaAlgorithm,
    SaProtocol,
    SaRequest,
    StructureError,
    UdpEsp,
    V1Protocol,
    V1SaRequest,
    V1UdpEsp,
    read_add_sa_ex,
    read_add_sa_list,
    read_delete_sa_list,
    read_update_sa,
    read_v1_add_sa,
    read_v1_add_udpesp_sa,
    write_list,
)

INVALID_DATA = NdisStatus.NDIS_STATUS_INVALID_DATA
INVALID_LENGTH = NdisStatus.NDIS_STATUS_INVALID_LENGTH
KEYS = bytes(range(64, 64 + 36)), bytes(range(128, 128 + 32))
ESP_GCM = SaProtocol(
    Operation.IPsecOffloadV2Esp,
    0xA5F8,
    encryption=SaAlgorithm(Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_256, KEYS[0], 16),
    esn=True,
    seq_hi=7,
)
ESP_CBC = SaProtocol(
    Operation.IPsecOffloadV2Esp,
    0x1001,
    SaAlgorithm(Authentication.IPSEC_OFFLOAD_V2_AUTHENTICATION_SHA_256, KEYS[1]),
    SaAlgorithm(Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_CBC_128, KEYS[0][:16]),
)
AH = SaProtocol(
    Operation.IPsecOffloadV2Ah, 0x1002, SaAlgorithm(Authentication.IPSEC_OFFLOAD_V2_AUTHENTICATION_SHA_1, KEYS[1][:20])
)
REQUESTS = [
    SaRequest(True, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), (ESP_GCM,)),
    SaRequest(False, bytes(16), bytes(range(16)), (ESP_CBC, AH)),
    SaRequest(
        True,
        bytes(4),
        bytes([192, 0, 2, 9]),
        (AH,),
        UdpEsp.IPSEC_OFFLOAD_V2_UDP_ESP_ENCAPSULATION_TRANSPORT_OVER_TUNNEL,
    ),
]
LENGTH = 200  # an InformationBufferLength that holds a first node

ABIS = pytest.mark.parametrize("abi", Abi)


def add_list(memory: Memory, requests: list[SaRequest], options: Options | None = None) -> list[int]:
    return write_list(memory, [r.to_add_sa(memory.abi, options or Options()) for r in requests])


def refused(memory: Memory, address: int, status: NdisStatus, text: str, length: int = LENGTH) -> None:
    with pytest.raises(StructureError, match=text) as caught:
        read_add_sa_list(memory, address, length, Options(max_list_nodes=5))
    assert caught.value.status == status


@ABIS
@pytest.mark.parametrize("options", [Options(), Options(header_size="sizeof"), Options(spi_network_order=True)])
def test_add_sa_list_and_add_sa_ex_are_read_as_written(abi: Abi, options: Options) -> None:
    memory = Memory(abi)
    addresses = add_list(memory, REQUESTS, options)
    nodes = read_add_sa_list(memory, addresses[0], LENGTH, options)
    assert [n.request for n in nodes] == REQUESTS and [n.address for n in nodes] == addresses
    for request in REQUESTS:
        octets = request.to_add_sa_ex(abi, options).to_bytes()
        assert read_add_sa_ex(memory, memory.allocate(octets), len(octets), options) == request


def test_option_header_size() -> None:
    assert REQUESTS[0].to_add_sa("x64").Header.Size == 169
    assert REQUESTS[0].to_add_sa("x64", Options(header_size="sizeof")).Header.Size == 176


def test_option_spi_network_order() -> None:
    assert REQUESTS[0].to_add_sa("x64").SecAssoc[0].Spi == 0xA5F8
    assert REQUESTS[0].to_add_sa("x64", Options(spi_network_order=True)).SecAssoc[0].Spi == 0xF8A50000
    memory = Memory()
    update = IPSEC_OFFLOAD_V2_UPDATE_SA(
        OffloadHandle=9, Operation=Operation.IPsecOffloadV2Esp, Spi=0xF8A50000, SequenceNumberHighOrder=1 << 24
    )
    address = memory.allocate(update.to_bytes())
    assert read_update_sa(memory, address, 28, Options(spi_network_order=True)) == (9, 2, 0xA5F8, 1)


def test_addresses_are_network_order_bytes_in_memory() -> None:
    octets = REQUESTS[0].to_add_sa("x64").to_bytes()
    assert octets[24:32] == bytes([192, 0, 2, 1, 192, 0, 2, 2])


@ABIS
def test_a_key_that_is_not_in_the_key_material_fails_its_node_only(abi: Abi) -> None:
    for offset, length in ((0, 37), (37, 0), (36, 1), (0xFFFFFFFF, 1), (0xFFFFFFF0, 0x20), (1, 0xFFFFFFFF)):
        memory = Memory(abi)
        nodes = [r.to_add_sa(abi) for r in (REQUESTS[0], REQUESTS[0], REQUESTS[0])]
        info = nodes[1].SecAssoc[0].EncryptionAlgorithm
        info.KeyOffsetBytes, info.KeyLength = offset, length
        found = read_add_sa_list(memory, write_list(memory, nodes)[0], LENGTH)
        assert [n.request for n in found] == [REQUESTS[0], None, REQUESTS[0]]
        assert found[1].error is not None and found[1].error.status == INVALID_DATA


@ABIS
def test_gcm_ignores_the_authentication_beside_it(abi: Abi) -> None:
    memory = Memory(abi)
    node = REQUESTS[0].to_add_sa(abi)
    node.SecAssoc[0].AuthenticationAlgorithm.assign({"Identifier": 2, "KeyLength": 0xFFFF, "KeyOffsetBytes": 0xFFFF})
    assert read_add_sa_list(memory, write_list(memory, [node])[0], LENGTH)[0].request == REQUESTS[0]


@ABIS
@pytest.mark.parametrize(
    ("member", "wrong", "status"),
    [
        ("NumExtHdrs", 0, INVALID_DATA),
        ("NumExtHdrs", 3, INVALID_DATA),
        ("KeyLength", 500, INVALID_LENGTH),
        ("KeyLength", 0xFFFFFFFF, INVALID_LENGTH),
        ("SecAssoc", [{"Operation": 3}], INVALID_DATA),
        ("Header", {"Revision": 2}, NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION),
        ("Header", {"Size": 100}, NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION),
    ],
)
def test_a_malformed_node_has_its_status_and_the_others_are_read(
    abi: Abi, member: str, wrong: object, status: NdisStatus
) -> None:
    memory = Memory(abi)
    addresses = add_list(memory, REQUESTS)
    node = IPSEC_OFFLOAD_V2_ADD_SA.from_bytes(memory.read(addresses[1]), abi)
    node.assign({member: wrong})
    memory.write(addresses[1], node.to_bytes(size=len(memory.read(addresses[1]))))
    found = read_add_sa_list(memory, addresses[0], LENGTH)
    assert [n.request for n in found] == [REQUESTS[0], None, REQUESTS[2]]
    assert found[1].error is not None and found[1].error.status == status


@ABIS
def test_damaged_lists_are_refused_whole(abi: Abi) -> None:
    memory = Memory(abi)
    a = add_list(memory, REQUESTS)
    refused(memory, a[0], INVALID_LENGTH, "got 100 bytes", 100)
    refused(memory, 0, INVALID_DATA, "nothing lies at address 0x0")
    for target, text in (
        (a[0], "comes back"),
        (a[2], "comes back"),
        (1, "nothing lies"),
        (a[2] + len(memory.read(a[2])), "nothing lies"),
        (2 ** (8 * abi.pointer_len) - 1, "nothing lies"),
    ):
        memory.store(a[2], IPSEC_OFFLOAD_V2_ADD_SA.Next, target)
        refused(memory, a[0], INVALID_DATA, text)
    memory.store(a[2], IPSEC_OFFLOAD_V2_ADD_SA.Next, a[1] + len(memory.read(a[1])) - 8)
    refused(memory, a[0], INVALID_LENGTH, "got 8 bytes")
    memory.store(a[2], IPSEC_OFFLOAD_V2_ADD_SA.Next, 0)
    assert len(read_add_sa_list(memory, a[0], LENGTH)) == 3
    memory.free(a[1])
    refused(memory, a[0], INVALID_DATA, "nothing lies")  # dangling


def test_option_max_list_nodes() -> None:
    memory = Memory()
    addresses = add_list(memory, REQUESTS * 2)
    assert len(read_add_sa_list(memory, addresses[1], LENGTH, Options(max_list_nodes=5))) == 5
    refused(memory, addresses[0], INVALID_DATA, "more than 5 nodes")


@ABIS
def test_delete_list_and_update(abi: Abi) -> None:
    memory = Memory(abi)
    nodes = [IPSEC_OFFLOAD_V2_DELETE_SA(abi, OffloadHandle=h) for h in (5, 0, 0xFFFFFFFF)]
    addresses = write_list(memory, nodes)
    assert read_delete_sa_list(memory, addresses[0], 24) == [5, 0, 0xFFFFFFFF]
    memory.store(addresses[2], IPSEC_OFFLOAD_V2_DELETE_SA.Next, addresses[0])
    with pytest.raises(StructureError, match="comes back") as caught:
        read_delete_sa_list(memory, addresses[0], 24)
    assert caught.value.status == INVALID_DATA
    update = memory.allocate(IPSEC_OFFLOAD_V2_UPDATE_SA(abi).to_bytes())
    with pytest.raises(StructureError, match="got 11 bytes") as caught:
        read_update_sa(memory, update, 11)
    assert caught.value.status == INVALID_LENGTH


def test_requests_do_not_show_keys_and_are_not_pickled() -> None:
    for request in [*REQUESTS, V1]:
        shown = repr(request)
        for key in KEYS:
            assert repr(key[:8])[2:-1] not in shown and key[:8].hex() not in shown
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(request)
    with pytest.raises(ValueError, match="src, dst: got 4 and 16 bytes"):
        replace(REQUESTS[0], dst=bytes(16))
    with pytest.raises(ValueError, match="protocols: got 3"):
        replace(REQUESTS[0], protocols=(AH, AH, AH))


@ABIS
@examples(100)
@given(st.integers(0, 2**32), st.data())
def test_damaged_requests_raise_nothing_but_the_documented_error(abi: Abi, seed: int, data: st.DataObject) -> None:
    rng = random.Random(seed)
    memory = Memory(abi)
    addresses = add_list(memory, REQUESTS)
    for _ in range(rng.randrange(1, 6)):
        address = rng.choice(addresses)
        at = rng.randrange(len(memory.read(address)))
        word = data.draw(st.sampled_from([b"\0", b"\1", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0"]))
        memory.write(address + at, word[: len(memory.read(address)) - at])
    length = rng.choice([0, 1, LENGTH, 2**32 - 1])
    for read in (read_add_sa_list, read_delete_sa_list, read_add_sa_ex, read_update_sa):
        try:
            found = read(memory, addresses[0], length)
        except StructureError as error:
            assert error.status in (INVALID_DATA, INVALID_LENGTH, NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION)
        else:
            if read is read_add_sa_list:
                assert all((n.request is None) != (n.error is None) for n in found)


@ABIS
def test_memory(abi: Abi) -> None:
    memory = Memory(abi)
    a, b = memory.allocate(b"abcdef"), memory.allocate(1000)
    assert memory.read(a + 1, 2) == b"bc" and memory.read(b) == bytes(1000) and len(memory) == 2
    memory.write(b + 998, b"xy")
    assert memory.read(b + 990)[-2:] == b"xy"
    for bad in (lambda: memory.read(a, 7), lambda: memory.write(a + 5, b"xy"), lambda: memory.read(a + 6)):
        with pytest.raises(MemoryFault) as caught:
            bad()
        assert caught.value.status == INVALID_DATA
    assert memory.read(a) == b"abcdef"
    with pytest.raises(MemoryFault, match="no start"):
        memory.free(b + 1)
    memory.free(a)
    with pytest.raises(MemoryFault, match="nothing lies"):
        memory.read(a, 1)
    assert memory.allocate(b"new") != a and len(memory) == 2
    with pytest.raises(ValueError, match="got 0 bytes"):
        memory.allocate(b"")


def test_memory_of_x86_is_used_again_from_the_bottom_when_it_is_full() -> None:
    memory = Memory("x86")
    first = memory.allocate(1)
    memory._next = (1 << 32) - 256  # as after four thousand million bytes of allocations
    second = memory.allocate(b"2")
    assert second > first and second < 1 << 32 and memory.read(second) == b"2"


V1 = V1SaRequest(
    True,
    (
        V1Protocol(
            IPsecV1Operation.ENCRYPT,
            0x1234,
            SaAlgorithm(IPsecV1Integrity.OFFLOAD_IPSEC_INTEGRITY_SHA, KEYS[1][:20]),
            SaAlgorithm(IPsecV1Confidentiality.OFFLOAD_IPSEC_CONF_3_DES, KEYS[0][:24]),
        ),
        V1Protocol(
            IPsecV1Operation.AUTHENTICATE,
            0x1235,
            SaAlgorithm(IPsecV1Integrity.OFFLOAD_IPSEC_INTEGRITY_MD5, KEYS[1][:16]),
        ),
    ),
    src=bytes([10, 0, 0, 1]),
    dst=bytes([10, 0, 0, 2]),
    src_mask=b"\xff\xff\xff\0",
    dst_mask=b"\xff\xff\xff\xff",
    protocol=17,
    dst_port=53,
    src_tunnel=bytes([192, 0, 2, 1]),
    dst_tunnel=bytes([192, 0, 2, 2]),
)


@ABIS
@pytest.mark.parametrize("order", ["confidentiality", "integrity"])
def test_v1_sa_requests_are_read_as_written(abi: Abi, order: str) -> None:
    options = Options(v1_key_order=order)  # type: ignore[arg-type]
    assert read_v1_add_sa(V1.to_structure(abi, options).to_bytes(), abi, options) == V1
    udp = replace(V1, inbound=False, udp_esp=V1UdpEsp(1, 4500, 77))
    assert read_v1_add_udpesp_sa(udp.to_structure(abi, options).to_bytes(), abi, options) == udp


def test_option_v1_key_order() -> None:
    first = V1.to_structure("x64")
    assert first.key == KEYS[0][:24] + KEYS[1][:20] + KEYS[1][:16]
    assert V1.to_structure("x64", Options(v1_key_order="integrity")).key[:44] == KEYS[1][:20] + KEYS[0][:24]
    assert first.to_bytes()[8:12] == bytes([10, 0, 0, 2])


@ABIS
def test_malformed_v1_requests_are_refused(abi: Abi) -> None:
    for member, wrong in (
        ("Flags", 0),
        ("Flags", 3),
        ("NumSAs", 0),
        ("NumSAs", 3),
        ("NumSAs", -1),
        ("SecAssoc", [{"Operation": 0}]),
        ("SecAssoc", [{"ConfAlgo": {"algoKeylen": 100}}]),
        ("SecAssoc", [{"ConfAlgo": {"algoKeylen": 0xFFFFFFFF}}]),
    ):
        sa = V1.to_structure(abi)
        sa.assign({member: wrong})
        with pytest.raises(StructureError) as caught:
            read_v1_add_sa(sa.to_bytes(), abi)
        assert caught.value.status == INVALID_DATA
    sa = V1.to_structure(abi)
    sa.KeyLen = 0xFFFFFFFF
    with pytest.raises(StructureError) as caught:
        OFFLOAD_IPSEC_ADD_SA.from_bytes(sa.to_bytes(), abi)
    assert caught.value.status == INVALID_LENGTH


@ABIS
def test_add_sa_ex_carries_its_key_anywhere_behind_its_members(abi: Abi) -> None:
    memory = Memory(abi)
    sa = REQUESTS[0].to_add_sa_ex(abi)
    key, least = sa.key, sa.Header.Size
    sa.key = b""
    sa.KeyLength, sa.KeyOffset = len(key), 999
    octets = sa.to_bytes(size=999)[:least].ljust(999, b"\xee") + key
    address = memory.allocate(octets)
    assert read_add_sa_ex(memory, address, len(octets)) == REQUESTS[0]
    with pytest.raises(StructureError) as caught:
        read_add_sa_ex(memory, address, len(octets) - 1)
    assert caught.value.status == INVALID_LENGTH
    with pytest.raises(MemoryFault):
        read_add_sa_ex(memory, address, len(octets) + 1)
    assert IPSEC_OFFLOAD_V2_ADD_SA_EX.from_bytes(octets, abi).key == key
