#include "models/motion_metrics.h"

#include <math.h>

#include "models/motion_pose.h"

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

/* Joints of two neighbouring frames in the world, [2, joints, 3]. */
typedef struct {
    float at[2 * TS_MAX_JOINTS * 3];
} step;

/* What a joint goes on the floor, in millimetres. */
static double way_of(const ts_motion_layout *l, const step *s, int64_t joint)
{
    const float *from = s->at + 3 * joint, *to = from + 3 * l->joints;
    return l->unit_mm * hypot((double)to[0] - (double)from[0], (double)to[2] - (double)from[2]);
}

/* Is foot `i` of the layout's list on the floor in the original's frame `row`, and does it stay there? */
static bool stands(const ts_motion_layout *l, const float *row, const step *s, int i)
{
    if (l->contacts.count)
        return i < l->contacts.count && row[l->contacts.first + i] > 0.5F;
    double height = l->unit_mm * (double)s->at[3 * l->foot[i] + 1];
    return height < STILL_HEIGHT_MM && way_of(l, s, l->foot[i]) < STILL_SPEED_MM / l->fps;
}

/* From frame t to t + 1. */
static void add_feet(ts_motion_sums *sums, const ts_motion_layout *l, const float *y, const float *x, int64_t t,
                     ts_motion_yaw yaw)
{
    step of_y, of_x;
    ts_motion_pose(l, y + t * l->columns, 2, yaw, of_y.at);
    ts_motion_pose(l, x + t * l->columns, 2, yaw, of_x.at);
    for (int i = 0; i < l->foot_count; i++) {
        if (!stands(l, x + t * l->columns, &of_x, i))
            continue;
        sums->contacts++;
        sums->skate += way_of(l, &of_y, l->foot[i]);
        sums->original_skate += way_of(l, &of_x, l->foot[i]);
    }
}

/* ---- sums ---- */

static void add_joints(ts_motion_sums *sums, const clip *y, const clip *x, int64_t frames)
{
    joints last[3] = {0};
    for (int64_t t = 0; t < frames; t++) {
        const joints *e[3] = {&last[t % 3], &last[(t + 2) % 3], &last[(t + 1) % 3]};
        errors_of(y, x, t, &last[t % 3]);
        add_errors(sums, e, t, x->layout->joints);
    }
}

void ts_motion_sums_add(ts_motion_sums *sums, const ts_motion_layout *layout, const float *y, const float *x,
                        int64_t frames)
{
    ts_motion_yaw yaw = ts_motion_yaw_of(layout, x, frames);
    add_joints(sums, &(clip){.layout = layout, .data = y}, &(clip){.layout = layout, .data = x}, frames);
    for (int64_t t = 0; t + 1 < frames; t++)
        add_feet(sums, layout, y, x, t, yaw);
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
    add_joints(&sums, &(clip){layout, y, mean, std}, &(clip){layout, x, mean, std}, frames);
    return ts_motion_metrics_of(&sums).mpjpe_mm;
}
