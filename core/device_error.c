/* The failure and the notes that a device keeps, in a file of its own: a backend that is a module has it too. */
#include <stdio.h>
#include <string.h>

#include "core/device.h"

void ts_device_fail(ts_device *device, const char *format, ...)
{
    ts_error error = {.code = TS_ERR_DEVICE};
    va_list args;
    va_start(args, format);
    vsnprintf(error.text, sizeof error.text, format, args);
    va_end(args);
    if (device->error.code == TS_OK)
        device->error = error;
}

ts_status ts_device_check(ts_device *device, ts_error *err)
{
    device->backend->synchronize(device);
    ts_status code = device->error.code;
    if (code != TS_OK && err)
        *err = device->error;
    device->error = (ts_error){0};
    return code;
}

void ts_device_note(ts_device *device, const char *format, ...)
{
    char line[512];
    size_t used = strlen(device->notes), room = sizeof device->notes - used;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (!strstr(device->notes, line) && strlen(line) + 2 <= room)
        snprintf(device->notes + used, room, "%s\n", line);
}
