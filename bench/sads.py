"""How many SAs are added and deleted in a second of CPU time, one a call, and what memory one takes."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any, Literal

from ceiling import key_schedule_size
from cells import Cell, LeftOut, security_association, spi_of
from counts import python_flags
from plan import CBC, GCM, PROVIDERS

from ipsecfast import SAD, SecurityAssociation
from ipsecfast.errors import IpsecError

N_RATE = 4096
N_MEMORY = 100_000
Way = Literal["inbound", "outbound"]
WAYS: tuple[Way, ...] = ("inbound", "outbound")


def associations(cell: Cell, n: int) -> list[SecurityAssociation]:
    return [security_association(cell, spi_of(i, n)) for i in range(n)]


def _rates(cell: Cell, rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {"make": [], "add": [], "delete": []}
    for _ in range(rounds):
        start = process_time()
        sas = associations(cell, N_RATE)
        made = process_time()
        sad = SAD(N_RATE, provider=cell.provider)
        before = process_time()
        handles = [sad.add(sa, direction="inbound") for sa in sas]
        added = process_time()
        for handle in handles:
            sad.delete(handle)
        deleted = process_time()
        for call, took in (("make", made - start), ("add", added - before), ("delete", deleted - added)):
            seconds[call].append(took)
    return {call: N_RATE / statistics.median(took) for call, took in seconds.items()}


def _anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise LeftOut("memory per SA: the system does not tell")


def _memory_here(provider: str, algorithm: str, direction: Way) -> float:
    """Bytes per SA in this process, which does nothing else; the SAs' Python objects are gone when it is read."""
    cell = Cell("ipsecfast", provider, algorithm)
    spi_of(0, N_MEMORY)
    fixed = 0
    kept = []
    for _ in range(2):          # the first also loads what is loaded once a process
        small = SAD(1, provider=provider)
        kept.append(small)
        before = _anonymous()
        small.add(security_association(cell, 256), direction=direction)
        fixed = _anonymous() - before       # a SAD's scratch for the library comes with its first SA
    sad = SAD(N_MEMORY, provider=provider)
    before = _anonymous()
    for i in range(N_MEMORY):
        sad.add(security_association(cell, spi_of(i, N_MEMORY)), direction=direction)
    return (_anonymous() - before - fixed) / N_MEMORY


def _memory(provider: str, algorithm: str, direction: Way) -> float:
    command = [sys.executable, *python_flags(), __file__, provider, algorithm, direction]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LeftOut(f"memory per SA: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def measure_sads(rounds: int) -> dict[str, Any]:
    """One row per algorithm and provider."""
    rows: list[dict[str, Any]] = []
    for algorithm in (GCM, CBC):
        for provider in PROVIDERS:
            cell = Cell("ipsecfast", provider, algorithm)
            row: dict[str, Any] = {"algorithm": algorithm, "provider": provider}
            try:
                row |= _rates(cell, rounds)
                for direction in WAYS:
                    row[f"bytes {direction}"] = _memory(provider, algorithm, direction)
            except (LeftOut, IpsecError, ValueError) as error:
                rows.append(row | {"left_out": str(error)})
                continue
            if provider == "ipsec-mb":
                with contextlib.suppress(LeftOut):
                    row["key schedule"] = key_schedule_size(algorithm)
            rows.append(row)
    return {"rows": rows}


if __name__ == "__main__":
    print(_memory_here(sys.argv[1], sys.argv[2], WAYS[WAYS.index(sys.argv[3])]))
