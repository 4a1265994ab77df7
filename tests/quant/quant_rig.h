/* What a test of a quantizer needs: a graph, a store, a device, and a program when the graph is built. */
#ifndef TS_TESTS_QUANT_RIG_H
#define TS_TESTS_QUANT_RIG_H

#include "autograd/program.h"
#include "autograd/scope.h"
#include "quant/quantizer.h"

typedef struct {
    ts_graph *graph;
    ts_store *store;
    ts_device *device;
    ts_workspace *workspace;
    ts_program *program;
    ts_scope scope; /* random numbers by the input "step" */
} quant_rig;

/* On the CPU, f32. */
void quant_rig_open(quant_rig *r, ts_mode mode);
void quant_rig_close(quant_rig *r);

/* Another graph over the same store, which must be sealed; the program of the last one is gone. */
void quant_rig_next(quant_rig *r, ts_mode mode);

/* Seals the store where it is not, and plans. Asserts. */
void quant_rig_plan(quant_rig *r);
void quant_rig_run(quant_rig *r);

/* A value after the run, a variable's content; the caller frees with ts_free. */
void *quant_rig_read(quant_rig *r, ts_value v);
void *quant_rig_state(quant_rig *r, const char *path);

/* The kind's default options, in memory of the graph. */
void *quant_rig_defaults(quant_rig *r, const ts_quantizer_kind *kind);

/* The same with "key=value key=value ..." over them, twice. Asserts that the table takes them. */
void *quant_rig_options(quant_rig *r, const ts_quantizer_kind *kind, const char *pairs, const char *more);

/* Asserts that the graph's error contains `text`. */
void quant_rig_expect_error(const quant_rig *r, const char *text);

#endif
