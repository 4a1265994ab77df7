#include "core/random.h"

#include <math.h>

enum { ROUNDS = 10 };

ts_philox_block ts_philox(ts_philox_block c, uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c.word[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * c.word[2];
        c = (ts_philox_block){
            {(uint32_t)(b >> 32) ^ c.word[1] ^ key0, (uint32_t)b, (uint32_t)(a >> 32) ^ c.word[3] ^ key1, (uint32_t)a}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

uint64_t ts_random_stream(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++)
        hash = (hash ^ *p) * 0x100000001b3u;
    return hash;
}

/* Seed and stream are 128 bits, a Philox key 64: they are mixed (the finaliser of MurmurHash3), so that no pair of
 * streams of one seed, or of seeds of one stream, shares a key by arithmetic accident. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

static ts_philox_block block(ts_random_key key, uint64_t step, uint64_t index)
{
    uint64_t k = mix(mix(key.seed) ^ key.stream);
    ts_philox_block counter = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)step, (uint32_t)(step >> 32)}};
    return ts_philox(counter, (uint32_t)k, (uint32_t)(k >> 32));
}

uint32_t ts_random_bits(ts_random_key key, uint64_t step, uint64_t i)
{
    return block(key, step, i / 4).word[i % 4];
}

static float unit(uint32_t bits)
{
    return (float)(bits >> 8) * 0x1p-24f;
}

float ts_random_uniform(ts_random_key key, uint64_t step, uint64_t i)
{
    return unit(ts_random_bits(key, step, i));
}

/* Words 0 and 1 of a block give normals 0 and 1, words 2 and 3 give 2 and 3 (Box-Muller). The radius takes 1 - u, which
 * is never 0. */
static void normal_pair(const uint32_t word[2], float out[2])
{
    double radius = sqrt(-2.0 * log(1.0 - (double)unit(word[0])));
    double angle = 6.283185307179586 * (double)unit(word[1]);
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
                out[at + j - first] = unit(b.word[j]);
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

/* 64 random bits times n, high word: the bias is below n / 2^64. */
uint64_t ts_random_below(ts_random_key key, uint64_t step, uint64_t i, uint64_t n)
{
    ts_philox_block b = block(key, step, i / 2);
    int half = (int)(i % 2) * 2;
    uint64_t bits = (uint64_t)b.word[half] << 32 | b.word[half + 1];
    return (uint64_t)(((unsigned __int128)bits * n) >> 64);
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
