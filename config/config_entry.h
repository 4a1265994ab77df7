/* Inside the config module: what was given, before it is checked against a table.
 *
 * config_yaml.c turns a file into entries, config.c resolves the entries of a section into its kind and struct,
 * config_print.c writes it back. */
#ifndef TS_CONFIG_ENTRY_H
#define TS_CONFIG_ENTRY_H

#include "config/config.h"

typedef enum {
    SHAPE_PLAIN,  /* a scalar without quotes */
    SHAPE_QUOTED, /* a scalar in quotes, or a block of text */
    SHAPE_LIST,   /* text is the list as it would be typed */
    SHAPE_MAP,    /* a mapping: never right for an option */
    SHAPE_NONE,   /* no value, ~ or null */
    SHAPE_TYPED,  /* from an override: any type's text */
} entry_shape;

/* key: text, from the file or an override. In the config's arena. */
typedef struct config_entry {
    struct config_entry *next;
    const char *key, *text;
    entry_shape shape;
    int line;             /* in the file; 0 for an override */
    const char *override; /* as typed; NULL for the file */
    int round;            /* 0 the file, 1 the overrides at load, 2, 3 ... later ones */
} config_entry;

typedef struct config_note {
    struct config_note *next;
    const char *text;
} config_note;

/* Which entry gave an option its value; NULL: none, it is the default. */
typedef struct {
    const config_entry *entry;
} config_given;

/* A section, or the top-level keys. */
typedef struct {
    const ts_config_section *section; /* NULL: the top-level keys */
    int line;                         /* of the section in the file; 0: it is not there */
    config_entry *first, *last;       /* in the order in which they were given */
    /* what the entries resolve to */
    int kind; /* index of `table` in the section's kinds */
    const ts_option_table *table;
    void *options;       /* table->struct_bytes */
    config_given *given; /* for each option of the table */
    const config_entry *kind_given;
    int kind_round; /* entries of earlier rounds were given for another kind */
    config_note *notes;
} config_part;

struct ts_config {
    ts_arena arena;
    const ts_config_schema *schema;
    const char *name; /* path for messages */
    int part_count;
    config_part part[1 + TS_MAX_SECTIONS]; /* [0] the top-level keys, then the schema's sections in order */
    int round;                             /* of overrides so far */
};

/* Reads YAML into entries. Errors as ts_config_parse. */
ts_status ts_config_read_yaml(ts_config *config, const char *text, size_t bytes, ts_error *err);

/* Appends *entry to the part; it and its texts are copied to the arena. Errors: TS_ERR_RUNTIME. */
ts_status ts_config_add_entry(ts_config *config, config_part *part, const config_entry *entry, ts_error *err);

/* Index in config->part of the section called name ("": 0, the top-level keys), or -1. */
int ts_config_part_index(const ts_config *config, const char *name);

/* True where a section (NULL: the top-level keys) has a `kind` key. */
bool ts_config_has_kinds(const ts_config_section *section);

/* What ts_config_write_table does with options that have no default. */
typedef enum {
    REQUIRED_AS_GIVEN, /* write the value in `options` */
    REQUIRED_EMPTY,    /* write no value, so that loading the text names the option */
} required_style;

/* Writes the keys of one table as YAML, indented by `indent` blanks. Returns false when out of memory. */
bool ts_config_write_table(FILE *out, const ts_option_table *table, const void *options, int indent, bool commented,
                           required_style required);

/* Writes "name:" of a section and its "  kind: vector", where it has kinds. */
void ts_config_write_head(FILE *out, const ts_config_section *section, int kind, bool commented);

/* An option's value from ts_alloc, NULL when out of memory: as typed, or as YAML (with quotes around a text that needs
 * them). */
char *ts_config_value(const ts_option *option, const void *options, bool yaml);

#endif
