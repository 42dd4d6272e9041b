"""``ipsecfast decrypt``: captures in, the same captures with their ESP packets decrypted out."""

from __future__ import annotations

import argparse
from typing import Any

from .options import FILES, OUTPUT, Options, add_options

DESCRIPTION = """\
Decrypt the ESP packets of captures.

OUT gets as many packets as the captures hold, in their order, with their link
layer and time stamps, in the first capture's file type.  A packet that decrypts
is replaced by what it carried; everything else is copied as it was.  A table
of what became of the packets goes to standard error.
"""

EPILOG = f"""\
{FILES}Captures of different link types need a pcapng as the first one.

Key files (recognised by content): SA files in JSON or TOML, the text of
`ip xfrm state`, Wireshark's esp_sa table.

{OUTPUT}
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
    add_options(parser, "an IPsec packet was not decrypted")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit status; raises IpsecError for what ends the run."""
    # numpy and the core are loaded here, so that --help does not wait for them.
    from .decryption import Decryption
    from .job import run

    return run(Options.of(args), Decryption)
