/* What this device can do, measured in a fraction of a second: the two rates that bound a step's time. */
#ifndef TS_TRAIN_RATES_H
#define TS_TRAIN_RATES_H

#include "autograd/plan.h"

typedef struct {
    double flops;  /* per second, of a matrix product of 768 x 768 x 768, on a GPU larger; multiply-adds count as 2 */
    double memory; /* bytes per second, of y = x + x over 64 MiB, on a GPU more */
} ts_rates;

/* Errors: out of memory, device. */
ts_status ts_rates_measure(ts_device *device, ts_rates *rates, ts_error *err);

/* Seconds that the plan's ops take at these rates, each bound by arithmetic or by memory: what a step takes at least.
 */
double ts_rates_seconds(const ts_rates *rates, const ts_plan *plan);

#endif
