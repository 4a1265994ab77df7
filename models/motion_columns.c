#include "models/motion_columns.h"

#include <math.h>
#include <stddef.h>

static const ts_motion_layout layouts[] = {
    {.name = "humanml3d",
     .columns = 263,
     .joints = 22,
     .root = {0, 4},
     .positions = {4, 63},
     .rotations = {67, 126},
     .velocities = {193, 66},
     .contacts = {259, 4},
     .height = 3,
     .unit_mm = 1000},
    {.name = "kit",
     .columns = 251,
     .joints = 21,
     .root = {0, 4},
     .positions = {4, 60},
     .rotations = {64, 120},
     .velocities = {184, 63},
     .contacts = {247, 4},
     .height = 3,
     .unit_mm = 1},
    {.name = "motionmillion",
     .columns = 272,
     .joints = 22,
     .root = {0, 8},
     .positions = {8, 66},
     .velocities = {74, 66},
     .rotations = {140, 132},
     .root_position = true,
     .unit_mm = 1000},
};

const ts_motion_layout *ts_motion_layout_of(int64_t columns)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].columns == columns)
            return &layouts[i];
    return NULL;
}

typedef struct {
    const float *frame, *mean, *std; /* [columns] */
} reader;

static double value(const reader *r, int64_t column)
{
    double v = (double)r->frame[column];
    return r->mean ? v * (double)r->std[column] + (double)r->mean[column] : v;
}

/* Where the root is in the frame of its heading: x and z are 0, unless the columns say otherwise. */
static void root_of(const ts_motion_layout *l, const reader *r, double root[3])
{
    for (int64_t i = 0; i < 3; i++)
        root[i] = l->root_position ? value(r, l->positions.first + i) : i == 1 ? value(r, l->height) : 0;
}

/* Sum of the distances of all joints; the root's is 0. */
static double distances(const ts_motion_layout *l, const reader *a, const reader *b)
{
    double root_a[3], root_b[3], sum = 0;
    root_of(l, a, root_a);
    root_of(l, b, root_b);
    for (int64_t first = l->positions.first; first < l->positions.first + l->positions.count; first += 3) {
        double square = 0;
        for (int64_t i = 0; i < 3; i++) {
            double d = value(a, first + i) - root_a[i] - (value(b, first + i) - root_b[i]);
            square += d * d;
        }
        sum += sqrt(square);
    }
    return sum;
}

double ts_motion_mpjpe(const ts_motion_layout *layout, const float *y, const float *x, int64_t frames,
                       const float *mean, const float *std)
{
    double sum = 0;
    for (int64_t t = 0; t < frames; t++) {
        reader a = {y + t * layout->columns, mean, std}, b = {x + t * layout->columns, mean, std};
        sum += distances(layout, &a, &b);
    }
    return layout->unit_mm * sum / (double)(frames * layout->joints);
}
