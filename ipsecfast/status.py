"""The verdict on one packet.

The numbers are those the core writes; ``tests/test_status.py`` compares them with its enum.
"""

from enum import IntEnum


class PacketStatus(IntEnum):
    """What became of one packet of a batch.

    Only ``OK`` packets change place and length.  Every other packet keeps both; its bytes are as
    they were or, where decryption had begun, zero from the outermost ESP or AH header on.
    """

    text: str

    def __new__(cls, value: int, text: str = "") -> "PacketStatus":
        member = int.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    OK = 0, "done"
    NOT_IPSEC = 1, "no ESP or AH packet (also IKE, keepalives)"
    NO_SA = 2, "no SA for this SPI, destination and protocol"
    AUTH_FAILED = 3, "the ICV is wrong"
    REPLAYED = 4, "the sequence number was seen before or lies left of the window"
    MALFORMED = 5, "a length, a header or the padding does not fit the packet"
    FRAGMENT = 6, "an IP fragment"
    SEQ_EXHAUSTED = 7, "the SA has used its last sequence number"
    NO_ROOM = 8, "the slot is too small for the packet to grow, or the IP length would overflow"
    DUMMY = 9, "a dummy packet (next header 59)"
    ECN = 10, "congestion marked outside, but the inner packet can't carry the mark"
    CRYPTO_FAILED = 11, "the crypto library refused the work"
