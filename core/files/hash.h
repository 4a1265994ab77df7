/* XXH3-128: finds every accident on disk or in memory; no protection against somebody who means harm. */
#ifndef TS_CORE_FILES_HASH_H
#define TS_CORE_FILES_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct {
    uint8_t byte[16]; /* big-endian, as printed */
} ts_hash;

typedef struct {
    char text[33]; /* 32 lower-case hexadecimal digits */
} ts_hash_text;

ts_hash ts_hash_bytes(const void *bytes, size_t count);
ts_hash_text ts_hash_print(ts_hash hash);

/* Of what comes in pieces: the same as of the whole. Owner: the caller calls ts_hasher_clear.
 * Errors: TS_ERR_RUNTIME, out of memory. */
typedef struct {
    void *state;
} ts_hasher;
ts_status ts_hasher_init(ts_hasher *hasher, ts_error *err);
void ts_hasher_add(ts_hasher *hasher, const void *bytes, size_t count);
ts_hash ts_hasher_result(const ts_hasher *hasher);
void ts_hasher_clear(ts_hasher *hasher);

#endif
