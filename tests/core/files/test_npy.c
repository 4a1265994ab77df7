/* .npy: what NumPy writes is read, what it would not write is refused, and no change of a byte does harm. */
#include "core/files/npy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/bytes.h"
#include "tests/core/files/files_support.h"
#include "tests/support/mutants.h"
#include "tests/support/shared.h"

TestSuite(core_files_npy, .init = scratch_make, .fini = scratch_remove);

static ts_error err;

/* A file of this version and header text, then `count` bytes. Returns its path. */
static const char *write_npy(int version, const char *header, const void *values, size_t count)
{
    static unsigned char file[4096];
    size_t length = strlen(header), start = version == 1 ? 10 : 12;
    cr_assert_lt(start + length + count, sizeof file);
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (unsigned char)version;
    file[7] = 0;
    for (size_t i = 8; i < start; i++)
        file[i] = (unsigned char)(length >> 8 * (i - 8));
    memcpy(file + start, header, length);
    if (count)
        memcpy(file + start + length, values, count);
    write_bytes(scratch("a.npy"), file, start + length + count);
    return scratch("a.npy");
}

static ts_npy must_open(const char *path)
{
    ts_npy npy;
    cr_assert_eq(ts_npy_open(&npy, path, &err), TS_OK, "%s", err.text);
    return npy;
}

static void must_refuse(const char *path, const char *text)
{
    ts_npy npy;
    ts_npy_info info;
    cr_assert_eq(ts_npy_open(&npy, path, &err), TS_ERR_DATA, "expected an error with \"%s\"", text);
    cr_assert(strstr(err.text, text) && strstr(err.text, path), "expected \"%s\" in: %s", text, err.text);
    cr_assert_eq(ts_npy_read_info(&info, path, &err), TS_ERR_DATA);
}

static void expect_floats(const char *path, ts_shape shape, const float *expected)
{
    ts_npy npy = must_open(path);
    cr_assert(npy.tensor.dtype == TS_F32 && ts_shape_equal(npy.tensor.shape, shape), "%s",
              ts_shape_print(npy.tensor.shape).text);
    for (int64_t i = 0; i < ts_shape_count(shape); i++)
        cr_assert_eq(((float *)npy.tensor.data)[i], expected[i], "value %d", (int)i);
    ts_npy_close(&npy);
}

static const float six[6] = {0, 1, -2, 3.5f, 1e-20f, 6};
static const float turned[6] = {0, -2, 1e-20f, 1, 3.5f, 6}; /* six as [2, 3] in Fortran order */

/* ---- what is read ---- */

Test(core_files_npy, versions_keys_in_any_order_and_quotes)
{
    static const char *const headers[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }            \n",
        "{'shape':(2,3),'descr':'<f4','fortran_order':False}\n",
        "{ \"fortran_order\" : False , \"descr\" : \"<f4\" , \"shape\" : ( 2 , 3 , ) , }\n"};
    for (int version = 1; version <= 3; version++)
        for (int i = 0; i < 3; i++)
            expect_floats(write_npy(version, headers[i], six, sizeof six), ts_shape_of(2, 3), six);
}

Test(core_files_npy, f4_in_c_order_is_mapped_where_it_is_aligned)
{
    for (int spaces = 0; spaces < 4; spaces++) { /* one of the four puts the values on a multiple of 4 */
        char header[100];
        snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}%*s\n", spaces, "");
        const char *path = write_npy(1, header, six, sizeof six);
        ts_npy npy = must_open(path);
        cr_assert_eq(npy.map != NULL, npy.info.data_start % 4 == 0);
        ts_npy_close(&npy);
        expect_floats(path, ts_shape_of(6), six);
    }
}

Test(core_files_npy, fortran_order_becomes_row_major)
{
    const char *header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n";
    expect_floats(write_npy(1, header, six, sizeof six), ts_shape_of(2, 3), turned);
    float deep[24], expected[24];
    for (int i = 0; i < 24; i++) /* value at [a, b, c] of [2, 3, 4] is 100 a + 10 b + c */
        deep[i] = (float)(100 * (i % 2) + 10 * (i / 2 % 3) + i / 6);
    for (int i = 0; i < 24; i++)
        expected[i] = (float)(100 * (i / 12) + 10 * (i / 4 % 3) + i % 4);
    header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3, 4), }\n";
    expect_floats(write_npy(2, header, deep, sizeof deep), ts_shape_of(2, 3, 4), expected);
}

Test(core_files_npy, f8_and_f2_become_f32)
{
    double wide[3] = {1.5, -3.0e38, 0.1};
    float narrowed[3] = {1.5f, -3.0e38f, 0.1f};
    expect_floats(write_npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", wide, sizeof wide),
                  ts_shape_of(3), narrowed);
    uint16_t half[8] = {0x0000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x83ff, 0x7c00, 0xfc00};
    float halves[8] = {0, 1, -2, 65504, 0x1p-24f, -1023 * 0x1p-24f, INFINITY, -INFINITY};
    expect_floats(write_npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (8,), }\n", half, sizeof half),
                  ts_shape_of(8), halves);
    uint16_t nan = 0x7e01;
    ts_npy npy = must_open(write_npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (), }\n", &nan, 2));
    cr_assert(npy.tensor.shape.rank == 0 && isnan(*(float *)npy.tensor.data));
    ts_npy_close(&npy);
}

Test(core_files_npy, written_and_read_again)
{
    int64_t tokens[4] = {3, -1, INT64_MAX, 0};
    const ts_tensor t[] = {{TS_F32, ts_shape_of(2, 3), (void *)six}, {TS_I64, ts_shape_of(4), tokens},
                           {TS_I32, ts_shape_of(2, 2, 2), tokens},   {TS_U8, ts_shape_of(1, 32), tokens},
                           {TS_F32, ts_shape_of(), (void *)six},     {TS_F32, ts_shape_of(0, 263), (void *)six}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        cr_assert_eq(ts_npy_write(scratch("w.npy"), &t[i], &err), TS_OK, "%s", err.text);
        ts_npy npy = must_open(scratch("w.npy"));
        cr_assert(npy.map && npy.info.data_start % 64 == 0, "case %zu", i);
        cr_assert(npy.tensor.dtype == t[i].dtype && ts_shape_equal(npy.tensor.shape, t[i].shape));
        cr_assert_eq(memcmp(npy.tensor.data, t[i].data, ts_tensor_bytes(&t[i])), 0);
        ts_npy_close(&npy);
    }
    double wide[2] = {1, 0.5};
    ts_tensor f8 = {TS_F64, ts_shape_of(2), wide}, bf16 = {TS_BF16, ts_shape_of(2), wide};
    cr_assert_eq(ts_npy_write(scratch("w.npy"), &f8, &err), TS_OK);
    expect_floats(scratch("w.npy"), ts_shape_of(2), (float[]){1, 0.5f});
    cr_assert_eq(ts_npy_write(scratch("w.npy"), &bf16, &err), TS_ERR_DATA);
    cr_assert_eq(ts_npy_write(scratch("none/w.npy"), &f8, &err), TS_ERR_DATA);
}

/* ---- what is refused ---- */

Test(core_files_npy, headers_that_numpy_does_not_write)
{
    static const char *const cases[][2] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }\n", "big-endian"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (6,), }\n", "Python objects"},
        {"{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (6,), }\n", "structures"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }\n", "'<c8'"},
        {"{'descr': '=f4', 'fortran_order': False, 'shape': (6,), }\n", "'=f4'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (6,), }\n", "values of type"},
        {"{'descr': '<f4', 'fortran_order': false, 'shape': (6,), }\n", "True or False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6), }\n", "','"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [6], }\n", "a shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }\n", "length of an axis"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6.0,), }\n", "',' or ')'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }\n", "',' or ')'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (,), }\n", "length of an axis"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,6), }\n", "at most 6 axes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", "length of an axis"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296), }\n", "64 bits"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2305843009213693952,), }\n", "64 bits"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }\n",
         "28 bytes behind the header, found 24; the file"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }\n", "20 bytes behind the header, found 24"},
        {"{'descr': '<f4', 'fortran_order': False, }\n", "descr, fortran_order and shape"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (6,), }\n", "each once"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'extra': 1, }\n", "each once"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (6,), }\n", "a key"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), } x\n", "a line feed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", "a line feed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)", "a key"},
        {"", "'{'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        must_refuse(write_npy(1, cases[i][0], six, sizeof six), cases[i][1]);
}

Test(core_files_npy, files_that_are_none)
{
    const char *header = "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n";
    must_refuse(write_npy(4, header, six, sizeof six), "version 4.0");
    must_refuse(scratch("missing.npy"), "No such file");
    must_refuse("/tmp", "not a regular file");
    write_bytes(scratch("e.npy"), "", 0);
    must_refuse(scratch("e.npy"), "not a .npy file");
    write_bytes(scratch("t.npy"), "PK\003\004 an npz archive", 20);
    must_refuse(scratch("t.npy"), "not a .npy file");
    write_bytes(scratch("h.npy"), "\x93NUMPY\x02\0\xff\xff\xff\xff{'descr'", 20);
    must_refuse(scratch("h.npy"), "header of 4294967295 bytes");
}

/* Cut anywhere, and any byte of the header replaced: read without harm, or refused with a message. What is still
 * accepted is an array of as many bytes. */
Test(core_files_npy, no_mutant_does_harm)
{
    const char *path =
        write_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", six, sizeof six);
    size_t count;
    unsigned char *whole = read_bytes(path, &count);
    int64_t accepted = 0, refused = 0;
    ts_npy_info info;
    for (size_t n = 0; n < count; n++) {
        unsigned char *cut = malloc(n + 1); /* of its own size, so that a read behind the end is seen */
        memcpy(cut, whole, n);
        cr_assert_eq(ts_npy_parse(&info, cut, n, n, "cut", &err), TS_ERR_DATA, "%zu bytes", n);
        free(cut);
    }
    for (size_t at = 0; at < count - sizeof six; at++)
        for (int value = 0; value < 256; value++) {
            unsigned char *mutant = malloc(count + 1);
            memcpy(mutant, whole, count);
            mutant[at] = (unsigned char)value;
            if (ts_npy_parse(&info, mutant, count, count, "mutant", &err) == TS_OK) {
                cr_assert_eq(ts_shape_count(info.shape) * info.value_bytes, (int64_t)(count - (size_t)info.data_start));
                accepted++;
            } else {
                cr_assert(err.code == TS_ERR_DATA && strncmp(err.text, "mutant: ", 8) == 0, "%s", err.text);
                refused++;
            }
            free(mutant);
        }
    cr_assert_gt(refused, 10000);
    cr_assert_lt(accepted, 1000); /* the unchanged byte, spaces, versions, i4 for f4 */
    free(whole);
}

/* Mutants of three headers, as bytes and, where those are taken, as a file with all its values. */
Test(core_files_npy, mutants, .timeout = 3600)
{
    static const char *const words[] = {"0",
                                        "3",
                                        "-1",
                                        "(",
                                        ")",
                                        ",",
                                        "'",
                                        ":",
                                        "{",
                                        "}",
                                        "<f4",
                                        "<f2",
                                        "<f8",
                                        ">f4",
                                        "|u1",
                                        "<i8",
                                        "True",
                                        "shape",
                                        "descr",
                                        "fortran_order",
                                        "9223372036854775807",
                                        "99999999999999999999",
                                        " ",
                                        "L",
                                        NULL};
    static const struct {
        int version;
        const char *header;
    } kinds[] = {{1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n"},
                 {2, "{'descr': '<f8', 'fortran_order': True, 'shape': (3,), }  \n"},
                 {3, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4), }\n"}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    unsigned char *whole[KINDS];
    size_t bytes[KINDS];
    int64_t executions = mutants_asked(20000), accepted = 0;
    for (int k = 0; k < KINDS; k++)
        whole[k] = read_bytes(write_npy(kinds[k].version, kinds[k].header, six, sizeof six), &bytes[k]);
    for (int64_t i = 0; i < executions; i++) {
        size_t count = bytes[i % KINDS];
        unsigned char *mutant = mutant_of(whole[i % KINDS], &count, 0, words);
        ts_npy_info info;
        ts_npy npy;
        ts_status status = ts_npy_parse(&info, mutant, count, count, "mutant", &err);
        cr_assert(status == TS_OK || (status == TS_ERR_DATA && strncmp(err.text, "mutant: ", 8) == 0), "%s", err.text);
        accepted += status == TS_OK;
        if (status == TS_OK) {
            cr_assert_eq(ts_npy_open(&npy, mutant_file(mutant, count), &err), TS_OK, "%s", err.text);
            const unsigned char *value = npy.tensor.data;
            uint64_t sum = 0;
            for (size_t b = 0; b < ts_tensor_bytes(&npy.tensor); b++)
                sum += value[b];
            cr_assert_leq(sum, 255 * ts_tensor_bytes(&npy.tensor));
            ts_npy_close(&npy);
        }
        free(mutant);
    }
    cr_log_info("%lld mutants, %lld accepted", (long long)executions, (long long)accepted);
    cr_assert(accepted > executions / 100 && accepted < executions * 9 / 10, "%lld accepted", (long long)accepted);
    for (int k = 0; k < KINDS; k++)
        free(whole[k]);
}

/* Every motion file of the shared data: the shape that its README gives, and no NaN. */
Test(core_files_npy, real_motion)
{
    const char *path = shared_path("data/motion/Mean.npy");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_npy npy = must_open(path);
    cr_assert(npy.map && ts_shape_equal(npy.tensor.shape, ts_shape_of(263)));
    ts_npy_close(&npy);
    npy = must_open(shared_path("data/motion/new_joint_vecs/cmu_002_03.npy"));
    cr_assert(npy.map && ts_shape_equal(npy.tensor.shape, ts_shape_of(42, 263)));
    for (int64_t i = 0; i < 42 * 263; i++)
        cr_assert(isfinite(((float *)npy.tensor.data)[i]));
    ts_npy_close(&npy);
}

Test(core_files_npy, out_of_memory_is_an_error)
{
    ts_npy npy;
    const char *path = write_npy(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", six, sizeof six);
    ts_alloc_fail_at(1);
    cr_assert_eq(ts_npy_open(&npy, path, &err), TS_ERR_RUNTIME);
    ts_alloc_fail_at(0);
}
