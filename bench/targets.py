"""The targets of the datapath, each with what a run found.

Unless said otherwise: AES-128-GCM, transport mode, ipsec-mb, one SA, batches of 256 packets in the cache, one core;
pairs are encapsulate / decapsulate.  Every ratio is one of cells that were measured in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cells import ALGORITHMS, DIRECTIONS, Cell, Direction
from plan import AH, CBC, COLD, ENDS, GCM, INTERLEAVED, PROVIDERS, RTE_BURSTS, c_loop, crypto, ours, peer, rte
from results import Group, Run

WHO = {"who"}
NOT_MEASURED = "not measured"
PEER = {"who", "provider", "batch"}


@dataclass(frozen=True)
class Found:
    """One measured figure of a target; `met` is None where it was not measured."""

    what: str
    goal: str
    measured: str
    met: bool | None


def _row(what: str, values: list[float], goals: tuple[float, ...], at_most: bool, form: str, sign: str = "") -> Found:
    sign = sign or ("<=" if at_most else ">=")
    pairs = [*zip(values, goals * len(values), strict=False)]
    met = all(value <= goal if at_most else value >= goal for value, goal in pairs)
    return Found(
        what, f"{sign} {' / '.join(f'{goal:{form}}' for goal in goals)}", " / ".join(f"{v:{form}}" for v in values), met
    )


def _missing(what: str, goal: str, why: str = NOT_MEASURED) -> Found:
    return Found(what, goal, why, None)


def _both(take: Callable[[Direction], float]) -> list[float] | None:
    """The figure of both directions, or None if a cell was not measured."""
    try:
        return [take(way) for way in DIRECTIONS]
    except KeyError:
        return None


def _pair(
    group: Group, what: str, take: Callable[[Direction], float], goals: tuple[float, ...], at_most: bool, form: str
) -> Found:
    values = _both(take)
    if values is None:
        reason = next(iter(dict.fromkeys(group.left_out.values())), NOT_MEASURED)
        return _missing(what, ("<= " if at_most else ">= ") + " / ".join(f"{g:{form}}" for g in goals), reason)
    return _row(what, values, goals, at_most, form)


def _limits(run: Run) -> Iterator[Found]:
    for size in ENDS:
        group, a, b, c = run.group(f"limit {GCM} {size}"), ours(size=size), crypto(size=size), c_loop(size=size)
        own = _both(lambda way, g=group, a=a, b=b: g.above(a, b, way, WHO))  # type: ignore[misc]
        loop = _both(lambda way, g=group, c=c, b=b: g.above(c, b, way, WHO))  # type: ignore[misc]
        what = f"own time over crypto alone, {size} B, ns"
        if own and loop:
            goals = tuple(x + 4 for x in loop)
            yield _row(what, own, goals, True, ".1f")
        else:
            yield _missing(what, "<= the loop in C + 4")
    for size, goals in (("1420", (0.93, 0.91)), ("64", (0.80, 0.78))):
        group, a, b = run.group(f"limit {GCM} {size}"), ours(size=size), crypto(size=size)
        take = lambda way, g=group, a=a, b=b: g.ratio(b, a, way, WHO)  # noqa: E731
        yield _pair(group, f"crypto alone / full ESP, {size} B", take, goals, False, ".2f")


def _best(group: Group, cells: list[Cell], way: Direction) -> Cell:
    """The peer's faster setting in this direction; KeyError if none was measured."""
    return min((cell for cell in cells if cell in group), key=lambda cell: group.ns(cell, way), default=cells[0])


def _over_rte(run: Run, name: str, what: str, goals: tuple[float, ...], **fields: Any) -> Found:
    group, a = run.group(name), ours(**fields)
    theirs = [rte(burst, **fields) for burst in RTE_BURSTS]
    return _pair(
        group,
        f"over librte_ipsec, {what}",
        lambda way: group.ratio(_best(group, theirs, way), a, way, PEER),
        goals,
        False,
        ".2f",
    )


def _peers(run: Run) -> Iterator[Found]:
    yield _over_rte(run, f"limit {GCM} 64", "1 SA, 64 B", (2.0, 2.5), size="64")
    yield _over_rte(run, f"limit {GCM} 1420", "1 SA, 1420 B", (1.3, 1.5), size="1420")
    yield _over_rte(run, "1024 SAs 64", "1024 SAs, 64 B", (4.0, 4.5), size="64", sas=1024, packets=INTERLEAVED)
    for size, goal in (("64", 1.8), ("1420", 1.4)):
        yield _over_rte(run, f"limit {CBC} {size}", f"{CBC}, {size} B", (goal,), size=size, algorithm=CBC)
    for name, goals in (("cryptography", (45, 23)), ("scapy", (6500, 2900))):
        for size, goal in zip(ENDS, goals, strict=True):
            group, a, b = run.group(f"peers {GCM} {size}"), ours(size=size), peer(name, size=size)
            take = lambda way, g=group, a=a, b=b: g.ratio(b, a, way, PEER | {"packets"})  # noqa: E731
            yield _pair(
                group,
                f"over {'a loop over ' if name != 'scapy' else ''}{name}, {size} B",
                take,
                (goal,),
                False,
                ",.0f" if goal > 100 else ".1f",
            )


def _batches(run: Run) -> Iterator[Found]:
    group = run.group(f"batch {GCM} 64")
    small, large = (ours(batch=n) for n in (32, 256))
    yield _pair(
        group,
        "throughput of batches of 32 over 256, 64 B",
        lambda way: group.ratio(large, small, way, {"batch"}),
        (0.85,),
        False,
        ".3f",
    )
    group = run.group(f"alone {GCM} 64")
    yield _pair(group, "one packet a call, 64 B, us", lambda w: group.ns(ours(batch=1), w) / 1000, (0.6,), True, ".2f")
    for algorithm in ALGORITHMS:
        group = run.group(f"alone {algorithm} 64")
        what = {"algorithm": algorithm, "batch": 1}

        def above(way: Direction, group: Group = group, what: dict[str, Any] = what) -> float:
            single = [cell for p in PROVIDERS if (cell := crypto(p, **what)) in group]
            best = min(single, key=lambda cell: group.ns(cell, way), default=crypto(**what))
            return group.above(ours("auto", **what), best, way, {"who", "provider"}) / 1000

        yield _pair(
            group, f"{algorithm}, batch of one above a library's single call, 64 B, us", above, (0.5,), True, ".2f"
        )


def _sas(run: Run) -> Iterator[Found]:
    group = run.group("SAs 64")
    one, most = (ours(sas=n, packets=COLD, cold=True) for n in (1, 1_000_000))
    yield _pair(
        group,
        "1,000,000 SAs in random order over 1, 64 B, caches emptied",
        lambda way: group.ratio(most, one, way, {"sas"}),
        (6,),
        True,
        ".1f",
    )
    rows = [row for row in run.extras.get("sads", {}).get("rows", ()) if row["algorithm"] == GCM]
    for row in rows:
        what = "memory per SA and direction, bytes (out / in)"
        if row["provider"] == "ipsec-mb" and "left_out" in row:
            yield _missing(what, "<= key schedule + 300", row["left_out"])
        elif "key schedule" in row:
            values = [row["bytes outbound"], row["bytes inbound"]]
            yield _row(what, values, (row["key schedule"] + 300,), True, ",.0f")
        if "add" in row:
            yield _row(
                f"SAs added / deleted a second, {row['provider']}",
                [row["add"], row["delete"]],
                (200_000,),
                False,
                ",.0f",
            )
    if not rows:
        yield _missing("memory per SA; SAs added and deleted a second", "key schedule + 300 B; >= 200,000")


def _threads(run: Run) -> Iterator[Found]:
    for size, goal in (("1420", 1.85), ("64", 1.75)):
        group = run.group(f"threads {size}")
        one, two = (ours(size=size, sas=64, batch=4096, packets=8192, threads=n) for n in (1, 2))
        take = lambda way, g=group, a=one, b=two: g.ratio(a, b, way, {"threads"})  # noqa: E731
        yield _pair(group, f"two threads over one, 64 SAs, batches of 4096, {size} B", take, (goal,), False, ".2f")


def _captures(run: Run) -> Iterator[Found]:
    capture = run.extras.get("capture", {})
    runs = capture.get("runs", {})
    one, two, tshark = (runs.get(name, {}) for name in ("one core", "--jobs 2", "tshark"))
    speed = one.get("bytes_per_second")
    size = f"ipsecfast decrypt, {capture.get('bytes', 0) / 1e9:.2g} GB, one core"
    if not speed:
        yield _missing("ipsecfast decrypt, GB/s", ">= 1", one.get("left_out") or capture.get("left_out", NOT_MEASURED))
        return
    yield _row(f"{size}, GB/s", [speed / 1e9], (1.0,), False, ".2f")
    yield _row(f"{size}, anonymous memory, MB", [one["anonymous"] / 1e6], (200,), True, ".0f")
    for what, goal, upper, lower in (
        ("ipsecfast decrypt over tshark", 20, speed, tshark.get("bytes_per_second")),
        ("ipsecfast decrypt --jobs 2 over --jobs 1", 1.6, two.get("bytes_per_second"), speed),
    ):
        if upper and lower:
            yield _row(what, [upper / lower], (goal,), False, ".1f")
        else:
            other = two if "jobs" in what else tshark
            yield _missing(what, f">= {goal}", other.get("left_out", NOT_MEASURED))


def _modes(run: Run) -> Iterator[Found]:
    for size in ENDS:
        group = run.group(f"modes {size}")
        for mode in ("tunnel", "ipv6", "natt", "esn"):

            def times(way: Direction, group: Group = group, size: str = size, mode: str = mode) -> float:
                own = group.above(ours(size=size, mode=mode), crypto(size=size, mode=mode), way, WHO)
                return own / group.above(ours(size=size), crypto(size=size), way, WHO)

            yield _pair(group, f"{mode}, own time over transport mode's, {size} B", times, (2.0,), True, ".1f")


def _libcrypto(run: Run) -> Iterator[Found]:
    for algorithm in (GCM, CBC):
        for size in ENDS:
            group = run.group(f"limit {algorithm} {size}")
            a, b = (make("libcrypto", algorithm=algorithm, size=size) for make in (ours, crypto))
            take = lambda way, g=group, a=a, b=b: g.above(a, b, way, WHO)  # noqa: E731
            yield _pair(
                group, f"libcrypto, {algorithm}, {size} B: above the bare EVP calls, ns", take, (60,), True, ".0f"
            )


def _ah(run: Run) -> Iterator[Found]:
    for algorithm in AH:
        for size in ENDS:
            for provider in PROVIDERS:
                group = run.group(f"ah {algorithm} {size}")
                a, b = (make(provider, algorithm=algorithm, size=size, mode="ah") for make in (ours, crypto))
                take = lambda way, g=group, a=a, b=b: g.ratio(a, b, way, WHO)  # noqa: E731
                name = algorithm.removeprefix("NULL+")
                yield _pair(group, f"AH {name}, {provider}, {size} B, over the bare MAC", take, (1.3,), True, ".2f")


def found(run: Run) -> Iterator[Found]:
    """All targets in order."""
    for part in (_limits, _peers, _batches, _sas, _threads, _captures, _modes, _libcrypto, _ah):
        yield from part(run)


def table(run: Run) -> list[list[str]]:
    """Rows of text: figure, target, measured, met; of a run of chosen groups, what it measured."""
    words = {True: "yes", False: "**no**", None: ""}
    rows = [row for row in found(run) if row.measured != NOT_MEASURED or not run.settings.get("chosen")]
    return [[row.what, row.goal, row.measured, words[row.met]] for row in rows]
