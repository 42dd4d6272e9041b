"""What the suite promises of itself: unlike things are not compared, growth is seen, dumps are read right."""

from __future__ import annotations

from pathlib import Path

import pytest
import regress
import targets
from cells import Cell
from counts import CELLS, Count, Counts, as_json, read_dump
from plan import PROVIDERS, crypto, full, ours, quick, rte
from results import Figure, Group, Run, Unlike, compare, read

ABOUT = {"cpu": "x", "kernel": "1", "python": "3", "compiler": "c", "versions": {"ipsec-mb": "1.3", "ipsecfast": "1"}}


def figures(encapsulate: float, decapsulate: float) -> tuple[Figure, Figure]:
    return Figure(encapsulate, encapsulate, encapsulate, 3), Figure(decapsulate, decapsulate, decapsulate, 3)


def run_of(figure: float, **about: object) -> Run:
    group = Group("limit AES-128-GCM 64", {ours(): figures(2 * figure, 3 * figure), crypto(): figures(figure, figure)})
    return Run({**ABOUT, **about}, {}, {group.name: group})


def test_a_ratio_names_what_may_differ() -> None:
    group = run_of(10).groups["limit AES-128-GCM 64"]
    assert group.ratio(ours(), crypto(), "decapsulate", {"who"}) == pytest.approx(3)
    assert group.above(ours(), crypto(), "encapsulate", {"who"}) == pytest.approx(10)
    with pytest.raises(Unlike, match="batch"):
        group.ratio(ours(batch=32), crypto(), "encapsulate", {"who"})
    with pytest.raises(KeyError):
        group.ratio(ours(size="1420"), crypto(size="1420"), "encapsulate", {"who"})


def test_runs_of_other_machines_or_libraries_are_refused() -> None:
    old, new = run_of(10), run_of(20, versions={"ipsec-mb": "1.3", "ipsecfast": "2"})
    assert {ratio for *_, ratio in compare(old, new)} == {2.0}
    for other in ({"cpu": "y"}, {"versions": {"ipsec-mb": "2.0"}}, {"compiler": "d"}):
        with pytest.raises(Unlike, match=next(iter(other))):
            list(compare(old, run_of(20, **other)))


def test_a_written_run_is_read_back(tmp_path: Path) -> None:
    run = run_of(10)
    run.groups["limit AES-128-GCM 64"].left_out[rte(32)] = "not here"
    run.write(tmp_path / "run.json")
    again = read(tmp_path / "run.json")
    assert again.groups == run.groups
    assert list(again.left_out()) == ["not here"]


def test_targets_without_figures_are_neither_met_nor_missed() -> None:
    assert {row.met for row in targets.found(Run(ABOUT, {}))} == {None}
    rows = {row.what: row.met for row in targets.found(run_of(10))}
    assert rows["crypto alone / full ESP, 64 B"] is False


def test_plans() -> None:
    names = [plan.name for plan in full()]
    assert len(names) == len(set(names))
    assert {plan.name for plan in quick()} <= set(names)
    for plan in full():
        assert len(plan.cells) == len(set(plan.cells))
        assert all(cell.packets % cell.batch == 0 for cell in plan.cells)
    assert {cell.provider for plan in quick() for cell in plan.cells if cell.who == "ipsecfast"} == {*PROVIDERS, "auto"}


DUMP = """\
events: Ir
ob=(1) /usr/lib/python3/ipsecfast/core/_inbound.cpython-311-x86_64-linux-gnu.so
fl=(1) /src/ipsecfast/core/_inbound.c
fn=(1) chunk
100 50
+5 20
cob=(2) /usr/lib/libcrypto.so.3
cfn=(2) EVP_CipherUpdate
calls=3 0
* 7000
-1 30
fi=(2) ipsecfast/core/other.h
7 10

ob=(2)
fl=(3) evp.c
fn=(2)
1 7000
"""


def test_callgrind_counts_are_our_own_modules_self_cost() -> None:
    count = read_dump(iter(DUMP.splitlines(keepends=True)), 10)
    assert count.modules == {"_inbound": 11.0}
    assert count.lines == {
        ("_inbound.c", 100): 5.0,
        ("_inbound.c", 105): 2.0,
        ("_inbound.c", 104): 3.0,
        ("other.h", 7): 1.0,
    }


@pytest.mark.parametrize(("factor", "status"), [(0.5, 0), (1.0, 0), (1.029, 0), (1.031, 1)])
def test_growth_above_the_limit_fails(
    factor: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def counts(n: float) -> Counts:
        return {(cell, "encapsulate"): Count({"_outbound": n}) for cell in CELLS}

    monkeypatch.setattr(regress, "BASELINE", tmp_path / "baseline.json")
    regress.update("gcc 1, x", counts(100.0))
    assert regress.check("gcc 2, x", counts(100.0)) == 0
    assert "not checked" in capsys.readouterr().out
    assert regress.check("gcc 1, x", counts(100 * factor)) == status
    assert ("FAILED" in capsys.readouterr().out) is bool(status)


def test_counted_cells_are_stored_by_name() -> None:
    counts: Counts = {(Cell("ipsecfast", "libcrypto"), "encapsulate"): Count({"_outbound": 1.25})}
    assert as_json(counts)[0]["modules"] == {"_outbound": 1.25}
