#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/bytes.h"
#include "core/files/onnx_internal.h"
#include "core/text.h"

/* What a model may take of memory beside its bytes: protobuf's messages are many times larger than an empty one is in a
 * file. A graph of a hundred thousand nodes takes less. */
enum { DESCRIPTION_BYTES = 256 << 20 };

typedef struct {
    Tessera__Onnx__Model *message;
    ProtobufCAllocator allocator;
    size_t left; /* bytes that may still be asked for; what was given back does not count */
    bool over, failed;
} holder;

static void *take(void *data, size_t bytes)
{
    holder *h = data;
    if (bytes > h->left) {
        h->over = true;
        return NULL;
    }
    h->left -= bytes;
    void *memory = ts_alloc(bytes + 1);
    h->failed = h->failed || !memory;
    return memory;
}

static void give_back(void *data, void *memory)
{
    (void)data;
    ts_free(memory);
}

void ts_onnx_free_message(void *message)
{
    holder *h = message;
    if (h->message)
        tessera__onnx__model__free_unpacked(h->message, &h->allocator);
    ts_free(h);
}

/* ---- from messages to the description; nothing is checked but that it can be said ---- */

typedef struct {
    ts_onnx_model *model;
    const char *path;
    ts_status code;
    ts_error *err;
} reader;

static ts_status unsound(const reader *r, const char *format, ...) TS_PRINTF(2, 3);
static ts_status unsound(const reader *r, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ts_fail(r->err, r->code, "%s: no sound ONNX model: %s", r->path, text);
    return r->code;
}

static const char *text_of(const char *text)
{
    return text ? text : "";
}

/* Room for `count` entries, zeroed. */
#define ROOM(r, list, count) ((list) = ts_arena_alloc(&(r)->model->arena, (count) * sizeof *(list) + 1))

/* Numbers of a list as the bytes that they stand for, where the dtype is narrower than the list's. */
static bool narrow(reader *r, const int32_t *from, size_t count, int bytes, ts_onnx_tensor *to)
{
    unsigned char *data;
    if (!ROOM(r, data, count * (size_t)bytes))
        return false;
    for (size_t i = 0; i < count; i++)
        memcpy(data + i * (size_t)bytes, &from[i], (size_t)bytes); /* little-endian: the low ones */
    to->data = data;
    to->bytes = count * (size_t)bytes;
    return true;
}

/* Where the elements stand; of several places, the format allows one. */
static ts_status read_data(reader *r, const Tessera__Onnx__Tensor *t, int bits, ts_onnx_tensor *to)
{
    const struct {
        bool there;
        const void *data;
        size_t bytes;
    } places[] = {{t->has_raw, t->raw.data, t->raw.len},
                  {t->n_floats, t->floats, t->n_floats * 4},
                  {t->n_longs, t->longs, t->n_longs * 8},
                  {t->n_doubles, t->doubles, t->n_doubles * 8},
                  {t->n_unsigned_longs, t->unsigned_longs, t->n_unsigned_longs * 8}};
    int found = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (places[i].there) {
            to->data = places[i].data;
            to->bytes = places[i].bytes;
            found++;
        }
    if (t->n_ints) {
        found++;
        if (!narrow(r, t->ints, t->n_ints, bits >= 8 && bits <= 32 ? bits / 8 : 1, to))
            return ts_out_of_memory(r->err, t->n_ints);
    }
    if (found > 1)
        return unsound(r, "tensor '%s' has its elements in %d places", TS_SHOWN(to->name), found);
    return TS_OK;
}

static ts_status read_tensor(reader *r, const Tessera__Onnx__Tensor *t, ts_onnx_tensor *to)
{
    int bits = 0;
    to->name = text_of(t->name);
    to->dtype = t->dtype;
    if (!ts_onnx_dtype_name(t->dtype, &bits))
        return unsound(r, "tensor '%s' has the dtype %d, which the format did not know when this was written",
                       TS_SHOWN(to->name), t->dtype);
    if (t->location || t->n_external)
        return unsound(r, "tensor '%s' has its elements in another file, and only models in one can be read",
                       TS_SHOWN(to->name));
    if (t->n_strings || bits == 0)
        return unsound(r, "tensor '%s' is of texts, and only numbers can be read", TS_SHOWN(to->name));
    if (t->n_dims > TS_MAX_RANK)
        return unsound(r, "tensor '%s' has %zu dimensions; at most %d can be read", TS_SHOWN(to->name), t->n_dims,
                       TS_MAX_RANK);
    to->shape = ts_shape_from((int)t->n_dims, t->dims);
    return read_data(r, t, bits, to);
}

static void read_attribute(const Tessera__Onnx__Attribute *a, ts_onnx_attribute *to)
{
    *to = (ts_onnx_attribute){.name = text_of(a->name)};
    if (a->type == ATTRIBUTE_FLOAT) {
        to->kind = TS_ONNX_FLOAT;
        to->f = a->f;
    } else if (a->type == ATTRIBUTE_INT) {
        to->kind = TS_ONNX_INT;
        to->i = a->i;
    } else if (a->type == ATTRIBUTE_INTS) {
        to->kind = TS_ONNX_INTS;
        to->ints = a->ints;
        to->count = a->n_ints;
    }
}

static ts_status read_node(reader *r, const Tessera__Onnx__Node *n, ts_onnx_node *to)
{
    *to = (ts_onnx_node){.op = text_of(n->op_type),
                         .domain = text_of(n->domain),
                         .name = text_of(n->name),
                         .input = (const char **)n->input,
                         .input_count = n->n_input,
                         .output = (const char **)n->output,
                         .output_count = n->n_output,
                         .attribute_count = n->n_attribute};
    if (!ROOM(r, to->attribute, n->n_attribute))
        return ts_out_of_memory(r->err, n->n_attribute);
    for (size_t i = 0; i < n->n_attribute; i++)
        read_attribute(n->attribute[i], &to->attribute[i]);
    return TS_OK;
}

static ts_status read_value(reader *r, const Tessera__Onnx__ValueInfo *v, ts_onnx_value *to)
{
    const Tessera__Onnx__TensorType *t = v->type ? v->type->tensor : NULL;
    to->name = text_of(v->name);
    if (!t)
        return unsound(r, "'%s' is not said to be a tensor", TS_SHOWN(to->name));
    to->dtype = t->dtype;
    to->shaped = t->shape;
    to->rank = t->shape && t->shape->n_dim < 1000 ? (int)t->shape->n_dim : 0;
    if (t->shape && t->shape->n_dim >= 1000)
        return unsound(r, "'%s' has %zu dimensions", TS_SHOWN(to->name), t->shape->n_dim);
    if (!ROOM(r, to->dim, (size_t)to->rank))
        return ts_out_of_memory(r->err, (size_t)to->rank);
    for (int i = 0; i < to->rank; i++) {
        const Tessera__Onnx__Dim *d = t->shape->dim[i];
        bool fixed = d->kind_case == TESSERA__ONNX__DIM__KIND_VALUE;
        bool named = d->kind_case == TESSERA__ONNX__DIM__KIND_SYMBOL;
        to->dim[i] = fixed ? (ts_onnx_dim){NULL, d->value} : (ts_onnx_dim){named ? text_of(d->symbol) : "", 0};
    }
    return TS_OK;
}

static ts_status read_values(reader *r, Tessera__Onnx__ValueInfo *const *list, size_t count, ts_onnx_value **to)
{
    if (!ROOM(r, *to, count))
        return ts_out_of_memory(r->err, count);
    for (size_t i = 0; i < count; i++)
        TS_TRY(read_value(r, list[i], &(*to)[i]));
    return TS_OK;
}

static ts_status read_graph(reader *r, const Tessera__Onnx__Graph *g)
{
    ts_onnx_model *m = r->model;
    m->graph_name = text_of(g->name);
    m->node_count = g->n_node;
    m->initializer_count = g->n_initializer;
    m->input_count = g->n_input;
    m->output_count = g->n_output;
    if (!ROOM(r, m->node, g->n_node) || !ROOM(r, m->initializer, g->n_initializer))
        return ts_out_of_memory(r->err, g->n_node);
    for (size_t i = 0; i < g->n_node; i++)
        TS_TRY(read_node(r, g->node[i], &m->node[i]));
    for (size_t i = 0; i < g->n_initializer; i++)
        TS_TRY(read_tensor(r, g->initializer[i], &m->initializer[i]));
    TS_TRY(read_values(r, g->input, g->n_input, &m->input));
    return read_values(r, g->output, g->n_output, &m->output);
}

static ts_status read_model(reader *r, const Tessera__Onnx__Model *message)
{
    ts_onnx_model *m = r->model;
    m->ir_version = message->ir_version;
    m->producer = text_of(message->producer_name);
    m->producer_version = text_of(message->producer_version);
    m->opset_count = message->n_opset_import;
    m->metadata_count = message->n_metadata_props;
    if (!ROOM(r, m->opset, m->opset_count) || !ROOM(r, m->metadata, m->metadata_count))
        return ts_out_of_memory(r->err, m->metadata_count);
    for (size_t i = 0; i < m->opset_count; i++)
        m->opset[i] = (ts_onnx_opset){text_of(message->opset_import[i]->domain), message->opset_import[i]->version};
    for (size_t i = 0; i < m->metadata_count; i++)
        m->metadata[i] =
            (ts_onnx_text){text_of(message->metadata_props[i]->key), text_of(message->metadata_props[i]->value)};
    if (!message->graph)
        return unsound(r, "it has no graph");
    return read_graph(r, message->graph);
}

/* ---- opening ---- */

static ts_status unpack(reader *r, const void *bytes, size_t count, holder *h)
{
    h->allocator = (ProtobufCAllocator){take, give_back, h};
    h->left = DESCRIPTION_BYTES + 2 * count;
    h->message = tessera__onnx__model__unpack(&h->allocator, count, bytes);
    if (h->message)
        return TS_OK;
    if (h->failed)
        return ts_out_of_memory(r->err, count);
    return h->over
               ? unsound(r, "what it describes takes more than %d MiB beside its own bytes", DESCRIPTION_BYTES >> 20)
               : unsound(r, "%zu bytes that do not decode as protobuf; it may be damaged or cut off", count);
}

ts_status ts_onnx_parse(ts_onnx_model *model, const void *bytes, size_t count, const char *path, ts_status code,
                        ts_error *err)
{
    reader r = {.model = model, .path = path, .code = code, .err = err};
    holder *h = ts_calloc(1, sizeof *h);
    *model = (ts_onnx_model){.message = h};
    if (!h)
        return ts_out_of_memory(err, sizeof *h);
    ts_status status = unpack(&r, bytes, count, h);
    if (status == TS_OK)
        status = read_model(&r, h->message);
    if (status == TS_OK)
        status = ts_onnx_verify(model, path, code, err);
    if (status != TS_OK)
        ts_onnx_clear(model);
    return status;
}

ts_status ts_onnx_read(ts_onnx_model *model, const char *path, ts_status code, ts_error *err)
{
    ts_bytes bytes;
    *model = (ts_onnx_model){0};
    TS_TRY(ts_bytes_read(&bytes, path, TS_ONNX_MAX_BYTES, code, err));
    ts_status status = ts_onnx_parse(model, bytes.data, bytes.count, path, code, err);
    ts_bytes_clear(&bytes);
    return status;
}

/* The version of the format, a small number of field 1, stands first in whatever writes one; then comes another field
 * of a model. */
bool ts_onnx_is_one(const char *path)
{
    static const unsigned char next[] = {0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72};
    unsigned char first[3] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && read(fd, first, sizeof first) == (ssize_t)sizeof first && first[0] == 0x08 && first[1] > 0 &&
              first[1] < 64 && memchr(next, first[2], sizeof next);
    if (fd >= 0)
        close(fd);
    return is;
}
