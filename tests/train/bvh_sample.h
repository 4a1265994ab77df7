/* A recording made by hand: a T of bones with the names of the map "ReActIdle", in inches, at 10 frames a second. Its
 * pelvis is 40 high, its thighs are 20 and its shins 18 long; the root alone has channels, Xposition Yposition
 * Zposition Yrotation. */
#ifndef TS_TESTS_BVH_SAMPLE_H
#define TS_TESTS_BVH_SAMPLE_H

#include <stddef.h>

/* motion: `frames` lines of four numbers. Returns text. */
const char *sample_bvh(char *text, size_t bytes, int frames, const char *motion);

/* The same of somebody who walks along x, an inch a frame. */
const char *sample_walk(char *text, size_t bytes, int frames);

#endif
