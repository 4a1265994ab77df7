/* Groups and layers of any kind of quantizer, and linear projections around them. The channels are split into equal
 * groups, each with quantizers of its own; in a group each layer quantizes what the layers before it left over.
 *
 *   z [.., dim] -> groups of [.., dim / groups], each -> project_in -> layer 0, 1 ... -> their sum -> project_out
 *
 * A kind (quant/quantizer.h) is one layer of one group. The options below are the first member of its options struct,
 * and those of their rows that it can work with are in its table; a row that is not there is 0. A "dim" of the kind's
 * own table is the width of all groups together, too. Formulas: docs/quantizers.md. */
#ifndef TS_QUANT_STACK_H
#define TS_QUANT_STACK_H

#include <stddef.h>

#include "core/option.h"

enum {
    TS_MAX_LAYERS = 24,
    TS_MAX_GROUPS = 64,
    TS_MAX_STACKED = 64,         /* layers of all groups */
    TS_MAX_QUANTIZER_BYTES = 512 /* of a kind's options struct */
};

typedef struct {
    int64_t dim;          /* channels in and out; 0: as many as the codes have. Another number: linear projections */
    bool projection_bias; /* the projections have one */
    int64_t groups;
    int64_t layers;
    int64_t dropout; /* in training a random number of layers from this one to all is in use; 0: always all */
    bool shared;     /* the layers of a group have one codebook */
    int layer;       /* no option: the layer that a kind is asked for, from 0 */
} ts_stack_options;

/* Rows of the option tables. */
#define TS_PROJECTION_OPTIONS                                                                                          \
    {.name = "dim",                                                                                                    \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(ts_stack_options, dim),                                                                        \
     .fallback = "0",                                                                                                  \
     .min = 0,                                                                                                         \
     .max = 65536,                                                                                                     \
     .help = "channels in and out; 0: as many as codes have; another number adds linear projections"},                 \
    {                                                                                                                  \
        .name = "projection_bias", .type = TS_OPTION_BOOL, .offset = offsetof(ts_stack_options, projection_bias),      \
        .fallback = "true", .help = "the projections have a bias", .alias = "projection_has_bias"                      \
    }
#define TS_GROUPS_OPTION                                                                                               \
    {                                                                                                                  \
        .name = "groups", .type = TS_OPTION_INT, .offset = offsetof(ts_stack_options, groups), .fallback = "1",        \
        .min = 1, .max = TS_MAX_GROUPS,                                                                                \
        .help = "equal parts of the channels, with quantizers of their own (lucidrains' GroupedResidual...)"           \
    }
#define TS_LAYERS_OPTIONS                                                                                              \
    {.name = "layers",                                                                                                 \
     .type = TS_OPTION_INT,                                                                                            \
     .offset = offsetof(ts_stack_options, layers),                                                                     \
     .fallback = "1",                                                                                                  \
     .min = 1,                                                                                                         \
     .max = TS_MAX_LAYERS,                                                                                             \
     .help = "residual layers, each on what those before it left over; each gives an id",                              \
     .alias = "num_quantizers"},                                                                                       \
    {                                                                                                                  \
        .name = "dropout", .type = TS_OPTION_INT, .offset = offsetof(ts_stack_options, dropout), .fallback = "0",      \
        .min = 0, .max = TS_MAX_LAYERS,                                                                                \
        .help = "each training step uses a random number of layers from this one to all; 0: always all (lucidrains: "  \
                "quantize_dropout_cutoff_index + 1)"                                                                   \
    }
#define TS_SHARED_OPTION                                                                                               \
    {                                                                                                                  \
        .name = "shared", .type = TS_OPTION_BOOL, .offset = offsetof(ts_stack_options, shared), .fallback = "false",   \
        .help = "the layers of a group have one codebook", .alias = "shared_codebook"                                  \
    }

/* What a kind with these options says of them (core/formula.h); `out` is its own. */
#define TS_FORMULA_STACK                                                                                               \
    "@forward\n"                                                                                                       \
    "[!groups=1]z is {groups} equal parts of the channels, each with quantizers of its own\n"                          \
    "[!layers=1]{layers} layers, each with r_i in the place of z: r_0 = z, r_(i+1) = r_i - sg(out of layer i)\n"       \
    "[!layers=1]what the decoder gets is their sum; an id for each layer\n"                                            \
    "[dropout]in training a random number of layers from {dropout} to all is in use; the others give 0 and id -1\n"    \
    "@loss\n"                                                                                                          \
    "[!groups=1]each term is the sum over groups\n"                                                                    \
    "[!layers=1]each term is the sum over layers\n"
#define TS_FORMULA_SHARED                                                                                              \
    "@update\n"                                                                                                        \
    "[shared]the layers have one codebook, and what follows is of all their tokens together\n"

#endif
