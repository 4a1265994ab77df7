#include "train/help.h"

#include <string.h>

#include "config/config_entry.h"
#include "core/text.h"

enum { TEXT_BYTES = 400, OPTION_COLUMN = 26 };

/* --- the command line --------------------------------------------------------------------------------------------- */

/* Two columns; a left text that is too wide gets a line of its own. */
static void write_columns(FILE *out, const char *left, const char *right)
{
    int n = fprintf(out, "  %s", left);
    if (n > OPTION_COLUMN - 2)
        n = fprintf(out, "\n") - 1;
    fprintf(out, "%*s%s\n", OPTION_COLUMN - n, "", right);
}

static void write_option(FILE *out, const ts_argument_option *option)
{
    const ts_option *o = &option->option;
    char left[TEXT_BYTES], right[2 * TEXT_BYTES], accepts[TEXT_BYTES];
    size_t used = option->letter ? ts_text_append(left, sizeof left, 0, "-%c, ", option->letter)
                                 : ts_text_append(left, sizeof left, 0, "    ");
    used = ts_text_append(left, sizeof left, used, "--%s", o->name);
    if (o->type != TS_OPTION_BOOL)
        ts_text_append(left, sizeof left, used, "=%s", option->argument);
    used = ts_text_append(right, sizeof right, 0, "%s", o->help);
    if (o->type != TS_OPTION_BOOL && o->type != TS_OPTION_STRING)
        used = ts_text_append(right, sizeof right, used, " (%s)", ts_option_describe(o, accepts, sizeof accepts));
    if (o->fallback)
        used = ts_text_append(right, sizeof right, used, " [%s]", o->fallback);
    if (option->required)
        ts_text_append(right, sizeof right, used, " (must be given)");
    write_columns(out, left, right);
}

static void write_options(FILE *out, const ts_argument_option *options)
{
    for (; options && options->option.name; options++)
        write_option(out, options);
}

void ts_help_program(const ts_command_set *program, FILE *out)
{
    fprintf(out, "%s %s: %s\n\nUsage: %s COMMAND [OPTION ...] [ARGUMENT ...]\n\nCommands:\n", program->name,
            program->version, program->help, program->name);
    for (const ts_command *c = program->commands; c->name; c++)
        write_columns(out, c->name, c->help);
    fprintf(out, "\nOptions of every command:\n");
    write_options(out, program->options);
    write_columns(out, "-h, --help", "this text; after a command, the command's");
    write_columns(out, "-V, --version", "the version");
}

void ts_help_command(const ts_command_set *program, const ts_command *command, FILE *out)
{
    char synopsis[TEXT_BYTES];
    fprintf(out, "%s %s: %s\n\nUsage: %s %s%s [OPTION ...]\n", program->name, command->name, command->help,
            program->name, command->name, ts_command_synopsis(command, synopsis, sizeof synopsis));
    if (command->positionals || command->overrides)
        fprintf(out, "\nArguments:\n");
    for (const ts_positional *p = command->positionals; p && p->name; p++)
        write_columns(out, p->name, p->help);
    if (command->overrides)
        write_columns(out, "KEY=VALUE", "a key of the config, such as train.batch=64 (all: tessera config --list)");
    if (command->overrides && program->flags)
        write_columns(out, "--FLAG VALUE",
                      "a flag of T2M-GPT or MotionMillion, such as --nb-code 512 (all: tessera config --flags)");
    fprintf(out, "\nOptions:\n");
    write_options(out, command->options);
    write_options(out, program->options);
    write_columns(out, "-h, --help", "this text");
}

void ts_help_flags(const ts_command_set *program, FILE *out)
{
    fputs("Flags of T2M-GPT and MotionMillion, on every command that takes KEY=VALUE; '_' may be typed for '-'.\n"
          "Of two for the same key the later one counts, as of overrides.\n\n",
          out);
    for (const ts_peer_flag *f = program->flags; f && f->name; f++) {
        char meaning[2 * TEXT_BYTES];
        fprintf(out, "  --%s%s%s: %s\n      %s\n", f->name, f->argument ? " " : "", f->argument ? f->argument : "",
                ts_peer_flag_meaning(f, meaning, sizeof meaning), f->help);
    }
}

void ts_help_version(const ts_command_set *program, FILE *out)
{
    fprintf(out, "%s %s\n", program->name, program->version);
}

/* --- the config's keys -------------------------------------------------------------------------------------------- */

static void list_table(FILE *out, const char *section, const ts_option_table *table)
{
    for (const ts_option *o = table->options; o->name; o++) {
        char accepts[TEXT_BYTES];
        fprintf(out, "    %s%s%s: %s", section, *section ? "." : "", o->name,
                ts_option_describe(o, accepts, sizeof accepts));
        if (o->fallback)
            fprintf(out, ", default %s", *o->fallback ? o->fallback : "''");
        else
            fputs(", must be given", out);
        if (o->alias)
            fprintf(out, ", also called %s", o->alias);
        fprintf(out, "\n        %s\n", o->help);
    }
}

static void list_section(FILE *out, const ts_config_section *section)
{
    fprintf(out, "\n%s: %s\n", section->name, section->help);
    for (int i = 0; section->kinds[i]; i++) {
        const ts_option_table *table = section->kinds[i];
        bool is_default = section->default_kind && strcmp(section->default_kind, table->kind) == 0;
        if (ts_config_has_kinds(section))
            fprintf(out, "  %s.kind=%s%s: %s\n", section->name, table->kind, is_default ? " (default)" : "",
                    table->help);
        list_table(out, section->name, table);
    }
}

void ts_help_list(const ts_config_schema *schema, FILE *out)
{
    fprintf(out, "keys outside sections: %s\n", schema->top->help);
    list_table(out, "", schema->top);
    for (const ts_config_section *s = schema->sections; s->name; s++)
        list_section(out, s);
}

/* --- defaults ----------------------------------------------------------------------------------------------------- */

/* True where `word` chooses the kind: "vector" or "quantizer.kind=vector". */
static bool chooses(const char *word, const ts_config_section *section, const char *kind)
{
    size_t n = strlen(section->name);
    const char *dot = strchr(word, '.');
    if (!dot)
        return strcmp(word, kind) == 0;
    return (size_t)(dot - word) == n && memcmp(word, section->name, n) == 0 && strncmp(dot, ".kind=", 6) == 0 &&
           strcmp(dot + 6, kind) == 0;
}

static ts_status check_choice(const ts_config_schema *schema, const char *word, ts_error *err)
{
    enum { MAX_NAMES = 128 };
    const char *names[MAX_NAMES + 1] = {0}, *near = NULL;
    int sections = 0, n = 0;
    for (const ts_config_section *s = schema->sections; s->name; s++)
        for (int i = 0; ts_config_has_kinds(s) && s->kinds[i]; i++) {
            sections += chooses(word, s, s->kinds[i]->kind);
            if (n < MAX_NAMES)
                names[n++] = s->kinds[i]->kind;
        }
    if (sections == 1)
        return TS_OK;
    if (sections > 1)
        return ts_fail(err, TS_ERR_USAGE, "kind '%s' is in several sections: write SECTION.kind=%s", TS_SHOWN(word),
                       TS_SHOWN(word));
    near = ts_nearest_name(word, names);
    return ts_fail(err, TS_ERR_USAGE, "unknown kind '%s'%s%s%s (tessera config --list shows all)", TS_SHOWN(word),
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static int chosen_kind(const ts_config_section *section, const char *const *words)
{
    int kind = 0;
    for (int i = 0; section->kinds[i]; i++)
        if (section->default_kind && strcmp(section->kinds[i]->kind, section->default_kind) == 0)
            kind = i;
    for (; ts_config_has_kinds(section) && words && *words; words++)
        for (int i = 0; section->kinds[i]; i++)
            if (chooses(*words, section, section->kinds[i]->kind))
                kind = i;
    return kind;
}

static ts_status write_defaults(FILE *out, const ts_option_table *table, int indent, ts_error *err)
{
    ts_arena arena = {0};
    void *options = ts_calloc(1, table->struct_bytes);
    ts_status status =
        options ? ts_options_default(table, options, &arena, err) : ts_out_of_memory(err, table->struct_bytes);
    if (status == TS_OK && !ts_config_write_table(out, table, options, indent, true, REQUIRED_EMPTY))
        status = ts_out_of_memory(err, table->struct_bytes);
    ts_arena_clear(&arena);
    ts_free(options);
    return status;
}

ts_status ts_help_defaults(const ts_config_schema *schema, const char *const *kinds, FILE *out, ts_error *err)
{
    for (const char *const *word = kinds; word && *word; word++)
        TS_TRY(check_choice(schema, *word, err));
    TS_TRY(write_defaults(out, schema->top, 0, err));
    for (const ts_config_section *s = schema->sections; s->name; s++) {
        int kind = chosen_kind(s, kinds);
        fputc('\n', out);
        ts_config_write_head(out, s, kind, true);
        TS_TRY(write_defaults(out, s->kinds[kind], 2, err));
    }
    return TS_OK;
}
