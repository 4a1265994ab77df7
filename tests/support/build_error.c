#include "tests/support/build_error.h"

#include <criterion/criterion.h>
#include <string.h>

void expect_build_error(ts_value (*build)(const ts_value *in), int count, const ts_type *types, const char *op,
                        const char *text)
{
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value in[TS_MAX_IN];
    for (int i = 0; i < count; i++)
        in[i] = ts_input(g, "x", types[i].dtype, types[i].shape);
    cr_assert(!ts_present(build(in)), "%s took operands that should give \"%s\"", op, text);
    ts_error err = {0};
    cr_assert_eq(ts_graph_check(g, &err), TS_ERR_USAGE);
    size_t length = strlen(op);
    cr_assert(strncmp(err.text, op, length) == 0 && err.text[length] == ':', "expected \"%s: \" before: %s", op,
              err.text);
    cr_assert(strstr(err.text, text), "expected \"%s\" in: %s", text, err.text);
    ts_graph_free(g);
}
