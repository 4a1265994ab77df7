#include "models/sections.h"

#include <pthread.h>

enum { MAX_KINDS = 32 };

static const ts_option_table *model_tables[MAX_KINDS + 1], *quantizer_tables[MAX_KINDS + 1];

static const ts_config_section model_section = {
    .name = "model", .kinds = model_tables, .default_kind = "image_small", .help = "encoder and decoder"};
static const ts_config_section quantizer_section = {
    .name = "quantizer", .kinds = quantizer_tables, .default_kind = "finite_scalar", .help = "what makes tokens"};

static void collect(void)
{
    for (int i = 0; i < MAX_KINDS && ts_model_kinds[i]; i++)
        model_tables[i] = ts_model_kinds[i]->table;
    for (int i = 0; i < MAX_KINDS && ts_quantizer_kinds[i]; i++)
        quantizer_tables[i] = ts_quantizer_kinds[i]->table;
}

static void collect_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, collect);
}

const ts_config_section *ts_model_section(void)
{
    collect_once();
    return &model_section;
}

const ts_config_section *ts_quantizer_section(void)
{
    collect_once();
    return &quantizer_section;
}

ts_status ts_tokenizer_of_config(ts_tokenizer *t, const ts_config *config, ts_error *err)
{
    *t = (ts_tokenizer){
        .model = ts_model_kinds[ts_config_kind(config, "model")],
        .model_options = ts_config_options(config, "model"),
        .quantizer = ts_quantizer_kinds[ts_config_kind(config, "quantizer")],
        .quantizer_options = ts_config_options(config, "quantizer"),
    };
    return ts_quantizer_describe(t->quantizer, t->quantizer_options, &t->info, err);
}
