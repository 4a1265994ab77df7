#include "train/event_tags.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/bytes.h"
#include "core/memory.h"

enum { TAG_BYTES = 64, MOST_SCALARS = 128 };

/* What the scripts call it; NULL: they have no such number. */
static const char *known_tag(const char *key, int loss)
{
    static const struct {
        const char *key, *tag;
    } known[] = {{"perplexity", "PPL"}, {"commitment", "Commit"}, {"usage", "Activate"}, {"mpjpe_mm", "MPJPE"}};
    if (strcmp(key, "recon") == 0 && loss != TS_LOSS_MSE)
        return "L1";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].key, key) == 0)
            return known[i].tag;
    return NULL;
}

ts_status ts_event_metrics(const ts_event_file *file, const json_t *flat, bool train, int loss, ts_error *err)
{
    char tag[MOST_SCALARS][TAG_BYTES];
    ts_event_scalar scalar[MOST_SCALARS];
    int count = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)flat, key, value)
    {
        if (!json_is_number(value) || strcmp(key, "step") == 0 || count == MOST_SCALARS)
            continue;
        const char *known = known_tag(key, loss);
        snprintf(tag[count], TAG_BYTES, "%s/%s", train ? "Train" : "Test", known ? known : key);
        scalar[count] = (ts_event_scalar){tag[count], (float)json_number_value(value)};
        count++;
    }
    return ts_event_scalars(file, json_integer_value(json_object_get(flat, "step")), scalar, count, err);
}

ts_status ts_event_picture(const ts_event_file *file, int64_t step, const char *tag, const char *path, ts_error *err)
{
    static const size_t most = (size_t)64 << 20;
    ts_bytes picture = {0};
    if (access(path, R_OK) != 0)
        return TS_OK;
    TS_TRY(ts_bytes_read(&picture, path, most, TS_ERR_RUNTIME, err));
    ts_status status = ts_event_image(file, step, tag, picture.data, picture.count, err);
    ts_bytes_clear(&picture);
    return status;
}
