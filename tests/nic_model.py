"""What the card's state machine knows beside the card: SAs, statuses, bundles."""

from __future__ import annotations

import os
import struct
from dataclasses import replace

from helpers import ipv4, ipv6, keyed, udp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from nic_host import ESP, UDP, ah_sealed, frame, l4_sum, sealed, tcp_segment
from nic_oids import (
    FAILURE,
    INVALID_DATA,
    INVALID_PARAMETER,
    NOT_SUPPORTED,
    RESOURCES,
)

from ipsecfast import SecurityAssociation
from ipsecfast.ndis import (
    NdisStatus,
)

CAPACITY, WINDOW = 4, 1024
MSS, MAX_LARGE = 700, 3000
RUNNING, PAUSED = "running", "paused"
END6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}
SAS = {
    "gcm": keyed("AES-GCM-128", spi=0x101),
    "esn": keyed("AES-GCM-256", spi=0x102, esn=True),
    "cbc": keyed("AES-CBC-128", "HMAC-SHA1-96", spi=0x103),
    "gcm-too": keyed("AES-GCM-128", spi=0x106),
    "gcm6": keyed("AES-GCM-192", spi=0x104, **END6),
    "ah": keyed("NULL", "HMAC-SHA256-128", protocol="ah", spi=0x105),
}
OTHER_KEY = {name: replace(sa, enc_key=sa.enc_key[::-1], auth_key=sa.auth_key[::-1]) for name, sa in SAS.items()}
FILLED, SELDOM = st.sampled_from((True, True, True, False)), st.sampled_from((False,) * 7 + (True,))
NAMES, WHO = st.sampled_from(sorted(SAS)), st.sampled_from(("inbound", "outbound"))
AT_ONCE = (
    NdisStatus.NDIS_STATUS_INVALID_LENGTH,
    NdisStatus.NDIS_STATUS_UNSUPPORTED_REVISION,
    INVALID_DATA,
    INVALID_PARAMETER,
    NOT_SUPPORTED,
    RESOURCES,
)
SEND_REFUSED = {
    PAUSED: NdisStatus.NDIS_STATUS_PAUSED,
    "resetting": NdisStatus.NDIS_STATUS_RESET_IN_PROGRESS,
    "standby": NdisStatus.NDIS_STATUS_LOW_POWER_STATE,
    "removed": FAILURE,
    "halted": FAILURE,
}


class Bundle:
    """What the model knows of an SA in the table."""

    def __init__(self, name: str, way: str, hi: int) -> None:
        self.name, self.way, self.hi = name, way, hi
        self.handles: set[int] = set()
        self.sent: set[int] = set()
        self.asked = False

    def refuses(self, seq: int) -> bool:
        """Was the number sent, or is it older than what the card remembers?"""
        return seq in self.sent or seq + WINDOW <= max(self.sent, default=0)


def datagram(version: int, n: int, wrong: bool = False) -> bytes:
    """UDP with n bytes and a checksum."""
    made = udp(bytes(range(n)), dport=9)
    total = l4_sum(version, UDP, made) ^ 0x1234 * wrong
    return made[:6] + struct.pack(">H", total or 0xFFFF) + made[8:]


def version_of(sa: SecurityAssociation) -> int:
    return 6 if sa.spi == 0x104 else 4


def received_packet(sa: SecurityAssociation, seq: int, data: bytes, next_header: int) -> bytes:
    """What a peer sends with a number."""
    if sa.protocol == "ah":
        return ah_sealed(sa, data, next_header, seq)
    esp = sealed(sa, data, next_header, seq)
    return ipv6(esp, proto=ESP) if sa.spi == 0x104 else ipv4(esp, proto=ESP)


def large_packet(sa: SecurityAssociation, seq: int, size: int) -> tuple[bytes, int]:
    """An IPv4 frame with so much TCP payload for large send version 2, ESP's header in it, and its word."""
    head = struct.pack(">II", sa.spi, seq & 0xFFFFFFFF) + bytes(sa.enc_alg.iv_len)
    segment = tcp_segment(4, bytes(i & 0xFF for i in range(size)), flags=0x10)
    return frame(ipv4(b"", proto=ESP) + head + segment), MSS | 34 + len(head) << 20 | 1 << 30


def run_settings() -> settings:
    """A short run; ``IPSECFAST_NDIS_STEPS`` in the environment asks for so many steps."""
    steps = int(os.environ.get("IPSECFAST_NDIS_STEPS", "1000"))
    return settings(
        max_examples=-(-steps // 50),
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
