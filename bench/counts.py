"""Instructions per packet of ipsecfast's own modules, from callgrind.

The libraries' instructions are not counted: valgrind shows them a CPU without AVX-512 and VAES.  Our own modules do not
ask for the CPU, so that their counts depend on source, compiler and data only; data, SPIs and batches are the same
every time.  Run as a program (under valgrind) this file does the work that is counted.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cells import DIRECTIONS, Cell, Direction, LeftOut
from flow import Flow
from plan import CBC, GCM, ours

from build import NotBuilt, compiled

ESP_CELLS = (
    *(ours(p, algorithm=a, size=s) for p in ("libcrypto", "ipsec-mb") for a in (GCM, CBC) for s in ("64", "1420")),
    *(ours("libcrypto", mode=mode) for mode in ("tunnel", "ipv6", "natt", "esn")),
    ours("libcrypto", batch=1),
    ours("libcrypto", sas=1024, packets=1024),
    ours("libcrypto", sas=16384, packets=1024),
)
AH_CELLS = (ours("libcrypto", algorithm="NULL+SHA1", mode="ah"), ours("libcrypto", algorithm="AES-128-GMAC", mode="ah"))
CELLS = ESP_CELLS + AH_CELLS

OWN = re.compile(r"/(?:ipsecfast/core/)(_\w+)\.[^/]*so$")


@dataclass
class Count:
    """One cell, one direction: instructions per packet of each of our modules, and of single lines where known."""

    modules: dict[str, float] = field(default_factory=dict)
    lines: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.modules.values())


Counts = dict[tuple[Cell, Direction], Count]


def _named(value: str, known: dict[str, str]) -> str:
    """Callgrind names a thing once, "(1) name", and then by its number."""
    number, _, name = value.partition(" ")
    if name:
        known[number] = name
    return known.get(number, value)


def read_dump(text: Iterator[str], packets: int) -> Count:
    """Self cost of our modules in one dump of callgrind (its format: valgrind's manual, "Callgrind Format")."""
    objects: dict[str, str] = {}
    files: dict[str, str] = {}
    per_module: defaultdict[str, float] = defaultdict(float)
    per_line: defaultdict[tuple[str, int], float] = defaultdict(float)
    module, source, line, skip = "", "", 0, False
    for row in text:
        key, equals, value = row.rstrip("\n").partition("=")
        if equals and key in ("ob", "fl", "fi", "fe", "fn", "cob", "cfi", "cfl", "cfn", "calls"):
            if key == "ob":
                found = OWN.search(_named(value, objects))
                module = found.group(1) if found else ""
            elif key == "cob":
                _named(value, objects)
            elif key in ("fl", "fi", "fe", "cfi", "cfl"):
                name = _named(value, files)
                source = source if key in ("cfi", "cfl") else name
            skip = skip or key == "calls"
            continue
        if not row[:1] or row[0] not in "0123456789+-*":
            continue
        place, *costs = row.split()
        line = line if place == "*" else line + int(place) if place[0] in "+-" else int(place)
        if skip:  # what the called function cost, which stands there as well
            skip = False
        elif module and costs:
            per_module[module] += int(costs[0]) / packets
            per_line[Path(source).name, line] += int(costs[0]) / packets
    return Count(dict(per_module), dict(per_line))


def _callgrind() -> str:
    found = shutil.which("valgrind")
    if not found:
        raise LeftOut("instruction counts: valgrind is not installed")
    try:
        compiled("counts.c")
    except NotBuilt as error:
        raise LeftOut(f"instruction counts: {error}") from None
    return found


def count(cells: tuple[Cell, ...] = CELLS) -> tuple[Counts, dict[Cell, str]]:
    """Counts, and why cells were left out; raises LeftOut without valgrind."""
    valgrind = _callgrind()
    environment = os.environ | {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [valgrind, "--tool=callgrind", "--instr-atstart=no", "--compress-pos=yes", "--dump-line=yes"]
        command += [f"--callgrind-out-file={folder}/out", "--quiet", sys.executable, *python_flags(), __file__]
        if setarch := shutil.which("setarch"):  # the same addresses every time
            command = [setarch, "--addr-no-randomize", *command]
        indices = [str(CELLS.index(cell)) for cell in cells]
        done = subprocess.run([*command, *indices], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise LeftOut(f"instruction counts: valgrind ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        left_out = {}
        for line in done.stdout.splitlines():
            index, _, why = line.partition(" ")
            left_out[CELLS[int(index)]] = why
        counts: Counts = {}
        for dump in Path(folder).iterdir():
            with dump.open(errors="replace") as text:
                if trigger := re.search(r"Client Request: (\d+) (\w+)", "".join(next(text, "") for _ in range(30))):
                    cell = CELLS[int(trigger[1])]
                    way: Direction = DIRECTIONS[DIRECTIONS.index(trigger[2])]
                    text.seek(0)
                    counts[cell, way] = read_dump(text, cell.packets)
    return counts, left_out


def python_flags() -> list[str]:
    """-P if this interpreter was started so: no module of the working folder may stand before an installed one."""
    return ["-P"] if sys.flags.safe_path else []


def _work(indices: list[int]) -> None:
    """Under valgrind: a lap to warm up, then one of which each direction is counted."""
    lib = ctypes.CDLL(str(compiled("counts.c")))
    if not lib.counts_running():
        raise SystemExit("this is run by valgrind: see ci/regress")
    for index in indices:
        try:
            flow = Flow(CELLS[index])
        except LeftOut as error:
            print(index, error)
            continue
        flow.lap()
        for way in DIRECTIONS:
            lib.counts_begin()
            good = getattr(flow, way)()
            lib.counts_dump(f"{index} {way}".encode())
            if good != flow.cell.packets:
                raise SystemExit(f"{flow.cell}: {good} packets came through")


def as_json(counts: Counts) -> list[dict[str, object]]:
    return [
        {"cell": asdict(cell), "direction": way, "modules": {m: round(n, 3) for m, n in sorted(c.modules.items())}}
        for (cell, way), c in counts.items()
    ]


if __name__ == "__main__":
    _work([int(argument) for argument in sys.argv[1:]])
