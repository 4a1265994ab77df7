#include "models/published_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/image_classic.h"
#include "models/image_small.h"
#include "models/motion_conv.h"

/* Ours begins with .. and theirs with ..; the first row that fits counts. */
typedef struct {
    const char *ours, *theirs;
} prefix;

/* The rest of the path behind the row's prefix; *row NULL where none fits. */
static const char *find(const prefix *rows, const char *path, const prefix **row)
{
    for (*row = rows; (*row)->ours; (*row)++)
        if (strncmp(path, (*row)->ours, strlen((*row)->ours)) == 0)
            return path + strlen((*row)->ours);
    *row = NULL;
    return path;
}

/* Moves *at behind `word` if it begins so. */
static bool take(const char **at, const char *word)
{
    size_t n = strlen(word);
    bool found = strncmp(*at, word, n) == 0;
    *at += found ? n : 0;
    return found;
}

/* Moves *at behind a number and a dot if it begins so. */
static bool take_index(const char **at, int *index)
{
    char *after;
    long value = strtol(*at, &after, 10);
    if (after == *at || *after != '.' || value < 0 || value > 1000)
        return false;
    *index = (int)value;
    *at = after + 1;
    return true;
}

/* ---- image_classic ---- */

static const prefix classic[] = {
    {"encoder.pre_vq.", "_pre_vq_conv."},
    {"encoder.residual.block.", "_encoder._residual_stack._layers."},
    {"encoder.conv1.", "_encoder._conv_1."},
    {"encoder.conv2.", "_encoder._conv_2."},
    {"encoder.conv3.", "_encoder._conv_3."},
    {"decoder.residual.block.", "_decoder._residual_stack._layers."},
    {"decoder.conv1.", "_decoder._conv_1."},
    {"decoder.up1.", "_decoder._conv_trans_1."},
    {"decoder.up2.", "_decoder._conv_trans_2."},
    {"quantizer.codebook", "_vq_vae._embedding.weight"},
    {"quantizer.count", "_vq_vae._ema_cluster_size"},
    {"quantizer.sum", "_vq_vae._ema_w"},
    {"quantizer.", "_vq_vae."},
    {NULL, NULL},
};

/* "block.0.conv1.weight" is "0._block.1.weight" there; conv2 is 3. */
static const char *classic_name(const char *path, ts_arena *arena)
{
    const prefix *row;
    int block, conv;
    const char *rest = find(classic, path, &row), *in_block = rest;
    if (!row)
        return NULL;
    if (take_index(&in_block, &block) && take(&in_block, "conv") && take_index(&in_block, &conv))
        return ts_arena_format(arena, "%s%d._block.%d.%s", row->theirs, block, 2 * conv - 1, in_block);
    return ts_arena_format(arena, "%s%s", row->theirs, rest);
}

/* ---- image_small ---- */

static const prefix small[] = {
    {"encoder.conv1.", "layers.0."},
    {"encoder.conv2.", "layers.3."},
    {"encoder.conv3.", "layers.5."},
    {"decoder.conv1.", "layers.7."},
    {"decoder.conv2.", "layers.9."},
    {"decoder.conv3.", "layers.12."},
    {NULL, NULL},
};

/* Of one layer, in the part of the library's that is a codebook. */
static const prefix small_layer[] = {
    {"codebook", "_codebook.embed"},
    {"count", "_codebook.cluster_size"},
    {"sum", "_codebook.embed_avg"},
    {NULL, NULL},
};

/* "groups.1.layers.0.codebook" is "rvqs.1.layers.0._codebook.embed" there, in a residual quantizer; one with groups has
 * layers there, though it be a single one. Projections are those of all layers. */
static const char *small_quantizer_name(const char *path, ts_arena *arena)
{
    int group, layer = 0;
    const prefix *row;
    char groups[32] = "", layers[32] = "";
    if (take(&path, "groups.") && take_index(&path, &group))
        snprintf(groups, sizeof groups, "rvqs.%d.", group);
    bool layered = take(&path, "layers.") && take_index(&path, &layer);
    if (layered || (*groups && strncmp(path, "project_", 8) != 0))
        snprintf(layers, sizeof layers, "layers.%d.", layer);
    const char *rest = find(small_layer, path, &row);
    return ts_arena_format(arena, "layers.6.%s%s%s%s", groups, layers, row ? row->theirs : "", rest);
}

static const char *small_name(const char *path, ts_arena *arena)
{
    const prefix *row;
    if (take(&path, "quantizer."))
        return small_quantizer_name(path, arena);
    const char *rest = find(small, path, &row);
    return row ? ts_arena_format(arena, "%s%s", row->theirs, rest) : NULL;
}

/* ---- motion_conv: "encoder.down.1.block.0.conv1.weight" is "encoder.model.3.1.model.0.conv1.weight" there ---- */

typedef struct {
    const ts_motion_conv_options *o;
    int start; /* of the encoder's layers: 1 behind a patcher */
    ts_arena *arena;
} motion;

/* The rest behind "..first." and the like: "conv.weight" where convolutions are wrapped. */
static const char *conv_rest(const motion *m, const char *rest)
{
    return m->o->causal ? ts_arena_format(m->arena, "conv.%s", rest) : rest;
}

/* Behind "..attention.". */
static const char *attention_rest(const motion *m, const char *rest)
{
    if (strncmp(rest, "norm.", 5) == 0)
        return ts_arena_format(m->arena, "norm1.%s", rest + 5);
    if (strncmp(rest, "out.", 4) == 0)
        return ts_arena_format(m->arena, "proj_out.%s", conv_rest(m, rest + 4));
    return ts_arena_format(m->arena, "%c.%s", rest[0], conv_rest(m, rest + 2));
}

/* A residual stack, an attention or a convolution of a level, whose places in it are given. */
static const char *level_rest(const motion *m, const char *rest, int stack, int attention, int conv)
{
    if (strncmp(rest, "block.", 6) == 0)
        return ts_arena_format(m->arena, "%d.model.%s", stack, rest + 6);
    if (strncmp(rest, "attention.", 10) == 0)
        return ts_arena_format(m->arena, "%d.%s", attention, attention_rest(m, rest + 10));
    const char *dot = strchr(rest, '.');
    return dot ? ts_arena_format(m->arena, "%d.%s", conv, conv_rest(m, dot + 1)) : NULL;
}

/* "before.block.0..", "attention..", "after.block.0..": three neighbours, the first of them at `first`. */
static const char *middle_rest(const motion *m, const char *rest, int first)
{
    if (strncmp(rest, "before.", 7) == 0)
        return level_rest(m, rest + 7, first, 0, 0);
    if (strncmp(rest, "after.", 6) == 0)
        return level_rest(m, rest + 6, first + 2, 0, 0);
    return level_rest(m, rest, 0, first + 1, 0);
}

static const char *encoder_name(const motion *m, const char *ours)
{
    int level, last = m->start + 2 + (int)m->o->down_t;
    const char *in_level = ours;
    if (take(&in_level, "down.") && take_index(&in_level, &level))
        return ts_arena_format(m->arena, "encoder.model.%d.%s", m->start + 2 + level, level_rest(m, in_level, 1, 2, 0));
    if (strncmp(ours, "first.", 6) == 0)
        return ts_arena_format(m->arena, "encoder.model.%d.%s", m->start, conv_rest(m, ours + 6));
    if (strncmp(ours, "middle.", 7) == 0)
        return ts_arena_format(m->arena, "encoder.middle_blocks.%s", middle_rest(m, ours + 7, 0));
    if (strncmp(ours, "norm.", 5) == 0)
        return ts_arena_format(m->arena, "encoder.end_norm.%s", ours + 5);
    if (m->o->attention)
        return ts_arena_format(m->arena, "encoder.end_blocks.1.%s", conv_rest(m, ours + 5));
    return ts_arena_format(m->arena, "encoder.model.%d.%s", last, conv_rest(m, ours + 5));
}

static const char *decoder_name(const motion *m, const char *ours)
{
    int level, up = m->o->attention ? 4 : 2, body = up + (int)m->o->down_t;
    const char *in_level = ours;
    if (take(&in_level, "up.") && take_index(&in_level, &level))
        return ts_arena_format(m->arena, "decoder.model.%d.%s", up + level, level_rest(m, in_level, 0, 3, 2));
    if (strncmp(ours, "first.", 6) == 0)
        return ts_arena_format(m->arena, "decoder.model.0.%s", conv_rest(m, ours + 6));
    if (strncmp(ours, "middle.", 7) == 0)
        return ts_arena_format(m->arena, "decoder.model.%s", middle_rest(m, ours + 7, 1));
    if (strncmp(ours, "body.", 5) == 0)
        return ts_arena_format(m->arena, "decoder.model.%d.%s", body, conv_rest(m, ours + 5));
    return ts_arena_format(m->arena, "decoder.model.%d.%s", body + 2, conv_rest(m, ours + 5));
}

static const char *motion_name(const ts_tokenizer *t, ts_published_variant variant, const char *path, ts_arena *arena)
{
    motion m = {.o = t->model_options, .start = variant == TS_PUBLISHED_PATCHER, .arena = arena};
    if (strncmp(path, "encoder.", 8) == 0)
        return encoder_name(&m, path + 8);
    if (strncmp(path, "decoder.", 8) == 0)
        return decoder_name(&m, path + 8);
    if (strcmp(path, "quantizer.codebook") == 0 && strcmp(t->quantizer->name, "vector") == 0)
        return "quantizer.embedding.weight";
    if (strcmp(path, "quantizer.count") == 0 || strcmp(path, "quantizer.sum") == 0)
        return NULL; /* plain attributes there */
    return ts_arena_format(arena, "%s", path);
}

/* ---- all ---- */

ts_published_variant ts_published_variant_of(const ts_tokenizer *t)
{
    const ts_motion_conv_options *o = t->model_options;
    return t->model == &ts_motion_conv_kind && o->patch_size > 1 ? TS_PUBLISHED_PATCHER : TS_PUBLISHED_PLAIN;
}

const char *ts_published_name(const ts_tokenizer *t, ts_published_variant variant, const char *path, ts_arena *arena)
{
    if (t->model == &ts_image_classic_kind)
        return classic_name(path, arena);
    if (t->model == &ts_image_small_kind)
        return small_name(path, arena);
    return t->model == &ts_motion_conv_kind ? motion_name(t, variant, path, arena) : NULL;
}

const char *ts_published_by(const ts_tokenizer *t)
{
    if (t->model == &ts_image_classic_kind)
        return "zalandoresearch/pytorch-vq-vae";
    if (t->model == &ts_image_small_kind)
        return "lucidrains/vector-quantize-pytorch";
    return t->model == &ts_motion_conv_kind ? "T2M-GPT and MotionMillion" : NULL;
}

int ts_published_leading_axes(const ts_tokenizer *t, const char *path)
{
    const char *leaf = strrchr(path, '.');
    return t->model == &ts_image_small_kind && take(&path, "quantizer.") && leaf &&
           (strcmp(leaf, ".codebook") == 0 || strcmp(leaf, ".count") == 0 || strcmp(leaf, ".sum") == 0);
}
