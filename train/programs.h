/* The programs of an experiment: graphs over its store, planned for its device. */
#ifndef TS_TRAIN_PROGRAMS_H
#define TS_TRAIN_PROGRAMS_H

#include "models/session.h"
#include "train/experiment.h"

/* Terms of a loss beside the reconstruction, and with it. */
enum {
    TS_MAX_TERMS = TS_MAX_LOSSES + TS_MAX_MOTION_LOSSES,
    TS_MAX_PARTS = TS_MAX_TERMS + 1,
    TS_MAX_NUMBERS = TS_MAX_PARTS + 3,
    TS_SCHEDULE_SLOTS = 6
};

/* Padding. Where ts_experiment_pads, items may be shorter than their shape, and programs that compute losses take their
 * lengths. A token counts where all its frames do, and a frame counts where its token does: what is left of an item by
 * cropping it to whole tokens. All else of x is 0 to the encoder, whatever it holds, and has no part in losses,
 * quantizer statistics or counts; its ids are -1. */

/* The training programs. With accumulate == 1, `step` does everything; else `step` computes and adds up the gradients
 * of a micro-batch, and `apply` changes the weights. */
typedef struct {
    ts_graph *graph, *apply_graph;
    ts_program *step, *apply;     /* apply: NULL without accumulation */
    ts_value x, schedule, random; /* inputs of step; random is i64 [2]: seed, step */
    ts_value lengths;             /* input of step, i32 [batch]: frames of each item; absent where all are full */
    ts_value apply_schedule;
    ts_value loss, y, ids;
    ts_value norm, ok; /* of step, or of apply */
    /* What the host reads of each run, f32, one number after the other. `numbers`, of step: the loss, the parts; behind
     * them, without accumulation, norm and ok. `apply_numbers`: norm, ok. */
    ts_value numbers, apply_numbers;
    int number_count;
    struct {
        const char *name; /* "recon", "commitment" */
        ts_value value;   /* unweighted */
    } parts[TS_MAX_PARTS];
    int part_count;
    /* f32 [] state, 1. A step that is not finite sets it to 0, and as long as it is 0 no step leaves a trace: so steps
     * can be given before it is known how the one before them went. Whoever gives them sets it to 1 again. */
    const ts_variable *live;
    const ts_variable *usage; /* i64 [K] state: counts of codes since it was last cleared */
} ts_training;

/* Builds the training programs and, in doing so, the store: adds the parameters, freezes, seals (initial values drawn
 * from the experiment's seed), and makes the optimizer's blocks. Owner: ts_training_close. */
ts_status ts_training_open(ts_training *t, ts_experiment *e, ts_error *err);
void ts_training_close(ts_training *t);

/* What the first (micro-)batch, or as many as the quantizer asks for, decides: one of the quantizer's stages
 * (ts_quantizer_stages), in their order, before the first step. The store must be sealed. Owner: ts_start_close. */
typedef struct {
    ts_graph *graph;
    ts_program *program;
    ts_value x, random, lengths; /* inputs, as of ts_training */
} ts_start;
int64_t ts_start_items(const ts_experiment *e); /* of x */
ts_status ts_start_open(ts_start *start, ts_experiment *e, int stage, ts_error *err);
void ts_start_close(ts_start *start);

/* What the schedule input holds in step `step` (from 0), when `applied` steps have changed the weights before it. */
void ts_schedule_fill(const ts_train_options *options, int64_t step, int64_t applied, float out[TS_SCHEDULE_SLOTS]);

/* Makes and seals the store alone, without gradients or optimizer state: for eval, encode, decode, inspect. */
ts_status ts_experiment_make_store(ts_experiment *e, ts_error *err);

typedef enum { TS_FORWARD, TS_FORWARD_PADDED, TS_CODES } ts_inference_kind;

/* One forward program for a batch of a given size: FORWARD x -> y, ids, losses; FORWARD_PADDED x, lengths -> the same;
 * CODES ids [batch, groups] -> y [batch, D], the codes of single tokens. Encoding and decoding are models/session.h. */
typedef struct {
    ts_graph *graph;
    ts_program *program;
    ts_value x, lengths, y, ids; /* those that the kind has; absent otherwise */
    struct {
        const char *name;
        ts_value value;
        ts_value rows; /* []: how many frames or tokens it is the mean of; absent: all of the batch */
        double weight;
    } losses[TS_MAX_TERMS];
    int loss_count;
} ts_inference;

/* ema: read the moving averages of the weights where the store has them. The store must be sealed. */
ts_status ts_inference_open(ts_inference *f, ts_experiment *e, ts_inference_kind kind, int64_t batch, bool ema,
                            ts_error *err);
/* The same for items of another length than those that the model was trained on: [T, C] with any T that it takes. */
ts_status ts_inference_open_item(ts_inference *f, ts_experiment *e, ts_inference_kind kind, int64_t batch,
                                 ts_shape item, bool ema, ts_error *err);
void ts_inference_close(ts_inference *f);

/* Encoding and decoding with the experiment's weights, `batch` items at a time; x is what the model sees. ema as
 * ts_inference_open. Owner: ts_session_free. */
ts_status ts_experiment_session(ts_experiment *e, int64_t batch, bool ema, ts_session **session, ts_error *err);

#endif
