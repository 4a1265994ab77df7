#define _GNU_SOURCE
#include "core/files/image.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/memory.h"
#include "core/random.h"
#include "tests/core/files/files_support.h"
#include "tests/support/shared.h"

TestSuite(core_files_image, .init = scratch_make, .fini = scratch_remove);

static ts_error err;

/* 16 x 8 pixels, RGB, (15 x, 30 y, 128), quality 75, colour at half resolution. */
static const unsigned char small_jpeg[] = {
    0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10, 0x4a, 0x46, 0x49, 0x46, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00,
    0x00, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x08, 0x06, 0x06, 0x07, 0x06, 0x05, 0x08, 0x07, 0x07, 0x07, 0x09, 0x09, 0x08,
    0x0a, 0x0c, 0x14, 0x0d, 0x0c, 0x0b, 0x0b, 0x0c, 0x19, 0x12, 0x13, 0x0f, 0x14, 0x1d, 0x1a, 0x1f, 0x1e, 0x1d, 0x1a,
    0x1c, 0x1c, 0x20, 0x24, 0x2e, 0x27, 0x20, 0x22, 0x2c, 0x23, 0x1c, 0x1c, 0x28, 0x37, 0x29, 0x2c, 0x30, 0x31, 0x34,
    0x34, 0x34, 0x1f, 0x27, 0x39, 0x3d, 0x38, 0x32, 0x3c, 0x2e, 0x33, 0x34, 0x32, 0xff, 0xdb, 0x00, 0x43, 0x01, 0x09,
    0x09, 0x09, 0x0c, 0x0b, 0x0c, 0x18, 0x0d, 0x0d, 0x18, 0x32, 0x21, 0x1c, 0x21, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32,
    0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32,
    0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0x32,
    0x32, 0x32, 0x32, 0x32, 0x32, 0x32, 0xff, 0xc0, 0x00, 0x11, 0x08, 0x00, 0x08, 0x00, 0x10, 0x03, 0x01, 0x22, 0x00,
    0x02, 0x11, 0x01, 0x03, 0x11, 0x01, 0xff, 0xc4, 0x00, 0x15, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0xff, 0xc4, 0x00, 0x19, 0x10, 0x00, 0x01, 0x05, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x06, 0x23, 0x31, 0xa1, 0xff,
    0xc4, 0x00, 0x15, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x03, 0x04, 0xff, 0xc4, 0x00, 0x1a, 0x11, 0x00, 0x02, 0x02, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x03, 0x04, 0x21, 0x22, 0x51, 0xff, 0xda, 0x00, 0x0c, 0x03, 0x01, 0x00,
    0x02, 0x11, 0x03, 0x11, 0x00, 0x3f, 0x00, 0x9b, 0x42, 0xca, 0xa8, 0xb0, 0xa4, 0x42, 0xc9, 0xa8, 0xb0, 0x00, 0xed,
    0x30, 0x9f, 0xa4, 0x08, 0x5a, 0x59, 0xc6, 0xc7, 0xff, 0xd9};

static void refused(const char *path, const char *says)
{
    ts_image image;
    cr_assert_eq(ts_image_read(&image, path, 3, TS_ERR_DATA, &err), TS_ERR_DATA, "%s: %s", path, says);
    cr_assert_null(image.pixels);
    cr_assert(strstr(err.text, says) && strncmp(err.text, path, strlen(path)) == 0, "%s", err.text);
}

static void write_png(const char *path, int64_t height, int64_t width, int channels, uint8_t *pixels)
{
    ts_image image = {height, width, channels, pixels};
    cr_assert_eq(ts_image_write_png(path, &image, &err), TS_OK, "%s", err.text);
}

Test(core_files_image, png_round_trip)
{
    static const int sizes[][2] = {{1, 1}, {1, 7}, {64, 33}, {300, 200}};
    uint8_t *pixels = ts_alloc(300 * 200 * 3);
    for (uint64_t i = 0; i < 300 * 200 * 3; i++)
        pixels[i] = (uint8_t)(ts_random_bits((ts_random_key){1, 2}, 0, i) >> (i % 3 ? 24 : 30));
    for (int k = 0; k < 4; k++)
        for (int channels = 1; channels <= 3; channels += 2) {
            ts_image image;
            int64_t h = sizes[k][0], w = sizes[k][1];
            write_png(scratch("a.png"), h, w, channels, pixels);
            cr_assert_eq(ts_image_read(&image, scratch("a.png"), 0, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
            cr_assert(image.height == h && image.width == w && image.channels == channels);
            cr_assert_eq(memcmp(image.pixels, pixels, (size_t)(h * w * channels)), 0);
            ts_image_clear(&image);
        }
    ts_free(pixels);
    cr_assert_eq(files_in_scratch(), 1);
}

Test(core_files_image, gray_and_rgb_on_request)
{
    uint8_t rgb[6] = {255, 0, 0, 10, 20, 30}, gray[2] = {7, 250};
    ts_image image;
    write_png(scratch("rgb.png"), 1, 2, 3, rgb);
    cr_assert_eq(ts_image_read(&image, scratch("rgb.png"), 1, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(image.channels == 1 && image.pixels[0] == 76 && image.pixels[1] == 18);
    ts_image_clear(&image);
    write_png(scratch("gray.png"), 1, 2, 1, gray);
    cr_assert_eq(ts_image_read(&image, scratch("gray.png"), 3, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(image.channels == 3 && memcmp(image.pixels, "\7\7\7\372\372\372", 6) == 0);
    ts_image_clear(&image);
}

Test(core_files_image, jpeg)
{
    ts_image image;
    write_bytes(scratch("called.png"), small_jpeg, sizeof small_jpeg);
    cr_assert_eq(ts_image_read(&image, scratch("called.png"), 0, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(image.height == 8 && image.width == 16 && image.channels == 3);
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 16; x++) {
            const uint8_t *p = image.pixels + 3 * (16 * y + x);
            cr_assert(abs(p[0] - 15 * x) < 40 && abs(p[1] - 30 * y) < 40 && abs(p[2] - 128) < 40);
        }
    ts_image_clear(&image);
}

/* ---- against Pillow ---- */

static void same_pixels(const char *name, const char *kind, int channels)
{
    char picture[64], raw[64];
    snprintf(picture, sizeof picture, "%s.%s", name, kind);
    snprintf(raw, sizeof raw, "%s.%s", name, channels == 1 ? "gray" : "rgb");
    ts_image image;
    size_t n;
    uint8_t *want = read_bytes(scratch(raw), &n);
    cr_assert_eq(ts_image_read(&image, scratch(picture), channels, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
    cr_assert(image.height == 19 && image.width == 23 && n == (size_t)(19 * 23 * channels), "%s", picture);
    int tolerance = strcmp(kind, "jpg") == 0 ? 2 : 0; /* another libjpeg may round another way */
    for (size_t i = 0; i < n; i++)
        cr_assert_leq(abs(image.pixels[i] - want[i]), tolerance, "%s, %d channels, at %zu: %d, not %d", picture,
                      channels, i, image.pixels[i], want[i]);
    ts_image_clear(&image);
    free(want);
}

Test(core_files_image, the_same_pixels_as_pillow)
{
    static const char *const png[] = {"gray", "rgb", "bits1", "palette", "rgba", "la", "deep", "interlaced"};
    static const char *const jpg[] = {"jpeg", "half", "progressive", "jpeggray", "cmyk"};
    if (!python_has("PIL") || !python_has("numpy")) {
        skip_counted("no Pillow");
        return;
    }
    cr_assert_eq(run_python("images_pillow.py", scratch(""), NULL), 0);
    for (int channels = 1; channels <= 3; channels += 2) {
        for (int i = 0; i < 8; i++)
            same_pixels(png[i], "png", channels);
        for (int i = 0; i < 5; i++)
            same_pixels(jpg[i], "jpg", channels);
    }
}

Test(core_files_image, photographs)
{
    char name[64];
    for (int i = 1; i <= 3; i++) {
        snprintf(name, sizeof name, "data/kodak/kodim%02d.png", i);
        const char *path = shared_path(name);
        if (!path) {
            skip_counted("no shared data");
            return;
        }
        ts_image image;
        cr_assert_eq(ts_image_read(&image, path, 3, TS_ERR_DATA, &err), TS_OK, "%s", err.text);
        cr_assert(image.height * image.width == 768 * 512);
        ts_image_clear(&image);
    }
}

/* ---- what is refused ---- */

Test(core_files_image, says_what_is_wrong)
{
    refused(scratch("none.png"), "No such file");
    write_bytes(scratch("empty.png"), "", 0);
    refused(scratch("empty.png"), "empty (0 bytes)");
    write_bytes(scratch("text.png"), "GIF89a, or so", 13);
    refused(scratch("text.png"), "neither a PNG nor a JPEG");
    uint8_t pixel = 0;
    ts_image none = {0, 1, 1, &pixel}, four = {1, 1, 4, &pixel}, one = {1, 1, 1, &pixel};
    cr_assert_eq(ts_image_write_png(scratch("x.png"), &none, &err), TS_ERR_DATA);
    cr_assert_eq(ts_image_write_png(scratch("x.png"), &four, &err), TS_ERR_DATA);
    cr_assert_eq(ts_image_write_png("/nonexistent/x.png", &one, &err), TS_ERR_DATA);
    cr_assert(strstr(err.text, "/nonexistent/x.png"), "%s", err.text);
}

/* 30000 x 30000 pixels in 57 bytes. */
Test(core_files_image, too_many_pixels)
{
    static const unsigned char end[24] = "\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82";
    static const unsigned char side[4] = {0xfd, 0xe8, 0xfd, 0xe8}; /* 65000 x 65000 */
    unsigned char png[57] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x75\x30\0\0\x75\x30\x08\2\0\0\0";
    uint32_t crc = (uint32_t)crc32(0, png + 12, 17);
    for (int i = 0; i < 4; i++)
        png[29 + i] = (unsigned char)(crc >> (24 - 8 * i));
    memcpy(png + 33, end, sizeof end);
    write_bytes(scratch("huge.png"), png, sizeof png);
    refused(scratch("huge.png"), "larger than the limit");
    unsigned char jpeg[sizeof small_jpeg];
    memcpy(jpeg, small_jpeg, sizeof jpeg);
    unsigned char *frame = memmem(jpeg, sizeof jpeg, "\xff\xc0", 2);
    memcpy(frame + 5, side, sizeof side);
    write_bytes(scratch("huge.jpg"), jpeg, sizeof jpeg);
    refused(scratch("huge.jpg"), "larger than the limit");
}

Test(core_files_image, cut_anywhere)
{
    uint8_t pixels[48];
    for (int i = 0; i < 48; i++)
        pixels[i] = (uint8_t)(i * 37);
    size_t n;
    write_png(scratch("a.png"), 4, 4, 3, pixels);
    char *png = read_bytes(scratch("a.png"), &n);
    for (size_t k = 1; k < n; k++) {
        write_bytes(scratch("cut"), png, k);
        refused(scratch("cut"), k < 8 ? "neither" : "cannot be read");
    }
    for (size_t k = 3; k < sizeof small_jpeg - 2; k++) {
        write_bytes(scratch("cut"), small_jpeg, k);
        refused(scratch("cut"), "cannot be read");
    }
    free(png);
}

Test(core_files_image, every_flipped_byte_of_a_png_is_found)
{
    uint8_t pixels[48] = {1, 2, 3};
    size_t n;
    write_png(scratch("a.png"), 4, 4, 3, pixels);
    unsigned char *png = read_bytes(scratch("a.png"), &n);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            png[i] ^= (unsigned char)(1 << bit);
            write_bytes(scratch("flip.png"), png, n);
            png[i] ^= (unsigned char)(1 << bit);
            refused(scratch("flip.png"), "");
        }
    free(png);
}

/* JPEG has no checksums: a mutant is a picture or an error, nothing else. */
Test(core_files_image, damaged_jpegs)
{
    unsigned char jpeg[sizeof small_jpeg];
#ifdef TS_SANITIZED
    int failed = 0, mutants = 300;
#else
    int failed = 0, mutants = 3000;
#endif
    ts_random_key key = {3, 4};
    for (uint64_t m = 0; m < (uint64_t)mutants; m++) {
        memcpy(jpeg, small_jpeg, sizeof jpeg);
        for (uint64_t k = 0; k < 3; k++)
            jpeg[2 + ts_random_below(key, m, 2 * k, sizeof jpeg - 2)] =
                (unsigned char)ts_random_bits(key, m, 2 * k + 1);
        write_bytes(scratch("bad.jpg"), jpeg, sizeof jpeg);
        ts_image image;
        ts_status status = ts_image_read(&image, scratch("bad.jpg"), 3, TS_ERR_DATA, &err);
        cr_assert(status == TS_OK ? image.pixels != NULL : status == TS_ERR_DATA && !image.pixels);
        failed += status != TS_OK;
        ts_image_clear(&image);
    }
    cr_assert(failed > mutants / 4 && failed < mutants);
}

Test(core_files_image, out_of_memory_is_an_error)
{
    uint8_t pixels[12] = {0};
    write_png(scratch("a.png"), 2, 2, 3, pixels);
    write_bytes(scratch("a.jpg"), small_jpeg, sizeof small_jpeg);
    for (uint64_t n = 1; n <= 3; n++)
        for (int jpeg = 0; jpeg < 2; jpeg++) {
            ts_image image;
            ts_alloc_fail_at(n);
            ts_status status = ts_image_read(&image, scratch(jpeg ? "a.jpg" : "a.png"), 0, TS_ERR_DATA, &err);
            ts_alloc_fail_at(0);
            cr_assert(n > 2 || status != TS_OK);
            ts_image_clear(&image);
        }
}
