"""NblArrays: a batch of NET_BUFFER_LISTs as the datapath sees it; addresses are taken once, when it is made."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from ._batch cimport PacketBatch

import numpy as np


cdef class NblArrays:
    """Frames, where each list begins, and five out-of-band words a list; `ipsecfast.ndis.nbl.NblBatch` checks them.

    first : int64[n + 1] from 0 to the number of frames, rising, or None: one frame a list.  Copied.
    """

    def __init__(self, PacketBatch frames not None, first, bint raw):
        cdef const int64_t[::1] starts
        if self.frames is not None:
            raise RuntimeError("a batch can't be initialised again")
        self.n = len(frames)
        if first is not None:
            starts = first
            self.n = starts.shape[0] - 1
            self.starts = <int64_t *> malloc((self.n + 1) * sizeof(int64_t))
            if self.starts == NULL:
                raise MemoryError()
            memcpy(self.starts, &starts[0], (self.n + 1) * sizeof(int64_t))
        self.frames = frames
        self.raw = raw
        self.oob = np.zeros((5, self.n), np.uint64)
        if self.n:
            self.held = self.oob        # while somebody holds the memory numpy refuses to resize it
            self.words = &self.held[0, 0]

    def __dealloc__(self):
        free(self.starts)

    def __len__(self):
        """How many NET_BUFFER_LISTs."""
        return self.n

    @property
    def first(self):
        """int64[n + 1], a copy: where each list begins, and the end; None: one frame each."""
        cdef int64_t[::1] copy
        if self.starts == NULL:
            return None
        array = np.empty(self.n + 1, np.int64)
        copy = array
        memcpy(&copy[0], self.starts, (self.n + 1) * sizeof(int64_t))
        return array
