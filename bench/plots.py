"""The plots of a run, as PNG files.  Left out with a line where matplotlib is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cells import DIRECTIONS, SIZES, Cell, Direction, LeftOut
from phases import PHASES
from plan import GCM, crypto, ours
from results import Group, Run


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise LeftOut(f"plots: {error}") from None
    return plt


def _style(cell: Cell) -> dict[str, Any]:
    """The same look for the same worker in every plot."""
    colours = {"ipsec-mb": "tab:blue", "libcrypto": "tab:orange", "auto": "tab:green", "c-loop": "black"}
    colours |= {"librte_ipsec": "tab:red", "cryptography": "tab:purple", "pycryptodome": "tab:brown"}
    colours |= {"reference": "tab:pink", "scapy": "tab:gray"}
    dashes = {"ipsecfast": "-", "crypto": ":"}
    return {
        "color": colours.get(cell.who) or colours.get(cell.provider),
        "linestyle": dashes.get(cell.who, "--"),
        "marker": "o",
        "markersize": 3,
    }


def _label(cell: Cell) -> str:
    names = {"crypto": "crypto alone", "c-loop": "loop in C"}
    return f"{names.get(cell.who, cell.who)}{', ' + cell.provider if cell.provider else ''}"


Series = dict[str, tuple[Cell, list[tuple[float, float]]]]


def _series(groups: Iterable[Group], x: Callable[[Cell], float], y: Callable[[Group, Cell], float]) -> Series:
    """Points of every worker, in order; the better one where there are two at one place."""
    found: dict[str, tuple[Cell, dict[float, float]]] = {}
    for group in groups:
        for cell in group.figures:
            points = found.setdefault(_label(cell), (cell, {}))[1]
            value = y(group, cell)
            points[x(cell)] = min(value, points.get(x(cell), value))
    return {label: (cell, sorted(points.items())) for label, (cell, points) in found.items()}


def _lines(
    plt: Any, path: Path, title: str, xlabel: str, ylabel: str, series: Callable[[Direction], Series], **scales: str
) -> list[Path]:
    """One picture, a half for each direction."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    drawn = 0
    for axis, way in zip(axes, DIRECTIONS, strict=True):
        for label, (cell, points) in series(way).items():
            axis.plot(*zip(*points, strict=True), label=label, **_style(cell))
            drawn += 1
        axis.set(title=way, xlabel=xlabel, **scales)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(ylabel)
    figure.suptitle(title)
    if not drawn:
        plt.close(figure)
        return []
    axes[1].legend(fontsize="x-small", handlelength=3)
    return _save(plt, figure, path)


def _save(plt: Any, figure: Any, path: Path) -> list[Path]:
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return [path]


def _mean(size: str) -> float:
    return sum(SIZES[size]) / len(SIZES[size])


def _phases(plt: Any, path: Path, run: Run) -> list[Path]:
    """Time over crypto alone, split as our instructions are; below it the measured time of crypto alone."""
    counted = {row["key"]: row["phases"] for row in run.extras.get("counts", {}).get("rows", ()) if row.get("phases")}
    bars: list[tuple[str, float, dict[str, float]]] = []
    for size in ("64", "1420"):
        group = run.group(f"limit {GCM} {size}")
        for provider in ("ipsec-mb", "libcrypto"):
            a, b = ours(provider, size=size), crypto(provider, size=size)
            for way in DIRECTIONS:
                shares = counted.get(f"{a} {way}")
                if shares and a in group and b in group:
                    own = max(group.above(a, b, way, {"who"}), 0)
                    whole = sum(shares.values())
                    parts = {phase: own * n / whole for phase, n in shares.items()}
                    bars.append((f"{provider}\n{size} B {way[:5]}", group.ns(b, way), parts))
    if not bars:
        return []
    figure, axis = plt.subplots(figsize=(11, 4.5))
    names = [name for name, _, _ in bars]
    base = [ns for _, ns, _ in bars]
    axis.bar(names, base, color="lightgray", label="crypto alone (measured)")
    for i, phase in enumerate(PHASES):
        heights = [parts.get(phase, 0.0) for _, _, parts in bars]
        axis.bar(names, heights, bottom=base, color=plt.get_cmap("tab10")(i), label=phase)
        base = [low + height for low, height in zip(base, heights, strict=True)]
    axis.set(ylabel="ns per packet")
    axis.tick_params(axis="x", labelsize="x-small")
    axis.legend(fontsize="x-small")
    figure.suptitle(f"Where the time goes, {GCM}: own time split as the instructions are (callgrind)")
    return _save(plt, figure, path)


def draw(run: Run, folder: Path) -> list[Path]:
    """Write every plot that the run has figures for; their paths."""
    plt = _pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{run.about['cpu']}, {run.about['revision']}"
    paths: list[Path] = []
    sizes = [g for n, g in run.groups.items() if n.startswith((f"limit {GCM} ", f"peers {GCM} "))]
    paths += _lines(
        plt,
        folder / "size.png",
        f"ns per packet, {GCM}, one SA ({about})",
        "bytes behind the IP header",
        "ns per packet",
        lambda way: _series(sizes, lambda cell: _mean(cell.size), lambda g, cell: g.ns(cell, way)),
        xscale="log",
        yscale="log",
    )
    for name, xlabel, field in (
        ("batch", "packets in a batch", "batch"),
        ("SAs", "SAs", "sas"),
        ("threads", "threads", "threads"),
    ):
        for group in [g for n, g in run.groups.items() if n.startswith(f"{name} ")]:
            size = group.name.split()[-1]
            paths += _lines(
                plt,
                folder / f"{name.lower()}-{'-'.join(group.name.split()[1:])}.png".replace("+", "-"),
                f"Throughput, {next(iter(group.figures)).algorithm if group.figures else ''}, {size} B ({about})",
                xlabel,
                "million packets a second",
                lambda way, g=group, f=field: _series(  # type: ignore[misc]
                    [g], lambda cell: float(getattr(cell, f)), lambda g, cell: 1000 / g.ns(cell, way)
                ),
                xscale="linear" if name == "threads" else "log",
            )
    return paths + _phases(plt, folder / "phases.png", run)
