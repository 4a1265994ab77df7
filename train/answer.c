#include "train/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

enum { NAME_COLUMN = 22 };

json_t *ts_answer_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *ts_answer_shape(ts_shape shape)
{
    json_t *list = json_array();
    for (int i = 0; list && i < shape.rank; i++)
        json_array_append_new(list, json_integer(shape.dim[i]));
    return list;
}

static void show_scaled(double value, const char *const *units, double step, FILE *out)
{
    int i = 0;
    for (; units[i + 1] && fabs(value) >= step; i++)
        value /= step;
    fprintf(out, i ? "%.3g %s" : "%.0f %s", value, units[i]);
}

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);
    return n >= m && strcmp(name + n - m, with) == 0;
}

/* A number whose name tells its unit; false where it tells none. */
static bool show_quantity(const char *name, double value, FILE *out)
{
    static const char *const bytes[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", NULL};
    static const char *const flops[] = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", NULL};
    static const char *const flop_rate[] = {"FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s", NULL};
    static const char *const byte_rate[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s", NULL};
    if (ends(name, "_bytes"))
        show_scaled(value, bytes, 1024, out);
    else if (ends(name, "flops_per_s"))
        show_scaled(value, flop_rate, 1000, out);
    else if (ends(name, "bytes_per_s"))
        show_scaled(value, byte_rate, 1000, out);
    else if (ends(name, "flops"))
        show_scaled(value, flops, 1000, out);
    else if (ends(name, "_per_s"))
        fprintf(out, "%.4g/s", value);
    else if (ends(name, "_ms"))
        fprintf(out, "%.3g ms", value);
    else if (ends(name, "_s"))
        fprintf(out, "%.3g s", value);
    else
        return false;
    return true;
}

static void show_scalar(const char *name, const json_t *value, FILE *out)
{
    if (json_is_number(value) && show_quantity(name, json_number_value(value), out))
        return;
    switch (json_typeof(value)) {
    case JSON_STRING: /* a text of several lines starts on its own */
        fputs(strchr(json_string_value(value), '\n') ? "\n" : "", out);
        fputs(json_string_value(value), out);
        break;
    case JSON_INTEGER:
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        fprintf(out, "%.6g", json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        fputs(json_is_true(value) ? "yes" : "no", out);
        break;
    default:
        fputc('-', out);
    }
}

static void show_member(const char *name, const json_t *value, int indent, FILE *out);

static void show_object(const json_t *object, int indent, FILE *out)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) show_member(name, value, indent, out);
}

/* Numbers on one line, texts on a line each. */
static void show_array(const json_t *array, int indent, FILE *out)
{
    bool texts = json_is_string(json_array_get(array, 0));
    fputs(texts || json_array_size(array) == 0 ? "" : "[", out);
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i && texts)
            fprintf(out, "\n%*s", indent + NAME_COLUMN, "");
        else
            fputs(i ? ", " : "", out);
        show_scalar("", json_array_get(array, i), out);
    }
    fputs(json_array_size(array) == 0 ? "none" : texts ? "" : "]", out);
}

static void show_member(const char *name, const json_t *value, int indent, FILE *out)
{
    fprintf(out, "%*s%s", indent, "", name);
    if (json_is_object(value)) {
        fputc('\n', out);
        show_object(value, indent + 2, out);
        return;
    }
    int used = indent + (int)strlen(name);
    fprintf(out, "%*s", used < indent + NAME_COLUMN ? indent + NAME_COLUMN - used : 1, "");
    if (json_is_array(value))
        show_array(value, indent, out);
    else
        show_scalar(name, value, out);
    fputc('\n', out);
}

ts_status ts_answer_show(json_t *answer, bool json, FILE *out, ts_error *err)
{
    if (!answer)
        return ts_out_of_memory(err, 0);
    if (!json)
        show_object(answer, 0, out);
    else if (json_dumpf(answer, out, JSON_REAL_PRECISION(12)) == 0)
        fputc('\n', out);
    json_decref(answer);
    return TS_OK;
}
