"""`ipsecfast decrypt` on a large capture, the whole command, beside tshark on a piece of it.

The capture is made here: packets of 1420 B in AES-128-GCM transport mode of 64 SAs in turn, Ethernet, pcap; it, its
output and the keys lie in tmpfs.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from cells import Cell, LeftOut, security_association, spi_of
from counts import python_flags
from flow import available_memory
from packets import ipv4

from ipsecfast import SAD, PacketBatch, SecurityAssociation, encapsulate

N_SAS = 64
CHUNK = 8192  # packets made at a time
CLEAR = 1420
FRONT = 8 + 8  # SPI, number, IV: how far the IP header moves forward
BEHIND = 2 + 2 + 16  # padding, trailer, ICV
WIRE = 20 + FRONT + CLEAR + BEHIND
ETHERNET = bytes.fromhex("020000000002 020000000001 0800")
RECORD = 16 + len(ETHERNET) + WIRE
PCAP_HEADER = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
TSHARK_BYTES = 100_000_000  # at most: it would take minutes for all
SHM = Path("/dev/shm")


def make(path: Path, n_bytes: int, sas: list[SecurityAssociation]) -> int:
    """Write the capture; how many packets it has."""
    sad = SAD(N_SAS)
    handles = np.array([sad.add(sa, direction="outbound") for sa in sas])
    n = max(n_bytes // RECORD, 1)
    rng = np.random.default_rng(1)
    header = np.frombuffer(ipv4(bytes(CLEAR))[:20] + struct.pack(">HHHH", 40000, 9, CLEAR, 0), np.uint8)
    with path.open("wb") as out:
        out.write(PCAP_HEADER)
        for start in range(0, n, CHUNK):
            count = min(CHUNK, n - start)
            rows = np.zeros((count, RECORD), np.uint8)
            stamps = np.zeros((count, 4), "<u4")
            stamps[:, 0] = 1_700_000_000 + (start + np.arange(count)) // 100_000
            stamps[:, 1] = (start + np.arange(count)) % 100_000 * 10
            stamps[:, 2:] = RECORD - 16
            rows[:, :16] = stamps.view(np.uint8)
            slot = 16 + len(ETHERNET)
            rows[:, 16:slot] = np.frombuffer(ETHERNET, np.uint8)
            rows[:, slot + FRONT : RECORD - BEHIND] = rng.integers(0, 256, (count, 20 + CLEAR), np.uint8)
            rows[:, slot + FRONT : slot + FRONT + 28] = header
            places = np.arange(count, dtype=np.int64) * RECORD + slot
            room = np.full(count, WIRE)
            batch = PacketBatch(rows.reshape(-1), places + FRONT, np.full(count, 20 + CLEAR), places, room)
            result = encapsulate(batch, sad, handles[(start + np.arange(count)) % N_SAS])
            if result.ok != count or (batch.offset != places).any() or (batch.length != WIRE).any():
                raise RuntimeError("the capture could not be made")
            out.write(rows.data)
    return n


def _anonymous(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _run(command: list[str], cores: set[int], watch: bool = False) -> tuple[float, float, int, str]:
    """(seconds, of those on a CPU, peak of anonymous memory if watched, standard output); RuntimeError if it fails."""
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as output:
        before = getrusage(RUSAGE_CHILDREN)
        start = perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, preexec_fn=lambda: os.sched_setaffinity(0, cores)
        )
        peak = 0
        while watch:
            peak = max(peak, _anonymous(process.pid))
            try:
                process.wait(0.01)
                break
            except subprocess.TimeoutExpired:
                continue
        if process.wait():
            errors.seek(0)
            raise RuntimeError((errors.read().strip().splitlines() or ["it failed"])[-1])
        seconds = perf_counter() - start
        after = getrusage(RUSAGE_CHILDREN)
        output.seek(0)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return seconds, busy, peak, output.read()


def _tshark(folder: Path, capture: Path, sas: list[SecurityAssociation], n: int, core: int) -> float:
    """Bytes a second; raises LeftOut where it is not installed."""
    program = shutil.which("tshark")
    if not program:
        raise LeftOut("tshark is not installed")
    piece = folder / "piece.pcap"
    count = min(TSHARK_BYTES // RECORD, n)
    size = len(PCAP_HEADER) + count * RECORD
    with capture.open("rb") as whole, piece.open("wb") as part:
        part.write(whole.read(size))
    command = [program, "-n", "-r", str(piece), "-T", "fields", "-e", "udp.length"]
    command += ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"]
    for sa in sas:
        key = (sa.enc_key + sa.salt).hex()
        line = (
            f'"IPv4","{sa.src}","{sa.dst}","0x{sa.spi:08x}","AES-GCM with 16 octet ICV [RFC4106]","0x{key}","NULL",""'
        )
        command += ["-o", f"uat:esp_sa:{line}"]
    seconds, _, _, output = _run(command, {core})
    if output.split() != [str(CLEAR)] * count:
        raise LeftOut("tshark did not decrypt the capture")
    return size / seconds


def measure_captures(n_bytes: int, rounds: int, core: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Bytes a second of each command, medians of some runs in turn, and the peak of anonymous memory."""
    cores = os.sched_getaffinity(0)
    if not SHM.is_dir() or shutil.disk_usage(SHM).free < 3 * n_bytes or available_memory() < 3 * n_bytes:
        return {"left_out": f"captures: no room in {SHM} for three times {n_bytes} bytes"}
    sas = [security_association(Cell("ipsecfast", "auto"), spi_of(i, N_SAS)) for i in range(N_SAS)]
    found: dict[str, Any] = {"bytes": n_bytes, "runs": {}}
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(dir=SHM, prefix="ipsecfast-bench-")))
        capture, keys, out = folder / "wire.pcap", folder / "keys.json", folder / "plain.pcap"
        progress("capture: making it")
        n = make(capture, n_bytes, sas)
        keys.write_text(json.dumps([sa.to_dict() for sa in sas]))
        size = capture.stat().st_size
        found |= {"bytes": size, "packets": n}
        base = [sys.executable, *python_flags(), "-m", "ipsecfast", "decrypt", str(capture), "--keys", str(keys)]
        base += ["-o", str(out), "--json", "--quiet", "--strict"]
        jobs: dict[str, tuple[list[str], set[int]]] = {"one core": ([], {core})}
        if len(cores) > 1:
            jobs["--jobs 2"] = (["--jobs", "2"], set(sorted(cores)[-2:]))
        for name, (extra, allowed) in jobs.items():
            speeds, busy, peak = [], [], 0
            for i in range(rounds):
                progress(f"capture: {name}, run {i + 1} of {rounds}")
                try:
                    seconds, on_cpu, anonymous, output = _run(base + extra, allowed, watch=True)
                except RuntimeError as error:
                    found["runs"][name] = {"left_out": str(error)}
                    break
                if json.loads(output)["decrypted"] != n:
                    raise RuntimeError(f"ipsecfast decrypt: {output}")
                speeds.append(size / seconds)
                busy.append(on_cpu)
                peak = max(peak, anonymous)
                out.unlink()
            else:
                found["runs"][name] = {
                    "bytes_per_second": median(speeds),
                    "cpu_seconds": median(busy),
                    "anonymous": peak,
                }
        progress("capture: tshark")
        try:
            found["runs"]["tshark"] = {"bytes_per_second": _tshark(folder, capture, sas, n, core)}
        except (LeftOut, RuntimeError) as error:
            found["runs"]["tshark"] = {"left_out": str(error)}
    return found
