#include "core/files/onnx.h"

#include <string.h>

#include "core/files/onnx_internal.h"
#include "core/files/replace.h"

/* By the format's number, TensorProto.DataType. */
static const struct dtype {
    const char *name;
    int bits;
} dtypes[] = {
    [1] = {"f32", 32},   [2] = {"u8", 8},      [3] = {"i8", 8},       [4] = {"u16", 16},    [5] = {"i16", 16},
    [6] = {"i32", 32},   [7] = {"i64", 64},    [8] = {"text", 0},     [9] = {"bool", 8},    [10] = {"f16", 16},
    [11] = {"f64", 64},  [12] = {"u32", 32},   [13] = {"u64", 64},    [14] = {"c64", 64},   [15] = {"c128", 128},
    [16] = {"bf16", 16}, [17] = {"f8e4m3", 8}, [18] = {"f8e4m3z", 8}, [19] = {"f8e5m2", 8}, [20] = {"f8e5m2z", 8},
    [21] = {"u4", 4},    [22] = {"i4", 4},     [23] = {"f4e2m1", 4},  [24] = {"f8e8m0", 8}, [25] = {"u2", 2},
    [26] = {"i2", 2},
};

const char *ts_onnx_dtype_name(int dtype, int *bits)
{
    if (dtype < 1 || dtype >= (int)(sizeof dtypes / sizeof *dtypes))
        return NULL;
    *bits = dtypes[dtype].bits;
    return dtypes[dtype].name;
}

void ts_onnx_clear(ts_onnx_model *model)
{
    if (model->message)
        ts_onnx_free_message(model->message);
    ts_arena_clear(&model->arena);
    *model = (ts_onnx_model){0};
}

/* ---- making one ---- */

void *ts_onnx_grow(ts_arena *arena, void **list, size_t *count, size_t size)
{
    size_t n = *count;
    if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) { /* full: 0, 4, 8, 16 ... */
        size_t bytes;
        if (__builtin_mul_overflow(n ? 2 * n : 4, size, &bytes))
            return NULL;
        void *larger = ts_arena_alloc(arena, bytes);
        if (!larger)
            return NULL;
        if (n)
            memcpy(larger, *list, n * size);
        *list = larger;
    }
    return (char *)*list + (*count)++ * size;
}

#define ADD(arena, list, count) ts_onnx_grow(arena, (void **)&(list), &(count), sizeof *(list))

ts_onnx_node *ts_onnx_add_node(ts_onnx_model *m)
{
    return ADD(&m->arena, m->node, m->node_count);
}

ts_onnx_attribute *ts_onnx_add_attribute(ts_onnx_model *m, ts_onnx_node *node)
{
    return ADD(&m->arena, node->attribute, node->attribute_count);
}

ts_onnx_tensor *ts_onnx_add_initializer(ts_onnx_model *m)
{
    return ADD(&m->arena, m->initializer, m->initializer_count);
}

ts_onnx_text *ts_onnx_add_metadata(ts_onnx_model *m)
{
    return ADD(&m->arena, m->metadata, m->metadata_count);
}

static ts_onnx_value *with_dims(ts_onnx_model *m, ts_onnx_value *v, int rank)
{
    if (!v || !(v->dim = ts_arena_alloc(&m->arena, (size_t)rank * sizeof *v->dim + 1)))
        return NULL;
    v->rank = rank;
    v->shaped = true;
    return v;
}

ts_onnx_value *ts_onnx_add_input(ts_onnx_model *m, int rank)
{
    return with_dims(m, ADD(&m->arena, m->input, m->input_count), rank);
}

ts_onnx_value *ts_onnx_add_output(ts_onnx_model *m, int rank)
{
    return with_dims(m, ADD(&m->arena, m->output, m->output_count), rank);
}

/* ---- writing: the same as protobuf-c's messages, in an arena; texts and data stay where they are ---- */

#define TEXT(text) ((char *)(uintptr_t)(text)) /* protobuf-c's fields are not const; nothing writes them */

/* Messages of a list: `made` and `list` are [n] each, made one behind the other. */
#define MESSAGES(arena, type, n, made, list)                                                                           \
    type *made = ts_arena_alloc(arena, (n) * sizeof *made + 1);                                                        \
    type **list = ts_arena_alloc(arena, (n) * sizeof *list + 1);                                                       \
    if (!(made) || !(list))                                                                                            \
    return false

static bool say_tensors(ts_arena *arena, const ts_onnx_model *m, Tessera__Onnx__Graph *g)
{
    MESSAGES(arena, Tessera__Onnx__Tensor, m->initializer_count, made, list);
    for (size_t i = 0; i < m->initializer_count; i++) {
        const ts_onnx_tensor *t = &m->initializer[i];
        tessera__onnx__tensor__init(&made[i]);
        made[i].name = TEXT(t->name);
        made[i].has_dtype = 1;
        made[i].dtype = t->dtype;
        made[i].n_dims = (size_t)t->shape.rank;
        made[i].dims = (int64_t *)(uintptr_t)t->shape.dim;
        made[i].has_raw = 1;
        made[i].raw = (ProtobufCBinaryData){t->bytes, (uint8_t *)(uintptr_t)t->data};
        list[i] = &made[i];
    }
    g->n_initializer = m->initializer_count;
    g->initializer = list;
    return true;
}

static void say_attribute(const ts_onnx_attribute *a, Tessera__Onnx__Attribute *to)
{
    static const int type_of[] = {0, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_STRING, ATTRIBUTE_INTS};
    tessera__onnx__attribute__init(to);
    to->name = TEXT(a->name);
    to->has_type = 1;
    to->type = type_of[a->kind];
    to->has_f = a->kind == TS_ONNX_FLOAT;
    to->f = a->f;
    to->has_i = a->kind == TS_ONNX_INT;
    to->i = a->i;
    if (a->kind == TS_ONNX_TEXT) {
        to->has_s = 1;
        to->s = (ProtobufCBinaryData){strlen(a->text), (uint8_t *)(uintptr_t)a->text};
    }
    if (a->kind == TS_ONNX_INTS) {
        to->n_ints = a->count;
        to->ints = (int64_t *)(uintptr_t)a->ints;
    }
}

static bool say_attributes(ts_arena *arena, const ts_onnx_node *n, Tessera__Onnx__Node *to)
{
    MESSAGES(arena, Tessera__Onnx__Attribute, n->attribute_count, made, list);
    for (size_t i = 0; i < n->attribute_count; i++) {
        say_attribute(&n->attribute[i], &made[i]);
        list[i] = &made[i];
    }
    to->n_attribute = n->attribute_count;
    to->attribute = list;
    return true;
}

static bool say_nodes(ts_arena *arena, const ts_onnx_model *m, Tessera__Onnx__Graph *g)
{
    MESSAGES(arena, Tessera__Onnx__Node, m->node_count, made, list);
    for (size_t i = 0; i < m->node_count; i++) {
        const ts_onnx_node *n = &m->node[i];
        tessera__onnx__node__init(&made[i]);
        made[i].op_type = TEXT(n->op);
        made[i].name = TEXT(n->name);
        made[i].n_input = n->input_count;
        made[i].input = (char **)(uintptr_t)n->input;
        made[i].n_output = n->output_count;
        made[i].output = (char **)(uintptr_t)n->output;
        if (!say_attributes(arena, n, &made[i]))
            return false;
        list[i] = &made[i];
    }
    g->n_node = m->node_count;
    g->node = list;
    return true;
}

static bool say_shape(ts_arena *arena, const ts_onnx_value *v, Tessera__Onnx__Shape *shape)
{
    MESSAGES(arena, Tessera__Onnx__Dim, (size_t)v->rank, made, list);
    for (int i = 0; i < v->rank; i++) {
        tessera__onnx__dim__init(&made[i]);
        made[i].kind_case = v->dim[i].symbol ? TESSERA__ONNX__DIM__KIND_SYMBOL : TESSERA__ONNX__DIM__KIND_VALUE;
        if (v->dim[i].symbol)
            made[i].symbol = TEXT(v->dim[i].symbol);
        else
            made[i].value = v->dim[i].size;
        list[i] = &made[i];
    }
    tessera__onnx__shape__init(shape);
    shape->n_dim = (size_t)v->rank;
    shape->dim = list;
    return true;
}

typedef struct {
    Tessera__Onnx__ValueInfo info;
    Tessera__Onnx__Type type;
    Tessera__Onnx__TensorType tensor;
    Tessera__Onnx__Shape shape;
} value_messages;

static bool say_values(ts_arena *arena, const ts_onnx_value *values, size_t count, Tessera__Onnx__ValueInfo ***out)
{
    value_messages *made = ts_arena_alloc(arena, count * sizeof *made + 1);
    Tessera__Onnx__ValueInfo **list = ts_arena_alloc(arena, count * sizeof *list + 1);
    if (!made || !list)
        return false;
    for (size_t i = 0; i < count; i++) {
        value_messages *v = &made[i];
        tessera__onnx__value_info__init(&v->info);
        tessera__onnx__type__init(&v->type);
        tessera__onnx__tensor_type__init(&v->tensor);
        if (!say_shape(arena, &values[i], &v->shape))
            return false;
        v->info.name = TEXT(values[i].name);
        v->info.type = &v->type;
        v->type.tensor = &v->tensor;
        v->tensor.has_dtype = 1;
        v->tensor.dtype = values[i].dtype;
        v->tensor.shape = &v->shape;
        list[i] = &v->info;
    }
    *out = list;
    return true;
}

static bool say_metadata(ts_arena *arena, const ts_onnx_model *m, Tessera__Onnx__Model *to)
{
    MESSAGES(arena, Tessera__Onnx__Text, m->metadata_count, made, list);
    for (size_t i = 0; i < m->metadata_count; i++) {
        tessera__onnx__text__init(&made[i]);
        made[i].key = TEXT(m->metadata[i].key);
        made[i].value = TEXT(m->metadata[i].text);
        list[i] = &made[i];
    }
    to->n_metadata_props = m->metadata_count;
    to->metadata_props = list;
    return true;
}

static bool say_graph(ts_arena *arena, const ts_onnx_model *m, Tessera__Onnx__Graph *g)
{
    tessera__onnx__graph__init(g);
    g->name = TEXT(m->graph_name);
    g->n_input = m->input_count;
    g->n_output = m->output_count;
    return say_values(arena, m->input, m->input_count, &g->input) &&
           say_values(arena, m->output, m->output_count, &g->output) && say_tensors(arena, m, g) &&
           say_nodes(arena, m, g);
}

static ts_status write_message(const Tessera__Onnx__Model *message, const char *path, ts_error *err)
{
    size_t bytes = tessera__onnx__model__get_packed_size(message);
    if (bytes > TS_ONNX_MAX_BYTES)
        return ts_fail(err, TS_ERR_DATA, "%s: the model is %zu bytes; an ONNX file holds at most %d", path, bytes,
                       TS_ONNX_MAX_BYTES);
    uint8_t *packed = ts_alloc(bytes);
    if (!packed)
        return ts_out_of_memory(err, bytes);
    tessera__onnx__model__pack(message, packed);
    ts_status status = ts_replace_file(path, packed, bytes, TS_REPLACE_DROP, TS_ERR_DATA, err);
    ts_free(packed);
    return status;
}

ts_status ts_onnx_write(const ts_onnx_model *m, const char *path, ts_error *err)
{
    Tessera__Onnx__Model message = TESSERA__ONNX__MODEL__INIT;
    Tessera__Onnx__Graph graph;
    Tessera__Onnx__OpsetId opset = TESSERA__ONNX__OPSET_ID__INIT, *opsets[] = {&opset};
    ts_arena arena = {0};
    message.has_ir_version = 1;
    message.ir_version = TS_ONNX_IR;
    message.producer_name = TEXT(m->producer);
    message.producer_version = TEXT(m->producer_version);
    opset.domain = TEXT("");
    opset.has_version = 1;
    opset.version = TS_ONNX_OPSET;
    message.n_opset_import = 1;
    message.opset_import = opsets;
    message.graph = &graph;
    bool made = say_graph(&arena, m, &graph) && say_metadata(&arena, m, &message);
    ts_status status = made ? write_message(&message, path, err) : ts_out_of_memory(err, 0);
    ts_arena_clear(&arena);
    return status;
}
