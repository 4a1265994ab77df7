/* tessera train: from a config, or from a run that goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/commands.h"
#include "train/experiment.h"
#include "train/trainer.h"

/* What a resumed run may change: how long it goes on and how often it tells, not what it computes. */
static bool may_change(const char *line)
{
    static const char *const keys[] = {"name",
                                       "description",
                                       "expect",
                                       "train.steps",
                                       "train.max_time",
                                       "train.log_every",
                                       "train.eval_every",
                                       "train.checkpoint_every",
                                       "train.tensorboard"};
    size_t bytes = strcspn(line, ":");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strlen(keys[i]) == bytes && memcmp(keys[i], line, bytes) == 0)
            return true;
    return false;
}

/* The lines of `diff` that count, on one line. */
static bool list_differences(char *diff, char *text, size_t bytes)
{
    size_t used = 0;
    for (char *line = strtok(diff, "\n"); line; line = strtok(NULL, "\n"))
        if (!may_change(line))
            used = ts_text_append(text, bytes, used, "%s%s", used ? ", " : "", line);
    return used > 0;
}

static ts_status check_same(const ts_config *before, const ts_config *now, const char *path, ts_error *err)
{
    char *diff = NULL, list[700];
    size_t bytes;
    FILE *out = open_memstream(&diff, &bytes);
    if (!out)
        return ts_out_of_memory(err, 0);
    bool good = ts_config_diff(before, now, out) >= 0;
    good &= fclose(out) == 0;
    ts_status status = good ? TS_OK : ts_out_of_memory(err, 0);
    if (good && list_differences(diff, list, sizeof list))
        status = ts_fail(err, TS_ERR_USAGE,
                         "--resume goes on with the config of %s; this one differs: %s (only train.steps, max_time, "
                         "tensorboard and the *_every of log, eval and checkpoint may)",
                         path, list);
    free(diff);
    return status;
}

/* Resuming: the run's own config, or the given one where the two are the same run. */
static ts_status load_resumed(const ts_arguments *a, const char *const *overrides, ts_config **config, ts_error *err)
{
    ts_config *before = NULL;
    const char *given = ts_arguments_positional(a, 0), *run = ts_arguments_text(a, "run");
    char path[4096];
    if (snprintf(path, sizeof path, "%s/config.yaml", run) >= (int)sizeof path)
        return ts_fail(err, TS_ERR_USAGE, "--run: the path is longer than %zu bytes", sizeof path);
    ts_status status = ts_config_load(&before, ts_experiment_schema(), path, NULL, err);
    if (status != TS_OK)
        return ts_error_prefix(err, "nothing to resume in %s", run);
    status = ts_config_load(config, ts_experiment_schema(), given ? given : path, overrides, err);
    if (status == TS_OK)
        status = check_same(before, *config, path, err);
    ts_config_free(before);
    if (status != TS_OK) {
        ts_config_free(*config);
        *config = NULL;
    }
    return status;
}

static ts_status load(const ts_arguments *a, ts_config **config, ts_error *err)
{
    const char *path = ts_arguments_positional(a, 0), *const *overrides = (const char *const *)a->overrides;
    if (ts_arguments_flag(a, "resume"))
        return load_resumed(a, overrides, config, err);
    if (!path)
        return ts_fail(err, TS_ERR_USAGE, "train: CONFIG is missing: a YAML file (only --resume does without)");
    return ts_config_load(config, ts_experiment_schema(), path, overrides, err);
}

ts_status ts_cmd_train(const ts_arguments *a, int *exit_code, ts_error *err)
{
    ts_config *config = NULL;
    int signal = 0;
    TS_TRY(load(a, &config, err));
    ts_trainer_options options = {
        .run = ts_arguments_text(a, "run"),
        .resume = ts_arguments_flag(a, "resume"),
        .init_from = ts_arguments_text(a, "init-from"),
        .device = ts_arguments_text(a, "device"),
        .threads = (int)ts_arguments_int(a, "threads"),
        .quiet = ts_arguments_flag(a, "quiet"),
        .json = ts_arguments_flag(a, "json"),
        .check_nan = ts_arguments_flag(a, "check-nan"),
        .dump_start = ts_arguments_text(a, "dump-start"),
        .dump_batches = ts_arguments_int(a, "dump-batches"),
    };
    TS_TRY(ts_train(config, &options, &signal, err));
    *exit_code = signal ? 128 + signal : 0;
    return TS_OK;
}
