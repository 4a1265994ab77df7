#include "autograd/fsq.h"

#include <string.h>

#include "autograd/node.h"
#include "core/fsq.h"

/* Copied member by member: the bytes between them stay zero, so that two can be compared as bytes. */
static void set_attr(ts_attr *attr, const ts_fsq_opts *opts)
{
    memset(attr, 0, sizeof *attr);
    attr->fsq.count = opts->count;
    memcpy(attr->fsq.level, opts->level, (size_t)opts->count * sizeof opts->level[0]);
    attr->fsq.bound = opts->bound;
    attr->fsq.hard_clamp = opts->hard_clamp;
}

static bool opts_valid(ts_graph *g, const char *op, const ts_fsq_opts *opts)
{
    ts_fsq_table table;
    ts_error error;
    if (ts_fsq_table_init(&table, opts, &error) == TS_OK)
        return true;
    ts_build_fail(g, op, "%s", error.text);
    return false;
}

/* x is real [.., D]. */
static bool codes_valid(ts_graph *g, const char *op, ts_value x, const ts_fsq_opts *opts)
{
    ts_type t = ts_type_of(x);
    if (!opts_valid(g, op, opts))
        return false;
    if (t.dtype == ts_graph_real(g) && t.shape.rank >= 1 && ts_dim(x, -1) == opts->count)
        return true;
    ts_build_fail(g, op, "the input is %s %s; expected real numbers with a last axis of %d, one for each level",
                  ts_dtype_name(t.dtype), ts_shape_print(t.shape).text, opts->count);
    return false;
}

static bool ids_valid(ts_graph *g, const char *op, ts_value ids, const ts_fsq_opts *opts)
{
    ts_type t = ts_type_of(ids);
    if (!opts_valid(g, op, opts))
        return false;
    if (t.dtype == TS_I32 && t.shape.rank < TS_MAX_RANK)
        return true;
    ts_build_fail(g, op, "the ids are %s %s; expected i32 of at most %d axes", ts_dtype_name(t.dtype),
                  ts_shape_print(t.shape).text, TS_MAX_RANK - 1);
    return false;
}

static ts_shape without_last(ts_shape s)
{
    s.dim[--s.rank] = 0;
    return s;
}

static ts_shape with_last(ts_shape s, int64_t last)
{
    s.dim[s.rank++] = last;
    return s;
}

ts_fsq_result ts_fsq(ts_value z, const ts_fsq_opts *opts)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &z) || !codes_valid(g, "fsq", z, opts))
        return (ts_fsq_result){ts_poison(g), ts_poison(g)};
    ts_type t = ts_type_of(z);
    ts_value out[TS_MAX_OUT];
    ts_node_spec spec = {.op = TS_OP_fsq, .in_count = 1, .in = {z}, .out = {t, {TS_I32, without_last(t.shape)}}};
    set_attr(&spec.attr, opts);
    ts_node_add(g, &spec, out);
    return (ts_fsq_result){out[0], out[1]};
}

void ts_rule_fsq(ts_rule *r)
{
    ts_graph *g = r->in[0].graph;
    ts_node_spec spec = {.op = TS_OP_fsq_dx,
                         .attr = *r->attr,
                         .in_count = 2,
                         .in = {r->dout[0], r->in[0]},
                         .out = {ts_type_of(r->in[0])}};
    r->din[0] = ts_node_add(g, &spec, NULL);
}

/* ids [..] -> [.., D] */
static ts_value unfold(const char *name, ts_op op, ts_value ids, const ts_fsq_opts *opts, ts_dtype dtype)
{
    ts_graph *g = ids.graph;
    if (!ids_valid(g, name, ids, opts))
        return ts_poison(g);
    ts_node_spec spec = {
        .op = op, .in_count = 1, .in = {ids}, .out = {{dtype, with_last(ts_value_shape(ids), opts->count)}}};
    set_attr(&spec.attr, opts);
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_fsq_decode(ts_value ids, const ts_fsq_opts *opts)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &ids))
        return ts_poison(g);
    return unfold("fsq_decode", TS_OP_fsq_decode, ids, opts, ts_graph_real(g));
}

ts_value ts_fsq_levels(ts_value ids, const ts_fsq_opts *opts)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &ids))
        return ts_poison(g);
    return unfold("fsq_levels", TS_OP_fsq_levels, ids, opts, TS_I32);
}

ts_value ts_fsq_ids(ts_value codes, const ts_fsq_opts *opts)
{
    ts_graph *g;
    if (ts_poisoned(&g, 1, &codes) || !codes_valid(g, "fsq_ids", codes, opts))
        return ts_poison(g);
    ts_node_spec spec = {
        .op = TS_OP_fsq_ids, .in_count = 1, .in = {codes}, .out = {{TS_I32, without_last(ts_value_shape(codes))}}};
    set_attr(&spec.attr, opts);
    return ts_node_add(g, &spec, NULL);
}
