"""Vector files: the selection in ``tests/data/vectors`` and, beside the repository, all of ``shared/vectors``.

Each file is ``{"kind", "origin", "licence", "count", "vectors": [...]}``; ``tests/data/ORIGIN.md`` says whose they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers import SHARED, TESTS

from ipsecfast import SecurityAssociation
from ipsecfast.alg import ENCRYPTION

Vector = dict[str, Any]
FOLDERS = {"data": TESTS / "data" / "vectors", "shared": SHARED / "vectors"}


def files(kind: str, least: int = 1, wanted: Callable[[Vector], bool] = lambda v: True) -> list[Any]:
    """One parameter for every file of a kind (the folder's name) with that many wanted vectors in it: a list of them.

    A folder that is absent gives a skipped one.
    """
    params = []
    for name, folder in FOLDERS.items():
        found = {path: [v for v in vectors(path) if wanted(v)] for path in sorted((folder / kind).glob("*.json"))}
        params += [pytest.param(some, id=f"{name}/{path.stem}") for path, some in found.items() if len(some) >= least]
        if not found:
            absent = pytest.mark.skip(reason=f"{folder.parent.name}/{folder.name} is not here")
            params.append(pytest.param([], id=name, marks=absent))
    return params


@cache
def vectors(path: Path) -> list[Vector]:
    """All vectors of a file; not to be changed."""
    found: list[Vector] = json.loads(path.read_text())["vectors"]
    return found


def inbound(v: Vector) -> bool:
    """Is it a packet for decapsulation?"""
    return bool(v["direction"] != "encap")


def outbound(v: Vector) -> bool:
    """Is it a packet which encapsulation must reproduce?"""
    return v["direction"] != "decap" and bool(v["encap_exact"])


def layers(v: Vector) -> list[tuple[SecurityAssociation, int]]:
    """The SAs of a packet vector, the outermost first, with the numbers they are added with."""
    sas = [(association(v["sa"]), seq_before(v))]
    if "inner_sa" in v:
        sas.append((association(v["inner_sa"]), seq_before({"sa": v["inner_sa"], "seq": v["inner_seq"]})))
    return sas


def association(d: Vector) -> SecurityAssociation:
    """The SA of a packet vector; the few without any integrity are allowed to be."""
    bare = d["authentication"] == "NONE" and not ENCRYPTION[d["encryption"]].combined
    return SecurityAssociation.from_dict({**d, "allow_unauthenticated": bare})


def seq_before(v: Vector) -> int:
    """The 64-bit number which an SA is added with, so that the vector's packet comes next.

    A packet that has no number of its own is to be rejected, and not by the window.
    """
    hi = v["sa"]["seq_hi"] << 32 if v["sa"]["esn"] else 0
    if "seq" not in v:
        return hi + 63 if v["sa"]["esn"] else 0
    return max(hi + int(v["seq"]) - 1, 0)
