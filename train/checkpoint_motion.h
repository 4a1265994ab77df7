/* What a checkpoint says of motion: the tensors motion/mean and motion/std, f32 [columns], where values are normalised,
 * and the text `motion_layout` (train/motion_layout_file.h), where it is known what the columns mean. Checkpoints that
 * were written before this was have neither, and say nothing. */
#ifndef TS_TRAIN_CHECKPOINT_MOTION_H
#define TS_TRAIN_CHECKPOINT_MOTION_H

#include "core/files/container.h"
#include "train/motion.h"

#define TS_MOTION_LAYOUT_TEXT "motion_layout"

/* Nothing is added where *motion is not known. */
ts_status ts_checkpoint_motion_add(ts_container_writer *writer, const ts_motion *motion, ts_error *err);

/* What the file says: motion->known is false where it says nothing. Memory is the arena's.
 * Errors: TS_ERR_CHECKPOINT, naming `path`, for tensors that cannot be a mean and its deviation, and for a layout that
 * is none or does not fit them. */
ts_status ts_checkpoint_motion_read(ts_motion *motion, ts_container *container, const char *path, ts_arena *arena,
                                    ts_error *err);

/* Is the motion of the data what the run of the file was trained on? A run that goes on may not change it.
 * Errors: TS_ERR_DATA that names what differs; as ts_checkpoint_motion_read. */
ts_status ts_checkpoint_motion_same(const ts_motion *motion, ts_container *container, const char *path, ts_error *err);

#endif
