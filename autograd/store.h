/* The store: every tensor that outlives a step. Parameters lie in parallel blocks with equal offsets (value, gradient,
 * Adam's moments, moving average), so that an optimizer step, clipping and a checkpoint are passes over memory;
 * quantizer sums, counts and running statistics lie in a block of their own.
 *
 * Life: variables are added while the training graph is built; ts_store_seal sorts them, gives them their places and
 * draws the initial values; from then on graphs only look up. */
#ifndef TS_AUTOGRAD_STORE_H
#define TS_AUTOGRAD_STORE_H

#include "core/device.h"
#include "core/memory.h"
#include "core/tensor.h"

/* What a parameter is decides its optimizer group. The order is that of the blocks. */
typedef enum {
    TS_ROLE_WEIGHT,
    TS_ROLE_BIAS,
    TS_ROLE_NORM,
    TS_ROLE_CODEBOOK,
    TS_ROLE_COUNT,
    TS_ROLE_STATE = TS_ROLE_COUNT
} ts_role;
const char *ts_role_name(ts_role role);

enum { TS_BLOCK_VALUE, TS_BLOCK_GRAD, TS_BLOCK_M, TS_BLOCK_V, TS_BLOCK_EMA, TS_BLOCK_STATE, TS_BLOCK_COUNT };

typedef enum { TS_INIT_CONSTANT, TS_INIT_UNIFORM, TS_INIT_NORMAL, TS_INIT_COPY, TS_INIT_ORTHOGONAL } ts_init_kind;

/* How a variable starts. Draws are Philox keyed by (seed, hash of the path), element by element, on the host. */
typedef struct {
    ts_init_kind kind;
    double a, b;      /* CONSTANT: a. UNIFORM: from a to b. NORMAL: mean a, deviation b. ORTHOGONAL, [n, n]: neither */
    const char *path; /* COPY: of this variable (same shape), after its own initialisation */
} ts_init;

#define TS_ZEROS                   ((ts_init){TS_INIT_CONSTANT, 0, 0, NULL})
#define TS_ONES                    ((ts_init){TS_INIT_CONSTANT, 1, 0, NULL})
#define TS_UNIFORM(from, to)       ((ts_init){TS_INIT_UNIFORM, (from), (to), NULL})
#define TS_NORMAL(mean, deviation) ((ts_init){TS_INIT_NORMAL, (mean), (deviation), NULL})
#define TS_ORTHOGONAL              ((ts_init){TS_INIT_ORTHOGONAL, 0, 1, NULL})
#define TS_COPY_OF(other)          ((ts_init){TS_INIT_COPY, 0, 0, (other)})

typedef struct ts_variable {
    const char *path; /* "encoder.conv1.weight" */
    ts_role role;     /* TS_ROLE_STATE: not a parameter */
    bool frozen;      /* gets no gradient and no update */
    bool transient;   /* state that means nothing between two steps: no file holds it */
    bool conv_layout; /* [out, k.., in]: files hold [out, in, k..] (core/files/layout.h) */
    ts_type type;
    ts_init init;
    int64_t first; /* parameters: first element in the blocks; state: byte offset / 64 */
} ts_variable;

typedef struct ts_store ts_store;

ts_store *ts_store_new(ts_dtype real); /* NULL when out of memory */
void ts_store_free(ts_store *store);

/* Adds a variable. NULL with a message in *err: the path exists, the store is sealed, or out of memory. The path is
 * copied. */
const ts_variable *ts_store_add(ts_store *store, const ts_variable *variable, ts_error *err);
const ts_variable *ts_store_find(const ts_store *store, const char *path);
bool ts_store_sealed(const ts_store *store);

/* Freezes the parameters whose path starts with `prefix`, before sealing. Returns how many. */
int ts_store_freeze(ts_store *store, const char *prefix);

/* Places: groups by (frozen, role), sorted by path inside. Allocates values and state on the device, draws the initial
 * values from `seed`. */
ts_status ts_store_seal(ts_store *store, ts_device *device, uint64_t seed, ts_error *err);

/* Makes sure that a block exists (GRAD, M, V: zeroed; EMA: a copy of the values). */
ts_status ts_store_need(ts_store *store, int block, ts_error *err);
bool ts_store_has(const ts_store *store, int block);

/* All variables in their order: parameters, then state. */
int ts_store_count(const ts_store *store);
const ts_variable *ts_store_at(const ts_store *store, int i);

/* The trainable parameters of one role: a slice of each block. False where there are none. */
bool ts_store_group(const ts_store *store, ts_role role, int64_t *first, int64_t *count);
/* All trainable parameters: a slice from 0 on. */
int64_t ts_store_trainable_count(const ts_store *store);
int64_t ts_store_parameter_count(const ts_store *store);
size_t ts_store_bytes(const ts_store *store); /* device memory in use */

/* Where a variable lies on the device in this block (STATE for state, whatever `block` says). NULL: no such block. */
void *ts_store_address(const ts_store *store, const ts_variable *variable, int block);
void *ts_store_block(const ts_store *store, int block);

/* Between host memory (the variable's own dtype and layout) and the device. */
void ts_store_set(ts_store *store, const ts_variable *variable, int block, const void *host);
void ts_store_get(const ts_store *store, const ts_variable *variable, int block, void *host);

#endif
