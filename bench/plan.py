"""Which cells are measured, in groups whose cells take turns; figures are compared within a group only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from cells import ALGORITHMS, BATCHES, SAS, SIZES, Cell
from peers import PEERS

GCM, CBC = "AES-128-GCM", "AES-CBC-128+SHA1"
PROVIDERS = ("ipsec-mb", "libcrypto")
ENDS = ("64", "1420")  # the sizes that targets are set for
AH = ("NULL+SHA1", "NULL+SHA256", "AES-128-GMAC")
COLD = 4096  # packets in a lap where SAs fall out of the cache
INTERLEAVED = 4096  # packets in a lap with 1024 SAs
RTE_BURSTS = (32, 256)  # the better of the two counts


@dataclass(frozen=True)
class Planned:
    """One group: its name, its cells, and whether it may use all cores."""

    name: str
    cells: tuple[Cell, ...]
    all_cores: bool = False


def ours(provider: str = "ipsec-mb", **fields: Any) -> Cell:
    return replace(Cell("ipsecfast", provider), **fields)


def crypto(provider: str = "ipsec-mb", **fields: Any) -> Cell:
    return replace(Cell("crypto", provider), **fields)


def c_loop(**fields: Any) -> Cell:
    return replace(Cell("c-loop", "ipsec-mb"), **fields)


def rte(burst: int, **fields: Any) -> Cell:
    return replace(Cell("librte_ipsec", "", batch=burst), **fields)


def peer(name: str, **fields: Any) -> Cell:
    return replace(Cell(name, "", batch=1, packets=64), **fields)


def limit(algorithm: str, size: str) -> Planned:
    """ipsecfast, both libraries alone, the loop in C, and librte_ipsec; everything in the cache."""
    what: dict[str, Any] = {"algorithm": algorithm, "size": size}
    cells = [*(ours(p, **what) for p in PROVIDERS), *(crypto(p, **what) for p in PROVIDERS)]
    if algorithm in (GCM, CBC, "AES-128-GMAC"):
        cells.append(c_loop(**what))
    if algorithm in (GCM, CBC) and size != "9000":
        cells += [rte(burst, **what) for burst in RTE_BURSTS]
    return Planned(f"limit {algorithm} {size}", tuple(cells))


def interleaved(size: str) -> Planned:
    """1024 SAs."""
    what: dict[str, Any] = {"size": size, "sas": 1024, "packets": INTERLEAVED}
    cells = [ours(**what), crypto(**what), c_loop(**what), *(rte(burst, **what) for burst in RTE_BURSTS)]
    return Planned(f"1024 SAs {size}", tuple(cells))


def batches(size: str, algorithm: str = GCM) -> Planned:
    cells = [ours(p, algorithm=algorithm, size=size, batch=n, packets=max(256, n)) for p in PROVIDERS for n in BATCHES]
    return Planned(f"batch {algorithm} {size}", tuple(cells))


def alone(algorithm: str, size: str = "64") -> Planned:
    """One packet a call, beside the libraries' own single calls."""
    what: dict[str, Any] = {"algorithm": algorithm, "size": size, "batch": 1}
    cells = [*(ours(p, **what) for p in ("auto", *PROVIDERS)), *(crypto(p, **what) for p in PROVIDERS)]
    return Planned(f"alone {algorithm} {size}", tuple(cells))


def many_sas(size: str, most: int) -> Planned:
    what: dict[str, Any] = {"size": size, "packets": COLD, "cold": True}
    cells = [ours(sas=n, **what) for n in SAS if n <= most]
    return Planned(f"SAs {size}", (*cells, *(c_loop(sas=n, **what) for n in SAS if n <= 16384)))


def modes(size: str) -> Planned:
    names = ("transport", "tunnel", "ipv6", "natt", "esn")
    cells = [make(size=size, mode=mode) for make in (ours, crypto) for mode in names]
    return Planned(f"modes {size}", tuple(cells))


def ah(algorithm: str, size: str) -> Planned:
    cells = [make(p, algorithm=algorithm, size=size, mode="ah") for make in (ours, crypto) for p in PROVIDERS]
    return Planned(f"ah {algorithm} {size}", tuple(cells))


def threads(size: str) -> Planned:
    """Powers of two up to the number of cores."""
    cores = len(os.sched_getaffinity(0))
    counts = [2**i for i in range(cores.bit_length()) if 2**i <= cores] if cores > 1 else [1, 2]
    cells = [ours(size=size, sas=64, batch=4096, packets=8192, threads=n) for n in counts]
    return Planned(f"threads {size}", tuple(cells), all_cores=True)


def peers(size: str, algorithm: str = GCM) -> Planned:
    what = {"algorithm": algorithm, "size": size}
    cells = (*(ours(p, **what) for p in PROVIDERS), *(peer(name, **what) for name in PEERS))
    return Planned(f"peers {algorithm} {size}", cells)


def quick() -> Iterator[Planned]:
    """All that the targets ask for, and the plots."""
    yield from (limit(GCM, size) for size in SIZES)
    yield from (limit(CBC, size) for size in ENDS)
    yield interleaved("64")
    yield batches("64")
    yield from (alone(algorithm) for algorithm in ALGORITHMS)
    yield many_sas("64", SAS[-1])
    yield from (modes(size) for size in ENDS)
    yield from (ah(algorithm, size) for algorithm in AH for size in ENDS)
    yield from (threads(size) for size in ENDS)
    yield from (peers(size) for size in ENDS)


def full() -> Iterator[Planned]:
    """Every algorithm at every size, and the rest at more sizes."""
    known = {planned.name: planned for planned in quick()}
    more: Iterable[Planned] = (
        *(limit(algorithm, size) for algorithm in ALGORITHMS for size in SIZES),
        *(interleaved(size) for size in ENDS),
        *(batches(size, algorithm) for algorithm in (GCM, CBC) for size in ENDS),
        *(alone(algorithm, size) for algorithm in ALGORITHMS for size in ENDS),
        many_sas("1420", 16384),
        *(threads(size) for size in SIZES),
        *(peers(size, algorithm) for algorithm in (GCM, CBC) for size in ENDS),
    )
    yield from (known | {planned.name: planned for planned in more}).values()
