"""Every number of the interface, under the SDK's names: OIDs, status codes, flags, identifiers, OOB slots.

Members carry the SDK's spelling, so that a name found in a header or a trace is found here; the classes only
group them.  The sizes of structures (``NDIS_SIZEOF_..._REVISION_n``) are computed from the structures'
declarations: :data:`ipsecfast.ndis.structs.SIZE_MACROS`.

Sources: Windows SDK ntddndis.h and WDK ndis.h, mingw-w64.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, IntFlag

__all__ = [
    "CONSTANTS",
    "NET_BUFFER_LIST_INFO_BY_LEVEL",
    "Authentication",
    "ChecksumParameter",
    "CryptoStatus",
    "Encapsulation",
    "EncapsulationType",
    "Encryption",
    "IPsecV1Confidentiality",
    "IPsecV1Flag",
    "IPsecV1Integrity",
    "IPsecV1Operation",
    "IPsecV1Parameter",
    "IPsecV1UdpEncapType",
    "IPsecV1UdpEsp",
    "IPsecV2Parameter",
    "Limit",
    "LsoIPVersion",
    "LsoType",
    "NdisStatus",
    "NetBufferListInfo",
    "ObjectType",
    "OffloadFlag",
    "Oid",
    "OnOffParameter",
    "Operation",
    "ParametersFlag",
    "Port",
    "Protocol",
    "RequestType",
    "Revision",
    "SaAssocFlag",
    "SaFlag",
    "SetOffload",
    "Support",
    "UdpEsp",
]


class Oid(IntEnum):
    """Object identifiers. ``OID_TCP_TASK_IPSEC_*`` without V2 are IPsecOV1 (gone from NDIS 6.30 on)."""

    OID_TCP_TASK_IPSEC_ADD_SA = 0xFC010202
    OID_TCP_TASK_IPSEC_DELETE_SA = 0xFC010203
    OID_TCP_TASK_IPSEC_ADD_UDPESP_SA = 0xFC010205
    OID_TCP_TASK_IPSEC_DELETE_UDPESP_SA = 0xFC010206
    OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA = 0xFC030202
    OID_TCP_TASK_IPSEC_OFFLOAD_V2_DELETE_SA = 0xFC030203
    OID_TCP_TASK_IPSEC_OFFLOAD_V2_UPDATE_SA = 0xFC030204
    OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA_EX = 0xFC030205
    OID_TCP_TASK_OFFLOAD = 0xFC010201
    OID_TCP_OFFLOAD_CURRENT_CONFIG = 0xFC01020B
    OID_TCP_OFFLOAD_PARAMETERS = 0xFC01020C
    OID_TCP_OFFLOAD_HARDWARE_CAPABILITIES = 0xFC01020D
    OID_TCP_CONNECTION_OFFLOAD_CURRENT_CONFIG = 0xFC01020E
    OID_TCP_CONNECTION_OFFLOAD_HARDWARE_CAPABILITIES = 0xFC01020F
    OID_TCP_CONNECTION_OFFLOAD_PARAMETERS = 0xFC030201
    OID_OFFLOAD_ENCAPSULATION = 0x0101010A
    OID_TCP4_OFFLOAD_STATS = 0xFC010207
    OID_TCP6_OFFLOAD_STATS = 0xFC010208
    OID_IP4_OFFLOAD_STATS = 0xFC010209
    OID_IP6_OFFLOAD_STATS = 0xFC01020A
    OID_SWITCH_NIC_REQUEST = 0x00010270


class RequestType(IntEnum):
    """NDIS_REQUEST_TYPE."""

    NdisRequestQueryInformation = 0
    NdisRequestSetInformation = 1
    NdisRequestQueryStatistics = 2
    NdisRequestMethod = 12


class ObjectType(IntEnum):
    """NDIS_OBJECT_HEADER.Type."""

    NDIS_OBJECT_TYPE_DEFAULT = 0x80
    NDIS_OBJECT_TYPE_BIND_PARAMETERS = 0x86
    NDIS_OBJECT_TYPE_STATUS_INDICATION = 0x98
    NDIS_OBJECT_TYPE_FILTER_ATTACH_PARAMETERS = 0x99
    NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES = 0xA0
    NDIS_OBJECT_TYPE_OFFLOAD = 0xA7
    NDIS_OBJECT_TYPE_OFFLOAD_ENCAPSULATION = 0xA8
    NDIS_OBJECT_TYPE_OID_REQUEST = 0x96


class Authentication(IntFlag):
    """Authentication algorithms: bits of a capability mask, single bits as identifiers.

    They overlap numerically with :class:`Encryption`; which one is meant depends on the member.
    """

    IPSEC_OFFLOAD_V2_AUTHENTICATION_MD5 = 0x1
    IPSEC_OFFLOAD_V2_AUTHENTICATION_SHA_1 = 0x2
    IPSEC_OFFLOAD_V2_AUTHENTICATION_SHA_256 = 0x4
    IPSEC_OFFLOAD_V2_AUTHENTICATION_AES_GCM_128 = 0x8
    IPSEC_OFFLOAD_V2_AUTHENTICATION_AES_GCM_192 = 0x10
    IPSEC_OFFLOAD_V2_AUTHENTICATION_AES_GCM_256 = 0x20


class Encryption(IntFlag):
    """Encryption algorithms: bits of a capability mask, single bits as identifiers.

    "No encryption" inside ESP is bit 0x1; 0 is an unused member.
    """

    IPSEC_OFFLOAD_V2_ENCRYPTION_NONE = 0x1
    IPSEC_OFFLOAD_V2_ENCRYPTION_DES_CBC = 0x2
    IPSEC_OFFLOAD_V2_ENCRYPTION_3_DES_CBC = 0x4
    IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_128 = 0x8
    IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_192 = 0x10
    IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_256 = 0x20
    IPSEC_OFFLOAD_V2_ENCRYPTION_AES_CBC_128 = 0x40
    IPSEC_OFFLOAD_V2_ENCRYPTION_AES_CBC_192 = 0x80
    IPSEC_OFFLOAD_V2_ENCRYPTION_AES_CBC_256 = 0x100


class UdpEsp(IntFlag):
    """UDP-ESP forms: a set in NDIS_IPSEC_OFFLOAD_V2.UdpEsp, one of them in an SA."""

    IPSEC_OFFLOAD_V2_UDP_ESP_ENCAPSULATION_NONE = 0x0
    IPSEC_OFFLOAD_V2_UDP_ESP_ENCAPSULATION_TRANSPORT = 0x1
    IPSEC_OFFLOAD_V2_UDP_ESP_ENCAPSULATION_TUNNEL = 0x2
    IPSEC_OFFLOAD_V2_TRANSPORT_OVER_UDP_ESP_ENCAPSULATION_TUNNEL = 0x4
    IPSEC_OFFLOAD_V2_UDP_ESP_ENCAPSULATION_TRANSPORT_OVER_TUNNEL = 0x8


class SaFlag(IntFlag):
    """IPSEC_OFFLOAD_V2_ADD_SA(_EX).Flags."""

    IPSEC_OFFLOAD_V2_INBOUND = 0x1
    IPSEC_OFFLOAD_V2_IPv6 = 0x10


class SaAssocFlag(IntFlag):
    """IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION.Flags."""

    IPSEC_OFFLOAD_V2_ESN_SA = 0x1


class OffloadFlag(IntFlag):
    """NDIS_OFFLOAD.Flags; the coexistence bits are defined from NDIS 6.30 on."""

    IPSEC_OFFLOAD_V2_AND_TCP_CHECKSUM_COEXISTENCE = 0x2
    IPSEC_OFFLOAD_V2_AND_UDP_CHECKSUM_COEXISTENCE = 0x4
    NDIS_OFFLOAD_FLAGS_GROUP_CHECKSUM_CAPABILITIES = 0x1


class Revision(IntEnum):
    """NDIS_OBJECT_HEADER.Revision, of all structures: names of equal number are aliases."""

    NDIS_IPSEC_OFFLOAD_V2_ADD_SA_REVISION_1 = 1
    NDIS_IPSEC_OFFLOAD_V2_ADD_SA_EX_REVISION_1 = 1
    NDIS_IPSEC_OFFLOAD_V2_DELETE_SA_REVISION_1 = 1
    NDIS_IPSEC_OFFLOAD_V2_UPDATE_SA_REVISION_1 = 1
    NDIS_OFFLOAD_PARAMETERS_REVISION_1 = 1
    NDIS_OFFLOAD_PARAMETERS_REVISION_2 = 2
    NDIS_OFFLOAD_PARAMETERS_REVISION_3 = 3
    NDIS_OFFLOAD_PARAMETERS_REVISION_4 = 4
    NDIS_OFFLOAD_PARAMETERS_REVISION_5 = 5
    NDIS_OFFLOAD_REVISION_1 = 1
    NDIS_OFFLOAD_REVISION_2 = 2
    NDIS_OFFLOAD_REVISION_3 = 3
    NDIS_OFFLOAD_REVISION_4 = 4
    NDIS_OFFLOAD_REVISION_5 = 5
    NDIS_OFFLOAD_REVISION_6 = 6
    NDIS_OFFLOAD_REVISION_7 = 7
    NDIS_TCP_CONNECTION_OFFLOAD_REVISION_1 = 1
    NDIS_TCP_CONNECTION_OFFLOAD_REVISION_2 = 2
    NDIS_OFFLOAD_REVISION_8 = 8
    NDIS_OFFLOAD_PARAMETERS_REVISION_6 = 6
    NDIS_OFFLOAD_ENCAPSULATION_REVISION_1 = 1
    NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES_REVISION_1 = 1
    NDIS_BIND_PARAMETERS_REVISION_1 = 1
    NDIS_BIND_PARAMETERS_REVISION_2 = 2
    NDIS_BIND_PARAMETERS_REVISION_3 = 3
    NDIS_BIND_PARAMETERS_REVISION_4 = 4
    NDIS_FILTER_ATTACH_PARAMETERS_REVISION_2 = 2
    NDIS_FILTER_ATTACH_PARAMETERS_REVISION_3 = 3
    NDIS_FILTER_ATTACH_PARAMETERS_REVISION_4 = 4
    NDIS_OID_REQUEST_REVISION_1 = 1
    NDIS_OID_REQUEST_REVISION_2 = 2
    NDIS_STATUS_INDICATION_REVISION_1 = 1


class Limit(IntEnum):
    """Sizes and counts of the headers: names of equal number are aliases."""

    IPSEC_OFFLOAD_V2_MAX_EXTENSION_HEADERS = 2
    NDIS_OID_REQUEST_TIMEOUT_INFINITE = 0
    NDIS_OID_REQUEST_NDIS_RESERVED_SIZE = 16
    MAX_HASHES = 4
    TRUNCATED_HASH_LEN = 12
    OFFLOAD_MAX_SAS = 3
    NDIS_LARGE_SEND_OFFLOAD_MAX_HEADER_LENGTH = 128


class ParametersFlag(IntFlag):
    """NDIS_OFFLOAD_PARAMETERS.Flags (NDIS 6.30 header)."""

    NDIS_OFFLOAD_PARAMETERS_SKIP_REGISTRY_UPDATE = 0x1


class IPsecV1Parameter(IntEnum):
    """NDIS_OFFLOAD_PARAMETERS.IPsecV1; 0 is no change."""

    NDIS_OFFLOAD_PARAMETERS_IPSECV1_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_IPSECV1_AH_ENABLED = 2
    NDIS_OFFLOAD_PARAMETERS_IPSECV1_ESP_ENABLED = 3
    NDIS_OFFLOAD_PARAMETERS_IPSECV1_AH_AND_ESP_ENABLED = 4


class IPsecV2Parameter(IntEnum):
    """NDIS_OFFLOAD_PARAMETERS.IPsecV2 and .IPsecV2IPv4: one more than the keyword; 0 is no change."""

    NDIS_OFFLOAD_PARAMETERS_IPSECV2_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_IPSECV2_AH_ENABLED = 2
    NDIS_OFFLOAD_PARAMETERS_IPSECV2_ESP_ENABLED = 3
    NDIS_OFFLOAD_PARAMETERS_IPSECV2_AH_AND_ESP_ENABLED = 4


class OnOffParameter(IntEnum):
    """The members of NDIS_OFFLOAD_PARAMETERS that only switch; 0 is no change."""

    NDIS_OFFLOAD_PARAMETERS_LSOV1_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_LSOV1_ENABLED = 2
    NDIS_OFFLOAD_PARAMETERS_LSOV2_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_LSOV2_ENABLED = 2
    NDIS_OFFLOAD_PARAMETERS_RSC_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_RSC_ENABLED = 2
    NDIS_OFFLOAD_PARAMETERS_CONNECTION_OFFLOAD_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_CONNECTION_OFFLOAD_ENABLED = 2
    NDIS_OFFLOAD_PARAMETERS_USO_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_USO_ENABLED = 2


class ChecksumParameter(IntEnum):
    """The checksum members of NDIS_OFFLOAD_PARAMETERS: one more than the keyword."""

    NDIS_OFFLOAD_PARAMETERS_NO_CHANGE = 0
    NDIS_OFFLOAD_PARAMETERS_TX_RX_DISABLED = 1
    NDIS_OFFLOAD_PARAMETERS_TX_ENABLED_RX_DISABLED = 2
    NDIS_OFFLOAD_PARAMETERS_RX_ENABLED_TX_DISABLED = 3
    NDIS_OFFLOAD_PARAMETERS_TX_RX_ENABLED = 4


class Support(IntEnum):
    """Two-bit members of the capability structures."""

    NDIS_OFFLOAD_NOT_SUPPORTED = 0
    NDIS_OFFLOAD_SUPPORTED = 1


class SetOffload(IntEnum):
    """NDIS_OFFLOAD_ENCAPSULATION.IPv4/IPv6.Enabled."""

    NDIS_OFFLOAD_SET_NO_CHANGE = 0
    NDIS_OFFLOAD_SET_ON = 1
    NDIS_OFFLOAD_SET_OFF = 2


class Encapsulation(IntFlag):
    """MAC encapsulations, the Encapsulation members."""

    NDIS_ENCAPSULATION_NOT_SUPPORTED = 0x0
    NDIS_ENCAPSULATION_NULL = 0x1
    NDIS_ENCAPSULATION_IEEE_802_3 = 0x2
    NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q = 0x4
    NDIS_ENCAPSULATION_IEEE_802_3_P_AND_Q_IN_OOB = 0x8
    NDIS_ENCAPSULATION_IEEE_LLC_SNAP_ROUTED = 0x10


class EncapsulationType(IntFlag):
    """NDIS_OFFLOAD.EncapsulationTypes (NVGRE, VXLAN)."""

    NDIS_ENCAPSULATION_TYPE_GRE_MAC = 0x1
    NDIS_ENCAPSULATION_TYPE_VXLAN = 0x2


class CryptoStatus(IntEnum):
    """CryptoStatus of the receive word, V1 and V2."""

    CRYPTO_SUCCESS = 0
    CRYPTO_GENERIC_ERROR = 1
    CRYPTO_TRANSPORT_AH_AUTH_FAILED = 2
    CRYPTO_TRANSPORT_ESP_AUTH_FAILED = 3
    CRYPTO_TUNNEL_AH_AUTH_FAILED = 4
    CRYPTO_TUNNEL_ESP_AUTH_FAILED = 5
    CRYPTO_INVALID_PACKET_SYNTAX = 6
    CRYPTO_INVALID_PROTOCOL = 7


class IPsecV1UdpEsp(IntFlag):
    """NDIS_IPSEC_OFFLOAD_V1.Supported.Flags; the IKE bits are reserved."""

    IPSEC_TPT_UDPESP_ENCAPTYPE_IKE = 0x1
    IPSEC_TUN_UDPESP_ENCAPTYPE_IKE = 0x2
    IPSEC_TPTOVERTUN_UDPESP_ENCAPTYPE_IKE = 0x4
    IPSEC_TPT_UDPESP_OVER_PURE_TUN_ENCAPTYPE_IKE = 0x8
    IPSEC_TPT_UDPESP_ENCAPTYPE_OTHER = 0x10
    IPSEC_TUN_UDPESP_ENCAPTYPE_OTHER = 0x20
    IPSEC_TPTOVERTUN_UDPESP_ENCAPTYPE_OTHER = 0x40
    IPSEC_TPT_UDPESP_OVER_PURE_TUN_ENCAPTYPE_OTHER = 0x80


class IPsecV1Flag(IntFlag):
    """OFFLOAD_IPSEC_ADD_SA.Flags."""

    OFFLOAD_INBOUND_SA = 0x1
    OFFLOAD_OUTBOUND_SA = 0x2


class Operation(IntEnum):
    """IPSEC_OFFLOAD_V2_OPERATION."""

    IPsecOffloadV2Ah = 1
    IPsecOffloadV2Esp = 2
    IPsecOffloadV2Max = 3


class IPsecV1Operation(IntEnum):
    """OFFLOAD_OPERATION_E of IPsecOV1."""

    AUTHENTICATE = 1
    ENCRYPT = 2


class IPsecV1Confidentiality(IntEnum):
    """OFFLOAD_CONF_ALGO of IPsecOV1."""

    OFFLOAD_IPSEC_CONF_NONE = 0
    OFFLOAD_IPSEC_CONF_DES = 1
    OFFLOAD_IPSEC_CONF_RESERVED = 2
    OFFLOAD_IPSEC_CONF_3_DES = 3
    OFFLOAD_IPSEC_CONF_MAX = 4


class IPsecV1Integrity(IntEnum):
    """OFFLOAD_INTEGRITY_ALGO of IPsecOV1."""

    OFFLOAD_IPSEC_INTEGRITY_NONE = 0
    OFFLOAD_IPSEC_INTEGRITY_MD5 = 1
    OFFLOAD_IPSEC_INTEGRITY_SHA = 2
    OFFLOAD_IPSEC_INTEGRITY_MAX = 3


class IPsecV1UdpEncapType(IntEnum):
    """UDP_ENCAP_TYPE of IPsecOV1."""

    OFFLOAD_IPSEC_UDPESP_ENCAPTYPE_IKE = 0
    OFFLOAD_IPSEC_UDPESP_ENCAPTYPE_OTHER = 1


class LsoType(IntEnum):
    """Type bit of the large send word."""

    NDIS_TCP_LARGE_SEND_OFFLOAD_V1_TYPE = 0
    NDIS_TCP_LARGE_SEND_OFFLOAD_V2_TYPE = 1


class LsoIPVersion(IntEnum):
    """IPVersion bit of the LSOv2 word."""

    NDIS_TCP_LARGE_SEND_OFFLOAD_IPv4 = 0
    NDIS_TCP_LARGE_SEND_OFFLOAD_IPv6 = 1


class NdisStatus(IntEnum):
    """NDIS_STATUS codes, as the unsigned image of the signed 32-bit number."""

    NDIS_STATUS_SUCCESS = 0x00000000
    NDIS_STATUS_PENDING = 0x00000103
    NDIS_STATUS_NOT_RECOGNIZED = 0x00010001
    NDIS_STATUS_NOT_ACCEPTED = 0x00010003
    NDIS_STATUS_INDICATION_REQUIRED = 0x40230001
    NDIS_STATUS_FAILURE = 0xC0000001
    NDIS_STATUS_RESOURCES = 0xC000009A
    NDIS_STATUS_CLOSING = 0xC0010002
    NDIS_STATUS_BAD_VERSION = 0xC0010004
    NDIS_STATUS_BUFFER_OVERFLOW = 0x80000005
    NDIS_STATUS_REQUEST_ABORTED = 0xC001000C
    NDIS_STATUS_RESET_IN_PROGRESS = 0xC001000D
    NDIS_STATUS_NOT_SUPPORTED = 0xC00000BB
    NDIS_STATUS_INVALID_PACKET = 0xC001000F
    NDIS_STATUS_ADAPTER_NOT_READY = 0xC0010011
    NDIS_STATUS_INVALID_LENGTH = 0xC0010014
    NDIS_STATUS_INVALID_DATA = 0xC0010015
    NDIS_STATUS_BUFFER_TOO_SHORT = 0xC0010016
    NDIS_STATUS_INVALID_OID = 0xC0010017
    NDIS_STATUS_INVALID_PARAMETER = 0xC000000D
    NDIS_STATUS_UNSUPPORTED_REVISION = 0xC023002C
    NDIS_STATUS_INVALID_STATE = 0xC0000184
    NDIS_STATUS_SEND_ABORTED = 0xC023000C
    NDIS_STATUS_PAUSED = 0xC023002A
    NDIS_STATUS_LOW_POWER_STATE = 0xC023002F
    NDIS_STATUS_RESET_START = 0x40010004
    NDIS_STATUS_RESET_END = 0x40010005
    NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG = 0x40020006
    NDIS_STATUS_TASK_OFFLOAD_HARDWARE_CAPABILITIES = 0x40020007
    NDIS_STATUS_OFFLOAD_ENCASPULATION_CHANGE = 0x40020008
    NDIS_STATUS_TCP_CONNECTION_OFFLOAD_HARDWARE_CAPABILITIES = 0x4002000B


class Protocol(IntEnum):
    """IP protocol numbers."""

    IPPROTO_ESP = 50
    IPPROTO_AH = 51


class Port(IntEnum):
    """UDP ports."""

    UDP_ESP_PORT = 4500


class NetBufferListInfo(IntEnum):
    """Slots of NET_BUFFER_LIST.NetBufferListInfo that are the same at every NDIS level and on both ABIs.

    Slots of equal number are aliases: the form depends on the direction.
    """

    TcpIpChecksumNetBufferListInfo = 0
    TcpOffloadBytesTransferred = 0
    IPsecOffloadV1NetBufferListInfo = 1
    IPsecOffloadV2NetBufferListInfo = 1
    TcpLargeSendNetBufferListInfo = 2
    TcpReceiveNoPush = 2
    ClassificationHandleNetBufferListInfo = 3
    Ieee8021QNetBufferListInfo = 4
    NetBufferListCancelId = 5
    MediaSpecificInformation = 6
    NetBufferListFrameType = 7
    NetBufferListProtocolId = 7
    NetBufferListHashValue = 8
    NetBufferListHashInfo = 9
    WfpNetBufferListInfo = 10
    IPsecOffloadV2TunnelNetBufferListInfo = 11
    IPsecOffloadV2HeaderNetBufferListInfo = 12
    NetBufferListCorrelationId = 13
    NetBufferListFilteringInfo = 14
    MediaSpecificInformationEx = 15
    NblOriginalInterfaceIfIndex = 16
    NblReAuthWfpFlowContext = 16
    TcpReceiveBytesTransferred = 17
    NrtNameResolutionId = 17
    SwitchForwardingDetail = 19
    GftOffloadInformation = 24
    GftFlowEntryId = 25
    UdpRecvSegCoalesceOffloadInfo = 17
    NetBufferListInfoReserved4 = 22
    SwitchForwardingDetail_b0_to_b31 = 24
    SwitchForwardingDetail_b32_to_b63 = 25


def _by_level(levels: str, x64: int | None, x86: int | None) -> dict[str, dict[str, int]]:
    slot = {abi: index for abi, index in (("x64", x64), ("x86", x86)) if index is not None}
    return {level: dict(slot) for level in levels.split()}


_FROM_6_30 = "6.30 6.50 6.70 6.83 6.85"

NET_BUFFER_LIST_INFO_BY_LEVEL: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    # Slot or length of the array -> NDIS level -> ABI -> index.  A missing ABI has no such slot.
    "MaxNetBufferListInfo": {
        **_by_level("6.1", 13, 13),
        **_by_level("6.20", 18, 18),
        **_by_level("6.30", 24, 21),
        **_by_level("6.50 6.70", 26, 21),
        **_by_level("6.83 6.85", 27, 27),
    },
    "SwitchForwardingReserved": {**_by_level("6.30 6.50 6.70", 18, None), **_by_level("6.83 6.85", 18, 23)},
    "VirtualSubnetInfo": {**_by_level("6.30 6.50 6.70", 20, None), **_by_level("6.83 6.85", 20, 26)},
    "IMReserved": _by_level(_FROM_6_30, 21, 18),
    "TcpRecvSegCoalesceInfo": _by_level(_FROM_6_30, 22, 19),
    "RscTcpTimestampDelta": _by_level(_FROM_6_30, 23, 20),
    "TcpSendOffloadsSupplementalNetBufferListInfo": _by_level(_FROM_6_30, 23, 20),
    "UdpSegmentationOffloadInfo": _by_level("6.83 6.85", 22, 19),
    "NetBufferListInfoReserved3": _by_level("6.83 6.85", 26, 21),
}

_BASES: tuple[type[Enum], ...] = (IntEnum, IntFlag)

CONSTANTS: Mapping[str, int] = {
    # Every name of the classes above, aliases too; slots under their class's SDK name.
    f"NDIS_NET_BUFFER_LIST_INFO.{name}" if group is NetBufferListInfo else name: member.value
    for base in _BASES
    for group in base.__subclasses__()
    if group.__module__ == __name__
    for name, member in group.__members__.items()
}
