"""Cards that the NIC's tests send with and receive with, their usual SAs, and what is asked of both."""

from __future__ import annotations

from typing import Any

import by_hand
from helpers import ipv4, keyed
from nic_host import (
    DONE,
    ESP,
    FAILURE,
    IPIP,
    Received,
    esp4,
    frame,
    receive,
    room,
    sealed,
)

from ipsecfast import SecurityAssociation
from ipsecfast.ndis.datapath import Datapath, DatapathCapabilities, DatapathOptions
from ipsecfast.ndis.nbl import NblBatch

GCM = keyed("AES-GCM-128")
CBC = keyed("AES-CBC-128", "HMAC-SHA1-96", spi=0x5678)
TUNNEL = keyed("AES-GCM-256", spi=0x7777)
AH_SA = keyed("NULL", "HMAC-SHA1-96", spi=0xA4A4, protocol="ah")
INNER = keyed("AES-CBC-128", "HMAC-SHA256-128", spi=0x5678)
ESN_SA = keyed("AES-GCM-128", esn=True)
IS_V4, IS_V6, TCP, UDP_SUM, HEADER = 1, 2, 4, 8, 16


# ---------------------------------------------------------------- send


def sender(options: dict[str, Any] | None = None, provider: str | None = None, **caps: Any) -> Datapath:
    return Datapath(DatapathOptions(**options or {}), DatapathCapabilities(**caps), provider, capacity=16)


def outbound(made: Datapath, *sas: SecurityAssociation, **fields: Any) -> int:
    return made.add_bundle("outbound", sas, **fields)


def esp_frame(sa: SecurityAssociation, data: bytes = b"payload", proto: int = 253, seq: int = 1) -> bytes:
    return frame(ipv4(room(sa, data, proto, seq), proto=ESP))


def opened(sa: SecurityAssociation, esp: bytes, seq_hi: int = 0) -> bytes:
    return by_hand.payload_of(sa, esp, seq_hi)


def refused(made: Datapath, one: bytes, **fields: Any) -> bool:
    """Is it, and untouched?"""
    batch = NblBatch.from_frames([one])
    for name, value in fields.items():
        getattr(batch, name)[:] = value
    result = made.send(batch)
    assert batch.frames.to_packets() == [one]
    return result.status.tolist() == [FAILURE] and len(result.transmitted) == 0


# ---------------------------------------------------------------- receive


def receiver(
    *bundles: Any, options: dict[str, Any] | None = None, provider: str | None = None, **caps: Any
) -> Datapath:
    """A NIC with inbound bundles: SAs, or (SAs, keywords)."""
    made = Datapath(DatapathOptions(**options or {}), DatapathCapabilities(**caps), provider, capacity=16)
    for bundle in bundles:
        sas, fields = bundle if isinstance(bundle, tuple) and isinstance(bundle[1], dict) else (bundle, {})
        made.add_bundle("inbound", [sas] if isinstance(sas, SecurityAssociation) else sas, **fields)
    return made


def status(code: int, bits: int = DONE) -> int:
    return bits | code << 16


def info(next_header: int, pad_len: int) -> int:
    return 1 << 16 | pad_len << 8 | next_header


def flipped(one: bytes, at: int = -1) -> bytes:
    changed = bytearray(one)
    changed[at] ^= 0x10
    return bytes(changed)


def assert_untouched(made: Datapath, *frames: bytes, **fields: Any) -> None:
    assert receive(made, *frames, **fields) == [Received(0, 0, one) for one in frames]


def nested(inner: bytes, sa: SecurityAssociation = TUNNEL, seq: int = 1) -> bytes:
    return frame(ipv4(sealed(sa, inner, IPIP if inner[0] >> 4 == 4 else 41, seq), proto=ESP))


def numbered(seq: int, sa: SecurityAssociation = ESN_SA) -> bytes:
    return esp4(sa, b"numbered", 253, seq)
