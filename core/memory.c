#define _GNU_SOURCE
#include "core/memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic uint64_t made, fail_at;

static bool may_allocate(void)
{
    uint64_t n = atomic_fetch_add(&made, 1) + 1;
    return n != atomic_load(&fail_at);
}

uint64_t ts_alloc_fail_at(uint64_t n)
{
    uint64_t before = atomic_exchange(&made, 0);
    atomic_store(&fail_at, n);
    return before;
}

void *ts_alloc(size_t bytes)
{
    return may_allocate() ? malloc(bytes ? bytes : 1) : NULL;
}

void *ts_calloc(size_t count, size_t size)
{
    return may_allocate() ? calloc(count ? count : 1, size ? size : 1) : NULL;
}

void *ts_realloc(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || !may_allocate())
        return NULL;
    return realloc(old, bytes ? bytes : 1);
}

void ts_free(void *memory)
{
    free(memory);
}

char *ts_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = ts_alloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

char *ts_format(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : ts_alloc((size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

/* Huge pages pay from 2 MiB on: the first touch of 4 KiB pages runs at a few GB/s only. */
enum { ALIGN_BYTES = 64, HUGE_BYTES = 2 << 20 };

void *ts_alloc_aligned(size_t bytes)
{
    if (!may_allocate() || bytes > SIZE_MAX - HUGE_BYTES)
        return NULL;
    size_t align = bytes >= HUGE_BYTES ? HUGE_BYTES : ALIGN_BYTES;
    size_t rounded = (bytes ? bytes + align - 1 : align) / align * align;
    void *memory = aligned_alloc(align, rounded);
    if (memory && align == HUGE_BYTES)
        madvise(memory, rounded, MADV_HUGEPAGE); /* a wish: its refusal changes nothing but speed */
    return memory;
}

void ts_free_aligned(void *memory, size_t bytes)
{
    (void)bytes;
    free(memory);
}

void ts_forget_aligned(void *memory, size_t bytes)
{
    if (bytes >= HUGE_BYTES)
        madvise(memory, bytes, MADV_DONTNEED);
}

ts_status ts_out_of_memory(ts_error *err, size_t bytes)
{
    return ts_fail(err, TS_ERR_RUNTIME, "out of memory: %zu bytes could not be allocated", bytes);
}

struct ts_arena_chunk {
    struct ts_arena_chunk *older;
    size_t used, size; /* bytes, of what follows this header */
};

enum { CHUNK_BYTES = 64 << 10, ARENA_ALIGN = 16 };

void *ts_arena_alloc(ts_arena *arena, size_t bytes)
{
    size_t header = (sizeof(struct ts_arena_chunk) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (bytes > SIZE_MAX - header - CHUNK_BYTES)
        return NULL;
    bytes = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (!arena->chunk || arena->chunk->size - arena->chunk->used < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        struct ts_arena_chunk *chunk = ts_calloc(1, header + size);
        if (!chunk)
            return NULL;
        chunk->older = arena->chunk;
        chunk->size = size;
        arena->chunk = chunk;
    }
    char *memory = (char *)arena->chunk + header + arena->chunk->used;
    arena->chunk->used += bytes;
    arena->used_bytes += bytes;
    return memory;
}

char *ts_arena_strdup(ts_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = ts_arena_alloc(arena, bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

char *ts_arena_vformat(ts_arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : ts_arena_alloc(arena, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

char *ts_arena_format(ts_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = ts_arena_vformat(arena, format, args);
    va_end(args);
    return text;
}

void ts_arena_clear(ts_arena *arena)
{
    for (struct ts_arena_chunk *chunk = arena->chunk, *older; chunk; chunk = older) {
        older = chunk->older;
        ts_free(chunk);
    }
    *arena = (ts_arena){0};
}
