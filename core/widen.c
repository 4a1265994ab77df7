#include "core/widen.h"

#include "core/device.h"
#include "core/memory.h"

enum { OPERANDS = TS_MAX_IN + TS_MAX_OUT, ALIGN = 64 };

/* f32 bytes of a slice's operands. A product of the CPU packs its weights anew for every slice, which is little from
 * some thousand rows on. A GPU wants much work at a time. */
enum { SLICE = 1 << 20, PRODUCT_SLICE = 4 << 20, DEVICE_SLICE = 64 << 20 };

bool ts_needs_widening(const ts_desc *d)
{
    bool half = false;
    for (int i = 0; i < d->in_count; i++)
        half |= ts_type_present(&d->in[i]) && d->in[i].dtype == TS_BF16;
    for (int i = 0; i < d->out_count; i++)
        half |= d->out[i].dtype == TS_BF16;
    switch (d->op) {
    case TS_OP_cast:
    case TS_OP_slice:
    case TS_OP_pad:
    case TS_OP_concat:
    case TS_OP_permute:
        return false;
    default:
        return half;
    }
}

/* ---- what may be cut into slices ---- */

/* Operand i is cut along its first axis where bit i says so, result i where bit TS_MAX_IN + i does. */
typedef struct {
    uint32_t cut;
    bool adds; /* the result is the sum over the slices */
} slicing;

enum { IN0 = 1u, IN1 = 2u, OUT0 = 1u << TS_MAX_IN };

static slicing matmul_slicing(const ts_desc *d)
{
    const bool ta = d->attr.matmul.trans_a, tb = d->attr.matmul.trans_b;
    if (d->in[1].shape.rank > 2)
        return (slicing){IN0 | IN1 | OUT0, false};
    if (d->in[0].shape.rank > 2 || !ta)
        return (slicing){IN0 | OUT0, false};
    return tb || d->in_count > 2 ? (slicing){0} : (slicing){IN0 | IN1, true};
}

static uint32_t everything(const ts_desc *d)
{
    return ((1u << d->in_count) - 1) | ((1u << d->out_count) - 1) << TS_MAX_IN;
}

static bool of_one_shape(const ts_desc *d)
{
    bool same = d->out[0].shape.rank > 0;
    for (int i = 0; i < d->in_count; i++)
        same = same && ts_shape_equal(d->in[i].shape, d->out[0].shape);
    return same;
}

static bool is_elementwise(ts_op op)
{
    return op <= TS_OP_cast; /* the first family of core/ops.def */
}

static slicing slicing_of(const ts_desc *d)
{
    switch (d->op) {
    case TS_OP_conv:
    case TS_OP_conv_transpose:
        return (slicing){IN0 | OUT0, false};
    case TS_OP_conv_dw:
        return (slicing){IN0 | IN1, true};
    case TS_OP_matmul:
        return matmul_slicing(d);
    case TS_OP_sum:
        return d->attr.axis.axes & 1u ? (slicing){IN0, true} : (slicing){IN0 | OUT0, false};
    case TS_OP_upsample_nearest:
    case TS_OP_upsample_nearest_dx:
    case TS_OP_avg_pool:
    case TS_OP_avg_pool_dx:
    case TS_OP_max_pool:
    case TS_OP_max_pool_dx:
        return (slicing){everything(d), false};
    default:
        return is_elementwise(d->op) && of_one_shape(d) ? (slicing){everything(d), false} : (slicing){0};
    }
}

static bool is_product(ts_op op)
{
    return op == TS_OP_conv || op == TS_OP_conv_transpose || op == TS_OP_conv_dw || op == TS_OP_matmul;
}

static const ts_type *operand(const ts_desc *d, int i)
{
    return i < TS_MAX_IN ? (i < d->in_count ? &d->in[i] : NULL)
                         : (i - TS_MAX_IN < d->out_count ? &d->out[i - TS_MAX_IN] : NULL);
}

/* Items of the first axis in a slice; all of them where nothing is cut. */
static int64_t items_of_slice(const ts_desc *d, slicing s, const ts_device *device)
{
    const bool beside = device->backend->record_begin != NULL; /* the host only gives the work */
    const int64_t most = beside ? DEVICE_SLICE : is_product(d->op) ? PRODUCT_SLICE : SLICE;
    const int64_t items = d->in[0].shape.dim[0];
    int64_t bytes = 0;
    for (int i = 0; i < OPERANDS; i++)
        if (operand(d, i) && s.cut >> i & 1)
            bytes += ts_shape_count(operand(d, i)->shape) * (int64_t)sizeof(float);
    if (!s.cut || items == 0 || bytes <= most)
        return items;
    const int64_t fit = items * most / bytes;
    return fit > 0 ? fit : 1;
}

/* ---- the plan ---- */

/* An operand or result that is cast; at: where its f32 form lies in the scratch. kernel NULL: it is used as it is. */
typedef struct {
    ts_desc desc;
    const ts_kernel *kernel;
    size_t at;
} conversion;

/* The op over some items of the first axis. */
typedef struct {
    ts_desc desc; /* all f32 */
    const ts_kernel *kernel;
    void *prepared;
    conversion of[OPERANDS]; /* of what is cut */
} part;

typedef struct {
    slicing how;
    int64_t items, of_slice;
    part slice, tail;           /* tail: what is left over after whole slices, where something is */
    conversion whole[OPERANDS]; /* of what is not cut: cast once */
    conversion sum;             /* desc and kernel that add a slice's result; at: where that lies */
    size_t step[OPERANDS];      /* bytes from a slice to the next one */
    size_t rest;                /* where the scratch of the f32 kernel begins */
} plan;

static void release(void *prepared)
{
    plan *p = prepared;
    part *const parts[] = {&p->slice, &p->tail};
    for (int i = 0; i < 2; i++)
        if (parts[i]->prepared && parts[i]->kernel->release)
            parts[i]->kernel->release(parts[i]->prepared);
    ts_free(p);
}

static size_t f32_bytes(const ts_type *t)
{
    return ((size_t)ts_shape_count(t->shape) * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;
}

static ts_status find_kernel(const ts_desc *d, ts_device *device, const ts_kernel **kernel, ts_error *err)
{
    *kernel = device->backend->kernel(device, d);
    return *kernel ? TS_OK
                   : ts_fail(err, TS_ERR_DEVICE, "bf16 by f32: the %s backend has no kernel for %s",
                             device->backend->name, ts_ops[d->op].name);
}

static ts_status plan_cast(conversion *c, const ts_type *t, bool gives, size_t *rest, ts_device *device, ts_error *err)
{
    if (!ts_type_present(t) || t->dtype != TS_BF16)
        return TS_OK;
    const ts_type wide = {TS_F32, t->shape};
    c->desc = (ts_desc){.op = TS_OP_cast, .in_count = 1, .out_count = 1};
    c->desc.in[0] = gives ? wide : *t;
    c->desc.out[0] = gives ? *t : wide;
    c->at = *rest;
    *rest += f32_bytes(t);
    return find_kernel(&c->desc, device, &c->kernel, err);
}

/* Whatever is not cut. */
static ts_status plan_whole(plan *p, const ts_desc *d, ts_device *device, ts_error *err)
{
    for (int i = 0; i < OPERANDS; i++)
        if (operand(d, i) && !(p->how.cut >> i & 1))
            TS_TRY(plan_cast(&p->whole[i], operand(d, i), i >= TS_MAX_IN, &p->rest, device, err));
    if (!p->how.adds)
        return TS_OK;
    p->sum.desc =
        (ts_desc){.op = TS_OP_add, .in_count = 2, .out_count = 1, .in = {d->out[0], d->out[0]}, .out = {d->out[0]}};
    p->sum.at = p->rest;
    p->rest += f32_bytes(&d->out[0]);
    return find_kernel(&p->sum.desc, device, &p->sum.kernel, err);
}

/* A part of `items`; *end: behind the f32 forms of what it casts. */
static ts_status plan_part(plan *p, part *t, const ts_desc *d, int64_t items, size_t *end, size_t *inner,
                           ts_device *device, ts_error *err)
{
    size_t bytes = 0;
    *end = p->rest;
    t->desc = *d;
    for (int i = 0; i < OPERANDS; i++) {
        ts_type *own = (ts_type *)operand(&t->desc, i);
        if (!own)
            continue;
        if (p->how.cut >> i & 1) {
            own->shape.dim[0] = items;
            TS_TRY(plan_cast(&t->of[i], own, i >= TS_MAX_IN, end, device, err));
        }
        if (own->dtype == TS_BF16)
            own->dtype = TS_F32;
    }
    TS_TRY(find_kernel(&t->desc, device, &t->kernel, err));
    if (t->kernel->prepare)
        TS_TRY(t->kernel->prepare(&t->desc, device, &t->prepared, &bytes, err));
    *inner = bytes > *inner ? bytes : *inner;
    return TS_OK;
}

static ts_status fill(plan *p, const ts_desc *d, ts_device *device, size_t *scratch_bytes, ts_error *err)
{
    size_t inner = 0, end, tail_end;
    p->how = slicing_of(d);
    p->items = d->in[0].shape.rank > 0 ? d->in[0].shape.dim[0] : 1;
    p->of_slice = d->in[0].shape.rank > 0 ? items_of_slice(d, p->how, device) : 1;
    if (p->of_slice == p->items || (p->how.adds && d->out[0].dtype != TS_F32))
        p->how = (slicing){0}, p->of_slice = p->items;
    for (int i = 0; i < OPERANDS; i++)
        if (p->how.cut >> i & 1)
            p->step[i] = (size_t)(ts_shape_count(operand(d, i)->shape) / p->items * p->of_slice) *
                         ts_dtype_bytes(operand(d, i)->dtype);
    TS_TRY(plan_whole(p, d, device, err));
    TS_TRY(plan_part(p, &p->slice, d, p->of_slice, &end, &inner, device, err));
    if (p->of_slice && p->items % p->of_slice)
        TS_TRY(plan_part(p, &p->tail, d, p->items % p->of_slice, &tail_end, &inner, device, err));
    p->rest = end;
    *scratch_bytes = p->rest + inner;
    return TS_OK;
}

static ts_status prepare(const ts_desc *d, ts_device *device, void **prepared, size_t *scratch_bytes, ts_error *err)
{
    plan *p = ts_calloc(1, sizeof *p);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    ts_status status = fill(p, d, device, scratch_bytes, err);
    if (status != TS_OK)
        release(p);
    else
        *prepared = p;
    return status;
}

/* ---- the run ---- */

static void convert(const ts_call *call, const conversion *c, void *from, void *to)
{
    c->kernel->run(&(ts_call){.desc = &c->desc, .device = call->device, .in = &from, .out = &to});
}

/* Slice n: `at` has where each operand begins, or where the f32 form of a whole one lies. */
static void run_part(const ts_call *call, const plan *p, const part *t, void *const *at, int64_t n)
{
    char *scratch = call->scratch;
    void *own[OPERANDS], *used[OPERANDS];
    for (int i = 0; i < OPERANDS; i++) {
        own[i] = at[i] ? (char *)at[i] + (size_t)n * p->step[i] : NULL;
        used[i] = t->of[i].kernel ? scratch + t->of[i].at : own[i];
        if (i < TS_MAX_IN && t->of[i].kernel)
            convert(call, &t->of[i], own[i], used[i]);
    }
    void *const sum = used[TS_MAX_IN], *partial = scratch + p->sum.at;
    const bool adds = p->how.adds && n > 0;
    if (adds)
        used[TS_MAX_IN] = partial;
    t->kernel->run(&(ts_call){.desc = &t->desc,
                              .device = call->device,
                              .in = used,
                              .out = used + TS_MAX_IN,
                              .prepared = t->prepared,
                              .scratch = scratch + p->rest});
    if (adds)
        p->sum.kernel->run(
            &(ts_call){.desc = &p->sum.desc, .device = call->device, .in = (void *[]){sum, partial}, .out = &sum});
    for (int i = TS_MAX_IN; i < OPERANDS; i++)
        if (t->of[i].kernel)
            convert(call, &t->of[i], used[i], own[i]);
}

static void run(const ts_call *call)
{
    const plan *p = call->prepared;
    const int64_t slices = p->of_slice ? p->items / p->of_slice : 1;
    void *at[OPERANDS] = {0};
    for (int i = 0; i < OPERANDS; i++) {
        if (!operand(call->desc, i))
            continue;
        void *own = i < TS_MAX_IN ? call->in[i] : call->out[i - TS_MAX_IN];
        at[i] = p->whole[i].kernel ? (char *)call->scratch + p->whole[i].at : own;
        if (p->whole[i].kernel && i < TS_MAX_IN)
            convert(call, &p->whole[i], own, at[i]);
    }
    for (int64_t n = 0; n < slices; n++)
        run_part(call, p, &p->slice, at, n);
    if (p->tail.kernel)
        run_part(call, p, &p->tail, at, slices);
    for (int i = TS_MAX_IN; i < OPERANDS; i++)
        if (p->whole[i].kernel)
            convert(call, &p->whole[i], at[i], call->out[i - TS_MAX_IN]);
}

const ts_kernel ts_widened = {.name = "widened", .prepare = prepare, .release = release, .run = run};
