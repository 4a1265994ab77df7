/* The shape of an item, for commands that need no data: from what the user typed, from the options, from the data
 * itself. */
#ifndef TS_TRAIN_ITEM_SHAPE_H
#define TS_TRAIN_ITEM_SHAPE_H

#include "train/experiment.h"

/* Sets the experiment's item: `typed` ("28x28x1", "64x263"; NULL: not typed), else what the options tell, else what the
 * data are; where those are not there (yet), an IDX set is taken for one of MNIST's family. *source says which, for the
 * user. Errors: TS_ERR_USAGE, what was typed is no shape; TS_ERR_DATA, the data would tell and cannot be read. */
ts_status ts_item_find(ts_experiment *e, const char *typed, const char **source, ts_error *err);

#endif
