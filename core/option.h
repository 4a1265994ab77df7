/* Option tables: what a kind (a data set, a model, a quantizer, the trainer) can be told. One table is the schema that
 * a config is checked against, the defaults, the help text, the man page and the nearest name for a typo. Plain data:
 * core knows nothing of YAML. A table belongs to a struct; an option is a typed field of it. */
#ifndef TS_CORE_OPTION_H
#define TS_CORE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

typedef enum {
    TS_OPTION_INT,     /* int64_t */
    TS_OPTION_REAL,    /* double */
    TS_OPTION_BOOL,    /* bool: true/false/yes/no/on/off, nothing else */
    TS_OPTION_STRING,  /* const char *, never NULL; owned by the arena that the reader was given */
    TS_OPTION_CHOICE,  /* int, an index into choices */
    TS_OPTION_INTS,    /* ts_int_list */
    TS_OPTION_STRINGS, /* ts_string_list */
} ts_option_type;

enum { TS_MAX_INTS = 16, TS_MAX_STRINGS = 16 };

typedef struct {
    int count;
    int64_t value[TS_MAX_INTS];
} ts_int_list;

typedef struct {
    int count;
    const char *value[TS_MAX_STRINGS];
} ts_string_list;

typedef struct {
    const char *name;           /* key in its section: "batch" in train.batch */
    ts_option_type type;        /* type of the field at `offset` */
    size_t offset;              /* of the field in the options struct */
    const char *fallback;       /* the default as it would be typed: "256", "[8, 6, 5]", "adamw"; NULL: must be given */
    const char *help;           /* one line: what it does, unit, source where it has one */
    const char *const *choices; /* TS_OPTION_CHOICE: NULL-terminated names */
    double min, max;   /* inclusive, for INT, REAL and each of INTS; both 0: unlimited; INFINITY: on one side */
    const char *alias; /* what users of the peers type ("nb_code, codebook_size"), or NULL */
    /* Where the aliases take other values than the name does: what may be typed behind one, NULL-terminated, and
     * what each of them means, as it would be typed behind the name. NULL: the same values. */
    const char *const *alias_choices, *const *alias_values;
} ts_option;

/* A table: options ended by one with name NULL. */
typedef struct {
    const char *kind;         /* "finite_scalar", "train" ...: for messages and help */
    const char *help;         /* one line */
    const ts_option *options; /* ends with {0} */
    size_t struct_bytes;      /* size of the struct that it fills */
} ts_option_table;

/* Fills *target (struct_bytes of it are zeroed first) with the defaults; strings go into the arena. An option that must
 * be given is left at 0, the empty text, the first choice, the empty list.
 * Errors: TS_ERR_RUNTIME out of memory or a fallback that does not parse (a mistake in the table). */
ts_status ts_options_default(const ts_option_table *table, void *target, ts_arena *arena, ts_error *err);

/* Parses `text` as the option's type into its field. What counts as what:
 *   INT      decimal digits with an optional minus: no "1e6", no "0x10", no leading zero
 *   REAL     a decimal number, with exponent if wanted; finite
 *   STRING   the text as it is
 *   INTS     "[8, 6, 5]", and without the brackets "8,6,5"
 *   STRINGS  the same; an item with a comma, a bracket, a quote or spaces at its ends stands in double quotes
 * Errors: TS_ERR_USAGE naming the option, what was expected (type, range, choices with the nearest one) and what was
 * found; then the field is unchanged. TS_ERR_RUNTIME out of memory. */
ts_status ts_option_parse(const ts_option *option, const char *text, void *target, ts_arena *arena, ts_error *err);

/* The field's value as it would be typed, into `text` (cut where too long); parsing it gives the same value, bit for
 * bit. Returns its length without the cut, as snprintf does (text NULL and bytes 0: only that). */
size_t ts_option_print(const ts_option *option, const void *source, char *text, size_t bytes);

/* "an integer from 1 to 65536", "one of adamw, sgd": what the option accepts, into `text`. Returns text. */
const char *ts_option_describe(const ts_option *option, char *text, size_t bytes);

/* The option called `name` (or with that alias); NULL where there is none. */
const ts_option *ts_option_find(const ts_option_table *table, const char *name);

/* The name of the option whose name or alias is nearest to `typed`, or NULL (see ts_nearest_name). */
const char *ts_option_nearest(const ts_option_table *table, const char *typed);

/* The name in `names` (NULL-terminated) nearest to `typed` by edit distance (insert, delete, replace, swap of two
 * neighbours), or NULL where none is close enough to be what was meant (more than a third of its letters differ, or
 * it has fewer than four: "gpu" is no typo of "cpu"). */
const char *ts_nearest_name(const char *typed, const char *const *names);

/* A table is data that somebody typed: this checks what a compiler cannot. Names are [a-z0-9_]+, each name and alias is
 * there once and none is "kind", every field lies in the struct, every option has help of one line, defaults and what
 * aliases mean parse.
 * For tests. Errors: TS_ERR_RUNTIME naming table and option. */
ts_status ts_option_table_check(const ts_option_table *table, ts_error *err);

#endif
