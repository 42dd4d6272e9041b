"""Memory of a SAD: tables that huge pages can serve, blocks of keyed states, scratch."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

from ._bytes cimport wipe
from ._types cimport CHUNK, SCRATCH

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **p, size_t align, size_t n)

cdef extern from *:
    """
    #include <sys/mman.h>
    #include <unistd.h>
    #ifndef MAP_ANONYMOUS
    #define MAP_ANONYMOUS MAP_ANON
    #endif
    /* zeroed memory, taken as it is touched; large blocks of `dense` use lie so that huge pages can serve them */
    static void *ipf_map(size_t n, int dense)
    {
        size_t huge = 2u << 20, page = (size_t)sysconf(_SC_PAGESIZE), spare;
        n = (n + page - 1) & ~(page - 1);
        spare = dense && n >= huge ? huge : 0;
        char *p = mmap(NULL, n + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return NULL;
        if (spare) {
            size_t front = -(size_t)p & (huge - 1);
            if (front) munmap(p, front);
            if (front != spare) munmap(p + front + n, spare - front);
            p += front;
    #ifdef MADV_HUGEPAGE
            madvise(p, n, MADV_HUGEPAGE);
    #endif
        }
        return p;
    }
    """
    void *ipf_map(size_t n, int dense) nogil
    int munmap(void *p, size_t n) nogil

# A block of keyed states begins with this.  Not a Python object: the garbage collector could take it away before
# the SAD, whose __dealloc__ still needs the states.
cdef struct block_t:
    block_t *next
    size_t size


cdef void *map_dense(size_t n) noexcept:
    """Zeroed memory, taken as it is touched; NULL if there is none."""
    return ipf_map(n, 1)


cdef void unmap(void *memory, size_t n) noexcept:
    munmap(memory, n)


cdef uint8_t *new_block(void **blocks, size_t size) except NULL:
    """Zeroed memory for keyed states, 64-byte aligned; `free_blocks` frees it."""
    cdef void *memory = NULL
    cdef block_t *block
    size += 64
    if size >= CHUNK_BYTES // 16:
        size = (size + CHUNK_BYTES - 1) // CHUNK_BYTES * CHUNK_BYTES
        memory = ipf_map(size, 1)
    elif posix_memalign(&memory, 64, size):
        memory = NULL
    if memory == NULL:
        raise MemoryError()
    if size < CHUNK_BYTES:
        memset(memory, 0, size)
    block = <block_t *> memory
    block.next = <block_t *> blocks[0]
    block.size = size
    blocks[0] = block
    return <uint8_t *> memory + 64


cdef void free_blocks(void **blocks) noexcept:
    """Wipe and give back every block."""
    cdef block_t *block
    cdef size_t size
    while blocks[0] != NULL:
        block = <block_t *> blocks[0]
        blocks[0] = block.next
        size = block.size
        wipe(block, size)
        if size >= CHUNK_BYTES:
            munmap(block, size)
        else:
            free(block)


cdef uint8_t *new_scratch() except NULL:
    """CHUNK * SCRATCH bytes, taken as they are touched."""
    cdef void *memory = ipf_map(CHUNK * SCRATCH, 0)
    if memory == NULL:
        raise MemoryError()
    return <uint8_t *> memory


cdef void free_scratch(uint8_t *memory) noexcept:
    if memory != NULL:
        munmap(memory, CHUNK * SCRATCH)
