"""examples/nic.py and the code of docs/ndis-adapter.md run, and say what they should."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest
from helpers import TESTS

ROOT = TESTS.parent


def test_example_tells_its_story(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "nic.py"
    if not path.exists():
        pytest.skip("examples/ is not here")
    runpy.run_path(str(path), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == list("1234456675 85")
    for start, text in (
        ("2", "hardware: AH True, ESP True; on now: AH False, ESP True"),
        ("3", "NDIS_STATUS_SUCCESS, indicated: NDIS_STATUS_TASK_OFFLOAD_CURRENT_CONFIG"),
        ("4", "ADD_SA_EX outbound: NDIS_STATUS_SUCCESS, handle given"),
        ("6", "CryptoDone 1, CryptoStatus 0, the host says OK: before the wrap"),
        ("7", "UPDATE_SA: NDIS_STATUS_SUCCESS"),
        ("8", "DELETE_SA: NDIS_STATUS_SUCCESS, bundles left: 0"),
    ):
        assert text in next(line for line in lines if line.startswith(start))
    assert lines[4].endswith("inbound: NDIS_STATUS_NOT_SUPPORTED, handle NULL")
    assert lines[7].endswith("the host says REPLAYED: dropped") and lines[-1].endswith("FAILURE, frames on the wire: 0")


def test_code_of_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ndis-adapter.md").read_text(), re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/ndis-adapter.md", "exec"), names)
    assert names["out"].handle and len(names["card"].datapath) == 1
