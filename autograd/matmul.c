#include "autograd/matmul.h"

#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/reduce.h"
#include "autograd/shape.h"

static ts_value fail_shapes(ts_graph *g, const char *op, ts_value a, ts_value b, const char *what)
{
    return ts_build_fail(g, op, "%s and %s: %s", ts_shape_print(ts_value_shape(a)).text,
                         ts_shape_print(ts_value_shape(b)).text, what);
}

/* The node, after the checks: bias [N] or absent; the result is of `out`. */
static ts_value product(ts_graph *g, const char *op, ts_value a, ts_value b, ts_value bias, bool ta, bool tb,
                        ts_dtype out)
{
    ts_shape as = ts_value_shape(a), bs = ts_value_shape(b), c = as;
    if (as.rank < 2 || bs.rank < 2)
        return fail_shapes(g, op, a, b, "both operands need a rank of at least 2");
    if (ts_type_of(a).dtype != ts_type_of(b).dtype || !ts_dtype_is_real(ts_type_of(a).dtype))
        return ts_build_fail(g, op, "operands are %s and %s, expected real numbers of one dtype",
                             ts_dtype_name(ts_type_of(a).dtype), ts_dtype_name(ts_type_of(b).dtype));
    if (bs.rank != 2 && (bs.rank != as.rank || memcmp(as.dim, bs.dim, (size_t)(as.rank - 2) * sizeof as.dim[0]) != 0))
        return fail_shapes(g, op, a, b, "the leading dims differ");
    if (ts_dim(a, ta ? -2 : -1) != ts_dim(b, tb ? -1 : -2))
        return ts_build_fail(g, op, "%s%s and %s%s: the inner dims %lld and %lld differ", ts_shape_print(as).text,
                             ta ? " transposed" : "", ts_shape_print(bs).text, tb ? " transposed" : "",
                             (long long)ts_dim(a, ta ? -2 : -1), (long long)ts_dim(b, tb ? -1 : -2));
    c.dim[c.rank - 2] = ts_dim(a, ta ? -1 : -2);
    c.dim[c.rank - 1] = ts_dim(b, tb ? -2 : -1);
    ts_node_spec spec = {.op = TS_OP_matmul, .in_count = ts_present(bias) ? 3 : 2, .in = {a, b, bias}};
    spec.attr.matmul.trans_a = ta;
    spec.attr.matmul.trans_b = tb;
    spec.out[0] = (ts_type){out, c};
    return ts_node_add(g, &spec, NULL);
}

ts_value ts_matmul(ts_value a, ts_value b, bool trans_a, bool trans_b)
{
    ts_graph *g;
    if (ts_poisoned(&g, 2, (ts_value[]){a, b}))
        return ts_poison(g);
    return product(g, "matmul", a, b, TS_ABSENT, trans_a, trans_b, ts_type_of(a).dtype);
}

ts_value ts_linear(ts_value x, ts_value weight, ts_value bias)
{
    ts_graph *g;
    if (ts_poisoned(&g, 3, (ts_value[]){x, weight, bias}))
        return ts_poison(g);
    ts_shape w = ts_value_shape(weight), b = ts_value_shape(bias);
    if (w.rank != 2)
        return ts_build_fail(g, "linear", "weight is %s, expected [out, in]", ts_shape_print(w).text);
    if (ts_dim(x, -1) != w.dim[1])
        return ts_build_fail(g, "linear", "input %s has %lld features, weight %s expects %lld",
                             ts_shape_print(ts_value_shape(x)).text, (long long)ts_dim(x, -1), ts_shape_print(w).text,
                             (long long)w.dim[1]);
    if (ts_present(bias) && (b.rank != 1 || b.dim[0] != w.dim[0] || ts_type_of(bias).dtype != ts_type_of(x).dtype))
        return ts_build_fail(g, "linear", "bias is %s %s, weight %s expects %s [%lld]",
                             ts_dtype_name(ts_type_of(bias).dtype), ts_shape_print(b).text, ts_shape_print(w).text,
                             ts_dtype_name(ts_type_of(x).dtype), (long long)w.dim[0]);
    return product(g, "linear", x, weight, bias, false, true, ts_type_of(x).dtype);
}

/* A matrix for all of the batch, written out for each where the kernel wants equal leading dims. */
static ts_value spread(ts_value b, ts_shape batch)
{
    ts_shape shape = batch;
    shape.dim[shape.rank - 2] = ts_dim(b, 0);
    shape.dim[shape.rank - 1] = ts_dim(b, 1);
    return ts_broadcast(b, shape);
}

static ts_value gradient_of_a(const ts_rule *r, ts_value dc, bool ta, bool tb)
{
    ts_value b = r->in[1];
    if (!ta)
        return ts_matmul(dc, b, false, !tb);
    return ts_matmul(ts_value_shape(b).rank == 2 ? spread(b, ts_value_shape(dc)) : b, dc, tb, true);
}

/* From bf16 operands it is f32 all the same: a long sum, and as a rule for f32 weights. */
static ts_value gradient_of_b(const ts_rule *r, ts_value dc, bool ta, bool tb)
{
    ts_value a = r->in[0];
    const ts_dtype wide = ts_type_of(a).dtype == TS_BF16 ? TS_F32 : ts_type_of(a).dtype;
    ts_shape shape = ts_value_shape(r->in[1]);
    if (shape.rank == 2 && !ta) { /* the leading dims are rows like any other: one product sums over them */
        a = ts_rows(a);
        dc = ts_rows(dc);
    }
    if (!ts_present(a) || !ts_present(dc))
        return ts_poison(r->in[0].graph);
    return ts_sum_to(tb ? product(a.graph, "matmul", dc, a, TS_ABSENT, true, ta, wide)
                        : product(a.graph, "matmul", a, dc, TS_ABSENT, !ta, false, wide),
                     shape);
}

void ts_rule_matmul(ts_rule *r)
{
    const bool ta = r->attr->matmul.trans_a, tb = r->attr->matmul.trans_b;
    const ts_value dc = ts_cast(r->dout[0], ts_type_of(r->in[0]).dtype);
    if (r->wants[0])
        r->din[0] = gradient_of_a(r, dc, ta, tb);
    if (r->wants[1])
        r->din[1] = gradient_of_b(r, dc, ta, tb);
    if (r->in_count > 2 && r->wants[2])
        r->din[2] = ts_sum_to(r->dout[0], ts_value_shape(r->in[2]));
}
