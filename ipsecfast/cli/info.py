"""``ipsecfast info``: version, crypto providers, their algorithms."""

from __future__ import annotations

import argparse
import platform
import textwrap
from typing import Any

from .._version import __version__


def add_parser(commands: Any) -> None:
    """Add the sub-command to argparse's ``commands``."""
    parser = commands.add_parser(
        "info",
        help="show version, crypto providers, algorithms and CPU path",
        description="Show the version, and each crypto provider with its algorithms, CPU path and known-answer result.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit status: 0."""
    import numpy as np

    from .. import providers

    print(f"ipsecfast {__version__} (Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()})")
    for p in providers():
        name = f"{p.name} {p.version}".strip()
        if not p.available:
            print(f"\n{name}: not available: {p.message}")
            continue
        about = [f"CPU path {p.cpu_path}"] if p.cpu_path else []
        print(f"\n{name}: {'; '.join([*about, p.message])}")
        print(textwrap.fill(", ".join(p.algorithms), 100, initial_indent="    ", subsequent_indent="    "))
    return 0
