#include <criterion/criterion.h>
#include <stdalign.h>

#include "autograd/graph.h"
#include "core/formula.h"
#include "quant/quantizer.h"

static void count_line(void *user, ts_formula_section section, const char *text)
{
    cr_assert(*text, "an empty line");
    ((int *)user)[section]++;
}

/* They fit the table, with its defaults; a kind with a state says how it moves. */
static void check_formulas(const ts_quantizer_kind *kind)
{
    alignas(16) char options[4096];
    int lines[TS_FORMULA_SECTION_COUNT] = {0};
    ts_arena arena = {0};
    ts_error err = {0};
    cr_assert_leq(kind->table->struct_bytes, sizeof options);
    cr_assert_eq(ts_options_default(kind->table, options, &arena, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_formulas(kind->formulas, kind->table, options, count_line, lines, &err), TS_OK, "%s", err.text);
    cr_assert(lines[TS_FORMULA_FORWARD] && (lines[TS_FORMULA_GRADIENT] || lines[TS_FORMULA_LOSS]), "%s", kind->name);
    cr_assert(!kind->update || lines[TS_FORMULA_UPDATE], "%s", kind->name);
    ts_arena_clear(&arena);
}

/* What every kind owes: a name that finds it, a table that is sound, formulas to explain it. */
Test(quant_registry, every_kind_is_whole)
{
    int count = 0;
    for (; ts_quantizer_kinds[count]; count++) {
        const ts_quantizer_kind *kind = ts_quantizer_kinds[count];
        ts_error err = {0};
        cr_assert_eq(ts_quantizer_find(kind->name), kind);
        cr_assert_str_eq(kind->table->kind, kind->name);
        cr_assert_eq(ts_option_table_check(kind->table, &err), TS_OK, "%s", err.text);
        cr_assert(kind->info && kind->build && kind->decode);
        check_formulas(kind);
    }
    cr_assert_geq(count, 4);
    cr_assert_null(ts_quantizer_find("finite-scalar"));
}

Test(quant_registry, total_of_losses)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_quantized q = {0};
    cr_assert_null(ts_quantized_total(&q).graph);
    ts_quantized_loss(&q, "commitment", ts_input(g, "a", TS_F32, ts_shape_of()), 0.25);
    ts_quantized_loss(&q, "codebook", ts_input(g, "b", TS_F32, ts_shape_of()), 1);
    cr_assert(ts_present(ts_quantized_total(&q)) && q.loss_count == 2);
    ts_graph_free(g);
}
