/* Clips shorter than the window: a training step on a batch with padding in it is the step on its valid frames alone,
 * where the model looks at one frame at a time; and what stands in the padding is nothing to any model. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/node.h"
#include "core/files/hdf5.h"
#include "core/files/npy.h"
#include "core/memory.h"
#include "core/random.h"
#include "layers/linear.h"
#include "models/motion_conv.h"
#include "tests/train/temp_folder.h"
#include "train/checkpoint.h"
#include "train/dump.h"
#include "train/evaluate.h"
#include "train/loader.h"
#include "train/programs.h"
#include "train/trainer.h"

enum { COLUMNS = 251, WINDOW = 16, SHORT = 7, LONG = WINDOW + SHORT, BATCH = 2 };

static temp_folder padded, joined;
static ts_error err;

/* Frames of all clips, one after the other: [LONG, COLUMNS]. */
static float frames[LONG * COLUMNS];

static void write_array(const temp_folder *f, const char *name, ts_shape shape, const float *x)
{
    ts_tensor t = {TS_F32, shape, (void *)x};
    const char *path = temp_write(f, name, "", 0);
    cr_assert_eq(ts_npy_write(path, &t, &err), TS_OK, "%s", err.text);
}

static void write_tree(temp_folder *f, int clips, const int *lengths)
{
    static const float zeros[COLUMNS];
    static float ones[COLUMNS];
    char name[64], ids[256] = "";
    *f = temp_folder_make();
    for (int c = 0, first = 0; c < clips; first += lengths[c++]) {
        snprintf(name, sizeof name, "new_joint_vecs/%d.npy", c);
        write_array(f, name, ts_shape_of(lengths[c], COLUMNS), frames + first * COLUMNS);
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%d\n", c);
    }
    for (int i = 0; i < COLUMNS; i++)
        ones[i] = 1;
    write_array(f, "Mean.npy", ts_shape_of(COLUMNS), zeros);
    write_array(f, "Std.npy", ts_shape_of(COLUMNS), ones);
    temp_write(f, "train.txt", ids, strlen(ids));
    temp_write(f, "val.txt", ids, strlen(ids));
}

static void write_trees(void)
{
    for (int i = 0; i < LONG * COLUMNS; i++)
        frames[i] = ts_random_normal((ts_random_key){5, 1}, 0, (uint64_t)i);
    write_tree(&padded, 2, (int[]){WINDOW, SHORT});
    write_tree(&joined, 1, (int[]){LONG});
}

static void remove_trees(void)
{
    temp_folder_remove(&padded);
    temp_folder_remove(&joined);
}

TestSuite(train_padding, .init = write_trees, .fini = remove_trees);

/* A model that looks at one frame at a time, in the place of motion_conv. */

static ts_status pointwise_check(const void *options, ts_shape item, ts_shape *tokens, ts_error *e)
{
    (void)options, (void)e;
    *tokens = ts_shape_of(item.dim[0]);
    return TS_OK;
}

static ts_value pointwise_encode(ts_scope s, const void *options, ts_value x, int64_t width)
{
    (void)options;
    ts_value h = ts_tanh(ts_linear_layer(ts_sub(s, "first"), x, 8, true));
    return ts_linear_layer(ts_sub(s, "last"), h, width, true);
}

static ts_value pointwise_decode(ts_scope s, const void *options, ts_value codes, int64_t channels)
{
    return pointwise_encode(s, options, codes, channels);
}

static const ts_model_kind pointwise = {
    .name = "pointwise", .check = pointwise_check, .encode = pointwise_encode, .decode = pointwise_decode};

static ts_config *parse(const temp_folder *f, int window, const char *quantizer, const char *rest)
{
    char yaml[1024];
    ts_config *config;
    snprintf(yaml, sizeof yaml,
             "data: {kind: motion, path: %s, window: %d, short: pad}\n"
             "model: {kind: motion_conv, width: 8, depth: 1, down_t: 1, norm: LN}\n"
             "quantizer: {%s}\n"
             "train: {optimizer: sgd, lr: 0.05, weight_decay: 0, position_loss: 0.5, root_loss: 0.25, %s}\n",
             f->path, window, quantizer, rest);
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "test", yaml, strlen(yaml), NULL, &err), TS_OK, "%s",
                 err.text);
    return config;
}

typedef struct {
    ts_experiment e;
    ts_training t;
} rig;

static void open_rig(rig *r, ts_config *config, const ts_model_kind *model, bool data)
{
    cr_assert_eq(ts_experiment_open(&r->e, config, "cpu", 1, &err), TS_OK, "%s", err.text);
    r->e.tokenizer.model = model;
    if (data)
        cr_assert_eq(ts_experiment_open_data(&r->e, TS_SPLIT_TRAIN, &err), TS_OK, "%s", err.text);
    else
        cr_assert_eq(ts_experiment_set_item(&r->e, ts_shape_of(WINDOW, COLUMNS), TS_RANGE_SIGNED, &err), TS_OK, "%s",
                     err.text);
    cr_assert_eq(ts_training_open(&r->t, &r->e, &err), TS_OK, "%s", err.text);
}

static void close_rig(rig *r)
{
    ts_training_close(&r->t);
    ts_experiment_close(&r->e);
}

static void set_batch(ts_program *program, ts_value x, ts_value lengths, const float *host, const int32_t *of)
{
    ts_program_set(program, x, host);
    if (lengths.graph)
        ts_program_set(program, lengths, of);
}

/* One step on x; with accumulation, one micro-batch. */
static float step_on(rig *r, const float *x, const int32_t *lengths, int step)
{
    float schedule[TS_SCHEDULE_SLOTS], loss;
    ts_schedule_fill(r->e.train, step, step, schedule);
    set_batch(r->t.step, r->t.x, r->t.lengths, x, lengths);
    ts_program_set(r->t.step, r->t.schedule, schedule);
    ts_program_set(r->t.step, r->t.random, (int64_t[]){1, step});
    cr_assert_eq(ts_program_run(r->t.step, &err), TS_OK, "%s", err.text);
    ts_program_get(r->t.step, r->t.loss, &loss);
    return loss;
}

static void initialise(rig *r, const float *x, const int32_t *lengths)
{
    int stages = ts_quantizer_stages(r->e.tokenizer.quantizer, r->e.tokenizer.quantizer_options);
    for (int stage = 0; stage < stages; stage++) {
        ts_start start;
        cr_assert_eq(ts_start_open(&start, &r->e, stage, &err), TS_OK, "%s", err.text);
        set_batch(start.program, start.x, start.lengths, x, lengths);
        ts_program_set(start.program, start.random, (int64_t[]){1, 0});
        cr_assert_eq(ts_program_run(start.program, &err), TS_OK, "%s", err.text);
        ts_start_close(&start);
    }
}

/* The items of the padded tree, with `garbage` behind the frames of the short one. */
static void padded_batch(float x[BATCH * WINDOW * COLUMNS], int32_t lengths[BATCH], float garbage)
{
    memcpy(x, frames, sizeof frames);
    for (int i = LONG * COLUMNS; i < BATCH * WINDOW * COLUMNS; i++)
        x[i] = garbage * (float)(i % 7 - 3);
    lengths[0] = WINDOW;
    lengths[1] = SHORT;
}

static void *content(const rig *r, const ts_variable *v, size_t *bytes)
{
    ts_tensor t = {v->type.dtype, v->type.shape, NULL};
    *bytes = ts_tensor_bytes(&t);
    t.data = ts_alloc(*bytes);
    cr_assert_not_null(t.data);
    ts_store_get(r->e.store, v, TS_BLOCK_VALUE, t.data);
    return t.data;
}

/* Weights and the quantizer's state to rounding (0: to the last bit), counts exactly. */
static void expect_same_store(const rig *a, const rig *b, double tolerance, const char *label)
{
    cr_assert_eq(ts_store_count(a->e.store), ts_store_count(b->e.store));
    for (int i = 0; i < ts_store_count(a->e.store); i++) {
        const ts_variable *v = ts_store_at(a->e.store, i);
        size_t bytes;
        float *x = content(a, v, &bytes), *y = content(b, ts_store_find(b->e.store, v->path), &bytes);
        double largest = 1e-3;
        if (v->type.dtype != TS_F32 || tolerance == 0) {
            cr_assert_eq(memcmp(x, y, bytes), 0, "%s: %s", label, v->path);
        } else {
            for (size_t k = 0; k < bytes / sizeof *x; k++)
                largest = fmax(largest, fabs((double)y[k]));
            for (size_t k = 0; k < bytes / sizeof *x; k++)
                cr_assert(fabs((double)x[k] - (double)y[k]) <= tolerance * largest, "%s: %s: %g and %g", label, v->path,
                          (double)x[k], (double)y[k]);
        }
        ts_free(x);
        ts_free(y);
    }
}

static void expect_same_parts(const rig *a, const rig *b, const char *label)
{
    cr_assert_eq(a->t.part_count, b->t.part_count);
    cr_assert_geq(a->t.part_count, 3);
    for (int i = 0; i < a->t.part_count; i++) {
        float x, y;
        ts_program_get(a->t.step, a->t.parts[i].value, &x);
        ts_program_get(b->t.step, b->t.parts[i].value, &y);
        cr_assert_str_eq(a->t.parts[i].name, b->t.parts[i].name);
        cr_assert(fabsf(x - y) <= 1e-5f * fmaxf(y, 1e-3f), "%s: %s: %g and %g", label, a->t.parts[i].name, (double)x,
                  (double)y);
    }
}

static const char *const quantizers[] = {
    "kind: finite_scalar, levels: [4, 3]",
    "kind: finite_scalar, levels: [4, 3, 3], dim: 5",
    "kind: vector, codes: 5, dim: 4",
    "kind: vector_ema, codes: 5, dim: 4, decay: 0.8",
    "kind: vector_reset, codes: 5, dim: 4, decay: 0.8",
    "kind: vector_reset, codes: 30, dim: 4, decay: 0.8",
    "kind: vector_reset, codes: 5, dim: 4, ema: false",
    "kind: lookup_free, bits: 4, inv_temperature: 3, commitment: 0.25",
    "kind: spherical, bits: 4, group: 2, inv_temperature: 3",
    "kind: sim_vq, codes: 5, dim: 4",
    "kind: finite_scalar, levels: [4, 3], bound: symmetric, hard_clamp: true, layers: 3",
    "kind: vector, codes: 5, dim: 4, layers: 2",
    "kind: vector_ema, codes: 5, dim: 4, layers: 2, decay: 0.8",
    "kind: vector_reset, codes: 5, dim: 4, layers: 3, decay: 0.8",
    "kind: vector_reset, codes: 5, dim: 4, groups: 2, shared: true, layers: 2, decay: 0.8",
    "kind: latent, levels: [4, 3]",
    "kind: random_projection, codes: 16, dim: 4, code_dim: 3",
    "kind: scalar_perturbation, levels: [4, 3], quantize_rate: 1",
};
static const char *const losses[] = {"loss: mse", "loss: l1", "loss: smooth_l1", "loss: l1_clamped"};

static void check_pointwise(const char *quantizer, const char *loss)
{
    enum { STEPS = 4 };
    static float x[BATCH * WINDOW * COLUMNS];
    int32_t lengths[BATCH];
    char rest[64], one[64];
    rig a, b;
    snprintf(rest, sizeof rest, "batch: 2, %s", loss);
    snprintf(one, sizeof one, "batch: 1, %s", loss);
    open_rig(&a, parse(&padded, WINDOW, quantizer, rest), &pointwise, true);
    open_rig(&b, parse(&joined, LONG, quantizer, one), &pointwise, true);
    cr_assert(a.t.lengths.graph && !b.t.lengths.graph);
    padded_batch(x, lengths, 1000);
    initialise(&a, x, lengths);
    initialise(&b, frames, NULL);
    for (int step = 0; step < STEPS; step++) {
        float found = step_on(&a, x, lengths, step), wanted = step_on(&b, frames, NULL, step);
        cr_assert(fabsf(found - wanted) <= 1e-5f * wanted, "%s, %s: step %d: loss %g, wanted %g", quantizer, loss, step,
                  (double)found, (double)wanted);
        expect_same_parts(&a, &b, quantizer);
    }
    expect_same_store(&a, &b, 1e-5, quantizer);
    close_rig(&a);
    close_rig(&b);
}

Test(train_padding, a_padded_batch_trains_as_its_valid_frames)
{
    int checked = 0;
    for (size_t q = 0; q < sizeof quantizers / sizeof *quantizers; q++, checked++)
        check_pointwise(quantizers[q], losses[2]);
    for (size_t l = 0; l < sizeof losses / sizeof *losses; l++, checked++)
        check_pointwise(quantizers[4], losses[l]);
    cr_assert_geq(checked, 11);
}

/* Three steps of a model that looks at its neighbours; what is behind `from` in the second item is garbage. */
static void train_with(rig *r, const char *quantizer, int from, int32_t length, float garbage)
{
    static float x[BATCH * WINDOW * COLUMNS];
    int32_t lengths[BATCH];
    open_rig(r, parse(&padded, WINDOW, quantizer, "batch: 2, loss: l1, continuous_steps: 1"), &ts_motion_conv_kind,
             true);
    padded_batch(x, lengths, garbage);
    for (int i = (WINDOW + from) * COLUMNS; i < BATCH * WINDOW * COLUMNS; i++)
        x[i] = garbage * (float)(i % 5 - 2);
    lengths[1] = length;
    initialise(r, x, lengths);
    for (int step = 0; step < 3; step++)
        cr_assert(isfinite(step_on(r, x, lengths, step)));
}

/* To the last bit; and the seventh frame, which fills half a token only, is as good as not there. */
Test(train_padding, what_stands_behind_the_last_whole_token_is_nothing)
{
    static const struct {
        int from;
        int32_t length;
        float garbage;
    } others[] = {{SHORT, SHORT, 1e6f}, {6, SHORT, 1e6f}, {6, 6, 0}, {SHORT, 6, -1e9f}};
    for (size_t q = 0; q < sizeof quantizers / sizeof *quantizers; q++) {
        rig a;
        train_with(&a, quantizers[q], SHORT, SHORT, 0);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            rig b;
            train_with(&b, quantizers[q], others[i].from, others[i].length, others[i].garbage);
            expect_same_store(&a, &b, 0, quantizers[q]);
            close_rig(&b);
        }
        close_rig(&a);
    }
}

/* Seven frames are three tokens of two: 8 + 3 tokens count in every step. */
Test(train_padding, usage_is_of_the_tokens_that_count)
{
    rig r;
    size_t bytes;
    train_with(&r, quantizers[4], SHORT, SHORT, 0);
    int64_t *counts = content(&r, r.t.usage, &bytes), tokens = 0;
    for (size_t k = 0; k < bytes / sizeof *counts; k++)
        tokens += counts[k];
    cr_assert_eq(tokens, 3 * 11, "%d tokens", (int)tokens);
    ts_free(counts);
    close_rig(&r);
}

/* A micro-batch's loss is the mean over what counts in it, and the step's gradient the mean of theirs, as when PyTorch
 * adds up loss / accumulate: so the weights after the step are the mean of those after either half. */
Test(train_padding, accumulated_micro_batches_weigh_the_same)
{
    static float x[BATCH * WINDOW * COLUMNS];
    int32_t lengths[BATCH];
    float loss[2];
    rig both, half[2];
    padded_batch(x, lengths, 0);
    open_rig(&both, parse(&padded, WINDOW, quantizers[0], "batch: 2, accumulate: 2, momentum: 0"), &ts_motion_conv_kind,
             true);
    for (int i = 0; i < 2; i++) {
        const float *item = x + i * WINDOW * COLUMNS;
        loss[i] = step_on(&both, item, lengths + i, 0);
        open_rig(&half[i], parse(&padded, WINDOW, quantizers[0], "batch: 1, momentum: 0"), &ts_motion_conv_kind, true);
        cr_assert_eq(step_on(&half[i], item, lengths + i, 0), loss[i]);
    }
    float schedule[TS_SCHEDULE_SLOTS];
    ts_schedule_fill(both.e.train, 0, 0, schedule);
    ts_program_set(both.t.apply, both.t.apply_schedule, schedule);
    cr_assert_eq(ts_program_run(both.t.apply, &err), TS_OK, "%s", err.text);
    float *whole = ts_store_block(both.e.store, TS_BLOCK_VALUE), *a = ts_store_block(half[0].e.store, TS_BLOCK_VALUE),
          *b = ts_store_block(half[1].e.store, TS_BLOCK_VALUE);
    int64_t n = ts_store_parameter_count(both.e.store);
    cr_assert_gt(n, 1000);
    for (int64_t i = 0; i < n; i++)
        cr_assert_float_eq(whole[i], (a[i] + b[i]) / 2, 1e-6);
    close_rig(&both);
    close_rig(&half[0]);
    close_rig(&half[1]);
}

/* The trainer gives each micro-batch its own lengths: what it saves is what the programs come to by hand. */
Test(train_padding, the_trainer_hands_the_lengths_on)
{
    enum { STEPS = 3 };
    const char *rest = "batch: 2, accumulate: 2, steps: 3, eval_every: 0, eval_limit: 1";
    const char *run = temp_path(&joined, "run"), *last = temp_path(&joined, "run/checkpoints/last.h5");
    int signal;
    rig by_hand, saved = {0};
    ts_loader *loader;
    ts_trainer_options options = {.run = run, .device = "cpu", .threads = 1, .quiet = true};
    cr_assert_eq(ts_train(parse(&padded, WINDOW, quantizers[3], rest), &options, &signal, &err), TS_OK, "%s", err.text);
    open_rig(&by_hand, parse(&padded, WINDOW, quantizers[3], rest), &ts_motion_conv_kind, true);
    ts_loader_options order = {.batch = 2, .train = true, .seed = (uint64_t)by_hand.e.top->seed};
    cr_assert_eq(ts_loader_open(&loader, by_hand.e.train_data, order, &err), TS_OK, "%s", err.text);
    for (int step = 0; step < STEPS; step++) {
        ts_batch batch;
        float schedule[TS_SCHEDULE_SLOTS];
        cr_assert_eq(ts_loader_next(loader, &batch, &err), TS_OK, "%s", err.text);
        for (int i = 0; i < 2; i++)
            step_on(&by_hand, batch.data + i * WINDOW * COLUMNS, batch.lengths + i, step);
        ts_schedule_fill(by_hand.e.train, step, step, schedule);
        ts_program_set(by_hand.t.apply, by_hand.t.apply_schedule, schedule);
        cr_assert_eq(ts_program_run(by_hand.t.apply, &err), TS_OK, "%s", err.text);
    }
    ts_loader_close(loader);
    open_rig(&saved, parse(&padded, WINDOW, quantizers[3], rest), &ts_motion_conv_kind, true);
    ts_train_state state;
    cr_assert_eq(ts_checkpoint_restore(&saved.e, last, TS_RESTORE_RESUME, &state, &err), TS_OK, "%s", err.text);
    cr_assert_eq(state.step, STEPS);
    for (int i = 0; i < ts_store_count(saved.e.store); i++) {
        const ts_variable *v = ts_store_at(saved.e.store, i);
        if (strcmp(v->path, "trainer.usage") == 0) { /* of the last line of metrics */
            size_t bytes;
            void *counts = content(&saved, v, &bytes);
            ts_store_set(by_hand.e.store, ts_store_find(by_hand.e.store, v->path), TS_BLOCK_STATE, counts);
            ts_free(counts);
        }
    }
    expect_same_store(&saved, &by_hand, 0, "the trainer");
    close_rig(&saved);
    close_rig(&by_hand);
}

/* While z passes unquantized, tokens that do not count are 0 to the decoder all the same. */
Test(train_padding, a_continuous_step_has_no_tokens_in_the_padding)
{
    static float x[BATCH * WINDOW * COLUMNS], continuous[BATCH * WINDOW * COLUMNS], quantized[BATCH * WINDOW * COLUMNS];
    int32_t lengths[BATCH];
    rig r;
    open_rig(&r, parse(&padded, WINDOW, quantizers[0], "batch: 2, continuous_steps: 1"), &pointwise, true);
    for (int64_t i = 0; i < ts_store_parameter_count(r.e.store); i++)
        ((float *)ts_store_block(r.e.store, TS_BLOCK_VALUE))[i] += 0.25f; /* the encoder of 0 is not 0 */
    float schedule[TS_SCHEDULE_SLOTS];
    padded_batch(x, lengths, 1);
    for (int step = 0; step < 2; step++) {
        ts_schedule_fill(r.e.train, step, step, schedule);
        schedule[0] = 0; /* the learning rate */
        set_batch(r.t.step, r.t.x, r.t.lengths, x, lengths);
        ts_program_set(r.t.step, r.t.schedule, schedule);
        ts_program_set(r.t.step, r.t.random, (int64_t[]){1, step});
        cr_assert_eq(ts_program_run(r.t.step, &err), TS_OK, "%s", err.text);
        ts_program_get(r.t.step, r.t.y, step ? quantized : continuous);
    }
    size_t valid = (size_t)LONG * COLUMNS;
    cr_assert_arr_eq(continuous + valid, quantized + valid, sizeof x - valid * sizeof *x);
    cr_assert_arr_neq(continuous, quantized, valid * sizeof *x);
    close_rig(&r);
}

static void expect_near(double found, double wanted, const char *what)
{
    cr_expect(fabs(found - wanted) <= 1e-5 * fabs(wanted), "%s: %.9g, wanted %.9g", what, found, wanted);
}

static void expect_same_evaluation(const ts_evaluation *a, const ts_evaluation *b)
{
    expect_near(a->loss, b->loss, "loss");
    expect_near(a->mse, b->mse, "mse");
    expect_near(a->l1, b->l1, "l1");
    expect_near(a->recon, b->recon, "recon");
    expect_near(a->motion.mpjpe_mm, b->motion.mpjpe_mm, "mpjpe");
    expect_near(a->motion.acceleration_mm_per_frame2, b->motion.acceleration_mm_per_frame2, "acceleration");
    cr_assert_eq(a->frames, b->frames);
    cr_assert_eq(a->part_count, b->part_count);
    for (int i = 0; i < a->part_count; i++)
        expect_near(a->parts[i], b->parts[i], a->part_names[i]);
    cr_assert_eq(a->usage.tokens, b->usage.tokens);
    cr_assert_arr_eq(a->counts, b->counts, (size_t)a->usage.codes * sizeof *a->counts);
}

/* Windows with padding, in batches of any size, are evaluated as the clips in them, each alone. */
Test(train_padding, an_evaluation_is_of_the_valid_frames)
{
    static const char *const batches[] = {"batch: 2", "batch: 2, eval_batch: 1"};
    static const char *const evaluated[] = {"kind: finite_scalar, levels: [4, 3]", "kind: vector, codes: 5, dim: 4",
                                            "kind: vector_ema, codes: 5, dim: 4", "kind: lookup_free, bits: 3",
                                            "kind: sim_vq, codes: 5, dim: 4"};
    for (int q = 0; q < 5; q++)
        for (int i = 0; i < 2; i++) {
            char rest[96];
            ts_evaluation windows, clips;
            rig r;
            for (int by_clips = 0; by_clips < 2; by_clips++) {
                snprintf(rest, sizeof rest, "%s, eval_clips: %s", batches[i], by_clips ? "true" : "false");
                open_rig(&r, parse(&padded, WINDOW, evaluated[q], rest), &pointwise, true);
                cr_assert_eq(ts_evaluate(&r.e, TS_SPLIT_VAL, false, 0, NULL, NULL, by_clips ? &clips : &windows, &err),
                             TS_OK, "%s", err.text);
                close_rig(&r);
            }
            cr_assert(windows.frames == LONG && windows.usage.tokens == LONG && clips.clips == 2);
            expect_same_evaluation(&windows, &clips);
            ts_evaluation_clear(&windows);
            ts_evaluation_clear(&clips);
        }
}

/* A difference of frames counts in its own mean, and half a token in none. */
Test(train_padding, an_evaluation_does_not_depend_on_its_batches)
{
    ts_evaluation v[2];
    for (int i = 0; i < 2; i++) {
        rig r;
        open_rig(&r,
                 parse(&padded, WINDOW, quantizers[2],
                       i ? "batch: 2, eval_batch: 1, eval_clips: false, velocity_loss: 1, acceleration_loss: 1"
                         : "batch: 2, eval_clips: false, velocity_loss: 1, acceleration_loss: 1"),
                 &ts_motion_conv_kind, true);
        cr_assert_eq(ts_evaluate(&r.e, TS_SPLIT_VAL, false, 0, NULL, NULL, &v[i], &err), TS_OK, "%s", err.text);
        close_rig(&r);
    }
    cr_assert(v[0].frames == LONG - 1 && v[0].usage.tokens == 11 && v[0].part_count == 6);
    expect_same_evaluation(&v[0], &v[1]);
    ts_evaluation_clear(&v[0]);
    ts_evaluation_clear(&v[1]);
}

/* Without a short clip the graph is the one that it always was; before the data are read, the option decides. */
Test(train_padding, lengths_are_there_where_they_are_needed)
{
    rig r, plain, unread;
    int32_t nodes[2];
    for (int i = 0; i < 2; i++) {
        ts_config *config = parse(&joined, WINDOW, quantizers[4], "batch: 1");
        cr_assert_eq(ts_config_override(config, i ? "data.short=skip" : "data.short=pad", &err), TS_OK, "%s", err.text);
        open_rig(&plain, config, &ts_motion_conv_kind, true);
        cr_assert_not(ts_present(ts_program_find(plain.t.step, "lengths")));
        nodes[i] = plain.t.graph->node_count;
        close_rig(&plain);
    }
    cr_assert_eq(nodes[0], nodes[1]);
    open_rig(&r, parse(&padded, WINDOW, quantizers[4], "batch: 1"), &ts_motion_conv_kind, true);
    open_rig(&unread, parse(&joined, WINDOW, quantizers[4], "batch: 1"), &ts_motion_conv_kind, false);
    ts_start start;
    cr_assert_eq(ts_start_open(&start, &r.e, 0, &err), TS_OK, "%s", err.text);
    cr_assert(ts_present(ts_program_find(r.t.step, "lengths")) &&
              ts_present(ts_program_find(start.program, "lengths")));
    ts_start_close(&start);
    cr_assert(ts_present(ts_program_find(unread.t.step, "lengths")));
    cr_assert_gt(r.t.graph->node_count, nodes[0]);
    close_rig(&r);
    close_rig(&unread);
}

Test(train_padding, the_dump_has_the_lengths)
{
    rig r;
    ts_h5 *file;
    ts_arena arena = {0};
    ts_tensor lengths;
    const char *path = temp_path(&padded, "start.h5");
    open_rig(&r, parse(&padded, WINDOW, quantizers[0], "batch: 2"), &ts_motion_conv_kind, true);
    cr_assert_eq(ts_dump_start(&r.e, path, 1, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_open(&file, path, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read(file, "lengths/0", &arena, &lengths, &err), TS_OK, "%s", err.text);
    const int32_t *n = lengths.data;
    cr_assert(lengths.dtype == TS_I32 && ts_shape_equal(lengths.shape, ts_shape_of(2)));
    cr_assert(n[0] + n[1] == LONG && (n[0] == SHORT || n[1] == SHORT), "%d %d", n[0], n[1]);
    ts_arena_clear(&arena);
    ts_h5_close(file);
    close_rig(&r);
}
