"""Security associations and bundles, and the numbers that they start with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from hypothesis import strategies as st

from ...sa import Address, SecurityAssociation
from .suites import ADDRESSES, SEQ32, SEQ64, SUITES, Mode, Suite, make_sa

WINDOWS = (0, 1, 2, 31, 32, 63, 64, 65, 128, 1000, 4096)


@st.composite
def security_associations(
    draw: st.DrawFn,
    *,
    direction: Literal["inbound", "outbound"] = "inbound",
    suites: Sequence[Suite] = SUITES,
    spis: Sequence[int] = (0x1000, 0x1001, 0xFFFFFFFF),
    modes: Sequence[Mode] = ("tunnel", "transport"),
) -> SecurityAssociation:
    """An SA with any algorithms, window and options that fit the direction; one in four is as plain as can be.

    Inbound ones may have mode ``"any"``, no destination, or a source that counts (``match_src``); outbound ones
    in transport mode may have no addresses.  ``suites`` narrows the algorithms: ``AH_SUITES``, ``ESP_SUITES``, or what
    the system under test has.
    """
    suite = draw(st.sampled_from(suites))
    if draw(st.integers(0, 3)) == 0:
        return make_sa(suite, spi=draw(st.sampled_from(spis)), mode=draw(st.sampled_from(modes)))
    version = draw(st.sampled_from((4, 6)))
    src, dst = ADDRESSES[version][0], draw(st.sampled_from(ADDRESSES[version][1:3]))
    options: dict[str, Any] = {
        "spi": draw(st.sampled_from(spis)),
        "src": src,
        "dst": dst,
        "mode": draw(st.sampled_from(modes)),
        "esn": draw(st.booleans()),
        "ecn": draw(st.booleans()),
    }
    if suite.protocol == "esp":
        options["udp_encap"] = draw(st.sampled_from((None, None, (4500, 4500), (10000, 4501))))
    else:
        options["ah_align"] = draw(st.sampled_from((None, None, 8, 4 if version == 4 else 8)))
    options |= draw(_inbound_options() if direction == "inbound" else _outbound_options(suite, options["mode"]))
    return make_sa(suite, draw(st.integers(0, 3)), **options)


@st.composite
def _inbound_options(draw: st.DrawFn) -> dict[str, Any]:
    options: dict[str, Any] = {
        "replay_window": draw(st.sampled_from(WINDOWS)),
        "decap_dscp": draw(st.booleans()),
        "strict_padding": draw(st.integers(0, 3)) > 0,
    }
    lookup = draw(st.integers(0, 9))
    if lookup < 2:
        options["dst"] = None
    elif lookup == 2:
        options["match_src"] = True
    if draw(st.integers(0, 4)) == 0:
        options["mode"] = "any"
    return options


@st.composite
def _outbound_options(draw: st.DrawFn, suite: Suite, mode: Mode) -> dict[str, Any]:
    options: dict[str, Any] = {
        "ttl": draw(st.sampled_from((1, 64, 255))),
        "df": draw(st.sampled_from(("copy", "set", "clear"))),
        "copy_dscp": draw(st.booleans()),
        "flow_label": draw(st.sampled_from((0, 0xABCDE, "copy"))),
    }
    if mode == "tunnel" and suite.protocol == "esp":
        options["tfc_pad_to"] = draw(st.sampled_from((None, 0, 1, 64, 255, 700)))
    elif mode == "transport" and draw(st.booleans()):
        options |= {"src": None, "dst": None, "ah_align": None}
    return options


@st.composite
def bundles(
    draw: st.DrawFn,
    *,
    suites: Sequence[Suite] = SUITES,
    min_layers: int = 1,
    max_layers: int = 4,
    first_spi: int = 0x2000,
) -> tuple[SecurityAssociation, ...]:
    """SAs that protect one packet together, the innermost first: AH around ESP, transport in tunnel, tunnel in tunnel.

    Each has a destination, an SPI of its own, and serves both directions.
    """
    version = draw(st.sampled_from((4, 6)))
    ends = ADDRESSES[version][:2]
    sas = []
    for i in range(draw(st.integers(min_layers, max_layers))):
        suite = draw(st.sampled_from(suites))
        mode = draw(st.sampled_from(("transport", "tunnel")))
        if mode == "tunnel":  # other ends than those of the packet inside
            version = draw(st.sampled_from((4, 6)))
            ends = draw(st.sampled_from((ADDRESSES[version][:2], ADDRESSES[version][2:])))
        encap = draw(st.sampled_from((None, None, (4500, 4500)))) if suite.protocol == "esp" else None
        sas.append(
            make_sa(
                suite,
                i,
                spi=first_spi + i,
                mode=mode,
                src=ends[0],
                dst=ends[1],
                esn=draw(st.booleans()),
                ecn=draw(st.booleans()),
                udp_encap=encap,
            )
        )
    return tuple(sas)


@st.composite
def start_numbers(draw: st.DrawFn, sa: SecurityAssociation) -> int:
    """A last number used, near one of the edges of the SA's window and number space."""
    limit = SEQ64 if sa.esn else SEQ32
    edges = [0, sa.replay_window, 1 << 31, SEQ32]
    if sa.esn:
        edges += [SEQ32 + sa.replay_window, 5 * SEQ32, SEQ64 - SEQ32, SEQ64]
    number = draw(st.sampled_from(edges)) + draw(st.integers(-70, 70))
    return min(max(number, 0), limit - 1)


def peer(
    sa: SecurityAssociation, mode: Mode = "tunnel", dst: Address | None = None, **options: Any
) -> SecurityAssociation:
    """The outbound SA at the other end of an inbound one.

    ``mode`` counts if that one takes any, ``dst`` if it has none; ``options`` are other fields to change.
    """
    to = cast("Address | None", sa.dst) or dst or ADDRESSES[4][1]
    src = sa.src if sa.match_src else ADDRESSES[to.version][0]
    own = sa.mode if sa.mode != "any" else mode
    align = None if to.version == 6 else sa.ah_align
    fields = {"match_src": False, "copy_dscp": True, "ah_align": align} | options
    return replace(sa, mode=own, src=src, dst=to, **fields)
