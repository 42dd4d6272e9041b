"""The source itself: ruff and mypy have nothing to say.  Each is skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(module: str, *arguments: str) -> None:
    """``python -m module`` at the root of the repository; what it prints is the failure's message."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{module} {' '.join(arguments)}\n{done.stdout}{done.stderr}"


def test_ruff() -> None:
    run("ruff", "check", "--no-cache", "ipsecfast", "tests", "bench", "setup.py")


def test_mypy(tmp_path: Path) -> None:
    run("mypy", "--cache-dir", str(tmp_path))


def test_cython_lint() -> None:
    if importlib.util.find_spec("cython_lint") is None:
        pytest.skip("cython-lint is not installed")
    # it starts pycodestyle by name
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    sources = [str(p) for pattern in ("*.pyx", "*.pxd") for p in (ROOT / "ipsecfast" / "core").glob(pattern)]
    command = [sys.executable, "-c", "from cython_lint.cython_lint import main; raise SystemExit(main())", *sources]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
