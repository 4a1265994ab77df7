/* IDX: four magic bytes (0, 0, type, rank), the dims as big-endian u32, the values. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files/bytes.h"
#include "train/data_kinds.h"

static const ts_option rows[] = {
    {.name = "path",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_data_idx_options, path),
     .help = "folder with MNIST's files, or one file of images (idx3-ubyte, also .gz)"},
    TS_DATA_RANGE_ROW(ts_data_idx_options),
    TS_DATA_VAL_FRACTION_ROW(ts_data_idx_options),
    TS_DATA_LIMIT_ROW(ts_data_idx_options),
    {0},
};
static const ts_option_table table = {"idx", "IDX files of images (MNIST and its family)", rows,
                                      sizeof(ts_data_idx_options)};

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The images of a split in a folder, under one of the names that are in use. */
static ts_status find_in_folder(const char *folder, ts_split split, char *path, size_t bytes, ts_error *err)
{
    const char *stem = split == TS_SPLIT_TRAIN ? "train" : "t10k";
    static const char *const tails[] = {"-images-idx3-ubyte", "-images-idx3-ubyte.gz", "-images.idx3-ubyte",
                                        "-images.idx3-ubyte.gz"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(path, bytes, "%s/%s%s", folder, stem, tails[i]);
        if (is_file(path))
            return TS_OK;
    }
    return ts_fail(err, TS_ERR_DATA,
                   "%s: expected %s-images-idx3-ubyte or %s-images-idx3-ubyte.gz in this folder, found neither; put it "
                   "there, or give data.path the file of images itself (then data.val_fraction splits it)",
                   folder, stem, stem);
}

static int64_t big_endian(const uint8_t *b)
{
    return (int64_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

/* Checks the four bytes of magic and gives the rank. */
static ts_status read_magic(const ts_bytes *file, const char *path, int *rank, ts_error *err)
{
    const uint8_t *b = file->data;
    if (file->count < 4)
        return ts_fail(err, TS_ERR_DATA, "%s: expected an IDX file, found %zu bytes", path, file->count);
    if (b[0] || b[1] || b[2] != 8)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected an IDX file of unsigned bytes (it starts with 00 00 08), found %02x %02x %02x",
                       path, b[0], b[1], b[2]);
    *rank = b[3];
    if (*rank != 3 && *rank != 4)
        return ts_fail(err, TS_ERR_DATA, "%s: expected images, [N, H, W] or [N, H, W, C], found rank %d%s", path, *rank,
                       *rank == 1 ? ": this is a file of labels" : "");
    return TS_OK;
}

static ts_status read_header(const ts_bytes *file, const char *path, ts_dataset *data, ts_error *err)
{
    int rank = 0;
    int64_t dim[4] = {0, 0, 0, 1}, pixels;
    TS_TRY(read_magic(file, path, &rank, err));
    size_t header = 4 + 4 * (size_t)rank;
    for (int i = 0; i < rank && file->count >= header; i++)
        dim[i] = big_endian(file->data + 4 + 4 * i);
    ts_shape all = ts_shape_from(4, dim);
    if (file->count < header || !ts_shape_count_checked(all, &pixels) || (size_t)pixels != file->count - header)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected %s bytes behind a header of %zu, found %zu bytes in all; download it again", path,
                       ts_shape_print(all).text, header, file->count);
    if (pixels == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected images, found none: %s", path, ts_shape_print(all).text);
    data->sources = dim[0];
    data->item = ts_shape_from(3, dim + 1);
    data->bytes = file->data + header;
    return TS_OK;
}

static ts_status open_idx(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_idx_options *o = options;
    struct stat st;
    char path[PATH_MAX];
    ts_bytes file;
    if (stat(o->path, &st) != 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected a folder or a file of images: %s", o->path, strerror(errno));
    snprintf(path, sizeof path, "%s", o->path);
    data->own_split = S_ISDIR(st.st_mode);
    if (data->own_split)
        TS_TRY(find_in_folder(o->path, data->split, path, sizeof path, err));
    data->range = (ts_range)o->range;
    data->val_fraction = o->val_fraction;
    data->limit = o->limit;
    TS_TRY(ts_bytes_read_gz(&file, path, (size_t)1 << 40, TS_ERR_DATA, err));
    data->state = file.data;
    return read_header(&file, path, data, err);
}

static void close_idx(ts_dataset *data)
{
    ts_bytes file = {.data = data->state};
    ts_bytes_clear(&file);
}

const ts_dataset_kind ts_dataset_idx = {
    .table = &table, .open = open_idx, .read = ts_dataset_read_bytes, .close = close_idx};
