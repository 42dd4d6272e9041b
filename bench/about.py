"""What a run says about itself: machine, libraries, revision."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cells import LeftOut
from librte import program

import ipsecfast
from build import NotBuilt, compiler
from ipsecfast.provider import providers

ROOT = Path(__file__).resolve().parents[1]


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def cpu_model() -> str:
    """As the system names it, with the number of cores that may be used and the machine it is in, if it tells."""
    names = {
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith(("model name", "CPU part"))
    }
    seen = _output("lscpu")
    details = [
        line.split(":")[1].strip()
        for wanted in ("CPU family", "Model:", "Stepping", "Hypervisor vendor")
        for line in seen.splitlines()
        if line.startswith(wanted)
    ]
    return f"{', '.join(sorted(names))} ({'/'.join(details)}; {platform.machine()})"


def cpu_features() -> list[str]:
    """Those that the crypto libraries care for."""
    wanted = ("avx2", "avx512f", "vaes", "vpclmulqdq", "sha_ni", "aes", "pmull", "sha2")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return [name for name in wanted if name in line.split()]
    return []


def revision() -> str:
    found = _output("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changed = _output(
        "git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", "--", "ipsecfast", "bench"
    )
    return (found or "unknown") + (" with changes" if changed else "")


def compiler_version() -> str:
    """First line of the C compiler that compiles the ceilings."""
    try:
        return _output(*compiler(), "--version").split("\n")[0]
    except NotBuilt as error:
        return str(error)


def versions() -> dict[str, str]:
    """Of all that is measured."""
    found = {"ipsecfast": ipsecfast.__version__}
    found |= {p.name: f"{p.version} ({p.cpu_path})" for p in providers() if p.available and p.name != "reference"}
    for name in ("numpy", "cryptography", "pycryptodome", "scapy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    with contextlib.suppress(LeftOut):
        found["DPDK"] = program()[1]
    if shutil.which("tshark"):
        found["tshark"] = (
            _output("tshark", "--version").split("\n")[0].removeprefix("TShark (Wireshark) ").split(" ")[0]
        )
    return found


def about() -> dict[str, Any]:
    """Everything that stands above the tables."""
    return {
        "revision": revision(),
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": cpu_model(),
        "features": cpu_features(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": compiler_version(),
        "versions": versions(),
        "interpreter": sys.implementation.name,
    }
