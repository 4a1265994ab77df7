#include "train/peer_flags.h"

#include <string.h>

#include "core/text.h"

static const ts_peer_name data_names[] = {
    {"t2m", {"data.kind=motion", "data.layout=auto", "data.columns=263"}},
    {"kit", {"data.kind=motion", "data.layout=auto", "data.columns=251"}},
    {"motionmillion", {"data.kind=motion", "data.layout=auto", "data.columns=272"}},
    {0},
};

static const ts_peer_name losses[] = {
    {"l1", {"train.loss=l1"}},
    {"l2", {"train.loss=mse"}},
    {"l1_smooth", {"train.loss=smooth_l1"}},
    {0},
};

static const ts_peer_name models[] = {{"vqvae", {"model.kind=motion_conv"}}, {0}};

static const ts_peer_name quantizers[] = {
    {"ema_reset", {"quantizer.kind=vector_reset", "quantizer.ema=true", "quantizer.reset=true"}},
    {"ema", {"quantizer.kind=vector_reset", "quantizer.ema=true", "quantizer.reset=false"}},
    {"reset", {"quantizer.kind=vector_reset", "quantizer.ema=false", "quantizer.reset=true"}},
    {"orig", {"quantizer.kind=vector"}},
    {"FSQ", {"quantizer.kind=finite_scalar"}},
    {"LFQ", {"quantizer.kind=lookup_free"}},
    {"BSQ", {"quantizer.kind=lookup_free", "quantizer.spherical=true"}},
    {0},
};

/* Rows of the table. */
#define KEY(name_, argument_, key_, help_)                                                                             \
    {                                                                                                                  \
        .name = name_, .kind = TS_PEER_KEY, .argument = argument_, .key = key_, .help = help_                          \
    }
#define SWITCH(name_, key_, help_)                                                                                     \
    {                                                                                                                  \
        .name = name_, .kind = TS_PEER_SWITCH, .key = key_, .help = help_                                              \
    }
#define NAMES(name_, names_, help_)                                                                                    \
    {                                                                                                                  \
        .name = name_, .kind = TS_PEER_NAMES, .argument = "NAME", .names = names_, .help = help_                       \
    }
#define OPTION(name_, kind_, argument_, option_, help_)                                                                \
    {                                                                                                                  \
        .name = name_, .kind = kind_, .argument = argument_, .key = option_, .help = help_                             \
    }
#define REFUSED(name_, help_)                                                                                          \
    {                                                                                                                  \
        .name = name_, .kind = TS_PEER_REFUSED, .help = help_                                                          \
    }

const ts_peer_flag ts_peer_flags[] = {
    /* data */
    NAMES("dataname", data_names, "which columns a frame has; where the files are is data.path"),
    KEY("batch-size", "N", "train.batch", "items of a step"),
    KEY("window-size", "N", "data.window", "frames of an item"),
    KEY("motion-type", "NAME", "data.motion_type", "MotionMillion: folder in motion_data and mean_std"),
    KEY("version", "NAME", "data.version", "MotionMillion: folder in split"),
    KEY("fps", "X", "data.fps", "frames a second of the clips"),
    REFUSED("text-type", "a tokenizer reads no texts; leave it out"),
    REFUSED("num-workers", "one thread reads ahead of training, and more do not help; leave it out"),
    REFUSED("debug", "for a short trial give data.limit=N and --total-iter N"),

    /* optimization */
    KEY("total-iter", "N", "train.steps", "steps of the whole run, warm-up and all; upstream counts those behind it"),
    KEY("warm-up-iter", "N", "train.warmup", "steps over which the learning rate rises"),
    KEY("lr", "X", "train.lr", "learning rate after warm-up"),
    {.name = "lr-scheduler",
     .kind = TS_PEER_NUMBERS,
     .argument = "N [N ...]",
     .key = "train.milestones",
     .also = "train.schedule=multistep",
     .help =
         "steps at which the rate is multiplied by gamma, from the first of the run on; upstream counts those behind "
         "the warm-up"},
    KEY("gamma", "X", "train.gamma", "that factor"),
    KEY("weight-decay", "X", "train.weight_decay",
        "of weights; of biases, norms and codebook with train.decay=all, "
        "as upstream"),
    KEY("commit", "X", "quantizer.commitment", "weight of the commitment loss; FSQ has none"),
    KEY("loss-vel", "X", "train.position_loss", "weight of the loss of positions, which it is upstream too"),
    NAMES("recons-loss", losses, "loss of the reconstruction"),
    KEY("acc-loss", "X", "train.velocity_loss", "weight; above 0 the loss is on"),
    KEY("acc-vel-loss", "X", "train.acceleration_loss", "weight; above 0 the loss is on"),
    KEY("root-loss", "X", "train.root_loss", "weight; above 0 the loss is on, upstream only in the warm-up"),
    REFUSED("use-acc-loss", "a weight above 0 is enough: --acc-loss 0.5"),
    REFUSED("use-acc-vel-loss", "a weight above 0 is enough: --acc-vel-loss 0.5"),
    REFUSED("use-root-loss", "a weight above 0 is enough: --root-loss 0.5"),
    REFUSED("gradient-accumulation-steps", "train.accumulate=N splits the --batch-size of a step into N parts"),

    /* model */
    NAMES("model", models, "the published tokenizer"),
    KEY("width", "N", "model.width", "channels of every hidden layer"),
    KEY("depth", "N", "model.depth", "residual blocks in each stack"),
    KEY("dilation-growth-rate", "N", "model.dilation_growth", "factor between the dilations of neighbouring blocks"),
    KEY("down-t", "N", "model.down_t", "how often the length is divided"),
    KEY("stride-t", "N", "model.stride", "by how much; others than 2 work here"),
    KEY("kernel-size", "N", "model.kernel", "taps of the outer convolutions"),
    KEY("vq-act", "NAME", "model.activation", "relu, silu or gelu"),
    KEY("vq-norm", "NAME", "model.norm", "LN, GN or BN; none is the default"),
    SWITCH("causal", "model.causal", "no token depends on a frame behind its own"),
    SWITCH("use-attn", "model.attention",
           "attention; upstream takes any value for true, and heeds it with --causal only"),
    {.name = "use-patcher",
     .kind = TS_PEER_ALWAYS,
     .help = "patches are on where --patch-size is above 1, and nothing else is needed for them"},
    KEY("patch-size", "N", "model.patch_size", "frames of a patch; 1: no patches"),
    KEY("patch-method", "NAME", "model.patch", "haar or rearrange"),
    REFUSED("output-emb-width", "the encoder's output is as wide as a code: --code-dim"),
    REFUSED("z-latent", "it belongs to MotionMillion's model tae, which is none of tokens; leave it out"),

    /* quantizer */
    NAMES("quantizer", quantizers,
          "of orig, upstream multiplies both terms by commit; here quantizer.codebook weighs one. LFQ and BSQ stop "
          "with an "
          "error upstream"),
    KEY("nb-code", "N", "quantizer.nb_code",
        "codes, of LFQ and BSQ a power of 2; of FSQ the levels that upstream has for 256, 512, 1024, 2048, 4096, "
        "16384, "
        "65536"),
    KEY("code-dim", "N", "quantizer.dim", "width of a code; of FSQ the channels that are projected to its levels"),
    KEY("mu", "X", "quantizer.decay", "of the moving averages; upstream's ema takes 0.99 whatever it says"),
    REFUSED("beta", "upstream does not use it; the weight of the commitment loss is --commit"),

    /* the run */
    KEY("seed", "N", "seed", "of initial weights, data order and draws"),
    OPTION("out-dir", TS_PEER_FOLDER, "DIR", "run", "the folder of the run is DIR/NAME"),
    OPTION("exp-name", TS_PEER_FILE, "NAME", "run", "the folder of the run is DIR/NAME"),
    OPTION("resume-pth", TS_PEER_OPTION, "FILE", "init-from",
           "weights to start with, from a checkpoint of this program; --resume goes on with a run; eval, encode and "
           "decode "
           "take the checkpoint as their first word"),
    KEY("print-iter", "N", "train.log_every", "steps between lines of metrics"),
    KEY("eval-iter", "N", "train.eval_every", "steps between evaluations"),
    KEY("save-iter", "N", "train.checkpoint_every", "steps between checkpoints, of which the last and the best stay"),
    REFUSED("save-latest", "checkpoints/last.h5 is as new as the last --save-iter"),
    REFUSED("resume-gpt", "there is no GPT here, only the tokenizer; leave it out"),
    REFUSED("results-dir", "pictures are in the folder of the run; leave it out"),
    REFUSED("visual-name", "pictures are in the folder of the run; leave it out"),
    REFUSED("vis-gt", "tessera render CHECKPOINT CLIP -o FILE draws a clip beside its reconstruction"),
    REFUSED("nb-vis", "an evaluation draws one clip (train.picture_frames=0: none); tessera render draws any"),
    REFUSED("savegif", "tessera render CHECKPOINT CLIP -o FILE.gif"),
    REFUSED("savenpy", "tessera encode and tessera decode write .npy files"),
    REFUSED("draw", "tessera render CHECKPOINT CLIP -o FILE"),
    REFUSED("save", "tessera encode and tessera decode write what the model makes of clips"),
    REFUSED("cal-acceleration", "tessera eval always measures the acceleration; leave it out"),
    {0},
};

const ts_peer_flag *ts_peer_flag_find(const ts_peer_flag *flags, const char *typed, size_t bytes)
{
    for (; flags && flags->name; flags++) {
        size_t i = 0;
        while (i < bytes && flags->name[i] == (typed[i] == '_' ? '-' : typed[i]))
            i++;
        if (i == bytes && flags->name[i] == '\0')
            return flags;
    }
    return NULL;
}

static void append_names(const ts_peer_name *names, char *text, size_t bytes)
{
    size_t used = 0;
    for (const ts_peer_name *n = names; n->name; n++) {
        used = ts_text_append(text, bytes, used, "%s%s:", n == names ? "" : "; ", n->name);
        for (int i = 0; n->sets[i]; i++)
            used = ts_text_append(text, bytes, used, " %s", n->sets[i]);
    }
}

const char *ts_peer_flag_meaning(const ts_peer_flag *flag, char *text, size_t bytes)
{
    switch (flag->kind) {
    case TS_PEER_KEY:
    case TS_PEER_SWITCH:
        ts_text_append(text, bytes, 0, "%s", flag->key);
        break;
    case TS_PEER_NUMBERS:
        ts_text_append(text, bytes, 0, "%s and %s", flag->key, flag->also);
        break;
    case TS_PEER_NAMES:
        append_names(flag->names, text, bytes);
        break;
    case TS_PEER_OPTION:
    case TS_PEER_FOLDER:
    case TS_PEER_FILE:
        ts_text_append(text, bytes, 0, "--%s", flag->key);
        break;
    case TS_PEER_ALWAYS:
        ts_text_append(text, bytes, 0, "always so");
        break;
    case TS_PEER_REFUSED:
        ts_text_append(text, bytes, 0, "refused");
        break;
    }
    return text;
}
