#include "tests/support/known_motion.h"

#include <math.h>
#include <string.h>

/* ---- a body that walks ---- */

static const double pi = 3.14159265358979323846;

/* Metres from a joint's parent to the joint, at rest; the right side's x is the other way. */
static const struct {
    const char *part;
    double way[3];
} rest[] = {{"hip", {0.09, -0.06, 0}},     {"knee", {0, -0.41, 0}},         {"ankle", {0, -0.40, -0.01}},
            {"foot", {0, -0.05, 0.13}},    {"heel", {0, -0.05, -0.04}},     {"toe", {0, 0, 0.17}},
            {"spine", {0, 0.12, 0}},       {"torso", {0, 0.22, 0}},         {"upper_neck", {0, 0.1, 0.01}},
            {"neck", {0, 0.2, 0}},         {"head", {0, 0.1, 0.02}},        {"collar", {0.08, 0.12, 0}},
            {"shoulder", {0.12, 0.02, 0}}, {"elbow", {0.03, -0.26, -0.02}}, {"wrist", {0.01, -0.24, 0.04}}};

static void way_at_rest(double way[3], const char *name)
{
    memset(way, 0, 3 * sizeof *way);
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        if (strstr(name, rest[i].part)) {
            memcpy(way, rest[i].way, 3 * sizeof *way);
            break;
        }
    if (strncmp(name, "right", 5) == 0)
        way[0] = -way[0];
}

/* How far a limb swings ahead; arms against legs. */
static double swing(const char *name, double phase)
{
    double side = strncmp(name, "left", 4) == 0 ? 1 : -1;
    if (strstr(name, "knee"))
        return 0.5 * side * sin(phase);
    if (strstr(name, "ankle"))
        return 0.5 * side * sin(phase) - 0.4 * (1 + side * cos(phase));
    return strstr(name, "elbow") || strstr(name, "wrist") ? -0.4 * side * sin(phase) + 0.1 : 0;
}

/* v about +y by a. */
static void turn(double out[3], double a, const double v[3])
{
    out[0] = cos(a) * v[0] + sin(a) * v[2];
    out[1] = v[1];
    out[2] = -sin(a) * v[0] + cos(a) * v[2];
}

static void place_joints(known_motion *m, const ts_motion_layout *l, int t)
{
    const double unit = 1000 / l->unit_mm;
    for (int j = 1; j < l->joints; j++) {
        double way[3], placed[3], a = swing(l->joint[j], 2 * pi * t / 30);
        way_at_rest(way, l->joint[j]);
        const double ahead[3] = {way[0], cos(a) * way[1] + sin(a) * way[2], -sin(a) * way[1] + cos(a) * way[2]};
        turn(placed, -m->heading[t], ahead);
        for (int i = 0; i < 3; i++)
            m->joint[t][j][i] = m->joint[t][l->parent[j]][i] + unit * placed[i];
    }
}

void known_motion_walk(known_motion *m, const ts_motion_layout *l, int frames, double turns)
{
    double x = 0, z = 0;
    m->frames = frames;
    for (int t = 0; t < frames; t++) {
        m->heading[t] = turns * 2 * pi * t / frames;
        const double root[3] = {x, 0.93 + 0.02 * cos(4 * pi * t / 30), z};
        for (int i = 0; i < 3; i++)
            m->joint[t][0][i] = root[i] * 1000 / l->unit_mm;
        place_joints(m, l, t);
        x -= 0.035 * sin(m->heading[t]);
        z += 0.035 * cos(m->heading[t]);
    }
}

/* ---- its columns ---- */

/* A way in the world, seen in the heading of frame t. */
static void see(double out[3], const known_motion *m, int t, const double v[3])
{
    turn(out, m->heading[t], v);
}

static void write_positions(const known_motion *m, const ts_motion_layout *l, int t, float *row)
{
    for (int j = l->root_position ? 0 : 1; j < l->joints; j++) {
        const double *p = m->joint[t][j], *root = m->joint[t][0];
        double local[3];
        see(local, m, t, (const double[3]){p[0] - root[0], p[1], p[2] - root[2]});
        for (int i = 0; i < 3; i++)
            row[l->positions.first + 3 * (l->root_position ? j : j - 1) + i] = (float)local[i];
    }
}

/* The way of joint j from frame t to the next, seen in the heading of frame `from`. */
static void way_on(double out[3], const known_motion *m, int t, int j, int from)
{
    double d[3];
    for (int i = 0; i < 3; i++)
        d[i] = m->joint[t + 1][j][i] - m->joint[t][j][i];
    see(out, m, from, d);
}

static void write_yaw(const known_motion *m, const ts_motion_layout *l, ts_motion_yaw yaw, int t, float *row)
{
    double v[3];
    row[l->height] = (float)m->joint[t][0][1];
    if (t + 1 == m->frames)
        return;
    row[l->root.first] = (float)((m->heading[t + 1] - m->heading[t]) / (yaw == TS_YAW_HALF ? 2 : 1));
    way_on(v, m, t, 0, yaw == TS_YAW_HALF ? t + 1 : t);
    row[l->root.first + 1] = (float)v[0];
    row[l->root.first + 2] = (float)v[2];
    for (int j = 0; j < l->joints; j++) {
        way_on(v, m, t, j, t);
        for (int i = 0; i < 3; i++)
            row[l->velocities.first + 3 * j + i] = (float)v[i];
    }
}

static void write_matrix(const known_motion *m, const ts_motion_layout *l, int t, float *row)
{
    double v[3] = {m->joint[0][0][0], 0, m->joint[0][0][2]}, a = m->heading[t] - (t > 0 ? m->heading[t - 1] : 0);
    if (t > 0)
        way_on(v, m, t - 1, 0, t - 1);
    const double root[8] = {v[0], v[2], cos(a), 0, sin(a), 0, 1, 0};
    for (int i = 0; i < 8; i++)
        row[l->root.first + i] = (float)root[i];
    for (int64_t i = 0; t > 0 && i < l->velocities.count; i++)
        row[l->velocities.first + i] = row[l->positions.first + i] - (row - l->columns)[l->positions.first + i];
}

void known_motion_columns(const known_motion *m, const ts_motion_layout *l, ts_motion_yaw yaw, float *x)
{
    memset(x, 0, (size_t)(m->frames * l->columns) * sizeof *x);
    for (int t = 0; t < m->frames; t++) {
        float *row = x + t * l->columns;
        write_positions(m, l, t, row);
        if (l->root_kind == TS_ROOT_HEADING)
            write_matrix(m, l, t, row);
        else
            write_yaw(m, l, yaw, t, row);
        for (int k = 0; k < l->contacts.count; k++)
            row[l->contacts.first + k] = m->joint[t][l->foot[k]][1] < 90 / l->unit_mm;
    }
}
