"""Out-of-band words of NET_BUFFER_LISTs, and the lists themselves.

Transmit and receive forms share a slot's cell: which one holds follows from the direction.
"""

from __future__ import annotations

from ..constants import NET_BUFFER_LIST_INFO_BY_LEVEL
from .layout import Bits, Integer, Integers, Nested, Opaque, pointer, ulong, ulong64, ushort
from .structure import Structure, Union

__all__ = [
    "NDIS_IPSEC_OFFLOAD_V1_NET_BUFFER_LIST_INFO",
    "NDIS_IPSEC_OFFLOAD_V2_HEADER_NET_BUFFER_LIST_INFO",
    "NDIS_IPSEC_OFFLOAD_V2_NET_BUFFER_LIST_INFO",
    "NDIS_IPSEC_OFFLOAD_V2_TUNNEL_NET_BUFFER_LIST_INFO",
    "NDIS_TCP_IP_CHECKSUM_NET_BUFFER_LIST_INFO",
    "NDIS_TCP_LARGE_SEND_OFFLOAD_NET_BUFFER_LIST_INFO",
    "NET_BUFFER",
    "NET_BUFFER_LIST",
]


class _V2Transmit(Structure):
    OffloadHandle = pointer()


class _V2Receive(Structure):
    SaDeleteReq = Bits(1)
    CryptoDone = Bits(1)
    NextCryptoDone = Bits(1)
    Reserved = Bits(13)
    CryptoStatus = Bits(16)


class NDIS_IPSEC_OFFLOAD_V2_NET_BUFFER_LIST_INFO(Union):
    """Slot 1: the SA of the only, or of the transport, payload; on receive what was checked and how it went."""

    Transmit = Nested(_V2Transmit)
    Receive = Nested(_V2Receive)


class _V2TunnelTransmit(Structure):
    TunnelHandle = pointer("NDIS_HANDLE")


class NDIS_IPSEC_OFFLOAD_V2_TUNNEL_NET_BUFFER_LIST_INFO(Structure):
    """Slot 11, transmit only: the tunnel's SA of a transport-over-tunnel packet."""

    Transmit = Nested(_V2TunnelTransmit)


class _V2HeaderTransmit(Structure):
    NextHeader = Bits(8)
    PadLength = Bits(8)
    AhHeaderOffset = Bits(8)
    EspHeaderOffset = Bits(8)


class _V2HeaderReceive(Structure):
    NextHeader = Bits(8)
    PadLength = Bits(8)
    HeaderInfoSet = Bits(1)


class NDIS_IPSEC_OFFLOAD_V2_HEADER_NET_BUFFER_LIST_INFO(Union):
    """Slot 12: the ESP trailer's fields, and header offsets in units of 4 bytes from the IP header."""

    Transmit = Nested(_V2HeaderTransmit)
    Receive = Nested(_V2HeaderReceive)


class _V1Transmit(Structure):
    OffloadHandle = pointer("NDIS_HANDLE")


class _V1Receive(Structure):
    SaDeleteReq = Bits(1, "USHORT", 2)
    CryptoDone = Bits(1, "USHORT", 2)
    NextCryptoDone = Bits(1, "USHORT", 2)
    Pad = Bits(13, "USHORT", 2)
    CryptoStatus = ushort()


class NDIS_IPSEC_OFFLOAD_V1_NET_BUFFER_LIST_INFO(Union):
    """Slot 1 of IPsecOV1: the same bytes as V2's."""

    Transmit = Nested(_V1Transmit)
    Receive = Nested(_V1Receive)


class _ChecksumTransmit(Structure):
    IsIPv4 = Bits(1)
    IsIPv6 = Bits(1)
    TcpChecksum = Bits(1)
    UdpChecksum = Bits(1)
    IpHeaderChecksum = Bits(1)
    Reserved = Bits(11)
    TcpHeaderOffset = Bits(10)


class _ChecksumReceive(Structure):
    TcpChecksumFailed = Bits(1)
    UdpChecksumFailed = Bits(1)
    IpChecksumFailed = Bits(1)
    TcpChecksumSucceeded = Bits(1)
    UdpChecksumSucceeded = Bits(1)
    IpChecksumSucceeded = Bits(1)
    Loopback = Bits(1)
    TcpChecksumValueInvalid = Bits(1)
    IpChecksumValueInvalid = Bits(1)


class NDIS_TCP_IP_CHECKSUM_NET_BUFFER_LIST_INFO(Union):
    """Slot 0: checksums to compute, or found right or wrong."""

    Transmit = Nested(_ChecksumTransmit)
    Receive = Nested(_ChecksumReceive)
    Value = pointer()


class _LsoTransmit(Structure):
    Unused = Bits(30)
    Type = Bits(1)
    Reserved2 = Bits(1)


class _LsoV1Transmit(Structure):
    MSS = Bits(20)
    TcpHeaderOffset = Bits(10)
    Type = Bits(1)
    Reserved2 = Bits(1)


class _LsoV1TransmitComplete(Structure):
    TcpPayload = Bits(30)
    Type = Bits(1)
    Reserved2 = Bits(1)


class _LsoV2Transmit(Structure):
    MSS = Bits(20)
    TcpHeaderOffset = Bits(10)
    Type = Bits(1)
    IPVersion = Bits(1)


class _LsoV2TransmitComplete(Structure):
    Reserved = Bits(30)
    Type = Bits(1)
    Reserved2 = Bits(1)


class NDIS_TCP_LARGE_SEND_OFFLOAD_NET_BUFFER_LIST_INFO(Union):
    """Slot 2: a large send, and its completion."""

    Transmit = Nested(_LsoTransmit)
    LsoV1Transmit = Nested(_LsoV1Transmit)
    LsoV1TransmitComplete = Nested(_LsoV1TransmitComplete)
    LsoV2Transmit = Nested(_LsoV2Transmit)
    LsoV2TransmitComplete = Nested(_LsoV2TransmitComplete)
    Value = pointer()


_SLIST = (16, 8)  # MEMORY_ALLOCATION_ALIGNMENT


class NET_BUFFER(Structure):
    """A packet, in MDLs."""

    Next = pointer("PNET_BUFFER")
    CurrentMdl = pointer("PMDL")
    CurrentMdlOffset = ulong()
    DataLength = ulong()
    stDataLength = pointer("SIZE_T", beside="DataLength")
    MdlChain = pointer("PMDL")
    DataOffset = ulong()
    Link = Opaque((16, 8), "SLIST_HEADER", beside="Next", align=_SLIST)
    ChecksumBias = ushort()
    Reserved = ushort()
    NdisPoolHandle = pointer("NDIS_HANDLE")
    NdisReserved = Integers(pointer(), 2, align=_SLIST)
    ProtocolReserved = Integers(pointer(), 6, align=_SLIST)
    MiniportReserved = Integers(pointer(), 4, align=_SLIST)
    DataPhysicalAddress = ulong64("NDIS_PHYSICAL_ADDRESS")
    SharedMemoryInfo = pointer("PNET_BUFFER_SHARED_MEMORY", since="6.20")
    ScatterGatherList = pointer("PSCATTER_GATHER_LIST", beside="SharedMemoryInfo", since="6.20")


class NET_BUFFER_LIST(Structure):
    """A list of packets with common out-of-band information."""

    Next = pointer("PNET_BUFFER_LIST")
    FirstNetBuffer = pointer("PNET_BUFFER")
    Link = Opaque((16, 8), "SLIST_HEADER", beside="Next", align=_SLIST)
    Context = pointer("PNET_BUFFER_LIST_CONTEXT")
    ParentNetBufferList = pointer("PNET_BUFFER_LIST")
    NdisPoolHandle = pointer("NDIS_HANDLE")
    NdisReserved = Integers(pointer(), 2, align=_SLIST)
    ProtocolReserved = Integers(pointer(), 4, align=_SLIST)
    MiniportReserved = Integers(pointer(), 2, align=_SLIST)
    Scratch = pointer()
    SourceHandle = pointer("NDIS_HANDLE")
    NblFlags = ulong()
    ChildRefCount = Integer("LONG", 4, signed=True)
    Flags = ulong()
    Status = ulong("NDIS_STATUS")
    NdisReserved2 = ulong(beside="Status")
    NetBufferListInfo = Integers(
        pointer(), 27, counts=NET_BUFFER_LIST_INFO_BY_LEVEL["MaxNetBufferListInfo"], align=(8, 4)
    )
