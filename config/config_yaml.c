/* YAML -> entries. Two passes: the events first, which refuse what a config does not need (depth, anchors, tags, a
 * second document) before it can cost time; then the document, whose nodes know their line. */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/config_entry.h"
#include "core/text.h"

enum { DEPTH_MAX = 8 };

static int line_of(yaml_mark_t mark)
{
    return (int)mark.line + 1; /* a file has at most TS_CONFIG_MAX_BYTES of them */
}

static ts_status yaml_failed(const ts_config *config, const yaml_parser_t *parser, ts_error *err)
{
    const char *what = parser->problem ? parser->problem : "unknown problem";
    const char *path = TS_SHOWN(config->name);
    if (parser->error == YAML_MEMORY_ERROR)
        return ts_fail(err, TS_ERR_RUNTIME, "%s: out of memory while reading YAML", path);
    if (parser->error == YAML_READER_ERROR)
        return ts_fail(err, TS_ERR_USAGE, "%s: not valid YAML: byte %zu: %s", path, parser->problem_offset, what);
    return ts_fail(err, TS_ERR_USAGE, "%s:%d:%zu: not valid YAML: %s%s%s", path, line_of(parser->problem_mark),
                   parser->problem_mark.column + 1, parser->context ? parser->context : "", parser->context ? ", " : "",
                   what);
}

static ts_status no_keys(const ts_config *config, ts_error *err)
{
    return ts_fail(err, TS_ERR_USAGE, "%s: holds no keys (write {} for a config of all defaults)",
                   TS_SHOWN(config->name));
}

/* --- first pass --------------------------------------------------------------------------------------------------- */

/* Line breaks of YAML 1.1: LF, CR, NEL, LS, PS. */
static bool starts_line(const char *text, size_t i)
{
    return i == 0 || text[i - 1] == '\n' || text[i - 1] == '\r' ||
           (i >= 2 && memcmp(text + i - 2, "\xc2\x85", 2) == 0) ||
           (i >= 3 && memcmp(text + i - 3, "\xe2\x80", 2) == 0 && (text[i - 1] & 0xfe) == 0xa8);
}

/* Directives are refused by their first letter: libyaml compares each with all before it. */
static ts_status check_bytes(const ts_config *config, const char *text, size_t bytes, ts_error *err)
{
    int line = 1;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\0')
            return ts_fail(err, TS_ERR_USAGE, "%s:%d: a NUL byte: expected YAML in UTF-8", TS_SHOWN(config->name),
                           line);
        if (text[i] == '%' && starts_line(text, i))
            return ts_fail(err, TS_ERR_USAGE, "%s:%d: a line that starts with '%%' (a YAML directive) is not supported",
                           TS_SHOWN(config->name), line);
        line += text[i] == '\n';
    }
    return TS_OK;
}

typedef struct {
    int depth, documents;
} event_state;

static bool has_tag_or_anchor(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor || event->data.mapping_start.tag;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

/* Returns NULL, or why the event has no place in a config. */
static const char *event_refused(event_state *state, const yaml_event_t *event)
{
    bool start = event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT;
    bool end = event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT;
    state->depth += start - end;
    if (state->depth > DEPTH_MAX)
        return "nested too deep for a config";
    if (has_tag_or_anchor(event))
        return "anchors (&a), aliases (*a) and tags (!t) are not supported: write the value, or quote the text";
    if (event->type == YAML_DOCUMENT_START_EVENT && ++state->documents > 1)
        return "a second document starts here: a config is one";
    return NULL;
}

static ts_status check_events(ts_config *config, yaml_parser_t *parser, ts_error *err)
{
    event_state state = {0};
    for (bool more = true; more;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return yaml_failed(config, parser, err);
        const char *refused = event_refused(&state, &event);
        int line = line_of(event.start_mark);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (refused)
            return ts_fail(err, TS_ERR_USAGE, "%s:%d: %s", TS_SHOWN(config->name), line, refused);
    }
    return state.documents ? TS_OK : no_keys(config, err);
}

/* --- second pass -------------------------------------------------------------------------------------------------- */

typedef struct {
    ts_config *config;
    yaml_document_t *document;
} reader;

static ts_status refuse(const reader *r, const yaml_node_t *node, const char *what, ts_error *err)
{
    return ts_fail(err, TS_ERR_USAGE, "%s:%d: %s", TS_SHOWN(r->config->name), line_of(node->start_mark), what);
}

static const char *scalar_text(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

/* C strings end at a NUL, which YAML can write as "\0". */
static bool has_nul(const yaml_node_t *node)
{
    return strlen(scalar_text(node)) != node->data.scalar.length;
}

static bool is_plain_scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_nothing(const yaml_node_t *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; is_plain_scalar(node) && i < sizeof words / sizeof *words; i++)
        if (strcmp(scalar_text(node), words[i]) == 0)
            return true;
    return false;
}

/* Numbers and names stay bare, so that a list of numbers reads as one; what the list's own text uses goes in quotes. */
static bool is_bare_item(const yaml_node_t *node)
{
    return is_plain_scalar(node) && strcspn(scalar_text(node), ",[]\"\\\n\t") == node->data.scalar.length;
}

static ts_status item_check(const reader *r, const yaml_node_t *item, ts_error *err)
{
    if (item->type != YAML_SCALAR_NODE)
        return refuse(r, item, "expected single values in a list, found a list or a mapping", err);
    if (is_nothing(item))
        return refuse(r, item, "an item of a list has no value", err);
    if (has_nul(item))
        return refuse(r, item, "a text with a NUL (\\0) in it", err);
    return TS_OK;
}

/* The list as typed, cut at `bytes`; returns its full length. */
static size_t list_print(const reader *r, const yaml_node_t *list, char *text, size_t bytes)
{
    size_t used = ts_text_append(text, bytes, 0, "[");
    const yaml_node_item_t *start = list->data.sequence.items.start, *top = list->data.sequence.items.top;
    for (const yaml_node_item_t *i = start; i < top; i++) {
        const yaml_node_t *item = yaml_document_get_node(r->document, *i);
        used = ts_text_append(text, bytes, used, "%s", i > start ? ", " : "");
        bool room = used < bytes;
        if (is_bare_item(item))
            used = ts_text_append(text, bytes, used, "%s", scalar_text(item));
        else
            used += ts_text_quote(scalar_text(item), true, room ? text + used : NULL, room ? bytes - used : 0);
    }
    return ts_text_append(text, bytes, used, "]");
}

static ts_status list_text(const reader *r, const yaml_node_t *list, const char **text, ts_error *err)
{
    const yaml_node_item_t *start = list->data.sequence.items.start, *top = list->data.sequence.items.top;
    for (const yaml_node_item_t *i = start; i < top; i++)
        TS_TRY(item_check(r, yaml_document_get_node(r->document, *i), err));
    size_t bytes = list_print(r, list, NULL, 0) + 1;
    char *copy = ts_arena_alloc(&r->config->arena, bytes);
    if (!copy)
        return ts_out_of_memory(err, bytes);
    list_print(r, list, copy, bytes);
    *text = copy;
    return TS_OK;
}

static ts_status add_value(const reader *r, config_part *part, const yaml_node_t *key, const yaml_node_t *value,
                           ts_error *err)
{
    config_entry entry = {.key = scalar_text(key), .text = "", .line = line_of(key->start_mark)};
    if (value->type == YAML_SEQUENCE_NODE) {
        entry.shape = SHAPE_LIST;
        TS_TRY(list_text(r, value, &entry.text, err));
    } else if (value->type == YAML_MAPPING_NODE) {
        entry.shape = SHAPE_MAP;
    } else if (is_nothing(value)) {
        entry.shape = SHAPE_NONE;
    } else {
        if (has_nul(value))
            return refuse(r, value, "a text with a NUL (\\0) in it", err);
        entry.shape = is_plain_scalar(value) ? SHAPE_PLAIN : SHAPE_QUOTED;
        entry.text = scalar_text(value);
    }
    return ts_config_add_entry(r->config, part, &entry, err);
}

static ts_status key_check(const reader *r, const yaml_node_t *key, ts_error *err)
{
    if (key->type != YAML_SCALAR_NODE || has_nul(key) || key->data.scalar.length == 0)
        return refuse(r, key, "expected the name of a key or section, found something else", err);
    return TS_OK;
}

static ts_status read_keys(const reader *r, config_part *part, const yaml_node_t *map, ts_error *err)
{
    const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
    for (; pair < map->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
        TS_TRY(key_check(r, key, err));
        TS_TRY(add_value(r, part, key, yaml_document_get_node(r->document, pair->value), err));
    }
    return TS_OK;
}

static ts_status read_section(const reader *r, config_part *part, const yaml_node_t *key, const yaml_node_t *value,
                              ts_error *err)
{
    int line = line_of(key->start_mark);
    if (part->line)
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: section '%s' is given twice, first in line %d",
                       TS_SHOWN(r->config->name), line, part->section->name, part->line);
    part->line = line;
    if (is_nothing(value)) /* a section whose keys are all commented out */
        return TS_OK;
    if (value->type != YAML_MAPPING_NODE)
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: %s: expected a section (keys, indented), found a %s",
                       TS_SHOWN(r->config->name), line, part->section->name,
                       value->type == YAML_SEQUENCE_NODE ? "list" : "single value");
    return read_keys(r, part, value, err);
}

static ts_status read_document(const reader *r, ts_error *err)
{
    const yaml_node_t *root = yaml_document_get_root_node(r->document);
    if (!root || is_nothing(root))
        return no_keys(r->config, err);
    if (root->type != YAML_MAPPING_NODE)
        return refuse(r, root, "expected sections and keys (such as 'train:'), found a list or a single value", err);
    const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    for (; pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(r->document, pair->value);
        TS_TRY(key_check(r, key, err));
        int i = ts_config_part_index(r->config, scalar_text(key));
        if (i > 0)
            TS_TRY(read_section(r, &r->config->part[i], key, value, err));
        else
            TS_TRY(add_value(r, &r->config->part[0], key, value, err));
    }
    return TS_OK;
}

static ts_status load_document(ts_config *config, yaml_parser_t *parser, ts_error *err)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document))
        return yaml_failed(config, parser, err);
    reader r = {config, &document};
    ts_status status = read_document(&r, err);
    yaml_document_delete(&document);
    return status;
}

typedef ts_status pass(ts_config *config, yaml_parser_t *parser, ts_error *err);

static ts_status with_parser(ts_config *config, const char *text, size_t bytes, pass *run, ts_error *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return ts_out_of_memory(err, sizeof parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    ts_status status = run(config, &parser, err);
    yaml_parser_delete(&parser);
    return status;
}

ts_status ts_config_read_yaml(ts_config *config, const char *text, size_t bytes, ts_error *err)
{
    TS_TRY(check_bytes(config, text, bytes, err));
    TS_TRY(with_parser(config, text, bytes, check_events, err));
    return with_parser(config, text, bytes, load_document, err);
}
