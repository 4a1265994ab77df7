/* Convolutions by cuDNN's graph API: the one file that knows it. An execution plan is made once from the layouts of
 * geometry.h; of the engines that the heuristics offer, the first that is deterministic and keeps f32's precision is
 * taken (ts_cuda.fastest and .tf32 lift the two conditions). bf16 operands may go to tensor cores, which add in f32. A
 * forward convolution takes its bias and relu along where an engine can. */
#include <cudnn.h>

#include "core/cuda/library.h"

extern "C" {
#include "core/cuda/geometry.h"
#include "core/widen.h"
}

namespace
{

enum uid : int64_t { UID_X = 1, UID_W, UID_Y, UID_BIAS, UID_PRODUCT, UID_SUM };
enum { MOST_ENGINES = 24 };
const size_t most_workspace = (size_t)1 << 30;

/* A descriptor that is destroyed with its scope. */
struct descriptor {
    cudnnBackendDescriptor_t d = nullptr;
    bool good = false; /* every call on it has succeeded */

    explicit descriptor(cudnnBackendDescriptorType_t type)
    {
        good = cudnnBackendCreateDescriptor(type, &d) == CUDNN_STATUS_SUCCESS;
    }
    descriptor(const descriptor &) = delete;
    descriptor &operator=(const descriptor &) = delete;
    ~descriptor()
    {
        if (d)
            cudnnBackendDestroyDescriptor(d);
    }
    descriptor &set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                    const void *value)
    {
        good = good && cudnnBackendSetAttribute(d, name, type, count, value) == CUDNN_STATUS_SUCCESS;
        return *this;
    }
    descriptor &set(cudnnBackendAttributeName_t name, const descriptor &other)
    {
        return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other.d);
    }
    descriptor &set(cudnnBackendAttributeName_t name, int64_t value)
    {
        return set(name, CUDNN_TYPE_INT64, 1, &value);
    }
    descriptor &set(cudnnBackendAttributeName_t name, float value)
    {
        return set(name, CUDNN_TYPE_FLOAT, 1, &value);
    }
    bool finalize()
    {
        good = good && cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS;
        return good;
    }
};

/* What follows a convolution. */
struct ending {
    bool bias, relu;
};

struct conv_plan {
    ts_own own;
    cudnnBackendDescriptor_t execution;
    ending rest;  /* what the engine did not take along: a pass of its own */
    bool rounded; /* no engine gives f32 for bf16: the result comes as bf16, at `result` in the scratch, and is cast */
    size_t result;
};

const cudnnDataType_t real = CUDNN_DATA_FLOAT;

/* A look for an engine: what it must keep to, and what came of it, for the note where there is none. */
struct engine_search {
    const ts_cuda *cuda;
    bool half;            /* bf16, whose products tensor cores do not round */
    size_t *workspace;    /* of the plan that was found */
    int engines, refused; /* that were looked at; of them, those that do not keep what was promised */
};

/* What stays between two operations of a graph is f32. */
void describe_tensor(descriptor &t, int64_t uid, const ts_image_layout &layout, bool is_virtual)
{
    const cudnnDataType_t type = layout.dtype == TS_BF16 && !is_virtual ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type)
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, layout.dim)
        .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, layout.stride)
        .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, uid)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, (int64_t)16)
        .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual)
        .finalize();
}

void describe_conv(descriptor &c, const ts_conv_layout &l)
{
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    c.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &real)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode)
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, (int64_t)2)
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, l.dilation)
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, l.stride)
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, l.pad_before)
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, l.pad_after)
        .finalize();
}

/* Which kind of operation an op is, and how cuDNN calls its parts. */
struct pass {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
};

pass pass_of(ts_op op)
{
    switch (op) {
    case TS_OP_conv_transpose:
        return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case TS_OP_conv_dw:
        return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
    default:
        return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    }
}

/* Does the engine of this config keep what was promised? */
bool is_welcome(cudnnBackendDescriptor_t config, const engine_search *s)
{
    descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t found = 0;
    if (cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &found,
                                 &engine.d) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(engine.d, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                 CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &found, note) != CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < found; i++) {
        if (note[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC && !s->cuda->fastest)
            return false;
        const bool rounds = note[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
                            note[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
        if (s->half ? rounds : (rounds || note[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE) && !s->cuda->tf32)
            return false;
    }
    return true;
}

/* The execution plan of a config; NULL where the engine does not support the shapes after all. */
cudnnBackendDescriptor_t finish_plan(cudnnBackendDescriptor_t config, const engine_search *s)
{
    descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    cudnnHandle_t handle = static_cast<cudnnHandle_t>(s->cuda->conv);
    int64_t bytes = 0, found = 0;
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle)
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    if (!plan.finalize() ||
        cudnnBackendGetAttribute(plan.d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &found,
                                 &bytes) != CUDNN_STATUS_SUCCESS ||
        bytes < 0 || (size_t)bytes > most_workspace)
        return nullptr;
    *s->workspace = (size_t)bytes;
    cudnnBackendDescriptor_t result = plan.d;
    plan.d = nullptr;
    return result;
}

/* The first plan that one kind of heuristics leads to, best first. */
cudnnBackendDescriptor_t ask(cudnnBackendHeurMode_t mode, const descriptor &graph, engine_search *s)
{
    descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!heuristics.finalize())
        return nullptr;
    cudnnBackendDescriptor_t config[MOST_ENGINES] = {}, result = nullptr;
    int64_t found = 0;
    for (int i = 0; i < MOST_ENGINES; i++)
        if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]) != CUDNN_STATUS_SUCCESS)
            config[i] = nullptr;
    if (cudnnBackendGetAttribute(heuristics.d, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 MOST_ENGINES, &found, config) != CUDNN_STATUS_SUCCESS)
        found = 0;
    for (int64_t i = 0; i < found && i < MOST_ENGINES && !result; i++) {
        const bool welcome = is_welcome(config[i], s);
        s->engines++;
        s->refused += !welcome;
        if (welcome)
            result = finish_plan(config[i], s);
    }
    for (int i = 0; i < MOST_ENGINES; i++)
        if (config[i])
            cudnnBackendDestroyDescriptor(config[i]);
    return result;
}

cudnnBackendDescriptor_t plan_graph(cudnnBackendDescriptor_t *operations, int64_t count, engine_search *s)
{
    descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    cudnnHandle_t handle = static_cast<cudnnHandle_t>(s->cuda->conv);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operations)
        .set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    if (!graph.finalize())
        return nullptr;
    cudnnBackendDescriptor_t plan = ask(CUDNN_HEUR_MODE_A, graph, s);
    return plan ? plan : ask(CUDNN_HEUR_MODE_FALLBACK, graph, s);
}

/* out = x + b, or an activation of x where b is NULL. NaN stays NaN. */
struct pointwise {
    descriptor how{CUDNN_BACKEND_POINTWISE_DESCRIPTOR}, operation{CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR};

    bool finalize(cudnnPointwiseMode_t mode, const descriptor &x, const descriptor *b, const descriptor &out)
    {
#if CUDNN_MAJOR < 9 /* later ones never do anything else */
        const cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN;
        how.set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, &nan);
#endif
        how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode)
            .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &real)
            .finalize();
        operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
            .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
            .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
        if (b)
            operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
        return operation.finalize();
    }
};

/* The convolution of `desc`, with as much behind it as `end` says. */
cudnnBackendDescriptor_t make_plan(const ts_desc *desc, ending end, engine_search *s)
{
    const ts_conv_layout l = ts_conv_layout_of(desc);
    const ts_image_layout bias_layout = {{1, l.y.dim[1], 1, 1}, {l.y.dim[1], 1, l.y.dim[1], l.y.dim[1]}, l.y.dtype};
    const pass p = pass_of(desc->op);
    descriptor x(CUDNN_BACKEND_TENSOR_DESCRIPTOR), w(CUDNN_BACKEND_TENSOR_DESCRIPTOR),
        y(CUDNN_BACKEND_TENSOR_DESCRIPTOR), b(CUDNN_BACKEND_TENSOR_DESCRIPTOR), sum(CUDNN_BACKEND_TENSOR_DESCRIPTOR),
        out(CUDNN_BACKEND_TENSOR_DESCRIPTOR), conv(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR), operation(p.type);
    pointwise addition, activation;
    const bool ends = end.bias || end.relu;
    describe_tensor(x, UID_X, l.x, false);
    describe_tensor(w, UID_W, l.w, false);
    describe_tensor(y, ends ? UID_PRODUCT : UID_Y, l.y, ends);
    describe_conv(conv, l);
    operation.set(p.conv, conv).set(p.x, x).set(p.w, w).set(p.y, y).set(p.alpha, 1.0f).set(p.beta, 0.0f);
    if (!operation.finalize())
        return nullptr;
    cudnnBackendDescriptor_t operations[3] = {operation.d};
    int64_t count = 1;
    if (end.bias) {
        describe_tensor(b, UID_BIAS, bias_layout, false);
        describe_tensor(sum, end.relu ? UID_SUM : UID_Y, l.y, end.relu);
        if (!addition.finalize(CUDNN_POINTWISE_ADD, y, &b, sum))
            return nullptr;
        operations[count++] = addition.operation.d;
    }
    if (end.relu) {
        describe_tensor(out, UID_Y, l.y, false);
        if (!activation.finalize(CUDNN_POINTWISE_RELU_FWD, end.bias ? sum : y, nullptr, out))
            return nullptr;
        operations[count++] = activation.operation.d;
    }
    return plan_graph(operations, count, s);
}

ts_status open_library(ts_cuda *c, ts_error *err)
{
    cudnnHandle_t handle;
    if (c->conv)
        return TS_OK;
    cudnnStatus_t status = cudnnCreate(&handle);
    if (status == CUDNN_STATUS_SUCCESS) {
        c->conv = handle;
        status = cudnnSetStream(handle, c->stream);
    }
    return status == CUDNN_STATUS_SUCCESS
               ? TS_OK
               : ts_fail(err, TS_ERR_DEVICE, "cuDNN: it cannot be opened: %s", cudnnGetErrorString(status));
}

bool has_bias(const ts_desc *desc)
{
    return desc->op != TS_OP_conv_dw && desc->in_count > 2 && ts_type_present(&desc->in[2]);
}

const ts_kernel *own_kernel(ts_op op)
{
    return op == TS_OP_conv ? &ts_cuda_conv : op == TS_OP_conv_dw ? &ts_cuda_conv_dw : &ts_cuda_conv_transpose;
}

void release(void *prepared)
{
    conv_plan *p = static_cast<conv_plan *>(prepared);
    ts_own_release(&p->own);
    if (p->execution)
        cudnnBackendDestroyDescriptor(p->execution);
    ts_free(p);
}

/* The library's own words for the last thing that it refused; "" where it keeps none. */
void last_words(char *text, size_t size)
{
    text[0] = 0;
#if CUDNN_MAJOR >= 9
    cudnnGetLastErrorString(text, size);
#else
    (void)size;
#endif
}

ts_status refused(conv_plan *p, const ts_desc *desc, const engine_search *s, ts_device *device, size_t *scratch_bytes,
                  ts_error *err)
{
    const bool half = desc->in[0].dtype == TS_BF16;
    char words[160];
    last_words(words, sizeof words);
    ts_device_note(device,
                   "cuDNN has no engine for %s of %s with weights %s, of %s, so %s: of %d engines %d add in no fixed "
                   "order or round; its last words: %s",
                   ts_ops[desc->op].name, ts_shape_print(desc->in[0].shape).text,
                   ts_shape_print(desc->in[1].shape).text, ts_dtype_name(desc->in[0].dtype),
                   half ? "it is computed in f32" : "our own kernel runs", s->engines, s->refused,
                   words[0] ? words : "none");
    return ts_own_prepare(&p->own, half ? &ts_widened : own_kernel(desc->op), desc, device, scratch_bytes, err);
}

/* With as much of what follows as an engine takes along. */
void make_plan_of_most(conv_plan *p, const ts_desc *desc, engine_search *s)
{
    const ending all = {has_bias(desc), desc->op != TS_OP_conv_dw && desc->attr.conv.relu};
    ending taken = desc->op == TS_OP_conv ? all : ending{};
    while (!(p->execution = make_plan(desc, taken, s)) && (taken.bias || taken.relu))
        taken = {taken.bias && taken.relu, false};
    p->rest = {all.bias && !taken.bias, all.relu && !taken.relu};
}

/* f32 from bf16 by an engine that only gives bf16: one more rounding, which is said. */
void plan_rounded(conv_plan *p, const ts_desc *desc, engine_search *s, ts_device *device, size_t *scratch_bytes)
{
    ts_desc half = *desc;
    if (desc->in[0].dtype != TS_BF16 || desc->out[0].dtype != TS_F32)
        return;
    half.out[0].dtype = TS_BF16;
    p->execution = make_plan(&half, {}, s);
    if (!p->execution)
        return;
    p->rounded = true;
    p->result = (*scratch_bytes + 255) / 256 * 256;
    *scratch_bytes = p->result + (size_t)ts_shape_count(desc->out[0].shape) * sizeof(uint16_t);
    ts_device_note(device, "cuDNN gives no f32 for %s of bf16 %s with %s: its result is rounded to bf16",
                   ts_ops[desc->op].name, ts_shape_print(desc->in[0].shape).text,
                   ts_shape_print(desc->in[1].shape).text);
}

ts_status prepare(const ts_desc *desc, ts_device *device, void **prepared, size_t *scratch_bytes, ts_error *err)
{
    ts_cuda *c = static_cast<ts_cuda *>(device->state);
    TS_TRY(open_library(c, err));
    conv_plan *p = static_cast<conv_plan *>(ts_calloc(1, sizeof *p));
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    ts_status status = TS_OK;
    engine_search s = {c, desc->in[0].dtype == TS_BF16, scratch_bytes, 0, 0};
    make_plan_of_most(p, desc, &s);
    if (!p->execution)
        plan_rounded(p, desc, &s, device, scratch_bytes);
    if (!p->execution)
        status = refused(p, desc, &s, device, scratch_bytes, err);
    if (status != TS_OK)
        release(p);
    else
        *prepared = p;
    return status;
}

/* y, of rows of `channels`: plus bias (NULL: none), then what is below 0 becomes 0 where `relu`. */
__global__ void end_rows(float *y, const float *bias, bool relu, int64_t n, int channels)
{
    for (TS_CUDA_EACH(i, n)) {
        const float sum = y[i] + (bias ? bias[i % channels] : 0);
        y[i] = relu && sum < 0 ? 0 : sum;
    }
}

__global__ void end_half_rows(uint16_t *y, const uint16_t *bias, bool relu, int64_t n, int channels)
{
    for (TS_CUDA_EACH(i, n)) {
        const float sum = ts_f32_from_bf16(y[i]) + (bias ? ts_f32_from_bf16(bias[i % channels]) : 0);
        y[i] = ts_bf16_from_f32(relu && sum < 0 ? 0 : sum);
    }
}

void run_rest(const ts_call *call, ending rest)
{
    const void *bias = rest.bias ? call->in[2] : nullptr;
    const ts_type *out = &call->desc->out[0];
    const int64_t n = ts_shape_count(out->shape);
    const int channels = (int)out->shape.dim[3];
    if (out->dtype == TS_BF16)
        TS_LAUNCH(end_half_rows, ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call),
                  static_cast<uint16_t *>(call->out[0]), static_cast<const uint16_t *>(bias), rest.relu, n, channels);
    else
        TS_LAUNCH(end_rows, ts_cuda_grid(call, n), TS_CUDA_BLOCK, ts_cuda_stream(call),
                  static_cast<float *>(call->out[0]), static_cast<const float *>(bias), rest.relu, n, channels);
    ts_cuda_launched(call);
}

/* What a rounded plan left in the scratch, as f32 to its place. */
void run_cast(const ts_call *call, void *result)
{
    ts_desc d = {};
    d.op = TS_OP_cast;
    d.in_count = d.out_count = 1;
    d.out[0] = d.in[0] = call->desc->out[0];
    d.in[0].dtype = TS_BF16;
    ts_call cast = *call;
    cast.desc = &d;
    cast.in = &result;
    ts_cuda_cast.run(&cast);
}

void run(const ts_call *call)
{
    const conv_plan *p = static_cast<const conv_plan *>(call->prepared);
    if (p->own.kernel) {
        ts_own_run(&p->own, call);
        return;
    }
    ts_cuda *c = ts_cuda_of(call);
    const ts_op op = call->desc->op;
    const bool back = op == TS_OP_conv_transpose, weights = op == TS_OP_conv_dw, bias = has_bias(call->desc);
    int64_t uid[4] = {UID_X, UID_W, UID_Y, UID_BIAS};
    void *result = p->rounded ? static_cast<char *>(call->scratch) + p->result : call->out[0];
    void *at[4] = {back ? result : call->in[0], weights ? result : call->in[1],
                   back      ? call->in[0]
                   : weights ? call->in[1]
                             : result,
                   bias ? call->in[2] : nullptr};
    descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    const int64_t count = bias && !p->rest.bias ? 4 : 3;
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uid)
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, at)
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &call->scratch);
    cudnnStatus_t status = pack.finalize()
                               ? cudnnBackendExecute(static_cast<cudnnHandle_t>(c->conv), p->execution, pack.d)
                               : CUDNN_STATUS_BAD_PARAM;
    if (status != CUDNN_STATUS_SUCCESS)
        ts_device_fail(call->device, "cuDNN: cudnnBackendExecute: %s", cudnnGetErrorString(status));
    if (p->rounded)
        run_cast(call, result);
    if (p->rest.bias || p->rest.relu)
        run_rest(call, p->rest);
}

const ts_kernel kernel = {.name = "cudnn", .prepare = prepare, .release = release, .run = run, .bf16 = true};

} // namespace

const ts_kernel *ts_cudnn_kernel(const ts_desc *desc)
{
    return ts_library_dtypes(desc) ? &kernel : nullptr;
}

void ts_cudnn_close(ts_cuda *c)
{
    if (c->conv)
        cudnnDestroy(static_cast<cudnnHandle_t>(c->conv));
    c->conv = nullptr;
}
