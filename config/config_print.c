/* A resolved config back to text: YAML, single values, differences. */
#include <stdlib.h>
#include <string.h>

#include "config/config_entry.h"
#include "core/text.h"

enum { COMMENT_COLUMN = 28 };

static size_t print_value(const ts_option *option, const void *options, bool yaml, char *text, size_t bytes)
{
    const void *field = (const char *)options + option->offset;
    if (yaml && option->type == TS_OPTION_STRING)
        return ts_text_quote(*(const char *const *)field, false, text, bytes);
    if (yaml && option->type == TS_OPTION_CHOICE)
        return ts_text_quote(option->choices[*(const int *)field], false, text, bytes);
    return ts_option_print(option, options, text, bytes);
}

char *ts_config_value(const ts_option *option, const void *options, bool yaml)
{
    size_t bytes = print_value(option, options, yaml, NULL, 0) + 1;
    char *text = ts_alloc(bytes);
    if (text)
        print_value(option, options, yaml, text, bytes);
    return text;
}

/* "key: value", and the comment from a common column on where there is one. */
static void write_line(FILE *out, int indent, const char *key, const char *value, const char *comment)
{
    int n = fprintf(out, "%*s%s:%s%s", indent, "", key, *value ? " " : "", value);
    if (comment)
        fprintf(out, "%*s# %s", n < COMMENT_COLUMN ? COMMENT_COLUMN - n : 2, "", comment);
    fputc('\n', out);
}

/* From ts_alloc, NULL when out of memory. */
static char *quoted(const char *text)
{
    size_t bytes = ts_text_quote(text, false, NULL, 0) + 1;
    char *copy = ts_alloc(bytes);
    if (copy)
        ts_text_quote(text, false, copy, bytes);
    return copy;
}

void ts_config_write_head(FILE *out, const ts_config_section *section, int kind, bool commented)
{
    write_line(out, 0, section->name, "", commented ? section->help : NULL);
    if (ts_config_has_kinds(section))
        write_line(out, 2, "kind", section->kinds[kind]->kind, commented ? section->kinds[kind]->help : NULL);
}

bool ts_config_write_table(FILE *out, const ts_option_table *table, const void *options, int indent, bool commented,
                           required_style required)
{
    for (const ts_option *o = table->options; o->name; o++) {
        char accepts[300], comment[700];
        bool empty = required == REQUIRED_EMPTY && !o->fallback;
        ts_option_describe(o, accepts, sizeof accepts);
        ts_text_append(comment, sizeof comment, 0, "%s (%s%s)", o->help, empty ? "must be given: " : "", accepts);
        char *value = empty ? ts_strdup("") : ts_config_value(o, options, true);
        if (!value)
            return false;
        write_line(out, indent, o->name, value, commented ? comment : NULL);
        ts_free(value);
    }
    return true;
}

/* Keys of the file's own; a key without a value stays one. */
static bool write_pairs(FILE *out, const config_part *part, bool commented)
{
    write_line(out, 0, part->section->name, part->first ? "" : "{}", commented ? part->section->help : NULL);
    for (const config_entry *e = part->first; e; e = e->next) {
        char *key = quoted(e->key), *text = *e->text ? quoted(e->text) : ts_strdup("");
        bool good = key && text;
        if (good)
            write_line(out, 2, key, text, NULL);
        ts_free(key);
        ts_free(text);
        if (!good)
            return false;
    }
    return true;
}

/* A section without any key is "name: {}", which reads as a mapping where "name:" reads as nothing. */
static bool write_part(FILE *out, const config_part *part, bool commented)
{
    if (!part->section)
        return ts_config_write_table(out, part->table, part->options, 0, commented, REQUIRED_AS_GIVEN);
    fputc('\n', out);
    if (!part->section->kinds)
        return write_pairs(out, part, commented);
    if (!ts_config_has_kinds(part->section) && !part->table->options[0].name) {
        write_line(out, 0, part->section->name, "{}", commented ? part->section->help : NULL);
        return true;
    }
    ts_config_write_head(out, part->section, part->kind, commented);
    return ts_config_write_table(out, part->table, part->options, 2, commented, REQUIRED_AS_GIVEN);
}

ts_status ts_config_print(const ts_config *config, bool commented, char **text, ts_error *err)
{
    size_t bytes = 0;
    *text = NULL;
    FILE *out = open_memstream(text, &bytes);
    if (!out)
        return ts_out_of_memory(err, 0);
    bool good = true;
    for (int i = 0; i < config->part_count && good; i++)
        good = write_part(out, &config->part[i], commented);
    good &= !ferror(out);
    good &= fclose(out) == 0;
    if (good)
        return TS_OK;
    free(*text);
    *text = NULL;
    return ts_out_of_memory(err, bytes);
}

/* --- differences -------------------------------------------------------------------------------------------------- */

/* Text of the part's option called name, "-" where its kind has none; NULL when out of memory. */
static char *text_or_dash(const config_part *part, const char *name)
{
    const ts_option *option = ts_option_find(part->table, name);
    return option ? ts_config_value(option, part->options, true) : ts_strdup("-");
}

/* Returns 1 for a difference, 0 for none, -1 when out of memory. */
static int diff_key(const config_part *before, const config_part *after, const char *name, FILE *out)
{
    char *a = text_or_dash(before, name), *b = text_or_dash(after, name);
    int differs = a && b ? strcmp(a, b) != 0 : -1;
    if (out && differs > 0)
        fprintf(out, "%s%s%s: %s -> %s\n", before->section ? before->section->name : "", before->section ? "." : "",
                name, a, b);
    ts_free(a);
    ts_free(b);
    return differs;
}

static int diff_part(const config_part *before, const config_part *after, FILE *out)
{
    int count = before->kind != after->kind;
    if (out && count)
        fprintf(out, "%s.kind: %s -> %s\n", before->section->name, before->table->kind, after->table->kind);
    for (const ts_option *o = before->table->options; o->name; o++) {
        int differs = diff_key(before, after, o->name, out);
        if (differs < 0)
            return -1;
        count += differs;
    }
    for (const ts_option *o = after->table->options; o->name; o++) {
        const ts_option *same = ts_option_find(before->table, o->name);
        int differs = same && strcmp(same->name, o->name) == 0 ? 0 : diff_key(before, after, o->name, out);
        if (differs < 0)
            return -1;
        count += differs;
    }
    return count;
}

int ts_config_diff(const ts_config *before, const ts_config *after, FILE *out)
{
    int count = 0;
    for (int i = 0; i < before->part_count; i++) {
        int differs = diff_part(&before->part[i], &after->part[i], out);
        if (differs < 0)
            return -1;
        count += differs;
    }
    return count;
}
