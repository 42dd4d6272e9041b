# Where ESP or AH lies in an inbound packet, ESP in UDP included.

from libc.stdint cimport int64_t, uint8_t, uint32_t

from ._bytes cimport be16
from ._ip cimport ip4_plain, ip_t
from ._types cimport IPPROTO_AH_, IPPROTO_ESP_, PENDING, found_t, table_t

cdef uint8_t locate_any(const table_t *t, int64_t length, found_t *at) noexcept nogil


cdef inline bint is_port(const table_t *t, uint32_t port) noexcept nogil:
    return (t.port_filter >> (port & 63)) & 1 and (t.ports[port >> 3] >> (port & 7)) & 1


cdef inline bint carries_esp(const table_t *t, const uint8_t *udp) noexcept nogil:
    """By destination port; by source port 4500 too where an SA does not tell its ports."""
    return is_port(t, be16(udp + 2)) or (t.n_any_mode and be16(udp) == 4500)


cdef inline uint8_t locate(const table_t *t, uint8_t *ip, int64_t length, found_t *at) noexcept nogil:
    """Find ESP or AH in the packet at `ip`; PENDING if there is room for SPI and sequence number."""
    cdef ip_t plain
    at.ip = ip
    if not ip4_plain(ip, length, &plain) or plain.total < 32:
        return locate_any(t, length, at)
    at.hdr_len = 20
    at.total = plain.total
    at.next_ofs = 9
    at.version = 4
    at.proto = plain.proto
    if plain.proto == IPPROTO_ESP_:
        at.esp = ip + 20
        at.esp_len = plain.total - 20
        return PENDING
    if plain.proto == IPPROTO_AH_:
        at.esp = ip + 24
        at.esp_len = plain.total - 24
        return PENDING
    return locate_any(t, length, at)
