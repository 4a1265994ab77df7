#include "core/random.h"

#include <math.h>

uint64_t ts_random_stream(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        hash = (hash ^ *p) * 0x100000001b3u;
    return hash;
}

static ts_philox_block block(ts_random_key key, uint64_t step, uint64_t index)
{
    return ts_philox_draw(ts_philox_key_of(key), step, index);
}

uint32_t ts_random_bits(ts_random_key key, uint64_t step, uint64_t i)
{
    return block(key, step, i / 4).word[i % 4];
}

float ts_random_uniform(ts_random_key key, uint64_t step, uint64_t i)
{
    return ts_philox_unit(ts_random_bits(key, step, i));
}

/* Words 0 and 1 of a block give normals 0 and 1, words 2 and 3 give 2 and 3 (Box-Muller). The radius takes 1 - u, which
 * is never 0. */
static void normal_pair(const uint32_t word[2], float out[2])
{
    double radius = sqrt(-2.0 * log(1.0 - (double)ts_philox_unit(word[0])));
    double angle = 6.283185307179586 * (double)ts_philox_unit(word[1]);
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

float ts_random_normal(ts_random_key key, uint64_t step, uint64_t i)
{
    ts_philox_block b = block(key, step, i / 4);
    float pair[2];
    normal_pair(b.word + i % 4 / 2 * 2, pair);
    return pair[i % 2];
}

void ts_random_uniforms(ts_random_key key, uint64_t step, uint64_t first, uint64_t n, float *out)
{
    for (uint64_t at = first / 4 * 4; at < first + n; at += 4) {
        ts_philox_block b = block(key, step, at / 4);
        for (uint64_t j = 0; j < 4; j++)
            if (at + j >= first && at + j < first + n)
                out[at + j - first] = ts_philox_unit(b.word[j]);
    }
}

void ts_random_normals(ts_random_key key, uint64_t step, uint64_t first, uint64_t n, float *out)
{
    for (uint64_t at = first / 4 * 4; at < first + n; at += 4) {
        ts_philox_block b = block(key, step, at / 4);
        float four[4];
        normal_pair(b.word, four);
        normal_pair(b.word + 2, four + 2);
        for (uint64_t j = 0; j < 4; j++)
            if (at + j >= first && at + j < first + n)
                out[at + j - first] = four[j];
    }
}

uint64_t ts_random_below(ts_random_key key, uint64_t step, uint64_t i, uint64_t n)
{
    ts_philox_block b = block(key, step, i / 2);
    return ts_philox_below(b.word + i % 2 * 2, n);
}

void ts_random_permutation(ts_random_key key, uint64_t step, int64_t n, int64_t *order)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)ts_random_below(key, step, (uint64_t)i, (uint64_t)i + 1);
        int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}
