"""The tables of one run, in Markdown: ``python bench/tables.py RESULTS.json``.

Reads what ``pytest bench --benchmark-json=RESULTS.json`` wrote.  Cells are encapsulate / decapsulate.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from common import ALGORITHMS, BATCHES, DIRECTIONS, SAS, SIZES, Case
from test_peers import PEERS

Row = list[str]


class Run:
    """One JSON file's results, looked up by case."""

    def __init__(self, path: Path) -> None:
        self.about: dict[str, Any] = json.loads(path.read_text())
        self.infos = [b["extra_info"] for b in self.about["benchmarks"]]
        fields = Case.__dataclass_fields__
        self._cases = {Case(**{f: i[f] for f in fields}): i for i in self.infos if "ns_per_packet" in i}

    def pair(self, field: str, algorithm: str, provider: str, **others: Any) -> list[float] | None:
        """The field's value in both directions, or None if the case was not run."""
        found = [self._cases.get(Case(way, algorithm, provider, **others)) for way in DIRECTIONS]
        return [info[field] for info in found if info] if all(found) else None

    def cell(self, algorithm: str, provider: str, **others: Any) -> str:
        ns = self.pair("ns_per_packet", algorithm, provider, **others)
        gbit = self.pair("gbit_per_s", algorithm, provider, **others)
        return f"{ns[0]:.0f}/{ns[1]:.0f} ns, {gbit[0]:.1f}/{gbit[1]:.1f} G" if ns and gbit else ""

    @property
    def providers(self) -> list[str]:
        return list(dict.fromkeys(case.provider for case in self._cases if case.provider not in PEERS))


def table(title: str, head: Row, rows: Iterable[Row]) -> None:
    """Print a table; rows without a single result are left out."""
    kept = [row for row in rows if any(row[len(row) - len(head) + 1 :])]
    if kept:
        lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *kept]]
        print(f"\n{title}\n\n" + "\n".join(lines))


def own(run: Run, head: str, names: Iterable[Any], others: Callable[[Any], dict[str, Any]]) -> None:
    """ipsecfast's results: an algorithm and provider a row, a value of what is varied a column."""
    columns = list(names)
    rows = [
        [f"{algorithm}, {provider}", *(run.cell(algorithm, provider, **others(name)) for name in columns)]
        for algorithm in ALGORITHMS
        for provider in run.providers
    ]
    table(head, ["", *map(str, columns)], [row for row in rows if sum(map(bool, row)) > 2])


def ratios(run: Run) -> None:
    """How many times as long a peer takes as ipsecfast in batches of 256."""
    rows = []
    for algorithm in ALGORITHMS:
        for size in SIZES:
            for peer in PEERS:
                row = [f"{algorithm}, {size} B, {peer}", ""]
                theirs = run.pair("ns_per_packet", algorithm, peer, size=size, batch=1)
                if theirs:
                    row[1] = f"{theirs[0] / 1000:.1f}/{theirs[1] / 1000:.1f}"
                for provider in run.providers:
                    ours = run.pair("ns_per_packet", algorithm, provider, size=size)
                    row.append(f"{theirs[0] / ours[0]:.0f}/{theirs[1] / ours[1]:.0f}" if theirs and ours else "")
                rows.append(row)
    head = ["peer, one packet a call", "us", *(f"over {provider}" for provider in run.providers)]
    table("Peer's time over ipsecfast's, one SA", head, rows)


def rates(run: Run) -> None:
    rates_of = {(i["algorithm"], i["provider"], i["call"]): i["per_second"] for i in run.infos if "per_second" in i}
    rows = [
        [f"{algorithm}, {provider}", *(f"{rates_of[algorithm, provider, call]:,.0f}" for call in ("add", "delete"))]
        for algorithm, provider, call in rates_of
        if call == "add"
    ]
    table("SAs a second, one a call", ["", "add", "delete"], rows)


def main(path: str) -> None:
    run = Run(Path(path))
    machine, commit = run.about["machine_info"], run.about["commit_info"]
    print(f"CPU: {machine['cpu'].get('brand_raw', 'unknown')}; Python {machine['python_version']}")
    print("; ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    print(f"revision: {commit.get('id', 'none')}{', with changes' if commit.get('dirty') else ''}")
    print("Cells: encapsulate/decapsulate, ns per packet and Gbit/s of payload; transport unless said.")
    own(run, "Size in bytes behind the IPv4 header; one SA, batches of 256", SIZES, lambda size: {"size": size})
    for size in ("64", "1420"):
        own(run, f"Batch, {size} B, one SA", BATCHES, lambda n, size=size: {"size": size, "batch": n})
        own(run, f"SAs in turn, {size} B, batches of 256", SAS, lambda n, size=size: {"size": size, "sas": n})
        modes = ("transport", "tunnel")
        own(run, f"Mode, {size} B, one SA, batches of 256", modes, lambda mode, size=size: {"size": size, "mode": mode})
    ratios(run)
    rates(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
