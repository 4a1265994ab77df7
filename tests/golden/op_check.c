#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "autograd/program.h"
#include "autograd/reduce.h"
#include "autograd/shape.h"
#include "tests/golden/op_golden.h"
#include "tests/support/fusion.h"

ts_value op_input_or_absent(op_inputs *in, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "in/%s", name);
    for (int i = 0; i < in->count; i++)
        if (strcmp(in->input[i].name, name) == 0)
            return in->input[i].value;
    const ts_tensor *t = golden_find(in->c, path);
    if (!t)
        return TS_ABSENT;
    cr_assert_lt(in->count, TS_MAX_IN);
    int i = in->count++;
    in->input[i].name = name;
    in->input[i].host = in->channels_last ? golden_channels_last(in->c, t) : *t;
    in->input[i].gradient = TS_ABSENT;
    in->input[i].value = ts_input(in->graph, name, t->dtype, in->input[i].host.shape);
    return in->input[i].value;
}

ts_value op_input(op_inputs *in, const char *name)
{
    ts_value v = op_input_or_absent(in, name);
    if (ts_present(v))
        return v;
    golden_fail(in->c, "in/%s is missing", name);
    return ts_poison(in->graph);
}

/* Inputs with a grad/ are differentiated; the scalar is sum(y * r). */
static void differentiate(op_inputs *in, ts_value y)
{
    ts_value r = ts_reshape(op_input(in, "r0"), ts_value_shape(y)), wrt[TS_MAX_IN], gradient[TS_MAX_IN];
    int which[TS_MAX_IN], count = 0;
    for (int i = 0; i < in->count; i++) {
        char path[64];
        snprintf(path, sizeof path, "grad/%s", in->input[i].name);
        if (golden_find(in->c, path)) {
            which[count] = i;
            wrt[count++] = in->input[i].value;
        }
    }
    ts_differentiate(ts_sum_all(ts_mul(y, r)), count, wrt, gradient);
    for (int i = 0; i < count; i++) {
        in->input[which[i]].gradient = gradient[i];
        ts_output(gradient[i], "gradient");
        if (!ts_present(gradient[i]))
            golden_fail(in->c, "no gradient arrives at %s", in->input[which[i]].name);
    }
}

static void compare(op_inputs *in, ts_program *program, const char *path, ts_value v, double tolerance)
{
    ts_type type = ts_type_of(v);
    ts_tensor found = {type.dtype, type.shape, NULL}, expected = *golden_tensor(in->c, path);
    if (in->channels_last)
        expected = golden_channels_last(in->c, &expected);
    found.data = ts_alloc(ts_tensor_bytes(&found) + 1);
    ts_program_get(program, v, found.data);
    golden_compare(in->c, path, &found, &expected, tolerance > 0 ? tolerance : 5e-6, 0);
    ts_free(found.data);
}

static void run_and_compare(op_inputs *in, ts_program *program, ts_value y, double tolerance)
{
    ts_error err = {0};
    for (int i = 0; i < in->count; i++)
        ts_program_set(program, in->input[i].value, in->input[i].host.data);
    if (ts_program_run(program, &err) != TS_OK)
        golden_fail(in->c, "%s", err.text);
    compare(in, program, "out/0", y, tolerance);
    for (int i = 0; i < OP_MAX_EXTRA && in->extra[i].path; i++)
        compare(in, program, in->extra[i].path, in->extra[i].value, tolerance);
    for (int i = 0; i < in->count; i++) {
        char path[64];
        snprintf(path, sizeof path, "grad/%s", in->input[i].name);
        if (ts_present(in->input[i].gradient))
            compare(in, program, path, in->input[i].gradient, tolerance);
    }
}

void op_golden_check(golden_case *c, const op_golden *op, ts_device *device)
{
    ts_error err = {0};
    op_inputs in = {.c = c, .graph = ts_graph_new(TS_F32), .channels_last = op->channels_last};
    ts_workspace *workspace = ts_workspace_new(device);
    ts_program *program = NULL;
    ts_value y = op->build(&in);
    ts_output(y, "y");
    for (int i = 0; i < OP_MAX_EXTRA && in.extra[i].path; i++)
        ts_output(in.extra[i].value, in.extra[i].path);
    differentiate(&in, y);
    fuse_unless_told(in.graph);
    if (strcmp(golden_text_or(c, "loss", "sum(out*r)"), "sum(out*r)") != 0)
        golden_fail(c, "the loss %s is not understood", golden_text_or(c, "loss", ""));
    if (ts_graph_check(in.graph, &err) != TS_OK || !ts_present(y))
        golden_fail(c, "%s", err.text);
    else if (ts_program_new(in.graph, workspace, &program, &err) != TS_OK)
        golden_fail(c, "%s", err.text);
    else
        run_and_compare(&in, program, y, op->tolerance);
    ts_program_free(program);
    ts_workspace_free(workspace);
    ts_graph_free(in.graph);
}
