"""The cells of plan.py under pytest-benchmark, one after the other.  In ci/bench they take turns."""

from __future__ import annotations

from typing import Any

import pytest
from about import about
from cells import DIRECTIONS
from plan import full, quick


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every", action="store_true", help="the cells of a full ci/bench instead of those of --quick")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        plans = full() if metafunc.config.getoption("every") else quick()
        # a process of its own keeps its time itself, and millions of SAs take minutes to make for every direction
        cells = {
            cell: None for plan in plans for cell in plan.cells if cell.who != "librte_ipsec" and cell.sas < 100_000
        }
        metafunc.parametrize("cell", list(cells), ids=str)
        metafunc.parametrize("direction", DIRECTIONS)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.update(about())
