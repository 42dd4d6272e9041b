"""What ``ipsecfast caps`` shows of a card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from ..errors import IpsecError
from ..ndis import NDIS_OFFLOAD, Configuration, Registry, load_registry
from ..ndis.hardware import PROFILES
from ..ndis.keywords import KEYWORDS
from ..ndis.versions import NDIS_VERSIONS
from .terminal import warn


def profiles() -> str:
    """The profiles, for the command's help."""
    return "; ".join(f"{p.name}, {p.description}" for p in PROFILES.values())


def run(args: argparse.Namespace) -> int:
    """Returns the exit status: 0.  Raises IpsecError for what is wrong with the arguments or the file."""
    if args.profile not in PROFILES:
        raise IpsecError(f"--profile: got {args.profile!r}, wanted one of {', '.join(PROFILES)}")
    if args.ndis not in map(str, NDIS_VERSIONS):
        raise IpsecError(f"--ndis: got {args.ndis!r}, wanted one of {', '.join(map(str, NDIS_VERSIONS))}")
    if args.key is not None and args.registry is None:
        raise IpsecError("--key: wanted with --registry only")
    registry = load_registry(args.registry, args.key) if args.registry is not None else Registry()
    config = Configuration(PROFILES[args.profile], registry, ndis=args.ndis, abi=args.abi)
    for notice in config.keywords.notices:
        warn(notice)
    if args.json:
        print(json.dumps(report(config), indent=2))
    else:
        print("\n".join(table(config)))
    return 0


def report(config: Configuration) -> dict[str, Any]:
    """The report as JSON can hold it; numbers and names as in the structures."""
    keywords = config.keywords
    return {
        "profile": config.profile.name,
        "ndis": str(config.ndis),
        "abi": config.abi.value,
        "keywords": {
            k.name: {"value": keywords.values[k.name], "origin": keywords.origins.get(k.name)} for k in KEYWORDS
        },
        "notices": list(keywords.notices),
        "hardware": _offload(config.hardware),
        "default": _offload(config.default),
    }


def table(config: Configuration) -> Iterator[str]:
    """The report's lines."""
    yield f"{config.profile.name}, NDIS {config.ndis}, {config.abi.value}: {config.profile.description}"
    yield ""
    yield f"{'keyword':30}{'value':>6}  from"
    for k in KEYWORDS:
        yield f"{k.name:30}{config.keywords.values[k.name]:>6}  {config.keywords.origins.get(k.name, 'default')}"
    yield ""
    default = dict(_flat(_offload(config.default)))
    width = max(map(len, default))
    yield f"{'NDIS_OFFLOAD':{width}}{'hardware':>10}{'default':>10}"
    for name, value in _flat(_offload(config.hardware)):
        yield f"{name:{width}}{_shown(name, value):>10}{_shown(name, default[name]):>10}"


def _offload(offload: NDIS_OFFLOAD) -> dict[str, Any]:
    """The members that the structure's revision has."""
    revision = next(r for r in NDIS_OFFLOAD.REVISIONS if r.revision == offload.Header.Revision)
    members = offload.to_dict()
    return {name: members[name] for name in list(members)[: list(members).index(revision.through) + 1]}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _shown(name: str, value: int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    masks = ("Encapsulation", "Flags", "UdpEsp", "Algorithms", "Type")
    return f"0x{value:X}" if name.endswith(masks) else str(value)
