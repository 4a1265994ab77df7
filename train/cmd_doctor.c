/* tessera doctor: what this program and this machine offer, and what will hurt. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/device.h"
#include "core/files/hdf5.h"
#include "train/answer.h"
#include "train/commands.h"
#include "train/gif.h"
#include "train/skeleton_picture.h"
#include "train/video.h"

enum { LINE_BYTES = 4096 };

/* --- small files of the system ------------------------------------------------------------------------------------ */

/* The first line of a file without its end; "" where it cannot be read. */
static const char *first_line(const char *path, char line[LINE_BYTES])
{
    FILE *file = fopen(path, "r");
    line[0] = '\0';
    if (file && !fgets(line, LINE_BYTES, file))
        line[0] = '\0';
    if (file)
        fclose(file);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

/* 123 for "MemAvailable:  123 kB" in /proc/meminfo; -1 where there is none. */
static int64_t meminfo(const char *key)
{
    char line[LINE_BYTES];
    long long value = -1;
    size_t n = strlen(key);
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            value = strtoll(line + n + 1, NULL, 10);
    if (file)
        fclose(file);
    return value;
}

/* --- libraries ---------------------------------------------------------------------------------------------------- */

static const char *const known_libraries[] = {"libdnnl", "libgomp", "libomp",     "libiomp5",
                                              "libhdf5", "libyaml", "libjansson", "libpng",
                                              "libjpeg", "libz.",   "libxxhash",  "libprotobuf-c"};
enum { LIBRARY_COUNT = sizeof known_libraries / sizeof *known_libraries };

/* Which library of the list a line of /proc/self/maps names; -1: none. */
static int library_of(const char *line, const char **path)
{
    const char *name = strrchr(line, '/');
    *path = strchr(line, '/');
    for (int i = 0; name && i < LIBRARY_COUNT; i++)
        if (strncmp(name + 1, known_libraries[i], strlen(known_libraries[i])) == 0)
            return i;
    return -1;
}

static void add_once(json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
            return;
    json_array_append_new(list, json_string(text));
}

/* The shared libraries that the process has mapped, and among them the OpenMP runtimes. */
static void list_libraries(json_t *libraries, json_t *openmp)
{
    char line[LINE_BYTES];
    const char *path;
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        int i = library_of(line, &path);
        if (i < 0)
            continue;
        add_once(libraries, path);
        if (i >= 1 && i <= 3)
            add_once(openmp, path);
    }
    if (file)
        fclose(file);
}

/* --- devices and processor ---------------------------------------------------------------------------------------- */

/* "ready", and the first thing that the device says of itself. */
static json_t *ready(const ts_device *device)
{
    int length = (int)strcspn(device->notes, "\n");
    return length ? json_sprintf("ready: %.*s", length, device->notes) : json_string("ready");
}

static json_t *devices(void)
{
    static const char *const specs[] = {"cpu", "ref", "cuda"};
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ts_device *device;
        ts_error why = {0};
        bool good = ts_device_open(specs[i], 0, &device, &why) == TS_OK;
        json_object_set_new(all, specs[i], good ? ready(device) : json_string(why.text));
        if (good)
            ts_device_close(device);
    }
    return all;
}

static json_t *instruction_sets(void)
{
    json_t *all = json_array();
#if defined(__x86_64__)
#define SET(name)                                                                                                      \
    if (__builtin_cpu_supports(name))                                                                                  \
    json_array_append_new(all, json_string(name))
    __builtin_cpu_init();
    SET("sse4.2");
    SET("avx2");
    SET("fma");
    SET("avx512f");
    SET("avx512bw");
    SET("avx512vl");
    SET("avx512vnni");
#undef SET
#endif
    return all;
}

static int usable_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static json_t *threads(void)
{
    char line[LINE_BYTES];
    const char *omp = getenv("OMP_NUM_THREADS");
    json_t *all = json_object();
    json_object_set_new(all, "usable", json_integer(usable_cores()));
    json_object_set_new(all, "online", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(all, "OMP_NUM_THREADS", omp ? json_string(omp) : json_null());
    first_line("/sys/fs/cgroup/cpu.max", line);
    json_object_set_new(all, "cgroup_cpu_max", *line ? json_string(line) : json_null());
    return all;
}

/* --- pictures of motion ------------------------------------------------------------------------------------------- */

static json_t *library(const char *version, const char *package)
{
    return version ? json_string(version) : json_pack("s++", "not compiled in; install ", package, " and build again");
}

static json_t *pictures(void)
{
    const char *ffmpeg = ts_video_program();
    json_t *all = json_object();
    json_object_set_new(all, "drawing", library(ts_skeleton_library(), "libcairo2-dev"));
    json_object_set_new(all, "gif", library(ts_gif_library(), "libgif-dev"));
    json_object_set_new(all, "mp4", json_string(ffmpeg ? ffmpeg : "ffmpeg is not installed"));
    return all;
}

/* --- memory, disk, limits ----------------------------------------------------------------------------------------- */

static json_t *amount(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *memory(void)
{
    char line[LINE_BYTES];
    int64_t total = meminfo("MemTotal"), available = meminfo("MemAvailable");
    json_t *all = json_object();
    json_object_set_new(all, "total_bytes", amount(total < 0 ? -1 : total * 1024));
    json_object_set_new(all, "available_bytes", amount(available < 0 ? -1 : available * 1024));
    first_line("/sys/fs/cgroup/memory.max", line);
    json_object_set_new(all, "cgroup_memory_max", *line ? json_string(line) : json_null());
    first_line("/sys/kernel/mm/transparent_hugepage/enabled", line);
    json_object_set_new(all, "transparent_huge_pages", *line ? json_string(line) : json_null());
    json_object_set_new(all, "huge_pages", amount(meminfo("HugePages_Total")));
    return all;
}

static int64_t free_disk(const char *path)
{
    struct statvfs fs;
    return statvfs(path, &fs) == 0 ? (int64_t)fs.f_bavail * (int64_t)fs.f_frsize : -1;
}

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

static json_t *disk(void)
{
    json_t *all = json_object();
    json_object_set_new(all, "here_free_bytes", amount(free_disk(".")));
    json_object_set_new(all, "temporary_free_bytes", amount(free_disk(temporary_folder())));
    return all;
}

static json_t *limits(void)
{
    static const struct {
        const char *name;
        int which;
    } rows[] = {{"memory_bytes", RLIMIT_AS},
                {"file_size_bytes", RLIMIT_FSIZE},
                {"stack_bytes", RLIMIT_STACK},
                {"open_files", RLIMIT_NOFILE}};
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rlimit limit;
        bool known = getrlimit(rows[i].which, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
        json_object_set_new(all, rows[i].name, known ? json_integer((json_int_t)limit.rlim_cur) : json_string("none"));
    }
    return all;
}

/* --- warnings ----------------------------------------------------------------------------------------------------- */

static json_t *warnings(const json_t *openmp)
{
    const int64_t little = (int64_t)1 << 30;
    const char *omp = getenv("OMP_NUM_THREADS");
    int64_t disk_here = free_disk("."), available = meminfo("MemAvailable");
    struct rlimit file_size;
    json_t *all = json_array();
    if (json_array_size(openmp) > 1)
        json_array_append_new(all,
                              json_string("two OpenMP runtimes are loaded: their threads will fight for the cores; "
                                          "build oneDNN and the program with the same one"));
    if (omp && strtol(omp, NULL, 10) > usable_cores())
        json_array_append_new(all, json_string("OMP_NUM_THREADS is larger than the usable cores"));
    if (disk_here >= 0 && disk_here < little)
        json_array_append_new(all, json_string("less than 1 GiB is free on this disk"));
    if (available >= 0 && available < little / 1024)
        json_array_append_new(all, json_string("less than 1 GiB of memory is available"));
    if (getrlimit(RLIMIT_FSIZE, &file_size) == 0 && file_size.rlim_cur < (rlim_t)little)
        json_array_append_new(all, json_string("files may not grow to 1 GiB (ulimit -f): checkpoints can fail"));
    return all;
}

ts_status ts_cmd_doctor(const ts_arguments *a, int *exit_code, ts_error *err)
{
    (void)exit_code;
    json_t *libraries = json_array(), *openmp = json_array(), *all = json_object();
    list_libraries(libraries, openmp);
    json_object_set_new(all, "version", json_string(a->program->version));
    json_object_set_new(all, "compiler", json_string(__VERSION__));
    json_object_set_new(all, "oneDNN", json_string(ts_cpu_onednn()));
    json_object_set_new(all, "HDF5", json_string(ts_h5_version()));
    json_object_set_new(all, "pictures_of_motion", pictures());
    json_object_set_new(all, "devices", devices());
    json_object_set_new(all, "threads", threads());
    json_object_set_new(all, "instruction_sets", instruction_sets());
    json_object_set_new(all, "openmp", openmp);
    json_object_set_new(all, "libraries", libraries);
    json_object_set_new(all, "memory", memory());
    json_object_set_new(all, "disk", disk());
    json_object_set_new(all, "limits", limits());
    json_object_set_new(all, "warnings", warnings(openmp));
    return ts_answer_show(all, ts_arguments_flag(a, "json"), stdout, err);
}
