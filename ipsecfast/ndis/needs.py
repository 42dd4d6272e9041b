"""What of NDIS_IPSEC_OFFLOAD_V2 a bundle needs: one rule for ADD_SA, and for SAs when the configuration changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ..sa import SecurityAssociation
from .datapath_options import DatapathCapabilities

__all__ = ["Needs", "needs_of"]


class Needs(NamedTuple):
    """Fields of `DatapathCapabilities` that must be on, with their members' names; UdpEspEncapsulation; algorithms."""

    fields: tuple[tuple[str, str], ...]
    udp_esp: int
    encryption: frozenset[str]
    authentication: frozenset[str]

    def missing(self, on: DatapathCapabilities) -> str:
        """Name of a member of NDIS_IPSEC_OFFLOAD_V2 without which the bundle can't work now; "" if there is none."""
        for field, member in self.fields:
            if not getattr(on, field):
                return member
        if self.udp_esp & ~on.udp_esp:
            return "UdpEsp"
        if on.algorithms is not None:
            if not self.authentication <= on.algorithms:
                return "AuthenticationAlgorithms"
            if not self.encryption <= on.algorithms:
                return "EncryptionAlgorithms"
        return ""


def needs_of(sas: Sequence[SecurityAssociation], ipv6: bool, udp_esp: int) -> Needs:
    """Of one bundle."""
    return _needs(tuple((sa.protocol, sa.encryption, sa.authentication, sa.esn) for sa in sas), ipv6, udp_esp)


@lru_cache(4096)
def _needs(forms: tuple[tuple[str, str, str, bool], ...], ipv6: bool, udp_esp: int) -> Needs:
    """forms : protocol, encryption, authentication and ESN of each SA."""
    fields = [("ipv6", "IPv6Supported")] if ipv6 else []
    if len(forms) == 2:
        fields.append(("ah_esp_combined", "AhEspCombined"))
    encryption: set[str] = set()
    authentication: set[str] = set()
    for protocol, cipher, mac, esn in forms:
        fields.append((protocol, "Ah" if protocol == "ah" else "Esp"))
        if esn:
            fields.append(("esn", "ExtendedSequenceNumbers"))
        if cipher.startswith("AES-GMAC"):  # an authentication algorithm beside no encryption
            authentication.add(cipher)
            cipher = "NULL"
        if protocol == "esp":
            encryption.add(cipher)
        if mac != "NONE":
            authentication.add(mac)
    return Needs(tuple(fields), udp_esp, frozenset(encryption), frozenset(authentication))
