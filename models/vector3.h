/* Vectors and rotations of three axes, for what moves skeletons: x left, y up, z forward. Plain values, double. */
#ifndef TS_MODELS_VECTOR3_H
#define TS_MODELS_VECTOR3_H

#include <math.h>

typedef struct {
    double x, y, z;
} ts_v3;

/* Columns are where the axes go. */
typedef struct {
    ts_v3 x, y, z;
} ts_m3;

static inline ts_v3 ts_v3_at(const double *p) /* [3] */
{
    return (ts_v3){p[0], p[1], p[2]};
}

static inline ts_v3 ts_v3_add(ts_v3 a, ts_v3 b)
{
    return (ts_v3){a.x + b.x, a.y + b.y, a.z + b.z};
}

static inline ts_v3 ts_v3_sub(ts_v3 a, ts_v3 b)
{
    return (ts_v3){a.x - b.x, a.y - b.y, a.z - b.z};
}

static inline ts_v3 ts_v3_scale(double k, ts_v3 a)
{
    return (ts_v3){k * a.x, k * a.y, k * a.z};
}

static inline double ts_v3_dot(ts_v3 a, ts_v3 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static inline ts_v3 ts_v3_cross(ts_v3 a, ts_v3 b)
{
    return (ts_v3){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

static inline double ts_v3_length(ts_v3 a)
{
    return sqrt(ts_v3_dot(a, a));
}

/* Of length 1; a vector without a direction stays 0. */
static inline ts_v3 ts_v3_unit(ts_v3 a)
{
    double length = ts_v3_length(a);
    return length > 0 ? ts_v3_scale(1 / length, a) : (ts_v3){0, 0, 0};
}

static inline ts_m3 ts_m3_identity(void)
{
    return (ts_m3){{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
}

/* m v, and m' v. */
static inline ts_v3 ts_m3_apply(ts_m3 m, ts_v3 v)
{
    return ts_v3_add(ts_v3_scale(v.x, m.x), ts_v3_add(ts_v3_scale(v.y, m.y), ts_v3_scale(v.z, m.z)));
}

static inline ts_v3 ts_m3_apply_back(ts_m3 m, ts_v3 v)
{
    return (ts_v3){ts_v3_dot(m.x, v), ts_v3_dot(m.y, v), ts_v3_dot(m.z, v)};
}

static inline ts_m3 ts_m3_multiply(ts_m3 a, ts_m3 b)
{
    return (ts_m3){ts_m3_apply(a, b.x), ts_m3_apply(a, b.y), ts_m3_apply(a, b.z)};
}

/* By an angle in radians about an axis: 0 x, 1 y, 2 z. Right-handed: y turns z to x. */
static inline ts_m3 ts_m3_turn(int axis, double angle)
{
    double c = cos(angle), s = sin(angle);
    if (axis == 0)
        return (ts_m3){{1, 0, 0}, {0, c, s}, {0, -s, c}};
    if (axis == 1)
        return (ts_m3){{c, 0, -s}, {0, 1, 0}, {s, 0, c}};
    return (ts_m3){{c, s, 0}, {-s, c, 0}, {0, 0, 1}};
}

/* The smallest rotation that turns the unit vector a to the unit vector b: about a x b (Rodrigues). Opposite ones are
 * half a turn about an axis across a. */
static inline ts_m3 ts_m3_swing(ts_v3 a, ts_v3 b)
{
    ts_v3 v = ts_v3_cross(a, b);
    double c = ts_v3_dot(a, b), k = 1 / (1 + c);
    if (c < -1 + 1e-12) {
        ts_v3 across = fabs(a.x) < 0.5 ? (ts_v3){1, 0, 0} : (ts_v3){0, 1, 0};
        v = ts_v3_unit(ts_v3_cross(a, across));
        return (ts_m3){{2 * v.x * v.x - 1, 2 * v.x * v.y, 2 * v.x * v.z},
                       {2 * v.x * v.y, 2 * v.y * v.y - 1, 2 * v.y * v.z},
                       {2 * v.x * v.z, 2 * v.y * v.z, 2 * v.z * v.z - 1}};
    }
    return (ts_m3){{c + k * v.x * v.x, k * v.x * v.y + v.z, k * v.x * v.z - v.y},
                   {k * v.x * v.y - v.z, c + k * v.y * v.y, k * v.y * v.z + v.x},
                   {k * v.x * v.z + v.y, k * v.y * v.z - v.x, c + k * v.z * v.z}};
}

#endif
