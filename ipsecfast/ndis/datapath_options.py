"""What of the datapath is switched on, and where it has a choice: DatapathCapabilities, DatapathOptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from .hardware import Checksum, Lso
from .iv_generator import IvGenerator

__all__ = ["DatapathCapabilities", "DatapathOptions"]

_ALL_CHECKSUMS = Checksum()
_ANY_LSO = Lso(max_size=1 << 18, min_segments=1)


@dataclass(frozen=True, kw_only=True)
class DatapathCapabilities:
    """What is switched on right now, as far as packets are concerned; an adapter makes it from NDIS_OFFLOAD.

    Parameters
    ----------
    send_ipv4, send_ipv6 : NDIS_ENCAPSULATION_* bits with which IPsec send work is on for the family; 0: sends through
        its SAs fail.
    receive_ipv4, receive_ipv6 : the same of IPsec receive work; 0 until OID_OFFLOAD_ENCAPSULATION.
    ipv6, ipv4_options, ipv6_extension_headers, ah, esp, ah_esp_combined, transport, tunnel,
        transport_tunnel_combined, lso, udp_esp : as in NDIS_IPSEC_OFFLOAD_V2.
    esn : ExtendedSequenceNumbers.
    algorithms : names of what is on of EncryptionAlgorithms and AuthenticationAlgorithms, as in SecurityAssociation;
        None: all.
    tcp_coexistence, udp_coexistence : the IPSEC_OFFLOAD_V2_AND_..._CHECKSUM_COEXISTENCE flags.
    checksum_send_ipv4, checksum_send_ipv6 : what slot 0 may ask for, by the family of the header in front of TCP or
        UDP; other checksums are sent as the host has them.  None: nothing may.
    checksum_receive_ipv4, checksum_receive_ipv6 : what of received frames is looked at, for slot 0; None: nothing,
        as until OID_OFFLOAD_ENCAPSULATION.
    lso_v1, lso_v2_ipv4, lso_v2_ipv6 : large sends of each kind, with its own limits; None: off.
    """

    send_ipv4: int = 0x1F
    send_ipv6: int = 0x1F
    receive_ipv4: int = 0x1F
    receive_ipv6: int = 0x1F
    ipv6: bool = True
    ipv4_options: bool = True
    ipv6_extension_headers: bool = True
    ah: bool = True
    esp: bool = True
    ah_esp_combined: bool = True
    transport: bool = True
    tunnel: bool = True
    transport_tunnel_combined: bool = True
    lso: bool = True
    udp_esp: int = 0xF
    esn: bool = True
    algorithms: frozenset[str] | None = None
    tcp_coexistence: bool = True
    udp_coexistence: bool = True
    checksum_send_ipv4: Checksum | None = _ALL_CHECKSUMS
    checksum_send_ipv6: Checksum | None = _ALL_CHECKSUMS
    checksum_receive_ipv4: Checksum | None = None
    checksum_receive_ipv6: Checksum | None = None
    lso_v1: Lso | None = _ANY_LSO
    lso_v2_ipv4: Lso | None = _ANY_LSO
    lso_v2_ipv6: Lso | None = _ANY_LSO


@dataclass(frozen=True, kw_only=True)
class DatapathOptions:
    """Where the documents are silent and a real card could differ; ``DatapathOptions()`` is the careful one.

    Receive
    -------
    esn : ``"infer"``: around a wrap of the low half the high half is inferred (RFC 4303 appendix A2), so that packets
        are not refused before UPDATE_SA comes; ``"literal"``: exactly the last half that the host gave.
    match_source : an SA's source address is compared too unless it is zero; False: never (NAT).
    learn_tunnel : an ESP SA that once yielded an authenticated inner IP packet counts as a tunnel's when a later
        packet fails.
    two_trailers : slot 12 for a packet with two ESP layers: ``"none"``, or the ``"innermost"`` layer's values.

    Send
    ----
    iv : ``"nic"``: the NIC makes the IVs; ``"host"``: it uses the bytes in the packet, and refuses an all-zero or a
        repeated IV of a counter mode.  Segments of a large send get the NIC's in both.
    iv_generator : callable (n bytes) -> bytes for tests that must be reproducible; None: the provider's generator.
        Which frame of a batch gets which of its bytes may differ between versions.
        It must not call the card that calls it: both calls then raise RuntimeError.  Nor may it wait for a thread that
        does, for that one waits as any other caller does until the card is free: neither would end.
    plaintext_without_offload : a send that names an SA while IPsec offload is off for both families goes out
        unprotected, as one page says; False: it fails.
    strict_offsets : offsets in slot 12 that are not where the header is fail a send with one IPsec payload.
    udp6_zero_checksum : the UDP header of UDP-ESP over IPv6 has checksum 0 (RFC 6935).
    sent_window : sequence numbers that an outbound SA remembers; a repeated or older one fails. 1 to 4096.
    strict_segments : a large send of fewer segments than MinSegmentCount fails, which the host should not have made.
    lso_memory : bytes of segments, headers and all, that one call may make; lists beyond it are completed with
        RESOURCES.

    SA table
    --------
    handle_bits : 32 or 64: how wide handles may be.
    """

    esn: Literal["infer", "literal"] = "infer"
    match_source: bool = True
    learn_tunnel: bool = False
    two_trailers: Literal["none", "innermost"] = "none"
    iv: Literal["nic", "host"] = "nic"
    iv_generator: Callable[[int], bytes] | None = None
    plaintext_without_offload: bool = False
    strict_offsets: bool = False
    udp6_zero_checksum: bool = False
    sent_window: int = 1024
    strict_segments: bool = False
    lso_memory: int = 1 << 28
    handle_bits: Literal[32, 64] = 64

    def __post_init__(self) -> None:
        for name, wanted in _CHOICES.items():
            if getattr(self, name) not in wanted:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, wanted {' or '.join(map(repr, wanted))}")
        if type(self.sent_window) is not int or not 1 <= self.sent_window <= 4096:
            raise ValueError(f"sent_window: got {self.sent_window!r}, wanted 1 to 4096")
        if type(self.lso_memory) is not int or not 1 <= self.lso_memory < 1 << 40:
            raise ValueError(f"lso_memory: got {self.lso_memory!r}, wanted 1 to 2**40 - 1 bytes")
        if self.iv_generator is not None and not callable(self.iv_generator):
            raise TypeError(f"iv_generator: got {type(self.iv_generator).__name__}, wanted a callable or None")

    def guarded(self) -> DatapathOptions:
        """The same; an ``iv_generator`` is one that can't call its card."""
        if self.iv_generator is None or isinstance(self.iv_generator, IvGenerator):
            return self
        return replace(self, iv_generator=IvGenerator(self.iv_generator))


_SWITCHES = (
    "match_source",
    "learn_tunnel",
    "plaintext_without_offload",
    "strict_offsets",
    "udp6_zero_checksum",
    "strict_segments",
)
_CHOICES: dict[str, tuple[object, ...]] = {
    "esn": ("infer", "literal"),
    "two_trailers": ("none", "innermost"),
    "iv": ("nic", "host"),
    "handle_bits": (32, 64),
    **dict.fromkeys(_SWITCHES, (False, True)),
}
