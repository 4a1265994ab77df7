/* The keys of a config that stand outside sections. */
#ifndef TS_CONFIG_TOP_H
#define TS_CONFIG_TOP_H

#include "core/option.h"

typedef struct {
    int64_t seed;
    const char *name, *description, *expect;
} ts_top_options;

extern const ts_option_table ts_top_table;

#endif
