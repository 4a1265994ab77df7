/* Data sets: where a run's items come from. An item is one float array of a fixed shape ([H, W, C] for images, [T, C]
 * for motion), channels last; item i of epoch e of a split is always the same bits. Batches, order and the read-ahead
 * thread are the loader's business (train/loader.h).
 *
 *     ts_dataset *data;
 *     ts_error err = {0};
 *     if (ts_dataset_open(&data, ts_dataset_kind_find("idx"), &options, TS_SPLIT_TRAIN, seed, &err) != TS_OK) ...
 *     float *x = ts_alloc(ts_shape_count(data->item) * sizeof(float));
 *     ts_dataset_read(data, 0, 0, x, &err);
 *     ts_dataset_close(data);
 *
 * How to add a kind. A kind is one file, train/data_<kind>.c: a struct of options, a table that describes them, three
 * functions, and one line in the list in train/data.c. This one has `count` items, each filled with one random grey:
 *
 *     typedef struct {
 *         int64_t count;
 *     } plain_options;
 *
 *     static const ts_option plain_rows[] = {
 *         {"count", TS_OPTION_INT, offsetof(plain_options, count), "100", "images", NULL, 1, 1e9, NULL},
 *         {0}};
 *     static const ts_option_table plain_table = {"plain", "one grey per image", plain_rows, sizeof(plain_options)};
 *
 *     static ts_status plain_open(ts_dataset *data, const void *options, ts_error *err)
 *     {
 *         data->item = ts_shape_of(8, 8, 1);
 *         data->sources = ((const plain_options *)options)->count;
 *         data->val_fraction = 0.1;                                // or own_split = true, and look at data->split
 *         return TS_OK;
 *     }
 *
 *     static ts_status plain_read(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err)
 *     {
 *         float grey = ts_draw_uniform(draws);
 *         for (int i = 0; i < 64; i++)
 *             out[i] = grey;
 *         return TS_OK;
 *     }
 *
 *     const ts_dataset_kind ts_dataset_plain = {.table = &plain_table, .open = plain_open, .read = plain_read};
 *
 * A kind whose items are 8-bit pixels in memory sets data->bytes in open and uses ts_dataset_read_bytes for `read` and
 * ts_dataset_close_bytes for `close`. */
#ifndef TS_TRAIN_DATA_H
#define TS_TRAIN_DATA_H

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/option.h"
#include "core/random.h"
#include "core/status.h"
#include "core/tensor.h"
#include "models/pixels.h"
#include "train/file_list.h"
#include "train/motion.h"

typedef enum { TS_SPLIT_TRAIN, TS_SPLIT_VAL } ts_split;

const char *ts_split_name(ts_split split); /* "train", "val" */

typedef struct ts_dataset ts_dataset;

/* The random numbers of one item in one epoch: successive draws, the same whenever and wherever they are made. */
typedef struct {
    ts_random_key key;
    uint64_t epoch, next;
} ts_draws;

enum {
    TS_DRAWS_PER_ITEM = 16, /* at most this many for one item */
    TS_DATA_NOTE = 512
};

uint64_t ts_draw_below(ts_draws *draws, uint64_t n); /* [0, n) */
float ts_draw_uniform(ts_draws *draws);              /* [0, 1) */

/* How clips that are in no file are made: clip number `place` of a list. Thread: any number at once. */
typedef struct {
    int64_t (*frames)(const void *state, int64_t place);
    ts_status (*make)(const void *state, int64_t place, float *rows, ts_error *err); /* [frames, columns], values */
    const void *state;                                                               /* lives as long as the list */
} ts_clip_maker;

/* Whole motion clips. */
typedef struct {
    ts_file_list files;      /* .npy, called by the clips' ids; ts_clip_list_read reads them */
    ts_clip_maker maker;     /* not empty: there are no files, names alone */
    bool stop;               /* at a clip that is broken; else it is left out and counted */
    char note[TS_DATA_NOTE]; /* as of a data set */
} ts_clip_list;

typedef struct {
    const ts_option_table *table; /* its `kind` is the name in data.kind */

    /* Reads what is needed to serve items, and fills the fields below "set by the kind"; the others are ready. The
     * options are the struct that `table` describes; strings in it may be gone after the call.
     * Errors: TS_ERR_DATA naming the file; TS_ERR_USAGE where options contradict each other. After a failure `close`
     * is called all the same, so it takes what is half open. */
    ts_status (*open)(ts_dataset *data, const void *options, ts_error *err);

    /* Writes item `source` (0 .. sources-1) to out.
     * Errors: TS_ERR_DATA where this one item is broken (skipped if skip_broken), anything else stops the run.
     * Thread: any number at once. */
    ts_status (*read)(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err);

    /* Frees data->bytes and data->state; NULL where there is nothing to free. */
    void (*close)(ts_dataset *data);

    /* For a kind whose items are windows of motion clips: lists the whole clips of a split, without a look into them.
     * NULL: a kind has its items and no more.
     * split: "train", "val" (what the options say for validation), "all", or a name that the data know ("test").
     * model: as ts_dataset_open_for says for `trained`. Errors: TS_ERR_DATA, TS_ERR_USAGE. */
    ts_status (*clips)(ts_clip_list *clips, const void *options, const char *split, const ts_motion *model,
                       ts_error *err);
} ts_dataset_kind;

/* Every kind there is, ended by NULL; the config's schema is made from their tables. */
extern const ts_dataset_kind *const ts_dataset_kinds[];

/* The kind called `name`, or NULL. */
const ts_dataset_kind *ts_dataset_kind_find(const char *name);

/* Fields are read-only for everybody but the kind and data.c. */
struct ts_dataset {
    const ts_dataset_kind *kind;
    ts_split split;
    int64_t count;  /* items of one epoch: what `index` runs over */
    ts_shape item;  /* of one item; set by the kind, as everything down to `state` */
    ts_range range; /* what 8-bit 0..255 became; for float data what its values are said to lie in */

    int64_t sources;        /* items that there are: files, rows ...; at least 1 */
    int64_t repeat;         /* items that an epoch takes from each source (random crops), 0 counts as 1 */
    bool own_split;         /* the sources are all of this split; otherwise val_fraction of them are held out for val */
    double val_fraction;    /* 0 to 1 */
    int64_t limit;          /* use only the first `limit` sources of the split; 0: all */
    bool skip_broken;       /* a source with TS_ERR_DATA is replaced by the next one that is whole, and counted */
    bool flip;              /* mirror every second item at random, in training */
    const int32_t *lengths; /* [sources] how much of the first axis is data; what is behind it is 0. NULL: all of it */
    const uint8_t *bytes;   /* [sources, item] for ts_dataset_read_bytes; the kind's own, as are its neighbours */
    void *state;
    const ts_motion *motion; /* what a frame is, where items are motion; else NULL */
    char note[TS_DATA_NOTE]; /* a line for the log, said by `open`; empty: none */

    const ts_motion *trained; /* see ts_dataset_open_for; from here on data.c's own */
    uint64_t seed;
    int64_t *chosen; /* [chosen_count] sources of the split, ascending */
    int64_t chosen_count;
    _Atomic uint8_t *broken; /* [chosen_count] */
    pthread_mutex_t lock;    /* of what follows */
    int64_t skipped;
    ts_error first_skip;
};

/* Opens one split. `options` is the struct of the kind's table; it is not needed after the call. `seed` is the run's:
 * it moves training's augmentation and nothing else (which sources are held out, and the crops of validation, are the
 * same for every seed, so that runs can be compared).
 * Owner: the caller closes. Errors: TS_ERR_DATA, TS_ERR_USAGE (no items in this split, and which option gives some). */
ts_status ts_dataset_open(ts_dataset **data, const ts_dataset_kind *kind, const void *options, ts_split split,
                          uint64_t seed, ts_error *err);

/* The same for a model that knows its motion already (from a checkpoint, or from the other split): `trained` decides
 * how the items are normalised, because a model understands no other; where the data's own mean and deviation differ,
 * the data set's `note` says so. It is needed during the call only; NULL: the data decide. Errors: as above;
 * TS_ERR_DATA where frames have another number of columns. */
ts_status ts_dataset_open_for(ts_dataset **data, const ts_dataset_kind *kind, const void *options, ts_split split,
                              uint64_t seed, const ts_motion *trained, ts_error *err);

/* Item `index` (0 .. count-1) of `epoch`, to out [item]. Training's crops and flips differ from epoch to epoch,
 * validation's do not.
 * Errors: TS_ERR_DATA naming the file. Thread: any number of readers at once. */
ts_status ts_dataset_read(ts_dataset *data, int64_t index, uint64_t epoch, float *out, ts_error *err);

/* The same, and to *length how much of its first axis is data (frames): all of it where data->lengths is NULL. */
ts_status ts_dataset_read_part(ts_dataset *data, int64_t index, uint64_t epoch, float *out, int32_t *length,
                               ts_error *err);

/* How many sources have been found broken and skipped so far; the first one's message to *first, where not NULL.
 * Thread: any. */
int64_t ts_dataset_skipped(ts_dataset *data, ts_error *first);

void ts_dataset_close(ts_dataset *data); /* NULL is fine */

/* For the `open` of a kind: counts a source that it leaves out of its list. */
void ts_dataset_note_skipped(ts_dataset *data, const ts_error *why);

/* The `read` of a kind that keeps its items as 8-bit pixels in data->bytes. */
ts_status ts_dataset_read_bytes(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err);

/* Where data->flip is set, mirrors every second training image; takes one draw. For the end of a `read`. */
void ts_dataset_flip(const ts_dataset *data, ts_draws *draws, float *image);

/* [data->sources, data->item] bytes for such a kind, and its `close`. Returns NULL when out of memory. */
uint8_t *ts_dataset_alloc_bytes(ts_dataset *data, ts_error *err);
void ts_dataset_close_bytes(ts_dataset *data);

/* Rows of an option table that several kinds share; `struct_` is the kind's struct of options. */
extern const char *const ts_on_error_names[]; /* "stop", "skip" */
#define TS_DATA_RANGE_ROW(struct_)                                                                                     \
    {                                                                                                                  \
        .name = "range", .type = TS_OPTION_CHOICE, .offset = offsetof(struct_, range), .fallback = "[-1,1]",           \
        .help = "what pixel values 0..255 become", .choices = ts_range_names                                           \
    }
#define TS_DATA_VAL_FRACTION_ROW(struct_)                                                                              \
    {                                                                                                                  \
        .name = "val_fraction", .type = TS_OPTION_REAL, .offset = offsetof(struct_, val_fraction), .fallback = "0.1",  \
        .help = "part held out for validation where the data has no split of its own", .min = 0, .max = 0.9            \
    }
#define TS_DATA_LIMIT_ROW(struct_)                                                                                     \
    {                                                                                                                  \
        .name = "limit", .type = TS_OPTION_INT, .offset = offsetof(struct_, limit), .fallback = "0",                   \
        .help = "use only the first so many items of each split; 0: all", .min = 0, .max = INFINITY                    \
    }
#define TS_DATA_FLIP_ROW(struct_)                                                                                      \
    {                                                                                                                  \
        .name = "flip", .type = TS_OPTION_BOOL, .offset = offsetof(struct_, flip), .fallback = "false",                \
        .help = "mirror every second training image at random"                                                         \
    }
#define TS_DATA_ON_ERROR_ROW(struct_)                                                                                  \
    {                                                                                                                  \
        .name = "on_error", .type = TS_OPTION_CHOICE, .offset = offsetof(struct_, on_error), .fallback = "stop",       \
        .help = "a broken item: stop, or skip it and count", .choices = ts_on_error_names                              \
    }

#endif
