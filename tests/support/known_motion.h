/* Motion whose joints are known, and its columns in any layout, written by the definitions of models/motion_layout.h.
 */
#ifndef TS_TESTS_KNOWN_MOTION_H
#define TS_TESTS_KNOWN_MOTION_H

#include "models/motion_pose.h"

enum { KNOWN_FRAMES = 240 };

typedef struct {
    int frames;
    double joint[KNOWN_FRAMES][TS_MAX_JOINTS][3]; /* in the layout's unit, y up */
    double heading[KNOWN_FRAMES];                 /* the turn about +y that brings the body's front to +z */
} known_motion;

/* A body of about 1.7 m, told by the names of its joints, that walks in a curve: `turns` around in all. In frame 0 its
 * root is at x = z = 0 and faces +z. */
void known_motion_walk(known_motion *m, const ts_motion_layout *l, int frames, double turns);

/* x [frames, columns]; contacts where a foot's joint is below 9 cm. The rest of the columns is 0. */
void known_motion_columns(const known_motion *m, const ts_motion_layout *l, ts_motion_yaw yaw, float *x);

#endif
