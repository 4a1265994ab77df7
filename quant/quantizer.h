/* A quantizer behind one interface: what the project exists for. A kind is one file of this folder, one line of
 * registry.c and one option table; every model takes any kind. Formulas: docs/quantizers.md.
 *
 * A quantizer's parameters and state lie under its scope. Its state changes only in `update`, from statistics that
 * `build` hands out: so the codes always come from the codebook before the step, and statistics can be summed over
 * micro-batches before they are applied once.
 *
 * Tokens that do not count (the scope's mask is 0 there) have the code 0 and the ids -1, and no gradient reaches their
 * z, which must be finite. Losses are means over those that count, 0 where none does; statistics, and the rows that
 * codes are taken from, are of those alone. So far lucidrains' VectorQuantize with a mask; and a step in which no token
 * counts leaves the state as it is. */
#ifndef TS_QUANT_QUANTIZER_H
#define TS_QUANT_QUANTIZER_H

#include "autograd/scope.h"
#include "core/option.h"
#include "quant/stack.h"

enum { TS_MAX_LOSSES = 4, TS_MAX_STATISTICS = 4 };

typedef struct {
    ts_value codes; /* [.., D]: the value of the code, the gradient to z (straight-through) */
    ts_value ids;   /* [.., groups] i32, 0 ... size-1; -1 where z has a NaN, or the token does not count */
    struct {
        const char *name; /* "commitment" */
        ts_value value;   /* [] */
        double weight;    /* in the total loss */
    } losses[TS_MAX_LOSSES];
    int loss_count;
    struct {
        const char *name;
        ts_value value;
        bool sum;                    /* micro-batches add up; else the last one counts */
    } statistics[TS_MAX_STATISTICS]; /* TRAIN only */
    int statistic_count;
} ts_quantized;

/* What a quantizer of this kind, with these options, is: for decoders, tokens and reports. */
typedef struct {
    int64_t codes;        /* size of one codebook, K */
    int64_t width;        /* D: channels that it takes and gives */
    int64_t groups;       /* ids per token */
    int64_t init_batches; /* whose tokens `init` is given at once; 0: nothing depends on data */
} ts_quantizer_info;

/* One layer of one group: z and codes are as wide as the codes. What is around it (projections, groups, layers) is
 * quant/stack.c's, and models ask for that. */
typedef struct ts_quantizer_kind {
    const char *name; /* "finite_scalar" */
    const ts_option_table *table;

    /* Checks the options against each other and fills info. Errors: usage, naming the option. */
    ts_status (*info)(const void *options, ts_quantizer_info *info, ts_error *err);

    /* z [.., D] -> codes, ids, losses, statistics; of the tokens that count. */
    void (*build)(ts_scope s, const void *options, ts_value z, ts_quantized *out);

    /* ids [.., groups] -> codes [.., D]. */
    ts_value (*decode)(ts_scope s, const void *options, ts_value ids);

    /* Assigns to the state what the first batch's z, or that of info's first batches, says (k-means, first rows), by
     * the tokens that count. NULL: nothing depends on data. */
    void (*init)(ts_scope s, const void *options, ts_value z);

    /* Assigns the new state from the statistics of `build`, in its order, where ok is 1. NULL: there is no state. */
    void (*update)(ts_scope s, const void *options, const ts_value *statistics, ts_value ok);

    /* z [.., D] -> what residual layers are of, before the first of several. NULL: z. */
    ts_value (*before_layers)(const void *options, ts_value z);

    const char *formulas; /* for `tessera explain`: core/formula.h, with the options of `table` */
} ts_quantizer_kind;

extern const ts_quantizer_kind *const ts_quantizer_kinds[]; /* NULL-terminated */
const ts_quantizer_kind *ts_quantizer_find(const char *name);

/* What models, programs and reports ask of a quantizer: its groups and layers of a kind (quant/stack.h). Ids are [..,
 * groups * layers * ids of a layer], group by group, and in a group layer by layer, the coarsest first. Losses are
 * summed over all of them. */
ts_status ts_quantizer_describe(const ts_quantizer_kind *kind, const void *options, ts_quantizer_info *info,
                                ts_error *err);
void ts_quantize(const ts_quantizer_kind *kind, ts_scope s, const void *options, ts_value z, ts_quantized *out);
ts_value ts_dequantize(const ts_quantizer_kind *kind, ts_scope s, const void *options, ts_value ids);
void ts_quantizer_update(const ts_quantizer_kind *kind, ts_scope s, const void *options, const ts_value *statistics,
                         int statistic_count, ts_value ok);

/* A layer can start only from what the layers before it leave over, once these have started: the first batch's part of
 * the state is assigned in so many stages, each a run of its own. 0: nothing depends on data. */
int ts_quantizer_stages(const ts_quantizer_kind *kind, const void *options);
void ts_quantizer_init(const ts_quantizer_kind *kind, ts_scope s, const void *options, ts_value z, int stage);

/* For build functions. */
void ts_quantized_loss(ts_quantized *q, const char *name, ts_value value, double weight);
/* Any number of values one behind the other along an axis; absent where the first is. */
ts_value ts_quantizer_join(const ts_value *x, int count, int axis);
void ts_quantized_statistic(ts_quantized *q, const char *name, ts_value value, bool sum);

/* sum of weight * loss; absent where there are none. */
ts_value ts_quantized_total(const ts_quantized *q);

#endif
