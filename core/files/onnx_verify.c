#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/files/hash.h"
#include "core/files/onnx_internal.h"
#include "core/text.h"

typedef struct {
    ts_onnx_model *model;
    const char *path;
    ts_status code;
    ts_error *err;
    const char **known; /* [slots] names of values that are there, open addressing */
    size_t slots;       /* a power of two */
} verifier;

static ts_status unsound(const verifier *v, const char *format, ...) TS_PRINTF(2, 3);
static ts_status unsound(const verifier *v, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ts_fail(v->err, v->code, "%s: no sound ONNX model: %s", v->path, text);
    return v->code;
}

/* ---- names of values ---- */

static size_t slot_of(const verifier *v, const char *name)
{
    ts_hash h = ts_hash_bytes(name, strlen(name));
    uint64_t at;
    memcpy(&at, h.byte, sizeof at);
    size_t slot = (size_t)at & (v->slots - 1);
    while (v->known[slot] && strcmp(v->known[slot], name) != 0)
        slot = (slot + 1) & (v->slots - 1);
    return slot;
}

static bool is_known(const verifier *v, const char *name)
{
    return v->known[slot_of(v, name)];
}

/* `what` has this name from here on. */
static ts_status add_name(verifier *v, const char *what, const char *name)
{
    size_t slot = slot_of(v, name);
    if (!*name)
        return unsound(v, "%s without a name", what);
    if (!ts_text_is_utf8(name))
        return unsound(v, "the name '%s' is not UTF-8", TS_SHOWN(name));
    if (v->known[slot])
        return unsound(v, "two values are called '%s'", TS_SHOWN(name));
    v->known[slot] = name;
    return TS_OK;
}

static ts_status begin_names(verifier *v)
{
    const ts_onnx_model *m = v->model;
    size_t names = m->input_count + m->initializer_count;
    for (size_t i = 0; i < m->node_count; i++)
        names += m->node[i].output_count;
    for (v->slots = 16; v->slots < 2 * names; v->slots *= 2)
        ;
    v->known = ts_calloc(v->slots, sizeof *v->known);
    return v->known ? TS_OK : ts_out_of_memory(v->err, v->slots * sizeof *v->known);
}

/* ---- tensors and values ---- */

static ts_status check_tensor(const verifier *v, const ts_onnx_tensor *t)
{
    int bits = 0;
    int64_t count, all;
    const char *dtype = ts_onnx_dtype_name(t->dtype, &bits);
    for (int i = 0; i < t->shape.rank; i++)
        if (t->shape.dim[i] < 0)
            return unsound(v, "tensor '%s' has a dimension of %" PRId64, TS_SHOWN(t->name), t->shape.dim[i]);
    if (!ts_shape_count_checked(t->shape, &count) || __builtin_mul_overflow(count, bits, &all) || all > INT64_MAX - 7)
        return unsound(v, "tensor '%s': its size overflows", TS_SHOWN(t->name));
    if ((uint64_t)(all + 7) / 8 != t->bytes)
        return unsound(v, "tensor '%s' is %s %s, %" PRId64 " bytes, and has %zu", TS_SHOWN(t->name), dtype,
                       ts_shape_print(t->shape).text, (all + 7) / 8, t->bytes);
    return TS_OK;
}

static ts_status check_value(const verifier *v, const ts_onnx_value *x)
{
    int bits;
    if (!ts_onnx_dtype_name(x->dtype, &bits))
        return unsound(v, "'%s' has the dtype %d, which the format did not know when this was written",
                       TS_SHOWN(x->name), x->dtype);
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i].symbol ? !ts_text_is_utf8(x->dim[i].symbol) : x->dim[i].size < 0)
            return unsound(v, "'%s': dimension %d is neither a size nor a name", TS_SHOWN(x->name), i);
    return TS_OK;
}

/* An input may carry the name of a tensor, its default, but not that of another input. */
static ts_status check_inputs(verifier *v, verifier *inputs)
{
    const ts_onnx_model *m = v->model;
    for (size_t i = 0; i < m->input_count; i++) {
        TS_TRY(check_value(v, &m->input[i]));
        TS_TRY(add_name(inputs, "an input", m->input[i].name));
        if (!is_known(v, m->input[i].name))
            TS_TRY(add_name(v, "an input", m->input[i].name));
    }
    return TS_OK;
}

static ts_status check_tensors(verifier *v)
{
    const ts_onnx_model *m = v->model;
    verifier inputs = *v;
    for (size_t i = 0; i < m->initializer_count; i++) {
        TS_TRY(add_name(v, "a tensor", m->initializer[i].name));
        TS_TRY(check_tensor(v, &m->initializer[i]));
    }
    inputs.known = ts_calloc(inputs.slots, sizeof *inputs.known);
    if (!inputs.known)
        return ts_out_of_memory(v->err, inputs.slots * sizeof *inputs.known);
    ts_status status = check_inputs(v, &inputs);
    ts_free((void *)inputs.known);
    return status;
}

/* ---- nodes ---- */

static ts_status check_node(verifier *v, const ts_onnx_node *n, size_t number)
{
    if (!*n->op || !ts_text_is_utf8(n->op) || !ts_text_is_utf8(n->domain) || !ts_text_is_utf8(n->name))
        return unsound(v, "node %zu has no operator, or texts that are not UTF-8", number);
    for (size_t i = 0; i < n->input_count; i++)
        if (*n->input[i] && !is_known(v, n->input[i]))
            return unsound(v, "node %zu, %s: its operand '%s' is not there yet", number, TS_SHOWN(n->op),
                           TS_SHOWN(n->input[i]));
    for (size_t i = 0; i < n->output_count; i++)
        if (*n->output[i])
            TS_TRY(add_name(v, "a result", n->output[i]));
    for (size_t i = 0; i < n->attribute_count; i++)
        if (!*n->attribute[i].name || !ts_text_is_utf8(n->attribute[i].name))
            return unsound(v, "node %zu, %s: an attribute without a name", number, TS_SHOWN(n->op));
    return TS_OK;
}

static ts_status check_texts(const verifier *v)
{
    const ts_onnx_model *m = v->model;
    if (m->ir_version < 1)
        return unsound(v, "version %" PRId64 " of the format", m->ir_version);
    if (m->opset_count == 0)
        return unsound(v, "it does not say which operators it uses");
    for (size_t i = 0; i < m->opset_count; i++)
        if (!ts_text_is_utf8(m->opset[i].domain))
            return unsound(v, "the name of a domain is not UTF-8");
    for (size_t i = 0; i < m->metadata_count; i++)
        if (!ts_text_is_utf8(m->metadata[i].key) || !ts_text_is_utf8(m->metadata[i].text))
            return unsound(v, "metadata '%s' is not UTF-8", TS_SHOWN(m->metadata[i].key));
    if (!ts_text_is_utf8(m->producer) || !ts_text_is_utf8(m->producer_version) || !ts_text_is_utf8(m->graph_name))
        return unsound(v, "the name of its producer or graph is not UTF-8");
    return TS_OK;
}

static ts_status check_all(verifier *v)
{
    const ts_onnx_model *m = v->model;
    TS_TRY(check_texts(v));
    TS_TRY(check_tensors(v));
    for (size_t i = 0; i < m->node_count; i++)
        TS_TRY(check_node(v, &m->node[i], i));
    if (m->output_count == 0)
        return unsound(v, "it has no output");
    for (size_t i = 0; i < m->output_count; i++) {
        TS_TRY(check_value(v, &m->output[i]));
        if (!*m->output[i].name || !is_known(v, m->output[i].name))
            return unsound(v, "its output '%s' is made nowhere", TS_SHOWN(m->output[i].name));
    }
    return TS_OK;
}

ts_status ts_onnx_verify(ts_onnx_model *model, const char *path, ts_status code, ts_error *err)
{
    verifier v = {.model = model, .path = path, .code = code, .err = err};
    ts_status status = begin_names(&v);
    if (status == TS_OK)
        status = check_all(&v);
    ts_free((void *)v.known);
    return status;
}
