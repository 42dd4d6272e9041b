"""Several captures into one: which form each packet gets, and the loop over chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import CaptureError
from .chunk import ChunkBuffer
from .formats import LINK_TYPES, MAX_SNAPLEN, OutForm, pcapng_section
from .output import OutputFile
from .reader import Capture, DamagedCapture

Transform = Callable[[ChunkBuffer], memoryview]


def check_link_types(captures: Sequence[Capture]) -> None:
    """Raise CaptureError if the first capture is a pcap and another one has a different link type."""
    first = captures[0]
    for other in captures[1:]:
        if not first.header.pcapng and not other.header.pcapng and other.header.link_type != first.header.link_type:
            raise CaptureError(
                f"{other.name}: has link type {_link_text(other)}, but {first.name} has {_link_text(first)}: "
                "different link types need a pcapng as the first capture"
            )


def _link_text(capture: Capture) -> str:
    link_type = capture.header.link_type
    return f"{link_type} ({LINK_TYPES[link_type]})"


def _first_header(captures: Sequence[Capture], grows: bool) -> bytes:
    """What OUT begins with: the header of a pcap, nothing for a pcapng (its blocks come along)."""
    first = captures[0].header
    if first.pcapng:
        return b""
    # Packets longer than the snapshot length would be cut off by readers.
    snaplens = [MAX_SNAPLEN if c.header.pcapng else c.header.snaplen for c in captures]
    snaplens += [MAX_SNAPLEN] if grows else []
    return first.with_snaplen(max(snaplens)) if len(snaplens) > 1 and 0 not in snaplens else first.raw


def rewrite(
    captures: Sequence[Capture],
    output: OutputFile,
    transform: Transform,
    progress: Callable[[int], None] | None = None,
    buffer: ChunkBuffer | None = None,
    grows: bool = False,
) -> list[DamagedCapture]:
    """Write the packets of all captures, in order, in the first one's file type.

    ``transform`` gets each chunk and returns the bytes to be written for it (``buffer.unchanged()``:
    all as it was); ``progress`` the bytes read so far; ``grows`` says that packets may become longer, so that
    snapshot lengths are lifted.  A pcapng goes into a pcapng section by
    section, with all its blocks; a pcap becomes a section of its own.  Between pcaps, and from
    pcapng to pcap, records get the first capture's byte order and resolution (time stamps finer than
    that are cut off), and what is no packet is left out.

    Returns what was damaged or cut off: all packets before that place were written.
    Raises CaptureError for link types that don't go together, and for what can't be written.
    """
    check_link_types(captures)
    first = captures[0].header
    buffer = buffer or ChunkBuffer()
    damaged: list[DamagedCapture] = []
    before = 0
    header_bytes = _first_header(captures, grows)
    blank = not header_bytes
    output.write(header_bytes)
    for capture in captures:
        header = capture.header
        nanos = first.nanos
        form = OutForm.AS_IS
        if first.pcapng and not header.pcapng:
            form, nanos = OutForm.PCAPNG, header.nanos
            output.write(pcapng_section(header.link_type, header.snaplen, nanos))
            blank = False
        elif not first.pcapng and (header.pcapng or (header.big, header.nanos) != (first.big, first.nanos)):
            form = OutForm.PCAP
        chunks = capture.chunks(
            buffer,
            out_form=form,
            out_big=first.big,
            out_nanos=nanos,
            only_link_type=first.link_type,
            grows=grows,
        )
        try:
            for chunk in chunks:
                output.write(transform(chunk))
                blank = False
                if progress is not None:
                    progress(before + capture.position)
        except DamagedCapture as e:
            damaged.append(e.with_traceback(None))  # its frames would keep all buffers alive
        finally:
            chunks.close()
        before += capture.size
    if blank and damaged:  # not even a section header: that would be no capture at all
        raise damaged[0]
    return damaged
