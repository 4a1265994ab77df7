/* safetensors: what is written is read back, what the format forbids is refused, and no mutant does harm. */
#include "core/files/safetensors.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/core/files/files_support.h"
#include "tests/support/mutants.h"

TestSuite(core_files_safetensors, .init = scratch_make, .fini = scratch_remove);

static ts_error err;
static float six[] = {1, 2, 3, 4, 5, 6};
static double two[] = {0.5, -1};
static int64_t one[] = {1LL << 40};
static uint16_t halves[] = {0x3f80, 0xc000};
static uint8_t three[] = {7, 8, 9};

static const ts_named_tensor tensors[] = {
    {"encoder.conv1.weight", {TS_F32, {2, {2, 3}}, six}},
    {"b", {TS_F64, {1, {2}}, two}},
    {"a \"quoted\" name", {TS_I64, {0, {0}}, one}},
    {"half", {TS_BF16, {1, {2}}, halves}},
    {"bytes", {TS_U8, {1, {3}}, three}},
    {"empty", {TS_F32, {2, {0, 4}}, NULL}},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };
static const char *const metadata[] = {"format", "pt", "config", "{\"a\": 1}", NULL};

static const char *write_sample(void)
{
    cr_assert_eq(ts_safetensors_write(scratch("a.safetensors"), tensors, TENSORS, metadata, &err), TS_OK, "%s",
                 err.text);
    return scratch("a.safetensors");
}

Test(core_files_safetensors, what_is_written_is_read_back)
{
    ts_safetensors *f;
    const char *path = write_sample(), *key, *text;
    cr_assert(ts_safetensors_is_one(path));
    cr_assert_eq(ts_safetensors_open(&f, path, TS_ERR_CHECKPOINT, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_safetensors_count(f), TENSORS);
    cr_expect_eq(ts_safetensors_header_bytes(f) % 8, 0);
    for (int i = 0; i < TENSORS; i++) {
        const ts_safetensors_entry *e = ts_safetensors_find(f, tensors[i].name);
        ts_arena arena = {0};
        ts_tensor t;
        cr_assert(e && ts_shape_equal(e->shape, tensors[i].tensor.shape), "%s", tensors[i].name);
        cr_assert_eq(ts_safetensors_load(f, e, &arena, &t, &err), TS_OK, "%s", err.text);
        cr_expect_eq(t.dtype, tensors[i].tensor.dtype);
        cr_expect_eq(ts_tensor_bytes(&t), e->bytes);
        if (e->bytes)
            cr_expect_arr_eq(t.data, tensors[i].tensor.data, e->bytes);
        ts_arena_clear(&arena);
    }
    cr_expect_null(ts_safetensors_find(f, "c"));
    cr_assert(ts_safetensors_metadata(f, 1, &key, &text));
    cr_expect(strcmp(key, "format") == 0 && strcmp(text, "pt") == 0);
    cr_expect_not(ts_safetensors_metadata(f, 2, &key, &text));
    ts_safetensors_close(f);
}

Test(core_files_safetensors, a_name_twice_is_not_written)
{
    const ts_named_tensor twice[] = {tensors[0], tensors[0]};
    cr_assert_eq(ts_safetensors_write(scratch("b"), twice, 2, NULL, &err), TS_ERR_RUNTIME);
    cr_assert_eq(files_in_scratch(), 0);
}

/* ---- files as others might make them ---- */

static size_t build(unsigned char *file, const char *header, const char *data, size_t data_bytes)
{
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, data, data_bytes);
    return 8 + n + data_bytes;
}

/* In memory of exactly its size, so that a read behind its end is seen. */
static ts_status parse(ts_safetensors **f, const unsigned char *bytes, size_t count)
{
    unsigned char *own = malloc(count + 1);
    memcpy(own, bytes, count);
    ts_status status = ts_safetensors_parse(f, own, count, "mutant", TS_ERR_CHECKPOINT, &err);
    if (status != TS_OK)
        free(own);
    return status;
}

Test(core_files_safetensors, half_precision_becomes_f32)
{
    unsigned char file[200];
    ts_safetensors *f;
    ts_arena arena = {0};
    ts_tensor t;
    /* 1, -2, 2^-24, 65504, infinity */
    size_t n = build(file, "{\"h\":{\"dtype\":\"F16\",\"shape\":[5],\"data_offsets\":[0,10]}}",
                     "\x00\x3c\x00\xc0\x01\x00\xff\x7b\x00\x7c", 10);
    cr_assert_eq(ts_safetensors_parse(&f, file, n, "half", TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_safetensors_load(f, ts_safetensors_at(f, 0), &arena, &t, &err), TS_OK);
    const float *x = t.data;
    cr_expect(t.dtype == TS_F32 && x[0] == 1 && x[1] == -2 && x[2] == 0x1p-24f && x[3] == 65504 && x[4] > 1e38f);
    ts_arena_clear(&arena);
    ts_safetensors_close(f);
}

#define F32_4 "\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":"
static const struct {
    const char *header, *message;
} refused[] = {
    {"[]", "does not begin with '{'"},
    {" {}", "does not begin with '{'"},
    {"{", "no JSON object"},
    {"{\"a\":{" F32_4 "[0,16]},\"a\":{" F32_4 "[0,16]}}", "no JSON object"},
    {"{\"a\":{" F32_4 "[0,16],\"dtype\":\"F32\"}}", "no JSON object"},
    {"{\"a\":3}", "not described"},
    {"{\"a\":{" F32_4 "[0,16],\"more\":1}}", "not described"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "not described"},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[4],\"data_offsets\":[0,16]}}", "dtype that the format does not know"},
    {"{\"a\":{\"dtype\":3,\"shape\":[4],\"data_offsets\":[0,16]}}", "dtype that the format does not know"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", "has no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", "no number from 0 on"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", "no number from 0 on"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}", "7 dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,16]}}", "overflows"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,16]}}", "overflows"},
    {"{\"a\":{" F32_4 "[0,12]}}", "16 bytes, and has 12"},
    {"{\"a\":{" F32_4 "[4,20]}}", "outside of the 16 bytes"},
    {"{\"a\":{" F32_4 "[-16,0]}}", "outside of the 16 bytes"},
    {"{\"a\":{" F32_4 "[16,0]}}", "outside of the 16 bytes"},
    {"{\"a\":{" F32_4 "[0]}}", "outside of the 16 bytes"},
    {"{\"a\":{" F32_4 "[0,16]},\"b\":{" F32_4 "[0,16]}}", "begins at byte 0 of the data, where 16"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[8,12]}}", "begins at byte 8 of the data, where 0"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", "the tensors have 4 bytes, the file has 16"},
    {"{}", "the tensors have 0 bytes, the file has 16"},
    {"{\"a\":{" F32_4 "[0,16]},\"__metadata__\":{\"a\":1}}", "'a' is no text"},
    {"{\"a\":{" F32_4 "[0,16]},\"__metadata__\":[]}", "no object of texts"},
};

Test(core_files_safetensors, what_the_format_forbids_is_refused)
{
    size_t count = sizeof refused / sizeof *refused;
    for (size_t i = 0; i < count; i++) {
        unsigned char file[400];
        ts_safetensors *f;
        size_t n = build(file, refused[i].header, "0123456789abcdef", 16);
        cr_assert_eq(parse(&f, file, n), TS_ERR_CHECKPOINT, "%s", refused[i].header);
        cr_assert(!f && strstr(err.text, refused[i].message) && !strchr(err.text, '\n'), "%s: %s", refused[i].header,
                  err.text);
    }
    cr_assert_geq(count, 27);
}

Test(core_files_safetensors, lengths_that_lie)
{
    static const uint64_t lengths[] = {0, 1, 3, 100000001, UINT64_MAX, UINT64_MAX - 7, 1ULL << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unsigned char file[100];
        ts_safetensors *f;
        size_t n = build(file, "{}", "", 0);
        for (int k = 0; k < 8; k++)
            file[k] = (unsigned char)(lengths[i] >> 8 * k);
        cr_assert_eq(parse(&f, file, n), TS_ERR_CHECKPOINT);
    }
    ts_safetensors *f;
    cr_assert_eq(ts_safetensors_open(&f, scratch("none"), TS_ERR_CHECKPOINT, &err), TS_ERR_CHECKPOINT);
    cr_assert(strstr(err.text, "No such file"), "%s", err.text);
    cr_assert_eq(ts_safetensors_open(&f, scratch(""), TS_ERR_DATA, &err), TS_ERR_DATA);
    write_bytes(scratch("nothing"), "", 0);
    cr_assert_eq(ts_safetensors_open(&f, scratch("nothing"), TS_ERR_DATA, &err), TS_ERR_DATA);
}

/* ---- mutants ---- */

/* Changes that keep the header JSON more often than random bytes do. */
static const char *const words[] = {"0",
                                    "16",
                                    "-1",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    ",",
                                    ":",
                                    "\"",
                                    "F16",
                                    "F64",
                                    "shape",
                                    "dtype",
                                    "data_offsets",
                                    "__metadata__",
                                    "9223372036854775807",
                                    "1e3",
                                    NULL};

/* Everything that a caller may ask of what was accepted. */
static void use(ts_safetensors *f)
{
    const char *key, *text;
    for (int64_t i = 0; i < ts_safetensors_count(f); i++) {
        const ts_safetensors_entry *e = ts_safetensors_at(f, i);
        ts_arena arena = {0};
        ts_tensor t;
        cr_assert_not_null(ts_safetensors_find(f, e->name));
        if (ts_safetensors_load(f, e, &arena, &t, &err) == TS_OK)
            cr_assert_geq(ts_tensor_bytes(&t) * 2, e->bytes);
        ts_arena_clear(&arena);
    }
    for (int64_t i = 0; ts_safetensors_metadata(f, i, &key, &text); i++)
        cr_assert_not_null(text);
}

/* TESSERA_FUZZ=N makes N mutants. */
Test(core_files_safetensors, no_mutant_does_harm, .timeout = 3600)
{
    size_t whole;
    unsigned char *sample = read_bytes(write_sample(), &whole);
    int64_t executions = mutants_asked(20000), accepted = 0;
    for (int64_t i = 0; i < executions; i++) {
        size_t count = whole;
        unsigned char *own = mutant_of(sample, &count, 0, words);
        if (count > whole) /* the length of the header as well, mostly */
            own[0] = (unsigned char)(own[0] + count - whole);
        ts_safetensors *f;
        ts_status status = ts_safetensors_parse(&f, own, count, "mutant", TS_ERR_CHECKPOINT, &err);
        cr_assert(status == TS_OK || (status == TS_ERR_CHECKPOINT && !f && strncmp(err.text, "mutant: ", 8) == 0), "%s",
                  err.text);
        accepted += status == TS_OK;
        if (status == TS_OK)
            use(f);
        ts_safetensors_close(f);
        free(own);
    }
    for (size_t n = 0; n < whole; n++) {
        ts_safetensors *f;
        cr_assert_eq(parse(&f, sample, n), TS_ERR_CHECKPOINT, "%zu bytes", n);
    }
    cr_log_info("%lld mutants, %lld accepted", (long long)executions, (long long)accepted);
    cr_assert(accepted > executions / 100 && accepted < executions * 9 / 10, "%lld accepted", (long long)accepted);
    free(sample);
}

Test(core_files_safetensors, out_of_memory_is_an_error)
{
    const char *path = write_sample();
    for (int i = 1; i < 20; i++) {
        ts_safetensors *f;
        ts_alloc_fail_at(i);
        ts_status status = ts_safetensors_open(&f, path, TS_ERR_CHECKPOINT, &err);
        ts_alloc_fail_at(0);
        cr_assert(status == TS_OK || (status == TS_ERR_RUNTIME && !f), "%s", err.text);
        ts_safetensors_close(f);
        if (status == TS_OK)
            return;
    }
    cr_assert_fail("it never works");
}
