/* The man page, in troff. */
#include "train/help.h"

#include <ctype.h>
#include <string.h>

enum { TEXT_BYTES = 400 };

/* Text that troff shall not take for a request: a dot or quote that could start a line, backslashes, and dashes that
 * stay dashes when copied. */
static void put(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void put_bold(FILE *out, const char *text)
{
    fputs("\\fB", out);
    put(out, text);
    fputs("\\fR", out);
}

static void put_option(FILE *out, const ts_argument_option *option)
{
    const ts_option *o = &option->option;
    char accepts[TEXT_BYTES];
    fputs(".TP\n", out);
    if (option->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB\\-\\-", out);
    put(out, o->name);
    fputs("\\fR", out);
    if (o->type != TS_OPTION_BOOL) {
        fputs("=\\fI", out);
        put(out, option->argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put(out, o->help);
    if (o->type != TS_OPTION_BOOL && o->type != TS_OPTION_STRING) {
        fputs("; ", out);
        put(out, ts_option_describe(o, accepts, sizeof accepts));
    }
    if (o->fallback) {
        fputs("; default ", out);
        put(out, o->fallback);
    }
    fputs(".\n", out);
}

static void put_options(FILE *out, const ts_argument_option *options)
{
    for (; options && options->option.name; options++)
        put_option(out, options);
}

static void put_command(FILE *out, const ts_command_set *program, const ts_command *command)
{
    char synopsis[TEXT_BYTES];
    fputs(".SS ", out);
    put(out, command->name);
    fputc('\n', out);
    put_bold(out, program->name);
    fputc(' ', out);
    put_bold(out, command->name);
    put(out, ts_command_synopsis(command, synopsis, sizeof synopsis));
    fputs("\n.PP\n", out);
    put(out, command->help);
    fputs(".\n", out);
    for (const ts_positional *p = command->positionals; p && p->name; p++) {
        fputs(".TP\n\\fI", out);
        put(out, p->name);
        fputs("\\fR\n", out);
        put(out, p->help);
        fputs(".\n", out);
    }
    put_options(out, command->options);
}

static void put_table(FILE *out, const char *section, const ts_option_table *table)
{
    for (const ts_option *o = table->options; o->name; o++) {
        char accepts[TEXT_BYTES];
        fprintf(out, ".TP\n\\fB%s%s%s\\fR\n", section, *section ? "." : "", o->name);
        put(out, o->help);
        fputs("; ", out);
        put(out, ts_option_describe(o, accepts, sizeof accepts));
        fputs(o->fallback ? "; default " : "; must be given", out);
        put(out, !o->fallback ? "" : *o->fallback ? o->fallback : "empty");
        if (o->alias) {
            fputs("; also called ", out);
            put(out, o->alias);
        }
        fputs(".\n", out);
    }
}

static void put_section(FILE *out, const ts_config_section *section)
{
    fputs(".SS Section ", out);
    put(out, section->name);
    fputc('\n', out);
    put(out, section->help);
    fputs(".\n", out);
    for (int i = 0; section->kinds[i]; i++) {
        if (section->kinds[1]) {
            fprintf(out, ".PP\n\\fB%s.kind=%s\\fR: ", section->name, section->kinds[i]->kind);
            put(out, section->kinds[i]->help);
            fputs(".\n", out);
        }
        put_table(out, section->name, section->kinds[i]);
    }
}

static void put_config(FILE *out, const ts_config_schema *schema)
{
    fputs(".SH CONFIG\nA config is a YAML file with the keys and sections below. On the command line a key is set by\n"
          "\\fIKEY\\fR=\\fIVALUE\\fR, which counts before the file's value. A list is written [8, 6, 5].\n"
          ".SS Keys outside sections\n",
          out);
    put_table(out, "", schema->top);
    for (const ts_config_section *s = schema->sections; s->name; s++)
        put_section(out, s);
}

static void put_flags(FILE *out, const ts_peer_flag *flags)
{
    fputs(".SH FLAGS OF T2M-GPT AND MOTIONMILLION\nOn every command that takes \\fIKEY\\fR=\\fIVALUE\\fR the flags of "
          "their "
          "training scripts stand for\nkeys of the config. An underscore may be typed for a dash.\n",
          out);
    for (; flags->name; flags++) {
        char meaning[2 * TEXT_BYTES];
        fputs(".TP\n\\fB\\-\\-", out);
        put(out, flags->name);
        fputs("\\fR", out);
        if (flags->argument)
            fprintf(out, " \\fI%s\\fR", flags->argument);
        fputc('\n', out);
        put(out, ts_peer_flag_meaning(flags, meaning, sizeof meaning));
        fputs(".\n.br\n", out);
        put(out, flags->help);
        fputs(".\n", out);
    }
}

static void put_exit_status(FILE *out)
{
    static const char *const meanings[] = {
        [TS_OK] = "success",
        [TS_ERR_RUNTIME] = "out of memory, a loss that is not finite, an internal error",
        [TS_ERR_USAGE] = "the command line or the config",
        [TS_ERR_DATA] = "a data set or an input file",
        [TS_ERR_CHECKPOINT] = "a checkpoint, or another file with weights or tokens",
        [TS_ERR_DEVICE] = "no such device, or it failed",
    };
    fputs(".SH EXIT STATUS\n", out);
    for (int i = 0; i <= TS_ERR_DEVICE; i++)
        fprintf(out, ".TP\n.B %d\n%s.\n", i, meanings[i]);
    fputs(".TP\n.BR 130 \", \" 143\ninterrupted by SIGINT or SIGTERM, with a saved checkpoint.\n", out);
}

void ts_help_man(const ts_command_set *program, const ts_config_schema *schema, FILE *out)
{
    fputs(".TH ", out);
    for (const char *s = program->name; *s; s++)
        fputc(toupper((unsigned char)*s), out);
    fprintf(out, " 1 \"\" \"%s %s\" \"User Commands\"\n.SH NAME\n%s \\- ", program->name, program->version,
            program->name);
    put(out, program->help);
    fputs("\n.SH SYNOPSIS\n", out);
    put_bold(out, program->name);
    fputs(" \\fICOMMAND\\fR [\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR ...]\n.SH COMMANDS\n", out);
    for (const ts_command *c = program->commands; c->name; c++)
        put_command(out, program, c);
    fputs(".SH OPTIONS OF EVERY COMMAND\n", out);
    put_options(out, program->options);
    fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nHelp, of the program or of a command.\n"
          ".TP\n\\fB\\-V\\fR, \\fB\\-\\-version\\fR\nThe version.\n",
          out);
    put_config(out, schema);
    if (program->flags)
        put_flags(out, program->flags);
    put_exit_status(out);
}
