#include "core/option.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

enum { DESCRIBE_BYTES = 400, NAME_MAX_BYTES = 64 };

static void *field(const ts_option *option, void *target)
{
    return (char *)target + option->offset;
}

static const void *field_of(const ts_option *option, const void *source)
{
    return (const char *)source + option->offset;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Edit distance with swaps of neighbours ("btach" is one away from "batch"); row i-2, i-1 and i are all it looks at. */
static int edit_distance(const char *a, const char *b)
{
    int n = (int)strlen(a), m = (int)strlen(b), row[3][NAME_MAX_BYTES + 1];
    for (int j = 0; j <= m; j++)
        row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *before = row[(i - 1) % 3], *now = row[i % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            now[j] = least(least(before[j] + 1, now[j - 1] + 1), before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], row[(i - 2) % 3][j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

/* True when `name` is close to what was typed and closer than *distance, which it then replaces. */
static bool is_nearer(const char *typed, const char *name, int *distance)
{
    size_t n = strlen(typed), m = strlen(name), longest = n > m ? n : m;
    if (longest > NAME_MAX_BYTES)
        return false;
    int d = edit_distance(typed, name);
    if (longest < 4 || d * 3 > (int)longest || d >= *distance)
        return false;
    *distance = d;
    return true;
}

const char *ts_nearest_name(const char *typed, const char *const *names)
{
    const char *best = NULL;
    int distance = NAME_MAX_BYTES;
    for (; names && *names; names++)
        if (is_nearer(typed, *names, &distance))
            best = *names;
    return best;
}

/* Of the aliases "a, b" that *rest begins with, the next, into `name`; false behind the last. */
static bool next_alias(const char **rest, char name[NAME_MAX_BYTES + 1])
{
    if (!*rest)
        return false;
    size_t length = strcspn(*rest, ",");
    snprintf(name, NAME_MAX_BYTES + 1, "%.*s", (int)length, *rest);
    *rest += length;
    *rest += strspn(*rest, ", ");
    if (!**rest)
        *rest = NULL;
    return true;
}

static bool has_alias(const ts_option *o, const char *name)
{
    char alias[NAME_MAX_BYTES + 1];
    for (const char *rest = o->alias; next_alias(&rest, alias);)
        if (strcmp(alias, name) == 0)
            return true;
    return false;
}

static bool alias_is_nearer(const ts_option *o, const char *typed, int *distance)
{
    char alias[NAME_MAX_BYTES + 1];
    bool nearer = false;
    for (const char *rest = o->alias; next_alias(&rest, alias);)
        nearer |= is_nearer(typed, alias, distance);
    return nearer;
}

const char *ts_option_nearest(const ts_option_table *table, const char *typed)
{
    const char *best = NULL;
    int distance = NAME_MAX_BYTES;
    for (const ts_option *o = table->options; o->name; o++)
        if ((int)is_nearer(typed, o->name, &distance) | (int)alias_is_nearer(o, typed, &distance))
            best = o->name;
    return best;
}

const ts_option *ts_option_find(const ts_option_table *table, const char *name)
{
    for (const ts_option *o = table->options; o->name; o++)
        if (strcmp(o->name, name) == 0 || has_alias(o, name))
            return o;
    return NULL;
}

/* --- what an option accepts ------------------------------------------------------------------------------------- */

static bool has_range(const ts_option *option)
{
    return option->min != 0 || option->max != 0;
}

static size_t describe_range(const ts_option *option, const char *each, char *text, size_t bytes, size_t used)
{
    if (!has_range(option))
        return used;
    if (isinf(option->max))
        return ts_text_append(text, bytes, used, "%s of at least %.15g", each, option->min);
    if (isinf(option->min))
        return ts_text_append(text, bytes, used, "%s of at most %.15g", each, option->max);
    return ts_text_append(text, bytes, used, "%s from %.15g to %.15g", each, option->min, option->max);
}

const char *ts_option_describe(const ts_option *option, char *text, size_t bytes)
{
    static const char *const words[] = {
        [TS_OPTION_INT] = "an integer",          [TS_OPTION_REAL] = "a number",
        [TS_OPTION_BOOL] = "true or false",      [TS_OPTION_STRING] = "text",
        [TS_OPTION_CHOICE] = "one of",           [TS_OPTION_INTS] = "a list of integers",
        [TS_OPTION_STRINGS] = "a list of texts",
    };
    size_t used = ts_text_append(text, bytes, 0, "%s", words[option->type]);
    if (option->type == TS_OPTION_INT || option->type == TS_OPTION_REAL)
        describe_range(option, "", text, bytes, used);
    if (option->type == TS_OPTION_INTS)
        describe_range(option, ", each", text, bytes, used);
    if (option->type == TS_OPTION_CHOICE)
        for (const char *const *c = option->choices; *c; c++)
            used = ts_text_append(text, bytes, used, "%s%s", c == option->choices ? " " : ", ", *c);
    return text;
}

static ts_status refuse(const ts_option *option, const char *found, const char *hint, ts_error *err)
{
    char expected[DESCRIBE_BYTES];
    ts_option_describe(option, expected, sizeof expected);
    if (*found == '\0')
        return ts_fail(err, TS_ERR_USAGE, "%s: expected %s, found nothing", option->name, expected);
    return ts_fail(err, TS_ERR_USAGE, "%s: expected %s, found '%s'%s", option->name, expected, TS_SHOWN(found), hint);
}

/* --- parsing ---------------------------------------------------------------------------------------------------- */

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

static bool read_int(const ts_option *option, const char *text, int64_t *value)
{
    const char *s = text + (*text == '-');
    size_t n = digits(s);
    if (n == 0 || s[n] || (n > 1 && *s == '0'))
        return false;
    errno = 0;
    long long parsed = strtoll(text, NULL, 10);
    if (errno || (has_range(option) && ((double)parsed < option->min || (double)parsed > option->max)))
        return false;
    *value = parsed;
    return true;
}

/* strtod also takes hexadecimal, "inf", "nan" and leading blanks: the grammar is checked here. */
static bool is_decimal(const char *s)
{
    s += *s == '-';
    size_t whole = digits(s);
    s += whole;
    size_t fraction = *s == '.' ? digits(s + 1) : 0;
    s += *s == '.' ? 1 + fraction : 0;
    if (whole + fraction == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '-' || s[1] == '+');
        if (digits(s) == 0)
            return false;
        s += digits(s);
    }
    return *s == '\0';
}

static bool read_real(const ts_option *option, const char *text, double *value)
{
    if (!is_decimal(text))
        return false;
    errno = 0;
    double parsed = strtod(text, NULL);
    if (errno == ERANGE && (isinf(parsed) || parsed == 0))
        return false;
    if (has_range(option) && (parsed < option->min || parsed > option->max))
        return false;
    *value = parsed;
    return true;
}

static bool read_bool(const char *text, bool *value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (int i = 0; i < 6; i++)
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2;
            return true;
        }
    return false;
}

static ts_status parse_string(const char *text, const char **value, ts_arena *arena, ts_error *err)
{
    const char *copy = ts_arena_strdup(arena, text);
    if (!copy)
        return ts_out_of_memory(err, strlen(text) + 1);
    *value = copy;
    return TS_OK;
}

static ts_status parse_choice(const ts_option *option, const char *text, int *value, ts_error *err)
{
    for (int i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], text) == 0) {
            *value = i;
            return TS_OK;
        }
    char hint[NAME_MAX_BYTES + 32] = "";
    const char *near = ts_nearest_name(text, option->choices);
    if (near)
        snprintf(hint, sizeof hint, " (did you mean '%s'?)", near);
    return refuse(option, text, hint, err);
}

/* A list as it was typed, taken apart. */
typedef struct {
    int count;
    const char *item[TS_MAX_STRINGS]; /* in `copy`, quotes undone */
    bool quoted[TS_MAX_STRINGS];
    char *copy; /* two bytes longer than the text */
} list;

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

/* Reads the item at s to *out. Returns what follows it, or NULL where it is empty or a quote is not closed. */
static const char *read_item(const char *s, bool *quoted, char **out)
{
    *quoted = *s == '"';
    if (*quoted) {
        size_t n = ts_text_unquote(s, *out);
        if (n == 0)
            return NULL;
        *out += strlen(*out) + 1;
        return skip_blanks(s + n);
    }
    size_t n = strcspn(s, ",[]\""), keep = n;
    while (keep > 0 && (s[keep - 1] == ' ' || s[keep - 1] == '\t'))
        keep--;
    memcpy(*out, s, keep);
    (*out)[keep] = '\0';
    *out += keep + 1;
    return keep ? s + n : NULL;
}

/* Returns NULL, or what is wrong with the text. */
static const char *list_split(const char *text, list *items)
{
    char *out = items->copy;
    const char *s = skip_blanks(text);
    bool bracket = *s == '[';
    s = skip_blanks(s + bracket);
    items->count = 0;
    for (bool more = *s && *s != ']'; more;) {
        if (items->count == TS_MAX_STRINGS)
            return " (at most 16 items)";
        items->item[items->count] = out;
        s = read_item(s, &items->quoted[items->count++], &out);
        if (!s)
            return " (an empty item, or a quote that is not closed)";
        more = *s == ',';
        s = skip_blanks(s + more);
    }
    if (bracket != (*s == ']') || *skip_blanks(s + bracket))
        return " (brackets or commas do not match)";
    return bracket || items->count ? NULL : "";
}

static ts_status list_read(const ts_option *option, const char *text, list *items, ts_arena *arena, ts_error *err)
{
    size_t bytes = strlen(text) + 2;
    items->copy = ts_arena_alloc(arena, bytes);
    if (!items->copy)
        return ts_out_of_memory(err, bytes);
    items->copy[0] = '\0';
    const char *problem = list_split(text, items);
    return problem ? refuse(option, text, problem, err) : TS_OK;
}

static ts_status parse_ints(const ts_option *option, const char *text, ts_int_list *value, ts_arena *arena,
                            ts_error *err)
{
    list items = {0};
    TS_TRY(list_read(option, text, &items, arena, err));
    ts_int_list parsed = {.count = items.count};
    for (int i = 0; i < items.count; i++)
        if (items.quoted[i] || !read_int(option, items.item[i], &parsed.value[i]))
            return refuse(option, text, "", err);
    *value = parsed;
    return TS_OK;
}

static ts_status parse_strings(const ts_option *option, const char *text, ts_string_list *value, ts_arena *arena,
                               ts_error *err)
{
    list items = {0};
    TS_TRY(list_read(option, text, &items, arena, err));
    ts_string_list parsed = {.count = items.count};
    for (int i = 0; i < items.count; i++)
        parsed.value[i] = items.item[i];
    *value = parsed;
    return TS_OK;
}

ts_status ts_option_parse(const ts_option *option, const char *text, void *target, ts_arena *arena, ts_error *err)
{
    void *at = field(option, target);
    bool good = true;
    switch (option->type) {
    case TS_OPTION_INT:
        good = read_int(option, text, at);
        break;
    case TS_OPTION_REAL:
        good = read_real(option, text, at);
        break;
    case TS_OPTION_BOOL:
        good = read_bool(text, at);
        break;
    case TS_OPTION_STRING:
        return parse_string(text, at, arena, err);
    case TS_OPTION_CHOICE:
        return parse_choice(option, text, at, err);
    case TS_OPTION_INTS:
        return parse_ints(option, text, at, arena, err);
    case TS_OPTION_STRINGS:
        return parse_strings(option, text, at, arena, err);
    }
    return good ? TS_OK : refuse(option, text, "", err);
}

ts_status ts_options_default(const ts_option_table *table, void *target, ts_arena *arena, ts_error *err)
{
    memset(target, 0, table->struct_bytes);
    for (const ts_option *o = table->options; o->name; o++) {
        if (o->type == TS_OPTION_STRING)
            *(const char **)field(o, target) = "";
        if (!o->fallback)
            continue;
        ts_status status = ts_option_parse(o, o->fallback, target, arena, err);
        if (status == TS_OK)
            continue;
        ts_error_prefix(err, "default in option table '%s'", table->kind);
        if (err)
            err->code = TS_ERR_RUNTIME;
        return TS_ERR_RUNTIME;
    }
    return TS_OK;
}

/* --- printing --------------------------------------------------------------------------------------------------- */

/* The shortest of 15 to 17 digits that reads back as the same number; with a point in the mantissa, because YAML 1.1
 * readers take "1e-05" for text. */
static size_t print_real(double value, char *text, size_t bytes)
{
    char number[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(number, sizeof number, "%.*g", precision, value);
        if (strtod(number, NULL) == value)
            break;
    }
    char *e = strchr(number, 'e');
    if (!e || strchr(number, '.'))
        return ts_text_append(text, bytes, 0, "%s", number);
    return ts_text_append(text, bytes, 0, "%.*s.0%s", (int)(e - number), number, e);
}

static size_t print_ints(const ts_int_list *ints, char *text, size_t bytes)
{
    size_t used = ts_text_append(text, bytes, 0, "[");
    for (int i = 0; i < ints->count; i++)
        used = ts_text_append(text, bytes, used, "%s%" PRId64, i ? ", " : "", ints->value[i]);
    return ts_text_append(text, bytes, used, "]");
}

static size_t print_strings(const ts_string_list *strings, char *text, size_t bytes)
{
    size_t used = ts_text_append(text, bytes, 0, "[");
    for (int i = 0; i < strings->count; i++) {
        used = ts_text_append(text, bytes, used, "%s", i ? ", " : "");
        bool room = used < bytes;
        used += ts_text_quote(strings->value[i], false, room ? text + used : NULL, room ? bytes - used : 0);
    }
    return ts_text_append(text, bytes, used, "]");
}

size_t ts_option_print(const ts_option *option, const void *source, char *text, size_t bytes)
{
    const void *at = field_of(option, source);
    switch (option->type) {
    case TS_OPTION_INT:
        return ts_text_append(text, bytes, 0, "%" PRId64, *(const int64_t *)at);
    case TS_OPTION_REAL:
        return print_real(*(const double *)at, text, bytes);
    case TS_OPTION_BOOL:
        return ts_text_append(text, bytes, 0, "%s", *(const bool *)at ? "true" : "false");
    case TS_OPTION_STRING:
        return ts_text_append(text, bytes, 0, "%s", *(const char *const *)at);
    case TS_OPTION_CHOICE:
        return ts_text_append(text, bytes, 0, "%s", option->choices[*(const int *)at]);
    case TS_OPTION_INTS:
        return print_ints(at, text, bytes);
    case TS_OPTION_STRINGS:
        return print_strings(at, text, bytes);
    }
    return 0;
}

/* --- tables ----------------------------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n <= NAME_MAX_BYTES && name[n] == '\0' && strcmp(name, "kind") != 0;
}

static size_t field_bytes(ts_option_type type)
{
    static const size_t bytes[] = {
        [TS_OPTION_INT] = sizeof(int64_t),
        [TS_OPTION_REAL] = sizeof(double),
        [TS_OPTION_BOOL] = sizeof(bool),
        [TS_OPTION_STRING] = sizeof(char *),
        [TS_OPTION_CHOICE] = sizeof(int),
        [TS_OPTION_INTS] = sizeof(ts_int_list),
        [TS_OPTION_STRINGS] = sizeof(ts_string_list),
    };
    return bytes[type];
}

/* Each alias is there, fits, and finds the option. */
static bool aliases_are_sound(const ts_option_table *table, const ts_option *o)
{
    char alias[NAME_MAX_BYTES + 1];
    for (const char *rest = o->alias; next_alias(&rest, alias);)
        if (!*alias || ts_option_find(table, alias) != o)
            return false;
    return true;
}

/* Returns NULL, or what is wrong. */
static const char *option_problem(const ts_option_table *table, const ts_option *o)
{
    if (!is_name(o->name) || (o->alias && (strlen(o->alias) == 0 || strlen(o->alias) > NAME_MAX_BYTES)))
        return "name or alias is not [a-z0-9_]+ of at most 64 letters, or is 'kind'";
    if (ts_option_find(table, o->name) != o || !aliases_are_sound(table, o))
        return "another option has its name or alias";
    if (!o->help || !*o->help || strchr(o->help, '\n') || !ts_text_is_utf8(o->help))
        return "help is not one line";
    if (o->offset + field_bytes(o->type) > table->struct_bytes)
        return "field lies outside the struct";
    if ((o->type == TS_OPTION_CHOICE) != (o->choices && o->choices[0]))
        return "choices stand with a choice, and only there";
    if (!(o->min <= o->max))
        return "range is empty";
    if (!o->alias_choices != !o->alias_values || (o->alias_choices && !o->alias))
        return "the alias's choices and what they mean stand together, with an alias";
    return NULL;
}

/* As many meanings as choices, and each parses. */
static ts_status check_alias_values(const ts_option_table *table, void *target, ts_arena *arena, ts_error *err)
{
    for (const ts_option *o = table->options; o->name; o++)
        for (int i = 0; o->alias_choices && (o->alias_choices[i] || o->alias_values[i]); i++) {
            if (!o->alias_choices[i] || !o->alias_values[i])
                return ts_fail(err, TS_ERR_RUNTIME, "internal error: option table '%s': '%s': not a meaning a choice",
                               table->kind, o->alias);
            if (ts_option_parse(o, o->alias_values[i], target, arena, err) != TS_OK)
                return ts_fail(err, TS_ERR_RUNTIME, "internal error: option table '%s': '%s' %s has no meaning",
                               table->kind, o->alias, o->alias_choices[i]);
        }
    return TS_OK;
}

ts_status ts_option_table_check(const ts_option_table *table, ts_error *err)
{
    if (!table->kind || !table->help || strchr(table->help, '\n'))
        return ts_fail(err, TS_ERR_RUNTIME, "internal error: option table without kind or one line of help");
    for (const ts_option *o = table->options; o->name; o++) {
        const char *problem = option_problem(table, o);
        if (problem)
            return ts_fail(err, TS_ERR_RUNTIME, "internal error: option table '%s': '%s': %s", table->kind, o->name,
                           problem);
    }
    ts_arena arena = {0};
    void *target = ts_calloc(1, table->struct_bytes);
    ts_status status =
        target ? ts_options_default(table, target, &arena, err) : ts_out_of_memory(err, table->struct_bytes);
    if (status == TS_OK)
        status = check_alias_values(table, target, &arena, err);
    ts_free(target);
    ts_arena_clear(&arena);
    return status;
}
