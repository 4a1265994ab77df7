/* Generated motion: people of train/person.h as windows of clips of HumanML3D's 263 columns at 20 frames a second.
 * Clip i of a collection, its length and every frame of it, follows from the seed and i alone, so that clips can be
 * made in any order, by any thread, in part, or again: a window of a clip that is not in memory is made from its own
 * frames and the two on either side that the smoothing of the heading looks at. */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "models/motion_features.h"
#include "train/column_sums.h"
#include "train/data_kinds.h"
#include "train/person.h"

#define FIELD(member) offsetof(ts_data_chains_options, member)
static const ts_option rows[] = {
    {.name = "count",
     .type = TS_OPTION_INT,
     .offset = FIELD(count),
     .fallback = "1000",
     .help = "training clips",
     .min = 1,
     .max = 1e9},
    {.name = "val_count",
     .type = TS_OPTION_INT,
     .offset = FIELD(val_count),
     .fallback = "100",
     .help = "validation clips, all others",
     .min = 1,
     .max = 1e9},
    {.name = "frames",
     .type = TS_OPTION_INTS,
     .offset = FIELD(frames),
     .fallback = "[80, 160]",
     .help = "frames of the shortest and of the longest clip, 20 a second",
     .min = 1,
     .max = 65536},
    {.name = "window",
     .type = TS_OPTION_INT,
     .offset = FIELD(window),
     .fallback = "64",
     .help = "frames of an item, from a random place of a clip",
     .min = 1,
     .max = 65536,
     .alias = "window_size"},
    {.name = "seed",
     .type = TS_OPTION_INT,
     .offset = FIELD(seed),
     .fallback = "0",
     .help = "of the collection; the run's own seed does not change the clips",
     .min = 0,
     .max = 9e15},
    {.name = "cache_mb",
     .type = TS_OPTION_INT,
     .offset = FIELD(cache_mb),
     .fallback = "256",
     .help = "memory for finished clips, MiB; the rest are made when asked for",
     .min = 0,
     .max = 1e6},
    {0},
};
#undef FIELD
static const ts_option_table table = {"chains", "generated motion: people who walk, turn, squat, jump and wave", rows,
                                      sizeof(ts_data_chains_options)};

/* ---- clips ---- */

enum { COLUMNS = TS_CHAINS_COLUMNS, FPS = 20 };

/* What a collection is. */
typedef struct {
    uint64_t seed;
    int64_t shortest, longest; /* frames */
} collection;

static collection collection_of(const ts_data_chains_options *o)
{
    return (collection){(uint64_t)o->seed, o->frames.value[0], o->frames.value[1]};
}

static const ts_motion_layout *layout(void)
{
    return ts_motion_layout_of(COLUMNS);
}

static int64_t clip_frames(const collection *c, uint64_t index)
{
    ts_random_key key = {c->seed, ts_random_stream("data.chains.frames")};
    return c->shortest + (int64_t)ts_random_below(key, index, 0, (uint64_t)(c->longest - c->shortest + 1));
}

/* Rows first ... first + n - 1 of a clip: a row is made from its pose and the next one, and its heading from two more
 * poses on either side. */
static ts_status make_rows(const collection *c, uint64_t index, int64_t first, int64_t n, float *out, ts_error *err)
{
    int64_t last = clip_frames(c, index), begin = first < 2 ? 0 : first - 2, end = first + n + 2;
    end = end < last ? end : last;
    size_t poses = (size_t)(end - begin + 1), values = (poses - 1) * COLUMNS;
    ts_v3 *place = ts_calloc(poses * TS_PERSON_JOINTS, sizeof *place);
    float *made = ts_calloc(values, sizeof *made);
    if (place && made) {
        ts_person person = ts_person_draw(c->seed, index);
        for (int64_t t = begin; t <= end; t++)
            ts_person_pose(&person, (double)t / FPS, place + (t - begin) * TS_PERSON_JOINTS);
        ts_motion_features(made, layout(), &ts_skeleton_22, place, (int64_t)poses);
        memcpy(out, made + (first - begin) * COLUMNS, (size_t)(n * COLUMNS) * sizeof *out);
    }
    ts_status status = place && made ? TS_OK : ts_out_of_memory(err, values * sizeof *made);
    ts_free(place);
    ts_free(made);
    return status;
}

/* Clips first ... first + n - 1 into rows, clip i from frame start[i] on. */
static ts_status make_clips(const collection *c, uint64_t first, int64_t n, const int64_t *start, float *out,
                            ts_error *err)
{
    int failed = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : failed)
    for (int64_t i = 0; i < n; i++)
        failed += make_rows(c, first + (uint64_t)i, 0, start[i + 1] - start[i], out + start[i] * COLUMNS, NULL) != 0;
    return failed ? ts_out_of_memory(err, 0) : TS_OK;
}

ts_status ts_chains_draw(const ts_data_chains_options *o, uint64_t index, int64_t *frames, float **out, ts_error *err)
{
    const collection c = collection_of(o);
    *frames = clip_frames(&c, index);
    *out = ts_calloc((size_t)(*frames * COLUMNS), sizeof **out);
    if (!*out)
        return ts_out_of_memory(err, (size_t)(*frames * COLUMNS) * sizeof **out);
    ts_status status = make_rows(&c, index, 0, *frames, *out, err);
    if (status != TS_OK)
        ts_free(*out);
    return status;
}

/* ---- the data set ---- */

typedef struct {
    ts_arena arena;
    ts_motion known;
    collection c;
    uint64_t first; /* index of source 0 in the collection */
    int64_t cached; /* sources 0..cached-1 are in values, from frame start[source] on */
    int64_t *start; /* [cached + 1] */
    float *values;
    size_t bytes;
} chains;

/* Far behind any training clip, so that another `count` keeps the same validation clips. */
static const uint64_t FIRST_VAL = (uint64_t)1 << 40;

/* As many clips from the first on as there is room for. */
static ts_status fill_cache(chains *m, int64_t sources, int64_t room_bytes, ts_error *err)
{
    int64_t most = room_bytes / (m->c.shortest * COLUMNS * (int64_t)sizeof(float)), room, end = 0;
    most = most < sources ? most : sources;
    room = room_bytes / (COLUMNS * (int64_t)sizeof(float));
    m->start = ts_arena_alloc(&m->arena, (size_t)(most + 1) * sizeof *m->start);
    if (!m->start)
        return ts_out_of_memory(err, (size_t)(most + 1) * sizeof *m->start);
    for (; m->cached < most; m->cached++) {
        end += clip_frames(&m->c, m->first + (uint64_t)m->cached);
        if (end > room)
            break;
        m->start[m->cached + 1] = end;
    }
    m->bytes = (size_t)(m->start[m->cached] * COLUMNS) * sizeof *m->values;
    if (m->cached == 0)
        return TS_OK;
    m->values = ts_alloc_aligned(m->bytes);
    return m->values ? make_clips(&m->c, m->first, m->cached, m->start, m->values, err)
                     : ts_out_of_memory(err, m->bytes);
}

enum { BLOCK = 32, STATISTICS = 256 };

/* Blocks of clips are made by all threads and added in their order, so that the sums do not depend on the threads. */
static ts_status add_clips(ts_column_sums *sums, const chains *m, int64_t count, float *room, ts_error *err)
{
    const collection *c = &m->c;
    if (m->values && m->first == 0 && m->cached >= count) {
        ts_column_sums_add(sums, m->values, m->start[count]);
        return TS_OK;
    }
    for (int64_t i = 0; i < count; i += BLOCK) {
        int64_t n = count - i < BLOCK ? count - i : BLOCK, start[BLOCK + 1] = {0};
        for (int64_t k = 0; k < n; k++)
            start[k + 1] = start[k] + clip_frames(c, (uint64_t)(i + k));
        TS_TRY(make_clips(c, (uint64_t)i, n, start, room, err));
        ts_column_sums_add(sums, room, start[n]);
    }
    return TS_OK;
}

static ts_status sum_up(chains *m, const ts_column_sums *sums, ts_error *err)
{
    float *mean = ts_arena_alloc(&m->arena, COLUMNS * sizeof *mean),
          *std = ts_arena_alloc(&m->arena, COLUMNS * sizeof *std);
    if (!mean || !std)
        return ts_out_of_memory(err, COLUMNS * sizeof *mean);
    ts_column_sums_result(sums, mean, std);
    ts_std_share_in_groups(layout(), std);
    for (int64_t i = 0; i < COLUMNS; i++)
        std[i] = std[i] > 0 ? std[i] : 1;
    m->known.mean = mean;
    m->known.std = std;
    return TS_OK;
}

/* Mean and deviation over the first training clips. */
static ts_status find_statistics(chains *m, int64_t count, ts_error *err)
{
    ts_column_sums sums;
    size_t bytes = (size_t)(BLOCK * m->c.longest * COLUMNS) * sizeof(float);
    float *room = ts_alloc_aligned(bytes);
    if (!room)
        return ts_out_of_memory(err, bytes);
    ts_status status = ts_column_sums_init(&sums, COLUMNS, err);
    if (status == TS_OK)
        status = add_clips(&sums, m, count < STATISTICS ? count : STATISTICS, room, err);
    if (status == TS_OK)
        status = sum_up(m, &sums, err);
    ts_column_sums_clear(&sums);
    ts_free_aligned(room, bytes);
    return status;
}

/* A model that is trained decides how values are normalised. *own is what would be without it. */
static ts_status check_trained(const ts_motion *trained, const ts_motion *own, char note[TS_DATA_NOTE], ts_error *err)
{
    char where[200];
    if (trained->columns != COLUMNS || !trained->mean)
        return ts_fail(err, TS_ERR_DATA,
                       "data.kind=chains has frames of %d columns, normalised; the model was trained on %lld, %s",
                       COLUMNS, (long long)trained->columns, trained->mean ? "normalised" : "not normalised");
    if (!ts_motion_same_values(own, trained, where, sizeof where))
        ts_text_append(
            note, TS_DATA_NOTE, 0,
            "generated motion is not what the model was trained with (%s); the model's own mean and deviation "
            "are used",
            where);
    return TS_OK;
}

static ts_status find_motion(ts_dataset *data, chains *m, int64_t count, ts_error *err)
{
    m->known = (ts_motion){.known = true, .columns = COLUMNS, .layout = *layout()};
    data->motion = &m->known;
    TS_TRY(find_statistics(m, count, err));
    if (!data->trained)
        return TS_OK;
    TS_TRY(check_trained(data->trained, &m->known, data->note, err));
    return ts_motion_copy(&m->known, data->trained, &m->arena, err);
}

static ts_status check_frames(const ts_data_chains_options *o, ts_error *err)
{
    const int64_t *frames = o->frames.value;
    if (o->frames.count != 2 || frames[0] > frames[1] || frames[0] < o->window)
        return ts_fail(err, TS_ERR_USAGE,
                       "data.frames: expected two numbers, at least data.window=%lld, the smaller one first",
                       (long long)o->window);
    return TS_OK;
}

static ts_status open_chains(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_chains_options *o = options;
    bool val = data->split == TS_SPLIT_VAL;
    TS_TRY(check_frames(o, err));
    chains *m = data->state = ts_calloc(1, sizeof *m);
    if (!m)
        return ts_out_of_memory(err, sizeof *m);
    m->c = collection_of(o);
    m->first = val ? FIRST_VAL : 0;
    data->item = ts_shape_of(o->window, COLUMNS);
    data->own_split = true;
    data->sources = val ? o->val_count : o->count;
    TS_TRY(fill_cache(m, data->sources, o->cache_mb << 20, err));
    return find_motion(data, m, o->count, err);
}

static ts_status read_chains(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err)
{
    const chains *m = data->state;
    int64_t window = data->item.dim[0], frames = clip_frames(&m->c, m->first + (uint64_t)source);
    int64_t first = (int64_t)ts_draw_below(draws, (uint64_t)(frames - window + 1));
    if (source < m->cached)
        memcpy(out, m->values + (m->start[source] + first) * COLUMNS, (size_t)(window * COLUMNS) * sizeof *out);
    else
        TS_TRY(make_rows(&m->c, m->first + (uint64_t)source, first, window, out, err));
    ts_motion_normalize(&m->known, window, out);
    return TS_OK;
}

static void close_chains(ts_dataset *data)
{
    chains *m = data->state;
    if (!m)
        return;
    ts_free_aligned(m->values, m->bytes);
    ts_arena_clear(&m->arena);
    ts_free(m);
}

/* ---- whole clips ---- */

/* Training clips first, then those of validation. */
typedef struct {
    collection c;
    int64_t train;
} clip_order;

static uint64_t index_of(const clip_order *order, int64_t place)
{
    return place < order->train ? (uint64_t)place : FIRST_VAL + (uint64_t)(place - order->train);
}

static int64_t listed_frames(const void *state, int64_t place)
{
    const clip_order *order = state;
    return clip_frames(&order->c, index_of(order, place));
}

static ts_status make_listed(const void *state, int64_t place, float *out, ts_error *err)
{
    const clip_order *order = state;
    return make_rows(&order->c, index_of(order, place), 0, listed_frames(state, place), out, err);
}

static ts_status add_names(ts_file_list *files, const char *split, int64_t count, ts_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s_%06lld", split, (long long)i);
        TS_TRY(ts_file_list_add(files, name, "a generated clip, which is no file", err));
    }
    return TS_OK;
}

static ts_status compare_own(ts_clip_list *clips, const ts_data_chains_options *o, const ts_motion *model,
                             ts_error *err)
{
    chains m = {.c = collection_of(o), .known = {.columns = COLUMNS}};
    ts_status status = find_statistics(&m, o->count, err);
    if (status == TS_OK)
        status = check_trained(model, &m.known, clips->note, err);
    ts_arena_clear(&m.arena);
    return status;
}

static ts_status list_clips(ts_clip_list *clips, const void *options, const char *split, const ts_motion *model,
                            ts_error *err)
{
    const ts_data_chains_options *o = options;
    bool all = strcmp(split, "all") == 0, train = all || strcmp(split, "train") == 0;
    bool val = all || strcmp(split, "val") == 0;
    if (!train && !val)
        return ts_fail(err, TS_ERR_USAGE, "data.kind=chains: expected the split train, val or all, found '%s'",
                       TS_SHOWN(split));
    TS_TRY(check_frames(o, err));
    TS_TRY(compare_own(clips, o, model, err));
    clip_order *order = ts_arena_alloc(&clips->files.arena, sizeof *order);
    if (!order)
        return ts_out_of_memory(err, sizeof *order);
    *order = (clip_order){collection_of(o), train ? o->count : 0};
    clips->maker = (ts_clip_maker){listed_frames, make_listed, order};
    TS_TRY(add_names(&clips->files, "train", order->train, err));
    return add_names(&clips->files, "val", val ? o->val_count : 0, err);
}

const ts_dataset_kind ts_dataset_chains = {
    .table = &table, .open = open_chains, .read = read_chains, .close = close_chains, .clips = list_clips};
