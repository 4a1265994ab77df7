#include "train/skeleton.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"

const float *ts_skeleton_joint(const ts_skeleton *s, int64_t t, int64_t j)
{
    return s->positions + (t * s->layout->joints + j) * 3;
}

ts_side ts_joint_side(const ts_motion_layout *layout, int64_t j)
{
    const char *name = layout->joint[j];
    if (strncmp(name, "left", 4) == 0 || strncmp(name, "l_", 2) == 0)
        return TS_LEFT;
    return strncmp(name, "right", 5) == 0 || strncmp(name, "r_", 2) == 0 ? TS_RIGHT : TS_MIDDLE;
}

int ts_joint_bones_below(const ts_motion_layout *layout, int64_t j)
{
    int most = 0;
    for (int64_t end = j + 1; end < layout->joints; end++) { /* children come after their parents */
        int bones = 0;
        int64_t at = end;
        for (; at > j; at = layout->parent[at])
            bones++;
        if (at == j && bones > most)
            most = bones;
    }
    return most;
}

static int64_t head_joint(const ts_motion_layout *l)
{
    for (int64_t j = 1; j < l->joints; j++)
        if (strcmp(l->joint[j], "head") == 0)
            return j;
    return -1;
}

bool ts_skeleton_head(const ts_skeleton *s, int64_t t, double centre[3], double *radius)
{
    int64_t j = head_joint(s->layout);
    if (j < 0)
        return false;
    const float *head = ts_skeleton_joint(s, t, j), *neck = ts_skeleton_joint(s, t, s->layout->parent[j]);
    double bone[3], length = 0;
    for (int i = 0; i < 3; i++) {
        bone[i] = (double)head[i] - (double)neck[i];
        length += bone[i] * bone[i];
    }
    length = sqrt(length);
    for (int i = 0; i < 3; i++)
        centre[i] = (double)head[i] + (length > 0 ? 0.042 * s->height * bone[i] / length : 0);
    *radius = 0.053 * s->height;
    return true;
}

/* ---- from columns ---- */

/* Into `values` [frames, columns]. */
static ts_status take_values(float *values, const ts_motion_layout *l, const float *x, int64_t frames,
                             const float *mean, const float *std, const char *name, ts_error *err)
{
    for (int64_t i = 0; i < frames * l->columns; i++) {
        int64_t c = i % l->columns;
        values[i] = mean ? x[i] * std[c] + mean[c] : x[i];
        if (!isfinite(values[i]))
            return ts_fail(err, TS_ERR_DATA, "%s: frame %" PRId64 ", column %" PRId64 ": expected a number, found %g",
                           name, i / l->columns, c, (double)values[i]);
    }
    return TS_OK;
}

static void take_contacts(ts_skeleton *s, const float *values)
{
    const ts_motion_layout *l = s->layout;
    for (int64_t t = 0; t < s->frames; t++)
        for (int k = 0; k < l->foot_count; k++)
            s->stands[t * l->foot_count + k] = values[t * l->columns + l->contacts.first + k] > 0.5f;
}

/* The longest way along bones from the root, as a mean over the frames. */
static double longest_limb(const ts_skeleton *s)
{
    double length[TS_MAX_JOINTS] = {0}, longest = 0;
    for (int64_t j = 1; j < s->layout->joints; j++) {
        int parent = s->layout->parent[j];
        double sum = 0;
        for (int64_t t = 0; t < s->frames; t++) {
            const float *a = ts_skeleton_joint(s, t, j), *b = ts_skeleton_joint(s, t, parent);
            sum += sqrt(pow((double)a[0] - (double)b[0], 2) + pow((double)a[1] - (double)b[1], 2) +
                        pow((double)a[2] - (double)b[2], 2));
        }
        length[j] = length[parent] + sum / (double)s->frames;
        longest = fmax(longest, length[j]);
    }
    return longest;
}

static ts_status fill(ts_skeleton *s, const float *values, const ts_motion_yaw *yaw, ts_error *err)
{
    const ts_motion_layout *l = s->layout;
    size_t bytes = (size_t)(s->frames * l->joints * 3) * sizeof *s->positions;
    if (!(s->positions = ts_alloc(bytes)))
        return ts_out_of_memory(err, bytes);
    if (l->contacts.count >= l->foot_count && l->foot_count > 0) {
        bytes = (size_t)(s->frames * l->foot_count) * sizeof *s->stands;
        if (!(s->stands = ts_alloc(bytes)))
            return ts_out_of_memory(err, bytes);
        take_contacts(s, values);
    }
    s->yaw = yaw ? *yaw : ts_motion_yaw_of(l, values, s->frames);
    ts_motion_pose(l, values, s->frames, s->yaw, s->positions);
    s->height = 1.5 * longest_limb(s);
    if (!(s->height > 0))
        s->height = 1700 / l->unit_mm;
    return TS_OK;
}

ts_status ts_skeleton_of(ts_skeleton *s, const ts_motion_layout *layout, const float *x, int64_t frames,
                         const float *mean, const float *std, const ts_motion_yaw *yaw, const char *name, ts_error *err)
{
    *s = (ts_skeleton){.layout = layout, .frames = frames};
    size_t bytes = (size_t)(frames * layout->columns) * sizeof(float);
    float *values = ts_alloc(bytes);
    if (!values)
        return ts_out_of_memory(err, bytes);
    ts_status status = take_values(values, layout, x, frames, mean, std, name, err);
    if (status == TS_OK)
        status = fill(s, values, yaw, err);
    ts_free(values);
    return status;
}

void ts_skeleton_clear(ts_skeleton *s)
{
    ts_free(s->positions);
    ts_free(s->stands);
    *s = (ts_skeleton){0};
}

void ts_skeleton_crop(ts_skeleton *s, int64_t first, int64_t count)
{
    const int64_t joints = s->layout->joints, feet = s->layout->foot_count;
    memmove(s->positions, ts_skeleton_joint(s, first, 0), (size_t)(count * joints * 3) * sizeof *s->positions);
    if (s->stands)
        memmove(s->stands, s->stands + first * feet, (size_t)(count * feet) * sizeof *s->stands);
    s->frames = count;
}
