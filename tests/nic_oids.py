"""What the miniport's tests share: cards, and each OID made byte by byte from the structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from helpers import ipv4, keyed
from nic_host import frame, room

from ipsecfast import SecurityAssociation
from ipsecfast.ndis import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    IPSEC_OFFLOAD_V2_UPDATE_SA,
    NDIS_OFFLOAD_ENCAPSULATION,
    NDIS_OFFLOAD_PARAMETERS,
    NDIS_OID_REQUEST,
    Abi,
    Miniport,
    NblBatch,
    NdisStatus,
    Oid,
    OidRequest,
    SaAlgorithm,
    SaRequest,
    profile,
    request_for,
    write_list,
)

SUCCESS = NdisStatus.NDIS_STATUS_SUCCESS
PENDING = NdisStatus.NDIS_STATUS_PENDING
ABORTED = NdisStatus.NDIS_STATUS_REQUEST_ABORTED
NOT_ACCEPTED = NdisStatus.NDIS_STATUS_NOT_ACCEPTED
NOT_SUPPORTED = NdisStatus.NDIS_STATUS_NOT_SUPPORTED
RESOURCES = NdisStatus.NDIS_STATUS_RESOURCES
FAILURE = NdisStatus.NDIS_STATUS_FAILURE
INVALID_PARAMETER = NdisStatus.NDIS_STATUS_INVALID_PARAMETER
INVALID_DATA = NdisStatus.NDIS_STATUS_INVALID_DATA
INVALID_LENGTH = NdisStatus.NDIS_STATUS_INVALID_LENGTH
INVALID_OID = NdisStatus.NDIS_STATUS_INVALID_OID
REVISION = NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION
ADD, EX = Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX
DELETE, UPDATE = Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_UPDATE_SA
HANDLE, HANDLE_EX = IPSEC_OFFLOAD_V2_ADD_SA.OffloadHandle, IPSEC_OFFLOAD_V2_ADD_SA_EX.OffloadHandle
CBC_SA = keyed("AES-CBC-128", "HMAC-SHA1-96", mode="transport", spi=0x888)
GCM, ESN = keyed("AES-GCM-128"), keyed("AES-GCM-128", esn=True)
AH = keyed("NULL", "HMAC-SHA1-96", protocol="ah", spi=0xA4A4)
GCM6 = keyed("AES-GCM-128", src="2001:db8::1", dst="2001:db8::2")
BYTES_READ = NDIS_OID_REQUEST.offset_of("DATA.SET_INFORMATION.BytesRead", Abi.X64)
DONE = 2
NULL_AUTH, SHA1 = SaAlgorithm(), SaAlgorithm(2, bytes(20))


def small(capacity: int = 3, **fields: Any) -> Any:
    full = profile("full")
    assert full.ipsec_v2 is not None
    return replace(full, ipsec_v2=replace(full.ipsec_v2, capacity=capacity, **fields))


def card(ndis: str = "6.30", hardware: Any = None, on: bool = True, **fields: Any) -> Miniport:
    made = Miniport(hardware or profile("full"), ndis=ndis, **fields)
    made.initialize()
    made.restart()
    if on:
        assert encapsulation(made) == SUCCESS
    return made


def encapsulation(made: Miniport, ipv4: int = 1, ipv6: int = 1, kind: int = 2) -> int:
    on = {"EncapsulationType": kind, "HeaderSize": 14}
    off: dict[str, int] = {}
    buffer = NDIS_OFFLOAD_ENCAPSULATION(
        made.abi,
        IPv4={"Enabled": ipv4, **(on if ipv4 == 1 else off)},
        IPv6={"Enabled": ipv6, **(on if ipv6 == 1 else off)},
    )
    return made.oid_request(OidRequest.set(made.memory, Oid.OID_OFFLOAD_ENCAPSULATION, buffer.to_bytes()))


def parameters(made: Miniport, **members: Any) -> int:
    revision = NDIS_OFFLOAD_PARAMETERS.revision_for(made.ndis)
    assert revision is not None
    buffer = NDIS_OFFLOAD_PARAMETERS(made.abi, revision=revision.revision, **members).to_bytes()
    return made.oid_request(OidRequest.set(made.memory, Oid.OID_TCP_OFFLOAD_PARAMETERS, buffer))


def wanted(sa: SecurityAssociation | Sequence[SecurityAssociation], inbound: bool = True, **fields: Any) -> SaRequest:
    sas = [sa] if isinstance(sa, SecurityAssociation) else sa
    return request_for("inbound" if inbound else "outbound", sas, **fields)


def add_list(made: Miniport, *requests: SaRequest, length: int | None = None) -> tuple[int, list[int]]:
    nodes = write_list(made.memory, [r.to_add_sa(made.abi, made.options) for r in requests])
    for node in nodes:
        made.memory.store(node, HANDLE, 0xDEAD)
    size = sum(len(made.memory.read(n)) for n in nodes) if length is None else length
    status = made.direct_oid_request(OidRequest(ADD, nodes[0], size))
    return status, [made.memory.load(node, HANDLE) for node in nodes]


def add_ex(made: Miniport, request: SaRequest) -> tuple[int, int]:
    asked = OidRequest.set(made.memory, EX, request.to_add_sa_ex(made.abi, made.options).to_bytes())
    made.memory.store(asked.address, HANDLE_EX, 0xDEAD)
    status = made.direct_oid_request(asked)
    return status, made.memory.load(asked.address, HANDLE_EX)


def add(made: Miniport, sa: SecurityAssociation | Sequence[SecurityAssociation], **fields: Any) -> int:
    status, handle = add_ex(made, wanted(sa, **fields))
    assert status == SUCCESS and handle
    return handle


def update(made: Miniport, handle: int, spi: int = 0x1234, hi: int = 1, operation: int = 2) -> int:
    buffer = IPSEC_OFFLOAD_V2_UPDATE_SA(
        made.abi, OffloadHandle=handle, Operation=operation, Spi=spi, SequenceNumberHighOrder=hi
    )
    return made.direct_oid_request(OidRequest.set(made.memory, UPDATE, buffer.to_bytes()))


def delete(made: Miniport, *handles: int) -> int:
    nodes = write_list(made.memory, [IPSEC_OFFLOAD_V2_DELETE_SA(made.abi, OffloadHandle=h) for h in handles])
    return made.direct_oid_request(OidRequest(DELETE, nodes[0], 24 * len(handles)))


def words(made: Miniport, *frames: bytes) -> list[int] | None:
    result = made.receive(NblBatch.from_frames(frames))
    return None if result is None else result.word.tolist()


def send(made: Miniport, handle: int, seq: int = 1, sa: SecurityAssociation = GCM) -> int:
    batch = NblBatch.from_frames([frame(ipv4(room(sa, b"data", 253, seq), proto=50))])
    batch.ipsec[:] = handle
    result = made.send(batch)
    assert len(result.transmitted) == int(result.status[0] == 0)
    return int(result.status[0])
