"""The SA OIDs: ADD_SA and its list, ADD_SA_EX, UPDATE_SA, DELETE_SA over the datapath's SA table.

Buffers are read as what they are, memory of somebody else: nothing is done before all of a request that can be judged
without doing it has been.  All methods may be called from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress

from ..errors import SADFullError
from .constants import NdisStatus, Oid, Operation
from .datapath import Datapath, DatapathCapabilities
from .errors import MemoryFault, NdisError, StructureError
from .faults import Faults
from .memory import Memory
from .needs import Needs
from .oid import OidRequest, status_of
from .options import Options
from .sa_forms import Forms, Plan
from .sa_request import (
    SaUpdate,
    read_delete_sa_list,
    read_update_sa,
    walk_list,
)
from .structs import IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX, IPSEC_OFFLOAD_V2_DELETE_SA, Abi

__all__ = ["SaTable"]

_SUCCESS = NdisStatus.NDIS_STATUS_SUCCESS
_INVALID_PARAMETER = NdisStatus.NDIS_STATUS_INVALID_PARAMETER
_FAILURE = NdisStatus.NDIS_STATUS_FAILURE
_PROTOCOLS = {Operation.IPsecOffloadV2Ah.value: "ah", Operation.IPsecOffloadV2Esp.value: "esp"}
_HANDLE_AT = {
    (cls, abi): cls.OffloadHandle.offset(abi)
    for cls in (IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX)
    for abi in Abi
}
_AddSa = type[IPSEC_OFFLOAD_V2_ADD_SA] | type[IPSEC_OFFLOAD_V2_ADD_SA_EX]


class SaTable:
    """What serves the SA OIDs.

    Attributes
    ----------
    unknown_deletes : handles in DELETE_SA requests that named nothing.
    """

    def __init__(self, datapath: Datapath, options: Options, faults: Faults) -> None:
        self.datapath = datapath
        self.options = options
        self.faults = faults
        self.unknown_deletes = 0
        self._on = datapath.capabilities
        self._forms = Forms(options)
        self._lock = threading.Lock()
        self._inbound: dict[int, None] = {}  # handles, oldest first; for what asks for deletion
        self._needs: dict[int, Needs] = {}  # for config_change="delete"
        self._updates: list[tuple[int, SaUpdate]] = []  # kept back by a fault: batches to wait, what to do

    def enable(self, on: DatapathCapabilities) -> None:
        """The configuration has changed."""
        self._on = on
        self._forms.enable(on)
        if self.options.config_change == "delete":
            with self._lock:
                lost = [handle for handle, needs in self._needs.items() if needs.missing(on)]
            for handle in lost:
                self._delete(handle)

    def clear(self) -> None:
        """Delete every SA."""
        self.datapath.clear()
        with self._lock:
            self._inbound.clear()
            self._needs.clear()
            self._updates.clear()

    def serve(self, request: OidRequest, memory: Memory) -> int:
        """Do a set request of one of the four OIDs; its status.  Raises what `status_of` knows."""
        oid = request.oid
        if oid == Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX:
            return self._add_one(request, memory)
        if oid == Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA:
            return self._add_list(request, memory)
        if oid == Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA:
            return self._delete_list(request, memory)
        return self._update(request, memory)

    # ADD_SA, ADD_SA_EX.

    def _add_one(self, request: OidRequest, memory: Memory) -> int:
        cls = IPSEC_OFFLOAD_V2_ADD_SA_EX
        try:
            _need(request, cls.least(memory.abi))
            data = memory.read(request.address, request.length)
            self._put(cls, request.address, data, memory)
        except Exception:
            if _covers_handle(request, cls, memory):
                self._no_handles(memory, (request.address,), cls)
            raise
        request.bytes_done = request.length
        return _SUCCESS

    def _add_list(self, request: OidRequest, memory: Memory) -> int:
        cls = IPSEC_OFFLOAD_V2_ADD_SA
        least = cls.least(memory.abi)
        try:
            _need(request, least)
            nodes = list(walk_list(memory, cls, request.address, request.length, self.options))
            if self.options.list_length == "all-nodes":
                _need(request, least * len(nodes))
        except Exception:
            if request.length >= least:
                reached = walk_list(memory, cls, request.address, least, self.options)
                self._no_handles(memory, (address for address, _ in reached), cls)
            elif _covers_handle(request, cls, memory):
                self._no_handles(memory, (request.address,), cls)
            raise
        failures: list[int] = []
        for address, data in nodes:
            try:
                self._put(cls, address, data, memory)
            except Exception as caught:
                failures.append(status_of(caught))
                self._no_handles(memory, (address,), cls)
        request.bytes_done = min(request.length, least)
        if len(failures) < len(nodes):
            return _SUCCESS
        return failures[0 if self.options.failed_list_status == "first" else -1]

    def _put(self, cls: _AddSa, address: int, data: bytes, memory: Memory) -> None:
        """Offload what one structure asks for and write its handle."""
        abi = memory.abi
        handle = self._offload(self._forms.plan(cls, data, abi))
        try:
            memory.write(address + _HANDLE_AT[cls, abi], handle.to_bytes(abi.pointer_len, "little"))
        except MemoryFault:
            self._delete(handle)
            raise

    def _offload(self, plan: Plan) -> int:
        if plan.lost:
            failure = self.options.not_enabled_status == "failure"
            status = _FAILURE if failure else NdisStatus.NDIS_STATUS_NOT_SUPPORTED
            raise NdisError(status, f"{plan.lost}: the current configuration does not have what the SA needs")
        early = self.faults.full_early
        if early is not None and len(self.datapath) >= early:
            raise self._full()
        try:
            handle = self.datapath.add_of_kind(plan.kind, plan.members, plan.src, plan.dst, plan.seq_hi)
        except SADFullError:
            raise self._full() from None
        if plan.kind.inbound and self.faults.delete_pressure is not None:
            with self._lock:
                self._inbound[handle] = None
        if plan.needs is not None and self.options.config_change == "delete":
            with self._lock:
                self._needs[handle] = plan.needs
        return handle

    def _full(self) -> NdisError:
        status = _FAILURE if self.options.full_status == "failure" else NdisStatus.NDIS_STATUS_RESOURCES
        return NdisError(status, f"the SA table is full: {len(self.datapath)} bundles")

    def _no_handles(self, memory: Memory, addresses: Iterable[int], cls: _AddSa) -> None:
        """Write NULL as OffloadHandle, as far as there is anything to write to."""
        with suppress(StructureError):
            for address in addresses:
                memory.store(address, cls.OffloadHandle, 0)

    # UPDATE_SA, DELETE_SA.

    def _update(self, request: OidRequest, memory: Memory) -> int:
        update = read_update_sa(memory, request.address, request.length, self.options)
        request.bytes_done = request.length
        if self.faults.stale_esn:
            with self._lock:
                self._updates.append((self.faults.stale_esn, update))
            return _SUCCESS
        if not self._on.esn:
            raise NdisError(_INVALID_PARAMETER, "UPDATE_SA: the current configuration has no ESN")
        return self._apply(update)

    def _apply(self, update: SaUpdate) -> int:
        protocol = _PROTOCOLS.get(update.operation, "")
        try:
            self.datapath.update(update.handle, protocol, update.spi, update.seq_hi)  # type: ignore[arg-type]
        except KeyError:
            if self.options.update_mismatch_status == "invalid-data" and self._knows(update.handle):
                return NdisStatus.NDIS_STATUS_INVALID_DATA
            return _INVALID_PARAMETER
        return _SUCCESS

    def _knows(self, handle: int) -> bool:
        try:
            self.datapath.statistics(handle)
        except KeyError:
            return False
        return True

    def _delete_list(self, request: OidRequest, memory: Memory) -> int:
        least = IPSEC_OFFLOAD_V2_DELETE_SA.least(memory.abi)
        _need(request, least)
        handles = read_delete_sa_list(memory, request.address, request.length, self.options)
        if self.options.list_length == "all-nodes":
            _need(request, least * len(handles))
        request.bytes_done = min(request.length, least)
        if self.options.unknown_delete == "refuse":
            unknown = [h for h in handles if not self._knows(h)]
            if unknown or len(set(handles)) < len(handles):
                with self._lock:
                    self.unknown_deletes += len(unknown)
                return _INVALID_PARAMETER
        for handle in handles:
            self._delete(handle)
        return _SUCCESS

    def _delete(self, handle: int) -> None:
        try:
            self.datapath.delete(handle)
        except KeyError:
            with self._lock:
                self.unknown_deletes += 1
        if self._inbound or self._needs:
            with self._lock:
                self._inbound.pop(handle, None)
                self._needs.pop(handle, None)

    # Faults.

    def release_updates(self) -> None:
        """A batch goes by: do the updates that have been kept back long enough."""
        with self._lock:
            due = [update for wait, update in self._updates if wait <= 1]
            self._updates = [(wait - 1, update) for wait, update in self._updates if wait > 1]
        for update in due:
            self._apply(update)

    def press(self) -> None:
        """Ask for the oldest inbound bundle's deletion where the table is too full."""
        pressure = self.faults.delete_pressure
        if pressure is None or len(self.datapath) < pressure:
            return
        with self._lock:
            oldest = next(iter(self._inbound), None)
        if oldest is not None:
            with suppress(KeyError):  # deleted meanwhile
                self.datapath.request_deletion(oldest)


def _covers_handle(request: OidRequest, cls: _AddSa, memory: Memory) -> bool:
    """Does the buffer reach to the end of OffloadHandle?  Nothing is written beyond it."""
    return request.length >= _HANDLE_AT[cls, memory.abi] + memory.abi.pointer_len


def _need(request: OidRequest, least: int) -> None:
    if request.length < least:
        request.bytes_needed = least
        text = f"InformationBufferLength: got {request.length}, wanted at least {least}"
        raise StructureError(NdisStatus.NDIS_STATUS_INVALID_LENGTH, text)
