#include "models/tokenizer.h"

#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/mask.h"
#include "core/memory.h"

ts_status ts_tokenizer_check(ts_tokenizer *t, ts_error *err)
{
    TS_TRY(ts_quantizer_describe(t->quantizer, t->quantizer_options, &t->info, err));
    return t->model->check(t->model_options, t->item, &t->tokens, err);
}

ts_value ts_tokenizer_z(ts_scope s, const ts_tokenizer *t, ts_value x)
{
    ts_graph_set_rounding(s.graph, true);
    ts_value z = t->model->encode(ts_sub(s, "encoder"), t->model_options, x, t->info.width);
    ts_graph_set_rounding(s.graph, false);
    return z;
}

static ts_value decoder(ts_scope s, const ts_tokenizer *t, ts_value codes)
{
    ts_graph_set_rounding(s.graph, true);
    ts_value y = t->model->decode(ts_sub(s, "decoder"), t->model_options, codes, t->item.dim[t->item.rank - 1]);
    ts_graph_set_rounding(s.graph, false);
    return y;
}

ts_tokenized ts_tokenizer_forward(ts_scope s, const ts_tokenizer *t, ts_value x, ts_value continuous)
{
    ts_tokenized r = {.z = ts_tokenizer_z(s, t, x)};
    ts_quantize(t->quantizer, ts_sub(s, "quantizer"), t->quantizer_options, r.z, &r.q);
    ts_value codes = continuous.graph ? ts_where(continuous, ts_mask_rows(r.z, s.mask), r.q.codes) : r.q.codes;
    r.y = decoder(s, t, codes);
    return r;
}

ts_status ts_tokenizer_variables(const ts_tokenizer *t, ts_store *store, ts_error *err)
{
    ts_graph *g = ts_graph_new(TS_F32);
    if (!g)
        return ts_out_of_memory(err, 0);
    ts_shape shape = {.rank = t->item.rank + 1, .dim = {1}};
    memcpy(shape.dim + 1, t->item.dim, (size_t)t->item.rank * sizeof *t->item.dim);
    ts_scope s = {.graph = g, .store = store, .path = "", .mode = TS_EVAL, .block = TS_BLOCK_VALUE};
    ts_tokenizer_forward(s, t, ts_input(g, "x", TS_F32, shape), TS_ABSENT);
    ts_status status = ts_graph_check(g, err);
    ts_graph_free(g);
    return status;
}

ts_value ts_tokenizer_encode(ts_scope s, const ts_tokenizer *t, ts_value x)
{
    ts_quantized q;
    ts_quantize(t->quantizer, ts_sub(s, "quantizer"), t->quantizer_options, ts_tokenizer_z(s, t, x), &q);
    return q.ids;
}

ts_value ts_tokenizer_codes(ts_scope s, const ts_tokenizer *t, ts_value ids)
{
    return ts_dequantize(t->quantizer, ts_sub(s, "quantizer"), t->quantizer_options, ids);
}

ts_value ts_tokenizer_decode(ts_scope s, const ts_tokenizer *t, ts_value ids)
{
    return decoder(s, t, ts_tokenizer_codes(s, t, ids));
}

void ts_tokenizer_init(ts_scope s, const ts_tokenizer *t, ts_value x, int stage)
{
    s.hold_state = true; /* the same batch comes again as the first step's */
    ts_quantizer_init(t->quantizer, ts_sub(s, "quantizer"), t->quantizer_options, ts_tokenizer_z(s, t, x), stage);
}
