"""NDIS_OFFLOAD and its parts, and the structures that configure it at run time."""

from __future__ import annotations

from ..constants import ObjectType
from .common import NDIS_OBJECT_HEADER
from .ipsec import NDIS_IPSEC_OFFLOAD_V2
from .ipsec_v1 import NDIS_IPSEC_OFFLOAD_V1
from .layout import Bits, Boolean, Nested, pointer, uchar, ulong, ushort
from .structure import Structure, Union, revisions

__all__ = [
    "NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD",
    "NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2",
    "NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES",
    "NDIS_OFFLOAD",
    "NDIS_OFFLOAD_ENCAPSULATION",
    "NDIS_OFFLOAD_PARAMETERS",
    "NDIS_RFC6877_464XLAT_OFFLOAD",
    "NDIS_TCP_CONNECTION_OFFLOAD",
    "NDIS_TCP_IP_CHECKSUM_OFFLOAD",
    "NDIS_TCP_LARGE_SEND_OFFLOAD_V1",
    "NDIS_TCP_LARGE_SEND_OFFLOAD_V2",
    "NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD",
    "NDIS_UDP_RSC_OFFLOAD",
    "NDIS_UDP_SEGMENTATION_OFFLOAD",
]


class _ChecksumIPv4(Structure):
    Encapsulation = ulong()
    IpOptionsSupported = Bits(2)
    TcpOptionsSupported = Bits(2)
    TcpChecksum = Bits(2)
    UdpChecksum = Bits(2)
    IpChecksum = Bits(2)


class _ChecksumIPv6(Structure):
    Encapsulation = ulong()
    IpExtensionHeadersSupported = Bits(2)
    TcpOptionsSupported = Bits(2)
    TcpChecksum = Bits(2)
    UdpChecksum = Bits(2)


class NDIS_TCP_IP_CHECKSUM_OFFLOAD(Structure):
    """Checksum part of NDIS_OFFLOAD."""

    IPv4Transmit = Nested(_ChecksumIPv4)
    IPv4Receive = Nested(_ChecksumIPv4)
    IPv6Transmit = Nested(_ChecksumIPv6)
    IPv6Receive = Nested(_ChecksumIPv6)


class _LsoV1IPv4(Structure):
    Encapsulation = ulong()
    MaxOffLoadSize = ulong()
    MinSegmentCount = ulong()
    TcpOptions = Bits(2)
    IpOptions = Bits(2)


class NDIS_TCP_LARGE_SEND_OFFLOAD_V1(Structure):
    """LSOv1 part of NDIS_OFFLOAD."""

    IPv4 = Nested(_LsoV1IPv4)


class _LsoV2IPv4(Structure):
    Encapsulation = ulong()
    MaxOffLoadSize = ulong()
    MinSegmentCount = ulong()


class _LsoV2IPv6(Structure):
    Encapsulation = ulong()
    MaxOffLoadSize = ulong()
    MinSegmentCount = ulong()
    IpExtensionHeadersSupported = Bits(2)
    TcpOptionsSupported = Bits(2)


class NDIS_TCP_LARGE_SEND_OFFLOAD_V2(Structure):
    """LSOv2 part of NDIS_OFFLOAD."""

    IPv4 = Nested(_LsoV2IPv4)
    IPv6 = Nested(_LsoV2IPv6)


class _Enabled(Structure):
    Enabled = Boolean()


class NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD(Structure):
    """RSC part of NDIS_OFFLOAD."""

    IPv4 = Nested(_Enabled)
    IPv6 = Nested(_Enabled)


class NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD(Structure):
    """NVGRE part of NDIS_OFFLOAD."""

    TransmitChecksumOffloadSupported = Bits(4)
    ReceiveChecksumOffloadSupported = Bits(4)
    LsoV2Supported = Bits(4)
    RssSupported = Bits(4)
    VmqSupported = Bits(4)
    UsoSupported = Bits(4)
    Reserved = Bits(8)
    MaxHeaderSizeSupported = ulong()


class _VxlanInfo(Structure):
    VxlanUDPPortNumber = ushort()
    VxlanUDPPortNumberConfigurable = Bits(1, "USHORT", 2)


class _EncapsulationProtocolInfo(Union):
    VxlanInfo = Nested(_VxlanInfo)
    Value = ulong()


class NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2(Structure):
    """VXLAN part of NDIS_OFFLOAD."""

    TransmitChecksumOffloadSupported = Bits(4)
    ReceiveChecksumOffloadSupported = Bits(4)
    LsoV2Supported = Bits(4)
    RssSupported = Bits(4)
    VmqSupported = Bits(4)
    UsoSupported = Bits(4)
    Reserved = Bits(8)
    MaxHeaderSizeSupported = ulong()
    EncapsulationProtocolInfo = Nested(_EncapsulationProtocolInfo)
    Reserved1 = ulong()
    Reserved2 = ulong()


class NDIS_RFC6877_464XLAT_OFFLOAD(Structure):
    """464XLAT part of NDIS_OFFLOAD."""

    XlatOffload = ulong("NDIS_RFC6877_464XLAT_OFFLOAD_OPTIONS")
    Flags = ulong()


class _UsoIPv4(Structure):
    Encapsulation = ulong()
    MaxOffLoadSize = ulong()
    MinSegmentCount = Bits(6)
    SubMssFinalSegmentSupported = Bits(1)
    Reserved = Bits(25)


class _UsoIPv6(Structure):
    Encapsulation = ulong()
    MaxOffLoadSize = ulong()
    MinSegmentCount = Bits(6)
    SubMssFinalSegmentSupported = Bits(1)
    Reserved1 = Bits(25)
    IpExtensionHeadersSupported = Bits(2)
    Reserved2 = Bits(30)


class NDIS_UDP_SEGMENTATION_OFFLOAD(Structure):
    """USO part of NDIS_OFFLOAD."""

    IPv4 = Nested(_UsoIPv4)
    IPv6 = Nested(_UsoIPv6)


class NDIS_UDP_RSC_OFFLOAD(Structure):
    """URO part of NDIS_OFFLOAD."""

    Enabled = Boolean()


class NDIS_OFFLOAD(Structure):
    """What an adapter can do, or does now: capabilities or configuration of all task offloads."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_OFFLOAD
    REVISIONS = revisions(
        "NDIS_SIZEOF_NDIS_OFFLOAD",
        ("6.0", "Flags"),
        ("6.1", "IPsecV2"),
        ("6.30", "EncapsulatedPacketTaskOffloadGre"),
        ("6.50", "EncapsulationTypes"),
        ("6.70", "Rfc6877Xlat"),
        ("6.83", "UdpSegmentation"),
        ("6.85", "UdpSegmentation"),
        ("6.89", "UdpRsc"),
    )

    Header = Nested(NDIS_OBJECT_HEADER)
    Checksum = Nested(NDIS_TCP_IP_CHECKSUM_OFFLOAD)
    LsoV1 = Nested(NDIS_TCP_LARGE_SEND_OFFLOAD_V1)
    IPsecV1 = Nested(NDIS_IPSEC_OFFLOAD_V1)
    LsoV2 = Nested(NDIS_TCP_LARGE_SEND_OFFLOAD_V2)
    Flags = ulong()
    IPsecV2 = Nested(NDIS_IPSEC_OFFLOAD_V2)
    Rsc = Nested(NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD)
    EncapsulatedPacketTaskOffloadGre = Nested(NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD)
    EncapsulatedPacketTaskOffloadVxlan = Nested(NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2)
    EncapsulationTypes = uchar()
    Rfc6877Xlat = Nested(NDIS_RFC6877_464XLAT_OFFLOAD)
    UdpSegmentation = Nested(NDIS_UDP_SEGMENTATION_OFFLOAD)
    UdpRsc = Nested(NDIS_UDP_RSC_OFFLOAD)


class _VxlanParameters(Structure):
    VxlanUDPPortNumber = ushort()


class _EncapsulationProtocolParameters(Union):
    VxlanParameters = Nested(_VxlanParameters)
    Value = ulong()


class _UsoParameters(Structure):
    IPv4 = uchar()
    IPv6 = uchar()


class _UdpRscParameters(Structure):
    Enabled = uchar()


class NDIS_OFFLOAD_PARAMETERS(Structure):
    """OID_TCP_OFFLOAD_PARAMETERS: 0 keeps; IPsec and checksum members are the keyword's value plus one."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_DEFAULT
    REVISIONS = revisions(
        "NDIS_SIZEOF_OFFLOAD_PARAMETERS",
        ("6.0", "Flags"),
        ("6.1", "IPsecV2IPv4"),
        ("6.30", "EncapsulationTypes"),
        ("6.50", "EncapsulationProtocolParameters"),
        ("6.83", "UdpSegmentation"),
        ("6.89", "UdpRsc"),
    )

    Header = Nested(NDIS_OBJECT_HEADER)
    IPv4Checksum = uchar()
    TCPIPv4Checksum = uchar()
    UDPIPv4Checksum = uchar()
    TCPIPv6Checksum = uchar()
    UDPIPv6Checksum = uchar()
    LsoV1 = uchar()
    IPsecV1 = uchar()
    LsoV2IPv4 = uchar()
    LsoV2IPv6 = uchar()
    TcpConnectionIPv4 = uchar()
    TcpConnectionIPv6 = uchar()
    Flags = ulong()
    IPsecV2 = uchar()
    IPsecV2IPv4 = uchar()
    RscIPv4 = uchar()
    RscIPv6 = uchar()
    EncapsulatedPacketTaskOffload = uchar()
    EncapsulationTypes = uchar()
    EncapsulationProtocolParameters = Nested(_EncapsulationProtocolParameters)
    UdpSegmentation = Nested(_UsoParameters)
    UdpRsc = Nested(_UdpRscParameters)


class _FamilyEncapsulation(Structure):
    Enabled = ulong()
    EncapsulationType = ulong()
    HeaderSize = ulong()


class NDIS_OFFLOAD_ENCAPSULATION(Structure):
    """OID_OFFLOAD_ENCAPSULATION, and NDIS_STATUS_OFFLOAD_ENCASPULATION_CHANGE."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_OFFLOAD_ENCAPSULATION
    REVISIONS = revisions("NDIS_SIZEOF_OFFLOAD_ENCAPSULATION", ("6.0", "IPv6.HeaderSize"))

    Header = Nested(NDIS_OBJECT_HEADER)
    IPv4 = Nested(_FamilyEncapsulation)
    IPv6 = Nested(_FamilyEncapsulation)


class NDIS_TCP_CONNECTION_OFFLOAD(Structure):
    """TCP chimney capabilities."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_DEFAULT
    REVISIONS = revisions("NDIS_SIZEOF_TCP_CONNECTION_OFFLOAD", ("6.0", "Flags"), ("6.1", "Flags"))

    Header = Nested(NDIS_OBJECT_HEADER)
    Encapsulation = ulong()
    SupportIPv4 = Bits(2)
    SupportIPv6 = Bits(2)
    SupportIPv6ExtensionHeaders = Bits(2)
    SupportSack = Bits(2)
    CongestionAlgorithm = Bits(4)
    TcpConnectionOffloadCapacity = ulong()
    Flags = ulong()


class NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES(Structure):
    """What MiniportInitializeEx hands to NdisMSetMiniportAttributes: pointers to default and hardware offload."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES
    REVISIONS = revisions(
        "NDIS_SIZEOF_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES", ("6.0", "TcpConnectionOffloadHardwareCapabilities")
    )

    Header = Nested(NDIS_OBJECT_HEADER)
    DefaultOffloadConfiguration = pointer("PNDIS_OFFLOAD")
    HardwareOffloadCapabilities = pointer("PNDIS_OFFLOAD")
    DefaultTcpConnectionOffloadConfiguration = pointer("PNDIS_TCP_CONNECTION_OFFLOAD")
    TcpConnectionOffloadHardwareCapabilities = pointer("PNDIS_TCP_CONNECTION_OFFLOAD")
