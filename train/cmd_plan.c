/* tessera plan: what a config costs, known from its graphs before anything is trained. */
#include <stdio.h>

#include "train/answer.h"
#include "train/commands.h"
#include "train/item_shape.h"
#include "train/programs.h"
#include "train/rates.h"

static json_t *parameters(const ts_store *store)
{
    int64_t count[TS_ROLE_COUNT] = {0}, frozen = 0, state_bytes = 0;
    for (int i = 0; i < ts_store_count(store); i++) {
        const ts_variable *v = ts_store_at(store, i);
        int64_t n = ts_shape_count(v->type.shape);
        if (v->role == TS_ROLE_STATE)
            state_bytes += n * (int64_t)ts_dtype_bytes(v->type.dtype);
        else
            count[v->role] += n;
        frozen += v->role != TS_ROLE_STATE && v->frozen ? n : 0;
    }
    json_t *all = json_object();
    json_object_set_new(all, "total", json_integer(ts_store_parameter_count(store)));
    json_object_set_new(all, "frozen", json_integer(frozen));
    for (int role = 0; role < TS_ROLE_COUNT; role++)
        json_object_set_new(all, ts_role_name((ts_role)role), json_integer(count[role]));
    json_object_set_new(all, "state_bytes", json_integer(state_bytes));
    return all;
}

/* Every parameter by its path: what train.freeze can name. */
static json_t *variables(const ts_store *store)
{
    json_t *all = json_object();
    for (int i = 0; i < ts_store_count(store); i++) {
        const ts_variable *v = ts_store_at(store, i);
        char text[160];
        snprintf(text, sizeof text, "%s %s%s", ts_shape_print(v->type.shape).text, ts_role_name(v->role),
                 v->frozen ? ", frozen" : "");
        json_object_set_new(all, v->path, json_string(text));
    }
    return all;
}

static json_t *tokens(const ts_tokenizer *t, const char *source)
{
    json_t *all = json_object();
    json_object_set_new(all, "item", ts_answer_shape(t->item));
    json_object_set_new(all, "item_from", json_string(source));
    json_object_set_new(all, "shape", ts_answer_shape(t->tokens));
    json_object_set_new(all, "per_item", json_integer(ts_shape_count(t->tokens) * t->info.groups));
    json_object_set_new(all, "codes", json_integer(t->info.codes));
    json_object_set_new(all, "width", json_integer(t->info.width));
    json_object_set_new(all, "groups", json_integer(t->info.groups));
    return all;
}

static json_t *memory(const ts_experiment *e, const ts_plan *step)
{
    double arena = (double)ts_workspace_bytes(e->workspace), store = (double)ts_store_bytes(e->store);
    json_t *all = json_object();
    json_object_set_new(all, "arena_bytes", ts_answer_real(arena));
    json_object_set_new(all, "step_arena_bytes", ts_answer_real((double)step->arena_bytes));
    json_object_set_new(all, "step_unshared_bytes", ts_answer_real((double)step->value_bytes));
    json_object_set_new(all, "store_bytes", ts_answer_real(store));
    json_object_set_new(all, "peak_bytes", ts_answer_real(arena + store));
    return all;
}

/* Everything that one optimizer step runs. */
typedef struct {
    double flops, bytes, seconds;
    int64_t nodes;
} work;

static void add_work(work *w, const ts_program *program, const ts_rates *rates, double times)
{
    if (!program)
        return;
    const ts_plan *plan = ts_program_plan(program);
    w->flops += times * plan->flops;
    w->bytes += times * plan->moved_bytes;
    w->seconds += times * ts_rates_seconds(rates, plan);
    w->nodes += plan->step_count;
}

static json_t *step_costs(const work *w, const ts_rates *rates)
{
    json_t *all = json_object();
    json_object_set_new(all, "ops", json_integer(w->nodes));
    json_object_set_new(all, "flops", ts_answer_real(w->flops));
    json_object_set_new(all, "moved_bytes", ts_answer_real(w->bytes));
    json_object_set_new(all, "measured_flops_per_s", ts_answer_real(rates->flops));
    json_object_set_new(all, "measured_bytes_per_s", ts_answer_real(rates->memory));
    return all;
}

static json_t *duration(const work *w, const ts_train_options *o)
{
    json_t *all = json_object();
    json_object_set_new(all, "step_ms", ts_answer_real(1e3 * w->seconds));
    json_object_set_new(all, "steps", json_integer(o->steps));
    json_object_set_new(all, "run_s", ts_answer_real(w->seconds * (double)o->steps));
    json_object_set_new(all, "meaning",
                        json_string("estimate: each op at the measured rates, without evaluations and data"));
    return all;
}

static json_t *answer(const ts_experiment *e, const ts_training *t, const char *source, const ts_rates *rates)
{
    work w = {0};
    add_work(&w, t->step, rates, (double)e->train->accumulate);
    add_work(&w, t->apply, rates, 1);
    json_t *all = json_object();
    json_object_set_new(all, "model", json_string(e->tokenizer.model->name));
    json_object_set_new(all, "quantizer", json_string(e->tokenizer.quantizer->name));
    json_object_set_new(all, "batch", json_integer(e->train->batch));
    json_object_set_new(all, "tokens", tokens(&e->tokenizer, source));
    json_object_set_new(all, "parameters", parameters(e->store));
    json_object_set_new(all, "step", step_costs(&w, rates));
    json_object_set_new(all, "memory", memory(e, ts_program_plan(t->step)));
    json_object_set_new(all, "time", duration(&w, e->train));
    json_object_set_new(all, "variables", variables(e->store));
    return all;
}

static void print_line(void *user, const char *text)
{
    fprintf(user, "%s\n", text);
}

static ts_status plan(ts_experiment *e, const ts_arguments *a, ts_error *err)
{
    ts_training training;
    ts_inference inference = {0};
    ts_rates rates;
    int64_t batch = e->train->eval_batch ? e->train->eval_batch : e->train->batch;
    const char *source;
    TS_TRY(ts_item_find(e, ts_arguments_text(a, "item"), &source, err));
    TS_TRY(ts_training_open(&training, e, err));
    ts_status status = ts_inference_open(&inference, e, TS_FORWARD, batch, false, err);
    if (status == TS_OK && ts_arguments_flag(a, "nodes"))
        ts_graph_print(training.graph, print_line, stdout);
    else if (status == TS_OK && (status = ts_rates_measure(e->device, &rates, err)) == TS_OK)
        status = ts_answer_show(answer(e, &training, source, &rates), ts_arguments_flag(a, "json"), stdout, err);
    ts_inference_close(&inference);
    ts_training_close(&training);
    return status;
}

ts_status ts_cmd_plan(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_config *config;
    ts_experiment e;
    TS_TRY(ts_config_load(&config, ts_experiment_schema(), ts_arguments_positional(a, 0),
                          (const char *const *)a->overrides, err));
    ts_status status =
        ts_experiment_open(&e, config, ts_arguments_text(a, "device"), (int)ts_arguments_int(a, "threads"), err);
    if (status == TS_OK)
        status = plan(&e, a, err);
    ts_experiment_close(&e);
    return status;
}
