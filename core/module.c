/* Finds and opens the module with the CUDA backend. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/device.h"

#define MODULE "libtessera-cuda.so"

/* "<folder of the program>/<below>/libtessera-cuda.so"; false where that cannot be said. */
static bool beside_program(char path[PATH_MAX], const char *below)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return false;
    program[n] = '\0';
    *strrchr(program, '/') = '\0';
    return snprintf(path, PATH_MAX, "%s/%s" MODULE, program, below) < PATH_MAX && access(path, F_OK) == 0;
}

/* The file to open: a path, or a bare name that the loader looks for. */
static const char *find(char path[PATH_MAX])
{
    const char *given = getenv("TESSERA_CUDA_MODULE");
    if (given && *given)
        return given;
    return beside_program(path, "") || beside_program(path, "../lib/tessera/") ? path : MODULE;
}

ts_status ts_module_cuda(const ts_backend **backend, ts_error *err)
{
    char path[PATH_MAX];
    const char *file = find(path);
    void *module = dlopen(file, RTLD_NOW | RTLD_LOCAL); /* opened again it is the same one; it is never closed */
    if (!module)
        return ts_fail(err, TS_ERR_DEVICE,
                       "%s; use cpu, or build with -DTESSERA_CUDA=ON and install NVIDIA's driver, cuBLAS and cuDNN",
                       dlerror());
    ts_cuda_module_fn *entry = NULL;
    *(void **)&entry = dlsym(module, "ts_cuda_module");
    *backend = entry ? entry(TS_BACKEND_VERSION) : NULL;
    return *backend ? TS_OK
                    : ts_fail(err, TS_ERR_DEVICE, "%s is of another version of Tessera (expected backend version %d)",
                              file, TS_BACKEND_VERSION);
}
