/* A whole model: the classic image VQ-VAE with the codebook by gradient and by moving averages. The same weights in,
 * three steps of Adam; outputs, losses, every gradient of the first step and every parameter afterwards. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/ops.h"
#include "models/image_classic.h"
#include "models/published_names.h"
#include "models/tokenizer.h"
#include "quant/vector.h"
#include "tests/golden/steps.h"
#include "tests/golden/walk.h"

typedef struct {
    golden_case *c;
    double variance;
    ts_image_classic_options model;
    ts_vector_options vector;
    ts_vector_ema_options ema;
    ts_tokenizer tokenizer;
    ts_tensor x; /* [steps, B, C, H, W] */
    golden_bench bench;
    golden_graph graph;
    golden_steps steps;
    ts_value in_x;
} image_case;

/* ---- names ---- */

static const char *path_of(void *user, const ts_variable *v, golden_moment moment, int step)
{
    static const char *const prefixes[] = {"param/", "step0/grad/", "step0/after/", NULL, "step2/after/"};
    const char *prefix = prefixes[moment == GOLDEN_AFTER ? 2 + step : (int)moment];
    image_case *t = user;
    return prefix ? ts_arena_format(&t->c->arena, "%s%s", prefix,
                                    ts_published_name(&t->tokenizer, TS_PUBLISHED_PLAIN, v->path, &t->c->arena))
                  : NULL;
}

/* ---- building ---- */

static void read_attributes(image_case *t)
{
    golden_case *c = t->c;
    t->variance = golden_real(c, "data_variance");
    t->model = (ts_image_classic_options){.hidden = golden_int(c, "num_hiddens"),
                                          .residual_hidden = golden_int(c, "num_residual_hiddens"),
                                          .residual_layers = golden_int(c, "num_residual_layers")};
    int64_t codes = golden_int(c, "num_embeddings"), dim = golden_int(c, "embedding_dim");
    double commitment = golden_real(c, "commitment_cost"), decay = golden_real(c, "decay");
    t->vector = (ts_vector_options){.codes = codes, .dim = dim, .commitment = commitment, .codebook = 1};
    t->ema =
        (ts_vector_ema_options){.codes = codes, .dim = dim, .commitment = commitment, .decay = decay, .epsilon = 1e-5};
    golden_int_or(c, "seed", 0);
    golden_text_or(c, "note_ema", "");
    t->x = *golden_tensor(c, "in/x");
    t->tokenizer = (ts_tokenizer){.model = &ts_image_classic_kind,
                                  .model_options = &t->model,
                                  .quantizer = decay > 0 ? &ts_vector_ema_kind : &ts_vector_kind,
                                  .quantizer_options = decay > 0 ? (void *)&t->ema : (void *)&t->vector};
}

static bool check_shapes(image_case *t)
{
    ts_error err = {0};
    const int64_t *dim = t->x.shape.dim;
    int64_t size = golden_int(t->c, "image_size");
    if (t->x.shape.rank != 5 || dim[3] != size || dim[4] != size)
        golden_fail(t->c, "in/x is %s, expected images of %lld", ts_shape_print(t->x.shape).text, (long long)size);
    t->tokenizer.item = ts_shape_of(dim[3], dim[4], dim[2]);
    if (ts_tokenizer_check(&t->tokenizer, &err) != TS_OK)
        golden_fail(t->c, "%s", err.text);
    return !t->c->failure[0];
}

/* loss = mse(recon, x) / variance + the quantizer's */
static ts_value build_forward(image_case *t, ts_quantized *q)
{
    golden_graph *g = &t->graph;
    const int64_t *dim = t->x.shape.dim;
    t->in_x = ts_input(g->scope.graph, "x", TS_F32, ts_shape_of(dim[1], dim[3], dim[4], dim[2]));
    ts_tokenized f = ts_tokenizer_forward(g->scope, &t->tokenizer, t->in_x, TS_ABSENT);
    ts_value error = ts_scale(ts_mse(f.y, t->in_x), 1 / t->variance), vq = ts_quantized_total(&f.q);
    ts_value loss = ts_add(error, vq);
    *q = f.q;
    golden_graph_expect(g, f.z, "z_e");
    golden_graph_expect(g, f.y, "recon");
    golden_graph_expect(g, f.q.ids, "indices");
    golden_graph_expect(g, error, "recon_error");
    golden_graph_expect(g, vq, "vq_loss");
    golden_graph_expect(g, loss, "loss");
    golden_graph_expect_usage(g, f.q.ids, t->tokenizer.info.codes, 1e-10, "perplexity", NULL);
    return loss;
}

static void build_step(image_case *t)
{
    ts_quantized q;
    ts_value statistics[TS_MAX_STATISTICS], loss = build_forward(t, &q);
    golden_bench_seal(&t->bench);
    golden_steps_read(&t->steps);
    golden_steps_build(&t->steps, loss);
    for (int i = 0; i < q.statistic_count; i++)
        statistics[i] = q.statistics[i].value;
    ts_quantizer_update(t->tokenizer.quantizer, ts_sub(t->graph.scope, "quantizer"), t->tokenizer.quantizer_options,
                        statistics, q.statistic_count, TS_ABSENT);
}

static void run_step(image_case *t, int step)
{
    ts_tensor x = t->x;
    x.shape = ts_shape_from(4, t->x.shape.dim + 1);
    x.data = (char *)t->x.data + (size_t)step * ts_tensor_bytes(&x);
    x = golden_channels_last(t->c, &x);
    ts_program_set(t->graph.program, t->in_x, x.data);
    golden_steps_run(&t->steps, step);
}

static void check(golden_case *c, ts_device *device)
{
    image_case t = {.c = c};
    read_attributes(&t);
    if (!check_shapes(&t))
        return;
    golden_bench_open(&t.bench, c, device);
    golden_graph_open(&t.graph, &t.bench, TS_TRAIN);
    t.graph.channels_last = true;
    t.graph.floor = 0;
    t.steps = (golden_steps){.graph = &t.graph, .user = &t, .path_of = path_of, .coupled = true};
    build_step(&t);
    if (golden_graph_plan(&t.graph))
        for (int step = 0; step < t.x.shape.dim[0]; step++)
            run_step(&t, step);
    golden_graph_close(&t.graph);
    golden_bench_close(&t.bench);
}

Test(golden_image, own_on_ref)
{
    golden_expect_own("vqvae_image.h5", "ref", 2, check);
}

Test(golden_image, own_on_cpu)
{
    golden_expect_own("vqvae_image.h5", "cpu", 2, check);
}

Test(golden_image, own_on_cuda)
{
    golden_expect_own("vqvae_image.h5", "cuda", 2, check);
}

Test(golden_image, shared_on_cuda)
{
    golden_expect_shared("vqvae_image.h5", "cuda", 2, check);
}

Test(golden_image, shared_on_ref)
{
    golden_expect_shared("vqvae_image.h5", "ref", 2, check);
}

Test(golden_image, shared_on_cpu)
{
    golden_expect_shared("vqvae_image.h5", "cpu", 2, check);
}

static bool is_result(const golden_case *c, const char *path)
{
    (void)c;
    return strncmp(path, "step", 4) == 0;
}

Test(golden_image, every_number_is_compared)
{
    golden_expect_no_blind_spot("vqvae_image.h5", 150, is_result, check);
}
