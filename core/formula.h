/* Formulas as text: what a kind computes, with the options of its table filled in, and only the lines that those
 * options put in force. A kind's formulas are one string, a line a formula:
 *
 *     @loss                                       the lines below say what goes into the loss
 *     [commitment]total += {commitment} * mean((z - sg(e_k))^2)
 *     @update
 *     [!averages=zalando]n = {decay} * n + ...
 *
 *   @section     one of forward, loss, gradient, start, update; before the first there is no line
 *   [name]       the line is in force where the option is true, not 0, not empty
 *   [name=text]  where its value is written like this;  [!name], [!name=text]: where not
 *                several in a row: where all hold
 *   {name}       the option's value, as it would be typed */
#ifndef TS_CORE_FORMULA_H
#define TS_CORE_FORMULA_H

#include "core/option.h"

typedef enum {
    TS_FORMULA_FORWARD,  /* from z to ids and codes */
    TS_FORMULA_LOSS,     /* terms of the total loss */
    TS_FORMULA_GRADIENT, /* where it is not that of the formulas above */
    TS_FORMULA_START,    /* what the first step begins with */
    TS_FORMULA_UPDATE,   /* what a step changes */
    TS_FORMULA_SECTION_COUNT
} ts_formula_section;

const char *ts_formula_section_name(ts_formula_section section);

typedef void (*ts_formula_line)(void *user, ts_formula_section section, const char *text);

enum { TS_FORMULA_LINE_BYTES = 512 };

/* Calls `line` for each line in force, in order; `options` is the struct of `table`.
 * Errors: TS_ERR_RUNTIME for a mistake in the text, quoting the line: an unknown section or option, a condition that
 * can never hold, a bracket that is not closed, a line before the first section, a line that is too long. All lines are
 * checked, in force or not. */
ts_status ts_formulas(const char *formulas, const ts_option_table *table, const void *options, ts_formula_line line,
                      void *user, ts_error *err);

#endif
