"""Has our own code become slower?  Instructions per packet against those stored for this compiler: see ci/regress.

Exit status: 0 within the limit, or nothing to compare with (a line says so); 1 above it; 2 it could not be run.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cells import LeftOut, cell_of
from counts import CELLS, Counts, as_json, count
from phases import by_function, by_phase

import ipsecfast.core

BASELINE = Path(__file__).with_name("baseline.json")
LIMIT = 0.03
_CYTHON = re.compile(rb"_cython_(\d+_\d+_\w+)")
_COMPILED = re.compile(rb"(GCC: \([^)]*\) [\d.]+|clang version [\d.]+)")


def _core() -> Path:
    """The installed engine; raises LeftOut where it is not compiled."""
    folder = Path(ipsecfast.core.__path__[0])
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (module := folder / f"_engine{suffix}").exists():
            return module
    raise LeftOut(f"regression check: there is no compiled core in {folder}")


def built_with() -> str:
    """The compiler that made the installed core, as it noted itself in it, architecture and Python."""
    found = _COMPILED.search(_core().read_bytes())
    name = re.sub(r"\([^)]*\) ", "", found[1].decode().replace("GCC: ", "gcc ")) if found else "unknown compiler"
    return f"{name}, {platform.machine()}, Python {sys.version_info.major}.{sys.version_info.minor}"


def made_with() -> dict[str, str]:
    """What else shapes the code a little; Cython leaves its version in the name of a module that it shares."""
    found = _CYTHON.search(_core().read_bytes())
    return {
        "python": platform.python_version(),
        "cython": ".".join(found[1].decode().split("_")) if found else "unknown",
    }


Changes = Iterator[tuple[str, float, float, float]]


def changes(old: list[dict[str, Any]], counts: Counts) -> Changes:
    """(cell and direction, instructions before, now, growth) for every count that there is of both."""
    before = {(cell_of(row["cell"]), row["direction"]): sum(row["modules"].values()) for row in old}
    for (cell, way), found in sorted(counts.items(), key=lambda item: (CELLS.index(item[0][0]), item[0][1])):
        if (cell, way) in before:
            then = before[cell, way]
            yield f"{cell}, {way}", then, found.total, found.total / then - 1


def _stored() -> dict[str, Any]:
    return dict(json.loads(BASELINE.read_text())) if BASELINE.exists() else {}


def update(key: str, counts: Counts) -> None:
    """Store these counts for this compiler; those of other compilers stay."""
    stored = _stored() | {key: made_with() | {"counts": as_json(counts)}}
    BASELINE.write_text(json.dumps(dict(sorted(stored.items())), indent=1) + "\n")
    print(f"{BASELINE.name}: stored {len(counts)} counts for {key}")


def check(key: str, counts: Counts) -> int:
    """Print every change, and say what is above the limit."""
    entry = _stored().get(key)
    if entry is None:
        print(f"not checked: {BASELINE.name} has no counts for {key}; `ci/regress --update` stores them")
        return 0
    found = list(changes(entry["counts"], counts))
    above = [name for name, _, _, growth in found if growth > LIMIT]
    width = max((len(name) for name, *_ in found), default=0)
    for name, then, now, growth in found:
        print(
            f"{name:{width}} {then:9.1f} {now:9.1f} {growth:+8.1%}{'  <-- above the limit' if growth > LIMIT else ''}"
        )
    if others := {k: (entry[k], now) for k, now in made_with().items() if entry[k] != now}:
        print("note: " + ", ".join(f"{k} was {then}, is {now}" for k, (then, now) in others.items()))
    if above:
        print(f"FAILED: {len(above)} of {len(found)} counts grew by more than {LIMIT:.0%} ({key})")
        print("If that is meant, `ci/regress --update` stores the new ones; say why in the commit.")
        return 1
    print(f"all {len(found)} counts are within +{LIMIT:.0%} of {BASELINE.name} ({key})")
    return 0


def show(counts: Counts) -> None:
    """Where the instructions go, by phase and function."""
    for (cell, way), found in sorted(counts.items(), key=lambda item: (CELLS.index(item[0][0]), item[0][1])):
        print(f"\n{cell}, {way}: {found.total:.1f} instructions per packet")
        print("  " + ", ".join(f"{phase} {n:.0f}" for phase, n in by_phase(found).items()))
        for name, n in by_function(found).items():
            if n >= 1:
                print(f"  {n:8.1f}  {name}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="ci/regress", description=__doc__.split("\n")[0])
    parser.add_argument("--update", action="store_true", help=f"store this run's counts in bench/{BASELINE.name}")
    parser.add_argument("--functions", action="store_true", help="also print where the instructions go, by function")
    parser.add_argument("-k", metavar="TEXT", default="", help="only cells whose name has it (never stored)")
    args = parser.parse_args()
    if args.update and args.k:
        parser.error("--update stores all cells: it can't go with -k")
    chosen = tuple(cell for cell in CELLS if args.k in str(cell))
    try:
        key = built_with()
        counts, left_out = count(chosen)
    except LeftOut as error:
        print(f"not checked: {error}")
        return 2 if args.update else 0
    for cell, why in left_out.items():
        print(f"left out: {cell}: {why}")
    if args.functions:
        show(counts)
    if args.update:
        update(key, counts)
        return 0
    return check(key, counts)


if __name__ == "__main__":
    sys.exit(main())
