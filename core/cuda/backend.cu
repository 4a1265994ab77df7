/* The CUDA device: memory, one stream, recordings; the module's one exported symbol. */
#include <stdlib.h>
#include <string.h>

#include "core/cuda/library.h"

namespace
{

ts_cuda *cuda_of(ts_device *device)
{
    return static_cast<ts_cuda *>(device->state);
}

ts_status failed(ts_error *err, const char *call, cudaError_t error)
{
    return ts_fail(err, TS_ERR_DEVICE, "CUDA: %s: %s (%s)", call, cudaGetErrorString(error), cudaGetErrorName(error));
}

#define CUDA_TRY(call)                                                                                                 \
    do {                                                                                                               \
        cudaError_t cuda_error_ = (call);                                                                              \
        if (cuda_error_ != cudaSuccess)                                                                                \
            return failed(err, #call, cuda_error_);                                                                    \
    } while (0)

/* Where nobody can be told at once: the device's error. */
#define CUDA_DO(device, call)                                                                                          \
    do {                                                                                                               \
        cudaError_t cuda_error_ = (call);                                                                              \
        if (cuda_error_ != cudaSuccess)                                                                                \
            ts_device_fail(device, "CUDA: %s: %s (%s)", #call, cudaGetErrorString(cuda_error_),                        \
                           cudaGetErrorName(cuda_error_));                                                             \
    } while (0)

/* What the device computes fails long after it was asked for: whoever waits is told, and not of which op. */
void wait(ts_device *device, const char *call, cudaError_t error)
{
    if (error != cudaSuccess)
        ts_device_fail(device, "CUDA: %s: %s (%s)%s", call, cudaGetErrorString(error), cudaGetErrorName(error),
                       device->one_by_one ? "" : "; an op before it failed: with TESSERA_CUDA_SYNC=1 it is named");
}

#define CUDA_WAIT(device, call) wait(device, #call, call)

ts_status open_parts(ts_device *device, ts_cuda *c, ts_error *err)
{
    CUDA_TRY(cudaSetDevice(device->index));
    CUDA_TRY(cudaGetDeviceProperties(&c->properties, device->index));
    CUDA_TRY(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking));
    CUDA_TRY(cudaStreamCreateWithFlags(&c->copies, cudaStreamNonBlocking));
    for (ts_cuda_slot &slot : c->slot) {
        CUDA_TRY(cudaEventCreateWithFlags(&slot.arrived, cudaEventDisableTiming));
        CUDA_TRY(cudaEventCreateWithFlags(&slot.placed, cudaEventDisableTiming));
    }
    return TS_OK;
}

void close_slot(ts_cuda_slot *slot)
{
    cudaFreeHost(slot->host);
    cudaFree(slot->device);
    if (slot->arrived)
        cudaEventDestroy(slot->arrived);
    if (slot->placed)
        cudaEventDestroy(slot->placed);
}

void cuda_close(ts_device *device)
{
    ts_cuda *c = cuda_of(device);
    if (!c)
        return;
#ifndef TS_CUDA_EMULATED
    ts_cublas_close(c);
    ts_cudnn_close(c);
#endif
    for (ts_cuda_slot &slot : c->slot)
        close_slot(&slot);
    if (c->copies)
        cudaStreamDestroy(c->copies);
    if (c->stream)
        cudaStreamDestroy(c->stream);
    ts_free(c);
    device->state = nullptr;
}

void note_properties(ts_device *device, const cudaDeviceProp *p)
{
    int version = 0;
    cudaDriverGetVersion(&version);
    ts_device_note(device, "%s, compute capability %d.%d, %.0f MiB, %d multiprocessors; a driver for CUDA %d.%d",
                   p->name, p->major, p->minor, (double)p->totalGlobalMem / 1048576, p->multiProcessorCount,
                   version / 1000, version % 1000 / 10);
}

bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && strcmp(value, "1") == 0;
}

ts_status cuda_open(ts_device *device, ts_error *err)
{
    int count = 0;
    CUDA_TRY(cudaGetDeviceCount(&count));
    if (device->index >= count)
        return ts_fail(err, TS_ERR_DEVICE, "this machine has %d CUDA device%s, numbered from 0", count,
                       count == 1 ? "" : "s");
    device->state = ts_calloc(1, sizeof(ts_cuda));
    if (!device->state)
        return ts_out_of_memory(err, sizeof(ts_cuda));
    cuda_of(device)->tf32 = is_set("TESSERA_TF32");
    cuda_of(device)->fastest = is_set("TESSERA_CUDA_FASTEST");
    device->one_by_one = is_set("TESSERA_CUDA_SYNC");
    ts_status status = open_parts(device, cuda_of(device), err);
    if (status == TS_OK)
        note_properties(device, &cuda_of(device)->properties);
    else
        cuda_close(device);
    return status;
}

ts_status cuda_alloc(ts_device *device, size_t bytes, void **memory, ts_error *err)
{
    (void)device;
    cudaError_t error = cudaMalloc(memory, bytes ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        size_t free_bytes = 0, total = 0;
        cudaMemGetInfo(&free_bytes, &total);
        return ts_fail(
            err, TS_ERR_DEVICE,
            "%s: out of memory: %.1f MiB asked for, %.1f of %.1f MiB are free; a smaller train.batch needs less",
            "cuda", (double)bytes / 1048576, (double)free_bytes / 1048576, (double)total / 1048576);
    }
    return error == cudaSuccess ? TS_OK : failed(err, "cudaMalloc", error);
}

void cuda_release(ts_device *device, void *memory, size_t bytes)
{
    (void)bytes;
    CUDA_WAIT(device, cudaStreamSynchronize(cuda_of(device)->stream)); /* what still runs may use it */
    CUDA_DO(device, cudaFree(memory));
}

/* Room for `bytes` in a slot that nothing uses. False: the device's error says why not. */
bool make_room(ts_device *device, ts_cuda_slot *slot, size_t bytes)
{
    if (bytes <= slot->bytes)
        return true;
    size_t room = bytes < 4096 ? 4096 : bytes;
    cudaFreeHost(slot->host);
    cudaFree(slot->device);
    slot->host = slot->device = nullptr;
    slot->bytes = 0;
    CUDA_DO(device, cudaMallocHost(&slot->host, room));
    CUDA_DO(device, cudaMalloc(&slot->device, room));
    slot->bytes = slot->host && slot->device ? room : 0;
    return slot->bytes > 0;
}

void cuda_upload(ts_device *device, void *to, const void *from_host, size_t bytes)
{
    ts_cuda *c = cuda_of(device);
    ts_cuda_slot *slot = &c->slot[c->next_slot++ % TS_CUDA_SLOTS];
    if (bytes == 0)
        return;
    CUDA_WAIT(device, cudaEventSynchronize(slot->placed));
    if (!make_room(device, slot, bytes))
        return;
    memcpy(slot->host, from_host, bytes);
    CUDA_DO(device, cudaMemcpyAsync(slot->device, slot->host, bytes, cudaMemcpyHostToDevice, c->copies));
    CUDA_DO(device, cudaEventRecord(slot->arrived, c->copies));
    CUDA_DO(device, cudaStreamWaitEvent(c->stream, slot->arrived, 0));
    CUDA_DO(device, cudaMemcpyAsync(to, slot->device, bytes, cudaMemcpyDeviceToDevice, c->stream));
    CUDA_DO(device, cudaEventRecord(slot->placed, c->stream));
}

void cuda_download(ts_device *device, void *to_host, const void *from, size_t bytes)
{
    ts_cuda *c = cuda_of(device);
    CUDA_DO(device, cudaMemcpyAsync(to_host, from, bytes, cudaMemcpyDeviceToHost, c->stream));
    CUDA_WAIT(device, cudaStreamSynchronize(c->stream));
}

void cuda_copy(ts_device *device, void *to, const void *from, size_t bytes)
{
    CUDA_DO(device, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, cuda_of(device)->stream));
}

void cuda_zero(ts_device *device, void *memory, size_t bytes)
{
    CUDA_DO(device, cudaMemsetAsync(memory, 0, bytes, cuda_of(device)->stream));
}

void cuda_synchronize(ts_device *device)
{
    CUDA_WAIT(device, cudaStreamSynchronize(cuda_of(device)->stream));
}

ts_status cuda_record_begin(ts_device *device, ts_error *err)
{
    CUDA_TRY(cudaStreamBeginCapture(cuda_of(device)->stream, cudaStreamCaptureModeThreadLocal));
    return TS_OK;
}

ts_status cuda_record_end(ts_device *device, void **recording, ts_error *err)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA_TRY(cudaStreamEndCapture(cuda_of(device)->stream, &graph));
    cudaError_t error = cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    if (error != cudaSuccess)
        return failed(err, "cudaGraphInstantiate", error);
    *recording = exec;
    return TS_OK;
}

void cuda_replay(ts_device *device, void *recording)
{
    CUDA_DO(device, cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), cuda_of(device)->stream));
}

void cuda_record_free(ts_device *device, void *recording)
{
    CUDA_DO(device, cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording)));
}

/* Pinned memory that the device writes to by itself, and the mark behind it in the stream. */
struct fetch_state {
    void *host;
    size_t bytes;
    cudaEvent_t made;
};

void cuda_fetch_close(ts_device *device, void *fetch)
{
    fetch_state *f = static_cast<fetch_state *>(fetch);
    if (!f)
        return;
    CUDA_WAIT(device, cudaStreamSynchronize(cuda_of(device)->stream)); /* a copy may be under way */
    cudaFreeHost(f->host);
    if (f->made)
        cudaEventDestroy(f->made);
    ts_free(f);
}

ts_status fill_fetch(fetch_state *f, ts_error *err)
{
    CUDA_TRY(cudaMallocHost(&f->host, f->bytes));
    CUDA_TRY(cudaEventCreateWithFlags(&f->made, cudaEventDisableTiming));
    memset(f->host, 0, f->bytes);
    return TS_OK;
}

ts_status cuda_fetch_open(ts_device *device, size_t bytes, void **fetch, ts_error *err)
{
    fetch_state *f = static_cast<fetch_state *>(ts_calloc(1, sizeof *f));
    if (!f)
        return ts_out_of_memory(err, sizeof *f);
    f->bytes = bytes ? bytes : 1;
    ts_status status = fill_fetch(f, err);
    if (status != TS_OK)
        cuda_fetch_close(device, f);
    *fetch = status == TS_OK ? f : nullptr;
    return status;
}

void cuda_fetch_begin(ts_device *device, void *fetch, const void *from)
{
    fetch_state *f = static_cast<fetch_state *>(fetch);
    cudaStream_t stream = cuda_of(device)->stream;
    CUDA_DO(device, cudaMemcpyAsync(f->host, from, f->bytes, cudaMemcpyDeviceToHost, stream));
    CUDA_DO(device, cudaEventRecord(f->made, stream));
}

const void *cuda_fetch_end(ts_device *device, void *fetch)
{
    fetch_state *f = static_cast<fetch_state *>(fetch);
    CUDA_WAIT(device, cudaEventSynchronize(f->made));
    return f->host;
}

} // namespace

static const ts_backend backend = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .forget = nullptr,
    .synchronize = cuda_synchronize,
    .kernel = ts_cuda_kernel_of,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .replay = cuda_replay,
    .record_free = cuda_record_free,
    .fetch_open = cuda_fetch_open,
    .fetch_begin = cuda_fetch_begin,
    .fetch_end = cuda_fetch_end,
    .fetch_close = cuda_fetch_close,
};

extern "C" __attribute__((visibility("default"))) const ts_backend *ts_cuda_module(int version)
{
    return version == TS_BACKEND_VERSION ? &backend : nullptr;
}
