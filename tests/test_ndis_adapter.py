"""The miniport: each test is a line of section 12 of the contract ("SAs", and of "Configuration" what needs an
adapter), or an option of sections 4 and 5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers import keyed
from hypothesis import given, settings
from hypothesis import strategies as st
from nic_host import esp4
from nic_oids import (
    ADD,
    AH,
    BYTES_READ,
    DELETE,
    DONE,
    ESN,
    EX,
    FAILURE,
    GCM,
    HANDLE,
    INVALID_DATA,
    INVALID_LENGTH,
    INVALID_OID,
    INVALID_PARAMETER,
    NOT_SUPPORTED,
    NULL_AUTH,
    RESOURCES,
    REVISION,
    SHA1,
    SUCCESS,
    UPDATE,
    add,
    add_ex,
    add_list,
    card,
    delete,
    parameters,
    send,
    small,
    update,
    wanted,
    words,
)

from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    NDIS_OFFLOAD,
    Abi,
    DatapathOptions,
    IPsecV1Operation,
    NdisStatus,
    Oid,
    OidRequest,
    Operation,
    Options,
    RequestType,
    SaAlgorithm,
    SaProtocol,
    SaRequest,
    StructureError,
    V1Protocol,
    V1SaRequest,
    read_v1_add_sa,
    write_list,
)
from ipsecfast.ndis.sa_forms import Forms
from ipsecfast.testing.strategies import ndis as gen

# ---------------------------------------------------------------- ADD_SA


def test_list_partly_fits_success_and_null_handles_for_the_rest() -> None:
    made = card("6.20", small(3))
    status, handles = add_list(made, *(wanted(keyed("AES-GCM-128", spi=300 + i)) for i in range(5)))
    assert status == SUCCESS and all(handles[:3]) and handles[3:] == [0, 0] and len(set(handles[:3])) == 3
    good, bad = wanted(keyed("AES-GCM-128", spi=900)), wanted(keyed("AES-GCM-128", spi=901))
    bad = replace(bad, protocols=(replace(bad.protocols[0], encryption=SaAlgorithm(8, bytes(16))),))
    assert delete(made, *handles[:3]) == SUCCESS
    assert add_list(made, bad, good)[0] == SUCCESS


def test_none_fits_failure_all_null_table_unchanged() -> None:
    made = card("6.20", small(2))
    _, kept = add_list(made, wanted(GCM), wanted(AH))
    assert add_list(made, *(wanted(keyed("AES-GCM-128", spi=300 + i)) for i in range(3))) == (RESOURCES, [0, 0, 0])
    assert len(made.datapath) == 2 and words(made, esp4(GCM)) == [DONE] and all(kept)


def test_capacity_counts_bundles_of_both_directions() -> None:
    made = card("6.30", small(3))
    add(made, [GCM, AH])
    add(made, [GCM, AH], inbound=False)
    add(made, keyed("AES-GCM-128", spi=777))
    assert add_ex(made, wanted(keyed("AES-GCM-128", spi=778))) == (RESOURCES, 0)


@pytest.mark.parametrize("ndis", ["6.0", "6.1", "6.20", "6.30", "6.89"])
def test_add_sa_is_refused_by_6_30_and_ex_below(ndis: str) -> None:
    made = card(ndis)
    has_list, has_ex = ndis in ("6.1", "6.20"), ndis in ("6.30", "6.89")
    status, handles = add_list(made, wanted(GCM))
    assert (status, bool(handles[0] and handles[0] != 0xDEAD)) == (
        (SUCCESS, True) if has_list else (NOT_SUPPORTED, False)
    )
    status, handle = add_ex(made, wanted(AH))
    assert (status, handle not in (0, 0xDEAD)) == ((SUCCESS, True) if has_ex else (NOT_SUPPORTED, False))
    assert len(made.datapath) == has_list + has_ex


@pytest.mark.parametrize("abi", ["x64", "x86"])
@pytest.mark.parametrize("ndis", ["6.20", "6.30"])
def test_both_abis(abi: str, ndis: str) -> None:
    made = card(ndis, abi=abi)
    status, handle = (
        add_ex(made, wanted(GCM)) if ndis == "6.30" else (lambda s, h: (s, h[0]))(*add_list(made, wanted(GCM)))
    )
    assert status == SUCCESS and 0 < handle < 1 << (32 if abi == "x86" else 64)
    assert words(made, esp4(GCM)) == [DONE] and delete(made, handle) == SUCCESS


def test_requests_as_flat_structures() -> None:
    """NDIS_OID_REQUEST in memory: BytesRead and BytesNeeded are written back."""
    made = card()
    asked = OidRequest.set(made.memory, EX, wanted(GCM).to_add_sa_ex().to_bytes(), request_id=7)
    at = asked.write(made.memory)
    assert made.direct_oid_request(at) == SUCCESS
    again = OidRequest.read(made.memory, at)
    assert again.request_id == 7 and made.memory.read(at + BYTES_READ, 8) == asked.length.to_bytes(4, "little") + bytes(
        4
    )
    short = OidRequest(EX, asked.address, 20).write(made.memory)
    assert made.direct_oid_request(short) == INVALID_LENGTH
    assert made.memory.read(short + BYTES_READ, 8) == bytes(4) + (170).to_bytes(4, "little")
    assert made.direct_oid_request(made.memory.allocate(bytes(300))) == REVISION
    assert made.direct_oid_request(0x10) == INVALID_DATA


def test_queries_as_ndis_answers_them() -> None:
    made = card()
    room_for = OidRequest.query(made.memory, Oid.OID_TCP_OFFLOAD_CURRENT_CONFIG, 500)
    assert made.oid_request(room_for) == SUCCESS and room_for.bytes_done == 156
    got = NDIS_OFFLOAD.from_bytes(made.memory.read(room_for.address, 156))
    assert got.IPsecV2.Esp and got.IPsecV2.Ah and not got.IPsecV1.to_bytes().strip(b"\0")
    short = OidRequest.query(made.memory, Oid.OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES, 20)
    assert (made.oid_request(short), short.bytes_needed) == (NdisStatus.NDIS_STATUS_BUFFER_TOO_SHORT, 156)
    assert made.oid_request(OidRequest.query(made.memory, 0x999, 20)) == INVALID_OID


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"encryption": SaAlgorithm(8, bytes(16))}, INVALID_DATA),  # no salt
        ({"encryption": SaAlgorithm(8, bytes(20), 7)}, INVALID_DATA),
        ({"encryption": SaAlgorithm(8, bytes(20), 128)}, INVALID_DATA),
        ({"encryption": SaAlgorithm(3, bytes(8)), "authentication": SHA1}, INVALID_DATA),  # two bits
        ({"encryption": SaAlgorithm(0x200, b"")}, INVALID_DATA),
        ({"encryption": SaAlgorithm(0x40, bytes(16))}, INVALID_DATA),  # without integrity
        ({"encryption": SaAlgorithm(1)}, INVALID_DATA),  # null and null
        ({"encryption": SaAlgorithm(0x40, bytes(16)), "authentication": SaAlgorithm(8, bytes(20))}, INVALID_DATA),
        ({"encryption": SaAlgorithm(0x40, bytes(17)), "authentication": SHA1}, INVALID_DATA),
        ({"encryption": SaAlgorithm(0x40, bytes(16)), "authentication": SaAlgorithm(2, bytes(16))}, INVALID_DATA),
        ({"spi": 0}, INVALID_DATA),
        ({"operation": Operation.IPsecOffloadV2Ah}, INVALID_DATA),  # with encryption
        ({"operation": Operation.IPsecOffloadV2Ah, "encryption": NULL_AUTH}, INVALID_DATA),  # with nothing
        ({"encryption": SaAlgorithm(8, bytes(20), 0)}, SUCCESS),
        ({"encryption": SaAlgorithm(8, bytes(20), 12), "authentication": SaAlgorithm(99, b"")}, SUCCESS),  # ignored
        ({"encryption": NULL_AUTH, "authentication": SHA1}, SUCCESS),  # authentication alone
        ({"encryption": SaAlgorithm(1), "authentication": SaAlgorithm(8, bytes(20))}, SUCCESS),  # GMAC
    ],
)
def test_what_is_malformed_and_what_is_not(change: dict[str, Any], status: int) -> None:
    made = card()
    asked = SaProtocol(Operation.IPsecOffloadV2Esp, 0x1234, encryption=SaAlgorithm(8, bytes(20), 16))
    request = SaRequest(True, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), (replace(asked, **change),))
    got, handle = add_ex(made, request)
    assert (got, bool(handle)) == (status, status == SUCCESS) and len(made.datapath) == (status == SUCCESS)


def test_bundles_that_are_none() -> None:
    made = card()
    for sas in ([AH, GCM], [GCM, GCM], [AH, AH]):
        assert add_ex(made, wanted(sas)) == (INVALID_DATA, 0)
    assert add_ex(made, wanted(AH, udp_esp=1)) == (INVALID_DATA, 0)
    assert add_ex(made, wanted(GCM, udp_esp=0x10)) == (INVALID_DATA, 0)


@pytest.mark.parametrize(
    ("lacking", "sa", "fields"),
    [
        ({"ah": False, "ah_esp": False}, AH, {}),
        ({"ah_esp": False}, [GCM, AH], {}),
        ({"esn": False}, ESN, {}),
        ({"encryption": 0x40}, GCM, {}),
        ({"authentication": 0x4}, AH, {}),
        ({"udp_esp": 0x2}, GCM, {"udp_esp": 1}),
        (
            {"ipv6": False, "ipv6_extension_headers": False},
            keyed("AES-GCM-128", src="2001:db8::1", dst="2001:db8::2"),
            {},
        ),
    ],
)
def test_option_not_enabled_status(lacking: dict[str, Any], sa: Any, fields: dict[str, Any]) -> None:
    assert add_ex(card("6.30", small(3, **lacking)), wanted(sa, **fields)) == (NOT_SUPPORTED, 0)
    strange = card("6.30", small(3, **lacking), options=Options(not_enabled_status="failure"))
    assert add_ex(strange, wanted(sa, **fields)) == (FAILURE, 0)
    assert add_ex(card(), wanted(sa, **fields))[0] == SUCCESS


def test_damaged_list_is_refused_whole_with_null_handles() -> None:
    made = card("6.20")
    nodes = write_list(made.memory, [wanted(keyed("AES-GCM-128", spi=300 + i)).to_add_sa() for i in range(3)])
    for node in nodes:
        made.memory.store(node, HANDLE, 0xDEAD)
    made.memory.store(nodes[2], IPSEC_OFFLOAD_V2_ADD_SA.Next, nodes[0])
    assert made.direct_oid_request(OidRequest(ADD, nodes[0], 600)) == INVALID_DATA
    assert [made.memory.load(node, HANDLE) for node in nodes] == [0, 0, 0] and not len(made.datapath)
    assert made.direct_oid_request(OidRequest(ADD, nodes[0], 20)) == INVALID_LENGTH


def test_option_failed_list_status() -> None:
    bad = replace(wanted(GCM), udp_esp=0x10)
    for option, status in (("first", NOT_SUPPORTED), ("last", INVALID_DATA)):
        made = card("6.20", small(3, ah=False, ah_esp=False), options=Options(failed_list_status=option))  # type: ignore[arg-type]
        assert add_list(made, wanted(AH), bad) == (status, [0, 0])


def test_duplicate_add() -> None:
    made = card()
    first, again = add(made, GCM), add(made, GCM)
    assert first != again and add_ex(made, wanted(replace(GCM, enc_key=bytes(16)))) == (INVALID_PARAMETER, 0)
    assert delete(made, first) == SUCCESS and words(made, esp4(GCM)) == [DONE]
    assert delete(made, again) == SUCCESS and words(made, esp4(GCM)) == [0]


def test_handles_are_not_reused_soon() -> None:
    made = card("6.30", small(2))
    seen = set()
    for _ in range(1000):
        handle = add(made, GCM)
        assert handle not in seen
        seen.add(handle)
        assert delete(made, handle) == SUCCESS


# ---------------------------------------------------------------- UPDATE_SA, DELETE_SA


def test_update_unknown_or_non_esn_is_invalid_parameter() -> None:
    made = card()
    esn, plain = add(made, ESN), add(made, keyed("AES-GCM-128", spi=0x99))
    assert update(made, esn) == SUCCESS
    assert update(made, 12345) == update(made, plain, spi=0x99) == INVALID_PARAMETER
    assert update(made, esn, spi=0x99) == update(made, esn, operation=1) == update(made, esn, operation=3)
    assert update(made, esn, spi=0x99) == INVALID_PARAMETER
    assert parameters(made, IPsecV2=1) == SUCCESS and update(made, esn) == INVALID_PARAMETER


def test_update_takes_effect() -> None:
    made = card(datapath_options=DatapathOptions(esn="literal"))
    handle = add(made, ESN)
    late = esp4(ESN, seq=5 << 32 | 9)
    assert words(made, late) == [3 << 16 | DONE]
    assert update(made, handle, hi=5) == SUCCESS and words(made, late) == [DONE]


def test_delete_list() -> None:
    made = card()
    handles = [add(made, keyed("AES-GCM-128", spi=300 + i)) for i in range(4)]
    assert delete(made, handles[0], 999999, handles[2], handles[2]) == SUCCESS
    assert len(made.datapath) == 2 and made.sa_table.unknown_deletes == 2
    assert send(made, handles[0]) == FAILURE


def test_option_unknown_delete() -> None:
    made = card(options=Options(unknown_delete="refuse"))
    handle = add(made, GCM)
    assert delete(made, handle, 999999) == INVALID_PARAMETER == delete(made, handle, handle)
    assert len(made.datapath) == 1 and delete(made, handle) == SUCCESS


def test_sa_delete_req_leaves_both_sas_working_until_each_delete() -> None:
    made = card()
    inbound, outbound = add(made, GCM), add(made, GCM, inbound=False)
    made.datapath.request_deletion(inbound)
    assert words(made, esp4(GCM)) == [DONE | 1] == words(made, esp4(GCM, seq=2)) and send(made, outbound) == SUCCESS
    assert delete(made, inbound) == SUCCESS
    assert words(made, esp4(GCM, seq=3)) == [0] and send(made, outbound, 2) == SUCCESS
    assert delete(made, outbound) == SUCCESS and send(made, outbound, 3) == FAILURE


# ---------------------------------------------------------------- paths


V1_OIDS = [oid for oid in Oid if oid.name.startswith("OID_TCP_TASK_") and "V2" not in oid.name]


@pytest.mark.parametrize("ndis", ["6.0", "6.1", "6.30"])
@pytest.mark.parametrize("oid", V1_OIDS, ids=lambda oid: oid.name)
def test_v1_oids_are_not_served(oid: Oid, ndis: str) -> None:
    """A well-formed V1 request is read by `read_v1_add_sa`, and refused by the card; nothing else changes."""
    made = card(ndis, on=False)
    hash_key = V1Protocol(IPsecV1Operation.AUTHENTICATE, 0x1234, integrity=SaAlgorithm(1, bytes(16)))
    asked = V1SaRequest(True, (hash_key,))
    octets = asked.to_structure(made.abi).to_bytes()
    assert read_v1_add_sa(octets, made.abi) == asked
    before = made.configuration.state
    request = OidRequest.set(made.memory, oid, octets)
    assert made.oid_request(request) == NOT_SUPPORTED and request.bytes_done == 0
    assert made.memory.read(request.address) == octets
    assert made.oid_request(OidRequest.query(made.memory, oid, 200)) == NOT_SUPPORTED
    assert made.direct_oid_request(OidRequest.set(made.memory, oid, octets)) == INVALID_OID  # not a direct one
    assert made.configuration.state is before and not len(made.datapath)
    assert not any(made.configuration.hardware.IPsecV1.to_bytes())


@pytest.mark.parametrize("oid", [ADD, EX, UPDATE, DELETE])
def test_option_sa_oids_on_ordinary_path(oid: Oid) -> None:
    made = card()
    for kind in (RequestType.NdisRequestSetInformation, RequestType.NdisRequestQueryInformation):
        assert made.oid_request(OidRequest(oid, 0, 0, kind)) == NOT_SUPPORTED
    for kind in (RequestType.NdisRequestQueryInformation, RequestType.NdisRequestMethod):
        assert made.direct_oid_request(OidRequest(oid, 0, 0, kind)) == NOT_SUPPORTED
    strange = card(options=Options(sa_oids_on_ordinary_path="invalid-oid"))
    assert strange.oid_request(OidRequest(oid)) == INVALID_OID
    assert made.direct_oid_request(OidRequest(Oid.OID_OFFLOAD_ENCAPSULATION)) == INVALID_OID
    assert made.oid_request(OidRequest(0x12345678)) == INVALID_OID


def test_option_full_status() -> None:
    for option, status in (("resources", RESOURCES), ("failure", FAILURE)):
        made = card("6.20", small(1), options=Options(full_status=option))  # type: ignore[arg-type]
        assert add_list(made, wanted(GCM))[0] == SUCCESS and add_list(made, wanted(AH)) == (status, [0])


def test_option_list_length() -> None:
    made = card("6.20", options=Options(list_length="all-nodes"))
    assert add_list(made, wanted(GCM), wanted(AH), length=200) == (INVALID_LENGTH, [0, 0])
    assert add_list(made, wanted(GCM), wanted(AH), length=2 * 169)[0] == SUCCESS
    careful = card("6.20")
    assert add_list(careful, wanted(GCM), wanted(AH), length=169)[0] == SUCCESS


ENDS = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])


def gcm(spi: int, key_len: int, info: int = 16, udp_esp: int = 0) -> SaRequest:
    cipher = SaAlgorithm(8, bytes(key_len), info)
    return SaRequest(True, *ENDS, (SaProtocol(Operation.IPsecOffloadV2Esp, spi, encryption=cipher),), udp_esp)


def test_option_unauthenticated_esp() -> None:
    naked = SaProtocol(Operation.IPsecOffloadV2Esp, 0x1234, encryption=SaAlgorithm(0x40, bytes(16)))
    for option, status in ((False, INVALID_DATA), (True, SUCCESS)):
        made = card(options=Options(unauthenticated_esp=option))
        assert add_ex(made, SaRequest(True, *ENDS, (naked,)))[0] == status


def test_option_salt() -> None:
    assert add_ex(card(), gcm(1, 16)) == (INVALID_DATA, 0)
    made = card(options=Options(salt=GCM.salt))
    request = wanted(GCM)
    (esp,) = request.protocols
    request = replace(request, protocols=(replace(esp, encryption=SaAlgorithm(8, GCM.enc_key, 16)),))
    assert add_ex(made, request)[0] == SUCCESS and words(made, esp4(GCM)) == [DONE]
    with pytest.raises(ValueError, match="salt"):
        Options(salt=b"abc")
    assert "salt=" not in repr(Options(salt=b"salt"))


def test_option_icv_in_bits() -> None:
    for option, status in ((False, INVALID_DATA), (True, SUCCESS)):
        made = card(options=Options(icv_in_bits=option))
        assert [add_ex(made, gcm(1 + n, 20, n))[0] for n in (64, 96, 128)] == [status] * 3
        assert add_ex(made, gcm(9, 20, 12))[0] == SUCCESS


def test_option_single_udp_esp() -> None:
    for option, status in ((False, SUCCESS), (True, INVALID_DATA)):
        assert add_ex(card(options=Options(single_udp_esp=option)), gcm(1, 20, udp_esp=3))[0] == status


def test_option_update_mismatch_status() -> None:
    for option, status in (("invalid-parameter", INVALID_PARAMETER), ("invalid-data", INVALID_DATA)):
        made = card(options=Options(update_mismatch_status=option))  # type: ignore[arg-type]
        handle = add(made, ESN)
        assert (update(made, handle, spi=0x99), update(made, 12345)) == (status, INVALID_PARAMETER)


@settings(max_examples=150, deadline=None)
@given(
    request=gen.sa_requests(spis=(5, 0x1234)),
    other=gen.sa_requests(spis=(6,)),
    abi=st.sampled_from(Abi),
    ex=st.booleans(),
)
def test_requests_of_one_form_mean_what_each_of_them_says(request: Any, other: Any, abi: Abi, ex: bool) -> None:
    """What is kept of a form leaves nothing of its first request in the later ones."""
    swapped = replace(request, protocols=tuple(replace(p, spi=p.spi + 9, seq_hi=1) for p in request.protocols))
    swapped = replace(
        swapped, protocols=tuple(_rekeyed(p) for p in swapped.protocols), src=request.dst, dst=request.src
    )
    cls: Any = IPSEC_OFFLOAD_V2_ADD_SA_EX if ex else IPSEC_OFFLOAD_V2_ADD_SA
    warm = Forms(Options())
    for one in (request, other, swapped, request):
        data = (one.to_add_sa_ex(abi) if ex else one.to_add_sa(abi)).to_bytes()
        cold = Forms(Options()).plan(cls, data, abi)
        got = warm.plan(cls, data, abi)
        assert got[1:-1] == cold[1:-1]
        assert got.kind.sas == cold.kind.sas and got.kind.names == cold.kind.names
        assert (got.kind.ipv6, got.kind.udp_esp) == (cold.kind.ipv6, cold.kind.udp_esp)
        assert not any(key.hex() in repr(got) for member in got.members for key in member[1:] if key)
        with pytest.raises(StructureError):
            warm.plan(
                cls, data[:-1] if any(p.authentication.key or p.encryption.key for p in one.protocols) else b"", abi
            )


def _rekeyed(protocol: SaProtocol) -> SaProtocol:
    auth, enc = protocol.authentication, protocol.encryption
    return replace(
        protocol,
        authentication=replace(auth, key=bytes(255 - octet for octet in auth.key)),
        encryption=replace(enc, key=bytes(255 - octet for octet in enc.key)),
    )
