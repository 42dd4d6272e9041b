"""librte_ipsec as a peer: peer_rte.c in a process of its own, on the same core, a lap at a time."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from cells import SIZES, Cell, LeftOut
from flow import Lap

from build import NotBuilt, compiled, packaged

# algorithm -> what peer_rte.c calls it, and the crypto device that is fastest for it
_ALGORITHMS = {"AES-128-GCM": ("gcm", "crypto_aesni_gcm"), "AES-CBC-128+SHA1": ("cbc-sha1", "crypto_aesni_mb")}


def program() -> tuple[Path, str]:
    """The compiled program, and DPDK's version; raises LeftOut."""
    try:
        flags, libraries, version = packaged("libdpdk")
        return compiled("peer_rte.c", (*flags, "-DALLOW_EXPERIMENTAL_API", "-w"), libraries, False), version
    except NotBuilt as error:
        raise LeftOut(f"librte_ipsec: {error}") from None


class LibrteIpsec:
    """One configuration of peer_rte.c."""

    def __init__(self, cell: Cell) -> None:
        if cell.algorithm not in _ALGORITHMS or cell.mode != "transport" or cell.threads != 1:
            raise LeftOut(f"librte_ipsec: measured in transport mode, {' and '.join(_ALGORITHMS)}")
        path, _ = program()
        self.cell = cell
        name, device = _ALGORITHMS[cell.algorithm]
        sizes = SIZES[cell.size]
        core = sorted(os.sched_getaffinity(0))[-1]
        memory = 160 + cell.packets * (max(sizes) + 2600) // 2**20 + cell.sas * 8192 // 2**20
        settings = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=3", "--vdev", device]
        work = ["-m", memory, "--lcores", f"0@{core}", "--", name, cell.sas, cell.batch, cell.packets, *sizes]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [str(path), *settings, *map(str, work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.pid: int | None = self._process.pid
        answer = self._read()
        if answer != "ready":
            self.close()
            raise LeftOut(f"librte_ipsec: {answer or 'it ended'}")

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = ""
        for line in self._process.stdout:
            if line.startswith(("ready", "failed")) or line[:1].isdigit():
                break
        return line.strip()

    def lap(self) -> Lap:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            out, back = self._read().split()
            return float(out), float(back)
        except (ValueError, OSError):
            raise RuntimeError(f"{self.cell}: the process of librte_ipsec failed") from None

    def encapsulate(self) -> float:
        raise LeftOut("librte_ipsec: its process does both directions in one lap")

    decapsulate = encapsulate

    def verify(self) -> None:
        """It compared its packets itself before it said that it is ready."""
        self.lap()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._errors.close()
