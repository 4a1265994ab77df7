/* The one file that knows cairo. A panel is painted from the floor up: grid, path, shadow, marks of feet, then bones
 * from the farthest to the nearest, each with a white border that sets it off from what is behind. */
#include "train/skeleton_picture.h"

#include "core/memory.h"
#include "core/text.h"
#include "train/skeleton_view.h"

const ts_colour ts_skeleton_colours[TS_SKELETON_COLOURS] = {
    {78, 84, 98}, {38, 104, 178}, {226, 104, 28}, {38, 152, 98}};

int64_t ts_skeleton_show_frames(const ts_skeleton_show *show)
{
    int64_t frames = show->body[0]->frames;
    return show->count > 1 && show->body[1]->frames < frames ? show->body[1]->frames : frames;
}

#ifdef TS_WITH_CAIRO

#include <cairo.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In heights of the body, and pixels. */
static const double shadow_width = 0.05, strip_part = 0.9; /* the rest is floor */
enum { MARGIN = 10, TITLE_HEIGHT = 30, LABEL_HEIGHT = 18, FOOTER_HEIGHT = 22, LEGEND_WIDTH = 118, ROUND = 72 };

static const double pi = 3.14159265358979323846;

struct ts_skeleton_painter {
    const ts_skeleton_show *show;
    cairo_surface_t *surface;
    cairo_t *cr;
    ts_view view;
    struct {
        double x, y, width, height; /* of the part that the view fills */
    } panel[2];
    double pixels;      /* of a body's height: what lines are thick by */
    double floor, grid; /* radius of what is shown of the floor, way between its lines; in the layout's unit */
    int below[TS_MAX_JOINTS];
};

/* A body in a panel at one frame. */
typedef struct {
    const ts_skeleton_painter *p;
    const ts_skeleton *s;
    int body;
    int64_t t;
    double floor[2];       /* x and z in the middle of the floor that is shown */
    cairo_pattern_t *fade; /* of the floor towards its border */
} panel;

/* ---- colours ---- */

static const ts_colour *const ink = &ts_skeleton_colours[0], *const green = &ts_skeleton_colours[3];

static const ts_colour *colour_of(ts_side side)
{
    return &ts_skeleton_colours[side];
}

/* `white` of 1 is white. */
static void use(cairo_t *cr, const ts_colour *c, double white)
{
    double keep = 1 - white;
    cairo_set_source_rgb(cr, white + keep * c->r / 255, white + keep * c->g / 255, white + keep * c->b / 255);
}

/* ---- the floor ---- */

static ts_view_point at(const panel *n, double x, double y, double z)
{
    return ts_view_of(&n->p->view, n->body, n->t, (const double[3]){x, y, z});
}

static void move_to(const panel *n, double x, double y, double z)
{
    ts_view_point q = at(n, x, y, z);
    cairo_move_to(n->p->cr, q.x, q.y);
}

static void line_to(const panel *n, double x, double y, double z)
{
    ts_view_point q = at(n, x, y, z);
    cairo_line_to(n->p->cr, q.x, q.y);
}

/* A round place on the floor. */
static void floor_circle(const panel *n, double x, double z, double radius)
{
    for (int i = 0; i < ROUND; i++) {
        double a = 2 * pi * i / ROUND;
        (i ? line_to : move_to)(n, x + radius * cos(a), 0, z + radius * sin(a));
    }
    cairo_close_path(n->p->cr);
}

/* From `alpha` in the middle of the floor to nothing at its border. */
static cairo_pattern_t *floor_fade(const panel *n, const ts_colour *c, double alpha)
{
    const double r = n->p->floor;
    ts_view_point middle = at(n, n->floor[0], 0, n->floor[1]);
    double wide = 0, deep = 0;
    for (int i = 0; i < ROUND; i++) {
        double a = 2 * pi * i / ROUND;
        ts_view_point q = at(n, n->floor[0] + r * cos(a), 0, n->floor[1] + r * sin(a));
        wide = fmax(wide, fabs(q.x - middle.x));
        deep = fmax(deep, fabs(q.y - middle.y));
    }
    cairo_pattern_t *fade = cairo_pattern_create_radial(0, 0, 0, 0, 0, 1);
    const double red = c->r / 255.0, green_ = c->g / 255.0, blue = c->b / 255.0;
    for (int i = 0; i <= 8; i++) {
        double d = i / 8.0;
        cairo_pattern_add_color_stop_rgba(fade, d, red, green_, blue, alpha * (1 - d * d) * (1 - d * d));
    }
    cairo_matrix_t m;
    cairo_matrix_init_scale(&m, 1 / fmax(wide, 1), 1 / fmax(deep, 1));
    cairo_matrix_translate(&m, -middle.x, -middle.y);
    cairo_pattern_set_matrix(fade, &m);
    return fade;
}

static void fill_fading(const panel *n, const ts_colour *c, double alpha, bool stroke)
{
    cairo_pattern_t *fade = floor_fade(n, c, alpha);
    cairo_set_source(n->p->cr, fade);
    cairo_pattern_destroy(fade);
    if (stroke)
        cairo_stroke(n->p->cr);
    else
        cairo_fill(n->p->cr);
}

/* Lines of the grid that cross the round floor, along x (axis 0) or z. */
static void grid_lines(const panel *n, int axis)
{
    const double r = n->p->floor, grid = n->p->grid;
    const double across = n->floor[1 - axis], along = n->floor[axis];
    if (!(fabs(across) < 1e9 * grid)) /* a body that has flown to where a grid has no numbers */
        return;
    for (int64_t i = (int64_t)ceil((across - r) / grid); (double)i * grid <= across + r; i++) {
        const double line = (double)i * grid, half = sqrt(fmax(r * r - (line - across) * (line - across), 0));
        double from[2], to[2];
        from[1 - axis] = to[1 - axis] = line;
        from[axis] = along - half;
        to[axis] = along + half;
        move_to(n, from[0], 0, from[1]);
        line_to(n, to[0], 0, to[1]);
    }
}

static void paint_floor(const panel *n)
{
    cairo_t *cr = n->p->cr;
    floor_circle(n, n->floor[0], n->floor[1], n->p->floor);
    fill_fading(n, ink, 0.09, false);
    grid_lines(n, 0);
    grid_lines(n, 1);
    cairo_set_line_width(cr, fmax(1, 0.004 * n->p->pixels));
    fill_fading(n, ink, 0.38, true);
}

/* ---- the path of the root ---- */

static void path_between(const panel *n, const ts_skeleton *s, int64_t from, int64_t to)
{
    for (int64_t t = from; t <= to; t++) {
        const float *root = ts_skeleton_joint(s, t, 0);
        (t > from ? line_to : move_to)(n, (double)root[0], 0, (double)root[2]);
    }
}

/* What has been walked is strong, what is to come faint; under a reconstruction the original's path is dashed. */
static void paint_path(const panel *n)
{
    cairo_t *cr = n->p->cr;
    const double thick = fmax(1, 0.008 * n->p->pixels), dashes[2] = {3 * thick, 3 * thick};
    const ts_skeleton *original = n->p->show->body[0];
    int64_t last = ts_skeleton_show_frames(n->p->show) - 1;
    cairo_set_line_width(cr, thick);
    if (n->s != original) {
        cairo_set_dash(cr, dashes, 2, 0);
        path_between(n, original, 0, last);
        fill_fading(n, ink, 0.45, true);
        cairo_set_dash(cr, NULL, 0, 0);
    }
    path_between(n, n->s, n->t, last);
    fill_fading(n, green, 0.3, true);
    path_between(n, n->s, 0, n->t);
    fill_fading(n, green, 0.95, true);
}

/* ---- shadow and feet ---- */

static void paint_shadow(const panel *n)
{
    cairo_t *cr = n->p->cr;
    cairo_push_group(cr);
    for (int64_t j = 1; j < n->s->layout->joints; j++) {
        const float *a = ts_skeleton_joint(n->s, n->t, n->s->layout->parent[j]), *b = ts_skeleton_joint(n->s, n->t, j);
        move_to(n, (double)a[0], 0, (double)a[2]);
        line_to(n, (double)b[0], 0, (double)b[2]);
    }
    cairo_set_line_width(cr, shadow_width * n->p->pixels);
    use(cr, ink, 0);
    cairo_stroke(cr);
    cairo_pop_group_to_source(cr);
    cairo_paint_with_alpha(cr, 0.16);
}

static void paint_feet(const panel *n)
{
    const ts_motion_layout *l = n->s->layout;
    for (int k = 0; n->s->stands && k < l->foot_count; k++) {
        if (!n->s->stands[n->t * l->foot_count + k])
            continue;
        const float *foot = ts_skeleton_joint(n->s, n->t, l->foot[k]);
        floor_circle(n, (double)foot[0], (double)foot[2], 0.045 * n->s->height);
        use(n->p->cr, colour_of(ts_joint_side(l, l->foot[k])), 0.55);
        cairo_fill(n->p->cr);
    }
}

/* ---- the body ---- */

typedef struct {
    ts_view_point a, b;
    double thick; /* pixels */
    ts_side side;
    bool ball; /* a head of that diameter at a */
} bone;

static int farther_first(const void *left, const void *right)
{
    const bone *a = left, *b = right;
    double x = a->a.near + a->b.near, y = b->a.near + b->b.near;
    return (x > y) - (x < y);
}

/* Thick near the trunk, thin at the ends; the trunk hides where limbs begin. */
static double thickness(int bones_below, ts_side side)
{
    static const double of[] = {0.026, 0.033, 0.040, 0.044};
    return of[bones_below < 3 ? bones_below : 3] + (side == TS_MIDDLE && bones_below > 0 ? 0.012 : 0);
}

static int list_bones(const panel *n, bone *bones)
{
    const ts_motion_layout *l = n->s->layout;
    int count = 0;
    for (int64_t j = 1; j < l->joints; j++) {
        bone *b = &bones[count++];
        b->a = ts_view_joint(&n->p->view, n->body, n->t, ts_skeleton_joint(n->s, n->t, l->parent[j]));
        b->b = ts_view_joint(&n->p->view, n->body, n->t, ts_skeleton_joint(n->s, n->t, j));
        b->side = ts_joint_side(l, j);
        b->thick = thickness(n->p->below[j], b->side) * n->s->height * (b->a.size + b->b.size) / 2;
        b->ball = false;
    }
    double centre[3], radius;
    if (ts_skeleton_head(n->s, n->t, centre, &radius)) {
        ts_view_point head = ts_view_of(&n->p->view, n->body, n->t, centre);
        bones[count++] = (bone){head, head, 2 * radius * head.size, TS_MIDDLE, true};
    }
    return count;
}

static void stroke_bone(cairo_t *cr, const bone *b)
{
    cairo_set_line_width(cr, b->thick);
    cairo_move_to(cr, b->a.x, b->a.y);
    cairo_line_to(cr, b->b.x, b->b.y);
    cairo_stroke(cr);
}

/* Takes away what is beside a long bone of those behind it, but not at its ends, where others go on. */
static void stroke_border(cairo_t *cr, const bone *b, double border)
{
    const double x = b->b.x - b->a.x, y = b->b.y - b->a.y, length = hypot(x, y);
    cairo_set_operator(cr, CAIRO_OPERATOR_DEST_OUT);
    cairo_set_line_width(cr, b->thick + 2 * border);
    if (length > 3 * b->thick && !b->ball) {
        double cut = 0.8 * b->thick / length;
        cairo_set_line_cap(cr, CAIRO_LINE_CAP_BUTT);
        cairo_move_to(cr, b->a.x + cut * x, b->a.y + cut * y);
        cairo_line_to(cr, b->b.x - cut * x, b->b.y - cut * y);
    }
    cairo_stroke(cr);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);
    cairo_set_operator(cr, CAIRO_OPERATOR_OVER);
}

static void paint_body(const panel *n)
{
    cairo_t *cr = n->p->cr;
    bone bones[TS_MAX_JOINTS + 1];
    int count = list_bones(n, bones);
    const double border = fmax(1.2, 0.009 * n->p->pixels);
    qsort(bones, (size_t)count, sizeof *bones, farther_first);
    cairo_push_group(cr);
    for (int i = 0; i < count; i++) {
        double near = (bones[i].a.near + bones[i].b.near) / 2;
        stroke_border(cr, &bones[i], border);
        use(cr, colour_of(bones[i].side), fmin(fmax(0.06 - 0.7 * near, 0), 0.45));
        stroke_bone(cr, &bones[i]);
    }
    cairo_pop_group_to_source(cr);
    cairo_paint(cr);
}

static void paint_panel(const ts_skeleton_painter *p, int body, int64_t t, int where)
{
    cairo_t *cr = p->cr;
    panel n = {.p = p, .s = p->show->body[body], .body = body, .t = t};
    n.floor[0] = p->view.track[body][2 * t];
    n.floor[1] = p->view.track[body][2 * t + 1];
    cairo_save(cr);
    cairo_translate(cr, p->panel[where].x, p->panel[where].y);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    paint_floor(&n);
    paint_path(&n);
    paint_shadow(&n);
    paint_feet(&n);
    paint_body(&n);
    cairo_restore(cr);
}

/* ---- words ---- */

typedef enum { TO_THE_LEFT, TO_THE_MIDDLE, TO_THE_RIGHT } ranged;

/* `y` is that of the line that letters stand on. What is wider than `room` is written smaller. Returns where the text
 * ends. */
static double write_text(cairo_t *cr, double x, double y, double size, double room, ranged to, const char *text)
{
    char shown[160];
    cairo_text_extents_t e;
    ts_text_excerpt(text, shown, sizeof shown); /* cairo takes well-formed text alone */
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, shown, &e);
    if (e.x_advance > room && room > 0) {
        cairo_set_font_size(cr, size * room / e.x_advance);
        cairo_text_extents(cr, shown, &e);
    }
    x -= to == TO_THE_LEFT ? 0 : to == TO_THE_RIGHT ? e.x_advance : e.x_advance / 2;
    cairo_move_to(cr, x, y);
    cairo_show_text(cr, shown);
    return x + e.x_advance;
}

/* cairo's own letters, which need no fonts and are the same everywhere. */
static void font(cairo_t *cr, bool bold)
{
    cairo_select_font_face(cr, "@cairo:", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
}

/* In a picture of so many pixels. */
static void write_title(const ts_skeleton_painter *p, double size, double width)
{
    if (!p->show->title)
        return;
    font(p->cr, true);
    use(p->cr, ink, 0);
    write_text(p->cr, MARGIN, MARGIN + size, size, width - 2 * MARGIN, TO_THE_LEFT, p->show->title);
}

/* What the colours are, and how wide the grid: where there is room for it. */
static void write_legend(const ts_skeleton_painter *p, double y, double size, double room)
{
    char text[64];
    cairo_t *cr = p->cr;
    if (room < LEGEND_WIDTH)
        return;
    font(cr, false);
    use(cr, colour_of(TS_LEFT), 0);
    double x = write_text(cr, MARGIN, y, size, room, TO_THE_LEFT, "left") + size / 2;
    use(cr, colour_of(TS_RIGHT), 0);
    x = write_text(cr, x, y, size, room, TO_THE_LEFT, "right") + size;
    use(cr, ink, 0);
    snprintf(text, sizeof text, "grid %.3g m", p->grid * p->show->body[0]->layout->unit_mm / 1000);
    write_text(cr, x, y, size, MARGIN + room - x, TO_THE_LEFT, text);
}

/* Below a pose, in the middle of its `room`. */
static void write_seconds(const ts_skeleton_painter *p, int64_t t, double x, double y, double size, double room)
{
    char text[48];
    snprintf(text, sizeof text, "%.2f s", (double)(p->show->first + t) / p->show->fps);
    font(p->cr, false);
    use(p->cr, ink, 0);
    write_text(p->cr, x, y, size, room, TO_THE_MIDDLE, text);
}

/* The last line of a picture of an animation. */
static void write_footer(const ts_skeleton_painter *p, int64_t t, double y, double size)
{
    char text[96];
    const double width = p->show->width - 2.0 * MARGIN, with_legend = width - LEGEND_WIDTH - size;
    const int64_t first = p->show->first, last = first + ts_skeleton_show_frames(p->show) - 1;
    cairo_text_extents_t e;
    snprintf(text, sizeof text, "frame %" PRId64 " / %" PRId64 "   %.2f s", first + t, last,
             (double)(first + t) / p->show->fps);
    font(p->cr, false);
    use(p->cr, ink, 0);
    cairo_set_font_size(p->cr, size);
    cairo_text_extents(p->cr, text, &e);
    write_text(p->cr, p->show->width - MARGIN, y, size, width, TO_THE_RIGHT, text);
    write_legend(p, y, size, e.x_advance <= with_legend ? LEGEND_WIDTH : 0);
}

/* ---- whole pictures ---- */

/* The floor's lines are half a metre apart, or a power of two of that where a body is no person in metres. */
static double choose_grid(const ts_skeleton *s)
{
    double grid = 500 / s->layout->unit_mm;
    while (grid < 0.15 * s->height)
        grid *= 2;
    while (grid > 0.6 * s->height)
        grid /= 2;
    return grid;
}

static ts_status cairo_failed(const ts_skeleton_painter *p, ts_error *err)
{
    cairo_status_t why = p->cr ? cairo_status(p->cr) : CAIRO_STATUS_NO_MEMORY;
    return why == CAIRO_STATUS_SUCCESS ? TS_OK
                                       : ts_fail(err, TS_ERR_RUNTIME, "cairo, a picture of %d x %d: %s", p->show->width,
                                                 p->show->height, cairo_status_to_string(why));
}

/* A picture, and a view for panels of that size; poses as ts_view_open. */
static ts_status prepare(ts_skeleton_painter *p, int width, int height, double panel_width, double panel_height,
                         int poses, ts_error *err)
{
    const ts_skeleton_show *show = p->show;
    const ts_skeleton *s = show->body[0];
    TS_TRY(ts_view_open(&p->view, show->body, show->count, poses, show->fps, panel_width, panel_height, err));
    p->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    p->cr = cairo_create(p->surface);
    p->pixels = ts_view_joint(&p->view, 0, 0, ts_skeleton_joint(s, 0, 0)).size * s->height;
    p->floor = fmin(0.6 * panel_width / p->pixels, 1.6) * s->height;
    p->grid = choose_grid(s);
    for (int64_t j = 0; j < s->layout->joints; j++)
        p->below[j] = ts_joint_bones_below(s->layout, j);
    return cairo_failed(p, err);
}

static void clear_surface(cairo_t *cr)
{
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
}

/* cairo's pixels are 32 bits with red in the middle of the upper half, in the order of the machine. */
static ts_status take_picture(const ts_skeleton_painter *p, ts_image *picture, ts_error *err)
{
    cairo_surface_flush(p->surface);
    const unsigned char *rows = cairo_image_surface_get_data(p->surface);
    const int stride = cairo_image_surface_get_stride(p->surface);
    uint8_t *to = picture->pixels;
    TS_TRY(cairo_failed(p, err));
    for (int64_t y = 0; y < picture->height; y++)
        for (int64_t x = 0; x < picture->width; x++) {
            uint32_t pixel;
            memcpy(&pixel, rows + y * stride + 4 * x, sizeof pixel);
            *to++ = (uint8_t)(pixel >> 16);
            *to++ = (uint8_t)(pixel >> 8);
            *to++ = (uint8_t)pixel;
        }
    return TS_OK;
}

static ts_skeleton_painter *new_painter(const ts_skeleton_show *show)
{
    ts_skeleton_painter *p = ts_calloc(1, sizeof *p);
    if (p)
        p->show = show;
    return p;
}

ts_status ts_skeleton_painter_open(ts_skeleton_painter **painter, const ts_skeleton_show *show, ts_error *err)
{
    ts_skeleton_painter *p = *painter = new_painter(show);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    const double width = (double)show->width / show->count;
    const double top = (show->title ? TITLE_HEIGHT : MARGIN) + (show->label[0] ? LABEL_HEIGHT : 0);
    for (int i = 0; i < show->count; i++) {
        p->panel[i].x = i * width + MARGIN;
        p->panel[i].y = top;
        p->panel[i].width = width - 2 * MARGIN;
        p->panel[i].height = show->height - top - FOOTER_HEIGHT;
    }
    ts_status status = prepare(p, show->width, show->height, p->panel[0].width, p->panel[0].height, 0, err);
    if (status != TS_OK) {
        ts_skeleton_painter_close(p);
        *painter = NULL;
    }
    return status;
}

void ts_skeleton_painter_close(ts_skeleton_painter *painter)
{
    if (!painter)
        return;
    cairo_destroy(painter->cr);
    cairo_surface_destroy(painter->surface);
    ts_view_clear(&painter->view);
    ts_free(painter);
}

ts_status ts_skeleton_paint(ts_skeleton_painter *p, int64_t t, ts_image *picture, ts_error *err)
{
    const ts_skeleton_show *show = p->show;
    cairo_t *cr = p->cr;
    clear_surface(cr);
    for (int i = 0; i < show->count; i++) {
        double x = i * (double)show->width / show->count;
        cairo_save(cr);
        cairo_rectangle(cr, x, 0, (double)show->width / show->count, show->height);
        cairo_clip(cr);
        paint_panel(p, i, t, i);
        cairo_restore(cr);
        if (!show->label[i])
            continue;
        font(cr, true);
        use(cr, ink, 0);
        write_text(cr, x + (double)show->width / show->count / 2, p->panel[i].y - 5, 13, p->panel[i].width,
                   TO_THE_MIDDLE, show->label[i]);
    }
    write_title(p, 15, show->width);
    write_footer(p, t, show->height - 8, 12);
    return take_picture(p, picture, err);
}

/* ---- strips ---- */

static int64_t pose_frame(const ts_skeleton_show *show, int pose, int poses)
{
    return ts_pose_frame(ts_skeleton_show_frames(show), pose, poses);
}

/* Of one row of a strip: a label above the bodies. */
static int row_height(const ts_skeleton_show *show)
{
    return show->height + (show->label[0] ? LABEL_HEIGHT : 0);
}

static void paint_row(ts_skeleton_painter *p, int i, int poses, double top)
{
    const ts_skeleton_show *show = p->show;
    cairo_t *cr = p->cr;
    for (int k = 0; k < poses; k++) {
        p->panel[i].x = k * (double)show->width;
        p->panel[i].y = top + row_height(show) - show->height;
        cairo_save(cr);
        cairo_rectangle(cr, p->panel[i].x, p->panel[i].y, show->width, show->height);
        cairo_clip(cr);
        paint_panel(p, i, pose_frame(show, k, poses), i);
        cairo_restore(cr);
    }
    if (!show->label[i])
        return;
    font(cr, true);
    use(cr, ink, 0);
    write_text(cr, MARGIN, top + 12, 12, (double)poses * show->width - 2 * MARGIN, TO_THE_LEFT, show->label[i]);
}

static void paint_strip(ts_skeleton_painter *p, int poses, double top)
{
    const ts_skeleton_show *show = p->show;
    const double bottom = top + (double)show->count * row_height(show);
    clear_surface(p->cr);
    for (int i = 0; i < show->count; i++)
        paint_row(p, i, poses, top + (double)i * row_height(show));
    for (int k = 0; k < poses; k++)
        write_seconds(p, pose_frame(show, k, poses), (k + 0.5) * show->width, bottom + 12, 11, show->width);
    write_title(p, 15, (double)poses * show->width);
    write_legend(p, bottom + 12 + 18, 12, (double)poses * show->width - 2 * MARGIN);
}

ts_status ts_skeleton_strip(ts_image *picture, const ts_skeleton_show *show, int poses, ts_error *err)
{
    int64_t frames = ts_skeleton_show_frames(show);
    const int top = show->title ? TITLE_HEIGHT : MARGIN;
    ts_skeleton_painter *p = new_painter(show);
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    poses = frames < poses ? (int)frames : poses;
    int width = poses * show->width, height = top + show->count * row_height(show) + 2 * FOOTER_HEIGHT - 4;
    ts_status status = prepare(p, width, height, show->width, strip_part * show->height, poses, err);
    if (status == TS_OK)
        status = ts_picture_new(picture, height, width, 3, err);
    if (status == TS_OK) {
        paint_strip(p, poses, top);
        status = take_picture(p, picture, err);
        if (status != TS_OK)
            ts_image_clear(picture);
    }
    ts_skeleton_painter_close(p);
    return status;
}

const char *ts_skeleton_library(void)
{
    static char text[32];
    snprintf(text, sizeof text, "cairo %s", cairo_version_string());
    return text;
}

#else

static ts_status no_cairo(ts_error *err)
{
    return ts_fail(err, TS_ERR_RUNTIME,
                   "pictures of motion need cairo, which this program was built without; install libcairo2-dev and "
                   "build again");
}

const char *ts_skeleton_library(void)
{
    return NULL;
}

ts_status ts_skeleton_painter_open(ts_skeleton_painter **painter, const ts_skeleton_show *show, ts_error *err)
{
    (void)show;
    *painter = NULL;
    return no_cairo(err);
}

void ts_skeleton_painter_close(ts_skeleton_painter *painter)
{
    (void)painter;
}

ts_status ts_skeleton_paint(ts_skeleton_painter *painter, int64_t t, ts_image *picture, ts_error *err)
{
    (void)painter;
    (void)t;
    (void)picture;
    return no_cairo(err);
}

ts_status ts_skeleton_strip(ts_image *picture, const ts_skeleton_show *show, int poses, ts_error *err)
{
    (void)picture;
    (void)show;
    (void)poses;
    return no_cairo(err);
}

#endif
