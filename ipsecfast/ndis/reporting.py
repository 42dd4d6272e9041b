"""What a software card can report of a profile, and what its datapath has on in a configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import provider as providing
from ..alg import AUTHENTICATION, ENCRYPTION
from ..errors import ProviderError
from .config import OffloadState
from .datapath import DatapathCapabilities
from .hardware import Checksum, HardwareProfile, Lso
from .sa_bundle import AUTHENTICATIONS, ENCRYPTIONS

__all__ = ["datapath_capabilities", "miniport_profile"]


def miniport_profile(profile: HardwareProfile, provider: str | None = None) -> HardwareProfile:
    """What of a profile the software card really does: algorithms that a crypto library here has, and no IPsecOV1."""
    v2 = profile.ipsec_v2
    if v2 is None:
        return replace(profile, ipsec_v1=None)
    encryption = v2.encryption & _served(ENCRYPTIONS, provider)
    authentication = v2.authentication & _served(AUTHENTICATIONS, provider)
    ah, esp = v2.ah and bool(authentication), v2.esp and bool(encryption)
    if not ah and not esp:
        return replace(profile, ipsec_v1=None, ipsec_v2=None)
    v2 = replace(
        v2,
        ah=ah,
        esp=esp,
        ah_esp=v2.ah_esp and ah and esp,
        udp_esp=v2.udp_esp if esp else 0,
        encryption=encryption if esp else 0,
        authentication=authentication,
    )
    return replace(profile, ipsec_v1=None, ipsec_v2=v2)


def _served(names: dict[int, str], provider: str | None) -> int:
    bits, wanted = 0, providing.wanted(provider)
    if wanted == "reference":
        raise ProviderError("the card needs libcrypto or ipsec-mb: the reference provider does not serve it")
    for bit, name in names.items():
        algorithm = ENCRYPTION.get(name) or AUTHENTICATION[name]  # AES-GMAC is among the former, for AH too
        try:
            if algorithm.code:
                providing.find(algorithm, wanted)
            bits |= bit
        except ProviderError:
            pass
    return bits


def datapath_capabilities(state: OffloadState) -> DatapathCapabilities:
    """The configuration as far as packets are concerned."""
    v2, offload = state.ipsec_v2, state.offload
    mac4, mac6 = state.encapsulation_ipv4, state.encapsulation_ipv6
    sums = offload.Checksum
    return DatapathCapabilities(
        send_ipv4=state.ipsec_encapsulation_ipv4 if state.ipsec_send_ipv4 else 0,
        send_ipv6=state.ipsec_encapsulation_ipv6 if state.ipsec_send_ipv6 else 0,
        receive_ipv4=state.ipsec_encapsulation_ipv4 if state.ipsec_receive_ipv4 else 0,
        receive_ipv6=state.ipsec_encapsulation_ipv6 if state.ipsec_receive_ipv6 else 0,
        ipv6=v2.IPv6Supported,
        ipv4_options=v2.IPv4Options,
        ipv6_extension_headers=v2.IPv6NonIPsecExtensionHeaders,
        ah=v2.Ah,
        esp=v2.Esp,
        ah_esp_combined=v2.AhEspCombined,
        transport=v2.Transport,
        tunnel=v2.Tunnel,
        transport_tunnel_combined=v2.TransportTunnelCombined,
        lso=v2.LsoSupported,
        udp_esp=v2.UdpEsp,
        esn=v2.ExtendedSequenceNumbers,
        algorithms=frozenset(
            name
            for names, on in ((ENCRYPTIONS, v2.EncryptionAlgorithms), (AUTHENTICATIONS, v2.AuthenticationAlgorithms))
            for bit, name in names.items()
            if on & bit
        ),
        tcp_coexistence=state.tcp_checksum_with_ipsec,
        udp_coexistence=state.udp_checksum_with_ipsec,
        checksum_send_ipv4=_checksum(sums.IPv4Transmit, mac4),
        checksum_send_ipv6=_checksum(sums.IPv6Transmit, mac6),
        checksum_receive_ipv4=_checksum(sums.IPv4Receive, mac4) if state.checksum_receive_ipv4 else None,
        checksum_receive_ipv6=_checksum(sums.IPv6Receive, mac6) if state.checksum_receive_ipv6 else None,
        lso_v1=_large_send(offload.LsoV1.IPv4, mac4) if state.lso_v1 else None,
        lso_v2_ipv4=_large_send(offload.LsoV2.IPv4, mac4) if state.lso_v2_ipv4 else None,
        lso_v2_ipv6=_large_send(offload.LsoV2.IPv6, mac6) if state.lso_v2_ipv6 else None,
    )


def _checksum(part: Any, encapsulation: int) -> Checksum:
    return Checksum(
        ip=_says(part, "IpChecksum"),
        tcp=_says(part, "TcpChecksum"),
        udp=_says(part, "UdpChecksum"),
        extensions=_says(part, "IpOptionsSupported", "IpExtensionHeadersSupported"),
        tcp_options=_says(part, "TcpOptionsSupported"),
        encapsulation=part.Encapsulation & encapsulation,
    )


def _large_send(part: Any, encapsulation: int) -> Lso:
    """Version 2 with IPv4 has no members for options: it must take them."""
    must = "TcpOptions" not in part.MEMBERS and "TcpOptionsSupported" not in part.MEMBERS
    return Lso(
        max_size=part.MaxOffLoadSize,
        min_segments=part.MinSegmentCount,
        extensions=must or _says(part, "IpOptions", "IpExtensionHeadersSupported"),
        tcp_options=must or _says(part, "TcpOptions", "TcpOptionsSupported"),
        encapsulation=part.Encapsulation & encapsulation,
    )


def _says(part: Any, *members: str) -> bool:
    """Is a member set, by whichever of its names the part has?"""
    return any(getattr(part, member) for member in members if member in part.MEMBERS)
