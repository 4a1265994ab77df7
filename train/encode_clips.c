/* encode for whole clips of motion: a tree, a folder of .npy, one .npy, the data of the config. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/hash.h"
#include "core/text.h"
#include "train/clip_reader.h"
#include "train/data_kinds.h"
#include "train/encode.h"

/* --- the list ----------------------------------------------------------------------------------------------------- */

static const char *const endings[] = {".npy", NULL};
static const ts_file_kind clip_files = {.what = "motion", .endings = endings, .bare = true, .code = TS_ERR_DATA};

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && access(path, F_OK) == 0;
}

/* Another tree, with the config's ideas of how one looks. */
static ts_status list_tree(ts_experiment *x, const char *path, const char *split, ts_clip_list *clips, ts_error *err)
{
    ts_data_motion_options o;
    ts_arena arena = {0};
    ts_status status = TS_OK;
    if (ts_config_table(x->config, "data") == ts_dataset_motion.table)
        o = *(const ts_data_motion_options *)ts_config_options(x->config, "data");
    else
        status = ts_options_default(ts_dataset_motion.table, &o, &arena, err);
    o.path = path;
    o.limit = 0;
    o.normalize = x->motion.mean != NULL;
    if (status == TS_OK)
        status = ts_dataset_motion.clips(clips, &o, split, &x->motion, err);
    ts_arena_clear(&arena);
    return status;
}

static ts_status list_input(ts_encoding *e, const char *input, ts_clip_list *clips, ts_error *err)
{
    const char *split = ts_arguments_text(e->arguments, "split");
    struct stat st;
    if (stat(input, &st) != 0)
        return ts_fail(err, TS_ERR_DATA, "%s: expected motion: %s", input, strerror(errno));
    if (is_there(input, "new_joint_vecs") || is_there(input, "motion_data"))
        return list_tree(&e->trained->experiment, input, split ? split : "all", clips, err);
    if (split)
        return ts_fail(err, TS_ERR_USAGE, "--split=%s: %s is no tree with lists of clips", TS_SHOWN(split), input);
    return S_ISDIR(st.st_mode) ? ts_file_list_walk(&clips->files, input, &clip_files, err)
                               : ts_file_list_add_file(&clips->files, input, &clip_files, err);
}

/* The input, or without one the config's data. */
static ts_status list_clips(ts_encoding *e, ts_clip_list *clips, ts_error *err)
{
    ts_experiment *x = &e->trained->experiment;
    const char *input = ts_arguments_positional(e->arguments, 1), *split = ts_arguments_text(e->arguments, "split");
    TS_TRY(ts_experiment_need_motion(x, err));
    TS_TRY(input ? list_input(e, input, clips, err) : ts_experiment_clips(x, split ? split : "all", clips, err));
    if (*clips->note)
        fprintf(stderr, "tessera: note: %s\n", clips->note);
    return TS_OK;
}

/* --- what must be the same to go on with a folder ----------------------------------------------------------------- */

static json_t *normalised_by(const ts_motion *m, ts_error *err)
{
    ts_hasher hasher;
    if (!m->mean)
        return json_null();
    if (ts_hasher_init(&hasher, err) != TS_OK)
        return NULL;
    ts_hasher_add(&hasher, m->mean, (size_t)m->columns * sizeof *m->mean);
    ts_hasher_add(&hasher, m->std, (size_t)m->columns * sizeof *m->std);
    ts_hash hash = ts_hasher_result(&hasher);
    ts_hasher_clear(&hasher);
    return json_string(ts_hash_print(hash).text);
}

static json_t *describe(const ts_experiment *x, const ts_clips *clips, ts_error *err)
{
    return json_pack("{sI sI so}", "frames_per_token", (json_int_t)ts_clips_token_frames(clips), "eval_frames",
                     (json_int_t)x->train->eval_frames, "normalised_by", normalised_by(&x->motion, err));
}

/* --- encoding ----------------------------------------------------------------------------------------------------- */

static void say_left_out(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "tessera: left out: %s\n", line);
}

static ts_status encode_clip(ts_encoding *e, ts_clips *clips, const ts_clip *clip, ts_error *err)
{
    int64_t groups = e->sink.kind.groups;
    int32_t *ids = ts_calloc((size_t)(clip->cut.tokens * groups), sizeof *ids);
    if (!ids)
        return ts_out_of_memory(err, (size_t)(clip->cut.tokens * groups) * sizeof *ids);
    ts_status status = ts_clips_encode(clips, clip->x, clip->cut.tokens, ids, err);
    if (status == TS_OK)
        status = ts_encoding_put(e, clip->name, clip->place, ids, clip->cut.tokens, err);
    ts_free(ids);
    return status;
}

/* It is in the sink, from now or from before. */
static void count_clip(ts_encoding *e, const ts_clip *clip)
{
    e->frames += clip->cut.frames;
    if (clip->cut.pieces == 1)
        return;
    e->pieces++;
    fprintf(stderr,
            "tessera: note: clip %s: %" PRId64 " frames, more than train.eval_frames=%" PRId64 ": encoded in %" PRId64
            " pieces\n",
            clip->name, clip->frames, e->trained->experiment.train->eval_frames, clip->cut.pieces);
}

static ts_status encode_all(ts_encoding *e, ts_clips *clips, ts_clip_reader *reader, ts_error *err)
{
    ts_clip clip;
    for (;;) {
        bool has = false;
        TS_TRY(ts_clip_reader_next(reader, &clip, err));
        if (!clip.name)
            return TS_OK;
        if (e->resume)
            TS_TRY(ts_token_sink_has(&e->sink, clip.name, clip.cut.tokens, &has, err));
        e->kept += has;
        if (!has)
            TS_TRY(ts_clip_reader_load(reader, &clip, err));
        if (clip.x)
            TS_TRY(encode_clip(e, clips, &clip, err));
        if (has || clip.x)
            count_clip(e, &clip);
        e->skipped = reader->skipped;
        e->too_short = reader->too_short;
        ts_encoding_progress(e);
    }
}

static ts_status encode(ts_encoding *e, const ts_clip_list *list, ts_clips *clips, ts_error *err)
{
    ts_experiment *x = &e->trained->experiment;
    ts_clip_reader reader;
    ts_clip_reader_options options = {.list = list, .first = e->shard, .of = e->shards, .say = say_left_out};
    int64_t count = list->files.count;
    e->of_all = count > e->shard ? (count - e->shard + e->shards - 1) / e->shards : 0;
    TS_TRY(ts_clip_reader_open(&reader, clips, &x->motion, options, err));
    ts_status status = encode_all(e, clips, &reader, err);
    if (status == TS_OK && e->sink.items == 0 && e->of_all > 0)
        status = ts_fail(err, TS_ERR_DATA, "none of the %" PRId64 " clips can be encoded; the first: %s", e->of_all,
                         reader.first.text);
    ts_clip_reader_close(&reader);
    return status;
}

ts_status ts_encode_clips(ts_encoding *e, ts_error *err)
{
    ts_experiment *x = &e->trained->experiment;
    ts_clip_list list = {0};
    ts_clips *clips = NULL;
    ts_status status;
    TS_GO(list_clips(e, &list, err));
    TS_GO(ts_clips_open(&clips, x, e->trained->ema, err));
    TS_GO(ts_encoding_open(e, (ts_shape){0}, describe(x, clips, err), err));
    status = encode(e, &list, clips, err);
out:
    ts_clips_close(clips);
    ts_file_list_clear(&list.files);
    return status;
}
