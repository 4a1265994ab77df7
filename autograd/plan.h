/* The plan of a graph on a device: which nodes run, in which order, with which kernels, and where every tensor lies in
 * one block of memory. Made once; the peak is known before anything is allocated.
 *
 * Order: nodes run in the order in which they were built; those that write state come last, also in their order, so
 * that everything else reads the state as it was before the step. */
#ifndef TS_AUTOGRAD_PLAN_H
#define TS_AUTOGRAD_PLAN_H

#include "autograd/node.h"
#include "core/device.h"

typedef struct {
    int32_t node;
    ts_desc desc;
    const ts_kernel *kernel;
    void *prepared;
} ts_plan_step;

typedef struct {
    ts_graph *graph;
    ts_device *device;
    ts_plan_step *steps;
    int32_t step_count;
    int32_t *root;         /* per value: the value whose memory it is (itself unless an alias) */
    size_t *offset;        /* per root: bytes into the arena; SIZE_MAX: not in the arena */
    size_t arena_bytes;    /* tensors and scratch: the peak */
    size_t scratch_offset; /* where the shared scratch begins */
    size_t scratch_bytes;
    size_t value_bytes; /* sum of all planned tensors, as if nothing shared memory: what liveness saves is the
                           difference */
    double flops, moved_bytes;
} ts_plan;

/* Owner: the caller, ts_plan_free; graph and device must live as long. Errors: the graph's sticky error; TS_ERR_DEVICE
 * where the backend has no kernel for an op. */
ts_status ts_plan_new(ts_graph *graph, ts_device *device, ts_plan **plan, ts_error *err);
void ts_plan_free(ts_plan *plan);

#endif
