#include "autograd/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"

enum { STATE_ALIGN = 64 };

struct ts_store {
    ts_dtype real;
    ts_arena arena;
    ts_variable **variables; /* sealed: in the order of the blocks */
    int count, capacity;
    ts_device *device; /* set when sealed */
    void *block[TS_BLOCK_COUNT];
    int64_t parameter_count, trainable_count;
    size_t state_bytes;
};

const char *ts_role_name(ts_role role)
{
    static const char *const names[] = {"weight", "bias", "norm", "codebook", "state"};
    return names[role];
}

ts_store *ts_store_new(ts_dtype real)
{
    ts_store *store = ts_calloc(1, sizeof *store);
    if (store)
        store->real = real;
    return store;
}

static size_t block_bytes(const ts_store *store, int block)
{
    return block == TS_BLOCK_STATE ? store->state_bytes : (size_t)store->parameter_count * ts_dtype_bytes(store->real);
}

void ts_store_free(ts_store *store)
{
    if (!store)
        return;
    for (int b = 0; b < TS_BLOCK_COUNT; b++)
        if (store->block[b])
            store->device->backend->release(store->device, store->block[b], block_bytes(store, b));
    ts_free(store->variables);
    ts_arena_clear(&store->arena);
    ts_free(store);
}

bool ts_store_sealed(const ts_store *store)
{
    return store->device != NULL;
}

const ts_variable *ts_store_find(const ts_store *store, const char *path)
{
    for (int i = 0; i < store->count; i++)
        if (strcmp(store->variables[i]->path, path) == 0)
            return store->variables[i];
    return NULL;
}

const ts_variable *ts_store_add(ts_store *store, const ts_variable *variable, ts_error *err)
{
    if (ts_store_sealed(store)) {
        ts_fail(err, TS_ERR_RUNTIME, "%s: the store is sealed; only the training graph adds variables", variable->path);
        return NULL;
    }
    if (ts_store_find(store, variable->path)) {
        ts_fail(err, TS_ERR_USAGE, "%s: opened twice; two layers share one path", variable->path);
        return NULL;
    }
    if (store->count == store->capacity) {
        int wanted = store->capacity ? store->capacity * 2 : 64;
        ts_variable **grown = ts_realloc(store->variables, (size_t)wanted, sizeof *grown);
        if (!grown) {
            ts_out_of_memory(err, (size_t)wanted * sizeof *grown);
            return NULL;
        }
        store->variables = grown;
        store->capacity = wanted;
    }
    ts_variable *copy = ts_arena_alloc(&store->arena, sizeof *copy);
    char *path = copy ? ts_arena_strdup(&store->arena, variable->path) : NULL;
    if (!path) {
        ts_out_of_memory(err, sizeof *copy);
        return NULL;
    }
    *copy = *variable;
    copy->path = path;
    if (variable->init.path && !(copy->init.path = ts_arena_strdup(&store->arena, variable->init.path))) {
        ts_out_of_memory(err, strlen(variable->init.path));
        return NULL;
    }
    store->variables[store->count++] = copy;
    return copy;
}

int ts_store_freeze(ts_store *store, const char *prefix)
{
    int frozen = 0;
    for (int i = 0; i < store->count; i++) {
        ts_variable *v = store->variables[i];
        if (v->role == TS_ROLE_STATE || strncmp(v->path, prefix, strlen(prefix)) != 0)
            continue;
        v->frozen = true;
        frozen++;
    }
    return frozen;
}

/* Trainable parameters by role, then frozen ones, then state; by path inside. */
static int by_place(const void *a, const void *b)
{
    const ts_variable *x = *(ts_variable *const *)a, *y = *(ts_variable *const *)b;
    int gx = x->role == TS_ROLE_STATE ? 2 * TS_ROLE_COUNT : (int)x->role + (x->frozen ? (int)TS_ROLE_COUNT : 0);
    int gy = y->role == TS_ROLE_STATE ? 2 * TS_ROLE_COUNT : (int)y->role + (y->frozen ? (int)TS_ROLE_COUNT : 0);
    return gx != gy ? gx - gy : strcmp(x->path, y->path);
}

static void place(ts_store *store)
{
    if (store->count)
        qsort(store->variables, (size_t)store->count, sizeof *store->variables, by_place);
    for (int i = 0; i < store->count; i++) {
        ts_variable *v = store->variables[i];
        int64_t n = ts_shape_count(v->type.shape);
        if (v->role == TS_ROLE_STATE) {
            size_t bytes = (size_t)n * ts_dtype_bytes(v->type.dtype);
            v->first = (int64_t)(store->state_bytes / STATE_ALIGN);
            store->state_bytes += (bytes + STATE_ALIGN - 1) / STATE_ALIGN * STATE_ALIGN;
        } else {
            v->first = store->parameter_count;
            store->parameter_count += n;
            store->trainable_count += v->frozen ? 0 : n;
        }
    }
}

static double draw(const ts_init *init, ts_random_key key, uint64_t i)
{
    switch (init->kind) {
    case TS_INIT_UNIFORM:
        return init->a + (init->b - init->a) * (double)ts_random_uniform(key, 0, i);
    case TS_INIT_NORMAL:
    case TS_INIT_ORTHOGONAL:
        return init->a + init->b * (double)ts_random_normal(key, 0, i);
    default:
        return init->a;
    }
}

static void write_element(ts_dtype dtype, void *host, int64_t i, double x)
{
    switch (dtype) {
    case TS_F32:
        ((float *)host)[i] = (float)x;
        break;
    case TS_F64:
        ((double *)host)[i] = x;
        break;
    case TS_BF16:
        ((uint16_t *)host)[i] = ts_bf16_from_f32((float)x);
        break;
    case TS_I32:
        ((int32_t *)host)[i] = (int32_t)x;
        break;
    case TS_I64:
        ((int64_t *)host)[i] = (int64_t)x;
        break;
    default:
        ((uint8_t *)host)[i] = (uint8_t)x;
    }
}

/* Subtracts from row `r` of m [.., n] what it shares with the rows before it, and scales it to length 1. */
static void make_orthogonal(double *m, int64_t n, int64_t r)
{
    double *row = m + r * n, square = 0;
    for (int64_t q = 0; q < 2 * r; q++) { /* all of them twice: the second pass removes the first one's rounding */
        const double *other = m + q % r * n;
        double shared = 0;
        for (int64_t i = 0; i < n; i++)
            shared += row[i] * other[i];
        for (int64_t i = 0; i < n; i++)
            row[i] -= shared * other[i];
    }
    for (int64_t i = 0; i < n; i++)
        square += row[i] * row[i];
    for (int64_t i = 0; i < n; i++)
        row[i] /= sqrt(square);
}

/* Gram-Schmidt on a normal draw [n, n]: any rotation or reflection, all alike. */
static ts_status draw_orthogonal(const ts_variable *v, ts_random_key key, void *host, ts_error *err)
{
    int64_t n = v->type.shape.dim[0], count = n * n;
    if (!TS_ASSERT(v->type.shape.rank == 2 && v->type.shape.dim[1] == n))
        return ts_fail(err, TS_ERR_RUNTIME, "internal error: %s: an orthogonal matrix of %s", v->path,
                       ts_shape_print(v->type.shape).text);
    double *m = ts_alloc((size_t)count * sizeof *m);
    if (!m)
        return ts_out_of_memory(err, (size_t)count * sizeof *m);
    for (int64_t i = 0; i < count; i++)
        m[i] = draw(&v->init, key, (uint64_t)i);
    for (int64_t r = 0; r < n; r++)
        make_orthogonal(m, n, r);
    for (int64_t i = 0; i < count; i++)
        write_element(v->type.dtype, host, i, m[i]);
    ts_free(m);
    return TS_OK;
}

static ts_status initialise(ts_store *store, const ts_variable *v, uint64_t seed, ts_error *err)
{
    ts_tensor t = {v->type.dtype, v->type.shape, NULL};
    size_t bytes = ts_tensor_bytes(&t);
    void *host = ts_alloc(bytes);
    if (!host)
        return ts_out_of_memory(err, bytes);
    const ts_variable *source = v->init.kind == TS_INIT_COPY ? ts_store_find(store, v->init.path) : NULL;
    ts_random_key key = {seed, ts_random_stream(v->path)};
    ts_status status = TS_OK;
    if (source) {
        ts_store_get(store, source, TS_BLOCK_VALUE, host);
    } else if (v->init.kind == TS_INIT_ORTHOGONAL) {
        status = draw_orthogonal(v, key, host, err);
    } else {
        int64_t n = ts_shape_count(v->type.shape);
        for (int64_t i = 0; i < n; i++)
            write_element(v->type.dtype, host, i, draw(&v->init, key, (uint64_t)i));
    }
    if (status == TS_OK)
        ts_store_set(store, v, TS_BLOCK_VALUE, host);
    ts_free(host);
    return status;
}

ts_status ts_store_seal(ts_store *store, ts_device *device, uint64_t seed, ts_error *err)
{
    place(store);
    store->device = device;
    TS_TRY(ts_store_need(store, TS_BLOCK_VALUE, err));
    TS_TRY(ts_store_need(store, TS_BLOCK_STATE, err));
    for (int copies = 0; copies < 2; copies++) /* copies come after what they copy */
        for (int i = 0; i < store->count; i++)
            if ((store->variables[i]->init.kind == TS_INIT_COPY) == copies)
                TS_TRY(initialise(store, store->variables[i], seed, err));
    return TS_OK;
}

ts_status ts_store_need(ts_store *store, int block, ts_error *err)
{
    size_t bytes = block_bytes(store, block);
    if (store->block[block])
        return TS_OK;
    const ts_backend *backend = store->device->backend;
    TS_TRY(backend->alloc(store->device, bytes, &store->block[block], err));
    if (block == TS_BLOCK_EMA)
        backend->copy(store->device, store->block[block], store->block[TS_BLOCK_VALUE], bytes);
    else
        backend->zero(store->device, store->block[block], bytes);
    return TS_OK;
}

bool ts_store_has(const ts_store *store, int block)
{
    return store->block[block] != NULL;
}

int ts_store_count(const ts_store *store)
{
    return store->count;
}

const ts_variable *ts_store_at(const ts_store *store, int i)
{
    return store->variables[i];
}

bool ts_store_group(const ts_store *store, ts_role role, int64_t *first, int64_t *count)
{
    *first = *count = 0;
    for (int i = 0; i < store->count; i++) {
        const ts_variable *v = store->variables[i];
        if (v->role != role || v->frozen)
            continue;
        if (*count == 0)
            *first = v->first;
        *count += ts_shape_count(v->type.shape);
    }
    return *count > 0;
}

int64_t ts_store_trainable_count(const ts_store *store)
{
    return store->trainable_count;
}

int64_t ts_store_parameter_count(const ts_store *store)
{
    return store->parameter_count;
}

size_t ts_store_bytes(const ts_store *store)
{
    size_t bytes = 0;
    for (int b = 0; b < TS_BLOCK_COUNT; b++)
        bytes += store->block[b] ? block_bytes(store, b) : 0;
    return bytes;
}

void *ts_store_block(const ts_store *store, int block)
{
    return store->block[block];
}

void *ts_store_address(const ts_store *store, const ts_variable *v, int block)
{
    if (v->role == TS_ROLE_STATE)
        return (char *)store->block[TS_BLOCK_STATE] + v->first * STATE_ALIGN;
    char *base = store->block[block];
    return base ? base + (size_t)v->first * ts_dtype_bytes(store->real) : NULL;
}

static size_t variable_bytes(const ts_variable *v)
{
    return (size_t)ts_shape_count(v->type.shape) * ts_dtype_bytes(v->type.dtype);
}

void ts_store_set(ts_store *store, const ts_variable *v, int block, const void *host)
{
    store->device->backend->upload(store->device, ts_store_address(store, v, block), host, variable_bytes(v));
}

void ts_store_get(const ts_store *store, const ts_variable *v, int block, void *host)
{
    store->device->backend->download(store->device, host, ts_store_address(store, v, block), variable_bytes(v));
}
