#include "quant/stats.h"

#include <criterion/criterion.h>
#include <math.h>

enum { K = 40 };

static void expect_near(double found, double expected)
{
    cr_assert(fabs(found - expected) <= 1e-12 * fmax(1, fabs(expected)), "%.17g, expected %.17g", found, expected);
}

Test(quant_stats, all_alike)
{
    int64_t counts[K];
    for (int k = 0; k < K; k++)
        counts[k] = 3;
    ts_usage u = ts_usage_of(counts, K, 0);
    cr_assert(u.codes == K && u.tokens == 3 * K && u.used == K);
    expect_near(u.usage, 1);
    expect_near(u.perplexity, K);
    expect_near(u.entropy, log2(K));
    expect_near(u.ceiling, K);
}

Test(quant_stats, one_code_takes_everything)
{
    int64_t counts[K] = {[7] = 1000000};
    ts_usage u = ts_usage_of(counts, K, 0);
    cr_assert(u.tokens == 1000000 && u.used == 1);
    expect_near(u.usage, 1.0 / K);
    expect_near(u.perplexity, 1);
    expect_near(u.entropy, 0);
}

Test(quant_stats, without_tokens_everything_is_0)
{
    int64_t counts[K] = {0};
    ts_usage u = ts_usage_of(counts, K, 1e-7);
    cr_assert(u.codes == K && u.tokens == 0 && u.used == 0);
    cr_assert(u.usage == 0 && u.perplexity == 0 && u.entropy == 0 && u.ceiling == 0);
}

/* Fewer tokens than codes: no quantizer can exceed the ceiling, and one that never repeats a code reaches it. */
Test(quant_stats, ceiling)
{
    int64_t counts[K] = {[3] = 1, [9] = 1, [39] = 1};
    ts_usage u = ts_usage_of(counts, K, 0);
    expect_near(u.ceiling, 3);
    expect_near(u.perplexity, 3);
}

/* exp(-sum p log(p + eps)), upstream's sum also runs over the unused codes, whose terms are 0. */
Test(quant_stats, epsilon_is_in_the_logarithm)
{
    int64_t counts[4] = {6, 0, 1, 3};
    const double p[] = {0.6, 0.1, 0.3};
    for (int i = 0; i < 3; i++) {
        double epsilon = (double[]){0, 1e-7, 1e-2}[i], nats = 0;
        for (int k = 0; k < 3; k++)
            nats -= p[k] * log(p[k] + epsilon);
        expect_near(ts_usage_of(counts, 4, epsilon).perplexity, exp(nats));
        expect_near(ts_usage_of(counts, 4, epsilon).entropy, nats / log(2));
    }
}

/* Counts beyond 2^24, which an f32 could not hold. */
Test(quant_stats, large_counts_are_exact)
{
    int64_t counts[2] = {(1 << 24) + 1, 1};
    ts_usage u = ts_usage_of(counts, 2, 0);
    cr_assert_eq(u.tokens, (1 << 24) + 2);
    cr_assert(u.used == 2 && u.perplexity > 1 && u.perplexity < 1.00001);
}

/* Whatever the counts: 1 <= perplexity <= the codes in use <= ceiling. */
Test(quant_stats, bounds_hold)
{
    uint64_t state = 1;
    for (int round = 0; round < 200; round++) {
        int64_t counts[K] = {0};
        for (int i = 0; i <= round; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            counts[(state >> 33) % K % (1 + (unsigned)round % K)]++;
        }
        ts_usage u = ts_usage_of(counts, K, 0);
        cr_assert_eq(u.tokens, round + 1);
        cr_assert(u.perplexity >= 1 - 1e-12 && u.perplexity <= (double)u.used * (1 + 1e-12));
        cr_assert((double)u.used <= u.ceiling);
    }
}
