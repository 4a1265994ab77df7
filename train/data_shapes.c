/* Generated pictures. Everything about picture i is drawn from Philox counted by i, so that pictures can be made in any
 * order, by any thread, or again.
 *
 * A shape is a signed distance d(x, y) in pixels, negative inside; its coverage of a pixel is 0.5 - d, clamped to
 * 0..1, which is what antialiases it. A paint is two colours and a mix of them that varies over the picture. The
 * painter's loop is over rows: coverage and mix of a row into two buffers, then a blend of three planes. Every loop
 * over x is free of branches, so that it vectorises; a 32 x 32 picture takes about 30 us on one core. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/data_kinds.h"

static const ts_option rows[] = {
    {.name = "count",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_shapes_options, count),
     .fallback = "20000",
     .help = "training images",
     .min = 1,
     .max = 1e9},
    {.name = "val_count",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_shapes_options, val_count),
     .fallback = "2000",
     .help = "validation images",
     .min = 1,
     .max = 1e9},
    {.name = "size",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_shapes_options, size),
     .fallback = "32",
     .help = "height and width in pixels",
     .min = 8,
     .max = 1024},
    {.name = "channels",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_shapes_options, channels),
     .fallback = "3",
     .help = "3: colour, 1: grey",
     .min = 1,
     .max = 3},
    {.name = "seed",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_shapes_options, seed),
     .fallback = "0",
     .help = "of the collection; the run's own seed does not change the pictures",
     .min = 0,
     .max = 9e15},
    TS_DATA_RANGE_ROW(ts_data_shapes_options),
    {.name = "cache_mb",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_data_shapes_options, cache_mb),
     .fallback = "512",
     .help = "memory for finished images, MiB; the rest are drawn when asked for",
     .min = 0,
     .max = 1e6},
    {0},
};
static const ts_option_table table = {"shapes", "generated pictures of coloured shapes", rows,
                                      sizeof(ts_data_shapes_options)};

static const float TAU = 6.2831853f;

typedef struct {
    float rgb[3];
} colour;

typedef enum { SOLID, GRADIENT, STRIPES, RADIAL, PAINT_COUNT } paint_mode;

/* mix(x, y): GRADIENT and STRIPES along (dx, dy), in units of their length or period; RADIAL around (dx, dy). */
typedef struct {
    paint_mode mode;
    colour a, b;
    float dx, dy, shift, period; /* pixels: period; others as the mode says */
} paint;

enum { MAX_SIDES = 6 };
typedef enum { ELLIPSE, BOX, POLYGON, RING, CROSS, HALF_DISC, SHAPE_COUNT } shape_form;

typedef struct {
    shape_form form;
    float x, y, cos, sin; /* centre in pixels, turn */
    float rx, ry;         /* half sizes in pixels */
    float edge;           /* ring: half width; box and cross: radius of the corners, half width of the arms */
    int sides;
    float nx[MAX_SIDES], ny[MAX_SIDES]; /* polygon: outward normals; each side is `rx` from the centre */
} shape;

typedef struct {
    int64_t size;
    float *plane[3];       /* [size, size] each, 0..1 */
    float *coverage, *mix; /* [size] */
} canvas;

/* ---- choosing ---- */

static float between(ts_draws *draws, float low, float high)
{
    return low + (high - low) * ts_draw_uniform(draws);
}

static bool chance(ts_draws *draws, float probability)
{
    return ts_draw_uniform(draws) < probability;
}

/* One channel of HSV to RGB: a trapezoid over the hue, which has period 1. */
static float hue_channel(float hue, float offset)
{
    float h = 6.0f * (hue + offset - floorf(hue + offset));
    return fminf(1.0f, fmaxf(0.0f, fabsf(h - 3.0f) - 1.0f));
}

static colour from_hsv(float hue, float saturation, float value)
{
    colour c;
    for (int k = 0; k < 3; k++)
        c.rgb[k] = value * (1.0f - saturation * (1.0f - hue_channel(hue, (float)(3 - k) / 3.0f)));
    return c;
}

/* Grounds are calm, shapes are vivid. */
typedef struct {
    float low_value, high_saturation;
} tone;
static const tone GROUND = {0.5f, 0.6f}, NIGHT = {0.08f, 0.7f}, SHAPE = {0.35f, 0.95f};

/* Colours of one picture keep to two hues, most of the time. */
static colour choose_colour(ts_draws *draws, float hue, tone t)
{
    float turn = chance(draws, 0.35f) ? between(draws, 0.4f, 0.6f) : 0.0f;
    float wobble = between(draws, -0.09f, 0.09f);
    float saturation = between(draws, 0.2f, t.high_saturation);
    float value = between(draws, t.low_value, 1.0f);
    return from_hsv(hue + turn + wobble, saturation, value);
}

static paint choose_paint(ts_draws *draws, paint_mode mode, float hue, tone t, float size)
{
    paint p = {.mode = mode};
    p.a = choose_colour(draws, hue, t);
    p.b = choose_colour(draws, hue, t);
    float angle = between(draws, 0.0f, TAU);
    p.period = mode == STRIPES ? size * between(draws, 0.12f, 0.36f) : size * between(draws, 0.6f, 1.2f);
    p.dx = cosf(angle) / p.period;
    p.dy = sinf(angle) / p.period;
    p.shift = mode == STRIPES ? between(draws, 0.0f, 1.0f) : 0.5f - 0.5f * size * (p.dx + p.dy);
    if (mode == RADIAL) {
        p.dx = between(draws, 0.1f, 0.9f) * size;
        p.dy = between(draws, 0.1f, 0.9f) * size;
    }
    return p;
}

static shape choose_shape(ts_draws *draws, float size)
{
    shape s = {.form = (shape_form)ts_draw_below(draws, SHAPE_COUNT)};
    float angle = between(draws, 0.0f, TAU), radius = between(draws, 0.0f, 1.0f);
    radius = size * (0.1f + 0.26f * radius * radius); /* more small ones than large ones */
    s.x = between(draws, 0.08f, 0.92f) * size;
    s.y = between(draws, 0.08f, 0.92f) * size;
    s.cos = cosf(angle);
    s.sin = sinf(angle);
    s.rx = radius;
    s.ry = radius * between(draws, 0.45f, 1.0f);
    s.edge = radius * between(draws, 0.15f, 0.3f);
    s.sides = 3 + (int)ts_draw_below(draws, MAX_SIDES - 2);
    for (int i = 0; i < s.sides; i++) {
        float turn = TAU * (float)i / (float)s.sides;
        s.nx[i] = cosf(turn);
        s.ny[i] = sinf(turn);
    }
    if (s.form == POLYGON)
        s.rx = radius * (s.sides == 3 ? 0.6f : 0.85f); /* of the inner circle: a triangle's corners are twice as far */
    return s;
}

/* ---- distances: u, v are pixels in the shape's own turned frame ---- */

static inline float box_distance(float u, float v, float rx, float ry, float corner)
{
    float qx = fabsf(u) - rx + corner, qy = fabsf(v) - ry + corner;
    float ox = qx > 0.0f ? qx : 0.0f, oy = qy > 0.0f ? qy : 0.0f, inner = qx > qy ? qx : qy;
    return sqrtf(ox * ox + oy * oy) + (inner < 0.0f ? inner : 0.0f) - corner;
}

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Runs `distance`, an expression of u and v, over the pixels x0..x1-1 of row y. */
#define TS_ROW(distance)                                                                                               \
    _Pragma("omp simd") for (int64_t x = x0; x < x1; x++)                                                              \
    {                                                                                                                  \
        float px = (float)x + 0.5f - s->x;                                                                             \
        float u = px * s->cos + py * s->sin, v = py * s->cos - px * s->sin;                                            \
        d[x] = (distance);                                                                                             \
    }

static void polygon_row(const shape *s, float py, int64_t x0, int64_t x1, float *restrict d)
{
    TS_ROW(u * s->nx[0] + v * s->ny[0] - s->rx)
    for (int i = 1; i < s->sides; i++) {
        float nx = s->nx[i], ny = s->ny[i], radius = s->rx;
        TS_ROW(larger(d[x], u * nx + v * ny - radius))
    }
}

static void distance_row(const shape *s, int64_t y, int64_t x0, int64_t x1, float *restrict d)
{
    float py = (float)y + 0.5f - s->y, rx = s->rx, ry = s->ry, edge = s->edge;
    switch (s->form) {
    case ELLIPSE: /* the distance to a circle, squeezed; good enough where 2 ry > rx */
        TS_ROW((sqrtf(u * u / (rx * rx) + v * v / (ry * ry)) - 1.0f) * ry)
        break;
    case BOX:
        TS_ROW(box_distance(u, v, rx, ry, 0.5f * edge))
        break;
    case POLYGON:
        polygon_row(s, py, x0, x1, d);
        break;
    case RING:
        TS_ROW(fabsf(sqrtf(u * u + v * v) - rx + edge) - edge)
        break;
    case CROSS:
        TS_ROW(-larger(-box_distance(u, v, rx, edge, 0.0f), -box_distance(u, v, edge, rx, 0.0f)))
        break;
    default: /* HALF_DISC */
        TS_ROW(larger(sqrtf(u * u + v * v) - rx, v - 0.2f * rx))
        break;
    }
}

/* ---- painting ---- */

static inline float clamp01(float x)
{
    x = x > 0.0f ? x : 0.0f;
    return x < 1.0f ? x : 1.0f;
}

/* mix[x] for the pixels x0..x1-1 of row y: 0 is colour a, 1 is colour b. */
static void mix_row(const paint *p, int64_t y, int64_t x0, int64_t x1, float *restrict mix)
{
    float py = (float)y + 0.5f, base = py * p->dy + p->shift, dx = p->dx, period = p->period;
    switch (p->mode) {
    case GRADIENT:
#pragma omp simd
        for (int64_t x = x0; x < x1; x++)
            mix[x] = clamp01(((float)x + 0.5f) * dx + base);
        break;
    case STRIPES: /* a triangle wave, made steep: edges one pixel wide. The 64 keeps the conversion on one side of 0 */
#pragma omp simd
        for (int64_t x = x0; x < x1; x++) {
            float wave = ((float)x + 0.5f) * dx + base + 64.0f;
            wave = fabsf(wave - (float)(int)wave - 0.5f) * 2.0f;
            mix[x] = clamp01((wave - 0.5f) * 0.5f * period + 0.5f);
        }
        break;
    case RADIAL:
#pragma omp simd
        for (int64_t x = x0; x < x1; x++) {
            float ox = (float)x + 0.5f - dx, oy = py - p->dy;
            mix[x] = clamp01(sqrtf(ox * ox + oy * oy) / period);
        }
        break;
    default: /* SOLID */
        memset(mix + x0, 0, (size_t)(x1 - x0) * sizeof *mix);
    }
}

static void blend_row(const canvas *c, const paint *p, int64_t y, int64_t x0, int64_t x1)
{
    for (int k = 0; k < 3; k++) {
        float a = p->a.rgb[k], span = p->b.rgb[k] - a;
        float *restrict to = c->plane[k] + y * c->size;
        const float *restrict coverage = c->coverage, *restrict mix = c->mix;
#pragma omp simd
        for (int64_t x = x0; x < x1; x++)
            to[x] += coverage[x] * (a + mix[x] * span - to[x]);
    }
}

static void paint_background(const canvas *c, const paint *p)
{
    for (int64_t x = 0; x < c->size; x++)
        c->coverage[x] = 1.0f;
    for (int64_t y = 0; y < c->size; y++) {
        mix_row(p, y, 0, c->size, c->mix);
        blend_row(c, p, y, 0, c->size);
    }
}

static int64_t clip(float x, int64_t size)
{
    return x < 0.0f ? 0 : x > (float)size ? size : (int64_t)x;
}

/* grow: pixels by which the shape is fattened (its outline). */
static void paint_shape(const canvas *c, const shape *s, const paint *p, float opacity, float grow)
{
    float reach = 2.0f + grow + (s->form == POLYGON ? 2.0f * s->rx : 1.5f * s->rx); /* corners included */
    int64_t x0 = clip(s->x - reach, c->size), x1 = clip(s->x + reach, c->size);
    int64_t y1 = clip(s->y + reach, c->size);
    for (int64_t y = clip(s->y - reach, c->size); y < y1; y++) {
        float *restrict coverage = c->coverage;
        distance_row(s, y, x0, x1, coverage);
#pragma omp simd
        for (int64_t x = x0; x < x1; x++)
            coverage[x] = opacity * clamp01(0.5f + grow - coverage[x]);
        mix_row(p, y, x0, x1, c->mix);
        blend_row(c, p, y, x0, x1);
    }
}

static void paint_random_shape(const canvas *c, ts_draws *draws, float hue)
{
    float size = (float)c->size;
    shape s = choose_shape(draws, size);
    bool plain = chance(draws, 0.45f);
    paint_mode mode = plain ? SOLID : (paint_mode)(1 + ts_draw_below(draws, PAINT_COUNT - 1));
    paint fill = choose_paint(draws, mode, hue + 0.5f, SHAPE, size * 0.7f);
    bool outlined = chance(draws, 0.3f);
    float opacity = chance(draws, 0.25f) ? between(draws, 0.5f, 0.8f) : 1.0f;
    if (outlined) {
        paint line = {.mode = SOLID};
        bool dark = chance(draws, 0.6f);
        line.a = from_hsv(hue, 0.4f, dark ? 0.12f : 0.97f);
        paint_shape(c, &s, &line, 1.0f, size * 0.03f);
    }
    paint_shape(c, &s, &fill, opacity, 0.0f);
}

static void paint_picture(const canvas *c, ts_draws *draws)
{
    float hue = between(draws, 0.0f, 1.0f);
    bool dark = chance(draws, 0.25f);
    paint_mode mode = (paint_mode)ts_draw_below(draws, PAINT_COUNT);
    paint ground = choose_paint(draws, mode, hue, dark ? NIGHT : GROUND, (float)c->size);
    for (int k = 0; dark && k < 3; k++) {
        ground.a.rgb[k] *= 0.5f;
        ground.b.rgb[k] *= 0.5f;
    }
    paint_background(c, &ground);
    int shapes = 3 + (int)ts_draw_below(draws, 4);
    for (int i = 0; i < shapes; i++)
        paint_random_shape(c, draws, hue);
}

/* ---- pixels ---- */

static void store(const canvas *c, int64_t channels, uint8_t *pixels)
{
    const float *r = c->plane[0], *g = c->plane[1], *b = c->plane[2];
    int64_t n = c->size * c->size;
    for (int64_t i = 0; channels == 1 && i < n; i++) /* luma of Rec. 601 */
        pixels[i] = (uint8_t)(int)(clamp01(0.299f * r[i] + 0.587f * g[i] + 0.114f * b[i]) * 255.0f + 0.5f);
    for (int64_t i = 0; channels == 3 && i < n; i++)
        for (int k = 0; k < 3; k++)
            pixels[3 * i + k] = (uint8_t)(int)(clamp01(c->plane[k][i]) * 255.0f + 0.5f);
}

ts_status ts_shapes_draw(uint64_t seed, uint64_t index, int64_t size, int64_t channels, uint8_t *pixels, ts_error *err)
{
    size_t n = (size_t)(size * size), bytes = (3 * n + 2 * (size_t)size) * sizeof(float);
    float *memory = ts_calloc(bytes, 1);
    if (!memory)
        return ts_out_of_memory(err, bytes);
    canvas c = {size, {memory, memory + n, memory + 2 * n}, memory + 3 * n, memory + 3 * n + size};
    ts_draws draws = {.key = {seed, ts_random_stream("data.shapes")}, .epoch = index};
    paint_picture(&c, &draws);
    store(&c, channels, pixels);
    ts_free(memory);
    return TS_OK;
}

/* ---- the data set ---- */

typedef struct {
    uint64_t seed, first; /* index of source 0 in the collection */
    int64_t cached;       /* sources 0..cached-1 are in data->bytes */
} shapes;

/* Far behind any training image, so that another `count` keeps the same validation images. */
static const uint64_t FIRST_VAL = (uint64_t)1 << 40;

static ts_status fill_cache(ts_dataset *data, const shapes *s, ts_error *err)
{
    int64_t size = data->item.dim[0], channels = data->item.dim[2], bytes = ts_shape_count(data->item);
    int failed = 0;
    uint8_t *pixels = ts_alloc_aligned((size_t)(s->cached * bytes));
    if (!pixels)
        return ts_out_of_memory(err, (size_t)(s->cached * bytes));
    data->bytes = pixels;
#pragma omp parallel for schedule(static) reduction(+ : failed)
    for (int64_t i = 0; i < s->cached; i++)
        failed += ts_shapes_draw(s->seed, s->first + (uint64_t)i, size, channels, pixels + i * bytes, NULL) != 0;
    return failed ? ts_out_of_memory(err, (size_t)bytes * sizeof(float)) : TS_OK;
}

static ts_status open_shapes(ts_dataset *data, const void *options, ts_error *err)
{
    const ts_data_shapes_options *o = options;
    if (o->channels != 1 && o->channels != 3)
        return ts_fail(err, TS_ERR_USAGE, "data.channels: expected 1 or 3, found %d", (int)o->channels);
    bool val = data->split == TS_SPLIT_VAL;
    shapes *s = data->state = ts_calloc(1, sizeof *s);
    if (!s)
        return ts_out_of_memory(err, sizeof *s);
    data->item = ts_shape_of(o->size, o->size, o->channels);
    data->range = (ts_range)o->range;
    data->own_split = true;
    data->sources = val ? o->val_count : o->count;
    int64_t room = o->cache_mb * (1 << 20) / ts_shape_count(data->item);
    *s = (shapes){
        .seed = (uint64_t)o->seed, .first = val ? FIRST_VAL : 0, .cached = room < data->sources ? room : data->sources};
    return s->cached ? fill_cache(data, s, err) : TS_OK;
}

static ts_status read_shapes(ts_dataset *data, int64_t source, ts_draws *draws, float *out, ts_error *err)
{
    const shapes *s = data->state;
    if (source < s->cached)
        return ts_dataset_read_bytes(data, source, draws, out, err);
    int64_t bytes = ts_shape_count(data->item);
    uint8_t *pixels = ts_alloc((size_t)bytes);
    if (!pixels)
        return ts_out_of_memory(err, (size_t)bytes);
    ts_status status =
        ts_shapes_draw(s->seed, s->first + (uint64_t)source, data->item.dim[0], data->item.dim[2], pixels, err);
    if (status == TS_OK)
        ts_pixels_to_float(data->range, pixels, bytes, out);
    ts_free(pixels);
    return status;
}

static void close_shapes(ts_dataset *data)
{
    const shapes *s = data->state;
    ts_free_aligned((void *)data->bytes, s ? (size_t)(s->cached * ts_shape_count(data->item)) : 0);
    ts_free(data->state);
}

const ts_dataset_kind ts_dataset_shapes = {
    .table = &table, .open = open_shapes, .read = read_shapes, .close = close_shapes};
