/* tessera explain: the loss, the gradients and the updates that a config comes to, in formulas. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/formula.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/item_shape.h"

/* What is told, in this order: the sections of training's formulas and of the quantizer's, together but for the step.
 */
enum { STEP = TS_FORMULA_UPDATE, QUANTIZER_STEP, TITLES };
static const char *const titles[TITLES] = {
    [TS_FORMULA_FORWARD] = "quantizer",
    [TS_FORMULA_LOSS] = "loss",
    [TS_FORMULA_GRADIENT] = "gradient",
    [TS_FORMULA_START] = "start",
    [STEP] = "step",
    [QUANTIZER_STEP] = "quantizer_step",
};

typedef struct {
    json_t *list[TITLES];
} sections;

static void add_of_training(void *user, ts_formula_section section, const char *text)
{
    json_array_append_new(((sections *)user)->list[section], json_string(text));
}

static void add_of_quantizer(void *user, ts_formula_section section, const char *text)
{
    int title = section == TS_FORMULA_UPDATE ? QUANTIZER_STEP : (int)section;
    json_array_append_new(((sections *)user)->list[title], json_string(text));
}

static ts_status formulas(const ts_experiment *e, sections *s, ts_error *err)
{
    const ts_quantizer_kind *q = e->tokenizer.quantizer;
    TS_TRY(ts_formulas(ts_train_formulas, &ts_train_table, e->train, add_of_training, s, err));
    return ts_formulas(q->formulas, q->table, e->tokenizer.quantizer_options, add_of_quantizer, s, err);
}

static void say(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(json_t *list, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(list, json_string(text));
}

/* What the letters of the formulas stand for. `known`: the shape of an item is, and so are those of tokens. */
static json_t *letters(const ts_experiment *e, bool known)
{
    const ts_tokenizer *t = &e->tokenizer;
    json_t *list = json_array();
    if (!known) {
        say(list, "x an item, z = encoder(x) its tokens, y = decoder(out); the data would tell their shapes");
    } else {
        int64_t tokens = ts_shape_count(t->tokens);
        say(list, "x %s, an item; %" PRId64 " of them a step", ts_shape_print(t->item).text, e->train->batch);
        say(list,
            "z = encoder(x), %s tokens of D = %" PRId64 " numbers, N = %" PRId64 " a step; ids of a token: %" PRId64,
            ts_shape_print(t->tokens).text, t->info.width, e->train->batch * tokens, t->info.groups);
        say(list, "K = %" PRId64 " codes: an id has %.2f bits, an item %.0f", t->info.codes,
            log2((double)t->info.codes), (double)(tokens * t->info.groups) * log2((double)t->info.codes));
        say(list, "y = decoder(out), as x");
    }
    say(list, "sg stops the gradient; means are over all elements");
    return list;
}

static json_t *answer(const ts_experiment *e, const sections *s, bool known)
{
    json_t *all = json_object();
    json_object_set_new(all, "model", json_string(e->tokenizer.model->name));
    json_object_set_new(all, "kind", json_string(e->tokenizer.quantizer->name));
    json_object_set_new(all, "letters", letters(e, known));
    for (int i = 0; i < TITLES; i++)
        json_object_set(all, titles[i], s->list[i]);
    return all;
}

static ts_status explain(ts_experiment *e, const ts_arguments *a, ts_error *err)
{
    sections s;
    const char *source;
    ts_status status = ts_item_find(e, ts_arguments_text(a, "item"), &source, err);
    bool known = status == TS_OK;
    if (!known && status != TS_ERR_DATA)
        return status;
    for (int i = 0; i < TITLES; i++)
        s.list[i] = json_array();
    status = formulas(e, &s, err);
    if (status == TS_OK)
        status = ts_answer_show(answer(e, &s, known), ts_arguments_flag(a, "json"), stdout, err);
    for (int i = 0; i < TITLES; i++)
        json_decref(s.list[i]);
    return status;
}

ts_status ts_cmd_explain(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_config *config;
    ts_experiment e;
    TS_TRY(ts_config_load(&config, ts_experiment_schema(), ts_arguments_positional(a, 0),
                          (const char *const *)a->overrides, err));
    ts_status status = ts_experiment_open(&e, config, "cpu", 1, err);
    if (status == TS_OK)
        status = explain(&e, a, err);
    ts_experiment_close(&e);
    return status;
}
