/* The completion script for bash: data from the tables in case patterns, and a fixed rest. */
#include "train/help.h"

#include <string.h>

/* Words of a bash -W list; they are option names, kinds and choices, so none needs quoting. */
static void put_words(FILE *out, const char *const *words)
{
    for (; *words; words++)
        fprintf(out, "%s ", *words);
}

static void put_option_names(FILE *out, const ts_argument_option *options)
{
    for (; options && options->option.name; options++) {
        fprintf(out, "--%s ", options->option.name);
        if (options->letter)
            fprintf(out, "-%c ", options->letter);
    }
}

/* Flags that are refused are not offered. */
static void put_flag_names(FILE *out, const ts_peer_flag *flags)
{
    for (; flags && flags->name; flags++)
        if (flags->kind != TS_PEER_REFUSED)
            fprintf(out, "--%s ", flags->name);
}

/* case $command: options='...' overrides=0|1 */
static void put_commands(FILE *out, const ts_command_set *program)
{
    fputs("    case $command in\n", out);
    for (const ts_command *c = program->commands; c->name; c++) {
        fprintf(out, "    %s)\n        overrides=%d options='", c->name, c->overrides);
        put_option_names(out, c->options);
        put_option_names(out, program->options);
        if (c->overrides)
            put_flag_names(out, program->flags);
        fputs("--help'\n        ;;\n", out);
    }
    fputs("    esac\n", out);
}

static void put_choices_of_options(FILE *out, const char *command, const ts_argument_option *options)
{
    for (; options && options->option.name; options++) {
        if (options->option.type != TS_OPTION_CHOICE)
            continue;
        fprintf(out, "    '%s --%s'", command, options->option.name);
        if (options->letter)
            fprintf(out, " | '%s -%c'", command, options->letter);
        fputs(") values='", out);
        put_words(out, options->option.choices);
        fputs("' ;;\n", out);
    }
}

static void put_values(FILE *out, const ts_option *option)
{
    if (option && option->type == TS_OPTION_BOOL)
        fputs("true false ", out);
    if (option && option->type == TS_OPTION_CHOICE)
        put_words(out, option->choices);
}

static bool has_values(const ts_option *option)
{
    return option->type == TS_OPTION_BOOL || option->type == TS_OPTION_CHOICE;
}

/* True where none of the kinds before the i-th has the key: kinds share keys, which are listed once. */
static bool is_first(const ts_config_section *section, int i, const char *key)
{
    for (int before = 0; before < i; before++)
        if (ts_option_find(section->kinds[before], key))
            return false;
    return true;
}

/* A pattern for each key that has a known set of values: of all kinds of the section that have the key. */
static void put_choices_of_section(FILE *out, const ts_config_section *section)
{
    if (section->kinds[1]) {
        fprintf(out, "    *' %s.kind') values='", section->name);
        for (int i = 0; section->kinds[i]; i++)
            fprintf(out, "%s ", section->kinds[i]->kind);
        fputs("' ;;\n", out);
    }
    for (int i = 0; section->kinds[i]; i++)
        for (const ts_option *o = section->kinds[i]->options; o->name; o++) {
            if (!has_values(o) || !is_first(section, i, o->name))
                continue;
            fprintf(out, "    *' %s.%s') values='", section->name, o->name);
            for (int k = i; section->kinds[k]; k++)
                put_values(out, ts_option_find(section->kinds[k], o->name));
            fputs("' ;;\n", out);
        }
}

/* The section of a key such as "model.activation"; NULL for a key of none. */
static const ts_config_section *section_of(const ts_config_schema *schema, const char *key)
{
    size_t bytes = strcspn(key, ".");
    for (const ts_config_section *s = schema->sections; s->name; s++)
        if (key[bytes] && strlen(s->name) == bytes && memcmp(s->name, key, bytes) == 0)
            return s;
    return NULL;
}

/* Values of a flag: names of its own, or those of its key. */
static void put_choices_of_flag(FILE *out, const ts_peer_flag *flag, const ts_config_schema *schema)
{
    const ts_config_section *section = flag->kind == TS_PEER_KEY ? section_of(schema, flag->key) : NULL;
    if (flag->kind != TS_PEER_NAMES && !section)
        return;
    fprintf(out, "    *' --%s') values='", flag->name);
    for (const ts_peer_name *n = flag->names; n && n->name; n++)
        fprintf(out, "%s ", n->name);
    for (int i = 0; section && section->kinds && section->kinds[i]; i++)
        put_values(out, ts_option_find(section->kinds[i], strchr(flag->key, '.') + 1));
    fputs("' ;;\n", out);
}

static void put_choices(FILE *out, const ts_command_set *program, const ts_config_schema *schema)
{
    fputs("    case \"$command $key\" in\n", out);
    for (const ts_command *c = program->commands; c->name; c++) {
        put_choices_of_options(out, c->name, c->options);
        put_choices_of_options(out, c->name, program->options);
    }
    for (const ts_peer_flag *f = program->flags; f && f->name; f++)
        put_choices_of_flag(out, f, schema);
    for (const ts_option *o = schema->top->options; o->name; o++)
        if (has_values(o)) {
            fprintf(out, "    *' %s') values='", o->name);
            put_values(out, o);
            fputs("' ;;\n", out);
        }
    for (const ts_config_section *s = schema->sections; s->name; s++)
        put_choices_of_section(out, s);
    fputs("    esac\n", out);
}

static void put_keys(FILE *out, const ts_config_schema *schema)
{
    for (const ts_option *o = schema->top->options; o->name; o++)
        fprintf(out, "%s= ", o->name);
    for (const ts_config_section *s = schema->sections; s->name; s++) {
        if (s->kinds[1])
            fprintf(out, "%s.kind= ", s->name);
        for (int i = 0; s->kinds[i]; i++)
            for (const ts_option *o = s->kinds[i]->options; o->name; o++)
                if (is_first(s, i, o->name))
                    fprintf(out, "%s.%s= ", s->name, o->name);
    }
}

/* bash has "key=value" as three words; the value to complete is the last of them. */
static const char start[] = "    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                            "    local command=${COMP_WORDS[1]} key='' options='' values='' overrides=0\n"
                            "    COMPREPLY=()\n"
                            "    if [[ $cur == '=' ]]; then\n"
                            "        key=$before cur=''\n"
                            "    elif [[ $before == '=' ]]; then\n"
                            "        key=${COMP_WORDS[COMP_CWORD - 2]}\n"
                            "    elif [[ $before == -* ]]; then\n"
                            "        key=$before\n"
                            "    fi\n";

static const char finish[] = "    if [[ $values ]]; then\n"
                             "        mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$cur\")\n"
                             "    elif [[ $cur == -* ]]; then\n"
                             "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
                             "    elif [[ $overrides == 1 && $cur && $key != [a-z]* ]]; then\n"
                             "        mapfile -t COMPREPLY < <(compgen -W \"$keys\" -- \"$cur\")\n"
                             "        [[ ${#COMPREPLY[@]} == 0 ]] || compopt -o nospace 2>/dev/null\n"
                             "    fi\n"
                             "}\n";

void ts_help_completion(const ts_command_set *program, const ts_config_schema *schema, FILE *out)
{
    const char *name = program->name;
    fprintf(out, "# shellcheck shell=bash\n# Completion for %s %s: source it, or install it as\n", name,
            program->version);
    fprintf(out,
            "# share/bash-completion/completions/%s. Where it knows nothing, bash completes file names.\n_%s()\n{\n",
            name, name);
    fputs(start, out);
    fputs("    if ((COMP_CWORD == 1)); then\n        mapfile -t COMPREPLY < <(compgen -W '", out);
    for (const ts_command *c = program->commands; c->name; c++)
        fprintf(out, "%s ", c->name);
    fputs("--help --version' -- \"$cur\")\n        return\n    fi\n", out);
    put_commands(out, program);
    put_choices(out, program, schema);
    fputs("    local keys='", out);
    put_keys(out, schema);
    fputs("'\n", out);
    fputs(finish, out);
    fprintf(out, "complete -o default -o bashdefault -F _%s %s\n", name, name);
}
