"""NblBatch: NET_BUFFER_LISTs in one block of memory, and their out-of-band words.

A batch is arrays: frames in a :class:`ipsecfast.PacketBatch`, where each list begins, five raw words a list.  `Nbl` is
a view of one list for those who want names; nothing on the datapath makes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core._batch import PacketBatch
from ..core._nbl import NblArrays

__all__ = ["SLOTS", "Medium", "Nbl", "NblBatch"]

Medium = Literal["ethernet", "null"]

# Rows of NblBatch.oob, as NetBufferListInfo[] indexes
SLOTS = (0, 1, 2, 11, 12)


class NblBatch(NblArrays):
    """NET_BUFFER_LISTs: what a protocol hands to a NIC, or a NIC to its protocols.

    Parameters
    ----------
    frames : the NET_BUFFERs, a PacketBatch whose packets are whole frames from their link-layer header on (or from
        the IP header on with ``medium="null"``).  Used in place.
    first : int64[n_nbl + 1], C-contiguous; list i holds frames ``first[i]`` up to ``first[i + 1]``, at least one.
        None: one frame a list.  Copied.
    medium : ``"ethernet"``: IEEE 802.3, with an 802.1Q tag or LLC/SNAP where the frame says so; ``"null"``: raw IP.

    Attributes
    ----------
    oob : uint64[5, n_nbl], writable: the raw cells of slots 0, 1, 2, 11 and 12, one row a slot, zero at first.
    checksum, ipsec, large_send, tunnel, header : the rows by name.

    Raises ValueError or TypeError for lists that do not cover the frames, in order and whole.
    """

    __slots__ = ("medium",)

    medium: Medium

    def __init__(self, frames: PacketBatch, first: ArrayLike | None = None, medium: Medium = "ethernet") -> None:
        if not isinstance(frames, PacketBatch):
            raise TypeError(f"frames: got {type(frames).__name__}, wanted PacketBatch")
        if medium not in ("ethernet", "null"):
            raise ValueError(f"medium: got {medium!r}, wanted ethernet or null")
        super().__init__(frames, _first(first, len(frames)), medium == "null")
        self.medium = medium

    @classmethod
    def from_frames(
        cls,
        nbls: Iterable[bytes | Sequence[bytes]],
        medium: Medium = "ethernet",
        headroom: int = 0,
        tailroom: int = 16,
    ) -> NblBatch:
        """Copy frames into a block of their own: one item a list, either a frame or a sequence of frames."""
        lists = [[item] if isinstance(item, (bytes, bytearray, memoryview)) else list(item) for item in nbls]
        first = np.cumsum([0, *map(len, lists)])
        frames = PacketBatch.from_packets([frame for one in lists for frame in one], headroom, tailroom)
        return cls(frames, None if len(frames) == len(lists) and all(lists) else first, medium)

    def __getitem__(self, index: int) -> Nbl:
        n = len(self)
        i = index + n if index < 0 else index
        if not 0 <= i < n:
            raise IndexError(f"NET_BUFFER_LIST {index} of {n}")
        return Nbl(self, i)

    def _row(self, row: int) -> NDArray[np.uint64]:
        cells: NDArray[np.uint64] = self.oob[row]
        return cells

    @property
    def checksum(self) -> NDArray[np.uint64]:
        """uint64[n_nbl]: slot 0, NDIS_TCP_IP_CHECKSUM_NET_BUFFER_LIST_INFO."""
        return self._row(0)

    @property
    def ipsec(self) -> NDArray[np.uint64]:
        """uint64[n_nbl]: slot 1, NDIS_IPSEC_OFFLOAD_V2_NET_BUFFER_LIST_INFO."""
        return self._row(1)

    @property
    def large_send(self) -> NDArray[np.uint64]:
        """uint64[n_nbl]: slot 2, NDIS_TCP_LARGE_SEND_OFFLOAD_NET_BUFFER_LIST_INFO."""
        return self._row(2)

    @property
    def tunnel(self) -> NDArray[np.uint64]:
        """uint64[n_nbl]: slot 11, NDIS_IPSEC_OFFLOAD_V2_TUNNEL_NET_BUFFER_LIST_INFO."""
        return self._row(3)

    @property
    def header(self) -> NDArray[np.uint64]:
        """uint64[n_nbl]: slot 12, NDIS_IPSEC_OFFLOAD_V2_HEADER_NET_BUFFER_LIST_INFO."""
        return self._row(4)


def _first(first: ArrayLike | None, n_frames: int) -> NDArray[np.int64] | None:
    if first is None:
        return None
    got = np.asarray(first)
    if got.ndim != 1 or got.shape[0] < 1:
        raise ValueError(f"first: got shape {got.shape}, wanted (n_nbl + 1,)")
    if got.dtype.kind not in "iu":
        raise TypeError(f"first: got {got.dtype}, wanted int64")
    array = got.astype(np.int64)
    if array[0] != 0 or array[-1] != n_frames or (np.diff(array) < 1).any():
        raise ValueError(f"first: wanted 0, rising by 1 or more, up to the {n_frames} frames")
    return array


def _bits(slot: int, low: int, width: int, text: str) -> property:
    mask = (1 << width) - 1

    def get(self: Nbl) -> int:
        return int(self.batch.oob[slot, self.index]) >> low & mask

    def put(self: Nbl, value: int) -> None:
        if not 0 <= value <= mask:
            raise ValueError(f"got {value}, wanted {width} bits")
        word = int(self.batch.oob[slot, self.index])
        self.batch.oob[slot, self.index] = word & ~(mask << low) | value << low

    return property(get, put, doc=text)


class Nbl:
    """One NET_BUFFER_LIST of a batch, a view: bit fields of its words by the SDK's names.

    Transmit and receive forms share a cell; which one holds follows from the way the list goes.
    """

    __slots__ = ("batch", "index")

    def __init__(self, batch: NblBatch, index: int) -> None:
        self.batch = batch
        self.index = index

    @property
    def net_buffers(self) -> list[memoryview]:
        """The frames."""
        first = self.batch.first
        low, high = (self.index, self.index + 1) if first is None else (first[self.index], first[self.index + 1])
        return [self.batch.frames[i] for i in range(int(low), int(high))]

    # slot 0, transmit
    IsIPv4 = _bits(0, 0, 1, "slot 0, transmit")
    IsIPv6 = _bits(0, 1, 1, "slot 0, transmit")
    TcpChecksum = _bits(0, 2, 1, "slot 0, transmit")
    UdpChecksum = _bits(0, 3, 1, "slot 0, transmit")
    IpHeaderChecksum = _bits(0, 4, 1, "slot 0, transmit")
    TcpHeaderOffset = _bits(0, 16, 10, "slot 0, transmit: bytes from the start of the frame")
    # slot 0, receive
    TcpChecksumFailed = _bits(0, 0, 1, "slot 0, receive")
    UdpChecksumFailed = _bits(0, 1, 1, "slot 0, receive")
    IpChecksumFailed = _bits(0, 2, 1, "slot 0, receive")
    TcpChecksumSucceeded = _bits(0, 3, 1, "slot 0, receive")
    UdpChecksumSucceeded = _bits(0, 4, 1, "slot 0, receive")
    IpChecksumSucceeded = _bits(0, 5, 1, "slot 0, receive")
    # slot 1
    OffloadHandle = _bits(1, 0, 64, "slot 1, transmit")
    SaDeleteReq = _bits(1, 0, 1, "slot 1, receive")
    CryptoDone = _bits(1, 1, 1, "slot 1, receive")
    NextCryptoDone = _bits(1, 2, 1, "slot 1, receive")
    CryptoStatus = _bits(1, 16, 16, "slot 1, receive")
    # slot 2
    MSS = _bits(2, 0, 20, "slot 2, transmit")
    LsoTcpHeaderOffset = _bits(2, 20, 10, "slot 2, transmit: TcpHeaderOffset, bytes from the start of the frame")
    LsoType = _bits(2, 30, 1, "slot 2: Type, 0 is LSO version 1, 1 version 2")
    IPVersion = _bits(2, 31, 1, "slot 2, LsoV2Transmit: 0 is IPv4, 1 IPv6")
    TcpPayload = _bits(2, 0, 30, "slot 2, LsoV1TransmitComplete")
    # slot 11
    TunnelHandle = _bits(3, 0, 64, "slot 11, transmit")
    # slot 12
    NextHeader = _bits(4, 0, 8, "slot 12")
    PadLength = _bits(4, 8, 8, "slot 12")
    AhHeaderOffset = _bits(4, 16, 8, "slot 12, transmit: from the IP header, in units of 4 bytes")
    EspHeaderOffset = _bits(4, 24, 8, "slot 12, transmit: from the IP header, in units of 4 bytes")
    HeaderInfoSet = _bits(4, 16, 1, "slot 12, receive")
