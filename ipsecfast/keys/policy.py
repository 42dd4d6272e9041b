"""Selectors of key files, and which SAs belong to each: one, or several layers of one packet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import KeyFileError
from ..spd import Selector
from .entry import KeyEntry, key_error


@dataclass(frozen=True)
class Policy:
    """What protects the packets of a selector.

    Attributes
    ----------
    selector : which packets.
    entries : the SAs, the innermost (layer 0) first.
    """

    selector: Selector
    entries: tuple[KeyEntry, ...]


def policies(entries: Iterable[KeyEntry], bad: Callable[[KeyFileError], None]) -> list[Policy]:
    """The policies that key files state, in the order of their first SAs; SAs without a selector are left out.

    SAs with one selector and layers 0, 1, ... are the layers of one packet.  Where a layer has several SAs
    (keys that were changed, say), the first of each layer belong together, then the second, and so on.

    ``bad`` is called with one line for a selector that can't be used or whose layers don't fit together.
    """
    found: dict[Selector, defaultdict[int, list[KeyEntry]]] = {}
    for entry in entries:
        if entry.selector is None:
            continue
        try:
            selector = Selector.from_dict(entry.selector)
        except (ValueError, TypeError) as error:
            bad(key_error(f"{entry.origin}: selector", error))
            continue
        layer = found.setdefault(selector, defaultdict(list))[entry.layer]
        if not any(known.sa == entry.sa for known in layer):  # an SA may be in two files
            layer.append(entry)
    out = []
    for selector, layers in found.items():
        counts = [len(layers[i]) for i in range(max(layers) + 1)]
        if min(counts) < max(counts):
            numbers = ", ".join(f"{n} of layer {i}" for i, n in enumerate(counts))
            origin = next(layers[i][0].origin for i in sorted(layers) if layers[i])
            bad(key_error(f"{origin}: selector {selector}", f"got SAs: {numbers}, wanted as many of each layer"))
            continue
        out += [Policy(selector, sas) for sas in zip(*(layers[i] for i in range(len(counts))), strict=True)]
    return out
