#include "autograd/attention.h"

#include "autograd/node.h"

/* What is wrong with the operands, or NULL. */
static const char *mistake(ts_type q, ts_type k, ts_type v, bool causal)
{
    if ((q.dtype != TS_F32 && q.dtype != TS_F64) || k.dtype != q.dtype || v.dtype != q.dtype)
        return "all must be f32, or all f64";
    if (q.shape.rank != 4 || k.shape.rank != 4 || v.shape.rank != 4)
        return "expected [B, heads, T, d] each";
    const int64_t *a = q.shape.dim, *b = k.shape.dim, *c = v.shape.dim;
    if (a[0] != b[0] || a[0] != c[0] || a[1] != b[1] || a[1] != c[1])
        return "batch and heads must agree";
    if (a[3] != b[3])
        return "q and k must have one width";
    if (b[2] != c[2] || b[2] < 1)
        return "k and v must have one length, of at least 1";
    return causal && a[2] > b[2] ? "causal needs at least as many keys as queries" : NULL;
}

ts_value ts_attention(ts_value q, ts_value k, ts_value v, double scale, bool causal)
{
    ts_graph *g;
    if (ts_poisoned(&g, 3, (ts_value[]){q, k, v}))
        return ts_poison(g);
    ts_type tq = ts_type_of(q), tk = ts_type_of(k), tv = ts_type_of(v), out = tq, lse = tq;
    const char *wrong = mistake(tq, tk, tv, causal);
    if (wrong)
        return ts_build_fail(g, "attention", "q is %s %s, k %s %s, v %s %s: %s", ts_dtype_name(tq.dtype),
                             ts_shape_print(tq.shape).text, ts_dtype_name(tk.dtype), ts_shape_print(tk.shape).text,
                             ts_dtype_name(tv.dtype), ts_shape_print(tv.shape).text, wrong);
    out.shape.dim[3] = tv.shape.dim[3];
    lse.shape = ts_shape_from(3, tq.shape.dim);
    return ts_node_add(g,
                       &(ts_node_spec){.op = TS_OP_attention,
                                       .attr.attention = {scale, causal},
                                       .in_count = 3,
                                       .in = {q, k, v},
                                       .out = {out, lse}},
                       NULL);
}

void ts_rule_attention(ts_rule *r)
{
    ts_value q = r->in[0], k = r->in[1], v = r->in[2], din[TS_MAX_OUT];
    ts_node_add(q.graph,
                &(ts_node_spec){.op = TS_OP_attention_dx,
                                .attr = *r->attr,
                                .in_count = 6,
                                .in = {r->dout[0], q, k, v, r->out[0], r->out[1]},
                                .out = {ts_type_of(q), ts_type_of(k), ts_type_of(v)}},
                din);
    for (int i = 0; i < 3; i++)
        if (r->wants[i])
            r->din[i] = din[i];
}
