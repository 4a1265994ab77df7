/* Matrix products by cuBLASLt: the one file that knows it. */
#include <cublasLt.h>

#include "core/cuda/library.h"

extern "C" {
#include "core/cuda/geometry.h"
#include "core/widen.h"
}

namespace
{

enum { MOST_WORKSPACE = 32 << 20 };

struct product {
    ts_own own;
    ts_product_layout layout;
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t first, second, out;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
};

#define BLAS_TRY(call)                                                                                                 \
    do {                                                                                                               \
        cublasStatus_t blas_status_ = (call);                                                                          \
        if (blas_status_ != CUBLAS_STATUS_SUCCESS)                                                                     \
            return ts_fail(err, TS_ERR_DEVICE, "cuBLASLt: %s: %s", #call, cublasLtGetStatusString(blas_status_));      \
    } while (0)

ts_status open_library(ts_cuda *c, ts_error *err)
{
    cublasLtHandle_t handle;
    if (c->matmul)
        return TS_OK;
    BLAS_TRY(cublasLtCreate(&handle));
    c->matmul = handle;
    return TS_OK;
}

cudaDataType_t number(ts_dtype dtype)
{
    return dtype == TS_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

ts_status make_matrix(cublasLtMatrixLayout_t *matrix, ts_dtype dtype, int64_t rows, int64_t columns, int64_t ld,
                      int64_t batch, int64_t step, ts_error *err)
{
    int32_t count = (int32_t)batch;
    BLAS_TRY(cublasLtMatrixLayoutCreate(matrix, number(dtype), (uint64_t)rows, (uint64_t)columns, ld));
    BLAS_TRY(cublasLtMatrixLayoutSetAttribute(*matrix, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
    BLAS_TRY(
        cublasLtMatrixLayoutSetAttribute(*matrix, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step));
    return TS_OK;
}

ts_status describe(product *p, const ts_cuda *c, ts_error *err)
{
    const ts_product_layout *l = &p->layout;
    const cublasOperation_t first = l->trans_first ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = l->trans_second ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = l->relu   ? l->bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU
                                        : l->bias ? CUBLASLT_EPILOGUE_BIAS
                                                  : CUBLASLT_EPILOGUE_DEFAULT;
    const bool tf32 = c->tf32 && l->in == TS_F32;
    const cudaDataType_t bias = number(l->out);
    BLAS_TRY(cublasLtMatmulDescCreate(&p->what, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    BLAS_TRY(cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
    BLAS_TRY(cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));
    BLAS_TRY(cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (l->bias)
        BLAS_TRY(cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias, sizeof bias));
    TS_TRY(make_matrix(&p->first, l->in, l->trans_first ? l->k : l->m, l->trans_first ? l->m : l->k, l->ld_first,
                       l->batch, l->step_first, err));
    TS_TRY(make_matrix(&p->second, l->in, l->trans_second ? l->n : l->k, l->trans_second ? l->k : l->n, l->ld_second,
                       l->batch, l->step_second, err));
    return make_matrix(&p->out, l->out, l->m, l->n, l->ld_out, l->batch, l->step_out, err);
}

/* The heuristic's first choice. Sums split over k are added in a fixed order or not taken. NULL, or why there is none.
 */
const char *choose(product *p, const ts_cuda *c)
{
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t result = {};
    const uint64_t workspace = MOST_WORKSPACE;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    int found = 0;
    cublasStatus_t status = cublasLtMatmulPreferenceCreate(&preference);
    if (status != CUBLAS_STATUS_SUCCESS)
        return cublasLtGetStatusString(status);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                         sizeof workspace);
    if (!c->fastest)
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                             sizeof reductions);
    status = cublasLtMatmulAlgoGetHeuristic(static_cast<cublasLtHandle_t>(c->matmul), p->what, p->first, p->second,
                                            p->out, p->out, preference, 1, &result, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    p->algorithm = result.algo;
    p->workspace = result.workspaceSize;
    if (status == CUBLAS_STATUS_SUCCESS && found > 0)
        status = result.state;
    else if (status == CUBLAS_STATUS_SUCCESS)
        return "its heuristics found no algorithm";
    return status == CUBLAS_STATUS_SUCCESS ? nullptr : cublasLtGetStatusString(status);
}

void release(void *prepared)
{
    product *p = static_cast<product *>(prepared);
    ts_own_release(&p->own);
    if (p->out)
        cublasLtMatrixLayoutDestroy(p->out);
    if (p->second)
        cublasLtMatrixLayoutDestroy(p->second);
    if (p->first)
        cublasLtMatrixLayoutDestroy(p->first);
    if (p->what)
        cublasLtMatmulDescDestroy(p->what);
    ts_free(p);
}

ts_status prepare(const ts_desc *desc, ts_device *device, void **prepared, size_t *scratch_bytes, ts_error *err)
{
    ts_cuda *c = static_cast<ts_cuda *>(device->state);
    TS_TRY(open_library(c, err));
    product *p = static_cast<product *>(ts_calloc(1, sizeof *p));
    if (!p)
        return ts_out_of_memory(err, sizeof *p);
    p->layout = ts_product_layout_of(desc);
    ts_status status = describe(p, c, err);
    const char *why = status == TS_OK ? choose(p, c) : nullptr;
    if (why) {
        const bool half = p->layout.in == TS_BF16;
        ts_device_note(device, "cuBLASLt has no product of %lld x %lld x %lld, batch %lld, of %s, so %s: %s",
                       (long long)p->layout.m, (long long)p->layout.n, (long long)p->layout.k,
                       (long long)p->layout.batch, ts_dtype_name(p->layout.in),
                       half ? "it is computed in f32" : "our own kernel runs", why);
        status = ts_own_prepare(&p->own, half ? &ts_widened : &ts_cuda_matmul, desc, device, scratch_bytes, err);
    } else {
        *scratch_bytes = p->workspace;
    }
    if (status != TS_OK)
        release(p);
    else
        *prepared = p;
    return status;
}

void run(const ts_call *call)
{
    const product *p = static_cast<const product *>(call->prepared);
    const float one = 1, zero = 0;
    if (p->own.kernel) {
        ts_own_run(&p->own, call);
        return;
    }
    ts_cuda *c = ts_cuda_of(call);
    if (p->layout.bias) { /* the address may be another one after memory has grown */
        const void *bias = call->in[2];
        cublasLtMatmulDescSetAttribute(p->what, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    }
    cublasStatus_t status = cublasLtMatmul(static_cast<cublasLtHandle_t>(c->matmul), p->what, &one, call->in[1],
                                           p->first, call->in[0], p->second, &zero, call->out[0], p->out, call->out[0],
                                           p->out, &p->algorithm, call->scratch, p->workspace, c->stream);
    if (status != CUBLAS_STATUS_SUCCESS)
        ts_device_fail(call->device, "cuBLASLt: cublasLtMatmul: %s", cublasLtGetStatusString(status));
}

const ts_kernel kernel = {.name = "cublaslt", .prepare = prepare, .release = release, .run = run, .bf16 = true};

} // namespace

const ts_kernel *ts_cublas_kernel(const ts_desc *desc)
{
    return ts_library_dtypes(desc) ? &kernel : nullptr;
}

void ts_cublas_close(ts_cuda *c)
{
    if (c->matmul)
        cublasLtDestroy(static_cast<cublasLtHandle_t>(c->matmul));
    c->matmul = nullptr;
}
