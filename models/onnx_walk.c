#include "models/onnx_walk_internal.h"

#include <stdio.h>
#include <string.h>

#include "core/files/layout.h"

static const char *out_of_memory(ts_onnx_walk *w)
{
    if (w->status == TS_OK)
        w->status = ts_out_of_memory(w->err, 0);
    return "";
}

void ts_onnx_refuse(ts_onnx_walk *w, const char *format, ...)
{
    char text[512];
    va_list arguments;
    if (w->status != TS_OK)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    w->status = w->node ? ts_fail(w->err, TS_ERR_USAGE, "%s: %s: %s", w->node->path, ts_ops[w->node->op].name, text)
                        : ts_fail(w->err, TS_ERR_USAGE, "%s: %s", w->input, text);
}

ts_shape ts_onnx_shape(const ts_onnx_walk *w, int32_t value)
{
    return w->graph[0]->values[value].type.shape;
}

/* ---- making ---- */

const char *ts_onnx_emit(ts_onnx_walk *w, const char *op, const char *const *operands)
{
    size_t count = 0;
    if (w->status != TS_OK)
        return "";
    while (operands[count])
        count++;
    ts_onnx_node *n = ts_onnx_add_node(w->model);
    ts_arena *arena = &w->model->arena;
    const char *path = w->node && *w->node->path ? w->node->path : "tessera";
    char *name = ts_arena_format(arena, "%s/%s_%d", path, op, ++w->made);
    const char **in = ts_arena_alloc(arena, count * sizeof *in + 1), **out = ts_arena_alloc(arena, sizeof *out);
    if (!n || !name || !in || !out)
        return out_of_memory(w);
    memcpy((void *)in, operands, count * sizeof *in);
    *out = name;
    *n = (ts_onnx_node){
        .op = op, .domain = "", .name = name, .input = in, .input_count = count, .output = out, .output_count = 1};
    return name;
}

static ts_onnx_attribute *attribute(ts_onnx_walk *w, const char *name, ts_onnx_attribute_kind kind)
{
    ts_onnx_attribute *a =
        w->status == TS_OK ? ts_onnx_add_attribute(w->model, &w->model->node[w->model->node_count - 1]) : NULL;
    if (!a) {
        out_of_memory(w);
        return NULL;
    }
    a->name = name;
    a->kind = kind;
    return a;
}

void ts_onnx_set_int(ts_onnx_walk *w, const char *name, int64_t value)
{
    ts_onnx_attribute *a = attribute(w, name, TS_ONNX_INT);
    if (a)
        a->i = value;
}

void ts_onnx_set_real(ts_onnx_walk *w, const char *name, double value)
{
    ts_onnx_attribute *a = attribute(w, name, TS_ONNX_FLOAT);
    if (a)
        a->f = (float)value;
}

void ts_onnx_set_text(ts_onnx_walk *w, const char *name, const char *text)
{
    ts_onnx_attribute *a = attribute(w, name, TS_ONNX_TEXT);
    if (a)
        a->text = text;
}

void ts_onnx_set_ints(ts_onnx_walk *w, const char *name, const int64_t *value, size_t count)
{
    int64_t *copy = ts_arena_alloc(&w->model->arena, count * sizeof *copy + 1);
    ts_onnx_attribute *a = copy ? attribute(w, name, TS_ONNX_INTS) : NULL;
    if (!a) {
        out_of_memory(w);
        return;
    }
    memcpy(copy, value, count * sizeof *copy);
    a->ints = copy;
    a->count = count;
}

/* ---- constants ---- */

static bool is_taken(const ts_onnx_walk *w, const char *name)
{
    for (size_t i = 0; i < w->model->initializer_count; i++)
        if (strcmp(w->model->initializer[i].name, name) == 0)
            return true;
    return false;
}

/* A tensor of the model with room for its values, under this name or one that begins so. NULL: out of memory. */
static void *add_tensor(ts_onnx_walk *w, const char *name, int dtype, int width, ts_shape shape, const char **called)
{
    ts_arena *arena = &w->model->arena;
    size_t bytes = (size_t)ts_shape_count(shape) * (size_t)width;
    void *data = ts_arena_alloc(arena, bytes + 1);
    const char *own = ts_arena_strdup(arena, name);
    for (int i = 2; own && is_taken(w, own); i++)
        own = ts_arena_format(arena, "%s_%d", name, i);
    ts_onnx_tensor *t = data && own ? ts_onnx_add_initializer(w->model) : NULL;
    *called = t ? own : out_of_memory(w);
    if (t)
        *t = (ts_onnx_tensor){.name = own, .dtype = dtype, .shape = shape, .data = data, .bytes = bytes};
    return t ? data : NULL;
}

static const char *constant(ts_onnx_walk *w, int dtype, int width, ts_shape shape, const void *value)
{
    char name[32];
    const char *called = "";
    if (w->status != TS_OK)
        return called;
    snprintf(name, sizeof name, "constant_%d", ++w->made);
    void *data = add_tensor(w, name, dtype, width, shape, &called);
    if (data)
        memcpy(data, value, (size_t)ts_shape_count(shape) * (size_t)width);
    return called;
}

const char *ts_onnx_real(ts_onnx_walk *w, double value)
{
    return constant(w, TS_ONNX_F32, 4, ts_shape_of(), &(float){(float)value});
}

const char *ts_onnx_reals(ts_onnx_walk *w, const float *value, int64_t count)
{
    return constant(w, TS_ONNX_F32, 4, ts_shape_of(count), value);
}

const char *ts_onnx_id(ts_onnx_walk *w, int32_t value)
{
    return constant(w, TS_ONNX_I32, 4, ts_shape_of(), &value);
}

const char *ts_onnx_ids(ts_onnx_walk *w, const int32_t *value, int64_t count)
{
    return constant(w, TS_ONNX_I32, 4, ts_shape_of(count), value);
}

const char *ts_onnx_longs(ts_onnx_walk *w, const int64_t *value, int64_t count)
{
    return constant(w, TS_ONNX_I64, 8, ts_shape_of(count), value);
}

const char *ts_onnx_long(ts_onnx_walk *w, int64_t value)
{
    return ts_onnx_longs(w, &value, 1);
}

const char *ts_onnx_number(ts_onnx_walk *w, int64_t value)
{
    return constant(w, TS_ONNX_I64, 8, ts_shape_of(), &value);
}

const char *ts_onnx_cast(ts_onnx_walk *w, const char *x, int dtype)
{
    const char *y = SAY(w, "Cast", x);
    ts_onnx_set_int(w, "to", dtype);
    return y;
}

/* ---- names ---- */

static int dtype_of(ts_onnx_walk *w, ts_dtype dtype)
{
    switch (dtype) {
    case TS_F32:
        return TS_ONNX_F32;
    case TS_I32:
        return TS_ONNX_I32;
    case TS_I64:
        return TS_ONNX_I64;
    default:
        ts_onnx_refuse(w, "a %s has no place in an exported model", ts_dtype_name(dtype));
        return 0;
    }
}

/* A weight or a constant under the value's shape, in a form. */
static const char *tensor_of_leaf(ts_onnx_walk *w, int32_t value, ts_onnx_form form)
{
    const ts_value_info *leaf = &w->graph[0]->values[w->name[value].leaf];
    ts_shape ours = ts_onnx_shape(w, value), shape = form == TS_FIRST ? ts_layout_torch_shape(ours) : ours;
    ts_tensor whole = {leaf->type.dtype, leaf->type.shape, NULL};
    const char *called = "";
    int dtype = dtype_of(w, leaf->type.dtype);
    if (w->status != TS_OK)
        return called;
    const char *name = leaf->kind == TS_KIND_PLACE && leaf->variable ? leaf->variable->path : "constant";
    void *data = add_tensor(w, name, dtype, (int)ts_dtype_bytes(leaf->type.dtype), shape, &called);
    void *own = data && form == TS_FIRST ? ts_alloc(ts_tensor_bytes(&whole) + 1) : data;
    if (!own)
        return out_of_memory(w);
    if (leaf->kind == TS_KIND_PLACE)
        ts_store_get(w->store, leaf->variable, leaf->block, own);
    else
        memcpy(own, leaf->constant, ts_tensor_bytes(&whole));
    if (own != data) {
        ts_layout_to_torch(leaf->type.dtype, ours, own, data);
        ts_free(own);
    }
    return called;
}

/* [0, 2.., 1] or back, of so many axes */
static const char *transpose(ts_onnx_walk *w, const char *x, int rank, ts_onnx_form to)
{
    int64_t order[TS_MAX_RANK] = {0};
    for (int i = 1; i < rank; i++)
        order[i] = to == TS_FIRST ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1);
    const char *y = SAY(w, "Transpose", x);
    ts_onnx_set_ints(w, "perm", order, (size_t)rank);
    return y;
}

const char *ts_onnx_called(ts_onnx_walk *w, int32_t value, ts_onnx_form form)
{
    ts_onnx_name *n = &w->name[value];
    int rank = ts_onnx_shape(w, value).rank;
    if (w->status != TS_OK)
        return "";
    if (n->leaf >= 0 && n->leaf != value && ts_shape_equal(ts_onnx_shape(w, n->leaf), ts_onnx_shape(w, value)))
        return ts_onnx_called(w, n->leaf, form);
    if (form == TS_FIRST && rank < 3) /* no channels apart from rows: both forms are one */
        form = TS_LAST;
    if (!n->form[form] && n->leaf >= 0)
        n->form[form] = tensor_of_leaf(w, value, form);
    if (!n->form[form] && TS_ASSERT(n->form[!form]))
        n->form[form] = transpose(w, n->form[!form], rank, form);
    return n->form[form] ? n->form[form] : "";
}

const char *ts_onnx_operand(ts_onnx_walk *w, int i, ts_onnx_form form)
{
    return ts_onnx_called(w, w->node->in[i], form);
}

ts_onnx_form ts_onnx_form_of(const ts_onnx_walk *w, int i)
{
    const ts_onnx_name *n = &w->name[w->node->in[i]];
    return n->form[TS_FIRST] && !n->form[TS_LAST] ? TS_FIRST : TS_LAST;
}

void ts_onnx_give(ts_onnx_walk *w, ts_onnx_form form, const char *name)
{
    w->name[w->node->out[0]].form[form] = name;
}

/* ---- sizes ---- */

static int64_t divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a ? a : 1;
}

ts_onnx_size ts_onnx_size_of(const ts_onnx_walk *w, int32_t value, int axis)
{
    ts_onnx_size s = {.known = true};
    int last = w->axes + 1;
    int64_t first = ts_onnx_dim_in(w, 0, value, axis), product = 1, other = 1;
    for (int i = 0; i < w->axes; i++) {
        int64_t d = ts_onnx_dim_in(w, i + 1, value, axis);
        if (d == first)
            continue;
        s.known = s.known && d * w->size[0][i] == first * w->size[i + 1][i];
        s.axes |= 1u << i;
        product *= w->size[0][i];
        other *= w->size[last][i];
    }
    int64_t common = divisor(first, product);
    s.p = first / common;
    s.q = product / common;
    s.known = s.known && ts_onnx_dim_in(w, last, value, axis) * s.q == s.p * other;
    return s;
}

bool ts_onnx_same_size(const ts_onnx_walk *w, int32_t a, int axis, int32_t b, int other)
{
    for (int i = 0; i < w->axes + 2; i++)
        if (ts_onnx_dim_in(w, i, a, axis) != ts_onnx_dim_in(w, i, b, other))
            return false;
    return true;
}

static const char *axis_size(ts_onnx_walk *w, int i)
{
    if (!w->axis[i]) {
        w->axis[i] = SAY(w, "Shape", w->input);
        ts_onnx_set_int(w, "start", w->place[i]);
        ts_onnx_set_int(w, "end", w->place[i] + 1);
    }
    return w->axis[i];
}

const char *ts_onnx_dim_of(ts_onnx_walk *w, int32_t value, int axis)
{
    ts_onnx_size s = ts_onnx_size_of(w, value, axis);
    const char *name = NULL;
    if (!s.known) {
        ts_onnx_refuse(w, "axis %d of %s is no fixed multiple of the input's sizes", axis,
                       ts_shape_print(ts_onnx_shape(w, value)).text);
        return "";
    }
    for (int i = 0; i < w->axes; i++)
        if (s.axes & 1u << i)
            name = name ? SAY(w, "Mul", name, axis_size(w, i)) : axis_size(w, i);
    if (!name)
        return ts_onnx_long(w, s.p);
    if (s.p != 1)
        name = SAY(w, "Mul", name, ts_onnx_long(w, s.p));
    return s.q != 1 ? SAY(w, "Div", name, ts_onnx_long(w, s.q)) : name;
}

const char *ts_onnx_join(ts_onnx_walk *w, const char *const *part, int count)
{
    const char *list[TS_MAX_RANK + 1] = {0};
    memcpy((void *)list, part, (size_t)count * sizeof *list);
    if (count == 1)
        return list[0];
    const char *all = ts_onnx_emit(w, "Concat", list);
    ts_onnx_set_int(w, "axis", 0);
    return all;
}

int64_t ts_onnx_constant(ts_onnx_walk *w, int64_t (*f)(const ts_onnx_walk *w, int build, int i), int i,
                         const char *what)
{
    int64_t first = f(w, 0, i);
    for (int build = 1; build < w->axes + 2; build++)
        if (f(w, build, i) != first)
            ts_onnx_refuse(w, "its %s depends on the size of the input, %lld and %lld", what, (long long)first,
                           (long long)f(w, build, i));
    return first;
}
