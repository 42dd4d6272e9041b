"""Instructions per packet of the core against bench/baseline.json: `ci/regress`, where valgrind is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REGRESS = Path(__file__).parents[1] / "bench" / "regress.py"


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_no_count_grew_by_more_than_three_percent() -> None:
    done = subprocess.run([sys.executable, str(REGRESS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout.startswith("not checked"):
        pytest.skip(done.stdout.strip())
