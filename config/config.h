/* The config of a run: a YAML file and overrides from the command line, checked against option tables.
 *
 *     seed: 1
 *     quantizer:
 *       kind: finite_scalar       # chooses the table that the section's other keys are checked against
 *       levels: [8, 6, 5]
 *     train: {batch: 64, lr: 3e-4}
 *
 * What sections, kinds and keys there are is data, a ts_config_schema; this module knows no kind. Every message names
 * the place: "configs/x.yaml:12: train: unknown key 'btach' (did you mean 'batch'?)". Nothing is coerced: "5" in quotes
 * is no number, 5 is no list, an empty value is no value. Anchors, aliases, tags, directives and second documents are
 * refused; so are files over 1 MiB.
 *
 * Thread: a config may be read from several threads, changed by one. */
#ifndef TS_CONFIG_H
#define TS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/option.h"
#include "core/status.h"

typedef struct {
    const char *name;                    /* "train" */
    const ts_option_table *const *kinds; /* NULL-terminated. One: the section has no `kind` key. NULL: its keys are the
                                            file's own, any text each (ts_config_pair_at) */
    const char *default_kind;            /* kinds[i]->kind; NULL: with several kinds, `kind` must be given */
    const char *help;                    /* one line */
    bool lists; /* where the keys are the file's own: a value may be a list too, its text as typed */
} ts_config_section;

typedef struct {
    const ts_option_table *top;        /* keys outside sections: seed, name ... */
    const ts_config_section *sections; /* ends with name NULL; at most TS_MAX_SECTIONS */
    const char *lister;                /* the command that prints every key, "tessera config --list"; NULL: none */
} ts_config_schema;

enum { TS_MAX_SECTIONS = 15, TS_CONFIG_MAX_BYTES = 1 << 20 };

typedef struct ts_config ts_config;

typedef enum { TS_FROM_DEFAULT, TS_FROM_FILE, TS_FROM_OVERRIDE } ts_config_source;

/* Where an option's value comes from. */
typedef struct {
    ts_config_source source;
    int line;             /* in the file, from 1; 0 where it does not come from the file */
    const char *override; /* "train.batch=64" as it was typed; else NULL */
} ts_config_origin;

/* Reads the file, then applies the overrides ("train.batch=64", "quantizer.kind=vector", "seed=3"; an option's alias
 * serves as well as its name; of two for the same key the later one counts). overrides: NULL-terminated, or NULL.
 * Where an override changes a section's kind, keys and values of the file that the new kind does not take are left out,
 * each with a note (ts_config_note).
 * Returns: *config, to be freed; NULL on failure.
 * Errors: TS_ERR_USAGE for everything that the file or the overrides can do wrong; TS_ERR_RUNTIME out of memory or a
 * mistake in the schema. schema must outlive the config. */
ts_status ts_config_load(ts_config **config, const ts_config_schema *schema, const char *path,
                         const char *const *overrides, ts_error *err);

/* The same from `bytes` of YAML in memory; `name` stands for the path in messages. An empty text is an error here too;
 * "{}" is the config of all defaults. */
ts_status ts_config_parse(ts_config **config, const ts_config_schema *schema, const char *name, const char *text,
                          size_t bytes, const char *const *overrides, ts_error *err);

void ts_config_free(ts_config *config);

/* One more override. On failure the config is as it was. It replaces the section's struct: ask ts_config_options again.
 */
ts_status ts_config_override(ts_config *config, const char *override, ts_error *err);

/* The filled options struct of a section, "" for the top-level keys; NULL where there is no such section. Owned by the
 * config. */
const void *ts_config_options(const ts_config *config, const char *section);

/* The section's chosen table and its index in the section's kinds (0 where it has one kind); NULL and -1 where there is
 * no such section. */
const ts_option_table *ts_config_table(const ts_config *config, const char *section);
int ts_config_kind(const ts_config *config, const char *section);

/* The i-th key, from 0, of a section whose keys are its own, in the order of the file: text is "" where there is no
 * value. The same key may be there twice. False: there are no more. */
typedef struct {
    const char *key, *text;
    int line;
} ts_config_pair;

bool ts_config_pair_at(const ts_config *config, const char *section, int i, ts_config_pair *pair);

const ts_config_schema *ts_config_schema_of(const ts_config *config);

/* The value of "train.batch", "seed" or "quantizer.kind" as it would be typed in an override, in memory that the caller
 * frees with ts_free. Errors: TS_ERR_USAGE no such key in the chosen kind. */
ts_status ts_config_get_text(const ts_config *config, const char *key, char **text, ts_error *err);

/* Where the key's value comes from; a default also where there is no such key. */
ts_config_origin ts_config_where(const ts_config *config, const char *key);

/* The i-th note, from 0: a key that was left out because an override chose another kind. NULL: no more. For the log. */
const char *ts_config_note(const ts_config *config, int i);

/* The resolved config as YAML: top-level keys, then sections in the schema's order, every key of the chosen kinds.
 * Loading it gives identical structs, and printing that again identical text. commented: each line ends with what the
 * key is and accepts. *text is freed by the caller with ts_free. Errors: TS_ERR_RUNTIME out of memory. */
ts_status ts_config_print(const ts_config *config, bool commented, char **text, ts_error *err);

/* Writes a line "train.batch: 64 -> 128" for each key whose value differs, "-" for a side whose kind has no such key.
 * Both must have the same schema. out NULL: only count. Returns how many differ, or -1 out of memory. */
int ts_config_diff(const ts_config *before, const ts_config *after, FILE *out);

/* Checks what a schema's author can do wrong (every table with ts_option_table_check, names, default kinds). For tests.
 * Errors: TS_ERR_RUNTIME. */
ts_status ts_config_schema_check(const ts_config_schema *schema, ts_error *err);

#endif
