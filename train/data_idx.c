/* IDX: four magic bytes (0, 0, type, rank), the dims as big-endian u32, the values. zlib's gz functions read plain
 * files too, so there is one path for both. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "core/memory.h"
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

/* gzread takes unsigned sizes and may stop early. Returns how many bytes came. */
static int64_t read_upto(gzFile file, void *to, int64_t bytes)
{
    int64_t done = 0;
    while (done < bytes) {
        int64_t ask = bytes - done < (1 << 30) ? bytes - done : 1 << 30;
        int got = gzread(file, (char *)to + done, (unsigned)ask);
        if (got <= 0)
            break;
        done += got;
    }
    return done;
}

/* What zlib or the system says was wrong; "" where the file just ended. */
static const char *trouble(gzFile file)
{
    int code;
    const char *text = gzerror(file, &code);
    if (code == Z_ERRNO)
        return strerror(errno);
    return code == Z_OK || code == Z_STREAM_END ? "" : text;
}

static ts_status cut_short(gzFile file, const char *path, int64_t expected, int64_t found, ts_error *err)
{
    const char *why = trouble(file);
    return ts_fail(err, TS_ERR_DATA, "%s: expected %" PRId64 " bytes of IDX data, found %" PRId64 "%s%s", path,
                   expected, found, *why ? ": " : "; the file is cut short", why);
}

static int64_t big_endian(const uint8_t *b)
{
    return (int64_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

static ts_status read_header(gzFile file, const char *path, ts_dataset *data, ts_error *err)
{
    uint8_t magic[4], dims[16];
    int64_t got = read_upto(file, magic, 4);
    if (got < 4)
        return cut_short(file, path, 4, got, err);
    int rank = magic[3];
    if (magic[0] || magic[1] || magic[2] != 8)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected an IDX file of unsigned bytes (it starts with 00 00 08), found %02x %02x %02x",
                       path, magic[0], magic[1], magic[2]);
    if (rank != 3 && rank != 4)
        return ts_fail(err, TS_ERR_DATA, "%s: expected images, [N, H, W] or [N, H, W, C], found rank %d%s", path, rank,
                       rank == 1 ? ": this is a file of labels" : "");
    got = read_upto(file, dims, 4 * rank);
    if (got < 4 * rank)
        return cut_short(file, path, 4 + 4 * rank, 4 + got, err);
    data->sources = big_endian(dims);
    data->item = ts_shape_of(big_endian(dims + 4), big_endian(dims + 8), rank == 4 ? big_endian(dims + 12) : 1);
    return TS_OK;
}

/* Refuses sizes that the file cannot hold (deflate shrinks at most 1032 times) before any memory is asked for. */
static ts_status check_sizes(const char *path, const ts_dataset *data, int64_t *bytes, ts_error *err)
{
    struct stat st = {0};
    const int64_t *hwc = data->item.dim;
    ts_shape all = ts_shape_of(data->sources, hwc[0], hwc[1], hwc[2]);
    stat(path, &st);
    if (!ts_shape_count_checked(all, bytes) || *bytes / 1032 > (int64_t)st.st_size)
        return ts_fail(err, TS_ERR_DATA, "%s: the header promises %s bytes, more than a file of %" PRId64 " can hold",
                       path, ts_shape_print(all).text, (int64_t)st.st_size);
    if (*bytes == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected images, found none: the header says %s", path,
                       ts_shape_print(all).text);
    return TS_OK;
}

static ts_status read_file(gzFile file, const char *path, ts_dataset *data, ts_error *err)
{
    int64_t bytes;
    TS_TRY(read_header(file, path, data, err));
    TS_TRY(check_sizes(path, data, &bytes, err));
    data->bytes = ts_alloc_aligned((size_t)bytes);
    if (!data->bytes)
        return ts_out_of_memory(err, (size_t)bytes);
    int64_t got = read_upto(file, data->bytes, bytes);
    if (got < bytes)
        return cut_short(file, path, bytes, got, err);
    uint8_t more; /* this read also makes zlib verify the checksum at the end */
    if (read_upto(file, &more, 1) == 1)
        return ts_fail(err, TS_ERR_DATA, "%s: expected %" PRId64 " bytes of pixels, found more behind them", path,
                       bytes);
    const char *why = trouble(file);
    return *why ? ts_fail(err, TS_ERR_DATA, "%s: damaged: %s", path, why) : TS_OK;
}

static ts_status open_idx(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_idx_options *o = options;
    struct stat st;
    char path[PATH_MAX];
    if (stat(o->path, &st) != 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected a folder or a file of images: %s", o->path, strerror(errno));
    snprintf(path, sizeof path, "%s", o->path);
    data->own_split = S_ISDIR(st.st_mode);
    if (data->own_split)
        TS_TRY(find_in_folder(o->path, data->split, path, sizeof path, err));
    data->range = (ts_range)o->range;
    data->val_fraction = o->val_fraction;
    data->limit = o->limit;
    gzFile file = gzopen(path, "rb");
    if (!file)
        return ts_fail(err, TS_ERR_DATA, "%s: cannot be read: %s", path, errno ? strerror(errno) : "out of memory");
    gzbuffer(file, 1 << 17);
    ts_status status = read_file(file, path, data, err);
    gzclose(file);
    return status;
}

const ts_dataset_kind ts_dataset_idx = {&table, open_idx, ts_dataset_read_bytes, NULL};
