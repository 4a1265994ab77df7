/* How the cases of an ops.h5 file are computed by us. What the operations and their attributes mean: README.md. */
#ifndef TS_TESTS_OP_GOLDEN_H
#define TS_TESTS_OP_GOLDEN_H

#include "autograd/graph.h"
#include "core/device.h"
#include "tests/support/golden.h"

enum { OP_MAX_EXTRA = 2 };

/* The leaves of a case's graph, and results beside the one that is differentiated. */
typedef struct {
    golden_case *c;
    ts_graph *graph;
    bool channels_last; /* see op_golden */
    int count;
    struct {
        const char *name; /* "x" */
        ts_tensor host;   /* in our layout */
        ts_value value, gradient;
    } input[TS_MAX_IN];
    struct {
        const char *path; /* "out/running_mean"; NULL: none */
        ts_value value;
    } extra[OP_MAX_EXTRA];
} op_inputs;

/* The operand "in/NAME", made when first asked for. Where there is none: TS_ABSENT, or a failure of the case. */
ts_value op_input_or_absent(op_inputs *in, const char *name);
ts_value op_input(op_inputs *in, const char *name);

typedef struct {
    const char *name; /* a case is of this operation if its name is this, or starts with this and "_" */
    ts_value (*build)(op_inputs *in);
    bool channels_last; /* tensors of rank 3 and more have axis 1 moved to the end, in and out */
    double tolerance;   /* of the array's largest; 0: 5e-6 */
} op_golden;

/* The operation with the longest name that fits; NULL: not understood. */
const op_golden *op_golden_find(const char *case_name);

/* Computes, differentiates and compares a case of such an operation. Failures go to the case. */
void op_golden_check(golden_case *c, const op_golden *op, ts_device *device);

/* Cases that are not one differentiated operation: optimizers, clipping, a plan of learning rates. False: not one. */
bool op_golden_special(golden_case *c, ts_device *device);

#endif
