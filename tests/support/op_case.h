/* Cases of an op: written once, beside the family's own tests, and run by tests/autograd/test_every_op.c four ways: the
 * gradient rule against central differences (reference kernels, double), the reference kernels in float against double,
 * the CPU kernels against the reference, and the list itself (an op of core/ops.def without cases does not link). */
#ifndef TS_TESTS_OP_CASE_H
#define TS_TESTS_OP_CASE_H

#include "autograd/graph.h"

typedef enum {
    TS_FILL_NORMAL,   /* N(0, 1) */
    TS_FILL_POSITIVE, /* uniform in [0.5, 2] */
    TS_FILL_APART, /* distinct multiples of 0.1, shuffled, none at 0: no ties, no kinks for abs, relu, max, round+-0.1
                    */
    TS_FILL_BELOW, /* integers in [0, below) */
} ts_fill;

typedef struct {
    ts_dtype dtype; /* TS_F32 stands for the graph's real dtype */
    ts_shape shape;
    ts_fill fill;
    int64_t below;
    bool constant; /* a real operand that has no gradient (a mask, say) */
} ts_case_input;

typedef struct {
    const char *label; /* "3x3 stride 2"; NULL ends the list */
    int in_count;
    ts_case_input in[TS_MAX_IN];
    ts_value (*build)(
        const ts_value *in); /* the value that is compared; the scalar differentiated is sum(value * r), r ~ N(0,1) */
    double tolerance;        /* f32 against f64, of the maximum magnitude; 0: 1e-5 */
    const char *covered_by;  /* see TS_COVERED_BY, TS_TESTED_IN */
} ts_op_case;

#define TS_CASES(op)                                                                                                   \
    extern const ts_op_case ts_cases_##op[];                                                                           \
    const ts_op_case ts_cases_##op[]

/* Lists are read more easily so:  TS_CASE("odd", build, TS_NORMAL(3, 5), TS_BELOW(9, 7))  for operands [3, 5] and [7].
 */
#define TS_CASE(label_, build_, ...)                                                                                   \
    {                                                                                                                  \
        .label = label_, .in_count = sizeof((ts_case_input[]){__VA_ARGS__}) / sizeof(ts_case_input),                   \
        .in = {__VA_ARGS__}, .build = build_                                                                           \
    }
#define TS_SHAPE(...)                                                                                                  \
    {                                                                                                                  \
        sizeof((int[]){__VA_ARGS__}) / sizeof(int),                                                                    \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define TS_NORMAL(...)                                                                                                 \
    {                                                                                                                  \
        .dtype = TS_F32, .shape = TS_SHAPE(__VA_ARGS__), .fill = TS_FILL_NORMAL                                        \
    }
#define TS_APART(...)                                                                                                  \
    {                                                                                                                  \
        .dtype = TS_F32, .shape = TS_SHAPE(__VA_ARGS__), .fill = TS_FILL_APART                                         \
    }
#define TS_POSITIVE(...)                                                                                               \
    {                                                                                                                  \
        .dtype = TS_F32, .shape = TS_SHAPE(__VA_ARGS__), .fill = TS_FILL_POSITIVE                                      \
    }
#define TS_BELOW(below_, ...)                                                                                          \
    {                                                                                                                  \
        .dtype = TS_I32, .shape = TS_SHAPE(__VA_ARGS__), .fill = TS_FILL_BELOW, .below = below_                        \
    }

/* A GRAD op: the cases of `other` build it when they are differentiated (which is checked). */
#define TS_COVERED_BY(op, other) TS_CASES(op) = {{.label = "covered", .covered_by = #other}, {0}}

/* An op that writes state or draws: a test of its own, named here. */
#define TS_TESTED_IN(op, test) TS_CASES(op) = {{.label = "own test", .covered_by = "=" test}, {0}}

#endif
