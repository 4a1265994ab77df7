#include "quant/code_sample.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/codebook.h"

enum { TILE = 1 << 20, MOST_TILES = 64 };

int64_t ts_units_of_tile(int64_t n, int64_t numbers)
{
    int64_t small = numbers < TILE ? TILE / numbers : 1, least = (n + MOST_TILES - 1) / MOST_TILES;
    int64_t units = small > least ? small : least;
    return units < n ? units : n;
}

/* |x|^2 of each row: [n, 1] */
static ts_value squares(ts_value x)
{
    return ts_sum(ts_square(x), 2u, true);
}

typedef ts_value (*product)(ts_value rows, ts_value codes);

static ts_value all_products(ts_value rows, ts_value codes)
{
    return ts_matmul(rows, codes, false, true);
}

static ts_value row_products(ts_value rows, ts_value codes)
{
    return ts_sum(ts_mul(rows, codes), 2u, true);
}

/* rows.codes; where `moved` is there, with its gradient to rows at that. */
static ts_value products_at(product of, ts_value rows, ts_value codes, ts_value moved)
{
    if (!moved.graph)
        return of(rows, codes);
    ts_value to_codes = of(ts_stop_gradient(rows), codes), to_rows = of(rows, ts_stop_gradient(moved));
    return ts_straight_through(ts_stop_gradient(to_codes), ts_add(to_codes, to_rows));
}

/* -|x - e|, from products x.e and squares |e|^2 that stand beside them */
static ts_value negative_distance(ts_value rows, ts_value products, ts_value code_squares)
{
    ts_value distance = ts_add(ts_subtract(squares(rows), ts_scale(products, 2)), code_squares);
    return ts_neg(ts_sqrt(ts_maximum(distance, ts_scalar(rows.graph, 1e-8))));
}

ts_value ts_code_logits(ts_value rows, ts_value codebook, ts_value moved, bool cosine)
{
    ts_value products = products_at(all_products, rows, codebook, moved);
    if (cosine || !ts_present(products))
        return products;
    return negative_distance(rows, products, ts_reshape(squares(codebook), ts_shape_of(1, -1)));
}

ts_value ts_row_logits(ts_value rows, ts_value code, ts_value moved, bool cosine)
{
    ts_value products = products_at(row_products, rows, code, moved);
    return cosine ? products : negative_distance(rows, products, squares(code));
}

/* [1, K]: K, K-1, ... 1 */
static ts_value from_the_end(ts_graph *g, int64_t codes)
{
    return ts_cumsum(ts_broadcast(ts_scalar(g, 1), ts_shape_of(1, codes)), 1, true);
}

/* x [n, K] -> [n] the place of the largest, the first at a tie: at it, and nowhere else before it, x is not below the
 * maximum. */
static ts_value place_of_largest(ts_value x)
{
    int64_t codes = ts_dim(x, 1);
    ts_value below = ts_greater(ts_amax(x, 2u, true), x);
    ts_value rank = ts_mul(ts_affine(below, -1, 1), from_the_end(x.graph, codes));
    return ts_cast(ts_affine(ts_amax(rank, 2u, false), -1, (double)codes), TS_I32);
}

/* -log(-log(u)); no logarithm of 0 */
static ts_value gumbel(ts_scope s, ts_shape shape)
{
    ts_value least = ts_scalar(s.graph, 1e-20), u = ts_rand_uniform(s.random, shape);
    return ts_neg(ts_log(ts_maximum(ts_neg(ts_log(ts_maximum(u, least))), least)));
}

/* [n]: 1, and 0 where the row has a NaN */
static ts_value is_number(ts_value rows)
{
    ts_value sum = ts_sum(rows, 2u, false);
    return ts_maximum(ts_greater(sum, ts_scalar(rows.graph, 0)), ts_greater(ts_scalar(rows.graph, 1), sum));
}

static ts_value drawn(ts_scope s, ts_value rows, ts_value codebook, bool cosine, double temperature)
{
    ts_value logits = ts_scale(ts_code_logits(rows, codebook, TS_ABSENT, cosine), 1 / temperature);
    ts_value place = place_of_largest(ts_add(logits, gumbel(s, ts_value_shape(logits))));
    return ts_where(is_number(rows), place, ts_constant(s.graph, TS_I32, ts_shape_of(), &(int32_t){-1}));
}

ts_value ts_drawn_codes(ts_scope s, ts_value rows, ts_value codebook, bool cosine, double temperature)
{
    ts_value part[MOST_TILES];
    int count = 0;
    if (!ts_present(rows) || !ts_present(codebook))
        return ts_poison(s.graph);
    if (!s.random.graph)
        return ts_build_fail(s.graph, "drawn codes", "drawing codes needs random numbers, and the scope has none");
    int64_t n = ts_dim(rows, 0), units = ts_units_of_tile(n, ts_dim(codebook, 0));
    for (int64_t first = 0; first < n || count == 0; first += units) {
        int64_t rest = n - first;
        ts_value tile = ts_slice(rows, 0, first, rest < units ? rest : units);
        part[count++] = drawn(s, tile, codebook, cosine, temperature);
    }
    return ts_join(part, count, 0);
}

ts_value ts_mean_code(ts_value rows, ts_value codebook, bool cosine, double temperature)
{
    ts_value p = ts_softmax(ts_scale(ts_code_logits(rows, codebook, TS_ABSENT, cosine), 1 / temperature));
    return ts_matmul(p, codebook, false, false);
}
