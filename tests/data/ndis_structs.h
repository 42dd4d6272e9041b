/* Structures that the headers of mingw-w64 lack, for tests/test_ndis_images.py: declared from the names, types and
   order of their members.  Pointers are PVOID, whatever they point to. */

typedef ULONG IPAddr;
typedef struct { ULONG Identifier, KeyLength, KeyOffsetBytes, AdditionalInfo; } T_IPSEC_OFFLOAD_V2_ALGORITHM_INFO;
typedef struct { ULONG Flags; int Operation; ULONG Spi;
  T_IPSEC_OFFLOAD_V2_ALGORITHM_INFO AuthenticationAlgorithm, EncryptionAlgorithm;
  ULONG SequenceNumberHighOrder; } T_IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION;

#define ENDPOINTS union { struct { IPAddr SrcAddr, DestAddr; } IPv4Endpoints; \
  struct { UCHAR SrcAddr[16], DestAddr[16]; } IPv6Endpoints; }
typedef struct { NDIS_OBJECT_HEADER Header; PVOID Next; ULONG NumExtHdrs, Flags; ENDPOINTS; PVOID OffloadHandle;
  ULONG UdpEspEncapsulation; T_IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION SecAssoc[2]; ULONG KeyLength;
  UCHAR KeyData[1]; } T_IPSEC_OFFLOAD_V2_ADD_SA;
typedef struct { NDIS_OBJECT_HEADER Header; ULONG NumExtHdrs, Flags; ENDPOINTS; PVOID OffloadHandle;
  ULONG UdpEspEncapsulation; T_IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION SecAssoc[2]; ULONG KeyLength, KeyOffset,
  SourceSwitchPortId; USHORT VlanId; } T_IPSEC_OFFLOAD_V2_ADD_SA_EX;
typedef struct { NDIS_OBJECT_HEADER Header; PVOID Next; PVOID OffloadHandle; } T_IPSEC_OFFLOAD_V2_DELETE_SA;
typedef struct { NDIS_OBJECT_HEADER Header; PVOID OffloadHandle; int Operation; ULONG Spi,
  SequenceNumberHighOrder; } T_IPSEC_OFFLOAD_V2_UPDATE_SA;

typedef union { struct { PVOID OffloadHandle; } Transmit;
  struct { ULONG SaDeleteReq:1, CryptoDone:1, NextCryptoDone:1, Reserved:13, CryptoStatus:16; } Receive;
} T_NDIS_IPSEC_OFFLOAD_V2_NET_BUFFER_LIST_INFO;
typedef struct { struct { PVOID TunnelHandle; } Transmit; } T_NDIS_IPSEC_OFFLOAD_V2_TUNNEL_NET_BUFFER_LIST_INFO;
typedef union { struct { ULONG NextHeader:8, PadLength:8, AhHeaderOffset:8, EspHeaderOffset:8; } Transmit;
  struct { ULONG NextHeader:8, PadLength:8, HeaderInfoSet:1; } Receive;
} T_NDIS_IPSEC_OFFLOAD_V2_HEADER_NET_BUFFER_LIST_INFO;
typedef union { struct { PVOID OffloadHandle; } Transmit;
  struct { USHORT SaDeleteReq:1, CryptoDone:1, NextCryptoDone:1, Pad:13, CryptoStatus; } Receive;
} T_NDIS_IPSEC_OFFLOAD_V1_NET_BUFFER_LIST_INFO;
typedef union { struct { ULONG IsIPv4:1, IsIPv6:1, TcpChecksum:1, UdpChecksum:1, IpHeaderChecksum:1, Reserved:11,
  TcpHeaderOffset:10; } Transmit; struct { ULONG TcpChecksumFailed:1, UdpChecksumFailed:1, IpChecksumFailed:1,
  TcpChecksumSucceeded:1, UdpChecksumSucceeded:1, IpChecksumSucceeded:1, Loopback:1, TcpChecksumValueInvalid:1,
  IpChecksumValueInvalid:1; } Receive; PVOID Value; } T_NDIS_TCP_IP_CHECKSUM_NET_BUFFER_LIST_INFO;
typedef union { struct { ULONG Unused:30, Type:1, Reserved2:1; } Transmit;
  struct { ULONG MSS:20, TcpHeaderOffset:10, Type:1, Reserved2:1; } LsoV1Transmit;
  struct { ULONG TcpPayload:30, Type:1, Reserved2:1; } LsoV1TransmitComplete;
  struct { ULONG MSS:20, TcpHeaderOffset:10, Type:1, IPVersion:1; } LsoV2Transmit;
  struct { ULONG Reserved:30, Type:1, Reserved2:1; } LsoV2TransmitComplete;
  PVOID Value; } T_NDIS_TCP_LARGE_SEND_OFFLOAD_NET_BUFFER_LIST_INFO;

typedef struct { NDIS_OBJECT_HEADER Header; struct { ULONG Enabled, EncapsulationType, HeaderSize; } IPv4, IPv6;
} T_NDIS_OFFLOAD_ENCAPSULATION;
typedef struct { NDIS_OBJECT_HEADER Header; PVOID DefaultOffloadConfiguration, HardwareOffloadCapabilities,
  DefaultTcpConnectionOffloadConfiguration, TcpConnectionOffloadHardwareCapabilities;
} T_NDIS_MINIPORT_ADAPTER_OFFLOAD_ATTRIBUTES;

#define P sizeof(PVOID)
typedef struct { NDIS_OBJECT_HEADER Header; int RequestType; ULONG PortNumber; UINT Timeout; PVOID RequestId,
  RequestHandle; union { ULONG Oid;
    struct { ULONG Oid; PVOID InformationBuffer; UINT InformationBufferLength, BytesWritten, BytesNeeded; }
      QUERY_INFORMATION;
    struct { ULONG Oid; PVOID InformationBuffer; UINT InformationBufferLength, BytesRead, BytesNeeded; }
      SET_INFORMATION;
    struct { ULONG Oid; PVOID InformationBuffer; ULONG InputBufferLength, OutputBufferLength, MethodId;
      UINT BytesWritten, BytesRead, BytesNeeded; } METHOD_INFORMATION; } DATA;
  UCHAR NdisReserved[16 * P] __attribute__((aligned(P)));
  UCHAR MiniportReserved[2 * P] __attribute__((aligned(P))), SourceReserved[2 * P] __attribute__((aligned(P)));
  UCHAR SupportedRevision, Reserved1; USHORT Reserved2; ULONG SwitchId, VPortId, Flags; } T_NDIS_OID_REQUEST;
typedef struct { NDIS_OBJECT_HEADER Header; PVOID SourceHandle; ULONG PortNumber; LONG StatusCode; ULONG Flags;
  PVOID DestinationHandle, RequestId, StatusBuffer; ULONG StatusBufferSize; GUID Guid; PVOID NdisReserved[4];
} T_NDIS_STATUS_INDICATION;
typedef struct { NDIS_OBJECT_HEADER Header; PVOID ProtocolSection, AdapterName, PhysicalDeviceObject; int MediaType;
  ULONG MtuSize; ULONG64 MaxXmitLinkSpeed, XmitLinkSpeed, MaxRcvLinkSpeed, RcvLinkSpeed;
  int MediaConnectState, MediaDuplexState; ULONG LookaheadSize; PVOID PowerManagementCapabilities;
  ULONG SupportedPacketFilters, MaxMulticastListSize; USHORT MacAddressLength; UCHAR CurrentMacAddress[32];
  int PhysicalMediumType; PVOID RcvScaleCapabilities; ULONG64 BoundIfNetluid; ULONG BoundIfIndex;
  ULONG64 LowestIfNetluid; ULONG LowestIfIndex; int AccessType, DirectionType, ConnectionType; USHORT IfType;
  BOOLEAN IfConnectorPresent; PVOID ActivePorts; ULONG DataBackFillSize, ContextBackFillSize, MacOptions,
  CompartmentId; PVOID DefaultOffloadConfiguration, TcpConnectionOffloadCapabilities, BoundAdapterName,
  HDSplitCurrentConfig, ReceiveFilterCapabilities, PowerManagementCapabilitiesEx, NicSwitchCapabilities;
  BOOLEAN NDKEnabled; PVOID NDKCapabilities, SriovCapabilities, NicSwitchArray; } T_NDIS_BIND_PARAMETERS;

typedef union { struct { PVOID OffloadHandle, NextOffloadHandle; } Transmit;
  struct { ULONG SA_DELETE_REQ:1, CRYPTO_DONE:1, NEXT_CRYPTO_DONE:1; ULONG CryptoStatus; } Receive;
} T_NDIS_IPSEC_PACKET_INFO;
typedef struct { struct { ULONG AH_ESP_COMBINED, TRANSPORT_TUNNEL_COMBINED, V4_OPTIONS, RESERVED; } Supported;
  struct { ULONG MD5:1, SHA_1:1, Transport:1, Tunnel:1, Send:1, Receive:1; } V4AH;
  struct { ULONG DES:1, RESERVED:1, TRIPLE_DES:1, NULL_ESP:1, Transport:1, Tunnel:1, Send:1, Receive:1; } V4ESP;
} T_NDIS_TASK_IPSEC;

typedef struct { struct { BOOLEAN Enabled; } IPv4, IPv6; } T_NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD;
#define TASKS ULONG TransmitChecksumOffloadSupported:4, ReceiveChecksumOffloadSupported:4, LsoV2Supported:4, \
  RssSupported:4, VmqSupported:4, UsoSupported:4, Reserved:8, MaxHeaderSizeSupported
typedef struct { TASKS; } T_NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD;
typedef struct { TASKS; union { struct { USHORT VxlanUDPPortNumber, VxlanUDPPortNumberConfigurable:1; } VxlanInfo;
  ULONG Value; } EncapsulationProtocolInfo; ULONG Reserved1, Reserved2; } T_NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2;
typedef struct { int XlatOffload; ULONG Flags; } T_NDIS_RFC6877_464XLAT_OFFLOAD;
typedef struct { struct { ULONG Encapsulation, MaxOffLoadSize, MinSegmentCount:6, SubMssFinalSegmentSupported:1,
  Reserved:25; } IPv4; struct { ULONG Encapsulation, MaxOffLoadSize, MinSegmentCount:6,
  SubMssFinalSegmentSupported:1, Reserved1:25, IpExtensionHeadersSupported:2, Reserved2:30; } IPv6;
} T_NDIS_UDP_SEGMENTATION_OFFLOAD;
typedef struct { BOOLEAN Enabled; } T_NDIS_UDP_RSC_OFFLOAD;

typedef struct { NDIS_OBJECT_HEADER Header; ULONG IfIndex; ULONG64 NetLuid; PVOID FilterModuleGuidName;
  ULONG BaseMiniportIfIndex; PVOID BaseMiniportInstanceName, BaseMiniportName; int MediaConnectState,
  MediaDuplexState; ULONG64 XmitLinkSpeed, RcvLinkSpeed; int MiniportMediaType, MiniportPhysicalMediaType;
  PVOID MiniportMediaSpecificAttributes, DefaultOffloadConfiguration; USHORT MacAddressLength;
  UCHAR CurrentMacAddress[32]; ULONG64 BaseMiniportNetLuid; ULONG LowerIfIndex; ULONG64 LowerIfNetLuid; ULONG Flags;
  PVOID HDSplitCurrentConfig, ReceiveFilterCapabilities, MiniportPhysicalDeviceObject, NicSwitchCapabilities;
  BOOLEAN BaseMiniportIfConnectorPresent; PVOID SriovCapabilities, NicSwitchArray; } T_NDIS_FILTER_ATTACH_PARAMETERS;

#define SLIST __attribute__((aligned(2 * sizeof(PVOID))))
typedef struct { union { struct { PVOID Next, CurrentMdl; ULONG CurrentMdlOffset;
    union { ULONG DataLength; SIZE_T stDataLength; }; PVOID MdlChain; ULONG DataOffset; };
    struct { UCHAR opaque[2 * P]; } SLIST Link; };
  USHORT ChecksumBias, Reserved; PVOID NdisPoolHandle; SLIST PVOID NdisReserved[2]; SLIST PVOID ProtocolReserved[6];
  SLIST PVOID MiniportReserved[4]; ULONG64 DataPhysicalAddress; union { PVOID SharedMemoryInfo, ScatterGatherList; };
} T_NET_BUFFER;
typedef struct { union { struct { PVOID Next, FirstNetBuffer; }; struct { UCHAR opaque[2 * P]; } SLIST Link; };
  PVOID Context, ParentNetBufferList, NdisPoolHandle; SLIST PVOID NdisReserved[2]; SLIST PVOID ProtocolReserved[4];
  SLIST PVOID MiniportReserved[2]; PVOID Scratch, SourceHandle; ULONG NblFlags; LONG ChildRefCount; ULONG Flags;
  union { LONG Status; ULONG NdisReserved2; }; PVOID NetBufferListInfo[27]; } T_NET_BUFFER_LIST;

typedef struct { NDIS_OBJECT_HEADER Header; NDIS_TCP_IP_CHECKSUM_OFFLOAD Checksum;
  NDIS_TCP_LARGE_SEND_OFFLOAD_V1 LsoV1; NDIS_IPSEC_OFFLOAD_V1 IPsecV1; NDIS_TCP_LARGE_SEND_OFFLOAD_V2 LsoV2;
  ULONG Flags; NDIS_IPSEC_OFFLOAD_V2 IPsecV2; T_NDIS_TCP_RECV_SEG_COALESCE_OFFLOAD Rsc;
  T_NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD EncapsulatedPacketTaskOffloadGre;
  T_NDIS_ENCAPSULATED_PACKET_TASK_OFFLOAD_V2 EncapsulatedPacketTaskOffloadVxlan; UCHAR EncapsulationTypes;
  T_NDIS_RFC6877_464XLAT_OFFLOAD Rfc6877Xlat; T_NDIS_UDP_SEGMENTATION_OFFLOAD UdpSegmentation;
  T_NDIS_UDP_RSC_OFFLOAD UdpRsc; } T_NDIS_OFFLOAD;
typedef struct { NDIS_OBJECT_HEADER Header; UCHAR IPv4Checksum, TCPIPv4Checksum, UDPIPv4Checksum, TCPIPv6Checksum,
  UDPIPv6Checksum, LsoV1, IPsecV1, LsoV2IPv4, LsoV2IPv6, TcpConnectionIPv4, TcpConnectionIPv6; ULONG Flags;
  UCHAR IPsecV2, IPsecV2IPv4, RscIPv4, RscIPv6, EncapsulatedPacketTaskOffload, EncapsulationTypes;
  union { struct { USHORT VxlanUDPPortNumber; } VxlanParameters; ULONG Value; } EncapsulationProtocolParameters;
  struct { UCHAR IPv4, IPv6; } UdpSegmentation; struct { UCHAR Enabled; } UdpRsc; } T_NDIS_OFFLOAD_PARAMETERS;
