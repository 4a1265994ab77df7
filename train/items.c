#define _GNU_SOURCE
#include "train/items.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files/hdf5.h"
#include "core/files/image.h"
#include "train/data_kinds.h"

static const char *const endings[] = {".png", ".jpg", ".jpeg", NULL};
static const ts_file_kind picture_kind = {.what = "images", .endings = endings, .code = TS_ERR_DATA};

static ts_status number_items(ts_items *items, ts_error *err)
{
    size_t bytes = (size_t)items->count * sizeof(char *);
    items->names = ts_arena_alloc(&items->arena, bytes);
    for (int64_t i = 0; items->names && i < items->count; i++)
        if (!(items->names[i] = ts_arena_format(&items->arena, "%06" PRId64, i)))
            items->names = NULL;
    return items->names ? TS_OK : ts_out_of_memory(err, bytes);
}

/* --- one picture -------------------------------------------------------------------------------------------------- */

/* Resized so that it covers the item, cut in the middle. `pixels` has room for the item. */
static ts_status fit(const ts_image *image, ts_shape item, const char *path, uint8_t *pixels, ts_error *err)
{
    enum { MAX_ASPECT = 50 };
    int64_t H = item.dim[0], W = item.dim[1], C = item.dim[2], h = image->height, w = image->width;
    if (h > MAX_ASPECT * w || w > MAX_ASPECT * h)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: %" PRId64 " x %" PRId64 " pixels: one side is more than %d times the other", path, h, w,
                       MAX_ASPECT);
    double scale_h = (double)H / (double)h, scale_w = (double)W / (double)w;
    double scale = scale_h > scale_w ? scale_h : scale_w;
    int64_t to_h = (int64_t)((double)h * scale + 0.5), to_w = (int64_t)((double)w * scale + 0.5);
    to_h = to_h < H ? H : to_h;
    to_w = to_w < W ? W : to_w;
    uint8_t *scaled = ts_alloc((size_t)(to_h * to_w * C));
    if (!scaled)
        return ts_out_of_memory(err, (size_t)(to_h * to_w * C));
    ts_status status = ts_pixels_resize(image->pixels, h, w, C, scaled, to_h, to_w, err);
    int64_t y = (to_h - H) / 2, x = (to_w - W) / 2;
    for (int64_t i = 0; status == TS_OK && i < H; i++)
        memcpy(pixels + i * W * C, scaled + ((y + i) * to_w + x) * C, (size_t)(W * C));
    ts_free(scaled);
    return status;
}

static ts_status to_floats(const ts_items *items, const ts_image *image, const char *path, float *out, ts_error *err)
{
    int64_t n = ts_shape_count(items->item);
    if (image->height == items->item.dim[0] && image->width == items->item.dim[1]) {
        ts_pixels_to_float(items->range, image->pixels, n, out);
        return TS_OK;
    }
    uint8_t *pixels = ts_alloc((size_t)n);
    if (!pixels)
        return ts_out_of_memory(err, (size_t)n);
    ts_status status = fit(image, items->item, path, pixels, err);
    if (status == TS_OK)
        ts_pixels_to_float(items->range, pixels, n, out);
    ts_free(pixels);
    return status;
}

static ts_status read_picture(const ts_items *items, const char *path, float *out, ts_error *err)
{
    ts_image image = {0};
    TS_TRY(ts_image_read(&image, path, (int)items->item.dim[2], TS_ERR_DATA, err));
    ts_status status = to_floats(items, &image, path, out, err);
    ts_image_clear(&image);
    return status;
}

/* --- files of many images ----------------------------------------------------------------------------------------- */

/* The one data set of an HDF5 file that can be images. */
static ts_status find_dataset(const char *path, ts_arena *arena, const char **dataset, ts_error *err)
{
    ts_h5 *file;
    ts_h5_entries all;
    int found = 0;
    TS_TRY(ts_h5_open(&file, path, TS_ERR_DATA, err));
    ts_status status = ts_h5_walk(file, "/", arena, &all, err);
    ts_h5_close(file);
    TS_TRY(status);
    for (int64_t i = 0; i < all.count; i++) {
        const ts_h5_entry *e = &all.entry[i];
        bool images = e->kind == TS_H5_TENSOR && (e->shape.rank == 3 || e->shape.rank == 4) &&
                      (e->dtype == TS_U8 || e->dtype == TS_F32 || e->dtype == TS_F64);
        if (images && !found++)
            *dataset = e->path;
    }
    if (found == 1)
        return TS_OK;
    return ts_fail(err, found ? TS_ERR_USAGE : TS_ERR_DATA,
                   "%s: expected one data set of images, u8 or float, [N, H, W] or [N, H, W, C], found %d%s", path,
                   found, found ? "; choose one with --dataset" : "");
}

static ts_status open_dataset(ts_items *items, const ts_dataset_kind *kind, const void *options, const char *path,
                              ts_error *err)
{
    TS_TRY(ts_dataset_open(&items->data, kind, options, TS_SPLIT_TRAIN, 0, err));
    if (!ts_shape_equal(items->data->item, items->item))
        return ts_fail(err, TS_ERR_DATA, "%s: its items are %s, the model takes %s", path,
                       ts_shape_print(items->data->item).text, ts_shape_print(items->item).text);
    items->count = items->data->count;
    return number_items(items, err);
}

static ts_status open_idx(ts_items *items, const char *path, ts_error *err)
{
    ts_data_idx_options options = {.path = path, .range = (int)items->range};
    return open_dataset(items, &ts_dataset_idx, &options, path, err);
}

static ts_status open_hdf5(ts_items *items, const char *path, const char *dataset, ts_error *err)
{
    if (!dataset)
        TS_TRY(find_dataset(path, &items->arena, &dataset, err));
    ts_data_hdf5_options options = {
        .path = path, .dataset = dataset, .val_dataset = "", .range = (int)items->range, .cache_mb = 1024};
    return open_dataset(items, &ts_dataset_hdf5, &options, path, err);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static bool starts(const unsigned char *bytes, const char *magic, size_t count)
{
    return memcmp(bytes, magic, count) == 0;
}

static ts_status open_file(ts_items *items, const char *path, const char *dataset, ts_error *err)
{
    unsigned char head[8] = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return ts_fail(err, TS_ERR_DATA, "%s: cannot be read: %s", path, strerror(errno));
    size_t n = fread(head, 1, sizeof head, file);
    fclose(file);
    if (n == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: is empty", path);
    if (starts(head, "\x89PNG", 4) || starts(head, "\xff\xd8", 2))
        return ts_file_list_add_file(&items->pictures, path, &picture_kind, err);
    if (starts(head, "\x89HDF", 4))
        return open_hdf5(items, path, dataset, err);
    if (starts(head, "\x1f\x8b", 2) || starts(head, "\0\0\x08", 3))
        return open_idx(items, path, err);
    return ts_fail(err, TS_ERR_DATA, "%s: expected a PNG, JPEG, IDX (also gzip) or HDF5 file, found none of these",
                   path);
}

ts_status ts_items_open(ts_items *items, const char *path, const char *dataset, ts_shape item, ts_range range,
                        ts_error *err)
{
    struct stat st;
    *items = (ts_items){.item = item, .range = range};
    if (stat(path, &st) != 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected images: %s", path, strerror(errno));
    TS_TRY(S_ISDIR(st.st_mode) ? ts_file_list_walk(&items->pictures, path, &picture_kind, err)
                               : open_file(items, path, dataset, err));
    if (!items->data) {
        items->count = items->pictures.count;
        items->names = items->pictures.name;
    }
    if (!items->data && (item.rank != 3 || (item.dim[2] != 1 && item.dim[2] != 3)))
        return ts_fail(err, TS_ERR_DATA, "%s: pictures have 1 or 3 channels, the model takes %s", path,
                       ts_shape_print(item).text);
    return TS_OK;
}

ts_status ts_items_open_data(ts_items *items, ts_dataset *data, ts_error *err)
{
    *items = (ts_items){.count = data->count, .item = data->item, .range = data->range, .data = data, .borrowed = true};
    return number_items(items, err);
}

ts_status ts_items_read(const ts_items *items, int64_t i, float *out, ts_error *err)
{
    if (items->data)
        return ts_dataset_read(items->data, i, 0, out, err);
    return read_picture(items, items->pictures.path[i], out, err);
}

void ts_items_close(ts_items *items)
{
    if (!items->borrowed)
        ts_dataset_close(items->data);
    ts_file_list_clear(&items->pictures);
    ts_arena_clear(&items->arena);
    *items = (ts_items){0};
}
