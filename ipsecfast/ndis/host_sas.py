"""The host's SAs: configuration of the card, offloading, deletion, high halves of sequence numbers.

What is sent and received is in :mod:`.host`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..core._window import ReplayWindow
from ..errors import SADFullError
from ..sa import SecurityAssociation
from .adapter import Miniport
from .config import StatusIndication
from .constants import Encapsulation, NdisStatus, Oid, Operation, SetOffload, UdpEsp
from .errors import NdisError
from .nbl import NblBatch
from .oid import OidRequest
from .sa_bundle import request_for
from .sa_request import SaRequest, write_list
from .structs import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    IPSEC_OFFLOAD_V2_UPDATE_SA,
    NDIS_OFFLOAD,
    NDIS_OFFLOAD_ENCAPSULATION,
    NDIS_OFFLOAD_PARAMETERS,
)
from .versions import NDIS_6_30

__all__ = ["Direction", "HostSa", "HostTable"]

Direction = Literal["inbound", "outbound"]
_OPERATIONS = {"ah": Operation.IPsecOffloadV2Ah, "esp": Operation.IPsecOffloadV2Esp}


@dataclass(eq=False)
class HostSa:
    """A bundle that a host has offloaded.

    Attributes
    ----------
    sas : ESP, AH, or ESP and AH.
    handle : the card's; 0 when it is deleted.
    numbers : per SA the last 64-bit number used (outbound).
    windows : per SA the replay window (inbound).
    peer : the bundle of the other direction, deleted along with it when the card asks.
    """

    direction: Direction
    sas: tuple[SecurityAssociation, ...]
    handle: int
    numbers: list[int]
    windows: tuple[ReplayWindow, ...]
    seq_hi: list[int]  # per SA what the card was told
    peer: HostSa | None = field(default=None, repr=False)


class HostTable:
    """The part of a :class:`.host.Host` that only issues OIDs.

    Attributes
    ----------
    offload : NDIS_OFFLOAD, as the card last reported it.
    indications : every StatusIndication so far.
    sas : the bundles that are offloaded.
    """

    def __init__(self, miniport: Miniport, receive: Callable[[NblBatch], None]) -> None:
        self.miniport = miniport
        self.indications: list[StatusIndication] = []
        self.sas: list[HostSa] = []
        self._inbound: dict[tuple[str, int], list[tuple[HostSa, int]]] = {}
        self.binding = miniport.bind(self._on_status, receive)
        address = self.binding.parameters.DefaultOffloadConfiguration
        self.offload = NDIS_OFFLOAD.from_bytes(miniport.memory.read(address), miniport.abi)

    def close(self) -> None:
        """Delete what was offloaded, and unbind."""
        self.delete(*self.sas)
        self.miniport.unbind(self.binding)

    # Configuration.

    def _on_status(self, indication: StatusIndication) -> None:
        self.indications.append(indication)
        if indication.status == NdisStatus.NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG:
            self.offload = NDIS_OFFLOAD.from_bytes(indication.buffer, self.miniport.abi)

    def set_encapsulation(self, ipv4: bool | None = True, ipv6: bool | None = True) -> None:
        """OID_OFFLOAD_ENCAPSULATION for Ethernet: on (True), off (False) or unchanged (None).  Raises NdisError."""
        families: dict[str, Any] = {}
        for name, on in (("IPv4", ipv4), ("IPv6", ipv6)):
            enabled = SetOffload.NDIS_OFFLOAD_SET_NO_CHANGE
            members: dict[str, int] = {}
            if on is not None:
                enabled = SetOffload.NDIS_OFFLOAD_SET_ON if on else SetOffload.NDIS_OFFLOAD_SET_OFF
            if on:
                members = {"EncapsulationType": int(Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3), "HeaderSize": 14}
            families[name] = {"Enabled": int(enabled), **members}
        request = NDIS_OFFLOAD_ENCAPSULATION(self.miniport.abi, **families)
        self._ordinary(Oid.OID_OFFLOAD_ENCAPSULATION, request.to_bytes())

    def set_parameters(self, **members: Any) -> None:
        """OID_TCP_OFFLOAD_PARAMETERS with these members of NDIS_OFFLOAD_PARAMETERS.  Raises NdisError."""
        known = NDIS_OFFLOAD_PARAMETERS.revision_for(self.miniport.ndis)
        revision = known.revision if known else 1
        request = NDIS_OFFLOAD_PARAMETERS(self.miniport.abi, revision=revision, **members)
        self._ordinary(Oid.OID_TCP_OFFLOAD_PARAMETERS, request.to_bytes())

    def _ordinary(self, oid: Oid, buffer: bytes) -> None:
        request = OidRequest.set(self.miniport.memory, oid, buffer)
        status = self.miniport.oid_request(request)
        self.miniport.memory.free(request.address)
        _check(status, oid)

    # SAs.

    @property
    def capacity(self) -> int:
        """Bundles that the card takes."""
        return self.offload.IPsecV2.SaOffloadCapacity

    def add(
        self,
        direction: Direction,
        *sas: SecurityAssociation,
        seq: int | Sequence[int] = 0,
        udp_esp: int | None = None,
    ) -> HostSa:
        """Offload a bundle: ESP, AH, or ESP and AH.

        Parameters
        ----------
        seq : the last number used, 64 bits with ESN; one for all SAs or one each.
        udp_esp : UdpEspEncapsulation; None: as mode and ``udp_encap`` of the ESP SA say, alone in its packet.

        Raises SADFullError when the card is full, before asking it; NdisError with its refusal.
        """
        (made,) = self.add_all(direction, [sas], seq=seq, udp_esp=udp_esp)
        return made

    def add_all(
        self,
        direction: Direction,
        bundles: Sequence[Sequence[SecurityAssociation]],
        *,
        seq: int | Sequence[int] = 0,
        udp_esp: int | None = None,
    ) -> list[HostSa]:
        """Offload bundles, in one list where the NDIS version has lists.

        Those that the card did not take are left out.  Raises NdisError if it took none, SADFullError if they can't
        all fit.
        """
        if len(self.sas) + len(bundles) > self.capacity:
            raise SADFullError(f"the card takes {self.capacity} bundles and has {len(self.sas)}")
        numbers = [[seq] * len(sas) if isinstance(seq, int) else list(seq) for sas in bundles]
        requests = [
            request_for(
                direction,
                sas,
                udp_esp=_udp_esp(sas[0]) if udp_esp is None else udp_esp,
                seq_hi=[_next_hi(n) for n in last],
            )
            for sas, last in zip(bundles, numbers, strict=True)
        ]
        handles = self._add(requests)
        made = []
        for sas, last, handle in zip(bundles, numbers, handles, strict=True):
            if handle:
                windows = tuple(_window(sa, n) for sa, n in zip(sas, last, strict=True))
                made.append(HostSa(direction, tuple(sas), handle, list(last), windows, [_next_hi(n) for n in last]))
        self.sas += made
        for one in made:
            if direction == "inbound":
                for i, sa in enumerate(one.sas):
                    self._inbound.setdefault((sa.protocol, sa.spi), []).append((one, i))
        return made

    def _add(self, requests: Sequence[SaRequest]) -> list[int]:
        """Handles, 0 where an entry was not offloaded."""
        miniport, options = self.miniport, self.miniport.options
        memory = miniport.memory
        if miniport.ndis < NDIS_6_30:
            nodes = [request.to_add_sa(miniport.abi, options) for request in requests]
            addresses = write_list(memory, nodes)
            handle, oid = IPSEC_OFFLOAD_V2_ADD_SA.OffloadHandle, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA
            for node in nodes:
                node.wipe()
            calls = [OidRequest(oid, addresses[0], sum(len(memory.read(a)) for a in addresses))]
        else:
            addresses, calls = [], []
            handle, oid = IPSEC_OFFLOAD_V2_ADD_SA_EX.OffloadHandle, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX
            for request in requests:
                made = request.to_add_sa_ex(miniport.abi, options)
                calls.append(OidRequest.set(memory, oid, made.to_bytes()))
                addresses.append(calls[-1].address)
                made.wipe()
        statuses = [self._direct(call) for call in calls]
        handles = [memory.load(address, handle) for address in addresses]
        for address in addresses:
            memory.free(address)  # which zeroes the keys
        if not any(handles):
            _check(statuses[0], oid)
        return handles

    def pair(self, one: HostSa, other: HostSa) -> None:
        """Say that two bundles belong together: when the card asks for the inbound one's deletion, both go."""
        one.peer, other.peer = other, one

    def delete(self, *sas: HostSa) -> None:
        """DELETE_SA of all of them in one list.  Raises NdisError."""
        live = [sa for sa in dict.fromkeys(sas) if sa.handle]
        if not live:
            return
        memory, abi = self.miniport.memory, self.miniport.abi
        nodes = write_list(memory, [IPSEC_OFFLOAD_V2_DELETE_SA(abi, OffloadHandle=sa.handle) for sa in live])
        length = len(nodes) * IPSEC_OFFLOAD_V2_DELETE_SA.sizeof(abi)
        status = self._direct(OidRequest(Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA, nodes[0], length))
        for node in nodes:
            memory.free(node)
        _check(status, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA)
        for sa in live:
            sa.handle = 0
            self.sas.remove(sa)
            for i, one in enumerate(sa.sas if sa.direction == "inbound" else ()):
                self._inbound[one.protocol, one.spi].remove((sa, i))

    def update(self, sa: HostSa, which: int, seq_hi: int) -> None:
        """UPDATE_SA: another high half for SA ``which`` of a bundle.  Raises NdisError."""
        miniport = self.miniport
        one = sa.sas[which]
        spi = int.from_bytes(one.spi.to_bytes(4, "big"), "little") if miniport.options.spi_network_order else one.spi
        high = seq_hi
        if miniport.options.spi_network_order:
            high = int.from_bytes(seq_hi.to_bytes(4, "big"), "little")
        buffer = IPSEC_OFFLOAD_V2_UPDATE_SA(
            miniport.abi,
            OffloadHandle=sa.handle,
            Operation=_OPERATIONS[one.protocol],
            Spi=spi,
            SequenceNumberHighOrder=high,
        )
        request = OidRequest.set(miniport.memory, Oid.OID_TCP_TASK_IPSEC_OFFLOAD_V2_UPDATE_SA, buffer.to_bytes())
        status = self._direct(request)
        miniport.memory.free(request.address)
        _check(status, request.oid)
        sa.seq_hi[which] = seq_hi

    def _direct(self, request: OidRequest) -> int:
        """Issue a direct request and wait for its end."""
        done = threading.Event()
        status = self.miniport.direct_oid_request(request, lambda *_: done.set())
        if status == NdisStatus.NDIS_STATUS_PENDING:
            self.miniport.poll()
            done.wait()
        return request.status


def _next_hi(last: int) -> int:
    """High half of the number that comes next."""
    return min(last + 1, (1 << 64) - 1) >> 32


def _window(sa: SecurityAssociation, seq: int) -> ReplayWindow:
    window = ReplayWindow(sa.replay_window, sa.esn, seq)
    if seq:
        window.mark(seq)
    return window


def _udp_esp(sa: SecurityAssociation) -> int:
    if not sa.udp_encap:
        return 0
    tunnel = sa.mode == "tunnel"
    form = UdpEsp.IPSEC_OFFLOAD_V2_UDP_ESP_ENCAPSULATION_TUNNEL
    return (form if tunnel else UdpEsp.IPSEC_OFFLOAD_V2_UDP_ESP_ENCAPSULATION_TRANSPORT).value


def _check(status: int, oid: int) -> None:
    if status != NdisStatus.NDIS_STATUS_SUCCESS:
        answer = NdisStatus(status)
        raise NdisError(answer, f"{Oid(oid).name}: the card answers {answer.name}")
