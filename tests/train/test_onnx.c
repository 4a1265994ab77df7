/* export --to onnx, and inspect and diff of what it wrote. That ONNX Runtime gives the same: tests/interop/onnx_out.py.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/onnx.h"
#include "tests/train/run_program.h"

static temp_folder folder;
static ts_error err;

static void setup(void)
{
    folder = temp_folder_make();
}

static void teardown(void)
{
    temp_folder_remove(&folder);
}

TestSuite(train_onnx, .init = setup, .fini = teardown);

static const char *at(const char *name)
{
    return kept_path(&folder, name);
}

static json_t *json_of(char *text)
{
    json_t *root = json_loads(text, 0, NULL);
    cr_assert_not_null(root, "%s", text);
    free(text);
    return root;
}

/* "batch 3 height width" */
static void expect_shape(const json_t *values, const char *name, const char *shape)
{
    char text[128] = "";
    const json_t *dims = json_object_get(json_object_get(values, name), "shape");
    for (size_t i = 0; i < json_array_size(dims); i++) {
        const json_t *d = json_array_get(dims, i);
        char one[32];
        snprintf(one, sizeof one, "%d", (int)json_integer_value(d));
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                 json_is_string(d) ? json_string_value(d) : one);
    }
    cr_expect_str_eq(text, shape, "%s", name);
}

static void expect_part(const char *file, const char *input, const char *in, const char *output, const char *out)
{
    json_t *all = json_of(OUTPUT("inspect", at(file), "--json"));
    cr_expect_str_eq(json_string_value(json_object_get(all, "kind")), "onnx");
    cr_expect(json_is_true(json_object_get(all, "verified")));
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(all, "opset"), "ai.onnx")), TS_ONNX_OPSET);
    cr_expect_gt(json_integer_value(json_object_get(all, "nodes")), 5);
    cr_expect_gt(json_array_size(json_object_get(all, "tensors")), 5);
    const json_t *texts = json_object_get(all, "metadata");
    cr_expect(strstr(json_string_value(json_object_get(texts, "tessera.config")), "kind: finite_scalar"));
    cr_expect_eq(strlen(json_string_value(json_object_get(texts, "tessera.weights"))), 32);
    expect_shape(json_object_get(all, "inputs"), input, in);
    expect_shape(json_object_get(all, "outputs"), output, out);
    json_decref(all);
}

Test(train_onnx, three_models_with_free_sizes)
{
    free(OUTPUT("export", tiny_run(&folder), "--to", "onnx", "-o", at("out")));
    expect_part("out/encoder.onnx", "x", "batch 3 height width", "ids", "batch token_height token_width 1");
    expect_part("out/decoder.onnx", "ids", "batch token_height token_width 1", "reconstruction",
                "batch 3 height width");
    expect_part("out/tokenizer.onnx", "x", "batch 3 height width", "reconstruction", "batch 3 height width");
    free(OUTPUT("export", at("run/checkpoints/last.h5"), "--to", "onnx", "-o", at("one.onnx")));
    expect_part("one.onnx", "x", "batch 3 height width", "ids", "batch token_height token_width 1");
    json_t *same = json_of(OUTPUT("diff", at("one.onnx"), at("out/tokenizer.onnx"), "--json"));
    cr_expect(json_is_true(json_object_get(same, "same")));
    json_decref(same);
    outcome o = RUN("diff", at("one.onnx"), at("out/encoder.onnx"));
    cr_expect_eq(o.code, 1);
    cr_expect(strstr(o.out, "decoder.conv1.weight"), "%s", o.out);
    outcome_free(&o);
}

/* The weights of a convolution as ONNX, and PyTorch, have them. */
Test(train_onnx, weights_are_channels_first)
{
    ts_onnx_model m;
    bool found = false;
    free(OUTPUT("export", tiny_run(&folder), "--to", "onnx", "-o", at("one.onnx")));
    cr_assert_eq(ts_onnx_read(&m, at("one.onnx"), TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    for (size_t i = 0; i < m.initializer_count; i++)
        if (strcmp(m.initializer[i].name, "encoder.conv2.weight") == 0)
            found = ts_shape_equal(m.initializer[i].shape, ts_shape_of(4, 2, 3, 3));
    cr_expect(found);
    ts_onnx_clear(&m);
}

Test(train_onnx, what_cannot_be_is_said)
{
    const char *last = tiny_run(&folder), *one = at("one.onnx");
    size_t bytes;
    REFUSED(2, "--names belongs to --to safetensors", "export", last, "--to", "onnx", "--names", "own", "-o", one);
    REFUSED(2, "--state belongs to --to safetensors", "export", last, "--to", "onnx", "--state", "-o", one);
    REFUSED(2, "add --to onnx", "export", last, "-o", one);
    REFUSED(3, "no/one.onnx", "export", last, "--to", "onnx", "-o", at("no/one.onnx"));
    free(OUTPUT("export", last, "--to", "onnx", "-o", one));
    char *whole = file_content(one, &bytes);
    REFUSED(4, "no sound ONNX model", "inspect", kept_write(&folder, "cut.onnx", whole, bytes / 2));
    REFUSED(4, "no sound ONNX model", "diff", one, at("cut.onnx"));
    free(whole);
}

/* An op that models encode or decode by can be said; one that cannot has a reason. */
Test(train_onnx, every_op_is_said_or_has_a_reason)
{
    int said = 0, of_training = 0;
    for (ts_op op = TS_OP_NONE + 1; op < TS_OP_COUNT; op++) {
        const char *why = ts_onnx_why_not(op);
        said += !why;
        of_training += why && (ts_ops[op].op_class == TS_CLASS_GRAD || ts_ops[op].op_class == TS_CLASS_STATE);
        cr_expect(!why || strlen(why) > 10, "%s", ts_ops[op].name);
        if (ts_ops[op].op_class == TS_CLASS_ALIAS)
            cr_expect_null(why, "%s", ts_ops[op].name);
    }
    cr_assert_geq(said, 44);
    cr_assert_geq(of_training, 25);
}
