"""ipsecfast: ESP over batches of packets at the speed of the crypto library.

>>> import ipsecfast
>>> sad = ipsecfast.SAD()
>>> sa = ipsecfast.SecurityAssociation(spi=0xA5F8, mode="tunnel", src="192.0.2.1", dst="192.0.2.2",
...                                    encryption="AES-GCM-128", enc_key=bytes(16), salt=bytes(4))
>>> handle = sad.add(sa, direction="outbound")
"""

from . import crypto
from ._version import __version__
from .core._batch import PacketBatch
from .core._engine import Result, decapsulate, encapsulate
from .core._window import ReplayWindow
from .errors import CaptureError, DuplicateSAError, IpsecError, KeyFileError, ProviderError, SADFullError
from .provider import ProviderInfo, providers
from .sa import SecurityAssociation
from .sad import SAD, SAStatistics
from .spd import SPD, Selector
from .status import PacketStatus

__all__ = [
    "SAD",
    "SPD",
    "CaptureError",
    "DuplicateSAError",
    "IpsecError",
    "KeyFileError",
    "PacketBatch",
    "PacketStatus",
    "ProviderError",
    "ProviderInfo",
    "ReplayWindow",
    "Result",
    "SADFullError",
    "SAStatistics",
    "SecurityAssociation",
    "Selector",
    "__version__",
    "crypto",
    "decapsulate",
    "encapsulate",
    "providers",
]
