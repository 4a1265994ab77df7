#include "core/formula.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [TS_FORMULA_FORWARD] = "forward", [TS_FORMULA_LOSS] = "loss",     [TS_FORMULA_GRADIENT] = "gradient",
    [TS_FORMULA_START] = "start",     [TS_FORMULA_UPDATE] = "update",
};

const char *ts_formula_section_name(ts_formula_section section)
{
    return names[section];
}

typedef struct {
    const ts_option_table *table;
    const void *options;
    char text[TS_FORMULA_LINE_BYTES]; /* the line, with values; `used` of it */
    size_t used;
    int section; /* -1: none yet */
} reader;

static ts_status mistake(const reader *r, const char *line, const char *what, ts_error *err)
{
    return ts_fail(err, TS_ERR_RUNTIME, "%s: formulas: %s: %.*s", r->table->kind, what, (int)strcspn(line, "\n"), line);
}

/* The option called by the `bytes` at `name`; NULL: there is none. */
static const ts_option *option_at(const reader *r, const char *name, size_t bytes)
{
    for (const ts_option *o = r->table->options; o->name; o++)
        if (strlen(o->name) == bytes && memcmp(o->name, name, bytes) == 0)
            return o;
    return NULL;
}

static bool is_set(const ts_option *o, const void *options)
{
    const void *at = (const char *)options + o->offset;
    switch (o->type) {
    case TS_OPTION_INT:
        return *(const int64_t *)at != 0;
    case TS_OPTION_REAL:
        return *(const double *)at < 0 || *(const double *)at > 0;
    case TS_OPTION_BOOL:
        return *(const bool *)at;
    case TS_OPTION_STRING:
        return **(const char *const *)at != 0;
    case TS_OPTION_INTS:
        return ((const ts_int_list *)at)->count != 0;
    case TS_OPTION_STRINGS:
        return ((const ts_string_list *)at)->count != 0;
    default:
        return true;
    }
}

/* Can the option be written like these `bytes`? Only a choice knows. */
static bool is_value(const ts_option *o, const char *text, size_t bytes)
{
    bool found = o->type != TS_OPTION_CHOICE;
    for (int i = 0; !found && o->choices[i]; i++)
        found = strlen(o->choices[i]) == bytes && memcmp(o->choices[i], text, bytes) == 0;
    return found;
}

/* One "[...]" at *at, which moves behind it; *holds becomes false where it does not hold. */
static ts_status condition(const reader *r, const char **at, bool *holds, ts_error *err)
{
    const char *line = *at, *name = line + 1;
    bool negated = *name == '!';
    name += negated;
    size_t bytes = strcspn(name, "]\n");
    if (name[bytes] != ']')
        return mistake(r, line, "no ] behind the condition", err);
    size_t stem = strcspn(name, "=]");
    const ts_option *o = option_at(r, name, stem);
    if (!o)
        return mistake(r, line, "a condition on no option of the table", err);
    char value[TS_FORMULA_LINE_BYTES];
    bool is = false;
    if (stem == bytes) {
        if (o->type == TS_OPTION_CHOICE)
            return mistake(r, line, "a choice needs =value in its condition", err);
        is = is_set(o, r->options);
    } else {
        const char *text = name + stem + 1;
        size_t length = bytes - stem - 1;
        if (!is_value(o, text, length))
            return mistake(r, line, "no value of that option", err);
        ts_option_print(o, r->options, value, sizeof value);
        is = strlen(value) == length && memcmp(value, text, length) == 0;
    }
    *holds = *holds && is != negated;
    *at = name + bytes + 1;
    return TS_OK;
}

static ts_status put(reader *r, const char *text, size_t bytes, const char *line, ts_error *err)
{
    if (r->used + bytes >= sizeof r->text)
        return mistake(r, line, "the line is too long", err);
    memcpy(r->text + r->used, text, bytes);
    r->used += bytes;
    r->text[r->used] = 0;
    return TS_OK;
}

/* The rest of a line, with the values of its options. */
static ts_status fill(reader *r, const char *at, ts_error *err)
{
    const char *line = at;
    r->text[r->used = 0] = 0;
    while (*at && *at != '\n') {
        size_t plain = strcspn(at, "{\n");
        TS_TRY(put(r, at, plain, line, err));
        at += plain;
        if (*at != '{')
            continue;
        size_t bytes = strcspn(++at, "}\n");
        const ts_option *o = at[bytes] == '}' ? option_at(r, at, bytes) : NULL;
        if (!o)
            return mistake(r, line, "braces around what is no option of the table", err);
        char value[TS_FORMULA_LINE_BYTES];
        size_t length = ts_option_print(o, r->options, value, sizeof value);
        if (length >= sizeof value)
            return mistake(r, line, "the line is too long", err);
        TS_TRY(put(r, value, length, line, err));
        at += bytes + 1;
    }
    return TS_OK;
}

static ts_status begin_section(reader *r, const char *line, ts_error *err)
{
    size_t bytes = strcspn(line + 1, "\n");
    for (int i = 0; i < TS_FORMULA_SECTION_COUNT; i++)
        if (strlen(names[i]) == bytes && memcmp(names[i], line + 1, bytes) == 0) {
            r->section = i;
            return TS_OK;
        }
    return mistake(r, line, "no such section", err);
}

ts_status ts_formulas(const char *formulas, const ts_option_table *table, const void *options, ts_formula_line line,
                      void *user, ts_error *err)
{
    reader r = {.table = table, .options = options, .section = -1};
    for (const char *at = formulas; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (*at == '@') {
            TS_TRY(begin_section(&r, at, err));
            continue;
        }
        if (r.section < 0)
            return mistake(&r, at, "a line before the first section", err);
        bool holds = true;
        while (*at == '[')
            TS_TRY(condition(&r, &at, &holds, err));
        TS_TRY(fill(&r, at, err));
        if (holds)
            line(user, (ts_formula_section)r.section, r.text);
    }
    return TS_OK;
}
