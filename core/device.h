/* A device: memory, and kernels for the ops. The engine reaches memory and arithmetic only through this table. Two are
 * built in: `cpu` (the fast kernels, the reference loops where there is none) and `ref` (reference loops only, one
 * thread: the oracle; the only one with f64). `cuda` is a module that is opened at run time (core/module.c), so that
 * the program starts where neither driver nor NVIDIA's libraries are. */
#ifndef TS_CORE_DEVICE_H
#define TS_CORE_DEVICE_H

#include "core/op.h"

typedef struct ts_device ts_device;

typedef struct {
    const char *name; /* "cpu" */
    ts_status (*open)(ts_device *device, ts_error *err);
    void (*close)(ts_device *device);
    ts_status (*alloc)(ts_device *device, size_t bytes, void **memory, ts_error *err); /* not zeroed, aligned to 64 */
    void (*release)(ts_device *device, void *memory, size_t bytes);
    void (*upload)(ts_device *device, void *to, const void *from_host, size_t bytes);
    void (*download)(ts_device *device, void *to_host, const void *from, size_t bytes); /* waits */
    void (*copy)(ts_device *device, void *to, const void *from, size_t bytes);
    void (*zero)(ts_device *device, void *memory, size_t bytes);
    /* What is in the memory is not needed any more, though the memory will be. NULL: nothing to gain. */
    void (*forget)(ts_device *device, void *memory, size_t bytes);
    void (*synchronize)(ts_device *device);
    const ts_kernel *(*kernel)(ts_device *device, const ts_desc *desc); /* NULL: the backend has none for this desc */

    /* A recording of what kernels enqueue between begin and end (which does not run then), to be replayed any number
     * of times at the cost of one launch. NULL where the backend has nothing to gain. */
    ts_status (*record_begin)(ts_device *device, ts_error *err);
    ts_status (*record_end)(ts_device *device, void **recording, ts_error *err);
    void (*replay)(ts_device *device, void *recording);
    void (*record_free)(ts_device *device, void *recording);

    /* A download that does not wait: `begin` enqueues a copy of `bytes` into host memory of the backend's, `end` waits
     * until that copy is made (not for what was enqueued behind it) and gives the memory, which stays as it is until
     * the next begin. NULL where nothing runs beside the host. */
    ts_status (*fetch_open)(ts_device *device, size_t bytes, void **fetch, ts_error *err);
    void (*fetch_begin)(ts_device *device, void *fetch, const void *from);
    const void *(*fetch_end)(ts_device *device, void *fetch);
    void (*fetch_close)(ts_device *device, void *fetch);
} ts_backend;

/* What a module with a backend exports, so that one of another version is refused: it gives NULL for another one. */
enum { TS_BACKEND_VERSION = 5 };
typedef const ts_backend *ts_cuda_module_fn(int version);

struct ts_device {
    const ts_backend *backend;
    int index;        /* cuda:N */
    int threads;      /* CPU threads in use */
    void *state;      /* the backend's own */
    ts_error error;   /* the first failure of a kernel; kept until ts_device_check */
    bool one_by_one;  /* each op is waited for and no program is recorded, so that what fails is told by its op */
    char notes[4096]; /* lines for the log, each once: what a library refused and what runs instead */
};

/* `spec` is auto, cpu, ref, cuda or cuda:N; threads 0: all that this process may run on.
 * Owner: the caller closes it, after everything that lives on it. Errors: TS_ERR_DEVICE, with the reason.
 * Thread: a device is driven by one thread. */
ts_status ts_device_open(const char *spec, int threads, ts_device **device, ts_error *err);
void ts_device_close(ts_device *device);

/* Kernels report here; the first failure is kept. */
void ts_device_fail(ts_device *device, const char *format, ...) TS_PRINTF(2, 3);

/* Adds a line to the device's notes, unless it is there; what does not fit is left out. */
void ts_device_note(ts_device *device, const char *format, ...) TS_PRINTF(2, 3);

/* Waits for the device; returns, and clears, the failure that was kept. */
ts_status ts_device_check(ts_device *device, ts_error *err);

/* Denormals are flushed to zero in the calling thread and every worker: products of them cost a factor of 10 and more.
 */
void ts_flush_denormals(int threads);

/* What computing sets in the calling thread: OpenMP's number of threads, the flushing of denormals. ts_device_open
 * leaves it set in the thread that opens; another one enters first. A library that works in its user's thread leaves it
 * as it was. Thread: the caller's own. */
typedef struct {
    int threads;
    unsigned denormals;
} ts_thread_state;
ts_thread_state ts_thread_state_now(void);
ts_thread_state ts_device_enter(const ts_device *device); /* returns the state before */
void ts_thread_leave(ts_thread_state before);

/* The CUDA backend, from $TESSERA_CUDA_MODULE, or libtessera-cuda.so beside the program, in ../lib/tessera from there,
 * or where the system looks; it stays open. Errors: TS_ERR_DEVICE: no such file, or what it needs is missing (NVIDIA's
 * libraries, with the loader's words). Thread: any. */
ts_status ts_module_cuda(const ts_backend **backend, ts_error *err);

/* The reference kernel of an op for f32 (wide false) or f64; NULL for a leaf or an alias. */
const ts_kernel *ts_ref_kernel(ts_op op, bool wide);
/* The CPU's own kernel of an op; NULL where it has none. */
const ts_kernel *ts_cpu_kernel(ts_op op);
/* The version of oneDNN that runs: "2.6.3". Thread: the text is the calling thread's. */
const char *ts_cpu_onednn(void);

#endif
