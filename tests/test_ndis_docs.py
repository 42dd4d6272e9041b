"""docs/ndis.md and docs/ndis-datapath.md name every option, and only tests that exist."""

from __future__ import annotations

import re
from dataclasses import fields

from helpers import TESTS

from ipsecfast.ndis import PROFILES, DatapathOptions, Options

TEXT = (TESTS.parent / "docs" / "ndis.md").read_text(encoding="utf-8")
ROWS = [row for row in TEXT.partition("## Decisions")[2].splitlines() if row.startswith("| ")][2:]


def test_every_option_is_documented_with_a_test_that_exists() -> None:
    there = set(re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in TESTS.glob("test_ndis_*.py")), re.M))
    for row in ROWS:
        named = re.findall(r"`(test_\w+)`", row)
        assert named and set(named) <= there, row
    for option in fields(Options):
        (row,) = [row for row in ROWS if f"| `{option.name}` |" in row]
        assert option.name in (Options.__doc__ or "")
        assert f"`test_option_{option.name}`" in row


def test_every_choice_of_the_datapath_is_documented_with_a_test_that_exists() -> None:
    text = (TESTS.parent / "docs" / "ndis-datapath.md").read_text(encoding="utf-8")
    there = set(re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in TESTS.glob("test_n*.py")), re.M))
    rows = [row for row in text.splitlines() if row.startswith("| ") and "`test_" in row]
    assert len(rows) > 40
    for row in rows:
        assert set(re.findall(r"`(test_\w+)`", row)) <= there, row
    for option in fields(DatapathOptions):
        assert any(f"`{option.name}`" in row for row in rows), option.name
        assert option.name in (DatapathOptions.__doc__ or "")


def test_every_profile_is_documented() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", TEXT, re.M)) == set(PROFILES)
    assert all(p.source and p.description for p in PROFILES.values())
