from collections.abc import Iterable
from typing import Any

import numpy as np
from _typeshed import ReadableBuffer, WriteableBuffer
from numpy.typing import ArrayLike, NDArray

class PacketBatch:
    def __init__(
        self,
        data: WriteableBuffer | NDArray[np.uint8],
        offset: ArrayLike,
        length: ArrayLike,
        slot_offset: ArrayLike | None = None,
        slot_length: ArrayLike | None = None,
    ) -> None: ...
    @staticmethod
    def from_packets(packets: Iterable[ReadableBuffer], headroom: int = 128, tailroom: int = 64) -> PacketBatch: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> memoryview: ...
    @property
    def offset(self) -> NDArray[np.int64]: ...
    @property
    def length(self) -> NDArray[np.int32]: ...
    @property
    def data(self) -> Any: ...
    def to_packets(self) -> list[bytes]: ...
