/* How far a reconstruction of motion is from its original, in millimetres.
 *
 * Joints are taken relative to the root of their own frame, in the frame of their own heading: an error of the path or
 * of the heading does not count in the first three. (MotionMillion's own MPJPE turns both back into the world first,
 * each by its own headings so far, so that there their error counts too.) Joint 0, the root itself, counts with its
 * error of 0, as there. With e(t) the error of a joint's position in frame t, y - x, means over joints and frames of
 *   MPJPE         |e(t)|                               Ionescu et al. 2014, Human3.6M
 *   velocity      |e(t+1) - e(t)|                      Pavllo et al. 2019 (MPJVE)
 *   acceleration  |e(t+2) - 2 e(t+1) + e(t)|           Kanazawa et al. 2019 (HMMR)
 * Foot skate is the mean way on the floor, from frame t to t+1, of those feet that stand still in frame t of the
 * ORIGINAL: the way of the joint in the world (models/motion_pose.h), without the height. A foot stands still where its
 * contact column is above 0.5; where the layout has no such columns, where it is lower than 5 cm and slower than
 * 0.5 m/s, the limits of Karunratanakul et al. 2023 (GMD).
 *
 * All are per frame: times the rate (frames a second) they are per second. */
#ifndef TS_MODELS_MOTION_METRICS_H
#define TS_MODELS_MOTION_METRICS_H

#include "models/motion_layout.h"

/* Sums over clips, in millimetres, so that every frame weighs the same. Begin with {0}. */
typedef struct {
    int64_t frames, steps, bends; /* frames, pairs and triples of neighbours: of position, velocity, acceleration */
    double position, velocity, acceleration; /* means over joints, summed over those */
    int64_t contacts;                        /* feet that stand still, over all steps */
    double skate, original_skate;            /* their ways */
} ts_motion_sums;

/* NAN: nothing of the kind was seen (clips of one frame have no velocity). */
typedef struct {
    double mpjpe_mm;
    double velocity_mm_per_frame;
    double acceleration_mm_per_frame2;
    double skate_mm_per_frame, original_skate_mm_per_frame; /* of the reconstruction, and of the original itself */
} ts_motion_metrics;

/* Adds the clip y, a reconstruction of x, both [frames, columns]: values, not normalised ones. Thread: pure but for
 * *sums. */
void ts_motion_sums_add(ts_motion_sums *sums, const ts_motion_layout *layout, const float *y, const float *x,
                        int64_t frames);

/* Adds what another one has seen. */
void ts_motion_sums_merge(ts_motion_sums *sums, const ts_motion_sums *other);

ts_motion_metrics ts_motion_metrics_of(const ts_motion_sums *sums);

/* MPJPE alone, of one clip. mean, std [columns]: x and y are (value - mean) / std; NULL: they are values. */
double ts_motion_mpjpe(const ts_motion_layout *layout, const float *y, const float *x, int64_t frames,
                       const float *mean, const float *std);

#endif
