"""SA requests of IPsecOV2: what the SA OIDs carry, read from memory that is not trusted, and made.

Only the form is judged here: pointers, lengths, counts, enumerations.  Which algorithms go together, and what the
card can do, is for whoever offloads the SA.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from .constants import Encryption, NdisStatus, Operation, SaAssocFlag, SaFlag
from .errors import StructureError
from .memory import Memory
from .options import Options
from .structs import (
    IPSEC_OFFLOAD_V2_ADD_SA,
    IPSEC_OFFLOAD_V2_ADD_SA_EX,
    IPSEC_OFFLOAD_V2_ALGORITHM_INFO,
    IPSEC_OFFLOAD_V2_DELETE_SA,
    IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION,
    IPSEC_OFFLOAD_V2_UPDATE_SA,
    Abi,
)

__all__ = [
    "SaAlgorithm",
    "SaNode",
    "SaProtocol",
    "SaRequest",
    "SaUpdate",
    "parse_add_sa",
    "read_add_sa_ex",
    "read_add_sa_list",
    "read_delete_sa_list",
    "read_update_sa",
    "walk_list",
    "write_list",
]

_INVALID_DATA = NdisStatus.NDIS_STATUS_INVALID_DATA
_INVALID_LENGTH = NdisStatus.NDIS_STATUS_INVALID_LENGTH
# As plain integers: operators of IntFlag are too slow for what is done per SA.
_INBOUND = SaFlag.IPSEC_OFFLOAD_V2_INBOUND.value
_IPV6 = SaFlag.IPSEC_OFFLOAD_V2_IPv6.value
_ESN = SaAssocFlag.IPSEC_OFFLOAD_V2_ESN_SA.value
_GCM = (
    Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_128
    | Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_192
    | Encryption.IPSEC_OFFLOAD_V2_ENCRYPTION_AES_GCM_256
).value
_OPERATIONS = {op.value: op for op in (Operation.IPsecOffloadV2Ah, Operation.IPsecOffloadV2Esp)}
_DEFAULT = Options()

_AddSa = type[IPSEC_OFFLOAD_V2_ADD_SA] | type[IPSEC_OFFLOAD_V2_ADD_SA_EX]
_Listed = type[IPSEC_OFFLOAD_V2_ADD_SA] | type[IPSEC_OFFLOAD_V2_DELETE_SA]


class Secret:
    """What holds keys: never pickled."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds keys and can't be pickled")


@dataclass(frozen=True, slots=True)
class SaAlgorithm(Secret):
    """One algorithm of an SA; identifier 0 is "unused".  ``key`` is as given, a GCM salt included."""

    identifier: int = 0
    key: bytes = field(default=b"", repr=False)
    additional_info: int = 0


UNUSED = SaAlgorithm()


@dataclass(frozen=True, slots=True)
class SaProtocol(Secret):
    """One protocol of a bundle: AH or ESP.  ``seq_hi`` is the high half of the sequence number, if ``esn``."""

    operation: Operation
    spi: int
    authentication: SaAlgorithm = UNUSED
    encryption: SaAlgorithm = UNUSED
    esn: bool = False
    seq_hi: int = 0


@dataclass(frozen=True, slots=True)
class SaRequest(Secret):
    """One bundle to offload.

    Attributes
    ----------
    inbound : direction.
    src, dst : addresses in network order, both of 4 or 16 bytes; all zero is a wildcard.
    protocols : one or two, in the order in which they are applied (ESP, then AH).
    udp_esp : UdpEspEncapsulation.
    """

    inbound: bool
    src: bytes
    dst: bytes
    protocols: tuple[SaProtocol, ...]
    udp_esp: int = 0

    def __post_init__(self) -> None:
        if len(self.src) != len(self.dst) or len(self.dst) not in (4, 16):
            raise ValueError(f"src, dst: got {len(self.src)} and {len(self.dst)} bytes, wanted both 4 or both 16")
        if len(self.protocols) not in (1, 2):
            raise ValueError(f"protocols: got {len(self.protocols)}, wanted 1 or 2")

    @property
    def ipv6(self) -> bool:
        """The addresses' family."""
        return len(self.dst) == 16

    def to_add_sa(self, abi: str = Abi.X64, options: Options = _DEFAULT) -> IPSEC_OFFLOAD_V2_ADD_SA:
        """The request as IPSEC_OFFLOAD_V2_ADD_SA (NDIS 6.1, 6.20)."""
        sa = IPSEC_OFFLOAD_V2_ADD_SA(abi, sizeof_header=options.header_size == "sizeof")
        self._fill(sa, options)
        return sa

    def to_add_sa_ex(self, abi: str = Abi.X64, options: Options = _DEFAULT) -> IPSEC_OFFLOAD_V2_ADD_SA_EX:
        """The request as IPSEC_OFFLOAD_V2_ADD_SA_EX (NDIS 6.30 and later), its keys behind it."""
        sa = IPSEC_OFFLOAD_V2_ADD_SA_EX(abi, sizeof_header=options.header_size == "sizeof")
        self._fill(sa, options)
        return sa

    def _fill(self, sa: IPSEC_OFFLOAD_V2_ADD_SA | IPSEC_OFFLOAD_V2_ADD_SA_EX, options: Options) -> None:
        sa.NumExtHdrs = len(self.protocols)
        sa.Flags = self.inbound * _INBOUND | self.ipv6 * _IPV6
        endpoints = sa.IPv6Endpoints if self.ipv6 else sa.IPv4Endpoints
        endpoints.assign({"SrcAddr": self.src, "DestAddr": self.dst})
        sa.UdpEspEncapsulation = self.udp_esp
        keys = bytearray()
        for assoc, protocol in zip(sa.SecAssoc, self.protocols, strict=False):
            assoc.Flags = protocol.esn * _ESN
            assoc.Operation = protocol.operation
            assoc.Spi = _ordered(protocol.spi, options)
            assoc.SequenceNumberHighOrder = _ordered(protocol.seq_hi, options)
            for info, algorithm in (
                (assoc.AuthenticationAlgorithm, protocol.authentication),
                (assoc.EncryptionAlgorithm, protocol.encryption),
            ):
                info.Identifier = algorithm.identifier
                info.KeyLength = len(algorithm.key)
                info.KeyOffsetBytes = len(keys) if algorithm.key else 0
                info.AdditionalInfo = algorithm.additional_info
                keys += algorithm.key
        sa.key = keys
        keys[:] = bytes(len(keys))


class SaNode(NamedTuple):
    """A node of an ADD_SA list: what it asks for, or why it can't be read."""

    address: int
    request: SaRequest | None
    error: StructureError | None


class SaUpdate(NamedTuple):
    """What UPDATE_SA asks for: another high half of the sequence number."""

    handle: int
    operation: int
    spi: int
    seq_hi: int


def read_add_sa_list(memory: Memory, address: int, length: int, options: Options = _DEFAULT) -> list[SaNode]:
    """Read the list of IPSEC_OFFLOAD_V2_ADD_SA at ``address`` (OID_TCP_TASK_IPSEC_OFFLOAD_V2_ADD_SA).

    Parameters
    ----------
    length : InformationBufferLength; it must hold the first node's members, the other nodes lie elsewhere.

    Returns the nodes in order; one that can't be read has its error, the others are not disturbed by it.
    Raises StructureError if the list itself is damaged (a pointer to nothing, a cycle, a node cut short), so that
    nothing of it should be done: INVALID_DATA, or INVALID_LENGTH for what is too short.
    """
    nodes = []
    for at, data in walk_list(memory, IPSEC_OFFLOAD_V2_ADD_SA, address, length, options):
        try:
            nodes.append(SaNode(at, parse_add_sa(IPSEC_OFFLOAD_V2_ADD_SA, data, memory.abi, options), None))
        except StructureError as error:
            nodes.append(SaNode(at, None, error))
    return nodes


def read_add_sa_ex(memory: Memory, address: int, length: int, options: Options = _DEFAULT) -> SaRequest:
    """Read the IPSEC_OFFLOAD_V2_ADD_SA_EX at ``address``; its keys lie in the same ``length`` bytes.

    Raises StructureError.
    """
    return parse_add_sa(IPSEC_OFFLOAD_V2_ADD_SA_EX, memory.read(address, length), memory.abi, options)


def read_delete_sa_list(memory: Memory, address: int, length: int, options: Options = _DEFAULT) -> list[int]:
    """The handles in the list of IPSEC_OFFLOAD_V2_DELETE_SA at ``address``, in order.

    Raises StructureError if the list, or any node of it, is damaged.
    """
    handles = []
    read, good, size = _HANDLE_READERS[memory.abi], b"", 0
    for _, data in walk_list(memory, IPSEC_OFFLOAD_V2_DELETE_SA, address, length, options):
        header, handle = read(data)
        if header != good or len(data) < size:  # else it is the last one's, which was checked
            size = IPSEC_OFFLOAD_V2_DELETE_SA.check(data, memory.abi)
            good = header
        handles.append(handle)
    return handles


def read_update_sa(memory: Memory, address: int, length: int, options: Options = _DEFAULT) -> SaUpdate:
    """Read the IPSEC_OFFLOAD_V2_UPDATE_SA at ``address``.  Raises StructureError."""
    update = IPSEC_OFFLOAD_V2_UPDATE_SA.from_bytes(memory.read(address, length), memory.abi)
    spi, seq_hi = _ordered(update.Spi, options), _ordered(update.SequenceNumberHighOrder, options)
    return SaUpdate(update.OffloadHandle, update.Operation, spi, seq_hi)


def write_list(memory: Memory, nodes: Sequence[IPSEC_OFFLOAD_V2_ADD_SA | IPSEC_OFFLOAD_V2_DELETE_SA]) -> list[int]:
    """Put ``nodes`` into memory, each in an allocation of its own and pointing to the next; their addresses."""
    addresses: list[int] = []
    following = 0
    for node in reversed(nodes):
        # C code allocates sizeof at least, whatever Header.Size says.
        size = max(node.sizeof(memory.abi), len(node.to_bytes(memory.abi)))
        address = memory.allocate(node.to_bytes(memory.abi, size=size))
        memory.store(address, type(node).Next, following)
        following = address
        addresses.append(address)
    return addresses[::-1]


def walk_list(
    memory: Memory, cls: _Listed, address: int, length: int, options: Options = _DEFAULT
) -> Iterator[tuple[int, bytes]]:
    """Address and bytes (to the end of its allocation) of each node; StructureError where the list is damaged."""
    least = cls.least(memory.abi)
    if length < least:
        raise StructureError(_INVALID_LENGTH, f"{cls.__name__}: got {length} bytes, wanted at least {least}")
    following = _NEXT_READERS[cls, memory.abi]
    limit = options.max_list_nodes
    seen: set[int] = set()
    while True:
        if address in seen:
            raise StructureError(_INVALID_DATA, f"{cls.__name__}: the list comes back to 0x{address:X}")
        if len(seen) == limit:
            raise StructureError(_INVALID_DATA, f"{cls.__name__}: the list has more than {len(seen)} nodes")
        seen.add(address)
        data = memory.read(address)
        if len(data) < least:
            raise StructureError(_INVALID_LENGTH, f"{cls.__name__}: got {len(data)} bytes, wanted at least {least}")
        yield address, data
        (address,) = following(data)
        if not address:
            return


def parse_add_sa(cls: _AddSa, data: bytes, abi: Abi, options: Options = _DEFAULT) -> SaRequest:
    """What one structure asks for.  Raises StructureError."""
    cls.check(data, abi)
    count, flags, endpoints, udp_esp, first, second, key_len, *key_at = _READERS[cls.__name__, abi](data)
    start = key_at[0] if key_at else IPSEC_OFFLOAD_V2_ADD_SA.KeyData.offset(abi)
    cls.check_key(len(data), abi, start, key_len)
    if count not in (1, 2):
        raise StructureError(_INVALID_DATA, f"{cls.__name__}: NumExtHdrs: got {count}, wanted 1 or 2")
    n = 16 if flags & _IPV6 else 4
    keys = data[start : start + key_len]
    return SaRequest(
        bool(flags & _INBOUND),
        endpoints[:n],
        endpoints[n : 2 * n],
        tuple(_protocol(assoc, keys, options) for assoc in (first, second)[:count]),
        udp_esp,
    )


def _protocol(assoc: bytes, keys: bytes, options: Options) -> SaProtocol:
    flags, number, spi, *algorithms, seq_hi = _read_association(assoc)
    operation = _OPERATIONS.get(number)
    if operation is None:
        raise StructureError(_INVALID_DATA, f"SecAssoc.Operation: got {number}, wanted 1 (AH) or 2 (ESP)")
    combined = operation is Operation.IPsecOffloadV2Esp and algorithms[4] & _GCM
    return SaProtocol(
        operation,
        _ordered(spi, options),
        # A combined algorithm authenticates too: what stands beside it is ignored, wherever it points.
        UNUSED if combined else _algorithm("AuthenticationAlgorithm", algorithms[:4], keys),
        _algorithm("EncryptionAlgorithm", algorithms[4:], keys),
        bool(flags & _ESN),
        _ordered(seq_hi, options),
    )


def _algorithm(name: str, info: Sequence[int], keys: bytes) -> SaAlgorithm:
    identifier, length, offset, additional_info = info
    if not identifier:
        return UNUSED
    if offset > len(keys) or length > len(keys) - offset:
        got = f"{name}: its key is bytes {offset} to {offset + length} of {len(keys)} bytes of key material"
        raise StructureError(_INVALID_DATA, got)
    return SaAlgorithm(identifier, keys[offset : offset + length], additional_info)


def _ordered(value: int, options: Options) -> int:
    """A ULONG as number: as it is, or from network order."""
    return int.from_bytes(value.to_bytes(4, "little"), "big") if options.spi_network_order else value


def _add_sa_paths(cls: _AddSa) -> list[str]:
    paths = ["NumExtHdrs", "Flags", "IPv6Endpoints", "UdpEspEncapsulation", "SecAssoc[0]", "SecAssoc[1]", "KeyLength"]
    return [*paths, cls.KEY_OFFSET] if cls.KEY_OFFSET else paths


_ADD_SA: tuple[_AddSa, ...] = (IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_ADD_SA_EX)
_READERS = {(cls.__name__, abi): cls.reader(abi, *_add_sa_paths(cls)) for cls in _ADD_SA for abi in Abi}
_LISTED: tuple[_Listed, ...] = (IPSEC_OFFLOAD_V2_ADD_SA, IPSEC_OFFLOAD_V2_DELETE_SA)
_NEXT_READERS = {(cls, abi): cls.reader(abi, "Next") for cls in _LISTED for abi in Abi}
_HANDLE_READERS = {abi: IPSEC_OFFLOAD_V2_DELETE_SA.reader(abi, "Header", "OffloadHandle") for abi in Abi}
_read_association = IPSEC_OFFLOAD_V2_SECURITY_ASSOCIATION.reader(
    Abi.X64,  # the same on both
    *("Flags", "Operation", "Spi"),
    *(
        f"{algorithm}.{member}"
        for algorithm in ("AuthenticationAlgorithm", "EncryptionAlgorithm")
        for member in IPSEC_OFFLOAD_V2_ALGORITHM_INFO.MEMBERS
    ),
    "SequenceNumberHighOrder",
)
