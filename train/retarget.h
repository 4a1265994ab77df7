/* From a recording of any person to the skeleton that motion is learnt on, at the rate that it is learnt at.
 *
 *   1. where each joint of the layout is, in every frame of the recording; one that the recording has not, evenly
 *      between its neighbours
 *   2. a first frame that the root leaves at more than 20 m/s is a reference pose, which some exporters put before the
 *      motion: it is dropped
 *   3. frames at layout->fps, positions between those of the recording linearly interpolated
 *   4. bones in the recording's directions and the skeleton's lengths; the root's way scaled by the skeleton's legs
 * over the recording's (mean over frames and sides)
 *   5. the floor at 0: the second percentile over frames of the height of the lowest of the layout's feet */
#ifndef TS_TRAIN_RETARGET_H
#define TS_TRAIN_RETARGET_H

#include "models/motion_features.h"
#include "train/bvh.h"

typedef struct {
    int64_t frames;
    ts_v3 *positions;   /* [frames, joints], metres; ts_free */
    bool dropped_first; /* step 2 did */
    double metres;      /* of one unit of the recording, so that its legs are the skeleton's */
} ts_retargeted;

/* source: the recording's joint for each of the layout's, -1 for none (train/joint_map.h).
 * Errors: TS_ERR_DATA naming `path`: a bone without a direction (two joints in one place), legs without a length. */
ts_status ts_retarget(ts_retargeted *r, const ts_bvh *bvh, const int *source, const ts_motion_layout *layout,
                      const ts_motion_skeleton *skeleton, const char *path, ts_error *err);

#endif
