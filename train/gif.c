/* The one file that knows giflib. The palette is the same for every frame, so that colours do not flicker; pixels that
 * keep their colour are transparent, which the compression likes. */
#include "train/gif.h"

#include <math.h>

#include "core/files/replace.h"
#include "core/memory.h"

static int64_t hundredths(int64_t i, double fps)
{
    return llround(100 * (double)i / fps);
}

int ts_gif_delay(int64_t i, double fps)
{
    return (int)(hundredths(i + 1, fps) - hundredths(i, fps));
}

int ts_gif_every(double fps)
{
    return fps > 50 ? (int)ceil(fps / 50 - 1e-9) : 1;
}

#ifdef TS_WITH_GIF

#include <gif_lib.h>
#include <stdio.h>
#include <string.h>

enum { COLOURS = 256, TRANSPARENT = COLOURS - 1, FIRST_STEPS = 28, STEPS = 20, CUBE = 4, UNKNOWN = TRANSPARENT };

struct ts_gif {
    ts_replace file;
    bool file_is_open;
    GifFileType *gif;
    ts_error failed; /* of the file, which giflib only knows to have failed */
    double fps;
    int width, height;
    int64_t frames;
    GifColorType palette[COLOURS];
    int used;               /* entries of the palette */
    GifByteType *nearest;   /* [2^24], by colour: an entry, or UNKNOWN as yet */
    GifByteType *now, *was; /* [height, width] entries */
};

/* ---- colours ---- */

static void add_colour(ts_gif *g, double r, double green, double b)
{
    if (g->used < TRANSPARENT)
        g->palette[g->used++] =
            (GifColorType){(GifByteType)lround(r), (GifByteType)lround(green), (GifByteType)lround(b)};
}

/* Few entries compress well: edges of moving lines make most of a file. Of the first colour, which large areas fade in,
 * the light ones are closer to each other, where bands would be seen. */
static void add_tints(ts_gif *g, ts_colour c, int steps, double power)
{
    for (int k = 0; k < steps; k++) {
        double keep = pow(1 - (double)k / steps, power), white = 255 * (1 - keep);
        add_colour(g, white + keep * c.r, white + keep * c.g, white + keep * c.b);
    }
}

static void make_palette(ts_gif *g, const ts_colour *colours, int count)
{
    add_colour(g, 255, 255, 255);
    for (int i = 0; i < count; i++)
        add_tints(g, colours[i], i ? STEPS : FIRST_STEPS, i ? 1 : 1.5);
    for (int r = 0; r < CUBE; r++)
        for (int green = 0; green < CUBE; green++)
            for (int b = 0; b < CUBE; b++)
                add_colour(g, 85.0 * r, 85.0 * green, 85.0 * b);
}

static GifByteType search(const ts_gif *g, const uint8_t *rgb)
{
    int best = 0, least = 1 << 30;
    for (int i = 0; i < g->used && least > 0; i++) {
        int r = g->palette[i].Red - rgb[0], green = g->palette[i].Green - rgb[1], b = g->palette[i].Blue - rgb[2];
        int d = r * r + green * green + b * b;
        if (d < least) {
            least = d;
            best = i;
        }
    }
    return (GifByteType)best;
}

static GifByteType entry_of(const ts_gif *g, const uint8_t *rgb)
{
    GifByteType *entry = &g->nearest[rgb[0] << 16 | rgb[1] << 8 | rgb[2]];
    if (*entry == UNKNOWN)
        *entry = search(g, rgb);
    return *entry;
}

/* ---- the file ---- */

static int on_write(GifFileType *gif, const GifByteType *bytes, int count)
{
    ts_gif *g = gif->UserData;
    return ts_replace_write(&g->file, bytes, (size_t)count, &g->failed) == TS_OK ? count : 0;
}

static ts_status failed(const ts_gif *g, int code, ts_error *err)
{
    if (g->failed.code != TS_OK)
        return ts_fail(err, g->failed.code, "%s", g->failed.text);
    const char *why = GifErrorString(code);
    return ts_fail(err, TS_ERR_RUNTIME, "%s: cannot be written as GIF: %s", g->file.path,
                   why ? why : "no reason given");
}

/* Netscape's extension: shown over and over. */
static bool write_head(ts_gif *g)
{
    static const GifByteType forever[3] = {1, 0, 0};
    int bits = 8;
    ColorMapObject *map = GifMakeMapObject(COLOURS, g->palette);
    bool good = map && EGifPutScreenDesc(g->gif, g->width, g->height, bits, 0, map) == GIF_OK &&
                EGifPutExtensionLeader(g->gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
                EGifPutExtensionBlock(g->gif, 11, "NETSCAPE2.0") == GIF_OK &&
                EGifPutExtensionBlock(g->gif, sizeof forever, forever) == GIF_OK &&
                EGifPutExtensionTrailer(g->gif) == GIF_OK;
    GifFreeMapObject(map);
    return good;
}

static ts_status begin(ts_gif *g, const char *path, ts_error *err)
{
    int why = 0;
    const size_t pixels = (size_t)g->width * (size_t)g->height, all = (size_t)1 << 24;
    g->nearest = ts_alloc(all);
    g->now = ts_alloc(pixels);
    g->was = ts_alloc(pixels);
    if (!g->nearest || !g->now || !g->was)
        return ts_out_of_memory(err, all);
    memset(g->nearest, UNKNOWN, all);
    TS_TRY(ts_replace_begin(&g->file, path, TS_ERR_DATA, err));
    g->file_is_open = true;
    if (!(g->gif = EGifOpen(g, on_write, &why)))
        return failed(g, why, err);
    EGifSetGifVersion(g->gif, true);
    return write_head(g) ? TS_OK : failed(g, g->gif->Error, err);
}

ts_status ts_gif_open(ts_gif **gif, const char *path, int width, int height, double fps, const ts_colour *colours,
                      int count, ts_error *err)
{
    ts_gif *g = *gif = ts_calloc(1, sizeof *g);
    if (!g)
        return ts_out_of_memory(err, sizeof *g);
    g->width = width;
    g->height = height;
    g->fps = fps;
    make_palette(g, colours, count);
    ts_status status = begin(g, path, err);
    if (status != TS_OK) {
        ts_gif_close(g, false, NULL);
        *gif = NULL;
    }
    return status;
}

/* ---- frames ---- */

typedef struct {
    int x, y, width, height;
} part;

/* The smallest part that holds all changes; one pixel where nothing changes. */
static part changed_part(const ts_gif *g)
{
    int left = g->width, right = -1, top = g->height, bottom = -1;
    for (int y = 0; y < g->height; y++)
        for (int x = 0; x < g->width; x++) {
            size_t i = (size_t)y * (size_t)g->width + (size_t)x;
            if (g->frames > 0 && g->now[i] == g->was[i])
                continue;
            left = x < left ? x : left;
            right = x > right ? x : right;
            top = y < top ? y : top;
            bottom = y;
        }
    return right < 0 ? (part){0, 0, 1, 1} : (part){left, top, right - left + 1, bottom - top + 1};
}

static bool write_control(ts_gif *g)
{
    GifByteType bytes[4];
    GraphicsControlBlock control = {
        .DisposalMode = DISPOSE_DO_NOT, .DelayTime = ts_gif_delay(g->frames, g->fps), .TransparentColor = TRANSPARENT};
    EGifGCBToExtension(&control, bytes);
    return EGifPutExtension(g->gif, GRAPHICS_EXT_FUNC_CODE, sizeof bytes, bytes) == GIF_OK;
}

/* Writes rows of `now`; what they keep of `was` becomes transparent, in `was`, which is not needed any longer. */
static bool write_part(ts_gif *g, part p)
{
    bool good = EGifPutImageDesc(g->gif, p.x, p.y, p.width, p.height, false, NULL) == GIF_OK;
    for (int y = p.y; good && y < p.y + p.height; y++) {
        size_t row = (size_t)y * (size_t)g->width + (size_t)p.x;
        for (size_t i = row; i < row + (size_t)p.width; i++)
            g->was[i] = g->frames > 0 && g->was[i] == g->now[i] ? TRANSPARENT : g->now[i];
        good = EGifPutLine(g->gif, g->was + row, p.width) == GIF_OK;
    }
    return good;
}

ts_status ts_gif_add(ts_gif *g, const ts_image *frame, ts_error *err)
{
    const size_t pixels = (size_t)g->width * (size_t)g->height;
    for (size_t i = 0; i < pixels; i++)
        g->now[i] = entry_of(g, frame->pixels + 3 * i);
    if (!write_control(g) || !write_part(g, changed_part(g)))
        return failed(g, g->gif->Error, err);
    memcpy(g->was, g->now, pixels);
    g->frames++;
    return TS_OK;
}

ts_status ts_gif_close(ts_gif *g, bool keep, ts_error *err)
{
    ts_status status = TS_OK;
    int why = 0;
    if (!g)
        return TS_OK;
    if (g->gif && EGifCloseFile(g->gif, &why) != GIF_OK && keep)
        status = failed(g, why, err);
    if (status == TS_OK && keep)
        status = ts_replace_commit(&g->file, TS_REPLACE_DROP, err);
    if (g->file_is_open)
        ts_replace_end(&g->file);
    ts_free(g->nearest);
    ts_free(g->now);
    ts_free(g->was);
    ts_free(g);
    return status;
}

const char *ts_gif_library(void)
{
    static char text[32];
    snprintf(text, sizeof text, "giflib %d.%d.%d", GIFLIB_MAJOR, GIFLIB_MINOR, GIFLIB_RELEASE);
    return text;
}

#else

const char *ts_gif_library(void)
{
    return NULL;
}

ts_status ts_gif_open(ts_gif **gif, const char *path, int width, int height, double fps, const ts_colour *colours,
                      int count, ts_error *err)
{
    (void)width;
    (void)height;
    (void)fps;
    (void)colours;
    (void)count;
    *gif = NULL;
    return ts_fail(err, TS_ERR_RUNTIME,
                   "%s: GIF files need giflib, which this program was built without; install libgif-dev and build "
                   "again, or give -o a name that ends in .mp4 or .png",
                   path);
}

ts_status ts_gif_add(ts_gif *gif, const ts_image *frame, ts_error *err)
{
    (void)gif;
    (void)frame;
    return ts_fail(err, TS_ERR_RUNTIME, "internal error: no GIF file is open");
}

ts_status ts_gif_close(ts_gif *gif, bool keep, ts_error *err)
{
    (void)gif;
    (void)keep;
    (void)err;
    return TS_OK;
}

#endif
