/* tessera config: what the tables say, and what a file comes to. */
#include <stdio.h>

#include "train/commands.h"
#include "train/experiment.h"
#include "train/help.h"
#include "train/motion_layout_file.h"

/* Kinds may be typed as "vector" or as "quantizer.kind=vector", which the command line takes for an override. */
static ts_status print_defaults(const ts_arguments *a, ts_error *err)
{
    const char **kinds = ts_calloc((size_t)(a->positional_count + a->override_count) + 1, sizeof *kinds);
    if (!kinds)
        return ts_out_of_memory(err, 0);
    int64_t n = 0;
    for (int64_t i = 0; i < a->positional_count; i++)
        kinds[n++] = a->positionals[i];
    for (int64_t i = 0; i < a->override_count; i++)
        kinds[n++] = a->overrides[i];
    ts_status status = ts_help_defaults(ts_experiment_schema(), kinds, stdout, err);
    ts_free(kinds);
    return status;
}

static ts_status print_file(const ts_arguments *a, ts_error *err)
{
    ts_config *config;
    char *text;
    if (a->positional_count != 1)
        return ts_fail(err, TS_ERR_USAGE,
                       "config: expected one CONFIG, or one of --list, --flags, --defaults, --layout, --man, "
                       "--completion (see tessera config --help)");
    TS_TRY(ts_config_load(&config, ts_experiment_schema(), a->positionals[0], (const char *const *)a->overrides, err));
    for (int i = 0; ts_config_note(config, i); i++)
        fprintf(stderr, "tessera: note: %s\n", ts_config_note(config, i));
    ts_status status = ts_config_print(config, !ts_arguments_flag(a, "plain"), &text, err);
    if (status == TS_OK)
        fputs(text, stdout);
    if (status == TS_OK)
        ts_free(text);
    ts_config_free(config);
    return status;
}

static ts_status print_layout(const char *typed, ts_error *err)
{
    ts_motion_layout layout;
    char *text;
    TS_TRY(ts_motion_layout_named(&layout, typed, err));
    TS_TRY(ts_motion_layout_print(&layout, &text, err));
    fputs(text, stdout);
    ts_free(text);
    return TS_OK;
}

ts_status ts_cmd_config(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    bool list = ts_arguments_flag(a, "list"), flags = ts_arguments_flag(a, "flags"), man = ts_arguments_flag(a, "man");
    bool defaults = ts_arguments_flag(a, "defaults"), completion = ts_arguments_given(a, "completion");
    const char *layout = ts_arguments_text(a, "layout");
    if (list + flags + man + defaults + completion + (layout != NULL) > 1)
        return ts_fail(err, TS_ERR_USAGE,
                       "config: --list, --flags, --defaults, --layout, --man and --completion exclude each other");
    if (defaults)
        return print_defaults(a, err);
    if (!list && !flags && !man && !completion && !layout)
        return print_file(a, err);
    if (a->positional_count || a->override_count)
        return ts_fail(err, TS_ERR_USAGE, "config: --list, --flags, --layout, --man and --completion take no CONFIG");
    if (layout)
        return print_layout(layout, err);
    if (list)
        ts_help_list(ts_experiment_schema(), stdout);
    else if (flags)
        ts_help_flags(a->program, stdout);
    else if (man)
        ts_help_man(a->program, ts_experiment_schema(), stdout);
    else
        ts_help_completion(a->program, ts_experiment_schema(), stdout);
    return TS_OK;
}
