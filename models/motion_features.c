#include "models/motion_features.h"

const ts_motion_skeleton ts_skeleton_22 = {
    .direction = {{0, 0, 0}, {1, -0.35, 0}, {-1, -0.35, 0}, {0, 1, 0},    {0, -1, 0},    {0, -1, 0},
                  {0, 1, 0}, {0, -1, 0},    {0, -1, 0},     {0, 1, 0},    {0, -0.45, 1}, {0, -0.45, 1},
                  {0, 1, 0}, {1, 0.6, 0},   {-1, 0.6, 0},   {0, 1, 0.15}, {1, 0, 0},     {-1, 0, 0},
                  {1, 0, 0}, {-1, 0, 0},    {1, 0, 0},      {-1, 0, 0}},
    .length = {0,    0.1, 0.1,  0.11, 0.42, 0.42, 0.13, 0.41, 0.41, 0.13, 0.15,
               0.15, 0.2, 0.13, 0.13, 0.11, 0.13, 0.13, 0.27, 0.27, 0.25, 0.25},
    .hip = {1, 2},
    .shoulder = {16, 17},
    .leg = {{1, 4, 7}, {2, 5, 8}},
    .contact_height = {0.16, 0.09, 0.16, 0.09},
    .contact_speed = 0.35,
};

typedef struct {
    const ts_motion_layout *layout;
    const ts_motion_skeleton *skeleton;
    const ts_v3 *positions; /* [frames, joints] */
    int64_t frames;
} motion;

static ts_v3 joint(const motion *m, int64_t t, int64_t j)
{
    return m->positions[t * m->layout->joints + j];
}

/* ---- heading ---- */

static ts_v3 facing(const motion *m, int64_t t)
{
    const int *hip = m->skeleton->hip, *shoulder = m->skeleton->shoulder;
    ts_v3 across = ts_v3_add(ts_v3_sub(joint(m, t, hip[0]), joint(m, t, hip[1])),
                             ts_v3_sub(joint(m, t, shoulder[0]), joint(m, t, shoulder[1])));
    return ts_v3_unit(ts_v3_cross(across, (ts_v3){0, 1, 0}));
}

/* The angle from +z to where the body faces, about +y. */
static double facing_angle(const motion *m, int64_t t)
{
    static const double weight[5] = {1.0 / 16, 4.0 / 16, 6.0 / 16, 4.0 / 16, 1.0 / 16};
    ts_v3 sum = {0, 0, 0};
    for (int64_t i = 0; i < 5; i++) {
        int64_t at = t + i - 2;
        at = at < 0 ? 0 : at < m->frames ? at : m->frames - 1;
        sum = ts_v3_add(sum, ts_v3_scale(weight[i], facing(m, at)));
    }
    return atan2(sum.x, sum.z);
}

static double wrapped(double angle)
{
    static const double pi = 3.14159265358979323846;
    return angle - 2 * pi * floor((angle + pi) / (2 * pi));
}

/* ---- one row ---- */

static void put(float *column, ts_v3 v)
{
    column[0] = (float)v.x;
    column[1] = (float)v.y;
    column[2] = (float)v.z;
}

static void put_root(float *row, const motion *m, int64_t t, ts_v3 velocity, double turn)
{
    const ts_motion_layout *l = m->layout;
    row[l->root.first] = (float)turn;
    row[l->root.first + 1] = (float)velocity.x;
    row[l->root.first + 2] = (float)velocity.z;
    row[l->height] = (float)joint(m, t, 0).y;
}

static void put_positions(float *row, const motion *m, int64_t t, ts_m3 world)
{
    ts_v3 root = joint(m, t, 0);
    root.y = 0;
    for (int64_t j = 1; j < m->layout->joints; j++)
        put(row + m->layout->positions.first + 3 * (j - 1), ts_m3_apply_back(world, ts_v3_sub(joint(m, t, j), root)));
}

static void put_velocities(float *row, const motion *m, int64_t t, ts_m3 world)
{
    for (int64_t j = 0; j < m->layout->joints; j++)
        put(row + m->layout->velocities.first + 3 * j,
            ts_m3_apply_back(world, ts_v3_sub(joint(m, t + 1, j), joint(m, t, j))));
}

static void put_rotations(float *row, const motion *m, int64_t t, ts_m3 world)
{
    ts_m3 frame[TS_MAX_JOINTS];
    frame[0] = world;
    for (int64_t j = 1; j < m->layout->joints; j++) {
        int parent = m->layout->parent[j];
        ts_v3 bone = ts_v3_unit(ts_v3_sub(joint(m, t, j), joint(m, t, parent)));
        ts_m3 local =
            ts_m3_swing(ts_v3_unit(ts_v3_at(m->skeleton->direction[j])), ts_m3_apply_back(frame[parent], bone));
        float *column = row + m->layout->rotations.first + 6 * (j - 1);
        put(column, local.x);
        put(column + 3, local.y);
        frame[j] = ts_m3_multiply(frame[parent], local);
    }
}

static void put_contacts(float *row, const motion *m, int64_t t)
{
    const ts_motion_layout *l = m->layout;
    for (int64_t i = 0; i < l->contacts.count; i++) {
        ts_v3 foot = joint(m, t, l->foot[i]);
        double speed = l->fps * ts_v3_length(ts_v3_sub(joint(m, t + 1, l->foot[i]), foot));
        row[l->contacts.first + i] =
            speed < m->skeleton->contact_speed && foot.y < m->skeleton->contact_height[i] ? 1.0f : 0.0f;
    }
}

void ts_motion_features(float *rows, const ts_motion_layout *layout, const ts_motion_skeleton *skeleton,
                        const ts_v3 *positions, int64_t frames)
{
    const motion m = {layout, skeleton, positions, frames};
    double angle = facing_angle(&m, 0);
    for (int64_t t = 0; t + 1 < frames; t++, rows += layout->columns) {
        ts_m3 world = ts_m3_turn(1, angle);
        double next = facing_angle(&m, t + 1);
        ts_v3 velocity = ts_m3_apply_back(world, ts_v3_sub(joint(&m, t + 1, 0), joint(&m, t, 0)));
        put_root(rows, &m, t, velocity, wrapped(angle - next));
        put_positions(rows, &m, t, world);
        put_velocities(rows, &m, t, world);
        put_rotations(rows, &m, t, world);
        put_contacts(rows, &m, t);
        angle = next;
    }
}
