#include "core/cpu/dnnl.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/device.h"
#include "core/memory.h"

enum { X, W, BIAS, Y, OPERANDS };

struct ts_dnnl {
    dnnl_primitive_t primitive, reorder; /* reorder: NULL where the weights are used as they are */
    dnnl_stream_t stream;
    dnnl_memory_t memory[OPERANDS]; /* ours; NULL for an absent bias */
    dnnl_memory_t packed, pad;      /* weights in the primitive's layout; the library's scratch */
    int arg[OPERANDS];              /* what the primitive calls them */
    size_t packed_bytes, pad_bytes;
    bool writes_weights;
    int threads;
    char implementation[64];
};

static dnnl_data_type_t number(ts_dtype dtype)
{
    return dtype == TS_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* The descriptors of both versions: a struct in 2.x, a pointer to a heap object in 3.x. */
typedef dnnl_memory_desc_t described;
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t layout;

static layout layout_of(const described *d)
{
    return *d;
}

static dnnl_status_t describe_by_tag(described *d, dnnl_data_type_t type, int rank, const dnnl_dims_t dims,
                                     dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(d, rank, dims, type, tag);
}

static dnnl_status_t describe_by_strides(described *d, dnnl_data_type_t type, int rank, const dnnl_dims_t dims,
                                         const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(d, rank, dims, type, strides);
}

static void forget(described *d, int count)
{
    for (int i = 0; i < count; i++)
        if (d[i])
            dnnl_memory_desc_destroy(d[i]);
}
#else
typedef const dnnl_memory_desc_t *layout;

static layout layout_of(const described *d)
{
    return d;
}

static dnnl_status_t describe_by_tag(described *d, dnnl_data_type_t type, int rank, const dnnl_dims_t dims,
                                     dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(d, rank, dims, type, tag);
}

static dnnl_status_t describe_by_strides(described *d, dnnl_data_type_t type, int rank, const dnnl_dims_t dims,
                                         const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(d, rank, dims, type, strides);
}

static void forget(described *d, int count)
{
    (void)d, (void)count;
}
#endif

/* One engine for the process; attributes that leave scratch to us. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine;
static dnnl_primitive_attr_t own_scratch;

static void start(void)
{
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        engine = NULL;
    else if (dnnl_primitive_attr_create(&own_scratch) != dnnl_success ||
             dnnl_primitive_attr_set_scratchpad_mode(own_scratch, dnnl_scratchpad_mode_user) != dnnl_success)
        engine = NULL;
}

const char *ts_dnnl_version(void)
{
    static _Thread_local char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

const char *ts_cpu_onednn(void)
{
    return ts_dnnl_version();
}

bool ts_dnnl_multiplies_bf16(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Convolution: layouts of what the primitive sees. The weights are left to it ("any"): its choice is up to ten times
 * faster than ours, and packing them costs little. */

typedef struct {
    described part[OPERANDS];
    described weights; /* as our memory has them */
    dnnl_dims_t stride, dilation, before, after;
} conv_layouts;

static dnnl_status_t describe_conv(conv_layouts *l, const ts_dnnl_conv *s)
{
    const dnnl_dims_t x = {s->B, s->C, s->H, s->W}, y = {s->B, s->O, s->P, s->Q}, bias = {s->O};
    const dnnl_dims_t w = {s->O, s->C, s->R, s->S};
    const dnnl_dims_t grouped = {s->groups, s->O / s->groups, s->C / s->groups, s->R, s->S};
    const bool groups = s->groups > 1;
    const int64_t large[2] = {s->H, s->W}, small[2] = {s->P, s->Q}, taps[2] = {s->R, s->S};
    for (int i = 0; i < 2; i++) {
        l->stride[i] = s->stride[i];
        l->dilation[i] = s->dilation[i] - 1;
        l->before[i] = s->pad[i];
        l->after[i] = (small[i] - 1) * s->stride[i] + s->dilation[i] * (taps[i] - 1) + 1 - large[i] - s->pad[i];
    }
    dnnl_status_t status = describe_by_tag(&l->part[X], number(s->x_type), 4, x, dnnl_nhwc);
    if (status == dnnl_success)
        status = describe_by_tag(&l->part[Y], number(s->y_type), 4, y, dnnl_nhwc);
    if (status == dnnl_success)
        status = describe_by_tag(&l->part[BIAS], number(s->y_type), 1, bias, dnnl_a);
    if (status == dnnl_success)
        status =
            describe_by_tag(&l->part[W], number(s->w_type), groups ? 5 : 4, groups ? grouped : w, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = describe_by_tag(&l->weights, number(s->w_type), groups ? 5 : 4, groups ? grouped : w,
                                 groups ? dnnl_gohwi : dnnl_ohwi);
    return status;
}

#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t forward_conv(dnnl_primitive_desc_t *pd, const conv_layouts *l, bool bias)
{
    return dnnl_convolution_forward_primitive_desc_create(
        pd, engine, dnnl_forward_training, dnnl_convolution_direct, layout_of(&l->part[X]), layout_of(&l->part[W]),
        bias ? layout_of(&l->part[BIAS]) : NULL, layout_of(&l->part[Y]), l->stride, l->dilation, l->before, l->after,
        own_scratch);
}

static dnnl_status_t backward_data_conv(dnnl_primitive_desc_t *pd, const conv_layouts *l, dnnl_primitive_desc_t hint)
{
    return dnnl_convolution_backward_data_primitive_desc_create(
        pd, engine, dnnl_convolution_direct, layout_of(&l->part[X]), layout_of(&l->part[W]), layout_of(&l->part[Y]),
        l->stride, l->dilation, l->before, l->after, hint, own_scratch);
}

static dnnl_status_t backward_weights_conv(dnnl_primitive_desc_t *pd, const conv_layouts *l, dnnl_primitive_desc_t hint)
{
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, engine, dnnl_convolution_direct, layout_of(&l->part[X]), layout_of(&l->part[W]), NULL,
        layout_of(&l->part[Y]), l->stride, l->dilation, l->before, l->after, hint, own_scratch);
}

static dnnl_status_t product(dnnl_primitive_desc_t *pd, const described *part, bool bias)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, layout_of(&part[X]), layout_of(&part[W]),
                                             bias ? layout_of(&part[BIAS]) : NULL, layout_of(&part[Y]), own_scratch);
}
#else
static dnnl_status_t forward_conv(dnnl_primitive_desc_t *pd, const conv_layouts *l, bool bias)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &d, dnnl_forward_training, dnnl_convolution_direct, &l->part[X], &l->part[W], bias ? &l->part[BIAS] : NULL,
        &l->part[Y], l->stride, l->dilation, l->before, l->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &d, own_scratch, engine, NULL) : status;
}

static dnnl_status_t backward_data_conv(dnnl_primitive_desc_t *pd, const conv_layouts *l, dnnl_primitive_desc_t hint)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t status =
        dnnl_dilated_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, &l->part[X], &l->part[W],
                                                         &l->part[Y], l->stride, l->dilation, l->before, l->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &d, own_scratch, engine, hint) : status;
}

static dnnl_status_t backward_weights_conv(dnnl_primitive_desc_t *pd, const conv_layouts *l, dnnl_primitive_desc_t hint)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t status =
        dnnl_dilated_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, &l->part[X], &l->part[W], NULL,
                                                            &l->part[Y], l->stride, l->dilation, l->before, l->after);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &d, own_scratch, engine, hint) : status;
}

static dnnl_status_t product(dnnl_primitive_desc_t *pd, const described *part, bool bias)
{
    dnnl_matmul_desc_t d;
    dnnl_status_t status = dnnl_matmul_desc_init(&d, &part[X], &part[W], bias ? &part[BIAS] : NULL, &part[Y]);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &d, own_scratch, engine, NULL) : status;
}
#endif

/* The backward passes ask for the forward one as a hint. */
static dnnl_status_t choose_conv(dnnl_primitive_desc_t *pd, const conv_layouts *l, ts_dnnl_pass pass, bool bias)
{
    if (pass == TS_DNNL_FORWARD)
        return forward_conv(pd, l, bias);
    dnnl_primitive_desc_t hint;
    dnnl_status_t status = forward_conv(&hint, l, false);
    if (status != dnnl_success)
        return status;
    status = pass == TS_DNNL_BACKWARD_DATA ? backward_data_conv(pd, l, hint) : backward_weights_conv(pd, l, hint);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

/* Memory for a layout, without an address yet; the scratch that `pd` asks for counts towards the operation's. */
static dnnl_status_t make_memory(dnnl_memory_t *memory, layout l)
{
    return dnnl_memory_create(memory, l, engine, DNNL_MEMORY_NONE);
}

static void count_scratch(ts_dnnl *op, dnnl_primitive_desc_t pd)
{
    size_t bytes = rounded(dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0)));
    if (bytes > op->pad_bytes)
        op->pad_bytes = bytes;
}

/* The reorder between our weights and the primitive's, if they differ. */
static dnnl_status_t make_reorder(ts_dnnl *op, layout ours, layout theirs)
{
    if (dnnl_memory_desc_equal(ours, theirs))
        return dnnl_success;
    op->packed_bytes = rounded(dnnl_memory_desc_get_size(theirs));
    dnnl_primitive_desc_t pd;
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&pd, op->writes_weights ? theirs : ours, engine,
                                                              op->writes_weights ? ours : theirs, engine, own_scratch);
    if (status != dnnl_success)
        return status;
    count_scratch(op, pd);
    status = dnnl_primitive_create(&op->reorder, pd);
    dnnl_primitive_desc_destroy(pd);
    return status == dnnl_success ? make_memory(&op->packed, theirs) : status;
}

static bool is_reference(const char *implementation)
{
    return strncmp(implementation, "ref", 3) == 0;
}

/* Everything that hangs on the chosen implementation; `ours` is the layout of the weights in our memory. */
static dnnl_status_t finish(ts_dnnl *op, dnnl_primitive_desc_t pd, const described *part, const described *ours)
{
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    snprintf(op->implementation, sizeof op->implementation, "%s", name);
    if (is_reference(name))
        return dnnl_unimplemented;
    count_scratch(op, pd);
    dnnl_status_t status = dnnl_primitive_create(&op->primitive, pd);
    for (int i = 0; i < OPERANDS && status == dnnl_success; i++)
        if (op->arg[i])
            status = make_memory(&op->memory[i], layout_of(i == W ? ours : &part[i]));
    if (status == dnnl_success)
        status = make_reorder(op, layout_of(ours),
                              dnnl_primitive_desc_query_md(
                                  pd, op->writes_weights ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0));
    if (status == dnnl_success && op->pad_bytes) {
        const dnnl_dims_t bytes = {(dnnl_dim_t)(op->pad_bytes / sizeof(float))};
        described pad;
        status = describe_by_tag(&pad, dnnl_f32, 1, bytes, dnnl_a);
        if (status == dnnl_success) {
            status = make_memory(&op->pad, layout_of(&pad));
            forget(&pad, 1);
        }
    }
    return status == dnnl_success ? dnnl_stream_create(&op->stream, engine, dnnl_stream_default_flags) : status;
}

/* What both kinds share at the beginning and at the end. */
static ts_status begin(ts_dnnl **op, int threads, ts_error *err)
{
    *op = NULL;
    pthread_once(&once, start);
    if (!engine)
        return ts_fail(err, TS_ERR_DEVICE, "oneDNN %s cannot be started on this processor", ts_dnnl_version());
    *op = ts_calloc(1, sizeof **op);
    if (!*op)
        return ts_out_of_memory(err, sizeof **op);
    (*op)->threads = threads;
    omp_set_num_threads(threads);
    return TS_OK;
}

static ts_status end(ts_dnnl **op, dnnl_status_t status, ts_error *err)
{
    if (status == dnnl_success)
        return TS_OK;
    ts_dnnl_free(*op);
    *op = NULL;
    return status == dnnl_out_of_memory ? ts_fail(err, TS_ERR_RUNTIME, "oneDNN: out of memory") : TS_OK;
}

ts_status ts_dnnl_conv_new(ts_dnnl **op, const ts_dnnl_conv *shape, ts_dnnl_pass pass, int threads, ts_error *err)
{
    static const int args[][OPERANDS] = {
        [TS_DNNL_FORWARD] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
        [TS_DNNL_BACKWARD_DATA] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, 0, DNNL_ARG_DIFF_DST},
        [TS_DNNL_BACKWARD_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, 0, DNNL_ARG_DIFF_DST},
    };
    TS_TRY(begin(op, threads, err));
    memcpy((*op)->arg, args[pass], sizeof args[pass]);
    if (!shape->bias)
        (*op)->arg[BIAS] = 0;
    (*op)->writes_weights = pass == TS_DNNL_BACKWARD_WEIGHTS;

    conv_layouts l;
    memset(&l, 0, sizeof l);
    dnnl_primitive_desc_t pd;
    dnnl_status_t status = describe_conv(&l, shape);
    if (status == dnnl_success)
        status = choose_conv(&pd, &l, pass, shape->bias);
    if (status == dnnl_success) {
        status = finish(*op, pd, l.part, &l.weights);
        dnnl_primitive_desc_destroy(pd);
    }
    forget(l.part, OPERANDS);
    forget(&l.weights, 1);
    return end(op, status, err);
}

/* Plain row-major operands; a swap of axes is a swap of strides. */
static dnnl_status_t describe_product(described part[OPERANDS], const ts_dnnl_product *s)
{
    const int64_t M = s->M, N = s->N, K = s->K;
    const dnnl_dims_t a = {s->batch, M, K}, b = {s->one_b ? 1 : s->batch, K, N}, bias = {1, 1, N}, c = {s->batch, M, N};
    const dnnl_dims_t a_step = {M * K, s->trans_a ? 1 : K, s->trans_a ? M : 1};
    const dnnl_dims_t b_step = {K * N, s->trans_b ? 1 : N, s->trans_b ? K : 1};
    const dnnl_dims_t c_step = {M * N, N, 1}, bias_step = {N, N, 1};
    const dnnl_data_type_t in = number(s->in), out = number(s->out);
    const int skip = s->batch == 1, rank = 3 - skip; /* a batch of one is left out */
    dnnl_status_t status = describe_by_strides(&part[X], in, rank, a + skip, a_step + skip);
    if (status == dnnl_success)
        status = describe_by_strides(&part[W], in, rank, b + skip, b_step + skip);
    if (status == dnnl_success)
        status = describe_by_strides(&part[BIAS], out, rank, bias + skip, bias_step + skip);
    if (status == dnnl_success)
        status = describe_by_strides(&part[Y], out, rank, c + skip, c_step + skip);
    return status;
}

ts_status ts_dnnl_matmul_new(ts_dnnl **op, const ts_dnnl_product *shape, int threads, ts_error *err)
{
    TS_TRY(begin(op, threads, err));
    const int args[OPERANDS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, shape->bias ? DNNL_ARG_BIAS : 0, DNNL_ARG_DST};
    memcpy((*op)->arg, args, sizeof args);

    described part[OPERANDS];
    memset(part, 0, sizeof part);
    dnnl_primitive_desc_t pd;
    dnnl_status_t status = describe_product(part, shape);
    if (status == dnnl_success)
        status = product(&pd, part, shape->bias);
    if (status == dnnl_success) {
        status = finish(*op, pd, part, &part[W]);
        dnnl_primitive_desc_destroy(pd);
    }
    forget(part, OPERANDS);
    return end(op, status, err);
}

void ts_dnnl_free(ts_dnnl *op)
{
    if (!op)
        return;
    for (int i = 0; i < OPERANDS; i++)
        dnnl_memory_destroy(op->memory[i]);
    dnnl_memory_destroy(op->packed);
    dnnl_memory_destroy(op->pad);
    dnnl_primitive_destroy(op->primitive);
    dnnl_primitive_destroy(op->reorder);
    dnnl_stream_destroy(op->stream);
    ts_free(op);
}

size_t ts_dnnl_scratch_bytes(const ts_dnnl *op)
{
    return op->packed_bytes + op->pad_bytes;
}

const char *ts_dnnl_implementation(const ts_dnnl *op)
{
    return op->implementation;
}

/* Setting an address zeroes the padding of a blocked layout, so it is done only where the address is new. */
static bool place(dnnl_memory_t memory, const void *address)
{
    void *now;
    if (!memory)
        return true;
    if (dnnl_memory_get_data_handle(memory, &now) != dnnl_success)
        return false;
    return now == address || dnnl_memory_set_data_handle(memory, (void *)address) == dnnl_success;
}

static bool run_reorder(const ts_dnnl *op, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, op->pad}};
    return dnnl_primitive_execute(op->reorder, op->stream, op->pad ? 3 : 2, args) == dnnl_success;
}

static bool run_primitive(const ts_dnnl *op)
{
    dnnl_exec_arg_t args[OPERANDS + 1];
    int count = 0;
    for (int i = 0; i < OPERANDS; i++)
        if (op->arg[i])
            args[count++] = (dnnl_exec_arg_t){op->arg[i], i == W && op->packed ? op->packed : op->memory[i]};
    if (op->pad)
        args[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, op->pad};
    return dnnl_primitive_execute(op->primitive, op->stream, count, args) == dnnl_success;
}

bool ts_dnnl_run(const ts_dnnl *op, const ts_dnnl_operands *o, void *scratch)
{
    const void *address[OPERANDS] = {[X] = o->x, [W] = o->w, [BIAS] = o->bias, [Y] = o->y};
    omp_set_num_threads(op->threads); /* the caller may be another thread than the one that prepared */
    for (int i = 0; i < OPERANDS; i++)
        if (!place(op->memory[i], address[i]))
            return false;
    if (!place(op->packed, scratch) || !place(op->pad, (char *)scratch + op->packed_bytes))
        return false;
    if (op->reorder && !op->writes_weights && !run_reorder(op, op->memory[W], op->packed))
        return false;
    if (!run_primitive(op) || (op->reorder && op->writes_weights && !run_reorder(op, op->packed, op->memory[W])))
        return false;
    return dnnl_stream_wait(op->stream) == dnnl_success;
}

bool ts_dnnl_gemm(const ts_dnnl_gemm_shape *s, const float *a, const float *b, float *c)
{
    return dnnl_sgemm(s->trans_a ? 'T' : 'N', s->trans_b ? 'T' : 'N', s->M, s->N, s->K, 1, a, s->lda, b, s->ldb,
                      s->add ? 1 : 0, c, s->ldc) == dnnl_success;
}
