"""Capture files: pcap and pcapng, plain or gzip, read and written chunk by chunk.

Nothing here knows of ESP: a capture is indexed natively, somebody works on the packets of a chunk in
place, and the chunk is put together again with what they have become.
"""

from .chunk import ChunkBuffer
from .output import OutputFile
from .reader import Capture, DamagedCapture
from .rewrite import rewrite

__all__ = ["Capture", "ChunkBuffer", "DamagedCapture", "OutputFile", "rewrite"]
