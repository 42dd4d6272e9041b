"""What one run found, as it stands in the JSON file, and the rules of comparing.

Times are ns per packet.  A ratio is taken between cells of one group of one run, which were measured in turn, and only
where they differ in nothing but what is named; two runs are compared only if machine and libraries are the same.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cells import DIRECTIONS, Cell, Direction, cell_of

FORMAT = 1


class Unlike(Exception):
    """Two things that must not be compared; the text says in what they differ."""


@dataclass(frozen=True)
class Figure:
    """Median of all visits' medians, and their quartiles."""

    median: float
    low: float
    high: float
    visits: int

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def figure_of(samples: list[float]) -> Figure:
    if len(samples) < 2:
        return Figure(samples[0], samples[0], samples[0], 1)
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Figure(median, low, high, len(samples))


@dataclass
class Group:
    """Cells that were measured in turn, and those that were not, with the reason."""

    name: str
    figures: dict[Cell, tuple[Figure, Figure]] = field(default_factory=dict)
    left_out: dict[Cell, str] = field(default_factory=dict)

    def __contains__(self, cell: Cell) -> bool:
        return cell in self.figures

    def ns(self, cell: Cell, direction: Direction) -> float:
        """ns per packet; KeyError if the cell is not of this group."""
        return self.figures[cell][DIRECTIONS.index(direction)].median

    def ratio(self, upper: Cell, lower: Cell, direction: Direction, differ: set[str]) -> float:
        """Time of one cell over that of another; raises Unlike unless they differ only in the named fields."""
        if extra := upper.differs(lower) - differ:
            raise Unlike(f"{upper} and {lower} differ in {', '.join(sorted(extra))} as well")
        return self.ns(upper, direction) / self.ns(lower, direction)

    def above(self, upper: Cell, lower: Cell, direction: Direction, differ: set[str]) -> float:
        """ns per packet that one cell takes longer than another, under the same rule."""
        return self.ns(lower, direction) * (self.ratio(upper, lower, direction, differ) - 1)


@dataclass
class Run:
    """Everything that one call of ci/bench found."""

    about: dict[str, Any]
    settings: dict[str, Any]
    groups: dict[str, Group] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)

    def group(self, name: str) -> Group:
        """An empty one if it was not run."""
        return self.groups.get(name, Group(name))

    def left_out(self) -> Iterator[str]:
        """Reasons, each once."""
        seen: dict[str, None] = {}
        for group in self.groups.values():
            seen.update(dict.fromkeys(group.left_out.values()))
        for extra in self.extras.values():
            parts = [extra, *extra.get("rows", ()), *extra.get("runs", {}).values()]
            seen.update((part["left_out"], None) for part in parts if "left_out" in part)
        return iter(seen)

    def write(self, path: Path) -> None:
        groups = [
            {
                "name": group.name,
                "cells": [
                    {"cell": asdict(cell)} | {way: asdict(f) for way, f in zip(DIRECTIONS, both, strict=True)}
                    for cell, both in group.figures.items()
                ],
                "left_out": [{"cell": asdict(cell), "why": why} for cell, why in group.left_out.items()],
            }
            for group in self.groups.values()
        ]
        content = {"format": FORMAT, "about": self.about, "settings": self.settings, "groups": groups}
        path.write_text(json.dumps(content | {"extras": self.extras}, indent=1) + "\n")


def read(path: Path) -> Run:
    """A run that was written before; raises Unlike if it is of another format."""
    content = json.loads(path.read_text())
    if content.get("format") != FORMAT:
        raise Unlike(f"{path}: format {content.get('format')}, wanted {FORMAT}")
    run = Run(content["about"], content["settings"], extras=content["extras"])
    for entry in content["groups"]:
        group = run.groups[entry["name"]] = Group(entry["name"])
        for row in entry["cells"]:
            encapsulate, decapsulate = (Figure(**row[way]) for way in DIRECTIONS)
            group.figures[cell_of(row["cell"])] = encapsulate, decapsulate
        group.left_out = {cell_of(row["cell"]): row["why"] for row in entry["left_out"]}
    return run


# what must be equal in two runs whose times are compared
_SAME = ("cpu", "kernel", "python", "compiler", "versions")


def compare(old: Run, new: Run) -> Iterator[tuple[str, Cell, Direction, float]]:
    """(group, cell, direction, new time over old time); raises Unlike for runs of different machines or libraries."""
    for name in _SAME:
        a, b = old.about.get(name), new.about.get(name)
        if name == "versions" and a and b:
            a, b = ({k: v for k, v in x.items() if k != "ipsecfast"} for x in (a, b))
        if a != b:
            raise Unlike(f"these runs can't be compared: {name}: {a} and {b}")
    for name, group in new.groups.items():
        before = old.group(name)
        for cell in group.figures:
            if cell in before:
                for way in DIRECTIONS:
                    yield name, cell, way, group.ns(cell, way) / before.ns(cell, way)
