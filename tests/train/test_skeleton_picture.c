/* What is drawn: bodies in their colours, inside the picture, beside each other, in strips. */
#include "train/skeleton_picture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "tests/support/known_motion.h"
#include "tests/support/shared.h"
#include "train/skeleton_view.h"

static ts_error err;
static known_motion sample;
static float x[KNOWN_FRAMES * 272];

static ts_skeleton body_of(const ts_motion_layout *l, int frames)
{
    ts_skeleton s;
    known_motion_walk(&sample, l, frames, 0.3);
    known_motion_columns(&sample, l, TS_YAW_HALF, x);
    cr_assert_eq(ts_skeleton_of(&s, l, x, frames, NULL, NULL, NULL, "walk", &err), TS_OK, "%s", err.text);
    return s;
}

#ifdef TS_WITH_CAIRO

/* What a part of a picture shows. */
typedef struct {
    int left, right, trunk, green, any; /* pixels of these colours; of any but white */
    int64_t x0, x1, y0, y1;             /* where limbs are; x0 > x1: nowhere */
} content;

/* Between the colour and white, and by at least half the colour. */
static bool is_shade(const uint8_t *p, ts_colour c)
{
    const int of[3] = {c.r, c.g, c.b};
    double keep = (255 - p[0] + 255 - p[1] + 255 - p[2]) / (double)(765 - c.r - c.g - c.b);
    for (int i = 0; i < 3; i++) {
        double d = 255 - keep * (255 - of[i]) - p[i];
        if (d < -12 || d > 12)
            return false;
    }
    return keep > 0.5 && keep < 1.1;
}

static content look(const ts_image *p, int64_t left, int64_t top, int64_t width, int64_t height)
{
    content c = {.x0 = p->width, .y0 = p->height, .x1 = -1, .y1 = -1};
    for (int64_t y = top; y < top + height; y++)
        for (int64_t at = left; at < left + width; at++) {
            const uint8_t *q = p->pixels + (y * p->width + at) * 3;
            bool l = is_shade(q, ts_skeleton_colours[1]), r = is_shade(q, ts_skeleton_colours[2]);
            c.left += l;
            c.right += r;
            c.trunk += is_shade(q, ts_skeleton_colours[0]);
            c.green += is_shade(q, ts_skeleton_colours[3]);
            c.any += q[0] < 250 || q[1] < 250 || q[2] < 250;
            if (!l && !r)
                continue;
            c.x0 = at < c.x0 ? at : c.x0;
            c.x1 = at > c.x1 ? at : c.x1;
            c.y0 = y < c.y0 ? y : c.y0;
            c.y1 = y > c.y1 ? y : c.y1;
        }
    return c;
}

enum { WIDTH = 240, HEIGHT = 260, TOP = 30, FOOT = 20 }; /* the words are above and below these */

static ts_image painted(const ts_skeleton_show *show, int64_t t)
{
    ts_skeleton_painter *painter;
    ts_image p;
    cr_assert_eq(ts_skeleton_painter_open(&painter, show, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_picture_new(&p, show->height, show->width, 3, &err), TS_OK);
    cr_assert_eq(ts_skeleton_paint(painter, t, &p, &err), TS_OK, "%s", err.text);
    ts_skeleton_painter_close(painter);
    return p;
}

Test(train_skeleton_picture, bodies_of_every_layout)
{
    int count = 0;
    for (; ts_motion_layouts[count]; count++) {
        const char *name = ts_motion_layouts[count]->name;
        ts_skeleton s = body_of(ts_motion_layouts[count], 50);
        ts_skeleton_show show = {.body = {&s}, .count = 1, .title = name, .fps = 20, .width = WIDTH, .height = HEIGHT};
        for (int64_t t = 0; t < 50; t += 7) {
            ts_image p = painted(&show, t);
            content c = look(&p, 0, TOP, WIDTH, HEIGHT - TOP - FOOT);
            cr_assert(c.left > 300 && c.right > 300 && c.trunk > 300 && c.green >= (t > 14 ? 10 : 0), "%s: %d %d %d %d",
                      name, c.left, c.right, c.trunk, c.green);
            cr_assert(c.x0 > 5 && c.x1 < WIDTH - 5 && c.y0 > TOP + 2 && c.y1 < HEIGHT - FOOT - 2, "%s, frame %d", name,
                      (int)t);
            cr_assert(c.y1 - c.y0 > HEIGHT / 3, "%s: large enough", name);
            cr_assert(look(&p, 0, 0, WIDTH, 28).any > 50 && look(&p, 0, HEIGHT - FOOT, WIDTH, FOOT).any > 50, "words");
            ts_image_clear(&p);
        }
        ts_skeleton_clear(&s);
    }
    cr_assert_geq(count, 3);
}

enum { BORDER = 10, FOOTER = 22 }; /* what a panel without words above it keeps free at its sides and on top; below */

/* Joints of a side that are drawn where the view says: own of all in that side's colour, other in the other one's. */
typedef struct {
    int all, own, other;
} placed;

static void count_joint(placed *n, const ts_image *p, const ts_view_point *q, ts_side side)
{
    const int64_t column = (int64_t)floor(q->x) + BORDER, row = (int64_t)floor(q->y) + BORDER;
    cr_assert(column >= 0 && column < p->width && row >= 0 && row < p->height);
    const uint8_t *at = p->pixels + (row * p->width + column) * 3;
    n->all++;
    n->own += is_shade(at, ts_skeleton_colours[side]);
    n->other += is_shade(at, ts_skeleton_colours[side == TS_LEFT ? TS_RIGHT : TS_LEFT]);
}

/* A limb may be hidden by the one in front of it, and no more than that. */
Test(train_skeleton_picture, joints_are_where_the_view_says_in_the_colour_of_their_side)
{
    int count = 0;
    for (; ts_motion_layouts[count]; count++) {
        const ts_motion_layout *l = ts_motion_layouts[count];
        ts_skeleton s = body_of(l, 50);
        const ts_skeleton *const bodies[1] = {&s};
        ts_skeleton_show show = {.body = {&s}, .count = 1, .fps = 20, .width = WIDTH, .height = HEIGHT};
        ts_view view;
        placed n = {0};
        cr_assert_eq(ts_view_open(&view, bodies, 1, 0, 20, WIDTH - 2 * BORDER, HEIGHT - BORDER - FOOTER, &err), TS_OK);
        for (int64_t t = 0; t < 50; t += 7) {
            ts_image p = painted(&show, t);
            for (int64_t j = 0; j < l->joints; j++) {
                ts_view_point q = ts_view_joint(&view, 0, t, ts_skeleton_joint(&s, t, j));
                if (ts_joint_side(l, j) != TS_MIDDLE)
                    count_joint(&n, &p, &q, ts_joint_side(l, j));
            }
            ts_image_clear(&p);
        }
        cr_assert(n.all >= 8 * 12 && n.own > 0.85 * n.all && n.other < 0.1 * n.all, "%s: %d of %d, %d", l->name, n.own,
                  n.all, n.other);
        ts_view_clear(&view);
        ts_skeleton_clear(&s);
    }
    cr_assert_geq(count, 3);
}

/* Words are smaller where they are many, and the legend goes where there is no room for it. */
Test(train_skeleton_picture, words_stay_in_the_picture)
{
    static const char *const long_title = "subset_0012/a clip with a name that nobody would have given it, step 123456";
    ts_skeleton s = body_of(ts_motion_layout_find("humanml3d"), 40);
    for (int width = 150; width <= 600; width += 150) {
        ts_skeleton_show show = {.body = {&s, &s},
                                 .count = 2,
                                 .label = {long_title, long_title},
                                 .title = long_title,
                                 .fps = 20,
                                 .width = width,
                                 .height = HEIGHT};
        ts_image p = painted(&show, 10);
        cr_assert_gt(look(&p, 0, 0, width, 28).any, 50);
        cr_assert_eq(look(&p, 0, 0, 5, 46).any + look(&p, width - 5, 0, 5, 46).any, 0, "%d: a title is cut", width);
        cr_assert_eq(look(&p, width / 2 - 5, 29, 10, 17).any, 0, "%d: labels touch each other", width);
        content legend = look(&p, 0, HEIGHT - 18, width, 18);
        cr_assert_eq(legend.left + legend.right > 0, width >= 300, "%d: %d", width, legend.left + legend.right);
        ts_image_clear(&p);
    }
    ts_skeleton_clear(&s);
}

Test(train_skeleton_picture, the_same_frame_twice_is_the_same_picture)
{
    ts_skeleton s = body_of(ts_motion_layout_find("kit"), 20);
    ts_skeleton_show show = {.body = {&s}, .count = 1, .fps = 12.5, .width = WIDTH, .height = HEIGHT};
    ts_skeleton_painter *painter;
    ts_image a = painted(&show, 3), b = painted(&show, 4);
    cr_assert_neq(memcmp(a.pixels, b.pixels, (size_t)(3 * WIDTH * HEIGHT)), 0);
    cr_assert_eq(ts_skeleton_painter_open(&painter, &show, &err), TS_OK);
    cr_assert_eq(ts_skeleton_paint(painter, 9, &b, &err), TS_OK);
    cr_assert_eq(ts_skeleton_paint(painter, 3, &b, &err), TS_OK);
    cr_assert_eq(memcmp(a.pixels, b.pixels, (size_t)(3 * WIDTH * HEIGHT)), 0);
    ts_skeleton_painter_close(painter);
    ts_image_clear(&a);
    ts_image_clear(&b);
    ts_skeleton_clear(&s);
}

/* Feet that stand have marks, lighter than limbs, in the colour of their side. */
Test(train_skeleton_picture, feet_that_stand)
{
    ts_skeleton s = body_of(ts_motion_layout_find("humanml3d"), 20);
    ts_skeleton_show show = {.body = {&s}, .count = 1, .fps = 20, .width = WIDTH, .height = HEIGHT};
    int marks[3];
    for (int k = 0; k < 3; k++) { /* none, left, right; the first frames stand with both feet near the floor */
        for (int i = 0; i < 20 * 4; i++)
            s.stands[i] = k > 0 && i % 4 / 2 == k - 1;
        ts_image p = painted(&show, 0);
        marks[k] = 0;
        for (int64_t i = 0; i < WIDTH * HEIGHT; i++) {
            const uint8_t *q = p.pixels + 3 * i;
            marks[k] += k == 1 ? q[2] - q[0] > 60 && q[0] > 120 : q[0] - q[2] > 60 && q[2] > 120;
        }
        ts_image_clear(&p);
        if (k == 0)
            marks[0] = 0;
    }
    cr_assert(marks[1] > 20 && marks[2] > 20, "%d %d", marks[1], marks[2]);
    ts_skeleton_clear(&s);
}

Test(train_skeleton_picture, two_beside_each_other)
{
    const ts_motion_layout *l = ts_motion_layout_find("humanml3d");
    ts_skeleton a = body_of(l, 40), b = body_of(l, 40);
    ts_skeleton_crop(&b, 0, 30);
    ts_skeleton_show show = {.body = {&a, &b},
                             .count = 2,
                             .label = {"original", "reconstruction"},
                             .title = "walk",
                             .fps = 20,
                             .width = 2 * WIDTH,
                             .height = HEIGHT};
    cr_assert_eq(ts_skeleton_show_frames(&show), 30, "those of the shorter one");
    ts_image p = painted(&show, 10);
    content left = look(&p, 0, 50, WIDTH, HEIGHT - 50 - FOOT), right = look(&p, WIDTH, 50, WIDTH, HEIGHT - 50 - FOOT);
    cr_assert(left.left > 300 && left.right > 300);
    cr_assert(left.x0 == right.x0 - WIDTH && left.x1 == right.x1 - WIDTH && left.y0 == right.y0 && left.y1 == right.y1,
              "equal bodies, one camera: equal places");
    cr_assert_gt(look(&p, WIDTH, 30, WIDTH, 20).any, 50, "a label");
    for (int64_t i = 0; i < b.frames * 66; i += 3)
        b.positions[i] += 5;
    ts_image q = painted(&show, 10);
    content away = look(&q, WIDTH, 50, WIDTH, HEIGHT - 50 - FOOT);
    cr_assert(away.left > 200 && away.x0 > WIDTH + 5 && away.x1 < 2 * WIDTH - 5,
              "a body that is elsewhere is followed");
    ts_image_clear(&p);
    ts_image_clear(&q);
    ts_skeleton_clear(&a);
    ts_skeleton_clear(&b);
}

Test(train_skeleton_picture, strips)
{
    ts_skeleton s = body_of(ts_motion_layout_find("motionmillion"), 40);
    for (int count = 1; count <= 2; count++)
        for (int poses = 1; poses <= 64; poses *= 4) {
            ts_skeleton_show show = {.body = {&s, &s}, .count = count, .fps = 30, .width = 100, .height = 150};
            ts_image p;
            cr_assert_eq(ts_skeleton_strip(&p, &show, poses, &err), TS_OK, "%s", err.text);
            int shown = poses < 40 ? poses : 40;
            cr_assert_eq(p.width, shown * 100);
            cr_assert(p.height > count * 150 && p.height < count * 150 + 60);
            for (int k = 0; k < shown; k++)
                for (int i = 0; i < count; i++) {
                    content c = look(&p, k * 100, 10 + i * 150, 100, 150);
                    cr_assert(c.left > 40 && c.right > 40, "pose %d of %d: %d %d", k, shown, c.left, c.right);
                    cr_assert(c.x0 > k * 100 && c.x1 < k * 100 + 99 && c.y0 > 10 + i * 150 && c.y1 < 9 + i * 150 + 150);
                }
            ts_image_clear(&p);
        }
    ts_skeleton_clear(&s);
}

Test(train_skeleton_picture, one_frame_and_a_point)
{
    ts_skeleton s = body_of(ts_motion_layout_find("humanml3d"), 1);
    ts_skeleton_show show = {.body = {&s}, .count = 1, .fps = 20, .width = 64, .height = 64};
    ts_image p = painted(&show, 0);
    cr_assert_gt(look(&p, 0, 0, 64, 64).left, 10);
    ts_image_clear(&p);
    memset(s.positions, 0, 66 * sizeof *s.positions);
    p = painted(&show, 0);
    ts_image_clear(&p);
    ts_skeleton_clear(&s);
}

/* What an untrained model may make of a motion. */
Test(train_skeleton_picture, bodies_that_fly_apart)
{
    ts_skeleton s = body_of(ts_motion_layout_find("humanml3d"), 40),
                wild = body_of(ts_motion_layout_find("humanml3d"), 40);
    ts_skeleton_show show = {.body = {&s, &wild}, .count = 2, .fps = 20, .width = 2 * WIDTH, .height = HEIGHT};
    const float scales[] = {1e3f, -1e9f, 1e30f};
    for (int k = 0; k < 3; k++) {
        for (int64_t i = 0; i < 40 * 66; i++)
            wild.positions[i] = s.positions[i] * scales[k] * (float)(i % 17 - 8);
        for (int64_t t = 0; t < 40; t += 13) {
            ts_image p = painted(&show, t);
            content c = look(&p, 0, TOP, WIDTH, HEIGHT - TOP - FOOT);
            cr_assert(c.left > 40 && c.right > 40, "the original is there");
            ts_image_clear(&p);
        }
    }
    ts_skeleton_clear(&s);
    ts_skeleton_clear(&wild);
}

Test(train_skeleton_picture, every_allocation_may_fail)
{
    ts_skeleton s = body_of(ts_motion_layout_find("humanml3d"), 10);
    ts_skeleton_show show = {.body = {&s}, .count = 1, .fps = 20, .width = 64, .height = 64};
    ts_skeleton_painter *painter;
    ts_image p;
    for (uint64_t n = 1; n <= 3; n++) {
        ts_alloc_fail_at(n);
        cr_assert_eq(ts_skeleton_strip(&p, &show, 4, &err), TS_ERR_RUNTIME, "%d", (int)n);
        ts_alloc_fail_at(n > 2 ? 2 : n);
        cr_assert_eq(ts_skeleton_painter_open(&painter, &show, &err), TS_ERR_RUNTIME);
        cr_assert_null(painter);
        ts_alloc_fail_at(0);
    }
    ts_skeleton_clear(&s);
}

#else

Test(train_skeleton_picture, without_the_library)
{
    ts_skeleton s = body_of(ts_motion_layout_find("humanml3d"), 2);
    ts_skeleton_show show = {.body = {&s}, .count = 1, .fps = 20, .width = 64, .height = 64};
    ts_skeleton_painter *painter;
    ts_image p;
    cr_assert_null(ts_skeleton_library());
    cr_assert_eq(ts_skeleton_painter_open(&painter, &show, &err), TS_ERR_RUNTIME);
    cr_assert_not_null(strstr(err.text, "install libcairo2-dev"), "%s", err.text);
    cr_assert_eq(ts_skeleton_strip(&p, &show, 4, &err), TS_ERR_RUNTIME);
    ts_skeleton_clear(&s);
}

#endif
