#include "autograd/optim.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/program.h"
#include "core/random.h"
#include "tests/support/build_error.h"
#include "tests/support/op_check.h"
#include "tests/support/thread_check.h"

static ts_value global_norm(const ts_value *in)
{
    return ts_global_norm(in[0]);
}

TS_CASES(global_norm) = {
    TS_CASE("plain", global_norm, TS_NORMAL(7, 5)),
    TS_CASE("one", global_norm, TS_NORMAL(1)),
    TS_CASE("nothing", global_norm, TS_NORMAL(0)),
    TS_CASE("several chunks", global_norm, TS_NORMAL(70001)),
    {0},
};

#undef TS_NORMAL /* from here on it is an initial value of the store's */
#include "autograd/store.h"

TS_TESTED_IN(adamw, "autograd_optim/adamw");
TS_TESTED_IN(sgd, "autograd_optim/sgd");
TS_TESTED_IN(ema, "autograd_optim/ema");
TS_TESTED_IN(assign, "autograd_optim/assign");
TS_TESTED_IN(assign_add, "autograd_optim/assign");

/* A store with a program over it. */
typedef struct {
    ts_graph *graph;
    ts_store *store;
    ts_device *device;
    ts_workspace *workspace;
    ts_program *program;
} rig;

static ts_error err;

static rig open_rig(const char *device)
{
    rig r = {.graph = ts_graph_new(TS_F32), .store = ts_store_new(TS_F32)};
    cr_assert_eq(ts_device_open(device, 2, &r.device, &err), TS_OK, "%s", err.text);
    r.workspace = ts_workspace_new(r.device);
    return r;
}

static void start(rig *r)
{
    cr_assert_eq(ts_graph_check(r->graph, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_store_seal(r->store, r->device, 5, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_program_new(r->graph, r->workspace, &r->program, &err), TS_OK, "%s", err.text);
}

static void run(rig *r)
{
    cr_assert_eq(ts_program_run(r->program, &err), TS_OK, "%s", err.text);
}

static void close_rig(rig *r)
{
    ts_program_free(r->program);
    ts_workspace_free(r->workspace);
    ts_store_free(r->store);
    ts_graph_free(r->graph);
    ts_device_close(r->device);
}

static ts_value state_of(const rig *r, const char *name, ts_dtype dtype, int64_t n, ts_init init)
{
    ts_variable wanted = {.path = name, .role = TS_ROLE_STATE, .type = {dtype, ts_shape_of(n)}, .init = init};
    const ts_variable *v = ts_store_add(r->store, &wanted, &err);
    cr_assert(v, "%s", err.text);
    return ts_variable_value(r->graph, r->store, v, TS_BLOCK_STATE);
}

static ts_value state(const rig *r, const char *name, int64_t n, ts_init init)
{
    return state_of(r, name, TS_F32, n, init);
}

static float *read(const rig *r, const char *path, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    ts_store_get(r->store, ts_store_find(r->store, path), TS_BLOCK_STATE, x);
    return x;
}

static void set_scalar(rig *r, ts_value v, float x)
{
    ts_program_set(r->program, v, &x);
}

static void draw_gradient(float *g, int64_t n, uint64_t step)
{
    for (int64_t i = 0; i < n; i++)
        g[i] = ts_random_normal((ts_random_key){3, 4}, step, (uint64_t)i);
}

/* ---- optimizers, against torch's formulas in double ---- */

typedef struct {
    rig rig;
    int64_t n;
    ts_value grad, lr, corrections, scale, ok;
    float *g;
    double *p, *m, *v; /* what the store should hold */
} optimizer;

static void open_optimizer(optimizer *o, const char *device, int64_t n)
{
    *o = (optimizer){.rig = open_rig(device), .n = n, .g = malloc((size_t)n * sizeof(float))};
    ts_graph *g = o->rig.graph;
    o->grad = ts_input(g, "grad", TS_F32, ts_shape_of(n));
    o->lr = ts_input(g, "lr", TS_F32, ts_shape_of());
    o->corrections = ts_input(g, "corrections", TS_F32, ts_shape_of(2));
    o->scale = ts_input(g, "scale", TS_F32, ts_shape_of());
    o->ok = ts_input(g, "ok", TS_F32, ts_shape_of());
    o->p = calloc((size_t)n, sizeof(double));
    o->m = calloc((size_t)n, sizeof(double));
    o->v = calloc((size_t)n, sizeof(double));
}

static void start_optimizer(optimizer *o)
{
    start(&o->rig);
    float *p = read(&o->rig, "p", o->n);
    for (int64_t i = 0; i < o->n; i++)
        o->p[i] = (double)p[i];
    free(p);
}

static void close_optimizer(optimizer *o)
{
    free(o->g), free(o->p), free(o->m), free(o->v);
    close_rig(&o->rig);
}

static void step(optimizer *o, uint64_t t, float lr, float scale, float ok, double beta1, double beta2)
{
    draw_gradient(o->g, o->n, t);
    ts_program_set(o->rig.program, o->grad, o->g);
    set_scalar(&o->rig, o->lr, lr);
    set_scalar(&o->rig, o->scale, scale);
    set_scalar(&o->rig, o->ok, ok);
    float corrections[] = {(float)(1 - pow(beta1, (double)t)), (float)(1 - pow(beta2, (double)t))};
    ts_program_set(o->rig.program, o->corrections, corrections);
    run(&o->rig);
}

static void expect_values(const optimizer *o, const char *path, const double *want, double tolerance)
{
    float *x = read(&o->rig, path, o->n);
    for (int64_t i = 0; i < o->n; i++)
        cr_assert_float_eq(x[i], want[i], tolerance * (1 + fabs(want[i])), "%s[%ld] is %g, not %g", path, (long)i, x[i],
                           want[i]);
    free(x);
}

static void torch_adam(optimizer *o, ts_adamw_opts a, double t, double lr, double scale)
{
    for (int64_t i = 0; i < o->n; i++) {
        double g = o->g[i] * scale;
        if (a.coupled)
            g += a.weight_decay * o->p[i];
        else
            o->p[i] -= lr * a.weight_decay * o->p[i];
        o->m[i] += (g - o->m[i]) * (1 - a.beta1);
        o->v[i] = o->v[i] * a.beta2 + (1 - a.beta2) * g * g;
        double denominator = sqrt(o->v[i]) / sqrt(1 - pow(a.beta2, t)) + a.eps;
        o->p[i] -= lr / (1 - pow(a.beta1, t)) * o->m[i] / denominator;
    }
}

static void check_adamw(const char *device, int64_t n, bool coupled)
{
    ts_adamw_opts opts = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .coupled = coupled};
    optimizer o;
    open_optimizer(&o, device, n);
    ts_adamw(&(ts_adamw_operands){.value = state(&o.rig, "p", n, TS_NORMAL(0, 1)),
                                  .m = state(&o.rig, "m", n, TS_ZEROS),
                                  .v = state(&o.rig, "v", n, TS_ZEROS),
                                  .grad = o.grad,
                                  .lr = o.lr,
                                  .corrections = o.corrections,
                                  .grad_scale = o.scale,
                                  .ok = o.ok},
             opts);
    start_optimizer(&o);
    for (uint64_t t = 1; t <= 5; t++) {
        float lr = 0.01f * (float)t, scale = t == 3 ? 0.25f : 1;
        step(&o, t, lr, scale, t == 4 ? 0 : 1, 0.9, 0.99);
        if (t != 4)
            torch_adam(&o, opts, (double)t, (double)lr, (double)scale);
        expect_values(&o, "p", o.p, 2e-6);
        expect_values(&o, "m", o.m, 1e-6);
        expect_values(&o, "v", o.v, 1e-6);
    }
    close_optimizer(&o);
}

Test(autograd_optim, adamw)
{
    static const int64_t size[] = {1, 17, 4099, 70001};
    for (int i = 0; i < 4; i++) {
        check_adamw("cpu", size[i], false);
        check_adamw("cpu", size[i], true);
    }
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    check_adamw("cuda", 4099, false);
    check_adamw("cuda", 17, true);
    check_adamw("ref", 17, false);
    check_adamw("ref", 17, true);
}

static void torch_sgd(optimizer *o, ts_sgd_opts s, double lr, bool first)
{
    for (int64_t i = 0; i < o->n; i++) {
        double g = o->g[i] + s.weight_decay * o->p[i];
        if (s.momentum != 0) {
            o->m[i] = first ? g : s.momentum * o->m[i] + g;
            g = s.nesterov ? g + s.momentum * o->m[i] : o->m[i];
        }
        o->p[i] -= lr * g;
    }
}

static void check_sgd(const char *device, ts_sgd_opts opts)
{
    optimizer o;
    int64_t n = 23;
    open_optimizer(&o, device, n);
    ts_value p = state(&o.rig, "p", n, TS_NORMAL(0, 1));
    ts_value buffer = opts.momentum != 0 ? state(&o.rig, "m", n, TS_ZEROS) : TS_ABSENT;
    ts_sgd(p, buffer, o.grad, o.lr, TS_ABSENT, o.ok, opts);
    ts_output(o.corrections, "unused"); /* inputs that `step` sets must be planned */
    ts_output(o.scale, "unused too");
    start_optimizer(&o);
    for (uint64_t t = 1; t <= 4; t++) {
        step(&o, t, 0.1f, 1, t == 2 ? NAN : 1, 0, 0);
        if (t != 2)
            torch_sgd(&o, opts, (double)0.1f, t == 1);
        expect_values(&o, "p", o.p, 1e-6);
    }
    close_optimizer(&o);
}

Test(autograd_optim, sgd)
{
    check_sgd("ref", (ts_sgd_opts){.momentum = 0});
    check_sgd("ref", (ts_sgd_opts){.momentum = 0.9, .weight_decay = 0.1});
    check_sgd("cpu", (ts_sgd_opts){.momentum = 0.9, .weight_decay = 0.1, .nesterov = true});
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    check_sgd("cuda", (ts_sgd_opts){.momentum = 0});
    check_sgd("cuda", (ts_sgd_opts){.momentum = 0.9, .weight_decay = 0.1, .nesterov = true});
}

Test(autograd_optim, norm_is_the_same_on_any_number_of_threads)
{
    expect_thread_independent(&ts_cases_global_norm[3]);
}

/* ---- averages and assignment ---- */

static void check_ema(const char *device, int64_t n)
{
    rig r = open_rig(device);
    ts_value x = ts_input(r.graph, "x", TS_F32, ts_shape_of(n)), ok = ts_input(r.graph, "ok", TS_F32, ts_shape_of());
    ts_ema(state(&r, "e", n, TS_ONES), x, ok, 0.75);
    start(&r);
    float *data = malloc((size_t)n * sizeof *data);
    draw_gradient(data, n, 0);
    ts_program_set(r.program, x, data);
    for (int i = 0; i < 2; i++) {
        set_scalar(&r, ok, i ? 0 : 1);
        run(&r);
        float *e = read(&r, "e", n);
        for (int64_t k = 0; k < n; k++)
            cr_assert_float_eq(e[k], 0.75f + 0.25f * data[k], 1e-6);
        free(e);
    }
    free(data);
    close_rig(&r);
}

Test(autograd_optim, ema)
{
    check_ema("ref", 5);
    check_ema("cpu", 1);
    check_ema("cpu", 50003);
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    check_ema("cuda", 5003);
}

static void check_assign(const char *device)
{
    enum { N = 9 };
    rig r = open_rig(device);
    ts_value count = state_of(&r, "count", TS_I64, N, TS_ZEROS);
    ts_value ids = state_of(&r, "ids", TS_I32, N, TS_ZEROS), sum = state(&r, "sum", N, TS_ONES);
    ts_value x64 = ts_input(r.graph, "x64", TS_I64, ts_shape_of(N)),
             x32 = ts_input(r.graph, "x32", TS_I32, ts_shape_of(N));
    ts_value x = ts_input(r.graph, "x", TS_F32, ts_shape_of(N)), ok = ts_input(r.graph, "ok", TS_F32, ts_shape_of());
    ts_assign_add(count, x64, ok);
    ts_assign_add(ids, x32, TS_ABSENT);
    ts_assign_add(sum, x, ok);
    ts_assign(state(&r, "copy", N, TS_ZEROS), sum, ok); /* after the one above: reads the new sum */
    start(&r);
    int64_t a[N], got[N];
    int32_t b[N], got32[N];
    float c[N];
    for (int i = 0; i < N; i++)
        a[i] = (int64_t)(b[i] = (int32_t)(c[i] = (float)i)) << 40;
    ts_program_set(r.program, x64, a);
    ts_program_set(r.program, x32, b);
    ts_program_set(r.program, x, c);
    for (int t = 0; t < 2; t++) {
        set_scalar(&r, ok, t ? 0 : 1);
        run(&r);
    }
    ts_store_get(r.store, ts_store_find(r.store, "count"), TS_BLOCK_STATE, got);
    ts_store_get(r.store, ts_store_find(r.store, "ids"), TS_BLOCK_STATE, got32);
    float *copy = read(&r, "copy", N);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(got[i], a[i]);
        cr_assert_eq(got32[i], 2 * i);
        cr_assert_eq(copy[i], 1 + (float)i);
    }
    free(copy);
    close_rig(&r);
}

Test(autograd_optim, assign)
{
    check_assign("cpu");
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    check_assign("cuda");
}

/* ---- errors ---- */

static void expect_error(rig *r, const char *text)
{
    cr_assert_eq(ts_graph_check(r->graph, &err), TS_ERR_USAGE, "no error with: %s", text);
    cr_assert(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
    close_rig(r);
}

Test(autograd_optim, what_cannot_be_written_is_named)
{
    rig r = open_rig("ref");
    ts_assign(ts_input(r.graph, "x", TS_F32, ts_shape_of(3)), ts_input(r.graph, "y", TS_F32, ts_shape_of(3)),
              TS_ABSENT);
    expect_error(&r, "assign: operand 0, [3], is no variable of a store");
    r = open_rig("ref");
    ts_ema(state(&r, "e", 3, TS_ZEROS), ts_input(r.graph, "y", TS_F32, ts_shape_of(4)), TS_ABSENT, 0.5);
    expect_error(&r, "ema: operand 1 is f32 [4], the variable f32 [3]");
    r = open_rig("ref");
    ts_assign_add(state_of(&r, "e", TS_U8, 3, TS_ZEROS), ts_input(r.graph, "y", TS_U8, ts_shape_of(3)), TS_ABSENT);
    expect_error(&r, "assign_add: the variable is u8 [3]; expected f32, i32 or i64");
    r = open_rig("ref");
    ts_sgd(state(&r, "p", 3, TS_ZEROS), TS_ABSENT, ts_input(r.graph, "g", TS_F32, ts_shape_of(3)),
           ts_scalar(r.graph, 0.1), TS_ABSENT, TS_ABSENT, (ts_sgd_opts){.momentum = 0.9});
    expect_error(&r, "sgd: operand 1 is missing");
    r = open_rig("ref");
    ts_sgd(state(&r, "p", 3, TS_ZEROS), TS_ABSENT, ts_input(r.graph, "g", TS_F32, ts_shape_of(3)),
           ts_input(r.graph, "lr", TS_F32, ts_shape_of(1)), TS_ABSENT, TS_ABSENT, (ts_sgd_opts){0});
    expect_error(&r, "sgd: operand 3 is f32 [1]; expected f32 []");
    EXPECT_BUILD_ERROR(global_norm, "global_norm", "i32 [3]", I32(3));
}
