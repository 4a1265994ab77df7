#include "config/top.h"

static const ts_option top_options[] = {
    {.name = "seed",
     .type = TS_OPTION_INT,
     .offset = offsetof(ts_top_options, seed),
     .fallback = "1",
     .min = 0,
     .max = 9007199254740992.0,
     .help = "of initial weights, data order, augmentation and draws"},
    {.name = "name",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_top_options, name),
     .fallback = "",
     .help = "what the run is called in reports"},
    {.name = "description",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_top_options, description),
     .fallback = "",
     .help = "what the config is, and what it reproduces"},
    {.name = "expect",
     .type = TS_OPTION_STRING,
     .offset = offsetof(ts_top_options, expect),
     .fallback = "",
     .help = "what to expect of it"},
    {0},
};

const ts_option_table ts_top_table = {
    .kind = "top", .help = "the run as a whole", .options = top_options, .struct_bytes = sizeof(ts_top_options)};
