#include <string.h>

#include "autograd/node.h"
#include "autograd/ops.h"
#include "layers/linear.h"
#include "quant/quantizer.h"

/* A kind's options as one layer of one group sees them. */
typedef union {
    max_align_t alignment;
    ts_stack_options stack;
    unsigned char bytes[TS_MAX_QUANTIZER_BYTES];
} layer_options;

typedef struct {
    const ts_quantizer_kind *kind;
    const ts_stack_options *given; /* the kind's whole options begin here */
    int groups, layers;
    ts_value in_use; /* [] how many layers this step uses; absent: all */
} stack;

/* Rows that a kind's table does not have are 0. */
static stack stack_of(const ts_quantizer_kind *kind, const void *options)
{
    const ts_stack_options *given = options;
    return (stack){.kind = kind,
                   .given = given,
                   .groups = given->groups > 1 ? (int)given->groups : 1,
                   .layers = given->layers > 1 ? (int)given->layers : 1,
                   .in_use = TS_ABSENT};
}

static const ts_option *dim_option(const stack *k)
{
    return ts_option_find(k->kind->table, "dim");
}

static const void *options_of(const stack *k, int layer, layer_options *own)
{
    const ts_option *dim = dim_option(k);
    memset(own, 0, sizeof *own);
    if (TS_ASSERT(k->kind->table->struct_bytes <= sizeof own->bytes))
        memcpy(own->bytes, k->given, k->kind->table->struct_bytes);
    own->stack.layer = layer;
    if (dim)
        *(int64_t *)(void *)(own->bytes + dim->offset) /= k->groups;
    return own->bytes;
}

/* ---- what it is ---- */

static ts_status check_layers(const stack *k, ts_error *err)
{
    const ts_stack_options *o = k->given;
    const char *name = k->kind->name;
    if (o->dropout && o->dropout >= k->layers)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: dropout is %lld and layers is %d, so that no layer is ever left out; expected dropout from "
                       "1 to layers - 1, or 0 for none",
                       name, (long long)o->dropout, k->layers);
    if (o->shared && k->layers == 1)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: shared is on and layers is 1: there is one codebook anyway; set layers above 1, or leave "
                       "shared out",
                       name);
    return TS_OK;
}

static ts_status check_groups(const stack *k, ts_error *err)
{
    const ts_option *dim = dim_option(k);
    int64_t width = dim ? *(const int64_t *)(const void *)((const char *)k->given + dim->offset) : 0;
    if (width % k->groups)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: dim is %lld, which %d groups do not divide; groups are equal parts of the channels, so "
                       "choose dim as a multiple of groups",
                       k->kind->name, (long long)width, k->groups);
    if (k->groups * k->layers > TS_MAX_STACKED)
        return ts_fail(err, TS_ERR_USAGE, "%s: %d groups of %d layers are %d layers; at most %d are possible",
                       k->kind->name, k->groups, k->layers, k->groups * k->layers, TS_MAX_STACKED);
    return TS_OK;
}

ts_status ts_quantizer_describe(const ts_quantizer_kind *kind, const void *options, ts_quantizer_info *info,
                                ts_error *err)
{
    stack k = stack_of(kind, options);
    layer_options own;
    TS_TRY(check_layers(&k, err));
    TS_TRY(check_groups(&k, err));
    TS_TRY(kind->info(options_of(&k, 0, &own), info, err));
    info->width = k.groups * (own.stack.dim ? own.stack.dim : info->width);
    info->groups *= k.groups * k.layers;
    return TS_OK;
}

/* Of one layer of one group. */
static ts_quantizer_info describe_layer(const stack *k, const void *options)
{
    ts_quantizer_info info = {0};
    ts_error ignored; /* ts_quantizer_describe has had it */
    return k->kind->info(options, &info, &ignored) == TS_OK ? info : (ts_quantizer_info){.groups = 1};
}

/* ---- scopes ---- */

static ts_scope group_scope(ts_scope s, const stack *k, int group)
{
    return k->groups > 1 ? ts_sub_index(s, "groups", group) : s;
}

/* With one codebook for all, it lies where that of a single layer would. */
static ts_scope layer_scope(ts_scope group, const stack *k, int layer)
{
    if (k->layers == 1)
        return group;
    if (!k->given->shared)
        return ts_sub_index(group, "layers", layer);
    group.shared = layer > 0;
    return group;
}

/* Where no token counts, a layer gives codes of 0 and ids of -1, has no loss and learns nothing: so is one left out. */
static ts_scope leave_out(ts_scope s, const stack *k, ts_value z, int layer)
{
    ts_shape tokens = ts_value_shape(z);
    if (!k->in_use.graph || layer < k->given->dropout)
        return s;
    tokens.dim[--tokens.rank] = 0;
    ts_value use = ts_broadcast(ts_greater(k->in_use, ts_scalar(s.graph, layer)), tokens);
    s.mask = s.mask.graph ? ts_mul(s.mask, use) : use;
    return s;
}

/* [] a random number from dropout to layers, of the scope's path. */
static ts_value draw_in_use(ts_scope s, const stack *k)
{
    if (!k->given->dropout || s.mode != TS_TRAIN)
        return TS_ABSENT;
    if (!s.random.graph)
        return ts_build_fail(s.graph, k->kind->name, "dropout needs random numbers, and the scope has none");
    ts_value more = ts_rand_index(s.random, ts_shape_of(1), k->layers - k->given->dropout + 1);
    return ts_affine(ts_cast(ts_reshape(more, ts_shape_of()), ts_graph_real(s.graph)), 1, (double)k->given->dropout);
}

/* ---- z to codes ---- */

static ts_value project(ts_scope s, const stack *k, const char *name, ts_value x, int64_t from, int64_t to)
{
    if (from == to)
        return x;
    x = ts_linear_layer(ts_sub(s, name), x, to, k->given->projection_bias);
    ts_enter(s);
    return x;
}

/* Channels of a group, and of its codes. */
typedef struct {
    int64_t outer, inner;
} widths;

static widths widths_of(const stack *k)
{
    layer_options own;
    int64_t inner = describe_layer(k, options_of(k, 0, &own)).width;
    return (widths){own.stack.dim ? own.stack.dim : inner, inner};
}

/* A group's part of z, as its first layer takes it. */
static ts_value enter_group(ts_scope s, const stack *k, ts_value z, int group)
{
    widths w = widths_of(k);
    layer_options own;
    if (k->groups > 1)
        z = ts_slice(z, -1, group * w.outer, w.outer);
    z = project(s, k, "project_in", z, w.outer, w.inner);
    return k->layers > 1 && k->kind->before_layers ? k->kind->before_layers(options_of(k, 0, &own), z) : z;
}

static ts_value leave_group(ts_scope s, const stack *k, ts_value codes)
{
    widths w = widths_of(k);
    return w.inner == w.outer ? codes : ts_mask_rows(project(s, k, "project_out", codes, w.inner, w.outer), s.mask);
}

/* The first `layers` of a group; returns what they leave over, of which each layer takes no gradient, so that it passes
 * on its own part of it and its commitment loss has one. */
static ts_value run_layers(ts_scope s, const stack *k, ts_value rest, int layers, ts_quantized *q)
{
    for (int i = 0; i < layers && ts_present(rest); i++) {
        layer_options own;
        k->kind->build(leave_out(layer_scope(s, k, i), k, rest, i), options_of(k, i, &own), rest, &q[i]);
        ts_enter(s);
        if (k->layers > 1)
            rest = ts_subtract(rest, ts_stop_gradient(q[i].codes));
    }
    return rest;
}

static ts_value sum_of_codes(const ts_quantized *q, int count)
{
    ts_value sum = q[0].codes;
    for (int i = 1; i < count; i++)
        sum = ts_add(sum, q[i].codes);
    return sum;
}

/* ---- losses and statistics ---- */

/* Loss or statistic number i of all layers, summed. */
static ts_value sum_losses(const ts_quantized *q, int count, int i)
{
    ts_value sum = q[0].losses[i].value;
    for (int n = 1; n < count; n++)
        sum = ts_add(sum, q[n].losses[i].value);
    return sum;
}

/* What the layers of a group say about their one codebook: sums are of all of them; else the first one counts, which is
 * never left out. */
static ts_value shared_statistic(const ts_quantized *q, int layers, int i)
{
    ts_value all = q[0].statistics[i].value;
    for (int n = 1; n < layers && q[0].statistics[i].sum; n++)
        all = ts_add(all, q[n].statistics[i].value);
    return all;
}

/* Statistics stand one codebook behind the other along their first axis. */
static void gather(const stack *k, const ts_quantized *q, ts_quantized *out)
{
    int count = k->groups * k->layers, step = k->given->shared ? k->layers : 1;
    for (int i = 0; i < q[0].loss_count; i++)
        ts_quantized_loss(out, q[0].losses[i].name, sum_losses(q, count, i), q[0].losses[i].weight);
    for (int i = 0; i < q[0].statistic_count; i++) {
        ts_value part[TS_MAX_STACKED];
        for (int n = 0; n < count; n += step)
            part[n / step] = shared_statistic(q + n, step, i);
        ts_quantized_statistic(out, q[0].statistics[i].name, ts_quantizer_join(part, count / step, 0),
                               q[0].statistics[i].sum);
    }
}

static bool fits(ts_scope s, const stack *k, ts_value z)
{
    int64_t width = widths_of(k).outer * k->groups;
    if (!ts_present(z))
        return false;
    if (ts_value_shape(z).rank >= 1 && ts_dim(z, -1) == width)
        return true;
    ts_build_fail(s.graph, k->kind->name, "z is %s, expected %lld channels", ts_shape_print(ts_value_shape(z)).text,
                  (long long)width);
    return false;
}

void ts_quantize(const ts_quantizer_kind *kind, ts_scope s, const void *options, ts_value z, ts_quantized *out)
{
    stack k = stack_of(kind, options);
    ts_quantized q[TS_MAX_STACKED];
    ts_value codes[TS_MAX_GROUPS], ids[TS_MAX_STACKED];
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    ts_enter(s);
    k.in_use = draw_in_use(s, &k);
    if (!fits(s, &k, z) || (k.in_use.graph && !ts_present(k.in_use)))
        return;
    for (int g = 0; g < k.groups; g++) {
        ts_quantized *own = q + g * k.layers;
        ts_scope scope = group_scope(s, &k, g);
        ts_enter(scope);
        if (!ts_present(run_layers(scope, &k, enter_group(scope, &k, z, g), k.layers, own)))
            return;
        codes[g] = leave_group(scope, &k, sum_of_codes(own, k.layers));
        for (int i = 0; i < k.layers; i++)
            ids[g * k.layers + i] = own[i].ids;
    }
    ts_enter(s);
    out->codes = ts_quantizer_join(codes, k.groups, -1);
    out->ids = ts_quantizer_join(ids, k.groups * k.layers, -1);
    gather(&k, q, out);
}

/* ---- ids to codes ---- */

/* From the second layer on an id of -1 is a layer that was left out, and its codes become 0; in the first it is a token
 * that was broken. */
static ts_value present(ts_value codes, ts_value ids, int layer)
{
    if (layer == 0 || !ts_present(codes))
        return codes;
    ts_value first = ts_cast(ts_slice(ids, -1, 0, 1), ts_graph_real(ids.graph));
    return ts_where(ts_greater(first, ts_scalar(ids.graph, -0.5)), codes, ts_scalar(ids.graph, 0));
}

static ts_value decode_group(ts_scope s, const stack *k, ts_value ids, int group, int64_t each)
{
    ts_value sum = TS_ABSENT;
    for (int i = 0; i < k->layers; i++) {
        layer_options own;
        ts_value part = ts_slice(ids, -1, (group * k->layers + i) * each, each);
        ts_value codes = k->kind->decode(layer_scope(s, k, i), options_of(k, i, &own), part);
        ts_enter(s);
        codes = present(codes, part, i);
        sum = i ? ts_add(sum, codes) : codes;
    }
    return leave_group(s, k, sum);
}

ts_value ts_dequantize(const ts_quantizer_kind *kind, ts_scope s, const void *options, ts_value ids)
{
    stack k = stack_of(kind, options);
    layer_options own;
    ts_value codes[TS_MAX_GROUPS];
    int64_t each = describe_layer(&k, options_of(&k, 0, &own)).groups, all = each * k.groups * k.layers;
    if (!ts_present(ids))
        return ids;
    ts_enter(s);
    if (ts_value_shape(ids).rank < 1 || ts_dim(ids, -1) != all)
        return ts_build_fail(s.graph, kind->name,
                             "ids are %s, expected a last axis of %lld, one for each id of a token",
                             ts_shape_print(ts_value_shape(ids)).text, (long long)all);
    s.mask = TS_ABSENT;
    for (int g = 0; g < k.groups; g++)
        codes[g] = decode_group(group_scope(s, &k, g), &k, ids, g, each);
    ts_enter(s);
    return ts_quantizer_join(codes, k.groups, -1);
}

/* ---- state ---- */

void ts_quantizer_update(const ts_quantizer_kind *kind, ts_scope s, const void *options, const ts_value *statistics,
                         int statistic_count, ts_value ok)
{
    stack k = stack_of(kind, options);
    int layers = k.given->shared ? 1 : k.layers, count = k.groups * layers;
    if (!kind->update)
        return;
    for (int n = 0; n < count; n++) {
        layer_options of_layer;
        ts_value own[TS_MAX_STATISTICS];
        for (int i = 0; i < statistic_count; i++) {
            int64_t length = ts_dim(statistics[i], 0) / count;
            own[i] = count > 1 ? ts_slice(statistics[i], 0, n * length, length) : statistics[i];
        }
        ts_scope scope = layer_scope(group_scope(s, &k, n / layers), &k, n % layers);
        kind->update(scope, options_of(&k, n % layers, &of_layer), own, ok);
    }
}

int ts_quantizer_stages(const ts_quantizer_kind *kind, const void *options)
{
    stack k = stack_of(kind, options);
    layer_options own;
    if (!kind->init || describe_layer(&k, options_of(&k, 0, &own)).init_batches == 0)
        return 0;
    return k.given->shared ? 1 : k.layers;
}

void ts_quantizer_init(const ts_quantizer_kind *kind, ts_scope s, const void *options, ts_value z, int stage)
{
    stack k = stack_of(kind, options);
    ts_enter(s);
    if (!fits(s, &k, z))
        return;
    for (int g = 0; g < k.groups; g++) {
        layer_options own;
        ts_quantized before[TS_MAX_LAYERS];
        ts_scope scope = group_scope(s, &k, g), started = scope;
        ts_enter(scope);
        started.mode = TS_EVAL; /* no draws, no statistics */
        ts_value rest = run_layers(started, &k, enter_group(scope, &k, z, g), stage, before);
        kind->init(layer_scope(scope, &k, stage), options_of(&k, stage, &own), rest);
    }
}
