/* Structural similarity. Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli: Image quality assessment, from error
 * visibility to structural similarity, 2004. The window is separable: down a strip of columns first, then along it, so
 * that the sums of a strip fit on the stack. */
#include <math.h>

#include "train/evaluate.h"

enum { TAPS = 11, STRIP = 64 };

static const double sigma = 1.5, K1 = 0.01, K2 = 0.03;

/* Weighted sums over a window, of a, b, a^2, b^2 and a b. */
enum { SUM_A, SUM_B, SUM_AA, SUM_BB, SUM_AB, SUMS };

typedef struct {
    const float *a, *b; /* [H, W, C], at the channel in question */
    int64_t width, channels;
    double window[TAPS];
    double c1, c2;
} pair;

static void make_window(double window[TAPS])
{
    double sum = 0;
    for (int i = 0; i < TAPS; i++) {
        int from_middle = i - TAPS / 2;
        double x = from_middle;
        window[i] = exp(-x * x / (2 * sigma * sigma));
        sum += window[i];
    }
    for (int i = 0; i < TAPS; i++)
        window[i] /= sum;
}

/* Down `columns` columns from (row, first). */
static void sum_columns(const pair *p, int64_t row, int64_t first, int64_t columns, double sums[][SUMS])
{
    for (int64_t x = 0; x < columns; x++) {
        double s[SUMS] = {0};
        for (int i = 0; i < TAPS; i++) {
            int64_t at = ((row + i) * p->width + first + x) * p->channels;
            double a = (double)p->a[at], b = (double)p->b[at], w = p->window[i];
            s[SUM_A] += w * a;
            s[SUM_B] += w * b;
            s[SUM_AA] += w * a * a;
            s[SUM_BB] += w * b * b;
            s[SUM_AB] += w * a * b;
        }
        for (int k = 0; k < SUMS; k++)
            sums[x][k] = s[k];
    }
}

static double similarity(const pair *p, const double s[SUMS])
{
    double aa = s[SUM_A] * s[SUM_A], bb = s[SUM_B] * s[SUM_B], ab = s[SUM_A] * s[SUM_B];
    double variances = s[SUM_AA] - aa + s[SUM_BB] - bb, covariance = s[SUM_AB] - ab;
    return (2 * ab + p->c1) * (2 * covariance + p->c2) / ((aa + bb + p->c1) * (variances + p->c2));
}

static double sum_of_strip(const pair *p, int64_t row, int64_t first, int64_t positions)
{
    double sums[STRIP + TAPS - 1][SUMS], total = 0;
    sum_columns(p, row, first, positions + TAPS - 1, sums);
    for (int64_t x = 0; x < positions; x++) {
        double s[SUMS] = {0};
        for (int i = 0; i < TAPS; i++)
            for (int k = 0; k < SUMS; k++)
                s[k] += p->window[i] * sums[x + i][k];
        total += similarity(p, s);
    }
    return total;
}

double ts_ssim(const float *a, const float *b, int64_t height, int64_t width, int64_t channels, double range_width)
{
    int64_t rows = height - TAPS + 1, columns = width - TAPS + 1;
    if (rows < 1 || columns < 1)
        return NAN;
    pair p = {.width = width, .channels = channels};
    p.c1 = K1 * range_width * K1 * range_width;
    p.c2 = K2 * range_width * K2 * range_width;
    make_window(p.window);
    double total = 0;
    for (int64_t c = 0; c < channels; c++) {
        p.a = a + c;
        p.b = b + c;
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x += STRIP)
                total += sum_of_strip(&p, y, x, columns - x < STRIP ? columns - x : STRIP);
    }
    return total / (double)(rows * columns * channels);
}
