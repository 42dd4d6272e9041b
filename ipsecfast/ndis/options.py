"""Where the documents are silent or disagree, and a real card could differ: one option for each such point.

The defaults are the decisions of docs/ndis.md, which names the test of every option.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
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

    SA OIDs
    -------
    direct_oids : direct requests are done in the call, or answered PENDING and done by ``Miniport.poll``.
    sa_oids_on_ordinary_path : answer to the SA OIDs on the ordinary path, and to queries of them.
    full_status : answer to ADD_SA when there is no room.
    not_enabled_status : answer to ADD_SA for what the current configuration does not have.
    failed_list_status : where no entry of a list was offloaded, the status of its first or of its last entry.
    list_length : InformationBufferLength of a list covers its first node at least, or all nodes together.
    update_mismatch_status : answer to UPDATE_SA whose Operation and Spi are not the bundle's, or without ESN.
    unknown_delete : handles in DELETE_SA that name nothing are skipped and counted, or fail the whole request with
        INVALID_PARAMETER and nothing deleted.
    unauthenticated_esp : an ESP SA may encrypt without integrity; otherwise INVALID_DATA.
    salt : for tests: 4 bytes that serve as salt where an AES-GCM or GMAC key comes without one; empty: INVALID_DATA.
    icv_in_bits : AdditionalInfo of AES-GCM may be 64, 96 or 128 as well as 8, 12 or 16.
    single_udp_esp : UdpEspEncapsulation with more than one bit is INVALID_DATA.

    SA management
    -------------
    pause_refuses_direct_oids : while paused, direct requests are answered NOT_ACCEPTED.
    config_change : SAs that need what the configuration lost are kept, unmatched, until DELETE_SA; or deleted.
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

    direct_oids: Literal["immediate", "pending"] = "immediate"
    sa_oids_on_ordinary_path: Literal["not-supported", "invalid-oid"] = "not-supported"
    full_status: Literal["resources", "failure"] = "resources"
    not_enabled_status: Literal["not-supported", "failure"] = "not-supported"
    failed_list_status: Literal["first", "last"] = "first"
    list_length: Literal["first-node", "all-nodes"] = "first-node"
    update_mismatch_status: Literal["invalid-parameter", "invalid-data"] = "invalid-parameter"
    unknown_delete: Literal["ignore", "refuse"] = "ignore"
    unauthenticated_esp: bool = False
    salt: bytes = field(default=b"", repr=False)
    icv_in_bits: bool = False
    single_udp_esp: bool = False

    pause_refuses_direct_oids: bool = False
    config_change: Literal["keep", "delete"] = "keep"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            value, hint = getattr(self, f.name), hints[f.name]
            if not _fits(value, hint):
                wanted = " or ".join(map(repr, get_args(hint))) or f"a value of type {hint.__name__}"
                raise ValueError(f"{f.name}: got {value!r}, wanted {wanted}")
        if self.max_list_nodes < 1:
            raise ValueError(f"max_list_nodes: got {self.max_list_nodes}, wanted 1 or more")
        if len(self.salt) not in (0, 4):
            raise ValueError(f"salt: got {len(self.salt)} bytes, wanted 4 or none")


def _fits(value: object, hint: Any) -> bool:
    if get_args(hint):
        return value in get_args(hint)
    return type(value) is hint
