/* What the kinds share whose codes are the rows of a codebook [K, D] (vector.c, vector_ema.c, vector_reset.c): z [..,
 * D] as rows, their nearest codes, the output with its gradient, counts and sums of the rows of each code. */
#ifndef TS_QUANT_CODEBOOK_H
#define TS_QUANT_CODEBOOK_H

#include "quant/quantizer.h"

typedef struct {
    ts_value rows;     /* [N, D] */
    ts_value ids;      /* [N]; -1 where a token does not count */
    ts_value code;     /* [N, D], the rows of the codebook */
    ts_value mask;     /* [N]: 1 where a token counts; absent where all do */
    ts_value codebook; /* [K, D] */
} ts_lookup;

/* A codebook that is state, and what it is made of; absent where it is not made of them. */
typedef struct {
    ts_value codebook, count, sum; /* [K, D], [K], [K, D] */
} ts_codebook_state;

/* Fills codes and ids of *out; the gradient to z is turned as the code is (quant/rotation.h), or straight-through.
 * Returns false where there is nothing to go on with: z does not fit, an error of the graph. */
bool ts_look_up(ts_scope s, ts_value codebook, ts_value z, bool rotation, ts_quantized *out, ts_lookup *l);

/* mean((z - sg(e))^2) */
void ts_commitment_loss(ts_quantized *q, const ts_lookup *l, double weight);

/* Statistics: rows of each code, "count" [K], and their sums, "sum" [K, D]. */
void ts_batch_statistics(ts_quantized *q, const ts_lookup *l);

/* ids [.., 1] -> rows of the codebook [.., D]. Errors: another last axis. */
ts_value ts_code_rows(ts_value codebook, ts_value ids);

/* The scope's mask, a number for each row of z as rows; absent without one. */
ts_value ts_mask_of_rows(ts_scope s);

/* decay * average + (1 - decay) * now */
ts_value ts_moved(ts_value average, ts_value now, double decay);

/* v [K] as a column [K, 1], to stand beside [K, D] */
ts_value ts_column(ts_value v);

/* ok, and 0 in a step in which no token counted: moving averages that have met nothing yet are 0/0. */
ts_value ts_ok_with_tokens(ts_value ok, ts_value count);

/* Rows of the option tables. */
#define TS_CODES_AND_DIM(struct_)                                                                                      \
    {.name = "codes",                                                                                                  \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(struct_, codes),                                                                               \
     .fallback = "512",                                                                                                \
     .min = 1,                                                                                                         \
     .max = 1 << 24,                                                                                                   \
     .help = "codes in the codebook, K (up to 2^24: counts are exact)",                                                \
     .alias = "nb_code"},                                                                                              \
    {                                                                                                                  \
        .name = "dim", .type = TS_OPTION_INT, .offset = offsetof(struct_, dim), .fallback = "64", .min = 1,            \
        .max = 65536, .help = "width of a code, D", .alias = "code_dim"                                                \
    }
#define TS_COMMITMENT(struct_, value)                                                                                  \
    {                                                                                                                  \
        .name = "commitment", .type = TS_OPTION_REAL, .offset = offsetof(struct_, commitment), .fallback = value,      \
        .min = 0, .max = 1e6, .help = "weight of the commitment loss mean((z - sg(e))^2)", .alias = "commitment_cost"  \
    }
#define TS_ROTATION(struct_)                                                                                           \
    {                                                                                                                  \
        .name = "rotation", .type = TS_OPTION_BOOL, .offset = offsetof(struct_, rotation), .fallback = "false",        \
        .help =                                                                                                        \
            "rotation trick: the gradient to z is turned as the code is (lucidrains: true); else straight-through",    \
        .alias = "rotation_trick"                                                                                      \
    }

#endif
