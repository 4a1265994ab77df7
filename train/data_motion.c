/* Windows of motion clips. The list of a split is looked through once, by headers alone; a clip is opened again for
 * every window, and looked through for NaN as a whole, so that an item never depends on which window came before: the
 * kernel's page cache is the only one needed, and a million clips need no million open files. */
#include <inttypes.h>
#include <string.h>

#include "core/text.h"
#include "train/data_kinds.h"
#include "train/motion_tree.h"

static const char *const short_names[] = {"skip", "hold", "stop", "pad", NULL};

#define FIELD(member) offsetof(ts_data_motion_options, member)
static const ts_option rows[] = {
    {.name = "path",
     .type = TS_OPTION_STRING,
     .offset = FIELD(path),
     .help = "folder with new_joint_vecs (HumanML3D, KIT) or motion_data (MotionMillion)"},
    {.name = "window",
     .type = TS_OPTION_INT,
     .offset = FIELD(window),
     .fallback = "64",
     .help = "frames of an item, from a random place of a clip",
     .min = 1,
     .max = 65536,
     .alias = "window_size"},
    {.name = "windows",
     .type = TS_OPTION_INT,
     .offset = FIELD(windows),
     .fallback = "1",
     .help = "windows of each clip that make an epoch",
     .min = 1,
     .max = 1e6},
    {.name = "short",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(short_clips),
     .fallback = "skip",
     .choices = short_names,
     .help = "clips shorter than a window: skip and count, hold their last frame, stop, or pad them with frames that "
             "count for nothing"},
    {.name = "columns",
     .type = TS_OPTION_INT,
     .offset = FIELD(columns),
     .fallback = "0",
     .help = "columns that every clip must have; 0: those of the layout, or of the first",
     .min = 0,
     .max = 65536},
    {.name = "layout",
     .type = TS_OPTION_STRING,
     .offset = FIELD(layout),
     .fallback = "auto",
     .help = "what the columns mean: humanml3d, kit, motionmillion, a FILE.yaml; auto: by their number"},
    {.name = "fps",
     .type = TS_OPTION_REAL,
     .offset = FIELD(fps),
     .fallback = "0",
     .help = "frames a second; 0: those of the layout",
     .min = 0,
     .max = 1e6},
    {.name = "normalize",
     .type = TS_OPTION_BOOL,
     .offset = FIELD(normalize),
     .fallback = "true",
     .help = "items are (x - mean) / std, by the tree's files or else computed from train"},
    {.name = "val_split",
     .type = TS_OPTION_STRING,
     .offset = FIELD(val_split),
     .fallback = "val",
     .help = "the split to validate on: val, test"},
    {.name = "motion_type",
     .type = TS_OPTION_STRING,
     .offset = FIELD(motion_type),
     .fallback = "vector_272",
     .help = "MotionMillion: folder in motion_data and mean_std"},
    {.name = "version",
     .type = TS_OPTION_STRING,
     .offset = FIELD(version),
     .fallback = "version1",
     .help = "MotionMillion: folder in split, such as version1/tokenizer_96"},
    {.name = "on_error",
     .type = TS_OPTION_CHOICE,
     .offset = FIELD(on_error),
     .fallback = "skip",
     .help = "a clip that is missing, broken or has a NaN: stop, or skip it and count",
     .choices = ts_on_error_names},
    TS_DATA_LIMIT_ROW(ts_data_motion_options),
    {0},
};
#undef FIELD
static const ts_option_table table = {"motion", "windows of motion clips: HumanML3D, KIT-ML, MotionMillion", rows,
                                      sizeof(ts_data_motion_options)};

typedef struct {
    ts_arena arena;
    ts_motion_tree tree;
    ts_motion_ids clips; /* those of the split that are served: all as long as a window, unless held */
    ts_motion known;
    bool hold;
} motion;

/* A clip that is left out for good: counted, or the end. */
static ts_status leave_out(ts_dataset *data, bool stop, const ts_error *why, ts_error *err)
{
    if (stop) {
        if (err)
            *err = *why;
        return why->code;
    }
    ts_dataset_note_skipped(data, why);
    return TS_OK;
}

static ts_status too_short(const char *id, int64_t frames, int64_t window, ts_error *err)
{
    return ts_fail(err, TS_ERR_DATA,
                   "clip %s: %" PRId64 " frames, shorter than data.window=%" PRId64 "; data.short=pad fills it up", id,
                   frames, window);
}

/* Keeps the clips that can be served, in their order, and notes their lengths where one is to be padded. */
static ts_status choose_clips(ts_dataset *data, motion *m, const ts_data_motion_options *o, ts_error *err)
{
    int64_t kept = 0, columns = m->known.columns;
    int32_t *lengths = ts_arena_alloc(&m->arena, (size_t)m->clips.count * sizeof *lengths);
    if (!lengths)
        return ts_out_of_memory(err, (size_t)m->clips.count * sizeof *lengths);
    for (int64_t i = 0; i < m->clips.count; i++) {
        ts_shape shape;
        ts_error why = {0};
        ts_status status = ts_motion_clip_shape(&shape, &m->tree, m->clips.id[i], columns, &why);
        if (status == TS_ERR_DATA) {
            TS_TRY(leave_out(data, o->on_error == 0, &why, err));
            continue;
        }
        TS_TRY(status);
        columns = shape.dim[1];
        bool is_short = shape.dim[0] < o->window;
        if (is_short && o->short_clips != TS_SHORT_HOLD && o->short_clips != TS_SHORT_PAD) {
            too_short(m->clips.id[i], shape.dim[0], o->window, &why);
            TS_TRY(leave_out(data, o->short_clips == TS_SHORT_STOP, &why, err));
            continue;
        }
        if (is_short && o->short_clips == TS_SHORT_PAD)
            data->lengths = lengths;
        lengths[kept] = (int32_t)(is_short ? shape.dim[0] : o->window);
        m->clips.id[kept++] = m->clips.id[i];
    }
    data->item = ts_shape_of(o->window, columns);
    data->sources = kept;
    return TS_OK;
}

static ts_status nothing_left(ts_dataset *data, const motion *m, const char *split, ts_error *err)
{
    const ts_motion_layout *layout = ts_motion_layout_known(&m->known);
    ts_error first;
    int64_t skipped = ts_dataset_skipped(data, &first);
    ts_fail(err, TS_ERR_DATA, "%s/%s.txt: none of its %" PRId64 " clips can be used; the first: %s", m->tree.splits,
            split, skipped, first.text);
    if (err && layout)
        ts_text_append(err->text, sizeof err->text, strlen(err->text), " (data.layout %s: %" PRId64 " columns)",
                       layout->name, layout->columns);
    return TS_ERR_DATA;
}

/* The tree's own mean and deviation. */
static ts_status load_own(motion *m, ts_error *err)
{
    ts_motion_ids train;
    ts_motion_statistics own;
    TS_TRY(ts_motion_ids_read(&train, &m->tree, "train", &m->arena, err));
    TS_TRY(ts_motion_statistics_get(&own, &m->tree, &train, m->known.columns, &m->arena, err));
    m->known.mean = own.mean;
    m->known.std = own.std;
    return TS_OK;
}

/* The tree's own files, where it has some that can be read, against what is used. */
static void compare_own(const ts_motion_tree *tree, const ts_motion *used, ts_arena *arena, char note[TS_DATA_NOTE])
{
    char where[200];
    ts_motion_statistics own;
    if (!used->mean || ts_motion_statistics_read(&own, tree, used->columns, arena, NULL) != TS_OK)
        return;
    ts_motion files = {.columns = used->columns, .mean = own.mean, .std = own.std};
    if (!ts_motion_same_values(&files, used, where, sizeof where))
        ts_text_append(note, TS_DATA_NOTE, 0,
                       "%s: is not what the model was trained with (%s); the model's own mean and deviation are used",
                       tree->mean, where);
}

static ts_status check_normalize(const ts_motion *trained, bool normalize, ts_error *err)
{
    if (normalize == (trained->mean != NULL))
        return TS_OK;
    return ts_fail(err, TS_ERR_USAGE, "data.normalize=%s: the model was trained on values that are%s normalised",
                   normalize ? "true" : "false", trained->mean ? "" : " not");
}

/* The layout that the options name, where it can be read, against what is used. */
static void compare_layout(const ts_motion *used, const ts_data_motion_options *o, char note[TS_DATA_NOTE])
{
    ts_motion own;
    if (ts_motion_describe(&own, o->layout, o->fps, used->columns, NULL) != TS_OK || !own.layout.columns)
        return;
    const char *what = ts_motion_layout_difference(&own.layout, &used->layout);
    if (what)
        ts_text_append(note, TS_DATA_NOTE, strlen(note),
                       "%sdata.layout %s is not what the model was trained with (%s); the model's own is used",
                       *note ? "; " : "", TS_SHOWN(o->layout), what);
}

/* A model that is trained decides. */
static ts_status take_trained(ts_dataset *data, motion *m, const ts_data_motion_options *o, ts_error *err)
{
    const ts_motion *trained = data->trained;
    if (trained->columns != m->known.columns)
        return ts_fail(err, TS_ERR_DATA, "%s: frames of %" PRId64 " columns, the model was trained on %" PRId64,
                       m->tree.clips, m->known.columns, trained->columns);
    TS_TRY(check_normalize(trained, o->normalize, err));
    TS_TRY(ts_motion_copy(&m->known, trained, &m->arena, err));
    compare_own(&m->tree, &m->known, &m->arena, data->note);
    compare_layout(&m->known, o, data->note);
    return TS_OK;
}

ts_status ts_data_motion_describe(ts_motion *described, const ts_data_motion_options *o, ts_error *err)
{
    ts_status status = ts_motion_describe(described, o->layout, o->fps, o->columns, err);
    if (status == TS_OK)
        return TS_OK;
    ts_error_prefix(err, o->columns ? "data.layout, data.columns" : "data.layout");
    if (status == TS_ERR_DATA && err)
        err->code = TS_ERR_USAGE;
    return status == TS_ERR_DATA ? TS_ERR_USAGE : status;
}

/* When their number of columns is known. */
static ts_status find_motion(ts_dataset *data, motion *m, const ts_data_motion_options *o, ts_error *err)
{
    data->motion = &m->known;
    m->known.columns = data->item.dim[1];
    if (data->trained)
        return take_trained(data, m, o, err);
    ts_status status = ts_motion_describe(&m->known, o->layout, o->fps, m->known.columns, err);
    if (status != TS_OK)
        return ts_error_prefix(err, "%s", m->tree.clips);
    return o->normalize ? load_own(m, err) : TS_OK;
}

static ts_status open_motion(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_motion_options *o = options;
    const char *split = data->split == TS_SPLIT_TRAIN ? "train" : o->val_split;
    motion *m = data->state = ts_calloc(1, sizeof *m);
    if (!m)
        return ts_out_of_memory(err, sizeof *m);
    m->hold = o->short_clips == TS_SHORT_HOLD;
    data->own_split = true;
    data->limit = o->limit;
    data->repeat = o->windows;
    data->skip_broken = o->on_error == 1;
    TS_TRY(ts_motion_tree_find(&m->tree, o->path, o->motion_type, o->version, &m->arena, err));
    TS_TRY(ts_motion_ids_read(&m->clips, &m->tree, split, &m->arena, err));
    m->known.columns = o->columns;
    if (!data->trained)
        TS_TRY(ts_data_motion_describe(&m->known, o, err));
    TS_TRY(choose_clips(data, m, o, err));
    if (data->sources == 0)
        return nothing_left(data, m, split, err);
    return find_motion(data, m, o, err);
}

static ts_status read_motion(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err)
{
    const motion *m = data->state;
    int64_t window = data->item.dim[0], columns = data->item.dim[1];
    ts_npy clip;
    TS_TRY(ts_motion_clip_open(&clip, &m->tree, m->clips.id[source], columns, err));
    int64_t frames = clip.tensor.shape.dim[0], wanted = data->lengths ? data->lengths[source] : window;
    int64_t kept = frames < wanted ? frames : wanted;
    int64_t start = (int64_t)ts_draw_below(draws, (uint64_t)(frames - kept + 1));
    memcpy(out, (float *)clip.tensor.data + start * columns, (size_t)(kept * columns) * sizeof *out);
    ts_npy_close(&clip);
    if (kept < wanted && !m->hold) /* the file has changed since it was listed */
        return too_short(m->clips.id[source], frames, wanted, err);
    for (int64_t t = kept; t < wanted; t++)
        memcpy(out + t * columns, out + (kept - 1) * columns, (size_t)columns * sizeof *out);
    ts_motion_normalize(&m->known, wanted, out);
    memset(out + wanted * columns, 0, (size_t)((window - wanted) * columns) * sizeof *out);
    return TS_OK;
}

static void close_motion(ts_dataset *data)
{
    motion *m = data->state;
    if (m)
        ts_arena_clear(&m->arena);
    ts_free(m);
}

/* The first `limit` of the split, broken ones included. */
static ts_status add_clips(ts_file_list *clips, const ts_motion_tree *tree, const char *split, int64_t limit,
                           ts_arena *arena, ts_error *err)
{
    ts_motion_ids ids;
    TS_TRY(ts_motion_ids_read(&ids, tree, split, arena, err));
    for (int64_t i = 0; i < ids.count && (limit == 0 || i < limit); i++) {
        const char *path = ts_motion_clip_path(tree, ids.id[i], arena);
        if (!path)
            return ts_out_of_memory(err, strlen(ids.id[i]));
        TS_TRY(ts_file_list_add(clips, ids.id[i], path, err));
    }
    return TS_OK;
}

static ts_status list_clips(ts_clip_list *clips, const void *options, const char *split, const ts_motion *model,
                            ts_error *err)
{
    const ts_data_motion_options *o = options;
    ts_arena arena = {0};
    ts_motion_tree tree;
    ts_status status;
    clips->stop = o->on_error == 0;
    TS_GO(check_normalize(model, o->normalize, err));
    TS_GO(ts_motion_tree_find(&tree, o->path, o->motion_type, o->version, &arena, err));
    TS_GO(add_clips(&clips->files, &tree, strcmp(split, "val") == 0 ? o->val_split : split, o->limit, &arena, err));
    compare_own(&tree, model, &arena, clips->note);
    compare_layout(model, o, clips->note);
out:
    ts_arena_clear(&arena);
    return status;
}

const ts_dataset_kind ts_dataset_motion = {
    .table = &table, .open = open_motion, .read = read_motion, .close = close_motion, .clips = list_clips};
