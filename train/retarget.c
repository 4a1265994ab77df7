#include "train/retarget.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "train/joint_map.h"

typedef struct {
    const ts_motion_layout *layout;
    const ts_motion_skeleton *skeleton;
    int64_t frames;
    ts_v3 *place; /* [frames, joints] */
} motion;

static ts_v3 *frame_of(const motion *m, int64_t t)
{
    return m->place + t * m->layout->joints;
}

static ts_status make(motion *m, int64_t frames, const motion *like, ts_error *err)
{
    size_t count = (size_t)(frames * like->layout->joints);
    *m = (motion){like->layout, like->skeleton, frames, ts_calloc(count, sizeof *m->place)};
    return m->place ? TS_OK : ts_out_of_memory(err, count * sizeof *m->place);
}

/* ---- the recording's joints ---- */

static void put_between(ts_v3 *place, const ts_motion_layout *layout, const int *source, int64_t j)
{
    int beyond = ts_joint_beyond(j), steps = 2;
    for (; source[beyond] < 0; beyond = ts_joint_beyond(beyond))
        steps++;
    ts_v3 from = place[layout->parent[j]];
    place[j] = ts_v3_add(from, ts_v3_scale(1.0 / steps, ts_v3_sub(place[beyond], from)));
}

static void pick(ts_v3 *place, const ts_motion_layout *layout, const int *source, const ts_v3 *all)
{
    for (int64_t j = 0; j < layout->joints; j++)
        if (source[j] >= 0)
            place[j] = all[source[j]];
    for (int64_t j = 0; j < layout->joints; j++)
        if (source[j] < 0)
            put_between(place, layout, source, j);
}

static ts_status record(motion *m, const motion *like, const ts_bvh *bvh, const int *source, ts_error *err)
{
    TS_TRY(make(m, bvh->frames, like, err));
    ts_v3 *all = ts_calloc((size_t)bvh->joints, sizeof *all);
    ts_m3 *turns = ts_calloc((size_t)bvh->joints, sizeof *turns);
    for (int64_t t = 0; all && turns && t < bvh->frames; t++) {
        ts_bvh_pose(bvh, t, all, turns);
        pick(frame_of(m, t), m->layout, source, all);
    }
    ts_status status = all && turns ? TS_OK : ts_out_of_memory(err, (size_t)bvh->joints * sizeof *turns);
    ts_free(all);
    ts_free(turns);
    return status;
}

/* ---- size, and the frame that is no motion ---- */

/* Mean length of the legs of frames first ... first + n - 1. */
static double legs(const motion *m, int64_t first, int64_t n)
{
    double sum = 0;
    for (int64_t t = first; t < first + n; t++)
        for (int side = 0; side < 2; side++) {
            const int *leg = m->skeleton->leg[side];
            const ts_v3 *place = frame_of(m, t);
            sum += ts_v3_length(ts_v3_sub(place[leg[1]], place[leg[0]])) +
                   ts_v3_length(ts_v3_sub(place[leg[2]], place[leg[1]]));
        }
    return sum / (2 * (double)n);
}

static double legs_of_skeleton(const ts_motion_skeleton *s)
{
    double sum = 0;
    for (int side = 0; side < 2; side++)
        sum += s->length[s->leg[side][1]] + s->length[s->leg[side][2]];
    return sum / 2;
}

static bool starts_with_a_pose(const motion *m, double frame_s)
{
    static const double fastest = 20; /* metres a second; people run at 12 */
    if (m->frames < 3)
        return false;
    double scale = legs_of_skeleton(m->skeleton) / legs(m, 0, 1);
    return ts_v3_length(ts_v3_sub(frame_of(m, 1)[0], frame_of(m, 0)[0])) * scale > fastest * frame_s;
}

/* ---- rate ---- */

static ts_status resample(motion *to, const motion *from, int64_t first, double frame_s, ts_error *err)
{
    double fps = from->layout->fps, seconds = (double)(from->frames - first - 1) * frame_s;
    TS_TRY(make(to, (int64_t)(seconds * fps + 1e-6) + 1, from, err));
    int64_t last = from->frames - 1, joints = from->layout->joints;
    for (int64_t t = 0; t < to->frames; t++) {
        double at = (double)t / fps / frame_s, whole = floor(at);
        int64_t before = first + (int64_t)whole;
        before = before < last ? before : last;
        const ts_v3 *a = frame_of(from, before), *b = frame_of(from, before < last ? before + 1 : last);
        for (int64_t j = 0; j < joints; j++)
            frame_of(to, t)[j] = ts_v3_add(ts_v3_scale(1 - (at - whole), a[j]), ts_v3_scale(at - whole, b[j]));
    }
    return TS_OK;
}

/* ---- bones ---- */

static ts_status no_direction(const motion *m, int64_t t, int64_t j, const char *path, ts_error *err)
{
    const ts_motion_layout *l = m->layout;
    return ts_fail(err, TS_ERR_DATA,
                   "%s: %.3g s: %s and %s are in one place, so that the bone between them has no direction%s", path,
                   (double)t / l->fps, l->joint[l->parent[j]], l->joint[j],
                   ts_joint_beyond(j) ? "; leave the second out of the map" : "");
}

/* In place: the parents of a joint are moved before it, so the frame as it was is copied first. */
static ts_status stretch(motion *m, double scale, double shortest, const char *path, ts_error *err)
{
    const ts_motion_layout *l = m->layout;
    ts_v3 before[TS_MAX_JOINTS];
    for (int64_t t = 0; t < m->frames; t++) {
        ts_v3 *place = frame_of(m, t);
        memcpy(before, place, (size_t)l->joints * sizeof *before);
        place[0] = ts_v3_scale(scale, before[0]);
        for (int64_t j = 1; j < l->joints; j++) {
            ts_v3 bone = ts_v3_sub(before[j], before[l->parent[j]]);
            double length = ts_v3_length(bone);
            if (!(length > shortest))
                return no_direction(m, t, j, path, err);
            place[j] = ts_v3_add(place[l->parent[j]], ts_v3_scale(m->skeleton->length[j] / length, bone));
        }
    }
    return TS_OK;
}

/* ---- floor ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Interpolated between neighbours, as numpy.percentile does. */
static double percentile(double *values, int64_t n, double percent)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    double at = percent / 100 * (double)(n - 1);
    int64_t i = (int64_t)at;
    return i + 1 < n ? values[i] + (at - (double)i) * (values[i + 1] - values[i]) : values[n - 1];
}

static ts_status put_on_floor(motion *m, ts_error *err)
{
    const ts_motion_layout *l = m->layout;
    double *lowest = ts_calloc((size_t)m->frames, sizeof *lowest);
    if (!lowest)
        return ts_out_of_memory(err, (size_t)m->frames * sizeof *lowest);
    for (int64_t t = 0; t < m->frames; t++) {
        lowest[t] = frame_of(m, t)[l->foot[0]].y;
        for (int i = 1; i < l->foot_count; i++)
            lowest[t] = fmin(lowest[t], frame_of(m, t)[l->foot[i]].y);
    }
    double floor_y = percentile(lowest, m->frames, 2);
    for (int64_t i = 0; i < m->frames * l->joints; i++)
        m->place[i].y -= floor_y;
    ts_free(lowest);
    return TS_OK;
}

/* ---- all of it ---- */

static ts_status to_skeleton(ts_retargeted *r, motion *m, const char *path, ts_error *err)
{
    double leg = legs(m, 0, m->frames);
    if (!(leg > 0))
        return ts_fail(err, TS_ERR_DATA, "%s: the legs have no length: hip, knee and ankle are in one place", path);
    r->metres = legs_of_skeleton(m->skeleton) / leg;
    TS_TRY(stretch(m, r->metres, 1e-6 * leg, path, err));
    TS_TRY(put_on_floor(m, err));
    r->frames = m->frames;
    r->positions = m->place;
    m->place = NULL;
    return TS_OK;
}

ts_status ts_retarget(ts_retargeted *r, const ts_bvh *bvh, const int *source, const ts_motion_layout *layout,
                      const ts_motion_skeleton *skeleton, const char *path, ts_error *err)
{
    motion like = {layout, skeleton, 0, NULL}, recorded = like, m = like;
    *r = (ts_retargeted){0};
    ts_status status = record(&recorded, &like, bvh, source, err);
    if (status == TS_OK) {
        r->dropped_first = starts_with_a_pose(&recorded, bvh->frame_s);
        status = resample(&m, &recorded, r->dropped_first, bvh->frame_s, err);
    }
    if (status == TS_OK)
        status = to_skeleton(r, &m, path, err);
    ts_free(recorded.place);
    ts_free(m.place);
    return status;
}
