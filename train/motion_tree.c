#define _GNU_SOURCE
#include "train/motion_tree.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/bytes.h"
#include "core/text.h"
#include "train/column_sums.h"

/* ---- where things are ---- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool all_there(const ts_motion_tree *t)
{
    return t->clips && t->mean && t->std && t->splits;
}

ts_status ts_motion_tree_find(ts_motion_tree *tree, const char *path, const char *type, const char *version,
                              ts_arena *arena, ts_error *err)
{
    char humanml[PATH_MAX], million[PATH_MAX];
    snprintf(humanml, sizeof humanml, "%s/new_joint_vecs", path);
    snprintf(million, sizeof million, "%s/motion_data/%s", path, type);
    if (exists(humanml))
        *tree = (ts_motion_tree){.clips = ts_arena_strdup(arena, humanml),
                                 .mean = ts_arena_format(arena, "%s/Mean.npy", path),
                                 .std = ts_arena_format(arena, "%s/Std.npy", path),
                                 .splits = ts_arena_strdup(arena, path)};
    else if (exists(million))
        *tree = (ts_motion_tree){.clips = ts_arena_strdup(arena, million),
                                 .mean = ts_arena_format(arena, "%s/mean_std/%s/mean.npy", path, type),
                                 .std = ts_arena_format(arena, "%s/mean_std/%s/std.npy", path, type),
                                 .splits = ts_arena_format(arena, "%s/split/%s", path, version)};
    else
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected a folder with motion in new_joint_vecs (HumanML3D) or motion_data/%s "
                       "(MotionMillion; data.motion_type names it)",
                       path, type);
    return all_there(tree) ? TS_OK : ts_out_of_memory(err, PATH_MAX);
}

/* ---- splits ---- */

enum { MAX_SPLIT_BYTES = 1 << 30 };

/* The next line that is not blank, cut to its text, with *number counting all; NULL at the end. */
static char *next_line(char **at, int64_t *number)
{
    while (**at) {
        char *line = *at, *end = strchrnul(line, '\n');
        *at = *end ? end + 1 : end;
        (*number)++;
        line += strspn(line, " \t\r");
        while (end > line && strchr(" \t\r", end[-1]))
            end--;
        *end = '\0';
        if (end > line)
            return line;
    }
    return NULL;
}

static bool leads_out(const char *id)
{
    return id[0] == '/' || strcmp(id, "..") == 0 || strncmp(id, "../", 3) == 0 || strstr(id, "/../") != NULL;
}

static int64_t count_lines(const char *text)
{
    int64_t n = 1;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

static ts_status split_ids(ts_motion_ids *ids, char *text, const char *path, ts_arena *arena, ts_error *err)
{
    size_t room = (size_t)count_lines(text) * sizeof *ids->id;
    *ids = (ts_motion_ids){.id = ts_arena_alloc(arena, room)};
    if (!ids->id)
        return ts_out_of_memory(err, room);
    int64_t number = 0;
    for (char *line; (line = next_line(&text, &number));) {
        if (leads_out(line))
            return ts_fail(err, TS_ERR_DATA, "%s:%" PRId64 ": expected the id of a clip, found '%s'", path, number,
                           TS_SHOWN(line));
        if (!(ids->id[ids->count++] = ts_arena_strdup(arena, line)))
            return ts_out_of_memory(err, strlen(line));
    }
    return ids->count ? TS_OK : ts_fail(err, TS_ERR_DATA, "%s: expected ids of clips, one a line, found none", path);
}

static ts_status read_split(ts_motion_ids *ids, const char *path, ts_arena *arena, ts_error *err)
{
    ts_bytes bytes;
    TS_TRY(ts_bytes_read(&bytes, path, MAX_SPLIT_BYTES, TS_ERR_DATA, err));
    ts_status status = split_ids(ids, (char *)bytes.data, path, arena, err);
    ts_bytes_clear(&bytes);
    return status;
}

static void split_path(char path[PATH_MAX], const ts_motion_tree *tree, const char *split)
{
    snprintf(path, PATH_MAX, "%s/%s.txt", tree->splits, split);
}

/* One split behind the other. */
static ts_status read_parts(ts_motion_ids *ids, const ts_motion_tree *tree, ts_arena *arena, ts_error *err)
{
    static const char *const splits[] = {"train", "val", "test"};
    char path[PATH_MAX];
    ts_motion_ids part[3] = {{0}};
    int64_t count = 0;
    for (int i = 0; i < 3; i++) {
        split_path(path, tree, splits[i]);
        if (exists(path))
            TS_TRY(read_split(&part[i], path, arena, err));
        count += part[i].count;
    }
    if (count == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected all.txt, or train.txt, val.txt or test.txt with ids of clips",
                       tree->splits);
    *ids = (ts_motion_ids){.id = ts_arena_alloc(arena, (size_t)count * sizeof *ids->id)};
    if (!ids->id)
        return ts_out_of_memory(err, (size_t)count * sizeof *ids->id);
    for (int i = 0; i < 3; i++)
        for (int64_t k = 0; k < part[i].count; k++)
            ids->id[ids->count++] = part[i].id[k];
    return TS_OK;
}

ts_status ts_motion_ids_read(ts_motion_ids *ids, const ts_motion_tree *tree, const char *split, ts_arena *arena,
                             ts_error *err)
{
    char path[PATH_MAX];
    split_path(path, tree, split);
    if (strcmp(split, "all") == 0 && !exists(path))
        return read_parts(ids, tree, arena, err);
    return read_split(ids, path, arena, err);
}

/* ---- clips ---- */

static void clip_path(char path[PATH_MAX], const ts_motion_tree *tree, const char *id)
{
    snprintf(path, PATH_MAX, "%s/%s.npy", tree->clips, id);
}

const char *ts_motion_clip_path(const ts_motion_tree *tree, const char *id, ts_arena *arena)
{
    return ts_arena_format(arena, "%s/%s.npy", tree->clips, id);
}

static ts_status check_shape(const ts_npy_info *info, int64_t columns, const char *path, ts_error *err)
{
    const int64_t *dim = info->shape.dim;
    if (info->dtype != TS_F32 || info->shape.rank != 2 || dim[0] < 1 || dim[1] < 1)
        return ts_fail(err, TS_ERR_DATA, "%s: expected floats [frames, columns], found %s %s", path,
                       ts_dtype_name(info->dtype), ts_shape_print(info->shape).text);
    if (columns && dim[1] != columns)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: expected %" PRId64
                       " columns, as data.columns, the layout, the first clip or the model says, found %" PRId64,
                       path, columns, dim[1]);
    return TS_OK;
}

static ts_status check_finite(const ts_npy *clip, const char *path, ts_error *err)
{
    const float *x = clip->tensor.data;
    int64_t columns = clip->tensor.shape.dim[1], n = clip->tensor.shape.dim[0] * columns;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return ts_fail(err, TS_ERR_DATA, "%s: frame %" PRId64 ", column %" PRId64 ": expected a number, found %g",
                           path, i / columns, i % columns, (double)x[i]);
    return TS_OK;
}

ts_status ts_motion_file_shape(ts_shape *shape, const char *path, int64_t columns, ts_error *err)
{
    ts_npy_info info;
    TS_TRY(ts_npy_read_info(&info, path, err));
    *shape = info.shape;
    return check_shape(&info, columns, path, err);
}

ts_status ts_motion_clip_shape(ts_shape *shape, const ts_motion_tree *tree, const char *id, int64_t columns,
                               ts_error *err)
{
    char path[PATH_MAX];
    clip_path(path, tree, id);
    return ts_motion_file_shape(shape, path, columns, err);
}

ts_status ts_motion_file_open(ts_npy *clip, const char *path, int64_t columns, ts_error *err)
{
    TS_TRY(ts_npy_open(clip, path, err));
    ts_status status = check_shape(&clip->info, columns, path, err);
    if (status == TS_OK)
        status = check_finite(clip, path, err);
    if (status != TS_OK)
        ts_npy_close(clip);
    return status;
}

ts_status ts_motion_clip_open(ts_npy *clip, const ts_motion_tree *tree, const char *id, int64_t columns, ts_error *err)
{
    char path[PATH_MAX];
    clip_path(path, tree, id);
    return ts_motion_file_open(clip, path, columns, err);
}

/* ---- mean and deviation ---- */

static ts_status read_row(const float **row, const char *path, int64_t columns, ts_arena *arena, ts_error *err)
{
    ts_npy npy;
    TS_TRY(ts_npy_open(&npy, path, err));
    size_t bytes = (size_t)columns * sizeof(float);
    float *copy = ts_arena_alloc(arena, bytes);
    ts_status status = TS_OK;
    if (!copy)
        status = ts_out_of_memory(err, bytes);
    else if (npy.tensor.dtype != TS_F32 || ts_shape_count(npy.tensor.shape) != columns)
        status = ts_fail(err, TS_ERR_DATA, "%s: expected %" PRId64 " floats, one for each column, found %s", path,
                         columns, ts_shape_print(npy.tensor.shape).text);
    else
        memcpy(copy, npy.tensor.data, bytes);
    ts_npy_close(&npy);
    *row = copy;
    return status;
}

ts_status ts_motion_statistics_read(ts_motion_statistics *s, const ts_motion_tree *tree, int64_t columns,
                                    ts_arena *arena, ts_error *err)
{
    *s = (ts_motion_statistics){.columns = columns};
    TS_TRY(read_row(&s->mean, tree->mean, s->columns, arena, err));
    TS_TRY(read_row(&s->std, tree->std, s->columns, arena, err));
    for (int64_t i = 0; i < s->columns; i++) {
        if (!isfinite(s->mean[i]))
            return ts_fail(err, TS_ERR_DATA, "%s: column %" PRId64 ": expected a number, found %g", tree->mean, i,
                           (double)s->mean[i]);
        if (!(s->std[i] > 0) || !isfinite(s->std[i]))
            return ts_fail(err, TS_ERR_DATA,
                           "%s: column %" PRId64 ": expected a deviation above 0, found %g; give it 1 where a column "
                           "never changes",
                           tree->std, i, (double)s->std[i]);
    }
    return TS_OK;
}

static ts_status add_clips(ts_column_sums *s, const ts_motion_tree *tree, const ts_motion_ids *ids, ts_error *err)
{
    for (int64_t i = 0; i < ids->count; i++) {
        ts_npy clip;
        ts_status status = ts_motion_clip_open(&clip, tree, ids->id[i], s->columns, err);
        if (status == TS_ERR_DATA)
            continue;
        TS_TRY(status);
        ts_column_sums_add(s, clip.tensor.data, clip.tensor.shape.dim[0]);
        ts_npy_close(&clip);
    }
    if (s->frames == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: no clip of the training split can be read, so that there is no mean",
                       tree->clips);
    return TS_OK;
}

static ts_status compute(ts_motion_statistics *s, const ts_motion_tree *tree, const ts_motion_ids *ids, ts_arena *arena,
                         ts_error *err)
{
    size_t n = (size_t)s->columns;
    float *mean = ts_arena_alloc(arena, n * sizeof *mean), *std = ts_arena_alloc(arena, n * sizeof *std);
    if (!mean || !std)
        return ts_out_of_memory(err, n * sizeof *mean);
    ts_column_sums all;
    ts_status status = ts_column_sums_init(&all, s->columns, err);
    if (status == TS_OK)
        status = add_clips(&all, tree, ids, err);
    if (status == TS_OK)
        ts_column_sums_result(&all, mean, std);
    for (size_t i = 0; i < n; i++)
        std[i] = std[i] > 0 ? std[i] : 1;
    ts_column_sums_clear(&all);
    s->mean = mean;
    s->std = std;
    return status;
}

ts_status ts_motion_statistics_get(ts_motion_statistics *statistics, const ts_motion_tree *tree,
                                   const ts_motion_ids *ids, int64_t columns, ts_arena *arena, ts_error *err)
{
    *statistics = (ts_motion_statistics){.columns = columns};
    bool mean = exists(tree->mean), std = exists(tree->std);
    if (mean != std)
        return ts_fail(err, TS_ERR_DATA, "%s: missing, while %s is there; remove that one too to have both computed",
                       mean ? tree->std : tree->mean, mean ? tree->mean : tree->std);
    return mean ? ts_motion_statistics_read(statistics, tree, columns, arena, err)
                : compute(statistics, tree, ids, arena, err);
}
