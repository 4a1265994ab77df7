/* Whole clips one after the other, ready for a model: checked, cropped to whole tokens, normalised. They come in
 * stretches of the list, each sorted by length, so that a program is made once for all clips of its length.
 *
 *     while ((status = ts_clip_reader_next(&reader, &clip, err)) == TS_OK && clip.name) {
 *         TS_GO(ts_clip_reader_load(&reader, &clip, err));
 *         if (clip.x) ...
 *     }
 *
 * A clip that cannot be read, holds a NaN, has other columns or no whole token is left out: named by `say`, counted. */
#ifndef TS_TRAIN_CLIP_READER_H
#define TS_TRAIN_CLIP_READER_H

#include "train/clips.h"
#include "train/data.h"

typedef struct {
    const ts_clip_list *list;
    int64_t first, of;    /* every of-th clip, from number `first` on: a shard; 0 and 1 for all */
    int64_t least_frames; /* that a clip must have when it is cut to whole tokens, which is at least one token */
    bool stop;            /* a broken clip is an error; too short ones are left out all the same */
    void (*say)(void *context, const char *line); /* about a clip that is left out; NULL: nobody asks */
    void *context;
} ts_clip_reader_options;

typedef struct {
    int64_t place;    /* in the list */
    const char *name; /* NULL: there are no more */
    int64_t frames;   /* in all */
    ts_clip_cut cut;
    const float *x; /* [cut.frames, columns], normalised; the reader's, until the next load. NULL: left out */
} ts_clip;

typedef struct {
    ts_clip_reader_options options;
    const ts_clips *clips;
    const ts_motion *motion;
    int64_t skipped, too_short; /* so far */
    ts_error first;             /* why the first of them was left out */
    struct ts_clip_length *stretch;
    int64_t begin, at, count; /* the stretch begins with this clip of the list; the next is `at` of `count` */
    float *x;
    int64_t room; /* values */
} ts_clip_reader;

/* `clips` says how clips are cut, `motion` what a frame is; both, and the list, must outlive the reader.
 * Owner: ts_clip_reader_close, also after a failure. */
ts_status ts_clip_reader_open(ts_clip_reader *reader, const ts_clips *clips, const ts_motion *motion,
                              ts_clip_reader_options options, ts_error *err);
void ts_clip_reader_close(ts_clip_reader *reader);

/* The next clip that has at least one token, by what the headers of the files say. */
ts_status ts_clip_reader_next(ts_clip_reader *reader, ts_clip *clip, ts_error *err);

/* Reads it. Errors: out of memory; with `stop`, what is wrong with it. */
ts_status ts_clip_reader_load(ts_clip_reader *reader, ts_clip *clip, ts_error *err);

#endif
