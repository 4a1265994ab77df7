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

/* Checks every case on a device ("ref", "cpu" with two threads). Prints each failure. */
golden_verdict golden_walk(const char *path, const char *device, golden_check check);

/* Asserts that all cases pass, and that there are at least so many. */
void golden_expect(const char *path, const char *device, int64_t least, golden_check check);

/* The same for golden/NAME of the shared folder; a counted skip where it is absent. */
void golden_expect_shared(const char *name, const char *device, int64_t least, golden_check check);

/* The same for tests/golden/NAME of the project. */
void golden_expect_own(const char *name, const char *device, int64_t least, golden_check check);

#endif
