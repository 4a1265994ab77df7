/* What encode reads: images from wherever a user has them, each as one item of the model's shape and range.
 *
 * What the input is, its content tells: a folder (every .png, .jpg and .jpeg below it, by path), a PNG or JPEG, IDX
 * (plain or gzip), HDF5. Pictures of another size than the model's are resized to cover it, then cut in the middle, as
 * data.fit=crop does in validation. */
#ifndef TS_TRAIN_ITEMS_H
#define TS_TRAIN_ITEMS_H

#include "train/data.h"
#include "train/file_list.h"

typedef struct {
    int64_t count;
    ts_shape item;
    ts_range range;
    const char **names;    /* [count]: the path below the folder, the file's name, or "000123" */
    ts_file_list pictures; /* none where it is `data` */
    ts_dataset *data;      /* IDX, HDF5, or somebody else's; NULL for pictures */
    bool borrowed;         /* it is somebody else's */
    ts_arena arena;        /* of numbers as names */
} ts_items;

/* dataset: path inside an HDF5 file, NULL where it has just one with images.
 * Owner: ts_items_close, also after a failure. Errors: data; usage where the choice of a data set is open. */
ts_status ts_items_open(ts_items *items, const char *path, const char *dataset, ts_shape item, ts_range range,
                        ts_error *err);

/* The items of a data set that stays the caller's. Owner: as above. Errors: out of memory. */
ts_status ts_items_open_data(ts_items *items, ts_dataset *data, ts_error *err);

/* Item i to out [item]. Errors: data, naming the file. */
ts_status ts_items_read(const ts_items *items, int64_t i, float *out, ts_error *err);

void ts_items_close(ts_items *items);

#endif
