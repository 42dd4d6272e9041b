"""Datapath: the software NIC's SA table, its sends and its receives; no OIDs, no registry, no adapter states.

Everything that happens per packet is in `ipsecfast.core`; this module checks arguments and takes the NIC's lock, so
that SA changes, sends and receives may come from several threads at once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..core._batch import PacketBatch
from ..sa import SecurityAssociation
from ..sad import SAD
from .nbl import NblBatch

__all__ = ["BundleError", "Datapath", "DatapathCapabilities", "DatapathOptions", "ReceiveResult", "SendResult"]


@dataclass(frozen=True, kw_only=True)
class DatapathCapabilities:
    """What is switched on right now, as far as packets are concerned; an adapter makes it from NDIS_OFFLOAD.

    Parameters
    ----------
    send : IPsec offload is configured for send.
    receive_ipv4, receive_ipv6 : NDIS_ENCAPSULATION_* bits with which IPsec receive work is on for the family; 0 until
        OID_OFFLOAD_ENCAPSULATION.
    encapsulation : NDIS_ENCAPSULATION_* bits for send.
    ipv6, ipv4_options, ipv6_extension_headers, ah, esp, ah_esp_combined, transport, tunnel,
        transport_tunnel_combined, lso, udp_esp : as in NDIS_IPSEC_OFFLOAD_V2.
    tcp_coexistence, udp_coexistence : the IPSEC_OFFLOAD_V2_AND_..._CHECKSUM_COEXISTENCE flags.
    checksum : transmit checksums, OR of 1 IPv4 header, 2 TCP/IPv4, 4 UDP/IPv4, 8 TCP/IPv6, 16 UDP/IPv6.
    lso_v1, lso_v2_ipv4, lso_v2_ipv6 : large send offload is on.
    lso_max_size : bytes of TCP payload that one large send may have (MaxOffLoadSize).
    """

    send: bool = True
    receive_ipv4: int = 0x1F
    receive_ipv6: int = 0x1F
    encapsulation: int = 0x1F
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
    tcp_coexistence: bool = True
    udp_coexistence: bool = True
    checksum: int = 0x1F
    lso_v1: bool = True
    lso_v2_ipv4: bool = True
    lso_v2_ipv6: bool = True
    lso_max_size: int = 1 << 18


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
    plaintext_without_offload : a send that names an SA while IPsec offload is off goes out unprotected, as one page
        says; False: it fails.
    strict_offsets : offsets in slot 12 that are not where the header is fail a send with one IPsec payload.
    udp6_zero_checksum : the UDP header of UDP-ESP over IPv6 has checksum 0 (RFC 6935).
    sent_window : sequence numbers that an outbound SA remembers; a repeated or older one fails. 1 to 4096.

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
    handle_bits: Literal[32, 64] = 64


class BundleError(ValueError):
    """A bundle that is there already, with other keys or algorithms (NDIS_STATUS_INVALID_PARAMETER)."""


class SendResult:
    """What became of a send.

    Attributes
    ----------
    status : uint32[n_nbl], NDIS_STATUS of each list's completion.
    ok : lists that were sent.
    """

    status: NDArray[np.uint32]
    ok: int

    @property
    def transmitted(self) -> PacketBatch:
        """The frames that went out, in order.

        Without large sends they lie where the host had them; with any, all are in a block of their own.
        """
        raise NotImplementedError

    @property
    def nbl(self) -> NDArray[np.int64]:
        """int64[n_frames]: the list that each transmitted frame came from."""
        raise NotImplementedError


class ReceiveResult:
    """What a receive wrote into the batch's words.

    Attributes
    ----------
    word : uint32[n], slot 1's receive form.
    """

    word: NDArray[np.uint32]

    @property
    def xfrm_offload(self) -> NDArray[np.void]:
        """Linux's struct xfrm_offload of each packet: ``flags`` and ``status``, both uint32[n].

        flags : SA_DELETE_REQ 1, CRYPTO_DONE 2, CRYPTO_NEXT_DONE 4.  status : 1 << CryptoStatus where CryptoDone is
        set, else 0 (include/net/xfrm.h).
        """
        raise NotImplementedError


class Datapath:
    """The NIC's SA table and datapath.

    Parameters
    ----------
    options, capabilities : see there; the capabilities may be replaced at run time (`configure`).
    provider : as for :class:`ipsecfast.SAD`.
    capacity : SaOffloadCapacity: bundles of both directions together.

    All methods may be called from several threads; each call has the NIC for itself, and sends and receives release
    the GIL while they work.
    """

    def __init__(
        self,
        options: DatapathOptions | None = None,
        capabilities: DatapathCapabilities | None = None,
        provider: str | None = None,
        capacity: int = 1024,
    ) -> None:
        raise NotImplementedError

    @property
    def capabilities(self) -> DatapathCapabilities:
        """What is switched on."""
        raise NotImplementedError

    def configure(self, capabilities: DatapathCapabilities) -> None:
        """Replace the capabilities.

        Bundles that need one that is gone stay, but match no received packet and fail sends, until it is back.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        """Bundles in the table."""
        raise NotImplementedError

    def add_bundle(
        self,
        direction: Literal["inbound", "outbound"],
        sas: Sequence[SecurityAssociation],
        *,
        ipv6: bool | None = None,
        udp_esp: int = 0,
        seq_hi: Sequence[int] = (0, 0),
        mode_hint: Literal["transport", "tunnel"] | None = None,
    ) -> int:
        """Put in what one ADD_SA entry says and return its handle, an int > 0.

        Parameters
        ----------
        sas : an ESP or an AH SA, or both, ESP first.  Of each count SPI, protocol, addresses (None is the wildcard),
            algorithms, keys, ICV length and ``esn``; both have the same addresses.
        ipv6 : the family, needed where both addresses are None.
        udp_esp : UdpEspEncapsulation.
        seq_hi : high half of the sequence number for each SA with ESN.
        mode_hint : for tests: what mode a failed packet of this SA is reported with.

        A bundle that is there already with the same keys and algorithms gets another handle, and its high halves
        become those given here.  Raises BundleError if keys or algorithms differ, :class:`ipsecfast.SADFullError`,
        :class:`ipsecfast.ProviderError`, ValueError, TypeError; the table is then as it was.
        """
        raise NotImplementedError

    def update(self, handle: int, protocol: Literal["esp", "ah"], spi: int, seq_hi: int) -> None:
        """Replace the high half of one SA's sequence number (UPDATE_SA).

        Raises KeyError for an unknown handle, or one whose SA of this protocol has another SPI or no ESN.
        """
        raise NotImplementedError

    def delete(self, handle: int) -> None:
        """Take a handle out, and its SAs and keys with the last handle of them.  Raises KeyError."""
        raise NotImplementedError

    def clear(self) -> None:
        """Delete every bundle (halt, removal)."""
        raise NotImplementedError

    def request_deletion(self, handle: int, on: bool = True) -> None:
        """Set SaDeleteReq on what an inbound bundle receives from now on, until it is deleted.  Raises KeyError."""
        raise NotImplementedError

    def statistics(self, handle: int) -> tuple[object, ...]:
        """SAStatistics of each SA of a bundle, in `add_bundle`'s order.  Raises KeyError."""
        raise NotImplementedError

    def send(self, nbls: NblBatch) -> SendResult:
        """Do what each list's words ask for, and say what would be on the wire.

        Slots 1 and 11 name SAs (0: none), slot 0 asks for checksums, slot 2 for segmentation; slot 2 gets its
        completion form.  A list is sent whole or not at all.  Frames are protected in place.
        """
        raise NotImplementedError

    def receive(self, nbls: NblBatch) -> ReceiveResult:
        """Check and decrypt in place what matches an inbound SA, and write every list's words.

        Frames keep their place and length.  Raises ValueError for lists with more than one frame: received ones have
        one.
        """
        raise NotImplementedError
