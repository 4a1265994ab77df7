/* A program: a planned graph with its memory, to be run any number of times. A run walks the plan: no allocation, no
 * shape logic. Several programs over one store (train step, evaluation, encode) share one workspace, sized to the
 * largest.
 *
 * Thread: programs of one workspace are run by one thread at a time. */
#ifndef TS_AUTOGRAD_PROGRAM_H
#define TS_AUTOGRAD_PROGRAM_H

#include "autograd/graph.h"
#include "autograd/plan.h"

/* Memory that programs share. What one program left in it is gone when another has run. */
typedef struct ts_workspace ts_workspace;
ts_workspace *ts_workspace_new(ts_device *device); /* NULL when out of memory */
void ts_workspace_free(ts_workspace *workspace);
size_t ts_workspace_bytes(const ts_workspace *workspace);
/* What programs left in it is not needed any more: on the host its pages go back to the system until the next run. */
void ts_workspace_forget(ts_workspace *workspace);

typedef struct ts_program ts_program;

/* Plans the graph and takes its place in the workspace (which grows where needed). The program owns the plan, not the
 * graph; the graph must live as long. Constants are uploaded here. */
ts_status ts_program_new(ts_graph *graph, ts_workspace *workspace, ts_program **program, ts_error *err);
void ts_program_free(ts_program *program);
const ts_plan *ts_program_plan(const ts_program *program);

/* The graph's input or output of this name; poison where there is none. */
ts_value ts_program_find(const ts_program *program, const char *name);

/* Copies an input in, and an output (any value that was made one) out: whole tensors, of the value's dtype. An input
 * keeps its content over runs of this program, as long as no other program of the workspace runs in between. */
void ts_program_set(ts_program *program, ts_value input, const void *host);
void ts_program_get(ts_program *program, ts_value output, void *host);

/* A value on its way to the host while the device goes on: `begin`, after a run, has its content copied as that run
 * left it; `end` waits for the copy, and for no run that came behind it, and writes the content to `host`. Between
 * begin and end there is no second begin. Owner: ts_fetch_free, before the program's. Errors: of end, TS_ERR_DEVICE
 * when a kernel has failed. */
typedef struct ts_fetch ts_fetch;
ts_status ts_fetch_new(ts_program *program, ts_value output, ts_fetch **fetch, ts_error *err);
void ts_fetch_begin(ts_fetch *fetch);
ts_status ts_fetch_end(ts_fetch *fetch, void *host, ts_error *err);
void ts_fetch_free(ts_fetch *fetch);

/* Runs all steps. A device that records (a GPU) is only given the work: it goes on while the caller does, until
 * ts_program_get or ts_fetch_end waits for it; from the second run on it is given one recording of the whole program.
 * Errors: TS_ERR_DEVICE when a kernel failed, now or since the last call, with its place where that is known. */
ts_status ts_program_run(ts_program *program, ts_error *err);

/* Node by node, looking at every result: the first one that is not finite is the error, with path, op and the operands'
 * state. Slow; for --check-nan. */
ts_status ts_program_run_checked(ts_program *program, ts_error *err);

/* Wall time of each step of the plan over the runs so far, when switched on. */
void ts_program_profile(ts_program *program, bool on);
double ts_program_step_ms(const ts_program *program, int32_t step); /* mean per run */

#endif
