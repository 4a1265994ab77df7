/* The kinds of data sets that there are, and the options of each: the structs that their tables describe. A config
 * fills them by the table; C code and tests may fill them by hand. */
#ifndef TS_TRAIN_DATA_KINDS_H
#define TS_TRAIN_DATA_KINDS_H

#include "train/data.h"

/* MNIST's format: IDX files of unsigned bytes, rank 3 ([N, H, W], one channel) or 4 ([N, H, W, C]), plain or gzip.
 * http://yann.lecun.com/exdb/mnist */
typedef struct {
    const char *path; /* folder with train-images-idx3-ubyte[.gz] and t10k-images-idx3-ubyte[.gz], or one such file */
    int range;        /* ts_range */
    double val_fraction; /* of a single file; a folder has its own split */
    int64_t limit;
} ts_data_idx_options;
extern const ts_dataset_kind ts_dataset_idx;

/* CIFAR-10 and CIFAR-100, "binary version": records of one or two label bytes and 3 x 32 x 32 pixels, channels first
 * (they become channels last here). https://www.cs.toronto.edu/~kriz/cifar.html */
typedef struct {
    const char *path; /* folder with data_batch_1..5.bin and test_batch.bin, or train.bin and test.bin */
    int range;
    int64_t limit;
    bool flip;
} ts_data_cifar_options;
extern const ts_dataset_kind ts_dataset_cifar;

/* Every .png, .jpg and .jpeg below a folder, in the order of their paths; names that start with a dot are ignored. */
typedef enum { TS_FIT_CROP, TS_FIT_PATCH } ts_data_fit;
typedef struct {
    const char *path;
    const char *val_path; /* folder with the validation images; "": val_fraction of the images in `path` */
    int64_t size;         /* H and W of an item */
    int fit;              /* crop: the shorter side is resized to `resize`, then a crop; patch: a crop, no resize */
    int64_t resize;       /* pixels; 0: `size` */
    int64_t crops;        /* items that an epoch takes from each image, for patches in validation too */
    bool flip;
    bool gray;
    int range;
    int on_error;     /* 0 stop, 1 skip */
    int64_t cache_mb; /* decoded images kept in memory, MiB */
    double val_fraction;
    int64_t limit;
} ts_data_folder_options;
extern const ts_dataset_kind ts_dataset_folder;

/* A data set inside an HDF5 file, [N, H, W] or [N, H, W, C]: u8, scaled to `range`, or floats, used as they are. */
typedef struct {
    const char *path;
    const char *dataset;     /* its path inside the file */
    const char *val_dataset; /* the same for validation; "": val_fraction of `dataset` */
    int range;
    bool flip;
    int on_error; /* for NaN and infinities: 0 stop, 1 skip */
    double val_fraction;
    int64_t limit;
    int64_t cache_mb; /* MiB; a larger one stays in the file */
} ts_data_hdf5_options;
extern const ts_dataset_kind ts_dataset_hdf5;

/* Generated pictures of coloured shapes on patterned backgrounds, for a start without any download: circles, boxes,
 * triangles, rings and crosses, antialiased, turned, shaded and striped, one on top of the other. */
typedef struct {
    int64_t count;     /* training images */
    int64_t val_count; /* validation images, all others */
    int64_t size;      /* H and W */
    int64_t channels;  /* 3, or 1 for grey */
    int64_t seed;      /* another seed, another collection */
    int range;
    int64_t cache_mb; /* images kept in memory, MiB; the rest are drawn when asked for */
} ts_data_shapes_options;
extern const ts_dataset_kind ts_dataset_shapes;

/* Windows of motion clips, [window, columns], normalised; see train/motion_tree.h for the trees that there are. */
typedef enum { TS_SHORT_SKIP, TS_SHORT_HOLD, TS_SHORT_STOP, TS_SHORT_PAD } ts_data_short;
typedef struct {
    const char *path;
    int64_t window;  /* frames */
    int64_t windows; /* of each clip in an epoch */
    int short_clips; /* ts_data_short: hold repeats the last frame up to a window, pad fills it with 0 (the mean) that
                        counts for nothing */
    int64_t columns; /* that every clip must have; 0: those of the layout, or of the first */
    const char *layout;    /* "auto", a preset, a file: ts_motion_describe */
    double fps;            /* 0: the layout's */
    bool normalize;        /* (x - mean) / std */
    const char *val_split; /* "val", or "test" */
    const char *motion_type, *version;
    int on_error; /* missing, broken, NaN: 0 stop, 1 skip */
    int64_t limit;
} ts_data_motion_options;
extern const ts_dataset_kind ts_dataset_motion;

/* What the options say of the clips before one is seen: described->columns is 0 where they say nothing of that. As
 * ts_motion_describe, but that every error is one of usage. */
ts_status ts_data_motion_describe(ts_motion *described, const ts_data_motion_options *options, ts_error *err);
/* Generated motion for a start without any download: people who walk, turn, squat, jump, stand and wave, as windows of
 * HumanML3D's 263 columns at 20 frames a second (train/person.h), normalised by the training clips' mean and deviation
 * (of the first 256; deviations shared in groups of columns). */
typedef struct {
    int64_t count;      /* training clips */
    int64_t val_count;  /* validation clips, all others */
    ts_int_list frames; /* of the shortest and of the longest clip */
    int64_t window;     /* frames of an item */
    int64_t seed;       /* another seed, another collection */
    int64_t cache_mb;   /* clips kept in memory, MiB; windows of the rest are made when asked for */
} ts_data_chains_options;
enum { TS_CHAINS_COLUMNS = 263 };
extern const ts_dataset_kind ts_dataset_chains;

/* Clip `index` of the collection that the options describe, *rows [*frames, 263], values and not normalised ones.
 * Owner: the caller frees *rows with ts_free. Errors: out of memory. Thread: pure. */
ts_status ts_chains_draw(const ts_data_chains_options *options, uint64_t index, int64_t *frames, float **rows,
                         ts_error *err);

/* What shapes makes, without a data set: image `index` of the collection, [size, size, channels] 8-bit pixels.
 * Errors: out of memory. Thread: pure. */
ts_status ts_shapes_draw(uint64_t seed, uint64_t index, int64_t size, int64_t channels, uint8_t *pixels, ts_error *err);

#endif
