#include "config/config.h"

#include <errno.h>
#include <string.h>

#include "config/config_entry.h"
#include "core/text.h"

enum { PLACE_BYTES = 256, HINT_BYTES = 256, MAX_KINDS = 64 /* that a hint looks at */ };

/* --- the schema --------------------------------------------------------------------------------------------------- */

/* Of a section whose keys are its own. */
static const ts_option no_options[] = {{0}};
static const ts_option_table open_table = {
    .kind = "own", .help = "keys of its own", .options = no_options, .struct_bytes = 1};

static bool is_open(const ts_config_section *section)
{
    return section && !section->kinds;
}

bool ts_config_has_kinds(const ts_config_section *section)
{
    return section && section->kinds && section->kinds[1];
}

static int kind_index(const ts_config_section *section, const char *kind)
{
    for (int i = 0; section->kinds[i]; i++)
        if (strcmp(section->kinds[i]->kind, kind) == 0)
            return i;
    return -1;
}

static const ts_option_table *table_of(const ts_config *config, const ts_config_section *section, int kind)
{
    return is_open(section) ? &open_table : section ? section->kinds[kind] : config->schema->top;
}

static int option_count(const ts_option_table *table)
{
    int n = 0;
    while (table->options[n].name)
        n++;
    return n;
}

/* The first other kind of the section that has the key, or NULL. */
static const char *kind_with(const ts_config_section *section, const char *key)
{
    for (int i = 0; section && section->kinds && section->kinds[i]; i++)
        if (ts_option_find(section->kinds[i], key))
            return section->kinds[i]->kind;
    return NULL;
}

static ts_status section_check(const ts_config_section *section, ts_error *err)
{
    if (section->help && is_open(section) && !section->default_kind)
        return TS_OK;
    if (!section->help || !section->kinds || !section->kinds[0])
        return ts_fail(err, TS_ERR_RUNTIME, "internal error: section '%s' has no help or no table", section->name);
    if (section->default_kind && kind_index(section, section->default_kind) < 0)
        return ts_fail(err, TS_ERR_RUNTIME, "internal error: section '%s' has no kind '%s'", section->name,
                       section->default_kind);
    for (int i = 0; section->kinds[i]; i++) {
        if (kind_index(section, section->kinds[i]->kind) != i)
            return ts_fail(err, TS_ERR_RUNTIME, "internal error: section '%s' has two kinds '%s'", section->name,
                           section->kinds[i]->kind);
        TS_TRY(ts_option_table_check(section->kinds[i], err));
    }
    return TS_OK;
}

ts_status ts_config_schema_check(const ts_config_schema *schema, ts_error *err)
{
    TS_TRY(ts_option_table_check(schema->top, err));
    for (int i = 0; schema->sections[i].name; i++) {
        const char *name = schema->sections[i].name;
        if (i == TS_MAX_SECTIONS)
            return ts_fail(err, TS_ERR_RUNTIME, "internal error: more than %d sections", TS_MAX_SECTIONS);
        if (!*name || name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] || ts_option_find(schema->top, name))
            return ts_fail(err, TS_ERR_RUNTIME, "internal error: section name '%s' is not [a-z_]+, or is a key", name);
        TS_TRY(section_check(&schema->sections[i], err));
    }
    return TS_OK;
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* "configs/x.yaml:12: train" or "override 'train.batch=64'": where an entry stands. */
static const char *place_of(const ts_config *config, const config_part *part, const config_entry *entry, char *text)
{
    if (entry->override)
        ts_text_append(text, PLACE_BYTES, 0, "override '%s'", TS_SHOWN(entry->override));
    else
        ts_text_append(text, PLACE_BYTES, 0, "%s:%d%s%s", TS_SHOWN(config->name), entry->line,
                       part->section ? ": " : "", part->section ? part->section->name : "");
    return text;
}
#define PLACE(config, part, entry) place_of(config, part, entry, (char[PLACE_BYTES]){0})

static const char *nearest_section(const ts_config *config, const char *typed)
{
    const char *names[TS_MAX_SECTIONS + 1] = {0};
    for (int i = 1; i < config->part_count; i++)
        names[i - 1] = config->part[i].section->name;
    return ts_nearest_name(typed, names);
}

/* What may have been meant by an unknown top-level key: another one, a section, or the key of a section. */
static void hint_top(const ts_config *config, const char *key, char *hint)
{
    const char *near = ts_option_nearest(config->schema->top, key), *section = "";
    if (!near)
        near = nearest_section(config, key);
    for (int i = 1; i < config->part_count && !near; i++)
        if (kind_with(config->part[i].section, key)) {
            section = config->part[i].section->name;
            near = key;
        }
    if (near)
        ts_text_append(hint, HINT_BYTES, 0, " (did you mean '%s%s%s'?)", section, *section ? "." : "", near);
}

static ts_status unknown_key(const ts_config *config, const config_part *part, const config_entry *entry, ts_error *err)
{
    char hint[HINT_BYTES] = "";
    const char *near = ts_option_nearest(part->table, entry->key), *other = kind_with(part->section, entry->key);
    if (!part->section)
        hint_top(config, entry->key, hint);
    else if (other)
        ts_text_append(hint, HINT_BYTES, 0, " for kind '%s' (kind '%s' has it)", part->table->kind, other);
    else if (near)
        ts_text_append(hint, HINT_BYTES, 0, " (did you mean '%s'?)", near);
    else if (config->schema->lister)
        ts_text_append(hint, HINT_BYTES, 0, " (%s shows all)", config->schema->lister);
    return ts_fail(err, TS_ERR_USAGE, "%s: unknown %s '%s'%s", PLACE(config, part, entry),
                   !part->section && entry->shape == SHAPE_MAP ? "section" : "key", TS_SHOWN(entry->key), hint);
}

static const char *kinds_text(const ts_config_section *section, char *text)
{
    size_t used = 0;
    for (int i = 0; section->kinds[i]; i++)
        used = ts_text_append(text, HINT_BYTES, used, "%s%s", i ? ", " : "", section->kinds[i]->kind);
    return text;
}
#define KINDS(section) kinds_text(section, (char[HINT_BYTES]){0})

static ts_status unknown_kind(const ts_config *config, const config_part *part, const config_entry *entry,
                              ts_error *err)
{
    const ts_config_section *section = part->section;
    const char *names[MAX_KINDS + 1] = {0};
    for (int i = 0; i < MAX_KINDS && section->kinds[i]; i++)
        names[i] = section->kinds[i]->kind;
    const char *near = ts_nearest_name(entry->text, names);
    return ts_fail(err, TS_ERR_USAGE, "%s: unknown kind '%s'%s%s%s, expected one of %s", PLACE(config, part, entry),
                   TS_SHOWN(entry->text), near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "",
                   KINDS(section));
}

static ts_status given_twice(const ts_config *config, const config_part *part, const config_entry *before,
                             const config_entry *entry, const char *name, ts_error *err)
{
    return ts_fail(err, TS_ERR_USAGE, "%s: '%s' is given twice, first in line %d", PLACE(config, part, entry), name,
                   before->line);
}

/* --- entries to kind and struct ----------------------------------------------------------------------------------- */

/* Returns NULL, or what was found instead of something that the type can be read from. */
static const char *wrong_shape(ts_option_type type, entry_shape shape)
{
    bool list = type == TS_OPTION_INTS || type == TS_OPTION_STRINGS;
    bool text = type == TS_OPTION_STRING || type == TS_OPTION_CHOICE;
    switch (shape) {
    case SHAPE_PLAIN:
        return list ? "a single value" : NULL;
    case SHAPE_QUOTED:
        return text ? NULL : "a text in quotes";
    case SHAPE_LIST:
        return list ? NULL : "a list";
    case SHAPE_MAP:
        return "keys with values of their own";
    case SHAPE_NONE:
        return "no value";
    case SHAPE_TYPED:
        return NULL;
    }
    return NULL;
}

static ts_status check_shape(const ts_config *config, const config_part *part, const config_entry *entry,
                             const ts_option *option, ts_error *err)
{
    const char *found = wrong_shape(option->type, entry->shape);
    if (!found)
        return TS_OK;
    char expected[HINT_BYTES];
    ts_option_describe(option, expected, sizeof expected);
    return ts_fail(err, TS_ERR_USAGE, "%s: %s: expected %s, found %s%s%s%s", PLACE(config, part, entry), option->name,
                   expected, found, *entry->text ? " '" : "", TS_SHOWN(entry->text), *entry->text ? "'" : "");
}

static bool is_kind_entry(const config_part *part, const config_entry *entry)
{
    return ts_config_has_kinds(part->section) && strcmp(entry->key, "kind") == 0;
}

static ts_status take_kind(const ts_config *config, config_part *part, const config_entry *entry, ts_error *err)
{
    static const ts_option as_option = {.name = "kind", .type = TS_OPTION_STRING};
    if (part->kind_given && entry->line)
        return given_twice(config, part, part->kind_given, entry, "kind", err);
    TS_TRY(check_shape(config, part, entry, &as_option, err));
    int kind = kind_index(part->section, entry->text);
    if (kind < 0)
        return unknown_kind(config, part, entry, err);
    if (kind != part->kind)
        part->kind_round = entry->round;
    part->kind = kind;
    part->kind_given = entry;
    return TS_OK;
}

static ts_status resolve_kind(const ts_config *config, config_part *part, ts_error *err)
{
    const ts_config_section *section = part->section;
    part->kind_given = NULL;
    part->kind_round = 0;
    part->kind = section && section->default_kind ? kind_index(section, section->default_kind) : 0;
    for (const config_entry *e = part->first; e; e = e->next)
        if (is_kind_entry(part, e))
            TS_TRY(take_kind(config, part, e, err));
    if (section && ts_config_has_kinds(section) && !section->default_kind && !part->kind_given)
        return ts_fail(err, TS_ERR_USAGE, "%s: %s: kind must be given: one of %s", TS_SHOWN(config->name),
                       section->name, KINDS(section));
    part->table = table_of(config, section, part->kind);
    return TS_OK;
}

static ts_status add_note(ts_config *config, config_part *part, const config_entry *entry, ts_error *err)
{
    config_note *note = ts_arena_alloc(&config->arena, sizeof *note);
    if (note)
        note->text = ts_arena_format(&config->arena, "%s: '%s' is left out: kind '%s' does not take it",
                                     PLACE(config, part, entry), entry->key, part->table->kind);
    if (!note || !note->text)
        return ts_out_of_memory(err, sizeof *note);
    config_note **end = &part->notes;
    while (*end)
        end = &(*end)->next;
    *end = note;
    return TS_OK;
}

static ts_status parse_text(ts_config *config, const config_part *part, const config_entry *entry,
                            const ts_option *option, const char *text, void *target, ts_error *err)
{
    TS_TRY(check_shape(config, part, entry, option, err));
    ts_status status = ts_option_parse(option, text, target, &config->arena, err);
    if (status == TS_ERR_USAGE)
        ts_error_prefix(err, "%s", PLACE(config, part, entry));
    return status;
}

static ts_status take_value(ts_config *config, config_part *part, const config_entry *entry, const ts_option *option,
                            ts_error *err)
{
    if (!option->alias_choices || strcmp(entry->key, option->name) == 0)
        return parse_text(config, part, entry, option, entry->text, part->options, err);
    const ts_option as_alias = {.name = entry->key, .type = TS_OPTION_CHOICE, .choices = option->alias_choices};
    int choice = 0;
    TS_TRY(parse_text(config, part, entry, &as_alias, entry->text, &choice, err));
    return ts_option_parse(option, option->alias_values[choice], part->options, &config->arena, err);
}

/* What was given before an override chose another kind, and what that kind does not take, is nothing to complain of,
 * but worth a note. */
static ts_status take_entry(ts_config *config, config_part *part, const config_entry *entry, ts_error *err)
{
    const ts_option *option = ts_option_find(part->table, entry->key);
    bool foreign = entry->round < part->kind_round;
    if (!option)
        return foreign && kind_with(part->section, entry->key) ? add_note(config, part, entry, err)
                                                               : unknown_key(config, part, entry, err);
    config_given *given = &part->given[option - part->table->options];
    if (given->entry && entry->line)
        return given_twice(config, part, given->entry, entry, option->name, err);
    ts_status status = take_value(config, part, entry, option, err);
    if (status == TS_ERR_USAGE && foreign)
        return add_note(config, part, entry, err);
    given->entry = entry;
    return status;
}

/* Of a section whose keys are its own: a text, or nothing. */
static ts_status take_pair(const ts_config *config, const config_part *part, const config_entry *entry, ts_error *err)
{
    const ts_option as_option = {.name = entry->key, .type = TS_OPTION_STRING};
    bool fits = entry->shape == SHAPE_NONE || (entry->shape == SHAPE_LIST && part->section->lists);
    return fits ? TS_OK : check_shape(config, part, entry, &as_option, err);
}

static ts_status check_required(const ts_config *config, const config_part *part, ts_error *err)
{
    for (int i = 0; part->table->options[i].name; i++) {
        const ts_option *o = &part->table->options[i];
        if (!o->fallback && !part->given[i].entry)
            return ts_fail(err, TS_ERR_USAGE, "%s: key '%s%s%s' must be given: %s", TS_SHOWN(config->name),
                           part->section ? part->section->name : "", part->section ? "." : "", o->name, o->help);
    }
    return TS_OK;
}

static ts_status resolve(ts_config *config, config_part *part, ts_error *err)
{
    config_part next = *part;
    TS_TRY(resolve_kind(config, &next, err));
    size_t given_bytes = ((size_t)option_count(next.table) + 1) * sizeof *next.given;
    next.given = ts_arena_alloc(&config->arena, given_bytes);
    next.options = ts_arena_alloc(&config->arena, next.table->struct_bytes);
    next.notes = NULL;
    if (!next.given || !next.options)
        return ts_out_of_memory(err, given_bytes + next.table->struct_bytes);
    TS_TRY(ts_options_default(next.table, next.options, &config->arena, err));
    for (const config_entry *e = next.first; e; e = e->next)
        if (is_open(next.section))
            TS_TRY(take_pair(config, &next, e, err));
        else if (!is_kind_entry(&next, e))
            TS_TRY(take_entry(config, &next, e, err));
    TS_TRY(check_required(config, &next, err));
    *part = next;
    return TS_OK;
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

ts_status ts_config_add_entry(ts_config *config, config_part *part, const config_entry *entry, ts_error *err)
{
    config_entry *copy = ts_arena_alloc(&config->arena, sizeof *copy);
    char *key = ts_arena_strdup(&config->arena, entry->key), *text = ts_arena_strdup(&config->arena, entry->text);
    if (!copy || !key || !text)
        return ts_out_of_memory(err, sizeof *copy + strlen(entry->key) + strlen(entry->text) + 2);
    *copy = *entry;
    copy->key = key;
    copy->text = text;
    copy->next = NULL;
    if (part->last)
        part->last->next = copy;
    else
        part->first = copy;
    part->last = copy;
    return TS_OK;
}

int ts_config_part_index(const ts_config *config, const char *name)
{
    if (*name == '\0')
        return 0;
    for (int i = 1; i < config->part_count; i++)
        if (strcmp(config->part[i].section->name, name) == 0)
            return i;
    return -1;
}

/* Takes "train.batch" apart, in place: the part, and "batch" in *name. */
static ts_status split_key(const ts_config *config, char *key, int *part, const char **name, ts_error *err)
{
    char *dot = strchr(key, '.');
    *name = dot ? dot + 1 : key;
    *part = 0;
    if (!dot && ts_config_part_index(config, key) > 0)
        return ts_fail(err, TS_ERR_USAGE, "'%s' is a section: write %s.KEY", key, key);
    if (!dot)
        return TS_OK;
    *dot = '\0';
    *part = *key ? ts_config_part_index(config, key) : -1;
    if (*part >= 0)
        return TS_OK;
    const char *near = nearest_section(config, key);
    return ts_fail(err, TS_ERR_USAGE, "unknown section '%s'%s%s%s", TS_SHOWN(key), near ? " (did you mean '" : "",
                   near ? near : "", near ? "'?)" : "");
}

static ts_status add_override(ts_config *config, const char *override, int *part, ts_error *err)
{
    const char *equals = strchr(override, '=');
    if (!equals || equals == override || !ts_text_is_utf8(override))
        return ts_fail(err, TS_ERR_USAGE, "override '%s': expected KEY=VALUE, such as train.batch=64, in UTF-8",
                       TS_SHOWN(override));
    config_entry entry = {.text = equals + 1, .shape = SHAPE_TYPED, .round = config->round};
    entry.override = ts_arena_strdup(&config->arena, override);
    char *key = ts_arena_format(&config->arena, "%.*s", (int)(equals - override), override);
    if (!entry.override || !key)
        return ts_out_of_memory(err, 2 * strlen(override));
    ts_status status = split_key(config, key, part, &entry.key, err);
    if (status != TS_OK) {
        ts_error_prefix(err, "override '%s'", TS_SHOWN(override));
        return status;
    }
    return ts_config_add_entry(config, &config->part[*part], &entry, err);
}

/* --- the object --------------------------------------------------------------------------------------------------- */

/* NULL with *err set on failure. */
static ts_config *config_new(const ts_config_schema *schema, const char *name, ts_error *err)
{
    ts_config *c = ts_calloc(1, sizeof *c);
    char *copy = c ? ts_arena_strdup(&c->arena, name) : NULL;
    if (!copy) {
        ts_config_free(c);
        ts_out_of_memory(err, sizeof *c + strlen(name) + 1);
        return NULL;
    }
    c->schema = schema;
    c->name = copy;
    c->part_count = 1;
    for (const ts_config_section *s = schema->sections; s->name && c->part_count <= TS_MAX_SECTIONS; s++)
        c->part[c->part_count++].section = s;
    return c;
}

void ts_config_free(ts_config *config)
{
    if (!config)
        return;
    ts_arena_clear(&config->arena);
    ts_free(config);
}

static ts_status fill(ts_config *config, const char *text, size_t bytes, const char *const *overrides, ts_error *err)
{
    if (bytes == 0)
        return ts_fail(err, TS_ERR_USAGE, "%s: is empty (0 bytes): expected a config in YAML", TS_SHOWN(config->name));
    if (bytes > TS_CONFIG_MAX_BYTES)
        return ts_fail(err, TS_ERR_USAGE, "%s: is larger than %d bytes: not a config", TS_SHOWN(config->name),
                       TS_CONFIG_MAX_BYTES);
    TS_TRY(ts_config_read_yaml(config, text, bytes, err));
    config->round = 1;
    for (int part; overrides && *overrides; overrides++)
        TS_TRY(add_override(config, *overrides, &part, err));
    for (int i = 0; i < config->part_count; i++)
        TS_TRY(resolve(config, &config->part[i], err));
    return TS_OK;
}

ts_status ts_config_parse(ts_config **config, const ts_config_schema *schema, const char *name, const char *text,
                          size_t bytes, const char *const *overrides, ts_error *err)
{
    *config = NULL;
    ts_config *c = config_new(schema, name, err);
    if (!c)
        return TS_ERR_RUNTIME;
    ts_status status = fill(c, text, bytes, overrides, err);
    if (status == TS_OK)
        *config = c;
    else
        ts_config_free(c);
    return status;
}

/* At most a byte more than is allowed, so that the caller sees that it is too much. */
static ts_status read_file(const char *path, char *text, size_t *bytes, ts_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return ts_fail(err, TS_ERR_USAGE, "%s: cannot open the config: %s", TS_SHOWN(path), strerror(errno));
    errno = 0;
    *bytes = fread(text, 1, TS_CONFIG_MAX_BYTES + 1, file);
    bool failed = ferror(file);
    int why = errno;
    fclose(file);
    return failed ? ts_fail(err, TS_ERR_USAGE, "%s: cannot read the config: %s", TS_SHOWN(path), strerror(why)) : TS_OK;
}

ts_status ts_config_load(ts_config **config, const ts_config_schema *schema, const char *path,
                         const char *const *overrides, ts_error *err)
{
    *config = NULL;
    size_t bytes = 0;
    char *text = ts_alloc(TS_CONFIG_MAX_BYTES + 1);
    if (!text)
        return ts_out_of_memory(err, TS_CONFIG_MAX_BYTES + 1);
    ts_status status = read_file(path, text, &bytes, err);
    if (status == TS_OK)
        status = ts_config_parse(config, schema, path, text, bytes, overrides, err);
    ts_free(text);
    return status;
}

ts_status ts_config_override(ts_config *config, const char *override, ts_error *err)
{
    int part = -1;
    config->round++;
    config_part before[1 + TS_MAX_SECTIONS];
    memcpy(before, config->part, sizeof before);
    ts_status status = add_override(config, override, &part, err);
    if (status == TS_OK)
        status = resolve(config, &config->part[part], err);
    if (status == TS_OK || part < 0)
        return status;
    config->part[part] = before[part];
    if (before[part].last)
        before[part].last->next = NULL;
    return status;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

const void *ts_config_options(const ts_config *config, const char *section)
{
    int i = ts_config_part_index(config, section);
    return i < 0 ? NULL : config->part[i].options;
}

const ts_option_table *ts_config_table(const ts_config *config, const char *section)
{
    int i = ts_config_part_index(config, section);
    return i < 0 ? NULL : config->part[i].table;
}

int ts_config_kind(const ts_config *config, const char *section)
{
    int i = ts_config_part_index(config, section);
    return i < 0 ? -1 : config->part[i].kind;
}

bool ts_config_pair_at(const ts_config *config, const char *section, int i, ts_config_pair *pair)
{
    int part = ts_config_part_index(config, section);
    const config_entry *e = part > 0 && is_open(config->part[part].section) ? config->part[part].first : NULL;
    while (e && i-- > 0)
        e = e->next;
    if (e)
        *pair = (ts_config_pair){e->key, e->text, e->line};
    return e != NULL;
}

const ts_config_schema *ts_config_schema_of(const ts_config *config)
{
    return config->schema;
}

/* Finds "train.batch". *option is NULL for a section's kind. */
static ts_status find_key(const ts_config *config, const char *key, const config_part **part, const ts_option **option,
                          ts_error *err)
{
    const char *name;
    int index;
    char copy[PLACE_BYTES];
    if (snprintf(copy, sizeof copy, "%s", key) >= (int)sizeof copy)
        return ts_fail(err, TS_ERR_USAGE, "unknown key '%s'", TS_SHOWN(key));
    TS_TRY(split_key(config, copy, &index, &name, err));
    *part = &config->part[index];
    *option = ts_option_find((*part)->table, name);
    if (*option || (ts_config_has_kinds((*part)->section) && strcmp(name, "kind") == 0))
        return TS_OK;
    const config_entry asked = {.key = name, .override = key};
    return unknown_key(config, *part, &asked, err);
}

ts_status ts_config_get_text(const ts_config *config, const char *key, char **text, ts_error *err)
{
    const config_part *part = &config->part[0];
    const ts_option *option = NULL;
    *text = NULL;
    TS_TRY(find_key(config, key, &part, &option, err));
    *text = option ? ts_config_value(option, part->options, false) : ts_strdup(part->table->kind);
    return *text ? TS_OK : ts_out_of_memory(err, 0);
}

ts_config_origin ts_config_where(const ts_config *config, const char *key)
{
    const config_part *part = &config->part[0];
    const ts_option *option = NULL;
    if (find_key(config, key, &part, &option, NULL) != TS_OK)
        return (ts_config_origin){0};
    const config_entry *given = option ? part->given[option - part->table->options].entry : part->kind_given;
    if (!given)
        return (ts_config_origin){0};
    return (ts_config_origin){
        .source = given->override ? TS_FROM_OVERRIDE : TS_FROM_FILE,
        .line = given->line,
        .override = given->override,
    };
}

const char *ts_config_note(const ts_config *config, int i)
{
    for (int part = 0; part < config->part_count; part++)
        for (const config_note *note = config->part[part].notes; note; note = note->next)
            if (i-- == 0)
                return note->text;
    return NULL;
}
