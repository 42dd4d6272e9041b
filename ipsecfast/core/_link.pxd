"""Frames of a capture: where the IP header is, how the link layer states its family, which SPI follows.

Inline functions only, for _capture.pyx.  Link types: tcpdump.org/linktypes.html.  Nothing is read
beyond the ``n`` bytes that the caller says are there.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef enum:                      # how the link layer states the IP family
    FAMILY_NONE                 # not at all: the version nibble tells
    FAMILY_ETHERTYPE            # 16 bit EtherType
    FAMILY_NULL                 # one byte of a BSD loopback header, as systems with DLT_NULL write it
    FAMILY_LOOP                 # the same for OpenBSD's DLT_LOOP
    FAMILY_FIXED                # by the link type: the other family can't be put there

cdef struct place_t:
    int32_t ip                  # the IP header, from the frame on; -1: none
    int32_t patch               # the family, from the frame on
    uint8_t family


cdef inline uint32_t load16(const uint8_t *p, bint big) noexcept nogil:
    return (<uint32_t>p[0] << 8 | p[1]) if big else (<uint32_t>p[1] << 8 | p[0])


cdef inline uint32_t load32(const uint8_t *p, bint big) noexcept nogil:
    if big:
        return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]
    return <uint32_t>p[3] << 24 | <uint32_t>p[2] << 16 | <uint32_t>p[1] << 8 | p[0]


cdef inline void store32(uint8_t *p, uint32_t value, bint big) noexcept nogil:
    cdef int i
    for i in range(4):
        p[3 - i if big else i] = (value >> (8 * i)) & 0xFF


cdef inline bint is_vlan(uint32_t ether_type) noexcept nogil:
    return ether_type == 0x8100 or ether_type == 0x88A8 or ether_type == 0x9100


cdef inline void locate_loopback(const uint8_t *frame, int64_t n, place_t *place) noexcept nogil:
    # The family is a small number in 4 bytes of which only the first or the last is not 0, so it
    # shows its byte order itself: tools re-write files in their own order, but not the frames.
    cdef uint8_t family
    if n <= 4 or frame[1] or frame[2] or (frame[0] and frame[3]):
        return
    place.patch = 0 if frame[0] else 3
    family = frame[place.patch]
    if family == 2 or family == 10 or family == 24 or family == 28 or family == 30:
        place.ip = 4


cdef inline bint locate_ip(const uint8_t *frame, int64_t n, int link_type, place_t *place) noexcept nogil:
    """Fill ``place``; False if nothing is known of the link type."""
    cdef int64_t type_at, at
    cdef uint32_t ether_type
    cdef int version
    place.ip = -1
    place.patch = 0
    place.family = FAMILY_NONE
    if link_type == 1 or link_type == 113 or link_type == 276:      # Ethernet, Linux cooked v1, v2
        type_at = 12 if link_type == 1 else 14 if link_type == 113 else 0
        at = 14 if link_type == 1 else 16 if link_type == 113 else 20
        if n < at:
            return True
        ether_type = load16(frame + type_at, True)
        while is_vlan(ether_type) and n - at >= 4:
            type_at = at + 2
            at += 4
            ether_type = load16(frame + type_at, True)
        if ether_type == 0x0800 or ether_type == 0x86DD:
            place.ip = <int32_t>at
            place.patch = <int32_t>type_at
            place.family = FAMILY_ETHERTYPE
    elif link_type == 0 or link_type == 108:                        # BSD loopback
        place.family = FAMILY_NULL if link_type == 0 else FAMILY_LOOP
        locate_loopback(frame, n, place)
    elif link_type == 101 or link_type == 12 or link_type == 14:    # raw IP and its BSD numbers
        place.ip = 0
    elif link_type == 228 or link_type == 229:                      # raw IPv4, raw IPv6
        place.ip = 0
        place.family = FAMILY_FIXED
    else:
        return False
    if place.ip >= 0:
        version = frame[place.ip] >> 4 if n > place.ip else 0
        if version != 4 and version != 6:
            place.ip = -1
    return True


cdef inline void state_family(uint8_t *frame, const place_t *place, int version) noexcept nogil:
    """Make the link header state ``version`` (not for FAMILY_FIXED)."""
    cdef uint8_t *at = frame + place.patch
    if place.family == FAMILY_ETHERTYPE:
        at[0] = 0x08 if version == 4 else 0x86
        at[1] = 0x00 if version == 4 else 0xDD
    elif place.family == FAMILY_NULL:
        at[0] = 2 if version == 4 else 30       # AF_INET6 of macOS, where most of these come from
    elif place.family == FAMILY_LOOP:
        at[0] = 2 if version == 4 else 24       # AF_INET6 of OpenBSD


cdef inline int64_t find_spi(const uint8_t *p, int64_t n) noexcept nogil:
    """The SPI of the outermost ESP, AH or UDP-encapsulated ESP header of an IP packet, or -1."""
    cdef int64_t at
    cdef int protocol
    if n >= 20 and p[0] >> 4 == 4:
        at = (p[0] & 15) * 4
        protocol = p[9]
    elif n >= 40 and p[0] >> 4 == 6:
        at = 40
        protocol = p[6]
        while protocol == 0 or protocol == 43 or protocol == 60:    # hop-by-hop, routing, destination options
            if n - at < 8:
                return -1
            protocol = p[at]
            at += 8 + p[at + 1] * 8
    else:
        return -1
    if protocol == 51:
        at += 4
    elif protocol == 17:
        at += 8
    elif protocol != 50:
        return -1
    return load32(p + at, True) if n - at >= 4 else -1
