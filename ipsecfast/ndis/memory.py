"""The memory that structures point into: addresses that hold bytes, for pointers that a flat buffer can't carry.

Every allocation is apart from every other, so that a read past its end, a freed address and a wild pointer are
met and refused; an address is not handed out again soon.  All methods may be called from several threads.
"""

from __future__ import annotations

import threading

from .constants import NdisStatus
from .errors import MemoryFault
from .structs import Abi
from .structs.layout import Integer

__all__ = ["Memory"]

_GRANULE = 256  # bytes; every allocation starts at a multiple and is followed by at least one unused granule
_FIRST = 1 << 16  # nothing lies below: NULL and small integers are no addresses
_END = {Abi.X64: 1 << 47, Abi.X86: 1 << 32}


class Memory:
    """An address space of one ABI.

    >>> memory = Memory("x86")
    >>> address = memory.allocate(b"abcd")
    >>> memory.read(address + 1, 2)
    b'bc'
    """

    def __init__(self, abi: str = Abi.X64) -> None:
        self.abi = Abi(abi)
        self._blocks: dict[int, tuple[int, bytearray]] = {}  # granule -> start of its allocation, bytes
        self._next = _FIRST
        self._lock = threading.Lock()

    def allocate(self, content: int | bytes | bytearray | memoryview) -> int:
        """Address of a new allocation: so many zero bytes, or a copy of some bytes.

        Raises MemoryFault (RESOURCES) when the address space is full, ValueError for less than one byte.
        """
        block = bytearray(content)
        if not block:
            raise ValueError("content: got 0 bytes, wanted at least 1")
        n = -(-len(block) // _GRANULE) + 1
        with self._lock:
            start = self._room(n)
            self._next = start + n * _GRANULE
            for granule in range(start // _GRANULE, start // _GRANULE + n - 1):
                self._blocks[granule] = (start, block)
        return start

    def free(self, address: int) -> None:
        """Zero an allocation and give it up; ``address`` must be what :meth:`allocate` returned."""
        with self._lock:
            start, block = self._find(address)
            if start != address:
                raise MemoryFault(NdisStatus.NDIS_STATUS_INVALID_DATA, f"0x{address:X} is no start of an allocation")
            block[:] = bytes(len(block))
            for granule in range(start // _GRANULE, (start + len(block) - 1) // _GRANULE + 1):
                del self._blocks[granule]

    def read(self, address: int, length: int | None = None) -> bytes:
        """``length`` bytes (None: to the end of the allocation); MemoryFault if they are not all inside one."""
        start, block = self._find(address)
        at = address - start
        if length is None:
            return bytes(block[at:] if at else block)
        if length < 0 or length > len(block) - at:
            raise self._past_end(address, length, len(block) - at)
        return bytes(block[at : at + length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``, or raise MemoryFault and write nothing."""
        start, block = self._find(address)
        at = address - start
        if len(data) > len(block) - at:
            raise self._past_end(address, len(data), len(block) - at)
        block[at : at + len(data)] = data

    def load(self, address: int, member: Integer) -> int:
        """Value of an integer member of the structure at ``address``: ``load(node, ADD_SA.Next)``."""
        size = member.size(self.abi)
        return int.from_bytes(self.read(address + member.offset(self.abi), size), "little")

    def store(self, address: int, member: Integer, value: int) -> None:
        """Write an integer member of the structure at ``address``, and nothing else of it."""
        size = member.size(self.abi)
        self.write(address + member.offset(self.abi), value.to_bytes(size, "little"))

    def __len__(self) -> int:
        """Live allocations."""
        with self._lock:
            return len({start for start, _ in self._blocks.values()})

    def _find(self, address: int) -> tuple[int, bytearray]:
        found = self._blocks.get(address // _GRANULE)
        if found is None or address >= found[0] + len(found[1]):
            raise MemoryFault(NdisStatus.NDIS_STATUS_INVALID_DATA, f"nothing lies at address 0x{address:X}")
        return found

    def _past_end(self, address: int, wanted: int, left: int) -> MemoryFault:
        text = f"{wanted} bytes at 0x{address:X}: the allocation has {left} from there on"
        return MemoryFault(NdisStatus.NDIS_STATUS_INVALID_DATA, text)

    def _room(self, n: int) -> int:
        """Start of ``n`` unused granules, searched from the last allocation on and once from the bottom."""
        for start, end in ((self._next, _END[self.abi]), (_FIRST, self._next)):
            granule, last = start // _GRANULE, end // _GRANULE - n
            while granule <= last:
                taken = next((g for g in range(granule + n - 1, granule - 2, -1) if g in self._blocks), None)
                if taken is None:
                    return granule * _GRANULE
                granule = taken + 2  # one stays unused between the two
        raise MemoryFault(NdisStatus.NDIS_STATUS_RESOURCES, f"no room for {n * _GRANULE} bytes")
