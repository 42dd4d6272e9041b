"""What decrypt and encrypt share: the SAs of key files into a SAD, the way through the captures, the report."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from .. import SAD, PacketBatch, Result, SecurityAssociation
from ..capture import Capture, ChunkBuffer, OutputFile, rewrite
from ..capture.output import names_stdout
from ..capture.rewrite import check_link_types
from ..errors import CaptureError, IpsecError, KeyFileError
from ..keys import KeyEntry, load_keys
from .options import Options
from .report import Tally
from .terminal import Progress, complain, ended_by_signals, warn

Direction = Literal["inbound", "outbound"]
SAKey = tuple[object, ...]


class Job(ABC):
    """What is done to the packets of captures, chunk by chunk.

    Made of the SAs of the key files; raises KeyFileError, naming origins, for those that can't be used.
    ``done`` is what a packet with status OK is.
    """

    done: str
    grows = False  # packets may become longer
    tally: Tally
    buffer: ChunkBuffer
    _sad: SAD

    @abstractmethod
    def __init__(self, entries: Sequence[KeyEntry], options: Options) -> None:
        self._threads = max(1, options.jobs - 1)  # one more writes

    @abstractmethod
    def transform(self, chunk: ChunkBuffer) -> memoryview:
        """The chunk as bytes to be written."""

    def _engine(self, call: Callable[..., Result], batch: PacketBatch, *arguments: Any) -> Result:
        return call(batch, self._sad, *arguments, threads=self._threads)


def run(options: Options, kind: type[Job]) -> int:
    """Returns the exit status; raises IpsecError for what ends the run."""
    job, damaged = convert(options, kind)
    if not options.quiet:
        print(job.tally.as_table(), file=sys.stderr)
    if options.json:
        print(json.dumps(job.tally.as_json()))
    for error in damaged:
        complain(str(error))
    if damaged:
        return 2
    return 1 if options.strict and job.tally.failed + job.buffer.index.unfit else 0


def convert(options: Options, kind: type[Job]) -> tuple[Job, Sequence[CaptureError]]:
    """Write OUT.  Returns the job with what it counted, and which captures were damaged; raises Interrupted."""
    output = options.output
    if options.json and names_stdout(output):
        raise CaptureError("--json and the capture can't both go to standard output")
    if any(_same_file(output, key) for key in options.keys):
        raise CaptureError(f"{output}: is a key file, and would be overwritten")
    with ended_by_signals() as check, contextlib.ExitStack() as closing:
        opened = [closing.enter_context(contextlib.closing(Capture(path))) for path in options.captures]
        check_link_types(opened)
        job = kind(load_keys(options.keys, skip_bad=options.skip_bad_keys, warn=warn), options)
        total = 0 if any(c.size == 0 for c in opened) else sum(c.size for c in opened)
        out = OutputFile(output, behind=options.jobs > 1)
        closing.callback(out.discard)  # a signal may end the first try at it
        with out, Progress(total, enabled=not options.quiet) as progress:

            def chunk_done(done: int) -> None:
                check()
                progress(done)

            damaged = rewrite(opened, out, job.transform, chunk_done, job.buffer, job.grows)
            check()
            out.commit()
    index = job.buffer.index
    if index.foreign:
        warn(f"{index.foreign} packets of link type {index.foreign_link_type}, which is not known, were copied")
    if index.unfit:
        warn(f"{index.unfit} {job.done} packets were left as they were: their link type can't hold the other IP family")
    return job, damaged


def _same_file(a: str, b: str) -> bool:
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):
        return False


def sa_key(sa: SecurityAssociation) -> SAKey:
    """What tells SAs of one direction apart, as in a SAD."""
    return sa.spi, sa.dst, sa.protocol, sa.src if sa.match_src else None


def bad_key(error: object, skip: bool) -> None:
    """Raise KeyFileError, or only warn if bad keys are to be skipped."""
    if not skip:
        raise KeyFileError(str(error)) from None
    warn(str(error))


def unique(entries: Iterable[KeyEntry], skip_bad: bool) -> dict[SAKey, KeyEntry]:
    """Every SA once; what several entries say of one is merged.  Raises KeyFileError for contradictions."""
    first: dict[SAKey, KeyEntry] = {}
    for entry in entries:
        sa = entry.sa
        known = first.setdefault(sa_key(sa), entry)
        if replace(known.sa, replay_window=sa.replay_window) == sa:
            # Dumps of both ends: the window of the receiving one is meant, the sender's may be 0.
            wider = max(known, entry, key=lambda e: e.sa.replay_window)
            first[sa_key(sa)] = wider
        else:
            bad_key(
                f"{entry.origin}: SPI 0x{sa.spi:08x} to {sa.dst or 'any'} stands for another SA at {known.origin}",
                skip_bad,
            )
    return first


def fill_sad(
    entries: Iterable[KeyEntry], direction: Direction, options: Options
) -> tuple[SAD, dict[SAKey, tuple[KeyEntry, int]]]:
    """A SAD with each of the (unique) SAs, and these with their handles.  Raises KeyFileError, naming origins."""
    wanted = list(entries)
    try:
        sad = SAD(capacity=max(len(wanted), 1), provider=options.provider)
    except ValueError as e:
        raise IpsecError(str(e)) from None
    added = {}
    for entry in wanted:
        try:
            added[sa_key(entry.sa)] = entry, sad.add(entry.sa, direction=direction, seq=entry.seq)
        except (IpsecError, ValueError) as e:
            bad_key(f"{entry.origin}: {e}", options.skip_bad_keys)
    return sad, added
