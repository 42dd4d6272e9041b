"""Options of ``pytest bench``, what runs, and what a run says about itself.  See ci/bench."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from common import Case, chosen, every
from test_peers import PEERS

import ipsecfast
from ipsecfast.provider import providers

NATIVE = [p for p in providers() if p.name != "reference"]


def _missing(module: str) -> str:
    try:
        importlib.import_module(module)
    except ImportError as error:
        return str(error)
    return ""


MISSING = {name: why for name, (module, _) in PEERS.items() if (why := _missing(module))}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every", action="store_true", help="all combinations (hours) instead of the chosen set")


def pytest_report_header() -> list[str]:
    left_out = {p.name: p.message for p in NATIVE if not p.available} | MISSING
    return [f"left out: {name}: {why}" for name, why in left_out.items()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    available = [p.name for p in NATIVE if p.available]
    if "case" in metafunc.fixturenames:
        listed = every if metafunc.config.getoption("every") else chosen
        cases: list[Case] = [case for name in available for case in listed(name)]
        metafunc.parametrize("case", cases, ids=str)
    if "provider" in metafunc.fixturenames:
        metafunc.parametrize("provider", available)
    if "peer" in metafunc.fixturenames:
        metafunc.parametrize("peer", [name for name in PEERS if name not in MISSING])


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    serving = {p.name: f"{p.version} ({p.cpu_path})" for p in providers() if p.available}
    others = {
        name: importlib.import_module(name).__version__ for name in ("scapy", "cryptography") if name not in MISSING
    }
    machine_info["versions"] = {"ipsecfast": ipsecfast.__version__} | serving | others
