/* Mutants of a sample of bytes, for readers that take what others wrote. TESSERA_FUZZ=N asks for N of them. */
#ifndef TS_TESTS_MUTANTS_H
#define TS_TESTS_MUTANTS_H

#include <stddef.h>
#include <stdint.h>

/* How many: $TESSERA_FUZZ, or else `usual`. */
int64_t mutants_asked(int64_t usual);

/* A number below `below`, the next of this process's own fixed sequence. */
uint64_t mutants_draw(uint64_t below);

/* One change of bytes[count], at or behind `first`: a bit, a byte, a byte that goes, a digit, or one of the words
 * (ended by NULL), which comes in where there is room for it. Returns the new count. */
size_t mutants_change(unsigned char *bytes, size_t count, size_t room, size_t first, const char *const *words);

/* 1 to 3 changes of a copy of the sample, which is in memory of its own length, so that a read behind its end is seen.
 * Returns it, to be freed with free(), and its length. */
unsigned char *mutant_of(const unsigned char *sample, size_t *count, size_t first, const char *const *words);

/* A file in memory alone (/dev/shm) with this content, and its path: one for each process, and gone with it. */
const char *mutant_file(const void *bytes, size_t count);

#endif
