"""SAs added to and deleted from a SAD, a second."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from common import security_association

from ipsecfast import SAD

N = 1024


@pytest.mark.parametrize("call", ["add", "delete"])
@pytest.mark.parametrize("algorithm", ["AES-128-GCM", "AES-CBC-128+SHA1"])
def test_sad(benchmark: Any, provider: str, algorithm: str, call: Literal["add", "delete"]) -> None:
    sas = [security_association(algorithm, spi=0x1000 + i) for i in range(N)]

    def add(sad: SAD) -> list[int]:
        return [sad.add(sa, direction="inbound") for sa in sas]

    def delete(sad: SAD, handles: list[int]) -> None:
        for handle in handles:
            sad.delete(handle)

    def fresh() -> tuple[tuple[Any, ...], dict[str, Any]]:
        sad = SAD(N, provider=provider)
        return ((sad,) if call == "add" else (sad, add(sad))), {}

    benchmark.pedantic(add if call == "add" else delete, setup=fresh, rounds=20, warmup_rounds=1)
    benchmark.group = f"SAD {algorithm}"
    benchmark.extra_info.update(call=call, algorithm=algorithm, provider=provider)
    if benchmark.stats:
        benchmark.extra_info["per_second"] = N / benchmark.stats.stats.median
