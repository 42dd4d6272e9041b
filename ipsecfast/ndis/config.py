"""The adapter's offload configuration at run time: what NDIS answers, what OIDs change, what is indicated.

This is the ordinary OID path as far as task offload goes, with NDIS' share of it: queries are answered from what the
miniport reported, and keywords are written before the miniport sees OID_TCP_OFFLOAD_PARAMETERS.  Requests are taken
one at a time, as NDIS does on this path; :attr:`Configuration.state` may be read from any thread without a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .capabilities import (
    Family,
    FamilyState,
    configured_offload,
    current_encapsulation,
    encapsulation_members,
    hardware_offload,
    is_zero,
    with_current_encapsulation,
)
from .constants import Encapsulation, NdisStatus, OffloadFlag, Oid, ParametersFlag, SetOffload
from .errors import NdisError
from .hardware import HardwareProfile
from .keywords import KEYWORDS, read_keywords
from .memory import Memory
from .options import Options
from .registry import Registry
from .structs import (
    NDIS_BIND_PARAMETERS,
    NDIS_FILTER_ATTACH_PARAMETERS,
    NDIS_IPSEC_OFFLOAD_V2,
    NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES,
    NDIS_OFFLOAD,
    NDIS_OFFLOAD_ENCAPSULATION,
    NDIS_OFFLOAD_PARAMETERS,
    NDIS_STATUS_INDICATION,
    Abi,
    Structure,
)
from .versions import NDIS_6_0, NdisVersion

__all__ = ["Binding", "Configuration", "OffloadState", "StatusIndication"]

_TYPES = (Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3, Encapsulation.NDIS_ENCAPSULATION_IEEE_LLC_SNAP_ROUTED)
_HEADER_SIZES = {  # Ethernet header without and with an 802.1Q tag; LLC and SNAP add 8 bytes
    Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3: (14, 18),
    Encapsulation.NDIS_ENCAPSULATION_IEEE_LLC_SNAP_ROUTED: (22, 26),
}
_V1 = frozenset(  # of NDIS 5 and IPsecOV1: known, and served by nobody here
    (
        Oid.OID_TCP_TASK_OFFLOAD,
        Oid.OID_TCP_TASK_IPSEC_ADD_SA,
        Oid.OID_TCP_TASK_IPSEC_DELETE_SA,
        Oid.OID_TCP_TASK_IPSEC_ADD_UDPESP_SA,
        Oid.OID_TCP_TASK_IPSEC_DELETE_UDPESP_SA,
    )
)
_UNSET: Family = (FamilyState.UNSET, 0)
_PARAMETERS = {k.parameter: k for k in KEYWORDS if k.parameter}
# Members of NDIS_OFFLOAD_PARAMETERS for offloads that no profile has: their form is checked, nothing follows.
_OTHER_PARAMETERS = (
    "TcpConnectionIPv4",
    "TcpConnectionIPv6",
    "RscIPv4",
    "RscIPv6",
    "EncapsulatedPacketTaskOffload",
    "UdpSegmentation.IPv4",
    "UdpSegmentation.IPv6",
    "UdpRsc.Enabled",
)


@dataclass(frozen=True)
class StatusIndication:
    """A status with its buffer, as a miniport indicates it to every bound protocol."""

    status: NdisStatus
    buffer: bytes

    def to_structure(self, memory: Memory) -> NDIS_STATUS_INDICATION:
        """The NDIS_STATUS_INDICATION, its buffer put into ``memory``."""
        address = memory.allocate(self.buffer)
        size = len(self.buffer)
        return NDIS_STATUS_INDICATION(memory.abi, StatusCode=self.status, StatusBuffer=address, StatusBufferSize=size)


@dataclass(frozen=True)
class OffloadState:
    """What is on now; a new object after every change, with the next ``generation``.

    Attributes
    ----------
    offload : the configuration, Encapsulation members as supported.  Not to be written to.
    ipsec_v2 : its IPsecOV2 part; all zero when off.
    ipsec_receive_ipv4, ipsec_receive_ipv6 : received packets of the family are to be processed.
    ipsec_send_ipv4, ipsec_send_ipv6 : sent packets with an offload handle are.
    encapsulation_ipv4, encapsulation_ipv6 : the NDIS_ENCAPSULATION_* bits that are current; all while not set.
    ipsec_encapsulation_ipv4, ipsec_encapsulation_ipv6 : the NDIS_ENCAPSULATION_* bits with which; of received
        packets, where those are to be processed.
    checksum_receive_ipv4, checksum_receive_ipv6 : receive checksum work may be done, as ``offload.Checksum`` says.
    lso_v1, lso_v2_ipv4, lso_v2_ipv6 : large sends.
    tcp_checksum_with_ipsec, udp_checksum_with_ipsec : the coexistence flags.
    """

    generation: int
    offload: NDIS_OFFLOAD
    ipsec_v2: NDIS_IPSEC_OFFLOAD_V2
    ipsec_receive_ipv4: bool
    ipsec_receive_ipv6: bool
    ipsec_send_ipv4: bool
    ipsec_send_ipv6: bool
    encapsulation_ipv4: int
    encapsulation_ipv6: int
    ipsec_encapsulation_ipv4: int
    ipsec_encapsulation_ipv6: int
    checksum_receive_ipv4: bool
    checksum_receive_ipv6: bool
    lso_v1: bool
    lso_v2_ipv4: bool
    lso_v2_ipv6: bool
    tcp_checksum_with_ipsec: bool
    udp_checksum_with_ipsec: bool


@dataclass(frozen=True, eq=False)
class Binding:
    """A protocol's binding: where its status indications go."""

    callback: Callable[[StatusIndication], None]


class Configuration:
    """Configuration of one adapter, from its initialization on.

    Parameters
    ----------
    profile : what the card can do.
    registry : the adapter's key; keywords that OIDs change are written to it.  None: an empty one.
    ndis : the NDIS version of the miniport.
    abi : of the buffers that OIDs carry.

    Raises RegistryError for a bad keyword, with ``out_of_range_keyword="refuse"``.
    """

    def __init__(
        self,
        profile: HardwareProfile,
        registry: Registry | None = None,
        *,
        ndis: str | NdisVersion = "6.30",
        abi: str = Abi.X64,
        options: Options | None = None,
    ) -> None:
        self.profile = profile
        self.registry = registry if registry is not None else Registry()
        self.ndis = NdisVersion.parse(ndis)
        self.abi = Abi(abi)
        self.options = options or Options()
        self.keywords = read_keywords(self.registry, self.options)
        self._settings = self.keywords.settings()
        self._families: tuple[Family, Family] = (_UNSET, _UNSET)
        self._header_sizes = (0, 0)
        self._bindings: list[Binding] = []
        self._lock = threading.RLock()
        self._hardware = self._capabilities()
        self.state = self._compute(0)
        self._default = self.state.offload

    # What is reported.

    @property
    def hardware(self) -> NDIS_OFFLOAD:
        """HardwareOffloadCapabilities: a copy."""
        reported = self._hardware
        if self.options.keywords_mask_hardware:
            reported = configured_offload(self._hardware, self.keywords.settings(), self.options)
        return _copy(reported)

    @property
    def default(self) -> NDIS_OFFLOAD:
        """DefaultOffloadConfiguration, of initialization: a copy."""
        return _copy(self._default)

    def attributes(self, memory: Memory) -> NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES:
        """What MiniportInitializeEx hands to NdisMSetMiniportAttributes; the NDIS_OFFLOADs lie in ``memory``."""
        return NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES(
            memory.abi,
            DefaultOffloadConfiguration=_put(memory, self._default),
            HardwareOffloadCapabilities=_put(memory, self.hardware),
        )

    def bind_parameters(self, memory: Memory, **members: Any) -> NDIS_BIND_PARAMETERS:
        """What NDIS tells a protocol that binds; ``members`` are the other members' values."""
        known = NDIS_BIND_PARAMETERS.revision_for(self.ndis)
        parameters = NDIS_BIND_PARAMETERS(memory.abi, revision=known.revision if known else None, **members)
        parameters.DefaultOffloadConfiguration = _put(memory, self._for_binding())
        return parameters

    def filter_attach_parameters(self, memory: Memory, **members: Any) -> NDIS_FILTER_ATTACH_PARAMETERS:
        """What NDIS tells a filter that attaches; ``members`` are the other members' values."""
        known = NDIS_FILTER_ATTACH_PARAMETERS.revision_for(self.ndis)
        parameters = NDIS_FILTER_ATTACH_PARAMETERS(memory.abi, revision=known.revision if known else None, **members)
        parameters.DefaultOffloadConfiguration = _put(memory, self._for_binding())
        return parameters

    def bind(self, callback: Callable[[StatusIndication], None]) -> Binding:
        """Bind a protocol: ``callback`` gets every later status indication, in the thread that caused it."""
        binding = Binding(callback)
        with self._lock:
            self._bindings.append(binding)
        return binding

    def unbind(self, binding: Binding) -> None:
        """End a binding; ValueError for one that is not there."""
        with self._lock:
            if binding not in self._bindings:
                raise ValueError("binding: got one that is not bound")
            self._bindings.remove(binding)

    # OIDs.

    def query(self, oid: int, length: int | None = None) -> bytes:
        """Answer a query as NDIS does; ``length`` is the room of the caller's buffer.

        Raises NdisError: BUFFER_TOO_SHORT, NOT_SUPPORTED, INVALID_OID.
        """
        with self._lock:
            if oid == Oid.OID_TCP_OFFLOAD_CURRENT_CONFIG:
                answer: Structure = self.state.offload
            elif oid == Oid.OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES:
                answer = self.hardware
            elif oid == Oid.OID_OFFLOAD_ENCAPSULATION:
                answer = self._encapsulation()
            else:
                raise _unknown("query", oid)
            octets = answer.to_bytes()
        if length is not None and length < len(octets):
            text = f"query: got room for {length} bytes, wanted {len(octets)}"
            raise NdisError(NdisStatus.NDIS_STATUS_BUFFER_TOO_SHORT, text)
        return octets

    def set(self, oid: int, buffer: bytes | bytearray | memoryview) -> None:
        """Handle a set request: change, then indicate the new configuration.

        Raises NdisError, with nothing changed: NOT_SUPPORTED, INVALID_OID, INVALID_DATA, INVALID_PARAMETER,
        INVALID_LENGTH, UNSUPPORTED_REVISION.
        """
        if oid == Oid.OID_TCP_OFFLOAD_PARAMETERS:
            self._set_parameters(buffer)
        elif oid == Oid.OID_OFFLOAD_ENCAPSULATION:
            self._set_encapsulation(buffer)
        elif oid in (Oid.OID_TCP_OFFLOAD_CURRENT_CONFIG, Oid.OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES):
            raise NdisError(NdisStatus.NDIS_STATUS_NOT_SUPPORTED, f"set: {Oid(oid).name} can only be queried")
        else:
            raise _unknown("set", oid)

    def change_hardware(self, profile: HardwareProfile) -> None:
        """The hardware's set of offloads has changed (a MUX driver's team): both statuses are indicated."""
        with self._lock:
            self.profile = profile
            self._hardware = self._capabilities()
            self._changed(NdisStatus.NDIS_STATUS_TASK_OFFLOAD_HARDWARE_CAPABILITIES)

    # Inside.

    def _capabilities(self) -> NDIS_OFFLOAD:
        return hardware_offload(self.profile, self.ndis, self.options, self.abi)

    def _for_binding(self) -> NDIS_OFFLOAD:
        return self._default if self.options.bind_default_configuration else self.state.offload

    def _compute(self, generation: int) -> OffloadState:
        ipv4, ipv6 = self._families
        offload = configured_offload(self._hardware, self._settings, self.options, ipv4, ipv6)
        v2 = offload.IPsecV2
        there = not is_zero(v2)
        on = [family[0] is FamilyState.ON for family in self._families]
        works = [there and (f[0] is FamilyState.UNSET or bool(v2.Encapsulation & f[1])) for f in self._families]
        works[1] = works[1] and v2.IPv6Supported
        return OffloadState(
            generation=generation,
            offload=offload,
            ipsec_v2=v2,
            ipsec_receive_ipv4=works[0] and on[0],
            ipsec_receive_ipv6=works[1] and on[1],
            ipsec_send_ipv4=works[0],
            ipsec_send_ipv6=works[1],
            encapsulation_ipv4=current_encapsulation(ipv4),
            encapsulation_ipv6=current_encapsulation(ipv6),
            ipsec_encapsulation_ipv4=v2.Encapsulation & current_encapsulation(ipv4) if works[0] else 0,
            ipsec_encapsulation_ipv6=v2.Encapsulation & current_encapsulation(ipv6) if works[1] else 0,
            checksum_receive_ipv4=on[0] and not is_zero(offload.Checksum.IPv4Receive),
            checksum_receive_ipv6=on[1] and not is_zero(offload.Checksum.IPv6Receive),
            lso_v1=not is_zero(offload.LsoV1),
            lso_v2_ipv4=not is_zero(offload.LsoV2.IPv4),
            lso_v2_ipv6=not is_zero(offload.LsoV2.IPv6),
            tcp_checksum_with_ipsec=bool(offload.Flags & OffloadFlag.IPSEC_OFFLOAD_V2_AND_TCP_CHECKSUM_COEXISTENCE),
            udp_checksum_with_ipsec=bool(offload.Flags & OffloadFlag.IPSEC_OFFLOAD_V2_AND_UDP_CHECKSUM_COEXISTENCE),
        )

    def _changed(self, status: NdisStatus | None = None) -> None:
        """Take a new state and tell every bound protocol: ``status`` with the hardware, then the configuration."""
        self.state = self._compute(self.state.generation + 1)
        current = with_current_encapsulation(self.state.offload, *self._families)
        indications = [StatusIndication(NdisStatus.NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG, current.to_bytes())]
        if status is not None:
            indications.insert(0, StatusIndication(status, self.hardware.to_bytes()))
        for indication in indications:
            for binding in tuple(self._bindings):
                binding.callback(indication)

    def _need_offload(self, oid: Oid) -> None:
        if not self.profile.has_offload:
            raise NdisError(NdisStatus.NDIS_STATUS_NOT_SUPPORTED, f"{oid.name}: the hardware has no task offload")

    def _set_parameters(self, buffer: bytes | bytearray | memoryview) -> None:
        self._need_offload(Oid.OID_TCP_OFFLOAD_PARAMETERS)
        parameters = NDIS_OFFLOAD_PARAMETERS.from_bytes(buffer, self.abi)
        changes = self._checked_parameters(parameters)
        with self._lock:
            settings = {**self._settings, **changes}
            if self.options.beyond_hardware == "refuse":
                self._refuse_beyond_hardware(changes)
            if not parameters.Flags & ParametersFlag.NDIS_OFFLOAD_PARAMETERS_SKIP_REGISTRY_UPDATE:
                for member, value in changes.items():
                    self.registry.write(_PARAMETERS[member].name, value, "OID_TCP_OFFLOAD_PARAMETERS")
            self._settings = settings
            self._changed()

    def _checked_parameters(self, parameters: NDIS_OFFLOAD_PARAMETERS) -> dict[str, int]:
        """The settings that a request changes; NdisError (INVALID_DATA) for a value out of range."""
        allowed = int(ParametersFlag.NDIS_OFFLOAD_PARAMETERS_SKIP_REGISTRY_UPDATE) * self.options.skip_registry_flag
        if parameters.Flags & ~allowed:
            raise _invalid(f"Flags: got 0x{parameters.Flags:X}, wanted 0x{allowed:X} or 0")
        changes = {}
        for member in (*_PARAMETERS, *_OTHER_PARAMETERS):
            value: Any = parameters
            for name in member.split("."):
                value = getattr(value, name)
            known = _PARAMETERS.get(member)
            highest = known.highest + 1 if known else 2
            if value > highest:
                raise _invalid(f"{member}: got {value}, wanted 0 to {highest}")
            if value and known:
                changes[member] = value - 1
        if self.ndis <= NDIS_6_0:  # knows no IPsecOV2: its structure ends before these members
            changes.pop("IPsecV2", None)
            changes.pop("IPsecV2IPv4", None)
        return changes

    def _refuse_beyond_hardware(self, changes: dict[str, int]) -> None:
        """NdisError (INVALID_DATA) if a change asks for a bit that changes nothing on this hardware."""
        off = dict.fromkeys(_PARAMETERS, 0)
        for member, value in changes.items():
            if member.startswith("IPsecV2") and (member == "IPsecV2") != bool(self._hardware.IPsecV2.IPv6Supported):
                continue  # the member that this hardware does not look at
            for bit in (1, 2):
                one = configured_offload(self._hardware, {**off, member: value & bit}, self.options)
                none = configured_offload(self._hardware, off, self.options)
                if value & bit and one == none:
                    raise _invalid(f"{member}: got {value + 1}, which the hardware can't do")

    def _set_encapsulation(self, buffer: bytes | bytearray | memoryview) -> None:
        self._need_offload(Oid.OID_OFFLOAD_ENCAPSULATION)
        request = NDIS_OFFLOAD_ENCAPSULATION.from_bytes(buffer, self.abi)
        asked = [(f.Enabled, f.EncapsulationType, f.HeaderSize) for f in (request.IPv4, request.IPv6)]
        for enabled, encapsulation_type, size in asked:
            self._check_family(enabled, encapsulation_type, size)
        if self.options.joint_encapsulation:
            on = [family for family in asked if family[0] == SetOffload.NDIS_OFFLOAD_SET_ON]
            if on:
                asked = [on[0] if f[0] == SetOffload.NDIS_OFFLOAD_SET_NO_CHANGE else f for f in asked]
        with self._lock:
            families, sizes = list(self._families), list(self._header_sizes)
            for i, (enabled, encapsulation_type, size) in enumerate(asked):
                if enabled == SetOffload.NDIS_OFFLOAD_SET_ON:
                    families[i], sizes[i] = (FamilyState.ON, encapsulation_type), size
                elif enabled == SetOffload.NDIS_OFFLOAD_SET_OFF:
                    families[i], sizes[i] = (FamilyState.OFF, 0), 0
            self._families, self._header_sizes = (families[0], families[1]), (sizes[0], sizes[1])
            self._changed()

    def _check_family(self, enabled: int, encapsulation_type: int, size: int) -> None:
        if enabled not in set(SetOffload):
            raise _invalid(f"Enabled: got {enabled}, wanted 0, 1 or 2")
        if enabled != SetOffload.NDIS_OFFLOAD_SET_ON:
            if self.options.strict_encapsulation and (encapsulation_type or size):
                raise _invalid("EncapsulationType, HeaderSize: wanted 0 where Enabled is not 1")
            return
        supported = any(mask & encapsulation_type for mask in encapsulation_members(self._hardware))
        if encapsulation_type not in _TYPES or not supported:
            text = f"EncapsulationType: got 0x{encapsulation_type:X}, which no offload of the hardware supports"
            raise NdisError(NdisStatus.NDIS_STATUS_INVALID_PARAMETER, text)
        wanted = _HEADER_SIZES[Encapsulation(encapsulation_type)]
        if self.options.strict_encapsulation and size not in wanted:
            raise _invalid(f"HeaderSize: got {size}, wanted {' or '.join(map(str, wanted))}")

    def _encapsulation(self) -> NDIS_OFFLOAD_ENCAPSULATION:
        """What was last set; a family that never was has Enabled = NDIS_OFFLOAD_SET_OFF."""
        members: dict[str, Any] = {}
        for name, (state, encapsulation_type), size in zip(
            ("IPv4", "IPv6"), self._families, self._header_sizes, strict=True
        ):
            on = state is FamilyState.ON
            enabled = SetOffload.NDIS_OFFLOAD_SET_ON if on else SetOffload.NDIS_OFFLOAD_SET_OFF
            members[name] = {"Enabled": enabled, "EncapsulationType": encapsulation_type, "HeaderSize": size}
        return NDIS_OFFLOAD_ENCAPSULATION(self.abi, **members)


def _copy(offload: NDIS_OFFLOAD) -> NDIS_OFFLOAD:
    return NDIS_OFFLOAD.from_bytes(offload.to_bytes(), offload.abi)


def _put(memory: Memory, offload: NDIS_OFFLOAD) -> int:
    return memory.allocate(offload.to_bytes(memory.abi))


def _unknown(what: str, oid: int) -> NdisError:
    if oid in _V1:
        return NdisError(NdisStatus.NDIS_STATUS_NOT_SUPPORTED, f"{what}: {Oid(oid).name}: IPsecOV1 is not served")
    return NdisError(NdisStatus.NDIS_STATUS_INVALID_OID, f"{what}: OID 0x{oid:08X} is not known here")


def _invalid(text: str) -> NdisError:
    return NdisError(NdisStatus.NDIS_STATUS_INVALID_DATA, text)
