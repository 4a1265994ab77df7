#include "core/files/bytes.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/memory.h"
#include "tests/core/files/files_support.h"
#include "tests/support/shared.h"

TestSuite(core_files_bytes, .init = scratch_make, .fini = scratch_remove);

static ts_error err;

Test(core_files_bytes, whole_files_and_the_limit)
{
    char text[10000];
    memset(text, 'z', sizeof text);
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 10000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ts_bytes b;
        write_bytes(scratch("a"), text, sizes[i]);
        cr_assert_eq(ts_bytes_read(&b, scratch("a"), sizes[i], TS_ERR_DATA, &err), TS_OK, "%s", err.text);
        cr_assert(b.count == sizes[i] && memcmp(b.data, text, sizes[i]) == 0 && b.data[sizes[i]] == 0);
        ts_bytes_clear(&b);
        if (sizes[i] == 0)
            continue;
        cr_assert_eq(ts_bytes_read(&b, scratch("a"), sizes[i] - 1, TS_ERR_DATA, &err), TS_ERR_DATA);
        cr_assert(strstr(err.text, "limit") && !b.data, "%s", err.text);
    }
}

Test(core_files_bytes, a_file_that_says_no_size)
{
    ts_bytes b;
    cr_assert_eq(ts_bytes_read(&b, "/proc/self/status", 1 << 20, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(b.count > 100 && strncmp((char *)b.data, "Name:", 5) == 0);
    ts_bytes_clear(&b);
    cr_assert_eq(ts_bytes_read(&b, "/proc/self/status", 100, TS_ERR_DATA, &err), TS_ERR_DATA);
}

Test(core_files_bytes, refused)
{
    ts_bytes b;
    cr_assert_eq(ts_bytes_read(&b, scratch("none"), 10, TS_ERR_DATA, &err), TS_ERR_DATA);
    cr_assert(strstr(err.text, "No such file"), "%s", err.text);
    cr_assert_eq(ts_bytes_read(&b, "/tmp", 10, TS_ERR_USAGE, &err), TS_ERR_USAGE);
    cr_assert(strstr(err.text, "not a regular file"), "%s", err.text);
}

static size_t pack(const char *path, const void *bytes, size_t count)
{
    gzFile f = gzopen(path, "wb");
    cr_assert(f && gzwrite(f, bytes, (unsigned)count) == (int)count);
    gzclose(f);
    size_t packed;
    free(read_bytes(path, &packed));
    return packed;
}

Test(core_files_bytes, gzip_round_trip_members_and_padding)
{
    unsigned char data[50000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * i >> 5);
    size_t packed = pack(scratch("a.gz"), data, sizeof data);
    ts_bytes b;
    cr_assert_eq(ts_bytes_read_gz(&b, scratch("a.gz"), sizeof data, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(b.count == sizeof data && memcmp(b.data, data, sizeof data) == 0);
    ts_bytes_clear(&b);
    cr_assert_eq(ts_bytes_read_gz(&b, scratch("a.gz"), sizeof data - 1, TS_ERR_DATA, &err), TS_ERR_DATA);
    size_t count;
    char *once = read_bytes(scratch("a.gz"), &count), *twice = calloc(2, packed + 512);
    memcpy(twice, once, packed);
    memcpy(twice + packed, once, packed);
    write_bytes(scratch("b"), twice, 2 * packed + 512);
    cr_assert_eq(ts_bytes_read_gz(&b, scratch("b"), 1 << 20, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(b.count == 2 * sizeof data && memcmp(b.data + sizeof data, data, sizeof data) == 0);
    ts_bytes_clear(&b);
    cr_assert_eq(ts_bytes_read_gz(&b, scratch("b"), 10, TS_ERR_DATA, &err), TS_ERR_DATA);
    write_bytes(scratch("c"), "plain", 5);
    cr_assert_eq(ts_bytes_read_gz(&b, scratch("c"), 10, TS_ERR_DATA, &err), TS_OK);
    cr_assert_str_eq((char *)b.data, "plain");
    ts_bytes_clear(&b);
    free(once);
    free(twice);
}

Test(core_files_bytes, gzip_cut_anywhere_or_damaged)
{
    char text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i * 7 % 26);
    size_t packed = pack(scratch("a.gz"), text, sizeof text), count;
    unsigned char *whole = read_bytes(scratch("a.gz"), &count);
    ts_bytes b;
    int harmless = 0;
    for (size_t n = 2; n < packed; n++) {
        write_bytes(scratch("cut.gz"), whole, n);
        cr_assert_eq(ts_bytes_read_gz(&b, scratch("cut.gz"), 4096, TS_ERR_DATA, &err), TS_ERR_DATA, "%zu bytes", n);
        cr_assert(strstr(err.text, "truncated"), "%s", err.text);
    }
    for (size_t i = 10; i < packed; i++) { /* behind the header, whose time and system are free */
        whole[i] ^= 0x40;
        write_bytes(scratch("bad.gz"), whole, packed);
        whole[i] ^= 0x40;
        if (ts_bytes_read_gz(&b, scratch("bad.gz"), 1 << 20, TS_ERR_DATA, &err) == TS_OK) {
            cr_assert(b.count == sizeof text && memcmp(b.data, text, sizeof text) == 0, "byte %zu", i);
            harmless++; /* the bits that fill up the last byte before the checksum */
            ts_bytes_clear(&b);
        }
    }
    cr_assert_leq(harmless, 1);
    free(whole);
}

Test(core_files_bytes, real_idx_file)
{
    const char *path = shared_path("data/mnist/t10k-labels-idx1-ubyte.gz");
    if (!path) {
        skip_counted("no shared data");
        return;
    }
    ts_bytes b;
    cr_assert_eq(ts_bytes_read_gz(&b, path, 1 << 20, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(b.count == 8 + 10000 && memcmp(b.data, "\0\0\x08\x01\0\0\x27\x10", 8) == 0);
    ts_bytes_clear(&b);
}

Test(core_files_bytes, out_of_memory_is_an_error)
{
    write_bytes(scratch("a"), "abc", 3);
    ts_bytes b;
    ts_alloc_fail_at(1);
    cr_assert_eq(ts_bytes_read(&b, scratch("a"), 10, TS_ERR_DATA, &err), TS_ERR_RUNTIME);
    ts_alloc_fail_at(0);
}
