#include "train/import_bvh.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/file_list.h"
#include "train/import_split.h"
#include "train/joint_map.h"
#include "train/retarget.h"

enum { ID = 256 };

typedef struct {
    const ts_import_bvh_options *options;
    ts_import_bvh_result *result;
    ts_motion_layout layout;
    ts_file_list files; /* whose names become ids */
    ts_joint_map map;
    ts_import_split split;
    ts_tree_writer writer;
    ts_arena arena;
} import;

/* ---- ids ---- */

/* The new name of a folder, or NULL. "a=b,c=d" is looked through as it is. */
static const char *renamed(const char *pairs, const char *folder, size_t bytes, size_t *new_bytes)
{
    while (*pairs) {
        size_t n = strcspn(pairs, ","), name = strcspn(pairs, "=");
        if (name == bytes && memcmp(pairs, folder, bytes) == 0) {
            *new_bytes = n - name - 1;
            return pairs + name + 1;
        }
        pairs += n + (pairs[n] == ',');
    }
    return NULL;
}

static ts_status check_rename(const char *pairs, ts_error *err)
{
    for (const char *p = pairs; *p;) {
        size_t n = strcspn(p, ","), name = strcspn(p, "=");
        if (name == 0 || name >= n || memchr(p + name + 1, '=', n - name - 1) || memchr(p, '/', n) ||
            p[n + (p[n] == ',')] == ',')
            return ts_fail(err, TS_ERR_USAGE, "rename: expected OLD=NEW,OLD=NEW ..., names of folders, found '%s'",
                           TS_SHOWN(pairs));
        p += n + (p[n] == ',');
    }
    return TS_OK;
}

/* Letters of every script, digits, '-', '.', '_' stay: an id is a line in a list and part of a path. */
static char plain(char c)
{
    bool stays = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c > 127 ||
                 c == '-' || c == '.' || c == '_';
    return stays ? c : '_';
}

/* "cmu-131/131_01" -> "cmu_131_01". Returns its length without the cut. */
static size_t make_id(char id[ID], const char *name, const char *pairs)
{
    size_t used = 0;
    id[0] = '\0';
    for (const char *part = name; *part;) {
        size_t n = strcspn(part, "/"), kept = n;
        const char *text = part[n] ? renamed(pairs, part, n, &kept) : NULL;
        used = ts_text_append(id, ID, used, "%.*s%s", (int)kept, text ? text : part, part[n] && kept ? "_" : "");
        part += n + (part[n] == '/');
    }
    for (char *c = id; *c; c++)
        *c = plain(*c);
    return used;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static ts_status expect_different(const ts_file_list *files, ts_error *err)
{
    size_t n = (size_t)files->count;
    const char **sorted = ts_calloc(n, sizeof *sorted);
    if (!sorted)
        return ts_out_of_memory(err, n * sizeof *sorted);
    memcpy(sorted, files->name, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_text);
    ts_status status = TS_OK;
    for (size_t i = 1; status == TS_OK && i < n; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status =
                ts_fail(err, TS_ERR_DATA, "two recordings would both be called '%s'; rename a folder with --rename",
                        TS_SHOWN(sorted[i]));
    ts_free(sorted);
    return status;
}

static ts_status find_recordings(import *m, ts_error *err)
{
    static const char *const endings[] = {".bvh", NULL};
    const ts_file_kind kind = {.what = "BVH recordings", .endings = endings, .bare = true, .code = TS_ERR_DATA};
    TS_TRY(check_rename(m->options->rename, err));
    TS_TRY(ts_file_list_walk(&m->files, m->options->from, &kind, err));
    for (int64_t i = 0; i < m->files.count; i++) {
        char id[ID];
        if (make_id(id, m->files.name[i], m->options->rename) >= ID - 8)
            return ts_fail(err, TS_ERR_DATA, "%s: its id would be longer than %d bytes", m->files.path[i], ID - 8);
        if (!(m->files.name[i] = ts_arena_strdup(&m->arena, id)))
            return ts_out_of_memory(err, ID);
    }
    return expect_different(&m->files, err);
}

/* ---- one recording ---- */

/* Equal clips: boundaries at whole parts of the rows, rounded down. */
static ts_status write_clips(import *m, int64_t recording, const float *rows, int64_t frames, ts_error *err)
{
    const char *name = m->files.name[recording];
    int64_t cut = m->options->cut, pieces = cut && frames > cut ? (frames + cut - 1) / cut : 1;
    for (int64_t i = 0; i < pieces; i++) {
        char id[ID + 24];
        int64_t first = i * frames / pieces, end = (i + 1) * frames / pieces;
        snprintf(id, sizeof id, pieces > 1 ? "%s_%02" PRId64 : "%s", name, i);
        TS_TRY(ts_tree_writer_add(&m->writer, id, ts_import_split_of(&m->split, recording, id),
                                  rows + first * m->layout.columns, end - first, err));
    }
    return TS_OK;
}

static ts_status write_motion(import *m, int64_t recording, const ts_retargeted *r, ts_error *err)
{
    if (r->frames < 2)
        return ts_fail(err, TS_ERR_DATA, "%s: one frame at %g a second; a row of motion is made from two",
                       m->files.path[recording], m->layout.fps);
    int64_t count = (r->frames - 1) * m->layout.columns;
    float *rows = ts_calloc((size_t)count, sizeof *rows);
    if (!rows)
        return ts_out_of_memory(err, (size_t)count * sizeof *rows);
    ts_motion_features(rows, &m->layout, &ts_skeleton_22, r->positions, r->frames);
    ts_status status = write_clips(m, recording, rows, r->frames - 1, err);
    ts_free(rows);
    return status;
}

static ts_status read_recording(const import *m, int64_t recording, ts_retargeted *r, ts_error *err)
{
    const char *path = m->files.path[recording];
    int source[TS_MAX_JOINTS];
    ts_bvh bvh;
    *r = (ts_retargeted){0};
    ts_status status = ts_bvh_read(&bvh, path, err);
    if (status == TS_OK)
        status = ts_joint_map_find(source, m->options->map ? &m->map : NULL, &m->layout, &bvh, path, err);
    if (status == TS_OK)
        status = ts_retarget(r, &bvh, source, &m->layout, &ts_skeleton_22, path, err);
    ts_bvh_clear(&bvh);
    return status;
}

static ts_status take(import *m, int64_t recording, ts_error *err)
{
    ts_retargeted r;
    ts_error why = {0};
    ts_status status = read_recording(m, recording, &r, &why);
    if (status == TS_OK)
        status = write_motion(m, recording, &r, &why);
    ts_free(r.positions);
    m->result->recordings += status == TS_OK;
    m->result->reference_poses += status == TS_OK && r.dropped_first;
    if (status == TS_OK)
        return TS_OK;
    if (status == TS_ERR_DATA && m->options->skip_broken) {
        if (m->result->skipped++ == 0)
            m->result->first_skip = why;
        return TS_OK;
    }
    if (err)
        *err = why;
    return status;
}

/* ---- all of them ---- */

static ts_status run(import *m, ts_error *err)
{
    const ts_import_bvh_options *o = m->options;
    TS_TRY(find_recordings(m, err));
    if (o->map)
        TS_TRY(ts_joint_map_load(&m->map, &m->layout, o->map, &m->arena, err));
    TS_TRY(ts_import_split_open(&m->split, o->split, m->files.count, o->seed, err));
    TS_TRY(ts_tree_writer_begin(&m->writer, o->to, &m->layout, err));
    for (int64_t i = 0; i < m->files.count; i++)
        TS_TRY(take(m, i, err));
    if (m->writer.clips == 0)
        return ts_fail(err, TS_ERR_DATA, "%s: none of its %" PRId64 " recordings can be used; the first: %s", o->from,
                       m->files.count, m->result->first_skip.text);
    return ts_tree_writer_finish(&m->writer, err);
}

ts_status ts_import_bvh(ts_import_bvh_result *result, const ts_import_bvh_options *options, ts_error *err)
{
import m = {.options = options, .result = result, .layout = * ts_motion_layout_find("humanml3d") };
    *result = (ts_import_bvh_result){0};
    snprintf(m.layout.name, sizeof m.layout.name, "tessera22");
    m.layout.fps = options->fps;
    ts_status status = run(&m, err);
    result->clips = m.writer.clips;
    result->frames = m.writer.frames;
    memcpy(result->part_clips, m.writer.part_clips, sizeof result->part_clips);
    ts_tree_writer_clear(&m.writer);
    ts_import_split_close(&m.split);
    ts_file_list_clear(&m.files);
    ts_arena_clear(&m.arena);
    return status;
}
