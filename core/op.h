/* Ops as plain data: what a kernel is asked to do (ts_desc) and what does it (ts_kernel). The list is core/ops.def. */
#ifndef TS_CORE_OP_H
#define TS_CORE_OP_H

#include "core/tensor.h"

enum { TS_MAX_IN = 8, TS_MAX_OUT = 3, TS_MAX_LEVELS = 16, TS_CHAIN_STEPS = 16, TS_CHAIN_SLOTS = 10 };
#define VARIADIC TS_MAX_IN

typedef enum {
    TS_OP_NONE, /* a leaf of the graph: input, variable, constant */
#define TS_OP(name, family, class, inputs, outputs, in_place, cpu) TS_OP_##name,
#include "core/ops.def"
#undef TS_OP
    TS_OP_COUNT
} ts_op;

typedef enum {
    TS_CLASS_NONE,
    TS_CLASS_DIFF,
    TS_CLASS_SURROGATE,
    TS_CLASS_GRAD,
    TS_CLASS_INT,
    TS_CLASS_STATE,
    TS_CLASS_RANDOM,
    TS_CLASS_ALIAS,
} ts_op_class;

typedef struct {
    const char *name, *family;
    ts_op_class op_class;
    int max_in, out_count;
    bool in_place; /* output 0 may overwrite input 0 where both have the same size in bytes */
    bool cpu_fast; /* core/cpu has a kernel of its own */
} ts_op_info;

extern const ts_op_info ts_ops[TS_OP_COUNT];

/* Which `bound` a finite scalar quantizer uses (docs/quantizers.md#finite-scalar). */
typedef enum { TS_FSQ_LUCIDRAINS, TS_FSQ_GOOGLE, TS_FSQ_SYMMETRIC } ts_fsq_bound;

/* A finite scalar quantizer: core/fsq.h has its arithmetic. */
typedef struct {
    int count;                    /* dims of a code, D */
    int32_t level[TS_MAX_LEVELS]; /* L of each */
    ts_fsq_bound bound;
    bool hard_clamp; /* clamp to [-1, 1] instead of tanh */
} ts_fsq_opts;

/* One op of a chain: it reads slots and writes one. Where it gives a result of the chain, that is stored at once. */
typedef struct {
    uint8_t op; /* a ts_op that ts_op_chains */
    uint8_t in[3], out;
    int8_t result; /* -1: none */
    double a, b;   /* as in ts_attr.scalar */
} ts_chain_step;

/* What an op is told beside its operands. A member per family; the rest is zero, so that two can be compared as bytes.
 */
typedef union {
    struct {
        double a, b; /* affine: a*x + b. clamp: between a and b. leaky_relu, elu, smooth_abs: a */
    } scalar;
    struct {
        uint32_t axes; /* bit i: axis i is reduced to 1 (sum, amax) */
        int axis;      /* cumsum, concat, slice, pad */
        bool reverse;  /* cumsum from the end */
        int64_t start; /* slice: first element; pad: elements put before */
        double value;  /* pad: what is put there; gather: what an id outside gives */
    } axis;
    struct {
        int order[TS_MAX_RANK]; /* permute: output axis i is input axis order[i] */
    } permute;
    struct {
        bool trans_a, trans_b; /* matmul: the last two axes of a, b are swapped */
        bool relu;             /* the result goes through relu, behind the bias (autograd/epilogue.h) */
    } matmul;
    struct {
        int64_t stride[2], pad[2], dilation[2],
            groups; /* [0] over H, [1] over W; pad before; after is what the shapes say */
        bool relu;  /* conv, conv_transpose: as of matmul */
    } conv;
    struct {
        int64_t size[2], stride[2],
            pad[2]; /* window, step and pad before, over H and W; upsample: size is the factor */
    } pool;
    struct {
        double eps;
        int64_t groups; /* group_norm */
    } norm;
    struct {
        bool ignore;          /* cross_entropy: targets equal to ignore_index count for nothing */
        int64_t ignore_index; /* */
        double smoothing;     /* label smoothing in [0, 1) */
    } loss;
    struct {
        double scale;
        bool causal;
    } attention;
    ts_fsq_opts fsq;
    struct {
        double beta1, beta2, eps, weight_decay; /* adamw */
        bool coupled;                           /* Adam: the decay goes into the gradient (L2) */
        double momentum;                        /* sgd */
        bool nesterov;
        double decay; /* ema: e = decay*e + (1-decay)*x */
    } optim;
    struct {
        uint64_t stream; /* hash of the scope path */
        int64_t below;   /* random_index: in [0, below) */
    } random;
    struct {
        int count;               /* steps */
        int slots;               /* in all; the first ones hold the operands when it begins */
        int64_t each[TS_MAX_IN]; /* element i of the result reads element (i / each) mod size of the operand */
        ts_chain_step step[TS_CHAIN_STEPS];
    } chain;
} ts_attr;

/* dtype and shape; rank -1 is an absent operand. */
typedef struct {
    ts_dtype dtype;
    ts_shape shape;
} ts_type;

static inline bool ts_type_present(const ts_type *t)
{
    return t->shape.rank >= 0;
}

typedef struct {
    ts_op op;
    ts_attr attr;
    int in_count, out_count;
    ts_type in[TS_MAX_IN], out[TS_MAX_OUT];
} ts_desc;

/* Elementwise ops of which a chain can be made, by their operands: x with the scalars a and b; dy and x, the same; two.
 * Beside these: where. */
#define TS_CHAIN_ONE(X)                                                                                                \
    X(affine)                                                                                                          \
    X(square)                                                                                                          \
    X(sqrt)                                                                                                            \
    X(exp)                                                                                                             \
    X(log)                                                                                                             \
    X(abs)                                                                                                             \
    X(smooth_abs)                                                                                                      \
    X(clamp)                                                                                                           \
    X(relu)                                                                                                            \
    X(leaky_relu)                                                                                                      \
    X(elu)                                                                                                             \
    X(silu)                                                                                                            \
    X(gelu)                                                                                                            \
    X(gelu_tanh)                                                                                                       \
    X(tanh)                                                                                                            \
    X(sigmoid)                                                                                                         \
    X(softplus)
#define TS_CHAIN_SLOPE(X)                                                                                              \
    X(clamp_dx)                                                                                                        \
    X(relu_dx)                                                                                                         \
    X(leaky_relu_dx)                                                                                                   \
    X(elu_dx)                                                                                                          \
    X(silu_dx)                                                                                                         \
    X(gelu_dx)                                                                                                         \
    X(gelu_tanh_dx)                                                                                                    \
    X(tanh_dx)                                                                                                         \
    X(sigmoid_dx)
#define TS_CHAIN_TWO(X)                                                                                                \
    X(add)                                                                                                             \
    X(subtract)                                                                                                        \
    X(mul)                                                                                                             \
    X(div)                                                                                                             \
    X(maximum)                                                                                                         \
    X(minimum)                                                                                                         \
    X(greater)

bool ts_op_chains(ts_op op);

struct ts_device;

/* One execution: the memory of operands and results, in the device's address space. Absent operands are NULL. */
typedef struct {
    const ts_desc *desc;
    struct ts_device *device;
    void *const *in; /* a STATE op writes the first of them */
    void *const *out;
    void *prepared;
    void *scratch; /* as many bytes as prepare asked for, aligned to 64; shared: nothing survives in it */
} ts_call;

/* What does an op. `accepts` may refuse a shape or dtype; then the next kernel in the backend's order is asked.
 * `prepare` makes what depends on shapes alone (library objects, tables) and says how much scratch a run needs. A run
 * cannot fail for a reason in the data; a library's failure goes to ts_device_fail. */
typedef struct ts_kernel {
    const char *name;                     /* "ref", "simd", "onednn" */
    bool (*accepts)(const ts_desc *desc); /* NULL: everything */
    ts_status (*prepare)(const ts_desc *desc, struct ts_device *device, void **prepared, size_t *scratch_bytes,
                         ts_error *err); /* NULL: nothing to prepare */
    void (*release)(void *prepared);     /* NULL: nothing to release */
    void (*run)(const ts_call *call);
    bool bf16; /* computes with bf16 operands itself, where it accepts them; else ts_widened does it with f32 */
} ts_kernel;

/* Arithmetic of one execution, multiply-adds counted as 2, and bytes that must move at least once (plan, bench). */
double ts_desc_flops(const ts_desc *desc);
double ts_desc_bytes(const ts_desc *desc);

#endif
