"""Measure ipsecfast beside its ceilings and peers: see ci/bench."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from about import ROOT, about
from captures import measure_captures
from cells import LeftOut
from counts import CELLS, count
from measure import measure
from phases import by_phase
from plan import Planned, full, quick
from plots import draw
from results import Run, Unlike, compare, read
from sads import measure_sads
from tables import render

DOCS = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- ci/bench --docs: begin -->", "<!-- ci/bench --docs: end -->"
EXTRAS = ("sads", "capture", "counts")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ci/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cells and visits: two to three minutes")
    parser.add_argument("--targets", action="store_true", help="print the targets' table only")
    parser.add_argument(
        "-k", metavar="TEXT", action="append", help=f"only groups with TEXT in their name ({', '.join(EXTRAS)} too)"
    )
    parser.add_argument("--list", action="store_true", help="name the groups and end")
    parser.add_argument("--visits", type=int, metavar="N", help="visits to every cell (default 60; quick: 11)")
    parser.add_argument("--capture-size", type=float, metavar="GB", help="of the capture to decrypt (default 1)")
    parser.add_argument("--core", type=int, metavar="N", help="the core to run on (default: the last one allowed)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results there (default: bench-results.json)"
    )
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="draw the plots there (default: bench-plots; docs/plots with --docs)"
    )
    parser.add_argument("--docs", action="store_true", help="put tables and plots into docs/performance.md")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="source", help="measure nothing, take an earlier run's results"
    )
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="also print new time over that run's, if they can be compared"
    )
    return parser.parse_args()


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)


def _counted() -> dict[str, Any]:
    try:
        counts, _ = count()
    except LeftOut as error:
        return {"left_out": str(error)}
    ordered = sorted(counts.items(), key=lambda item: (CELLS.index(item[0][0]), item[0][1] == "decapsulate"))
    rows = [
        {
            "key": f"{cell} {way}",
            "name": f"{cell.algorithm}, {cell.provider}, {cell.mode}, {cell.size} B, batches of {cell.batch}, "
            f"SAs: {cell.sas}; {way}",
            "total": found.total,
            "phases": by_phase(found),
        }
        for (cell, way), found in ordered
    ]
    return {"rows": rows}


def _measure(args: argparse.Namespace, plans: list[Planned], extras: list[str]) -> Run:
    cores = os.sched_getaffinity(0)
    core = max(cores) if args.core is None else args.core
    if core not in cores:
        raise SystemExit(f"ci/bench: --core {core}: wanted one of {sorted(cores)}")
    visits = args.visits or (11 if args.quick else 60)
    command = " ".join(["ci/bench", *sys.argv[1:]])
    run = Run(
        about(), {"command": command, "visits": visits, "core": core, "quick": args.quick, "chosen": bool(args.k)}
    )
    for planned in plans:
        run.groups[planned.name] = measure(planned, visits, core, _progress)
    try:
        os.sched_setaffinity(0, {core})
        if "sads" in extras:
            _progress("SAs: rates and memory")
            run.extras["sads"] = measure_sads(3 if args.quick else 9)
    finally:
        os.sched_setaffinity(0, cores)
    if "capture" in extras:
        size = int((args.capture_size or 1.0) * 1e9)
        run.extras["capture"] = measure_captures(size, 2 if args.quick else 5, core, _progress)
    if "counts" in extras:
        _progress("instruction counts")
        run.extras["counts"] = _counted()
    _progress("")
    return run


def _document(run: Run, plots: list[Path]) -> None:
    """Replace what stands between the marks."""
    text = DOCS.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"ci/bench: {DOCS.name} has not one pair of marks {BEGIN} {END}")
    pictures = "\n\n".join(f"![{path.stem}](plots/{path.name})" for path in plots)
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCS.write_text(f"{before}{BEGIN}\n\n{render(run)}\n{pictures}\n\n{END}{after}")


def main() -> int:
    args = _arguments()
    wanted = args.k or [""]
    plans = [p for p in (quick() if args.quick else full()) if any(text in p.name for text in wanted)]
    extras = [name for name in EXTRAS if any(text in name for text in wanted)]
    if args.list:
        print("\n".join([*(f"{p.name}: {len(p.cells)} cells" for p in plans), *extras]))
        return 0
    try:
        run = read(args.source) if args.source else _measure(args, plans, extras)
        if not args.source or args.json:
            run.write(args.json or Path("bench-results.json"))
        print(render(run, args.targets), end="")
        plots = []
        try:
            plots = draw(run, args.plots or (DOCS.parent / "plots" if args.docs else Path("bench-plots")))
            print(f"\nplots: {', '.join(map(str, plots)) or 'none'}")
        except LeftOut as error:
            print(f"\nleft out: {error}")
        if args.docs:
            _document(run, plots)
        if args.compare:
            for group, cell, way, ratio in compare(read(args.compare), run):
                print(f"{ratio:6.2f}  {group}: {cell}, {way}")
    except Unlike as error:
        print(f"ci/bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
