/* Finite scalar quantization; the arithmetic is core/fsq.h. */
#include "core/ref/ref.h"

#ifdef TS_REF_DOUBLE
#define TS_FSQ_REAL double
#endif
#include "core/fsq.h"

/* The table of a call (its options were checked when the graph was built), and how many rows of D its ids are. */
static int64_t unpack(ts_fsq_table *f, const ts_call *call, const ts_type *ids)
{
    ts_fsq_table_init(f, &call->desc->attr.fsq, NULL);
    return ts_shape_count(ids->shape);
}

/* z [N, D] -> codes [N, D], ids [N] */
static void quantize(real *codes, int32_t *ids, const real *z, const ts_fsq_table *f, int64_t N)
{
    int32_t level[TS_MAX_LEVELS];
    for (int64_t n = 0; n < N; n++) {
        for (int i = 0; i < f->count; i++) {
            level[i] = ts_fsq_level(f, i, ts_fsq_squash(f, i, z[n * f->count + i]));
            codes[n * f->count + i] = ts_fsq_code(f, i, level[i]);
        }
        ids[n] = ts_fsq_id(f, level);
    }
}

/* dcodes [N, D], z [N, D] -> dz [N, D] */
static void quantize_dx(real *dz, const real *dcodes, const real *z, const ts_fsq_table *f, int64_t N)
{
    for (int64_t n = 0; n < N; n++)
        for (int i = 0; i < f->count; i++) {
            int64_t at = n * f->count + i;
            dz[at] = dcodes[at] * ts_fsq_derivative(f, i, z[at]);
        }
}

void REF(fsq)(const ts_call *call)
{
    ts_fsq_table f;
    int64_t N = unpack(&f, call, &call->desc->out[1]);
    quantize(call->out[0], call->out[1], call->in[0], &f, N);
}

void REF(fsq_dx)(const ts_call *call)
{
    ts_fsq_table f;
    int64_t N = unpack(&f, call, &call->desc->in[0]) / call->desc->attr.fsq.count;
    quantize_dx(call->out[0], call->in[0], call->in[1], &f, N);
}

void REF(fsq_decode)(const ts_call *call)
{
    ts_fsq_table f;
    int64_t N = unpack(&f, call, &call->desc->in[0]);
    const int32_t *ids = call->in[0];
    real *codes = call->out[0];
    for (int64_t n = 0; n < N; n++)
        for (int i = 0; i < f.count; i++)
            codes[n * f.count + i] = ts_fsq_code(&f, i, ts_fsq_level_of_id(&f, i, ids[n]));
}

void REF(fsq_levels)(const ts_call *call)
{
    ts_fsq_table f;
    int64_t N = unpack(&f, call, &call->desc->in[0]);
    const int32_t *ids = call->in[0];
    int32_t *levels = call->out[0];
    for (int64_t n = 0; n < N; n++)
        for (int i = 0; i < f.count; i++)
            levels[n * f.count + i] = ts_fsq_level_of_id(&f, i, ids[n]);
}

void REF(fsq_ids)(const ts_call *call)
{
    ts_fsq_table f;
    int64_t N = unpack(&f, call, &call->desc->out[0]);
    const real *codes = call->in[0];
    int32_t *ids = call->out[0], level[TS_MAX_LEVELS];
    for (int64_t n = 0; n < N; n++) {
        for (int i = 0; i < f.count; i++)
            level[i] = ts_fsq_level_of_code(&f, i, codes[n * f.count + i]);
        ids[n] = ts_fsq_id(&f, level);
    }
}
