#define _GNU_SOURCE
#include "core/files/container.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/files/container_internal.h"
#include "core/files/hdf5.h"
#include "core/memory.h"
#include "core/random.h"
#include "tests/core/files/files_support.h"
#include "tests/support/mutants.h"
#include "tests/support/shared.h"

TestSuite(core_files_container, .init = scratch_make, .fini = scratch_remove);

#ifdef TS_SANITIZED
enum { MUTANTS = 500, KILLS = 10 };
#else
enum { MUTANTS = 4000, KILLS = 100 };
#endif

static ts_error err;

/* ---- one small container with every dtype ---- */

static float weight[30], nothing[1];
static double tenth = 0.1;
static int64_t step = (int64_t)1 << 40, longs[2] = {INT64_MIN, INT64_MAX};
static int32_t ints[2] = {INT32_MIN, INT32_MAX};
static uint16_t halves[2] = {0x3f80, 0xc000};
static uint8_t bytes[3] = {0, 127, 255};

static ts_named_tensor content[] = {
    {"empty", {TS_F32, {2, {0, 4}}, nothing}},   {"f64", {TS_F64, {1, {1}}, &tenth}},
    {"i32", {TS_I32, {1, {2}}, ints}},           {"i64", {TS_I64, {2, {1, 2}}, longs}},
    {"model/bf16", {TS_BF16, {1, {2}}, halves}}, {"model/conv1.weight", {TS_F32, {3, {2, 3, 5}}, weight}},
    {"step", {TS_I64, {0, {0}}, &step}},         {"u8", {TS_U8, {1, {3}}, bytes}},
};
enum { COUNT = sizeof content / sizeof *content };

static const char config[] = "seed: 7\nname: caf\xc3\xa9\n";

static ts_status save(const char *path, ts_replace_policy policy)
{
    ts_container_writer *w;
    for (int i = 0; i < 30; i++)
        weight[i] = (float)i / 4;
    TS_TRY(ts_container_writer_new(&w, path, &err));
    ts_status status = TS_OK;
    for (int i = 0; i < COUNT && status == TS_OK; i++)
        status = ts_container_add(w, &content[(i * 3 + 5) % COUNT], &err); /* in no order */
    if (status == TS_OK)
        status = ts_container_add_text(w, "state", "", &err);
    if (status == TS_OK)
        status = ts_container_add_text(w, "config", config, &err);
    if (status == TS_OK)
        status = ts_container_commit(w, policy, &err);
    ts_container_writer_free(w);
    return status;
}

static bool has_the_content(ts_container *c)
{
    ts_arena arena = {0};
    const char *text = ts_container_text(c, "config"), *state = ts_container_text(c, "state");
    bool ok = ts_container_count(c) == COUNT && text && strcmp(text, config) == 0 && state && !*state;
    for (int i = 0; i < COUNT && ok; i++) {
        const ts_tensor *want = &content[i].tensor;
        ts_tensor t;
        ok = ts_container_load(c, content[i].name, &arena, &t, &err) == TS_OK && t.dtype == want->dtype &&
             ts_shape_equal(t.shape, want->shape) && memcmp(t.data, want->data, ts_tensor_bytes(&t)) == 0 &&
             strcmp(ts_container_at(c, i)->name, content[i].name) == 0;
    }
    ts_arena_clear(&arena);
    return ok;
}

static ts_container *open_ok(const char *path)
{
    ts_container *c;
    cr_assert_eq(ts_container_open(&c, path, &err), TS_OK, "%s", err.text);
    return c;
}

static void refused(const char *path, const char *says)
{
    ts_container *c;
    cr_assert_eq(ts_container_open(&c, path, &err), TS_ERR_CHECKPOINT, "%s", says);
    cr_assert_null(c);
    cr_assert(strstr(err.text, says) && strncmp(err.text, path, strlen(path)) == 0, "%s", err.text);
}

Test(core_files_container, round_trip_of_every_dtype)
{
    const char *path = scratch("a.h5");
    cr_assert_eq(save(path, TS_REPLACE_KEEP), TS_OK, "%s", err.text);
    ts_container *c = open_ok(path);
    cr_assert(has_the_content(c));
    cr_assert_eq(ts_container_verify(c, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_container_text_count(c), 2);
    cr_assert_str_eq(ts_container_text_at(c, 0)->name, "config");
    cr_assert_null(ts_container_text(c, "absent"));
    cr_assert_null(ts_container_find(c, "absent"));
    cr_assert(ts_container_is_one(path));
    ts_container_close(c);
    cr_assert_eq(files_in_scratch(), 1);
}

Test(core_files_container, asks_for_the_right_tensor)
{
    cr_assert_eq(save(scratch("a.h5"), TS_REPLACE_KEEP), TS_OK);
    ts_container *c = open_ok(scratch("a.h5"));
    float room[64];
    ts_tensor wrong_shape = {TS_F32, ts_shape_of(2, 15), room}, wrong_dtype = {TS_I32, ts_shape_of(2, 3, 5), room};
    cr_assert_eq(ts_container_read(c, "model/conv1.weight", &wrong_shape, &err), TS_ERR_CHECKPOINT);
    cr_assert(strstr(err.text, "expected f32 [2, 15], found f32 [2, 3, 5]"), "%s", err.text);
    cr_assert_eq(ts_container_read(c, "model/conv1.weight", &wrong_dtype, &err), TS_ERR_CHECKPOINT);
    cr_assert_eq(ts_container_read(c, "model/none", &wrong_dtype, &err), TS_ERR_CHECKPOINT);
    cr_assert(strstr(err.text, "no tensor model/none"), "%s", err.text);
    ts_container_close(c);
}

Test(core_files_container, bad_names)
{
    static const char *const bad[] = {"", "/x", "manifest", "a/../b", "a//b", "x", "\xff\xfe"};
    float one = 1;
    ts_container_writer *w;
    cr_assert_eq(ts_container_writer_new(&w, "unused.h5", &err), TS_OK);
    ts_named_tensor t = {"x", {TS_F32, ts_shape_of(), &one}};
    cr_assert_eq(ts_container_add(w, &t, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_container_add_text(w, "x", "a text may have a tensor's name", &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_container_add_text(w, "x", "again", &err), TS_ERR_CHECKPOINT);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        t.name = bad[i];
        cr_assert_eq(ts_container_add(w, &t, &err), TS_ERR_CHECKPOINT, "\"%s\"", bad[i]);
    }
    ts_container_writer_free(w);
}

Test(core_files_container, same_content_same_bytes)
{
    size_t n[2];
    char *file[2];
    const char *names[2] = {scratch("a.h5"), scratch("b.h5")};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(save(names[i], TS_REPLACE_DROP), TS_OK);
        file[i] = read_bytes(names[i], &n[i]);
    }
    cr_assert(n[0] == n[1] && memcmp(file[0], file[1], n[0]) == 0);
    free(file[0]);
    free(file[1]);
}

/* More than a chunk, more than a slab, many tensors, long texts. */
Test(core_files_container, large)
{
    enum { ROWS = 5000, COLUMNS = 1024, MANY = 600 };
    float *x = ts_alloc(sizeof(float[ROWS][COLUMNS]));
    char *text = ts_calloc(200001, 1), name[32];
    memset(text, 't', 200000);
    for (int64_t i = 0; i < (int64_t)ROWS * COLUMNS; i++)
        x[i] = (float)i;
    ts_container_writer *w;
    cr_assert_eq(ts_container_writer_new(&w, scratch("big.h5"), &err), TS_OK);
    ts_named_tensor t = {"big", {TS_F32, ts_shape_of(ROWS, COLUMNS), x}};
    cr_assert_eq(ts_container_add(w, &t, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "model/layer%d.bias", i);
        cr_assert_eq(ts_container_add(w, &(ts_named_tensor){name, {TS_F32, ts_shape_of(8), x + i}}, &err), TS_OK);
    }
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "text%d", i);
        cr_assert_eq(ts_container_add_text(w, name, text + i, &err), TS_OK, "%s", err.text);
    }
    cr_assert_eq(ts_container_commit(w, TS_REPLACE_KEEP, &err), TS_OK, "%s", err.text);
    ts_container_writer_free(w);
    ts_container *c = open_ok(scratch("big.h5"));
    cr_assert_eq(ts_container_count(c), MANY + 1);
    ts_arena arena = {0};
    cr_assert_eq(ts_container_load(c, "big", &arena, &t.tensor, &err), TS_OK, "%s", err.text);
    cr_assert_eq(memcmp(t.tensor.data, x, ts_tensor_bytes(&t.tensor)), 0);
    cr_assert_eq(ts_container_verify(c, &err), TS_OK, "%s", err.text);
    cr_assert_str_eq(ts_container_text(c, "text11"), text + 11);
    ts_container_close(c);
    ts_arena_clear(&arena);
    ts_free(text);
    ts_free(x);
}

Test(core_files_container, h5py_opens_it)
{
    if (!python_has("h5py")) {
        skip_counted("no h5py");
        return;
    }
    cr_assert_eq(save(scratch("a.h5"), TS_REPLACE_DROP), TS_OK, "%s", err.text);
    cr_assert_eq(run_python("container_h5py.py", scratch("a.h5"), NULL), 0);
}

/* ---- refusals ---- */

/* Makes the checks of the user block pass for a changed file. */
static void repair(unsigned char *file, size_t n, uint32_t version)
{
    ts_user_block block = {
        version, TS_USER_BLOCK_BYTES, n, ts_hash_bytes(file + TS_USER_BLOCK_BYTES, n - TS_USER_BLOCK_BYTES), {{0}}};
    ts_user_block_encode(&block, file);
}

Test(core_files_container, says_what_is_wrong)
{
    const char *path = scratch("a.h5"), *bad = scratch("bad.h5");
    cr_assert_eq(save(path, TS_REPLACE_DROP), TS_OK);
    size_t n;
    unsigned char *file = read_bytes(path, &n);
    refused(scratch("missing.h5"), "No such file");
    refused("/tmp", "not a regular file");
    write_bytes(bad, "", 0);
    refused(bad, "empty (0 bytes)");
    write_bytes(bad, "\211HDF\r\n\032\n and so on", 18);
    refused(bad, "not a Tessera checkpoint");
    cr_assert(!ts_container_is_one(bad) && !ts_container_is_one(scratch("missing.h5")));
    write_bytes(bad, file, 100);
    refused(bad, "truncated: 100 bytes are there");
    write_bytes(bad, file, n - 1);
    char says[64];
    snprintf(says, sizeof says, "truncated: %zu of %zu bytes", n - 1, n);
    refused(bad, says);
    write_bytes(bad, file, n + 1);
    refused(bad, "were written");
    file[n - 1] ^= 1;
    write_bytes(bad, file, n);
    refused(bad, "XXH3-128 differs");
    file[n - 1] ^= 1;
    repair(file, n, TS_CONTAINER_VERSION + 1);
    write_bytes(bad, file, n);
    refused(bad, "newer version of Tessera (format 2");
    repair(file, n, 0);
    write_bytes(bad, file, n);
    refused(bad, "makes no sense");
    free(file);
}

Test(core_files_container, a_refusal_names_the_save_before)
{
    const char *path = scratch("last.h5");
    cr_assert_eq(save(path, TS_REPLACE_KEEP), TS_OK);
    cr_assert_eq(save(path, TS_REPLACE_KEEP), TS_OK);
    cr_assert_eq(truncate(path, 600), 0);
    refused(path, "last.prev.h5");
    ts_container *c = open_ok(scratch("last.prev.h5"));
    cr_assert(has_the_content(c));
    ts_container_close(c);
}

/* A copy of the file on which single places are changed and put back. */
typedef struct {
    const char *path;
    unsigned char *file;
    size_t n;
    int fd;
} patient;

static patient patient_new(void)
{
    patient p = {.path = scratch("patient.h5")};
    cr_assert_eq(save(p.path, TS_REPLACE_DROP), TS_OK, "%s", err.text);
    p.file = read_bytes(p.path, &p.n);
    p.fd = open(p.path, O_RDWR);
    return p;
}

static void change(const patient *p, size_t at, const void *what, size_t count)
{
    cr_assert_eq(pwrite(p->fd, what, count, (off_t)at), (ssize_t)count);
}

static void change_is_refused(const patient *p, size_t at, const void *what, size_t count)
{
    ts_container *c;
    change(p, at, what, count);
    cr_assert_eq(ts_container_open(&c, p->path, &err), TS_ERR_CHECKPOINT, "byte %zu: not refused", at);
    change(p, at, p->file + at, count);
}

static void patient_free(patient *p)
{
    ts_container *c = open_ok(p->path); /* everything was put back */
    ts_container_close(c);
    close(p->fd);
    free(p->file);
}

Test(core_files_container, every_flipped_byte_is_found)
{
    patient p = patient_new();
    for (size_t i = 0; i < p.n; i++) {
        unsigned char flipped = (unsigned char)~p.file[i], bit = p.file[i] ^ (unsigned char)(1 << i % 8);
        change_is_refused(&p, i, &flipped, 1);
        change_is_refused(&p, i, &bit, 1);
    }
    patient_free(&p);
}

/* Fletcher-32 does not see these. */
Test(core_files_container, every_swapped_word_is_found)
{
    patient p = patient_new();
    static const unsigned char words[2][2] = {{0, 0}, {0xff, 0xff}};
    int found = 0;
    for (size_t i = 0; i + 1 < p.n; i++)
        for (int k = 0; k < 2; k++)
            if (memcmp(p.file + i, words[k], 2) == 0) {
                change_is_refused(&p, i, words[!k], 2);
                found++;
            }
    cr_assert_gt(found, 500);
    patient_free(&p);
}

Test(core_files_container, every_truncation_is_found)
{
    patient p = patient_new();
    ts_container *c;
    for (size_t n = p.n; n-- > 0;) {
        cr_assert_eq(ftruncate(p.fd, (off_t)n), 0);
        cr_assert_eq(ts_container_open(&c, p.path, &err), TS_ERR_CHECKPOINT, "%zu bytes", n);
        cr_assert(strstr(err.text, n ? "truncated" : "empty"), "%s", err.text);
    }
    change(&p, 0, p.file, p.n);
    patient_free(&p);
}

static uint64_t draw(uint64_t mutant, uint64_t i, uint64_t below)
{
    return ts_random_below((ts_random_key){20, 26}, mutant, i, below);
}

Test(core_files_container, random_mutants_are_found)
{
    patient p = patient_new();
    for (uint64_t m = 0; m < MUTANTS; m++) {
        uint64_t changes = 1 + draw(m, 0, 3);
        ts_container *c;
        for (uint64_t k = 1; k <= changes; k++) {
            size_t at = draw(m, 3 * k, p.n);
            unsigned char other = (unsigned char)(p.file[at] + 1 + draw(m, 3 * k + 1, 255));
            change(&p, at, &other, 1);
        }
        cr_assert_eq(ts_container_open(&c, p.path, &err), TS_ERR_CHECKPOINT, "mutant %d", (int)m);
        change(&p, 0, p.file, p.n);
    }
    patient_free(&p);
}

/* A container of one tensor whose manifest is this text, forged; in memory of libhdf5's making. */
static unsigned char *with_manifest(const void *manifest, size_t count, size_t *n)
{
    ts_h5 *file;
    void *image;
    ts_named_tensor x = {"model/x", {TS_F32, ts_shape_of(2, 3), weight}};
    ts_named_tensor m = {TS_CONTAINER_MANIFEST, {TS_U8, ts_shape_of((int64_t)count), (void *)(uintptr_t)manifest}};
    cr_assert_eq(ts_h5_create(&file, "mutant", TS_USER_BLOCK_BYTES, TS_ERR_CHECKPOINT, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write(file, &x, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write(file, &m, &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_write_text(file, "/", "config", "a: 1", &err), TS_OK, "%s", err.text);
    cr_assert_eq(ts_h5_finish(file, &image, n, &err), TS_OK, "%s", err.text);
    ts_h5_close(file);
    repair(image, *n, TS_CONTAINER_VERSION);
    return image;
}

/* The manifest that belongs to it. */
static char *true_manifest(void)
{
    ts_hash_text x = ts_hash_print(ts_hash_bytes(weight, 6 * sizeof *weight));
    ts_hash_text config_hash = ts_hash_print(ts_hash_bytes("a: 1", 4));
    return ts_format("{\"format\":1,\"tensors\":{\"model/x\":{\"dtype\":\"f32\",\"shape\":[2,3],\"xxh3\":\"%s\"}},"
                     "\"texts\":{\"config\":{\"bytes\":4,\"xxh3\":\"%s\"}}}",
                     x.text, config_hash.text);
}

/* Everything that a caller may ask of what was opened. */
static void use_container(ts_container *c)
{
    for (int64_t i = 0; i < ts_container_count(c); i++) {
        const ts_container_entry *e = ts_container_at(c, i);
        ts_arena arena = {0};
        ts_tensor t;
        cr_assert_not_null(ts_container_find(c, e->name));
        if (ts_container_load(c, e->name, &arena, &t, &err) == TS_OK)
            cr_assert(ts_shape_equal(t.shape, e->shape));
        ts_arena_clear(&arena);
    }
    for (int64_t i = 0; i < ts_container_text_count(c); i++)
        cr_assert_not_null(ts_container_text(c, ts_container_text_at(c, i)->name));
    (void)!ts_container_verify(c, &err);
}

/* As a file came (the hashes find it); with hashes that were made to fit, so that libhdf5 sees it; and with a mutant
 * for its manifest, so that we do. */
Test(core_files_container, no_mutant_does_harm, .timeout = 7200)
{
    static const char *const words[] = {"0",
                                        "-1",
                                        "[",
                                        "]",
                                        "{",
                                        "}",
                                        ",",
                                        ":",
                                        "\"",
                                        "f64",
                                        "dtype",
                                        "shape",
                                        "xxh3",
                                        "model/x/y",
                                        "tensors",
                                        "texts",
                                        "9223372036854775807",
                                        "4294967296",
                                        "1e3",
                                        NULL};
    patient p = patient_new();
    char *manifest = true_manifest();
    int64_t executions = mutants_asked(MUTANTS), accepted = 0;
    for (int64_t i = 0; i < executions; i++) {
        ts_container *c;
        size_t count = i % 3 < 2 ? p.n : strlen(manifest), n = 0;
        unsigned char *mutant = mutant_of(i % 3 < 2 ? p.file : (const unsigned char *)manifest, &count,
                                          i % 3 == 1 ? TS_USER_BLOCK_BYTES : 0, i % 3 == 2 ? words : NULL);
        if (i % 3 == 1)
            repair(mutant, count, TS_CONTAINER_VERSION);
        unsigned char *forged = i % 3 == 2 ? with_manifest(mutant, count, &n) : NULL;
        const char *path = forged ? mutant_file(forged, n) : mutant_file(mutant, count);
        ts_status status = ts_container_open(&c, path, &err);
        cr_assert(status == TS_OK ? i % 3 > 0 || memcmp(mutant, p.file, p.n) == 0
                                  : status == TS_ERR_CHECKPOINT && !c && strncmp(err.text, path, strlen(path)) == 0,
                  "mutant %lld: %s", (long long)i, err.text);
        accepted += status == TS_OK;
        if (status == TS_OK)
            use_container(c);
        ts_container_close(c);
        ts_free(forged);
        free(mutant);
    }
    cr_log_info("%lld mutants, %lld accepted", (long long)executions, (long long)accepted);
    cr_assert(accepted > executions / 1000 && accepted < executions / 2, "%lld accepted", (long long)accepted);
    ts_free(manifest);
    patient_free(&p);
}

/* The second wall: were the hash of the file to pass, the format's own checksums and the hash of each tensor still keep
 * wrong values out. */
static bool wrong_value_gets_through(const patient *p, unsigned char *changed)
{
    ts_container *c;
    bool through = false;
    repair(changed, p->n, TS_CONTAINER_VERSION);
    change(p, 0, changed, p->n);
    if (ts_container_open(&c, p->path, &err) == TS_OK) {
        through = ts_container_verify(c, &err) == TS_OK && !has_the_content(c);
        ts_container_close(c);
    }
    memcpy(changed, p->file, p->n);
    return through;
}

Test(core_files_container, behind_a_forged_header_nothing_wrong_gets_through)
{
    patient p = patient_new();
    unsigned char *changed = malloc(p.n);
    memcpy(changed, p.file, p.n);
    for (uint64_t m = 0; m < MUTANTS; m++) {
        for (uint64_t k = 0; k <= draw(m, 0, 3); k++)
            changed[TS_USER_BLOCK_BYTES + draw(m, 3 * k + 1, p.n - TS_USER_BLOCK_BYTES)] ^=
                (unsigned char)(1 + draw(m, 3 * k + 2, 255));
        cr_assert(!wrong_value_gets_through(&p, changed), "mutant %d", (int)m);
    }
    int by_tensor_hash = 0;
    for (size_t i = TS_USER_BLOCK_BYTES; i + 1 < p.n; i++) {
        if (changed[i] || changed[i + 1])
            continue;
        changed[i] = changed[i + 1] = 0xff;
        cr_assert(!wrong_value_gets_through(&p, changed), "word at %zu", i);
        by_tensor_hash += strstr(err.text, "the tensor") != NULL;
        err.text[0] = '\0';
    }
    cr_assert_gt(by_tensor_hash, 0, "no word that Fletcher-32 misses");
    change(&p, 0, p.file, p.n);
    free(changed);
    patient_free(&p);
}

/* ---- failing disks and memory ---- */

Test(core_files_container, failing_disk)
{
    static const int errors[] = {ENOSPC, EIO, TS_REPLACE_SHORT, EINTR};
    const char *path = scratch("a.h5");
    cr_assert_eq(save(path, TS_REPLACE_KEEP), TS_OK);
    cr_assert_eq(save(path, TS_REPLACE_KEEP), TS_OK);
    ts_replace_fail_at(0, 0);
    cr_assert_eq(save(path, TS_REPLACE_KEEP), TS_OK);
    uint64_t calls = ts_replace_fail_at(0, 0);
    cr_assert_geq(calls, 8);
    for (size_t e = 0; e < 4; e++)
        for (uint64_t n = 1; n <= calls; n++) {
            ts_replace_fail_at(n, errors[e]);
            ts_status status = save(path, TS_REPLACE_KEEP);
            ts_replace_fail_at(0, 0);
            cr_assert_eq(status, e < 2 ? TS_ERR_CHECKPOINT : TS_OK, "call %d", (int)n);
            ts_container *c = open_ok(path), *before = open_ok(scratch("a.prev.h5"));
            cr_assert(has_the_content(c) && has_the_content(before));
            ts_container_close(before);
            ts_container_close(c);
            cr_assert_eq(files_in_scratch(), 2);
        }
}

Test(core_files_container, failing_memory)
{
    const char *path = scratch("a.h5");
    cr_assert_eq(save(path, TS_REPLACE_DROP), TS_OK);
    ts_alloc_fail_at(0);
    cr_assert_eq(save(path, TS_REPLACE_DROP), TS_OK);
    uint64_t allocations = ts_alloc_fail_at(0);
    cr_assert_gt(allocations, 20);
    int failed = 0;
    for (uint64_t n = 1; n <= allocations; n++) {
        ts_alloc_fail_at(n);
        failed += save(path, TS_REPLACE_DROP) != TS_OK;
        ts_alloc_fail_at(0);
        ts_container *c = open_ok(path);
        cr_assert(has_the_content(c));
        ts_container_close(c);
        cr_assert_eq(files_in_scratch(), 1);
    }
    cr_assert_gt(failed, (int)allocations / 2);
    for (uint64_t n = 1; n < 100; n++) {
        ts_container *c;
        ts_alloc_fail_at(n);
        if (ts_container_open(&c, path, &err) == TS_OK) {
            ts_alloc_fail_at(0);
            cr_assert(has_the_content(c));
        }
        ts_alloc_fail_at(0);
        ts_container_close(c);
    }
}

Test(core_files_container, places_that_take_no_file)
{
    cr_assert_eq(save("/proc/last.h5", TS_REPLACE_KEEP), TS_ERR_CHECKPOINT);
    cr_assert_eq(save("/nonexistent/last.h5", TS_REPLACE_KEEP), TS_ERR_CHECKPOINT);
    cr_assert(strstr(err.text, "/nonexistent/last.h5: not saved"), "%s", err.text);
}

Test(core_files_container, a_locked_folder)
{
    mkdir(scratch("locked"), 0500);
    uid_t user = geteuid();
    if (user == 0)
        cr_assert_eq(seteuid(65534), 0); /* root may write everywhere */
    cr_assert_eq(save(scratch("locked/last.h5"), TS_REPLACE_KEEP), TS_ERR_CHECKPOINT);
    cr_assert_eq(seteuid(user), 0);
    cr_assert(strstr(err.text, "Permission denied"), "%s", err.text);
}

/* The kernel itself refuses to write more than so many bytes. */
Test(core_files_container, a_disk_that_fills_up)
{
    const char *path = scratch("a.h5");
    struct stat s;
    cr_assert_eq(save(path, TS_REPLACE_DROP), TS_OK);
    cr_assert_eq(stat(path, &s), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit < (rlim_t)s.st_size; limit += 127) {
        struct rlimit full = {limit, RLIM_INFINITY}, open_again = {RLIM_INFINITY, RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &full);
        ts_status status = save(path, TS_REPLACE_DROP);
        setrlimit(RLIMIT_FSIZE, &open_again);
        cr_assert_eq(status, TS_ERR_CHECKPOINT, "at %d bytes", (int)limit);
        ts_container *c = open_ok(path);
        cr_assert(has_the_content(c));
        ts_container_close(c);
        cr_assert_eq(files_in_scratch(), 1);
    }
}

/* ---- kill -9 ---- */

enum { PARTS = 6, PART_COUNT = 16384 };

static void save_step(const char *path, int64_t number)
{
    static float part[PART_COUNT];
    char name[16];
    ts_container_writer *w;
    for (int i = 0; i < PART_COUNT; i++)
        part[i] = (float)number;
    cr_assert_eq(ts_container_writer_new(&w, path, &err), TS_OK);
    for (int i = 0; i < PARTS; i++) {
        snprintf(name, sizeof name, "part%d", i);
        ts_named_tensor t = {name, {TS_F32, ts_shape_of(PART_COUNT), part}};
        cr_assert_eq(ts_container_add(w, &t, &err), TS_OK);
    }
    cr_assert_eq(ts_container_commit(w, TS_REPLACE_KEEP, &err), TS_OK, "%s", err.text);
    ts_container_writer_free(w);
}

/* The step that the whole file is of; the test fails where it is not of one. */
static int64_t step_of(const char *path)
{
    ts_container *c = open_ok(path);
    ts_arena arena = {0};
    float first = -1;
    for (int i = 0; i < PARTS; i++) {
        ts_tensor t;
        cr_assert_eq(ts_container_load(c, ts_container_at(c, i)->name, &arena, &t, &err), TS_OK, "%s", err.text);
        const float *x = t.data;
        first = i ? first : x[0];
        for (int k = 0; k < PART_COUNT; k++)
            cr_assert_eq(x[k], first, "%s mixes two steps", path);
    }
    ts_arena_clear(&arena);
    ts_container_close(c);
    return (int64_t)first;
}

static void save_until_killed(const char *path, int64_t number)
{
    for (;; number++)
        save_step(path, number);
}

static int64_t duration_of_save(const char *path, int64_t number)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    save_step(path, number);
    clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t ns = (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
    return ns < 200000000 ? ns : 200000000;
}

/* Until the child has begun to save, however busy the machine is; at most ten seconds. */
static void await_file(const char *path)
{
    const struct timespec moment = {0, 200000};
    for (int i = 0; i < 50000 && access(path, F_OK) != 0; i++)
        nanosleep(&moment, NULL);
}

Test(core_files_container, survives_kill_9, .timeout = 300)
{
    const char *path = scratch("last.h5"), *previous = scratch("last.prev.h5");
    int in_mid_save = 0;
    int64_t newest = 1;
    const int64_t save_ns = duration_of_save(path, newest);
    for (uint64_t kill_number = 0; kill_number < KILLS; kill_number++) {
        pid_t child = fork();
        if (child == 0)
            save_until_killed(path, newest + 1);
        char left[64];
        snprintf(left, sizeof left, "last.h5.tmp.%d", (int)child);
        await_file(scratch(left));
        if (kill_number % 2) { /* every other kill comes within the next saves */
            struct timespec nap = {0, (long)draw(kill_number, 9, (uint64_t)(4 * save_ns))};
            nanosleep(&nap, NULL);
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        in_mid_save += access(scratch(left), F_OK) == 0;
        int64_t now = step_of(path);
        cr_assert_geq(now, newest, "step %lld was there, now %lld", (long long)newest, (long long)now);
        if (access(previous, F_OK) == 0)
            cr_assert_geq(step_of(previous), now - 1);
        newest = now;
    }
    save_step(path, newest + 1);
    cr_assert_eq(files_in_scratch(), 2, "temporary files are left over");
    cr_assert_gt(in_mid_save, KILLS / 10, "only %d of the kills came in mid-save", in_mid_save);
    cr_assert_gt(newest, 1);
}
