"""Large sends as a host hands them to the NIC, and what is asked of their segments."""

from __future__ import annotations

import struct

from nic_host import ESP, FAILURE, SUCCESS, frame, ip, l4_sum, lists, tcp_segment

from ipsecfast import SecurityAssociation
from ipsecfast.ndis.datapath import Datapath

V2, V6, FIN, PSH, CWR, ACK = 1 << 30, 1 << 31, 1, 8, 0x80, 0x10
MSS = 1400
STREAM = bytes(i * i >> 3 & 0xFF for i in range(65000))
ENDS6 = {"src": "2001:db8::1", "dst": "2001:db8::2"}


def no_length(packet: bytes) -> bytes:
    """As version 2 has it: IPv4's Total Length is 0, and so is its checksum."""
    return packet[:2] + b"\0\0" + packet[4:10] + b"\0\0" + packet[12:] if packet[0] >> 4 == 4 else packet


def large(
    version: int, sa: SecurityAssociation | None, data: bytes, *, filler: int = 0, seq: int = 1, flags: int = ACK
) -> bytes:
    """A large packet with ESP's header and no trailer."""
    segment = tcp_segment(version, data, flags) + b"\xee" * filler
    if sa is None:
        return frame(ip(version, b"", 6) + segment)
    head = struct.pack(">II", sa.spi, seq & 0xFFFFFFFF) + bytes(sa.enc_alg.iv_len)
    return frame(ip(version, b"", ESP) + head + segment)


def tcp_offset(version: int, sa: SecurityAssociation | None = None) -> int:
    return 14 + (20 if version == 4 else 40) + (8 + sa.enc_alg.iv_len if sa else 0)


def cut(made: Datapath, one: bytes, handle: int, word: int, pad: int = 0, **rows: int) -> list[bytes]:
    """What the NIC sends of one large packet."""
    batch = lists([[one]], ipsec=handle, large_send=word, header=6 | pad << 8, **rows)
    result = made.send(batch)
    assert result.status.tolist() == [SUCCESS] and batch.large_send.tolist() == [
        word & V2 or payload_of(one, word, pad)
    ]
    assert batch.frames.to_packets() == [one]
    return result.transmitted.to_packets()


def payload_of(one: bytes, word: int, pad: int) -> int:
    """Bytes of payload, for version 1's completion."""
    at = word >> 20 & 0x3FF
    return len(one) - at - (one[at + 12] >> 4) * 4 - pad


def fails(made: Datapath, one: bytes | list[bytes], handle: int, word: int, header: int = 6, tunnel: int = 0) -> bool:
    batch = lists(
        [[one] if isinstance(one, bytes) else one], ipsec=handle, large_send=word, header=header, tunnel=tunnel
    )
    result = made.send(batch)
    assert len(result.transmitted) == (0 if result.status[0] else len(result.nbl))
    return result.status.tolist() == [FAILURE]


def check_segments(version: int, segments: list[bytes], data: bytes, mss: int, flags: int = ACK) -> None:
    """TCP segments in order are what `data` in pieces of `mss` bytes must be."""
    stream, seq = b"", 1000
    for i, segment in enumerate(segments):
        last = i == len(segments) - 1
        assert l4_sum(version, 6, segment) == 0
        assert struct.unpack_from(">I", segment, 4)[0] == seq + len(stream)
        want = flags & ~(0 if last else FIN | PSH) & ~(CWR if i else 0)
        assert segment[13] == want
        assert len(segment) - 20 == mss or (last and 0 < len(segment) - 20 <= mss)
        stream += segment[20:]
    assert stream == data
