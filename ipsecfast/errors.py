"""Exceptions of ipsecfast.

Wrong use raises one of these, or the built-in ``TypeError``/``ValueError``, before any packet is
touched.  What a peer can cause is never an exception: it is a :class:`ipsecfast.PacketStatus`.
"""


class IpsecError(Exception):
    """Base of every exception that ipsecfast defines."""


class ProviderError(IpsecError, RuntimeError):
    """A crypto provider is missing, failed its known answers, or lacks an algorithm."""


class SADFullError(IpsecError):
    """The SAD holds as many SAs as its capacity allows."""


class DuplicateSAError(IpsecError, ValueError):
    """An SA with this SPI, destination, protocol and direction is already there."""


class KeyFileError(IpsecError, ValueError):
    """A key file holds a line or an object that can't be used; names file, line and reason."""


class CaptureError(IpsecError, ValueError):
    """A capture file can't be read or written; one line says which and why."""
