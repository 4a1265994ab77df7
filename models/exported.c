#include "models/exported.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/npy.h"
#include "core/text.h"

const char *ts_exported_text(const ts_safetensors *file, const char *wanted)
{
    const char *key, *text;
    for (int64_t i = 0; ts_safetensors_metadata(file, i, &key, &text); i++)
        if (strcmp(key, wanted) == 0)
            return text;
    return NULL;
}

ts_status ts_item_parse(const char *where, const char *text, ts_status code, ts_shape *item, ts_error *err)
{
    *item = (ts_shape){0};
    char *end = (char *)text;
    bool good = true, more = true;
    for (; good && more && item->rank < 3; more = *end == 'x') {
        int64_t n = strtoll(item->rank ? end + 1 : end, &end, 10);
        good = n >= 1 && n <= 1 << 20;
        item->dim[item->rank++] = n;
    }
    if (good && item->rank > 1 && *end == '\0')
        return TS_OK;
    return ts_fail(err, code, "%s: expected HxWxC, such as 28x28x1, or TxC, such as 64x263, found '%s'", where,
                   TS_SHOWN(text));
}

void ts_range_find(const char *name, ts_range *range)
{
    for (int r = 0; name && ts_range_names[r]; r++)
        if (strcmp(ts_range_names[r], name) == 0)
            *range = (ts_range)r;
}

const char *ts_exported_columns_path(const char *weights, const char *name, ts_arena *arena)
{
    const char *slash = strrchr(weights, '/');
    const char *path = ts_arena_format(arena, "%.*s%s.npy", slash ? (int)(slash - weights + 1) : 0, weights, name);
    return path && access(path, R_OK) == 0 ? path : NULL;
}

static ts_status take_columns(const ts_npy *npy, const char *path, bool positive, int64_t columns, ts_arena *arena,
                              const float **values, ts_error *err)
{
    const float *x = npy->tensor.data;
    size_t bytes = (size_t)columns * sizeof *x;
    if (npy->tensor.dtype != TS_F32 || ts_shape_count(npy->tensor.shape) != columns)
        return ts_fail(err, TS_ERR_DATA, "%s: is %s %s, expected a float for each of the %" PRId64 " columns", path,
                       ts_dtype_name(npy->tensor.dtype), ts_shape_print(npy->tensor.shape).text, columns);
    for (int64_t i = 0; i < columns; i++)
        if (!isfinite(x[i]) || (positive && x[i] <= 0))
            return ts_fail(err, TS_ERR_DATA, "%s: column %" PRId64 " is %g, expected a finite number%s", path, i,
                           (double)x[i], positive ? " above 0" : "");
    float *copy = ts_arena_alloc(arena, bytes);
    if (!copy)
        return ts_out_of_memory(err, bytes);
    memcpy(copy, x, bytes);
    *values = copy;
    return TS_OK;
}

ts_status ts_exported_columns(const char *path, bool positive, int64_t columns, ts_arena *arena, const float **values,
                              ts_error *err)
{
    ts_npy npy;
    TS_TRY(ts_npy_open(&npy, path, err));
    ts_status status = take_columns(&npy, path, positive, columns, arena, values, err);
    ts_npy_close(&npy);
    return status;
}
