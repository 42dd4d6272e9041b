"""IPsecOV1 (NDIS 5.x to 6.20): capabilities, SA requests, and what NDIS 5.x had instead."""

from __future__ import annotations

from ..constants import Limit
from .layout import Bits, FlexibleKey, Integer, Nested, NestedArray, Octets, pointer, ulong, ushort
from .structure import KeyedStructure, Structure, Union

__all__ = [
    "NDIS_IPSEC_OFFLOAD_V1",
    "NDIS_IPSEC_PACKET_INFO",
    "NDIS_TASK_IPSEC",
    "OFFLOAD_ALGO_INFO",
    "OFFLOAD_IPSEC_ADD_SA",
    "OFFLOAD_IPSEC_ADD_UDPESP_SA",
    "OFFLOAD_IPSEC_DELETE_SA",
    "OFFLOAD_IPSEC_DELETE_UDPESP_SA",
    "OFFLOAD_IPSEC_UDPESP_ENCAPTYPE_ENTRY",
    "OFFLOAD_SECURITY_ASSOCIATION",
]


class _V1Supported(Structure):
    Encapsulation = ulong()
    AhEspCombined = ulong()
    TransportTunnelCombined = ulong()
    IPv4Options = ulong()
    Flags = ulong()


class _V1Ah(Structure):
    Md5 = Bits(2)
    Sha_1 = Bits(2)
    Transport = Bits(2)
    Tunnel = Bits(2)
    Send = Bits(2)
    Receive = Bits(2)


class _V1Esp(Structure):
    Des = Bits(2)
    Reserved = Bits(2)
    TripleDes = Bits(2)
    NullEsp = Bits(2)
    Transport = Bits(2)
    Tunnel = Bits(2)
    Send = Bits(2)
    Receive = Bits(2)


class NDIS_IPSEC_OFFLOAD_V1(Structure):
    """IPsecOV1 part of NDIS_OFFLOAD; its two-bit members hold NDIS_OFFLOAD_SUPPORTED or NOT_SUPPORTED."""

    Supported = Nested(_V1Supported)
    IPv4AH = Nested(_V1Ah)
    IPv4ESP = Nested(_V1Esp)


class OFFLOAD_ALGO_INFO(Structure):
    """One algorithm of a V1 SA; algoKeylen is in bytes."""

    algoIdentifier = ulong()
    algoKeylen = ulong()
    algoRounds = ulong()


class OFFLOAD_SECURITY_ASSOCIATION(Structure):
    """One protocol of a V1 SA."""

    Operation = ulong("OFFLOAD_OPERATION_E")
    SPI = ulong("SPI_TYPE")
    IntegrityAlgo = Nested(OFFLOAD_ALGO_INFO)
    ConfAlgo = Nested(OFFLOAD_ALGO_INFO)
    Reserved = Nested(OFFLOAD_ALGO_INFO)


def _address(type_name: str) -> Octets:
    return Octets(4, type_name, align=(4, 4))


class OFFLOAD_IPSEC_ADD_SA(KeyedStructure):
    """OID_TCP_TASK_IPSEC_ADD_SA: filter (0 = any), tunnel addresses (0 for transport), one or two SAs, key material."""

    KEY_LENGTH = "KeyLen"
    KEY_AT = "KeyMat"

    SrcAddr = _address("IPAddr")
    SrcMask = _address("IPMask")
    DestAddr = _address("IPAddr")
    DestMask = _address("IPMask")
    Protocol = ulong()
    SrcPort = ushort()
    DestPort = ushort()
    SrcTunnelAddr = _address("IPAddr")
    DestTunnelAddr = _address("IPAddr")
    Flags = ushort()
    NumSAs = Integer("SHORT", 2, signed=True)
    SecAssoc = NestedArray(OFFLOAD_SECURITY_ASSOCIATION, Limit.OFFLOAD_MAX_SAS.value)
    OffloadHandle = pointer("HANDLE")
    KeyLen = ulong()
    KeyMat = FlexibleKey()


class OFFLOAD_IPSEC_DELETE_SA(Structure):
    """OID_TCP_TASK_IPSEC_DELETE_SA."""

    OffloadHandle = pointer("HANDLE")


class OFFLOAD_IPSEC_UDPESP_ENCAPTYPE_ENTRY(Structure):
    """A parser entry for UDP-ESP."""

    UdpEncapType = ulong("UDP_ENCAP_TYPE")
    DstEncapPort = ushort()


class OFFLOAD_IPSEC_ADD_UDPESP_SA(KeyedStructure):
    """OID_TCP_TASK_IPSEC_ADD_UDPESP_SA."""

    KEY_LENGTH = "KeyLen"
    KEY_AT = "KeyMat"

    SrcAddr = _address("IPAddr")
    SrcMask = _address("IPMask")
    DstAddr = _address("IPAddr")
    DstMask = _address("IPMask")
    Protocol = ulong()
    SrcPort = ushort()
    DstPort = ushort()
    SrcTunnelAddr = _address("IPAddr")
    DstTunnelAddr = _address("IPAddr")
    Flags = ushort()
    NumSAs = Integer("SHORT", 2, signed=True)
    SecAssoc = NestedArray(OFFLOAD_SECURITY_ASSOCIATION, Limit.OFFLOAD_MAX_SAS.value)
    OffloadHandle = pointer("HANDLE")
    EncapTypeEntry = Nested(OFFLOAD_IPSEC_UDPESP_ENCAPTYPE_ENTRY)
    EncapTypeEntryOffldHandle = pointer("HANDLE")
    KeyLen = ulong()
    KeyMat = FlexibleKey()


class OFFLOAD_IPSEC_DELETE_UDPESP_SA(Structure):
    """OID_TCP_TASK_IPSEC_DELETE_UDPESP_SA; a non-zero entry handle removes the parser entry too."""

    OffloadHandle = pointer("HANDLE")
    EncapTypeEntryOffldHandle = pointer("HANDLE")


class _PacketTransmit(Structure):
    OffloadHandle = pointer("NDIS_HANDLE")
    NextOffloadHandle = pointer("NDIS_HANDLE")


class _PacketReceive(Structure):
    SA_DELETE_REQ = Bits(1)
    CRYPTO_DONE = Bits(1)
    NEXT_CRYPTO_DONE = Bits(1)
    CryptoStatus = ulong()


class NDIS_IPSEC_PACKET_INFO(Union):
    """Per-packet information of NDIS 5.x."""

    Transmit = Nested(_PacketTransmit)
    Receive = Nested(_PacketReceive)


class _TaskSupported(Structure):
    AH_ESP_COMBINED = ulong()
    TRANSPORT_TUNNEL_COMBINED = ulong()
    V4_OPTIONS = ulong()
    RESERVED = ulong()


class _TaskAh(Structure):
    MD5 = Bits(1)
    SHA_1 = Bits(1)
    Transport = Bits(1)
    Tunnel = Bits(1)
    Send = Bits(1)
    Receive = Bits(1)


class _TaskEsp(Structure):
    DES = Bits(1)
    RESERVED = Bits(1)
    TRIPLE_DES = Bits(1)
    NULL_ESP = Bits(1)
    Transport = Bits(1)
    Tunnel = Bits(1)
    Send = Bits(1)
    Receive = Bits(1)


class NDIS_TASK_IPSEC(Structure):
    """IPsec capabilities of NDIS 5.x (OID_TCP_TASK_OFFLOAD)."""

    Supported = Nested(_TaskSupported)
    V4AH = Nested(_TaskAh)
    V4ESP = Nested(_TaskEsp)
