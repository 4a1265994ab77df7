#include "tests/cuda/direct.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"

enum { GUARD = 64 };

static ts_error err;

bool direct_emulated(void)
{
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    return strcmp(getenv("TESSERA_CUDA_MODULE"), TESSERA_CUDA_EMULATED) == 0;
}

static size_t bytes_of(const ts_type *t)
{
    return ts_type_present(t) ? (size_t)ts_shape_count(t->shape) * ts_dtype_bytes(t->dtype) : 0;
}

static void write_element(const direct_case *c, int k, void *x, int64_t i)
{
    ts_random_key key = {77, (uint64_t)k};
    float real = ts_random_normal(key, 0, (uint64_t)i);
    int64_t below = c->below[k] ? c->below[k] : 100;
    int64_t whole = c->from + (int64_t)ts_random_below(key, 1, (uint64_t)i, (uint64_t)(below - c->from));
    switch (c->desc.in[k].dtype) {
    case TS_F32:
        ((float *)x)[i] = c->below[k] ? (float)whole : real;
        break;
    case TS_BF16:
        ((uint16_t *)x)[i] = ts_bf16_from_f32(real);
        break;
    case TS_I32:
        ((int32_t *)x)[i] = (int32_t)whole;
        break;
    case TS_I64:
        ((int64_t *)x)[i] = whole;
        break;
    default:
        ((uint8_t *)x)[i] = (uint8_t)whole;
    }
}

void *direct_operand(const direct_case *c, int k)
{
    const ts_type *t = &c->desc.in[k];
    void *x = malloc(bytes_of(t) + 1);
    int64_t n = ts_type_present(t) ? ts_shape_count(t->shape) : 0;
    for (int64_t i = 0; i < n; i++)
        write_element(c, k, x, i);
    if (c->spoil)
        c->spoil(k, x);
    return x;
}

/* Memory on the device: GUARD bytes, `shift` bytes, the operand, GUARD bytes. */
typedef struct {
    char *memory;
    size_t bytes, before;
} place;

static place put(ts_device *device, const void *host, size_t bytes, size_t shift)
{
    place p = {.bytes = bytes, .before = GUARD + shift};
    size_t all = p.before + bytes + GUARD;
    char *image = malloc(all);
    memset(image, 0x5a, all);
    if (host && bytes)
        memcpy(image + p.before, host, bytes);
    cr_assert_eq(device->backend->alloc(device, all, (void **)&p.memory, &err), TS_OK, "%s", err.text);
    device->backend->upload(device, p.memory, image, all);
    free(image);
    return p;
}

static void *take(ts_device *device, const place *p, const char *label)
{
    size_t all = p->before + p->bytes + GUARD;
    char *image = malloc(all);
    device->backend->download(device, image, p->memory, all);
    for (size_t i = 0; i < all; i++)
        if (i < p->before || i >= p->before + p->bytes)
            cr_assert_eq(image[i], 0x5a, "%s: byte %ld beside an operand of %zu was written", label,
                         (long)i - (long)p->before, p->bytes);
    char *host = malloc(p->bytes + 1);
    memcpy(host, image + p->before, p->bytes);
    free(image);
    device->backend->release(device, p->memory, all);
    return host;
}

static void execute(const direct_case *c, ts_device *device, void *const *in, void *const *out, bool recorded)
{
    const ts_kernel *kernel = device->backend->kernel(device, &c->desc);
    cr_assert(kernel, "%s: no kernel on %s", c->label, device->backend->name);
    void *prepared = NULL, *recording = NULL;
    size_t scratch = 0;
    if (kernel->prepare)
        cr_assert_eq(kernel->prepare(&c->desc, device, &prepared, &scratch, &err), TS_OK, "%s", err.text);
    place s = put(device, NULL, scratch, 0);
    ts_call call = {&c->desc, device, in, out, prepared, s.memory + GUARD};
    if (recorded && device->backend->record_begin) {
        cr_assert_eq(device->backend->record_begin(device, &err), TS_OK);
        kernel->run(&call);
        cr_assert_eq(device->backend->record_end(device, &recording, &err), TS_OK);
        device->backend->replay(device, recording);
        device->backend->record_free(device, recording);
    } else {
        kernel->run(&call);
    }
    cr_assert_eq(ts_device_check(device, &err), TS_OK, "%s: %s", c->label, err.text);
    free(take(device, &s, c->label));
    if (prepared && kernel->release)
        kernel->release(prepared);
}

/* As direct_run, with the operands made before. */
static direct_result run_with(const direct_case *c, void *const *host, const char *spec, int shift, int multiprocessors,
                              bool recorded)
{
    direct_result r = {0};
    ts_device *device;
    place in[TS_MAX_IN], out[TS_MAX_OUT];
    void *at[TS_MAX_IN + TS_MAX_OUT] = {0};
    char text[16];
    snprintf(text, sizeof text, "%d", multiprocessors);
    setenv("TESSERA_EMULATED_MULTIPROCESSORS", text, 1);
    direct_emulated();
    cr_assert_eq(ts_device_open(spec, 1, &device, &err), TS_OK, "%s", err.text);
    for (int k = 0; k < c->desc.in_count; k++) {
        in[k] = put(device, host[k], bytes_of(&c->desc.in[k]), (size_t)shift * ts_dtype_bytes(c->desc.in[k].dtype));
        at[k] = ts_type_present(&c->desc.in[k]) ? in[k].memory + in[k].before : NULL;
    }
    for (int k = 0; k < c->desc.out_count; k++) {
        out[k] = put(device, NULL, bytes_of(&c->desc.out[k]), (size_t)shift * ts_dtype_bytes(c->desc.out[k].dtype));
        at[TS_MAX_IN + k] = out[k].memory + out[k].before;
    }
    execute(c, device, at, at + TS_MAX_IN, recorded);
    for (int k = 0; k < c->desc.in_count; k++)
        r.in[k] = take(device, &in[k], c->label);
    for (int k = 0; k < c->desc.out_count; k++)
        r.out[k] = take(device, &out[k], c->label);
    ts_device_close(device);
    return r;
}

direct_result direct_run(const direct_case *c, const char *spec, int shift, int multiprocessors, bool recorded)
{
    void *host[TS_MAX_IN];
    for (int k = 0; k < c->desc.in_count; k++)
        host[k] = direct_operand(c, k);
    direct_result r = run_with(c, host, spec, shift, multiprocessors, recorded);
    for (int k = 0; k < c->desc.in_count; k++)
        free(host[k]);
    return r;
}

void direct_free(const direct_case *c, direct_result *r)
{
    for (int k = 0; k < c->desc.in_count; k++)
        free(r->in[k]);
    for (int k = 0; k < c->desc.out_count; k++)
        free(r->out[k]);
}

/* NaN where there is nothing, which is near to no number. */
static double element(ts_dtype dtype, const void *x, int64_t i)
{
    if (!x)
        return NAN;
    switch (dtype) {
    case TS_F32:
        return (double)((const float *)x)[i];
    case TS_BF16:
        return (double)ts_f32_from_bf16(((const uint16_t *)x)[i]);
    case TS_I32:
        return ((const int32_t *)x)[i];
    case TS_I64:
        return (double)((const int64_t *)x)[i];
    default:
        return ((const uint8_t *)x)[i];
    }
}

static void expect_near(const direct_case *c, const ts_type *t, const void *want, const void *got, const char *how)
{
    int64_t n = ts_type_present(t) ? ts_shape_count(t->shape) : 0;
    double largest = 1e-3;
    for (int64_t i = 0; i < n; i++) {
        double x = fabs(element(t->dtype, want, i));
        largest = isfinite(x) && x > largest ? x : largest;
    }
    for (int64_t i = 0; i < n; i++) {
        double x = element(t->dtype, want, i), y = element(t->dtype, got, i);
        bool same = x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= c->tolerance * largest;
        cr_assert(same, "%s, %s: element %ld is %.9g, not %.9g", c->label, how, (long)i, y, x);
    }
}

/* Every operand (a state op writes some) and result of b is near that of a, or has the same bits. */
static void compare(const direct_case *c, const direct_result *a, const direct_result *b, bool bits, const char *how)
{
    for (int k = 0; k < c->desc.in_count + c->desc.out_count; k++) {
        bool is_in = k < c->desc.in_count;
        int at = is_in ? k : k - c->desc.in_count;
        const ts_type *t = is_in ? &c->desc.in[at] : &c->desc.out[at];
        const void *x = is_in ? a->in[at] : a->out[at], *y = is_in ? b->in[at] : b->out[at];
        if (bits)
            cr_assert(memcmp(x, y, bytes_of(t)) == 0, "%s: %s has other bits", c->label, how);
        else
            expect_near(c, t, x, y, how);
    }
}

static void check(const direct_case *c)
{
    static const struct {
        const char *how;
        int shift, multiprocessors;
        bool recorded;
    } ways[] = {{"132 multiprocessors", 0, 132, false},   {"a second run", 0, 132, false},
                {"one multiprocessor", 0, 1, false},      {"a recording", 0, 2, true},
                {"operands one element on", 1, 3, false}, {"the same, more multiprocessors", 1, 108, false}};
    void *host[TS_MAX_IN];
    for (int k = 0; k < c->desc.in_count; k++)
        host[k] = direct_operand(c, k);
    direct_result want = run_with(c, host, "ref", 0, 1, false), first[2];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        int shift = ways[i].shift;
        if (i == 1 && direct_emulated())
            continue; /* the same turns would be taken again */
        bool is_first = i == 0 || shift != ways[i - 1].shift;
        direct_result got = run_with(c, host, "cuda", shift, ways[i].multiprocessors, ways[i].recorded);
        compare(c, &want, &got, false, ways[i].how);
        if (is_first) {
            first[shift] = got;
            continue;
        }
        compare(c, &first[shift], &got, true, ways[i].how);
        direct_free(c, &got);
    }
    for (int k = 0; k < c->desc.in_count; k++)
        free(host[k]);
    direct_free(c, &first[0]);
    direct_free(c, &first[1]);
    direct_free(c, &want);
}

void direct_check(const direct_case *cases, int count)
{
    for (int i = 0; i < count; i++)
        check(&cases[i]);
}
