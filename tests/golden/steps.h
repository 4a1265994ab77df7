/* Training steps of a whole model against a golden file: gradients into the gradient block, Adam over all parameters,
 * and the comparison of both with what the file holds. */
#ifndef TS_TESTS_GOLDEN_STEPS_H
#define TS_TESTS_GOLDEN_STEPS_H

#include "tests/golden/bench.h"

typedef enum { GOLDEN_BEFORE, GOLDEN_GRADIENT, GOLDEN_AFTER } golden_moment;

typedef struct {
    golden_graph *graph;
    void *user;
    /* The path of this variable's tensor before the first step, of its gradient in step 0, or after step `step`; NULL
     * where the file has none. */
    const char *(*path_of)(void *user, const ts_variable *v, golden_moment moment, int step);
    double lr, beta1, beta2, eps, weight_decay;
    bool coupled;         /* Adam instead of AdamW */
    ts_value corrections; /* input [2] */
    ts_value norm;        /* [] of all gradients */
} golden_steps;

/* Reads lr, beta1, beta2, adam_eps. */
void golden_steps_read(golden_steps *t);

/* Adds gradients and optimizer for this loss; the store must be sealed. Fills the variables from the file. */
void golden_steps_build(golden_steps *t, ts_value loss);

/* Runs step `step` (from 0), with the inputs set, and compares what the graph expects, in step 0 the gradients, and the
 * variables after it. */
void golden_steps_run(golden_steps *t, int step);

/* Compares all variables for which the file has a tensor after this step. */
void golden_steps_compare(golden_steps *t, int step);

#endif
