"""Options that decrypt and encrypt share, without what takes time to load."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields

FILES = """\
CAPTURE is pcap or pcapng, plain or gzip; - is standard input.  Link types:
Ethernet (with VLAN tags), raw IP, Linux cooked v1 and v2, BSD loopback.
"""

OUTPUT = """\
OUT appears when it is complete; an interrupted run leaves nothing behind.
- is standard output; a name ending in .gz is compressed.
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    captures: Sequence[str]
    keys: Sequence[str]
    output: str
    json: bool = False
    strict: bool = False
    skip_bad_keys: bool = False
    provider: str | None = None
    jobs: int = 1
    quiet: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> Options:
        """From what the parser found."""
        return cls(**{f.name: getattr(args, f.name) for f in fields(cls)})


def add_options(parser: argparse.ArgumentParser, failure: str) -> None:
    """Add all but the captures; ``failure`` is what --strict does not accept."""
    parser.add_argument("--keys", metavar="FILE", nargs="+", action="extend", required=True, help="SAs with their keys")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="capture to write")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object on standard output")
    parser.add_argument("--strict", action="store_true", help=f"exit status 1 if {failure}")
    parser.add_argument("--skip-bad-keys", action="store_true", help="go on without the SAs that can't be used")
    parser.add_argument("--provider", metavar="NAME", help="crypto provider (see ipsecfast info)")
    parser.add_argument("--jobs", metavar="N", type=_jobs, default=1, help="threads; one of several writes")
    parser.add_argument("-q", "--quiet", action="store_true", help="no table and no progress bar")


MAX_JOBS = 65  # one more than the engine has threads


def _jobs(text: str) -> int:
    n = int(text)
    if not 1 <= n <= MAX_JOBS:
        raise argparse.ArgumentTypeError(f"got {n}, wanted 1 to {MAX_JOBS}")
    return n
