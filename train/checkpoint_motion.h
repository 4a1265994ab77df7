/* What a checkpoint says of motion: the tensors motion/mean and motion/std, f32 [columns], where the run is normalised.
 * Checkpoints of version 0.1 before motion was known have none, and say nothing. */
#ifndef TS_TRAIN_CHECKPOINT_MOTION_H
#define TS_TRAIN_CHECKPOINT_MOTION_H

#include "core/files/container.h"
#include "train/motion.h"

/* Nothing is added where *motion is not known. */
ts_status ts_checkpoint_motion_add(ts_container_writer *writer, const ts_motion *motion, ts_error *err);

/* What the file says: motion->known is false where it says nothing. Memory is the arena's.
 * Errors: TS_ERR_CHECKPOINT for tensors that cannot be a mean and its deviation, naming `path`. */
ts_status ts_checkpoint_motion_read(ts_motion *motion, ts_container *container, const char *path, ts_arena *arena,
                                    ts_error *err);

#endif
