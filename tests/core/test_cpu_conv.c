/* The CPU's convolutions and products on many small shapes: against the reference, inside of their memory, whatever the
 * number of threads. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu/strided.h"
#include "core/cpu/thin.h"
#include "core/cpu/winograd.h"
#include "core/device.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/widen.h"

enum { GUARD = 64, SHAPES = 120 };

static uint64_t drawn;

static int64_t draw(int64_t least, int64_t most)
{
    return least + (int64_t)ts_random_below((ts_random_key){7, 1}, 0, drawn++, (uint64_t)(most - least + 1));
}

static float *numbers(ts_shape shape)
{
    const int64_t n = ts_shape_count(shape);
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)ts_random_uniform((ts_random_key){7, 2}, 0, drawn++) * 2 - 1;
    return x;
}

/* Memory with a pattern behind it that must be there afterwards. */
static unsigned char *guarded(size_t bytes)
{
    unsigned char *memory = ts_alloc_aligned(bytes + GUARD);
    memset(memory, 0xff, bytes); /* NaN */
    memset(memory + bytes, 0x5a, GUARD);
    return memory;
}

static void check_and_free(unsigned char *memory, size_t bytes)
{
    for (int i = 0; i < GUARD; i++)
        cr_assert_eq(memory[bytes + (size_t)i], 0x5a, "written %d bytes behind the end", i);
    ts_free_aligned(memory, bytes + GUARD);
}

static size_t bytes_of(const ts_desc *d)
{
    return (size_t)ts_shape_count(d->out[0].shape) * ts_dtype_bytes(d->out[0].dtype);
}

/* Runs the kernel twice, the second time over what the first left behind; the caller checks and frees the result. */
static float *run(const ts_kernel *kernel, ts_device *device, const ts_desc *d, void *const *in)
{
    size_t scratch_bytes = 0;
    void *prepared = NULL;
    unsigned char *out = guarded(bytes_of(d));
    cr_assert(!kernel->accepts || kernel->accepts(d));
    if (kernel->prepare)
        cr_assert_eq(kernel->prepare(d, device, &prepared, &scratch_bytes, NULL), TS_OK);
    unsigned char *scratch = guarded(scratch_bytes);
    const ts_call call = {
        .desc = d, .device = device, .in = in, .out = (void *[]){out}, .prepared = prepared, .scratch = scratch};
    kernel->run(&call);
    kernel->run(&call);
    cr_assert_eq(ts_device_check(device, NULL), TS_OK);
    if (kernel->release)
        kernel->release(prepared);
    check_and_free(scratch, scratch_bytes);
    return (float *)out;
}

/* What the CPU's kernel gives and what the reference does. */
typedef struct {
    float *fast, *right;
} pair;

static pair run_both(ts_device *device, const ts_desc *d, void *const *in)
{
    return (pair){run(ts_cpu_kernel(d->op), device, d, in), run(ts_ref_kernel(d->op, false), device, d, in)};
}

static void free_both(const pair *b, const ts_desc *d)
{
    check_and_free((unsigned char *)b->fast, bytes_of(d));
    check_and_free((unsigned char *)b->right, bytes_of(d));
}

/* Largest difference from the reference, of its largest magnitude. */
static double difference(ts_device *device, const ts_desc *d)
{
    void *in[3] = {NULL};
    for (int i = 0; i < d->in_count; i++)
        in[i] = numbers(d->in[i].shape);
    const pair b = run_both(device, d, in);
    double worst = 0, largest = 1e-3;
    for (int64_t i = 0; i < ts_shape_count(d->out[0].shape); i++) {
        largest = fmax(largest, fabs((double)b.right[i]));
        worst = isnan(b.fast[i]) ? INFINITY : fmax(worst, fabs((double)b.fast[i] - (double)b.right[i]));
    }
    free_both(&b, d);
    for (int i = 0; i < d->in_count; i++)
        free(in[i]);
    return worst / largest;
}

/* A convolution of drawn sizes, strides, paddings and dilations, and its three ops. */
static ts_dnnl_conv drawn_conv(int64_t most_dilated)
{
    static const int64_t channels[] = {1, 2, 3, 4, 5, 16, 16, 17, 32, 32};
    ts_dnnl_conv g = {.B = draw(1, 20), .groups = draw(0, 4) ? 1 : draw(2, 3)};
    int64_t size[2], taps[2], out[2];
    for (int i = 0; i < 2; i++) {
        taps[i] = draw(1, 4);
        g.stride[i] = draw(1, 3);
        g.dilation[i] = draw(1, most_dilated);
        g.pad[i] = draw(0, 3);
        const int64_t reach = g.dilation[i] * (taps[i] - 1) + 1, after = draw(0, 3);
        size[i] = draw(1, i && !draw(0, 3) ? 40 : 9); /* blocks of outputs beside single ones */
        if (size[i] + g.pad[i] + after < reach)
            size[i] = reach;
        out[i] = (size[i] + g.pad[i] + after - reach) / g.stride[i] + 1;
    }
    g.H = size[0], g.W = size[1], g.P = out[0], g.Q = out[1], g.R = taps[0], g.S = taps[1];
    g.C = channels[draw(0, 9)] * g.groups;
    g.O = channels[draw(0, 9)] * g.groups;
    g.relu = g.B % 2;
    return g;
}

static ts_desc desc_of(const ts_dnnl_conv *g, ts_dnnl_pass pass, bool bias)
{
    const ts_shape x = ts_shape_of(g->B, g->H, g->W, g->C), y = ts_shape_of(g->B, g->P, g->Q, g->O),
                   w = ts_shape_of(g->O, g->R, g->S, g->C / g->groups);
    static const ts_op ops[] = {TS_OP_conv, TS_OP_conv_transpose, TS_OP_conv_dw};
    ts_desc d = {.op = ops[pass], .out_count = 1, .in_count = bias && pass != TS_DNNL_BACKWARD_WEIGHTS ? 3 : 2};
    d.in[0].shape = pass == TS_DNNL_BACKWARD_DATA ? y : x;
    d.in[1].shape = pass == TS_DNNL_BACKWARD_WEIGHTS ? y : w;
    d.out[0].shape = pass == TS_DNNL_FORWARD ? y : pass == TS_DNNL_BACKWARD_DATA ? x : w;
    d.in[2].shape = ts_shape_of(d.out[0].shape.dim[3]);
    for (int i = 0; i < 2; i++) {
        d.attr.conv.stride[i] = g->stride[i];
        d.attr.conv.pad[i] = g->pad[i];
        d.attr.conv.dilation[i] = g->dilation[i];
    }
    d.attr.conv.groups = g->groups;
    d.attr.conv.relu = g->relu && pass != TS_DNNL_BACKWARD_WEIGHTS;
    return d;
}

static void agree_with_ref(ts_dnnl_pass pass)
{
    ts_device *device;
    cr_assert_eq(ts_device_open("cpu", 2, &device, NULL), TS_OK);
    int thin = 0;
    for (int i = 0; i < SHAPES; i++) {
        const ts_dnnl_conv g = drawn_conv(3);
        const ts_desc d = desc_of(&g, pass, i % 2);
        thin += ts_thin_fits(&g, pass);
        const double worst = difference(device, &d);
        cr_expect_leq(worst, 2e-6, "%s, x %s y %s, kernel %lldx%lld, groups %lld: off by %g", ts_ops[d.op].name,
                      ts_shape_print(ts_shape_of(g.B, g.H, g.W, g.C)).text,
                      ts_shape_print(ts_shape_of(g.B, g.P, g.Q, g.O)).text, (long long)g.R, (long long)g.S,
                      (long long)g.groups, worst);
    }
    cr_assert(thin >= 10 && thin <= SHAPES / 2, "%d of %d shapes took the kernels for few channels", thin, SHAPES);
    ts_device_close(device);
}

Test(core_cpu_conv, forward_agrees_with_ref)
{
    agree_with_ref(TS_DNNL_FORWARD);
}

Test(core_cpu_conv, data_agrees_with_ref)
{
    agree_with_ref(TS_DNNL_BACKWARD_DATA);
}

Test(core_cpu_conv, weights_agree_with_ref)
{
    agree_with_ref(TS_DNNL_BACKWARD_WEIGHTS);
}

/* The kernels of our own give the same bits on 1, 2 and 3 threads. */
Test(core_cpu_conv, few_channels_do_not_depend_on_threads)
{
    const ts_dnnl_conv to_few = {.B = 19,
                                 .H = 12,
                                 .W = 13,
                                 .C = 32,
                                 .P = 12,
                                 .Q = 13,
                                 .O = 3,
                                 .R = 3,
                                 .S = 3,
                                 .groups = 1,
                                 .stride = {1, 1},
                                 .pad = {1, 1},
                                 .dilation = {1, 1}};
    const ts_dnnl_conv from_few = {.B = 19,
                                   .H = 12,
                                   .W = 14,
                                   .C = 3,
                                   .P = 6,
                                   .Q = 7,
                                   .O = 32,
                                   .R = 4,
                                   .S = 4,
                                   .groups = 1,
                                   .stride = {2, 2},
                                   .pad = {1, 1},
                                   .dilation = {1, 1}};
    const struct {
        const ts_dnnl_conv *g;
        ts_dnnl_pass pass;
    } cases[] = {{&to_few, TS_DNNL_FORWARD}, {&from_few, TS_DNNL_BACKWARD_DATA}, {&to_few, TS_DNNL_BACKWARD_WEIGHTS}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cr_assert(ts_thin_fits(cases[k].g, cases[k].pass));
        const ts_desc d = desc_of(cases[k].g, cases[k].pass, true);
        void *in[3] = {numbers(d.in[0].shape), numbers(d.in[1].shape), numbers(d.in[2].shape)};
        float *first = NULL;
        for (int threads = 1; threads <= 3; threads++) {
            ts_device *device;
            cr_assert_eq(ts_device_open("cpu", threads, &device, NULL), TS_OK);
            float *out = run(ts_cpu_kernel(d.op), device, &d, in);
            ts_device_close(device);
            if (!first) {
                first = out;
                continue;
            }
            cr_assert_eq(memcmp(first, out, bytes_of(&d)), 0, "%s differs on %d threads", ts_ops[d.op].name, threads);
            check_and_free((unsigned char *)out, bytes_of(&d));
        }
        check_and_free((unsigned char *)first, bytes_of(&d));
        for (int i = 0; i < 3; i++)
            free(in[i]);
    }
}

/* ---- fewer products ---- */

/* 3 taps along one axis or both, and whatever padding, dilation and sizes. */
static ts_dnnl_conv drawn_three_taps(void)
{
    static const int64_t channels[] = {16, 32, 48};
    ts_dnnl_conv g = {.B = draw(16, 20), .groups = 1, .C = channels[draw(0, 2)], .O = channels[draw(0, 2)]};
    int64_t size[2], taps[2] = {draw(0, 2) ? 3 : 1, 3}, out[2];
    for (int i = 0; i < 2; i++) {
        g.stride[i] = 1;
        g.dilation[i] = draw(1, 4);
        g.pad[i] = draw(0, 9);
        const int64_t reach = g.dilation[i] * (taps[i] - 1) + 1, after = draw(0, 9);
        size[i] = draw(4, 14);
        if (size[i] + g.pad[i] + after < reach + 3)
            size[i] = reach + 3;
        out[i] = size[i] + g.pad[i] + after - reach + 1;
    }
    const int turned = (int)draw(0, 1);
    g.H = size[turned], g.W = size[!turned], g.P = out[turned], g.Q = out[!turned];
    g.R = taps[turned], g.S = taps[!turned];
    if (turned) {
        const int64_t pad = g.pad[0], dilation = g.dilation[0];
        g.pad[0] = g.pad[1], g.dilation[0] = g.dilation[1];
        g.pad[1] = pad, g.dilation[1] = dilation;
    }
    g.relu = g.B % 2;
    return g;
}

Test(core_cpu_conv, fewer_products_agree_with_ref)
{
    ts_device *device;
    int square = 0;
    setenv("TESSERA_WINOGRAD", "always", 1);
    cr_assert_eq(ts_device_open("cpu", 2, &device, NULL), TS_OK);
    for (int i = 0; i < SHAPES; i++) {
        const ts_dnnl_pass pass = (ts_dnnl_pass)(i % 3);
        const ts_dnnl_conv g = drawn_three_taps();
        const ts_desc d = desc_of(&g, pass, i % 2);
        const bool both = g.R == 3 && g.S == 3;
        cr_assert(ts_winograd_fits(&g, pass));
        square += both;
        const double worst = difference(device, &d);
        cr_expect_leq(worst, both ? 2e-5 : 5e-6, "%s, x %s y %s, kernel %lldx%lld, dilation %lld, %lld: off by %g",
                      ts_ops[d.op].name, ts_shape_print(ts_shape_of(g.B, g.H, g.W, g.C)).text,
                      ts_shape_print(ts_shape_of(g.B, g.P, g.Q, g.O)).text, (long long)g.R, (long long)g.S,
                      (long long)g.dilation[0], (long long)g.dilation[1], worst);
    }
    cr_assert(square >= SHAPES / 3 && square <= 5 * SHAPES / 6);
    ts_device_close(device);
}

/* A layer of so many channels, as the models have them: T2M-GPT's residual blocks, the classic VQ-VAE's. */
static ts_dnnl_conv layer(int64_t B, int64_t H, int64_t W, int64_t channels, int64_t dilation)
{
    const bool both = H > 1;
    return (ts_dnnl_conv){.B = B,
                          .H = H,
                          .W = W,
                          .C = channels,
                          .P = H,
                          .Q = W,
                          .O = channels,
                          .R = both ? 3 : 1,
                          .S = 3,
                          .groups = 1,
                          .stride = {1, 1},
                          .pad = {both ? dilation : 0, dilation},
                          .dilation = {both ? dilation : 1, dilation}};
}

/* Root mean square of the error of a kernel, of that of the true result (f64's). */
static double error_of(ts_device *device, const ts_desc *d, const double *right, void *const *in)
{
    float *out = run(ts_cpu_kernel(d->op), device, d, in);
    double error = 0, scale = 0;
    for (int64_t i = 0; i < ts_shape_count(d->out[0].shape); i++) {
        error += ((double)out[i] - right[i]) * ((double)out[i] - right[i]);
        scale += right[i] * right[i];
    }
    check_and_free((unsigned char *)out, bytes_of(d));
    return sqrt(error / scale);
}

static double *widened(const float *x, ts_shape shape)
{
    const int64_t n = ts_shape_count(shape);
    double *wide = malloc((size_t)n * sizeof *wide);
    for (int64_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    return wide;
}

static double *true_result(const ts_desc *d, void *const *in)
{
    ts_desc wide = *d;
    double *out = malloc((size_t)ts_shape_count(d->out[0].shape) * sizeof *out), *operands[2];
    for (int i = 0; i < 2; i++) {
        wide.in[i].dtype = TS_F64;
        operands[i] = widened(in[i], d->in[i].shape);
    }
    wide.out[0].dtype = TS_F64;
    const ts_call call = {.desc = &wide, .in = (void *[]){operands[0], operands[1]}, .out = (void *[]){out}};
    ts_ref_kernel(d->op, true)->run(&call);
    free(operands[0]);
    free(operands[1]);
    return out;
}

/* The bound under which fewer products are the default: the error is that of a few more f32 roundings. */
Test(core_cpu_conv, fewer_products_are_nearly_as_exact)
{
    const ts_dnnl_conv line = layer(16, 1, 32, 128, 1), dilated = layer(16, 1, 32, 128, 3),
                       square = layer(4, 8, 8, 128, 1);
    const ts_dnnl_conv *const layers[] = {&line, &dilated, &square};
    ts_device *device;
    cr_assert_eq(ts_device_open("cpu", 2, &device, NULL), TS_OK);
    for (int i = 0; i < 9; i++) {
        const ts_dnnl_pass pass = (ts_dnnl_pass)(i % 3);
        const ts_desc d = desc_of(layers[i / 3], pass, false);
        void *in[2] = {numbers(d.in[0].shape), numbers(d.in[1].shape)};
        double *right = true_result(&d, in);
        setenv("TESSERA_WINOGRAD", "0", 1);
        cr_expect(!ts_winograd_fits(layers[i / 3], pass));
        const double direct = error_of(device, &d, right, in);
        setenv("TESSERA_WINOGRAD", "always", 1);
        cr_expect(ts_winograd_fits(layers[i / 3], pass));
        const double fewer = error_of(device, &d, right, in);
        cr_log_info("%s of layer %d: %.2e, direct %.2e", ts_ops[d.op].name, i / 3, fewer, direct);
        cr_expect(fewer > 0 && fewer <= (i / 3 == 2 ? 4e-6 : 1.2e-6), "%s of layer %d: %g, direct %g",
                  ts_ops[d.op].name, i / 3, fewer, direct);
        free(right);
        free(in[0]);
        free(in[1]);
    }
    ts_device_close(device);
}

/* Where they pay, by default: many channels, and tiles that do not hang over the edges. */
Test(core_cpu_conv, fewer_products_where_they_pay)
{
    const struct {
        ts_dnnl_conv g;
        bool pays;
    } cases[] = {
        {layer(128, 1, 32, 512, 1), true}, {layer(128, 1, 32, 512, 9), true},  {layer(256, 8, 8, 128, 1), true},
        {layer(256, 8, 8, 32, 1), false},  {layer(128, 1, 16, 512, 9), false}, {layer(1, 1, 64, 512, 1), false},
    };
    unsetenv("TESSERA_WINOGRAD");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(ts_winograd_fits(&cases[i].g, TS_DNNL_FORWARD), cases[i].pays, "layer %d", (int)i);
}

/* Passes over images give the same bits on 1, 2 and 3 threads; a weight gradient the same ones each time. */
Test(core_cpu_conv, fewer_products_are_repeatable)
{
    const ts_dnnl_conv g = layer(40, 8, 9, 32, 1);
    setenv("TESSERA_WINOGRAD", "always", 1);
    for (int i = 0; i < 6; i++) {
        const ts_dnnl_pass pass = (ts_dnnl_pass)(i % 3);
        const ts_desc d = desc_of(&g, pass, true);
        void *in[3] = {numbers(d.in[0].shape), numbers(d.in[1].shape), numbers(d.in[2].shape)};
        float *out[2];
        for (int k = 0; k < 2; k++) {
            ts_device *device;
            const int threads = pass == TS_DNNL_BACKWARD_WEIGHTS ? 1 + i / 3 : 1 + k + i / 3;
            cr_assert_eq(ts_device_open("cpu", threads, &device, NULL), TS_OK);
            out[k] = run(ts_cpu_kernel(d.op), device, &d, in);
            ts_device_close(device);
        }
        cr_expect_eq(memcmp(out[0], out[1], bytes_of(&d)), 0, "%s differs", ts_ops[d.op].name);
        for (int k = 0; k < 2; k++)
            check_and_free((unsigned char *)out[k], bytes_of(&d));
        for (int k = 0; k < 3; k++)
            free(in[k]);
    }
}

/* ---- strided weight gradients ---- */

static ts_desc strided_desc(const ts_dnnl_conv *g)
{
    cr_assert(ts_strided_fits(g, TS_DNNL_BACKWARD_WEIGHTS));
    return desc_of(g, TS_DNNL_BACKWARD_WEIGHTS, false);
}

/* More than one block: of images, of a band of rows of each, of images that are one row; the last of each is shorter.
 */
static const ts_dnnl_conv strided_layers[] = {
    {.B = 50,
     .H = 16,
     .W = 12,
     .C = 24,
     .P = 8,
     .Q = 6,
     .O = 40,
     .R = 4,
     .S = 4,
     .groups = 1,
     .stride = {2, 2},
     .pad = {1, 1},
     .dilation = {1, 1}},
    {.B = 2,
     .H = 61,
     .W = 80,
     .C = 32,
     .P = 31,
     .Q = 40,
     .O = 17,
     .R = 3,
     .S = 4,
     .groups = 1,
     .stride = {2, 2},
     .pad = {1, 1},
     .dilation = {1, 1}},
    {.B = 37,
     .H = 1,
     .W = 64,
     .C = 80,
     .P = 1,
     .Q = 32,
     .O = 48,
     .R = 1,
     .S = 4,
     .groups = 1,
     .stride = {1, 2},
     .pad = {0, 1},
     .dilation = {1, 1}},
};

Test(core_cpu_conv, strided_weights_agree_with_ref)
{
    enum { LAYERS = sizeof strided_layers / sizeof *strided_layers };
    ts_device *device;
    int taken = 0, strided = 0;
    setenv("TESSERA_STRIDED", "always", 1);
    setenv("TESSERA_WINOGRAD", "0", 1);
    cr_assert_eq(ts_device_open("cpu", 3, &device, NULL), TS_OK);
    for (int i = 0; i < SHAPES + LAYERS; i++) {
        const ts_dnnl_conv g = i < SHAPES ? drawn_conv(1) : strided_layers[i - SHAPES];
        if (!ts_strided_fits(&g, TS_DNNL_BACKWARD_WEIGHTS) || ts_thin_fits(&g, TS_DNNL_BACKWARD_WEIGHTS))
            continue;
        taken++;
        strided += g.stride[0] > 1 && g.stride[1] > 1;
        const ts_desc d = strided_desc(&g);
        const double worst = difference(device, &d);
        cr_expect_leq(worst, 3e-6, "x %s y %s, kernel %lldx%lld, stride %lld, %lld: off by %g",
                      ts_shape_print(d.in[0].shape).text, ts_shape_print(d.in[1].shape).text, (long long)g.R,
                      (long long)g.S, (long long)g.stride[0], (long long)g.stride[1], worst);
    }
    cr_assert(taken >= SHAPES / 2 && strided >= SHAPES / 4, "%d of %d shapes, %d strided both ways", taken, SHAPES,
              strided);
    ts_device_close(device);
}

Test(core_cpu_conv, strided_weights_are_repeatable)
{
    setenv("TESSERA_STRIDED", "always", 1);
    for (int i = 0; i < 6; i++) {
        const ts_desc d = strided_desc(&strided_layers[i / 2]);
        void *in[2] = {numbers(d.in[0].shape), numbers(d.in[1].shape)};
        float *out[2];
        for (int k = 0; k < 2; k++) {
            ts_device *device;
            cr_assert_eq(ts_device_open("cpu", 1 + i % 2, &device, NULL), TS_OK);
            out[k] = run(ts_cpu_kernel(d.op), device, &d, in);
            ts_device_close(device);
        }
        cr_expect_eq(memcmp(out[0], out[1], bytes_of(&d)), 0, "layer %d differs", i / 2);
        for (int k = 0; k < 2; k++) {
            check_and_free((unsigned char *)out[k], bytes_of(&d));
            free(in[k]);
        }
    }
}

/* Where they pay, by default; never, for other passes and kinds. */
Test(core_cpu_conv, strided_weights_where_they_pay)
{
    ts_dnnl_conv g = strided_layers[2];
    unsetenv("TESSERA_STRIDED");
    cr_expect(!ts_strided_fits(&g, TS_DNNL_BACKWARD_WEIGHTS), "48 channels");
    g.O = 64;
    cr_expect(ts_strided_fits(&g, TS_DNNL_BACKWARD_WEIGHTS));
    setenv("TESSERA_STRIDED", "0", 1);
    cr_expect(!ts_strided_fits(&g, TS_DNNL_BACKWARD_WEIGHTS));
    setenv("TESSERA_STRIDED", "always", 1);
    cr_expect(!ts_strided_fits(&g, TS_DNNL_FORWARD) && !ts_strided_fits(&g, TS_DNNL_BACKWARD_DATA));
    g.dilation[1] = 2;
    cr_expect(!ts_strided_fits(&g, TS_DNNL_BACKWARD_WEIGHTS), "dilated");
    g.dilation[1] = 1, g.x_type = TS_BF16;
    cr_expect(!ts_strided_fits(&g, TS_DNNL_BACKWARD_WEIGHTS), "bf16");
}

Test(core_cpu_conv, matmul_agrees_with_ref)
{
    ts_device *device;
    cr_assert_eq(ts_device_open("cpu", 2, &device, NULL), TS_OK);
    for (int i = 0; i < SHAPES; i++) {
        const int64_t B = draw(1, 3), M = draw(1, 40), N = draw(1, 70), K = draw(1, 50);
        const bool ta = draw(0, 1), tb = draw(0, 1), one_b = draw(0, 1);
        ts_desc d = {.op = TS_OP_matmul, .in_count = (int)draw(2, 3), .out_count = 1};
        d.attr.matmul.relu = M % 2;
        d.attr.matmul.trans_a = ta;
        d.attr.matmul.trans_b = tb;
        const int64_t b_rows = tb ? N : K, b_columns = tb ? K : N;
        d.in[0].shape = ts_shape_of(B, ta ? K : M, ta ? M : K);
        d.in[1].shape = one_b ? ts_shape_of(b_rows, b_columns) : ts_shape_of(B, b_rows, b_columns);
        d.in[2].shape = ts_shape_of(N);
        d.out[0].shape = ts_shape_of(B, M, N);
        const double worst = difference(device, &d);
        cr_expect_leq(worst, 2e-6, "a %s%s, b %s%s: off by %g", ts_shape_print(d.in[0].shape).text, ta ? "^T" : "",
                      ts_shape_print(d.in[1].shape).text, tb ? "^T" : "", worst);
    }
    ts_device_close(device);
}

/* ---- bf16 ---- */

/* Where the reference has NaN, the kernel has it too. */
static int expect_nan_kept(ts_device *device, const ts_desc *d)
{
    void *in[2] = {numbers(d->in[0].shape), numbers(d->in[1].shape)};
    int kept = 0;
    ((float *)in[0])[ts_shape_count(d->in[0].shape) / 2] = NAN;
    const pair b = run_both(device, d, in);
    for (int64_t i = 0; i < ts_shape_count(d->out[0].shape); i++) {
        cr_expect(!isnan(b.right[i]) || isnan(b.fast[i]), "%s, to %s: element %lld is %g", ts_ops[d->op].name,
                  ts_shape_print(d->out[0].shape).text, (long long)i, (double)b.fast[i]);
        kept += isnan(b.right[i]);
    }
    free_both(&b, d);
    free(in[0]);
    free(in[1]);
    return kept;
}

/* A training that diverges must not look healthy because an activation has made 0 of it: by oneDNN, by our kernel for
 * few channels, by fewer products. */
Test(core_cpu_conv, an_activation_keeps_nan)
{
    ts_device *device;
    setenv("TESSERA_WINOGRAD", "0", 1);
    cr_assert_eq(ts_device_open("cpu", 2, &device, NULL), TS_OK);
    for (int way = 0; way < 3; way++) {
        ts_dnnl_conv g = layer(16, 8, 8, 32, 1);
        g.relu = true;
        g.O = way == 1 ? 2 : 32;
        if (way == 2)
            setenv("TESSERA_WINOGRAD", "always", 1);
        ts_desc d = desc_of(&g, TS_DNNL_FORWARD, false);
        cr_assert(ts_thin_fits(&g, TS_DNNL_FORWARD) == (way == 1) &&
                  ts_winograd_fits(&g, TS_DNNL_FORWARD) == (way == 2));
        cr_assert_geq(expect_nan_kept(device, &d), 4 * g.O);
        d = desc_of(&g, TS_DNNL_BACKWARD_DATA, false);
        cr_assert_geq(expect_nan_kept(device, &d), 4 * g.C);
    }
    ts_desc d = {.op = TS_OP_matmul, .in_count = 2, .out_count = 1, .attr.matmul.relu = true};
    d.in[0].shape = ts_shape_of(40, 16), d.in[1].shape = ts_shape_of(16, 24), d.out[0].shape = ts_shape_of(40, 24);
    cr_assert_eq(expect_nan_kept(device, &d), 24);
    ts_device_close(device);
}

static uint16_t *half_numbers(ts_shape shape)
{
    const int64_t n = ts_shape_count(shape);
    float *x = numbers(shape);
    uint16_t *half = malloc((size_t)n * sizeof *half);
    for (int64_t i = 0; i < n; i++)
        half[i] = ts_bf16_from_f32(x[i]);
    free(x);
    return half;
}

static double element(const ts_type *t, const float *x, int64_t i)
{
    return (double)(t->dtype == TS_BF16 ? ts_f32_from_bf16(((const uint16_t *)(const void *)x)[i]) : x[i]);
}

/* oneDNN's bf16, whatever the processor, beside the f32 kernels with their operands widened. */
static double difference_in_bf16(ts_device *device, ts_desc *d, ts_dtype out)
{
    void *in[3] = {NULL};
    double worst = 0, largest = 1e-3;
    ts_kernel forced = *ts_cpu_kernel(d->op);
    forced.accepts = NULL;
    d->in[0].dtype = d->in[1].dtype = TS_BF16;
    d->in[2].dtype = d->out[0].dtype = out;
    for (int i = 0; i < d->in_count; i++)
        in[i] = d->in[i].dtype == TS_BF16 ? (void *)half_numbers(d->in[i].shape) : (void *)numbers(d->in[i].shape);
    float *own = run(&forced, device, d, in), *widened = run(&ts_widened, device, d, in);
    for (int64_t i = 0; i < ts_shape_count(d->out[0].shape); i++) {
        const double a = element(&d->out[0], own, i), b = element(&d->out[0], widened, i);
        largest = fmax(largest, fabs(b));
        worst = isnan(a) ? INFINITY : fmax(worst, fabs(a - b));
    }
    check_and_free((unsigned char *)own, bytes_of(d));
    check_and_free((unsigned char *)widened, bytes_of(d));
    for (int i = 0; i < d->in_count; i++)
        free(in[i]);
    return worst / largest;
}

/* oneDNN computes bf16 on every AVX-512, by instructions for it or without; on fewer, widening is compared with itself,
 * and the log says so. */
Test(core_cpu_conv, bf16_of_onednn_agrees_with_f32)
{
    ts_device *device;
    int taken = 0;
    cr_assert_eq(ts_device_open("cpu", 2, &device, NULL), TS_OK);
    for (int i = 0; i < SHAPES; i++) {
        const ts_dnnl_pass pass = (ts_dnnl_pass)(i % 3);
        const ts_dtype out = pass == TS_DNNL_BACKWARD_WEIGHTS || i % 2 ? TS_F32 : TS_BF16;
        ts_dnnl_conv g = drawn_conv(3);
        ts_desc d = desc_of(&g, pass, pass == TS_DNNL_FORWARD && i % 4 == 0);
        const double worst = difference_in_bf16(device, &d, out);
        cr_expect_leq(worst, out == TS_F32 ? 1e-5 : 0x1p-7, "%s, x %s y %s, groups %lld, to %s: off by %g",
                      ts_ops[d.op].name, ts_shape_print(ts_shape_of(g.B, g.H, g.W, g.C)).text,
                      ts_shape_print(ts_shape_of(g.B, g.P, g.Q, g.O)).text, (long long)g.groups, ts_dtype_name(out),
                      worst);
        ts_dnnl *op;
        g.x_type = pass == TS_DNNL_BACKWARD_DATA ? out : TS_BF16, g.y_type = pass == TS_DNNL_FORWARD ? out : TS_BF16;
        g.w_type = pass == TS_DNNL_BACKWARD_WEIGHTS ? out : TS_BF16;
        cr_assert_eq(ts_dnnl_conv_new(&op, &g, pass, 2, NULL), TS_OK);
        taken += op != NULL;
        ts_dnnl_free(op);
    }
    cr_log_info("oneDNN took %d of %d convolutions of bf16 on this processor", taken, SHAPES);
    ts_device_close(device);
}

Test(core_cpu_conv, bf16_products_of_onednn_agree_with_f32)
{
    ts_device *device;
    cr_assert_eq(ts_device_open("cpu", 2, &device, NULL), TS_OK);
    for (int i = 0; i < SHAPES; i++) {
        const int64_t M = draw(1, 40), N = draw(1, 70), K = draw(1, 50);
        const bool ta = draw(0, 1), tb = draw(0, 1);
        const ts_dtype out = i % 2 ? TS_F32 : TS_BF16;
        ts_desc d = {.op = TS_OP_matmul, .in_count = (int)draw(2, 3), .out_count = 1};
        d.attr.matmul.trans_a = ta;
        d.attr.matmul.trans_b = tb;
        d.in[0].shape = ts_shape_of(ta ? K : M, ta ? M : K);
        d.in[1].shape = ts_shape_of(tb ? N : K, tb ? K : N);
        d.in[2].shape = ts_shape_of(N);
        d.out[0].shape = ts_shape_of(M, N);
        const double worst = difference_in_bf16(device, &d, out);
        cr_expect_leq(worst, out == TS_F32 ? 1e-5 : 0x1p-7, "%lld x %lld x %lld to %s: off by %g", (long long)M,
                      (long long)N, (long long)K, ts_dtype_name(out), worst);
    }
    ts_device_close(device);
}

Test(core_cpu_conv, a_failed_allocation_is_an_error)
{
    ts_device *device;
    ts_error err = {0};
    cr_assert_eq(ts_device_open("cpu", 1, &device, NULL), TS_OK);
    const ts_dnnl_conv g = {.B = 1,
                            .H = 8,
                            .W = 8,
                            .C = 16,
                            .P = 8,
                            .Q = 8,
                            .O = 16,
                            .R = 3,
                            .S = 3,
                            .groups = 1,
                            .stride = {1, 1},
                            .pad = {1, 1},
                            .dilation = {1, 1}};
    const ts_desc d = desc_of(&g, TS_DNNL_FORWARD, false);
    for (uint64_t n = 1; n <= 2; n++) {
        void *prepared = NULL;
        size_t scratch_bytes = 0;
        ts_alloc_fail_at(n);
        cr_assert_eq(ts_cpu_kernel(TS_OP_conv)->prepare(&d, device, &prepared, &scratch_bytes, &err), TS_ERR_RUNTIME);
        cr_assert_null(prepared);
    }
    const ts_desc strided = desc_of(&strided_layers[2], TS_DNNL_BACKWARD_WEIGHTS, false);
    setenv("TESSERA_STRIDED", "always", 1);
    for (uint64_t n = 1; n <= 2; n++) {
        void *prepared = NULL;
        size_t scratch_bytes = 0;
        ts_alloc_fail_at(n);
        cr_assert_eq(ts_cpu_kernel(TS_OP_conv_dw)->prepare(&strided, device, &prepared, &scratch_bytes, &err),
                     TS_ERR_RUNTIME);
        cr_assert_null(prepared);
    }
    ts_alloc_fail_at(0);
    ts_device_close(device);
}

Test(core_cpu_conv, the_library_has_a_version)
{
    cr_assert(ts_dnnl_version()[0] >= '2' && ts_dnnl_version()[1] == '.', "%s", ts_dnnl_version());
}
