#include "models/pixels.h"

#include <math.h>
#include <stddef.h>

#include "core/memory.h"

const char *const ts_range_names[] = {"[-1,1]", "[0,1]", "[-0.5,0.5]", NULL};

/* x = (scale * pixel - shift) / width: the numerator is a small integer, hence one rounding. */
static const struct {
    float scale, shift, width;
} affine[] = {[TS_RANGE_SIGNED] = {2, 255, 255}, [TS_RANGE_UNIT] = {1, 0, 255}, [TS_RANGE_CENTERED] = {2, 255, 510}};

float ts_range_low(ts_range range)
{
    return -affine[range].shift / affine[range].width;
}

float ts_range_width(ts_range range)
{
    return range == TS_RANGE_SIGNED ? 2.0f : 1.0f;
}

void ts_pixels_to_float(ts_range range, const uint8_t *restrict pixels, int64_t n, float *restrict out)
{
    float scale = affine[range].scale, shift = affine[range].shift, width = affine[range].width;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = (scale * (float)pixels[i] - shift) / width;
}

void ts_pixels_from_float(ts_range range, const float *restrict values, int64_t n, uint8_t *restrict out)
{
    float scale = affine[range].scale, shift = affine[range].shift, width = affine[range].width;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float x = (values[i] * width + shift) / scale + 0.5f;
        x = x > 0.0f ? x : 0.0f; /* NaN too */
        out[i] = (uint8_t)(int)(x < 255.0f ? x : 255.0f);
    }
}

void ts_pixels_mirror(float *image, int64_t h, int64_t w, int64_t c)
{
    for (int64_t y = 0; y < h; y++) {
        for (int64_t left = 0, right = w - 1; left < right; left++, right--) {
            float *a = image + (y * w + left) * c, *b = image + (y * w + right) * c;
            for (int64_t k = 0; k < c; k++) {
                float swap = a[k];
                a[k] = b[k];
                b[k] = swap;
            }
        }
    }
}

/* Weights of one axis: output i is the sum of `taps` inputs from first[i] on. */
typedef struct {
    int64_t taps;
    int64_t *first; /* [out] */
    float *weight;  /* [out, taps]; zero where fewer are needed */
} filter;

static void filter_clear(filter *f)
{
    ts_free(f->first);
    ts_free(f->weight);
}

static void filter_row(filter *f, int64_t i, double ratio, double radius, int64_t in)
{
    double centre = ((double)i + 0.5) * ratio, sum = 0;
    int64_t from = (int64_t)fmax(0, floor(centre - radius));
    if (from > in - f->taps)
        from = in - f->taps; /* taps <= in */
    f->first[i] = from;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t k = 0; k < f->taps; k++) {
            double w = fmax(0, 1 - fabs(((double)(from + k) + 0.5 - centre) / radius));
            if (pass == 0)
                sum += w;
            else
                f->weight[i * f->taps + k] = (float)(w / sum);
        }
    }
}

static ts_status filter_init(filter *f, int64_t in, int64_t out, ts_error *err)
{
    double ratio = (double)in / (double)out, radius = fmax(1, ratio);
    f->taps = (int64_t)ceil(2 * radius) + 1;
    f->taps = f->taps < in ? f->taps : in;
    f->first = ts_calloc((size_t)out, sizeof *f->first);
    f->weight = ts_calloc((size_t)(out * f->taps), sizeof *f->weight);
    if (!f->first || !f->weight)
        return ts_out_of_memory(err, (size_t)(out * f->taps) * sizeof *f->weight);
    for (int64_t i = 0; i < out; i++)
        filter_row(f, i, ratio, radius, in);
    return TS_OK;
}

/* Rows first: middle [in_h, out_w, c] in float, so that nothing is rounded twice. */
static void resize_columns(const filter *f, const uint8_t *in, int64_t rows, int64_t in_w, int64_t c, float *middle,
                           int64_t out_w)
{
    for (int64_t y = 0; y < rows; y++) {
        for (int64_t x = 0; x < out_w; x++) {
            const uint8_t *from = in + (y * in_w + f->first[x]) * c;
            float sum[4] = {0};
            for (int64_t t = 0; t < f->taps; t++)
                for (int64_t k = 0; k < c; k++)
                    sum[k] += f->weight[x * f->taps + t] * (float)from[t * c + k];
            for (int64_t k = 0; k < c; k++)
                middle[(y * out_w + x) * c + k] = sum[k];
        }
    }
}

static void resize_rows(const filter *f, const float *middle, int64_t width, float *line, uint8_t *out, int64_t out_h)
{
    for (int64_t y = 0; y < out_h; y++) {
        for (int64_t i = 0; i < width; i++)
            line[i] = 0.5f;
        for (int64_t t = 0; t < f->taps; t++) {
            const float *from = middle + (f->first[y] + t) * width;
            float weight = f->weight[y * f->taps + t];
            for (int64_t i = 0; i < width; i++)
                line[i] += weight * from[i];
        }
        for (int64_t i = 0; i < width; i++)
            out[y * width + i] = (uint8_t)(int)(line[i] < 255.0f ? line[i] : 255.0f);
    }
}

ts_status ts_pixels_resize(const uint8_t *in, int64_t in_h, int64_t in_w, int64_t c, uint8_t *out, int64_t out_h,
                           int64_t out_w, ts_error *err)
{
    ts_status status;
    filter across = {0}, down = {0};
    float *line = NULL, *middle = ts_alloc((size_t)(in_h * out_w * c) * sizeof *middle);
    if (!middle || !(line = ts_alloc((size_t)(out_w * c) * sizeof *line))) {
        status = ts_out_of_memory(err, (size_t)((in_h + 1) * out_w * c) * sizeof *middle);
        goto out;
    }
    TS_GO(filter_init(&across, in_w, out_w, err));
    TS_GO(filter_init(&down, in_h, out_h, err));
    resize_columns(&across, in, in_h, in_w, c, middle, out_w);
    resize_rows(&down, middle, out_w * c, line, out, out_h);
out:
    filter_clear(&across);
    filter_clear(&down);
    ts_free(middle);
    ts_free(line);
    return status;
}
