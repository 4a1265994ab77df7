#define _GNU_SOURCE
#include "train/decode_sink.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/files/hdf5.h"
#include "core/files/image.h"
#include "core/files/npy.h"
#include "core/text.h"
#include "train/token_sink.h"

static bool is_motion(const ts_experiment *e)
{
    return e->tokenizer.item.rank == 2;
}

int64_t ts_decode_sink_frames(const ts_decode_sink *s, int64_t i)
{
    const ts_tokenizer *t = &s->e->tokenizer;
    return is_motion(s->e) ? s->source->tokens[i] * (t->item.dim[0] / t->tokens.dim[0]) : 0;
}

/* Values of item i. */
static int64_t values_of(const ts_decode_sink *s, int64_t i)
{
    ts_shape item = s->e->tokenizer.item;
    return is_motion(s->e) ? ts_decode_sink_frames(s, i) * item.dim[1] : ts_shape_count(item);
}

static ts_status allocate(ts_decode_sink *s, ts_error *err)
{
    int64_t bytes;
    for (int64_t i = 0; i < s->source->count; i++)
        s->values = values_of(s, i) > s->values ? values_of(s, i) : s->values;
    if (s->kind == TS_DECODE_ARRAYS)
        return TS_OK;
    if (s->kind == TS_DECODE_PICTURES)
        return (s->pixels = ts_arena_alloc(&s->arena, (size_t)s->values)) ? TS_OK
                                                                          : ts_out_of_memory(err, (size_t)s->values);
    if (__builtin_mul_overflow(s->source->count, s->values * (int64_t)sizeof(float), &bytes))
        return ts_out_of_memory(err, SIZE_MAX);
    return (s->all = ts_arena_alloc(&s->arena, (size_t)bytes)) ? TS_OK : ts_out_of_memory(err, (size_t)bytes);
}

ts_status ts_decode_sink_open(ts_decode_sink *s, const char *path, const ts_experiment *e,
                              const ts_token_source *source, ts_error *err)
{
    ts_shape item = e->tokenizer.item;
    *s = (ts_decode_sink){.path = path, .e = e, .source = source};
    s->kind = ts_ends_in_h5(path) ? TS_DECODE_HDF5 : is_motion(e) ? TS_DECODE_ARRAYS : TS_DECODE_PICTURES;
    if (s->kind == TS_DECODE_PICTURES && (item.rank != 3 || (item.dim[2] != 1 && item.dim[2] != 3)))
        return ts_fail(err, TS_ERR_USAGE, "items of %s cannot be PNG files; give -o a name that ends in .h5",
                       ts_shape_print(item).text);
    TS_TRY(allocate(s, err));
    return s->kind == TS_DECODE_HDF5 ? TS_OK : ts_folder_make(path, TS_ERR_DATA, err);
}

void ts_decode_sink_close(ts_decode_sink *s)
{
    ts_arena_clear(&s->arena);
    *s = (ts_decode_sink){0};
}

/* A name from a file becomes part of a path: it may not lead out of the folder. */
static ts_status file_of(const ts_decode_sink *s, const char *name, const char *ending, char path[PATH_MAX],
                         ts_error *err)
{
    const char *dot = strrchr(name, '.');
    const char *end = dot && strcasecmp(dot, ending) == 0 ? "" : ending;
    if (!ts_file_name_is_safe(name))
        return ts_fail(err, TS_ERR_CHECKPOINT, "the name '%s' in the file of tokens is no path below a folder",
                       TS_SHOWN(name));
    if (snprintf(path, PATH_MAX, "%s/%s%s", s->path, name, end) >= PATH_MAX)
        return ts_fail(err, TS_ERR_DATA, "%s: a path below it is longer than %d bytes", s->path, PATH_MAX);
    return ts_folder_make_parents(s->path, path, TS_ERR_DATA, err);
}

static ts_status write_picture(const ts_decode_sink *s, int64_t i, const float *y, ts_error *err)
{
    char path[PATH_MAX];
    ts_shape item = s->e->tokenizer.item;
    TS_TRY(file_of(s, s->source->names[i], ".png", path, err));
    ts_pixels_from_float(s->e->range, y, ts_shape_count(item), s->pixels);
    ts_image image = {item.dim[0], item.dim[1], (int)item.dim[2], s->pixels};
    return ts_image_write_png(path, &image, err);
}

static ts_status write_array(const ts_decode_sink *s, int64_t i, float *y, ts_error *err)
{
    char path[PATH_MAX];
    ts_tensor t = {TS_F32, ts_shape_of(ts_decode_sink_frames(s, i), s->e->tokenizer.item.dim[1]), y};
    TS_TRY(file_of(s, s->source->names[i], ".npy", path, err));
    return ts_npy_write(path, &t, err);
}

ts_status ts_decode_sink_put(ts_decode_sink *s, int64_t i, float *y, ts_error *err)
{
    if (is_motion(s->e))
        ts_motion_restore(&s->e->motion, ts_decode_sink_frames(s, i), y);
    switch (s->kind) {
    case TS_DECODE_PICTURES:
        return write_picture(s, i, y, err);
    case TS_DECODE_ARRAYS:
        return write_array(s, i, y, err);
    default:
        memcpy(s->all + i * s->values, y, (size_t)values_of(s, i) * sizeof *y);
        return TS_OK;
    }
}

static ts_status write_images(const ts_decode_sink *s, ts_h5 *file, ts_error *err)
{
    ts_shape item = s->e->tokenizer.item, shape = {.rank = item.rank + 1, .dim = {s->source->count}};
    for (int i = 0; i < item.rank; i++)
        shape.dim[i + 1] = item.dim[i];
    ts_named_tensor images = {"/images", {TS_F32, shape, s->all}};
    TS_TRY(ts_h5_write(file, &images, err));
    return ts_h5_write_text(file, "/images", "range", ts_range_names[s->e->range], err);
}

static ts_status write_motion(ts_decode_sink *s, ts_h5 *file, ts_error *err)
{
    int64_t items = s->source->count, columns = s->e->tokenizer.item.dim[1];
    int32_t *lengths = ts_arena_alloc(&s->arena, (size_t)items * sizeof *lengths);
    if (!lengths)
        return ts_out_of_memory(err, (size_t)items * sizeof *lengths);
    for (int64_t i = 0; i < items; i++)
        lengths[i] = (int32_t)ts_decode_sink_frames(s, i);
    ts_named_tensor motion = {"/motion", {TS_F32, ts_shape_of(items, s->values / columns, columns), s->all}};
    ts_named_tensor frames = {"/lengths", {TS_I32, ts_shape_of(items), lengths}};
    TS_TRY(ts_h5_write(file, &motion, err));
    return ts_h5_write(file, &frames, err);
}

ts_status ts_decode_sink_finish(ts_decode_sink *s, ts_error *err)
{
    ts_h5 *file;
    if (s->kind != TS_DECODE_HDF5)
        return TS_OK;
    TS_TRY(ts_h5_create(&file, s->path, 0, TS_ERR_DATA, err));
    ts_status status = is_motion(s->e) ? write_motion(s, file, err) : write_images(s, file, err);
    if (status == TS_OK)
        status = ts_h5_write_strings(file, "/names", s->source->names, s->source->count, err);
    if (status == TS_OK)
        status = ts_h5_save(file, err);
    ts_h5_close(file);
    return status;
}
