"""Cells of a group in turn: every visit takes them in another order, each with an untimed lap first.

A visit's figure is the median of its laps; a cell's is the median of its visits.  A lap in which the kernel gave the
core to somebody else says nothing and is run again, a few times.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

from cells import Cell, LeftOut
from flow import Lap, Work
from plan import Planned
from results import Figure, Group, figure_of
from works import work_of

VISIT_NS = 1_500_000  # a visit lasts about as long, and two laps at least
MOST_LAPS = 25
TRIES = 4


def _taken_away(work: Work) -> int:
    """How often the core was taken from who does the work."""
    if work.pid is None:
        return getrusage(RUSAGE_SELF).ru_nivcsw
    for line in Path(f"/proc/{work.pid}/status").read_text().splitlines():
        if line.startswith("nonvoluntary_ctxt_switches"):
            return int(line.split()[1])
    return 0


def _undisturbed_lap(work: Work) -> Lap:
    """Or the fastest of those that were tried."""
    tried: list[Lap] = []
    for _ in range(TRIES):
        before = _taken_away(work)
        tried.append(work.lap())
        if _taken_away(work) == before:
            return tried[-1]
    return min(tried, key=sum)


def _visit(work: Work, n: int) -> Lap:
    warm = sum(work.lap())
    laps = [_undisturbed_lap(work) for _ in range(max(2, min(MOST_LAPS, int(VISIT_NS / warm))))]
    return statistics.median(out for out, _ in laps) / n, statistics.median(back for _, back in laps) / n


def measure(planned: Planned, visits: int, core: int, progress: Callable[[str], None]) -> Group:
    """Run one group on one core, or on all that the process had when it began."""
    group = Group(planned.name)
    works: list[tuple[Cell, Work]] = []
    every_core = os.sched_getaffinity(0)
    with ExitStack() as undo:
        undo.callback(os.sched_setaffinity, 0, every_core)
        if not planned.all_cores:
            os.sched_setaffinity(0, {core})
        for cell in planned.cells:
            progress(f"{planned.name}: making ready {cell.name}")
            try:
                work = work_of(cell)
            except LeftOut as error:
                group.left_out[cell] = str(error)
                continue
            undo.callback(work.close)
            work.verify()
            works.append((cell, work))
        gc.collect()
        gc.disable()
        undo.callback(gc.enable)
        samples: dict[Cell, tuple[list[float], list[float]]] = {cell: ([], []) for cell, _ in works}
        draw = random.Random(planned.name)
        for visit in range(visits):
            progress(f"{planned.name}: visit {visit + 1} of {visits}")
            draw.shuffle(works)
            for cell, work in works:
                out, back = _visit(work, cell.packets)
                samples[cell][0].append(out)
                samples[cell][1].append(back)
        made: dict[Cell, tuple[Figure, Figure]] = {c: (figure_of(o), figure_of(b)) for c, (o, b) in samples.items()}
        group.figures = {cell: made[cell] for cell in planned.cells if cell in made}
    return group
