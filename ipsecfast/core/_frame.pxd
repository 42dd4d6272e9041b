# Where the IP header of a link-layer frame is (IEEE 802.3, one 802.1Q tag, LLC/SNAP), by EtherType.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from ._bytes cimport be16, be32
from ._nic cimport ENCAPSULATION_802_3, ENCAPSULATION_802_3_PQ, ENCAPSULATION_NULL, ENCAPSULATION_SNAP


cdef inline int ip_offset(const uint8_t *frame, int64_t length, bint raw, uint32_t *encapsulation) noexcept nogil:
    """Offset of the IP header, whose version is as the EtherType says, or -1.

    raw : there is no link-layer header.  encapsulation : the NDIS_ENCAPSULATION_* bit of this frame.
    """
    cdef int at = 14
    cdef uint16_t kind
    encapsulation[0] = ENCAPSULATION_NULL
    if raw:
        return 0 if length > 0 and (frame[0] >> 4 == 4 or frame[0] >> 4 == 6) else -1
    if length < 34:
        return -1
    encapsulation[0] = ENCAPSULATION_802_3
    kind = be16(frame + 12)
    if kind == 0x8100 or kind == 0x88A8:
        encapsulation[0] = ENCAPSULATION_802_3_PQ
        at = 18
        kind = be16(frame + 16)
    elif kind <= 1500 and be32(frame + 14) == 0xAAAA0300U and be16(frame + 18) == 0:
        encapsulation[0] = ENCAPSULATION_SNAP
        at = 22
        kind = be16(frame + 20)
    if at < length and ((kind == 0x0800 and frame[at] >> 4 == 4) or (kind == 0x86DD and frame[at] >> 4 == 6)):
        return at
    return -1
