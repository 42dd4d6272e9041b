"""Miniport: a network card with IPsec Offload Version 2 as its protocols see it.

It ties together the keywords, the configuration, the SA table and the datapath: OIDs on both paths, bindings and
their indications, and the states of an adapter.  What a packet gets is :mod:`.datapath`'s business; what an SA request
means is :mod:`.sa_bundle`'s.

All methods may be called from several threads.  Callbacks come in the thread that caused them: those of completions and
received batches without any lock held, those of status indications inside the ordinary path.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .completion import Completion
from .config import Binding, Configuration, StatusIndication
from .constants import NdisStatus, Oid, RequestType
from .datapath import Datapath, DatapathOptions, ReceiveResult, SendResult
from .errors import NdisError, StructureError
from .faults import Faults
from .hardware import HardwareProfile
from .memory import Memory
from .nbl import NblBatch
from .oid import SA_OIDS, OidRequest, status_of
from .options import Options
from .registry import Registry
from .reporting import datapath_capabilities, miniport_profile
from .sa_table import SaTable
from .states import SEND_REFUSALS, AdapterState, Gate
from .structs import NDIS_BIND_PARAMETERS, NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES, Abi
from .versions import NDIS_6_1, NDIS_6_30, NdisVersion

__all__ = ["Miniport", "ProtocolBinding"]

_SUCCESS = NdisStatus.NDIS_STATUS_SUCCESS
_PENDING = NdisStatus.NDIS_STATUS_PENDING
_ABORTED = NdisStatus.NDIS_STATUS_REQUEST_ABORTED
_NOT_ACCEPTED = NdisStatus.NDIS_STATUS_NOT_ACCEPTED
_NOT_SUPPORTED = NdisStatus.NDIS_STATUS_NOT_SUPPORTED
_DELETE = Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA
_SET = RequestType.NdisRequestSetInformation
_QUERIES = (RequestType.NdisRequestQueryInformation, RequestType.NdisRequestQueryStatistics)
_INITIALIZED = (AdapterState.PAUSED, AdapterState.PAUSING, AdapterState.RUNNING)
_MAX_BUFFER_LEN = 1 << 16  # of a set request on the ordinary path

OnComplete = Callable[[OidRequest, int], None]
OnReceive = Callable[[NblBatch], None]


@dataclass(frozen=True, eq=False)
class ProtocolBinding:
    """A protocol's binding.

    Attributes
    ----------
    parameters : the NDIS_BIND_PARAMETERS, in the miniport's memory what they point to.
    receive : gets every batch that is indicated.
    """

    parameters: NDIS_BIND_PARAMETERS
    receive: OnReceive | None
    _status: Binding


class Miniport:
    """One adapter, halted at first: :meth:`initialize`, :meth:`restart`, and later :meth:`pause` and :meth:`halt`.

    Parameters
    ----------
    profile : what the card can do; less what no crypto library here has, and less IPsecOV1.
    registry : the adapter's key; None: an empty one.
    ndis : NDIS version of the miniport: 6.1 and 6.20 have OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA, 6.30 and later
        ..._ADD_SA_EX; 6.0 has no direct OIDs at all.
    abi : of the structures; handles on x86 have 32 bits.
    options, datapath_options : where a real card could differ.
    provider : as for :class:`ipsecfast.SAD`, but not ``"reference"``.
    memory : where the buffers of OIDs lie; None: one of its own.
    faults : what the card does wrong; None: nothing.

    Raises ProviderError without libcrypto and ipsec-mb; RegistryError for a bad keyword, with
    ``out_of_range_keyword="refuse"``.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        registry: Registry | None = None,
        ndis: str | NdisVersion = "6.30",
        *,
        abi: str = Abi.X64,
        options: Options | None = None,
        datapath_options: DatapathOptions | None = None,
        provider: str | None = None,
        memory: Memory | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.ndis = NdisVersion.parse(ndis)
        self.abi = Abi(abi)
        self.options = options or Options()
        self.registry = registry if registry is not None else Registry()
        self.provider = provider
        self.profile = miniport_profile(profile, provider)
        self.memory = memory if memory is not None else Memory(self.abi)
        if self.memory.abi is not self.abi:
            raise ValueError(f"memory: got {self.memory.abi.value}, wanted {self.abi.value}")
        self.faults = faults or Faults()
        self.datapath_options = (datapath_options or DatapathOptions()).guarded()
        if self.abi is Abi.X86:
            self.datapath_options = replace(self.datapath_options, handle_bits=32)
        self._gate = Gate(self.datapath_options.iv_generator)
        self._bindings: list[ProtocolBinding] = []
        self._pending: deque[tuple[OidRequest, OnComplete | None]] = deque()
        self._lock = threading.Lock()  # of _pending and _bindings
        self._ordinary = threading.RLock()  # NDIS serializes the ordinary path; an indication may lead to a request
        self._make()

    def _make(self) -> None:
        """What MiniportInitializeEx makes: nothing of a life before."""
        self.configuration = Configuration(
            self.profile, self.registry, ndis=self.ndis, abi=self.abi, options=self.options
        )
        v2 = self.configuration.hardware.IPsecV2
        capacity = min(max(v2.SaOffloadCapacity, 1), 1 << 20)
        self.datapath = Datapath(
            self.datapath_options, datapath_capabilities(self.configuration.state), self.provider, capacity
        )
        self.sa_table = SaTable(self.datapath, self.options, self.faults)
        self.configuration.bind(lambda indication: self._apply())  # before any protocol
        self._apply()

    @property
    def state(self) -> AdapterState:
        """The adapter's state."""
        return self._gate.state

    # States.

    def initialize(self) -> NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES:
        """MiniportInitializeEx: read the keywords, report the offloads; the adapter is then paused, its SA table empty.

        Returns what it hands to NdisMSetMiniportAttributes.  RuntimeError unless halted; RegistryError as the
        constructor, and the adapter is then still halted.
        """
        with self._ordinary:  # one at a time; a keyword that is refused leaves the adapter halted
            self._gate.need((AdapterState.HALTED,), "initialize")
            self._make()
            attributes = self.configuration.attributes(self.memory)
            self._gate.move((AdapterState.HALTED,), AdapterState.PAUSED, "initialize")
        return attributes

    def restart(self) -> None:
        """MiniportRestart: sends and receives begin.  RuntimeError unless paused."""
        self._gate.move((AdapterState.PAUSED,), AdapterState.RUNNING, "restart")

    def pause(self) -> None:
        """MiniportPause: returns when no call is at work; the SA table stays.  RuntimeError unless running."""
        self._gate.move((AdapterState.RUNNING,), AdapterState.PAUSING, "pause")
        self._gate.move((AdapterState.PAUSING,), AdapterState.PAUSED, "pause")

    def halt(self) -> None:
        """MiniportHaltEx: pending requests are aborted, every SA is deleted and its keys wiped; bindings are gone.

        RuntimeError unless paused, or removed by surprise.
        """
        self._gate.move((AdapterState.PAUSED, AdapterState.REMOVED), AdapterState.HALTED, "halt")
        self._abort_pending()
        self.sa_table.clear()
        with self._lock:
            self._bindings.clear()

    def surprise_removal(self) -> None:
        """The card is pulled out: nothing is accepted any more; :meth:`halt` is next.  RuntimeError if halted."""
        states = (*_INITIALIZED, AdapterState.RESETTING, AdapterState.STANDBY)
        self._gate.move(states, AdapterState.REMOVED, "surprise_removal")
        self._abort_pending()

    def begin_reset(self) -> Callable[[], None]:
        """MiniportResetEx begins; what is returned ends it.  The SA table and the configuration outlive it.

        Requests that are pending are completed with REQUEST_ABORTED: from NDIS 6.30 on before the reset completes,
        before that afterwards.  New ones are refused meanwhile: DELETE_SA with NOT_ACCEPTED, others with
        REQUEST_ABORTED.  RuntimeError unless paused or running.
        """
        before = self._gate.move((AdapterState.PAUSED, AdapterState.RUNNING), AdapterState.RESETTING, "reset")
        self._indicate(NdisStatus.NDIS_STATUS_RESET_START)
        if self.ndis >= NDIS_6_30:
            self._abort_pending()

        def end() -> None:
            self._gate.move((AdapterState.RESETTING,), before, "end of the reset")
            self._indicate(NdisStatus.NDIS_STATUS_RESET_END)
            self._abort_pending(self.ndis < NDIS_6_30)

        return end

    def reset(self) -> None:
        """A whole reset."""
        self.begin_reset()()

    def standby(self) -> Callable[[], None]:
        """The card goes to D3; what is returned brings it back, its SA table as it was.

        Sends meanwhile are completed with LOW_POWER_STATE, direct requests with NOT_ACCEPTED.
        RuntimeError unless paused or running.
        """
        before = self._gate.move((AdapterState.PAUSED, AdapterState.RUNNING), AdapterState.STANDBY, "standby")

        def resume() -> None:
            self._gate.move((AdapterState.STANDBY,), before, "resume")

        return resume

    # Protocols.

    def bind(
        self,
        status: Callable[[StatusIndication], None] | None = None,
        receive: OnReceive | None = None,
        **members: Any,
    ) -> ProtocolBinding:
        """Bind a protocol; ``members`` are other members' values of its NDIS_BIND_PARAMETERS.

        status : gets every status indication.  receive : gets every received batch.
        """
        if self.state is AdapterState.HALTED:
            raise RuntimeError("bind: the adapter is halted")
        parameters = self.configuration.bind_parameters(self.memory, **members)
        binding = ProtocolBinding(parameters, receive, self.configuration.bind(status or _ignore))
        with self._lock:
            self._bindings.append(binding)
        return binding

    def unbind(self, binding: ProtocolBinding) -> None:
        """End a binding; ValueError for one that is not there."""
        with self._lock:
            if binding not in self._bindings:
                raise ValueError("binding: got one that is not bound")
            self._bindings.remove(binding)
        self.configuration.unbind(binding._status)

    def _indicate(self, status: NdisStatus) -> None:
        with self._lock:
            bindings = list(self._bindings)
        for binding in bindings:
            binding._status.callback(StatusIndication(status, b""))

    # OIDs, ordinary path.

    def oid_request(self, request: OidRequest | int) -> int:
        """MiniportOidRequest with NDIS in front of it; the NDIS_STATUS, which the request holds too.

        ``request``: or the address of an NDIS_OID_REQUEST in the miniport's memory.  Queries are answered by NDIS
        from what the miniport reported; one at a time.
        """
        with self._ordinary, self._gate.work(*_INITIALIZED) as refused:
            try:
                asked = request if isinstance(request, OidRequest) else OidRequest.read(self.memory, request)
            except StructureError as error:
                return error.status
            if refused is not None:
                status = _ABORTED if refused is AdapterState.RESETTING else _NOT_ACCEPTED
            else:
                try:
                    self._do_ordinary(asked)
                    status = _SUCCESS
                except NdisError as error:
                    status = error.status
            asked.answer(self.memory, status)
            return status

    def _do_ordinary(self, request: OidRequest) -> None:
        oid, configuration = request.oid, self.configuration
        if oid in SA_OIDS:
            if self.options.sa_oids_on_ordinary_path == "invalid-oid":
                raise NdisError(NdisStatus.NDIS_STATUS_INVALID_OID, "SA OIDs are for the direct path")
            raise NdisError(_NOT_SUPPORTED, "SA OIDs are for the direct path")
        if request.type in _QUERIES:
            answer = configuration.query(oid)
            request.bytes_needed = len(answer)
            configuration.query(oid, request.length)
            self.memory.write(request.address, answer)
            request.bytes_done, request.bytes_needed = len(answer), 0
        elif request.type == _SET:
            length = min(request.length, _MAX_BUFFER_LEN)
            configuration.set(oid, self.memory.read(request.address, length) if length else b"")
            request.bytes_done = length
        else:
            raise NdisError(_NOT_SUPPORTED, f"request type {request.type} is not for this OID")

    def change_hardware(self, profile: HardwareProfile) -> None:
        """The hardware's set of offloads has changed (a MUX driver's team); capacity stays."""
        self._gate.check()
        self.profile = miniport_profile(profile, self.provider)
        with self._ordinary:
            self.configuration.change_hardware(self.profile)

    def _apply(self) -> None:
        """Let the datapath and the SA table know what is on."""
        on = datapath_capabilities(self.configuration.state)
        self.datapath.configure(on)
        self.sa_table.enable(on)

    # OIDs, direct path.

    def direct_oid_request(self, request: OidRequest | int, on_complete: OnComplete | None = None) -> int:
        """MiniportDirectOidRequest: ADD_SA, ADD_SA_EX, UPDATE_SA or DELETE_SA, from any thread.

        Parameters
        ----------
        request : or the address of an NDIS_OID_REQUEST in the miniport's memory.
        on_complete : called with the request and its status where this call returns PENDING.

        Returns the NDIS_STATUS, which the request holds too.
        """
        try:
            asked = request if isinstance(request, OidRequest) else OidRequest.read(self.memory, request)
        except StructureError as error:
            return error.status
        refused = self._gate.enter(*_INITIALIZED)
        if refused is not None:
            return self._finish(asked, self._refusal(refused, asked.oid))
        try:
            if self.options.pause_refuses_direct_oids and self.state is not AdapterState.RUNNING:
                return self._finish(asked, _NOT_ACCEPTED)
            if self.options.direct_oids == "pending" or self.faults.late:
                asked.status = _PENDING
                with self._lock:
                    self._pending.append((asked, on_complete))
                return _PENDING
            return self._finish(asked, self._do_direct(asked))
        finally:
            self._gate.leave()

    def _refusal(self, state: AdapterState, oid: int) -> int:
        return _ABORTED if state is AdapterState.RESETTING and oid != _DELETE else _NOT_ACCEPTED

    def _finish(self, request: OidRequest, status: int) -> int:
        request.answer(self.memory, status)
        return status

    def _do_direct(self, request: OidRequest) -> int:
        if request.oid not in SA_OIDS:
            return NdisStatus.NDIS_STATUS_INVALID_OID
        if request.type != _SET or self.ndis < NDIS_6_1:
            return _NOT_SUPPORTED
        if request.oid == Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA and self.ndis >= NDIS_6_30:
            return _NOT_SUPPORTED
        if request.oid == Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX and self.ndis < NDIS_6_30:
            return _NOT_SUPPORTED
        try:
            return self.sa_table.serve(request, self.memory)
        except Exception as error:
            return status_of(error)

    def poll(self, n: int | None = None) -> int:
        """Let the card do up to ``n`` (None: all) of the requests that it answered PENDING; how many it completed."""
        with self._lock:
            requests = list(self._pending)
        done = 0
        for asked, on_complete in self.faults.reordered(requests)[:n]:
            with self._lock:
                if (asked, on_complete) not in self._pending:
                    continue
                self._pending.remove((asked, on_complete))
            status = int(NdisStatus.NDIS_STATUS_FAILURE)  # unless it comes to another end: each request is completed
            try:
                if self._gate.enter(*_INITIALIZED) is None:
                    try:
                        status = self._do_direct(asked)
                    finally:
                        self._gate.leave()
                else:
                    status = _ABORTED
            finally:
                self._complete(asked, on_complete, status)
            done += 1
        return done

    @property
    def pending(self) -> int:
        """Requests that were answered PENDING and are not completed."""
        return len(self._pending)

    def cancel_direct_oid_request(self, request_id: int) -> int:
        """MiniportCancelDirectOidRequest: complete what is pending under this id with REQUEST_ABORTED; how many."""
        with self._lock:
            hit = [entry for entry in self._pending if entry[0].request_id == request_id]
            self._pending = deque(entry for entry in self._pending if entry[0].request_id != request_id)
        for asked, on_complete in hit:
            self._complete(asked, on_complete, _ABORTED)
        return len(hit)

    def _abort_pending(self, really: bool = True) -> None:
        if not really:
            return
        with self._lock:
            aborted = list(self._pending)
            self._pending.clear()
        for asked, on_complete in aborted:
            self._complete(asked, on_complete, _ABORTED)

    def _complete(self, request: OidRequest, on_complete: OnComplete | None, status: int) -> None:
        self._finish(request, status)
        if on_complete is not None:
            on_complete(request, status)

    # Packets.

    def send(self, nbls: NblBatch) -> SendResult | Completion:
        """MiniportSendNetBufferLists, and what would be on the wire.

        Where the adapter does not accept sends, every list is completed with the state's status: PAUSED,
        RESET_IN_PROGRESS, LOW_POWER_STATE, or FAILURE when halted or removed.
        """
        with self._gate.work(AdapterState.RUNNING) as refused:
            if refused is not None:
                return Completion.refused(len(nbls), SEND_REFUSALS[refused])
            if not self.faults.on_packets:
                return self.datapath.send(nbls)
            with self.faults.lock:
                self.sa_table.release_updates()
                handles = nbls.ipsec | nbls.tunnel
                return self.faults.spoil_send(self.datapath.send(nbls), handles, nbls.medium)

    def receive(self, nbls: NblBatch) -> ReceiveResult | None:
        """Frames come from the wire: process them and indicate the batch to every bound protocol.

        None, and nothing indicated, while the adapter is not running.
        """
        indicated = nbls
        with self._gate.work(AdapterState.RUNNING) as refused:
            if refused is not None:
                return None
            if self.faults.on_packets:
                with self.faults.lock:
                    self.sa_table.release_updates()
                    self.sa_table.press()
                    indicated = self.faults.lost(nbls)
                    result = self.datapath.receive(indicated)
                    self.faults.spoil_words(indicated)
            else:
                result = self.datapath.receive(nbls)
        with self._lock:
            bindings = list(self._bindings)
        for binding in bindings:
            if binding.receive is not None:
                binding.receive(indicated)
        return result


def _ignore(indication: StatusIndication) -> None:
    """Of a protocol that does not listen."""
