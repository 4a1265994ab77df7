#include "train/programs.h"

#include <math.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/fold.h"
#include "autograd/fuse.h"
#include "autograd/node.h"
#include "autograd/ops.h"
#include "autograd/precision.h"
#include "core/memory.h"

/* What changes from step to step is one small input, f32 [SLOTS]. */
enum { SLOT_LR, SLOT_CODEBOOK_LR, SLOT_CORRECTION1, SLOT_CORRECTION2, SLOT_CONTINUOUS, SLOT_COMMITMENT };

static ts_scope root_scope(ts_experiment *e, ts_graph *g, ts_mode mode, int block, ts_value random)
{
    return (ts_scope){.graph = g, .store = e->store, .path = "", .mode = mode, .block = block, .random = random};
}

static ts_shape batch_of(ts_shape item, int64_t batch)
{
    ts_shape shape = {.rank = item.rank + 1, .dim = {batch}};
    for (int i = 0; i < item.rank; i++)
        shape.dim[i + 1] = item.dim[i];
    return shape;
}

static ts_value slot(ts_value schedule, int i)
{
    return ts_reshape(ts_slice(schedule, 0, i, 1), ts_shape_of());
}

/* What counts of a batch; all absent where every item is full. */
typedef struct {
    ts_value lengths; /* [B] i32, an input: frames of each item */
    ts_value frames;  /* [B, T] 1 or 0 */
    ts_value tokens;  /* [B, N] 1 or 0 */
} padding;

static const padding no_padding = {.lengths = {NULL, -1}, .frames = {NULL, -1}, .tokens = {NULL, -1}};

static padding padding_of(const ts_tokenizer *t, ts_graph *g, int64_t batch)
{
    ts_shape item = t->item, tokens = t->tokens;
    padding p = {.lengths = ts_input(g, "lengths", TS_I32, ts_shape_of(batch))};
    if (item.rank != 2 || tokens.rank != 1 || item.dim[0] % tokens.dim[0]) {
        p.frames = p.tokens = ts_build_fail(
            g, "padding", "items are %s and their tokens %s, expected frames [T, C] in tokens [N] of T/N frames each",
            ts_shape_print(item).text, ts_shape_print(tokens).text);
        return p;
    }
    int64_t size = item.dim[0] / tokens.dim[0];
    p.tokens = ts_length_mask(p.lengths, tokens.dim[0], size);
    ts_value column = ts_reshape(p.tokens, ts_shape_of(batch, tokens.dim[0], 1));
    p.frames =
        ts_reshape(ts_broadcast(column, ts_shape_of(batch, tokens.dim[0], size)), ts_shape_of(batch, item.dim[0]));
    return p;
}

static ts_value smooth_l1(ts_value y, ts_value x, ts_value mask)
{
    return ts_smooth_l1_masked(y, x, 1, mask);
}

static ts_value reconstruction(const ts_experiment *e, ts_value y, ts_value x, ts_value mask)
{
    float low = ts_range_low(e->range);
    switch (e->train->loss) {
    case TS_LOSS_L1:
        return ts_l1_masked(y, x, mask);
    case TS_LOSS_SMOOTH_L1:
        return smooth_l1(y, x, mask);
    case TS_LOSS_L1_CLAMPED:
        return ts_l1_masked(ts_clamp(y, (double)low, (double)(low + ts_range_width(e->range))), x, mask);
    default:
        return ts_mse_masked(y, x, mask);
    }
}

static void add_part(ts_training *t, const char *name, ts_value value)
{
    ts_output(value, name);
    t->parts[t->part_count].name = name;
    t->parts[t->part_count++].value = value;
}

/* The terms of motion, of the same kind as the reconstruction; there are none for other items (ts_experiment_set_item
 * has checked that none are asked for). */
static ts_motion_losses motion_losses(const ts_experiment *e, ts_value y, ts_value x, ts_value mask)
{
    ts_motion_losses losses = {0};
    const ts_motion_layout *layout = ts_experiment_motion_layout(e);
    if (layout)
        ts_motion_losses_build(&losses, &e->train->motion, layout,
                               e->train->loss == TS_LOSS_MSE         ? ts_mse_masked
                               : e->train->loss == TS_LOSS_SMOOTH_L1 ? smooth_l1
                                                                     : ts_l1_masked,
                               y, x, mask);
    return losses;
}

/* loss_scale * reconstruction + the terms of motion + the quantizer's losses, the commitment's weight as the schedule
 * has it */
static ts_value total_loss(ts_training *t, const ts_experiment *e, const ts_tokenized *f, ts_value x, ts_value mask)
{
    ts_value recon = reconstruction(e, f->y, x, mask);
    ts_value total = ts_scale(recon, e->train->loss_scale);
    add_part(t, "recon", recon);
    ts_motion_losses motion = motion_losses(e, f->y, x, mask);
    for (int i = 0; i < motion.count; i++) {
        total = ts_add(total, ts_scale(motion.term[i].value, motion.term[i].weight));
        add_part(t, motion.term[i].name, motion.term[i].value);
    }
    for (int i = 0; i < f->q.loss_count; i++) {
        ts_value term = ts_scale(f->q.losses[i].value, f->q.losses[i].weight);
        if (strcmp(f->q.losses[i].name, "commitment") == 0)
            term = ts_mul(term, slot(t->schedule, SLOT_COMMITMENT));
        total = ts_add(total, term);
        add_part(t, f->q.losses[i].name, f->q.losses[i].value);
    }
    return total;
}

/* The forward half of `step`; it adds every variable to the store. */
static void build_forward(ts_training *t, ts_experiment *e, ts_quantized *q)
{
    ts_graph *g = t->graph;
    int64_t batch = e->train->batch / e->train->accumulate;
    t->x = ts_input(g, "x", TS_F32, batch_of(e->tokenizer.item, batch));
    t->schedule = ts_input(g, "schedule", TS_F32, ts_shape_of(TS_SCHEDULE_SLOTS));
    t->random = ts_input(g, "random", TS_I64, ts_shape_of(2));
    ts_scope s = root_scope(e, g, TS_TRAIN, TS_BLOCK_VALUE, t->random);
    s.live = ts_transient(ts_sub(s, "trainer"), "live", TS_F32, ts_shape_of(), TS_ONES);
    padding p = ts_experiment_pads(e) ? padding_of(&e->tokenizer, g, batch) : no_padding;
    t->lengths = p.lengths;
    s.mask = p.tokens;
    ts_value x = ts_mask_rows(t->x, p.frames);
    ts_value continuous = e->train->continuous_steps ? slot(t->schedule, SLOT_CONTINUOUS) : TS_ABSENT;
    ts_tokenized f = ts_tokenizer_forward(s, &e->tokenizer, x, continuous);
    *q = f.q;
    t->y = f.y;
    t->ids = f.q.ids;
    ts_graph_set_path(g, "loss");
    t->loss = total_loss(t, e, &f, x, p.frames);
    ts_output(t->loss, "loss");
    ts_output(t->y, "y");
    ts_output(t->ids, "ids");
    if (t->ids.graph)
        ts_state(ts_sub(s, "trainer"), "usage", TS_I64, ts_shape_of(e->tokenizer.info.codes), TS_ZEROS);
    if (e->train->accumulate > 1)
        for (int i = 0; i < q->statistic_count; i++) {
            ts_type type = ts_type_of(q->statistics[i].value);
            ts_state(ts_sub(s, "trainer"), q->statistics[i].name, type.dtype, type.shape, TS_ZEROS);
        }
}

static ts_status seal(ts_experiment *e, ts_error *err)
{
    for (int i = 0; i < e->train->freeze.count; i++)
        if (ts_store_freeze(e->store, e->train->freeze.value[i]) == 0)
            return ts_fail(err, TS_ERR_USAGE,
                           "train.freeze: no parameter's path starts with '%s'; `tessera plan` lists them",
                           e->train->freeze.value[i]);
    return ts_store_seal(e->store, e->device, (uint64_t)e->top->seed, err);
}

/* What the config makes of a graph that is built: before it is differentiated, or planned. */
static void transform(ts_graph *g, const ts_experiment *e)
{
    if (e->train->fold)
        ts_fold_upsampling(g);
    if (e->train->precision == TS_PRECISION_BF16)
        ts_round_products(g);
}

/* The program of a graph that is complete. */
static ts_status open_program(ts_graph *g, const ts_experiment *e, ts_program **program, ts_error *err)
{
    if (e->train->fuse && !e->op_by_op)
        ts_fuse(g);
    return ts_program_new(g, e->workspace, program, err);
}

/* Gradients of all trainable parameters, into their places: bound to the gradient block, or added up in it. */
static void build_gradients(ts_training *t, ts_experiment *e)
{
    int count = ts_store_count(e->store), trainable = 0;
    ts_value *wrt = ts_calloc(2 * (size_t)count, sizeof *wrt);
    const ts_variable **variable = ts_calloc((size_t)count, sizeof *variable);
    if (!wrt || !variable) {
        ts_build_out_of_memory(t->graph);
        ts_free(variable);
        ts_free(wrt);
        return;
    }
    ts_value *gradient = wrt + count;
    for (int32_t v = 0; v < t->graph->value_count; v++) {
        const ts_value_info *info = &t->graph->values[v];
        if (info->kind == TS_KIND_PLACE && info->variable && info->variable->role != TS_ROLE_STATE &&
            !info->variable->frozen) {
            variable[trainable] = info->variable;
            wrt[trainable++] = ts_value_at(t->graph, v);
        }
    }
    ts_differentiate(t->loss, trainable, wrt, gradient);
    for (int i = 0; i < trainable; i++) {
        if (!ts_present(gradient[i]))
            continue; /* its place in the block stays 0 */
        if (e->train->accumulate == 1)
            ts_bind(gradient[i], e->store, variable[i], TS_BLOCK_GRAD);
        else
            ts_assign_add(ts_variable_value(t->graph, e->store, variable[i], TS_BLOCK_GRAD), gradient[i], TS_ABSENT);
    }
    ts_free(variable);
    ts_free(wrt);
}

typedef struct {
    ts_value lr, corrections, scale, ok;
} update;

/* One optimizer op per role, over the role's slice of the blocks. */
static void update_role(ts_experiment *e, ts_graph *g, const update *u, ts_role role, ts_value lr)
{
    const ts_train_options *o = e->train;
    int64_t first, count;
    if (!ts_store_group(e->store, role, &first, &count))
        return;
    double decay = role == TS_ROLE_WEIGHT || o->decay == TS_DECAY_ALL ? o->weight_decay : 0;
    ts_value value = ts_block_value(g, e->store, TS_BLOCK_VALUE, first, count);
    ts_value grad = ts_block_value(g, e->store, TS_BLOCK_GRAD, first, count);
    ts_value m = ts_block_value(g, e->store, TS_BLOCK_M, first, count);
    if (o->optimizer == TS_OPTIMIZER_SGD) {
        ts_sgd(value, m, grad, lr, u->scale, u->ok,
               (ts_sgd_opts){.momentum = o->momentum, .weight_decay = decay, .nesterov = o->nesterov});
        return;
    }
    ts_adamw_operands operands = {.value = value,
                                  .m = m,
                                  .v = ts_block_value(g, e->store, TS_BLOCK_V, first, count),
                                  .grad = grad,
                                  .lr = lr,
                                  .corrections = u->corrections,
                                  .grad_scale = u->scale,
                                  .ok = u->ok};
    ts_adamw(&operands, (ts_adamw_opts){.beta1 = o->beta1,
                                        .beta2 = o->beta2,
                                        .eps = o->epsilon,
                                        .weight_decay = decay,
                                        .coupled = o->optimizer == TS_OPTIMIZER_ADAM});
}

/* The updating half: norm, guard, optimizer, moving average, quantizer. `loss` may be absent (in `apply`). */
static void build_update(ts_training *t, ts_experiment *e, ts_graph *g, ts_value schedule, ts_value loss,
                         const ts_value *statistics, int statistic_count)
{
    const ts_train_options *o = e->train;
    int64_t trainable = ts_store_trainable_count(e->store);
    ts_graph_set_path(g, "update");
    ts_value gradient = ts_block_value(g, e->store, TS_BLOCK_GRAD, 0, trainable);
    ts_value norm = ts_scale(ts_global_norm(gradient), 1 / (double)o->accumulate);
    t->norm = norm;
    ts_value live = ts_variable_value(g, e->store, t->live, TS_BLOCK_STATE);
    t->ok = ts_mul(ts_all_finite((ts_value[]){norm, loss}, loss.graph ? 2 : 1), live);
    ts_assign(live, t->ok, TS_ABSENT);
    ts_output(t->norm, "norm");
    ts_output(t->ok, "ok");
    update u = {.lr = slot(schedule, SLOT_LR), .corrections = ts_slice(schedule, 0, SLOT_CORRECTION1, 2), .ok = t->ok};
    u.scale = ts_scalar(g, 1 / (double)o->accumulate);
    if (o->clip > 0) /* torch.nn.utils.clip_grad_norm_: min(1, clip / (norm + 1e-6)) */
        u.scale = ts_mul(u.scale, ts_minimum(ts_scalar(g, 1), ts_div(ts_scalar(g, o->clip), ts_affine(norm, 1, 1e-6))));
    for (int role = 0; role < TS_ROLE_COUNT; role++)
        update_role(e, g, &u, (ts_role)role, role == TS_ROLE_CODEBOOK ? slot(schedule, SLOT_CODEBOOK_LR) : u.lr);
    if (o->ema > 0)
        ts_ema(ts_block_value(g, e->store, TS_BLOCK_EMA, 0, trainable),
               ts_block_value(g, e->store, TS_BLOCK_VALUE, 0, trainable), t->ok, o->ema);
    ts_scope s = root_scope(e, g, TS_TRAIN, TS_BLOCK_VALUE, TS_ABSENT);
    ts_quantizer_update(e->tokenizer.quantizer, ts_sub(s, "quantizer"), e->tokenizer.quantizer_options, statistics,
                        statistic_count, t->ok);
}

/* Scalars one behind the other, [count]. */
static ts_value row_of(const ts_value *x, int count)
{
    ts_value item[TS_MAX_NUMBERS];
    _Static_assert(TS_MAX_NUMBERS < 2 * TS_MAX_IN, "two concatenations are enough");
    for (int i = 0; i < count; i++)
        item[i] = ts_reshape(x[i], ts_shape_of(1));
    if (count <= TS_MAX_IN)
        return ts_concat(item, count, 0);
    item[TS_MAX_IN - 1] = ts_concat(item + TS_MAX_IN - 1, count - TS_MAX_IN + 1, 0);
    return ts_concat(item, TS_MAX_IN, 0);
}

/* What the host reads of each run. */
static void gather_numbers(ts_training *t, bool applies)
{
    ts_value x[TS_MAX_NUMBERS];
    ts_graph_set_path(t->graph, "numbers");
    x[t->number_count++] = t->loss;
    for (int i = 0; i < t->part_count; i++)
        x[t->number_count++] = t->parts[i].value;
    if (applies) {
        x[t->number_count++] = t->norm;
        x[t->number_count++] = t->ok;
    }
    t->numbers = row_of(x, t->number_count);
    ts_output(t->numbers, "numbers");
}

static void count_codes(ts_training *t, ts_experiment *e, ts_value ok)
{
    if (!t->usage)
        return;
    ts_value counts = ts_count(t->ids, e->tokenizer.info.codes);
    ts_assign_add(ts_variable_value(t->graph, e->store, t->usage, TS_BLOCK_STATE), counts, ok);
}

static ts_value statistic_place(ts_experiment *e, ts_graph *g, const char *name)
{
    ts_scope s = root_scope(e, g, TS_TRAIN, TS_BLOCK_VALUE, TS_ABSENT);
    const ts_variable *v = ts_store_find(e->store, ts_scope_path(ts_sub(s, "trainer"), name));
    return ts_variable_value(g, e->store, v, TS_BLOCK_STATE);
}

/* With accumulation the statistics are added up beside the gradients; `apply` uses both and clears them. */
static void accumulate_statistics(ts_training *t, ts_experiment *e, const ts_quantized *q)
{
    for (int i = 0; i < q->statistic_count; i++) {
        ts_value place = statistic_place(e, t->graph, q->statistics[i].name);
        (q->statistics[i].sum ? ts_assign_add : ts_assign)(place, q->statistics[i].value, TS_ABSENT);
    }
}

static void clear_place(ts_graph *g, ts_value place)
{
    ts_type type = ts_type_of(place);
    ts_assign(place, ts_broadcast(ts_cast(ts_scalar(g, 0), type.dtype), type.shape), TS_ABSENT);
}

static void build_apply(ts_training *t, ts_experiment *e, const ts_quantized *q)
{
    ts_graph *g = t->apply_graph;
    ts_value statistics[TS_MAX_STATISTICS];
    t->apply_schedule = ts_input(g, "schedule", TS_F32, ts_shape_of(TS_SCHEDULE_SLOTS));
    for (int i = 0; i < q->statistic_count; i++)
        statistics[i] = statistic_place(e, g, q->statistics[i].name);
    build_update(t, e, g, t->apply_schedule, TS_ABSENT, statistics, q->statistic_count);
    clear_place(g, ts_block_value(g, e->store, TS_BLOCK_GRAD, 0, ts_store_trainable_count(e->store)));
    for (int i = 0; i < q->statistic_count; i++)
        clear_place(g, statistics[i]);
    t->apply_numbers = row_of((ts_value[]){t->norm, t->ok}, 2);
    ts_output(t->apply_numbers, "numbers");
}

static ts_status need_blocks(ts_experiment *e, ts_error *err)
{
    TS_TRY(ts_store_need(e->store, TS_BLOCK_GRAD, err));
    TS_TRY(ts_store_need(e->store, TS_BLOCK_M, err));
    if (e->train->optimizer != TS_OPTIMIZER_SGD)
        TS_TRY(ts_store_need(e->store, TS_BLOCK_V, err));
    return e->train->ema > 0 ? ts_store_need(e->store, TS_BLOCK_EMA, err) : TS_OK;
}

static ts_status build_training(ts_training *t, ts_experiment *e, ts_error *err)
{
    ts_quantized q;
    build_forward(t, e, &q);
    TS_TRY(ts_graph_check(t->graph, err));
    TS_TRY(seal(e, err));
    TS_TRY(need_blocks(e, err));
    t->usage = ts_store_find(e->store, "trainer.usage");
    t->live = ts_store_find(e->store, "trainer.live");
    transform(t->graph, e);
    build_gradients(t, e);
    if (e->train->accumulate == 1) {
        ts_value statistics[TS_MAX_STATISTICS];
        for (int i = 0; i < q.statistic_count; i++)
            statistics[i] = q.statistics[i].value;
        build_update(t, e, t->graph, t->schedule, t->loss, statistics, q.statistic_count);
        count_codes(t, e, t->ok);
        gather_numbers(t, true);
    } else {
        accumulate_statistics(t, e, &q);
        count_codes(t, e, ts_variable_value(t->graph, e->store, t->live, TS_BLOCK_STATE));
        gather_numbers(t, false);
        if (!(t->apply_graph = ts_graph_new(TS_F32)))
            return ts_out_of_memory(err, 0);
        build_apply(t, e, &q);
        TS_TRY(open_program(t->apply_graph, e, &t->apply, err));
    }
    return open_program(t->graph, e, &t->step, err);
}

ts_status ts_training_open(ts_training *t, ts_experiment *e, ts_error *err)
{
    *t = (ts_training){.graph = ts_graph_new(TS_F32)};
    ts_status status = t->graph ? build_training(t, e, err) : ts_out_of_memory(err, 0);
    if (status != TS_OK)
        ts_training_close(t);
    return status;
}

void ts_training_close(ts_training *t)
{
    ts_program_free(t->step);
    ts_program_free(t->apply);
    ts_graph_free(t->graph);
    ts_graph_free(t->apply_graph);
    *t = (ts_training){0};
}

/* ---- what the first batch decides ---- */

int64_t ts_start_items(const ts_experiment *e)
{
    int64_t batches = e->tokenizer.info.init_batches, batch = e->train->batch / e->train->accumulate;
    return batches > 1 ? batch * batches : batch;
}

static ts_status build_start(ts_start *start, ts_experiment *e, int stage, ts_error *err)
{
    int64_t batch = ts_start_items(e);
    start->x = ts_input(start->graph, "x", TS_F32, batch_of(e->tokenizer.item, batch));
    start->random = ts_input(start->graph, "random", TS_I64, ts_shape_of(2));
    padding p = ts_experiment_pads(e) ? padding_of(&e->tokenizer, start->graph, batch) : no_padding;
    start->lengths = p.lengths;
    ts_scope s = root_scope(e, start->graph, TS_TRAIN, TS_BLOCK_VALUE, start->random);
    s.mask = p.tokens;
    ts_tokenizer_init(s, &e->tokenizer, ts_mask_rows(start->x, p.frames), stage);
    transform(start->graph, e);
    return open_program(start->graph, e, &start->program, err);
}

ts_status ts_start_open(ts_start *start, ts_experiment *e, int stage, ts_error *err)
{
    *start = (ts_start){.graph = ts_graph_new(TS_F32)};
    ts_status status = start->graph ? build_start(start, e, stage, err) : ts_out_of_memory(err, 0);
    if (status != TS_OK)
        ts_start_close(start);
    return status;
}

void ts_start_close(ts_start *start)
{
    ts_program_free(start->program);
    ts_graph_free(start->graph);
    *start = (ts_start){0};
}

void ts_schedule_fill(const ts_train_options *o, int64_t step, int64_t applied, float out[TS_SCHEDULE_SLOTS])
{
    ts_schedule_values v = ts_schedule_at(o, step);
    double t = (double)applied + 1;
    out[SLOT_LR] = (float)v.lr;
    out[SLOT_CODEBOOK_LR] = (float)(v.lr * o->codebook_lr);
    out[SLOT_CORRECTION1] = (float)(1 - pow(o->beta1, t));
    out[SLOT_CORRECTION2] = (float)(1 - pow(o->beta2, t));
    out[SLOT_CONTINUOUS] = v.continuous ? 1 : 0;
    out[SLOT_COMMITMENT] = (float)v.commitment;
}

ts_status ts_experiment_make_store(ts_experiment *e, ts_error *err)
{
    TS_TRY(ts_tokenizer_variables(&e->tokenizer, e->store, err));
    return seal(e, err);
}

static void add_loss(ts_inference *f, const char *name, ts_value value, ts_value rows, double weight)
{
    if (rows.graph)
        ts_output(rows, "rows");
    f->losses[f->loss_count].name = name;
    f->losses[f->loss_count].value = value;
    f->losses[f->loss_count].rows = rows;
    f->losses[f->loss_count++].weight = weight;
    ts_output(value, name);
}

/* Through all of it, with the losses. */
static void build_losses(ts_inference *f, ts_experiment *e, const ts_tokenizer *t, ts_scope s, padding p)
{
    ts_value x = ts_mask_rows(f->x, p.frames), tokens = p.tokens.graph ? ts_sum_all(p.tokens) : TS_ABSENT;
    s.mask = p.tokens;
    ts_tokenized r = ts_tokenizer_forward(s, t, x, TS_ABSENT);
    f->lengths = p.lengths;
    f->ids = r.q.ids;
    f->y = r.y;
    ts_output(f->y, "y");
    for (int i = 0; i < r.q.loss_count; i++)
        add_loss(f, r.q.losses[i].name, r.q.losses[i].value, tokens, r.q.losses[i].weight);
    ts_motion_losses motion = motion_losses(e, f->y, x, p.frames);
    for (int i = 0; i < motion.count; i++)
        add_loss(f, motion.term[i].name, motion.term[i].value, motion.term[i].rows, motion.term[i].weight);
}

static void build_inference(ts_inference *f, ts_experiment *e, const ts_tokenizer *t, ts_inference_kind kind,
                            int64_t batch, bool ema)
{
    int block = ema && ts_store_has(e->store, TS_BLOCK_EMA) ? TS_BLOCK_EMA : TS_BLOCK_VALUE;
    ts_scope s = root_scope(e, f->graph, TS_EVAL, block, TS_ABSENT);
    if (kind == TS_CODES) {
        f->ids = ts_input(f->graph, "ids", TS_I32, ts_shape_of(batch, t->info.groups));
        f->y = ts_tokenizer_codes(s, t, f->ids);
        ts_output(f->y, "y");
        return;
    }
    f->x = ts_input(f->graph, "x", TS_F32, batch_of(t->item, batch));
    build_losses(f, e, t, s, kind == TS_FORWARD_PADDED ? padding_of(t, f->graph, batch) : no_padding);
    ts_output(f->ids, "ids");
}

ts_status ts_inference_open(ts_inference *f, ts_experiment *e, ts_inference_kind kind, int64_t batch, bool ema,
                            ts_error *err)
{
    return ts_inference_open_item(f, e, kind, batch, e->tokenizer.item, ema, err);
}

ts_status ts_inference_open_item(ts_inference *f, ts_experiment *e, ts_inference_kind kind, int64_t batch,
                                 ts_shape item, bool ema, ts_error *err)
{
    ts_tokenizer tokenizer = e->tokenizer;
    tokenizer.item = item;
    *f = (ts_inference){.x = TS_ABSENT, .lengths = TS_ABSENT, .y = TS_ABSENT, .ids = TS_ABSENT};
    TS_TRY(ts_tokenizer_check(&tokenizer, err));
    if (!(f->graph = ts_graph_new(TS_F32)))
        return ts_out_of_memory(err, 0);
    build_inference(f, e, &tokenizer, kind, batch, ema);
    transform(f->graph, e);
    ts_status status = open_program(f->graph, e, &f->program, err);
    if (status != TS_OK)
        ts_inference_close(f);
    return status;
}

void ts_inference_close(ts_inference *f)
{
    ts_program_free(f->program);
    ts_graph_free(f->graph);
    *f = (ts_inference){0};
}

ts_status ts_experiment_session(ts_experiment *e, int64_t batch, bool ema, ts_session **session, ts_error *err)
{
    const ts_session_options options = {
        .tokenizer = &e->tokenizer,
        .store = e->store,
        .workspace = e->workspace,
        .device = e->device,
        .block = ema && ts_store_has(e->store, TS_BLOCK_EMA) ? TS_BLOCK_EMA : TS_BLOCK_VALUE,
        .bf16 = e->train->precision == TS_PRECISION_BF16,
        .fold = e->train->fold,
        .fuse = e->train->fuse && !e->op_by_op,
        .batch = batch,
        .longest = e->train->eval_frames,
    };
    return ts_session_new(session, &options, err);
}
