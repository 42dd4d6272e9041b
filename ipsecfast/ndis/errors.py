"""Errors at the NDIS edge: each carries the NDIS_STATUS that a miniport would return."""

from __future__ import annotations

from ..errors import IpsecError
from .constants import NdisStatus

__all__ = ["MemoryFault", "NdisError", "RegistryError", "StructureError"]


class NdisError(IpsecError):
    """A request that is answered with ``status``, a failure code."""

    def __init__(self, status: NdisStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class StructureError(NdisError, ValueError):
    """Bytes that are not the structure they should be: short, wrong header, lengths that point outside."""


class MemoryFault(StructureError):
    """An address that no allocation holds, or a read or write past the end of one."""


class RegistryError(IpsecError, ValueError):
    """A registry file that can't be read; one line with file, line and reason."""
