#define _GNU_SOURCE
#include "autograd/program.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "autograd/store.h"

struct ts_workspace {
    ts_device *device;
    void *memory;
    size_t bytes;
    uint64_t generation; /* counts the growths: pointers into the memory are then stale */
};

struct ts_program {
    ts_plan *plan;
    ts_workspace *workspace;
    uint64_t generation;
    void *constants;
    size_t constant_bytes;
    void **address;  /* per value */
    void **operands; /* per step: TS_MAX_IN inputs, then TS_MAX_OUT outputs */
    bool profiling;
    double *step_ms; /* sums over `runs` */
    int64_t runs;
    bool warm;       /* has run once since addresses were last resolved */
    void *recording; /* of the device; NULL: none yet, or the device makes none */
};

struct ts_fetch {
    ts_program *program;
    ts_value value;
    size_t bytes;
    void *memory; /* the backend's fetch; where it has none, the content itself */
};

enum { PER_STEP = TS_MAX_IN + TS_MAX_OUT, ALIGN = 64 };

ts_workspace *ts_workspace_new(ts_device *device)
{
    ts_workspace *w = ts_calloc(1, sizeof *w);
    if (w)
        w->device = device;
    return w;
}

void ts_workspace_free(ts_workspace *w)
{
    if (!w)
        return;
    if (w->memory)
        w->device->backend->release(w->device, w->memory, w->bytes);
    ts_free(w);
}

size_t ts_workspace_bytes(const ts_workspace *w)
{
    return w->bytes;
}

void ts_workspace_forget(ts_workspace *w)
{
    const ts_backend *backend = w->device->backend;
    if (w->memory && backend->forget)
        backend->forget(w->device, w->memory, w->bytes);
}

static ts_status grow(ts_workspace *w, size_t bytes, ts_error *err)
{
    if (bytes <= w->bytes && w->memory)
        return TS_OK;
    void *memory;
    if (w->device->backend->alloc(w->device, bytes, &memory, err) != TS_OK)
        return ts_error_prefix(err, "the block of memory for what a program computes");
    w->device->backend->zero(w->device, memory, bytes); /* first touch here, not in the first step */
    if (w->memory)
        w->device->backend->release(w->device, w->memory, w->bytes);
    w->memory = memory;
    w->bytes = bytes;
    w->generation++;
    return TS_OK;
}

static size_t constant_bytes(const ts_value_info *info)
{
    ts_tensor t = {info->type.dtype, info->type.shape, NULL};
    return (ts_tensor_bytes(&t) + ALIGN - 1) / ALIGN * ALIGN;
}

static ts_status upload_constants(ts_program *p, ts_error *err)
{
    const ts_graph *g = p->plan->graph;
    ts_device *device = p->plan->device;
    for (int32_t v = 0; v < g->value_count; v++)
        if (g->values[v].kind == TS_KIND_CONSTANT)
            p->constant_bytes += constant_bytes(&g->values[v]);
    if (device->backend->alloc(device, p->constant_bytes, &p->constants, err) != TS_OK)
        return ts_error_prefix(err, "the constants of a program");
    size_t at = 0;
    for (int32_t v = 0; v < g->value_count; v++) {
        const ts_value_info *info = &g->values[v];
        if (info->kind != TS_KIND_CONSTANT)
            continue;
        ts_tensor t = {info->type.dtype, info->type.shape, NULL};
        p->address[v] = (char *)p->constants + at;
        device->backend->upload(device, p->address[v], info->constant, ts_tensor_bytes(&t));
        at += constant_bytes(info);
    }
    return TS_OK;
}

static void *place_address(const ts_value_info *info)
{
    if (info->variable)
        return ts_store_address(info->store, info->variable, info->block);
    char *base = ts_store_block(info->store, info->block);
    return base ? base + (size_t)info->first * ts_dtype_bytes(info->type.dtype) : NULL;
}

static void forget_recording(ts_program *p)
{
    if (p->recording)
        p->plan->device->backend->record_free(p->plan->device, p->recording);
    p->recording = NULL;
    p->warm = false;
}

/* Every value's address, from where the workspace and the store's blocks are now. */
static void resolve(ts_program *p)
{
    const ts_plan *plan = p->plan;
    const ts_graph *g = plan->graph;
    forget_recording(p);
    for (int32_t v = 0; v < g->value_count; v++) {
        const ts_value_info *info = &g->values[v];
        if (info->store)
            p->address[v] = place_address(info);
        else if (plan->offset[v] != SIZE_MAX)
            p->address[v] = (char *)p->workspace->memory + plan->offset[v];
    }
    for (int32_t v = 0; v < g->value_count; v++)
        p->address[v] = p->address[plan->root[v]];
    for (int32_t i = 0; i < plan->step_count; i++) {
        const ts_node *node = &g->nodes[plan->steps[i].node];
        void **operands = p->operands + (size_t)i * PER_STEP;
        for (int k = 0; k < node->in_count; k++)
            operands[k] = node->in[k] < 0 ? NULL : p->address[node->in[k]];
        for (int k = 0; k < node->out_count; k++)
            operands[TS_MAX_IN + k] = p->address[node->out[k]];
    }
    p->generation = p->workspace->generation;
}

ts_status ts_program_new(ts_graph *graph, ts_workspace *workspace, ts_program **result, ts_error *err)
{
    *result = NULL;
    ts_program *p = ts_calloc(1, sizeof *p);
    ts_status status;
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    p->workspace = workspace;
    TS_GO(ts_plan_new(graph, workspace->device, &p->plan, err));
    size_t steps = (size_t)p->plan->step_count;
    p->address = ts_calloc((size_t)graph->value_count, sizeof *p->address);
    p->operands = ts_calloc(steps * PER_STEP, sizeof *p->operands);
    p->step_ms = ts_calloc(steps, sizeof *p->step_ms);
    if (!p->address || !p->operands || !p->step_ms) {
        status = ts_out_of_memory(err, steps * PER_STEP * sizeof *p->operands);
        goto out;
    }
    TS_GO(upload_constants(p, err));
    TS_GO(grow(workspace, p->plan->arena_bytes, err));
    resolve(p);
    *result = p;
    return TS_OK;
out:
    ts_program_free(p);
    return status;
}

void ts_program_free(ts_program *p)
{
    if (!p)
        return;
    if (p->plan)
        forget_recording(p);
    if (p->constants)
        p->workspace->device->backend->release(p->workspace->device, p->constants, p->constant_bytes);
    ts_plan_free(p->plan);
    ts_free(p->address);
    ts_free(p->operands);
    ts_free(p->step_ms);
    ts_free(p);
}

const ts_plan *ts_program_plan(const ts_program *p)
{
    return p->plan;
}

ts_value ts_program_find(const ts_program *p, const char *name)
{
    ts_graph *g = p->plan->graph;
    for (int32_t v = 0; v < g->value_count; v++) {
        const ts_value_info *info = &g->values[v];
        if ((info->output_name && strcmp(info->output_name, name) == 0) ||
            (info->kind == TS_KIND_INPUT && strcmp(info->name, name) == 0))
            return ts_value_at(g, v);
    }
    return ts_poison(g);
}

static size_t bytes_of(ts_value v)
{
    ts_type type = ts_type_of(v);
    ts_tensor t = {type.dtype, type.shape, NULL};
    return ts_tensor_bytes(&t);
}

static void refresh(ts_program *p)
{
    if (p->generation != p->workspace->generation)
        resolve(p);
}

void ts_program_set(ts_program *p, ts_value input, const void *host)
{
    ts_device *device = p->plan->device;
    refresh(p);
    device->backend->upload(device, p->address[input.id], host, bytes_of(input));
}

void ts_program_get(ts_program *p, ts_value output, void *host)
{
    ts_device *device = p->plan->device;
    refresh(p);
    device->backend->download(device, host, p->address[output.id], bytes_of(output));
}

ts_status ts_fetch_new(ts_program *p, ts_value output, ts_fetch **result, ts_error *err)
{
    ts_device *device = p->plan->device;
    ts_fetch *f = *result = ts_calloc(1, sizeof *f);
    if (!f)
        return ts_out_of_memory(err, sizeof *f);
    *f = (ts_fetch){.program = p, .value = output, .bytes = bytes_of(output)};
    ts_status status = TS_OK;
    if (device->backend->fetch_open)
        status = device->backend->fetch_open(device, f->bytes, &f->memory, err);
    else if (!(f->memory = ts_alloc(f->bytes)))
        status = ts_out_of_memory(err, f->bytes);
    if (status == TS_OK)
        return TS_OK;
    ts_free(f);
    *result = NULL;
    return status;
}

void ts_fetch_begin(ts_fetch *f)
{
    ts_program *p = f->program;
    ts_device *device = p->plan->device;
    refresh(p);
    if (device->backend->fetch_begin)
        device->backend->fetch_begin(device, f->memory, p->address[f->value.id]);
    else
        device->backend->download(device, f->memory, p->address[f->value.id], f->bytes);
}

ts_status ts_fetch_end(ts_fetch *f, void *host, ts_error *err)
{
    ts_device *device = f->program->plan->device;
    memcpy(host, device->backend->fetch_end ? device->backend->fetch_end(device, f->memory) : f->memory, f->bytes);
    return device->error.code == TS_OK ? TS_OK : ts_device_check(device, err);
}

void ts_fetch_free(ts_fetch *f)
{
    if (!f)
        return;
    ts_device *device = f->program->plan->device;
    if (device->backend->fetch_close)
        device->backend->fetch_close(device, f->memory);
    else
        ts_free(f->memory);
    ts_free(f);
}

static ts_call call_of(const ts_program *p, int32_t i)
{
    const ts_plan *plan = p->plan;
    void **operands = p->operands + (size_t)i * PER_STEP;
    return (ts_call){.desc = &plan->steps[i].desc,
                     .device = plan->device,
                     .in = operands,
                     .out = operands + TS_MAX_IN,
                     .prepared = plan->steps[i].prepared,
                     .scratch = (char *)p->workspace->memory + plan->scratch_offset};
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void run_profiled(ts_program *p)
{
    for (int32_t i = 0; i < p->plan->step_count; i++) {
        double start = now_ms();
        ts_call call = call_of(p, i);
        p->plan->steps[i].kernel->run(&call);
        p->plan->device->backend->synchronize(p->plan->device);
        p->step_ms[i] += now_ms() - start;
    }
    p->runs++;
}

/* The first step that fails gives its place to the message. */
static ts_status run_steps(ts_program *p, ts_error *err)
{
    ts_device *device = p->plan->device;
    for (int32_t i = 0; i < p->plan->step_count; i++) {
        ts_call call = call_of(p, i);
        p->plan->steps[i].kernel->run(&call);
        if (device->one_by_one)
            device->backend->synchronize(device);
        if (device->error.code != TS_OK) {
            const ts_node *node = &p->plan->graph->nodes[p->plan->steps[i].node];
            ts_device_check(device, err);
            return ts_error_prefix(err, "%s: %s", node->path, ts_ops[node->op].name);
        }
    }
    return TS_OK;
}

/* The first run is step by step: libraries load and choose their algorithms in it. The second is recorded. */
static ts_status record(ts_program *p, ts_error *err)
{
    const ts_backend *backend = p->plan->device->backend;
    void *recording = NULL;
    TS_TRY(backend->record_begin(p->plan->device, err));
    ts_status status = run_steps(p, err);
    ts_status ended = backend->record_end(p->plan->device, &recording, status == TS_OK ? err : NULL);
    if (status == TS_OK && ended == TS_OK)
        p->recording = recording;
    else if (recording)
        backend->record_free(p->plan->device, recording);
    return status == TS_OK ? ended : status;
}

ts_status ts_program_run(ts_program *p, ts_error *err)
{
    ts_device *device = p->plan->device;
    refresh(p);
    if (p->profiling) {
        run_profiled(p);
        return ts_device_check(device, err);
    }
    if (!device->backend->record_begin || !p->warm || device->one_by_one) {
        TS_TRY(run_steps(p, err));
        p->warm = true;
        return TS_OK;
    }
    if (!p->recording)
        TS_TRY(record(p, err));
    device->backend->replay(device, p->recording);
    return device->error.code == TS_OK ? TS_OK : ts_device_check(device, err);
}

void ts_program_profile(ts_program *p, bool on)
{
    p->profiling = on;
}

double ts_program_step_ms(const ts_program *p, int32_t step)
{
    return p->runs ? p->step_ms[step] / (double)p->runs : 0;
}

static double element(const void *x, ts_dtype dtype, int64_t i)
{
    if (dtype == TS_BF16)
        return (double)ts_f32_from_bf16(((const uint16_t *)x)[i]);
    return dtype == TS_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* How many elements of a real tensor are not finite. */
static int64_t count_bad(ts_program *p, int32_t value, ts_status *status, ts_error *err)
{
    ts_value v = ts_value_at(p->plan->graph, value);
    ts_type type = ts_type_of(v);
    if (!ts_dtype_is_real(type.dtype))
        return 0;
    void *host = ts_alloc(bytes_of(v));
    if (!host) {
        *status = ts_out_of_memory(err, bytes_of(v));
        return 0;
    }
    ts_program_get(p, v, host);
    int64_t bad = 0, n = ts_shape_count(type.shape);
    for (int64_t i = 0; i < n; i++)
        bad += !isfinite(element(host, type.dtype, i));
    ts_free(host);
    return bad;
}

static ts_status check_step(ts_program *p, int32_t i, ts_error *err)
{
    ts_status status = TS_OK;
    const ts_node *node = &p->plan->graph->nodes[p->plan->steps[i].node];
    for (int k = 0; k < node->out_count && status == TS_OK; k++) {
        int64_t bad = count_bad(p, node->out[k], &status, err);
        if (bad)
            return ts_fail(
                err, TS_ERR_RUNTIME,
                "%s: %s: %lld of %lld elements of its result %s are not finite, the first such value of the step",
                node->path, ts_ops[node->op].name, (long long)bad,
                (long long)ts_shape_count(p->plan->steps[i].desc.out[k].shape),
                ts_shape_print(p->plan->steps[i].desc.out[k].shape).text);
    }
    return status;
}

ts_status ts_program_run_checked(ts_program *p, ts_error *err)
{
    refresh(p);
    for (int32_t i = 0; i < p->plan->step_count; i++) {
        ts_call call = call_of(p, i);
        p->plan->steps[i].kernel->run(&call);
        TS_TRY(ts_device_check(p->plan->device, err));
        TS_TRY(check_step(p, i, err));
    }
    return TS_OK;
}
