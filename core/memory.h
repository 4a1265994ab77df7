/* Host memory: one place that allocates, so that tests can fail the n-th allocation, and an arena for what lives and
 * dies together (the nodes of a graph, the strings of a config).
 *
 * Thread: the allocation functions may be called from any thread; an arena belongs to one. */
#ifndef TS_CORE_MEMORY_H
#define TS_CORE_MEMORY_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* Like malloc, zero-filled malloc, realloc and free; NULL when out of memory. count * size is checked for overflow. */
void *ts_alloc(size_t bytes);
void *ts_calloc(size_t count, size_t size);
void *ts_realloc(void *old, size_t count, size_t size);
void ts_free(void *memory);

/* Heap copies; the caller frees with ts_free. NULL when out of memory. */
char *ts_strdup(const char *text);
char *ts_format(const char *format, ...) TS_PRINTF(1, 2);

/* For data: aligned to 64 bytes, or to 2 MiB with huge pages asked for where it is that large. Not zeroed. */
void *ts_alloc_aligned(size_t bytes);
void ts_free_aligned(void *memory, size_t bytes);
/* Gives the pages of such memory back to the system: it stays the caller's, its content is lost, and where it is
 * touched next it is zero. Below 2 MiB nothing happens. */
void ts_forget_aligned(void *memory, size_t bytes);

/* The one message for a failed allocation: `return ts_out_of_memory(err, bytes);` */
ts_status ts_out_of_memory(ts_error *err, size_t bytes);

/* Tests: the n-th allocation from now on fails (1 is the next; 0 switches it off). Returns how many were made since the
 * last call. */
uint64_t ts_alloc_fail_at(uint64_t n);

/* Allocations that live until the arena is freed. `{0}` is an empty arena. */
typedef struct {
    struct ts_arena_chunk *chunk; /* the newest */
    size_t used_bytes;            /* in all chunks */
} ts_arena;

void *ts_arena_alloc(ts_arena *arena, size_t bytes); /* zeroed, aligned to 16; NULL when out of memory */
char *ts_arena_strdup(ts_arena *arena, const char *text);
char *ts_arena_format(ts_arena *arena, const char *format, ...) TS_PRINTF(2, 3);
char *ts_arena_vformat(ts_arena *arena, const char *format, va_list args);
void ts_arena_clear(ts_arena *arena);

#endif
