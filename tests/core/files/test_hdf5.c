#include "core/files/hdf5.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/core/files/files_support.h"
#include "tests/support/shared.h"

TestSuite(core_files_hdf5, .init = scratch_make, .fini = scratch_remove);

static ts_error err;
static ts_arena arena;

static ts_h5 *open_ok(const char *path)
{
    ts_h5 *file;
    cr_assert_eq(ts_h5_open(&file, path, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    return file;
}

static void save(ts_h5 *file)
{
    cr_assert_eq(ts_h5_save(file, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
}

static ts_h5 *create_ok(const char *path, size_t user_block_bytes)
{
    ts_h5 *file;
    cr_assert_eq(ts_h5_create(&file, path, user_block_bytes, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    return file;
}

static void put(ts_h5 *file, const char *name, ts_dtype dtype, ts_shape shape, void *data)
{
    ts_named_tensor t = {name, {dtype, shape, data}};
    cr_assert_eq(ts_h5_write(file, &t, &err), TS_OK, "%s", err.text);
}

static const char *const goldens[] = {
    "fsq_lucidrains", "fsq_motionmillion", "lfq_lucidrains", "lfq_motionmillion",   "ops",         "vq_classic",
    "vq_lucidrains",  "vq_t2mgpt",         "vqvae_image",    "vqvae_motionmillion", "vqvae_t2mgpt"};

/* Every object of every golden file can be read: f32 or i32, attributes of a known kind. */
Test(core_files_hdf5, reads_the_goldens)
{
    int64_t tensors = 0, attributes = 0;
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        char name[64];
        snprintf(name, sizeof name, "golden/%s.h5", goldens[i]);
        const char *path = shared_path(name);
        if (!path) {
            skip_counted("no shared goldens");
            return;
        }
        ts_h5 *file = open_ok(path);
        ts_h5_entries all;
        cr_assert_eq(ts_h5_walk(file, "/", &arena, &all, &err), TS_OK, "%s", err.text);
        for (int64_t k = 0; k < all.count; k++) {
            ts_h5_attributes a;
            cr_assert_eq(ts_h5_read_attributes(file, all.entry[k].path, &arena, &a, &err), TS_OK, "%s", err.text);
            attributes += a.count;
            for (int64_t j = 0; j < a.count; j++)
                cr_assert_neq(a.attribute[j].kind, TS_H5_UNKNOWN);
            if (all.entry[k].kind == TS_H5_GROUP)
                continue;
            ts_tensor t;
            cr_assert_eq(ts_h5_read(file, all.entry[k].path, &arena, &t, &err), TS_OK, "%s", err.text);
            cr_assert(t.dtype == TS_F32 || t.dtype == TS_I32);
            cr_assert_eq((uintptr_t)t.data % 64, 0);
            tensors++;
        }
        ts_h5_close(file);
        ts_arena_clear(&arena);
    }
    cr_assert_gt(tensors, 3000);
    cr_assert_gt(attributes, 800);
}

Test(core_files_hdf5, golden_values)
{
    const char *path = shared_path("golden/fsq_lucidrains.h5");
    if (!path) {
        skip_counted("no shared goldens");
        return;
    }
    ts_h5 *file = open_ok(path);
    ts_h5_entries cases;
    cr_assert_eq(ts_h5_list(file, "/", &arena, &cases, &err), TS_OK);
    cr_assert_eq(cases.count, 10);
    cr_assert_str_eq(cases.entry[0].path, "/c2_sym_333");
    cr_assert_str_eq(cases.entry[6].name, "plain_865");
    ts_h5_attributes a;
    cr_assert_eq(ts_h5_read_attributes(file, "/plain_865", &arena, &a, &err), TS_OK);
    const ts_h5_attribute *levels = ts_h5_attribute_find(&a, "levels");
    cr_assert(levels && levels->kind == TS_H5_INT && levels->rank == 1 && levels->count == 3);
    cr_assert(levels->ints[0] == 8 && levels->ints[1] == 6 && levels->reals[2] == 5.0);
    cr_assert_eq(ts_h5_attribute_int(&a, "codebook_size", -1), 240);
    cr_assert_eq(ts_h5_attribute_int(&a, "absent", -1), -1);
    cr_assert_float_eq(ts_h5_attribute_real(&a, "rounding_margin", 0), 0.00359297, 1e-7);
    ts_tensor z, ids;
    cr_assert_eq(ts_h5_read(file, "plain_865/in/z", &arena, &z, &err), TS_OK, "%s", err.text);
    cr_assert(z.dtype == TS_F32 && ts_shape_equal(z.shape, ts_shape_of(2, 20, 3)));
    cr_assert_eq(ts_h5_read(file, "/plain_865/out/indices", &arena, &ids, &err), TS_OK, "%s", err.text);
    for (int64_t i = 0; i < ts_shape_count(ids.shape); i++)
        cr_assert(((int32_t *)ids.data)[i] >= 0 && ((int32_t *)ids.data)[i] < 240);
    ts_h5_close(file);
    ts_arena_clear(&arena);
}

Test(core_files_hdf5, round_trip)
{
    float f[6] = {0.0f, -1.5f, INFINITY, 1e-40f, NAN, 7.0f};
    double d = 0.1;
    int32_t i32[2] = {INT32_MIN, INT32_MAX};
    int64_t i64[2] = {INT64_MIN, INT64_MAX};
    uint8_t u8[3] = {0, 128, 255};
    uint16_t half[2] = {0x3f80, 0xffff};
    const char *names[3] = {"a", "", "longer name, caf\xc3\xa9"};
    ts_h5 *file = create_ok(scratch("a.h5"), 1024);
    put(file, "/model/encoder.conv1.weight", TS_F32, ts_shape_of(2, 3), f);
    put(file, "d", TS_F64, ts_shape_of(), &d);
    put(file, "i/32", TS_I32, ts_shape_of(2), i32);
    put(file, "i/64", TS_I64, ts_shape_of(1, 2), i64);
    put(file, "u8", TS_U8, ts_shape_of(3), u8);
    put(file, "half", TS_BF16, ts_shape_of(2), half);
    put(file, "nothing", TS_F32, ts_shape_of(0, 3), f);
    cr_assert_eq(ts_h5_write_strings(file, "/names", names, 3, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write_text(file, "/", "config", "seed: 1\n", &err), TS_OK, "%s", err.text);
    save(file);

    file = open_ok(scratch("a.h5"));
    struct {
        const char *name;
        ts_tensor want;
    } wants[] = {{"model/encoder.conv1.weight", {TS_F32, ts_shape_of(2, 3), f}},
                 {"d", {TS_F64, ts_shape_of(1), &d}},
                 {"i/32", {TS_I32, ts_shape_of(2), i32}},
                 {"i/64", {TS_I64, ts_shape_of(1, 2), i64}},
                 {"u8", {TS_U8, ts_shape_of(3), u8}},
                 {"half", {TS_BF16, ts_shape_of(2), half}},
                 {"nothing", {TS_F32, ts_shape_of(0, 3), f}}};
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        ts_tensor t;
        cr_assert_eq(ts_h5_read(file, wants[i].name, &arena, &t, &err), TS_OK, "%s", err.text);
        cr_assert_eq(t.dtype, wants[i].want.dtype, "%s", wants[i].name);
        cr_assert(ts_shape_equal(t.shape, wants[i].want.shape), "%s", wants[i].name);
        cr_assert_eq(memcmp(t.data, wants[i].want.data, ts_tensor_bytes(&t)), 0, "%s", wants[i].name);
    }
    ts_h5_strings strings;
    cr_assert_eq(ts_h5_read_strings(file, "names", &arena, &strings, &err), TS_OK, "%s", err.text);
    cr_assert_eq(strings.count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_str_eq(strings.text[i], names[i]);
    ts_h5_attributes a;
    cr_assert_eq(ts_h5_read_attributes(file, "/", &arena, &a, &err), TS_OK);
    cr_assert_str_eq(ts_h5_attribute_text(&a, "config", ""), "seed: 1\n");
    ts_h5_close(file);
    ts_arena_clear(&arena);
}

Test(core_files_hdf5, large_data_and_texts_and_rows)
{
    enum { ROWS = 3000, COLUMNS = 257 };
    float *x = ts_alloc(sizeof(float[ROWS][COLUMNS])), part[10][COLUMNS];
    char *text = ts_calloc(300001, 1);
    memset(text, 'y', 300000);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        x[i] = (float)i;
    ts_h5 *file = create_ok(scratch("b.h5"), 0);
    put(file, "x", TS_F32, ts_shape_of(ROWS, COLUMNS), x);
    cr_assert_eq(ts_h5_write_text(file, "x", "long", text, &err), TS_OK, "%s", err.text);
    save(file);
    file = open_ok(scratch("b.h5"));
    ts_tensor rows = {TS_F32, ts_shape_of(10, COLUMNS), part};
    cr_assert_eq(ts_h5_read_rows(file, "x", 2990, &rows, &err), TS_OK, "%s", err.text);
    cr_assert_eq(memcmp((char *)part, (char *)(x + 2990 * COLUMNS), sizeof part), 0);
    cr_assert_eq(ts_h5_read_rows(file, "x", 2991, &rows, &err), TS_ERR_DATA);
    cr_assert(strstr(err.text, "expected shape [10, 257] from row 2991 on, found [3000, 257]"), "%s", err.text);
    double *wide = ts_alloc(sizeof(double[ROWS][COLUMNS]));
    ts_tensor all = {TS_F64, ts_shape_of(ROWS, COLUMNS), wide};
    cr_assert_eq(ts_h5_read_into(file, "x", &all, &err), TS_OK, "%s", err.text);
    cr_assert_eq(wide[ROWS * COLUMNS - 1], (double)x[ROWS * COLUMNS - 1]);
    all.shape.dim[0]--;
    cr_assert_eq(ts_h5_read_into(file, "x", &all, &err), TS_ERR_DATA);
    ts_h5_attributes a;
    cr_assert_eq(ts_h5_read_attributes(file, "x", &arena, &a, &err), TS_OK);
    cr_assert_str_eq(ts_h5_attribute_text(&a, "long", ""), text);
    ts_h5_close(file);
    ts_free(wide);
    ts_free(text);
    ts_free(x);
    ts_arena_clear(&arena);
}

Test(core_files_hdf5, same_content_same_bytes)
{
    void *image[2];
    size_t bytes[2];
    for (int k = 0; k < 2; k++) {
        float f[3] = {1, 2, 3};
        ts_h5 *file = create_ok("same.h5", 512);
        put(file, "g/x", TS_F32, ts_shape_of(3), f);
        cr_assert_eq(ts_h5_finish(file, &image[k], &bytes[k], &err), TS_OK);
        ts_h5_close(file);
    }
    cr_assert_eq(bytes[0], bytes[1]);
    cr_assert_lt(bytes[0], 8192);
    cr_assert_eq(memcmp(image[0], image[1], bytes[0]), 0);
    ts_free(image[0]);
    ts_free(image[1]);
}

Test(core_files_hdf5, refuses_bad_names)
{
    const char *bad[] = {"", "/", "a//b", "a/", "a/./b", "..", "x"};
    float f = 1;
    ts_h5 *file = create_ok("names.h5", 0);
    put(file, "x", TS_F32, ts_shape_of(), &f);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ts_named_tensor t = {bad[i], {TS_F32, ts_shape_of(), &f}};
        cr_assert_eq(ts_h5_write(file, &t, &err), TS_ERR_DATA, "\"%s\"", bad[i]);
    }
    ts_h5_close(file);
}

Test(core_files_hdf5, open_says_why)
{
    static const struct {
        const char *name, *bytes, *says;
    } cases[] = {{"missing.h5", NULL, "No such file"},
                 {"empty.h5", "", "empty (0 bytes)"},
                 {"text.h5", "this is no HDF5 file\n", "not an HDF5 file"},
                 {"cut.h5", "\211HDF\r\n\032\n", "cannot be opened"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = scratch(cases[i].name);
        if (cases[i].bytes)
            write_bytes(path, cases[i].bytes, strlen(cases[i].bytes));
        ts_h5 *file;
        cr_assert_eq(ts_h5_open(&file, path, TS_ERR_CHECKPOINT, &err), TS_ERR_CHECKPOINT);
        cr_assert_null(file);
        cr_assert(strstr(err.text, cases[i].says) && strstr(err.text, path), "%s", err.text);
    }
    ts_h5 *file;
    cr_assert_eq(ts_h5_open(&file, "/tmp", TS_ERR_DATA, &err), TS_ERR_DATA);
    cr_assert(strstr(err.text, "not a regular file"), "%s", err.text);
}

static void check_numbers(ts_h5 *file, const char *name, ts_dtype dtype)
{
    char path[32];
    snprintf(path, sizeof path, "a/b/%s", name);
    ts_tensor t;
    cr_assert_eq(ts_h5_read(file, path, &arena, &t, &err), TS_OK, "%s", err.text);
    cr_assert_eq(t.dtype, dtype, "%s", name);
    double out[6];
    ts_tensor wide = {TS_F64, t.shape, out};
    cr_assert_eq(ts_h5_read_into(file, path, &wide, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(out[i], i);
}

static void check_h5py_attributes(ts_h5 *file)
{
    ts_h5_attributes a;
    cr_assert_eq(ts_h5_read_attributes(file, "", &arena, &a, &err), TS_OK, "%s", err.text);
    cr_assert_str_eq(ts_h5_attribute_text(&a, "note", ""), "variable length, caf\xc3\xa9");
    cr_assert_str_eq(ts_h5_attribute_text(&a, "fixed", ""), "fixed");
    cr_assert_eq(ts_h5_attribute_int(&a, "count", 0), 7);
    cr_assert_eq(ts_h5_attribute_int(&a, "flag", 0), 1);
    cr_assert_eq(ts_h5_attribute_real(&a, "rate", 0), 0.25);
    cr_assert_eq(ts_h5_attribute_real(&a, "count", 0), 7.0);
    const ts_h5_attribute *words = ts_h5_attribute_find(&a, "words");
    cr_assert(words && words->count == 3);
    cr_assert_str_eq(words->texts[2], "three");
    cr_assert_eq(ts_h5_attribute_find(&a, "void")->kind, TS_H5_UNKNOWN);
}

static void check_h5py_file(ts_h5 *file)
{
    static const struct {
        const char *name;
        ts_dtype dtype;
    } numbers[] = {{"i1", TS_I32}, {"i2", TS_I32}, {"i4", TS_I32}, {"i8", TS_I64}, {"u1", TS_U8},  {"u2", TS_I32},
                   {"u4", TS_I64}, {"u8", TS_I64}, {"f2", TS_F32}, {"f4", TS_F32}, {"f8", TS_F64}, {"big", TS_F32}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        check_numbers(file, numbers[i].name, numbers[i].dtype);
    check_h5py_attributes(file);
    ts_tensor t;
    cr_assert_eq(ts_h5_read(file, "a/b/bool", &arena, &t, &err), TS_OK, "%s", err.text);
    cr_assert(t.dtype == TS_U8 && memcmp(t.data, "\1\0\1", 3) == 0);
    cr_assert_eq(ts_h5_read(file, "a/b/scalar", &arena, &t, &err), TS_OK, "%s", err.text);
    cr_assert(t.shape.rank == 0 && *(float *)t.data == 2.5f);
    cr_assert_eq(ts_h5_read(file, "a/b/empty", &arena, &t, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_read(file, "a/b/packed", &arena, &t, &err), TS_OK, "%s", err.text);
    ts_h5_strings s;
    cr_assert_eq(ts_h5_read_strings(file, "a/b/strings", &arena, &s, &err), TS_OK, "%s", err.text);
    cr_assert(s.count == 3 && !strcmp(s.text[0], "clip_a") && !*s.text[1] && !strcmp(s.text[2], "clip_c"));
    cr_assert_eq(ts_h5_read_strings(file, "a/b/bytes", &arena, &s, &err), TS_OK, "%s", err.text);
    cr_assert(s.count == 2 && !strcmp(s.text[1], "yy"));
    const char *bad[] = {"a/b/none", "a/b/complex", "a/b/strings", "a/b/claimed", "a/b/elsewhere", "a/b", "a/x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(ts_h5_read(file, bad[i], &arena, &t, &err), TS_ERR_DATA, "%s", bad[i]);
    ts_h5_entries below;
    cr_assert_eq(ts_h5_list(file, "a/b", &arena, &below, &err), TS_OK, "%s", err.text);
    cr_assert_eq(below.count, 21, "%lld members", (long long)below.count); /* without the soft and the external link */
    cr_assert_eq(ts_h5_walk(file, "/", &arena, &below, &err), TS_ERR_DATA);
    cr_assert(strstr(err.text, "linked into itself"), "%s", err.text);
}

Test(core_files_hdf5, reads_what_h5py_writes)
{
    if (!python_has("h5py")) {
        skip_counted("no h5py");
        return;
    }
    static const char *const versions[] = {"earliest", "latest"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(run_python("hdf5_from_h5py.py", scratch("h5py.h5"), versions[i]), 0);
        ts_h5 *file = open_ok(scratch("h5py.h5"));
        check_h5py_file(file);
        ts_h5_close(file);
        ts_arena_clear(&arena);
    }
}

static void *write_and_read(void *context)
{
    ts_error why;
    for (int k = 0; k < 50; k++) {
        int32_t x[4] = {k, *(int *)context, 2, 3};
        ts_named_tensor t = {"x", {TS_I32, ts_shape_of(4), x}};
        ts_h5 *file;
        void *image;
        size_t bytes;
        if (ts_h5_create(&file, "thread.h5", 0, TS_ERR_DATA, &why) != TS_OK || ts_h5_write(file, &t, &why) != TS_OK ||
            ts_h5_finish(file, &image, &bytes, &why) != TS_OK)
            return context;
        ts_free(image);
        ts_h5_close(file);
    }
    return NULL;
}

Test(core_files_hdf5, threads_take_turns)
{
    pthread_t thread[4];
    int number[4] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, write_and_read, &number[i]);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        cr_assert_null(failed);
    }
}

static hsize_t ids(void)
{
    static const H5I_type_t types[] = {H5I_FILE,    H5I_GROUP, H5I_DATATYPE,   H5I_DATASPACE,
                                       H5I_DATASET, H5I_ATTR,  H5I_GENPROP_LST};
    hsize_t sum = 0, count;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (H5Inmembers(types[i], &count) >= 0)
            sum += count;
    return sum;
}

static void use_everything(void)
{
    float f[3] = {1, 2, 3};
    const char *text[2] = {"a", "bc"};
    ts_tensor t;
    ts_h5_strings s;
    ts_h5_attributes a;
    ts_h5_entries all;
    ts_h5 *file = create_ok(scratch("ids.h5"), 512);
    put(file, "g/x", TS_F32, ts_shape_of(3), f);
    cr_assert_eq(ts_h5_write(file, &(ts_named_tensor){"g/x", {TS_F32, ts_shape_of(3), f}}, &err), TS_ERR_DATA);
    cr_assert_eq(ts_h5_write_strings(file, "g/s", text, 2, &err), TS_OK);
    cr_assert_eq(ts_h5_write_text(file, "g", "n", "t", &err), TS_OK);
    cr_assert_eq(ts_h5_write_text(file, "g", "n", "t", &err), TS_ERR_DATA);
    save(file);
    file = open_ok(scratch("ids.h5"));
    cr_assert_eq(ts_h5_walk(file, "/", &arena, &all, &err), TS_OK);
    cr_assert_eq(ts_h5_read(file, "g/x", &arena, &t, &err), TS_OK);
    cr_assert_eq(ts_h5_read_into(file, "g/x", &t, &err), TS_OK);
    cr_assert_eq(ts_h5_read(file, "g/s", &arena, &t, &err), TS_ERR_DATA);
    cr_assert_eq(ts_h5_read_rows(file, "g/x", 9, &(ts_tensor){TS_F32, ts_shape_of(1), f}, &err), TS_ERR_DATA);
    cr_assert_eq(ts_h5_read_strings(file, "g/s", &arena, &s, &err), TS_OK);
    cr_assert_eq(ts_h5_read_attributes(file, "g", &arena, &a, &err), TS_OK);
    cr_assert(ts_h5_exists(file, "g/x") && !ts_h5_exists(file, "g/y"));
    ts_h5_close(file);
    ts_arena_clear(&arena);
}

/* A forgotten identifier keeps its file open. */
Test(core_files_hdf5, no_identifier_is_left)
{
    use_everything();
    hsize_t before = ids();
    use_everything();
    cr_assert_eq(ids(), before);
}

/* A damaged file is refused or read; it does not bring the program down. Metadata of our own format has checksums. */
Test(core_files_hdf5, damaged_metadata)
{
    float f[3] = {1, 2, 3};
    ts_h5 *file = create_ok(scratch("c.h5"), 0);
    put(file, "g/x", TS_F32, ts_shape_of(3), f);
    save(file);
    size_t bytes;
    unsigned char *image = read_bytes(scratch("c.h5"), &bytes);
    int refused = 0;
    for (size_t i = 0; i < bytes; i++) {
        image[i] ^= 0x10;
        write_bytes(scratch("d.h5"), image, bytes);
        image[i] ^= 0x10;
        ts_tensor t;
        bool ok = ts_h5_open(&file, scratch("d.h5"), TS_ERR_DATA, &err) == TS_OK &&
                  ts_h5_read(file, "g/x", &arena, &t, &err) == TS_OK;
        if (ok)
            cr_assert(t.dtype == TS_F32 && memcmp(t.data, (void *)f, sizeof f) == 0, "byte %zu: silently wrong", i);
        refused += !ok;
        ts_h5_close(file);
    }
    cr_assert_gt(refused, 200);
    ts_arena_clear(&arena);
    free(image);
}
