/* Where a body is in a picture: a camera that looks down at it from the right in front, follows its root smoothly, and
 * has such a lens that the whole body is in the picture in every frame. Plain geometry: it knows no drawing library. */
#ifndef TS_TRAIN_SKELETON_VIEW_H
#define TS_TRAIN_SKELETON_VIEW_H

#include "train/skeleton.h"

typedef struct {
    double x, y; /* pixels from the left and from the top of the panel */
    double near; /* how much nearer to the camera than its target, in units of the body's height */
    double size; /* pixels of one unit of the layout there */
} ts_view_point;

enum { TS_MAX_BODIES = 2 };

/* The frame of pose k of `poses` that are evenly spaced in time, the first and the last frame among them. */
int64_t ts_pose_frame(int64_t frames, int k, int poses);

typedef struct {
    double height;        /* of the body, in the layout's unit */
    double focal, x0, y0; /* lens: pixels, and where the target is */
    int64_t frames[TS_MAX_BODIES];
    double *track[TS_MAX_BODIES]; /* [frames, 2] x and z of the target; its y is half the body's height */
    bool apart;                   /* the second body is followed by a camera of its own: it goes elsewhere */
} ts_view;

/* For `count` bodies (1, or 2: original and reconstruction; as many frames as both have), in panels of width x height
 * pixels; all have the same lens and the same direction. Bodies that stay together have the same camera as well; where
 * the second one goes elsewhere (by more than 0.4 of a body's height) it has one of its own. A second body that is much
 * larger than the first is followed too, but cut off where it would make the first one small.
 *   poses   the lens is for so many frames, those of ts_pose_frame; 0: for all
 *   errors  out of memory
 *   owner   ts_view_clear, also after an error */
ts_status ts_view_open(ts_view *view, const ts_skeleton *const *bodies, int count, int poses, double fps, double width,
                       double height, ts_error *err);
void ts_view_clear(ts_view *view);

/* What the camera that follows `body` sees of the place p in frame t. */
ts_view_point ts_view_of(const ts_view *view, int body, int64_t t, const double p[3]);
ts_view_point ts_view_joint(const ts_view *view, int body, int64_t t, const float *p);

#endif
