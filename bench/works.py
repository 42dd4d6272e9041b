"""Who does the work of a cell."""

from __future__ import annotations

from collections.abc import Callable

from ceiling import Crypto, Loop
from cells import Cell
from flow import Flow, Work
from librte import LibrteIpsec
from peers import PEERS, PeerWork

_MAKERS: dict[str, Callable[[Cell], Work]] = {
    "ipsecfast": Flow,
    "crypto": Crypto,
    "c-loop": Loop,
    "librte_ipsec": LibrteIpsec,
    **{name: PeerWork for name in PEERS},
}


def work_of(cell: Cell) -> Work:
    """Make it ready; raises LeftOut where it can't be run here."""
    return _MAKERS[cell.who](cell)
