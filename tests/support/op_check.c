#include "tests/support/op_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/elementwise.h"
#include "autograd/fuse.h"
#include "autograd/program.h"
#include "autograd/reduce.h"
#include "core/random.h"

static ts_error err;

static double fill_value(const ts_case_input *in, ts_random_key key, int64_t i, const int64_t *order)
{
    switch (in->fill) {
    case TS_FILL_NORMAL:
        return (double)ts_random_normal(key, 0, (uint64_t)i);
    case TS_FILL_POSITIVE:
        return 0.5 + 1.5 * (double)ts_random_uniform(key, 0, (uint64_t)i);
    case TS_FILL_APART: {
        int64_t n = ts_shape_count(in->shape), at = order[i] - n / 2;
        return 0.1 * (double)(at >= 0 ? at + 1 : at) + 0.03; /* -.., -0.07, 0.13, 0.23 .. */
    }
    default:
        return (double)ts_random_below(key, 0, (uint64_t)i, (uint64_t)in->below);
    }
}

static double *fill(const ts_case_input *in, int k)
{
    int64_t n = ts_shape_count(in->shape);
    ts_random_key key = {2024, (uint64_t)k + 1};
    double *x = malloc(sizeof(double) * (size_t)(n ? n : 1));
    int64_t *order = malloc(sizeof(int64_t) * (size_t)(n ? n : 1));
    ts_random_permutation(key, 1, n, order);
    for (int64_t i = 0; i < n; i++) /* to float and back: both widths see the same numbers */
        x[i] = (double)(float)fill_value(in, key, i, order);
    free(order);
    return x;
}

static void upload(ts_built_case *b, int k)
{
    ts_type type = ts_type_of(b->in[k]);
    int64_t n = ts_shape_count(type.shape);
    char *bytes = malloc((size_t)(n ? n : 1) * 8);
    for (int64_t i = 0; i < n; i++) {
        double x = b->host[k][i];
        if (type.dtype == TS_F32)
            ((float *)bytes)[i] = (float)x;
        else if (type.dtype == TS_F64)
            ((double *)bytes)[i] = x;
        else if (type.dtype == TS_I32)
            ((int32_t *)bytes)[i] = (int32_t)x;
        else
            ((int64_t *)bytes)[i] = (int64_t)x;
    }
    ts_program_set(b->program, b->in[k], bytes);
    free(bytes);
}

static double as_bf16(double x)
{
    return (double)ts_f32_from_bf16(ts_bf16_from_f32((float)x));
}

/* sum(y * r) with fixed random r, as a node; rounded: r are numbers that bf16 holds */
static ts_value weighted_sum(ts_value y, bool rounded)
{
    ts_type type = ts_type_of(y);
    int64_t n = ts_shape_count(type.shape);
    void *r = malloc((size_t)(n ? n : 1) * 8);
    for (int64_t i = 0; i < n; i++) {
        double x = (double)ts_random_normal((ts_random_key){2024, 99}, 0, (uint64_t)i);
        x = rounded ? as_bf16(x) : x;
        if (type.dtype == TS_F64)
            ((double *)r)[i] = x;
        else
            ((float *)r)[i] = (float)x;
    }
    ts_value weights = ts_constant(y.graph, type.dtype, type.shape, r);
    free(r);
    return ts_sum_all(ts_mul(y, weights));
}

/* How real operands reach the op: as they are; with numbers that bf16 holds; as bf16, and the result cast back. */
typedef enum { AS_DRAWN, ROUNDED, HALF } form;

static ts_value build_in_half(const ts_op_case *c, const ts_value *in)
{
    ts_value half[TS_MAX_IN];
    for (int k = 0; k < TS_MAX_IN; k++)
        half[k] = k < c->in_count && c->in[k].dtype == TS_F32 ? ts_cast(in[k], TS_BF16) : in[k];
    ts_value y = c->build(half);
    return ts_type_of(y).dtype == TS_BF16 ? ts_cast(y, TS_F32) : y;
}

static void open_case(ts_built_case *b, const ts_op_case *c, const char *device, ts_dtype real, bool gradients, form f,
                      bool fused)
{
    *b = (ts_built_case){.in_count = c->in_count, .loss = TS_ABSENT};
    cr_assert_eq(ts_device_open(device, 2, &b->device, &err), TS_OK, "%s", err.text);
    b->graph = ts_graph_new(real);
    b->workspace = ts_workspace_new(b->device);
    ts_value wrt[TS_MAX_IN];
    int count = 0, which[TS_MAX_IN];
    for (int k = 0; k < c->in_count; k++) {
        char name[8] = {'x', (char)('0' + k), 0};
        ts_dtype dtype = c->in[k].dtype == TS_F32 ? real : c->in[k].dtype;
        b->in[k] = ts_input(b->graph, name, dtype, c->in[k].shape);
        b->host[k] = fill(&c->in[k], k);
        for (int64_t i = 0; f != AS_DRAWN && c->in[k].dtype == TS_F32 && i < ts_shape_count(c->in[k].shape); i++)
            b->host[k][i] = as_bf16(b->host[k][i]);
        b->gradient[k] = TS_ABSENT;
        if (c->in[k].dtype == TS_F32 && !c->in[k].constant) {
            which[count] = k;
            wrt[count++] = b->in[k];
        }
    }
    b->y = f == HALF ? build_in_half(c, b->in) : c->build(b->in);
    ts_output(b->y, "y");
    if (gradients && count && ts_dtype_is_real(ts_type_of(b->y).dtype)) {
        ts_value gradient[TS_MAX_IN];
        b->loss = weighted_sum(b->y, f != AS_DRAWN);
        ts_output(b->loss, "loss");
        ts_differentiate(b->loss, count, wrt, gradient);
        for (int i = 0; i < count; i++) {
            b->gradient[which[i]] = gradient[i];
            ts_output(gradient[i], "gradient");
        }
    }
    if (fused)
        ts_fuse(b->graph);
    cr_assert_eq(ts_graph_check(b->graph, &err), TS_OK, "%s: %s", c->label, err.text);
    cr_assert_eq(ts_program_new(b->graph, b->workspace, &b->program, &err), TS_OK, "%s: %s", c->label, err.text);
}

void built_case_open(ts_built_case *b, const ts_op_case *c, const char *device, ts_dtype real, bool gradients)
{
    open_case(b, c, device, real, gradients, AS_DRAWN, false);
}

void built_case_close(ts_built_case *b)
{
    for (int k = 0; k < b->in_count; k++)
        free(b->host[k]);
    ts_program_free(b->program);
    ts_workspace_free(b->workspace);
    ts_graph_free(b->graph);
    ts_device_close(b->device);
}

void built_case_run(ts_built_case *b)
{
    for (int k = 0; k < b->in_count; k++)
        upload(b, k);
    cr_assert_eq(ts_program_run(b->program, &err), TS_OK, "%s", err.text);
}

double *built_case_read(ts_built_case *b, ts_value v, int64_t *count)
{
    ts_type type = ts_type_of(v);
    int64_t n = *count = ts_shape_count(type.shape);
    char *bytes = malloc((size_t)(n ? n : 1) * 8);
    double *x = malloc((size_t)(n ? n : 1) * 8);
    ts_program_get(b->program, v, bytes);
    for (int64_t i = 0; i < n; i++)
        x[i] = type.dtype == TS_F32   ? (double)((float *)bytes)[i]
               : type.dtype == TS_F64 ? ((double *)bytes)[i]
               : type.dtype == TS_I32 ? ((int32_t *)bytes)[i]
                                      : (double)((int64_t *)bytes)[i];
    free(bytes);
    return x;
}

static double loss_at(ts_built_case *b, int k, int64_t i, double x)
{
    double loss, before = b->host[k][i];
    b->host[k][i] = x;
    built_case_run(b);
    b->host[k][i] = before;
    ts_program_get(b->program, b->loss, &loss);
    return loss;
}

/* From one element that is looked at to the next. The sanitizers are after memory, where a few of them show what all
 * would. */
static int64_t step_between(int64_t elements)
{
#ifdef TS_SANITIZED
    return 1 + elements / 16;
#else
    (void)elements;
    return 1;
#endif
}

double gradient_check(const ts_op_case *c)
{
    ts_built_case b;
    double worst = -1;
    built_case_open(&b, c, "ref", TS_F64, true);
    for (int k = 0; k < b.in_count; k++) {
        bool differentiated = ts_present(b.loss) && c->in[k].dtype == TS_F32 && !c->in[k].constant;
        if (!differentiated)
            continue;
        int64_t n = ts_shape_count(c->in[k].shape);
        double *gradient = calloc((size_t)(n ? n : 1), sizeof *gradient);
        if (ts_present(b.gradient[k])) {
            free(gradient);
            built_case_run(&b);
            gradient = built_case_read(&b, b.gradient[k], &n);
        }
        for (int64_t i = 0; i < n; i += step_between(n)) {
            double x = b.host[k][i], eps = 1e-6 * fmax(1, fabs(x));
            double numeric = (loss_at(&b, k, i, x + eps) - loss_at(&b, k, i, x - eps)) / (2 * eps);
            double excess = fabs(numeric - gradient[i]) - (1e-5 + 1e-3 * fabs(numeric));
            worst = isnan(excess) ? INFINITY : fmax(worst, excess);
        }
        free(gradient);
    }
    built_case_close(&b);
    return worst;
}

static double difference(ts_built_case *a, ts_value va, ts_built_case *b, ts_value vb)
{
    int64_t n, m;
    double *x = built_case_read(a, va, &n), *y = built_case_read(b, vb, &m);
    cr_assert_eq(n, m);
    double largest = 1e-3, worst = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            largest = fmax(largest, fabs(x[i]));
    for (int64_t i = 0; i < n; i++) {
        bool same = x[i] == y[i] || (isnan(x[i]) && isnan(y[i]));
        double d = same ? 0 : fabs(x[i] - y[i]) / largest;
        worst = isfinite(d) ? fmax(worst, d) : INFINITY;
    }
    free(x);
    free(y);
    return worst;
}

static double compare(const ts_op_case *c, const char *device, bool gradients, bool half)
{
    ts_built_case wide, narrow;
    open_case(&wide, c, "ref", TS_F64, gradients, half ? ROUNDED : AS_DRAWN, false);
    open_case(&narrow, c, device, TS_F32, gradients, half ? HALF : AS_DRAWN, false);
    built_case_run(&wide);
    built_case_run(&narrow);
    double worst = difference(&wide, wide.y, &narrow, narrow.y);
    for (int k = 0; k < c->in_count; k++)
        if (ts_present(wide.gradient[k]))
            worst = fmax(worst, difference(&wide, wide.gradient[k], &narrow, narrow.gradient[k]));
    built_case_close(&wide);
    built_case_close(&narrow);
    return worst;
}

double compare_with_double(const ts_op_case *c, const char *device)
{
    return compare(c, device, true, false);
}

double compare_value_with_double(const ts_op_case *c, const char *device)
{
    return compare(c, device, false, false);
}

double compare_bf16_with_double(const ts_op_case *c, const char *device)
{
    return compare(c, device, true, true);
}

static void expect_same_bits(const ts_op_case *c, ts_built_case *a, ts_value va, ts_built_case *b, ts_value vb)
{
    int64_t n, m;
    double *x = built_case_read(a, va, &n), *y = built_case_read(b, vb, &m);
    cr_assert_eq(n, m);
    for (int64_t i = 0; i < n; i++)
        cr_assert(memcmp(x + i, y + i, sizeof *x) == 0, "%s on %s: element %lld of value %d is %.17g, then %.17g",
                  c->label, a->device->backend->name, (long long)i, va.id, x[i], y[i]);
    free(x);
    free(y);
}

static void expect_same(const ts_op_case *c, ts_built_case *one, ts_built_case *other)
{
    built_case_run(one);
    built_case_run(other);
    expect_same_bits(c, one, one->y, other, other->y);
    for (int k = 0; k < c->in_count; k++)
        if (ts_present(one->gradient[k]))
            expect_same_bits(c, one, one->gradient[k], other, other->gradient[k]);
    built_case_close(one);
    built_case_close(other);
}

void expect_repeatable(const ts_op_case *c, const char *device, bool gradients)
{
    ts_built_case one, other;
    built_case_open(&one, c, device, TS_F32, gradients);
    built_case_open(&other, c, device, TS_F32, gradients);
    expect_same(c, &one, &other);
}

void expect_fusing_keeps_bits(const ts_op_case *c, const char *device, ts_dtype real)
{
    ts_built_case plain, fused;
    open_case(&plain, c, device, real, true, AS_DRAWN, false);
    open_case(&fused, c, device, real, true, AS_DRAWN, true);
    expect_same(c, &plain, &fused);
}
