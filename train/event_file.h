/* TensorBoard's event files: what a run measures, for the board that people look at.
 *
 *     record   u64 bytes of the data, u32 masked CRC-32C of those 8 bytes, data, u32 masked CRC-32C of the data
 *     masked   (crc >> 15 | crc << 17) + 0xa282ead8
 *     data     an Event of train/events.proto
 *
 * A run has a file for each time that it was started, events.out.tfevents.SECONDS.HOST.PID, in the order of their
 * names. One that goes on says so first, with the step that comes next: TensorBoard then drops what was measured for
 * that step and later ones before. So no step is there twice, and nothing is rewritten.
 *
 * Errors: TS_ERR_RUNTIME with the path and the reason. */
#ifndef TS_TRAIN_EVENT_FILE_H
#define TS_TRAIN_EVENT_FILE_H

#include <stdint.h>

#include "train/line_file.h"

typedef struct {
    ts_line_file file;
} ts_event_file;

/* A new file in the folder. next_step: of a run that goes on; 0: it begins. Owner: ts_event_file_close. */
ts_status ts_event_file_open(ts_event_file *f, const char *folder, int64_t next_step, ts_error *err);
void ts_event_file_close(ts_event_file *f);

typedef struct {
    const char *tag;
    float value;
} ts_event_scalar;

ts_status ts_event_scalars(const ts_event_file *f, int64_t step, const ts_event_scalar *scalars, int count,
                           ts_error *err);

/* bytes: of a PNG or GIF file; others are left out. */
ts_status ts_event_image(const ts_event_file *f, int64_t step, const char *tag, const unsigned char *bytes,
                         size_t count, ts_error *err);

/* A histogram of ids 0 to codes - 1, id i having come up counts[i] times: in at most 64 buckets of equal width. */
ts_status ts_event_ids(const ts_event_file *f, int64_t step, const char *tag, const int64_t *counts, int64_t codes,
                       ts_error *err);

/* CRC-32C (Castagnoli), as a record has it. Thread: pure. */
uint32_t ts_masked_crc32c(const void *bytes, size_t count);

#endif
