#include "train/peer_parse.h"

#include <string.h>

#include "core/text.h"

enum { LIST_BYTES = 400 };

/* --- overrides ---------------------------------------------------------------------------------------------------- */

static void take_back(ts_arguments *a, const ts_peer_flag *flag)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < a->override_count; i++)
        if (a->override_flags[i] != flag) {
            a->overrides[kept] = a->overrides[i];
            a->override_flags[kept++] = a->override_flags[i];
        }
    for (int64_t i = kept; i < a->override_count; i++) {
        a->overrides[i] = NULL;
        a->override_flags[i] = NULL;
    }
    a->override_count = kept;
}

static void append(ts_arguments *a, const ts_peer_flag *flag, const char *override)
{
    a->overrides[a->override_count] = override;
    a->override_flags[a->override_count++] = flag;
}

static ts_status set_key(ts_arguments *a, const ts_peer_flag *flag, const char *value, ts_error *err)
{
    char *override = ts_arena_format(&a->arena, "%s=%s", flag->key, value);
    if (!override)
        return ts_out_of_memory(err, strlen(value));
    append(a, flag, override);
    if (flag->also)
        append(a, flag, flag->also);
    return TS_OK;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

/* The one value of a flag, which no other option can be. */
static ts_status one_value(const ts_peer_flag *flag, ts_peer_words *words, const char **value, ts_error *err)
{
    *value = words->attached;
    if (!*value && words->left > 0 && strncmp(words->next[0], "--", 2) != 0)
        *value = words->next[words->used++];
    if (!*value || !**value)
        return ts_fail(err, TS_ERR_USAGE, "--%s needs a value: %s", flag->name, flag->argument);
    return TS_OK;
}

static bool is_number(const char *word)
{
    return *word && word[strspn(word, "0123456789")] == '\0';
}

static ts_status take_numbers(ts_arguments *a, const ts_peer_flag *flag, ts_peer_words *words, ts_error *err)
{
    const char *value;
    TS_TRY(one_value(flag, words, &value, err));
    if (words->attached)
        return set_key(a, flag, value, err);
    char list[LIST_BYTES];
    size_t used = ts_text_append(list, sizeof list, 0, "[%s", value);
    for (; words->used < words->left && is_number(words->next[words->used]); words->used++)
        used = ts_text_append(list, sizeof list, used, ", %s", words->next[words->used]);
    used = ts_text_append(list, sizeof list, used, "]");
    if (used >= sizeof list)
        return ts_fail(err, TS_ERR_USAGE, "--%s: more numbers than any schedule has", flag->name);
    return set_key(a, flag, list, err);
}

/* Python's True and False are what people of the scripts type. Returns NULL where the word is no truth value. */
static const char *truth(const char *word)
{
    static const char *const words[][2] = {{"true", "true"}, {"false", "false"}, {"True", "true"}, {"False", "false"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i][0]) == 0)
            return words[i][1];
    return NULL;
}

static ts_status take_switch(ts_arguments *a, const ts_peer_flag *flag, ts_peer_words *words, ts_error *err)
{
    const char *typed = words->attached, *value = "true";
    if (typed && !(value = truth(typed)))
        return ts_fail(err, TS_ERR_USAGE, "--%s: expected nothing, true or false, found '%s'", flag->name,
                       TS_SHOWN(typed));
    const char *next = !typed && words->left > 0 ? truth(words->next[0]) : NULL;
    words->used = next != NULL;
    return set_key(a, flag, next ? next : value, err);
}

static ts_status unknown_name(const ts_peer_flag *flag, const char *typed, ts_error *err)
{
    enum { MAX_NAMES = 16 };
    const char *names[MAX_NAMES + 1] = {0};
    char list[LIST_BYTES];
    size_t used = 0;
    for (int i = 0; i < MAX_NAMES && flag->names[i].name; i++) {
        names[i] = flag->names[i].name;
        used = ts_text_append(list, sizeof list, used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = ts_nearest_name(typed, names);
    return ts_fail(err, TS_ERR_USAGE, "--%s: expected %s%s, found '%s'%s%s%s", flag->name, names[1] ? "one of " : "",
                   list, TS_SHOWN(typed), near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static ts_status take_name(ts_arguments *a, const ts_peer_flag *flag, ts_peer_words *words, ts_error *err)
{
    const char *typed;
    TS_TRY(one_value(flag, words, &typed, err));
    for (const ts_peer_name *n = flag->names; n->name; n++)
        if (strcmp(n->name, typed) == 0) {
            for (int i = 0; n->sets[i]; i++)
                append(a, flag, n->sets[i]);
            return TS_OK;
        }
    return unknown_name(flag, typed, err);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static ts_argument_value *option_of(ts_arguments *a, const ts_peer_flag *flag)
{
    for (int i = 0; i < a->value_count; i++)
        if (strcmp(a->value[i].option->option.name, flag->key) == 0)
            return &a->value[i];
    return NULL;
}

/* The folder, the file, or one in the other; NULL out of memory. */
static const char *joined_path(ts_arguments *a, const ts_peer_flag *flag, const char *typed)
{
    a->path_part[flag->kind == TS_PEER_FILE] = typed;
    const char *folder = a->path_part[0], *file = a->path_part[1];
    if (!folder || !file)
        return typed;
    size_t n = strlen(folder);
    return ts_arena_format(&a->arena, "%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", file);
}

/* The option is one of text, as a test of the table makes sure. */
static ts_status take_option(ts_arguments *a, const ts_peer_flag *flag, ts_peer_words *words, ts_error *err)
{
    const char *typed;
    ts_argument_value *value = option_of(a, flag);
    if (!value)
        return ts_fail(err, TS_ERR_USAGE, "--%s is --%s of tessera train, which %s does not have: %s", flag->name,
                       flag->key, a->command->name, flag->help);
    TS_TRY(one_value(flag, words, &typed, err));
    value->text = flag->kind == TS_PEER_OPTION ? typed : joined_path(a, flag, typed);
    value->given = true;
    return value->text ? TS_OK : ts_out_of_memory(err, strlen(typed));
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

ts_status ts_peer_take(ts_arguments *a, const ts_peer_flag *flag, ts_peer_words *words, ts_error *err)
{
    const char *value = NULL;
    words->used = 0;
    take_back(a, flag);
    switch (flag->kind) {
    case TS_PEER_KEY:
        TS_TRY(one_value(flag, words, &value, err));
        return set_key(a, flag, value, err);
    case TS_PEER_NUMBERS:
        return take_numbers(a, flag, words, err);
    case TS_PEER_SWITCH:
        return take_switch(a, flag, words, err);
    case TS_PEER_NAMES:
        return take_name(a, flag, words, err);
    case TS_PEER_OPTION:
    case TS_PEER_FOLDER:
    case TS_PEER_FILE:
        return take_option(a, flag, words, err);
    case TS_PEER_ALWAYS:
        if (words->attached)
            return ts_fail(err, TS_ERR_USAGE, "--%s takes no value: %s", flag->name, flag->help);
        return TS_OK;
    case TS_PEER_REFUSED:
        break;
    }
    return ts_fail(err, TS_ERR_USAGE, "--%s means nothing here: %s", flag->name, flag->help);
}
