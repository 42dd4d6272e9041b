import numpy as np
from numpy.typing import NDArray

from ._batch import PacketBatch

class SelectorTable:
    def __len__(self) -> int: ...
    def append(
        self,
        version: int,
        src: tuple[bytes, bytes] | tuple[()],
        dst: tuple[bytes, bytes] | tuple[()],
        proto: int,
        sport: tuple[int, int] | None,
        dport: tuple[int, int] | None,
        handle: int,
    ) -> None: ...
    def select(self, batch: PacketBatch) -> NDArray[np.int64]: ...
