"""Where the documents are silent or disagree, and a real card could differ: one option for each such point.

The defaults are the decisions of docs/ndis.md, which names the test of every option.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Choices of the software network card; ``Options()`` is the careful one.

    Structures and SA requests
    --------------------------
    header_size : Header.Size that is written: the NDIS_SIZEOF macro's value, or the compiler's sizeof.  Both are read.
    spi_network_order : Spi and SequenceNumberHighOrder hold network-order bytes instead of host-order integers.
    max_list_nodes : a linked list with more nodes is refused with INVALID_DATA.
    v1_key_order : which key of a V1 SA comes first in KeyMat; the pages on ADD_SA and on OFFLOAD_ALGO_INFO disagree.

    Keywords
    --------
    keywords_mask_hardware : the hardware capabilities leave out what the keywords disable.
    out_of_range_keyword : a keyword outside its values is taken as its default with a notice, or refused.
    numeric_keywords : REG_DWORD values of keywords are read as well as strings.
    v2_off_wins_on_ipv4_only : *IPsecOffloadV2 = 0 turns IPsec off on a card without IPv6, which otherwise
        only follows *IPsecOffloadV2IPv4.

    Capabilities and configuration
    ------------------------------
    coexistence_needs_transmit_checksum : the flags "IPsecV2 and TCP (UDP) checksum" are reported only while that
        checksum is on for transmit in some family.
    v1_and_lso : IPsecOV1 and LSO exclude each other: report both and leave the choice to NDIS, or only one of them.
    v1_beside_v2 : IPsecOV1 is reported beside IPsecOV2 on NDIS 6.1 and 6.20 (one page keeps V1 for NDIS 6.0).
    skip_registry_flag : OID_TCP_OFFLOAD_PARAMETERS may have Flags bit 0; otherwise every flag is INVALID_DATA.
    beyond_hardware : enabling by OID what the hardware lacks: succeed with what there is, or refuse with INVALID_DATA.
    joint_encapsulation : setting either family's encapsulation on starts IPsec receive work for both.
    strict_encapsulation : members of OID_OFFLOAD_ENCAPSULATION that should be zero, or the length of an Ethernet
        header, and are not, are INVALID_DATA.
    bind_default_configuration : NDIS_BIND_PARAMETERS gives the configuration of initialization, not the current one.
    """

    header_size: Literal["macro", "sizeof"] = "macro"
    spi_network_order: bool = False
    max_list_nodes: int = 1 << 20
    v1_key_order: Literal["confidentiality", "integrity"] = "confidentiality"

    keywords_mask_hardware: bool = False
    out_of_range_keyword: Literal["default", "refuse"] = "default"
    numeric_keywords: bool = True
    v2_off_wins_on_ipv4_only: bool = False

    coexistence_needs_transmit_checksum: bool = True
    v1_and_lso: Literal["both", "ipsec", "lso"] = "both"
    v1_beside_v2: bool = True
    skip_registry_flag: bool = True
    beyond_hardware: Literal["intersect", "refuse"] = "intersect"
    joint_encapsulation: bool = False
    strict_encapsulation: bool = False
    bind_default_configuration: bool = False

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            value, hint = getattr(self, f.name), hints[f.name]
            if not _fits(value, hint):
                wanted = " or ".join(map(repr, get_args(hint))) or f"a value of type {hint.__name__}"
                raise ValueError(f"{f.name}: got {value!r}, wanted {wanted}")
        if self.max_list_nodes < 1:
            raise ValueError(f"max_list_nodes: got {self.max_list_nodes}, wanted 1 or more")


def _fits(value: object, hint: Any) -> bool:
    if get_args(hint):
        return value in get_args(hint)
    return type(value) is hint
