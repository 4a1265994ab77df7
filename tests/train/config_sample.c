#include "tests/train/config_sample.h"

#include <math.h>

#define ROW(struct_, field, type_, fallback_, help_)                                                                   \
    .name = #field, .type = (type_), .offset = offsetof(struct_, field), .fallback = (fallback_), .help = (help_)

static const ts_option top_rows[] = {
    {ROW(sample_top, seed, TS_OPTION_INT, "1", "seed of everything random"), .min = 0, .max = INFINITY},
    {ROW(sample_top, name, TS_OPTION_STRING, "", "name of the run")},
    {ROW(sample_top, description, TS_OPTION_STRING, "", "what this config reproduces")},
    {ROW(sample_top, expect, TS_OPTION_STRING, "", "what to expect")},
    {0},
};
static const ts_option_table top = {"top", "the run as a whole", top_rows, sizeof(sample_top)};

static const ts_option idx_rows[] = {
    {ROW(sample_data_idx, path, TS_OPTION_STRING, NULL, "folder with the files")},
    {ROW(sample_data_idx, limit, TS_OPTION_INT, "0", "items to use; 0: all"), .max = 1e9},
    {0},
};
static const ts_option_table idx = {"idx", "IDX files", idx_rows, sizeof(sample_data_idx)};

static const ts_option shapes_rows[] = {
    {ROW(sample_data_shapes, count, TS_OPTION_INT, "1000", "images"), .min = 1, .max = 1e9},
    {ROW(sample_data_shapes, size, TS_OPTION_INT, "32", "pixels a side"), .min = 8, .max = 512},
    {ROW(sample_data_shapes, shapes, TS_OPTION_STRINGS, "[circle, square]", "what is drawn")},
    {0},
};
static const ts_option_table shapes = {"shapes", "generated shapes", shapes_rows, sizeof(sample_data_shapes)};

static const char *const finite_bounds[] = {"tanh", "sigmoid", "off", NULL};
static const ts_option finite_rows[] = {
    {ROW(sample_finite, levels, TS_OPTION_INTS, "[8, 6, 5]", "levels of each channel"), .min = 2, .max = 64,
     .alias = "fsq_levels"},
    {ROW(sample_finite, bound, TS_OPTION_CHOICE, "tanh", "how values are bounded"), .choices = finite_bounds},
    {ROW(sample_finite, noise, TS_OPTION_BOOL, "false", "add noise while training")},
    {0},
};
static const ts_option_table finite_scalar = {"finite_scalar", "FSQ, Mentzer et al. 2023", finite_rows,
                                              sizeof(sample_finite)};

static const char *const vector_bounds[] = {"none", "cosine", "tanh", NULL};
static const ts_option vector_rows[] = {
    {ROW(sample_vector, codes, TS_OPTION_INT, "512", "codes"), .min = 2, .max = 2147483647, .alias = "nb_code"},
    {ROW(sample_vector, dim, TS_OPTION_INT, "64", "width of a code"), .min = 1, .max = 4096},
    {ROW(sample_vector, beta, TS_OPTION_REAL, "0.25", "weight of the commitment loss"), .min = 0, .max = 100},
    {ROW(sample_vector, bound, TS_OPTION_CHOICE, "none", "how codes are bounded"), .choices = vector_bounds},
    {0},
};
static const ts_option_table vector = {"vector", "VQ, codebook by gradient", vector_rows, sizeof(sample_vector)};

static const char *const optimizers[] = {"adamw", "sgd", NULL};
static const ts_option train_rows[] = {
    {ROW(sample_train, steps, TS_OPTION_INT, "1000", "steps"), .min = 1, .max = 1e9},
    {ROW(sample_train, batch, TS_OPTION_INT, "64", "examples a step"), .min = 1, .max = 65536, .alias = "batch_size"},
    {ROW(sample_train, lr, TS_OPTION_REAL, "3e-4", "learning rate"), .min = 0, .max = INFINITY},
    {ROW(sample_train, optimizer, TS_OPTION_CHOICE, "adamw", "rule of the update"), .choices = optimizers},
    {ROW(sample_train, shuffle, TS_OPTION_BOOL, "true", "draw in random order")},
    {ROW(sample_train, note, TS_OPTION_STRING, "", "any text: it's kept")},
    {0},
};
static const ts_option_table train = {"train", "the trainer", train_rows, sizeof(sample_train)};

static const ts_option no_rows[] = {{0}};
static const ts_option_table logging = {"logging", "nothing to set yet", no_rows, 1};

static const ts_option_table *const data_kinds[] = {&idx, &shapes, NULL};
static const ts_option_table *const quantizer_kinds[] = {&finite_scalar, &vector, NULL};
static const ts_option_table *const train_kinds[] = {&train, NULL};
static const ts_option_table *const logging_kinds[] = {&logging, NULL};

static const ts_config_section sections[] = {
    {"data", data_kinds, NULL, "what is learned from", false},
    {"quantizer", quantizer_kinds, "finite_scalar", "how values become codes", false},
    {"train", train_kinds, NULL, "the trainer", false},
    {"logging", logging_kinds, NULL, "what is written", false},
    {0},
};

const ts_config_schema sample_schema = {&top, sections, "tessera config --list"};

/* --- commands ----------------------------------------------------------------------------------------------------- */

static const char *const devices[] = {"auto", "cpu", "cuda", NULL};

static const ts_argument_option common[] = {
    {.option =
         {.name = "device", .type = TS_OPTION_CHOICE, .fallback = "auto", .choices = devices, .help = "where to run"},
     .letter = 'd',
     .argument = "DEVICE"},
    {.option = {.name = "threads", .type = TS_OPTION_INT, .min = 1, .max = 1024, .help = "threads of the CPU"},
     .argument = "N"},
    {.option = {.name = "quiet", .type = TS_OPTION_BOOL, .help = "no progress"}, .letter = 'q'},
    {.option = {.name = "json", .type = TS_OPTION_BOOL, .help = "one JSON object a line"}, .letter = 'j'},
    {0},
};

static const ts_argument_option train_options[] = {
    {.option = {.name = "run", .type = TS_OPTION_STRING, .help = "folder of the run"},
     .argument = "DIR",
     .required = true},
    {.option = {.name = "resume", .type = TS_OPTION_BOOL, .help = "go on where the run stopped"}},
    {.option = {.name = "scale", .type = TS_OPTION_REAL, .fallback = "1.5", .help = "a number"}, .argument = "X"},
    {0},
};

static const ts_argument_option encode_options[] = {
    {.option = {.name = "output", .type = TS_OPTION_STRING, .help = "file to write"},
     .letter = 'o',
     .argument = "FILE"},
    {0},
};

static const ts_positional train_positionals[] = {{"CONFIG", "YAML file", TS_POSITIONAL_ONE}, {0}};
static const ts_positional encode_positionals[] = {
    {"CHECKPOINT", "trained weights", TS_POSITIONAL_ONE}, {"INPUT", "files", TS_POSITIONAL_MANY}, {0}};
static const ts_positional doctor_positionals[] = {{"TOPIC", "what to look at", TS_POSITIONAL_OPTIONAL}, {0}};

static const ts_command commands[] = {
    {"train", "train a tokenizer", train_positionals, train_options, true, NULL},
    {"encode", "inputs to tokens", encode_positionals, encode_options, false, NULL},
    {"doctor", "look at the machine", doctor_positionals, NULL, false, NULL},
    {0},
};

const ts_command_set sample_program = {
    .name = "tessera",
    .version = "0.1.0",
    .help = "training framework for discrete tokenizers",
    .commands = commands,
    .options = common,
};
