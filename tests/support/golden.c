#include "tests/support/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void golden_file_open(golden_file *f, const char *path)
{
    ts_error err = {0};
    *f = (golden_file){0};
    cr_assert_eq(ts_h5_open(&f->file, path, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_list(f->file, "/", &f->arena, &f->cases, &err), TS_OK, "%s", err.text);
}

void golden_file_close(golden_file *f)
{
    ts_h5_close(f->file);
    ts_arena_clear(&f->arena);
}

void golden_fail(golden_case *c, const char *format, ...)
{
    if (c->failure[0])
        return;
    int used = snprintf(c->failure, sizeof c->failure, "%s: ", c->name);
    va_list args;
    va_start(args, format);
    vsnprintf(c->failure + used, sizeof c->failure - (size_t)used, format, args);
    va_end(args);
}

void golden_case_open(golden_case *c, golden_file *f, int64_t i)
{
    const ts_h5_entry *group = &f->cases.entry[i];
    memset(c, 0, sizeof *c);
    c->name = group->name;
    c->file = f->file;
    ts_error err = {0};
    ts_h5_entries all;
    if (group->kind != TS_H5_GROUP || ts_h5_walk(f->file, group->path, &c->arena, &all, &err) != TS_OK ||
        ts_h5_read_attributes(f->file, group->path, &c->arena, &c->attributes, &err) != TS_OK) {
        golden_fail(c, "is no readable group. %s", err.text);
        return;
    }
    cr_assert_leq(c->attributes.count, (int64_t)(sizeof c->attribute_used));
    for (int64_t k = 0; k < all.count; k++) {
        if (all.entry[k].kind == TS_H5_GROUP)
            continue;
        cr_assert_lt(c->count, GOLDEN_MAX_TENSORS);
        c->tensor[c->count].path = all.entry[k].path + strlen(group->path) + 1;
        if (ts_h5_read(f->file, all.entry[k].path, &c->arena, &c->tensor[c->count].tensor, &err) != TS_OK)
            golden_fail(c, "%s", err.text);
        c->count++;
    }
}

static bool is_remark(const char *name)
{
    const char *remarks[] = {"loss", "note", "min_gap", "rounding_margin", "sign_margin"};
    for (size_t i = 0; i < sizeof remarks / sizeof *remarks; i++)
        if (strcmp(name, remarks[i]) == 0)
            return true;
    return false;
}

bool golden_case_close(golden_case *c)
{
    for (int i = 0; i < c->count; i++)
        if (!c->tensor[i].used)
            golden_fail(c, "%s is not understood", c->tensor[i].path);
    for (int64_t i = 0; i < c->attributes.count; i++)
        if (!c->attribute_used[i] && !is_remark(c->attributes.attribute[i].name))
            golden_fail(c, "attribute %s is not understood", c->attributes.attribute[i].name);
    ts_arena_clear(&c->arena);
    return !c->failure[0];
}

const ts_tensor *golden_find(golden_case *c, const char *path)
{
    for (int i = 0; i < c->count; i++)
        if (strcmp(c->tensor[i].path, path) == 0) {
            c->tensor[i].used = true;
            return &c->tensor[i].tensor;
        }
    return NULL;
}

const ts_tensor *golden_tensor(golden_case *c, const char *path)
{
    static float zero;
    static const ts_tensor nothing = {TS_F32, {0, {0}}, &zero};
    const ts_tensor *t = golden_find(c, path);
    if (!t)
        golden_fail(c, "%s is missing", path);
    return t ? t : &nothing;
}

static const ts_h5_attribute *find_attribute(golden_case *c, const char *name)
{
    const ts_h5_attribute *a = ts_h5_attribute_find(&c->attributes, name);
    if (a)
        c->attribute_used[a - c->attributes.attribute] = true;
    return a;
}

const ts_h5_attribute *golden_attribute(golden_case *c, const char *name)
{
    static const int64_t int_zero[1];
    static const double real_zero[1];
    static const ts_h5_attribute zero = {.name = "0", .count = 1, .ints = int_zero, .reals = real_zero};
    const ts_h5_attribute *a = find_attribute(c, name);
    if (a && a->count > 0 && a->reals)
        return a;
    golden_fail(c, "attribute %s is missing, or no number", name);
    return &zero;
}

int64_t golden_int(golden_case *c, const char *name)
{
    const ts_h5_attribute *a = golden_attribute(c, name);
    if (!a->ints)
        golden_fail(c, "attribute %s is no integer", name);
    return a->ints ? a->ints[0] : 0;
}

double golden_real(golden_case *c, const char *name)
{
    return golden_attribute(c, name)->reals[0];
}

int64_t golden_int_or(golden_case *c, const char *name, int64_t fallback)
{
    return find_attribute(c, name) ? golden_int(c, name) : fallback;
}

double golden_real_or(golden_case *c, const char *name, double fallback)
{
    return find_attribute(c, name) ? golden_real(c, name) : fallback;
}

const char *golden_text_or(golden_case *c, const char *name, const char *fallback)
{
    find_attribute(c, name);
    return ts_h5_attribute_text(&c->attributes, name, fallback);
}

static double number_at(const ts_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case TS_F32:
        return ((const float *)t->data)[i];
    case TS_F64:
        return ((const double *)t->data)[i];
    case TS_I32:
        return ((const int32_t *)t->data)[i];
    case TS_I64:
        return (double)((const int64_t *)t->data)[i];
    default:
        return NAN;
    }
}

void golden_compare(golden_case *c, const char *path, const ts_tensor *found, const ts_tensor *expected,
                    double tolerance, double floor)
{
    int64_t n = ts_shape_count(expected->shape);
    if (ts_shape_count(found->shape) != n) {
        golden_fail(c, "%s is %s, expected %s", path, ts_shape_print(found->shape).text,
                    ts_shape_print(expected->shape).text);
        return;
    }
    double largest = floor;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(number_at(expected, i)));
    double allowed = ts_dtype_is_real(expected->dtype) ? tolerance * largest : 0;
    for (int64_t i = 0; i < n; i++) {
        double a = number_at(found, i), b = number_at(expected, i);
        if (!(fabs(a - b) <= allowed)) {
            golden_fail(c, "%s[%lld] is %.9g, expected %.9g (within %.3g)", path, (long long)i, a, b, allowed);
            return;
        }
    }
}

ts_tensor golden_channels_last(golden_case *c, const ts_tensor *t)
{
    ts_tensor moved = *t;
    if (t->shape.rank < 3 || ts_dtype_bytes(t->dtype) != 4)
        return moved;
    int64_t outer = t->shape.dim[0], C = t->shape.dim[1], inner = 1;
    for (int k = 2; k < t->shape.rank; k++) {
        moved.shape.dim[k - 1] = t->shape.dim[k];
        inner *= t->shape.dim[k];
    }
    moved.shape.dim[t->shape.rank - 1] = C;
    uint32_t *to = ts_arena_alloc(&c->arena, ts_tensor_bytes(t) + 1);
    cr_assert_not_null(to);
    const uint32_t *from = t->data;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < C; k++)
            for (int64_t i = 0; i < inner; i++)
                to[(o * inner + i) * C + k] = from[(o * C + k) * inner + i];
    moved.data = to;
    return moved;
}
