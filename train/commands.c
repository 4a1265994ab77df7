#include "train/commands.h"

#include <math.h>

#include "train/code_table.h"
#include "train/token_folder.h"

/* Rows of the option lists. */
#define FLAG(name_, help_)                                                                                             \
    {                                                                                                                  \
        .option = {.name = name_, .type = TS_OPTION_BOOL, .help = help_ }                                              \
    }
#define TEXT(name_, argument_, fallback_, help_)                                                                       \
    {                                                                                                                  \
        .argument = argument_, .option = {                                                                             \
            .name = name_,                                                                                             \
            .type = TS_OPTION_STRING,                                                                                  \
            .fallback = fallback_,                                                                                     \
            .help = help_                                                                                              \
        }                                                                                                              \
    }
#define NUMBER(name_, fallback_, lowest, highest, help_)                                                               \
    {                                                                                                                  \
        .argument = "N", .option = {                                                                                   \
            .name = name_,                                                                                             \
            .type = TS_OPTION_INT,                                                                                     \
            .fallback = fallback_,                                                                                     \
            .min = lowest,                                                                                             \
            .max = highest,                                                                                            \
            .help = help_                                                                                              \
        }                                                                                                              \
    }
#define REAL(name_, fallback_, lowest, highest, help_)                                                                 \
    {                                                                                                                  \
        .argument = "X", .option = {                                                                                   \
            .name = name_,                                                                                             \
            .type = TS_OPTION_REAL,                                                                                    \
            .fallback = fallback_,                                                                                     \
            .min = lowest,                                                                                             \
            .max = highest,                                                                                            \
            .help = help_                                                                                              \
        }                                                                                                              \
    }
#define OUTPUT(argument_, help_)                                                                                       \
    {                                                                                                                  \
        .letter = 'o', .argument = argument_, .required = true, .option = {                                            \
            .name = "output",                                                                                          \
            .type = TS_OPTION_STRING,                                                                                  \
            .help = help_                                                                                              \
        }                                                                                                              \
    }
#define WHERE                                                                                                          \
    TEXT("device", "DEVICE", "auto", "where to run: auto, cpu, ref, cuda or cuda:N"),                                  \
        NUMBER("threads", NULL, 1, 4096, "threads of the CPU; without it all that the process may use")
#define JSON FLAG("json", "answer with one JSON object")
#define CHECKPOINT                                                                                                     \
    {                                                                                                                  \
        "CHECKPOINT", "checkpoint of a run, such as RUN/checkpoints/last.h5", TS_POSITIONAL_ONE                        \
    }

static const ts_positional train_words[] = {
    {"CONFIG", "YAML file; with --resume it may be left out", TS_POSITIONAL_OPTIONAL}, {0}};
static const ts_argument_option train_options[] = {
    {.argument = "DIR",
     .required = true,
     .option = {.name = "run", .type = TS_OPTION_STRING, .help = "folder of the run: metrics, log, checkpoints"}},
    FLAG("resume", "go on from DIR/checkpoints/last.h5"),
    TEXT("init-from", "FILE", NULL, "start with the weights of this checkpoint; the optimizer starts anew"),
    WHERE,
    FLAG("json", "write the lines of metrics.jsonl to standard output as well"),
    FLAG("quiet", "nothing on the terminal but errors"),
    FLAG("check-nan", "run node by node and name the first value that is not finite (slow)"),
    TEXT("dump-start", "FILE", NULL,
         "write the initial weights and the first batches to an HDF5 file, for comparisons"),
    NUMBER("dump-batches", "1", 0, 1e6, "how many batches --dump-start writes"),
    {0},
};

static const char *const splits[] = {"val", "train", NULL};
static const ts_positional eval_words[] = {CHECKPOINT, {0}};
static const ts_argument_option eval_options[] = {
    {.argument = "SPLIT",
     .option = {.name = "split",
                .type = TS_OPTION_CHOICE,
                .fallback = "val",
                .choices = splits,
                .help = "which part of the data"}},
    FLAG("no-ema", "use the weights themselves where the run has moving averages of them"),
    WHERE,
    JSON,
    {0},
};

static const ts_positional encode_words[] = {
    CHECKPOINT,
    {"INPUT",
     "an image, a folder of images (PNG, JPEG), an IDX file (also .gz), an HDF5 file; of motion: a tree, a folder of "
     ".npy, one .npy; without it the config's data",
     TS_POSITIONAL_OPTIONAL},
    {0},
};
static const ts_argument_option encode_options[] = {
    OUTPUT("TOKENS", "a file .h5 for all tokens, or a folder for one .npy each"),
    TEXT("split", "NAME", NULL,
         "which list of a tree of motion (train, val, test, all: that is the default), or part of the config's data "
         "(val is the default for images)"),
    {.argument = "LAYOUT",
     .option = {.name = "layout",
                .type = TS_OPTION_CHOICE,
                .fallback = "t2m",
                .choices = ts_token_layouts,
                .help = "whose .npy files: T2M-GPT's (i64) or MotionMillion's (i32)"}},
    TEXT("shard", "I/N", NULL, "take every N-th item only, from number I on, 0 to N-1; all N make the whole"),
    FLAG("resume", "keep the files that are whole in the folder, and make the others"),
    TEXT("dataset", "PATH", NULL, "data set with the images in an HDF5 file that has several"),
    FLAG("no-ema", "use the weights themselves where the run has moving averages of them"),
    WHERE,
    JSON,
    {0},
};

static const ts_positional decode_words[] = {
    CHECKPOINT, {"TOKENS", "what encode wrote: a file .h5, a folder of .npy, or one .npy", TS_POSITIONAL_ONE}, {0}};
static const ts_argument_option decode_options[] = {
    OUTPUT("OUTPUT",
           "folder for PNG files, or for one .npy a clip of motion; or a file .h5 for the values as they are"),
    FLAG("force", "decode tokens that other weights made"),
    FLAG("no-ema", "use the weights themselves where the run has moving averages of them"),
    WHERE,
    JSON,
    {0},
};

static const ts_positional join_words[] = {
    {"SHARD", "file that encode --shard wrote; all of them, in any order", TS_POSITIONAL_MANY}, {0}};
static const ts_argument_option join_options[] = {OUTPUT("TOKENS.h5", "file for the tokens of all"), JSON, {0}};

static const ts_positional render_words[] = {
    {"MOTION", "a motion, .npy of [frames, columns]; or, before CLIP, a checkpoint", TS_POSITIONAL_ONE},
    {"CLIP", "what the checkpoint is to reconstruct: a file .npy, or a clip of its data by its name",
     TS_POSITIONAL_OPTIONAL},
    {0},
};
static const ts_argument_option render_options[] = {
    OUTPUT("OUTPUT", "an animation .gif, a film .mp4, or a strip of poses .png"),
    TEXT("beside", "OTHER", NULL, "another motion of the same columns, drawn beside it"),
    TEXT("layout", "NAME|FILE", NULL,
         "what the columns mean: humanml3d, kit, motionmillion or a YAML file; else their number tells"),
    {.argument = "F",
     .option = {.name = "fps",
                .type = TS_OPTION_REAL,
                .min = 0.1,
                .max = 1000,
                .help = "frames a second of the motion; else those of the layout"}},
    TEXT("frames", "FIRST:END", NULL, "only these frames, END left out; either may be missing"),
    TEXT("size", "WxH", NULL, "pixels of the picture, or of one pose of a strip"),
    FLAG("no-ema", "use the weights themselves where the run has moving averages of them"),
    WHERE,
    JSON,
    {0},
};

static const char *const on_error[] = {"stop", "skip", NULL};
static const ts_positional import_words[] = {
    {"KIND", "what to import: bvh, a folder of motion capture; weights, a safetensors file", TS_POSITIONAL_ONE},
    {"INPUT", "bvh: folder; every .bvh below it is a recording. weights: the file", TS_POSITIONAL_ONE},
    {"OUTPUT",
     "bvh: new folder, a tree of clips of 263 columns, for data.kind=motion. weights: the checkpoint that is written",
     TS_POSITIONAL_ONE},
    {0},
};
static const ts_argument_option import_options[] = {
    REAL("fps", "30", 1, 1000, "frames a second of the clips"),
    NUMBER("cut", "300", 0, 1e9, "cut clips of more frames into equal ones; 0: do not"),
    TEXT("split", "SPLIT", "80,10,10",
         "parts for train, val and test; or a folder whose train.txt, val.txt and test.txt say it"),
    NUMBER("seed", "0", 0, INFINITY, "which recordings go to which part"),
    TEXT("map", "FILE", NULL, "YAML with the recordings' names of the joints, for skeletons that are not known"),
    TEXT("rename", "OLD=NEW,...", "", "what folders below INPUT are called in the names of clips"),
    {.argument = "WHAT",
     .option = {.name = "on-error",
                .type = TS_OPTION_CHOICE,
                .fallback = "stop",
                .choices = on_error,
                .help = "a recording that cannot be used: stop, or skip it and count"}},
    TEXT("config", "CONFIG", NULL, "weights: YAML file of the model; without it what export wrote into the file"),
    TEXT("item", "HxWxC", NULL, "weights: shape of an item, such as 28x28x1 or 64x263, where only the data could tell"),
    TEXT("mean", "FILE.npy", NULL, "weights of motion: mean of each column; without it mean.npy beside the file"),
    TEXT("std", "FILE.npy", NULL, "weights of motion: deviation of each column; without it std.npy beside the file"),
    JSON,
    {0},
};

static const char *const export_formats[] = {"safetensors", "onnx", NULL};
static const char *const export_names[] = {"published", "own", NULL};
static const ts_positional export_words[] = {CHECKPOINT, {0}};
static const ts_argument_option export_options[] = {
    OUTPUT("DIR", "folder for the weights or models, config.json and, of motion, mean.npy and std.npy; with --to onnx "
                  "also FILE.onnx, for encoder and decoder in one alone"),
    {.argument = "FORMAT",
     .option = {.name = "to",
                .type = TS_OPTION_CHOICE,
                .fallback = "safetensors",
                .choices = export_formats,
                .help =
                    "safetensors: model.safetensors; onnx: encoder.onnx, decoder.onnx, and both in tokenizer.onnx"}},
    {.argument = "NAMES",
     .option = {.name = "names",
                .type = TS_OPTION_CHOICE,
                .fallback = "published",
                .choices = export_names,
                .help =
                    "safetensors: what tensors are called: as in the published PyTorch code, or by their paths here"}},
    FLAG("state", "safetensors: the quantizer's counts and sums too, which only training needs"),
    FLAG("no-ema", "the weights themselves where the run has moving averages of them"),
    WHERE,
    JSON,
    {0},
};

static const ts_positional ablate_words[] = {
    {"SPEC", "YAML file: a base config, methods, sizes, axes (docs/ablation.md)", TS_POSITIONAL_ONE}, {0}};
static const ts_argument_option ablate_options[] = {
    TEXT("run", "DIR", NULL,
         "folder for the runs of all cells and the report; what is there already is not done again"),
    NUMBER("jobs", "1", 1, 1024, "trainings at a time, which share the threads"),
    FLAG("list", "only print the cells"),
    FLAG("report-only", "train nothing; write the report of what is there"),
    WHERE,
    FLAG("quiet", "no line for each training that ends"),
    FLAG("json", "answer with the table as one JSON object"),
    {0},
};

static const ts_positional plan_words[] = {{"CONFIG", "YAML file", TS_POSITIONAL_ONE}, {0}};
static const ts_argument_option plan_options[] = {
    TEXT("item", "HxWxC", NULL, "shape of an item, such as 28x28x1 or 64x263, where only the data could tell it"),
    FLAG("nodes", "print the graph of a training step, a line per node"),
    WHERE,
    JSON,
    {0},
};

static const ts_positional explain_words[] = {{"CONFIG", "YAML file", TS_POSITIONAL_ONE}, {0}};
static const ts_argument_option explain_options[] = {
    TEXT("item", "HxWxC", NULL, "shape of an item, such as 28x28x1 or 64x263, where only the data could tell it"),
    JSON,
    {0},
};

static const ts_positional bench_words[] = {{"CONFIG", "YAML file", TS_POSITIONAL_ONE}, {0}};
static const ts_argument_option bench_options[] = {
    NUMBER("steps", "20", 1, 1e6, "training steps to measure"),
    TEXT("item", "HxWxC", NULL, "shape of an item, such as 28x28x1 or 64x263, where only the data could tell it"),
    WHERE,
    JSON,
    {0},
};

static const ts_positional inspect_words[] = {
    {"FILE", "checkpoint, file of tokens, or safetensors", TS_POSITIONAL_ONE},
    {"INPUT", "with --codebook: what to encode, as encode takes it; without it the config's data",
     TS_POSITIONAL_OPTIONAL},
    {0},
};
static const ts_argument_option inspect_options[] = {
    {.argument = "DIR",
     .option = {.name = "codebook",
                .type = TS_OPTION_STRING,
                .help = "encode the input, and show in this folder how the codes were used, what they look like and "
                        "which are near each other"}},
    NUMBER("codes", "256", 1, 65536, "codes to look at closely, the most used first"),
    NUMBER("neighbours", "4", 0, TS_MAX_NEIGHBOURS, "nearest codes of each of these"),
    TEXT("split", "NAME", NULL, "which part of the data, as encode takes it"),
    TEXT("dataset", "PATH", NULL, "data set with the images in an HDF5 file that has several"),
    FLAG("no-ema", "use the weights themselves where the run has moving averages of them"),
    WHERE,
    JSON,
    {0},
};

static const ts_positional diff_words[] = {
    {"A", "checkpoint or safetensors", TS_POSITIONAL_ONE}, {"B", "another", TS_POSITIONAL_ONE}, {0}};
static const ts_argument_option diff_options[] = {JSON, {0}};

static const char *const shells[] = {"bash", NULL};
static const ts_positional config_words[] = {
    {"CONFIG", "YAML file to print with every key filled in; after --defaults: kinds, such as vector",
     TS_POSITIONAL_MANY},
    {0},
};
static const ts_argument_option config_options[] = {
    FLAG("list", "list every section, kind and key"),
    FLAG("flags", "list the flags of T2M-GPT and MotionMillion, and what each is here"),
    FLAG("defaults", "print a commented config with all defaults, of the kinds that are named"),
    {.argument = "LAYOUT",
     .option = {.name = "layout",
                .type = TS_OPTION_STRING,
                .help = "print what data.layout=LAYOUT says of motion: humanml3d, kit, motionmillion, a FILE.yaml"}},
    FLAG("man", "print the man page"),
    {.argument = "SHELL",
     .option = {.name = "completion",
                .type = TS_OPTION_CHOICE,
                .choices = shells,
                .help = "print the completion script of a shell"}},
    FLAG("plain", "print CONFIG without comments"),
    {0},
};

static const ts_argument_option doctor_options[] = {JSON, {0}};

static const ts_command commands[] = {
    {"train", "train a tokenizer", train_words, train_options, true, ts_cmd_train},
    {"eval", "evaluate a checkpoint: reconstruction and use of the codes", eval_words, eval_options, true, ts_cmd_eval},
    {"encode", "images or motion to tokens", encode_words, encode_options, true, ts_cmd_encode},
    {"decode", "tokens to images or motion", decode_words, decode_options, true, ts_cmd_decode},
    {"join", "shards of tokens to one file, as it would be without shards", join_words, join_options, false,
     ts_cmd_join},
    {"render", "motion, or a clip beside its reconstruction, as an animation, a film or a strip of poses", render_words,
     render_options, true, ts_cmd_render},
    {"export", "a trained tokenizer's weights for other programs", export_words, export_options, false, ts_cmd_export},
    {"import", "motion capture to a tree of clips that trains; weights of other programs to a checkpoint", import_words,
     import_options, true, ts_cmd_import},
    {"ablate", "train a grid of quantizers and codebook sizes, and report what they come to", ablate_words,
     ablate_options, false, ts_cmd_ablate},
    {"plan", "parameters, arithmetic, memory and time of a config, before anything is trained", plan_words,
     plan_options, true, ts_cmd_plan},
    {"explain", "the loss, the gradients and the updates of a config, in formulas", explain_words, explain_options,
     true, ts_cmd_explain},
    {"bench", "how fast a config trains here, and where the time of a step goes", bench_words, bench_options, true,
     ts_cmd_bench},
    {"inspect", "what is in a checkpoint, a file of tokens or weights, or an ONNX model, verified", inspect_words,
     inspect_options, true, ts_cmd_inspect},
    {"diff", "what differs between two checkpoints, tensor by tensor; exit code 1 where anything does", diff_words,
     diff_options, false, ts_cmd_diff},
    {"config", "print a config, its keys, the defaults, the man page, the completion", config_words, config_options,
     true, ts_cmd_config},
    {"doctor", "what this program and this machine offer", NULL, doctor_options, false, ts_cmd_doctor},
    {0},
};

const ts_command_set ts_tessera = {
    .name = "tessera",
    .version = TESSERA_VERSION,
    .help = "training framework for discrete tokenizers",
    .commands = commands,
    .flags = ts_peer_flags,
};
