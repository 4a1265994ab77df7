/* The sections `model` and `quantizer` of a config, made from the registries. */
#ifndef TS_MODELS_SECTIONS_H
#define TS_MODELS_SECTIONS_H

#include "config/config.h"
#include "models/tokenizer.h"

const ts_config_section *ts_model_section(void);
const ts_config_section *ts_quantizer_section(void);

/* Model and quantizer with their options, which stay the config's; item and tokens are not known yet. Errors: usage. */
ts_status ts_tokenizer_of_config(ts_tokenizer *tokenizer, const ts_config *config, ts_error *err);

#endif
