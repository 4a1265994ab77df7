/* What a builder says about operands that it cannot take. */
#ifndef TS_TESTS_BUILD_ERROR_H
#define TS_TESTS_BUILD_ERROR_H

#include "autograd/graph.h"

/* Builds with inputs of these types in an f32 graph; asserts that poison comes back, and that the graph's one error
 * starts with "op: " and contains `text`. */
void expect_build_error(ts_value (*build)(const ts_value *in), int count, const ts_type *types, const char *op,
                        const char *text);

#define F32(...) ((ts_type){TS_F32, ts_shape_of(__VA_ARGS__)})
#define I32(...) ((ts_type){TS_I32, ts_shape_of(__VA_ARGS__)})
#define EXPECT_BUILD_ERROR(build, op, text, ...)                                                                       \
    expect_build_error(build, sizeof((ts_type[]){__VA_ARGS__}) / sizeof(ts_type), (ts_type[]){__VA_ARGS__}, op, text)

#endif
