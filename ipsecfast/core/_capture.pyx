"""Finds the packets of a chunk of a capture file, and puts the chunk together again.

Two passes over a chunk, each one call with the GIL released:

1. ``index``: walk the records (pcap) or blocks (pcapng) from ``start`` on as far as they are
   complete; per packet note where its frame is, where its IP header is and where the link layer
   states the IP family; copy the chunk to ``work``, where packets may be decrypted in place.
2. ``assemble``: write the chunk again: what was not replaced as it stands in ``raw``, byte for
   byte; a decrypted or encrypted packet from where it is now, behind its own record and link
   headers, with lengths, padding and the family corrected.

Does not read or write files, and knows nothing of ESP but where an SPI stands.  Formats: libpcap
savefile (pcap-savefile(5)), pcapng (draft-ietf-opsawg-pcapng), link types of tcpdump.org.
Every length is checked in 64 bit before it is used.  One thread at a time per object.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from ._link cimport find_spi, load16, load32, locate_ip, store32
from ._record cimport (
    AS_IS, AS_PCAPNG, FORM_BLOCK, FORM_PCAP, FORM_SIMPLE, assemble_as_is, chunk_t, convert, interface_t, padded,
    record_t, split_time
)

cdef enum:
    MAX_CAPLEN = 0x100000       # four times libpcap's MAXIMUM_SNAPLEN: more is damage
    MAX_BLOCK = 0x1000000       # as Wireshark and libpcap
    MAX_INTERFACES = 0x10000    # per section

cdef enum:
    SECTION_HEADER = 0x0A0D0D0A
    INTERFACE = 1
    PACKET = 2                  # obsolete, still read
    SIMPLE_PACKET = 3
    ENHANCED_PACKET = 6

cdef enum:                      # what `damage` may say; texts in ipsecfast/capture/reader.py
    SOUND
    BAD_CAPLEN
    BAD_BLOCK_LENGTH
    BAD_BLOCK_TRAILER
    BAD_BYTE_ORDER
    BAD_VERSION
    BAD_PACKET_BLOCK
    TOO_MANY_INTERFACES
    OTHER_LINK_TYPE

cdef class CaptureIndex:
    """The packets of one chunk, and what of a capture is to be known from chunk to chunk.

    Parameters
    ----------
    offset, length : int64[capacity], int32[capacity], written by ``index``: where packet k of those
        that hold IP starts (its IP header, in the chunk), and how long it is up to the frame's end.
    """

    cdef record_t *records
    cdef interface_t *interfaces
    cdef int64_t[::1] offset
    cdef int32_t[::1] length
    cdef int64_t capacity, n_interfaces, room
    cdef bint pcapng, big, nanos, with_times, grows
    cdef int link_type, only_link_type, out_form
    cdef bint out_big, out_nanos
    cdef readonly int64_t count         # packets in the chunk
    cdef readonly int64_t n_ip          # of these, with IP
    cdef readonly int64_t needed        # bytes that the next record needs, as far as known
    cdef readonly int64_t unfit         # decrypted or encrypted, but left: the link type can't hold their family
    cdef readonly int64_t foreign       # packets of a link type in which IP can't be found
    cdef readonly int foreign_link_type
    cdef readonly int damage            # 0, or why indexing ended at the returned place
    cdef int64_t start, end

    def __cinit__(self, int64_t[::1] offset not None, int32_t[::1] length not None):
        if offset.shape[0] != length.shape[0] or not offset.shape[0]:
            raise ValueError("offset and length: wanted one size above 0")
        self.offset = offset
        self.length = length
        self.capacity = offset.shape[0]
        self.room = 8
        self.records = <record_t *>malloc(<size_t>self.capacity * sizeof(record_t))
        self.interfaces = <interface_t *>malloc(<size_t>self.room * sizeof(interface_t))
        if self.records == NULL or self.interfaces == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.records)
        free(self.interfaces)

    def begin(self, *, bint pcapng, bint big, bint nanos, int link_type, int out_form, bint out_big,
              bint out_nanos, int only_link_type, bint grows=False):
        """Start a capture.

        pcapng, big, nanos, link_type : its form; the last three are those of a pcap's file header.
        out_form : 0 as it is, 1 pcap (``out_big``, ``out_nanos`` say which), 2 enhanced packet
            blocks of interface 0, little-endian, in units of 1e-9 s or 1e-6 s (``out_nanos``).
        only_link_type : packets of any other are damage (8); -1: all will do.
        grows : packets may become longer than a pcapng interface's snapshot length, which is set
            to none for it.
        """
        self.pcapng, self.big, self.nanos, self.link_type = pcapng, big, nanos, link_type
        self.out_form, self.out_big, self.out_nanos = out_form, out_big, out_nanos
        self.only_link_type, self.grows = only_link_type, grows
        self.with_times = out_form != AS_IS
        self.count = self.n_ip = self.n_interfaces = 0
        self.start = self.end = 0

    def index(self, uint8_t[::1] raw not None, uint8_t[::1] work not None, int64_t start, int64_t end):
        """Index raw[start:end] as far as records are complete and room for them is left.

        raw : uint8[n]; a pcapng section's length is set to unknown in it, as packets change theirs.
        work : uint8[n], at least as long; gets a copy of what was indexed.
        Returns where the first record starts that was not indexed.  If that is ``start``, more bytes
        are wanted (``needed``), or ``damage`` says what is wrong there.
        """
        cdef int64_t at
        if not 0 <= start <= end <= raw.shape[0] or work.shape[0] < end:
            raise ValueError("start, end: not inside raw and work")
        self.start = self.end = start
        self.count = self.n_ip = 0
        self.damage = SOUND
        self.needed = 0
        if start == end:
            return start
        with nogil:
            if self.pcapng:
                at = self.index_blocks(&raw[0], start, end)
            else:
                at = self.index_records(&raw[0], start, end)
            memcpy(&work[start], &raw[start], <size_t>(at - start))
        self.end = at
        return at

    cdef void add(self, const uint8_t *raw, record_t *r, int link_type) noexcept nogil:
        if not locate_ip(raw + r.frame, r.caplen, link_type, &r.place):
            self.foreign += 1
            self.foreign_link_type = link_type
        if r.place.ip >= 0:
            self.offset[self.n_ip] = r.frame + r.place.ip
            self.length[self.n_ip] = r.caplen - r.place.ip
            self.n_ip += 1
        self.count += 1

    cdef int64_t index_records(self, const uint8_t *raw, int64_t at, int64_t end) noexcept nogil:
        cdef record_t *r
        cdef int64_t caplen
        while self.count < self.capacity:
            self.needed = 16
            if end - at < 16:
                break
            caplen = load32(raw + at + 8, self.big)
            if caplen > MAX_CAPLEN:
                self.damage = BAD_CAPLEN
                break
            self.needed = 16 + caplen
            if end - at < self.needed:
                break
            r = &self.records[self.count]
            r.start = at
            r.frame = at + 16
            r.end = r.frame + caplen
            r.caplen = <int32_t>caplen
            r.form = FORM_PCAP
            r.big = self.big
            if self.with_times:
                r.orig_len = load32(raw + at + 12, self.big)
                r.seconds = load32(raw + at, self.big)
                r.nanoseconds = <int64_t>load32(raw + at + 4, self.big) * (1 if self.nanos else 1000)
            self.add(raw, r, self.link_type)
            at = r.end
        return at

    cdef int64_t index_blocks(self, uint8_t *raw, int64_t at, int64_t end) noexcept nogil:
        cdef uint32_t kind
        cdef int64_t total
        cdef bint big = self.big
        while self.count < self.capacity:
            self.needed = 12
            if end - at < 12:
                break
            kind = load32(raw + at, big)
            if kind == SECTION_HEADER:          # reads the same in both orders
                if load32(raw + at + 8, False) == 0x1A2B3C4D:
                    big = False
                elif load32(raw + at + 8, True) == 0x1A2B3C4D:
                    big = True
                else:
                    self.damage = BAD_BYTE_ORDER
                    break
            total = load32(raw + at + 4, big)
            if total < 12 or total & 3 or total > MAX_BLOCK:
                self.damage = BAD_BLOCK_LENGTH
                break
            self.needed = total
            if end - at < total:
                break
            if load32(raw + at + total - 4, big) != total:
                self.damage = BAD_BLOCK_TRAILER
                break
            self.big = big
            if kind == SECTION_HEADER:
                self.damage = self.section_block(raw + at, total)
            elif kind == INTERFACE:
                self.damage = self.interface_block(raw + at, total)
            elif kind == ENHANCED_PACKET or kind == PACKET or kind == SIMPLE_PACKET:
                self.damage = self.packet_block(raw, at, total, kind)
            if self.damage:
                break
            at += total
        return at

    cdef int section_block(self, uint8_t *block, int64_t total) noexcept nogil:
        if total < 28:
            return BAD_BLOCK_LENGTH
        if load16(block + 12, self.big) != 1:
            return BAD_VERSION
        memset(block + 16, 0xFF, 8)             # section length: -1, not told
        self.n_interfaces = 0
        return SOUND

    cdef int interface_block(self, uint8_t *block, int64_t total) noexcept nogil:
        cdef interface_t *interface
        cdef void *more
        cdef int64_t at = 16, end = total - 4, size
        cdef uint32_t code
        if total < 20:
            return BAD_BLOCK_LENGTH
        if self.n_interfaces == self.room:
            more = NULL
            if self.room < MAX_INTERFACES:
                more = realloc(self.interfaces, <size_t>(2 * self.room) * sizeof(interface_t))
            if more == NULL:
                return TOO_MANY_INTERFACES
            self.interfaces = <interface_t *>more
            self.room *= 2
        interface = &self.interfaces[self.n_interfaces]
        self.n_interfaces += 1
        interface.link_type = <int32_t>load16(block + 8, self.big)
        interface.snaplen = load32(block + 12, self.big)
        if self.grows:
            store32(block + 12, 0, False)
        interface.resolution = 6
        interface.offset = 0
        while end - at >= 4:
            code = load16(block + at, self.big)
            size = load16(block + at + 2, self.big)
            at += 4
            if not code or end - at < size:
                break
            if code == 9 and size == 1:         # if_tsresol
                interface.resolution = block[at]
            elif code == 14 and size == 8:      # if_tsoffset
                interface.offset = <int64_t>(
                    <uint64_t>load32(block + at + (0 if self.big else 4), self.big) << 32
                    | load32(block + at + (4 if self.big else 0), self.big))
            at += padded(size)
        return SOUND

    cdef int packet_block(self, const uint8_t *raw, int64_t at, int64_t total, uint32_t kind) noexcept nogil:
        cdef record_t *r = &self.records[self.count]
        cdef const uint8_t *block = raw + at
        cdef interface_t unknown
        cdef interface_t *interface = &unknown
        cdef int64_t head = 12 if kind == SIMPLE_PACKET else 28, caplen, number = 0
        unknown.link_type = -1
        unknown.snaplen = unknown.offset = 0
        unknown.resolution = 6
        if total < head + 4:
            return BAD_BLOCK_LENGTH
        if kind == ENHANCED_PACKET:
            number = load32(block + 8, self.big)
        elif kind == PACKET:
            number = load16(block + 8, self.big)
        if number < self.n_interfaces:
            interface = &self.interfaces[number]
        if kind == SIMPLE_PACKET:               # no length of its own: the smallest of three
            caplen = load32(block + 8, self.big)
            if interface.snaplen and caplen > interface.snaplen:
                caplen = interface.snaplen
            caplen = min(caplen, total - head - 4)
            if self.grows:
                # the block tells the whole length alone, and the snapshot length that cut it is gone
                store32(<uint8_t *>block + 8, <uint32_t>caplen, self.big)
        else:
            caplen = load32(block + 20, self.big)
        if caplen > MAX_CAPLEN:
            return BAD_CAPLEN
        if padded(caplen) > total - head - 4:
            return BAD_PACKET_BLOCK
        if self.only_link_type >= 0 and interface.link_type != self.only_link_type:
            self.foreign_link_type = interface.link_type
            return OTHER_LINK_TYPE
        r.start = at
        r.frame = at + head
        r.end = at + total
        r.caplen = <int32_t>caplen
        r.form = FORM_SIMPLE if kind == SIMPLE_PACKET else FORM_BLOCK
        r.big = self.big
        if self.with_times:
            r.orig_len = load32(block + (8 if kind == SIMPLE_PACKET else 24), self.big)
            r.seconds = r.nanoseconds = 0
            if kind != SIMPLE_PACKET:
                split_time(r, <uint64_t>load32(block + 12, self.big) << 32 | load32(block + 16, self.big), interface)
        self.add(raw, r, interface.link_type)
        return SOUND

    def out_room(self, const int32_t[::1] length not None, const uint8_t[::1] status not None):
        """Bytes that ``assemble`` may write for what was indexed last, if it gets these."""
        cdef int64_t k, grown = 0
        self.check_packets(length.shape[0], length.shape[0], status.shape[0])
        for k in range(self.n_ip):
            if status[k] == 0 and length[k] > self.length[k]:
                grown += length[k] - self.length[k] + 3     # and a block's padding
        # pcap records that go into blocks grow by 16 bytes of header and up to 3 of padding.
        return self.end - self.start + grown + (20 * self.count if self.out_form == AS_PCAPNG else 0)

    cdef int check_packets(self, int64_t n_offset, int64_t n_length, int64_t n_status) except -1:
        if n_offset != self.n_ip or n_length != self.n_ip or n_status != self.n_ip:
            raise ValueError(f"offset, length, status: wanted {self.n_ip} entries each")
        return 0

    def assemble(self, const uint8_t[::1] raw not None, const uint8_t[::1] work not None, uint8_t[::1] out not None,
                 const int64_t[::1] offset not None, const int32_t[::1] length not None,
                 const uint8_t[::1] status not None):
        """Write what was indexed last to ``out``; returns its length in bytes.

        work : uint8[any], where packets with status 0 are taken from.
        offset, length, status : int64[n_ip], int32[n_ip], uint8[n_ip]: where each packet is now in
            ``work``, from its IP header on, and 0 if it is to be taken from there.
        Raises ValueError for other shapes, a packet outside of ``work``, or fewer than ``out_room``
        bytes in ``out``.
        """
        cdef int64_t written, size = work.shape[0]
        cdef chunk_t chunk
        self.check_packets(offset.shape[0], length.shape[0], status.shape[0])
        if raw.shape[0] < self.end or out.shape[0] < self.out_room(length, status):
            raise ValueError("raw, out: too small for what was indexed")
        if self.start == self.end:
            return 0
        memset(&chunk, 0, sizeof(chunk))
        chunk.records, chunk.count, chunk.start, chunk.end = self.records, self.count, self.start, self.end
        chunk.raw, chunk.out = &raw[0], &out[0]
        chunk.out_form, chunk.out_big, chunk.out_nanos = self.out_form, self.out_big, self.out_nanos
        if size:
            chunk.work = &work[0]
        if self.n_ip:
            chunk.offset, chunk.length, chunk.status = &offset[0], &length[0], &status[0]
        with nogil:
            if not self.inside(&chunk, size):
                written = -1
            elif self.out_form == AS_IS:
                written = assemble_as_is(&chunk)
            else:
                written = convert(&chunk)
        if written < 0:
            raise ValueError(f"offset, length: a packet lies outside of the {size} bytes of work")
        self.unfit += chunk.unfit
        return written

    cdef bint inside(self, const chunk_t *chunk, int64_t size) noexcept nogil:
        cdef int64_t k
        for k in range(self.n_ip):
            if chunk.status[k] == 0 and not (
                    0 < chunk.length[k] <= size and 0 <= chunk.offset[k] <= size - chunk.length[k]):
                return False
        return True

    def unknown_spis(self, const uint8_t[::1] raw not None, const uint8_t[::1] status not None, int no_sa,
                     uint32_t[::1] out not None):
        """The SPIs of the packets with status ``no_sa`` to ``out``, uint32[n_ip]; returns how many."""
        cdef int64_t k, spi, n = 0
        if status.shape[0] != self.n_ip or out.shape[0] < self.n_ip or raw.shape[0] < self.end:
            raise ValueError("raw, status, out: too small for what was indexed")
        for k in range(self.n_ip):
            if status[k] == no_sa:
                spi = find_spi(&raw[self.offset[k]], self.length[k])
                if spi >= 0:
                    out[n] = <uint32_t>spi
                    n += 1
        return n


def tally(const int64_t[::1] handle not None, const uint8_t[::1] status not None, const int32_t[::1] length not None,
          const int64_t[::1] handles not None, int64_t[:, ::1] counts not None, int64_t[::1] n_bytes not None):
    """Count the packets of a batch by SA and status.

    handle, status, length : int64[n], uint8[n], int32[n]; of each packet.
    handles : int64[m], sorted; a packet with a handle that is not in it counts as the first one's.
    counts, n_bytes : int64[m, n_statuses], int64[m]; added to.
    """
    cdef int64_t n = handle.shape[0], m = handles.shape[0], k, row = 0, low, high, middle
    if status.shape[0] != n or length.shape[0] != n or counts.shape[0] != m or n_bytes.shape[0] != m or not m:
        raise ValueError("handle, status, length; handles, counts, n_bytes: wanted equal sizes")
    with nogil:
        for k in range(n):
            if status[k] >= counts.shape[1]:
                continue
            if handles[row] != handle[k]:       # neighbours often share an SA
                low, high = 0, m
                while high - low > 1:
                    middle = (low + high) >> 1
                    if handles[middle] <= handle[k]:
                        low = middle
                    else:
                        high = middle
                row = low if handles[low] == handle[k] else 0
            counts[row, status[k]] += 1
            n_bytes[row] += length[k]
