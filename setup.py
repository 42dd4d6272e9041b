"""Extensions, and what of the crypto libraries is here to build against; metadata is in pyproject.toml.

IPSECFAST_DEBUG=1    checked build: bounds and initialisation checks, annotated HTML
IPSECFAST_IPSEC_MB   "0" leaves the ipsec-mb provider out; a folder is taken as its prefix (include/, lib/);
                     unset: built where <intel-ipsec-mb.h> compiles and the library links
"""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.errors import CompileError, LinkError
from setuptools._distutils.sysconfig import customize_compiler

DEBUG = os.environ.get("IPSECFAST_DEBUG") == "1"
CORE = "ipsecfast.core"
# What is not declared inline is off the usual path; inside a loop it would take the loop's registers.
INLINE = ["-fno-inline-functions"]
# The datapath is small inline functions that a compiler should see as one (gcc stops far too early by itself).
INLINE_GCC = [
    "--param=max-inline-insns-single=2000",
    "--param=large-function-growth=2000",
    "--param=inline-unit-growth=500",
    "-fno-inline-functions-called-once",
    "-fno-inline-small-functions",
]
MODULES = [
    "_window",
    "_crypto",
    "_libcrypto",
    "_batch",
    "_memory",
    "_chains",
    "_bundles",
    "_keys",
    "_sad",
    "_esp",
    "_ah",
    "_locate",
    "_inbound",
    "_protect",
    "_outbound_bundles",
    "_outbound",
    "_stretch",
    "_pool",
    "_lanes",
    "_select",
    "_engine",
    "_nbl",
    "_nic",
    "_nic_rx",
    "_nic_tx",
    "_nic_iv",
    "_nic_lso",
    "_capture",
]


def inline_flags() -> list[str]:
    """clang ignores gcc's own flags, with a warning for each of them and each extension."""
    compiler = new_compiler()
    customize_compiler(compiler)
    command = [*compiler.compiler, "-dM", "-E", "-x", "c", os.devnull]
    try:
        macros = subprocess.run(command, capture_output=True, text=True).stdout
    except OSError:  # no compiler: the build will say so
        macros = ""
    return INLINE if "__clang__" in macros else [*INLINE, *INLINE_GCC]


def find_ipsec_mb() -> dict[str, list[str]] | None:
    """Compiler settings for intel-ipsec-mb 1.3 or newer, or None with a line that says why."""
    wish = os.environ.get("IPSECFAST_IPSEC_MB", "")
    if wish == "0":
        print("ipsecfast: ipsec-mb left out (IPSECFAST_IPSEC_MB=0)")
        return None
    settings: dict[str, list[str]] = {"libraries": ["IPSec_MB"]}
    if wish:
        if not (Path(wish) / "include" / "intel-ipsec-mb.h").exists():
            raise SystemExit(f"IPSECFAST_IPSEC_MB={wish}: there is no include/intel-ipsec-mb.h in it")
        lib = str(Path(wish) / "lib")
        settings |= {
            "include_dirs": [str(Path(wish) / "include")],
            "library_dirs": [lib],
            "runtime_library_dirs": [lib],
        }
    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.c"
        probe.write_text(
            "#define NO_COMPAT_IMB_API_053\n#include <intel-ipsec-mb.h>\n"
            "#if IMB_VERSION_NUM < IMB_VERSION(1, 3, 0)\n#error too old\n#endif\n"
            "int main(void) { return imb_get_version() == 0; }\n"
        )
        try:
            objects = compiler.compile([str(probe)], folder, include_dirs=settings.get("include_dirs"))
            compiler.link_executable(
                objects,
                str(Path(folder) / "probe"),
                libraries=settings["libraries"],
                library_dirs=settings.get("library_dirs"),
                extra_preargs=shlex.split(f"{os.environ.get('CFLAGS', '')} {os.environ.get('LDFLAGS', '')}"),
            )
        except (CompileError, LinkError):
            if wish:
                raise SystemExit(f"IPSECFAST_IPSEC_MB={wish}: no usable intel-ipsec-mb (1.3 or newer) there") from None
            print("ipsecfast: no usable intel-ipsec-mb (1.3 or newer); building without the ipsec-mb provider")
            return None
    return settings


def extension(name: str, **settings: list[str]) -> Extension:
    return Extension(
        f"{CORE}.{name}",
        [f"ipsecfast/core/{name}.pyx"],
        extra_compile_args=[*FLAGS, "-Wno-unused-function"],
        **settings,
    )


FLAGS = ["-O0", "-g"] if DEBUG else ["-O2", *inline_flags()]
extensions = [extension(name) for name in MODULES if Path(f"ipsecfast/core/{name}.pyx").exists()]
if (ipsec_mb := find_ipsec_mb()) is not None:
    extensions.append(extension("_ipsec_mb", **ipsec_mb))

setup(
    ext_modules=cythonize(
        extensions,
        annotate=DEBUG,
        compiler_directives={
            "language_level": 3,
            "binding": True,
            "embedsignature": True,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": not DEBUG,
        },
    )
)
