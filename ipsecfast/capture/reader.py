"""Reading one capture: its header at once, its packets in chunks."""

from __future__ import annotations

from collections.abc import Generator

from ..errors import CaptureError
from .chunk import ChunkBuffer
from .formats import HEADER_LEN, FileHeader, OutForm, parse_header
from .source import Source, SourceError, open_source

# In the order of the enum in core/_capture.pyx.
_DAMAGE = (
    "",
    "a packet with an impossible length",
    "a block with an impossible length",
    "a block whose two lengths differ",
    "a section without a byte-order magic",
    "a section of an unknown version",
    "a packet longer than its block",
    "too many interfaces",
    "",
)
_OTHER_LINK_TYPE = 8


class DamagedCapture(CaptureError):
    """A capture ends early or is damaged; all packets before that place were given out."""


class Capture:
    """A capture file whose header is sound.

    Raises CaptureError, naming the file, for anything that is no readable capture.

    Attributes
    ----------
    name : str, for messages.
    header : FileHeader.
    size : bytes of the file, 0 if unknown.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name: str = path
        self.size: int = 0
        self._source: Source | None = None
        self.header: FileHeader = self._open()
        source = self._source
        assert source is not None
        self.name = source.name
        self.size = source.size
        if source.seekable:  # so that any number of captures can be given
            self.close()

    def _open(self) -> FileHeader:
        try:
            self._source = open_source(self.path)
            return parse_header(self._source.read_up_to(HEADER_LEN))
        except CaptureError as e:
            self.close()
            raise CaptureError(f"{self.path}: {e}") from None

    @property
    def position(self) -> int:
        """Bytes of the file that were read."""
        return self._source.position if self._source else 0

    def close(self) -> None:
        """Close the file; ``chunks`` opens a regular file again."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def chunks(
        self,
        buffer: ChunkBuffer,
        *,
        out_form: OutForm = OutForm.AS_IS,
        out_big: bool = False,
        out_nanos: bool = False,
        only_link_type: int = -1,
        grows: bool = False,
    ) -> Generator[ChunkBuffer, None, None]:
        """Give ``buffer`` out once per chunk, indexed; what is in it ends with the next one.

        out_form, out_big, out_nanos, only_link_type, grows : see ``CaptureIndex.begin``.
        Raises DamagedCapture after the last good chunk, CaptureError for a packet of another link
        type than the wanted one.
        """
        header = self.header
        if self._source is None:
            header = self._open()
        assert self._source is not None
        buffer.index.begin(
            pcapng=header.pcapng,
            big=header.big,
            nanos=header.nanos,
            link_type=header.link_type,
            out_form=out_form,
            out_big=out_big,
            out_nanos=out_nanos,
            only_link_type=only_link_type if header.pcapng else -1,
            grows=grows,
        )
        buffer.load(header.lead)
        taken = HEADER_LEN - len(header.lead)  # bytes of the (unpacked) capture before buffer.raw
        try:
            while True:
                if buffer.advance():
                    yield buffer
                if buffer.index.damage:
                    raise self._damage(buffer, taken + buffer.start)
                if buffer.full:
                    continue
                taken += buffer.start
                if not buffer.fill(self._source.readinto):
                    break
        except SourceError as e:
            raise DamagedCapture(f"{self.name}: {e}; what came before is kept") from None
        finally:
            self.close()
        if buffer.end:
            what = "block" if header.pcapng else "packet"
            raise DamagedCapture(f"{self.name}: ends in the middle of a {what}; what came before it is kept")

    def _damage(self, buffer: ChunkBuffer, at: int) -> CaptureError:
        if buffer.index.damage == _OTHER_LINK_TYPE:
            return CaptureError(
                f"{self.name}: has packets of link type {buffer.index.foreign_link_type}, unlike the first capture: "
                "that needs a pcapng as the first one"
            )
        what = _DAMAGE[buffer.index.damage]
        return DamagedCapture(f"{self.name}: is damaged at byte {at}: {what}; what came before is kept")
