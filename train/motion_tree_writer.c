#include "train/motion_tree_writer.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/files/npy.h"
#include "core/files/replace.h"
#include "train/file_list.h"
#include "train/motion_layout_file.h"

/* ---- lists ---- */

static ts_status add_line(ts_id_lines *lines, const char *id, ts_error *err)
{
    size_t bytes = strlen(id) + 1;
    if (lines->used + bytes > lines->room) {
        size_t room = 2 * lines->room + bytes + 1024;
        char *grown = ts_realloc(lines->text, room, 1);
        if (!grown)
            return ts_out_of_memory(err, room);
        lines->text = grown;
        lines->room = room;
    }
    memcpy(lines->text + lines->used, id, bytes - 1);
    lines->text[lines->used + bytes - 1] = '\n';
    lines->used += bytes;
    return TS_OK;
}

static ts_status write_bytes(const ts_tree_writer *w, const char *name, const char *text, size_t bytes, ts_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", w->path, name);
    return ts_replace_file(path, text ? text : "", bytes, TS_REPLACE_DROP, TS_ERR_DATA, err);
}

/* ---- arrays ---- */

static ts_status write_floats(const ts_tree_writer *w, const char *name, ts_shape shape, const float *x, ts_error *err)
{
    char path[PATH_MAX];
    ts_tensor tensor = {TS_F32, shape, (void *)x};
    if (snprintf(path, sizeof path, "%s/%s", w->path, name) >= (int)sizeof path)
        return ts_fail(err, TS_ERR_DATA, "%s: a path below it is longer than %d bytes", w->path, PATH_MAX);
    return ts_npy_write(path, &tensor, err);
}

static ts_status write_statistics(const ts_tree_writer *w, ts_error *err)
{
    int64_t n = w->layout.columns;
    float *mean = ts_calloc((size_t)(2 * n), sizeof *mean);
    if (!mean)
        return ts_out_of_memory(err, (size_t)(2 * n) * sizeof *mean);
    float *std = mean + n;
    ts_column_sums_result(&w->sums, mean, std);
    ts_std_share_in_groups(&w->layout, std);
    for (int64_t i = 0; i < n; i++)
        std[i] = std[i] > 0 ? std[i] : 1;
    ts_status status = write_floats(w, "Mean.npy", ts_shape_of(n), mean, err);
    if (status == TS_OK)
        status = write_floats(w, "Std.npy", ts_shape_of(n), std, err);
    ts_free(mean);
    return status;
}

static ts_status write_layout(const ts_tree_writer *w, ts_error *err)
{
    char *text;
    TS_TRY(ts_motion_layout_print(&w->layout, &text, err));
    ts_status status = write_bytes(w, "layout.yaml", text, strlen(text), err);
    ts_free(text);
    return status;
}

/* ---- the tree ---- */

static ts_status expect_empty(const char *path, ts_error *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return ts_fail(err, TS_ERR_DATA, "%s: cannot be read as a folder: %s", path, strerror(errno));
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(dir));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(dir);
    return empty ? TS_OK
                 : ts_fail(err, TS_ERR_DATA, "%s: this folder is not empty; give one that is, or a new one", path);
}

ts_status ts_tree_writer_begin(ts_tree_writer *w, const char *path, const ts_motion_layout *layout, ts_error *err)
{
    char clips[PATH_MAX];
    *w = (ts_tree_writer){.layout = *layout, .path = ts_strdup(path)};
    if (!w->path)
        return ts_out_of_memory(err, strlen(path));
    TS_TRY(ts_column_sums_init(&w->sums, layout->columns, err));
    TS_TRY(ts_folder_make(path, TS_ERR_DATA, err));
    TS_TRY(expect_empty(path, err));
    snprintf(clips, sizeof clips, "%s/new_joint_vecs", path);
    return ts_folder_make(clips, TS_ERR_DATA, err);
}

void ts_tree_writer_clear(ts_tree_writer *w)
{
    ts_column_sums_clear(&w->sums);
    ts_free(w->all.text);
    for (int i = 0; i < TS_PARTS; i++)
        ts_free(w->part[i].text);
    ts_free(w->path);
    *w = (ts_tree_writer){0};
}

ts_status ts_tree_writer_add(ts_tree_writer *w, const char *id, ts_tree_part part, const float *rows, int64_t frames,
                             ts_error *err)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "new_joint_vecs/%s.npy", id);
    TS_TRY(write_floats(w, name, ts_shape_of(frames, w->layout.columns), rows, err));
    TS_TRY(add_line(&w->all, id, err));
    w->clips++;
    w->frames += frames;
    if (part == TS_PART_NONE)
        return TS_OK;
    if (part == TS_PART_TRAIN)
        ts_column_sums_add(&w->sums, rows, frames);
    w->part_clips[part]++;
    return add_line(&w->part[part], id, err);
}

ts_status ts_tree_writer_finish(ts_tree_writer *w, ts_error *err)
{
    static const char *const names[TS_PARTS] = {"train.txt", "val.txt", "test.txt"};
    if (w->sums.frames == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: no clip is for training: there is nothing to take mean and deviation of",
                       w->path);
    TS_TRY(write_statistics(w, err));
    TS_TRY(write_layout(w, err));
    TS_TRY(write_bytes(w, "all.txt", w->all.text, w->all.used, err));
    for (int i = TS_PARTS - 1; i >= 0; i--)
        TS_TRY(write_bytes(w, names[i], w->part[i].text, w->part[i].used, err));
    return TS_OK;
}
