"""Compiles the C files of this folder with the system's compiler, once per content, into a cache."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


class NotBuilt(Exception):
    """The compiler or what it needs is not here; the text says what."""


@functools.cache
def compiler() -> list[str]:
    """CC, what Python was built with, or cc; raises NotBuilt."""
    for wish in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        if wish and shutil.which(shlex.split(wish)[0]):
            return shlex.split(wish)
    raise NotBuilt("no C compiler")


def _cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ipsecfast-bench"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        root = Path(tempfile.mkdtemp(prefix="ipsecfast-bench-"))
    return root


@functools.cache
def compiled(source: str, flags: tuple[str, ...] = (), libraries: tuple[str, ...] = (), shared: bool = True) -> Path:
    """The shared library or program made of one file here; raises NotBuilt with the compiler's first complaint."""
    command = [*compiler(), "-O3", *(["-shared", "-fPIC"] if shared else []), *flags]
    name = Path(source).stem
    content = b"".join(path.read_bytes() for path in sorted(HERE.glob(f"{name}*.[ch]")))
    digest = hashlib.sha256(content + repr((command, libraries)).encode()).hexdigest()[:16]
    made = _cache() / f"{name}-{digest}{'.so' if shared else ''}"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            fresh = Path(folder) / made.name
            done = subprocess.run(
                [*command, "-o", str(fresh), str(HERE / source), *libraries], capture_output=True, text=True
            )
            if done.returncode:
                complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                raise NotBuilt(complaint.strip())
            fresh.replace(made)
    return made


def packaged(name: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(compiler flags, libraries, version) of a pkg-config package; raises NotBuilt."""
    if not shutil.which("pkg-config"):
        raise NotBuilt("pkg-config is not installed")

    def ask(what: str) -> tuple[str, ...]:
        done = subprocess.run(["pkg-config", what, name], capture_output=True, text=True)
        if done.returncode:
            raise NotBuilt(f"{name} is not installed")
        return tuple(shlex.split(done.stdout))

    return ask("--cflags"), ask("--libs"), ask("--modversion")[0]
