/* A schema and a command table of the size and shape of the real ones, for the tests of config, arguments and help. */
#ifndef TS_TESTS_CONFIG_SAMPLE_H
#define TS_TESTS_CONFIG_SAMPLE_H

#include "config/config.h"
#include "train/arguments.h"

typedef struct {
    int64_t seed;
    const char *name, *description, *expect;
} sample_top;

typedef struct {
    const char *path;
    int64_t limit;
} sample_data_idx;

typedef struct {
    int64_t count, size;
    ts_string_list shapes;
} sample_data_shapes;

typedef struct {
    ts_int_list levels;
    int bound;
    bool noise;
} sample_finite;

typedef struct {
    int64_t codes, dim;
    double beta;
    int bound; /* a choice of other names than the one of sample_finite */
} sample_vector;

typedef struct {
    int64_t steps, batch;
    double lr;
    int optimizer;
    bool shuffle;
    const char *note;
} sample_train;

/* Sections data (idx, shapes; no default), quantizer (finite_scalar is the default, vector), train, logging (no keys).
 */
extern const ts_config_schema sample_schema;

/* train, encode and doctor. */
extern const ts_command_set sample_program;

#endif
