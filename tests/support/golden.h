/* Golden files: one case at a time, with a note of everything that was looked at. A walk asks for what it understands;
 * golden_case_close then complains about whatever is left, so that no input, result or attribute is passed over. */
#ifndef TS_TESTS_GOLDEN_H
#define TS_TESTS_GOLDEN_H

#include "core/files/hdf5.h"

typedef struct {
    ts_h5 *file;
    ts_arena arena;
    ts_h5_entries cases; /* the groups of the root */
} golden_file;

/* Asserts that the file opens. */
void golden_file_open(golden_file *f, const char *path);
void golden_file_close(golden_file *f);

enum { GOLDEN_MAX_TENSORS = 2048 };

typedef struct {
    const char *name; /* "conv1d_k3_s1_p1_d1_g1" */
    ts_h5 *file;
    ts_arena arena; /* of this case: all that it hands out */
    ts_h5_attributes attributes;
    bool attribute_used[64];
    int count;
    struct {
        const char *path; /* "in/x" */
        ts_tensor tensor; /* f32 or i32, as in the file */
        bool used;
    } tensor[GOLDEN_MAX_TENSORS];
    char failure[2048]; /* the first failure; "" */
} golden_case;

/* Reads group i with all that is in it. */
void golden_case_open(golden_case *c, golden_file *f, int64_t i);

/* Adds a failure for every tensor and attribute that nobody asked for (`loss`, `note` and the measured margins are
 * remarks, not attributes), frees, and returns whether the case is without failure; c->failure stays readable. */
bool golden_case_close(golden_case *c);

/* Notes the first failure of the case. */
void golden_fail(golden_case *c, const char *format, ...) TS_PRINTF(2, 3);

/* NULL where the case has none. */
const ts_tensor *golden_find(golden_case *c, const char *path);

/* A failure where the case has none; then a tensor of one zero. */
const ts_tensor *golden_tensor(golden_case *c, const char *path);

/* A failure where the case has none; then 0, or an attribute of one 0. */
int64_t golden_int(golden_case *c, const char *name);
double golden_real(golden_case *c, const char *name);
const ts_h5_attribute *golden_attribute(golden_case *c, const char *name);

/* `fallback` where the case has none. */
int64_t golden_int_or(golden_case *c, const char *name, int64_t fallback);
double golden_real_or(golden_case *c, const char *name, double fallback);
const char *golden_text_or(golden_case *c, const char *name, const char *fallback);

/* A failure that names `path` where the two differ: counts of elements, an integer, a NaN, or a float by more than
 * `tolerance` times the larger of the expected array's greatest magnitude and `floor`. */
void golden_compare(golden_case *c, const char *path, const ts_tensor *found, const ts_tensor *expected,
                    double tolerance, double floor);

/* Axis 1 moved to the end, in new memory of the case: torch's channels first to ours, [out, in, k..] to [out, k.., in].
 * Below rank 3 there is nothing to move, and t itself comes back. */
ts_tensor golden_channels_last(golden_case *c, const ts_tensor *t);

#endif
