/* What test_every_op.c does with a case, as functions: other tests (and the test of the checker itself) use them too.
 */
#ifndef TS_TESTS_OP_CHECK_H
#define TS_TESTS_OP_CHECK_H

#include "core/device.h"
#include "tests/support/op_case.h"

/* One built case: the graph with inputs, the case's value y, the scalar sum(y * r) and its gradients. */
typedef struct {
    ts_graph *graph;
    ts_device *device;
    struct ts_workspace *workspace;
    struct ts_program *program;
    int in_count;
    ts_value in[TS_MAX_IN], y, loss, gradient[TS_MAX_IN];
    double *host[TS_MAX_IN]; /* the inputs' content */
} ts_built_case;

/* Builds on `device` ("ref", "cpu" or "cuda") with reals of `real`; gradients are left out where `gradients` is false.
 * Asserts.
 */
void built_case_open(ts_built_case *b, const ts_op_case *c, const char *device, ts_dtype real, bool gradients);
void built_case_close(ts_built_case *b);

/* Uploads the inputs, runs. */
void built_case_run(ts_built_case *b);
/* A value as doubles; the caller frees with free(). */
double *built_case_read(ts_built_case *b, ts_value v, int64_t *count);

/* Largest |a-b| over the gradient check: central differences, eps 1e-6 relative to the magnitude, sign and all. Returns
 * the worst of |difference| - (1e-5 + 1e-3 |gradient|): <= 0 is right. */
double gradient_check(const ts_op_case *c);

/* Largest difference relative to the largest magnitude (at least 1e-3) of what `device` computes in f32 from the
 * reference in f64, over y and all gradients; non-finite values must be the same. */
double compare_with_double(const ts_op_case *c, const char *device);
/* The same of y alone. */
double compare_value_with_double(const ts_op_case *c, const char *device);

/* As compare_with_double, where the device computes in bf16: its operands are bf16, the double's the same numbers. */
double compare_bf16_with_double(const ts_op_case *c, const char *device);

/* Asserts that `device` gives the same bits twice, in two programs: y and, where asked for, the gradients. */
void expect_repeatable(const ts_op_case *c, const char *device, bool gradients);

/* Asserts that ts_fuse changes no bit of y and of the gradients. */
void expect_fusing_keeps_bits(const ts_op_case *c, const char *device, ts_dtype real);

#endif
