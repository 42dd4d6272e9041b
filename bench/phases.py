"""Where our own instructions go: the lines that callgrind counted, by the function they are of, by what it is for.

Compilers inline nearly everything here, so that the called functions tell little; the lines of the C that Cython made
do.  It lies beside the sources after a build, and is not there for a package that was built elsewhere.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections import defaultdict
from pathlib import Path

from about import ROOT
from counts import Count

PHASES = ("call", "loop", "parse", "lookup", "window", "headers", "crypto calls", "finish", "other")

# First match wins; what no line matches is "other": loads and stores of single numbers mostly.
_FUNCTIONS = [
    (phase, re.compile(f"(?:{pattern})$"))
    for phase, pattern in (
        ("loop", "\\w*chunk|layer|\\w*_batch"),
        ("lookup", "chain_head|bucket_of|choose|same_\\w+|look_ahead|lookup\\w*|find\\w*|prefetch\\w*"),
        ("parse", "locate\\w*|ip_parse|ip_head|ip4_plain|ip6?_?walk\\w*|is_\\w+|carries_esp|ip_\\w+"),
        ("window", "admit\\w*|window_\\w+|esn_infer|hazard|pending_twice|overtaken|mark|number|unseen"),
        ("finish", "finish\\w*|strip\\w*|padding_counts|merge_tos|leads_on|refuse\\w*|count_\\w+|meets_chunk|copy_of"),
        (
            "headers",
            "esp_ops|place|\\w*header\\w*|trailer|sized|protect\\w*|prepare\\w*|random_iv|\\w*checksum|ip[46]_\\w+",
        ),
        ("crypto calls", "\\w*(?:seal|open|mac|crypt|burst|job|group|suite)\\w*|to_few|bytes_equal"),
    )
]
# phase of all that a module does which is not named above
_MODULES = {"_engine": "call", "_batch": "call", "_sad": "call", "_lanes": "call", "_ah": "headers"}
_MODULES |= {
    "_esp": "crypto calls",
    "_crypto": "crypto calls",
    "_ipsec_mb": "crypto calls",
    "_libcrypto": "crypto calls",
}
# "static CYTHON_INLINE int __pyx_f_9ipsecfast_4core_8_inbound_is_port(...": the number is the module's name's length
_DEFINED = re.compile(r"^ *static .*?(?:__pyx_f_9ipsecfast_4core_(\d+))?(\w+)\(.*[^; ]$")


@functools.cache
def _functions(c_file: str) -> tuple[list[int], list[str]]:
    """First lines of the functions of one generated C file, and their names."""
    path = ROOT / "ipsecfast" / "core" / c_file
    lines: list[int] = []
    names: list[str] = []
    if path.exists():
        for number, text in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if found := _DEFINED.match(text):
                lines.append(number)
                names.append(found[2][int(found[1]) + 1 :] if found[1] else found[2])
    return lines, names


def function_of(c_file: str, line: int) -> str:
    """The Cython function that a line of generated C is of; empty if it is not known."""
    lines, names = _functions(c_file)
    at = bisect.bisect_right(lines, line) - 1
    return names[at] if at >= 0 else ""


def phase_of(module: str, function: str) -> str:
    if module in _MODULES:
        return _MODULES[module]
    return next((phase for phase, pattern in _FUNCTIONS if pattern.match(function)), "other")


def by_phase(count: Count) -> dict[str, float]:
    """Instructions per packet of each phase; empty where the generated C is not here."""
    found: defaultdict[str, float] = defaultdict(float)
    known = 0.0
    for (source, line), cost in count.lines.items():
        function = function_of(source, line)
        known += cost if function else 0
        found[phase_of(Path(source).stem, function)] += cost
    return dict(found) if known > 0.8 * count.total else {}


def by_function(count: Count) -> dict[str, float]:
    """The same, of each function."""
    found: defaultdict[str, float] = defaultdict(float)
    for (source, line), cost in count.lines.items():
        found[f"{Path(source).stem}.{function_of(source, line) or '?'}"] += cost
    return dict(sorted(found.items(), key=lambda item: -item[1]))
