"""Cells that run in this process, with pytest-benchmark's statistics: ``pytest bench --benchmark-enable -k ...``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from cells import Cell, Direction, LeftOut
from works import work_of


def test_cell(benchmark: Any, cell: Cell, direction: Direction) -> None:
    try:
        work = work_of(cell)
    except LeftOut as error:
        pytest.skip(str(error))
    try:
        work.verify()
        timed, other = work.encapsulate, work.decapsulate
        if direction == "encapsulate":
            work.encapsulate()
        else:
            timed, other = other, timed
        benchmark.group = (
            f"{direction} {cell.algorithm} {cell.mode} {cell.size} B, batches of {cell.batch}, SAs: {cell.sas}"
        )
        benchmark.pedantic(timed, setup=lambda: (other(), None)[1], rounds=50, warmup_rounds=2)
        if direction == "encapsulate":
            work.decapsulate()
    finally:
        work.close()
    benchmark.extra_info.update(asdict(cell), direction=direction, name=cell.name)
    if benchmark.stats:
        ns = benchmark.stats.stats.median * 1e9 / cell.packets
        benchmark.extra_info.update(ns_per_packet=ns, gbit_per_s=cell.payload_bits / ns)
