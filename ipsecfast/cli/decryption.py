"""The work of ``ipsecfast decrypt``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import PacketBatch, decapsulate
from ..capture import ChunkBuffer
from ..keys import KeyEntry
from ..status import PacketStatus
from .job import Job, fill_sad, unique
from .options import Options
from .report import Tally


class Decryption(Job):
    """Decrypts with every SA as inbound, whichever way its packets flow."""

    done = "decrypted"

    def __init__(self, entries: Sequence[KeyEntry], options: Options) -> None:
        super().__init__(entries, options)
        self._sad, added = fill_sad(unique(entries, options.skip_bad_keys).values(), "inbound", options)
        self.tally = Tally([(entry, [handle]) for entry, handle in added.values()], self.done)
        self.buffer = ChunkBuffer()

    def transform(self, chunk: ChunkBuffer) -> memoryview:
        """The chunk with its packets decrypted, as bytes to be written."""
        offset, length = chunk.offset, chunk.length
        self.tally.add_no_ip(chunk.count - len(offset))
        if not len(offset):
            return chunk.assemble()
        batch = PacketBatch(chunk.work, offset, length)
        result = self._engine(decapsulate, batch)
        self.tally.add(result.handle, result.status, length)
        if (result.status == PacketStatus.NO_SA).any():
            spis = np.empty(len(offset), np.uint32)
            n = chunk.index.unknown_spis(chunk.raw, result.status, int(PacketStatus.NO_SA), spis)
            self.tally.add_unknown(spis[:n])
        return chunk.assemble(batch.offset, batch.length, result.status)
