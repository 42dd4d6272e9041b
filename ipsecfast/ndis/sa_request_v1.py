"""SA requests of IPsecOV1 (NDIS 6.0 to 6.20): OID_TCP_TASK_IPSEC_ADD_SA and ..._ADD_UDPESP_SA, read and made.

As with V2's, only the form is judged.  IPv4 only; a filter's member of zero matches anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .constants import IPsecV1Flag, IPsecV1Operation, NdisStatus
from .errors import StructureError
from .options import Options
from .sa_request import UNUSED, SaAlgorithm, Secret
from .structs import OFFLOAD_IPSEC_ADD_SA, OFFLOAD_IPSEC_ADD_UDPESP_SA, Abi

__all__ = ["V1Protocol", "V1SaRequest", "V1UdpEsp", "read_v1_add_sa", "read_v1_add_udpesp_sa"]

_DEFAULT = Options()
_ANY = bytes(4)
_MAX_PROTOCOLS = 2  # SecAssoc has room for OFFLOAD_MAX_SAS, but one or two are used


@dataclass(frozen=True, slots=True)
class V1Protocol(Secret):
    """One protocol of a V1 SA: AUTHENTICATE is AH, ENCRYPT is ESP.  Identifier 0 is no algorithm."""

    operation: IPsecV1Operation
    spi: int
    integrity: SaAlgorithm = UNUSED
    confidentiality: SaAlgorithm = UNUSED


@dataclass(frozen=True, slots=True)
class V1UdpEsp:
    """The parser entry of a UDP-ESP SA; with ``handle`` 0 an inbound SA creates or finds one."""

    encap_type: int
    port: int
    handle: int = 0


@dataclass(frozen=True, slots=True)
class V1SaRequest(Secret):
    """One SA to offload: direction, filter (addresses and masks in network order), tunnel's ends, protocols."""

    inbound: bool
    protocols: tuple[V1Protocol, ...]
    src: bytes = _ANY
    dst: bytes = _ANY
    src_mask: bytes = _ANY
    dst_mask: bytes = _ANY
    protocol: int = 0
    src_port: int = 0
    dst_port: int = 0
    src_tunnel: bytes = _ANY
    dst_tunnel: bytes = _ANY
    udp_esp: V1UdpEsp | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.protocols) <= _MAX_PROTOCOLS:
            raise ValueError(f"protocols: got {len(self.protocols)}, wanted 1 or 2")

    def to_structure(
        self, abi: str = Abi.X64, options: Options = _DEFAULT
    ) -> OFFLOAD_IPSEC_ADD_SA | OFFLOAD_IPSEC_ADD_UDPESP_SA:
        """OFFLOAD_IPSEC_ADD_UDPESP_SA with ``udp_esp``, else OFFLOAD_IPSEC_ADD_SA."""
        udp = self.udp_esp
        sa = OFFLOAD_IPSEC_ADD_UDPESP_SA(abi) if udp else OFFLOAD_IPSEC_ADD_SA(abi)
        dest = _dest(sa)
        flag = IPsecV1Flag.OFFLOAD_INBOUND_SA if self.inbound else IPsecV1Flag.OFFLOAD_OUTBOUND_SA
        members = {
            "SrcAddr": self.src,
            "SrcMask": self.src_mask,
            f"{dest}Addr": self.dst,
            f"{dest}Mask": self.dst_mask,
            "Protocol": self.protocol,
            "SrcPort": self.src_port,
            f"{dest}Port": self.dst_port,
            "SrcTunnelAddr": self.src_tunnel,
            f"{dest}TunnelAddr": self.dst_tunnel,
            "Flags": flag,
            "NumSAs": len(self.protocols),
        }
        if udp:
            members["EncapTypeEntry"] = {"UdpEncapType": udp.encap_type, "DstEncapPort": udp.port}
            members["EncapTypeEntryOffldHandle"] = udp.handle
        sa.assign(members)
        keys = bytearray()
        for assoc, p in zip(sa.SecAssoc, self.protocols, strict=False):
            assoc.Operation, assoc.SPI = p.operation, p.spi
            for info, algorithm in _in_order(
                options, (assoc.ConfAlgo, p.confidentiality), (assoc.IntegrityAlgo, p.integrity)
            ):
                info.assign({"algoIdentifier": algorithm.identifier, "algoKeylen": len(algorithm.key)})
                info.algoRounds = algorithm.additional_info
                keys += algorithm.key
        sa.key = keys
        keys[:] = bytes(len(keys))
        return sa


def read_v1_add_sa(
    data: bytes | bytearray | memoryview, abi: str = Abi.X64, options: Options = _DEFAULT
) -> V1SaRequest:
    """Read OFFLOAD_IPSEC_ADD_SA.  Raises StructureError: INVALID_LENGTH, INVALID_DATA."""
    return _read(OFFLOAD_IPSEC_ADD_SA.from_bytes(data, abi), None, options)


def read_v1_add_udpesp_sa(
    data: bytes | bytearray | memoryview, abi: str = Abi.X64, options: Options = _DEFAULT
) -> V1SaRequest:
    """Read OFFLOAD_IPSEC_ADD_UDPESP_SA.  Raises StructureError: INVALID_LENGTH, INVALID_DATA."""
    sa = OFFLOAD_IPSEC_ADD_UDPESP_SA.from_bytes(data, abi)
    entry = sa.EncapTypeEntry
    return _read(sa, V1UdpEsp(entry.UdpEncapType, entry.DstEncapPort, sa.EncapTypeEntryOffldHandle), options)


def _dest(sa: OFFLOAD_IPSEC_ADD_SA | OFFLOAD_IPSEC_ADD_UDPESP_SA) -> str:
    return "Dst" if isinstance(sa, OFFLOAD_IPSEC_ADD_UDPESP_SA) else "Dest"


def _in_order(options: Options, confidentiality: Any, integrity: Any) -> tuple[Any, Any]:
    """The order of keys in KeyMat."""
    first = options.v1_key_order == "confidentiality"
    return (confidentiality, integrity) if first else (integrity, confidentiality)


def _invalid(sa: object, text: str) -> StructureError:
    return StructureError(NdisStatus.NDIS_STATUS_INVALID_DATA, f"{type(sa).__name__}: {text}")


def _read(
    sa: OFFLOAD_IPSEC_ADD_SA | OFFLOAD_IPSEC_ADD_UDPESP_SA, udp_esp: V1UdpEsp | None, options: Options
) -> V1SaRequest:
    if sa.Flags not in set(IPsecV1Flag):
        raise _invalid(sa, f"Flags: got 0x{sa.Flags:X}, wanted 1 (inbound) or 2 (outbound)")
    if not 1 <= sa.NumSAs <= _MAX_PROTOCOLS:
        raise _invalid(sa, f"NumSAs: got {sa.NumSAs}, wanted 1 or 2")
    keys, used = sa.key, 0
    protocols = []
    for assoc in sa.SecAssoc[: sa.NumSAs]:
        if assoc.Operation not in set(IPsecV1Operation):
            raise _invalid(sa, f"Operation: got {assoc.Operation}, wanted 1 (AH) or 2 (ESP)")
        algorithms = {}
        for name, info in _in_order(options, ("conf", assoc.ConfAlgo), ("integrity", assoc.IntegrityAlgo)):
            end = used + info.algoKeylen
            if end > len(keys):
                raise _invalid(sa, f"algoKeylen: keys of {end} bytes, wanted at most {len(keys)}, KeyLen")
            algorithms[name] = SaAlgorithm(info.algoIdentifier, keys[used:end], info.algoRounds)
            used = end
        operation = IPsecV1Operation(assoc.Operation)
        protocols.append(V1Protocol(operation, assoc.SPI, algorithms["integrity"], algorithms["conf"]))
    dest = _dest(sa)
    return V1SaRequest(
        sa.Flags == IPsecV1Flag.OFFLOAD_INBOUND_SA,
        tuple(protocols),
        sa.SrcAddr,
        getattr(sa, f"{dest}Addr"),
        sa.SrcMask,
        getattr(sa, f"{dest}Mask"),
        sa.Protocol,
        sa.SrcPort,
        getattr(sa, f"{dest}Port"),
        sa.SrcTunnelAddr,
        getattr(sa, f"{dest}TunnelAddr"),
        udp_esp,
    )
