"""The ``ipsecfast`` command: one module per sub-command, each with ``add_parser`` and ``run``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .._version import __version__
from ..errors import IpsecError
from . import caps, decrypt, demo, encrypt, info
from .terminal import Interrupted, complain

USAGE = 2


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ipsecfast",
        description="IPsec ESP on captures, in batches, at the speed of the crypto library.",
        epilog="Exit status: 0 done; 1 not all was done (--strict); 2 bad usage or input.",
    )
    parser.add_argument("--version", action="version", version=f"ipsecfast {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (decrypt, encrypt, demo, info, caps):
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` defaults to ``sys.argv[1:]``.  Returns the exit status.

    What is wrong with usage or input is one line on standard error and status 2; an interrupt is
    128 plus the signal's number, as of shells.
    """
    try:
        args = _parser().parse_args(argv)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except SystemExit as e:  # --help and --version
        return e.code if isinstance(e.code, int) else 0
    except (IpsecError, _UsageError) as e:
        complain(str(e))
    except Interrupted as e:
        return 128 + e.signum
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read standard output is gone; the interpreter must not complain of it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MemoryError:
        complain("out of memory")
    except OSError as e:
        complain(f"{e.filename}: {e.strerror}" if e.filename else str(e))
    return USAGE
