#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/memory.h"
#include "train/checkpoint.h"
#include "train/dump.h"
#include "train/evaluate.h"
#include "train/loader.h"
#include "train/motion_pictures.h"
#include "train/programs.h"
#include "train/report.h"
#include "train/signals.h"
#include "train/steps.h"

enum { SAMPLES = 16, MOST_ROLLBACKS = 3, MOST_NOTES = 20 };

typedef struct {
    const ts_trainer_options *options;
    ts_experiment e;
    ts_training programs;
    ts_steps *steps;
    bool away; /* step state.step was given, and how it went is not known yet */
    ts_loader *loader;
    ts_report *report;
    ts_train_state state;
    double started, seconds_before; /* of this process's part; of the parts before */
    struct {
        double started;
        int64_t step;
    } window; /* since the last metrics line, evaluations and checkpoints left out */
    int64_t rollbacks_since_save;
    bool noted;       /* the clips that evaluations leave out */
    int64_t left_out; /* items of the training data that were told of */
    ts_error undrawn; /* why there was no picture of motion the last time */
    ts_step_metrics metrics;
} trainer;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static const ts_train_options *train_of(const trainer *t)
{
    return t->e.train;
}

/* From the newest checkpoint; where that is damaged, from the one before it. */
static ts_status resume(trainer *t, ts_error *err)
{
    ts_error newest = {0};
    char *last = ts_format("%s/checkpoints/last.h5", t->options->run);
    char *previous = ts_format("%s/checkpoints/last.prev.h5", t->options->run);
    ts_status status = last && previous ? TS_OK : ts_out_of_memory(err, 0);
    if (status == TS_OK) {
        status = ts_checkpoint_restore(&t->e, last, TS_RESTORE_RESUME, &t->state, &newest);
        if (status != TS_OK && access(previous, R_OK) == 0 &&
            ts_checkpoint_restore(&t->e, previous, TS_RESTORE_RESUME, &t->state, NULL) == TS_OK) {
            fprintf(stderr, "tessera: %s; going on from the one before it, step %" PRId64 "\n", newest.text,
                    t->state.step);
            status = TS_OK;
        } else if (status != TS_OK && err) {
            *err = newest;
        }
    }
    ts_free(last);
    ts_free(previous);
    return status;
}

static ts_status restore(trainer *t, ts_error *err)
{
    t->state.best = NAN;
    if (t->options->resume)
        return resume(t, err);
    if (!t->options->init_from)
        return TS_OK;
    t->state.initialised = true; /* the codebook is one that was trained */
    return ts_checkpoint_restore(&t->e, t->options->init_from, TS_RESTORE_WEIGHTS, NULL, err);
}

/* What evaluations will need, so that it does not fail after hours. */
static ts_status check_validation(ts_experiment *e, ts_error *err)
{
    if (!ts_evaluates_clips(e))
        return ts_experiment_open_data(e, TS_SPLIT_VAL, err);
    ts_clip_list clips;
    ts_status status = ts_experiment_clips(e, ts_split_name(TS_SPLIT_VAL), &clips, err);
    ts_file_list_clear(&clips.files);
    return status;
}

/* What the device is, and which kernels stand in for a library's. */
static void note_device(trainer *t)
{
    for (const char *line = t->e.device->notes; *line; line += strcspn(line, "\n") + 1)
        ts_report_note(t->report, "%.*s", (int)strcspn(line, "\n"), line);
}

static ts_status open_trainer(trainer *t, ts_config *config, ts_error *err)
{
    const ts_trainer_options *o = t->options;
    TS_TRY(ts_experiment_open(&t->e, config, o->device ? o->device : "auto", o->threads, err));
    t->e.op_by_op = o->check_nan;
    TS_TRY(ts_experiment_open_data(&t->e, TS_SPLIT_TRAIN, err));
    TS_TRY(check_validation(&t->e, err));
    TS_TRY(ts_training_open(&t->programs, &t->e, err));
    TS_TRY(ts_steps_open(&t->steps, &t->e, &t->programs, o->check_nan, err));
    TS_TRY(restore(t, err));
    TS_TRY(ts_report_open(&t->report, o->run, &t->e, o->resume, t->state.step, o->quiet, o->json, err));
    note_device(t);
    if (o->dump_start)
        TS_TRY(ts_dump_start(&t->e, o->dump_start, o->dump_batches, err));
    ts_loader_options loader = {
        .batch = train_of(t)->batch, .train = true, .seed = (uint64_t)t->e.top->seed, .first_batch = t->state.step};
    TS_TRY(ts_loader_open(&t->loader, t->e.train_data, loader, err));
    t->started = t->window.started = now();
    t->window.step = t->state.step;
    t->seconds_before = t->state.seconds;
    return TS_OK;
}

static void close_trainer(trainer *t)
{
    ts_loader_close(t->loader);
    ts_report_close(t->report);
    ts_steps_close(t->steps);
    ts_training_close(&t->programs);
    ts_experiment_close(&t->e);
}

static ts_status run_program(const trainer *t, ts_program *program, ts_error *err)
{
    return t->options->check_nan ? ts_program_run_checked(program, err) : ts_program_run(program, err);
}

static ts_status run_stage(trainer *t, const ts_batch *batch, int stage, ts_error *err)
{
    int64_t random[2] = {t->e.top->seed, 0};
    ts_start start;
    TS_TRY(ts_start_open(&start, &t->e, stage, err));
    ts_program_set(start.program, start.x, batch->data);
    if (start.lengths.graph)
        ts_program_set(start.program, start.lengths, batch->lengths);
    ts_program_set(start.program, start.random, random);
    ts_status status = run_program(t, start.program, err);
    ts_start_close(&start);
    return status;
}

static ts_status run_stages(trainer *t, const ts_batch *batch, int stages, ts_error *err)
{
    ts_store *store = t->e.store;
    for (int stage = 0; stage < stages; stage++)
        TS_TRY(run_stage(t, batch, stage, err));
    if (ts_store_has(store, TS_BLOCK_EMA)) /* the averages start where the weights do */
        t->e.device->backend->copy(t->e.device, ts_store_block(store, TS_BLOCK_EMA),
                                   ts_store_block(store, TS_BLOCK_VALUE),
                                   (size_t)ts_store_parameter_count(store) * sizeof(float));
    t->state.initialised = true;
    return TS_OK;
}

/* Of several batches at once, the first of training, by a loader of their own. */
static ts_status run_stages_of_many(trainer *t, int64_t items, int stages, ts_error *err)
{
    ts_loader *loader;
    ts_batch batch;
    if (items > t->e.train_data->count)
        return ts_fail(err, TS_ERR_USAGE,
                       "quantizer.kmeans_batches: %" PRId64
                       " items are wanted to start from, and the data set has %" PRId64 "; lower it",
                       items, t->e.train_data->count);
    ts_loader_options options = {.batch = items, .train = true, .seed = (uint64_t)t->e.top->seed, .buffers = 2};
    TS_TRY(ts_loader_open(&loader, t->e.train_data, options, err));
    ts_status status = ts_loader_next(loader, &batch, err);
    if (status == TS_OK)
        status = run_stages(t, &batch, stages, err);
    ts_loader_close(loader);
    return status;
}

/* The first batch, or as many as the quantizer asks for, decides what depends on data: codebooks that start from its
 * rows. */
static ts_status initialise(trainer *t, const ts_batch *batch, ts_error *err)
{
    int stages = ts_quantizer_stages(t->e.tokenizer.quantizer, t->e.tokenizer.quantizer_options);
    int64_t items = ts_start_items(&t->e);
    if (t->state.initialised || stages == 0)
        return TS_OK;
    return items > train_of(t)->batch / train_of(t)->accumulate ? run_stages_of_many(t, items, stages, err)
                                                                : run_stages(t, batch, stages, err);
}

static ts_status save(trainer *t, const char *name, ts_error *err)
{
    t->state.seconds = t->seconds_before + now() - t->started;
    ts_workspace_forget(t->e.workspace); /* a save holds the file in memory */
    return ts_checkpoint_save(&t->e, &t->state, ts_report_path(t->report, name), true, err);
}

static ts_status save_last(trainer *t, ts_error *err)
{
    t->rollbacks_since_save = 0;
    return save(t, "checkpoints/last.h5", err);
}

/* The step's loss or gradient is not finite. Its updates were not made (the programs see to that), so what is in memory
 * is sound: it is saved before the run stops. */
static ts_status handle_nonfinite(trainer *t, ts_error *err)
{
    int64_t step = t->state.step;
    switch (train_of(t)->on_nonfinite) {
    case TS_NONFINITE_SKIP:
        t->state.skipped++;
        ts_report_note(t->report,
                       "step %" PRId64 ": the loss (%g) or gradient norm (%g) is not finite; step skipped, %" PRId64
                       " so far",
                       step, t->metrics.loss, t->metrics.norm, t->state.skipped);
        return TS_OK;
    case TS_NONFINITE_ROLLBACK: {
        ts_train_state saved;
        if (++t->rollbacks_since_save > MOST_ROLLBACKS)
            return ts_fail(err, TS_ERR_RUNTIME,
                           "step %" PRId64 ": not finite again after %d rollbacks to the same checkpoint; "
                           "lower train.lr or set train.clip",
                           step, MOST_ROLLBACKS);
        TS_TRY(ts_checkpoint_restore(&t->e, ts_report_path(t->report, "checkpoints/last.h5"), TS_RESTORE_RESUME, &saved,
                                     err));
        t->state.applied = saved.applied;
        t->state.rolled_back++;
        ts_report_note(t->report,
                       "step %" PRId64 ": the loss (%g) or gradient norm (%g) is not finite; back to the weights of "
                       "step %" PRId64 ", on with the next batch",
                       step, t->metrics.loss, t->metrics.norm, saved.step);
        return TS_OK;
    }
    default:
        TS_TRY(save_last(t, err));
        return ts_fail(err, TS_ERR_RUNTIME,
                       "step %" PRId64 ": the loss (%g) or gradient norm (%g) is not finite; the weights "
                       "before it are in checkpoints/last.h5. --check-nan names the first such value; "
                       "train.on_nonfinite: skip goes on",
                       step, t->metrics.loss, t->metrics.norm);
    }
}

static void measure_speed(trainer *t)
{
    double seconds = now() - t->window.started;
    int64_t steps = t->state.step - t->window.step;
    t->metrics.steps_per_s = seconds > 0 ? (double)steps / seconds : 0;
    t->metrics.items_per_s = t->metrics.steps_per_s * (double)train_of(t)->batch;
    t->metrics.seconds_left =
        t->metrics.steps_per_s > 0 ? (double)(train_of(t)->steps - t->state.step) / t->metrics.steps_per_s : 0;
}

static void show_progress(trainer *t)
{
    ts_step_metrics *m = &t->metrics;
    m->step = t->state.step;
    m->skipped = t->state.skipped;
    m->rolled_back = t->state.rolled_back;
    measure_speed(t);
    ts_report_progress(t->report, m);
}

/* What follows from how step state.step went, which is known now. */
static ts_status settle(trainer *t, const ts_step_numbers *numbers, ts_error *err)
{
    ts_step_metrics *m = &t->metrics;
    t->away = false;
    m->loss = numbers->loss;
    m->norm = numbers->norm;
    m->lr = ts_schedule_at(train_of(t), t->state.step).lr;
    memcpy(m->parts, numbers->parts, sizeof m->parts);
    if (!numbers->ok) {
        ts_steps_revive(t->steps);
        TS_TRY(handle_nonfinite(t, err));
    }
    t->state.step++;
    t->state.applied += numbers->ok;
    show_progress(t);
    return TS_OK;
}

static ts_status land(trainer *t, ts_error *err)
{
    ts_step_numbers numbers;
    TS_TRY(ts_steps_receive(t->steps, t->state.step, &numbers, err));
    return settle(t, &numbers, err);
}

/* Gives the next step before asking how the one before it went, so that the device never waits. Where that one was not
 * finite, the device has left out the step behind it, and it is given again. */
static ts_status take_step(trainer *t, const ts_batch *batch, ts_error *err)
{
    int64_t step = t->state.step + t->away;
    TS_TRY(ts_steps_give(t->steps, batch, step, t->state.applied + t->away, err));
    if (t->away) {
        ts_step_numbers numbers, left_out;
        TS_TRY(ts_steps_receive(t->steps, t->state.step, &numbers, err));
        if (!numbers.ok)
            TS_TRY(ts_steps_receive(t->steps, step, &left_out, err));
        TS_TRY(settle(t, &numbers, err));
        if (!numbers.ok)
            TS_TRY(ts_steps_give(t->steps, batch, step, t->state.applied, err));
    }
    t->away = true;
    return TS_OK;
}

/* Counts since the last line, read and cleared. */
static ts_status read_usage(trainer *t, ts_error *err)
{
    const ts_variable *v = t->programs.usage;
    t->metrics.usage = (ts_usage){0};
    if (!v)
        return TS_OK;
    int64_t codes = t->e.tokenizer.info.codes;
    int64_t *counts = ts_calloc((size_t)codes, sizeof *counts);
    if (!counts)
        return ts_out_of_memory(err, (size_t)codes * sizeof *counts);
    ts_store_get(t->e.store, v, TS_BLOCK_STATE, counts);
    t->metrics.usage = ts_usage_of(counts, codes, 0);
    memset(counts, 0, (size_t)codes * sizeof *counts);
    ts_store_set(t->e.store, v, TS_BLOCK_STATE, counts);
    ts_free(counts);
    return TS_OK;
}

static bool is_better(const ts_train_options *o, double value, double best)
{
    bool larger = o->best == TS_BEST_PSNR || o->best == TS_BEST_SSIM || o->best == TS_BEST_PERPLEXITY;
    return isfinite(value) && (isnan(best) || (larger ? value > best : value < best));
}

static double metric_of(const ts_train_options *o, const ts_evaluation *v)
{
    switch (o->best) {
    case TS_BEST_LOSS:
        return v->loss;
    case TS_BEST_PSNR:
        return v->psnr;
    case TS_BEST_SSIM:
        return v->ssim;
    case TS_BEST_PERPLEXITY:
        return v->usage.perplexity;
    default:
        return v->mse;
    }
}

static ts_status draw_pictures(trainer *t, const float *originals, const float *outputs, int64_t samples,
                               const ts_evaluation *v, ts_error *err)
{
    char name[64];
    if (t->e.tokenizer.item.rank == 3) {
        snprintf(name, sizeof name, "pictures/reconstructions_%08" PRId64 ".png", t->state.step);
        TS_TRY(ts_report_reconstructions(t->report, name, originals, outputs, samples, t->e.tokenizer.item, t->e.range,
                                         err));
        TS_TRY(ts_report_show(t->report, t->state.step, "Test/reconstructions", name, err));
    }
    if (!v->counts)
        return TS_OK;
    TS_TRY(ts_report_codes(t->report, t->state.step, v->counts, v->usage.codes, err));
    snprintf(name, sizeof name, "pictures/usage_%08" PRId64 ".png", t->state.step);
    TS_TRY(ts_report_usage(t->report, name, v->counts, v->usage.codes, err));
    return ts_report_show(t->report, t->state.step, "Test/usage", name, err);
}

/* Pictures of motion are nice to have: where there are none, a note says why, once for each reason, and training goes
 * on. */
static ts_status draw_motion(trainer *t, ts_error *err)
{
    char name[64], about[64];
    ts_error why = {0};
    if (train_of(t)->picture_frames == 0 || !ts_has_motion_pictures(&t->e))
        return TS_OK;
    snprintf(name, sizeof name, "pictures/step_%06" PRId64, t->state.step);
    snprintf(about, sizeof about, "step %" PRId64, t->state.step);
    const char *stem = ts_report_path(t->report, name);
    if (!stem)
        return ts_out_of_memory(err, sizeof name);
    if (ts_motion_pictures(&t->e, train_of(t)->ema > 0, train_of(t)->picture_frames, stem, about, &why) != TS_OK) {
        if (strcmp(why.text, t->undrawn.text) != 0)
            ts_report_note(t->report, "no picture of motion: %s", why.text);
        t->undrawn = why;
        return TS_OK;
    }
    snprintf(name, sizeof name, "pictures/step_%06" PRId64 ".gif", t->state.step);
    return ts_report_show(t->report, t->state.step, "Test/motion", name, err);
}

/* How many validation images to show, with what became of them. */
static int64_t samples_of(const trainer *t)
{
    if (t->e.tokenizer.item.rank != 3)
        return 0;
    int64_t samples = t->e.val_data->count < SAMPLES ? t->e.val_data->count : SAMPLES;
    return train_of(t)->eval_limit > 0 && train_of(t)->eval_limit < samples ? train_of(t)->eval_limit : samples;
}

/* Clips that are left out are so in every evaluation: the first one names them. */
static void note_skips(trainer *t, const ts_evaluation *v)
{
    int lines = 0;
    for (const char *line = v->skips; line && *line && !t->noted && lines < MOST_NOTES; lines++) {
        int n = (int)strcspn(line, "\n");
        ts_report_note(t->report, "left out of evaluations: %.*s", n, line);
        line += n + (line[n] != '\0');
    }
    if (!t->noted && v->skipped > lines)
        ts_report_note(t->report, "left out of evaluations: %" PRId64 " more clips", v->skipped - lines);
    t->noted = true;
}

static ts_status evaluate(trainer *t, ts_error *err)
{
    int64_t samples = samples_of(t), item = ts_shape_count(t->e.tokenizer.item);
    size_t bytes = 2 * (size_t)(samples * item) * sizeof(float);
    float *pictures = ts_alloc(bytes ? bytes : 1);
    ts_evaluation v = {0};
    ts_status status;
    if (!pictures)
        return ts_out_of_memory(err, bytes);
    TS_GO(
        ts_evaluate(&t->e, TS_SPLIT_VAL, train_of(t)->ema > 0, samples, pictures, pictures + samples * item, &v, err));
    note_skips(t, &v);
    bool best = is_better(train_of(t), metric_of(train_of(t), &v), t->state.best);
    if (best) {
        t->state.best = metric_of(train_of(t), &v);
        t->state.best_step = t->state.step;
    }
    t->state.evaluations_since_best = best ? 0 : t->state.evaluations_since_best + 1;
    t->state.evaluated_step = t->state.step;
    TS_GO(ts_report_evaluation(t->report, t->state.step, TS_SPLIT_VAL, &v, best, err));
    TS_GO(draw_pictures(t, pictures, pictures + samples * item, samples, &v, err));
    TS_GO(draw_motion(t, err));
    if (best)
        TS_GO(save(t, "checkpoints/best.h5", err));
out:
    ts_evaluation_clear(&v);
    ts_free(pictures);
    return status;
}

static bool due(int64_t every, int64_t step)
{
    return every > 0 && step % every == 0;
}

/* Why the run should end before its last step, or NULL. */
static const char *reason_to_stop(const trainer *t)
{
    const ts_train_options *o = train_of(t);
    if (ts_signals_received())
        return "a signal";
    if (o->max_time > 0 && now() - t->started + t->seconds_before >= o->max_time)
        return "train.max_time is reached";
    if (o->patience > 0 && t->state.evaluations_since_best >= o->patience)
        return "train.patience: no new best";
    return NULL;
}

/* What is left out of training, told again whenever it has doubled. */
static void note_left_out(trainer *t)
{
    ts_error first;
    int64_t count = ts_dataset_skipped(t->e.train_data, &first);
    if (count == 0 || count < 2 * t->left_out)
        return;
    ts_report_note(t->report, "left out of training: %" PRId64 " so far; the first: %s", count, first.text);
    t->left_out = count;
}

/* Whether more is due behind step `step` than the next one, so that it has to be known how it went. */
static bool anything_due(const trainer *t, int64_t step)
{
    const ts_train_options *o = train_of(t);
    return step == o->steps || due(o->log_every, step) || due(o->eval_every, step) || due(o->checkpoint_every, step) ||
           t->options->check_nan;
}

static ts_status log_step(trainer *t, ts_error *err)
{
    if (!due(train_of(t)->log_every, t->state.step) && t->state.step != train_of(t)->steps)
        return TS_OK;
    TS_TRY(read_usage(t, err));
    note_left_out(t);
    TS_TRY(ts_report_step(t->report, &t->metrics, err));
    t->window.started = now();
    t->window.step = t->state.step;
    return TS_OK;
}

/* An evaluation that is due and was not made. After a signal there is none: the run leaves within a step and a save,
 * and makes it up when it is resumed. */
static ts_status evaluate_if_due(trainer *t, ts_error *err)
{
    bool is_due = due(train_of(t)->eval_every, t->state.step) || t->state.step == train_of(t)->steps;
    if (!is_due || t->state.evaluated_step == t->state.step || ts_signals_received())
        return TS_OK;
    return evaluate(t, err);
}

/* Evaluations and checkpoints are no part of the speed: the window is moved on by the time that they took. */
static ts_status housekeeping(trainer *t, bool last, ts_error *err)
{
    double start = now();
    TS_TRY(evaluate_if_due(t, err));
    if (last || due(train_of(t)->checkpoint_every, t->state.step))
        TS_TRY(save_last(t, err));
    t->window.started += now() - start;
    return TS_OK;
}

static ts_status loop(trainer *t, ts_error *err)
{
    const char *why = NULL;
    if (t->state.step == 0 && train_of(t)->on_nonfinite == TS_NONFINITE_ROLLBACK)
        TS_TRY(save_last(t, err)); /* something to roll back to */
    if (t->state.step > 0)
        TS_TRY(evaluate_if_due(t, err));
    while (t->state.step < train_of(t)->steps && !why) {
        ts_batch batch;
        TS_TRY(ts_loader_next(t->loader, &batch, err));
        TS_TRY(initialise(t, &batch, err));
        TS_TRY(take_step(t, &batch, err));
        why = reason_to_stop(t);
        if (!why && !anything_due(t, t->state.step + 1))
            continue;
        TS_TRY(land(t, err));
        TS_TRY(log_step(t, err));
        TS_TRY(housekeeping(t, why || t->state.step == train_of(t)->steps, err));
        if (!why)
            why = reason_to_stop(t);
    }
    if (why && t->state.step < train_of(t)->steps) {
        ts_report_note(t->report, "stopped at step %" PRId64 " of %" PRId64 ": %s; --resume goes on", t->state.step,
                       train_of(t)->steps, why);
        return save_last(t, err);
    }
    return TS_OK;
}

ts_status ts_train(ts_config *config, const ts_trainer_options *options, int *signal, ts_error *err)
{
    trainer t = {.options = options};
    *signal = 0;
    ts_status status = open_trainer(&t, config, err);
    if (status == TS_OK) {
        t.metrics.steps = train_of(&t)->steps;
        t.metrics.part_count = t.programs.part_count;
        for (int k = 0; k < t.programs.part_count; k++)
            t.metrics.part_names[k] = t.programs.parts[k].name;
        ts_signals_install();
        status = loop(&t, err);
        *signal = ts_signals_received();
    }
    close_trainer(&t);
    return status;
}
