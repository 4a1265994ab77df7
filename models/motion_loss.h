/* Losses of motion beyond that of all columns: the peers' extra terms, by what they are and not by their names. */
#ifndef TS_MODELS_MOTION_LOSS_H
#define TS_MODELS_MOTION_LOSS_H

#include "autograd/graph.h"
#include "models/motion_layout.h"

/* Weights; 0: the term is not there.
 *   position      of the positions' columns; T2M-GPT and MotionMillion call it loss_vel
 *   velocity      of the differences of neighbouring frames' positions; MotionMillion's forward_acc
 *   acceleration  of the differences of those; MotionMillion's forward_acc_vel
 *   root          of the root's columns */
typedef struct {
    double position, velocity, acceleration, root;
} ts_motion_weights;

enum { TS_MAX_MOTION_LOSSES = 4 };

typedef struct {
    int count;
    struct {
        const char *name; /* "position" */
        ts_value value;   /* [] */
        ts_value
            rows; /* []: the frames, or differences of frames, that it is the mean of; absent: all that there are */
        double weight;
    } term[TS_MAX_MOTION_LOSSES];
} ts_motion_losses;

bool ts_motion_weights_any(const ts_motion_weights *weights);

/* The terms with a weight for y against x, both [B, T, C] as the model sees them (normalised); `loss` makes one of two
 * values of equal shape and their mask (ts_mse_masked, ts_l1_masked ...). mask [B, T], or absent: 1 where a frame
 * counts. A difference counts where all its frames do.
 * Errors: C is not that of the layout; fewer than 2 frames for velocity, 3 for acceleration. */
void ts_motion_losses_build(ts_motion_losses *losses, const ts_motion_weights *weights, const ts_motion_layout *layout,
                            ts_value (*loss)(ts_value y, ts_value x, ts_value mask), ts_value y, ts_value x,
                            ts_value mask);

#endif
