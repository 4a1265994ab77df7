#define _GNU_SOURCE
#include "train/event_file.h"

#include <dirent.h>
#include <events.pb-c.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/memory.h"

#define NAME_START "events.out.tfevents."

/* ---- records ---- */

uint32_t ts_masked_crc32c(const void *bytes, size_t count)
{
    const unsigned char *b = bytes;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) {
        crc ^= b[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_little(unsigned char *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static ts_status write_event(const ts_event_file *f, int64_t step, Tfevents__Event *event, ts_error *err)
{
    event->has_wall_time = event->has_step = 1;
    event->wall_time = now();
    event->step = step;
    size_t bytes = tfevents__event__get_packed_size(event);
    unsigned char *record = ts_alloc(bytes + 16);
    if (!record)
        return ts_out_of_memory(err, bytes + 16);
    put_little(record, bytes, 8);
    put_little(record + 8, ts_masked_crc32c(record, 8), 4);
    tfevents__event__pack(event, record + 12);
    put_little(record + 12 + bytes, ts_masked_crc32c(record + 12, bytes), 4);
    ts_status status = ts_line_file_write(&f->file, (const char *)record, bytes + 16, err);
    ts_free(record);
    return status;
}

static ts_status write_values(const ts_event_file *f, int64_t step, Tfevents__Summary__Value **values, size_t count,
                              ts_error *err)
{
    Tfevents__Event event = TFEVENTS__EVENT__INIT;
    Tfevents__Summary summary = TFEVENTS__SUMMARY__INIT;
    summary.n_value = count;
    summary.value = values;
    event.summary = &summary;
    return write_event(f, step, &event, err);
}

/* ---- files ---- */

/* Readers take files in the order of their names: later than every one that is there, whatever the clock says. */
static int64_t second_of_name(const char *folder)
{
    int64_t second = (int64_t)time(NULL);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strncmp(e->d_name, NAME_START, sizeof NAME_START - 1) == 0) {
            int64_t theirs = strtoll(e->d_name + sizeof NAME_START - 1, NULL, 10);
            second = theirs >= second && theirs < INT64_MAX ? theirs + 1 : second;
        }
    if (d)
        closedir(d);
    return second;
}

static ts_status write_start(const ts_event_file *f, int64_t next_step, ts_error *err)
{
    Tfevents__Event first = TFEVENTS__EVENT__INIT, event = TFEVENTS__EVENT__INIT;
    Tfevents__SessionLog start = TFEVENTS__SESSION_LOG__INIT;
    first.file_version = "brain.Event:2";
    TS_TRY(write_event(f, 0, &first, err));
    if (next_step == 0)
        return TS_OK;
    start.has_status = 1;
    start.status = 1;
    event.session_log = &start;
    return write_event(f, next_step, &event, err);
}

ts_status ts_event_file_open(ts_event_file *f, const char *folder, int64_t next_step, ts_error *err)
{
    char host[65] = "localhost", name[160];
    if (gethostname(host, sizeof host - 1) != 0 || strchr(host, '/'))
        snprintf(host, sizeof host, "localhost");
    snprintf(name, sizeof name, NAME_START "%010" PRId64 ".%s.%ld", second_of_name(folder), host, (long)getpid());
    TS_TRY(ts_line_file_open(&f->file, folder, name, err));
    return write_start(f, next_step, err);
}

void ts_event_file_close(ts_event_file *f)
{
    ts_line_file_close(&f->file);
}

/* ---- what is measured ---- */

ts_status ts_event_scalars(const ts_event_file *f, int64_t step, const ts_event_scalar *scalars, int count,
                           ts_error *err)
{
    if (count < 1)
        return TS_OK;
    Tfevents__Summary__Value *value = ts_calloc((size_t)count, sizeof *value);
    Tfevents__Summary__Value **list = ts_calloc((size_t)count, sizeof *list);
    for (int i = 0; value && list && i < count; i++) {
        tfevents__summary__value__init(&value[i]);
        value[i].tag = (char *)(uintptr_t)scalars[i].tag;
        value[i].has_simple_value = 1;
        value[i].simple_value = scalars[i].value;
        list[i] = &value[i];
    }
    ts_status status = value && list ? write_values(f, step, list, (size_t)count, err)
                                     : ts_out_of_memory(err, (size_t)count * sizeof *value);
    ts_free(value);
    ts_free(list);
    return status;
}

/* From the header. False: neither PNG nor GIF. */
static bool size_of_picture(const unsigned char *b, size_t count, int32_t *height, int32_t *width)
{
    if (count >= 24 && memcmp(b, "\x89PNG", 4) == 0) {
        *width = b[18] << 8 | b[19];
        *height = b[22] << 8 | b[23];
        return true;
    }
    if (count < 10 || memcmp(b, "GIF8", 4) != 0)
        return false;
    *width = b[7] << 8 | b[6];
    *height = b[9] << 8 | b[8];
    return true;
}

ts_status ts_event_image(const ts_event_file *f, int64_t step, const char *tag, const unsigned char *bytes,
                         size_t count, ts_error *err)
{
    enum { RGB = 3 };
    Tfevents__Summary__Value value = TFEVENTS__SUMMARY__VALUE__INIT, *list[] = {&value};
    Tfevents__Summary__Image image = TFEVENTS__SUMMARY__IMAGE__INIT;
    if (!size_of_picture(bytes, count, &image.height, &image.width))
        return TS_OK;
    image.has_height = image.has_width = image.has_colorspace = image.has_encoded_image_string = 1;
    image.colorspace = RGB;
    image.encoded_image_string = (ProtobufCBinaryData){count, (uint8_t *)(uintptr_t)bytes};
    value.tag = (char *)(uintptr_t)tag;
    value.image = &image;
    return write_values(f, step, list, 1, err);
}

enum { MOST_BUCKETS = 64 };

/* Bucket b: the ids up to its limit, and above the one before. */
static void fill_buckets(Tfevents__HistogramProto *h, const int64_t *counts, int64_t codes)
{
    int64_t buckets = (int64_t)h->n_bucket, id = 0;
    for (int64_t b = 0; b < buckets; b++) {
        int64_t end = (b + 1) * codes / buckets;
        h->bucket_limit[b] = (double)(end - 1);
        for (h->bucket[b] = 0; id < end; id++) {
            double n = (double)counts[id], i = (double)id;
            h->bucket[b] += n;
            h->num += n;
            h->sum += n * i;
            h->sum_squares += n * i * i;
            h->min = counts[id] && (h->num == n || i < h->min) ? i : h->min;
            h->max = counts[id] ? i : h->max;
        }
    }
}

ts_status ts_event_ids(const ts_event_file *f, int64_t step, const char *tag, const int64_t *counts, int64_t codes,
                       ts_error *err)
{
    double limit[MOST_BUCKETS], bucket[MOST_BUCKETS];
    Tfevents__Summary__Value value = TFEVENTS__SUMMARY__VALUE__INIT, *list[] = {&value};
    Tfevents__HistogramProto h = TFEVENTS__HISTOGRAM_PROTO__INIT;
    h.has_min = h.has_max = h.has_num = h.has_sum = h.has_sum_squares = 1;
    h.n_bucket = h.n_bucket_limit = (size_t)(codes < MOST_BUCKETS ? codes : MOST_BUCKETS);
    h.bucket = bucket;
    h.bucket_limit = limit;
    fill_buckets(&h, counts, codes);
    value.tag = (char *)(uintptr_t)tag;
    value.histo = &h;
    return write_values(f, step, list, 1, err);
}
