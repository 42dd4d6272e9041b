"""The tables of a run, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import targets
from cells import DIRECTIONS, SIZES, Cell
from results import Group, Run

Rows = list[list[str]]


def markdown(head: Sequence[str], rows: Rows) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def heading(run: Run) -> str:
    """Machine, libraries and revision of a run, and how it was measured."""
    a, s = run.about, run.settings
    listed = ", ".join(f"{name} {version}" for name, version in a["versions"].items())
    lines = [
        f"Revision {a['revision']}, {a['when']}, `{s['command']}`.",
        f"CPU: {a['cpu']}; {', '.join(a['features'])}; {a['cores']} cores; load {a['load']} at the start.",
        f"{listed}; Python {a['python']}; {a['compiler']}; Linux {a['kernel']}.",
        f"{s['visits']} visits to every cell in turn, on core {s['core']}; quartiles {spread(run):.1%} apart.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def spread(run: Run) -> float:
    """The median cell's interquartile range over its median."""
    all_of_them = sorted(f.spread for g in run.groups.values() for both in g.figures.values() for f in both)
    return all_of_them[len(all_of_them) // 2] if all_of_them else 0.0


def times(group: Group, cell: Cell, rate: bool = True) -> str:
    """ns per packet encapsulating/decapsulating, and Gbit/s of payload; empty if it was not measured."""
    if cell not in group:
        return ""
    ns = [group.ns(cell, way) for way in DIRECTIONS]
    if min(ns) >= 1000:
        return "/".join(f"{x / 1000:.3g}" for x in ns) + " us"
    text = "/".join(f"{x:.0f}" for x in ns) + " ns"
    return text + (", " + "/".join(f"{cell.payload_bits / x:.1f}" for x in ns) + " G" if rate else "")


def across(groups: Iterable[Group], field: str, row_of: Callable[[Cell], str]) -> Rows:
    """Rows by `row_of`, columns by one field of the cell; the first row is the head."""
    found: dict[str, dict[Any, str]] = {}
    columns: dict[Any, None] = {}
    for group in groups:
        for cell in group.figures:
            value = getattr(cell, field)
            columns[value] = None
            found.setdefault(row_of(cell), {})[value] = times(group, cell)
    order = [size for size in SIZES if size in columns] if field == "size" else list(columns)
    rows = [[name, *(cells.get(value, "") for value in order)] for name, cells in found.items()]
    return [["", *(f"{value:,}" if isinstance(value, int) else str(value) for value in order)], *rows] if rows else []


def _named(run: Run, start: str) -> list[Group]:
    return [group for name, group in run.groups.items() if name.startswith(start)]


def _with_algorithm(cell: Cell) -> str:
    burst = f", bursts of {cell.batch}" if cell.who == "librte_ipsec" else ""
    return f"{cell.algorithm}, {cell.name}{burst}"


def sections(run: Run) -> Iterator[tuple[str, Rows]]:
    """(title, rows with the head first) of every table that has something in it."""
    yield (
        "Bytes behind the IP header; one SA, batches of 256 packets, all in the cache",
        across(_named(run, "limit "), "size", _with_algorithm),
    )
    for group in (*_named(run, "batch "), *_named(run, "SAs "), *_named(run, "modes "), *_named(run, "threads ")):
        kind, size = group.name.split()[0], group.name.split()[-1]
        field, title = {
            "batch": ("batch", "Packets in a batch"),
            "SAs": (
                "sas",
                "SAs, drawn at random for every packet; batches of 256, the caches emptied before every lap",
            ),
            "modes": ("mode", "Modes"),
            "threads": ("threads", "Threads; 64 SAs, batches of 4096"),
        }[kind]
        yield f"{title}; {size} B", across([group], field, _with_algorithm)
    yield "1024 SAs, drawn at random for every packet", across(_named(run, "1024 SAs"), "size", _with_algorithm)
    yield (
        "One packet a call, and the libraries' own single calls",
        across(_named(run, "alone "), "size", _with_algorithm),
    )
    yield "AH, and the bare MAC on the same bytes", across(_named(run, "ah "), "size", _with_algorithm)
    yield "Other implementations in Python, one packet a call", across(_named(run, "peers "), "size", _with_algorithm)
    yield "SAs", _sads(run)
    yield "Captures", _captures(run)
    yield "Instructions per packet of our own modules", _counts(run)


def _sads(run: Run) -> Rows:
    columns = {
        "made and checked a second": "make",
        "added a second": "add",
        "deleted a second": "delete",
        "bytes, inbound": "bytes inbound",
        "bytes, outbound": "bytes outbound",
        "of that, key schedule": "key schedule",
    }
    rows = [
        [f"{row['algorithm']}, {row['provider']}"]
        + [f"{row[key]:,.0f}" if key in row else "" for key in columns.values()]
        for row in run.extras.get("sads", {}).get("rows", ())
    ]
    return [["", *columns], *rows] if rows else []


def _captures(run: Run) -> Rows:
    found = run.extras.get("capture", {})
    rows = [
        [
            f"{'tshark' if name == 'tshark' else 'ipsecfast decrypt'}{f', {name}' if name != 'tshark' else ''}",
            f"{r['bytes_per_second'] / 1e9:.3f}",
            f"{r['cpu_seconds']:.2f}" if "cpu_seconds" in r else "",
            f"{r['anonymous'] / 1e6:.0f}" if "anonymous" in r else "",
        ]
        for name, r in found.get("runs", {}).items()
        if "bytes_per_second" in r
    ]
    return [[f"{found['bytes'] / 1e9:.2f} GB", "GB/s", "CPU seconds", "anonymous memory, MB"], *rows] if rows else []


def _counts(run: Run) -> Rows:
    found = run.extras.get("counts", {}).get("rows", ())
    phases = list(dict.fromkeys(phase for row in found for phase in row.get("phases", ())))
    rows = [
        [row["name"], f"{row['total']:.0f}", *(f"{row['phases'].get(phase, 0):.0f}" for phase in phases)]
        for row in found
    ]
    return [["", "all", *phases], *rows] if rows else []


def render(run: Run, only_targets: bool = False) -> str:
    """Everything as text."""
    parts = [heading(run)]
    if left_out := "\n".join(f"- {why}" for why in run.left_out()):
        parts.append(f"Left out:\n\n{left_out}")
    if rows := targets.table(run):
        parts.append("### Targets\n\n" + markdown(["figure", "target", "measured", "met"], rows))
    if not only_targets:
        parts += [f"### {title}\n\n{markdown(rows[0], rows[1:])}" for title, rows in sections(run) if rows]
    return "\n\n".join(parts) + "\n"
