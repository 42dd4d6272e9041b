"""The same packets through other implementations, one packet a call; each is left out where it is not installed."""

from __future__ import annotations

from typing import Any

import peers
import pytest
from common import DIRECTIONS, Case, Direction, packets
from report import record

# how a peer is called here: what must be importable, and what runs
PEERS: dict[str, tuple[str, Any]] = {
    "scapy": ("scapy.layers.ipsec", peers.Scapy),
    "reference": ("Crypto", peers.Reference),
    "cryptography": ("cryptography", peers.Cryptography),
}


@pytest.mark.parametrize("size", ["64", "1420"])
@pytest.mark.parametrize("algorithm", ["AES-128-GCM", "AES-CBC-128+SHA1"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_peer(benchmark: Any, peer: str, direction: Direction, algorithm: str, size: str) -> None:
    if peer == "cryptography" and algorithm != "AES-128-GCM":
        pytest.skip("the loop over cryptography is AES-GCM alone")
    esp = PEERS[peer][1](algorithm)
    clear = packets(size, 64)
    loaded = esp.load(clear)
    assert [bytes(packet) for packet in esp.decapsulate(esp.encapsulate(loaded))] == clear

    def fresh() -> tuple[tuple[list[Any]], dict[str, Any]]:
        return (loaded if direction == "encapsulate" else esp.encapsulate(loaded),), {}

    benchmark.pedantic(getattr(esp, direction), setup=fresh, rounds=20, warmup_rounds=1)
    record(benchmark, Case(direction, algorithm, peer, size=size, batch=1), clear)
