/* Pictures below a folder. A picture is decoded, and in fit=crop also resized, when it is first asked for, and kept as
 * 8-bit pixels as long as the budget lasts; nothing is ever thrown out, which in random order is as good as any rule
 * and needs no lock. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/files/image.h"
#include "core/memory.h"
#include "train/data_kinds.h"

static const char *const fit_names[] = {"crop", "patch", NULL};

static const ts_option rows[] = {
    {.name = "path",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_data_folder_options, path),
     .help = "folder; every .png, .jpg and .jpeg below it"},
    {.name = "val_path",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_data_folder_options, val_path),
     .fallback = "",
     .help = "folder with the validation images; empty: val_fraction of the others"},
    {.name = "size",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_folder_options, size),
     .fallback = "64",
     .help = "height and width of an item, pixels",
     .min = 1,
     .max = 8192},
    {.name = "fit",
     .type = TS_OPTION_CHOICE,
     .offset = offsetof(ts_data_folder_options, fit),
     .fallback = "crop",
     .help = "crop: resize the shorter side, then crop; patch: crop at the image's own scale",
     .choices = fit_names},
    {.name = "resize",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_folder_options, resize),
     .fallback = "0",
     .help = "fit=crop: the shorter side becomes so many pixels; 0: size",
     .min = 0,
     .max = 8192},
    {.name = "crops",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_folder_options, crops),
     .fallback = "1",
     .help = "random crops of each image that make an epoch",
     .min = 1,
     .max = 1e6},
    TS_DATA_FLIP_ROW(ts_data_folder_options),
    {.name = "gray",
     .type = TS_OPTION_BOOL,
     .offset = offsetof(ts_data_folder_options, gray),
     .fallback = "false",
     .help = "one channel instead of three"},
    TS_DATA_RANGE_ROW(ts_data_folder_options),
    TS_DATA_ON_ERROR_ROW(ts_data_folder_options),
    {.name = "cache_mb",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_folder_options, cache_mb),
     .fallback = "1024",
     .help = "memory for decoded images, MiB",
     .min = 0,
     .max = 1e6},
    TS_DATA_VAL_FRACTION_ROW(ts_data_folder_options),
    TS_DATA_LIMIT_ROW(ts_data_folder_options),
    {0},
};
static const ts_option_table table = {"folder", "a folder of PNG and JPEG images", rows,
                                      sizeof(ts_data_folder_options)};

typedef struct {
    int64_t h, w, c;
    uint8_t pixels[]; /* [h, w, c] */
} picture;

typedef struct {
    char **path; /* [count] */
    int64_t count, capacity;
    _Atomic(picture *) *kept; /* [count] */
    _Atomic int64_t room;     /* bytes left of the budget */
    ts_data_fit fit;
    int64_t size, resize, channels;
} folder;

/* ---- the list of files ---- */

static bool is_image_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

static ts_status add_path(folder *f, const char *path, ts_error *err)
{
    if (f->count == f->capacity) {
        int64_t capacity = f->capacity ? 2 * f->capacity : 256;
        char **grown = ts_realloc(f->path, (size_t)capacity, sizeof *grown);
        if (!grown)
            return ts_out_of_memory(err, (size_t)capacity * sizeof *grown);
        f->path = grown;
        f->capacity = capacity;
    }
    f->path[f->count] = ts_strdup(path);
    if (!f->path[f->count])
        return ts_out_of_memory(err, strlen(path));
    f->count++;
    return TS_OK;
}

enum { MAX_DEPTH = 32 };
static ts_status walk(folder *f, const char *path, int depth, ts_error *err);

static ts_status visit(folder *f, const char *path, const char *name, int depth, ts_error *err)
{
    char full[PATH_MAX];
    struct stat st;
    if (snprintf(full, sizeof full, "%s/%s", path, name) >= (int)sizeof full)
        return ts_fail(err, TS_ERR_DATA, "%s: a path below it is longer than %d bytes", path, PATH_MAX);
    if (stat(full, &st) != 0 && !is_image_name(name))
        return TS_OK; /* a dangling link to something else */
    if (S_ISDIR(st.st_mode))
        return walk(f, full, depth + 1, err);
    return is_image_name(name) ? add_path(f, full, err) : TS_OK;
}

static ts_status walk(folder *f, const char *path, int depth, ts_error *err)
{
    if (depth > MAX_DEPTH)
        return ts_fail(err, TS_ERR_DATA, "%s: more than %d folders deep; is there a link to a folder above?", path,
                       MAX_DEPTH);
    DIR *dir = opendir(path);
    if (!dir)
        return ts_fail(err, TS_ERR_DATA, "%s: expected a folder of images: %s", path, strerror(errno));
    ts_status status = TS_OK;
    for (struct dirent *entry; status == TS_OK && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            status = visit(f, path, entry->d_name, depth, err);
    closedir(dir);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ts_status list_images(folder *f, const char *path, ts_error *err)
{
    TS_TRY(walk(f, path, 0, err));
    if (f->count == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected .png, .jpg or .jpeg files in this folder, found none", path);
    qsort(f->path, (size_t)f->count, sizeof *f->path, by_path);
    f->kept = ts_calloc((size_t)f->count, sizeof *f->kept);
    return f->kept ? TS_OK : ts_out_of_memory(err, (size_t)f->count * sizeof *f->kept);
}

/* ---- one picture ---- */

/* NULL, with the error, when out of memory. */
static picture *new_picture(int64_t h, int64_t w, int64_t c, ts_error *err)
{
    size_t bytes = sizeof(picture) + (size_t)(h * w * c);
    picture *p = ts_alloc(bytes);
    if (p)
        *p = (picture){h, w, c};
    else
        ts_out_of_memory(err, bytes);
    return p;
}

/* Shorter side to f->resize. A hair would become a picture of gigabytes. */
enum { MAX_ASPECT = 50 };
static ts_status shrink(const folder *f, const char *path, const ts_image *image, picture **p, ts_error *err)
{
    int64_t h = image->height, w = image->width, side = h < w ? h : w;
    if (h > MAX_ASPECT * side || w > MAX_ASPECT * side)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: %" PRId64 " x %" PRId64 " pixels: one side is more than %d times the other", path, h, w,
                       MAX_ASPECT);
    int64_t to_h = (h * f->resize + side / 2) / side, to_w = (w * f->resize + side / 2) / side;
    *p = new_picture(to_h, to_w, f->channels, err);
    if (!*p)
        return TS_ERR_RUNTIME;
    ts_status status = ts_pixels_resize(image->pixels, h, w, f->channels, (*p)->pixels, to_h, to_w, err);
    if (status != TS_OK)
        ts_free(*p);
    return status;
}

static ts_status keep_scale(const folder *f, const char *path, const ts_image *image, picture **p, ts_error *err)
{
    int64_t h = image->height, w = image->width;
    if (h < f->size || w < f->size)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected at least %" PRId64 " x %" PRId64 " pixels for data.fit=patch, found %" PRId64
                       " x %" PRId64 "; lower data.size, or set data.fit=crop or data.on_error=skip",
                       path, f->size, f->size, h, w);
    *p = new_picture(h, w, f->channels, err);
    if (!*p)
        return TS_ERR_RUNTIME;
    memcpy((*p)->pixels, image->pixels, (size_t)(h * w * f->channels));
    return TS_OK;
}

static ts_status load(const folder *f, const char *path, picture **p, ts_error *err)
{
    ts_image image;
    TS_TRY(ts_image_read(&image, path, (int)f->channels, TS_ERR_DATA, err));
    ts_status status = f->fit == TS_FIT_CROP ? shrink(f, path, &image, p, err) : keep_scale(f, path, &image, p, err);
    ts_image_clear(&image);
    return status;
}

/* Keeps p as picture i if the budget allows it; otherwise it stays the caller's (*own). Two readers may have loaded
 * the same one: the second is dropped. */
static picture *keep(folder *f, int64_t i, picture *p, bool *own)
{
    int64_t bytes = p->h * p->w * p->c + (int64_t)sizeof *p;
    picture *first = NULL;
    *own = atomic_fetch_sub(&f->room, bytes) < bytes;
    if (*own) {
        atomic_fetch_add(&f->room, bytes);
        return p;
    }
    if (atomic_compare_exchange_strong(&f->kept[i], &first, p))
        return p;
    atomic_fetch_add(&f->room, bytes);
    ts_free(p);
    return first;
}

/* ---- the data set ---- */

static ts_status check_options(const ts_data_folder_options *o, ts_error *err)
{
    if (o->fit == TS_FIT_CROP && o->resize && o->resize < o->size)
        return ts_fail(err, TS_ERR_USAGE, "data.resize: expected 0 or at least data.size=%" PRId64 ", found %" PRId64,
                       o->size, o->resize);
    return TS_OK;
}

static ts_status open_folder(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_folder_options *o = options;
    bool val = data->split == TS_SPLIT_VAL;
    TS_TRY(check_options(o, err));
    folder *f = data->state = ts_calloc(1, sizeof *f);
    if (!f)
        return ts_out_of_memory(err, sizeof *f);
    f->fit = (ts_data_fit)o->fit;
    f->size = o->size;
    f->resize = o->resize ? o->resize : o->size;
    f->channels = o->gray ? 1 : 3;
    f->room = o->cache_mb << 20;
    data->item = ts_shape_of(o->size, o->size, f->channels);
    data->range = (ts_range)o->range;
    data->own_split = *o->val_path != '\0';
    data->val_fraction = o->val_fraction;
    data->limit = o->limit;
    data->repeat = val && f->fit == TS_FIT_CROP ? 1 : o->crops;
    data->skip_broken = o->on_error == 1;
    data->flip = o->flip;
    TS_TRY(list_images(f, val && data->own_split ? o->val_path : o->path, err));
    data->sources = f->count;
    return TS_OK;
}

/* The corner of the crop: the middle in validation with fit=crop, random otherwise. */
static void crop(const ts_dataset *data, const folder *f, const picture *p, ts_draws *draws, float *out)
{
    bool centre = data->split == TS_SPLIT_VAL && f->fit == TS_FIT_CROP;
    uint64_t free_h = (uint64_t)(p->h - f->size), free_w = (uint64_t)(p->w - f->size);
    int64_t y = (int64_t)(centre ? free_h / 2 : ts_draw_below(draws, free_h + 1));
    int64_t x = (int64_t)(centre ? free_w / 2 : ts_draw_below(draws, free_w + 1));
    int64_t row = f->size * p->c;
    for (int64_t i = 0; i < f->size; i++)
        ts_pixels_to_float(data->range, p->pixels + ((y + i) * p->w + x) * p->c, row, out + i * row);
}

static ts_status read_folder(ts_dataset *data, int64_t i, ts_draws *draws, float *out, ts_error *err)
{
    folder *f = data->state;
    picture *p = atomic_load(&f->kept[i]);
    bool own = false;
    if (!p) {
        TS_TRY(load(f, f->path[i], &p, err));
        p = keep(f, i, p, &own);
    }
    crop(data, f, p, draws, out);
    ts_dataset_flip(data, draws, out);
    if (own)
        ts_free(p);
    return TS_OK;
}

static void close_folder(ts_dataset *data)
{
    folder *f = data->state;
    if (!f)
        return;
    for (int64_t i = 0; i < f->count; i++) {
        ts_free(f->path[i]);
        if (f->kept)
            ts_free(atomic_load(&f->kept[i]));
    }
    ts_free((void *)f->kept);
    ts_free(f->path);
    ts_free(f);
}

const ts_dataset_kind ts_dataset_folder = {
    .table = &table, .open = open_folder, .read = read_folder, .close = close_folder};
