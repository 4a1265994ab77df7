/* One data set of an HDF5 file. What fits in `cache_mb` is read at once and looked through for NaN; of what does not,
 * one row is read at a time (libhdf5 has one lock for all threads, and unpacks a whole chunk for it). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/files/hdf5.h"
#include "core/memory.h"
#include "train/data_kinds.h"

static const ts_option rows[] = {
    {.name = "path", .type = TS_OPTION_STRING, .offset = offsetof(ts_data_hdf5_options, path), .help = "the file"},
    {.name = "dataset",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_data_hdf5_options, dataset),
     .fallback = "images",
     .help = "data set in the file: u8 or float, [N, H, W] or [N, H, W, C]"},
    {.name = "val_dataset",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_data_hdf5_options, val_dataset),
     .fallback = "",
     .help = "data set for validation; empty: val_fraction of the other"},
    TS_DATA_RANGE_ROW(ts_data_hdf5_options),
    TS_DATA_VAL_FRACTION_ROW(ts_data_hdf5_options),
    TS_DATA_LIMIT_ROW(ts_data_hdf5_options),
    TS_DATA_FLIP_ROW(ts_data_hdf5_options),
    TS_DATA_ON_ERROR_ROW(ts_data_hdf5_options),
    {.name = "cache_mb",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_hdf5_options, cache_mb),
     .fallback = "4096",
     .help = "read it whole where it takes at most so much memory, MiB; otherwise row by row",
     .min = 0,
     .max = 1e6},
    {0},
};
static const ts_option_table table = {"hdf5", "images in a data set of an HDF5 file", rows,
                                      sizeof(ts_data_hdf5_options)};

typedef struct {
    ts_h5 *file; /* open where rows are read one by one, else NULL */
    char *path, *dataset;
    ts_shape shape; /* as stored: [N, H, W] or [N, H, W, C] */
    ts_dtype dtype; /* u8 or f32 */
    void *values;   /* all of it, or NULL */
} source;

/* "/images, /labels ...": what the user may have meant. */
static void list_tensors(ts_h5 *file, char *text, size_t bytes)
{
    ts_arena arena = {0};
    ts_h5_entries all;
    size_t used = 0;
    snprintf(text, bytes, "nothing");
    if (ts_h5_walk(file, "/", &arena, &all, NULL) == TS_OK)
        for (int64_t i = 0; i < all.count && used < bytes; i++)
            if (all.entry[i].kind == TS_H5_TENSOR)
                used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", all.entry[i].path);
    ts_arena_clear(&arena);
}

/* Looks up the data set; its shape and type to *s. */
static ts_status look_up(ts_h5 *file, source *s, ts_error *err)
{
    char found[400];
    ts_arena arena = {0};
    ts_h5_entry entry = {.kind = TS_H5_OTHER};
    ts_status status = ts_h5_exists(file, s->dataset) ? ts_h5_info(file, s->dataset, &arena, &entry, err) : TS_OK;
    ts_arena_clear(&arena);
    TS_TRY(status);
    s->shape = entry.shape;
    s->dtype = entry.dtype == TS_F64 ? TS_F32 : entry.dtype;
    if (entry.kind != TS_H5_TENSOR) {
        list_tensors(file, found, sizeof found);
        return ts_fail(err, TS_ERR_DATA, "%s: expected a data set of numbers called %s, found %s; set data.dataset",
                       s->path, s->dataset, found);
    }
    if (s->dtype != TS_U8 && s->dtype != TS_F32)
        return ts_fail(err, TS_ERR_DATA, "%s: %s: expected u8 or float values, found %s", s->path, s->dataset,
                       ts_dtype_name(entry.dtype));
    return TS_OK;
}

static ts_status check_shape(const source *s, int64_t *count, ts_error *err)
{
    int rank = s->shape.rank;
    if ((rank != 3 && rank != 4) || !ts_shape_count_checked(s->shape, count) || *count < 1)
        return ts_fail(err, TS_ERR_DATA, "%s: %s: expected [N, H, W] or [N, H, W, C], nothing empty, found %s", s->path,
                       s->dataset, ts_shape_print(s->shape).text);
    return TS_OK;
}

/* The first value of item `i` that is not finite, as an error. */
static ts_status check_finite(const source *s, int64_t i, const float *x, int64_t n, ts_error *err)
{
    for (int64_t k = 0; k < n; k++)
        if (!isfinite(x[k]))
            return ts_fail(err, TS_ERR_DATA,
                           "%s: %s: item %" PRId64 ", value %" PRId64
                           ": expected finite values, found %g; data.on_error=skip leaves such items out",
                           s->path, s->dataset, i, k, (double)x[k]);
    return TS_OK;
}

static ts_status read_whole(ts_dataset *data, source *s, ts_h5 *file, int64_t count, ts_error *err)
{
    size_t bytes = (size_t)count * ts_dtype_bytes(s->dtype);
    s->values = ts_alloc_aligned(bytes);
    if (!s->values)
        return ts_out_of_memory(err, bytes);
    ts_tensor all = {s->dtype, s->shape, s->values};
    TS_TRY(ts_h5_read_into(file, s->dataset, &all, err));
    if (s->dtype == TS_U8)
        data->bytes = s->values;
    int64_t n = ts_shape_count(data->item);
    for (int64_t i = 0; s->dtype == TS_F32 && !data->skip_broken && i < data->sources; i++)
        TS_TRY(check_finite(s, i, (float *)s->values + i * n, n, err));
    return TS_OK;
}

static ts_status open_source(ts_dataset *data, source *s, int64_t cache_mb, ts_error *err)
{
    int64_t count = 0;
    ts_h5 *file;
    TS_TRY(ts_h5_open(&file, s->path, TS_ERR_DATA, err));
    s->file = file;
    TS_TRY(look_up(file, s, err));
    TS_TRY(check_shape(s, &count, err));
    const int64_t *dim = s->shape.dim;
    data->sources = dim[0];
    data->item = ts_shape_of(dim[1], dim[2], s->shape.rank == 4 ? dim[3] : 1);
    if (count > cache_mb * (1 << 20) / (int64_t)ts_dtype_bytes(s->dtype))
        return TS_OK;
    s->file = NULL;
    ts_status status = read_whole(data, s, file, count, err);
    ts_h5_close(file);
    return status;
}

static ts_status open_hdf5(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_hdf5_options *o = options;
    bool own_val = *o->val_dataset != '\0';
    source *s = data->state = ts_calloc(1, sizeof *s);
    if (!s)
        return ts_out_of_memory(err, sizeof *s);
    s->path = ts_strdup(o->path);
    s->dataset = ts_strdup(own_val && data->split == TS_SPLIT_VAL ? o->val_dataset : o->dataset);
    if (!s->path || !s->dataset)
        return ts_out_of_memory(err, strlen(o->path));
    data->own_split = own_val;
    data->range = (ts_range)o->range;
    data->val_fraction = o->val_fraction;
    data->limit = o->limit;
    data->flip = o->flip;
    data->skip_broken = o->on_error == 1;
    return open_source(data, s, o->cache_mb, err);
}

static ts_status read_row(const source *s, int64_t i, void *to, ts_error *err)
{
    ts_tensor row = {s->dtype, s->shape, to};
    row.shape.dim[0] = 1;
    return ts_h5_read_rows(s->file, s->dataset, i, &row, err);
}

static ts_status read_bytes_row(ts_dataset *data, const source *s, int64_t i, float *out, ts_error *err)
{
    int64_t n = ts_shape_count(data->item);
    uint8_t *pixels = ts_alloc((size_t)n);
    if (!pixels)
        return ts_out_of_memory(err, (size_t)n);
    ts_status status = read_row(s, i, pixels, err);
    if (status == TS_OK)
        ts_pixels_to_float(data->range, pixels, n, out);
    ts_free(pixels);
    return status;
}

static ts_status read_hdf5(ts_dataset *data, int64_t i, ts_draws *draws, float *out, ts_error *err)
{
    const source *s = data->state;
    int64_t n = ts_shape_count(data->item);
    if (s->dtype == TS_U8 && s->values)
        return ts_dataset_read_bytes(data, i, draws, out, err);
    if (s->dtype == TS_U8)
        TS_TRY(read_bytes_row(data, s, i, out, err));
    else if (s->values)
        memcpy(out, (const float *)s->values + i * n, (size_t)n * sizeof *out);
    else
        TS_TRY(read_row(s, i, out, err));
    if (s->dtype == TS_F32)
        TS_TRY(check_finite(s, i, out, n, err));
    ts_dataset_flip(data, draws, out);
    return TS_OK;
}

static void close_hdf5(ts_dataset *data)
{
    source *s = data->state;
    if (!s)
        return;
    if (s->values)
        ts_free_aligned(s->values, (size_t)ts_shape_count(s->shape) * ts_dtype_bytes(s->dtype));
    ts_h5_close(s->file);
    ts_free(s->path);
    ts_free(s->dataset);
    ts_free(s);
}

const ts_dataset_kind ts_dataset_hdf5 = {.table = &table, .open = open_hdf5, .read = read_hdf5, .close = close_hdf5};
