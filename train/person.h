/* A person who moves, generated: one who walks along an arc, turns on the spot, squats, jumps or just stands, and
 * waves, reaches or lifts the arms meanwhile. Everything about a person is drawn from (seed, index), and a pose is a
 * function of time alone, so that any frame can be made at any time by any thread.
 *
 *   feet    follow a plan: while a foot stands it does not move at all; its steps are where the path is in the middle
 *           of a stance, so that the speed of the root and the length of the steps agree
 *   pelvis  as high as both legs reach, smoothly: that is the up and down of a walk; lower by the depth of a squat
 *   legs    two bones between hip and ankle, the knee to the front
 *   trunk, arms, head   sinusoids within the limits of joints, in step with the feet where those go */
#ifndef TS_TRAIN_PERSON_H
#define TS_TRAIN_PERSON_H

#include <stdint.h>

#include "models/vector3.h"
#include "train/data.h"

enum { TS_PERSON_JOINTS = 22 };

typedef enum { TS_PERSON_STANDS, TS_PERSON_WALKS, TS_PERSON_TURNS, TS_PERSON_SQUATS, TS_PERSON_JUMPS } ts_person_does;
typedef enum { TS_ARM_HANGS, TS_ARM_WAVES, TS_ARM_LIFTS, TS_ARM_REACHES } ts_arm_does;

/* Part of something that swings: middle + size sin(2 pi (rate t + phase)). Radians or metres; rate in 1/s. */
typedef struct {
    double middle, size, rate, phase;
} ts_swing;

typedef struct {
    ts_arm_does does;
    ts_swing up, out;     /* of the upper arm from hanging: to the front, to the side */
    ts_swing bend, aside; /* of the forearm from the upper arm: the same two ways */
} ts_person_arm;

typedef struct {
    ts_person_does does;
    double heading, speed, turn, drift; /* of the path: radians, m/s, radians/s, and its side of the heading */
    double rate, phase, stance;         /* of a foot's cycle: 1/s; part of the cycle; part of it that the foot stands */
    double width, toes_out;             /* between the feet, metres; radians */
    double ahead;                       /* of the pelvis: the toes in the middle of a stance, metres */
    double lift, strike, push;          /* of a step: metres; radians of the foot where it lands and where it leaves */
    double depth, height, rest;         /* squats and jumps: metres down, metres up; seconds between jumps */
    double leap;                        /* metres forward of a jump, turned by `turn` */
    ts_swing side, lean, bend, twist;   /* the pelvis to the side, metres; the trunk to the front, side and around */
    ts_swing look, nod;                 /* the head around, and down */
    ts_swing breath;                    /* the collars up */
    double hips_turn;                   /* of the pelvis in step with the feet; the shoulders turn against it */
    ts_person_arm arm[2];               /* left, right */
} ts_person;

/* Draws person `index` of the collection `seed`. Thread: pure. */
ts_person ts_person_draw(uint64_t seed, uint64_t index);

/* Where the joints of ts_skeleton_22 are `t` seconds into the clip: metres, the floor at 0. Thread: pure. */
void ts_person_pose(const ts_person *person, double t, ts_v3 place[TS_PERSON_JOINTS]);

/* "walks, waves left": what it does, for people, into text. Returns text. */
const char *ts_person_describe(const ts_person *person, char *text, size_t bytes);

#endif
