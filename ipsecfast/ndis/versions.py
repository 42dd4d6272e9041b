"""NDIS versions: 6.0, 6.1, 6.20, 6.30, ... and how they compare."""

from __future__ import annotations

import re
from typing import NamedTuple

_MINORS = (0, 1, 20, 30, 40, 50, 51, 60, 70, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89)


class NdisVersion(NamedTuple):
    """An NDIS version; 6.1 is minor version 1 and comes before 6.20."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str | NdisVersion) -> NdisVersion:
        """``"6.30"`` (or a version).  ValueError for a version that there is none of."""
        if isinstance(text, NdisVersion):
            return text
        known = {str(v): v for v in NDIS_VERSIONS}
        if not isinstance(text, str) or not re.fullmatch(r"\d\.\d{1,2}", text, re.ASCII) or text not in known:
            raise ValueError(f"NDIS version: got {text!r}, wanted one of {', '.join(known)}")
        return known[text]

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


NDIS_VERSIONS = tuple(NdisVersion(6, minor) for minor in _MINORS)
NDIS_6_0 = NdisVersion(6, 0)
NDIS_6_1 = NdisVersion(6, 1)
NDIS_6_20 = NdisVersion(6, 20)
NDIS_6_30 = NdisVersion(6, 30)
