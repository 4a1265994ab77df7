#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "autograd/ops.h"
#include "autograd/program.h"
#include "autograd/store.h"
#include "tests/golden/op_golden.h"
#include "train/train_options.h"

static bool starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* One parameter p in a store, and a program that steps it. */
typedef struct {
    golden_case *c;
    ts_store *store;
    const ts_variable *p;
    ts_graph *graph;
    ts_workspace *workspace;
    ts_program *program;
    ts_value grad, lr, corrections;
} stepper;

static void stepper_open(stepper *s, golden_case *c, ts_device *device)
{
    ts_error err = {0};
    const ts_tensor *p = golden_tensor(c, "in/p");
    ts_variable variable = {.path = "p", .role = TS_ROLE_WEIGHT, .type = {TS_F32, p->shape}, .init = TS_ZEROS};
    *s = (stepper){.c = c, .store = ts_store_new(TS_F32), .graph = ts_graph_new(TS_F32)};
    cr_assert(ts_store_add(s->store, &variable, &err), "%s", err.text);
    cr_assert_eq(ts_store_seal(s->store, device, 0, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_store_need(s->store, TS_BLOCK_M, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_store_need(s->store, TS_BLOCK_V, &err), TS_OK, "%s", err.text);
    s->p = ts_store_find(s->store, "p");
    ts_store_set(s->store, s->p, TS_BLOCK_VALUE, p->data);
    s->workspace = ts_workspace_new(device);
    s->grad = ts_input(s->graph, "grad", TS_F32, p->shape);
    s->lr = ts_input(s->graph, "lr", TS_F32, ts_shape_of());
}

static ts_value place(stepper *s, int block)
{
    return ts_variable_value(s->graph, s->store, s->p, block);
}

static void stepper_close(stepper *s)
{
    ts_program_free(s->program);
    ts_workspace_free(s->workspace);
    ts_graph_free(s->graph);
    ts_store_free(s->store);
}

static void build_adam(stepper *s)
{
    const ts_h5_attribute *betas = golden_attribute(s->c, "betas");
    ts_adamw_opts opts = {.beta1 = betas->reals[0],
                          .beta2 = betas->reals[betas->count - 1],
                          .eps = golden_real(s->c, "eps"),
                          .weight_decay = golden_real(s->c, "weight_decay"),
                          .coupled = !starts(s->c->name, "optim_adamw")};
    s->corrections = ts_input(s->graph, "corrections", TS_F32, ts_shape_of(2));
    ts_adamw(&(ts_adamw_operands){.value = place(s, TS_BLOCK_VALUE),
                                  .m = place(s, TS_BLOCK_M),
                                  .v = place(s, TS_BLOCK_V),
                                  .grad = s->grad,
                                  .lr = s->lr,
                                  .corrections = s->corrections,
                                  .grad_scale = TS_ABSENT,
                                  .ok = TS_ABSENT},
             opts);
}

static void build_sgd(stepper *s)
{
    ts_sgd_opts opts = {.momentum = golden_real(s->c, "momentum"),
                        .weight_decay = golden_real(s->c, "weight_decay"),
                        .nesterov = strstr(s->c->name, "nesterov") != NULL};
    golden_attribute(s->c, "betas"); /* written for every optimizer */
    if (golden_real(s->c, "dampening") != 0)
        golden_fail(s->c, "dampening is not understood");
    ts_value buffer = opts.momentum != 0 ? place(s, TS_BLOCK_M) : TS_ABSENT;
    ts_sgd(place(s, TS_BLOCK_VALUE), buffer, s->grad, s->lr, TS_ABSENT, TS_ABSENT, opts);
}

static void set_corrections(stepper *s, int64_t t, const ts_h5_attribute *betas)
{
    double power[2] = {1, 1};
    for (int64_t i = 0; i < t; i++) {
        power[0] *= betas->reals[0];
        power[1] *= betas->reals[betas->count - 1];
    }
    ts_program_set(s->program, s->corrections, (float[]){(float)(1 - power[0]), (float)(1 - power[1])});
}

static void run_steps(stepper *s)
{
    ts_error err = {0};
    const ts_tensor *grads = golden_tensor(s->c, "in/grads"), *after = golden_tensor(s->c, "out/p");
    int64_t n = ts_shape_count(s->p->type.shape), steps = grads->shape.dim[0];
    if (ts_shape_count(grads->shape) != steps * n || ts_shape_count(after->shape) != steps * n || steps < 1) {
        golden_fail(s->c, "in/grads and out/p are not [steps, ..] of p");
        return;
    }
    float lr = (float)golden_real(s->c, "lr"), *found = ts_alloc((size_t)n * sizeof *found);
    ts_program_set(s->program, s->lr, &lr);
    for (int64_t t = 0; t < steps; t++) {
        ts_program_set(s->program, s->grad, (const float *)grads->data + t * n);
        if (ts_present(s->corrections))
            set_corrections(s, t + 1, golden_attribute(s->c, "betas"));
        cr_assert_eq(ts_program_run(s->program, &err), TS_OK, "%s", err.text);
        ts_store_get(s->store, s->p, TS_BLOCK_VALUE, found);
        char path[32];
        snprintf(path, sizeof path, "out/p, step %lld", (long long)t);
        golden_compare(s->c, path, &(ts_tensor){TS_F32, s->p->type.shape, found},
                       &(ts_tensor){TS_F32, s->p->type.shape, (float *)after->data + t * n}, 5e-6, 0);
    }
    ts_free(found);
}

static void optimizer(golden_case *c, ts_device *device, void (*build)(stepper *))
{
    stepper s;
    ts_error err = {0};
    stepper_open(&s, c, device);
    s.corrections = TS_ABSENT;
    build(&s);
    if (ts_graph_check(s.graph, &err) != TS_OK || ts_program_new(s.graph, s.workspace, &s.program, &err) != TS_OK)
        golden_fail(c, "%s", err.text);
    else
        run_steps(&s);
    stepper_close(&s);
}

/* The gradients in/g0, in/g1 .. of a case, and what becomes of them. */
typedef struct {
    int count;
    const ts_tensor *host[TS_MAX_IN];
    ts_value g[TS_MAX_IN], clipped[TS_MAX_IN], norm;
} gradients;

static const char *numbered(char text[16], const char *prefix, int i)
{
    snprintf(text, 16, "%s%d", prefix, i);
    return text;
}

/* g * min(1, max_norm / (norm + 1e-6)), norm that of all together */
static gradients build_clip(golden_case *c, ts_graph *graph)
{
    gradients r = {0};
    char name[16];
    ts_value flat[TS_MAX_IN];
    while (r.count < TS_MAX_IN && (r.host[r.count] = golden_find(c, numbered(name, "in/g", r.count)))) {
        r.g[r.count] = ts_input(graph, name, TS_F32, r.host[r.count]->shape);
        flat[r.count] = ts_reshape(r.g[r.count], ts_shape_of(-1));
        r.count++;
    }
    r.norm = ts_global_norm(ts_concat(flat, r.count, 0));
    ts_output(r.norm, "norm");
    ts_value limit = ts_scalar(graph, golden_real(c, "max_norm"));
    ts_value scale = ts_minimum(ts_scalar(graph, 1), ts_div(limit, ts_affine(r.norm, 1, 1e-6)));
    for (int i = 0; i < r.count; i++) {
        r.clipped[i] = ts_mul(r.g[i], scale);
        ts_output(r.clipped[i], "clipped");
    }
    return r;
}

static void compare_output(golden_case *c, ts_program *program, ts_value v, const char *path)
{
    ts_tensor found = {TS_F32, ts_value_shape(v), NULL};
    found.data = ts_alloc(ts_tensor_bytes(&found));
    ts_program_get(program, v, found.data);
    golden_compare(c, path, &found, golden_tensor(c, path), 5e-6, 0);
    ts_free(found.data);
}

static void clip(golden_case *c, ts_device *device)
{
    ts_error err = {0};
    ts_graph *graph = ts_graph_new(TS_F32);
    ts_workspace *workspace = ts_workspace_new(device);
    ts_program *program = NULL;
    gradients r = build_clip(c, graph);
    char name[16];
    if (ts_graph_check(graph, &err) != TS_OK || ts_program_new(graph, workspace, &program, &err) != TS_OK) {
        golden_fail(c, "%s", err.text);
    } else {
        for (int i = 0; i < r.count; i++)
            ts_program_set(program, r.g[i], r.host[i]->data);
        cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
        compare_output(c, program, r.norm, "out/total_norm");
        for (int i = 0; i < r.count; i++)
            compare_output(c, program, r.clipped[i], numbered(name, "out/g", i));
    }
    ts_program_free(program);
    ts_workspace_free(workspace);
    ts_graph_free(graph);
}

/* The rate before each step, milestones counted in steps. */
static void multistep(golden_case *c)
{
    const ts_h5_attribute *milestones = golden_attribute(c, "milestones");
    const ts_tensor *expected = golden_tensor(c, "out/lr");
    ts_train_options options = {
        .schedule = TS_SCHEDULE_MULTISTEP, .lr = golden_real(c, "lr"), .gamma = golden_real(c, "gamma")};
    if (!milestones->ints || milestones->count > TS_MAX_INTS) {
        golden_fail(c, "milestones are no integers, or too many");
        return;
    }
    options.milestones.count = (int)milestones->count;
    memcpy(options.milestones.value, milestones->ints, (size_t)milestones->count * sizeof(int64_t));
    ts_tensor found = {TS_F32, expected->shape, ts_alloc(ts_tensor_bytes(expected) + 1)};
    for (int64_t i = 0; i < ts_shape_count(found.shape); i++)
        ((float *)found.data)[i] = (float)ts_schedule_at(&options, i).lr;
    golden_compare(c, "out/lr", &found, expected, 5e-6, 0);
    ts_free(found.data);
}

bool op_golden_special(golden_case *c, ts_device *device)
{
    if (starts(c->name, "optim_adam"))
        optimizer(c, device, build_adam);
    else if (starts(c->name, "optim_sgd"))
        optimizer(c, device, build_sgd);
    else if (starts(c->name, "clip_grad_norm"))
        clip(c, device);
    else if (starts(c->name, "multistep_lr"))
        multistep(c);
    else
        return false;
    return true;
}
