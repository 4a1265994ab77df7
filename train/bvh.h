/* BVH, Biovision's text format of motion capture: a skeleton of offsets (HIERARCHY), and its channels frame by frame
 * (MOTION). Blanks, tabs and line ends of any kind separate words; a frame is one line. Strict: what the format does
 * not say is refused with file and line, and nothing is allocated that the file's size does not justify.
 *
 * What exporters agree on where the format is silent:
 *   rotations    in degrees, multiplied in the order in which the channels are named: Zrotation Yrotation Xrotation is
 *                Rz Ry Rx, which turns about x first
 *   positions    of the root are added to its OFFSET; of any other joint they stand in the place of its OFFSET */
#ifndef TS_TRAIN_BVH_H
#define TS_TRAIN_BVH_H

#include <stdbool.h>

#include "core/memory.h"
#include "models/vector3.h"

enum { TS_BVH_MAX_JOINTS = 2048, TS_BVH_MAX_DEPTH = 256 };

typedef struct {
    const char *name; /* an End Site's: "Head/end", after the joint that it ends */
    int parent;       /* an earlier joint; -1 of the root */
    int depth;        /* 0 of the root */
    bool end;         /* an End Site: a place without channels */
    bool has_offset, has_channels;
    double offset[3];
    int channels;          /* 0 to 6 */
    unsigned char axis[6]; /* of each channel: 0 x, 1 y, 2 z */
    bool position[6];      /* of each channel: a position, else a rotation */
    int64_t first_channel; /* column of its first one */
} ts_bvh_joint;

typedef struct {
    int64_t joints, channels, frames; /* End Sites are joints here */
    double frame_s;                   /* seconds from frame to frame */
    ts_bvh_joint *joint;              /* [joints], parents first */
    double *value;                    /* [frames, channels] */
    ts_arena arena;
} ts_bvh;

/* Reads a file, or `count` bytes of text that a 0 follows; `path` is for messages.
 * Owner: ts_bvh_clear, also after a failure. Errors: TS_ERR_DATA with path and line; out of memory. */
ts_status ts_bvh_read(ts_bvh *bvh, const char *path, ts_error *err);
ts_status ts_bvh_parse(ts_bvh *bvh, const char *text, size_t count, const char *path, ts_error *err);
void ts_bvh_clear(ts_bvh *bvh);

/* Index of the first joint called `name`, or -1. */
int64_t ts_bvh_find(const ts_bvh *bvh, const char *name);

/* Where every joint is in a frame, in the file's own unit; turns [joints] is room for their rotations. Thread: pure. */
void ts_bvh_pose(const ts_bvh *bvh, int64_t frame, ts_v3 *places, ts_m3 *turns);

#endif
