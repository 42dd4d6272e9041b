"""From hardware profile and settings to NDIS_OFFLOAD: what an adapter can do, and what it does now.

The settings are numbers by member name of NDIS_OFFLOAD_PARAMETERS, each as the registry keyword has it (0 off;
checksums 1 transmit, 2 receive, 3 both; IPsec 1 AH, 2 ESP, 3 both; large send 1 on).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from .constants import Encapsulation, OffloadFlag
from .hardware import Checksum, HardwareProfile, IPsecV1, IPsecV2, Lso
from .options import Options
from .structs import NDIS_IPSEC_OFFLOAD_V2, NDIS_OFFLOAD, Abi, Structure
from .versions import NDIS_6_0, NDIS_6_1, NDIS_6_30, NdisVersion

__all__ = [
    "FamilyState",
    "configured_offload",
    "current_encapsulation",
    "encapsulation_members",
    "hardware_offload",
    "is_zero",
    "with_current_encapsulation",
]

_TRANSMIT, _RECEIVE = 1, 2  # bits of a checksum setting
_AH, _ESP = 1, 2  # IPsec settings beside 0 and 3
_TCP = OffloadFlag.IPSEC_OFFLOAD_V2_AND_TCP_CHECKSUM_COEXISTENCE
_UDP = OffloadFlag.IPSEC_OFFLOAD_V2_AND_UDP_CHECKSUM_COEXISTENCE

# Parts of NDIS_OFFLOAD that belong to one family; IPsecV2 is of both.
_PARTS_IPV4 = ("Checksum.IPv4Transmit", "Checksum.IPv4Receive", "LsoV1.IPv4", "LsoV2.IPv4", "IPsecV1")
_PARTS_IPV6 = ("Checksum.IPv6Transmit", "Checksum.IPv6Receive", "LsoV2.IPv6")

_WITH_802_3 = (
    Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3
    | Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q
    | Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q_IN_OOB
)


class FamilyState(Enum):
    """What OID_OFFLOAD_ENCAPSULATION last said of a family."""

    UNSET = 0  # nothing yet: sends may be offloaded, received packets are left alone
    ON = 1
    OFF = 2


Family = tuple[FamilyState, int]  # and its encapsulation type, if on


def hardware_offload(
    profile: HardwareProfile, ndis: NdisVersion, options: Options | None = None, abi: str = Abi.X64
) -> NDIS_OFFLOAD:
    """All that the card can do and an NDIS version can express (HardwareOffloadCapabilities)."""
    options = options or Options()
    known = NDIS_OFFLOAD.revision_for(ndis)
    assert known is not None  # every version knows revision 1
    offload = NDIS_OFFLOAD(abi, revision=known.revision)
    mac = profile.encapsulation
    for name in ("IPv4Transmit", "IPv4Receive", "IPv6Transmit", "IPv6Receive"):
        family, direction = name[:4].lower(), name[4:].lower()
        checksum = getattr(profile, f"{family}_{direction}")
        if checksum is not None:
            getattr(offload.Checksum, name).assign(_checksum(checksum, family == "ipv6", mac))
    if profile.lso_v1:
        lso = _lso(profile.lso_v1, mac)
        offload.LsoV1.IPv4.assign(
            {**lso, "TcpOptions": profile.lso_v1.tcp_options, "IpOptions": profile.lso_v1.extensions}
        )
    if profile.lso_v2_ipv4:
        offload.LsoV2.IPv4.assign(_lso(profile.lso_v2_ipv4, mac))
    if profile.lso_v2_ipv6:
        v6 = profile.lso_v2_ipv6
        more = {"IpExtensionHeadersSupported": v6.extensions, "TcpOptionsSupported": v6.tcp_options}
        offload.LsoV2.IPv6.assign({**_lso(v6, mac), **more})
    v1_until = NDIS_6_30 if options.v1_beside_v2 else NDIS_6_1
    if profile.ipsec_v1 and ndis < v1_until:
        _set_ipsec_v1(offload, profile.ipsec_v1)
    if profile.group_checksum:
        offload.Flags |= OffloadFlag.NDIS_OFFLOAD_FLAGS_GROUP_CHECKSUM_CAPABILITIES
    if profile.ipsec_v2 and ndis > NDIS_6_0:
        offload.IPsecV2.assign(_ipsec_v2(profile.ipsec_v2))
        if ndis >= NDIS_6_30:
            offload.Flags |= _TCP * profile.ipsec_v2.tcp_checksum | _UDP * profile.ipsec_v2.udp_checksum
    return offload


def configured_offload(
    hardware: NDIS_OFFLOAD,
    settings: Mapping[str, int],
    options: Options | None = None,
    ipv4: Family = (FamilyState.UNSET, 0),
    ipv6: Family = (FamilyState.UNSET, 0),
) -> NDIS_OFFLOAD:
    """What is on: the hardware's capabilities, less what settings and encapsulation switch off.

    ``ipv4``, ``ipv6``: the family's state and, if on, its encapsulation type.  The Encapsulation members stay what
    is supported; :func:`with_current_encapsulation` narrows them.
    """
    options = options or Options()
    offload = NDIS_OFFLOAD.from_bytes(hardware.to_bytes(), hardware.abi)
    _mask_checksums(offload, settings)
    for part, setting in (("LsoV1.IPv4", "LsoV1"), ("LsoV2.IPv4", "LsoV2IPv4"), ("LsoV2.IPv6", "LsoV2IPv6")):
        if not settings[setting]:
            _clear(_part(offload, part))
    _mask_ipsec_v1(offload, settings["IPsecV1"])
    _mask_ipsec_v2(offload.IPsecV2, _ipsec_v2_setting(hardware.IPsecV2, settings, options))
    _mask_families(offload, ipv4, ipv6)
    _settle(offload, options)
    return offload


def with_current_encapsulation(offload: NDIS_OFFLOAD, ipv4: Family, ipv6: Family) -> NDIS_OFFLOAD:
    """A copy whose Encapsulation members say what is current, where a family's encapsulation has been set."""
    current = NDIS_OFFLOAD.from_bytes(offload.to_bytes(), offload.abi)
    for parts, family in ((_PARTS_IPV4, ipv4), (_PARTS_IPV6, ipv6)):
        for name in parts:
            part = _part(current, name)
            holder = part.Supported if name == "IPsecV1" else part
            holder.Encapsulation &= current_encapsulation(family)
    if FamilyState.ON in (ipv4[0], ipv6[0]):
        on = [current_encapsulation(f) for f in (ipv4, ipv6) if f[0] is FamilyState.ON]
        current.IPsecV2.Encapsulation &= on[0] | on[-1]
    return current


def is_zero(part: Structure) -> bool:
    """Is an offload not there, or off: every byte zero?"""
    return not any(part.to_bytes())


def encapsulation_members(offload: NDIS_OFFLOAD) -> list[int]:
    """The Encapsulation member of every part that has one."""
    names = (*_PARTS_IPV4[:-1], *_PARTS_IPV6, "IPsecV2")
    return [*(_part(offload, name).Encapsulation for name in names), offload.IPsecV1.Supported.Encapsulation]


def _checksum(checksum: Checksum, ipv6: bool, mac: int) -> dict[str, int]:
    members = {
        "Encapsulation": mac if checksum.encapsulation is None else checksum.encapsulation,
        "IpExtensionHeadersSupported" if ipv6 else "IpOptionsSupported": checksum.extensions,
        "TcpOptionsSupported": checksum.tcp_options,
        "TcpChecksum": checksum.tcp,
        "UdpChecksum": checksum.udp,
    }
    return members if ipv6 else {**members, "IpChecksum": checksum.ip}


def _lso(lso: Lso, mac: int) -> dict[str, int]:
    encapsulation = mac if lso.encapsulation is None else lso.encapsulation
    return {"Encapsulation": encapsulation, "MaxOffLoadSize": lso.max_size, "MinSegmentCount": lso.min_segments}


def _ipsec_v2(v2: IPsecV2) -> dict[str, int]:
    return {
        "Encapsulation": v2.encapsulation,
        "IPv6Supported": v2.ipv6,
        "IPv4Options": v2.ipv4_options,
        "IPv6NonIPsecExtensionHeaders": v2.ipv6_extension_headers,
        "Ah": v2.ah,
        "Esp": v2.esp,
        "AhEspCombined": v2.ah_esp,
        "Transport": v2.transport,
        "Tunnel": v2.tunnel,
        "TransportTunnelCombined": v2.transport_tunnel,
        "LsoSupported": v2.lso,
        "ExtendedSequenceNumbers": v2.esn,
        "UdpEsp": v2.udp_esp,
        "AuthenticationAlgorithms": v2.authentication,
        "EncryptionAlgorithms": v2.encryption,
        "SaOffloadCapacity": v2.capacity,
    }


def _set_ipsec_v1(offload: NDIS_OFFLOAD, v1: IPsecV1) -> None:
    offload.IPsecV1.Supported.assign(
        {
            "Encapsulation": v1.encapsulation,
            "AhEspCombined": v1.ah_esp,
            "TransportTunnelCombined": v1.transport_tunnel,
            "IPv4Options": v1.ipv4_options,
            "Flags": v1.udp_esp,
        }
    )
    common = {"Transport": v1.transport, "Tunnel": v1.tunnel, "Send": v1.send, "Receive": v1.receive}
    if v1.ah:
        offload.IPsecV1.IPv4AH.assign({**common, "Md5": v1.md5, "Sha_1": v1.sha_1})
    if v1.esp:
        ciphers = {"Des": v1.des, "TripleDes": v1.triple_des, "NullEsp": v1.null_esp}
        offload.IPsecV1.IPv4ESP.assign({**common, **ciphers})


def _part(offload: NDIS_OFFLOAD, path: str) -> Any:
    part: Any = offload
    for name in path.split("."):
        part = getattr(part, name)
    return part


def _clear(part: Structure) -> None:
    part.assign(type(part)(part.abi))


def _mask_checksums(offload: NDIS_OFFLOAD, settings: Mapping[str, int]) -> None:
    kinds = {"IpChecksum": "{}Checksum", "TcpChecksum": "TCP{}Checksum", "UdpChecksum": "UDP{}Checksum"}
    for family in ("IPv4", "IPv6"):
        for direction, bit in (("Transmit", _TRANSMIT), ("Receive", _RECEIVE)):
            part = _part(offload, f"Checksum.{family}{direction}")
            present = [(member, setting.format(family)) for member, setting in kinds.items() if member in part.MEMBERS]
            for member, setting in present:
                if not settings[setting] & bit:
                    setattr(part, member, 0)
            if not any(getattr(part, member) for member, _ in present):
                _clear(part)


def _mask_ipsec_v1(offload: NDIS_OFFLOAD, setting: int) -> None:
    v1 = offload.IPsecV1
    if not setting & _AH:
        _clear(v1.IPv4AH)
    if not setting & _ESP:
        _clear(v1.IPv4ESP)
    if setting != _AH | _ESP:
        v1.Supported.AhEspCombined = 0
    if is_zero(v1.IPv4AH) and is_zero(v1.IPv4ESP):
        _clear(v1)


def _ipsec_v2_setting(hardware: NDIS_IPSEC_OFFLOAD_V2, settings: Mapping[str, int], options: Options) -> int:
    """The setting that governs: of both families where IPv6 is supported, else the one for IPv4 only."""
    if hardware.IPv6Supported:
        return settings["IPsecV2"]
    if options.v2_off_wins_on_ipv4_only and not settings["IPsecV2"]:
        return 0
    return settings["IPsecV2IPv4"]


def _mask_ipsec_v2(v2: NDIS_IPSEC_OFFLOAD_V2, setting: int) -> None:
    if setting == _AH:
        v2.assign({"Esp": False, "AhEspCombined": False, "UdpEsp": 0, "EncryptionAlgorithms": 0})
    elif setting == _ESP:
        v2.assign({"Ah": False, "AhEspCombined": False})
    if not setting or not (v2.Ah or v2.Esp):
        _clear(v2)


def _works(mask: int, family: Family) -> bool:
    state, encapsulation_type = family
    return state is FamilyState.UNSET or (state is FamilyState.ON and bool(mask & encapsulation_type))


def _mask_families(offload: NDIS_OFFLOAD, ipv4: Family, ipv6: Family) -> None:
    for parts, family in ((_PARTS_IPV4, ipv4), (_PARTS_IPV6, ipv6)):
        for name in parts:
            part = _part(offload, name)
            holder = part.Supported if name == "IPsecV1" else part
            if not _works(holder.Encapsulation, family):
                _clear(part)
    v2 = offload.IPsecV2
    if not _works(v2.Encapsulation, ipv6):
        v2.assign({"IPv6Supported": False, "IPv6NonIPsecExtensionHeaders": False})
    if not _works(v2.Encapsulation, ipv4) and not v2.IPv6Supported:
        _clear(v2)


def current_encapsulation(family: Family) -> int:
    """The bits that a family's encapsulation stands for; all of them while it is not set."""
    state, encapsulation_type = family
    if state is FamilyState.UNSET:
        return 0xFFFFFFFF
    if encapsulation_type & Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3:
        return _WITH_802_3
    return encapsulation_type


def _settle(offload: NDIS_OFFLOAD, options: Options) -> None:
    """What one offload means for another."""
    lso = not (is_zero(offload.LsoV1) and is_zero(offload.LsoV2))
    if lso and not is_zero(offload.IPsecV1):
        if options.v1_and_lso == "ipsec":
            _clear(offload.LsoV1)
            _clear(offload.LsoV2)
            lso = False
        elif options.v1_and_lso == "lso":
            _clear(offload.IPsecV1)
    if not lso:
        offload.IPsecV2.LsoSupported = False
    for flag, member in ((_TCP, "TcpChecksum"), (_UDP, "UdpChecksum")):
        transmit = any(getattr(part, member) for part in (offload.Checksum.IPv4Transmit, offload.Checksum.IPv6Transmit))
        lost = options.coexistence_needs_transmit_checksum and not transmit
        if lost or is_zero(offload.IPsecV2):
            offload.Flags &= ~flag
