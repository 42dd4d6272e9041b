"""``ipsecfast encrypt``: a capture in, the same capture with the packets that selectors choose encrypted out."""

from __future__ import annotations

import argparse
from typing import Any

from .options import FILES, OUTPUT, Options, add_options

DESCRIPTION = """\
Encrypt packets of a capture.

The SAs' selectors are tried in the order of the key files; the first one that
matches a packet gives its SA, or its SAs from the innermost to the outermost.
OUT gets as many packets as the capture holds, in their order, with their link
layer and time stamps, in the capture's file type.  A chosen packet is replaced
by its protected form; everything else is copied as it was.  A table of what
became of the packets goes to standard error.
"""

EPILOG = f"""\
{FILES}
Key files: SA files in JSON or TOML, with a selector in each SA; the text of
`ip xfrm state`, where an SA of transport mode without a selector is for the
traffic between its own addresses.  Sequence numbers go on behind each SA's
seq: what is sent with numbers that were used before gives its secrets away,
so raise seq before the same keys are used again.

{OUTPUT}
In the table, NOT_IPSEC are the packets that no selector chose.

Exit status: 0 done; 1 with --strict, if a chosen packet was not encrypted;
2 bad usage or unreadable input, also for a capture that ends in the middle of
a packet (OUT then holds all that could be read).
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command to argparse's ``commands``."""
    parser = commands.add_parser(
        "encrypt",
        help="encrypt what selectors choose of a capture",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s CAPTURE --keys FILE... -o OUT [options]",
    )
    parser.add_argument("captures", metavar="CAPTURE", nargs=1, help="pcap or pcapng, plain or .gz")
    add_options(parser, "a packet that a selector chose was not encrypted")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit status; raises IpsecError for what ends the run."""
    from .encryption import Encryption
    from .job import run

    return run(Options.of(args), Encryption)
