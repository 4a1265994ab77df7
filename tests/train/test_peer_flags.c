/* The flags of T2M-GPT and MotionMillion: the table itself, what each flag comes to, and what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "tests/train/run_program.h"
#include "train/commands.h"
#include "train/experiment.h"

static ts_arguments arguments;
static ts_error error;

static void teardown(void)
{
    ts_arguments_clear(&arguments);
}

TestSuite(train_peer_flags, .fini = teardown);

static ts_status parse(const char *const *words)
{
    int argc = 0;
    while (words[argc])
        argc++;
    ts_arguments_clear(&arguments);
    error = (ts_error){0};
    return ts_arguments_parse(&arguments, &ts_tessera, argc, words, &error);
}
#define PARSE(...) parse((const char *const[]){"tessera", __VA_ARGS__, NULL})

/* --- the table ---------------------------------------------------------------------------------------------------- */

/* Every flag of options/option_vq.py, as it is spelled there. */
static const char *const upstream[] = {
    /* T2M-GPT */
    "dataname", "batch-size", "window-size", "total-iter", "warm-up-iter", "lr", "lr-scheduler", "gamma",
    "weight-decay", "commit", "loss-vel", "recons-loss", "code-dim", "nb-code", "mu", "down-t", "stride-t", "width",
    "depth", "dilation-growth-rate", "output-emb-width", "vq-act", "vq-norm", "quantizer", "beta", "resume-pth",
    "resume-gpt", "out-dir", "results-dir", "visual-name", "exp-name", "print-iter", "eval-iter", "seed", "vis-gt",
    "nb-vis",
    /* MotionMillion has these too */
    "causal", "model", "z-latent", "save-iter", "save-latest", "debug", "motion_type", "text_type", "version",
    "num-workers", "savegif", "savenpy", "draw", "save", "gradient_accumulation_steps", "use_acc_loss",
    "use_acc_vel_loss", "use_root_loss", "root_loss", "acc_loss", "acc_vel_loss", "kernel-size", "use_patcher",
    "patch_size", "patch_method", "use_attn", "fps", "cal_acceleration"};
enum { UPSTREAM = sizeof upstream / sizeof *upstream };

static int row_count(void)
{
    int n = 0;
    while (ts_peer_flags[n].name)
        n++;
    return n;
}

Test(train_peer_flags, every_flag_of_the_two_scripts_is_in_the_table_and_no_other)
{
    for (int i = 0; i < UPSTREAM; i++)
        cr_expect_not_null(ts_peer_flag_find(ts_peer_flags, upstream[i], strlen(upstream[i])), "%s", upstream[i]);
    cr_expect_eq(row_count(), UPSTREAM);
    cr_expect_eq(UPSTREAM, 36 + 28);
    cr_expect_null(ts_peer_flag_find(ts_peer_flags, "nb-codes", 8));
    cr_expect_null(ts_peer_flag_find(ts_peer_flags, "nb", 2));
    cr_expect_null(ts_peer_flag_find(NULL, "lr", 2));
}

static bool takes_text(const char *option)
{
    for (const ts_command *c = ts_tessera.commands; c->name; c++)
        for (const ts_argument_option *o = c->options; strcmp(c->name, "train") == 0 && o->option.name; o++)
            if (strcmp(o->option.name, option) == 0)
                return o->option.type == TS_OPTION_STRING;
    return false;
}

Test(train_peer_flags, rows_are_whole)
{
    for (const ts_peer_flag *f = ts_peer_flags; f->name; f++) {
        bool option = f->kind == TS_PEER_OPTION || f->kind == TS_PEER_FOLDER || f->kind == TS_PEER_FILE;
        bool key = f->kind == TS_PEER_KEY || f->kind == TS_PEER_NUMBERS || f->kind == TS_PEER_SWITCH;
        cr_expect_eq(strspn(f->name, "abcdefghijklmnopqrstuvwxyz-"), strlen(f->name), "%s", f->name);
        cr_expect_eq(ts_peer_flag_find(ts_peer_flags, f->name, strlen(f->name)), f, "%s is there once", f->name);
        cr_expect(f->help && *f->help && !strchr(f->help, '\n') && f->help[strlen(f->help) - 1] != '.', "%s", f->name);
        cr_expect_eq(option || key, f->key != NULL, "%s", f->name);
        cr_expect_eq(f->kind == TS_PEER_NAMES, f->names != NULL, "%s", f->name);
        cr_expect_eq(f->kind == TS_PEER_NUMBERS, f->also != NULL, "%s", f->name);
        cr_expect_eq(option || f->names || f->kind == TS_PEER_KEY || f->also, f->argument != NULL, "%s", f->name);
        cr_expect(!option || takes_text(f->key), "%s: %s", f->name, f->key);
        for (const ts_peer_name *n = f->names; n && n->name; n++)
            cr_expect(n->sets[0] && !n->sets[TS_PEER_MAX_SETS - 1], "%s %s", f->name, n->name);
    }
}

/* --- what a flag comes to ----------------------------------------------------------------------------------------- */

#define MOTION "data.kind=motion", "data.path=tree", "model.kind=motion_conv"
#define VECTOR MOTION, "quantizer.kind=vector"
#define RESET  MOTION, "quantizer.kind=vector_reset"
#define FSQ    MOTION, "quantizer.kind=finite_scalar"

/* Flags, and the overrides that give the same config. */
typedef struct {
    const char *base[6], *words[6], *same[4];
} translation;

static const translation translations[] = {
    {{MOTION, "data.columns=7"}, {"--dataname", "t2m"}, {"data.columns=263"}},
    {{MOTION, "data.layout=a"}, {"--dataname", "kit"}, {"data.columns=251", "data.layout=auto"}},
    {{"data.kind=idx", "data.path=tree"}, {"--dataname", "motionmillion"}, {"data.kind=motion", "data.columns=272"}},
    {{MOTION}, {"--batch-size", "7"}, {"train.batch=7"}},
    {{MOTION}, {"--window-size", "96"}, {"data.window=96"}},
    {{"data.kind=chains"}, {"--window-size", "48"}, {"data.window=48"}},
    {{MOTION}, {"--motion-type", "vector_263"}, {"data.motion_type=vector_263"}},
    {{MOTION}, {"--version", "version1/tokenizer_96"}, {"data.version=version1/tokenizer_96"}},
    {{MOTION}, {"--fps", "60"}, {"data.fps=60"}},
    {{MOTION}, {"--total-iter", "300000"}, {"train.steps=300000"}},
    {{MOTION}, {"--warm-up-iter", "48000"}, {"train.warmup=48000"}},
    {{MOTION}, {"--lr", "2e-4"}, {"train.lr=2e-4"}},
    {{MOTION}, {"--lr-scheduler", "200000"}, {"train.milestones=[200000]", "train.schedule=multistep"}},
    {{MOTION}, {"--lr-scheduler", "50000", "400000"}, {"train.milestones=[50000, 400000]", "train.schedule=multistep"}},
    {{MOTION}, {"--lr-scheduler=5,6,7"}, {"train.milestones=[5, 6, 7]", "train.schedule=multistep"}},
    {{MOTION},
     {"--lr-scheduler", "50", "400", "--gamma", "0.5"},
     {"train.milestones=[50, 400]", "train.schedule=multistep", "train.gamma=0.5"}},
    {{MOTION}, {"--gamma", "0.1"}, {"train.gamma=0.1"}},
    {{MOTION}, {"--weight-decay", "0.5"}, {"train.weight_decay=0.5"}},
    {{RESET}, {"--commit", "0.3"}, {"quantizer.commitment=0.3"}},
    {{VECTOR}, {"--commit", "0.3"}, {"quantizer.commitment=0.3"}},
    {{MOTION}, {"--loss-vel", "0.5"}, {"train.position_loss=0.5"}},
    {{MOTION}, {"--recons-loss", "l1"}, {"train.loss=l1"}},
    {{MOTION, "train.loss=l1"}, {"--recons-loss", "l2"}, {"train.loss=mse"}},
    {{MOTION}, {"--recons-loss", "l1_smooth"}, {"train.loss=smooth_l1"}},
    {{MOTION}, {"--acc_loss", "0.5"}, {"train.velocity_loss=0.5"}},
    {{MOTION}, {"--acc_vel_loss", "0.5"}, {"train.acceleration_loss=0.5"}},
    {{MOTION}, {"--root_loss", "0.5"}, {"train.root_loss=0.5"}},
    {{"data.kind=chains"}, {"--model", "vqvae"}, {"model.kind=motion_conv"}},
    {{MOTION}, {"--width", "64"}, {"model.width=64"}},
    {{MOTION}, {"--depth", "2"}, {"model.depth=2"}},
    {{MOTION}, {"--dilation-growth-rate", "2"}, {"model.dilation_growth=2"}},
    {{MOTION}, {"--down-t", "1"}, {"model.down_t=1"}},
    {{MOTION}, {"--stride-t", "3"}, {"model.stride=3"}},
    {{MOTION}, {"--kernel-size", "5"}, {"model.kernel=5"}},
    {{MOTION}, {"--vq-act", "gelu"}, {"model.activation=gelu"}},
    {{MOTION}, {"--vq-norm", "LN"}, {"model.norm=LN"}},
    {{MOTION}, {"--causal"}, {"model.causal=true"}},
    {{MOTION}, {"--causal", "True"}, {"model.causal=true"}},
    {{MOTION, "model.causal=true"}, {"--causal=False"}, {"model.causal=false"}},
    {{MOTION}, {"--use_attn", "true"}, {"model.attention=true"}},
    {{MOTION, "model.attention=true"}, {"--use-attn", "False"}, {"model.attention=false"}},
    {{MOTION}, {"--patch_size", "2"}, {"model.patch_size=2"}},
    {{MOTION}, {"--patch_method", "rearrange"}, {"model.patch=rearrange"}},
    {{MOTION},
     {"--quantizer", "ema_reset"},
     {"quantizer.kind=vector_reset", "quantizer.ema=true", "quantizer.reset=true"}},
    {{RESET, "quantizer.ema=false"}, {"--quantizer", "ema_reset"}, {"quantizer.ema=true"}},
    {{MOTION}, {"--quantizer", "ema"}, {"quantizer.kind=vector_reset", "quantizer.reset=false"}},
    {{MOTION}, {"--quantizer", "reset"}, {"quantizer.kind=vector_reset", "quantizer.ema=false"}},
    {{MOTION}, {"--quantizer", "orig"}, {"quantizer.kind=vector"}},
    {{VECTOR}, {"--quantizer", "FSQ"}, {"quantizer.kind=finite_scalar"}},
    {{MOTION}, {"--quantizer", "LFQ", "--nb-code", "256"}, {"quantizer.kind=lookup_free", "quantizer.bits=8"}},
    {{MOTION},
     {"--quantizer", "BSQ", "--code-dim", "12"},
     {"quantizer.kind=lookup_free", "quantizer.spherical=true", "quantizer.dim=12"}},
    {{VECTOR}, {"--nb-code", "256"}, {"quantizer.codes=256"}},
    {{RESET}, {"--nb-code", "1000"}, {"quantizer.codes=1000"}},
    {{MOTION},
     {"--quantizer", "ema", "--nb-code", "99"},
     {"quantizer.kind=vector_reset", "quantizer.reset=false", "quantizer.codes=99"}},
    {{FSQ, "quantizer.levels=9"}, {"--nb-code", "256"}, {"quantizer.levels=[8, 6, 5]"}},
    {{FSQ}, {"--nb-code", "512"}, {"quantizer.levels=[8, 8, 8]"}},
    {{FSQ}, {"--nb-code", "1024"}, {"quantizer.levels=[8, 5, 5, 5]"}},
    {{FSQ}, {"--nb-code", "2048"}, {"quantizer.levels=[8, 8, 6, 5]"}},
    {{FSQ}, {"--nb-code", "4096"}, {"quantizer.levels=[7, 5, 5, 5, 5]"}},
    {{FSQ}, {"--nb-code", "16384"}, {"quantizer.levels=[8, 8, 8, 6, 5]"}},
    {{VECTOR},
     {"--nb-code", "65536", "--quantizer", "FSQ"},
     {"quantizer.kind=finite_scalar", "quantizer.levels=[8, 8, 8, 5, 5, 5]"}},
    {{VECTOR}, {"--code-dim", "32"}, {"quantizer.dim=32"}},
    {{FSQ}, {"--code-dim", "32"}, {"quantizer.dim=32"}},
    {{RESET}, {"--mu", "0.9"}, {"quantizer.decay=0.9"}},
    {{MOTION, "quantizer.kind=vector_ema"}, {"--mu", "0.9"}, {"quantizer.decay=0.9"}},
    {{MOTION}, {"--seed", "123"}, {"seed=123"}},
    {{MOTION}, {"--print-iter", "5"}, {"train.log_every=5"}},
    {{MOTION}, {"--eval-iter", "6"}, {"train.eval_every=6"}},
    {{MOTION}, {"--save-iter", "8"}, {"train.checkpoint_every=8"}},
};
enum { TRANSLATIONS = sizeof translations / sizeof *translations };

/* The resolved config as text, of the base and more overrides. */
static char *resolved(const char *const *base, const char *const *more)
{
    const char *all[32] = {0};
    int n = 0;
    for (int i = 0; base[i]; i++)
        all[n++] = base[i];
    for (int i = 0; more[i]; i++)
        all[n++] = more[i];
    ts_config *config;
    char *text;
    cr_assert_eq(ts_config_parse(&config, ts_experiment_schema(), "base", "{}", 2, all, &error), TS_OK, "%s: %s",
                 more[0] ? more[0] : base[0], error.text);
    cr_assert_eq(ts_config_print(config, false, &text, &error), TS_OK);
    ts_config_free(config);
    return text;
}

/* What the flags of a case come to: `config base.yaml FLAGS`. */
static void expect_translation(const translation *c, const char *const *flags)
{
    static const char *const none[] = {NULL};
    const char *words[16] = {"tessera", "config", "base.yaml"};
    for (int i = 0; flags[i]; i++)
        words[3 + i] = flags[i];
    cr_assert_eq(parse(words), TS_OK, "%s", error.text);
    cr_expect_eq(arguments.positional_count, 1);
    char *got = resolved(c->base, (const char *const *)arguments.overrides), *want = resolved(c->base, c->same);
    char *before = resolved(c->base, none);
    cr_expect_str_eq(got, want, "%s %s", flags[0], flags[1] ? flags[1] : "");
    cr_expect_str_neq(got, before, "%s changes nothing: no test", flags[0]);
    ts_free(got);
    ts_free(want);
    ts_free(before);
}

Test(train_peer_flags, a_flag_gives_the_config_of_its_override)
{
    int attached = 0;
    for (int i = 0; i < TRANSLATIONS; i++) {
        const translation *c = &translations[i];
        expect_translation(c, c->words);
        if (!c->words[1] || c->words[2])
            continue;
        char word[100]; /* as --flag=value, with underscores */
        snprintf(word, sizeof word, "%s=%s", c->words[0], c->words[1]);
        for (char *at = word + 2; *at != '='; at++)
            *at = *at == '-' ? '_' : *at;
        expect_translation(c, (const char *const[]){word, NULL});
        attached++;
    }
    cr_expect_geq(TRANSLATIONS, 65);
    cr_expect_geq(attached, 55);
}

static bool is_translated(const ts_peer_flag *flag, const char *name)
{
    for (int i = 0; i < TRANSLATIONS; i++)
        for (int w = 0; w < 5 && translations[i].words[w]; w++) {
            const char *word = translations[i].words[w], *value = translations[i].words[w + 1];
            bool found = strncmp(word, "--", 2) == 0 &&
                         ts_peer_flag_find(ts_peer_flags, word + 2, strcspn(word + 2, "=")) == flag;
            if (found && (!name || (value && strcmp(value, name) == 0)))
                return true;
        }
    return false;
}

Test(train_peer_flags, every_row_that_sets_a_key_is_translated_above)
{
    int rows = 0, names = 0;
    for (const ts_peer_flag *f = ts_peer_flags; f->name; f++) {
        bool sets = f->kind == TS_PEER_KEY || f->kind == TS_PEER_NUMBERS || f->kind == TS_PEER_SWITCH || f->names;
        rows += sets;
        cr_expect(!sets || is_translated(f, NULL), "--%s", f->name);
        for (const ts_peer_name *n = f->names; n && n->name; n++, names++)
            cr_expect(is_translated(f, n->name), "--%s %s", f->name, n->name);
    }
    cr_expect_eq(rows, 39);
    cr_expect_eq(names, 14);
}

static void expect_overrides(const char *const *want)
{
    int64_t n = 0;
    for (; want[n]; n++)
        cr_assert(n < arguments.override_count && strcmp(arguments.overrides[n], want[n]) == 0, "%s", want[n]);
    cr_expect_eq(arguments.override_count, n);
    cr_expect_null(arguments.overrides[n]);
}
#define EXPECT_OVERRIDES(...) expect_overrides((const char *const[]){__VA_ARGS__, NULL})

/* In the order of the command line; of two of the same flag the later one, whole. */
Test(train_peer_flags, the_later_one_counts)
{
    cr_assert_eq(PARSE("plan", "x", "--lr", "1", "train.lr=2", "--lr=3", "seed=1"), TS_OK, "%s", error.text);
    EXPECT_OVERRIDES("train.lr=2", "train.lr=3", "seed=1");
    cr_assert_eq(PARSE("plan", "--quantizer", "ema_reset", "x", "--quantizer", "FSQ"), TS_OK, "%s", error.text);
    EXPECT_OVERRIDES("quantizer.kind=finite_scalar");
    cr_expect_str_eq(ts_arguments_positional(&arguments, 0), "x");
    cr_assert_eq(PARSE("plan", "x", "--use_patcher", "--lr-scheduler", "5", "6", "y=1"), TS_OK, "%s", error.text);
    EXPECT_OVERRIDES("train.milestones=[5, 6]", "train.schedule=multistep", "y=1");
    cr_assert_eq(PARSE("plan", "--causal", "x", "--seed", "5", "seed=6"), TS_OK, "%s", error.text);
    EXPECT_OVERRIDES("model.causal=true", "seed=5", "seed=6");
}

Test(train_peer_flags, a_commands_own_option_comes_first)
{
    cr_assert_eq(PARSE("render", "x", "-o", "y.gif", "--fps", "30"), TS_OK, "%s", error.text);
    cr_expect_eq(arguments.override_count, 0);
    cr_expect_eq(ts_arguments_real(&arguments, "fps"), 30);
    cr_expect_eq(PARSE("doctor", "--nb-code", "3"), TS_ERR_USAGE, "takes no overrides");
    cr_expect_eq(PARSE("--nb-code", "3"), TS_ERR_USAGE, "no command");
}

typedef struct {
    const char *words[9], *option, *want;
} option_case;

Test(train_peer_flags, folders_and_checkpoints_are_options)
{
    static const option_case cases[] = {
        {{"train", "x", "--out-dir", "a", "--exp-name", "b"}, "run", "a/b"},
        {{"train", "x", "--exp-name", "b", "--out-dir", "a/"}, "run", "a/b"},
        {{"train", "x", "--out-dir", "a"}, "run", "a"},
        {{"train", "x", "--exp-name=b"}, "run", "b"},
        {{"train", "x", "--out_dir", "/", "--exp_name", "b"}, "run", "/b"},
        {{"train", "x", "--run", "c", "--out-dir", "a", "--exp-name", "b"}, "run", "a/b"},
        {{"train", "x", "--out-dir", "a", "--exp-name", "b", "--run", "c"}, "run", "c"},
        {{"train", "x", "--out-dir", "a", "--exp-name", "b", "--out-dir", "d"}, "run", "d/b"},
        {{"train", "x", "--run", "c", "--resume-pth", "w.h5"}, "init-from", "w.h5"},
        {{"train", "x", "--run", "c", "--resume-pth=w.h5", "--init-from=v.h5"}, "init-from", "v.h5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *words[11] = {"tessera"};
        memcpy(words + 1, cases[i].words, sizeof cases[i].words);
        cr_assert_eq(parse(words), TS_OK, "%s", error.text);
        cr_expect_str_eq(ts_arguments_text(&arguments, cases[i].option), cases[i].want);
        cr_expect(ts_arguments_given(&arguments, cases[i].option));
        cr_expect_eq(arguments.override_count, 0);
    }
}

/* --- what is refused ---------------------------------------------------------------------------------------------- */

Test(train_peer_flags, flags_of_no_meaning_say_what_to_do)
{
    int refused = 0;
    for (const ts_peer_flag *f = ts_peer_flags; f->name; f++) {
        if (f->kind != TS_PEER_REFUSED)
            continue;
        char word[100], want[300];
        snprintf(word, sizeof word, "--%s", f->name);
        snprintf(want, sizeof want, "tessera train: --%s means nothing here: %s", f->name, f->help);
        cr_expect_eq(PARSE("train", "x", "--run", "d", word, "1"), TS_ERR_USAGE, "%s", word);
        cr_expect_str_eq(error.text, want);
        refused++;
    }
    cr_expect_eq(refused, 21);
}

typedef struct {
    const char *words[6], *message;
} bad_case;

Test(train_peer_flags, bad_input)
{
    static const bad_case cases[] = {
        {{"--nb-cod", "3"}, "unknown option '--nb-cod' (did you mean '--nb-code'?) (see tessera plan --help)"},
        {{"--nb_cod=3"}, "unknown option '--nb_cod' (did you mean '--nb-code'?) (see tessera plan --help)"},
        {{"--dilation-grwoth-rate=3"},
         "unknown option '--dilation-grwoth-rate' (did you mean '--dilation-growth-rate'?) (see tessera plan --help)"},
        {{"--num-quantizers=3"}, "unknown option '--num-quantizers' (see tessera plan --help)"},
        {{"--nb-code"}, "--nb-code needs a value: N"},
        {{"--nb-code", "--down-t", "2"}, "--nb-code needs a value: N"},
        {{"--nb-code="}, "--nb-code needs a value: N"},
        {{"--quantizer"}, "--quantizer needs a value: NAME"},
        {{"--lr-scheduler"}, "--lr-scheduler needs a value: N [N ...]"},
        {{"--quantizer", "RVQ"},
         "--quantizer: expected one of ema_reset, ema, reset, orig, FSQ, LFQ, BSQ, found 'RVQ'"},
        {{"--quantizer", "ema_rest"},
         "--quantizer: expected one of ema_reset, ema, reset, orig, FSQ, LFQ, BSQ, found 'ema_rest' (did you mean "
         "'ema_reset'?)"},
        {{"--dataname", "mocap\n"}, "--dataname: expected one of t2m, kit, motionmillion, found 'mocap?'"},
        {{"--recons-loss=huber"}, "--recons-loss: expected one of l1, l2, l1_smooth, found 'huber'"},
        {{"--model", "tae"}, "--model: expected vqvae, found 'tae'"},
        {{"--causal=perhaps"}, "--causal: expected nothing, true or false, found 'perhaps'"},
        {{"--causal="}, "--causal: expected nothing, true or false, found ''"},
        {{"--use_patcher=1"},
         "--use-patcher takes no value: patches are on where --patch-size is above 1, and nothing "
         "else is needed for them"},
        {{"--out-dir", "a"},
         "--out-dir is --run of tessera train, which plan does not have: the folder of the run is "
         "DIR/NAME"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *words[16] = {"tessera", "plan", "x"};
        char want[400];
        memcpy(words + 3, cases[i].words, sizeof cases[i].words);
        snprintf(want, sizeof want, "tessera plan: %s", cases[i].message);
        cr_expect_eq(parse(words), TS_ERR_USAGE, "%s", cases[i].message);
        cr_expect_str_eq(error.text, want);
    }
    cr_expect_geq(sizeof cases / sizeof *cases, 18);
    const char *words[1010] = {"tessera", "plan", "x", "--lr-scheduler"};
    for (int i = 4; i < 1000; i++)
        words[i] = "1";
    cr_expect_eq(parse(words), TS_ERR_USAGE);
    cr_expect(strstr(error.text, "more numbers than any schedule has"), "%s", error.text);
}

Test(train_peer_flags, out_of_memory)
{
    int failures = 0;
    for (int at = 1; at < 10; at++) {
        ts_alloc_fail_at(at);
        ts_status status = PARSE("train", "x", "--out-dir", "a", "--exp-name", "b", "--lr-scheduler", "1", "2");
        ts_alloc_fail_at(0);
        cr_expect(status == TS_OK || status == TS_ERR_RUNTIME);
        failures += status != TS_OK;
    }
    cr_expect_geq(failures, 1);
}

/* --- the program -------------------------------------------------------------------------------------------------- */

static temp_folder folder;

static void make_folder(void)
{
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_peer_flags_program, .init = make_folder, .fini = remove_folder);

static void expect_lines(const char *text, const char *const *lines)
{
    for (; *lines; lines++)
        cr_expect(strstr(text, *lines), "'%s' is not in:\n%s", *lines, text);
}
#define EXPECT_LINES(text, ...) expect_lines(text, (const char *const[]){__VA_ARGS__, NULL})

/* T2M-GPT's command as its README has it, and MotionMillion's script but for --num-workers, give the configs that are
 * shipped, except that these count the warm-up into the steps. */
Test(train_peer_flags_program, published_commands_give_the_shipped_configs)
{
    const char *t2m = TESSERA_SOURCE "/configs/motion/t2m_vqvae.yaml";
    const char *million = TESSERA_SOURCE "/configs/motion/motionmillion_fsq.yaml";
    char *a = OUTPUT("config", "--plain", t2m, "train.steps=300000", "train.milestones=200000");
    char *b = OUTPUT("config", "--plain", t2m, "--batch-size", "256", "--lr", "2e-4", "--total-iter", "300000",
                     "--lr-scheduler", "200000", "--nb-code", "512", "--down-t", "2", "--depth", "3",
                     "--dilation-growth-rate", "3", "--dataname", "t2m", "--vq-act", "relu", "--quantizer", "ema_reset",
                     "--loss-vel", "0.5", "--recons-loss", "l1_smooth");
    cr_expect_str_eq(a, b);
    free(a);
    free(b);
    a = OUTPUT("config", "--plain", million, "train.steps=6000000", "train.milestones=300000");
    b = OUTPUT("config", "--plain", million, "--batch-size", "64", "--lr", "5e-5", "--total-iter", "6000000",
               "--lr-scheduler", "300000", "--down-t", "1", "--depth", "3", "--dilation-growth-rate", "3", "--dataname",
               "motionmillion", "--vq-act", "relu", "--quantizer", "ema_reset", "--loss-vel", "0.5", "--recons-loss",
               "l1_smooth", "--quantizer", "FSQ", "--nb-code", "65536", "--motion_type", "vector_272", "--version",
               "version1/tokenizer_96", "--warm-up-iter", "48000", "--window-size", "96", "--kernel-size", "3",
               "--use_patcher", "--patch_size", "1", "--patch_method", "haar", "--vq-norm", "LN");
    cr_expect_str_eq(a, b);
    free(a);
    free(b);
}

Test(train_peer_flags_program, trains_by_flags_and_starts_from_the_weights)
{
    const char *config = kept_write(&folder, "c.yaml", "data: {kind: chains, count: 8, val_count: 2}", 44);
    const char *last = kept_path(&folder, "vq/last/checkpoints/last.h5");
    size_t bytes;
    free(OUTPUT("train", config, "--quiet", "--model", "vqvae", "--width", "8", "--depth=1", "--down-t", "2",
                "--causal", "--window_size", "16", "--batch-size", "4", "--total-iter", "2", "--quantizer", "ema_reset",
                "--nb-code=16", "--code-dim", "8", "--lr-scheduler", "1", "2", "--recons-loss", "l1_smooth", "--seed",
                "3", "--out-dir", kept_path(&folder, "vq"), "--exp-name", "last"));
    char *text = file_content(kept_path(&folder, "vq/last/config.yaml"), &bytes);
    EXPECT_LINES(text, "seed: 3\n", "  kind: motion_conv\n", "  width: 8\n", "  causal: true\n",
                 "  kind: vector_reset\n", "  codes: 16\n", "  milestones: [1, 2]\n", "  schedule: multistep\n",
                 "  steps: 2\n");
    free(text);
    free(OUTPUT("eval", last, "--window-size", "16"));
    const char *again = kept_path(&folder, "again"), *used = kept_path(&folder, "vq/last/config.yaml");
    free(OUTPUT("train", used, "--quiet", "--run", again, "--resume-pth", last));
    REFUSED(4, "w.pth", "train", used, "--run", kept_path(&folder, "no"), "--resume-pth",
            kept_write(&folder, "w.pth", "PK\3\4", 4));
}

Test(train_peer_flags_program, messages_of_the_config_name_the_flag)
{
    const char *config = kept_write(&folder, "c.yaml", "quantizer: {kind: vector}", 25);
    REFUSED(2, "tessera: --nb-code: override 'quantizer.nb_code=abc': codes: expected an integer from 1", "config",
            config, "--nb-code", "abc");
    REFUSED(2, "tessera: --nb-code: override 'quantizer.nb_code=300': nb_code: expected one of 256, 512, 1024",
            "config", config, "--quantizer", "FSQ", "--nb-code", "300");
    REFUSED(2, "tessera: --commit: override 'quantizer.commitment=0.1': unknown key 'commitment' for kind", "config",
            config, "--quantizer", "FSQ", "--commit", "0.1");
    REFUSED(2, "tessera: override 'quantizer.codes=x': ", "config", config, "--nb-code", "3", "quantizer.codes=x");
    REFUSED(2, "tessera: --seed: override 'seed=-1': seed: expected an integer", "config", config, "--seed", "-1");
    REFUSED(2, "tessera: --width: model.width=8: the weights were trained", "eval", tiny_run(&folder), "--width", "8");
}

Test(train_peer_flags_program, an_alias_with_values_of_its_own)
{
    const char *good = kept_write(&folder, "a.yaml", "quantizer: {kind: finite_scalar, nb_code: 1024}", 47);
    const char *list = kept_write(&folder, "b.yaml", "quantizer: {kind: finite_scalar, nb_code: [8, 8]}", 49);
    const char *twice = kept_write(&folder, "c.yaml", "quantizer: {nb_code: 512, levels: [8, 8]}", 41);
    char *text = OUTPUT("config", "--plain", good);
    EXPECT_LINES(text, "  levels: [8, 5, 5, 5]\n");
    free(text);
    text = OUTPUT("config", "--plain", good, "quantizer.preserve_symmetry=true");
    EXPECT_LINES(text, "  bound: symmetric\n");
    free(text);
    REFUSED(2, "nb_code: expected one of 256, 512, 1024, 2048, 4096, 16384, 65536, found a list '[8, 8]'", "config",
            list);
    REFUSED(2, "'levels' is given twice", "config", twice);
}

/* --- what is told of them ----------------------------------------------------------------------------------------- */

/* Every row as docs/motion.md has it, and no other. */
Test(train_peer_flags_program, the_table_of_the_docs_is_this_one)
{
    size_t bytes;
    char *page = file_content(TESSERA_SOURCE "/docs/motion.md", &bytes);
    for (const ts_peer_flag *f = ts_peer_flags; f->name; f++) {
        char meaning[800], line[1200];
        snprintf(line, sizeof line, "\n| `--%s%s%s` | %s | %s |\n", f->name, f->argument ? " " : "",
                 f->argument ? f->argument : "", ts_peer_flag_meaning(f, meaning, sizeof meaning), f->help);
        cr_expect(strstr(page, line), "docs/motion.md lacks:%s", line);
    }
    int lines = 0;
    const char *at = strstr(page, "\n## Flags of T2M-GPT and MotionMillion\n"),
               *end = at ? strstr(at + 4, "\n## ") : NULL;
    cr_assert(at && end);
    for (at = strstr(at, "\n| `--"); at && at < end; at = strstr(at + 1, "\n| `--"))
        lines++;
    cr_expect_eq(lines, row_count());
    free(page);
}

Test(train_peer_flags_program, help_man_page_and_completion_list_them)
{
    char *help = OUTPUT("train", "--help"), *flags = OUTPUT("config", "--flags"), *man = OUTPUT("config", "--man");
    char *script = OUTPUT("config", "--completion", "bash");
    EXPECT_LINES(help, "--FLAG VALUE", "tessera config --flags");
    for (const ts_peer_flag *f = ts_peer_flags; f->name; f++) {
        char row[60], word[60];
        snprintf(row, sizeof row, "\n  --%s%s", f->name, f->argument ? " " : ":");
        cr_expect(strstr(flags, row), "%s", row);
        snprintf(word, sizeof word, " --%s ", f->name);
        cr_expect_eq(strstr(script, word) != NULL, f->kind != TS_PEER_REFUSED, "%s", word);
    }
    EXPECT_LINES(man, ".SH FLAGS OF T2M-GPT AND MOTIONMILLION\n",
                 "\\fB\\-\\-nb\\-code\\fR \\fIN\\fR\nquantizer.nb_code.\n");
    EXPECT_LINES(script, "*' --quantizer') values='ema_reset ema reset orig FSQ LFQ BSQ ' ;;",
                 "*' --vq-act') values='relu silu gelu ' ;;", "*' --vq-norm') values='none LN GN BN ' ;;");
    free(help);
    free(flags);
    free(man);
    free(script);
}
