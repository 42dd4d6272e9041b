"""ipsecfast's own calls, per provider."""

from __future__ import annotations

from typing import Any

from common import Case, Flow
from report import record


def test_esp(benchmark: Any, case: Case) -> None:
    flow = Flow(case)
    flow.verify()
    timed, back = flow.encapsulate, flow.decapsulate
    if case.direction == "encapsulate":
        flow.encapsulate()
    else:
        timed, back = back, timed

    def put_back() -> None:
        assert back() == len(flow.packets)

    assert benchmark.pedantic(timed, setup=put_back, rounds=200, warmup_rounds=5) == len(flow.packets)
    record(benchmark, case, flow.packets)
