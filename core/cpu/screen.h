/* A screen before the search for the nearest code: products of 8-bit integers, four times as many an instruction as of
 * f32, leave the few codes of a token that may be the nearest, and distances in f32 choose among those. A bound of the
 * error makes sure that no other one is nearer, so that nothing is lost by it.
 *
 * With any centre c, u = x - c and f = e - c, the nearest code of x is the one with the largest u.f - |f|^2 / 2. With
 * u = a p + du and f = b q + df, where p and q are integers of 8 bits, Cauchy and Schwarz say
 *
 *   |u.f - a b p.q| <= |du| |f| + (|u| + |du|) |df|,
 *
 * and a code may be the nearest only where a b p.q - |f|^2 / 2 and that bound reach what another code surely has. A
 * panel of codes shares b and the largest |f| and |df|; so that they are small where they can be, codes are sorted by
 * |f|. (Moving averages throw the codes that nothing falls to far out.)
 *
 * $TESSERA_SCREEN: 0, never; always, wherever it can be (for tests); else where it pays, which takes AVX-512 VNNI. */
#ifndef TS_CORE_CPU_SCREEN_H
#define TS_CORE_CPU_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TS_SCREEN_ROWS = 256 }; /* tokens of a block; blocks begin at multiples of it, whoever computes them */

typedef struct ts_screen_panel ts_screen_panel;

/* A codebook [K, D] as the screen reads it; it lives in the scratch that it was made in. */
typedef struct {
    int64_t K, D, words; /* words: of four bytes, of a row of D numbers */
    ts_screen_panel *panels;
    int32_t count;         /* of panels */
    float *centre;         /* [D] */
    uint8_t *codes;        /* q + 128, panel by panel [words, codes of a panel, 4] */
    float *norm, *largest; /* |f|^2 and the largest magnitude in f, [K] */
} ts_screen;

/* Whether a search of K codes of D numbers for N tokens should go through a screen. */
bool ts_screen_fits(int64_t N, int64_t K, int64_t D);

size_t ts_screen_bytes(int64_t K, int64_t D); /* scratch of a screen */
size_t ts_screen_block_bytes(int64_t D);      /* scratch of a block: one a thread */

/* For the tokens x [N, D], into scratch, with OpenMP's workers. false: a code is not finite, or so large that its
 * square might not be. */
bool ts_screen_codes(ts_screen *s, const float *codebook, int64_t K, int64_t D, const float *x, int64_t N,
                     void *scratch, int threads);

/* x [N, D], N at most TS_SCREEN_ROWS -> ids [N]; the lowest id where several are equally near. false: a number is not
 * finite, or some token has too many codes to choose from: ids are not written. `room` is a block's scratch. */
bool ts_screen_search(const ts_screen *s, int32_t *ids, const float *x, const float *codebook, int64_t N, void *room);

#endif
