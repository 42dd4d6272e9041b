"""IPsecOV2: its capabilities, and the structures of the SA OIDs (NDIS 6.1 and later)."""

from __future__ import annotations

from ..constants import Limit, ObjectType
from .common import NDIS_OBJECT_HEADER
from .layout import Boolean, FlexibleKey, Nested, NestedArray, Octets, pointer, ulong, ushort
from .structure import KeyedStructure, Structure, revisions

__all__ = [
    "IPSEC_OFFLOAD_V2_ADD_SA",
    "IPSEC_OFFLOAD_V2_ADD_SA_EX",
    "IPSEC_OFFLOAD_V2_ALGORITHM_INFO",
    "IPSEC_OFFLOAD_V2_DELETE_SA",
    "IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION",
    "IPSEC_OFFLOAD_V2_UPDATE_SA",
    "NDIS_IPSEC_OFFLOAD_V2",
]


class NDIS_IPSEC_OFFLOAD_V2(Structure):
    """IPsecOV2 part of NDIS_OFFLOAD: capabilities or configuration; all zero = none."""

    Encapsulation = ulong()
    IPv6Supported = Boolean()
    IPv4Options = Boolean()
    IPv6NonIPsecExtensionHeaders = Boolean()
    Ah = Boolean()
    Esp = Boolean()
    AhEspCombined = Boolean()
    Transport = Boolean()
    Tunnel = Boolean()
    TransportTunnelCombined = Boolean()
    LsoSupported = Boolean()
    ExtendedSequenceNumbers = Boolean()
    UdpEsp = ulong()
    AuthenticationAlgorithms = ulong()
    EncryptionAlgorithms = ulong()
    SaOffloadCapacity = ulong()


class IPSEC_OFFLOAD_V2_ALGORITHM_INFO(Structure):
    """One algorithm of an SA; Identifier 0 = unused.  KeyOffsetBytes counts from the start of the key material."""

    Identifier = ulong()
    KeyLength = ulong()
    KeyOffsetBytes = ulong()
    AdditionalInfo = ulong()


class IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION(Structure):
    """One protocol (AH or ESP) of an SA bundle."""

    Flags = ulong()
    Operation = ulong("IPSEC_OFFLOAD_V2_OPERATION")
    Spi = ulong("IPSEC_OFFLOAD_V2_SPI_TYPE")
    AuthenticationAlgorithm = Nested(IPSEC_OFFLOAD_V2_ALGORITHM_INFO)
    EncryptionAlgorithm = Nested(IPSEC_OFFLOAD_V2_ALGORITHM_INFO)
    SequenceNumberHighOrder = ulong()


class _IPv4Endpoints(Structure):
    SrcAddr = Octets(4, "IPAddr", align=(4, 4))
    DestAddr = Octets(4, "IPAddr", align=(4, 4))


class _IPv6Endpoints(Structure):
    SrcAddr = Octets(16)
    DestAddr = Octets(16)


class IPSEC_OFFLOAD_V2_ADD_SA(KeyedStructure):
    """OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA (NDIS 6.1 and 6.20): a node of a list, its key material inline."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_DEFAULT
    REVISIONS = revisions("NDIS_SIZEOF_IPSEC_OFFLOAD_V2_ADD_SA", ("6.1", "KeyData"))
    KEY_AT = "KeyData"

    Header = Nested(NDIS_OBJECT_HEADER)
    Next = pointer("PIPSEC_OFFLOAD_V2_ADD_SA")
    NumExtHdrs = ulong()
    Flags = ulong()
    IPv4Endpoints = Nested(_IPv4Endpoints)
    IPv6Endpoints = Nested(_IPv6Endpoints, beside="IPv4Endpoints")
    OffloadHandle = pointer("NDIS_HANDLE")
    UdpEspEncapsulation = ulong()
    SecAssoc = NestedArray(IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION, Limit.IPSEC_OFFLOAD_V2_MAX_EXTENSION_HEADERS.value)
    KeyLength = ulong()
    KeyData = FlexibleKey()


class IPSEC_OFFLOAD_V2_ADD_SA_EX(KeyedStructure):
    """OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX (NDIS 6.30 and later): one bundle, its key material at KeyOffset."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_DEFAULT
    REVISIONS = revisions("NDIS_SIZEOF_IPSEC_OFFLOAD_V2_ADD_SA_EX", ("6.30", "VlanId"))
    KEY_OFFSET = "KeyOffset"

    Header = Nested(NDIS_OBJECT_HEADER)
    NumExtHdrs = ulong()
    Flags = ulong()
    IPv4Endpoints = Nested(_IPv4Endpoints)
    IPv6Endpoints = Nested(_IPv6Endpoints, beside="IPv4Endpoints")
    OffloadHandle = pointer("NDIS_HANDLE")
    UdpEspEncapsulation = ulong()
    SecAssoc = NestedArray(IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION, Limit.IPSEC_OFFLOAD_V2_MAX_EXTENSION_HEADERS.value)
    KeyLength = ulong()
    KeyOffset = ulong()
    SourceSwitchPortId = ulong("NDIS_SWITCH_PORT_ID")
    VlanId = ushort()


class IPSEC_OFFLOAD_V2_DELETE_SA(Structure):
    """OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA: a node of a list."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_DEFAULT
    REVISIONS = revisions("NDIS_SIZEOF_IPSEC_OFFLOAD_V2_DELETE_SA", ("6.1", "OffloadHandle"))

    Header = Nested(NDIS_OBJECT_HEADER)
    Next = pointer("PIPSEC_OFFLOAD_V2_DELETE_SA")
    OffloadHandle = pointer("NDIS_HANDLE")


class IPSEC_OFFLOAD_V2_UPDATE_SA(Structure):
    """OID_TCP_TASK_IPSEC_OFFLOAD_V2_UPDATE_SA: one SA (the header has no Next, whatever the OID's page says)."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_DEFAULT
    REVISIONS = revisions("NDIS_SIZEOF_IPSEC_OFFLOAD_V2_UPDATE_SA", ("6.1", "SequenceNumberHighOrder"))

    Header = Nested(NDIS_OBJECT_HEADER)
    OffloadHandle = pointer("NDIS_HANDLE")
    Operation = ulong("IPSEC_OFFLOAD_V2_OPERATION")
    Spi = ulong("IPSEC_OFFLOAD_V2_SPI_TYPE")
    SequenceNumberHighOrder = ulong()
