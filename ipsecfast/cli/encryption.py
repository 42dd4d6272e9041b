"""The work of ``ipsecfast encrypt``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .. import SPD, PacketBatch, encapsulate
from ..capture import ChunkBuffer
from ..capture.chunk import CHUNK
from ..errors import KeyFileError
from ..keys import KeyEntry, policies
from ..status import PacketStatus
from .job import Job, SAKey, bad_key, fill_sad, sa_key, unique
from .options import Options
from .report import Tally
from .terminal import warn

# What a layer puts in front at the most, in bytes: IPv6 header 40, then UDP 8, ESP 8 and an IV of 16,
# or AH's 12, an ICV of 64 and its padding.  And behind: padding to 16, 2 for its length and the next header, ICV 64.
FRONT, BACK = 128, 96


class Encryption(Job):
    """Encrypts what the selectors of the SAs choose, each SA as outbound."""

    done = "encrypted"
    grows = True

    def __init__(self, entries: Sequence[KeyEntry], options: Options) -> None:
        super().__init__(entries, options)
        self._sad, added = fill_sad(_outbound(entries, options.skip_bad_keys), "outbound", options)
        self._spd = SPD()
        used: dict[SAKey, set[int]] = {key: set() for key in added}
        n_layers = 1
        for policy in policies(entries, lambda error: bad_key(error, options.skip_bad_keys)):
            keys = [sa_key(entry.sa) for entry in policy.entries]
            if not all(key in added for key in keys):
                continue  # it was said why
            try:
                handle = self._handle([added[key][1] for key in keys])
            except ValueError as error:
                bad_key(f"{policy.entries[0].origin}: {error}", options.skip_bad_keys)
                continue
            self._spd.add(policy.selector, handle)
            n_layers = max(n_layers, len(keys))
            for key in keys:
                used[key].add(handle)
        self.tally = Tally([(entry, sorted(used[key])) for key, (entry, _) in added.items()], self.done)
        padding = sum(sorted((entry.sa.tfc_pad_to or 0 for entry, _ in added.values()), reverse=True)[:n_layers])
        self._front, self._back = n_layers * FRONT, n_layers * BACK + padding
        # So many packets at a time that their room stays small beside the processor's caches.
        self.buffer = ChunkBuffer(records=max(64, CHUNK // (self._front + self._back)))

    def _handle(self, handles: list[int]) -> int:
        """Of the SA, or of a bundle of them."""
        return handles[0] if len(handles) == 1 else self._sad.bundle(handles)

    def transform(self, chunk: ChunkBuffer) -> memoryview:
        """The chunk with what was chosen encrypted, as bytes to be written."""
        offset, length = chunk.offset, chunk.length
        self.tally.add_no_ip(chunk.count - len(offset))
        if not len(offset):
            return chunk.assemble()
        batch = PacketBatch(chunk.work, offset, length)
        handle = self._spd.select(batch)
        chosen = np.flatnonzero(handle)
        roomy = batch.take(chosen, self._front, self._back)
        result = self._engine(encapsulate, roomy, handle[chosen])
        status = np.full(len(offset), PacketStatus.NOT_IPSEC, np.uint8)
        status[chosen] = result.status
        self.tally.add(handle, status, length)
        new_offset, new_length = offset.copy(), length.copy()
        new_offset[chosen], new_length[chosen] = roomy.offset, roomy.length
        return chunk.assemble(new_offset, new_length, status, np.asarray(roomy.data))


def _outbound(entries: Sequence[KeyEntry], skip_bad: bool) -> list[KeyEntry]:
    """Those that can be chosen, with the highest number that any of the key files knows of.

    Raises KeyFileError if there are none.
    """
    sas = unique(entries, skip_bad)
    seq: dict[SAKey, int] = {}
    selected = {sa_key(entry.sa) for entry in entries if entry.selector is not None}
    for entry in entries:
        key = sa_key(entry.sa)
        seq[key] = max(entry.seq, seq.get(key, 0))
    without = [entry for key, entry in sas.items() if key not in selected]
    if not selected:
        where = f"{without[0].origin}: " if without else ""
        raise KeyFileError(f"{where}no SA has a selector, so there is nothing to encrypt (see docs/keys.md)")
    if without:
        warn(f"{without[0].origin}: has no selector and protects nothing ({len(without)} such SAs in all)")
    return [replace(entry, seq=seq[key]) for key, entry in sas.items() if key in selected]
