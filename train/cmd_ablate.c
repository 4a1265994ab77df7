/* tessera ablate: a grid of quantizers and sizes, trained cell by cell, and the report of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/ablation_report.h"
#include "train/ablation_run.h"
#include "train/answer.h"
#include "train/commands.h"

typedef ts_status write_fn(const ts_ablation_results *results, FILE *out, ts_error *err);

static ts_status write_csv(const ts_ablation_results *results, FILE *out, ts_error *err)
{
    (void)err;
    ts_ablation_write_csv(results, out);
    return TS_OK;
}

static ts_status write_json(const ts_ablation_results *results, FILE *out, ts_error *err)
{
    return ts_ablation_write_json(results, false, out, err);
}

/* DIR/NAME, by way of a file beside it, so that a report that is there is whole. */
static ts_status write_file(const ts_ablation_results *results, const char *name, write_fn *write, ts_error *err)
{
    char *path = ts_format("%s/%s", results->directory, name),
         *part = ts_format("%s/%s.part", results->directory, name);
    ts_status status = path && part ? TS_OK : ts_out_of_memory(err, 0);
    FILE *out = status == TS_OK ? fopen(part, "w") : NULL;
    if (out)
        status = write(results, out, err);
    bool whole = out && !ferror(out);
    if (out && fclose(out) != 0)
        whole = false;
    if (status == TS_OK && (!whole || rename(part, path) != 0))
        status = ts_fail(err, TS_ERR_RUNTIME, "%s: cannot be written: %s", path, strerror(errno));
    if (status != TS_OK && part)
        remove(part);
    ts_free(path);
    ts_free(part);
    return status;
}

static ts_status write_all(const ts_ablation_results *results, ts_error *err)
{
    TS_TRY(write_file(results, "table.csv", write_csv, err));
    TS_TRY(write_file(results, "table.json", write_json, err));
    return write_file(results, "report.html", ts_ablation_write_html, err);
}

static ts_status say_findings(const ts_ablation_results *results, ts_error *err)
{
    ts_findings f;
    TS_TRY(ts_ablation_findings(results, &f, err));
    for (int i = 0; i < f.count; i++)
        printf("%s\n    %s\n", f.finding[i].question, f.finding[i].answer);
    printf("\nreport  %s/report.html\ntable   %s/table.csv, table.json\n", results->directory, results->directory);
    ts_findings_clear(&f);
    return TS_OK;
}

static ts_status report(const ts_ablation *a, const char *directory, bool json, ts_error *err)
{
    ts_ablation_results results;
    TS_TRY(ts_ablation_results_read(&results, a, directory, err));
    ts_status status = write_all(&results, err);
    if (status == TS_OK)
        status = json ? ts_ablation_write_json(&results, true, stdout, err) : say_findings(&results, err);
    if (json)
        putchar('\n');
    ts_ablation_results_clear(&results);
    return status;
}

static ts_status list_cells(const ts_ablation *a)
{
    for (int i = 0; i < a->cell_count; i++) {
        printf("%s  %" PRId64 " steps ", a->cell[i].name, a->cell[i].steps);
        for (const char *const *o = a->cell[i].override; *o; o++)
            printf(" %s", *o);
        putchar('\n');
    }
    return TS_OK;
}

static ts_status run(const ts_ablation *a, const ts_arguments *arguments, int *exit_code, ts_error *err)
{
    const char *directory = ts_arguments_text(arguments, "run");
    ts_ablation_outcome outcome = {0};
    if (ts_arguments_flag(arguments, "list"))
        return list_cells(a);
    if (!directory)
        return ts_fail(err, TS_ERR_USAGE, "ablate: --run=DIR is missing: the folder for the runs and the report");
    ts_ablation_options options = {
        .directory = directory,
        .device = ts_arguments_text(arguments, "device"),
        .jobs = (int)ts_arguments_int(arguments, "jobs"),
        .threads = (int)ts_arguments_int(arguments, "threads"),
        .quiet = ts_arguments_flag(arguments, "quiet"),
    };
    if (!ts_arguments_flag(arguments, "report-only"))
        TS_TRY(ts_ablation_train(a, &options, &outcome, err));
    TS_TRY(report(a, directory, ts_arguments_flag(arguments, "json"), err));
    *exit_code = outcome.signal ? 128 + outcome.signal : 0;
    if (outcome.failed)
        return ts_fail(err, TS_ERR_RUNTIME,
                       "%d of %d trainings failed; %s/cells/NAME.log says why, and the same command tries them again",
                       outcome.failed, a->cell_count, directory);
    return TS_OK;
}

ts_status ts_cmd_ablate(const ts_arguments *arguments, int *exit_code, ts_error *err)
{
    ts_ablation a;
    TS_TRY(ts_ablation_load(&a, ts_arguments_positional(arguments, 0), err));
    ts_status status = run(&a, arguments, exit_code, err);
    ts_ablation_clear(&a);
    return status;
}
