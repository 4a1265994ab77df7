#include "train/column_sums.h"

#include <math.h>

ts_status ts_column_sums_init(ts_column_sums *s, int64_t columns, ts_error *err)
{
    size_t n = (size_t)columns;
    double *room = ts_calloc(3 * n, sizeof *room);
    *s = (ts_column_sums){.columns = columns, .shift = room};
    if (!room)
        return ts_out_of_memory(err, 3 * n * sizeof *room);
    s->sum = room + n;
    s->square = room + 2 * n;
    return TS_OK;
}

void ts_column_sums_clear(ts_column_sums *s)
{
    ts_free(s->shift);
    *s = (ts_column_sums){0};
}

void ts_column_sums_add(ts_column_sums *s, const float *x, int64_t frames)
{
    for (int64_t i = 0; s->frames == 0 && i < s->columns; i++)
        s->shift[i] = (double)x[i];
    for (int64_t t = 0; t < frames; t++, x += s->columns)
        for (int64_t i = 0; i < s->columns; i++) {
            double d = (double)x[i] - s->shift[i];
            s->sum[i] += d;
            s->square[i] += d * d;
        }
    s->frames += frames;
}

void ts_column_sums_result(const ts_column_sums *s, float *mean, float *std)
{
    for (int64_t i = 0; i < s->columns; i++) {
        double m = s->sum[i] / (double)s->frames, var = s->square[i] / (double)s->frames - m * m;
        mean[i] = (float)(s->shift[i] + m);
        std[i] = var > 1e-12 * (1 + mean[i] * mean[i]) ? (float)sqrt(var) : 0;
    }
}

void ts_std_share_in_groups(const ts_motion_layout *l, float *std)
{
    const ts_columns groups[] = {{l->root.first, 1}, {l->root.first + 1, 2}, {l->height, 1}, l->positions,
                                 l->rotations,       l->velocities,          l->contacts};
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        double sum = 0;
        for (int64_t i = 0; i < groups[g].count; i++)
            sum += (double)std[groups[g].first + i];
        for (int64_t i = 0; i < groups[g].count; i++)
            std[groups[g].first + i] = (float)(sum / (double)groups[g].count);
    }
}
