#include "core/fsq.h"

#include <string.h>

static const double eps = 1e-3;

/* Of dim i. The order of operations and the precision of each are upstream's. */
static void set_constants(ts_fsq_table *f, int i, ts_fsq_bound bound)
{
    int32_t levels = f->level[i];
    float offset = levels % 2 == 0 && bound != TS_FSQ_SYMMETRIC ? 0.5f : 0;
    f->half[i] = levels / 2;
    f->offset[i] = offset;
    if (bound == TS_FSQ_SYMMETRIC) {
        f->width[i] = (float)(levels - 1) / 2;
        f->slope[i] = 1;
        return;
    }
    double width = (levels - 1) * (1 - eps) / 2;
    f->width[i] = bound == TS_FSQ_GOOGLE ? (float)width : (float)(levels - 1) * (float)(1 + eps) / 2;
    float ratio = bound == TS_FSQ_GOOGLE ? (float)(offset / width) : offset / f->width[i];
    f->shift[i] = f->hard_clamp ? ratio : bound == TS_FSQ_GOOGLE ? tanf(ratio) : atanhf(ratio);
    f->slope[i] = f->width[i] / (float)f->half[i];
}

static ts_status check_level(const ts_fsq_opts *opts, int i, ts_error *err)
{
    int32_t levels = opts->level[i];
    if (levels < 2 || levels > TS_FSQ_MOST_LEVELS)
        return ts_fail(err, TS_ERR_USAGE, "levels[%d] is %d; expected 2 to %d", i, levels, TS_FSQ_MOST_LEVELS);
    if (levels == 2 && opts->bound == TS_FSQ_LUCIDRAINS)
        return ts_fail(err, TS_ERR_USAGE,
                       "levels[%d] is 2, which needs the symmetric or google bound; otherwise 3 is the least", i);
    return TS_OK;
}

ts_status ts_fsq_table_init(ts_fsq_table *table, const ts_fsq_opts *opts, ts_error *err)
{
    memset(table, 0, sizeof *table);
    if (opts->count < 1 || opts->count > TS_MAX_LEVELS)
        return ts_fail(err, TS_ERR_USAGE, "%d levels; expected 1 to %d of them", opts->count, TS_MAX_LEVELS);
    table->count = opts->count;
    table->symmetric = opts->bound == TS_FSQ_SYMMETRIC;
    table->hard_clamp = opts->hard_clamp;
    table->size = 1;
    for (int i = 0; i < opts->count; i++) {
        TS_TRY(check_level(opts, i, err));
        table->level[i] = opts->level[i];
        table->basis[i] = table->size;
        set_constants(table, i, opts->bound);
        if (__builtin_mul_overflow(table->size, opts->level[i], &table->size))
            return ts_fail(err, TS_ERR_USAGE,
                           "the product of the levels exceeds 2147483647 codes, the most an id can name");
    }
    return TS_OK;
}
