/* What cuDNN and cuBLASLt are told: the relation that each library documents, evaluated by plain loops over the layouts
 * of core/cuda/geometry.h, must be the op, as the reference kernels compute it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "autograd/conv.h"
#include "autograd/matmul.h"
#include "autograd/program.h"
#include "core/cuda/geometry.h"
#include "core/random.h"

static ts_error err;

/* A graph of one op on the reference device. */
typedef struct {
    ts_device *device;
    ts_workspace *workspace;
    ts_graph *graph;
    ts_program *program;
    ts_value in[3], out;
    float *host[3], *result;
    ts_desc desc;
} rig;

static void open_rig(rig *r)
{
    *r = (rig){.graph = ts_graph_new(TS_F32)};
    cr_assert_eq(ts_device_open("ref", 1, &r->device, &err), TS_OK);
    r->workspace = ts_workspace_new(r->device);
}

static ts_value input(rig *r, int k, ts_shape shape)
{
    static const char *const names[] = {"a", "b", "c"};
    int64_t n = ts_shape_count(shape);
    r->host[k] = malloc((size_t)n * sizeof(float));
    for (int64_t i = 0; i < n; i++)
        r->host[k][i] = ts_random_normal((ts_random_key){5, (uint64_t)k}, 0, (uint64_t)i);
    return r->in[k] = ts_input(r->graph, names[k], TS_F32, shape);
}

static void run_rig(rig *r, ts_value out)
{
    r->out = out;
    ts_output(out, "out");
    cr_assert_eq(ts_program_new(r->graph, r->workspace, &r->program, &err), TS_OK, "%s", err.text);
    const ts_plan *plan = ts_program_plan(r->program);
    cr_assert_eq(plan->step_count, 1);
    r->desc = plan->steps[0].desc;
    for (int k = 0; k < 3; k++)
        if (r->host[k])
            ts_program_set(r->program, r->in[k], r->host[k]);
    cr_assert_eq(ts_program_run(r->program, &err), TS_OK);
    r->result = malloc((size_t)ts_shape_count(ts_value_shape(out)) * sizeof(float));
    ts_program_get(r->program, out, r->result);
}

static void close_rig(rig *r)
{
    for (int k = 0; k < 3; k++)
        free(r->host[k]);
    free(r->result);
    ts_program_free(r->program);
    ts_graph_free(r->graph);
    ts_workspace_free(r->workspace);
    ts_device_close(r->device);
}

/* --- products ----------------------------------------------------------------------------------------------------- */

/* cublasLtMatmul: D = op(A) op(B) + bias over rows, column-major. */
static double blas_at(const ts_product_layout *l, const rig *r, int64_t batch, int64_t row, int64_t column)
{
    const float *first = r->host[1] + batch * l->step_first, *second = r->host[0] + batch * l->step_second;
    double sum = l->bias ? (double)r->host[2][row] : 0;
    for (int64_t k = 0; k < l->k; k++) {
        double a = (double)first[l->trans_first ? k + row * l->ld_first : row + k * l->ld_first];
        double b = (double)second[l->trans_second ? column + k * l->ld_second : k + column * l->ld_second];
        sum += a * b;
    }
    return sum;
}

static void check_product(rig *r, ts_value out)
{
    run_rig(r, out);
    ts_product_layout l = ts_product_layout_of(&r->desc);
    cr_assert_eq(l.m * l.n * l.batch, ts_shape_count(r->desc.out[0].shape));
    for (int64_t n = 0; n < l.batch; n++)
        for (int64_t column = 0; column < l.n; column++)
            for (int64_t row = 0; row < l.m; row++) {
                float found = r->result[n * l.step_out + row + column * l.ld_out];
                cr_assert_float_eq(found, blas_at(&l, r, n, row, column), 1e-4, "batch %d, (%d, %d)", (int)n, (int)row,
                                   (int)column);
            }
    close_rig(r);
}

Test(cuda_geometry, products)
{
    for (int flags = 0; flags < 12; flags++) {
        rig r;
        bool ta = flags & 1, tb = flags & 2;
        ts_shape a = ta ? ts_shape_of(5, 3) : ts_shape_of(3, 5), b = tb ? ts_shape_of(4, 5) : ts_shape_of(5, 4);
        if (flags >= 4)
            a = ta ? ts_shape_of(2, 5, 3) : ts_shape_of(2, 3, 5);
        if (flags >= 8)
            b = tb ? ts_shape_of(2, 4, 5) : ts_shape_of(2, 5, 4);
        open_rig(&r);
        ts_value va = input(&r, 0, a), vb = input(&r, 1, b);
        check_product(&r, ts_matmul(va, vb, ta, tb));
    }
    rig r;
    open_rig(&r);
    ts_value x = input(&r, 0, ts_shape_of(2, 3, 5)), w = input(&r, 1, ts_shape_of(4, 5));
    check_product(&r, ts_linear(x, w, input(&r, 2, ts_shape_of(4))));
}

/* --- convolutions ------------------------------------------------------------------------------------------------- */

/* What cuDNN calls cross-correlation: y[b, o, p, q] = sum x[b, c, p*s - before + r*d, ...] w[o, c, r, s]. Which of the
 * three is the result is found out by solving for it: each product is added where it belongs. */
static void correlate(const ts_conv_layout *l, ts_op op, const float *x, const float *w, const float *y, double *result)
{
    const int64_t groups = l->x.dim[1] / l->w.dim[1], per_group = l->y.dim[1] / groups;
    for (int64_t b = 0; b < l->x.dim[0]; b++)
        for (int64_t o = 0; o < l->y.dim[1]; o++)
            for (int64_t p = 0; p < l->y.dim[2]; p++)
                for (int64_t q = 0; q < l->y.dim[3]; q++)
                    for (int64_t c = 0; c < l->w.dim[1]; c++)
                        for (int64_t i = 0; i < l->w.dim[2]; i++)
                            for (int64_t j = 0; j < l->w.dim[3]; j++) {
                                int64_t h = p * l->stride[0] - l->pad_before[0] + i * l->dilation[0];
                                int64_t v = q * l->stride[1] - l->pad_before[1] + j * l->dilation[1];
                                if (h < 0 || v < 0 || h >= l->x.dim[2] || v >= l->x.dim[3])
                                    continue;
                                int64_t from = o / per_group * l->w.dim[1] + c;
                                const int64_t *xs = l->x.stride, *ws = l->w.stride, *ys = l->y.stride;
                                int64_t at_x = b * xs[0] + from * xs[1] + h * xs[2] + v * xs[3];
                                int64_t at_w = o * ws[0] + c * ws[1] + i * ws[2] + j * ws[3];
                                int64_t at_y = b * ys[0] + o * ys[1] + p * ys[2] + q * ys[3];
                                if (op == TS_OP_conv)
                                    result[at_y] += (double)x[at_x] * (double)w[at_w];
                                else if (op == TS_OP_conv_transpose)
                                    result[at_x] += (double)y[at_y] * (double)w[at_w];
                                else
                                    result[at_w] += (double)x[at_x] * (double)y[at_y];
                            }
}

/* cuDNN's size of the output: floor((H + before + after - ((R - 1) d + 1)) / s) + 1 */
static void check_size(const ts_conv_layout *l)
{
    for (int i = 0; i < 2; i++) {
        int64_t reach = l->dilation[i] * (l->w.dim[2 + i] - 1) + 1;
        int64_t size = (l->x.dim[2 + i] + l->pad_before[i] + l->pad_after[i] - reach) / l->stride[i] + 1;
        cr_assert_eq(size, l->y.dim[2 + i], "axis %d: cuDNN makes %d of %d", i, (int)size, (int)l->y.dim[2 + i]);
    }
}

static void check_conv(const ts_desc *desc, const float *in0, const float *in1, const float *found)
{
    ts_conv_layout l = ts_conv_layout_of(desc);
    int64_t n = ts_shape_count(desc->out[0].shape);
    double *result = calloc((size_t)n, sizeof *result);
    check_size(&l);
    correlate(&l, desc->op, in0, in1, desc->op == TS_OP_conv_transpose ? in0 : in1, result);
    for (int64_t i = 0; i < n; i++)
        cr_assert_float_eq(found[i], result[i], 1e-3, "%s, element %d", ts_ops[desc->op].name, (int)i);
    free(result);
}

/* The gradient of the convolution's weights, x and dy being its input and its result. */
static void check_weights(const rig *r)
{
    ts_desc d = {.op = TS_OP_conv_dw,
                 .attr = r->desc.attr,
                 .in_count = 2,
                 .out_count = 1,
                 .in = {r->desc.in[0], r->desc.out[0]},
                 .out = {r->desc.in[1]}};
    float *w = malloc((size_t)ts_shape_count(d.out[0].shape) * sizeof *w);
    ts_call call = {.desc = &d, .device = r->device, .in = (void *[]){r->host[0], r->result}, .out = (void *[]){w}};
    ts_ref_kernel(TS_OP_conv_dw, false)->run(&call);
    check_conv(&d, r->host[0], r->result, w);
    free(w);
}

Test(cuda_geometry, convolutions)
{
    static const ts_conv_opts opts[] = {
        {.stride = {1, 1}, .pad = {1, 1}},
        {.stride = {2, 2}, .pad = {1, 1}},
        {.stride = {1, 1}, .pad = {2, 2}, .dilation = {2, 2}},
        {.stride = {1, 1}, .pad = {1, 1}, .groups = 2},
        {.stride = {3, 2}},
        {.pad = {2, 4}, .dilation = {1, 2}, .asymmetric = true}, /* causal */
    };
    for (size_t i = 0; i < sizeof opts / sizeof *opts; i++) {
        rig r;
        int64_t groups = opts[i].groups ? opts[i].groups : 1;
        open_rig(&r);
        ts_value x = input(&r, 0, ts_shape_of(2, 7, 8, 4)), w = input(&r, 1, ts_shape_of(6, 3, 3, 4 / groups));
        run_rig(&r, ts_conv2d(x, w, TS_ABSENT, opts[i]));
        check_conv(&r.desc, r.host[0], r.host[1], r.result);
        check_weights(&r);
        close_rig(&r);
        open_rig(&r);
        ts_value y = input(&r, 0, ts_shape_of(2, 4, 3, 6));
        w = input(&r, 1, ts_shape_of(6, 3, 3, 4 / groups));
        run_rig(&r, ts_conv2d_transpose(y, w, TS_ABSENT, opts[i]));
        check_conv(&r.desc, r.host[0], r.host[1], r.result);
        close_rig(&r);
    }
}

/* ---- dtypes ---- */

#define OF(dtype, ...) ((ts_type){dtype, ts_shape_of(__VA_ARGS__)})
#define F32(...)       OF(TS_F32, __VA_ARGS__)
#define BF16(...)      OF(TS_BF16, __VA_ARGS__)

/* What the libraries have for bf16, and what goes to ts_widened. */
Test(cuda_geometry, dtypes)
{
    const struct {
        const char *label;
        bool taken;
        ts_type a, b, bias, out;
    } cases[] = {
        {"f32", true, F32(6, 4), F32(4, 5), F32(5), F32(6, 5)},
        {"bf16", true, BF16(6, 4), BF16(4, 5), BF16(5), BF16(6, 5)},
        {"bf16 to f32", true, BF16(6, 4), BF16(4, 5), F32(5), F32(6, 5)},
        {"bias of another dtype", false, BF16(6, 4), BF16(4, 5), F32(5), BF16(6, 5)},
        {"operands of two dtypes", false, BF16(6, 4), F32(4, 5), F32(5), F32(6, 5)},
        {"f32 to bf16", false, F32(6, 4), F32(4, 5), BF16(5), BF16(6, 5)},
        {"f64", false, OF(TS_F64, 6, 4), OF(TS_F64, 4, 5), OF(TS_F64, 5), OF(TS_F64, 6, 5)},
        {"nothing", false, BF16(0, 4), BF16(4, 5), BF16(5), BF16(0, 5)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ts_desc d = {.op = TS_OP_matmul,
                     .in_count = 3,
                     .out_count = 1,
                     .in = {cases[i].a, cases[i].b, cases[i].bias},
                     .out = {cases[i].out}};
        cr_expect_eq(ts_library_dtypes(&d), cases[i].taken, "%s", cases[i].label);
        ts_product_layout l = ts_product_layout_of(&d);
        cr_expect(l.in == cases[i].a.dtype && l.out == cases[i].out.dtype, "%s", cases[i].label);
    }
}

/* Each of the three tensors of a convolution carries its own dtype, whichever of them the op writes. */
Test(cuda_geometry, dtypes_of_convolutions)
{
    const ts_type x = BF16(2, 7, 8, 4), w = BF16(6, 3, 3, 4), y = F32(2, 5, 6, 6), half_y = BF16(2, 5, 6, 6),
                  wide_w = F32(6, 3, 3, 4);
    ts_desc d = {.op = TS_OP_conv, .in_count = 2, .out_count = 1, .in = {x, w}, .out = {y}};
    d.attr.conv.groups = 1;
    for (int i = 0; i < 2; i++)
        d.attr.conv.stride[i] = d.attr.conv.dilation[i] = 1;
    ts_conv_layout l = ts_conv_layout_of(&d);
    cr_expect(l.x.dtype == TS_BF16 && l.w.dtype == TS_BF16 && l.y.dtype == TS_F32 && ts_library_dtypes(&d));
    d.op = TS_OP_conv_dw, d.in[1] = half_y, d.out[0] = wide_w;
    l = ts_conv_layout_of(&d);
    cr_expect(l.x.dtype == TS_BF16 && l.w.dtype == TS_F32 && l.y.dtype == TS_BF16 && ts_library_dtypes(&d));
    d.op = TS_OP_conv_transpose, d.in[0] = half_y, d.in[1] = w, d.out[0] = F32(2, 7, 8, 4);
    l = ts_conv_layout_of(&d);
    cr_expect(l.x.dtype == TS_F32 && l.w.dtype == TS_BF16 && l.y.dtype == TS_BF16 && ts_library_dtypes(&d));
}
