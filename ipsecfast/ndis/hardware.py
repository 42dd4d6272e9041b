"""Hardware profiles: what a card could do, whatever the keywords then switch off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from .constants import Authentication, Encapsulation, Encryption, IPsecV1UdpEsp, UdpEsp

__all__ = ["PROFILES", "Checksum", "HardwareProfile", "IPsecV1", "IPsecV2", "Lso", "profile"]

_ETHERNET = (
    Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3
    | Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q
    | Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q_IN_OOB
)


@dataclass(frozen=True)
class IPsecV2:
    """IPsecOV2 of a card, as NDIS_IPSEC_OFFLOAD_V2 reports it.

    ``udp_esp``, ``authentication``, ``encryption`` and ``encapsulation`` are sets of the flags of these names;
    ``capacity`` counts SA bundles of both directions.  ValueError for what no legal report could say.
    """

    ah: bool = False
    esp: bool = True
    ah_esp: bool = False
    transport: bool = True
    tunnel: bool = True
    transport_tunnel: bool = False
    ipv6: bool = True
    ipv4_options: bool = False
    ipv6_extension_headers: bool = False
    lso: bool = False
    esn: bool = False
    udp_esp: int = 0
    authentication: int = 0
    encryption: int = 0
    capacity: int = 1024
    encapsulation: int = _ETHERNET
    tcp_checksum: bool = False  # on packets that get IPsec too
    udp_checksum: bool = False

    def __post_init__(self) -> None:
        for wrong, text in (
            (not self.tunnel, "tunnel must be True: IPsecOV2 is not reported without it"),
            (not self.ah and not self.esp, "neither ah nor esp"),
            (self.ah_esp and not (self.ah and self.esp), "ah_esp without ah and esp"),
            (self.transport_tunnel and not self.transport, "transport_tunnel without transport"),
            (
                not self.encapsulation & Encapsulation.NDIS_ENCAPSULATION_IEEE_802_3,
                "encapsulation must include NDIS_ENCAPSULATION_IEEE_802_3",
            ),
            (self.esp and not self.encryption, "esp without an encryption algorithm (NONE is one)"),
            (not self.esp and bool(self.encryption), "encryption algorithms without esp"),
            (not self.esp and bool(self.udp_esp), "udp_esp without esp"),
            (self.ah and not self.authentication, "ah without an authentication algorithm"),
            (self.ipv6_extension_headers and not self.ipv6, "ipv6_extension_headers without ipv6"),
            (not 0 < self.capacity < 1 << 32, f"capacity: got {self.capacity}, wanted 1 to 2**32 - 1"),
        ):
            if wrong:
                raise ValueError(f"IPsecV2: {text}")


@dataclass(frozen=True)
class IPsecV1:
    """IPsecOV1 of a card (IPv4 only), as NDIS_IPSEC_OFFLOAD_V1 reports it.

    It must do what V1 demands of a card: with ``ah_esp``, AH of either hash around ESP of either hash.
    """

    ah: bool = True
    esp: bool = True
    ah_esp: bool = False
    md5: bool = True
    sha_1: bool = True
    des: bool = True
    triple_des: bool = True
    null_esp: bool = True
    transport: bool = True
    tunnel: bool = True
    transport_tunnel: bool = False
    ipv4_options: bool = False
    send: bool = True
    receive: bool = True
    udp_esp: int = 0
    encapsulation: int = _ETHERNET

    def __post_init__(self) -> None:
        if not self.ah and not self.esp:
            raise ValueError("IPsecV1: neither ah nor esp")
        if self.ah_esp and not (self.ah and self.esp and self.md5 and self.sha_1):
            raise ValueError("IPsecV1: ah_esp without ah, esp, md5 and sha_1")


@dataclass(frozen=True)
class Checksum:
    """Checksums of one family and direction.

    ``extensions``: also with IPv4 options or IPv6 extension headers.  ``encapsulation``: NDIS_ENCAPSULATION_* bits;
    None: those of the profile.
    """

    ip: bool = True  # of IPv6 there is none
    tcp: bool = True
    udp: bool = True
    extensions: bool = True
    tcp_options: bool = True
    encapsulation: int | None = None


@dataclass(frozen=True)
class Lso:
    """Large send of one version and family.

    ``max_size``: MaxOffLoadSize, bytes of TCP payload; ``min_segments``: MinSegmentCount, which is for the host to
    see to; the others as of :class:`Checksum`.
    """

    max_size: int = 0xFFFF
    min_segments: int = 2
    extensions: bool = True
    tcp_options: bool = True
    encapsulation: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_size", "min_segments"):
            value = getattr(self, name)
            if not 0 <= value < 1 << 32:
                raise ValueError(f"Lso: {name}: got {value}, wanted 0 to 2**32 - 1")


@dataclass(frozen=True)
class HardwareProfile:
    """All task offloads of a card; None is what it can't do.

    ``source`` says where its facts come from; ``encapsulation`` holds for checksums and large sends that don't say
    theirs.
    """

    name: str
    description: str = ""
    source: str = ""
    ipsec_v2: IPsecV2 | None = None
    ipsec_v1: IPsecV1 | None = None
    ipv4_transmit: Checksum | None = None
    ipv4_receive: Checksum | None = None
    ipv6_transmit: Checksum | None = None
    ipv6_receive: Checksum | None = None
    lso_v1: Lso | None = None
    lso_v2_ipv4: Lso | None = None
    lso_v2_ipv6: Lso | None = None
    encapsulation: int = _ETHERNET
    group_checksum: bool = False

    def __post_init__(self) -> None:
        v2 = self.ipsec_v2
        if v2 is None:
            return
        if v2.lso and not (self.lso_v1 or self.lso_v2_ipv4 or self.lso_v2_ipv6):
            raise ValueError(f"{self.name}: ipsec_v2.lso without any large send offload")
        transmit = [c for c in (self.ipv4_transmit, self.ipv6_transmit) if c]
        for kind in ("tcp", "udp"):
            if getattr(v2, f"{kind}_checksum") and not any(getattr(c, kind) for c in transmit):
                raise ValueError(f"{self.name}: ipsec_v2.{kind}_checksum without a transmit checksum of that kind")

    @property
    def has_offload(self) -> bool:
        """Is there any task offload?"""
        about = ("name", "description", "source", "encapsulation", "group_checksum")
        return any(getattr(self, f.name) is not None for f in fields(self) if f.name not in about)


_ALL_AUTHENTICATION = Authentication(sum(Authentication))
_ALL_ENCRYPTION = Encryption(sum(Encryption))
_ALL_UDP_ESP = UdpEsp(sum(UdpEsp))
_GCM_128 = Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_128
_GCM_256 = Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_256

_V1 = IPsecV1(
    ah_esp=True,
    transport_tunnel=True,
    udp_esp=IPsecV1UdpEsp.IPSEC_TPT_UDPESP_ENCAPTYPE_OTHER | IPsecV1UdpEsp.IPSEC_TUN_UDPESP_ENCAPTYPE_OTHER,
)

WINDOWS_CERTIFIED = HardwareProfile(
    "windows-certified",
    "what the Windows 8 to 10 hardware certification asks of a card with IPsec offload, and no more",
    "Device.Network.LAN.IPsec.IPsec: IPv4 and IPv6, transport and tunnel, ESP, AES-GCM-128 at least; together with "
    "large send and checksum offload. It names no capacity; 1024 is ours.",
    ipsec_v2=IPsecV2(lso=True, encryption=_GCM_128, tcp_checksum=True, udp_checksum=True),
    ipv4_transmit=Checksum(),
    ipv4_receive=Checksum(),
    ipv6_transmit=Checksum(),
    ipv6_receive=Checksum(),
    lso_v1=Lso(),
    lso_v2_ipv4=Lso(),
    lso_v2_ipv6=Lso(),
)

FULL = HardwareProfile(
    "full",
    "everything that the interface can express",
    "The members and bits of NDIS_OFFLOAD.",
    ipsec_v2=IPsecV2(
        ah=True,
        ah_esp=True,
        transport_tunnel=True,
        ipv4_options=True,
        ipv6_extension_headers=True,
        lso=True,
        esn=True,
        udp_esp=_ALL_UDP_ESP,
        authentication=_ALL_AUTHENTICATION,
        encryption=_ALL_ENCRYPTION,
        capacity=65536,
        encapsulation=_ETHERNET | Encapsulation.NDIS_ENCAPSULATION_IEEE_LLC_SNAP_ROUTED,
        tcp_checksum=True,
        udp_checksum=True,
    ),
    ipsec_v1=_V1,
    ipv4_transmit=Checksum(),
    ipv4_receive=Checksum(),
    ipv6_transmit=Checksum(),
    ipv6_receive=Checksum(),
    lso_v1=Lso(),
    lso_v2_ipv4=Lso(),
    lso_v2_ipv6=Lso(),
    encapsulation=_ETHERNET | Encapsulation.NDIS_ENCAPSULATION_IEEE_LLC_SNAP_ROUTED,
)

IPV4_ONLY = HardwareProfile(
    "ipv4-only",
    "AH and ESP for IPv4 only: *IPsecOffloadV2IPv4 governs it",
    "The rule for adapters without IPv6 in NDIS_OFFLOAD_PARAMETERS; algorithms and capacity are ours.",
    ipsec_v2=IPsecV2(
        ah=True,
        ah_esp=True,
        transport_tunnel=True,
        ipv6=False,
        lso=True,
        esn=True,
        udp_esp=_ALL_UDP_ESP,
        authentication=_ALL_AUTHENTICATION,
        encryption=_ALL_ENCRYPTION,
        tcp_checksum=True,
        udp_checksum=True,
    ),
    ipsec_v1=_V1,
    ipv4_transmit=Checksum(),
    ipv4_receive=Checksum(),
    lso_v1=Lso(),
    lso_v2_ipv4=Lso(),
)

IXGBE_LIKE = HardwareProfile(
    "ixgbe",
    "an Intel 82599/X540-like card: AES-GCM-128 ESP and AES-GMAC-128 AH, no options or extension headers",
    "Read in Linux drivers/net/ethernet/intel/ixgbe/ixgbe_ipsec.c and .h: ESP and AH, 128-bit keys with a 32-bit salt, "
    "IPv4 without options and IPv6 without extension headers, 1024 SAs per direction (1024 in all here, which holds "
    "for any mix). Read in DPDK drivers/net/ixgbe/ixgbe_ipsec.c: AES-GCM-128 and AES-GMAC-128 with ICVs of 16 bytes, "
    "transport and tunnel mode, neither ESN nor UDP encapsulation, no receive coalescing. Read in the 82599 datasheet: "
    "segmentation of up to 256 KB; AH of 36 bytes with IPv4 and 40 with IPv6, which is AES-GMAC's with its IV. "
    "Assumed: AH and ESP never in one packet, checksum and segmentation together with IPsec. Not kept: 128 destination "
    "addresses for received packets.",
    ipsec_v2=IPsecV2(
        ah=True,
        lso=True,
        authentication=Authentication.IPSEC_OFFLOAD_V2_AUTHENTICATION_AES_GCM_128,
        encryption=_GCM_128,
        tcp_checksum=True,
        udp_checksum=True,
    ),
    ipv4_transmit=Checksum(extensions=False),
    ipv4_receive=Checksum(extensions=False),
    ipv6_transmit=Checksum(extensions=False),
    ipv6_receive=Checksum(extensions=False),
    lso_v1=Lso(),
    lso_v2_ipv4=Lso(max_size=1 << 18),
    lso_v2_ipv6=Lso(max_size=1 << 18, extensions=False),
)

MLX5_LIKE = HardwareProfile(
    "mlx5",
    "an NVIDIA ConnectX-like card: AES-GCM-128 and -256 ESP with ESN",
    "Read in Linux drivers/net/ethernet/mellanox/mlx5/core/en_accel: ESP alone, AES-GCM with keys of 128 or 256 bits "
    "and ICVs of 16 bytes, transport and tunnel mode, ESN, IPv4 without options and IPv6 without extension headers, no "
    "UDP encapsulation, checksum and segmentation together with ESP where the firmware has it, at most 2**24 SAs. "
    "Assumed: room for 65536 SAs (the firmware reports its own limit), segmentation of up to 256 KB. IPsecOV2 has no "
    "words for the ICV's length: shorter ones are taken here.",
    ipsec_v2=IPsecV2(
        lso=True,
        esn=True,
        encryption=_GCM_128 | _GCM_256,
        capacity=65536,
        tcp_checksum=True,
        udp_checksum=True,
    ),
    ipv4_transmit=Checksum(),
    ipv4_receive=Checksum(),
    ipv6_transmit=Checksum(),
    ipv6_receive=Checksum(),
    lso_v2_ipv4=Lso(max_size=0x3FFFF),
    lso_v2_ipv6=Lso(max_size=0x3FFFF),
)

PROFILES: Mapping[str, HardwareProfile] = {
    p.name: p for p in (WINDOWS_CERTIFIED, FULL, IPV4_ONLY, IXGBE_LIKE, MLX5_LIKE)
}


def profile(name: str) -> HardwareProfile:
    """A ready profile by name; ValueError lists the names."""
    if name not in PROFILES:
        raise ValueError(f"profile: got {name!r}, wanted one of {', '.join(PROFILES)}")
    return PROFILES[name]
