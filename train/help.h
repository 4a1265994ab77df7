/* Texts made from the tables: nothing about commands, sections, kinds and keys is written down twice.
 *
 * All write to `out` and leave its errors (a full disk, a closed pipe) to the caller's ferror. */
#ifndef TS_TRAIN_HELP_H
#define TS_TRAIN_HELP_H

#include <stdio.h>

#include "config/config.h"
#include "train/arguments.h"

/* `tessera --help` and `tessera COMMAND --help`. */
void ts_help_program(const ts_command_set *program, FILE *out);
void ts_help_command(const ts_command_set *program, const ts_command *command, FILE *out);

/* `tessera --version`: "tessera 0.1.0". */
void ts_help_version(const ts_command_set *program, FILE *out);

/* `tessera config --list`: every section, kind and key with what it accepts, its default and its help. */
void ts_help_list(const ts_config_schema *schema, FILE *out);

/* `tessera config --flags`: the flags of other programs that stand for keys, what each sets and what differs. */
void ts_help_flags(const ts_command_set *program, FILE *out);

/* `tessera config --defaults [KIND...]`: a commented config with all defaults, ready to be edited. Each word of `kinds`
 * (NULL-terminated, or NULL) chooses a section's kind, as "vector" where one section only has that kind, or as
 * "quantizer.kind=vector". Where none is chosen it is the section's default, or its first. Keys without a default stand
 * without a value: loading the text names them.
 * Errors: TS_ERR_USAGE no such kind, or in more than one section; TS_ERR_RUNTIME out of memory. */
ts_status ts_help_defaults(const ts_config_schema *schema, const char *const *kinds, FILE *out, ts_error *err);

/* The man page, in troff with the man macros, without a date (so that it is the same bytes for the same tables). */
void ts_help_man(const ts_command_set *program, const ts_config_schema *schema, FILE *out);

/* A completion script for bash: commands, options, choices, keys of the config, kinds. */
void ts_help_completion(const ts_command_set *program, const ts_config_schema *schema, FILE *out);

#endif
