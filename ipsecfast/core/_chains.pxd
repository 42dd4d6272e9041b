# Chains of SAs with one SPI; `_lookup` reads them.

from libc.stdint cimport uint32_t

from ._types cimport sa_t, table_t

cdef bint is_duplicate(const table_t *t, const sa_t *s) noexcept
cdef void put_in_chain(table_t *t, uint32_t index) noexcept
cdef void take_from_chain(table_t *t, uint32_t index) noexcept
