"""The slow model of ESP and AH: one packet at a time, pure Python over pycryptodome.

The tests hold the core against it, packet by packet, and it is the datapath of the provider named
``reference``.  It shares :mod:`ipsecfast.alg`, :mod:`ipsecfast.sa` and :mod:`ipsecfast.status` with
the core and nothing else.  Functions return new bytes and never write in place.

RFC 4303 (ESP), 4302 (AH), 4301 (outer headers, lookup), 6040 (ECN), 3948 (UDP); RFC 4106, 4543, 7634,
3686, 3602, 2405 and 2451 (ciphers), 2403, 2404 and 4868 (HMAC).  No reassembly.  One thread per table.
"""

from .inbound import decapsulate
from .outbound import encapsulate
from .result import Result, Room
from .table import Direction, ReferenceTable, Statistics
from .window import ReplayWindow

__all__ = [
    "Direction",
    "ReferenceTable",
    "ReplayWindow",
    "Result",
    "Room",
    "Statistics",
    "decapsulate",
    "encapsulate",
]
