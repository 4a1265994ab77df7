#include "quant/codebook.h"

#include "autograd/node.h"
#include "autograd/ops.h"
#include "layers/linear.h"
#include "quant/code_sample.h"
#include "quant/rotation.h"

ts_code_shape ts_code_shape_of(int64_t codes, int64_t dim, const ts_heads_options *heads)
{
    ts_code_shape shape = {.dim = dim, .heads = heads->count ? heads->count : 1, .codes = codes};
    shape.books = heads->separate ? shape.heads : 1;
    shape.width = heads->width ? heads->width : dim / shape.heads;
    return shape;
}

ts_shape ts_codebook_shape(const ts_code_shape *shape)
{
    return ts_shape_of(shape->books * shape->codes, shape->width);
}

static bool projects(const ts_code_shape *shape)
{
    return shape->heads * shape->width != shape->dim;
}

ts_value ts_join(const ts_value *x, int count, int axis)
{
    ts_value part[TS_MAX_IN] = {x[0]};
    for (int next = 1, n = 1; next < count; part[0] = ts_concat(part, n, axis))
        for (n = 1; n < TS_MAX_IN && next < count; n++)
            part[n] = x[next++];
    return part[0];
}

ts_value ts_of_length(ts_value x, bool cosine)
{
    return cosine ? ts_l2_normalize(x, 1e-6) : x;
}

ts_value ts_rows_of_tokens(ts_scope s, const ts_search *how, ts_value z)
{
    const ts_code_shape *shape = &how->shape;
    if (projects(shape)) {
        z = ts_linear_layer(ts_sub(s, "project_in"), z, shape->heads * shape->width, true);
        ts_enter(s);
    }
    return ts_of_length(ts_reshape(z, ts_shape_of(-1, shape->width)), how->cosine);
}

/* rows [R, W] -> [.., dim], `like` but for the last axis */
static ts_value tokens_of_rows(ts_scope s, const ts_code_shape *shape, ts_value rows, ts_shape like)
{
    like.dim[like.rank - 1] = shape->heads * shape->width;
    ts_value tokens = ts_reshape(rows, like);
    return projects(shape) ? ts_linear_layer(ts_sub(s, "project_out"), tokens, shape->dim, true) : tokens;
}

ts_value ts_mask_of_rows(ts_scope s, const ts_code_shape *shape)
{
    if (!s.mask.graph || shape->heads == 1)
        return s.mask.graph ? ts_reshape(s.mask, ts_shape_of(-1)) : TS_ABSENT;
    ts_value column = ts_reshape(s.mask, ts_shape_of(-1, 1));
    ts_value each = ts_broadcast(column, ts_shape_of(ts_dim(column, 0), shape->heads));
    return ts_reshape(each, ts_shape_of(-1));
}

ts_value ts_rows_of_book(const ts_code_shape *shape, ts_value rows, int64_t book)
{
    if (shape->books == 1)
        return rows;
    ts_value heads = ts_reshape(rows, ts_shape_of(-1, shape->heads, ts_dim(rows, 1)));
    return ts_reshape(ts_slice(heads, 1, book, 1), ts_shape_of(-1, ts_dim(rows, 1)));
}

ts_value ts_entries_of_book(const ts_code_shape *shape, ts_value entries, int64_t book)
{
    if (shape->books == 1 || !entries.graph)
        return entries;
    ts_value heads = ts_reshape(entries, ts_shape_of(-1, shape->heads));
    return ts_reshape(ts_slice(heads, 1, book, 1), ts_shape_of(-1));
}

ts_value ts_book(const ts_code_shape *shape, ts_value codebook, int64_t book)
{
    return shape->books == 1 ? codebook : ts_slice(codebook, 0, book * shape->codes, shape->codes);
}

/* The nearest code of each row, or one that is drawn. [R] */
static ts_value own_ids(ts_scope s, const ts_search *how, ts_value rows, ts_value codebook)
{
    const ts_code_shape *shape = &how->shape;
    ts_value part[TS_MAX_HEADS];
    rows = ts_stop_gradient(rows);
    codebook = ts_stop_gradient(codebook);
    for (int64_t b = 0; b < shape->books; b++) {
        ts_value own = ts_rows_of_book(shape, rows, b), book = ts_book(shape, codebook, b);
        bool draws = how->sampling.draw && s.mode == TS_TRAIN;
        ts_value ids =
            draws ? ts_drawn_codes(s, own, book, how->cosine, how->sampling.temperature) : ts_nearest(own, book);
        part[b] = shape->books == 1 ? ids : ts_reshape(ids, ts_shape_of(-1, 1));
    }
    return ts_reshape(ts_join(part, (int)shape->books, -1), ts_shape_of(-1));
}

/* Ids within a head's codebook as rows of all codebooks; what names no code stays or becomes -1. */
static ts_value ids_of_books(const ts_code_shape *shape, ts_value own)
{
    if (shape->books == 1)
        return own;
    ts_graph *g = own.graph;
    double codes = (double)shape->codes;
    ts_value ids = ts_reshape(own, ts_shape_of(-1, shape->heads)), real = ts_cast(ids, ts_graph_real(g));
    ts_value ones = ts_broadcast(ts_scalar(g, 1), ts_shape_of(shape->heads));
    ts_value first = ts_affine(ts_cumsum(ones, 0, false), codes, -codes);
    ts_value valid = ts_mul(ts_greater(real, ts_scalar(g, -0.5)), ts_greater(ts_scalar(g, codes - 0.5), real));
    ids = ts_where(valid, ts_cast(ts_add(real, first), TS_I32), ts_constant(g, TS_I32, ts_shape_of(), &(int32_t){-1}));
    return ts_reshape(ids, ts_shape_of(-1));
}

/* [R, W] the value of the codes, and the gradient that is asked for */
static ts_value output(ts_scope s, const ts_lookup *l)
{
    if (l->how.rotation)
        return ts_rotate_to(l->rows, l->code);
    if (!l->how.sampling.through || s.mode != TS_TRAIN)
        return ts_straight_through(ts_stop_gradient(l->code), l->rows);
    const ts_code_shape *shape = &l->how.shape;
    ts_value part[TS_MAX_HEADS];
    for (int64_t b = 0; b < shape->books; b++) {
        ts_value mean = ts_mean_code(ts_rows_of_book(shape, l->rows, b), ts_book(shape, l->codebook, b), l->how.cosine,
                                     l->how.sampling.temperature);
        part[b] = ts_reshape(mean, ts_shape_of(-1, shape->heads / shape->books, shape->width));
    }
    ts_value mean = ts_reshape(ts_join(part, (int)shape->books, 1), ts_shape_of(-1, shape->width));
    return ts_straight_through(ts_stop_gradient(l->code), mean);
}

static bool fits(ts_scope s, const ts_search *how, ts_value codebook, ts_value z)
{
    if (!ts_present(z) || !ts_present(codebook))
        return false;
    if (ts_value_shape(z).rank >= 1 && ts_dim(z, -1) == how->shape.dim)
        return true;
    ts_build_fail(s.graph, "nearest code", "z is %s, expected %lld channels, the codebook's dim",
                  ts_shape_print(ts_value_shape(z)).text, (long long)how->shape.dim);
    return false;
}

bool ts_look_up(ts_scope s, const ts_search *how, ts_value codebook, ts_value z, ts_quantized *out, ts_lookup *l)
{
    *out = (ts_quantized){.codes = ts_poison(s.graph), .ids = ts_poison(s.graph)};
    if (!fits(s, how, codebook, z))
        return false;
    ts_shape ids = ts_value_shape(z);
    *l = (ts_lookup){
        .how = *how, .train = s.mode == TS_TRAIN, .items = ids.rank > 1 ? ids.dim[0] : 1, .moved = TS_ABSENT};
    l->codebook = ts_of_length(codebook, how->cosine);
    l->rows = ts_rows_of_tokens(s, how, z);
    l->mask = ts_mask_of_rows(s, &how->shape);
    l->own = own_ids(s, how, l->rows, l->codebook);
    l->ids = ids_of_books(&how->shape, l->own);
    l->code = ts_gather(l->codebook, l->ids);
    ids.dim[ids.rank - 1] = how->shape.heads;
    out->ids = ts_mask_ids(ts_reshape(l->own, ids), s.mask);
    l->ids = ts_reshape(ts_mask_ids(ts_reshape(l->ids, ids), s.mask), ts_shape_of(-1));
    out->codes = ts_mask_rows(tokens_of_rows(s, &how->shape, output(s, l), ts_value_shape(z)), s.mask);
    ts_enter(s);
    return ts_present(out->codes);
}

ts_value ts_tokens_of_ids(ts_scope s, const ts_search *how, ts_value codebook, ts_value ids)
{
    ts_shape shape = ts_value_shape(ids);
    if (!ts_present(ids) || !ts_present(codebook))
        return ts_poison(ids.graph);
    if (shape.rank < 1 || ts_dim(ids, -1) != how->shape.heads)
        return ts_build_fail(ids.graph, "code", "ids are %s, expected a last axis of %lld", ts_shape_print(shape).text,
                             (long long)how->shape.heads);
    ts_value rows = ids_of_books(&how->shape, ts_reshape(ids, ts_shape_of(-1)));
    return tokens_of_rows(s, &how->shape, ts_gather(ts_of_length(codebook, how->cosine), rows), shape);
}

ts_scope ts_scope_of_book(ts_scope s, const ts_code_shape *shape, int64_t book)
{
    return shape->books == 1 ? s : ts_sub_index(s, "head", (int)book);
}

ts_value ts_rows_for_codes(ts_scope s, const ts_code_shape *shape, ts_value rows, ts_value mask, ts_draw_rows draw)
{
    ts_value part[TS_MAX_HEADS];
    for (int64_t b = 0; b < shape->books; b++)
        part[b] = draw(ts_scope_of_book(s, shape, b), ts_rows_of_book(shape, rows, b),
                       ts_entries_of_book(shape, mask, b), shape->codes);
    ts_enter(s);
    return ts_join(part, (int)shape->books, 0);
}

ts_value ts_rows_for_dead(ts_scope s, const ts_lookup *l, ts_draw_rows draw)
{
    ts_value rows = ts_of_length(ts_rows_for_codes(s, &l->how.shape, l->rows, l->mask, draw), l->how.cosine);
    return l->mask.graph ? ts_where(ts_sum_all(l->mask), rows, ts_stop_gradient(l->codebook)) : rows;
}

void ts_commitment_loss(ts_quantized *q, const ts_lookup *l, double weight, bool both)
{
    ts_value code = both ? l->code : ts_stop_gradient(l->code);
    ts_quantized_loss(q, "commitment", ts_mse_masked(l->rows, code, l->mask), weight);
}

void ts_batch_statistics(ts_quantized *q, const ts_lookup *l)
{
    int64_t codes = ts_dim(l->codebook, 0);
    ts_value rows = ts_stop_gradient(l->rows);
    ts_quantized_statistic(q, "count", ts_cast(ts_count(l->ids, codes), ts_type_of(rows).dtype), true);
    ts_quantized_statistic(q, "sum", ts_scatter_add(rows, l->ids, codes), true);
}

ts_value ts_moved(ts_value average, ts_value now, double decay)
{
    return ts_add(ts_scale(average, decay), ts_scale(now, 1 - decay));
}

ts_value ts_column(ts_value v)
{
    return ts_reshape(v, ts_shape_of(ts_dim(v, 0), 1));
}

ts_value ts_ok_with_tokens(ts_value ok, ts_value count)
{
    ts_value any = ts_greater(ts_sum_all(count), ts_scalar(count.graph, 0));
    return ok.graph ? ts_mul(ok, any) : any;
}

ts_value ts_share_of_count(ts_value count, double share)
{
    return ts_scale(ts_sum_all(count), share / (double)ts_dim(count, 0));
}
