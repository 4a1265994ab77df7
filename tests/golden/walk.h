/* A walk over every case of a golden file. A case that the walker does not understand fails by name, and a least number
 * of cases is asserted, so that a file that lost its cases does not pass. */
#ifndef TS_TESTS_GOLDEN_WALK_H
#define TS_TESTS_GOLDEN_WALK_H

#include "core/device.h"
#include "tests/support/golden.h"

/* Computes a case and compares; what it finds wrong goes to golden_fail. */
typedef void (*golden_check)(golden_case *c, ts_device *device);

typedef struct {
    int64_t cases, failed;
    char first[2048]; /* what the first failed case said */
} golden_verdict;

/* Checks every case on a device ("ref", "cpu" with two threads, "cuda": emulated, or the module that
 * TESSERA_CUDA_MODULE names). Prints each failure. */
golden_verdict golden_walk(const char *path, const char *device, golden_check check);

/* Asserts that all cases pass, and that there are at least so many. */
void golden_expect(const char *path, const char *device, int64_t least, golden_check check);

/* The same for golden/NAME of the shared folder; a counted skip where it is absent. */
void golden_expect_shared(const char *name, const char *device, int64_t least, golden_check check);

/* The same for the cases of these names (NULL-terminated), all of which must be there. */
void golden_expect_shared_cases(const char *name, const char *device, const char *const *cases, golden_check check);

/* The same for tests/golden/NAME of the project. */
void golden_expect_own(const char *name, const char *device, int64_t least, golden_check check);

/* Is this tensor a result that the check compares, not an input? */
typedef bool (*golden_is_result)(const golden_case *c, const char *path);

/* The check is checked: for every case of the project's NAME and every result in it, the case with the first number of
 * that result changed must fail. Asserts that, and that there are at least `least` of them. */
void golden_expect_no_blind_spot(const char *name, int64_t least, golden_is_result is_result, golden_check check);

/* ---- small files of made-up cases, to show what a walk does not pass ---- */

/* A tensor of one number, or (where `attribute` is set) a text attribute of the group `path`. */
typedef struct {
    const char *path; /* "relu/in/x" */
    float value;
    const char *attribute, *text;
} golden_entry;
#define GOLDEN_NUMBER(path_, value_)                                                                                   \
    {                                                                                                                  \
        .path = path_, .value = value_                                                                                 \
    }
#define GOLDEN_TEXT(group, attribute_, text_)                                                                          \
    {                                                                                                                  \
        .path = group, .attribute = attribute_, .text = text_                                                          \
    }

/* What the walk says about a file of these on `ref`. */
golden_verdict golden_walk_of(const golden_entry *entries, int count, golden_check check);
#define GOLDEN_WALK_OF(check, ...)                                                                                     \
    golden_walk_of((golden_entry[]){__VA_ARGS__}, sizeof((golden_entry[]){__VA_ARGS__}) / sizeof(golden_entry), check)

/* Asserts that exactly one case fails, and says `text`. */
void golden_expect_failure(golden_verdict v, const char *text);

#endif
