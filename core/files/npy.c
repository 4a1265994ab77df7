#define _GNU_SOURCE
#include "core/files/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/half.h"
#include "core/files/replace.h"
#include "core/text.h"

/* ---- the header: {'descr': '<f4', 'fortran_order': False, 'shape': (60, 263), } ---- */

typedef struct {
    const char *at, *end;
    const char *path;
} reader;

static ts_status bad(const reader *r, const char *expected, ts_error *err)
{
    char rest[24];
    snprintf(rest, sizeof rest, "%.*s", (int)(r->end - r->at < 20 ? r->end - r->at : 20), r->at);
    return ts_fail(err, TS_ERR_DATA, "%s: the .npy header is damaged: expected %s, found \"%s\"", r->path, expected,
                   TS_SHOWN(rest));
}

static void skip_spaces(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
}

/* Takes `text` if it comes next. */
static bool take(reader *r, const char *text)
{
    size_t n = strlen(text);
    skip_spaces(r);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* 'text' or "text", no escapes; what does not fit in `bytes` is no name of ours. */
static bool take_quoted(reader *r, char *text, size_t bytes)
{
    skip_spaces(r);
    if (r->at >= r->end || (*r->at != '\'' && *r->at != '"'))
        return false;
    const char *close = memchr(r->at + 1, *r->at, (size_t)(r->end - r->at - 1));
    if (!close || (size_t)(close - r->at - 1) >= bytes || memchr(r->at, '\\', (size_t)(close - r->at)))
        return false;
    size_t n = (size_t)(close - r->at - 1);
    memcpy(text, r->at + 1, n);
    text[n] = '\0';
    r->at = close + 1;
    return true;
}

static bool take_number(reader *r, int64_t *n)
{
    skip_spaces(r);
    const char *first = r->at;
    for (*n = 0; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        if (__builtin_mul_overflow(*n, 10, n) || __builtin_add_overflow(*n, *r->at - '0', n))
            return false;
    return r->at > first;
}

static const struct {
    const char *descr;
    ts_dtype dtype;
    int bytes;
} types[] = {{"f2", TS_F32, 2}, {"f4", TS_F32, 4}, {"f8", TS_F32, 8},
             {"i4", TS_I32, 4}, {"i8", TS_I64, 8}, {"u1", TS_U8, 1}};

/* "<f4": byte order ('<' little, '>' big, '=' the writer's own, '|' none), kind and bytes. */
static ts_status read_descr(reader *r, ts_npy_info *info, ts_error *err)
{
    char text[16];
    if (take(r, "["))
        return ts_fail(err, TS_ERR_DATA, "%s: an array of structures; expected one of numbers", r->path);
    if (!take_quoted(r, text, sizeof text))
        return bad(r, "a type such as '<f4'", err);
    if (text[0] == '|' && text[1] == 'O')
        return ts_fail(err, TS_ERR_DATA, "%s: an array of Python objects; save it as float32", r->path);
    if (text[0] == '>')
        return ts_fail(err, TS_ERR_DATA, "%s: big-endian values (%s); save it as '<f4'", r->path, TS_SHOWN(text));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (text[0] == (types[i].bytes == 1 ? '|' : '<') && strcmp(text + 1, types[i].descr) == 0) {
            info->dtype = types[i].dtype;
            info->value_bytes = types[i].bytes;
            return TS_OK;
        }
    return ts_fail(err, TS_ERR_DATA, "%s: values of type '%s'; expected <f2, <f4, <f8, <i4, <i8 or |u1", r->path,
                   TS_SHOWN(text));
}

static ts_status read_order(reader *r, ts_npy_info *info, ts_error *err)
{
    info->fortran_order = take(r, "True");
    return info->fortran_order || take(r, "False") ? TS_OK : bad(r, "True or False", err);
}

/* "()", "(3,)", "(3, 4)", "(3, 4,)" */
static ts_status read_shape(reader *r, ts_npy_info *info, ts_error *err)
{
    ts_shape shape = {0};
    bool comma = true;
    if (!take(r, "("))
        return bad(r, "a shape such as (60, 263)", err);
    while (!take(r, ")")) {
        if (!comma || shape.rank == TS_MAX_RANK)
            return bad(r, comma ? "at most 6 axes" : "',' or ')'", err);
        if (!take_number(r, &shape.dim[shape.rank++]))
            return bad(r, "the length of an axis", err);
        comma = take(r, ",");
    }
    if (shape.rank == 1 && !comma)
        return bad(r, "',' behind the only axis", err);
    info->shape = shape;
    return TS_OK;
}

/* The three keys, each once, in any order; then spaces and a line feed. */
static ts_status read_dictionary(reader *r, ts_npy_info *info, ts_error *err)
{
    static const struct {
        const char *name;
        ts_status (*read)(reader *, ts_npy_info *, ts_error *);
    } keys[3] = {{"descr", read_descr}, {"fortran_order", read_order}, {"shape", read_shape}};
    unsigned seen = 0;
    bool comma = true;
    if (!take(r, "{"))
        return bad(r, "'{'", err);
    while (!take(r, "}")) {
        char name[16] = "";
        int key = 0;
        if (!comma || !take_quoted(r, name, sizeof name) || !take(r, ":"))
            return bad(r, "a key and ':'", err);
        while (key < 3 && strcmp(name, keys[key].name) != 0)
            key++;
        if (key == 3 || seen & 1u << key)
            return bad(r, "descr, fortran_order and shape, each once", err);
        seen |= 1u << key;
        TS_TRY(keys[key].read(r, info, err));
        comma = take(r, ",");
    }
    if (seen != 7)
        return bad(r, "descr, fortran_order and shape", err);
    skip_spaces(r);
    return r->end - r->at == 1 && *r->at == '\n' ? TS_OK : bad(r, "spaces and a line feed", err);
}

static ts_status check_size(const ts_npy_info *info, uint64_t file_bytes, const char *path, ts_error *err)
{
    int64_t count = 0, bytes = 0;
    uint64_t found = file_bytes - (uint64_t)info->data_start;
    if (!ts_shape_count_checked(info->shape, &count) || __builtin_mul_overflow(count, 8, &bytes))
        return ts_fail(err, TS_ERR_DATA, "%s: the shape %s does not fit in 64 bits", path,
                       ts_shape_print(info->shape).text);
    bytes = count * info->value_bytes;
    if (found != (uint64_t)bytes)
        return ts_fail(err, TS_ERR_DATA,
                       "%s: %s of %d bytes each is %" PRId64 " bytes behind the header, found %" PRIu64 "%s", path,
                       ts_shape_print(info->shape).text, info->value_bytes, bytes, found,
                       found < (uint64_t)bytes ? "; the file is cut short" : "");
    return TS_OK;
}

ts_status ts_npy_parse(ts_npy_info *info, const unsigned char *bytes, size_t count, uint64_t file_bytes,
                       const char *path, ts_error *err)
{
    *info = (ts_npy_info){0};
    if (count < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return ts_fail(err, TS_ERR_DATA, "%s: not a .npy file", path);
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
        return ts_fail(err, TS_ERR_DATA, "%s: .npy version %d.%d, expected 1.0, 2.0 or 3.0", path, bytes[6], bytes[7]);
    size_t start = bytes[6] == 1 ? 10 : 12;
    uint64_t length = bytes[8] | (uint64_t)bytes[9] << 8;
    if (start == 12 && count >= 12)
        length |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
    if (start + length > count)
        return ts_fail(err, TS_ERR_DATA, "%s: a .npy header of %" PRIu64 " bytes, expected at most %zu", path, length,
                       count < start ? 0 : count - start);
    reader r = {(const char *)bytes + start, (const char *)bytes + start + length, path};
    TS_TRY(read_dictionary(&r, info, err));
    info->data_start = (int64_t)(start + length);
    return check_size(info, file_bytes, path, err);
}

/* ---- files ---- */

/* Maps all of the file; *bytes is 0 where it is empty, which a mapping cannot be. */
static ts_status map_file(const char *path, void **map, size_t *bytes, ts_error *err)
{
    struct stat s;
    ts_status status = TS_OK;
    *map = NULL;
    *bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ts_fail(err, TS_ERR_DATA, "%s: %s", path, strerror(errno));
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        status = ts_fail(err, TS_ERR_DATA, "%s: not a regular file", path);
    else if (s.st_size > 0) {
        *map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        *bytes = (size_t)s.st_size;
        if (*map == MAP_FAILED)
            status = ts_fail(err, TS_ERR_DATA, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    close(fd);
    return status;
}

static ts_status open_map(ts_npy *npy, const char *path, ts_error *err)
{
    *npy = (ts_npy){0};
    TS_TRY(map_file(path, &npy->map, &npy->map_bytes, err));
    size_t head = npy->map_bytes < TS_NPY_MAX_HEADER ? npy->map_bytes : TS_NPY_MAX_HEADER;
    ts_status status = ts_npy_parse(&npy->info, npy->map, head, npy->map_bytes, path, err);
    if (status != TS_OK)
        ts_npy_close(npy);
    return status;
}

/* One value of the file, which may lie on any address, to the tensor's type. */
static void convert(const ts_npy_info *info, const unsigned char *from, char *to)
{
    if (info->dtype != TS_F32 || info->value_bytes == 4) {
        memcpy(to, from, (size_t)info->value_bytes);
        return;
    }
    float value;
    double wide;
    if (info->value_bytes == 2)
        value = ts_f32_from_f16((uint16_t)(from[0] | from[1] << 8));
    else {
        memcpy(&wide, from, sizeof wide);
        value = (float)wide;
    }
    memcpy(to, &value, sizeof value);
}

/* Steps of the file's axes, in values. */
static void strides_of(const ts_npy_info *info, int64_t *stride)
{
    int64_t step = 1;
    int rank = info->shape.rank;
    for (int i = 0; i < rank; i++) {
        int axis = info->fortran_order ? i : rank - 1 - i;
        stride[axis] = step;
        step *= info->shape.dim[axis];
    }
}

/* Row-major, whatever the order in the file. */
static void convert_all(const ts_npy_info *info, const unsigned char *from, char *to)
{
    int64_t stride[TS_MAX_RANK], place[TS_MAX_RANK] = {0}, n = ts_shape_count(info->shape), at = 0;
    size_t bytes = ts_dtype_bytes(info->dtype);
    strides_of(info, stride);
    for (int64_t i = 0; i < n; i++) {
        convert(info, from + at * info->value_bytes, to + (size_t)i * bytes);
        for (int axis = info->shape.rank - 1; axis >= 0; axis--) {
            at += stride[axis];
            if (++place[axis] < info->shape.dim[axis])
                break;
            at -= stride[axis] * place[axis];
            place[axis] = 0;
        }
    }
}

static bool usable_as_it_is(const ts_npy_info *info)
{
    size_t bytes = ts_dtype_bytes(info->dtype);
    return bytes > 0 && (size_t)info->value_bytes == bytes && (size_t)info->data_start % bytes == 0 &&
           (!info->fortran_order || info->shape.rank < 2);
}

ts_status ts_npy_open(ts_npy *npy, const char *path, ts_error *err)
{
    TS_TRY(open_map(npy, path, err));
    const unsigned char *values = (unsigned char *)npy->map + npy->info.data_start;
    npy->tensor = (ts_tensor){npy->info.dtype, npy->info.shape, (void *)values};
    if (usable_as_it_is(&npy->info))
        return TS_OK;
    size_t bytes = ts_tensor_bytes(&npy->tensor);
    char *own = npy->tensor.data = ts_alloc(bytes ? bytes : 1);
    if (own)
        convert_all(&npy->info, values, own);
    munmap(npy->map, npy->map_bytes);
    npy->map = NULL;
    return own ? TS_OK : ts_out_of_memory(err, bytes);
}

ts_status ts_npy_read_info(ts_npy_info *info, const char *path, ts_error *err)
{
    ts_npy npy;
    TS_TRY(open_map(&npy, path, err));
    *info = npy.info;
    ts_npy_close(&npy);
    return TS_OK;
}

void ts_npy_close(ts_npy *npy)
{
    if (npy->map)
        munmap(npy->map, npy->map_bytes);
    else
        ts_free(npy->tensor.data);
    *npy = (ts_npy){0};
}

/* ---- writing ---- */

/* The dictionary, padded so that the values start at a multiple of 64. Returns the bytes in all. */
static size_t print_header(const ts_tensor *t, const char *descr, char *text, size_t bytes)
{
    char shape[160] = "";
    size_t used = 0;
    for (int i = 0; i < t->shape.rank; i++)
        used = ts_text_append(shape, sizeof shape, used, i ? ", %" PRId64 : "%" PRId64, t->shape.dim[i]);
    int n = snprintf(text + 10, bytes - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }", descr, shape,
                     t->shape.rank == 1 ? "," : "");
    size_t total = ((size_t)n + 11 + 63) / 64 * 64;
    memset(text + 10 + n, ' ', total - 11 - (size_t)n);
    text[total - 1] = '\n';
    static const char magic[8] = {'\x93', 'N', 'U', 'M', 'P', 'Y', '\x01', '\x00'};
    memcpy(text, magic, sizeof magic);
    text[8] = (char)((total - 10) & 255);
    text[9] = (char)((total - 10) >> 8);
    return total;
}

ts_status ts_npy_write(const char *path, const ts_tensor *tensor, ts_error *err)
{
    static const char *const descr[TS_DTYPE_COUNT] = {
        [TS_F32] = "<f4", [TS_F64] = "<f8", [TS_I32] = "<i4", [TS_I64] = "<i8", [TS_U8] = "|u1"};
    char header[512];
    ts_replace r;
    if (!descr[tensor->dtype])
        return ts_fail(err, TS_ERR_DATA, "%s: .npy has no %s; convert to f32", path, ts_dtype_name(tensor->dtype));
    size_t bytes = print_header(tensor, descr[tensor->dtype], header, sizeof header);
    TS_TRY(ts_replace_begin(&r, path, TS_ERR_DATA, err));
    ts_status status = ts_replace_write(&r, header, bytes, err);
    if (status == TS_OK)
        status = ts_replace_write(&r, tensor->data, ts_tensor_bytes(tensor), err);
    if (status == TS_OK)
        status = ts_replace_commit(&r, TS_REPLACE_DROP, err);
    ts_replace_end(&r);
    return status;
}
