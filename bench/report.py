"""What a benchmark leaves in its ``extra_info``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from common import Case


def record(benchmark: Any, case: Case, clear: Sequence[bytes]) -> None:
    """Group, case and, where something was measured, ns per packet and Gbit/s of payload (median round)."""
    benchmark.group = f"{case.direction} {case.mode} {case.algorithm} {case.size} B, SAs: {case.sas}"
    benchmark.extra_info.update(asdict(case))
    if benchmark.stats:
        ns = benchmark.stats.stats.median * 1e9
        payload_bits = 8 * sum(len(packet) - 20 for packet in clear)
        benchmark.extra_info.update(ns_per_packet=ns / len(clear), gbit_per_s=payload_bits / ns)
