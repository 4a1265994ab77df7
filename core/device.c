#define _GNU_SOURCE
#include "core/device.h"

#include <ctype.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/widen.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

void ts_flush_denormals(int threads)
{
#if defined(__SSE__)
    /* MXCSR belongs to a thread: bits 15 (flush to zero) and 6 (denormals are zero) */
#pragma omp parallel num_threads(threads)
    _mm_setcsr(_mm_getcsr() | 0x8040u);
#else
    (void)threads;
#endif
}

ts_thread_state ts_thread_state_now(void)
{
    ts_thread_state now = {.threads = omp_get_max_threads()};
#if defined(__SSE__)
    now.denormals = _mm_getcsr();
#endif
    return now;
}

ts_thread_state ts_device_enter(const ts_device *device)
{
    ts_thread_state before = ts_thread_state_now();
    omp_set_num_threads(device->threads > 0 ? device->threads : 1);
    ts_flush_denormals(device->threads > 0 ? device->threads : 1);
    return before;
}

void ts_thread_leave(ts_thread_state before)
{
    omp_set_num_threads(before.threads);
#if defined(__SSE__)
    _mm_setcsr(before.denormals);
#endif
}

static int usable_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static ts_status cpu_open(ts_device *device, ts_error *err)
{
    (void)err;
    omp_set_num_threads(device->threads);
    omp_set_dynamic(0);
    ts_flush_denormals(device->threads);
    return TS_OK;
}

static ts_status ref_open(ts_device *device, ts_error *err)
{
    (void)err;
    device->threads = 1;
    return TS_OK;
}

static void host_close(ts_device *device)
{
    (void)device;
}

static ts_status host_alloc(ts_device *device, size_t bytes, void **memory, ts_error *err)
{
    (void)device;
    *memory = ts_alloc_aligned(bytes);
    return *memory ? TS_OK : ts_out_of_memory(err, bytes);
}

static void host_release(ts_device *device, void *memory, size_t bytes)
{
    (void)device;
    ts_free_aligned(memory, bytes);
}

static void host_copy(ts_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes)
        memcpy(to, from, bytes);
}

static void host_zero(ts_device *device, void *memory, size_t bytes)
{
    (void)device;
    if (bytes)
        memset(memory, 0, bytes);
}

static void host_forget(ts_device *device, void *memory, size_t bytes)
{
    (void)device;
    ts_forget_aligned(memory, bytes);
}

static void host_synchronize(ts_device *device)
{
    (void)device;
}

/* f64 anywhere among the operands: the op is one of a graph built in double. */
static bool is_wide(const ts_desc *desc)
{
    for (int i = 0; i < desc->in_count; i++)
        if (desc->in[i].dtype == TS_F64)
            return true;
    for (int i = 0; i < desc->out_count; i++)
        if (desc->out[i].dtype == TS_F64)
            return true;
    return false;
}

static const ts_kernel *ref_kernel_of(ts_device *device, const ts_desc *desc)
{
    (void)device;
    return ts_needs_widening(desc) ? &ts_widened : ts_ref_kernel(desc->op, is_wide(desc));
}

static const ts_kernel *cpu_kernel_of(ts_device *device, const ts_desc *desc)
{
    const ts_kernel *fast = is_wide(desc) ? NULL : ts_cpu_kernel(desc->op);
    if (fast && ts_needs_widening(desc) && !fast->bf16)
        fast = NULL;
    return fast && (!fast->accepts || fast->accepts(desc)) ? fast : ref_kernel_of(device, desc);
}

/* What every backend on the host shares. */
#define HOST_MEMORY                                                                                                    \
    .close = host_close, .alloc = host_alloc, .release = host_release, .upload = host_copy, .download = host_copy,     \
    .copy = host_copy, .zero = host_zero, .forget = host_forget, .synchronize = host_synchronize

static const ts_backend cpu_backend = {.name = "cpu", .open = cpu_open, .kernel = cpu_kernel_of, HOST_MEMORY};
static const ts_backend ref_backend = {.name = "ref", .open = ref_open, .kernel = ref_kernel_of, HOST_MEMORY};

/* "cuda" or "cuda:3" */
static bool is_cuda(const char *spec, int *index)
{
    char *end;
    *index = 0;
    if (strcmp(spec, "cuda") == 0)
        return true;
    if (strncmp(spec, "cuda:", 5) != 0 || !isdigit((unsigned char)spec[5]))
        return false;
    long number = strtol(spec + 5, &end, 10);
    *index = (int)number;
    return *end == '\0' && number <= 1023;
}

static ts_status pick_backend(const char *spec, int *index, const ts_backend **backend, ts_error *err)
{
    *index = 0;
    if (strcmp(spec, "cpu") == 0)
        *backend = &cpu_backend;
    else if (strcmp(spec, "ref") == 0)
        *backend = &ref_backend;
    else if (is_cuda(spec, index))
        return ts_module_cuda(backend, err);
    else
        return ts_fail(err, TS_ERR_DEVICE, "expected auto, cpu, ref, cuda or cuda:N");
    return TS_OK;
}

static ts_status open_device(const char *spec, int threads, ts_device **device, ts_error *err)
{
    const ts_backend *backend = &cpu_backend;
    int index;
    TS_TRY(pick_backend(spec, &index, &backend, err));
    ts_device *d = ts_calloc(1, sizeof *d);
    if (!d)
        return ts_out_of_memory(err, sizeof *d);
    d->backend = backend;
    d->index = index;
    d->threads = threads > 0 ? threads : usable_cores();
    ts_status status = backend->open(d, err);
    if (status != TS_OK)
        ts_free(d);
    else
        *device = d;
    return status;
}

ts_status ts_device_open(const char *spec, int threads, ts_device **device, ts_error *err)
{
    *device = NULL;
    if (strcmp(spec, "auto") != 0) {
        ts_status status = open_device(spec, threads, device, err);
        return status == TS_OK ? status : ts_error_prefix(err, "device %s", spec);
    }
    return open_device("cuda", threads, device, NULL) == TS_OK ? TS_OK : open_device("cpu", threads, device, err);
}

void ts_device_close(ts_device *device)
{
    if (!device)
        return;
    device->backend->close(device);
    ts_free(device);
}
