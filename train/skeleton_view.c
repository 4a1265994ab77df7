#include "train/skeleton_view.h"

#include <math.h>

#include "core/memory.h"

/* In heights of the body, radians, seconds. The camera stands in front of the body and to its right, so that a body
 * that walks ahead comes to the right and nearer. */
static const double distance = 4.5, azimuth = -0.7, elevation = 0.26, smoothing = 0.4, room = 0.04, together = 0.4,
                    most_shrinking = 2.5;

/* ---- what is seen ---- */

/* To the right, up and towards the camera from its target, in heights. */
static void seen_from_target(double out[3], const ts_view *v, int body, int64_t t, const double p[3])
{
    const double *target = v->track[body] + 2 * t;
    const double x = (p[0] - target[0]) / v->height, y = p[1] / v->height - 0.5, z = (p[2] - target[1]) / v->height;
    const double ahead = x * sin(azimuth) + z * cos(azimuth); /* on the floor, towards the camera */
    out[0] = x * cos(azimuth) - z * sin(azimuth);
    out[1] = y * cos(elevation) - ahead * sin(elevation);
    out[2] = y * sin(elevation) + ahead * cos(elevation);
}

/* What comes too near is seen as if it were a fifth of the way from the camera. */
static double away(double near)
{
    return fmax(distance - near, 0.2 * distance);
}

/* Drawing libraries count pixels in few bits. */
static double pixel(double x)
{
    return fmin(fmax(x, -1e5), 1e5);
}

ts_view_point ts_view_of(const ts_view *view, int body, int64_t t, const double p[3])
{
    double q[3];
    seen_from_target(q, view, body, t, p);
    double scale = view->focal / away(q[2]);
    return (ts_view_point){pixel(view->x0 + scale * q[0]), pixel(view->y0 - scale * q[1]), q[2], scale / view->height};
}

ts_view_point ts_view_joint(const ts_view *view, int body, int64_t t, const float *p)
{
    return ts_view_of(view, body, t, (const double[3]){(double)p[0], (double)p[1], (double)p[2]});
}

/* ---- the way of the camera ---- */

/* Coordinate i of the root at frame t; beyond the ends the path goes on as it came, turned about its end. */
static double root_at(const ts_skeleton *s, int64_t t, int i)
{
    int64_t last = s->frames - 1;
    if (t < 0)
        return 2 * root_at(s, 0, i) - root_at(s, -t < last ? -t : last, i);
    if (t > last)
        return 2 * root_at(s, last, i) - root_at(s, 2 * last - t > 0 ? 2 * last - t : 0, i);
    return (double)ts_skeleton_joint(s, t, 0)[i];
}

/* The root's path through a Gaussian window. */
static ts_status make_track(ts_view *v, int body, const ts_skeleton *s, double fps, ts_error *err)
{
    const double sigma = smoothing * fps;
    const int64_t reach = (int64_t)ceil(2.5 * sigma);
    size_t bytes = (size_t)(2 * s->frames) * sizeof(double);
    double *track = v->track[body] = ts_alloc(bytes);
    v->frames[body] = s->frames;
    if (!track)
        return ts_out_of_memory(err, bytes);
    for (int64_t t = 0; t < s->frames; t++) {
        double x = 0, z = 0, weights = 0;
        for (int64_t d = -reach; d <= reach; d++) {
            double w = exp(-0.5 * (double)(d * d) / (sigma * sigma));
            x += w * root_at(s, t + d, 0);
            z += w * root_at(s, t + d, 2);
            weights += w;
        }
        track[2 * t] = x / weights;
        track[2 * t + 1] = z / weights;
    }
    return TS_OK;
}

/* Do both bodies stay near each other? Then both are seen by the camera of the first one. */
static void join_tracks(ts_view *v)
{
    double *a = v->track[0], *b = v->track[1], most = 0;
    int64_t frames = v->frames[0] < v->frames[1] ? v->frames[0] : v->frames[1];
    for (int64_t t = 0; t < frames; t++)
        most = fmax(most, hypot(a[2 * t] - b[2 * t], a[2 * t + 1] - b[2 * t + 1]));
    v->apart = most > together * v->height;
    for (int64_t i = 0; !v->apart && i < 2 * frames; i++)
        b[i] = a[i];
}

/* ---- the lens ---- */

int64_t ts_pose_frame(int64_t frames, int k, int poses)
{
    return poses < 2 ? 0 : (2 * k * (frames - 1) + poses - 1) / (2 * (poses - 1));
}

/* Of pictures as they are with a lens of 1 pixel. */
typedef struct {
    double left, right, low, high;
} box;

static void add(box *b, const ts_view *v, int body, int64_t t, const double p[3], double radius)
{
    double q[3];
    seen_from_target(q, v, body, t, p);
    double scale = 1 / away(q[2]);
    b->left = fmin(b->left, (q[0] - radius) * scale);
    b->right = fmax(b->right, (q[0] + radius) * scale);
    b->low = fmin(b->low, (q[1] - radius) * scale);
    b->high = fmax(b->high, (q[1] + radius) * scale);
}

/* All joints, the head, and the floor below the root. */
static void add_frame(box *b, const ts_view *v, int body, const ts_skeleton *s, int64_t t)
{
    double p[3], radius;
    for (int64_t j = 0; j < s->layout->joints; j++) {
        for (int i = 0; i < 3; i++)
            p[i] = (double)ts_skeleton_joint(s, t, j)[i];
        add(b, v, body, t, p, room);
    }
    if (ts_skeleton_head(s, t, p, &radius))
        add(b, v, body, t, p, radius / v->height + 0.01);
    const float *root = ts_skeleton_joint(s, t, 0);
    add(b, v, body, t, (const double[3]){(double)root[0], 0, (double)root[2]}, room);
}

static void add_body(box *b, const ts_view *v, int body, const ts_skeleton *s, int64_t frames, int poses)
{
    for (int k = 0; k < poses; k++)
        add_frame(b, v, body, s, ts_pose_frame(frames, k, poses));
    for (int64_t t = 0; poses == 0 && t < frames; t++)
        add_frame(b, v, body, s, t);
}

static double lens_for(const box *b, double width, double height)
{
    return fmin(width / (b->right - b->left), height / (b->high - b->low));
}

static void choose_lens(ts_view *v, const ts_skeleton *const *bodies, int count, int poses, double width, double height)
{
    const double all = INFINITY;
    const int64_t frames = count > 1 && bodies[1]->frames < bodies[0]->frames ? bodies[1]->frames : bodies[0]->frames;
    box first = {all, -all, all, -all};
    add_body(&first, v, 0, bodies[0], frames, poses);
    box shown = first;
    if (count > 1)
        add_body(&shown, v, 1, bodies[1], frames, poses);
    double least = lens_for(&first, width, height) / most_shrinking;
    v->focal = lens_for(&shown, width, height);
    if (!(v->focal >= least)) {
        v->focal = least;
        shown = first;
    }
    v->x0 = width / 2 - v->focal * (shown.left + shown.right) / 2;
    v->y0 = height / 2 + v->focal * (shown.low + shown.high) / 2;
}

ts_status ts_view_open(ts_view *view, const ts_skeleton *const *bodies, int count, int poses, double fps, double width,
                       double height, ts_error *err)
{
    *view = (ts_view){.height = bodies[0]->height};
    for (int i = 0; i < count; i++)
        TS_TRY(make_track(view, i, bodies[i], fps, err));
    if (count > 1)
        join_tracks(view);
    choose_lens(view, bodies, count, poses, width, height);
    return TS_OK;
}

void ts_view_clear(ts_view *view)
{
    for (int i = 0; i < TS_MAX_BODIES; i++)
        ts_free(view->track[i]);
    *view = (ts_view){0};
}
