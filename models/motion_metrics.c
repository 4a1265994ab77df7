#include "models/motion_metrics.h"

#include <math.h>
#include <string.h>

#define STILL_HEIGHT_MM 50.0
#define STILL_SPEED_MM  500.0 /* a second */

typedef struct {
    const ts_motion_layout *layout;
    const float *data;       /* [frames, columns] */
    const float *mean, *std; /* [columns] or NULL */
} clip;

typedef struct {
    double of[TS_MAX_JOINTS][3];
} joints;

/* ---- what the columns say ---- */

static double value(const clip *c, int64_t t, int64_t column)
{
    double v = (double)c->data[t * c->layout->columns + column];
    return c->mean ? v * (double)c->std[column] + (double)c->mean[column] : v;
}

/* Where a joint is in the frame of the heading, the floor under the root being the origin. Millimetres. */
static void position_of(const clip *c, int64_t t, int64_t joint, double p[3])
{
    const ts_motion_layout *l = c->layout;
    int64_t at = l->positions.first + 3 * (l->root_position ? joint : joint - 1);
    for (int64_t i = 0; i < 3; i++)
        p[i] = l->unit_mm * (at >= l->positions.first ? value(c, t, at + i) : i == 1 ? value(c, t, l->height) : 0);
}

/* How the root moves from frame t to t + 1: way on the floor in the heading of t, in millimetres, and turn about y. */
static void root_step(const clip *c, int64_t t, double way[2], double *turn)
{
    const ts_motion_layout *l = c->layout;
    bool heading = l->root_kind == TS_ROOT_HEADING;
    int64_t first = l->root.first, row = heading ? t + 1 : t, x = heading ? first : first + 1;
    for (int64_t i = 0; i < 2; i++)
        way[i] = l->unit_mm * value(c, row, x + i);
    *turn = heading ? atan2(value(c, row, first + 4), value(c, row, first + 2)) : value(c, row, first);
}

/* ---- errors of joints ---- */

/* Of frame t, y - x, each relative to its own root. */
static void errors_of(const clip *y, const clip *x, int64_t t, joints *e)
{
    double p[3], q[3], root[3] = {0};
    for (int64_t j = 0; j < x->layout->joints; j++) {
        position_of(y, t, j, p);
        position_of(x, t, j, q);
        for (int i = 0; i < 3; i++) {
            root[i] = j == 0 ? p[i] - q[i] : root[i];
            e->of[j][i] = p[i] - q[i] - root[i];
        }
    }
}

/* Mean over joints of |a - 2 b + c|, or of the like with other factors. */
static double mean_length(const joints *e[3], const double factor[3], int64_t count)
{
    double sum = 0;
    for (int64_t j = 0; j < count; j++) {
        double square = 0;
        for (int i = 0; i < 3; i++) {
            double d = factor[0] * e[0]->of[j][i] + factor[1] * e[1]->of[j][i] + factor[2] * e[2]->of[j][i];
            square += d * d;
        }
        sum += sqrt(square);
    }
    return sum / (double)count;
}

/* e: of frames t, t - 1 and t - 2, as far as there are so many. */
static void add_errors(ts_motion_sums *sums, const joints *e[3], int64_t t, int64_t count)
{
    sums->frames++;
    sums->position += mean_length(e, (double[]){1, 0, 0}, count);
    if (t < 1)
        return;
    sums->steps++;
    sums->velocity += mean_length(e, (double[]){1, -1, 0}, count);
    if (t < 2)
        return;
    sums->bends++;
    sums->acceleration += mean_length(e, (double[]){1, -2, 1}, count);
}

/* ---- feet ---- */

/* Way of a joint on the floor from frame t to t + 1, wherever the root goes and turns. */
static double floor_way(const clip *c, int64_t t, int64_t joint)
{
    double from[3], to[3], way[2], turn;
    position_of(c, t, joint, from);
    position_of(c, t + 1, joint, to);
    root_step(c, t, way, &turn);
    double x = cos(turn) * to[0] - sin(turn) * to[2], z = sin(turn) * to[0] + cos(turn) * to[2];
    return hypot(way[0] + x - from[0], way[1] + z - from[2]);
}

/* Is foot `i` of the layout's list on the floor in frame t, and does it stay there? `way` is its floor_way. */
static bool stands(const clip *x, int64_t t, int i, double way)
{
    const ts_motion_layout *l = x->layout;
    double p[3];
    if (l->contacts.count)
        return i < l->contacts.count && value(x, t, l->contacts.first + i) > 0.5;
    position_of(x, t, l->foot[i], p);
    return p[1] < STILL_HEIGHT_MM && way < STILL_SPEED_MM / l->fps;
}

static void add_feet(ts_motion_sums *sums, const clip *y, const clip *x, int64_t t)
{
    for (int i = 0; i < x->layout->foot_count; i++) {
        double way = floor_way(x, t, x->layout->foot[i]);
        if (!stands(x, t, i, way))
            continue;
        sums->contacts++;
        sums->original_skate += way;
        sums->skate += floor_way(y, t, x->layout->foot[i]);
    }
}

/* ---- sums ---- */

void ts_motion_sums_add(ts_motion_sums *sums, const ts_motion_layout *layout, const float *y, const float *x,
                        int64_t frames, const float *mean, const float *std)
{
    clip a = {layout, y, mean, std}, b = {layout, x, mean, std};
    joints last[3] = {0};
    for (int64_t t = 0; t < frames; t++) {
        const joints *e[3] = {&last[t % 3], &last[(t + 2) % 3], &last[(t + 1) % 3]};
        errors_of(&a, &b, t, &last[t % 3]);
        add_errors(sums, e, t, layout->joints);
        if (t + 1 < frames)
            add_feet(sums, &a, &b, t);
    }
}

void ts_motion_sums_merge(ts_motion_sums *sums, const ts_motion_sums *other)
{
    sums->frames += other->frames;
    sums->steps += other->steps;
    sums->bends += other->bends;
    sums->contacts += other->contacts;
    sums->position += other->position;
    sums->velocity += other->velocity;
    sums->acceleration += other->acceleration;
    sums->skate += other->skate;
    sums->original_skate += other->original_skate;
}

static double mean_of(double sum, int64_t count)
{
    return count ? sum / (double)count : NAN;
}

ts_motion_metrics ts_motion_metrics_of(const ts_motion_sums *s)
{
    return (ts_motion_metrics){.mpjpe_mm = mean_of(s->position, s->frames),
                               .velocity_mm_per_frame = mean_of(s->velocity, s->steps),
                               .acceleration_mm_per_frame2 = mean_of(s->acceleration, s->bends),
                               .skate_mm_per_frame = mean_of(s->skate, s->contacts),
                               .original_skate_mm_per_frame = mean_of(s->original_skate, s->contacts)};
}

double ts_motion_mpjpe(const ts_motion_layout *layout, const float *y, const float *x, int64_t frames,
                       const float *mean, const float *std)
{
    ts_motion_sums sums = {0};
    ts_motion_sums_add(&sums, layout, y, x, frames, mean, std);
    return ts_motion_metrics_of(&sums).mpjpe_mm;
}
