#include "train/bvh.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/files/bytes.h"
#include "core/text.h"

/* ---- words ---- */

typedef struct {
    ts_bvh *bvh;
    const char *path, *at; /* ended by a 0 */
    int64_t line;
    ts_error *err;
} reader;

enum { WORD = 256 };
typedef struct {
    char text[WORD]; /* "" at the end of the file */
} word;

static ts_status bad(const reader *r, const char *expected, const word *found)
{
    return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": expected %s, found %s%s%s", r->path, r->line, expected,
                   *found->text ? "'" : "", *found->text ? TS_SHOWN(found->text) : "the end of the file",
                   *found->text ? "'" : "");
}

static void skip_blanks(reader *r)
{
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\f' || *r->at == '\v')
        r->at++;
}

static void skip_lines(reader *r)
{
    for (skip_blanks(r); *r->at == '\n'; skip_blanks(r)) {
        r->at++;
        r->line++;
    }
}

/* The next word, cut where it is too long to be one; r->line is its line. */
static word next(reader *r)
{
    word w;
    skip_lines(r);
    size_t n = strcspn(r->at, " \t\r\n\f\v"), kept = n < WORD - 1 ? n : WORD - 1;
    memcpy(w.text, r->at, kept);
    w.text[kept] = '\0';
    r->at += n;
    return w;
}

static bool is(const word *w, const char *text)
{
    return strcasecmp(w->text, text) == 0;
}

static ts_status expect(reader *r, const char *text)
{
    char expected[64];
    word w = next(r);
    if (is(&w, text))
        return TS_OK;
    snprintf(expected, sizeof expected, "'%s'", text);
    return bad(r, expected, &w);
}

/* Decimal numbers alone: strtod would take "nan", "inf" and hexadecimal. Moves behind the number. */
static bool take_real(reader *r, double *value)
{
    char *end;
    size_t n = strcspn(r->at, " \t\r\n\f\v");
    if (n == 0 || strspn(r->at, "+-.0123456789eE") != n)
        return false;
    *value = strtod(r->at, &end);
    if (end != r->at + n || !isfinite(*value))
        return false;
    r->at = end;
    return true;
}

static ts_status real(reader *r, const char *expected, double *value)
{
    skip_lines(r);
    if (take_real(r, value))
        return TS_OK;
    word w = next(r);
    return bad(r, expected, &w);
}

static ts_status count(reader *r, const char *expected, int64_t least, int64_t most, int64_t *value)
{
    word w = next(r);
    size_t n = strlen(w.text);
    *value = n > 0 && n < 18 && strspn(w.text, "0123456789") == n ? strtoll(w.text, NULL, 10) : -1;
    return *value >= least && *value <= most ? TS_OK : bad(r, expected, &w);
}

/* ---- the hierarchy ---- */

static ts_status new_joint(reader *r, int parent, const char *name, bool end)
{
    ts_bvh *b = r->bvh;
    int depth = parent < 0 ? 0 : b->joint[parent].depth + 1;
    if (b->joints == TS_BVH_MAX_JOINTS || depth > TS_BVH_MAX_DEPTH)
        return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": more than %d joints, or more than %d inside each other",
                       r->path, r->line, TS_BVH_MAX_JOINTS, TS_BVH_MAX_DEPTH);
    ts_bvh_joint *j = &b->joint[b->joints++];
    *j = (ts_bvh_joint){.parent = parent, .depth = depth, .end = end, .first_channel = b->channels};
    j->name = ts_arena_format(&b->arena, end ? "%s/end" : "%s", name);
    return j->name ? expect(r, "{") : ts_out_of_memory(r->err, strlen(name));
}

static ts_status read_name(reader *r, int parent)
{
    word w = next(r);
    if (!*w.text || is(&w, "{"))
        return bad(r, "the name of a joint", &w);
    return new_joint(r, parent, w.text, false);
}

static ts_status read_offset(reader *r, ts_bvh_joint *j)
{
    if (j->has_offset)
        return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": a second OFFSET of '%s'", r->path, r->line,
                       TS_SHOWN(j->name));
    j->has_offset = true;
    for (int i = 0; i < 3; i++)
        TS_TRY(real(r, "a number of the OFFSET", &j->offset[i]));
    return TS_OK;
}

static ts_status read_channel(reader *r, ts_bvh_joint *j)
{
    static const char *const names[6] = {"Xrotation", "Yrotation", "Zrotation", "Xposition", "Yposition", "Zposition"};
    word w = next(r);
    int which = 0;
    while (which < 6 && !is(&w, names[which]))
        which++;
    if (which == 6)
        return bad(r, "a channel such as Xrotation or Yposition", &w);
    for (int i = 0; i < j->channels; i++)
        if (j->axis[i] == which % 3 && j->position[i] == (which >= 3))
            return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": '%s' has the channel %s twice", r->path, r->line,
                           TS_SHOWN(j->name), names[which]);
    j->axis[j->channels] = (unsigned char)(which % 3);
    j->position[j->channels++] = which >= 3;
    return TS_OK;
}

static ts_status read_channels(reader *r, ts_bvh_joint *j)
{
    int64_t n;
    if (j->has_channels || j->end)
        return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": %s of '%s'", r->path, r->line,
                       j->end ? "CHANNELS" : "a second line of CHANNELS", TS_SHOWN(j->name));
    j->has_channels = true;
    TS_TRY(count(r, "a number of channels, 0 to 6", 0, 6, &n));
    j->first_channel = r->bvh->channels;
    for (int64_t i = 0; i < n; i++)
        TS_TRY(read_channel(r, j));
    r->bvh->channels += n;
    return TS_OK;
}

static ts_status close_joint(const reader *r, const ts_bvh_joint *j)
{
    if (j->has_offset && (j->has_channels || j->end))
        return TS_OK;
    return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": '%s' ends without its %s", r->path, r->line, TS_SHOWN(j->name),
                   j->has_offset ? "CHANNELS" : "OFFSET");
}

/* One line inside joint *open, which it may leave, or go below. */
static ts_status read_line(reader *r, int *open)
{
    ts_bvh_joint *j = &r->bvh->joint[*open];
    word w = next(r);
    if (is(&w, "OFFSET"))
        return read_offset(r, j);
    if (is(&w, "CHANNELS"))
        return read_channels(r, j);
    if (is(&w, "}")) {
        *open = j->parent;
        return close_joint(r, j);
    }
    if (j->end || (!is(&w, "JOINT") && !is(&w, "End")))
        return bad(r, j->end ? "OFFSET or '}'" : "OFFSET, CHANNELS, JOINT, End Site or '}'", &w);
    if (is(&w, "End"))
        TS_TRY(expect(r, "Site"));
    int parent = *open;
    *open = (int)r->bvh->joints;
    return is(&w, "End") ? new_joint(r, parent, j->name, true) : read_name(r, parent);
}

static ts_status read_hierarchy(reader *r)
{
    ts_bvh *b = r->bvh;
    size_t bytes = TS_BVH_MAX_JOINTS * sizeof *b->joint;
    if (!(b->joint = ts_arena_alloc(&b->arena, bytes)))
        return ts_out_of_memory(r->err, bytes);
    TS_TRY(expect(r, "HIERARCHY"));
    TS_TRY(expect(r, "ROOT"));
    TS_TRY(read_name(r, -1));
    for (int open = 0; open >= 0;)
        TS_TRY(read_line(r, &open));
    if (b->channels == 0)
        return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": no joint has channels: nothing can move", r->path,
                       r->line);
    return TS_OK;
}

/* ---- the motion ---- */

static ts_status wrong_frame(const reader *r, int64_t frame, int64_t values)
{
    return ts_fail(r->err, TS_ERR_DATA,
                   "%s:%" PRId64 ": frame %" PRId64 ": expected a line of %" PRId64 " numbers, one for each channel, "
                   "found %s%" PRId64,
                   r->path, r->line, frame, r->bvh->channels, values > r->bvh->channels ? "more than " : "",
                   values > r->bvh->channels ? r->bvh->channels : values);
}

static ts_status read_frame(reader *r, int64_t frame)
{
    const ts_bvh *b = r->bvh;
    double *value = b->value + frame * b->channels;
    skip_lines(r);
    if (!*r->at)
        return ts_fail(r->err, TS_ERR_DATA,
                       "%s:%" PRId64 ": the file ends after %" PRId64 " of the %" PRId64 " frames that it says it has",
                       r->path, r->line, frame, b->frames);
    for (int64_t i = 0; i < b->channels; i++) {
        skip_blanks(r);
        if (*r->at == '\n' || !*r->at)
            return wrong_frame(r, frame, i);
        TS_TRY(real(r, "a number of the motion", &value[i]));
    }
    skip_blanks(r);
    return *r->at == '\n' || !*r->at ? TS_OK : wrong_frame(r, frame, b->channels + 1);
}

/* A number and what separates it take two bytes: a file cannot have more frames than that allows. */
static ts_status room_for_frames(reader *r)
{
    ts_bvh *b = r->bvh;
    int64_t most = ((int64_t)strlen(r->at) + 1) / (2 * b->channels);
    if (b->frames > most)
        return ts_fail(r->err, TS_ERR_DATA,
                       "%s:%" PRId64 ": %" PRId64 " frames of %" PRId64 " numbers; what is left of the file has room "
                       "for at most %" PRId64,
                       r->path, r->line, b->frames, b->channels, most);
    size_t bytes = (size_t)(b->frames * b->channels) * sizeof *b->value;
    b->value = ts_arena_alloc(&b->arena, bytes);
    return b->value ? TS_OK : ts_out_of_memory(r->err, bytes);
}

static ts_status read_motion(reader *r)
{
    ts_bvh *b = r->bvh;
    TS_TRY(expect(r, "MOTION"));
    TS_TRY(expect(r, "Frames:"));
    TS_TRY(count(r, "a number of frames, at least 1", 1, INT64_MAX, &b->frames));
    TS_TRY(expect(r, "Frame"));
    TS_TRY(expect(r, "Time:"));
    TS_TRY(real(r, "the seconds of a frame", &b->frame_s));
    if (!(b->frame_s >= 1e-4 && b->frame_s <= 10))
        return ts_fail(r->err, TS_ERR_DATA, "%s:%" PRId64 ": Frame Time: expected seconds, 0.0001 to 10, found %g",
                       r->path, r->line, b->frame_s);
    TS_TRY(room_for_frames(r));
    for (int64_t i = 0; i < b->frames; i++)
        TS_TRY(read_frame(r, i));
    word w = next(r);
    return *w.text ? bad(r, "the end of the file behind the last frame", &w) : TS_OK;
}

ts_status ts_bvh_parse(ts_bvh *bvh, const char *text, size_t bytes, const char *path, ts_error *err)
{
    *bvh = (ts_bvh){0};
    bool marked = strncmp(text, "\xef\xbb\xbf", 3) == 0; /* UTF-8's byte order mark, which Windows programs write */
    reader r = {bvh, path, text + (marked ? 3 : 0), 1, err};
    if (memchr(text, '\0', bytes))
        return ts_fail(err, TS_ERR_DATA, "%s: not a BVH file: it has zero bytes", path);
    TS_TRY(read_hierarchy(&r));
    return read_motion(&r);
}

enum { MAX_BYTES = 1 << 30 };
ts_status ts_bvh_read(ts_bvh *bvh, const char *path, ts_error *err)
{
    ts_bytes bytes;
    *bvh = (ts_bvh){0};
    TS_TRY(ts_bytes_read(&bytes, path, MAX_BYTES, TS_ERR_DATA, err));
    ts_status status = ts_bvh_parse(bvh, (const char *)bytes.data, bytes.count, path, err);
    ts_bytes_clear(&bytes);
    return status;
}

void ts_bvh_clear(ts_bvh *bvh)
{
    ts_arena_clear(&bvh->arena);
}

/* ---- the skeleton in motion ---- */

int64_t ts_bvh_find(const ts_bvh *bvh, const char *name)
{
    for (int64_t j = 0; j < bvh->joints; j++)
        if (strcmp(bvh->joint[j].name, name) == 0)
            return j;
    return -1;
}

/* A joint's place and turn as its parent's frame sees them. */
static void local_pose(const ts_bvh_joint *j, const double *value, double offset[3], ts_m3 *turn)
{
    static const double degree = 3.14159265358979323846 / 180;
    *turn = ts_m3_identity();
    memcpy(offset, j->offset, 3 * sizeof *offset);
    for (int i = 0; i < j->channels; i++)
        if (j->position[i])
            offset[j->axis[i]] = value[i] + (j->parent < 0 ? j->offset[j->axis[i]] : 0);
        else
            *turn = ts_m3_multiply(*turn, ts_m3_turn(j->axis[i], value[i] * degree));
}

void ts_bvh_pose(const ts_bvh *bvh, int64_t frame, ts_v3 *places, ts_m3 *turns)
{
    const double *value = bvh->value + frame * bvh->channels;
    for (int64_t i = 0; i < bvh->joints; i++) {
        const ts_bvh_joint *j = &bvh->joint[i];
        double offset[3];
        local_pose(j, value + j->first_channel, offset, &turns[i]);
        places[i] = ts_v3_at(offset);
        if (j->parent >= 0) {
            places[i] = ts_v3_add(places[j->parent], ts_m3_apply(turns[j->parent], places[i]));
            turns[i] = ts_m3_multiply(turns[j->parent], turns[i]);
        }
    }
}
