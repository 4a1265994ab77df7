/* tessera eval: one split through a checkpoint. */
#include <string.h>

#include "train/answer.h"
#include "train/commands.h"
#include "train/evaluate.h"
#include "train/trained.h"

static void add_motion(json_t *all, const ts_evaluation *v)
{
    ts_metric metric[TS_MOTION_METRICS];
    ts_evaluation_motion(v, metric);
    for (int i = 0; i < TS_MOTION_METRICS; i++)
        if (!isnan(metric[i].value))
            json_object_set_new(all, metric[i].key, ts_answer_real(metric[i].value));
    json_object_set_new(all, "frames", json_integer(v->frames));
    if (!v->clips)
        return;
    json_object_set_new(all, "clips", json_integer(v->clips));
    json_object_set_new(all, "clips_in_pieces", json_integer(v->in_pieces));
    json_object_set_new(all, "clips_skipped", json_integer(v->skipped));
}

/* Of each id of a token by itself. */
static void add_groups(json_t *all, const ts_evaluation *v)
{
    json_t *used = json_array(), *perplexity = json_array();
    for (int64_t g = 0; g < v->groups; g++) {
        ts_usage u = ts_evaluation_group_usage(v, g);
        json_array_append_new(used, json_integer(u.used));
        json_array_append_new(perplexity, ts_answer_real(u.perplexity));
    }
    json_object_set_new(all, "used_by_group", used);
    json_object_set_new(all, "perplexity_by_group", perplexity);
}

static json_t *answer(const ts_trained *t, const char *path, ts_split split, const ts_evaluation *v)
{
    char unit[80];
    const ts_experiment *e = &t->experiment;
    if (v->frames)
        snprintf(unit, sizeof unit, "columns of a frame%s", e->motion.mean ? ", normalised" : "");
    else
        snprintf(unit, sizeof unit, "values of the data in %s", ts_range_names[e->range]);
    json_t *all = json_object(), *parts = json_object();
    json_object_set_new(all, "checkpoint", json_string(path));
    json_object_set_new(all, "weights", json_string(ts_hash_print(t->weights).text));
    json_object_set_new(all, "ema", json_boolean(t->ema));
    json_object_set_new(all, "seed", json_integer(e->top->seed));
    json_object_set_new(all, "step", json_integer(t->state.step));
    json_object_set_new(all, "split", json_string(ts_split_name(split)));
    json_object_set_new(all, "items", json_integer(v->items));
    json_object_set_new(all, "unit", json_string(unit));
    json_object_set_new(all, "loss", ts_answer_real(v->loss));
    json_object_set_new(all, "recon", ts_answer_real(v->recon));
    json_object_set_new(all, "mse", ts_answer_real(v->mse));
    json_object_set_new(all, "l1", ts_answer_real(v->l1));
    if (v->frames)
        add_motion(all, v);
    else {
        json_object_set_new(all, "psnr", ts_answer_real(v->psnr));
        json_object_set_new(all, "ssim", ts_answer_real(v->ssim));
    }
    for (int i = 0; i < v->part_count; i++)
        json_object_set_new(parts, v->part_names[i], ts_answer_real(v->parts[i]));
    json_object_update_missing(all, parts);
    json_decref(parts);
    json_object_set_new(all, "codes", json_integer(v->usage.codes));
    json_object_set_new(all, "tokens", json_integer(v->usage.tokens));
    json_object_set_new(all, "used", json_integer(v->usage.used));
    json_object_set_new(all, "usage", ts_answer_real(v->usage.usage));
    json_object_set_new(all, "perplexity", ts_answer_real(v->usage.perplexity));
    json_object_set_new(all, "entropy", ts_answer_real(v->usage.entropy));
    json_object_set_new(all, "perplexity_ceiling", ts_answer_real(v->usage.ceiling));
    if (v->groups)
        add_groups(all, v);
    return all;
}

static void show_notes(const ts_experiment *e, ts_split split, const ts_evaluation *v)
{
    const ts_dataset *data = split == TS_SPLIT_TRAIN ? e->train_data : e->val_data;
    const char *note = v->clips ? v->note : data->note;
    if (*note)
        fprintf(stderr, "tessera: note: %s\n", note);
    for (const char *line = v->skips; line && *line;) {
        int n = (int)strcspn(line, "\n");
        fprintf(stderr, "tessera: left out: %.*s\n", n, line);
        line += n + (line[n] != '\0');
    }
}

ts_status ts_cmd_eval(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    ts_trained trained;
    ts_evaluation result = {0};
    ts_split split = ts_arguments_choice(a, "split") == 0 ? TS_SPLIT_VAL : TS_SPLIT_TRAIN;
    ts_status status = ts_trained_open(&trained, a, err);
    if (status == TS_OK)
        status = ts_evaluate(&trained.experiment, split, trained.ema, 0, NULL, NULL, &result, err);
    if (status == TS_OK)
        show_notes(&trained.experiment, split, &result);
    if (status == TS_OK)
        status = ts_answer_show(answer(&trained, ts_arguments_positional(a, 0), split, &result),
                                ts_arguments_flag(a, "json"), stdout, err);
    ts_evaluation_clear(&result);
    ts_trained_close(&trained);
    return status;
}
