"""ReplayWindow: the datapath's anti-replay window by itself."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from ._window cimport esn_infer, window_check, window_mark, window_words


cdef class ReplayWindow:
    """A receive window (RFC 4303 sec. 3.4.3), the very code that `decapsulate` uses.

    Parameters
    ----------
    size : packets, 0 to 4096; 0 accepts everything.
    esn : infer the high half of 64-bit numbers (RFC 4303 appendix A2).
    top : the highest number authenticated so far; it counts as not yet seen until marked.

    Raises ValueError for a size or top out of range.
    """

    cdef uint64_t *_ring
    cdef uint64_t _mask, _top
    cdef uint32_t _size
    cdef bint _esn

    def __cinit__(self, size, esn=False, top=0):
        if not 0 <= size <= 4096:
            raise ValueError(f"size: got {size}, wanted 0 to 4096 packets")
        if not 0 <= top <= (0xFFFFFFFFFFFFFFFF if esn else 0xFFFFFFFF):
            raise ValueError(f"top: got {top}, wanted {64 if esn else 32} bits")
        cdef uint32_t words = window_words(size)
        self._ring = <uint64_t *> calloc(words, 8)
        if self._ring == NULL:
            raise MemoryError()
        self._mask = words - 1
        self._size = size
        self._esn = esn
        self._top = top

    def __dealloc__(self):
        free(self._ring)

    @property
    def top(self):
        """The highest number marked, or the one given at the start."""
        return self._top

    @property
    def size(self):
        """Packets."""
        return self._size

    def check(self, seq_lo):
        """May a packet with these low 32 bits be accepted?

        Returns (acceptable, seq64): the 64-bit number is what the ICV is to be checked with.
        Raises ValueError beyond 32 bits.
        """
        if not 0 <= seq_lo <= 0xFFFFFFFF:
            raise ValueError(f"seq_lo: got {seq_lo}, wanted 32 bits")
        cdef bint valid = True
        cdef uint64_t seq = seq_lo
        if self._esn:
            seq = esn_infer(self._top, self._size, seq_lo, &valid)
        if valid and self._size:
            valid = window_check(self._ring, self._mask, self._size, self._top, seq)
        return bool(valid), seq

    def mark(self, seq64):
        """Note that a packet with this number was authenticated; moves the window if it is beyond.

        A number left of the window changes nothing.  Raises ValueError for a number out of range.
        """
        if not 0 <= seq64 <= (0xFFFFFFFFFFFFFFFF if self._esn else 0xFFFFFFFF):
            raise ValueError(f"seq64: got {seq64}, wanted {64 if self._esn else 32} bits")
        cdef uint64_t seq = seq64
        if self._size == 0:
            self._top = max(self._top, seq)
        elif seq > self._top or self._top - seq < self._size:
            self._top = window_mark(self._ring, self._mask, self._top, seq)
