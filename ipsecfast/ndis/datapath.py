"""Datapath: the software NIC's SA table, its sends and its receives; no OIDs, no registry, no adapter states.

Everything that happens per packet is in `ipsecfast.core`; this module checks arguments and takes the NIC's lock, so
that SA changes, sends and receives may come from several threads at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal

from ..core._nic import NicTable, ReceiveResult, SendResult
from ..core._nic import receive as _receive
from ..core._nic import send as _send
from ..errors import DuplicateSAError, SADFullError
from ..sa import AddressLike, SecurityAssociation
from ..sad import SAD, SAStatistics
from .datapath_options import DatapathCapabilities, DatapathOptions
from .iv_generator import CallLock, IvGenerator
from .nbl import NblBatch
from .needs import needs_of

__all__ = ["BundleError", "Datapath", "DatapathCapabilities", "DatapathOptions", "Kind", "ReceiveResult", "SendResult"]

_MAX_CAPACITY = 1 << 20
_Key = tuple[str, int, bytes]  # direction, protocol and family; SPI; destination
Member = tuple[int, bytes, bytes, bytes]  # SPI, enc_key, salt and auth_key of an SA


class BundleError(ValueError):
    """A bundle that is there already, with other keys or algorithms (NDIS_STATUS_INVALID_PARAMETER)."""


class Kind:
    """What bundles have in common that differ in SPIs, addresses, keys and high halves alone.

    Attributes
    ----------
    inbound, ipv6, udp_esp, hint : as `Datapath.add_bundle`'s arguments.
    sas : the SAs without what differs.
    """

    __slots__ = (
        "_caps",
        "_met",
        "_of",
        "hint",
        "inbound",
        "ipv6",
        "labels",
        "moulds",
        "names",
        "needs",
        "sas",
        "udp_esp",
    )

    def __init__(
        self,
        direction: Literal["inbound", "outbound"],
        sas: Sequence[SecurityAssociation],
        ipv6: bool,
        udp_esp: int = 0,
        hint: str | None = None,
    ) -> None:
        self.inbound = direction == "inbound"
        self.sas = tuple(map(_common, sas))
        self.ipv6 = ipv6
        self.udp_esp = udp_esp
        self.hint = hint
        self.needs = needs_of(sas, ipv6, udp_esp)
        self.names = [f"{direction} {sa.protocol} {ipv6}" for sa in sas]
        # names tell how long the keys behind them are
        self.labels = [f"{sa.encryption} {sa.authentication} {sa.icv_len} {sa.esn} {udp_esp} ".encode() for sa in sas]
        self.moulds: tuple[object, ...] = ()
        self._of: NicTable | None = None
        self._caps: DatapathCapabilities | None = None
        self._met = False

    def on(self, capabilities: DatapathCapabilities) -> bool:
        """Is all that they need switched on?"""
        if capabilities is not self._caps:
            sends = self.inbound or (capabilities.send_ipv6 if self.ipv6 else capabilities.send_ipv4)
            self._met = bool(sends) and not self.needs.missing(capabilities)
            self._caps = capabilities
        return self._met

    def moulds_of(self, table: NicTable) -> tuple[object, ...]:
        """For its `add_bundle`.  Raises ProviderError."""
        if table is not self._of:
            self.moulds = table.moulds(self.sas, not self.inbound)
            self._of = table
        return self.moulds


class _Bundle:
    """What is kept in Python of a bundle."""

    __slots__ = ("fingerprint", "keys", "kind", "number", "sads")

    def __init__(self, kind: Kind, keys: list[_Key], fingerprint: bytes, number: int, sads: list[int]) -> None:
        self.kind = kind
        self.keys = keys
        self.fingerprint = fingerprint
        self.number = number
        self.sads = sads  # handles in the SAD, in the order of kind.sas and keys


class Datapath:
    """The NIC's SA table and datapath.

    Parameters
    ----------
    options, capabilities : see there; the capabilities may be replaced at run time (`configure`).
    provider : as for :class:`ipsecfast.SAD`, but not ``"reference"``.
    capacity : SaOffloadCapacity: bundles of both directions together.

    All methods may be called from several threads; each call has the NIC for itself, and sends and receives release
    the GIL while they work.
    """

    def __init__(
        self,
        options: DatapathOptions | None = None,
        capabilities: DatapathCapabilities | None = None,
        provider: str | None = None,
        capacity: int = 1024,
    ) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(f"capacity: got {type(capacity).__name__}, wanted an int")
        if not 1 <= capacity <= _MAX_CAPACITY:
            raise ValueError(f"capacity: got {capacity}, wanted 1 to {_MAX_CAPACITY} bundles")
        self.options = (options or DatapathOptions()).guarded()
        generator = self.options.iv_generator
        self._lock = CallLock(generator) if isinstance(generator, IvGenerator) else threading.Lock()
        self._sad = SAD(2 * capacity, provider)
        self._table = NicTable(self._sad, capacity, self.options)
        self._secret = os.urandom(32)
        self._by_key: dict[_Key, _Bundle] = {}
        self._by_handle: dict[int, _Bundle] = {}
        self._capabilities = capabilities or DatapathCapabilities()
        self._table.configure(self._capabilities)

    @property
    def capabilities(self) -> DatapathCapabilities:
        """What is switched on."""
        return self._capabilities

    def configure(self, capabilities: DatapathCapabilities) -> None:
        """Replace the capabilities.

        Bundles that need one that is gone stay, but match no received packet and fail sends, until it is back.
        """
        with self._lock:
            self._table.configure(capabilities)
            self._capabilities = capabilities
            for bundle in set(self._by_handle.values()):
                self._switch(bundle)

    def _switch(self, bundle: _Bundle) -> None:
        self._table.switch(bundle.number, bundle.kind.on(self._capabilities))

    def __len__(self) -> int:
        """Bundles in the table, as the host counts them: one a handle."""
        return len(self._table)

    def add_bundle(
        self,
        direction: Literal["inbound", "outbound"],
        sas: Sequence[SecurityAssociation],
        *,
        ipv6: bool | None = None,
        udp_esp: int = 0,
        seq_hi: Sequence[int] = (0, 0),
        mode_hint: Literal["transport", "tunnel"] | None = None,
    ) -> int:
        """Put in what one ADD_SA entry says and return its handle, an int > 0.

        Parameters
        ----------
        sas : an ESP or an AH SA, or both, ESP first.  Of each count SPI, protocol, addresses (None is the wildcard),
            algorithms, keys, ICV length and ``esn``; both have the same addresses.
        ipv6 : the family, needed where both addresses are None.
        udp_esp : UdpEspEncapsulation.
        seq_hi : high half of the sequence number for each SA with ESN.
        mode_hint : for tests: what mode a failed packet of this SA is reported with.

        A bundle that is there already with the same keys and algorithms gets another handle, and its high halves
        become those given here.  Raises BundleError if keys or algorithms differ, :class:`ipsecfast.SADFullError`,
        :class:`ipsecfast.ProviderError`, ValueError, TypeError; the table is then as it was.
        """
        family = _check_bundle(direction, sas, ipv6, udp_esp, seq_hi, mode_hint)
        members = [(sa.spi, sa.enc_key, sa.salt, sa.auth_key) for sa in sas]
        kind = Kind(direction, sas, family, udp_esp, mode_hint)
        return self.add_of_kind(kind, members, _packed(sas[0].src), _packed(sas[0].dst), seq_hi)

    def add_of_kind(self, kind: Kind, members: Sequence[Member], src: bytes, dst: bytes, seq_hi: Sequence[int]) -> int:
        """`add_bundle` of one of many bundles of a kind.

        members : SPI, enc_key, salt and auth_key of each SA; lengths as the algorithms want them.
        src, dst : in network order, empty for wildcards.
        """
        keys = [(name, member[0], dst) for name, member in zip(kind.names, members, strict=True)]
        with self._lock:
            fingerprint = self._fingerprint(kind, members, src)
            bundle = self._by_key.get(keys[0]) or self._by_key.get(keys[-1])
            if bundle is not None and (bundle.keys != keys or not hmac.compare_digest(bundle.fingerprint, fingerprint)):
                direction = "inbound" if kind.inbound else "outbound"
                raise BundleError(
                    f"an {direction} SA with SPI 0x{members[0][0]:08x} and destination "
                    f"{ip_address(dst) if dst else None} is there already with other keys or algorithms"
                )
            if self._table.full():
                raise SADFullError(f"the NIC is full: its capacity is {self._sad.capacity // 2} bundles")
            if bundle is None:
                bundle = self._new_bundle(kind, members, src, dst, seq_hi, keys, fingerprint)
            else:
                for sad, sa, high in zip(bundle.sads, kind.sas, seq_hi, strict=False):
                    self._table.set_seq_hi(sad, high if sa.esn else 0)
            handle = self._table.new_handle(bundle.number)
            self._by_handle[handle] = bundle
            return handle

    def _fingerprint(self, kind: Kind, members: Sequence[Member], src: bytes) -> bytes:
        """Says whether two bundles are the same, without keeping their keys."""
        text = self._secret
        for label, (_, enc_key, salt, auth_key) in zip(kind.labels, members, strict=True):
            text += label + src + enc_key + salt + auth_key
        return hashlib.sha256(text).digest()  # never shown to anybody, so that HMAC would add nothing

    def _new_bundle(
        self,
        kind: Kind,
        members: Sequence[Member],
        src: bytes,
        dst: bytes,
        seq_hi: Sequence[int],
        keys: list[_Key],
        fingerprint: bytes,
    ) -> _Bundle:
        try:
            number, sads = self._table.add_bundle(
                kind.moulds_of(self._table),
                members,
                src,
                dst,
                seq_hi,
                kind.ipv6,
                kind.udp_esp,
                kind.inbound and self.options.match_source,
                kind.on(self._capabilities),
                kind.hint,
            )
        except DuplicateSAError as error:  # a wildcard's, of the other family
            raise BundleError(str(error)) from None
        bundle = _Bundle(kind, keys, fingerprint, number, sads)
        for key in keys:
            self._by_key[key] = bundle
        return bundle

    def update(self, handle: int, protocol: Literal["esp", "ah"], spi: int, seq_hi: int) -> None:
        """Replace the high half of one SA's sequence number (UPDATE_SA).

        Raises KeyError for an unknown handle, or one whose SA of this protocol has another SPI or no ESN.
        """
        if isinstance(seq_hi, bool) or not isinstance(seq_hi, int) or not 0 <= seq_hi <= 0xFFFFFFFF:
            raise ValueError(f"seq_hi: got {seq_hi!r}, wanted 32 bits")
        with self._lock:
            bundle = self._find(handle)
            for sa, sad, key in zip(bundle.kind.sas, bundle.sads, bundle.keys, strict=True):
                if sa.protocol == protocol and key[1] == spi and sa.esn:
                    self._table.set_seq_hi(sad, seq_hi)
                    return
            raise KeyError(f"handle {handle} has no {protocol} SA with SPI 0x{spi:08x} and extended sequence numbers")

    def _find(self, handle: int) -> _Bundle:
        bundle = self._by_handle.get(handle)
        if bundle is None:
            raise KeyError(f"handle {handle} names no bundle of this NIC")
        return bundle

    def delete(self, handle: int) -> None:
        """Take a handle out, and its SAs and keys with the last handle of them.  Raises KeyError."""
        with self._lock:
            self._delete(handle)

    def _delete(self, handle: int) -> None:
        bundle = self._find(handle)
        del self._by_handle[handle]
        if self._table.delete_handle(handle):
            return
        self._table.delete_bundle(bundle.number)
        for sad in bundle.sads:
            self._sad.delete(sad)
        for key in bundle.keys:
            del self._by_key[key]

    def clear(self) -> None:
        """Delete every bundle (halt, removal)."""
        with self._lock:
            for handle in list(self._by_handle):
                self._delete(handle)

    def request_deletion(self, handle: int, on: bool = True) -> None:
        """Set SaDeleteReq on what an inbound bundle receives from now on, until it is deleted.  Raises KeyError."""
        with self._lock:
            self._table.ask_deletion(self._find(handle).number, on)

    def statistics(self, handle: int) -> tuple[SAStatistics, ...]:
        """SAStatistics of each SA of a bundle, in `add_bundle`'s order.  Raises KeyError."""
        with self._lock:
            return tuple(map(self._sad.statistics, self._find(handle).sads))

    def send(self, nbls: NblBatch) -> SendResult:
        """Do what each list's words ask for, and say what would be on the wire.

        Slots 1 and 11 name SAs (0: none), slot 0 asks for checksums, slot 2 for segmentation; slot 2 gets its
        completion form.  A list is sent whole or not at all.  Frames are protected in place.
        """
        with self._lock:
            return _send(self._table, nbls)

    def receive(self, nbls: NblBatch) -> ReceiveResult:
        """Check and decrypt in place what matches an inbound SA, and write every list's words.

        Frames keep their place and length.  Raises ValueError for lists with more than one frame: received ones have
        one.
        """
        with self._lock:
            return _receive(self._table, nbls)


def _check_bundle(
    direction: str,
    sas: Sequence[SecurityAssociation],
    ipv6: bool | None,
    udp_esp: int,
    seq_hi: Sequence[int],
    hint: str | None,
) -> bool:
    """Raise for what is no bundle; else say whether it is IPv6's."""
    if direction not in ("inbound", "outbound"):
        raise ValueError(f"direction: got {direction!r}, wanted inbound or outbound")
    for sa in sas:
        if not isinstance(sa, SecurityAssociation):
            raise TypeError(f"sas: got {type(sa).__name__}, wanted SecurityAssociation")
    protocols = [sa.protocol for sa in sas]
    if protocols not in (["esp"], ["ah"], ["esp", "ah"]):
        raise ValueError(f"sas: got {protocols}, wanted ESP, AH, or ESP and AH")
    if len(sas) == 2 and (sas[0].src, sas[0].dst) != (sas[1].src, sas[1].dst):
        raise ValueError("sas: wanted the same addresses in both")
    if not 0 <= udp_esp <= 0xF:
        raise ValueError(f"udp_esp: got {udp_esp}, wanted UdpEspEncapsulation bits")
    if udp_esp and "ah" in protocols:
        raise ValueError("udp_esp: got AH, wanted ESP alone: AH has no UDP encapsulation")
    if hint not in (None, "transport", "tunnel"):
        raise ValueError(f"mode_hint: got {hint!r}, wanted transport, tunnel or None")
    if len(seq_hi) < len(sas) or not all(type(high) is int and 0 <= high <= 0xFFFFFFFF for high in seq_hi):
        raise ValueError("seq_hi: wanted 32 bits for each SA")
    families = {address.version == 6 for address in (sas[0].src, sas[0].dst) if address is not None}  # type: ignore[union-attr]
    if not families and ipv6 is None:
        raise ValueError("ipv6: wanted True or False where both addresses are wildcards")
    family = families.pop() if families else bool(ipv6)
    if ipv6 is not None and ipv6 != family:
        raise ValueError(f"ipv6: got {ipv6}, the addresses say otherwise")
    return family


def _common(sa: SecurityAssociation) -> SecurityAssociation:
    """The SA without what the NIC has no part in, and what differs among those of a kind.

    A copy, not one made anew: all of it was checked once.
    """
    made = object.__new__(SecurityAssociation)
    made.__dict__.update(sa.__dict__, **_NO_PART)
    return made


_NO_PART: dict[str, object] = {
    "mode": "transport",
    "replay_window": 0,
    "udp_encap": None,
    "tfc_pad_to": None,
    "match_src": False,
    "spi": 0,
    "src": None,
    "dst": None,
    "enc_key": b"",
    "salt": b"",
    "auth_key": b"",
}


def _packed(address: AddressLike | None) -> bytes:
    return b"" if address is None else address.packed  # type: ignore[union-attr]
