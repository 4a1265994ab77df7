/* tessera import: what other programs write, as something that this one reads. */
#include <string.h>

#include "core/text.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/import_bvh.h"
#include "train/import_weights.h"

static ts_status answer_bvh(const ts_import_bvh_options *o, const ts_import_bvh_result *r, bool json, ts_error *err)
{
    static const char *const names[TS_PARTS] = {"train", "val", "test"};
    json_t *all = json_object();
    json_object_set_new(all, "folder", json_string(o->to));
    json_object_set_new(all, "recordings", json_integer(r->recordings));
    json_object_set_new(all, "skipped", json_integer(r->skipped));
    json_object_set_new(all, "reference_poses", json_integer(r->reference_poses));
    json_object_set_new(all, "clips", json_integer(r->clips));
    json_object_set_new(all, "frames", json_integer(r->frames));
    json_object_set_new(all, "fps", ts_answer_real(o->fps));
    json_object_set_new(all, "motion_s", ts_answer_real((double)r->frames / o->fps));
    for (int i = 0; i < TS_PARTS; i++)
        json_object_set_new(all, names[i], json_integer(r->part_clips[i]));
    return ts_answer_show(all, json, stdout, err);
}

static ts_status check_bvh(const ts_arguments *a, ts_error *err)
{
    static const char *const others[] = {"config", "item", "mean", "std"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ts_arguments_given(a, others[i]))
            return ts_fail(err, TS_ERR_USAGE, "import bvh: --%s belongs to import weights", others[i]);
    return a->override_count
               ? ts_fail(err, TS_ERR_USAGE, "import bvh: '%s' belongs to import weights", TS_SHOWN(a->overrides[0]))
               : TS_OK;
}

static ts_status import_bvh(const ts_arguments *a, ts_error *err)
{
    const ts_import_bvh_options options = {.from = ts_arguments_positional(a, 1),
                                           .to = ts_arguments_positional(a, 2),
                                           .fps = ts_arguments_real(a, "fps"),
                                           .cut = ts_arguments_int(a, "cut"),
                                           .split = ts_arguments_text(a, "split"),
                                           .seed = (uint64_t)ts_arguments_int(a, "seed"),
                                           .map = ts_arguments_text(a, "map"),
                                           .rename = ts_arguments_text(a, "rename"),
                                           .skip_broken = ts_arguments_choice(a, "on-error") == 1};
    ts_import_bvh_result result;
    TS_TRY(check_bvh(a, err));
    TS_TRY(ts_import_bvh(&result, &options, err));
    if (result.skipped)
        fprintf(stderr, "tessera: note: %lld recordings skipped; the first: %s\n", (long long)result.skipped,
                result.first_skip.text);
    return answer_bvh(&options, &result, ts_arguments_flag(a, "json"), err);
}

ts_status ts_cmd_import(const ts_arguments *a, int *exit_code, ts_error *err)
{
    static const struct {
        const char *name;
        ts_status (*run)(const ts_arguments *a, ts_error *err);
    } kinds[] = {{"bvh", import_bvh}, {"weights", ts_import_weights}};
    const char *kind = ts_arguments_positional(a, 0);
    (void)exit_code;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i].name) == 0)
            return kinds[i].run(a, err);
    return ts_fail(err, TS_ERR_USAGE, "import: expected bvh or weights as what to import, found '%s'", TS_SHOWN(kind));
}
