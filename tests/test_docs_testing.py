"""docs/testing.md: the examples run as they stand."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from helpers import TESTS

from ipsecfast.testing import strategies as gen

PAGE = (TESTS.parent / "docs" / "testing.md").read_text()


def _example_tests() -> list[Any]:
    """The ``test_...`` functions of every Python block, by their names."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    return [
        pytest.param(block, name, id=name) for block in blocks for name in re.findall(r"^def (test_\w+)", block, re.M)
    ]


@pytest.mark.filterwarnings("ignore:Single-key TripleDES .* is deprecated")
@pytest.mark.parametrize(("block", "name"), _example_tests())
def test_example(block: str, name: str) -> None:
    if "scapy" in block:
        pytest.importorskip("scapy", reason="scapy is not installed")
        if not importlib.import_module("scapy.layers.ipsec").conf.crypto_valid:
            pytest.skip("scapy has no cryptography")
    names: dict[str, Callable[[], None]] = {"__name__": "example"}  # type: ignore[dict-item]
    exec(compile(block, "<docs/testing.md>", "exec"), names)  # no file: its lines are not the block's
    names[name]()


def test_every_name_is_there() -> None:
    assert [name for name in gen.__all__ if name[0].islower() and f"{name}(" not in PAGE] == []
