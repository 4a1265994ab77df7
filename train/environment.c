/* env.json: what a run ran on, for whoever wants to repeat it. */
#define _GNU_SOURCE
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/device.h"
#include "core/files/hdf5.h"
#include "train/run_dir.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* "model name : X" -> X in line, where the key is `key`; else NULL. */
static const char *value_of(char *line, const char *key)
{
    size_t n = strlen(key);
    char *colon = strchr(line, ':');
    if (strncmp(line, key, n) != 0 || !colon || strspn(line + n, " \t") != (size_t)(colon - line) - n)
        return NULL;
    line[strcspn(line, "\n")] = '\0';
    return colon + 1 + strspn(colon + 1, " \t");
}

/* The first processor's; ARM says Features where x86 says flags, and has no model name. */
static void put_cpu(json_t *env)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char *line = NULL;
    size_t room = 0;
    while (file && getline(&line, &room, file) > 1) {
        const char *model = value_of(line, "model name"), *flags = value_of(line, "flags");
        flags = flags ? flags : value_of(line, "Features");
        if (model)
            json_object_set_new(env, "cpu", json_string(model));
        if (flags)
            json_object_set_new(env, "cpu_flags", json_string(flags));
    }
    free(line);
    if (file)
        fclose(file);
}

static void put_system(json_t *env)
{
    struct utsname u;
    if (uname(&u) == 0) {
        json_object_set_new(env, "system", json_sprintf("%s %s", u.sysname, u.release));
        json_object_set_new(env, "machine", json_string(u.machine));
    }
    json_object_set_new(env, "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(env, "memory_bytes", json_integer((json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)));
}

/* What the device has said of itself so far, a line each. */
static json_t *notes_of(const ts_device *device)
{
    json_t *all = json_array();
    for (const char *line = device->notes; *line; line += strcspn(line, "\n") + 1)
        json_array_append_new(all, json_stringn(line, strcspn(line, "\n")));
    return all;
}

char *ts_environment_text(const ts_device *device)
{
    json_t *env = json_object();
    json_object_set_new(env, "tessera", json_string(TESSERA_VERSION));
    json_object_set_new(env, "compiler", json_string(COMPILER));
    json_object_set_new(env, "onednn", json_string(ts_cpu_onednn()));
    json_object_set_new(env, "hdf5", json_string(ts_h5_version()));
    json_object_set_new(env, "device", json_string(device->backend->name));
    json_object_set_new(env, "device_notes", notes_of(device));
    json_object_set_new(env, "threads", json_integer(device->threads));
    put_system(env);
    put_cpu(env);
    char *text = env ? json_dumps(env, JSON_INDENT(2)) : NULL;
    char *copy = text ? ts_format("%s\n", text) : NULL;
    free(text);
    json_decref(env);
    return copy;
}
