"""``ipsecfast decrypt``: captures in, the same captures with their ESP packets decrypted out."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import CaptureError, IpsecError, KeyFileError
from ..status import PacketStatus
from .terminal import Progress, complain, ended_by_signals, warn

if TYPE_CHECKING:
    from .. import SAD
    from ..capture import ChunkBuffer
    from ..keys import KeyEntry
    from .report import Tally

DESCRIPTION = """\
Decrypt the ESP packets of captures.

OUT gets as many packets as the captures hold, in their order, with their link
layer and time stamps, in the first capture's file type.  A packet that decrypts
is replaced by what it carried; everything else is copied as it was.  A table
of what became of the packets goes to standard error.
"""

EPILOG = """\
CAPTURE is pcap or pcapng, plain or gzip; - is standard input.  Link types:
Ethernet (with VLAN tags), raw IP, Linux cooked v1 and v2, BSD loopback.
Captures of different link types need a pcapng as the first one.

Key files (recognised by content): SA files in JSON or TOML, the text of
`ip xfrm state`, Wireshark's esp_sa table.

OUT appears when it is complete; an interrupted run leaves nothing behind.
- is standard output; a name ending in .gz is compressed.

Exit status: 0 done; 1 with --strict, if an IPsec packet was not decrypted;
2 bad usage or unreadable input, also for a capture that ends in the middle of
a packet (OUT then holds all that could be read).
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command to argparse's ``commands``."""
    parser = commands.add_parser(
        "decrypt",
        help="decrypt the ESP packets of captures",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s CAPTURE... --keys FILE... -o OUT [options]",
    )
    parser.add_argument("captures", metavar="CAPTURE", nargs="+", help="pcap or pcapng, plain or .gz")
    parser.add_argument("--keys", metavar="FILE", nargs="+", action="extend", required=True, help="SAs with their keys")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="capture to write")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object on standard output")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if an IPsec packet was not decrypted")
    parser.add_argument("--skip-bad-keys", action="store_true", help="go on without the SAs that can't be used")
    parser.add_argument("--provider", metavar="NAME", help="crypto provider (see ipsecfast info)")
    parser.add_argument("--jobs", metavar="N", type=_jobs, default=1, help="threads; only 1 in this version")
    parser.add_argument("-q", "--quiet", action="store_true", help="no table and no progress bar")
    parser.set_defaults(run=run)


def _jobs(text: str) -> int:
    n = int(text)
    if n != 1:
        raise argparse.ArgumentTypeError(f"got {n}, wanted 1: several threads are not there yet")
    return n


def run(args: argparse.Namespace) -> int:
    """Returns the exit status; raises IpsecError for what ends the run."""
    with ended_by_signals():
        tally, damaged = decrypt(
            args.captures,
            args.keys,
            args.output,
            skip_bad_keys=args.skip_bad_keys,
            provider=args.provider,
            jobs=args.jobs,
            quiet=args.quiet,
            stdout_taken=args.json,
        )
    if not args.quiet:
        print(tally.as_table(), file=sys.stderr)
    if args.json:
        print(json.dumps(tally.as_json()))
    for error in damaged:
        complain(str(error))
    if damaged:
        return 2
    return 1 if args.strict and tally.not_decrypted else 0


def decrypt(
    captures: Sequence[str],
    keys: Sequence[str],
    output: str,
    *,
    skip_bad_keys: bool = False,
    provider: str | None = None,
    jobs: int = 1,
    quiet: bool = False,
    stdout_taken: bool = False,
) -> tuple[Tally, Sequence[CaptureError]]:
    """The work of the command.  Returns what was counted, and which captures were damaged."""
    # numpy and the core are loaded here, so that --help does not wait for them.
    from ..capture import Capture, ChunkBuffer, OutputFile, rewrite
    from ..capture.output import names_stdout
    from ..capture.rewrite import check_link_types
    from ..keys import load_keys
    from .report import Tally

    if stdout_taken and names_stdout(output):
        raise CaptureError("--json and the capture can't both go to standard output")
    if any(_same_file(output, key) for key in keys):
        raise CaptureError(f"{output}: is a key file, and would be overwritten")
    with contextlib.ExitStack() as closing:
        opened = [closing.enter_context(contextlib.closing(Capture(path))) for path in captures]
        check_link_types(opened)
        entries = load_keys(keys, skip_bad=skip_bad_keys, warn=warn)
        sad, entries, handles = _fill_sad(entries, provider, skip_bad_keys)
        tally = Tally(entries, handles)
        buffer = ChunkBuffer()
        worker = _Worker(sad, tally, jobs)
        total = 0 if any(c.size == 0 for c in opened) else sum(c.size for c in opened)
        with OutputFile(output) as out, Progress(total, enabled=not quiet) as progress:
            damaged = rewrite(opened, out, worker.decrypt_chunk, progress, buffer)
            out.commit()
    index = buffer.index
    if index.foreign:
        warn(f"{index.foreign} packets of link type {index.foreign_link_type}, which is not known, were copied")
    if index.unfit:
        warn(f"{index.unfit} decrypted packets were left as they were: their link type can't hold the other IP family")
    return tally, damaged


def _same_file(a: str, b: str) -> bool:
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):
        return False


def _fill_sad(
    entries: Sequence[KeyEntry], provider: str | None, skip_bad: bool
) -> tuple[SAD, list[KeyEntry], list[int]]:
    """Add every SA once, as inbound.  Raises KeyFileError, naming the SA's origin."""
    from .. import SAD

    first: dict[tuple[object, ...], KeyEntry] = {}
    for entry in entries:
        sa = entry.sa
        known = first.setdefault((sa.spi, sa.dst, sa.protocol), entry)
        if replace(known.sa, replay_window=sa.replay_window) == sa:
            # Dumps of both ends: the window of the receiving one is meant, the sender's may be 0.
            if sa.replay_window > known.sa.replay_window:
                first[sa.spi, sa.dst, sa.protocol] = entry
        else:
            text = f"{entry.origin}: SPI 0x{sa.spi:08x} to {sa.dst or 'any'} stands for another SA at {known.origin}"
            if not skip_bad:
                raise KeyFileError(text)
            warn(text)
    try:
        sad = SAD(capacity=max(len(first), 1), provider=provider)
    except ValueError as e:
        raise IpsecError(str(e)) from None
    added, handles = [], []
    for entry in first.values():
        try:
            handles.append(sad.add(entry.sa, direction="inbound", seq=entry.seq))
            added.append(entry)
        except (IpsecError, ValueError) as e:
            if not skip_bad:
                raise KeyFileError(f"{entry.origin}: {e}") from None
            warn(f"{entry.origin}: {e}")
    return sad, added, handles


class _Worker:
    """Decrypts chunks with one SAD and counts."""

    def __init__(self, sad: SAD, tally: Tally, jobs: int) -> None:
        import numpy as np

        from .. import PacketBatch, decapsulate

        self._np = np
        self._batch = PacketBatch
        self._decapsulate = decapsulate
        self._sad = sad
        self._tally = tally
        self._jobs = jobs

    def decrypt_chunk(self, chunk: ChunkBuffer) -> memoryview:
        """The chunk with its packets decrypted, as bytes to be written."""
        offset, length = chunk.offset, chunk.length
        self._tally.add_no_ip(chunk.count - len(offset))
        if not len(offset):
            return chunk.assemble()
        batch = self._batch(chunk.work, offset, length)
        result = self._decapsulate(batch, self._sad, threads=self._jobs)
        self._tally.add(result.handle, result.status, length)
        if (result.status == PacketStatus.NO_SA).any():
            spis = self._np.empty(len(offset), self._np.uint32)
            n = chunk.index.unknown_spis(chunk.raw, result.status, int(PacketStatus.NO_SA), spis)
            self._tally.add_unknown(spis[:n])
        return chunk.assemble(batch.offset, batch.length, result.status)
