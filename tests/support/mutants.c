#define _GNU_SOURCE
#include "tests/support/mutants.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/random.h"

int64_t mutants_asked(int64_t usual)
{
    const char *asked = getenv("TESSERA_FUZZ");
    return asked ? atoll(asked) : usual;
}

uint64_t mutants_draw(uint64_t below)
{
    static uint64_t drawn;
    return ts_random_below((ts_random_key){20, 27}, drawn++, 0, below);
}

static size_t put_word(unsigned char *bytes, size_t count, size_t room, size_t at, const char *word)
{
    size_t n = strlen(word);
    if (count + n > room)
        return count;
    memmove(bytes + at + n, bytes + at, count - at);
    memcpy(bytes + at, word, n);
    return count + n;
}

static void change_digit(unsigned char *bytes, size_t count, size_t at, size_t first)
{
    for (size_t i = 0; i < count; i++) {
        size_t here = (at + i) % count;
        if (here >= first && bytes[here] >= '0' && bytes[here] <= '9') {
            bytes[here] = (unsigned char)('0' + mutants_draw(10));
            return;
        }
    }
}

size_t mutants_change(unsigned char *bytes, size_t count, size_t room, size_t first, const char *const *words)
{
    static const char *const none[] = {NULL};
    size_t at = first + mutants_draw(count - first), known = 0;
    words = words ? words : none;
    while (words[known])
        known++;
    switch (mutants_draw(known ? 5 : 4)) {
    case 0:
        bytes[at] ^= (unsigned char)(1 << mutants_draw(8));
        return count;
    case 1:
        bytes[at] = (unsigned char)mutants_draw(256);
        return count;
    case 2:
        memmove(bytes + at, bytes + at + 1, count - at - 1);
        return count - 1;
    case 3:
        change_digit(bytes, count, at, first);
        return count;
    default:
        return put_word(bytes, count, room, at, words[mutants_draw(known)]);
    }
}

unsigned char *mutant_of(const unsigned char *sample, size_t *count, size_t first, const char *const *words)
{
    enum { MORE = 64 };
    size_t room = *count + MORE;
    unsigned char *bytes = malloc(room), *own;
    cr_assert_not_null(bytes);
    memcpy(bytes, sample, *count);
    for (uint64_t k = 0, changes = 1 + mutants_draw(3); k<changes && * count> first + 1; k++)
        *count = mutants_change(bytes, *count, room, first, words);
    own = malloc(*count + 1);
    cr_assert_not_null(own);
    memcpy(own, bytes, *count);
    free(bytes);
    return own;
}

static char path[] = "/dev/shm/tessera-mutant-XXXXXX"; /* libhdf5 opens no file that has only a descriptor */

static void remove_file(void)
{
    unlink(path);
}

const char *mutant_file(const void *bytes, size_t count)
{
    static int file = -1;
    if (file < 0) {
        file = mkstemp(path);
        atexit(remove_file);
    }
    cr_assert(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, bytes, count, 0) == (ssize_t)count);
    return path;
}
