# A SAD's memory: large tables, keyed states' blocks, scratch.

from libc.stdint cimport uint8_t

cdef enum:
    CHUNK_BYTES = 1 << 21   # large blocks are multiples of a huge page, and mapped

cdef void *map_dense(size_t n) noexcept
cdef void unmap(void *memory, size_t n) noexcept
cdef uint8_t *new_block(void **blocks, size_t size) except NULL
cdef void free_blocks(void **blocks) noexcept
cdef uint8_t *new_scratch() except NULL
cdef void free_scratch(uint8_t *memory) noexcept
