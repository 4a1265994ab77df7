#include "train/code_pictures.h"

#include <stdio.h>
#include <string.h>

#include "train/programs.h"
#include "train/report_text.h"
#include "train/skeleton_picture.h"

enum {
    COLUMNS = 16,
    MARGIN = 10,
    GAP = 6,
    CAPTION = 22, /* two lines of text below a cell */
    SIDE = 66,    /* least width of a cell: ten letters */
    POSE_WIDTH = 84,
    POSE_HEIGHT = 120,
    SURROUND = 3, /* tokens along a side of what is shown of an image */
};

static const ts_colour ink = {40, 40, 48}, mild = {130, 130, 138};

bool ts_has_code_pictures(const ts_experiment *e)
{
    return e->tokenizer.item.rank == 3 || (e->tokenizer.item.rank == 2 && ts_motion_layout_known(&e->motion));
}

/* --- one cell ----------------------------------------------------------------------------------------------------- */

/* The part of an item that is shown, in pixels, and how much larger. */
typedef struct {
    int64_t y, x, height, width, scale;
} window;

static int64_t middle(int64_t pixels, int64_t tokens, int64_t *size)
{
    int64_t token = pixels / tokens, shown = tokens < SURROUND ? tokens : SURROUND;
    *size = token * shown;
    return tokens > shown ? (tokens / 2 - shown / 2) * token : 0;
}

static window window_of(const ts_experiment *e)
{
    ts_shape item = e->tokenizer.item, tokens = e->tokenizer.tokens;
    window w = {.scale = 1};
    if (item.rank == 2) {
        w.height = POSE_HEIGHT;
        w.width = POSE_WIDTH;
        return w;
    }
    w.y = middle(item.dim[0], tokens.dim[0], &w.height);
    w.x = middle(item.dim[1], tokens.dim[1], &w.width);
    w.scale = (SIDE + w.width - 1) / w.width;
    return w;
}

static void put_pixels(ts_image *sheet, int64_t x, int64_t y, const window *w, const uint8_t *pixels, int64_t row_width,
                       int64_t channels)
{
    for (int64_t row = 0; row < w->height * w->scale; row++)
        for (int64_t column = 0; column < w->width * w->scale; column++) {
            const uint8_t *from = pixels + ((w->y + row / w->scale) * row_width + w->x + column / w->scale) * channels;
            uint8_t *to = sheet->pixels + ((y + row) * sheet->width + x + column) * 3;
            for (int c = 0; c < 3; c++)
                to[c] = from[channels < 3 ? 0 : c];
        }
}

static ts_status put_pose(ts_image *sheet, int64_t x, int64_t y, const window *w, const ts_experiment *e,
                          const float *clip, ts_error *err)
{
    const ts_motion *m = &e->motion;
    int64_t frames = e->tokenizer.item.dim[0];
    ts_skeleton body;
    ts_image pose;
    ts_status status = ts_skeleton_of(&body, ts_motion_layout_known(m), clip, frames, m->mean, m->std, NULL,
                                      "what the decoder makes of a code", err);
    if (status == TS_OK) {
        ts_skeleton_crop(&body, frames / 2, 1);
        ts_skeleton_show show = {
            .body = {&body}, .count = 1, .fps = body.layout->fps, .width = POSE_WIDTH, .height = POSE_HEIGHT};
        status = ts_skeleton_strip(&pose, &show, 1, err);
    }
    ts_skeleton_clear(&body);
    TS_TRY(status);
    window all = *w;
    all.height = pose.height < w->height ? pose.height : w->height;
    all.width = pose.width < w->width ? pose.width : w->width;
    put_pixels(sheet, x, y, &all, pose.pixels, pose.width, pose.channels);
    ts_image_clear(&pose);
    return TS_OK;
}

/* --- the sheet ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const ts_code_table *table;
    int64_t group;
    ts_experiment *e;
    ts_session *session;
    window window;
    int64_t batch;
    int32_t *ids;    /* [batch, tokens, groups] */
    float *y;        /* [batch, item] */
    uint8_t *pixels; /* of an item */
    ts_arena arena;
} painter;

static void put_caption(const painter *p, ts_image *sheet, int64_t i, int64_t x, int64_t y)
{
    int32_t id = p->table->list[p->group * p->table->listed + i];
    char text[32];
    snprintf(text, sizeof text, "%d", (int)id);
    ts_picture_text(sheet, x, y, 1, ink, text);
    double share = (double)p->table->count[p->group * p->table->codes + id] / (double)p->table->tokens;
    ts_picture_text(sheet, x, y + 10, 1, mild, ts_percent_text(share).text);
}

static ts_status put_cell(painter *p, ts_image *sheet, int64_t i, const float *y, ts_error *err)
{
    const window *w = &p->window;
    int64_t at_x = MARGIN + i % COLUMNS * (w->width * w->scale + GAP);
    int64_t at_y = MARGIN + i / COLUMNS * (w->height * w->scale + CAPTION + GAP);
    ts_shape item = p->e->tokenizer.item;
    put_caption(p, sheet, i, at_x, at_y + w->height * w->scale + 2);
    if (item.rank == 2)
        return put_pose(sheet, at_x, at_y, w, p->e, y, err);
    ts_pixels_from_float(p->e->range, y, ts_shape_count(item), p->pixels);
    put_pixels(sheet, at_x, at_y, w, p->pixels, item.dim[1], item.dim[2]);
    return TS_OK;
}

/* Which tokens of an item have the code that is shown: of an image the one in the middle of the window, so that its
 * edges are seen; all of a clip. The others have the code that is most used. */
static bool has_code(const ts_experiment *e, int64_t token)
{
    ts_shape tokens = e->tokenizer.tokens;
    return tokens.rank == 1 ||
           (token / tokens.dim[1] == tokens.dim[0] / 2 && token % tokens.dim[1] == tokens.dim[1] / 2);
}

/* Items first, first + 1 ...: each for a cell. */
static ts_status paint_batch(painter *p, ts_image *sheet, int64_t first, ts_error *err)
{
    const ts_code_table *t = p->table;
    int64_t tokens = ts_shape_count(p->e->tokenizer.tokens), size = ts_shape_count(p->e->tokenizer.item);
    int64_t n = t->listed - first < p->batch ? t->listed - first : p->batch;
    for (int64_t i = 0; i < p->batch * tokens; i++) {
        int64_t cell = has_code(p->e, i % tokens) ? first + (i / tokens < n ? i / tokens : n - 1) : 0;
        ts_code_table_token(t, p->group, t->list[p->group * t->listed + cell], p->ids + i * t->groups);
    }
    TS_TRY(ts_session_decode(p->session, p->ids, p->batch, 0, p->y, err));
    for (int64_t i = 0; i < n; i++)
        TS_TRY(put_cell(p, sheet, first + i, p->y + i * size, err));
    return TS_OK;
}

static ts_status paint(painter *p, ts_image *sheet, bool ema, ts_error *err)
{
    ts_shape item = p->e->tokenizer.item;
    size_t bytes = (size_t)(p->batch * ts_shape_count(item)) * sizeof *p->y;
    p->y = ts_arena_alloc(&p->arena, bytes);
    p->pixels = ts_arena_alloc(&p->arena, (size_t)ts_shape_count(item));
    p->ids = ts_arena_alloc(&p->arena, (size_t)(p->batch * ts_shape_count(p->e->tokenizer.tokens) * p->table->groups) *
                                           sizeof *p->ids);
    if (!p->y || !p->pixels || !p->ids)
        return ts_out_of_memory(err, bytes);
    TS_TRY(ts_experiment_session(p->e, p->batch, ema, &p->session, err));
    ts_status status = TS_OK;
    for (int64_t i = 0; status == TS_OK && i < p->table->listed; i += p->batch)
        status = paint_batch(p, sheet, i, err);
    ts_session_free(p->session);
    return status;
}

ts_status ts_code_pictures(ts_image *sheet, const ts_code_table *table, int64_t group, ts_experiment *e, bool ema,
                           ts_error *err)
{
    enum { BATCH = 32 };
    painter p = {.table = table, .group = group, .e = e, .window = window_of(e)};
    int64_t columns = table->listed < COLUMNS ? table->listed : COLUMNS;
    int64_t rows = (table->listed + COLUMNS - 1) / COLUMNS;
    p.batch = table->listed < BATCH ? table->listed : BATCH;
    TS_TRY(ts_picture_new(sheet, 2 * MARGIN + rows * (p.window.height * p.window.scale + CAPTION + GAP) - GAP,
                          2 * MARGIN + columns * (p.window.width * p.window.scale + GAP) - GAP, 3, err));
    ts_status status = paint(&p, sheet, ema, err);
    if (status != TS_OK)
        ts_image_clear(sheet);
    ts_arena_clear(&p.arena);
    return status;
}
