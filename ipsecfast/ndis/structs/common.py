"""NDIS_OBJECT_HEADER, the start of every structure that has revisions."""

from __future__ import annotations

from .layout import uchar, ushort
from .structure import Structure

__all__ = ["NDIS_OBJECT_HEADER"]


class NDIS_OBJECT_HEADER(Structure):
    """Type, revision, and size of the structure as of that revision."""

    Type = uchar()
    Revision = uchar()
    Size = ushort()
