"""The C structures of the interface, for both Windows ABIs, each from one declaration.

>>> from ipsecfast.ndis.structs import Abi, NDIS_OFFLOAD
>>> offload = NDIS_OFFLOAD("x64", revision=2, IPsecV2={"Esp": True, "Tunnel": True})
>>> len(offload.to_bytes()), NDIS_OFFLOAD.from_bytes(offload.to_bytes(), abi="x64").IPsecV2.Esp
(144, True)
"""

from __future__ import annotations

from collections.abc import Mapping

from . import binding, common, ipsec, ipsec_v1, offload, oob
from .binding import *  # noqa: F403
from .common import *  # noqa: F403
from .ipsec import *  # noqa: F403
from .ipsec_v1 import *  # noqa: F403
from .layout import Abi, Field
from .offload import *  # noqa: F403
from .oob import *  # noqa: F403
from .structure import KeyedStructure, RevisionSize, Structure, Union

STRUCTURES: Mapping[str, type[Structure]] = {
    name: vars(module)[name] for module in (common, ipsec, ipsec_v1, offload, oob, binding) for name in module.__all__
}

SIZE_MACROS: Mapping[str, Mapping[Abi, int]] = {
    # NDIS_SIZEOF_..._REVISION_n -> ABI -> bytes
    r.macro: {abi: cls.size_through(r.through, abi) for abi in Abi}
    for cls in STRUCTURES.values()
    for r in cls.REVISIONS
}

__all__ = ["SIZE_MACROS", "STRUCTURES", "Abi", "Field", "KeyedStructure", "RevisionSize", "Structure", "Union"]
__all__ += common.__all__
__all__ += ipsec.__all__
__all__ += ipsec_v1.__all__
__all__ += offload.__all__
__all__ += oob.__all__
__all__ += binding.__all__
