/* An ablation: one model and data set, trained with a grid of quantizers, codebook sizes and any other keys of the
 * config; each cell of the grid is a run of its own. A spec is a YAML file:
 *
 *     name: fsq_vs_vq
 *     base: ../images/shapes_fsq.yaml        # the config of every cell, beside the spec
 *     set: {train.steps: 500}                # overrides in every cell
 *     methods:                               # what is compared: a label and its overrides
 *       FSQ: [quantizer.kind=finite_scalar]
 *       VQ: [quantizer.kind=vector, quantizer.dim=8]
 *     sizes: [256, 1024, 4096]               # codes; for FSQ the levels that its paper gives for about so many
 *     axes:                                  # any key of the config, and its values
 *       seed: [1, 2, 3]
 *
 * `seed` repeats: cells that differ in nothing else are one point with a spread. Any other axis makes more methods. */
#ifndef TS_TRAIN_ABLATION_H
#define TS_TRAIN_ABLATION_H

#include "config/config.h"

typedef struct {
    const char *name;            /* of its folder: "vq_1024_seed-1" */
    int series;                  /* index in ts_ablation.series */
    int64_t size;                /* as the spec has it; 0: the spec has none */
    int64_t seed;                /* of the resolved config */
    int64_t steps;               /* likewise */
    const char *const *override; /* NULL-terminated */
} ts_ablation_cell;

enum { TS_ABLATION_MAX_CELLS = 4096, TS_ABLATION_MAX_SERIES = 24 };

typedef struct {
    ts_arena arena;
    const char *path, *name, *description;
    const char *base;           /* path of the config */
    const char **series;        /* labels: "VQ", or with another axis "VQ, model.width=64" */
    int64_t sizes[TS_MAX_INTS]; /* as the spec has them; one 0 where it has none */
    ts_ablation_cell *cell;     /* series by series, in them size by size, in them seed by seed */
    int series_count, size_count, cell_count;
} ts_ablation;

/* Reads a spec and resolves the config of every cell.
 * Owner: ts_ablation_clear after TS_OK. Errors: TS_ERR_USAGE, all that the spec can do wrong: an axis that is no key, a
 * size that a quantizer cannot have, a cell whose config is refused (named), two cells of one name. */
ts_status ts_ablation_load(ts_ablation *ablation, const char *path, ts_error *err);
void ts_ablation_clear(ts_ablation *ablation);

/* The resolved config of a cell. Owner: the caller. */
ts_status ts_ablation_config(const ts_ablation *ablation, const ts_ablation_cell *cell, ts_config **config,
                             ts_error *err);

#endif
