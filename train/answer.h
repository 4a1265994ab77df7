/* What a command answers: named values, shown as a table for a reader or as one JSON object for a program. */
#ifndef TS_TRAIN_ANSWER_H
#define TS_TRAIN_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"
#include "core/tensor.h"

/* A real number; JSON has no NaN and no infinity: null. */
json_t *ts_answer_real(double value);

/* [2, 3] */
json_t *ts_answer_shape(ts_shape shape);

/* Writes `answer` to out and releases it: json as one line; else a line per value, an object's members under its name,
 * a null as "-", and the unit made readable where the name ends in one: _bytes (1.5 KiB), _flops and _per_s (2.5 G),
 * _ms, _s. Errors: out of memory, also where `answer` is NULL. */
ts_status ts_answer_show(json_t *answer, bool json, FILE *out, ts_error *err);

#endif
