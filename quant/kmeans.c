#include "quant/kmeans.h"

#include <inttypes.h>
#include <math.h>

#include "autograd/node.h"
#include "autograd/ops.h"

ts_value ts_rows_apart(ts_scope s, ts_value tiled, ts_value rows, ts_value mask)
{
    if (!ts_present(tiled))
        return tiled;
    int64_t codes = ts_dim(tiled, 0);
    if (!mask.graph && ts_dim(rows, 0) >= codes)
        return tiled;
    if (!s.random.graph)
        return ts_build_fail(s.graph, "rows for codes",
                             "fewer rows than codes need random numbers, and the scope has none");
    ts_value noise = ts_scale(ts_rand_normal(s.random, ts_value_shape(tiled)), 0.01 / sqrt((double)ts_dim(rows, 1)));
    if (mask.graph)
        noise = ts_mul(noise, ts_greater(ts_scalar(s.graph, (double)codes), ts_sum_all(mask)));
    return ts_add(tiled, noise);
}

/* [K], of 0 ... count-1 */
static ts_value systematic(ts_scope s, ts_value count, int64_t codes)
{
    ts_value ones = ts_broadcast(ts_scalar(s.graph, 1), ts_shape_of(codes));
    ts_value at =
        ts_add(ts_scale(ts_cumsum(ones, 0, false), 1 / (double)codes), ts_rand_uniform(s.random, ts_shape_of()));
    ts_value row = ts_floor(ts_mul(ts_subtract(at, ts_floor(at)), count));
    ts_value last = ts_maximum(ts_affine(count, 1, -1), ts_scalar(s.graph, 0)); /* a product may round up to count */
    return ts_cast(ts_minimum(row, last), TS_I32);
}

ts_value ts_drawn_rows(ts_scope s, ts_value rows, ts_value mask, int64_t codes)
{
    if (!s.random.graph)
        return ts_build_fail(s.graph, "rows for codes", "drawing rows needs random numbers, and the scope has none");
    if (!ts_present(rows))
        return rows;
    int64_t n = ts_dim(rows, 0);
    ts_value first = ts_tile_rows(ts_stop_gradient(rows), mask, n); /* those that count */
    ts_value count = mask.graph ? ts_sum_all(mask) : ts_scalar(s.graph, (double)n);
    return ts_rows_apart(s, ts_gather(first, systematic(s, count, codes)), rows, mask);
}

static ts_value nearest(ts_value rows, ts_value centres, ts_value mask)
{
    ts_value ids = ts_nearest(rows, centres);
    return ts_reshape(ts_mask_ids(ts_reshape(ids, ts_shape_of(-1, 1)), mask), ts_shape_of(-1));
}

static ts_clusters lloyd(ts_value rows, ts_value mask, ts_value centres, bool unit)
{
    int64_t codes = ts_dim(centres, 0);
    ts_value ids = nearest(rows, centres, mask), one = ts_scalar(rows.graph, 1);
    ts_value count = ts_cast(ts_count(ids, codes), ts_type_of(rows).dtype);
    ts_value filled = ts_column(ts_greater(count, ts_scalar(rows.graph, 0)));
    count = ts_maximum(count, one);
    ts_value mean = ts_div(ts_scatter_add(rows, ids, codes), ts_column(count));
    if (unit)
        mean = ts_l2_normalize(mean, 1e-6);
    return (ts_clusters){.centres = ts_where(filled, mean, centres), .count = count};
}

static ts_clusters of_book(ts_scope s, ts_value rows, ts_value mask, int64_t codes, int64_t rounds, bool unit)
{
    ts_clusters c = {.centres = ts_drawn_rows(s, rows, mask, codes)};
    c.count = ts_broadcast(ts_scalar(s.graph, 1), ts_shape_of(codes));
    if (unit)
        c.centres = ts_l2_normalize(c.centres, 1e-6);
    for (int64_t round = 0; round < rounds && ts_present(c.centres); round++)
        c = lloyd(rows, mask, c.centres, unit);
    return c;
}

ts_clusters ts_kmeans(ts_scope s, const ts_code_shape *shape, ts_value rows, ts_value mask, int64_t rounds, bool unit)
{
    ts_value centres[TS_MAX_HEADS], count[TS_MAX_HEADS];
    rows = ts_stop_gradient(rows);
    for (int64_t b = 0; b < shape->books; b++) {
        ts_clusters c = of_book(ts_scope_of_book(s, shape, b), ts_rows_of_book(shape, rows, b),
                                ts_entries_of_book(shape, mask, b), shape->codes, rounds, unit);
        centres[b] = c.centres;
        count[b] = c.count;
    }
    ts_enter(s);
    return (ts_clusters){.centres = ts_join(centres, (int)shape->books, 0),
                         .count = ts_join(count, (int)shape->books, 0)};
}

void ts_codebook_start(const ts_codebook_state *state, ts_clusters c)
{
    ts_assign(state->codebook, c.centres, TS_ABSENT);
    if (!state->count.graph)
        return;
    ts_assign(state->count, c.count, TS_ABSENT);
    ts_assign(state->sum, ts_mul(c.centres, ts_column(c.count)), TS_ABSENT);
}

ts_status ts_kmeans_check(const char *kind, bool kmeans, const ts_kmeans_options *o, ts_error *err)
{
    if (kmeans)
        return TS_OK;
    if (o->rounds != TS_KMEANS_ROUNDS && o->rounds != 0)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: kmeans_rounds is %" PRId64 ", and init is not kmeans, so that there are no rounds; add "
                       "init: kmeans, or leave kmeans_rounds out",
                       kind, o->rounds);
    if (o->batches > 1)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: kmeans_batches is %" PRId64 ", and init is not kmeans, which alone looks at batches; add "
                       "init: kmeans, or leave kmeans_batches out",
                       kind, o->batches);
    return TS_OK;
}

int64_t ts_kmeans_batches(bool kmeans, const ts_kmeans_options *o)
{
    int64_t batches = o->batches > 1 ? o->batches : 1;
    return kmeans ? batches : 0;
}
