/* What the golden tests of quantizers and models share: a store with the case's parameters, and programs over it whose
 * inputs come from the case and whose results are compared with it, for one pass or several steps. */
#ifndef TS_TESTS_GOLDEN_BENCH_H
#define TS_TESTS_GOLDEN_BENCH_H

#include "autograd/program.h"
#include "autograd/scope.h"
#include "tests/support/golden.h"

typedef struct {
    golden_case *c;
    ts_device *device;
    ts_store *store;
    ts_workspace *workspace;
} golden_bench;

void golden_bench_open(golden_bench *b, golden_case *c, ts_device *device);
void golden_bench_close(golden_bench *b);

/* Seals the store once the graph that opens its variables is built. */
void golden_bench_seal(golden_bench *b);

/* Fills a variable from the case's tensor, whose layout is torch's. */
void golden_bench_load(golden_bench *b, const char *variable, const char *tensor);

/* What a variable holds in a block, in torch's layout and in memory of the case. */
ts_tensor golden_bench_read(golden_bench *b, const ts_variable *v, int block);

enum { GOLDEN_MAX_VALUES = 64 };

/* A graph of the bench. Names are paths in the case, behind the prefix of the run: "in_x" in "step1/". */
typedef struct {
    golden_bench *bench;
    ts_scope scope;
    ts_program *program;
    bool channels_last; /* reals of rank 3 and more are channels first in the file and last in the graph */
    double tolerance;   /* of the larger of `floor` and the array's greatest magnitude */
    double floor;
    int input_count, result_count, state_count;
    struct {
        const char *name;
        ts_value value;
    } input[GOLDEN_MAX_VALUES], result[GOLDEN_MAX_VALUES];
    struct {
        const char *name, *variable;
    } state[GOLDEN_MAX_VALUES];
    struct {
        ts_value counts;
        double epsilon;
        const char *perplexity, *share; /* NULL: not compared */
    } usage;
} golden_graph;

/* Tolerance as for quantizers: 1e-5 of at least 1. */
void golden_graph_open(golden_graph *g, golden_bench *b, ts_mode mode);
void golden_graph_close(golden_graph *g);

/* An input that each run fills from `name`; its shape is that of prefix + name. */
ts_value golden_graph_input(golden_graph *g, const char *prefix, const char *name);

/* Each run compares v with the tensor `name`. An absent v is a failure. */
void golden_graph_expect(golden_graph *g, ts_value v, const char *name);
/* The same for the content of a variable after the run. */
void golden_graph_expect_state(golden_graph *g, const char *variable, const char *name);
/* The same for perplexity and share of used codes of ids 0 ... codes-1. */
void golden_graph_expect_usage(golden_graph *g, ts_value ids, int64_t codes, double epsilon, const char *perplexity,
                               const char *share);

/* Recorded draws in the place of the graph's random node, which becomes an input. */
typedef struct {
    ts_value input; /* absent: nothing is drawn */
    const char *name;
} golden_draws;

/* Replaces the node where the case has a tensor `path`; `name` is that of the tensor behind the prefix of a run. */
golden_draws golden_graph_draws(golden_graph *g, const char *path, const char *name);
/* Fills the input before a run. The file holds draws for every repetition of the batch, the graph asks for as many as
 * there are codes. */
void golden_graph_feed(golden_graph *g, const char *prefix, const golden_draws *draws);

/* The graph's value of a variable that it opened; absent where it did not. */
ts_value golden_graph_variable(const golden_graph *g, const char *path);

/* Plans; false, with the case's failure, where the graph has an error. The store must be sealed. */
bool golden_graph_plan(golden_graph *g);

/* Fills the inputs, runs, compares all that is expected. */
void golden_graph_run(golden_graph *g, const char *prefix);

/* A tensor of the case in our layout, if the graph's is channels last. */
ts_tensor golden_graph_tensor(const golden_graph *g, const char *path);

/* A value after a run, in memory of the case. */
ts_tensor golden_graph_read(golden_graph *g, ts_value v);

#endif
