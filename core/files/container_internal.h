/* What reader and writer of the container share: the user block. */
#ifndef TS_CORE_FILES_CONTAINER_INTERNAL_H
#define TS_CORE_FILES_CONTAINER_INTERNAL_H

#include <stddef.h>

#include "core/files/hash.h"

enum {
    TS_USER_BLOCK_BYTES = 512,
    TS_USER_BLOCK_MAGIC_BYTES = 8,
    TS_USER_BLOCK_CHECKED_BYTES = 496, /* its own checksum follows them */
};

#define TS_CONTAINER_MANIFEST "manifest"

/* As in PNG: a byte that no text begins with, a name, and what a text-mode copy would change. */
extern const unsigned char ts_user_block_magic[TS_USER_BLOCK_MAGIC_BYTES];

typedef struct {
    uint32_t version, block_bytes;
    uint64_t file_bytes;
    ts_hash content; /* of what follows the user block */
    ts_hash own;     /* of the first 496 bytes, as stored */
} ts_user_block;

/* Fills 512 bytes, checksum included (block->own is not used). */
void ts_user_block_encode(const ts_user_block *block, unsigned char *bytes);
void ts_user_block_decode(const unsigned char *bytes, ts_user_block *block);

#endif
