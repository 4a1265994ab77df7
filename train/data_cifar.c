/* CIFAR's binary version. Each file must be a whole number of records whose labels are in range; that tells a cut
 * download, and CIFAR-10 from CIFAR-100, without a checksum. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/memory.h"
#include "train/data_kinds.h"

static const ts_option rows[] = {
    {.name = "path",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_data_cifar_options, path),
     .help = "folder with data_batch_1.bin ... test_batch.bin (CIFAR-10) or train.bin, test.bin (CIFAR-100)"},
    TS_DATA_RANGE_ROW(ts_data_cifar_options),
    TS_DATA_LIMIT_ROW(ts_data_cifar_options),
    TS_DATA_FLIP_ROW(ts_data_cifar_options),
    {0},
};
static const ts_option_table table = {"cifar", "CIFAR-10 or CIFAR-100, binary version", rows,
                                      sizeof(ts_data_cifar_options)};

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, MAX_FILES = 5 };

typedef struct {
    const char *name, *marker, *folder;
    int label_bytes;
    int classes[2]; /* of each label byte */
    const char *train[MAX_FILES + 1], *val[2];
} layout;

static const layout layouts[] = {
    {"CIFAR-10",
     "data_batch_1.bin",
     "cifar-10-batches-bin",
     1,
     {10},
     {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
     {"test_batch.bin"}},
    {"CIFAR-100", "train.bin", "cifar-100-binary", 2, {20, 100}, {"train.bin"}, {"test.bin"}},
};

static bool exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && stat(path, &st) == 0;
}

/* Which of the two it is, in `path` itself or in the folder that the archive unpacks to. */
static const layout *find_layout(const char *path, char *folder, size_t bytes)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const layout *l = &layouts[i];
        for (int nested = 0; nested < 2; nested++) {
            snprintf(folder, bytes, "%s%s%s", path, nested ? "/" : "", nested ? l->folder : "");
            if (exists(folder, l->marker) || exists(folder, l->val[0]))
                return l;
        }
    }
    return NULL;
}

static ts_status file_records(const char *path, const layout *l, int64_t *records, ts_error *err)
{
    struct stat st;
    int64_t record = l->label_bytes + PIXELS;
    if (stat(path, &st) != 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected this file of %s: %s", path, l->name, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size % record)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected records of %" PRId64 " bytes (%s), found %" PRId64
                       " bytes, not a whole number of records; download it again",
                       path, record, l->name, (int64_t)st.st_size);
    *records = st.st_size / record;
    return TS_OK;
}

/* [3, 32, 32] to [32, 32, 3]. */
static void interleave(const uint8_t *planes, uint8_t *image)
{
    for (int i = 0; i < PLANE; i++)
        for (int c = 0; c < 3; c++)
            image[3 * i + c] = planes[c * PLANE + i];
}

static ts_status read_records(FILE *file, const char *path, const layout *l, int64_t records, uint8_t *images,
                              ts_error *err)
{
    uint8_t record[2 + PIXELS];
    size_t bytes = (size_t)l->label_bytes + PIXELS;
    for (int64_t i = 0; i < records; i++) {
        if (fread(record, bytes, 1, file) != 1)
            return ts_fail(err, TS_ERR_DATA, "%s: expected %" PRId64 " records, found %" PRId64 ": %s", path, records,
                           i, ferror(file) ? strerror(errno) : "the file became shorter while it was read");
        for (int k = 0; k < l->label_bytes; k++)
            if (record[k] >= l->classes[k])
                return ts_fail(err, TS_ERR_DATA,
                               "%s: record %" PRId64 ": expected a label below %d, found %d; this is no %s file", path,
                               i, l->classes[k], record[k], l->name);
        interleave(record + l->label_bytes, images + i * PIXELS);
    }
    return TS_OK;
}

static ts_status read_file(const char *path, const layout *l, int64_t records, uint8_t *images, ts_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return ts_fail(err, TS_ERR_DATA, "%s: cannot be read: %s", path, strerror(errno));
    ts_status status = read_records(file, path, l, records, images, err);
    fclose(file);
    return status;
}

static ts_status read_files(ts_dataset *data, const layout *l, const char *folder, ts_error *err)
{
    const char *const *names = data->split == TS_SPLIT_TRAIN ? l->train : l->val;
    char path[PATH_MAX];
    int64_t records[MAX_FILES] = {0}, total = 0;
    for (int i = 0; names[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        TS_TRY(file_records(path, l, &records[i], err));
        total += records[i];
    }
    data->sources = total;
    uint8_t *to = ts_dataset_alloc_bytes(data, err);
    if (!to)
        return TS_ERR_RUNTIME;
    for (int i = 0; names[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        TS_TRY(read_file(path, l, records[i], to, err));
        to += records[i] * PIXELS;
    }
    return TS_OK;
}

static ts_status open_cifar(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_cifar_options *o = options;
    char folder[PATH_MAX / 2];
    const layout *l = find_layout(o->path, folder, sizeof folder);
    if (!l)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected a folder with data_batch_1.bin (CIFAR-10) or train.bin (CIFAR-100), the binary "
                       "version, found neither",
                       o->path);
    data->item = ts_shape_of(SIDE, SIDE, 3);
    data->own_split = true;
    data->range = (ts_range)o->range;
    data->limit = o->limit;
    data->flip = o->flip;
    return read_files(data, l, folder, err);
}

const ts_dataset_kind ts_dataset_cifar = {
    .table = &table, .open = open_cifar, .read = ts_dataset_read_bytes, .close = ts_dataset_close_bytes};
