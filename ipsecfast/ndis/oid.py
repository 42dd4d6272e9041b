"""OID requests: NDIS_OID_REQUEST in memory and its Python form; from exceptions to NDIS_STATUS.

A request's buffer lies in a :class:`Memory`, for what it points to lies there too.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ProviderError, SADFullError
from .constants import NdisStatus, Oid, RequestType
from .datapath import BundleError
from .errors import NdisError
from .memory import Memory
from .structs import NDIS_OID_REQUEST, Abi

__all__ = ["SA_OIDS", "OidRequest", "status_of"]

SET = RequestType.NdisRequestSetInformation.value
QUERY = RequestType.NdisRequestQueryInformation.value
SA_OIDS = frozenset(
    (
        Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA,
        Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA,
        Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_UPDATE_SA,
        Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX,
    )
)

_readers = {
    abi: NDIS_OID_REQUEST.reader(
        abi,
        "RequestType",
        "RequestId",
        "DATA.SET_INFORMATION.Oid",
        "DATA.SET_INFORMATION.InformationBuffer",
        "DATA.SET_INFORMATION.InformationBufferLength",
    )
    for abi in Abi
}
_RESULT = {abi: NDIS_OID_REQUEST.offset_of("DATA.SET_INFORMATION.BytesRead", abi) for abi in Abi}


@dataclass(slots=True, eq=False)
class OidRequest:
    """One request, as a protocol makes it and a miniport answers it.

    Attributes
    ----------
    oid : its number.
    address, length : InformationBuffer, in the miniport's memory, and InformationBufferLength in bytes.
    type : NDIS_REQUEST_TYPE.
    request_id : what `Miniport.cancel_direct_oid_request` names it by.
    status : PENDING until it is done.
    bytes_done : BytesRead of a set request, BytesWritten of a query.
    bytes_needed : how long the buffer should have been, where it was too short.
    source : address of the NDIS_OID_REQUEST that it was read from, 0 for none.
    """

    oid: int
    address: int = 0
    length: int = 0
    type: int = SET
    request_id: int = 0
    status: int = NdisStatus.NDIS_STATUS_PENDING
    bytes_done: int = 0
    bytes_needed: int = 0
    source: int = 0

    @classmethod
    def set(cls, memory: Memory, oid: int, buffer: bytes, request_id: int = 0) -> OidRequest:
        """A set request with ``buffer`` put into memory."""
        return cls(oid, memory.allocate(buffer) if buffer else 0, len(buffer), SET, request_id)

    @classmethod
    def query(cls, memory: Memory, oid: int, length: int, request_id: int = 0) -> OidRequest:
        """A query with room for ``length`` bytes."""
        return cls(oid, memory.allocate(length) if length else 0, length, QUERY, request_id)

    @classmethod
    def read(cls, memory: Memory, address: int) -> OidRequest:
        """The NDIS_OID_REQUEST at ``address``; query and set requests have the same layout.

        Raises StructureError for one that is damaged.
        """
        data = memory.read(address)
        NDIS_OID_REQUEST.check(data, memory.abi)
        kind, request_id, oid, buffer, length = _readers[memory.abi](data)
        return cls(oid, buffer, length, kind, request_id, source=address)

    def write(self, memory: Memory) -> int:
        """The request as an NDIS_OID_REQUEST in memory; its address."""
        data = {"Oid": self.oid, "InformationBuffer": self.address, "InformationBufferLength": self.length}
        request = NDIS_OID_REQUEST(
            memory.abi, RequestType=self.type, RequestId=self.request_id, DATA={"SET_INFORMATION": data}
        )
        return memory.allocate(request.to_bytes(size=NDIS_OID_REQUEST.sizeof(memory.abi)))

    def answer(self, memory: Memory, status: int) -> None:
        """Take the status, and write BytesRead (BytesWritten) and BytesNeeded where the request came from."""
        self.status = status
        if self.source:
            both = self.bytes_done | self.bytes_needed << 32
            memory.write(self.source + _RESULT[memory.abi], both.to_bytes(8, "little"))


def status_of(error: Exception) -> NdisStatus:
    """What a miniport answers where we have an exception; an exception that is no answer is raised again."""
    if isinstance(error, NdisError):
        return error.status
    if isinstance(error, (SADFullError, MemoryError)):
        return NdisStatus.NDIS_STATUS_RESOURCES
    if isinstance(error, BundleError):
        return NdisStatus.NDIS_STATUS_INVALID_PARAMETER
    if isinstance(error, ProviderError):
        return NdisStatus.NDIS_STATUS_NOT_SUPPORTED
    raise error
