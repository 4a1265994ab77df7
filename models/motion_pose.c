#include "models/motion_pose.h"

#include <math.h>
#include <string.h>

/* Where a frame is: joint = world * column + (x, 0, z). */
typedef struct {
    double world[3][3]; /* from the frame of the root's heading */
    double x, z;        /* of the root */
    double heading;     /* TS_ROOT_YAW: about +y, so far; columns are turned by it, the world by -heading */
} place;

static void rotate(double out[3], const double m[3][3], const double v[3])
{
    for (int i = 0; i < 3; i++)
        out[i] = m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2];
}

/* ---- the turn as an angle ---- */

static void head_for(place *p, double heading)
{
    const double c = cos(heading), s = sin(heading);
    const double world[3][3] = {{c, 0, -s}, {0, 1, 0}, {s, 0, c}};
    memcpy(p->world, world, sizeof world);
    p->heading = heading;
}

/* On by a way in the heading that the place has now. */
static void walk(place *p, double x, double z)
{
    double way[3];
    rotate(way, p->world, (const double[3]){x, 0, z});
    p->x += way[0];
    p->z += way[2];
}

static void step_by_angle(place *p, const float *root, ts_motion_yaw yaw)
{
    double turn = (double)root[0];
    if (yaw == TS_YAW_WHOLE)
        walk(p, (double)root[1], (double)root[2]);
    head_for(p, p->heading + (yaw == TS_YAW_HALF ? 2 * turn : turn));
    if (yaw == TS_YAW_HALF)
        walk(p, (double)root[1], (double)root[2]);
}

/* ---- the turn as a matrix ---- */

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static bool normalise(double v[3])
{
    double length = sqrt(dot(v, v));
    for (int i = 0; i < 3; i++)
        v[i] /= length > 0 ? length : 1;
    return length > 0;
}

/* The first two rows, made orthogonal, and their cross product. Two rows that span no plane are no turn. */
static void matrix_of(double m[3][3], const float *six)
{
    static const double none[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    double *a = m[0], *b = m[1], *c = m[2];
    for (int i = 0; i < 3; i++) {
        a[i] = (double)six[i];
        b[i] = (double)six[3 + i];
    }
    bool whole = normalise(a);
    double along = dot(a, b);
    for (int i = 0; i < 3; i++)
        b[i] -= along * a[i];
    whole &= normalise(b);
    for (int i = 0; i < 3; i++)
        c[i] = a[(i + 1) % 3] * b[(i + 2) % 3] - a[(i + 2) % 3] * b[(i + 1) % 3];
    if (!whole)
        memcpy(m, none, sizeof none);
}

/* Headings multiply as H(t) = D(t) H(t-1), and the world is H's transpose: world(t) = world(t-1) D(t)'. */
static void step_by_matrix(place *p, const float *root)
{
    double turn[3][3], before[3][3];
    walk(p, (double)root[0], (double)root[1]);
    matrix_of(turn, root + 2);
    memcpy(before, p->world, sizeof before);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            p->world[i][k] = dot(before[i], turn[k]);
}

/* ---- both ---- */

static void begin(place *p, const ts_motion_layout *l, const float *first)
{
    *p = (place){0};
    head_for(p, 0);
    if (l->root_kind == TS_ROOT_HEADING)
        step_by_matrix(p, first + l->root.first);
}

/* From the frame at x to the next. */
static void step(place *p, const ts_motion_layout *l, ts_motion_yaw yaw, const float *x)
{
    if (l->root_kind == TS_ROOT_HEADING)
        step_by_matrix(p, x + l->columns + l->root.first);
    else
        step_by_angle(p, x + l->root.first, yaw);
}

/* Joint j of the frame x, in the frame of its heading. */
static void column_of(double out[3], const ts_motion_layout *l, const float *x, int64_t j)
{
    const float *at = x + l->positions.first + 3 * (l->root_position ? j : j - 1);
    bool root_without = j == 0 && !l->root_position;
    for (int i = 0; i < 3; i++)
        out[i] = root_without ? 0 : (double)at[i];
    if (root_without)
        out[1] = (double)x[l->height];
}

static void joint_of(double out[3], const place *p, const ts_motion_layout *l, const float *x, int64_t j)
{
    double local[3];
    column_of(local, l, x, j);
    rotate(out, p->world, local);
    out[0] += p->x;
    out[2] += p->z;
}

void ts_motion_pose(const ts_motion_layout *layout, const float *x, int64_t frames, ts_motion_yaw yaw, float *positions)
{
    place p;
    begin(&p, layout, x);
    for (int64_t t = 0; t < frames; t++, x += layout->columns) {
        for (int64_t j = 0; j < layout->joints; j++) {
            double joint[3];
            joint_of(joint, &p, layout, x, j);
            for (int i = 0; i < 3; i++)
                *positions++ = (float)joint[i];
        }
        if (t + 1 < frames)
            step(&p, layout, yaw, x);
    }
}

/* ---- whole or half? ---- */

/* Squared distance of what the joints do from frame to frame and what the velocities' columns say. */
static double disagreement(const ts_motion_layout *l, const float *x, int64_t frames, ts_motion_yaw yaw)
{
    place now, next;
    double sum = 0;
    begin(&now, l, x);
    for (int64_t t = 0; t + 1 < frames; t++, x += l->columns, now = next) {
        next = now;
        step(&next, l, yaw, x);
        for (int64_t j = 0; j < l->joints; j++) {
            const float *v = x + l->velocities.first + 3 * j;
            double from[3], to[3], said[3];
            joint_of(from, &now, l, x, j);
            joint_of(to, &next, l, x + l->columns, j);
            rotate(said, now.world, (const double[3]){(double)v[0], (double)v[1], (double)v[2]});
            for (int i = 0; i < 3; i++)
                sum += (to[i] - from[i] - said[i]) * (to[i] - from[i] - said[i]);
        }
    }
    return sum;
}

ts_motion_yaw ts_motion_yaw_of(const ts_motion_layout *layout, const float *x, int64_t frames)
{
    if (layout->root_kind != TS_ROOT_YAW || layout->velocities.count < 3 * layout->joints)
        return TS_YAW_WHOLE;
    double whole = disagreement(layout, x, frames, TS_YAW_WHOLE), half = disagreement(layout, x, frames, TS_YAW_HALF);
    return half < 0.99 * whole ? TS_YAW_HALF : TS_YAW_WHOLE; /* more than what rounding does */
}
