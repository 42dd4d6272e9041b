"""How a send ended, where it is not as the datapath says: refused, or a faulty card's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core._batch import PacketBatch

__all__ = ["Completion"]


class Completion:
    """As :class:`.datapath.SendResult`.

    Attributes
    ----------
    status : uint32[n_nbl], NDIS_STATUS of each list's completion.
    transmitted : the frames that left, in their order.
    nbl : int64[n_frames], the list that each of them came from.
    """

    __slots__ = ("nbl", "status", "transmitted")

    def __init__(self, status: NDArray[np.uint32], transmitted: PacketBatch, nbl: NDArray[np.int64]) -> None:
        self.status = status
        self.transmitted = transmitted
        self.nbl = nbl

    @classmethod
    def refused(cls, n: int, status: int) -> Completion:
        """Nothing of ``n`` lists was sent."""
        return cls(np.full(n, status, np.uint32), PacketBatch.from_packets([]), np.zeros(0, np.int64))

    @property
    def ok(self) -> int:
        """Lists that were sent."""
        return len(self.status) - int(np.count_nonzero(self.status))
