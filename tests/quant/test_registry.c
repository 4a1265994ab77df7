#include <criterion/criterion.h>
#include <string.h>

#include "autograd/graph.h"
#include "quant/quantizer.h"

/* What every kind owes: a name that finds it, a table that is sound, formulas to explain it, and an update where there
 * is an init. */
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
        cr_assert(!kind->init || kind->update, "%s", kind->name);
        cr_assert(kind->formulas && kind->formulas[strlen(kind->formulas) - 1] == '\n', "%s", kind->name);
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
