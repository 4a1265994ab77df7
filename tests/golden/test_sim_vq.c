/* Every SimVQ case of the golden files, the project's own and those among the shared vector quantizers, on the
 * reference loops and on the CPU kernels. */
#include <criterion/criterion.h>
#include <string.h>

#include "autograd/differentiate.h"
#include "autograd/ops.h"
#include "quant/sim_vq.h"
#include "tests/golden/bench.h"
#include "tests/golden/walk.h"

static void training(golden_bench *b, const ts_sim_vq_options *o)
{
    golden_graph g;
    ts_quantized q;
    golden_graph_open(&g, b, TS_TRAIN);
    ts_value x = golden_graph_input(&g, "", "in/x");
    ts_sim_vq_kind.build(g.scope, o, x, &q);
    golden_graph_expect(&g, q.codes, "out/quantized");
    golden_graph_expect(&g, q.ids, "out/indices");
    golden_graph_expect(&g, ts_quantized_total(&q), "out/losses");
    ts_value weight = golden_graph_variable(&g, "code_transform.weight");
    ts_value frozen = golden_graph_variable(&g, "frozen_codebook");
    golden_graph_expect(&g, ts_linear(frozen, weight, TS_ABSENT), "out/codebook");
    ts_value wrt[2] = {x, weight}, gradient[2];
    ts_value weighted = ts_mul(q.codes, golden_graph_input(&g, "", "in/r"));
    ts_differentiate(ts_add(ts_quantized_total(&q), ts_sum_all(weighted)), 2, wrt, gradient);
    golden_graph_expect(&g, gradient[0], "grad/x");
    golden_graph_expect(&g, gradient[1], "grad/param/code_transform.weight");
    golden_bench_seal(b);
    golden_bench_load(b, "code_transform.weight", "init/code_transform.weight");
    golden_bench_load(b, "frozen_codebook", "init/frozen_codebook");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

static void decoding(golden_bench *b, const ts_sim_vq_options *o)
{
    golden_graph g;
    golden_graph_open(&g, b, TS_INFER);
    ts_value ids = golden_graph_input(&g, "", "out/indices");
    ts_shape shape = ts_value_shape(ids);
    shape.dim[shape.rank++] = 1;
    golden_graph_expect(&g, ts_sim_vq_kind.decode(g.scope, o, ts_reshape(ids, shape)), "probe/codes");
    if (golden_graph_plan(&g))
        golden_graph_run(&g, "");
    golden_graph_close(&g);
}

static void check(golden_case *c, ts_device *device)
{
    golden_bench b;
    ts_sim_vq_options o = {.codes = golden_int(c, "codebook_size"),
                           .dim = golden_int(c, "dim"),
                           .frozen_dim = golden_int_or(c, "frozen_codebook_dim", 0),
                           .rotation = golden_int_or(c, "rotation_trick", 1),
                           .commitment = 0.25,
                           .codebook = 1};
    if (strcmp(golden_text_or(c, "klass", ""), "SimVQ") != 0)
        golden_fail(c, "the class is not SimVQ");
    golden_bench_open(&b, c, device);
    training(&b, &o);
    decoding(&b, &o);
    golden_bench_close(&b);
}

Test(golden_sim_vq, own)
{
    golden_expect_own("sim_vq.h5", "ref", 4, check);
    golden_expect_own("sim_vq.h5", "cpu", 4, check);
}

Test(golden_sim_vq, shared)
{
    static const char *const cases[] = {"simvq", "simvq_ste", NULL};
    golden_expect_shared_cases("vq_lucidrains.h5", "ref", cases, check);
    golden_expect_shared_cases("vq_lucidrains.h5", "cpu", cases, check);
}

static bool is_result(const golden_case *c, const char *path)
{
    (void)c;
    return strncmp(path, "in/", 3) != 0 && strncmp(path, "init/", 5) != 0;
}

Test(golden_sim_vq, every_number_is_compared)
{
    golden_expect_no_blind_spot("sim_vq.h5", 28, is_result, check);
}

Test(golden_sim_vq, what_is_not_understood_fails_by_name)
{
    golden_expect_failure(GOLDEN_WALK_OF(check, GOLDEN_NUMBER("odd/in/x", 1)),
                          "odd: attribute codebook_size is missing");
}
