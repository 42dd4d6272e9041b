"""What passes between NDIS, protocols, filters and miniports: OID requests, status indications, bindings."""

from __future__ import annotations

from ..constants import ObjectType
from .common import NDIS_OBJECT_HEADER
from .layout import Boolean, Integers, Nested, Octets, pointer, uchar, ulong, ulong64, ushort
from .structure import Structure, Union, revisions

__all__ = ["NDIS_BIND_PARAMETERS", "NDIS_FILTER_ATTACH_PARAMETERS", "NDIS_OID_REQUEST", "NDIS_STATUS_INDICATION"]


class _QueryInformation(Structure):
    Oid = ulong("NDIS_OID")
    InformationBuffer = pointer()
    InformationBufferLength = ulong("UINT")
    BytesWritten = ulong("UINT")
    BytesNeeded = ulong("UINT")


class _SetInformation(Structure):
    Oid = ulong("NDIS_OID")
    InformationBuffer = pointer()
    InformationBufferLength = ulong("UINT")
    BytesRead = ulong("UINT")
    BytesNeeded = ulong("UINT")


class _MethodInformation(Structure):
    Oid = ulong("NDIS_OID")
    InformationBuffer = pointer()
    InputBufferLength = ulong()
    OutputBufferLength = ulong()
    MethodId = ulong()
    BytesWritten = ulong("UINT")
    BytesRead = ulong("UINT")
    BytesNeeded = ulong("UINT")


class _RequestData(Union):
    Oid = ulong("NDIS_OID")
    QUERY_INFORMATION = Nested(_QueryInformation)
    SET_INFORMATION = Nested(_SetInformation)
    METHOD_INFORMATION = Nested(_MethodInformation)


class NDIS_OID_REQUEST(Structure):
    """A request; RequestType says which part of DATA is meant."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_OID_REQUEST
    REVISIONS = revisions("NDIS_SIZEOF_OID_REQUEST", ("6.0", "Reserved2"), ("6.50", "Flags"))

    Header = Nested(NDIS_OBJECT_HEADER)
    RequestType = ulong("NDIS_REQUEST_TYPE")
    PortNumber = ulong("NDIS_PORT_NUMBER")
    Timeout = ulong("UINT")
    RequestId = pointer()
    RequestHandle = pointer("NDIS_HANDLE")
    DATA = Nested(_RequestData)
    NdisReserved = Octets((128, 64), align=(8, 4))
    MiniportReserved = Octets((16, 8), align=(8, 4))
    SourceReserved = Octets((16, 8), align=(8, 4))
    SupportedRevision = uchar()
    Reserved1 = uchar()
    Reserved2 = ushort()
    SwitchId = ulong("NDIS_NIC_SWITCH_ID")
    VPortId = ulong("NDIS_NIC_SWITCH_VPORT_ID")
    Flags = ulong()


class NDIS_STATUS_INDICATION(Structure):
    """A status that a miniport indicates to what lies above it."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_STATUS_INDICATION
    REVISIONS = revisions("NDIS_SIZEOF_STATUS_INDICATION", ("6.0", "NdisReserved"))

    Header = Nested(NDIS_OBJECT_HEADER)
    SourceHandle = pointer("NDIS_HANDLE")
    PortNumber = ulong("NDIS_PORT_NUMBER")
    StatusCode = ulong("NDIS_STATUS")
    Flags = ulong()
    DestinationHandle = pointer("NDIS_HANDLE")
    RequestId = pointer()
    StatusBuffer = pointer()
    StatusBufferSize = ulong()
    Guid = Octets(16, "GUID", align=(4, 4))
    NdisReserved = Integers(pointer(), 4)


class NDIS_BIND_PARAMETERS(Structure):
    """What a protocol driver is told about the adapter that it binds to."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_BIND_PARAMETERS
    REVISIONS = revisions(
        "NDIS_SIZEOF_BIND_PARAMETERS",
        ("6.0", "BoundAdapterName"),
        ("6.1", "HDSplitCurrentConfig"),
        ("6.20", "NicSwitchCapabilities"),
        ("6.30", "NicSwitchArray"),
    )

    Header = Nested(NDIS_OBJECT_HEADER)
    ProtocolSection = pointer("PNDIS_STRING")
    AdapterName = pointer("PNDIS_STRING")
    PhysicalDeviceObject = pointer("PDEVICE_OBJECT")
    MediaType = ulong("NDIS_MEDIUM")
    MtuSize = ulong()
    MaxXmitLinkSpeed = ulong64()
    XmitLinkSpeed = ulong64()
    MaxRcvLinkSpeed = ulong64()
    RcvLinkSpeed = ulong64()
    MediaConnectState = ulong("NDIS_MEDIA_CONNECT_STATE")
    MediaDuplexState = ulong("NDIS_MEDIA_DUPLEX_STATE")
    LookaheadSize = ulong()
    PowerManagementCapabilities = pointer("PNDIS_PNP_CAPABILITIES")
    SupportedPacketFilters = ulong()
    MaxMulticastListSize = ulong()
    MacAddressLength = ushort()
    CurrentMacAddress = Octets(32)
    PhysicalMediumType = ulong("NDIS_PHYSICAL_MEDIUM")
    RcvScaleCapabilities = pointer("PNDIS_RECEIVE_SCALE_CAPABILITIES")
    BoundIfNetluid = ulong64("NET_LUID")
    BoundIfIndex = ulong("NET_IFINDEX")
    LowestIfNetluid = ulong64("NET_LUID")
    LowestIfIndex = ulong("NET_IFINDEX")
    AccessType = ulong("NET_IF_ACCESS_TYPE")
    DirectionType = ulong("NET_IF_DIRECTION_TYPE")
    ConnectionType = ulong("NET_IF_CONNECTION_TYPE")
    IfType = ushort("NET_IFTYPE")
    IfConnectorPresent = Boolean()
    ActivePorts = pointer("PNDIS_PORT")
    DataBackFillSize = ulong()
    ContextBackFillSize = ulong()
    MacOptions = ulong()
    CompartmentId = ulong("NET_IF_COMPARTMENT_ID")
    DefaultOffloadConfiguration = pointer("PNDIS_OFFLOAD")
    TcpConnectionOffloadCapabilities = pointer("PNDIS_TCP_CONNECTION_OFFLOAD")
    BoundAdapterName = pointer("PNDIS_STRING")
    HDSplitCurrentConfig = pointer("PNDIS_HD_SPLIT_CURRENT_CONFIG")
    ReceiveFilterCapabilities = pointer("PNDIS_RECEIVE_FILTER_CAPABILITIES")
    PowerManagementCapabilitiesEx = pointer("PNDIS_PM_CAPABILITIES")
    NicSwitchCapabilities = pointer("PNDIS_NIC_SWITCH_CAPABILITIES")
    NDKEnabled = Boolean()
    NDKCapabilities = pointer("PNDIS_NDK_CAPABILITIES")
    SriovCapabilities = pointer("PNDIS_SRIOV_CAPABILITIES")
    NicSwitchArray = pointer("PNDIS_NIC_SWITCH_INFO_ARRAY")


class NDIS_FILTER_ATTACH_PARAMETERS(Structure):
    """What a filter driver is told about the miniport that it attaches to."""

    OBJECT_TYPE = ObjectType.NDIS_OBJECT_TYPE_FILTER_ATTACH_PARAMETERS
    REVISIONS = revisions(
        "NDIS_SIZEOF_FILTER_ATTACH_PARAMETERS",
        ("6.0", "Flags"),
        ("6.1", "HDSplitCurrentConfig"),
        ("6.20", "NicSwitchCapabilities"),
        ("6.30", "NicSwitchArray"),
    )

    Header = Nested(NDIS_OBJECT_HEADER)
    IfIndex = ulong("NET_IFINDEX")
    NetLuid = ulong64("NET_LUID")
    FilterModuleGuidName = pointer("PNDIS_STRING")
    BaseMiniportIfIndex = ulong("NET_IFINDEX")
    BaseMiniportInstanceName = pointer("PNDIS_STRING")
    BaseMiniportName = pointer("PNDIS_STRING")
    MediaConnectState = ulong("NDIS_MEDIA_CONNECT_STATE")
    MediaDuplexState = ulong("NET_IF_MEDIA_DUPLEX_STATE")
    XmitLinkSpeed = ulong64()
    RcvLinkSpeed = ulong64()
    MiniportMediaType = ulong("NDIS_MEDIUM")
    MiniportPhysicalMediaType = ulong("NDIS_PHYSICAL_MEDIUM")
    MiniportMediaSpecificAttributes = pointer("NDIS_HANDLE")
    DefaultOffloadConfiguration = pointer("PNDIS_OFFLOAD")
    MacAddressLength = ushort()
    CurrentMacAddress = Octets(32)
    BaseMiniportNetLuid = ulong64("NET_LUID")
    LowerIfIndex = ulong("NET_IFINDEX")
    LowerIfNetLuid = ulong64("NET_LUID")
    Flags = ulong()
    HDSplitCurrentConfig = pointer("PNDIS_HD_SPLIT_CURRENT_CONFIG")
    ReceiveFilterCapabilities = pointer("PNDIS_RECEIVE_FILTER_CAPABILITIES")
    MiniportPhysicalDeviceObject = pointer("PDEVICE_OBJECT")
    NicSwitchCapabilities = pointer("PNDIS_NIC_SWITCH_CAPABILITIES")
    BaseMiniportIfConnectorPresent = Boolean()
    SriovCapabilities = pointer("PNDIS_SRIOV_CAPABILITIES")
    NicSwitchArray = pointer("PNDIS_NIC_SWITCH_INFO_ARRAY")
