/* How things fail.
 *
 * A function that can fail for a reason outside the program (a file, a config, a device) returns ts_status and takes,
 * last, a caller-owned ts_error that receives one clear line: what was expected, what was found, where, what to do.
 * While a graph is built, errors are sticky instead (autograd/graph.h). Impossible states are TS_ASSERT. */
#ifndef TS_CORE_STATUS_H
#define TS_CORE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* The values are the program's exit codes. */
typedef enum {
    TS_OK = 0,
    TS_ERR_RUNTIME = 1,    /* out of memory, non-finite loss, an internal error */
    TS_ERR_USAGE = 2,      /* command line or config */
    TS_ERR_DATA = 3,       /* a data set or an input file */
    TS_ERR_CHECKPOINT = 4, /* a checkpoint, or another file with weights or tokens */
    TS_ERR_DEVICE = 5,     /* no such device, or it failed */
} ts_status;

/* The place of an error's text. Caller-owned, `{0}` is empty. Every function accepts NULL where the text is not wanted.
 */
typedef struct {
    ts_status code;
    char text[1024]; /* one line, no final newline; cut at the end where it is too long */
} ts_error;

/* Before a small function that a GPU's kernels call as well. */
#if defined(__CUDACC__)
#define TS_BOTH_SIDES __host__ __device__
#else
#define TS_BOTH_SIDES
#endif

#if defined(__GNUC__)
#define TS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define TS_WARN_UNUSED       __attribute__((warn_unused_result))
#else
#define TS_PRINTF(fmt, args)
#define TS_WARN_UNUSED
#endif

/* Sets code and text, and returns code: `return ts_fail(err, TS_ERR_DATA, "%s: ...", path);` */
ts_status ts_fail(ts_error *err, ts_status code, const char *format, ...) TS_PRINTF(3, 4);

/* Puts "prefix: " before the text that is there, for a caller that knows the place. Returns err's code. */
ts_status ts_error_prefix(ts_error *err, const char *format, ...) TS_PRINTF(2, 3);

/* "data error", "usage error" ... for a message on the terminal. */
const char *ts_status_name(ts_status code);

/* Forwards a failure to the caller. */
#define TS_TRY(call)                                                                                                   \
    do {                                                                                                               \
        ts_status ts_try_status_ = (call);                                                                             \
        if (ts_try_status_ != TS_OK)                                                                                   \
            return ts_try_status_;                                                                                     \
    } while (0)

/* The same in a function that has something to clean up: needs a local `ts_status status` and a label `out`. */
#define TS_GO(call)                                                                                                    \
    do {                                                                                                               \
        status = (call);                                                                                               \
        if (status != TS_OK)                                                                                           \
            goto out;                                                                                                  \
    } while (0)

/* A state that no input can bring about. In a build with tests it aborts, so that the test fails at the place; in a
 * release build it returns false, and the caller reports an internal error. Use as
 * `if (!TS_ASSERT(x)) return ts_fail(err, TS_ERR_RUNTIME, "internal error: ...");` */
#define TS_ASSERT(condition) ((condition) ? true : ts_assert_failed(#condition, __FILE__, __LINE__))
bool ts_assert_failed(const char *condition, const char *file, int line);

#endif
