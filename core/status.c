#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ts_status ts_fail(ts_error *err, ts_status code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

ts_status ts_error_prefix(ts_error *err, const char *format, ...)
{
    if (!err)
        return TS_ERR_RUNTIME;
    char prefix[sizeof err->text / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix - 2, format, args);
    va_end(args);
    memcpy(prefix + strlen(prefix), ": ", sizeof ": ");
    size_t n = strlen(prefix), keep = strlen(err->text);
    if (keep > sizeof err->text - 1 - n)
        keep = sizeof err->text - 1 - n;
    memmove(err->text + n, err->text, keep);
    memcpy(err->text, prefix, n);
    err->text[n + keep] = '\0';
    return err->code;
}

const char *ts_status_name(ts_status code)
{
    switch (code) {
    case TS_OK:
        return "ok";
    case TS_ERR_RUNTIME:
        return "error";
    case TS_ERR_USAGE:
        return "usage error";
    case TS_ERR_DATA:
        return "data error";
    case TS_ERR_CHECKPOINT:
        return "checkpoint error";
    case TS_ERR_DEVICE:
        return "device error";
    }
    return "unknown status";
}

bool ts_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "tessera: internal error: %s:%d: %s\n", file, line, condition);
#ifdef TS_ASSERT_ABORTS
    abort();
#endif
    return false;
}
