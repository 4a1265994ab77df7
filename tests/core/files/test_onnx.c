/* ONNX: what is written is read back, what the format forbids is refused, and no mutant does harm. */
#include "core/files/onnx.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/core/files/files_support.h"

TestSuite(core_files_onnx, .init = scratch_make, .fini = scratch_remove);

static ts_error err;
static const float six[] = {1, 2, 3, 4, 5, 6};
static const int64_t axes[] = {0, -1, 1LL << 40};

/* y = Clip(x w), with an operand left out and an attribute of each kind. */
static void make_sample(ts_onnx_model *m)
{
    static const char *in[2][3], *out[2][1];
    memcpy((void *)in, (const char *[2][3]){{"x", "w"}, {"p", "", "half"}}, sizeof in);
    memcpy((void *)out, (const char *[2][1]){{"p"}, {"y"}}, sizeof out);
    *m = (ts_onnx_model){.ir_version = TS_ONNX_IR, .producer = "tessera", .producer_version = "1", .graph_name = "g"};
    ts_onnx_value *x = ts_onnx_add_input(m, 2), *y = ts_onnx_add_output(m, 2);
    x->name = "x";
    x->dtype = y->dtype = TS_ONNX_F32;
    x->dim[0] = y->dim[0] = (ts_onnx_dim){"batch", 0};
    x->dim[1].size = 2;
    y->name = "y";
    y->dim[1].size = 3;
    *ts_onnx_add_initializer(m) = (ts_onnx_tensor){"w", TS_ONNX_F32, ts_shape_of(2, 3), six, sizeof six};
    *ts_onnx_add_initializer(m) = (ts_onnx_tensor){"half", 10, ts_shape_of(), "\x00\x38", 2};
    *ts_onnx_add_node(m) = (ts_onnx_node){
        .op = "MatMul", .name = "n", .input = in[0], .input_count = 2, .output = out[0], .output_count = 1};
    ts_onnx_node *n = ts_onnx_add_node(m);
    *n =
        (ts_onnx_node){.op = "Clip", .name = "", .input = in[1], .input_count = 3, .output = out[1], .output_count = 1};
    *ts_onnx_add_attribute(m, n) = (ts_onnx_attribute){.name = "i", .kind = TS_ONNX_INT, .i = -7};
    *ts_onnx_add_attribute(m, n) = (ts_onnx_attribute){.name = "f", .kind = TS_ONNX_FLOAT, .f = 0.5f};
    *ts_onnx_add_attribute(m, n) = (ts_onnx_attribute){.name = "ints", .kind = TS_ONNX_INTS, .ints = axes, .count = 3};
    *ts_onnx_add_attribute(m, n) = (ts_onnx_attribute){.name = "s", .kind = TS_ONNX_TEXT, .text = "nearest"};
    *ts_onnx_add_metadata(m) = (ts_onnx_text){"key", "text \xc3\xa4"};
}

static const char *write_sample(void)
{
    ts_onnx_model m;
    make_sample(&m);
    cr_assert_eq(ts_onnx_write(&m, scratch("a.onnx"), &err), TS_OK, "%s", err.text);
    ts_onnx_clear(&m);
    return scratch("a.onnx");
}

Test(core_files_onnx, what_is_written_is_read_back)
{
    ts_onnx_model m;
    const char *path = write_sample();
    cr_assert(ts_onnx_is_one(path));
    cr_assert_eq(ts_onnx_read(&m, path, TS_ERR_CHECKPOINT, &err), TS_OK, "%s", err.text);
    cr_assert(m.node_count == 2 && m.initializer_count == 2 && m.input_count == 1 && m.output_count == 1);
    cr_assert(m.opset_count == 1 && m.metadata_count == 1 && m.ir_version == TS_ONNX_IR);
    cr_expect(m.opset[0].version == TS_ONNX_OPSET && !*m.opset[0].domain);
    cr_expect_str_eq(m.metadata[0].text, "text \xc3\xa4");
    cr_expect(m.input[0].rank == 2 && strcmp(m.input[0].dim[0].symbol, "batch") == 0 && m.input[0].dim[1].size == 2);
    cr_expect(!m.input[0].dim[1].symbol && m.output[0].dim[1].size == 3);
    cr_expect(ts_shape_equal(m.initializer[0].shape, ts_shape_of(2, 3)) && m.initializer[1].shape.rank == 0);
    cr_expect_arr_eq(m.initializer[0].data, six, sizeof six);
    const ts_onnx_node *n = &m.node[1];
    cr_assert(n->attribute_count == 4 && n->input_count == 3 && !*n->input[1]);
    cr_expect(n->attribute[0].kind == TS_ONNX_INT && n->attribute[0].i == -7);
    cr_expect(n->attribute[1].kind == TS_ONNX_FLOAT && n->attribute[1].f == 0.5f);
    cr_assert(n->attribute[2].kind == TS_ONNX_INTS && n->attribute[2].count == 3);
    cr_expect_arr_eq(n->attribute[2].ints, axes, sizeof axes);
    ts_onnx_clear(&m);
}

/* ---- models that the format forbids ---- */

static void second_name(ts_onnx_model *m)
{
    m->initializer[1].name = "w";
}

static void second_input(ts_onnx_model *m)
{
    ts_onnx_value *x = ts_onnx_add_input(m, 0);
    x->name = "x";
    x->dtype = TS_ONNX_F32;
}

static void result_like_a_tensor(ts_onnx_model *m)
{
    m->node[0].output[0] = "w";
}

static void used_too_early(ts_onnx_model *m)
{
    m->node[0].input[0] = "y";
}

static void made_nowhere(ts_onnx_model *m)
{
    m->output[0].name = "z";
}

static void no_output(ts_onnx_model *m)
{
    m->output_count = 0;
}

static void too_few_bytes(ts_onnx_model *m)
{
    m->initializer[0].bytes -= 4;
}

static void negative_dim(ts_onnx_model *m)
{
    m->initializer[0].shape.dim[0] = -2;
}

static void size_overflows(ts_onnx_model *m)
{
    m->initializer[0].shape = ts_shape_of(1LL << 32, 1LL << 32);
}

static void bits_overflow(ts_onnx_model *m)
{
    m->initializer[0].shape = ts_shape_of(1LL << 60);
}

static void unknown_dtype(ts_onnx_model *m)
{
    m->initializer[0].dtype = 99;
}

static void texts_as_elements(ts_onnx_model *m)
{
    m->initializer[0].dtype = 8;
}

static void unknown_dtype_of_input(ts_onnx_model *m)
{
    m->input[0].dtype = 0;
}

static void negative_size_of_input(ts_onnx_model *m)
{
    m->input[0].dim[1].size = -1;
}

static void no_operator(ts_onnx_model *m)
{
    m->node[0].op = "";
}

static void name_not_utf8(ts_onnx_model *m)
{
    m->initializer[0].name = "\xff\xfe";
}

static void metadata_not_utf8(ts_onnx_model *m)
{
    m->metadata[0].text = "\xc3";
}

static void nameless_tensor(ts_onnx_model *m)
{
    m->initializer[1].name = "";
}

static void nameless_attribute(ts_onnx_model *m)
{
    m->node[1].attribute[0].name = "";
}

static const struct {
    void (*spoil)(ts_onnx_model *m);
    const char *says;
} unsound[] = {{second_name, "two values are called 'w'"},
               {second_input, "two values are called 'x'"},
               {result_like_a_tensor, "two values are called 'w'"},
               {used_too_early, "operand 'y' is not there yet"},
               {made_nowhere, "output 'z' is made nowhere"},
               {no_output, "no output"},
               {too_few_bytes, "24 bytes, and has 20"},
               {negative_dim, "a dimension of -2"},
               {size_overflows, "its size overflows"},
               {bits_overflow, "its size overflows"},
               {unknown_dtype, "the dtype 99"},
               {texts_as_elements, "of texts"},
               {unknown_dtype_of_input, "the dtype 0"},
               {negative_size_of_input, "neither a size nor a name"},
               {no_operator, "has no operator"},
               {name_not_utf8, "is not UTF-8"},
               {metadata_not_utf8, "is not UTF-8"},
               {nameless_tensor, "a tensor without a name"},
               {nameless_attribute, "an attribute without a name"}};

Test(core_files_onnx, what_the_format_forbids_is_refused)
{
    size_t count = 0;
    for (; count < sizeof unsound / sizeof *unsound; count++) {
        ts_onnx_model m;
        make_sample(&m);
        unsound[count].spoil(&m);
        cr_assert_eq(ts_onnx_write(&m, scratch("b.onnx"), &err), TS_OK, "%s", err.text);
        ts_onnx_clear(&m);
        cr_expect_eq(ts_onnx_read(&m, scratch("b.onnx"), TS_ERR_CHECKPOINT, &err), TS_ERR_CHECKPOINT, "%s",
                     unsound[count].says);
        cr_expect(strstr(err.text, unsound[count].says), "%s, not %s", err.text, unsound[count].says);
        cr_expect(strstr(err.text, "b.onnx: no sound ONNX model: "), "%s", err.text);
    }
    cr_assert_geq(count, 19);
}

/* ---- bytes as others write them ---- */

typedef struct {
    unsigned char byte[256];
    size_t count;
} message;

static void put_number(message *m, uint64_t x)
{
    for (; x > 127; x >>= 7)
        m->byte[m->count++] = (unsigned char)(x | 128);
    m->byte[m->count++] = (unsigned char)x;
}

static void put_integer(message *m, unsigned field, uint64_t x)
{
    put_number(m, field << 3);
    put_number(m, x);
}

static void put_bytes(message *m, unsigned field, const void *bytes, size_t count)
{
    put_number(m, field << 3 | 2);
    put_number(m, count);
    memcpy(m->byte + m->count, bytes, count);
    m->count += count;
}

static void put_message(message *m, unsigned field, const message *part)
{
    put_bytes(m, field, part->byte, part->count);
}

/* A model whose one output is the tensor "t" [2]; what `more` holds is added to the tensor, of this dtype. */
static ts_status parse_with_tensor(ts_onnx_model *model, int dtype, const message *more)
{
    message m = {0}, g = {0}, t = {0}, value = {0}, type = {0}, tensor = {0}, opset = {0};
    put_integer(&t, 1, 2);
    put_integer(&t, 2, (uint64_t)dtype);
    put_bytes(&t, 8, "t", 1);
    memcpy(t.byte + t.count, more->byte, more->count);
    t.count += more->count;
    put_integer(&tensor, 1, (uint64_t)dtype);
    put_message(&type, 1, &tensor);
    put_bytes(&value, 1, "t", 1);
    put_message(&value, 2, &type);
    put_message(&g, 5, &t);
    put_message(&g, 12, &value);
    put_integer(&m, 1, 8);
    put_message(&m, 7, &g);
    put_integer(&opset, 2, 17);
    put_message(&m, 8, &opset);
    return ts_onnx_parse(model, m.byte, m.count, "made", TS_ERR_DATA, &err);
}

static void expect_elements(int dtype, const message *more, const void *bytes, size_t count)
{
    ts_onnx_model model;
    cr_assert_eq(parse_with_tensor(&model, dtype, more), TS_OK, "%s", err.text);
    cr_assert_eq(model.initializer[0].bytes, count);
    cr_expect_arr_eq(model.initializer[0].data, bytes, count);
    ts_onnx_clear(&model);
}

Test(core_files_onnx, elements_are_found_wherever_they_stand)
{
    message packed = {0}, loose = {0}, numbers = {0}, longs = {0}, doubles = {0}, raw = {0};
    put_bytes(&packed, 4, (float[]){1, 2}, 8);
    expect_elements(1, &packed, (float[]){1, 2}, 8);
    for (int i = 1; i < 3; i++) {
        put_number(&loose, 4 << 3 | 5);
        memcpy(loose.byte + loose.count, &(float){(float)i}, 4);
        loose.count += 4;
    }
    expect_elements(1, &loose, (float[]){1, 2}, 8);
    put_bytes(&numbers, 5, "\x07\xff\x01", 3); /* 7, 255 */
    expect_elements(2, &numbers, (uint8_t[]){7, 255}, 2);
    expect_elements(6, &numbers, (int32_t[]){7, 255}, 8);
    expect_elements(10, &numbers, (uint16_t[]){7, 255}, 4);
    put_bytes(&longs, 7, "\x07\x08", 2);
    expect_elements(7, &longs, (int64_t[]){7, 8}, 16);
    put_bytes(&doubles, 10, (double[]){0.5, 2}, 16);
    expect_elements(11, &doubles, (double[]){0.5, 2}, 16);
    put_bytes(&raw, 9, "\x87", 1); /* two of 4 bits */
    expect_elements(21, &raw, "\x87", 1);
}

static void expect_unsound_tensor(int dtype, const message *more, const char *says)
{
    ts_onnx_model model;
    cr_expect_eq(parse_with_tensor(&model, dtype, more), TS_ERR_DATA, "%s", says);
    cr_expect(strstr(err.text, says), "%s, not %s", err.text, says);
}

Test(core_files_onnx, elements_elsewhere_or_twice_are_refused)
{
    message twice = {0}, external = {0}, texts = {0}, wide = {0}, none = {0};
    put_bytes(&twice, 9, (float[]){1, 2}, 8);
    put_bytes(&twice, 4, (float[]){1, 2}, 8);
    expect_unsound_tensor(1, &twice, "in 2 places");
    put_integer(&external, 14, 1);
    expect_unsound_tensor(1, &external, "in another file");
    put_bytes(&texts, 6, "a", 1);
    expect_unsound_tensor(8, &texts, "of texts");
    for (int i = 0; i < 6; i++)
        put_integer(&wide, 1, 1);
    expect_unsound_tensor(1, &wide, "7 dimensions");
    expect_unsound_tensor(1, &none, "8 bytes, and has 0");
}

Test(core_files_onnx, what_is_no_model)
{
    ts_onnx_model m;
    static const struct {
        const char *bytes, *says;
        size_t count;
    } files[] = {{"", "no graph", 0},
                 {"\x08\x08", "no graph", 2},
                 {"\x08", "do not decode", 1},
                 {"\x3a\x05\x0a", "do not decode", 3},
                 {"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "do not decode", 10},
                 {"\x08\x08\x3a\x00", "which operators", 4},
                 {"\x3a\x00\x42\x00", "version 0", 4},
                 {"\x08\x08\x3a\x00\x42\x00", "no output", 6}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cr_expect_eq(ts_onnx_parse(&m, files[i].bytes, files[i].count, "bytes", TS_ERR_DATA, &err), TS_ERR_DATA);
        cr_expect(strstr(err.text, files[i].says), "%s, not %s", err.text, files[i].says);
    }
    cr_assert_eq(ts_onnx_read(&m, scratch("none"), TS_ERR_CHECKPOINT, &err), TS_ERR_CHECKPOINT);
    cr_expect(strstr(err.text, "No such file"), "%s", err.text);
    cr_expect_not(ts_onnx_is_one(scratch("none")));
    write_bytes(scratch("text"), "seed: 1\n", 8);
    cr_expect_not(ts_onnx_is_one(scratch("text")));
}

/* Two bytes each in the file, and a hundred in memory. */
Test(core_files_onnx, more_memory_than_a_model_needs_is_refused)
{
    enum { NODES = 4 << 20, HEAD = 16 };
    unsigned char *bytes = calloc(HEAD + 2 * (size_t)NODES, 1);
    message head = {0};
    ts_onnx_model m;
    put_number(&head, 7 << 3 | 2);
    put_number(&head, 2 * (uint64_t)NODES);
    memcpy(bytes, head.byte, head.count);
    for (size_t i = 0; i < NODES; i++)
        bytes[head.count + 2 * i] = 1 << 3 | 2;
    cr_assert_eq(ts_onnx_parse(&m, bytes, head.count + 2 * (size_t)NODES, "nodes", TS_ERR_DATA, &err), TS_ERR_DATA);
    cr_expect(strstr(err.text, "takes more than 256 MiB"), "%s", err.text);
    free(bytes);
}

/* ---- mutants ---- */

static uint64_t draw(uint64_t below)
{
    static uint64_t state = 20261121;
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

static size_t mutate(unsigned char *bytes, size_t count, size_t room)
{
    static const unsigned char tags[] = {0x08, 0x0a, 0x10, 0x12, 0x1a, 0x22, 0x2a,
                                         0x3a, 0x42, 0x4a, 0x62, 0xa0, 0xff, 0};
    size_t at = draw(count);
    switch (draw(5)) {
    case 0:
        bytes[at] ^= (unsigned char)(1 << draw(8));
        return count;
    case 1:
        bytes[at] = (unsigned char)draw(256);
        return count;
    case 2: /* a length, or a letter, is one off */
        bytes[at] = (unsigned char)(bytes[at] + (draw(2) ? 1 : -1));
        return count;
    case 3: /* a byte goes */
        memmove(bytes + at, bytes + at + 1, count - at - 1);
        return count - 1;
    default: /* the tag of a field comes, or takes another's place */
        if (count < room && draw(2)) {
            memmove(bytes + at + 1, bytes + at, count - at);
            count++;
        }
        bytes[at] = tags[draw(sizeof tags)];
        return count;
    }
}

/* Everything that a caller may ask of what was accepted: every byte and every text is there. */
static uint64_t use(const ts_onnx_model *m)
{
    uint64_t sum = m->metadata_count ? strlen(m->metadata[0].text) : 0;
    for (size_t i = 0; i < m->initializer_count; i++)
        for (size_t k = 0; k < m->initializer[i].bytes; k++)
            sum += ((const unsigned char *)m->initializer[i].data)[k];
    for (size_t i = 0; i < m->node_count; i++) {
        const ts_onnx_node *n = &m->node[i];
        sum += strlen(n->op) + strlen(n->name) + strlen(n->domain);
        for (size_t k = 0; k < n->input_count; k++)
            sum += strlen(n->input[k]);
        for (size_t k = 0; k < n->attribute_count; k++)
            for (size_t j = 0; j < n->attribute[k].count; j++)
                sum += (uint64_t)n->attribute[k].ints[j];
    }
    for (size_t i = 0; i < m->input_count; i++)
        for (int k = 0; k < m->input[i].rank; k++)
            sum += m->input[i].dim[k].symbol ? strlen(m->input[i].dim[k].symbol) : (size_t)m->input[i].dim[k].size;
    return sum;
}

static volatile uint64_t total_used; /* so that the compiler leaves no look out */

/* In memory of exactly its size, so that a read behind its end is seen. True: it was accepted. */
static bool try_bytes(const unsigned char *bytes, size_t count)
{
    unsigned char *own = malloc(count + 1);
    ts_onnx_model m;
    memcpy(own, bytes, count);
    ts_status status = ts_onnx_parse(&m, own, count, "mutant", TS_ERR_CHECKPOINT, &err);
    free(own);
    cr_assert(status == TS_OK || (status == TS_ERR_CHECKPOINT && strncmp(err.text, "mutant: ", 8) == 0), "%s",
              err.text);
    if (status != TS_OK)
        return false;
    total_used += use(&m);
    ts_onnx_clear(&m);
    return true;
}

/* TESSERA_FUZZ=N makes N mutants. */
Test(core_files_onnx, no_mutant_does_harm, .timeout = 7200)
{
    size_t whole;
    unsigned char *sample = read_bytes(write_sample(), &whole), bytes[1024];
    const char *asked = getenv("TESSERA_FUZZ");
    int64_t executions = asked ? strtoll(asked, NULL, 10) : 20000, accepted = 0;
    cr_assert_lt(whole, sizeof bytes / 2);
    for (int64_t i = 0; i < executions; i++) {
        size_t count = whole;
        memcpy(bytes, sample, whole);
        for (uint64_t k = 0, changes = 1 + draw(3); k < changes && count > 1; k++)
            count = mutate(bytes, count, sizeof bytes);
        accepted += try_bytes(bytes, count);
    }
    cr_log_info("%lld mutants, %lld accepted", (long long)executions, (long long)accepted);
    cr_assert(accepted > executions / 100 && accepted < executions * 9 / 10, "%lld accepted", (long long)accepted);
    free(sample);
}

/* Metadata stands last, and a model without it is one. */
Test(core_files_onnx, every_truncation_is_refused_or_whole)
{
    size_t whole, taken = 0;
    unsigned char *sample = read_bytes(write_sample(), &whole);
    for (size_t n = 0; n < whole; n++)
        taken += try_bytes(sample, n);
    cr_expect_eq(taken, 1);
    cr_expect(try_bytes(sample, whole));
    free(sample);
}

Test(core_files_onnx, out_of_memory_is_an_error)
{
    const char *path = write_sample();
    int failures = 0;
    for (int i = 1; i < 200; i++) {
        ts_onnx_model m;
        ts_alloc_fail_at((uint64_t)i);
        ts_status status = ts_onnx_read(&m, path, TS_ERR_CHECKPOINT, &err);
        ts_alloc_fail_at(0);
        cr_assert(status == TS_OK || status == TS_ERR_RUNTIME, "allocation %d: %s", i, err.text);
        failures += status != TS_OK;
        if (status == TS_OK) {
            ts_onnx_clear(&m);
            cr_assert_gt(failures, 20);
            return;
        }
    }
    cr_assert_fail("it never works");
}
