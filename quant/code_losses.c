#include "quant/code_losses.h"

#include "autograd/differentiate.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "quant/code_sample.h"

enum { MOST_TILES = 64 };

/* A part of a loss: of rows first ... first + count - 1 of `rows`, over the codes of `book`. A scalar. */
typedef struct table table;
struct table {
    ts_value rows;   /* [n, W] */
    ts_value book;   /* [K, W] */
    ts_value moved;  /* [K, W] or absent: ts_code_logits */
    ts_value ids;    /* [n] of the rows, in book; absent where they are not needed */
    ts_value weight; /* [n], by which rows count */
    int64_t unit;    /* rows that cannot be parted */
    bool cosine;
    bool train, both; /* there is a gradient to rows; to book as well */
    double temperature;
    ts_value (*part)(const table *t, ts_value rows, ts_value book, int64_t first, int64_t count);
};

/* The sum of the parts. Each is differentiated where it stands, so that its numbers live no longer than the part; what
 * is handed on has the loss's value, and the gradient that was computed. */
static ts_value by_parts(const table *t)
{
    int64_t n = ts_dim(t->rows, 0) / t->unit, units = ts_units_of_tile(n, t->unit * ts_dim(t->book, 0));
    ts_value gradient[MOST_TILES], total = TS_ABSENT, to_book = TS_ABSENT, book = ts_stop_gradient(t->book);
    int count = 0;
    for (int64_t at = 0; at < n || count == 0; at += units) {
        int64_t rows = (n - at < units ? n - at : units) * t->unit, first = at * t->unit;
        ts_value tile = ts_stop_gradient(ts_slice(t->rows, 0, first, rows)), found[2];
        ts_value part = t->part(t, tile, book, first, rows);
        total = total.graph ? ts_add(total, part) : part;
        count++;
        if (!t->train)
            continue;
        ts_differentiate(part, 1 + t->both, (ts_value[]){tile, book}, found);
        if (!ts_present(found[0]))
            return ts_poison(book.graph);
        gradient[count - 1] = found[0];
        if (t->both)
            to_book = to_book.graph ? ts_add(to_book, found[1]) : found[1];
    }
    if (!t->train)
        return total;
    ts_value gradients = ts_stop_gradient(ts_join(gradient, count, 0));
    ts_value soft = ts_sum_all(ts_mul(t->rows, gradients));
    if (t->both)
        soft = ts_add(soft, ts_sum_all(ts_mul(t->book, ts_stop_gradient(to_book))));
    return ts_straight_through(ts_stop_gradient(total), soft);
}

static ts_value weights(const ts_lookup *l)
{
    return l->mask.graph ? l->mask : ts_broadcast(ts_scalar(l->rows.graph, 1), ts_shape_of(ts_dim(l->rows, 0)));
}

/* sum / count of what counts; 0 where nothing does */
static ts_value share(ts_value sum, ts_value count)
{
    return ts_div(sum, ts_maximum(count, ts_scalar(sum.graph, 1)));
}

/* log(sum(exp(x))) of each row, [n, 1] */
static ts_value log_sum_exp(ts_value x)
{
    ts_value first = ts_slice(x, 1, 0, 1), log_p = ts_slice(ts_log_softmax(x), 1, 0, 1);
    return ts_subtract(first, log_p);
}

static ts_value cross_entropies(const table *t, ts_value rows, ts_value book, int64_t first, int64_t count)
{
    ts_value ids = ts_slice(t->ids, 0, first, count), moved = t->moved.graph ? ts_gather(t->moved, ids) : TS_ABSENT;
    ts_value chosen = ts_row_logits(rows, ts_gather(book, ids), moved, t->cosine);
    ts_value all = log_sum_exp(ts_code_logits(rows, book, t->moved, t->cosine));
    ts_value each = ts_reshape(ts_subtract(all, chosen), ts_shape_of(-1));
    return ts_sum_all(ts_mul(each, ts_slice(t->weight, 0, first, count)));
}

void ts_cross_entropy_commitment(ts_quantized *q, const ts_lookup *l, double weight, bool both)
{
    const ts_code_shape *shape = &l->how.shape;
    ts_value each = weights(l), total = TS_ABSENT;
    for (int64_t b = 0; b < shape->books; b++) {
        table t = {.rows = ts_rows_of_book(shape, l->rows, b),
                   .book = ts_book(shape, l->codebook, b),
                   .moved = l->moved.graph ? ts_book(shape, l->moved, b) : TS_ABSENT,
                   .ids = ts_entries_of_book(shape, l->own, b),
                   .weight = ts_entries_of_book(shape, each, b),
                   .unit = 1,
                   .cosine = l->how.cosine,
                   .train = l->train,
                   .both = both,
                   .part = cross_entropies};
        ts_value sum = by_parts(&t);
        total = total.graph ? ts_add(total, sum) : sum;
    }
    ts_quantized_loss(q, "commitment", share(total, ts_sum_all(each)), weight);
}

/* rows [P M, W], place by place: minus the entropies of the mean of p over the M rows of each place */
static ts_value negative_entropies(const table *t, ts_value rows, ts_value book, int64_t first, int64_t count)
{
    ts_value p = ts_softmax(ts_scale(ts_code_logits(rows, book, t->moved, t->cosine), t->temperature));
    ts_value weight = ts_reshape(ts_slice(t->weight, 0, first, count), ts_shape_of(-1, t->unit, 1));
    p = ts_mul(ts_reshape(p, ts_shape_of(-1, t->unit, ts_dim(book, 0))), weight);
    ts_value mean = share(ts_sum(p, 2u, false), ts_sum(weight, 2u, false));
    return ts_sum_all(ts_mul(mean, ts_log(ts_maximum(mean, ts_scalar(rows.graph, 1e-5)))));
}

/* entries [B P M, C], M for each place, to [P B M, C]: the items of each place side by side */
static ts_value by_place(ts_value entries, int64_t items, int64_t heads)
{
    int64_t width = ts_dim(entries, 1);
    ts_value x = ts_reshape(entries, ts_shape_of(items, -1, heads * width));
    return ts_reshape(ts_permute(x, (int[]){1, 0, 2}), ts_shape_of(-1, width));
}

static ts_value diversity_of_book(const ts_lookup *l, ts_value each, int64_t b, double temperature, bool both)
{
    const ts_code_shape *shape = &l->how.shape;
    int64_t heads = shape->heads / shape->books;
    ts_value weight = ts_reshape(ts_entries_of_book(shape, each, b), ts_shape_of(-1, 1));
    table t = {.rows = by_place(ts_rows_of_book(shape, l->rows, b), l->items, heads),
               .book = ts_book(shape, l->codebook, b),
               .moved = l->moved.graph ? ts_book(shape, l->moved, b) : TS_ABSENT,
               .weight = ts_reshape(by_place(weight, l->items, heads), ts_shape_of(-1)),
               .unit = l->items * heads,
               .cosine = l->how.cosine,
               .train = l->train,
               .both = both,
               .temperature = temperature,
               .part = negative_entropies};
    ts_value counts = ts_sum(ts_reshape(t.weight, ts_shape_of(-1, t.unit)), 2u, false);
    return share(by_parts(&t), ts_sum_all(ts_greater(counts, ts_scalar(counts.graph, 0))));
}

void ts_diversity_loss(ts_quantized *q, const ts_lookup *l, double weight, double temperature, bool both)
{
    const ts_code_shape *shape = &l->how.shape;
    ts_value each = weights(l), total = TS_ABSENT;
    for (int64_t b = 0; b < shape->books; b++) {
        ts_value loss = diversity_of_book(l, each, b, temperature, both);
        total = total.graph ? ts_add(total, loss) : loss;
    }
    ts_quantized_loss(q, "diversity", ts_scale(total, 1 / (double)shape->books), weight);
}

/* [books, K, 1]: 1 for a code that the loss is of */
static ts_value chosen(ts_scope s, const ts_lookup *l, const ts_code_losses_options *o)
{
    const ts_code_shape *shape = &l->how.shape;
    ts_shape all = ts_shape_of(shape->books, shape->codes, 1);
    ts_value use = ts_broadcast(ts_scalar(s.graph, 1), all);
    if (o->orthogonal_active) {
        ts_value count = ts_cast(ts_count(l->ids, shape->books * shape->codes), ts_graph_real(s.graph));
        use = ts_greater(ts_reshape(count, all), ts_scalar(s.graph, 0));
    }
    if (!o->orthogonal_most)
        return use;
    if (!s.random.graph)
        return ts_build_fail(s.graph, "orthogonal", "drawing codes needs random numbers, and the scope has none");
    ts_value share_of_use = ts_div(ts_scalar(s.graph, (double)o->orthogonal_most),
                                   ts_maximum(ts_sum(use, 2u, true), ts_scalar(s.graph, 1)));
    return ts_mul(use, ts_greater(share_of_use, ts_rand_uniform(s.random, all)));
}

void ts_orthogonal_loss(ts_scope s, ts_quantized *q, const ts_lookup *l, ts_value codebook,
                        const ts_code_losses_options *o)
{
    const ts_code_shape *shape = &l->how.shape;
    ts_value use = chosen(s, l, o), n = ts_sum(use, 2u, true), one = ts_scalar(s.graph, 1);
    ts_value unit = ts_reshape(ts_l2_normalize(codebook, 1e-6), ts_shape_of(shape->books, shape->codes, shape->width));
    unit = ts_mul(unit, use);
    ts_value products = ts_matmul(unit, unit, true, false); /* [books, W, W] */
    n = ts_reshape(n, ts_shape_of(-1));
    ts_value some = ts_greater(n, ts_scalar(s.graph, 0)), at_least = ts_maximum(n, one);
    ts_value each = ts_div(ts_sum(ts_square(products), 6u, false), ts_square(at_least));
    each = ts_mul(ts_subtract(each, ts_div(one, at_least)), some);
    ts_value loss = ts_mean_all(each);
    if (l->mask.graph)
        loss = ts_mul(loss, ts_greater(ts_sum_all(l->mask), ts_scalar(s.graph, 0)));
    ts_quantized_loss(q, "orthogonal", loss, o->orthogonal);
}

ts_status ts_code_losses_check(const char *kind, const ts_code_losses_options *o, double commitment, ts_error *err)
{
    bool tempered = o->diversity_temperature != 0 && o->diversity_temperature != TS_DIVERSITY_TEMPERATURE;
    if (o->diversity > 0 && o->diversity_temperature == 0)
        return ts_fail(
            err, TS_ERR_USAGE,
            "%s: diversity_temperature is 0, so that all codes are equally likely whatever z is; set it above "
            "0 (100 in lucidrains)",
            kind);
    if (o->diversity == 0 && tempered)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: diversity_temperature is %g, and diversity is 0, so that there is no such loss; set "
                       "diversity above 0, or leave diversity_temperature out",
                       kind, o->diversity_temperature);
    if (o->orthogonal == 0 && (o->orthogonal_active || o->orthogonal_most))
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: %s is set, and orthogonal is 0, so that there is no such loss; set orthogonal above 0, or "
                       "leave it out",
                       kind, o->orthogonal_active ? "orthogonal_active" : "orthogonal_most");
    if (o->cross_entropy && commitment == 0)
        return ts_fail(
            err, TS_ERR_USAGE,
            "%s: cross_entropy says what commitment is, and commitment is 0; set commitment above 0, or leave "
            "cross_entropy out",
            kind);
    return TS_OK;
}
