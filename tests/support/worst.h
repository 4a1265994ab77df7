/* The largest of many errors. */
#ifndef TS_TESTS_WORST_H
#define TS_TESTS_WORST_H

#include <math.h>

/* NaN where one of them is, so that no bound holds for it; fmax would leave it out. */
static inline double worst_of(double a, double b)
{
    return isnan(a) || b <= a ? a : b;
}

#endif
