/* The command line, GNU style, from a table of commands:
 *
 *     tessera COMMAND [--option=value | --option value | -o value | --flag] positional... key=value...
 *
 * Options and positionals may be mixed; "--" ends the options; "-" is a positional. key=value is an override of the
 * config where the command takes them (train/config.h checks it), and so is a flag of the program's table of foreign
 * ones (train/peer_flags.h) wherever the command has no option of that name; all count in the order in which they are
 * typed. An option's value is checked with core/option.h.
 * `--help` (-h) and, before the command, `--version` (-V) are understood everywhere. The same table makes the help, the
 * man page and the completion (train/help.h). */
#ifndef TS_TRAIN_ARGUMENTS_H
#define TS_TRAIN_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/option.h"
#include "core/status.h"
#include "train/peer_flags.h"

/* An option of a command. In `option` count: name (without the dashes), type (BOOL: a flag, without a value; INT, REAL,
 * STRING, CHOICE with choices), min and max, help, and fallback, which may be NULL: then the option is just absent. */
typedef struct {
    char letter;          /* 'o' for -o, or 0 */
    const char *argument; /* how the help calls the value: "DIR"; NULL for a flag */
    bool required;        /* refuse the command without it */
    ts_option option;
} ts_argument_option;

typedef enum { TS_POSITIONAL_ONE, TS_POSITIONAL_OPTIONAL, TS_POSITIONAL_MANY } ts_positional_count;

typedef struct {
    const char *name; /* "CONFIG" */
    const char *help;
    ts_positional_count count; /* MANY (none or more) and OPTIONAL only at the end */
} ts_positional;

typedef struct ts_arguments ts_arguments;

typedef struct {
    const char *name;                  /* "train" */
    const char *help;                  /* one line */
    const ts_positional *positionals;  /* ends with name NULL; or NULL: none */
    const ts_argument_option *options; /* ends with option.name NULL; or NULL: none */
    bool overrides;                    /* takes key=value, and the program's flags */
    /* Does it. *exit_code, 0 before, is what the program leaves with where this returns TS_OK: 130 after SIGINT. */
    ts_status (*run)(const ts_arguments *arguments, int *exit_code, ts_error *err);
} ts_command;

typedef struct {
    const char *name, *version, *help; /* "tessera", "0.1.0", one line */
    const ts_command *commands;        /* ends with name NULL */
    const ts_argument_option *options; /* that every command has, after its own; as in ts_command */
    const ts_peer_flag *flags;         /* other programs' names for keys of the config; or NULL: none */
} ts_command_set;

/* What the user asked for. */
typedef enum {
    TS_ASKED_RUN,     /* run arguments->command */
    TS_ASKED_HELP,    /* show the help of `command`, or of the program where that is NULL */
    TS_ASKED_VERSION, /* show the version */
} ts_asked;

enum { TS_MAX_ARGUMENT_OPTIONS = 48 };

/* An option's value. */
typedef struct {
    const ts_argument_option *option;
    bool given;       /* on the command line */
    const char *text; /* as typed or the fallback; NULL: absent. For a flag "true" or NULL */
    union {
        int64_t integer;
        double real;
        int choice;
    } as; /* by type, where text is not NULL */
} ts_argument_value;

struct ts_arguments {
    ts_asked asked;
    const ts_command_set *program;
    const ts_command *command;
    const char **positionals; /* NULL-terminated */
    int64_t positional_count;
    const char **overrides; /* NULL-terminated, ready for ts_config_load */
    int64_t override_count;
    const ts_peer_flag **override_flags; /* for each override the flag that it was typed as, or NULL */
    const char *path_part[2];            /* of TS_PEER_FOLDER and TS_PEER_FILE, as typed; or NULL */
    int value_count;
    ts_argument_value value[TS_MAX_ARGUMENT_OPTIONS]; /* one for each option of the command, then of the program */
    ts_arena arena;
};

/* Parses argv[1 .. argc-1]. The texts of argv are not copied and must outlive *arguments, which is caller-owned, is
 * overwritten, and is cleared with ts_arguments_clear whatever the outcome.
 * Errors: TS_ERR_USAGE with one line that names the nearest command or option and where the help is. TS_ERR_RUNTIME out
 * of memory. */
ts_status ts_arguments_parse(ts_arguments *arguments, const ts_command_set *program, int argc, const char *const *argv,
                             ts_error *err);

void ts_arguments_clear(ts_arguments *arguments);

/* An error that names an override which was typed as a flag names the flag as well: "--lr: override 'train.lr=x': ...".
 * For the message of a command that failed. */
void ts_arguments_explain(const ts_arguments *arguments, ts_error *err);

/* The value of the option called name (its long name, without dashes). An option that is neither given nor has a
 * fallback is NULL, 0 or false; asking for an option that the command does not have is a mistake in the program
 * (TS_ASSERT). */
const char *ts_arguments_text(const ts_arguments *arguments, const char *name);
bool ts_arguments_flag(const ts_arguments *arguments, const char *name);
int64_t ts_arguments_int(const ts_arguments *arguments, const char *name);
double ts_arguments_real(const ts_arguments *arguments, const char *name);
int ts_arguments_choice(const ts_arguments *arguments, const char *name); /* index; 0 where absent */
bool ts_arguments_given(const ts_arguments *arguments, const char *name);

/* The i-th positional, or NULL where there are not so many. */
const char *ts_arguments_positional(const ts_arguments *arguments, int64_t i);

/* What follows the command's name on a line of usage: " CONFIG --run DIR [KEY=VALUE ...]", into text. Returns text. */
const char *ts_command_synopsis(const ts_command *command, char *text, size_t bytes);

#endif
