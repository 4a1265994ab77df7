/* Rows of a batch as codes: drawn, and by k-means. Random numbers are the device's (autograd/random.h), so the same on
 * every device and any number of threads. */
#ifndef TS_QUANT_KMEANS_H
#define TS_QUANT_KMEANS_H

#include "core/option.h"
#include "quant/codebook.h"

/* rows [N, D], mask [N] or absent -> [K, D]: a systematic sample of the V rows that count. Code i takes row
 * floor(V frac(i/K + w)), with one w of U(0, 1): every row is as likely for every code, and no row is taken twice where
 * K <= V (but for rounding), else copies get noise, as in ts_rows_apart. Rows of 0 where none counts.
 *   grad    none
 *   errors  the scope has no random numbers */
ts_value ts_drawn_rows(ts_scope s, ts_value rows, ts_value mask, int64_t codes);

/* `tiled` [K, D], taken from rows; where K is more than those that count, with noise of deviation 0.01/sqrt(D), so that
 * no two codes are the same. With a mask, how many count is known only when the graph is run.
 *   errors  noise may be needed, and the scope has no random numbers */
ts_value ts_rows_apart(ts_scope s, ts_value tiled, ts_value rows, ts_value mask);

typedef struct {
    ts_value centres; /* [K, D], of all codebooks */
    ts_value count;   /* [K], rows of each in the last round; 1 for an empty one */
} ts_clusters;

/* So many of Lloyd's rounds from drawn rows, in each codebook from its own. An empty cluster keeps its centre, and
 * counts as one row. `unit`: centres are brought to length 1, as the rows are, so that the nearest is the one with the
 * largest cosine.  rows [R, W] and mask [R] or absent of ts_look_up -> centres [books K, W], count [books K] */
ts_clusters ts_kmeans(ts_scope s, const ts_code_shape *shape, ts_value rows, ts_value mask, int64_t rounds, bool unit);

/* Assigns the centres to the codebook; counts, and sums of so many rows at the centre, where the state has them. */
void ts_codebook_start(const ts_codebook_state *state, ts_clusters c);

enum { TS_KMEANS_ROUNDS = 10 }; /* the default, lucidrains' kmeans_iters */

/* Errors: usage, where rounds or batches are asked for and there is no k-means. */
ts_status ts_kmeans_check(const char *kind, bool kmeans, const ts_kmeans_options *o, ts_error *err);

/* The batches that it looks at, for ts_quantizer_info; 0 without it. */
int64_t ts_kmeans_batches(bool kmeans, const ts_kmeans_options *o);

/* Rows of the option tables. */
#define TS_KMEANS(struct_)                                                                                             \
    {.name = "kmeans_rounds",                                                                                          \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(struct_, kmeans.rounds),                                                                       \
     .fallback = "10",                                                                                                 \
     .min = 0,                                                                                                         \
     .max = 1000,                                                                                                      \
     .help = "rounds of init: kmeans (lucidrains: 10)",                                                                \
     .alias = "kmeans_iters"},                                                                                         \
    {                                                                                                                  \
        .name = "kmeans_batches", .type = TS_OPTION_INT, .offset = offsetof(struct_, kmeans.batches), .fallback = "1", \
        .min = 1, .max = 1024, .help = "batches whose tokens init: kmeans looks at, all at once in memory"             \
    }

#endif
