#include "train/ablation.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/experiment.h"

/* ---- what a file can say ---- */

typedef struct {
    const char *name, *description, *base;
    ts_int_list sizes;
} top_options;

static const ts_option top_rows[] = {
    {.name = "name", .type = TS_OPTION_STRING, .offset = offsetof(top_options, name), .help = "title of the report"},
    {.name = "description",
     .type = TS_OPTION_STRING,
     .offset = offsetof(top_options, description),
     .fallback = "",
     .help = "what the grid is meant to tell"},
    {.name = "base",
     .type = TS_OPTION_STRING,
     .offset = offsetof(top_options, base),
     .help = "config of every cell; a relative path begins at the spec"},
    {.name = "sizes",
     .type = TS_OPTION_INTS,
     .offset = offsetof(top_options, sizes),
     .fallback = "[]",
     .min = 2,
     .max = 1 << 24,
     .help = "sizes of the codebook"},
    {0},
};
static const ts_option_table top_table = {"ablation", "a grid of trainings", top_rows, sizeof(top_options)};
static const ts_config_section sections[] = {
    {.name = "set", .help = "overrides in every cell, KEY: VALUE", .lists = true},
    {.name = "methods", .help = "what is compared: LABEL: [KEY=VALUE, ...]", .lists = true},
    {.name = "axes", .help = "keys of the config and their values, KEY: [VALUE, ...]", .lists = true},
    {0},
};
static const ts_config_schema schema = {.top = &top_table, .sections = sections};

/* ---- sizes ---- */

/* Table 1 of Mentzer et al. 2023: levels for about 2^8, 2^10, 2^12, 2^14, 2^16 codes; below, products of 8. */
static const struct {
    int64_t size;
    const char *levels;
} paper[] = {{64, "[8, 8]"},
             {256, "[8, 6, 5]"},
             {512, "[8, 8, 8]"},
             {1024, "[8, 5, 5, 5]"},
             {4096, "[7, 5, 5, 5, 5]"},
             {16384, "[8, 8, 8, 6, 5]"},
             {65536, "[8, 8, 8, 5, 5, 5]"}};

static const char *levels_of(int64_t size)
{
    for (size_t i = 0; i < sizeof paper / sizeof *paper; i++)
        if (paper[i].size == size)
            return paper[i].levels;
    return NULL;
}

/* The override that gives a quantizer of this table `size` codes. NULL with *err: there is none. */
static const char *size_override(ts_ablation *a, const ts_option_table *table, int64_t size, ts_error *err)
{
    const char *text = NULL;
    if (ts_option_find(table, "levels")) {
        const char *levels = levels_of(size);
        if (!levels)
            ts_fail(err, TS_ERR_USAGE,
                    "%s: sizes: no levels of %s are known for %" PRId64
                    " codes, only for 64, 256, 512, 1024, 4096, 16384 "
                    "and 65536",
                    TS_SHOWN(a->path), table->kind, size);
        else if (!(text = ts_arena_format(&a->arena, "quantizer.levels=%s", levels)))
            ts_out_of_memory(err, 0);
    } else if (ts_option_find(table, "codes")) {
        if (!(text = ts_arena_format(&a->arena, "quantizer.codes=%" PRId64, size)))
            ts_out_of_memory(err, 0);
    } else if (ts_option_find(table, "bits") && (size & (size - 1)) == 0) {
        if (!(text = ts_arena_format(&a->arena, "quantizer.bits=%d", __builtin_ctzll((unsigned long long)size))))
            ts_out_of_memory(err, 0);
    } else {
        ts_fail(err, TS_ERR_USAGE, "%s: sizes: a quantizer of kind %s cannot have %" PRId64 " codes", TS_SHOWN(a->path),
                table->kind, size);
    }
    return text;
}

/* ---- lists ---- */

typedef struct {
    const char *label;
    ts_string_list list;
    int line;
} row;

enum { MAX_ROWS = 32 };

typedef struct {
    row row[MAX_ROWS];
    int count;
} rows;

static ts_status list_of(ts_ablation *a, const ts_config_pair *pair, ts_string_list *list, ts_error *err)
{
    static const ts_option option = {.name = "list", .type = TS_OPTION_STRINGS, .help = "a list"};
    if (ts_option_parse(&option, pair->text, list, &a->arena, NULL) != TS_OK || list->count == 0)
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: %s: expected a list of 1 to %d values, such as [1, 2], found '%s'",
                       TS_SHOWN(a->path), pair->line, TS_SHOWN(pair->key), TS_MAX_STRINGS, TS_SHOWN(pair->text));
    return TS_OK;
}

static ts_status read_rows(ts_ablation *a, const ts_config *spec, const char *section, rows *out, ts_error *err)
{
    ts_config_pair pair;
    for (out->count = 0; ts_config_pair_at(spec, section, out->count, &pair); out->count++) {
        if (out->count == MAX_ROWS)
            return ts_fail(err, TS_ERR_USAGE, "%s:%d: %s: more than %d", TS_SHOWN(a->path), pair.line, section,
                           MAX_ROWS);
        row *r = &out->row[out->count];
        *r = (row){.label = ts_arena_strdup(&a->arena, pair.key), .line = pair.line};
        if (!r->label)
            return ts_out_of_memory(err, 0);
        TS_TRY(list_of(a, &pair, &r->list, err));
        for (int i = 0; i < out->count; i++)
            if (strcmp(out->row[i].label, r->label) == 0)
                return ts_fail(err, TS_ERR_USAGE, "%s:%d: %s: '%s' is there twice", TS_SHOWN(a->path), pair.line,
                               section, TS_SHOWN(r->label));
    }
    return TS_OK;
}

/* ---- cells ---- */

enum { MAX_OVERRIDES = 64 };

/* What all cells are made from, and how far the enumeration has come. */
typedef struct {
    ts_ablation *a;
    const char *common[MAX_OVERRIDES]; /* of `set` */
    int common_count;
    rows methods, axes; /* axes without the seed */
    ts_string_list seeds;
    const char *typed[MAX_OVERRIDES]; /* of the cell that is being made */
    int typed_count;
    int seed_line;
} grid;

static ts_status add(grid *g, const char *override, int line, ts_error *err)
{
    if (!override)
        return ts_out_of_memory(err, 0);
    if (g->typed_count == MAX_OVERRIDES - 1)
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: more than %d overrides in a cell", TS_SHOWN(g->a->path), line,
                       MAX_OVERRIDES - 1);
    g->typed[g->typed_count++] = override;
    g->typed[g->typed_count] = NULL;
    return TS_OK;
}

/* A name that a folder can have: letters and digits as they are, all else a dash, no two of them. */
static void add_slug(char *name, size_t bytes, const char *text)
{
    size_t n = strlen(name);
    for (; *text && n + 1 < bytes; text++) {
        bool plain = isalnum((unsigned char)*text) || *text == '.';
        if (plain)
            name[n++] = (char)tolower((unsigned char)*text);
        else if (n && name[n - 1] != '-' && name[n - 1] != '_')
            name[n++] = '-';
    }
    while (n && name[n - 1] == '-')
        n--;
    name[n] = '\0';
}

static ts_status name_cell(grid *g, ts_ablation_cell *cell, ts_error *err)
{
    ts_ablation *a = g->a;
    char name[200] = "";
    add_slug(name, sizeof name, a->series[cell->series]);
    size_t n = strlen(name);
    if (cell->size)
        n += (size_t)snprintf(name + n, sizeof name - n, "_%" PRId64, cell->size);
    if (n < sizeof name - 40)
        snprintf(name + n, sizeof name - n, "_seed-%" PRId64, cell->seed);
    for (int i = 0; i < a->cell_count; i++)
        if (strcmp(a->cell[i].name, name) == 0)
            return ts_fail(err, TS_ERR_USAGE,
                           "%s: two cells would be called '%s': methods and values must differ in letters and digits, "
                           "and a seed is there once",
                           TS_SHOWN(a->path), name);
    cell->name = ts_arena_strdup(&a->arena, name);
    return cell->name ? TS_OK : ts_out_of_memory(err, sizeof name);
}

ts_status ts_ablation_config(const ts_ablation *a, const ts_ablation_cell *cell, ts_config **config, ts_error *err)
{
    return ts_config_load(config, ts_experiment_schema(), a->base, cell->override, err);
}

static ts_status resolve(grid *g, ts_ablation_cell *cell, ts_error *err)
{
    ts_config *config;
    ts_status status = ts_ablation_config(g->a, cell, &config, err);
    if (status != TS_OK) {
        char size[40] = "";
        if (cell->size)
            snprintf(size, sizeof size, ", %" PRId64 " codes", cell->size);
        ts_error_prefix(err, "%s: the cell %s%s", TS_SHOWN(g->a->path), TS_SHOWN(g->a->series[cell->series]), size);
        return status;
    }
    const ts_top_options *top = ts_config_options(config, "");
    const ts_train_options *train = ts_config_options(config, "train");
    cell->seed = top->seed;
    cell->steps = train->steps;
    ts_config_free(config);
    return name_cell(g, cell, err);
}

static ts_status add_cell(grid *g, int series, int64_t size, ts_error *err)
{
    ts_ablation *a = g->a;
    if (a->cell_count == TS_ABLATION_MAX_CELLS)
        return ts_fail(err, TS_ERR_USAGE, "%s: more than %d cells", TS_SHOWN(a->path), TS_ABLATION_MAX_CELLS);
    if ((a->cell_count & (a->cell_count - 1)) == 0) { /* a power of two: full */
        size_t room = a->cell_count ? 2 * (size_t)a->cell_count : 1;
        ts_ablation_cell *grown = ts_realloc(a->cell, room, sizeof *grown);
        if (!grown)
            return ts_out_of_memory(err, room * sizeof *grown);
        a->cell = grown;
    }
    size_t bytes = ((size_t)g->typed_count + 1) * sizeof(char *);
    const char **override = ts_arena_alloc(&a->arena, bytes);
    if (!override)
        return ts_out_of_memory(err, bytes);
    memcpy(override, g->typed, bytes);
    ts_ablation_cell *cell = &a->cell[a->cell_count];
    *cell = (ts_ablation_cell){.series = series, .size = size, .override = override};
    TS_TRY(resolve(g, cell, err));
    a->cell_count++;
    return TS_OK;
}

static ts_status add_seeds(grid *g, int series, int64_t size, ts_error *err)
{
    if (g->seeds.count == 0)
        return add_cell(g, series, size, err);
    int mark = g->typed_count;
    for (int i = 0; i < g->seeds.count; i++) {
        TS_TRY(add(g, ts_arena_format(&g->a->arena, "seed=%s", g->seeds.value[i]), g->seed_line, err));
        TS_TRY(add_cell(g, series, size, err));
        g->typed_count = mark;
        g->typed[mark] = NULL;
    }
    return TS_OK;
}

/* Which quantizer the overrides so far choose. */
static ts_status quantizer_of(grid *g, const ts_option_table **table, ts_error *err)
{
    ts_config *config;
    TS_TRY(ts_config_load(&config, ts_experiment_schema(), g->a->base, g->typed, err));
    *table = ts_config_table(config, "quantizer");
    ts_config_free(config);
    return TS_OK;
}

static ts_status add_series(grid *g, const char *label, ts_error *err)
{
    ts_ablation *a = g->a;
    if (a->series_count == TS_ABLATION_MAX_SERIES)
        return ts_fail(err, TS_ERR_USAGE, "%s: more than %d methods (an axis other than seed multiplies them)",
                       TS_SHOWN(a->path), TS_ABLATION_MAX_SERIES);
    int series = a->series_count++;
    a->series[series] = label;
    const ts_option_table *table;
    if (a->sizes[0] == 0)
        return add_seeds(g, series, 0, err);
    if (quantizer_of(g, &table, err) != TS_OK)
        return ts_error_prefix(err, "%s: %s", TS_SHOWN(a->path), TS_SHOWN(label));
    for (int i = 0; i < a->size_count; i++) {
        int mark = g->typed_count;
        const char *override = size_override(a, table, a->sizes[i], err);
        if (!override)
            return err ? err->code : TS_ERR_USAGE;
        TS_TRY(add(g, override, 0, err));
        TS_TRY(add_seeds(g, series, a->sizes[i], err));
        g->typed_count = mark;
        g->typed[mark] = NULL;
    }
    return TS_OK;
}

/* Every combination of the values of axes `axis`, ... */
static ts_status walk_axes(grid *g, int axis, const char *label, ts_error *err)
{
    if (axis == g->axes.count)
        return add_series(g, label, err);
    const row *r = &g->axes.row[axis];
    int mark = g->typed_count;
    for (int i = 0; i < r->list.count; i++) {
        const char *longer = ts_arena_format(&g->a->arena, "%s, %s=%s", label, r->label, r->list.value[i]);
        TS_TRY(add(g, ts_arena_format(&g->a->arena, "%s=%s", r->label, r->list.value[i]), r->line, err));
        TS_TRY(longer ? walk_axes(g, axis + 1, longer, err) : ts_out_of_memory(err, 0));
        g->typed_count = mark;
        g->typed[mark] = NULL;
    }
    return TS_OK;
}

static ts_status walk_methods(grid *g, ts_error *err)
{
    const ts_option_table *table;
    for (int i = 0; i < g->common_count; i++)
        TS_TRY(add(g, g->common[i], 0, err));
    int mark = g->typed_count;
    if (g->methods.count == 0) {
        TS_TRY(quantizer_of(g, &table, err));
        return walk_axes(g, 0, table->kind, err);
    }
    for (int i = 0; i < g->methods.count; i++) {
        const row *m = &g->methods.row[i];
        for (int k = 0; k < m->list.count; k++) {
            if (!strchr(m->list.value[k], '='))
                return ts_fail(err, TS_ERR_USAGE, "%s:%d: methods: %s: expected KEY=VALUE, found '%s'",
                               TS_SHOWN(g->a->path), m->line, TS_SHOWN(m->label), TS_SHOWN(m->list.value[k]));
            TS_TRY(add(g, m->list.value[k], m->line, err));
        }
        TS_TRY(walk_axes(g, 0, m->label, err));
        g->typed_count = mark;
        g->typed[mark] = NULL;
    }
    return TS_OK;
}

/* ---- the file ---- */

static ts_status read_common(grid *g, const ts_config *spec, ts_error *err)
{
    ts_config_pair pair;
    for (int i = 0; ts_config_pair_at(spec, "set", i, &pair); i++) {
        if (i == MAX_OVERRIDES - 1)
            return ts_fail(err, TS_ERR_USAGE, "%s:%d: set: more than %d keys", TS_SHOWN(g->a->path), pair.line, i);
        g->common[g->common_count] = ts_arena_format(&g->a->arena, "%s=%s", pair.key, pair.text);
        if (!g->common[g->common_count++])
            return ts_out_of_memory(err, 0);
    }
    return TS_OK;
}

/* The axis `seed` is taken out: it repeats. */
static void take_seeds(grid *g)
{
    for (int i = 0; i < g->axes.count; i++) {
        if (strcmp(g->axes.row[i].label, "seed") != 0)
            continue;
        g->seeds = g->axes.row[i].list;
        g->seed_line = g->axes.row[i].line;
        memmove(&g->axes.row[i], &g->axes.row[i + 1], (size_t)(g->axes.count - i - 1) * sizeof(row));
        g->axes.count--;
        return;
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static ts_status read_top(ts_ablation *a, const ts_config *spec, ts_error *err)
{
    const top_options *o = ts_config_options(spec, "");
    const char *slash = strrchr(a->path, '/');
    a->name = ts_arena_strdup(&a->arena, o->name);
    a->description = ts_arena_strdup(&a->arena, o->description);
    a->base = o->base[0] == '/' || !slash
                  ? ts_arena_strdup(&a->arena, o->base)
                  : ts_arena_format(&a->arena, "%.*s/%s", (int)(slash - a->path), a->path, o->base);
    a->series = ts_arena_alloc(&a->arena, TS_ABLATION_MAX_SERIES * sizeof(char *));
    if (!a->name || !a->description || !a->base || !a->series)
        return ts_out_of_memory(err, 0);
    a->size_count = o->sizes.count ? o->sizes.count : 1;
    memcpy(a->sizes, o->sizes.value, sizeof a->sizes);
    qsort(a->sizes, (size_t)a->size_count, sizeof *a->sizes, by_value);
    return TS_OK;
}

static ts_status read_spec(ts_ablation *a, const ts_config *spec, ts_error *err)
{
    grid *g = ts_calloc(1, sizeof *g);
    ts_status status;
    if (!g)
        return ts_out_of_memory(err, sizeof *g);
    g->a = a;
    TS_GO(read_top(a, spec, err));
    TS_GO(read_common(g, spec, err));
    TS_GO(read_rows(a, spec, "methods", &g->methods, err));
    TS_GO(read_rows(a, spec, "axes", &g->axes, err));
    take_seeds(g);
    TS_GO(walk_methods(g, err));
out:
    ts_free(g);
    return status;
}

ts_status ts_ablation_load(ts_ablation *a, const char *path, ts_error *err)
{
    ts_config *spec;
    *a = (ts_ablation){0};
    TS_TRY(ts_config_load(&spec, &schema, path, NULL, err));
    a->path = ts_arena_strdup(&a->arena, path);
    ts_status status = a->path ? read_spec(a, spec, err) : ts_out_of_memory(err, 0);
    ts_config_free(spec);
    if (status != TS_OK)
        ts_ablation_clear(a);
    return status;
}

void ts_ablation_clear(ts_ablation *a)
{
    ts_free(a->cell);
    ts_arena_clear(&a->arena);
    *a = (ts_ablation){0};
}
