import numpy as np
from numpy.typing import NDArray

class CaptureIndex:
    count: int
    n_ip: int
    needed: int
    unfit: int
    foreign: int
    foreign_link_type: int
    damage: int
    def __new__(cls, offset: NDArray[np.int64], length: NDArray[np.int32]) -> CaptureIndex: ...
    def begin(
        self,
        *,
        pcapng: bool,
        big: bool,
        nanos: bool,
        link_type: int,
        out_form: int,
        out_big: bool,
        out_nanos: bool,
        only_link_type: int,
        grows: bool = False,
    ) -> None: ...
    def index(self, raw: NDArray[np.uint8], work: NDArray[np.uint8], start: int, end: int) -> int: ...
    def out_room(self, length: NDArray[np.int32], status: NDArray[np.uint8]) -> int: ...
    def assemble(
        self,
        raw: NDArray[np.uint8],
        work: NDArray[np.uint8],
        out: NDArray[np.uint8],
        offset: NDArray[np.int64],
        length: NDArray[np.int32],
        status: NDArray[np.uint8],
    ) -> int: ...
    def unknown_spis(
        self, raw: NDArray[np.uint8], status: NDArray[np.uint8], no_sa: int, out: NDArray[np.uint32]
    ) -> int: ...

def tally(
    handle: NDArray[np.int64],
    status: NDArray[np.uint8],
    length: NDArray[np.int32],
    handles: NDArray[np.int64],
    counts: NDArray[np.int64],
    n_bytes: NDArray[np.int64],
) -> None: ...
