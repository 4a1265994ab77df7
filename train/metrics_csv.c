#include "train/metrics_csv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/bytes.h"
#include "core/files/replace.h"
#include "core/memory.h"
#include "core/text.h"

enum { LINE_BYTES = 8192, DIGITS = 10 };
static const size_t max_bytes = (size_t)4 << 30;

/* ---- what is there ---- */

static json_t *columns_of(const char *header, size_t bytes)
{
    json_t *columns = json_array();
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(header + at, ',', bytes - at);
        size_t n = end ? (size_t)(end - header) - at : bytes - at;
        json_array_append_new(columns, json_stringn(header + at, n));
        at += n + 1;
    }
    return columns;
}

/* How many of the bytes are the header and whole lines up to `last_step`, which are in the order of steps. */
static size_t kept_of(ts_metrics_csv *t, const char *text, size_t bytes, int64_t last_step)
{
    size_t kept = 0;
    for (const char *end; (end = memchr(text + kept, '\n', bytes - kept)); kept = (size_t)(end - text) + 1) {
        if (!t->columns)
            t->columns = columns_of(text, (size_t)(end - text));
        else if (strtoll(text + kept, NULL, 10) > last_step)
            break;
    }
    return kept;
}

static ts_status cut(ts_metrics_csv *t, const char *path, int64_t last_step, ts_error *err)
{
    ts_bytes text = {0};
    if (access(path, F_OK) != 0)
        return TS_OK;
    TS_TRY(ts_bytes_read(&text, path, max_bytes, TS_ERR_RUNTIME, err));
    size_t kept = text.count ? kept_of(t, (const char *)text.data, text.count, last_step) : 0;
    ts_status status =
        kept < text.count ? ts_replace_file(path, text.data, kept, TS_REPLACE_DROP, TS_ERR_RUNTIME, err) : TS_OK;
    ts_bytes_clear(&text);
    return status;
}

ts_status ts_metrics_csv_open(ts_metrics_csv *t, const char *folder, const char *split, int64_t last_step,
                              ts_error *err)
{
    *t = (ts_metrics_csv){.file.fd = -1};
    char *path = ts_format("%s/%s.csv", folder, split);
    if (!path)
        return ts_out_of_memory(err, strlen(folder));
    ts_status status = cut(t, path, last_step, err);
    if (status == TS_OK)
        status = ts_line_file_open(&t->file, folder, path + strlen(folder) + 1, err);
    ts_free(path);
    return status;
}

void ts_metrics_csv_close(ts_metrics_csv *t)
{
    ts_line_file_close(&t->file);
    json_decref(t->columns);
    t->columns = NULL;
}

/* ---- lines ---- */

static ts_status write_header(ts_metrics_csv *t, const json_t *flat, ts_error *err)
{
    char line[LINE_BYTES];
    size_t used = 0;
    const char *key;
    json_t *value;
    t->columns = json_array();
    json_object_foreach((json_t *)(uintptr_t)flat, key, value)
    {
        json_array_append_new(t->columns, json_string(key));
        used = ts_text_append(line, sizeof line, used, "%s%s", used ? "," : "", key);
    }
    used = ts_text_append(line, sizeof line, used, "\n");
    return used < sizeof line ? ts_line_file_write(&t->file, line, used, err)
                              : ts_fail(err, TS_ERR_RUNTIME, "%s: too many columns", t->file.path);
}

static size_t append_cell(char *line, size_t used, const json_t *value)
{
    if (json_is_integer(value))
        return ts_text_append(line, LINE_BYTES, used, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_real(value))
        return ts_text_append(line, LINE_BYTES, used, "%.*g", DIGITS, json_real_value(value));
    return json_is_boolean(value) ? ts_text_append(line, LINE_BYTES, used, json_is_true(value) ? "1" : "0") : used;
}

ts_status ts_metrics_csv_add(ts_metrics_csv *t, const json_t *flat, ts_error *err)
{
    char line[LINE_BYTES];
    size_t used = 0;
    if (!t->columns)
        TS_TRY(write_header(t, flat, err));
    for (size_t i = 0; i < json_array_size(t->columns); i++) {
        const char *key = json_string_value(json_array_get(t->columns, i));
        used = ts_text_append(line, sizeof line, used, i ? "," : "");
        used = append_cell(line, used, json_object_get(flat, key));
    }
    used = ts_text_append(line, sizeof line, used, "\n");
    return used < sizeof line ? ts_line_file_write(&t->file, line, used, err)
                              : ts_fail(err, TS_ERR_RUNTIME, "%s: a line is too long", t->file.path);
}
