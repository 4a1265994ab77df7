#include "tests/train/bvh_sample.h"

#include <stdio.h>
#include <string.h>

static const char person[] =
    "HIERARCHY ROOT pelvis { OFFSET 0 40 0 CHANNELS 4 Xposition Yposition Zposition Yrotation\n"
    "JOINT thigh.L { OFFSET 4 -2 0 CHANNELS 0 JOINT shin.L { OFFSET 0 -20 0 CHANNELS 0\n"
    "JOINT foot.L { OFFSET 0 -18 0 CHANNELS 0 End Site { OFFSET 0 -1 6 } } } }\n"
    "JOINT thigh.R { OFFSET -4 -2 0 CHANNELS 0 JOINT shin.R { OFFSET 0 -20 0 CHANNELS 0\n"
    "JOINT foot.R { OFFSET 0 -18 0 CHANNELS 0 End Site { OFFSET 0 -1 6 } } } }\n"
    "JOINT spine.001 { OFFSET 0 10 0 CHANNELS 0 JOINT neck { OFFSET 0 9 0 CHANNELS 0\n"
    "JOINT face { OFFSET 0 4 1 CHANNELS 0 End Site { OFFSET 0 1 0 } } }\n"
    "JOINT upper_arm.L { OFFSET 6 8 0 CHANNELS 0 JOINT forearm.L { OFFSET 11 0 0 CHANNELS 0 End Site { OFFSET 9 0 0 } "
    "} }\n"
    "JOINT upper_arm.R { OFFSET -6 8 0 CHANNELS 0 JOINT forearm.R { OFFSET -11 0 0 CHANNELS 0 End Site { OFFSET -9 0 0 "
    "} "
    "} }\n"
    "} }\n"
    "MOTION Frames: %d Frame Time: 0.1\n%s";

const char *sample_bvh(char *text, size_t bytes, int frames, const char *motion)
{
    snprintf(text, bytes, person, frames, motion);
    return text;
}

const char *sample_walk(char *text, size_t bytes, int frames)
{
    size_t used = strlen(sample_bvh(text, bytes, frames, ""));
    for (int t = 0; t < frames && used < bytes; t++)
        used += (size_t)snprintf(text + used, bytes - used, "%d 0 0 90\n", t);
    return text;
}
