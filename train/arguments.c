#include "train/arguments.h"

#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "train/peer_parse.h"

enum { SYNOPSIS_BYTES = 256, MAX_NAMES = 128 };

/* The words that are still to be read. */
typedef struct {
    const char *const *word; /* NULL-terminated by argv's own NULL, or counted by left */
    int left;
    bool only_positionals; /* after "--" */
} words;

static const char *next_word(words *w)
{
    if (w->left == 0)
        return NULL;
    w->left--;
    return *w->word++;
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* "tessera train", or "tessera" before the command is known. */
static const char *speaker(const ts_arguments *a, char *text, size_t bytes)
{
    ts_text_append(text, bytes, 0, "%s%s%s", a->program->name, a->command ? " " : "",
                   a->command ? a->command->name : "");
    return text;
}
#define SPEAKER(a) speaker(a, (char[128]){0}, 128)

static ts_status refuse_option(const ts_arguments *a, const ts_argument_value *value, const char *what, ts_error *err)
{
    return ts_fail(err, TS_ERR_USAGE, "%s: option --%s %s (see %s --help)", SPEAKER(a), value->option->option.name,
                   what, SPEAKER(a));
}

static const ts_peer_flag *flags_of(const ts_arguments *a)
{
    return a->command && a->command->overrides ? a->program->flags : NULL;
}

/* The nearest of all options and flags to a word such as "--treads", or NULL. */
static const char *nearest_option(const ts_arguments *a, const char *name)
{
    const char *names[TS_MAX_ARGUMENT_OPTIONS + MAX_NAMES + 3] = {"help", "version"};
    int n = 2;
    for (int i = 0; i < a->value_count; i++)
        names[n++] = a->value[i].option->option.name;
    for (const ts_peer_flag *f = flags_of(a); f && f->name && n < TS_MAX_ARGUMENT_OPTIONS + MAX_NAMES + 2; f++)
        names[n++] = f->name;
    char dashed[64];
    snprintf(dashed, sizeof dashed, "%s", name);
    for (char *c = dashed; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return dashed[0] == '-' && dashed[1] == '-' ? ts_nearest_name(dashed + 2, names) : NULL;
}

static ts_status unknown_option(const ts_arguments *a, const char *typed, ts_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(typed, "="), typed);
    const char *near = nearest_option(a, name);
    return ts_fail(err, TS_ERR_USAGE, "%s: unknown option '%s'%s%s%s (see %s --help)", SPEAKER(a), TS_SHOWN(name),
                   near ? " (did you mean '--" : "", near ? near : "", near ? "'?)" : "", SPEAKER(a));
}

static ts_status unknown_command(const ts_arguments *a, const char *typed, ts_error *err)
{
    const char *names[MAX_NAMES + 1] = {0};
    for (int i = 0; i < MAX_NAMES && a->program->commands[i].name; i++)
        names[i] = a->program->commands[i].name;
    const char *near = ts_nearest_name(typed, names);
    return ts_fail(err, TS_ERR_USAGE, "%s: unknown command '%s'%s%s%s (see %s --help)", SPEAKER(a), TS_SHOWN(typed),
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "", SPEAKER(a));
}

const char *ts_command_synopsis(const ts_command *command, char *text, size_t bytes)
{
    static const char *const open[] = {" ", " [", " ["}, *const close[] = {"", "]", " ...]"};
    size_t used = ts_text_append(text, bytes, 0, "%s", "");
    for (const ts_positional *p = command->positionals; p && p->name; p++)
        used = ts_text_append(text, bytes, used, "%s%s%s", open[p->count], p->name, close[p->count]);
    for (const ts_argument_option *o = command->options; o && o->option.name; o++)
        if (o->required)
            used = ts_text_append(text, bytes, used, " --%s %s", o->option.name, o->argument);
    ts_text_append(text, bytes, used, "%s", command->overrides ? " [KEY=VALUE ...]" : "");
    return text;
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static ts_argument_value *find(const ts_arguments *a, const char *name, size_t bytes)
{
    for (int i = 0; i < a->value_count; i++) {
        const char *known = a->value[i].option->option.name;
        if (strlen(known) == bytes && memcmp(known, name, bytes) == 0)
            return (ts_argument_value *)&a->value[i];
    }
    return NULL;
}

static ts_argument_value *find_letter(ts_arguments *a, char letter)
{
    for (int i = 0; i < a->value_count; i++)
        if (a->value[i].option->letter == letter)
            return &a->value[i];
    return NULL;
}

static bool is_flag(const ts_argument_value *value)
{
    return value->option->option.type == TS_OPTION_BOOL;
}

static ts_status set_value(ts_arguments *a, ts_argument_value *value, const char *text, ts_error *err)
{
    ts_option option = value->option->option;
    const char *copy; /* a STRING needs no other check */
    char name[80];
    snprintf(name, sizeof name, "option --%s", option.name);
    option.name = name;
    option.offset = 0;
    void *target = option.type == TS_OPTION_STRING ? (void *)&copy : (void *)&value->as;
    ts_status status = ts_option_parse(&option, text, target, &a->arena, err);
    if (status == TS_ERR_USAGE)
        ts_error_prefix(err, "%s", SPEAKER(a));
    value->text = text;
    return status;
}

static ts_status take_value(ts_arguments *a, ts_argument_value *value, const char *text, words *w, ts_error *err)
{
    value->given = true;
    if (is_flag(value)) {
        if (text)
            return refuse_option(a, value, "takes no value", err);
        value->text = "true";
        return TS_OK;
    }
    if (!text)
        text = next_word(w);
    if (!text)
        return refuse_option(a, value, "needs a value", err);
    return set_value(a, value, text, err);
}

static ts_status take_flag(ts_arguments *a, const ts_peer_flag *flag, const char *attached, words *w, ts_error *err)
{
    ts_peer_words given = {.attached = attached, .next = w->word, .left = w->left};
    ts_status status = ts_peer_take(a, flag, &given, err);
    if (status == TS_ERR_USAGE) {
        ts_error_prefix(err, "%s", SPEAKER(a));
        return status;
    }
    w->word += given.used;
    w->left -= given.used;
    return status;
}

/* --name, --name=value, --name value */
static ts_status take_long(ts_arguments *a, const char *word, words *w, ts_error *err)
{
    const char *name = word + 2;
    size_t bytes = strcspn(name, "=");
    if (strcmp(name, "help") == 0) {
        a->asked = TS_ASKED_HELP;
        return TS_OK;
    }
    const char *attached = name[bytes] ? name + bytes + 1 : NULL;
    ts_argument_value *value = find(a, name, bytes);
    const ts_peer_flag *flag = value ? NULL : ts_peer_flag_find(flags_of(a), name, bytes);
    if (flag)
        return take_flag(a, flag, attached, w, err);
    return value ? take_value(a, value, attached, w, err) : unknown_option(a, word, err);
}

/* -o value, -ovalue, and several flags in one word: -qj */
static ts_status take_letters(ts_arguments *a, const char *word, words *w, ts_error *err)
{
    for (const char *letter = word + 1; *letter && a->asked == TS_ASKED_RUN; letter++) {
        ts_argument_value *value = find_letter(a, *letter);
        if (!value && *letter == 'h') {
            a->asked = TS_ASKED_HELP;
            return TS_OK;
        }
        if (!value)
            return unknown_option(a, word, err);
        if (!is_flag(value))
            return take_value(a, value, letter[1] ? letter + 1 : NULL, w, err);
        TS_TRY(take_value(a, value, NULL, w, err));
    }
    return TS_OK;
}

/* --- positionals and overrides ------------------------------------------------------------------------------------ */

/* key=value, where key can be one of a config: so a path with a slash before the sign stays a path. */
static bool is_override(const char *word)
{
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    return n > 0 && word[n] == '=' && word[0] != '.';
}

static void take_word(ts_arguments *a, const char *word, const words *w)
{
    if (a->command->overrides && !w->only_positionals && is_override(word))
        a->overrides[a->override_count++] = word;
    else
        a->positionals[a->positional_count++] = word;
}

static ts_status check_positionals(const ts_arguments *a, ts_error *err)
{
    char usage[SYNOPSIS_BYTES];
    ts_command_synopsis(a->command, usage, sizeof usage);
    int64_t i = 0;
    const ts_positional *p = a->command->positionals;
    for (; p && p->name; p++, i++) {
        if (p->count == TS_POSITIONAL_MANY)
            return TS_OK;
        if (p->count == TS_POSITIONAL_ONE && i >= a->positional_count)
            return ts_fail(err, TS_ERR_USAGE, "%s: %s is missing: %s (usage: %s%s)", SPEAKER(a), p->name, p->help,
                           SPEAKER(a), usage);
    }
    if (i < a->positional_count)
        return ts_fail(err, TS_ERR_USAGE, "%s: unexpected argument '%s' (usage: %s%s)", SPEAKER(a),
                       TS_SHOWN(a->positionals[i]), SPEAKER(a), usage);
    return TS_OK;
}

static ts_status check_required(const ts_arguments *a, ts_error *err)
{
    for (int i = 0; i < a->value_count; i++)
        if (a->value[i].option->required && !a->value[i].text)
            return refuse_option(a, &a->value[i], "must be given", err);
    return TS_OK;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static ts_status add_options(ts_arguments *a, const ts_argument_option *options, ts_error *err)
{
    for (; options && options->option.name; options++) {
        if (a->value_count == TS_MAX_ARGUMENT_OPTIONS)
            return ts_fail(err, TS_ERR_RUNTIME, "internal error: more than %d options", TS_MAX_ARGUMENT_OPTIONS);
        ts_argument_value *value = &a->value[a->value_count++];
        value->option = options;
        if (options->option.fallback)
            TS_TRY(set_value(a, value, options->option.fallback, err));
    }
    return TS_OK;
}

static ts_status find_command(ts_arguments *a, words *w, ts_error *err)
{
    const char *word = next_word(w);
    if (!word)
        return ts_fail(err, TS_ERR_USAGE, "%s: no command given (see %s --help)", a->program->name, a->program->name);
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        a->asked = TS_ASKED_VERSION;
    else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        a->asked = TS_ASKED_HELP;
    else if (word[0] == '-')
        return unknown_option(a, word, err);
    if (a->asked != TS_ASKED_RUN)
        return TS_OK;
    for (const ts_command *c = a->program->commands; c->name && !a->command; c++)
        if (strcmp(c->name, word) == 0)
            a->command = c;
    return a->command ? TS_OK : unknown_command(a, word, err);
}

static ts_status take_words(ts_arguments *a, words *w, ts_error *err)
{
    for (const char *word; a->asked == TS_ASKED_RUN && (word = next_word(w));) {
        if (w->only_positionals || word[0] != '-' || word[1] == '\0')
            take_word(a, word, w);
        else if (strcmp(word, "--") == 0)
            w->only_positionals = true;
        else
            TS_TRY(word[1] == '-' ? take_long(a, word, w, err) : take_letters(a, word, w, err));
    }
    return TS_OK;
}

/* For so many words; a flag is several overrides at most. */
static ts_status make_room(ts_arguments *a, size_t words_left, ts_error *err)
{
    size_t bytes = (words_left * TS_PEER_MAX_SETS + 1) * sizeof(char *);
    a->positionals = ts_arena_alloc(&a->arena, (words_left + 1) * sizeof(char *));
    a->overrides = ts_arena_alloc(&a->arena, bytes);
    a->override_flags = ts_arena_alloc(&a->arena, bytes);
    return a->positionals && a->overrides && a->override_flags ? TS_OK : ts_out_of_memory(err, bytes);
}

ts_status ts_arguments_parse(ts_arguments *arguments, const ts_command_set *program, int argc, const char *const *argv,
                             ts_error *err)
{
    ts_arguments *a = arguments;
    *a = (ts_arguments){.program = program};
    words w = {.word = argv + 1, .left = argc > 0 ? argc - 1 : 0};
    TS_TRY(make_room(a, (size_t)w.left, err));
    TS_TRY(find_command(a, &w, err));
    if (a->asked != TS_ASKED_RUN)
        return TS_OK;
    TS_TRY(add_options(a, a->command->options, err));
    TS_TRY(add_options(a, program->options, err));
    TS_TRY(take_words(a, &w, err));
    if (a->asked != TS_ASKED_RUN)
        return TS_OK;
    TS_TRY(check_positionals(a, err));
    return check_required(a, err);
}

void ts_arguments_clear(ts_arguments *arguments)
{
    ts_arena_clear(&arguments->arena);
    *arguments = (ts_arguments){0};
}

/* Messages have an override in quotes, or begin with it. */
static bool is_about(const ts_error *err, const char *override)
{
    char quoted[128];
    const char *shown = TS_SHOWN(override);
    snprintf(quoted, sizeof quoted, "override '%s'", shown);
    return strstr(err->text, quoted) || strncmp(err->text, shown, strlen(shown)) == 0;
}

void ts_arguments_explain(const ts_arguments *arguments, ts_error *err)
{
    for (int64_t i = 0; i < arguments->override_count; i++)
        if (arguments->override_flags[i] && is_about(err, arguments->overrides[i])) {
            ts_error_prefix(err, "--%s", arguments->override_flags[i]->name);
            return;
        }
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static const ts_argument_value *value_of(const ts_arguments *a, const char *name)
{
    static const ts_argument_value absent;
    const ts_argument_value *value = find(a, name, strlen(name));
    return TS_ASSERT(value != NULL) ? value : &absent;
}

const char *ts_arguments_text(const ts_arguments *arguments, const char *name)
{
    return value_of(arguments, name)->text;
}

bool ts_arguments_flag(const ts_arguments *arguments, const char *name)
{
    return value_of(arguments, name)->text != NULL;
}

int64_t ts_arguments_int(const ts_arguments *arguments, const char *name)
{
    return value_of(arguments, name)->as.integer;
}

double ts_arguments_real(const ts_arguments *arguments, const char *name)
{
    return value_of(arguments, name)->as.real;
}

int ts_arguments_choice(const ts_arguments *arguments, const char *name)
{
    return value_of(arguments, name)->as.choice;
}

bool ts_arguments_given(const ts_arguments *arguments, const char *name)
{
    return value_of(arguments, name)->given;
}

const char *ts_arguments_positional(const ts_arguments *arguments, int64_t i)
{
    return i >= 0 && i < arguments->positional_count ? arguments->positionals[i] : NULL;
}
