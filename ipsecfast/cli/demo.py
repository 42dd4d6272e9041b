"""``ipsecfast demo``: the main job on a real capture that ships with the package."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import Any

from .options import Options

NAME = "ipsecfast-demo.pcap"
DESCRIPTION = """\
Decrypt a capture that ships with the package: 80 ESP packets of eight SAs with
different algorithms and modes, as a Linux 6.1 kernel sent them.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command to argparse's ``commands``."""
    parser = commands.add_parser(
        "demo",
        help="decrypt a real capture that ships with the package",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help=f"capture to write (default: {NAME} in the current folder, or in a new one for temporary files)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit status."""
    import tempfile  # here, so that no other command waits for these two
    from importlib.resources import as_file, files

    output = args.output
    if output is None:
        output = NAME if os.access(".", os.W_OK) else os.path.join(tempfile.mkdtemp(prefix="ipsecfast-"), NAME)
    from .decryption import Decryption
    from .job import convert

    data = files("ipsecfast") / "data"
    with as_file(data / "demo.pcap") as capture, as_file(data / "demo.keys.json") as keys:
        command = ["ipsecfast", "decrypt", str(capture), "--keys", str(keys), "-o", output]
        print(f"$ {shlex.join(command)}", file=sys.stderr)
        job, _ = convert(Options(captures=[str(capture)], keys=[str(keys)], output=output), Decryption)
    print(job.tally.as_table(), file=sys.stderr)
    print(f"The decrypted packets are in {output}: open it with Wireshark, or with tcpdump -nr.", file=sys.stderr)
    return 0
