"""``ipsecfast caps``: what a card with these keywords reports, as a table or as JSON."""

from __future__ import annotations

import argparse
from typing import Any

DESCRIPTION = """\
Show what an adapter reports to NDIS: its hardware capabilities, and the default
configuration that the registry keywords leave on (NDIS_OFFLOAD of both).
"""


class _Formatter(argparse.HelpFormatter):
    def add_text(self, text: str | None) -> None:
        if text and "PROFILES" in text:
            from .capabilities import profiles

            text = text.replace("PROFILES", profiles())
        super().add_text(text)


def add_parser(commands: Any) -> None:
    """Add the sub-command to argparse's ``commands``."""
    parser = commands.add_parser(
        "caps",
        help="show the offload capabilities that a network card reports",
        description=DESCRIPTION,
        epilog="Profiles: PROFILES.",
        formatter_class=_Formatter,
    )
    parser.add_argument("--registry", metavar="FILE", help="keywords: a .reg export or an INF (default: none set)")
    parser.add_argument("--key", help="end of the adapter's registry key, or the INF's section, if FILE has several")
    parser.add_argument(
        "--profile", default="windows-certified", metavar="NAME", help="hardware (default: %(default)s)"
    )
    parser.add_argument("--ndis", default="6.30", metavar="VERSION", help="NDIS version (default: %(default)s)")
    parser.add_argument("--abi", default="x64", choices=["x64", "x86"], help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit status: 0.  Raises IpsecError for what is wrong with the arguments or the file."""
    # The card is loaded here, so that no other command waits for it.
    from .capabilities import run

    return run(args)
