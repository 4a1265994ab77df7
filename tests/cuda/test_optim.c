/* State ops over blocks of many sizes, with and without `ok`, and the norm of a gradient. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/cuda/direct.h"

static float ok; /* what `put_scalars` gives operand `ok` */
static int ok_at;

/* Scalars behind the blocks: lr, corrections and so on are small and positive; moments v are positive. */
static void put_scalars(int k, void *x)
{
    if (k == ok_at)
        *(float *)x = ok;
    else if (ok_at == 7 && k == 2)
        for (int i = 0; i < 17; i++)
            ((float *)x)[i] = fabsf(((float *)x)[i]);
    else if (ok_at == 7 && k >= 4)
        ((float *)x)[0] = 0.25f, ((float *)x)[k == 5] = k == 5 ? 0.5f : ((float *)x)[0];
}

static void square_moments(int k, void *x)
{
    if (k == 2)
        for (int i = 0; i < 20003; i++)
            ((float *)x)[i] *= ((float *)x)[i];
    else if (k >= 4 && k < 7)
        ((float *)x)[0] = 0.25f, ((float *)x)[k == 5] = k == 5 ? 0.5f : 0.25f;
    else if (k == 7)
        *(float *)x = ok;
}

Test(cuda_optim, adamw)
{
    for (int way = 0; way < 3; way++) { /* plain; coupled; not ok */
        direct_case c = DIRECT("adamw", adamw, 2e-6, F(), F(20003), F(20003), F(20003), F(20003), F(), F(2), F(), F());
        c.desc.out_count = 0;
        c.spoil = square_moments;
        ok = way == 2 ? NAN : 1;
        c.desc.attr.optim.beta1 = 0.9;
        c.desc.attr.optim.beta2 = 0.99;
        c.desc.attr.optim.eps = 1e-8;
        c.desc.attr.optim.weight_decay = 0.1;
        c.desc.attr.optim.coupled = way == 1;
        direct_check(&c, 1);
    }
}

Test(cuda_optim, sgd)
{
    for (int way = 0; way < 3; way++) { /* no buffer, no scale, no ok; momentum; Nesterov's */
        direct_case c = DIRECT("sgd", sgd, 1e-6, F(), F(9003), F(9003), F(9003), F(), F(), F());
        c.desc.out_count = 0;
        if (way == 0)
            c.desc.in[1].shape.rank = c.desc.in[4].shape.rank = c.desc.in[5].shape.rank = -1;
        ok = 1;
        ok_at = 5;
        c.spoil = way ? put_scalars : NULL;
        c.desc.attr.optim.momentum = way ? 0.9 : 0;
        c.desc.attr.optim.weight_decay = 0.1;
        c.desc.attr.optim.nesterov = way == 2;
        direct_check(&c, 1);
    }
}

Test(cuda_optim, ema_and_assignment)
{
    const ts_dtype dtypes[] = {TS_F32, TS_I32, TS_I64, TS_BF16, TS_U8};
    ok_at = 2;
    for (int way = 0; way < 3; way++) { /* ok; not; no such operand */
        ok = way == 1 ? 0 : 1;
        for (int i = 0; i < 5; i++) {
            ts_type t = OF(dtypes[i], 10007);
            direct_case cases[] = {DIRECT("assign", assign, 0, F(), t, t, F()),
                                   DIRECT("assign_add", assign_add, 0, F(), t, t, F()),
                                   DIRECT("ema", ema, 1e-6, F(), t, t, F())};
            int count = i == 0 ? 3 : i < 3 ? 2 : 1;
            for (int k = 0; k < count; k++) {
                cases[k].desc.out_count = 0;
                cases[k].desc.in_count = way == 2 ? 2 : 3;
                cases[k].spoil = put_scalars;
                cases[k].desc.attr.optim.decay = k == 2 ? 0.75 : 0;
            }
            direct_check(cases, count);
        }
    }
}

Test(cuda_optim, global_norm)
{
    const direct_case cases[] = {
        DIRECT("large", global_norm, 1e-7, F(), F(200003)),
        DIRECT("two axes", global_norm, 1e-7, F(), F(33, 77)),
        DIRECT("a scalar", global_norm, 1e-7, F(), F()),
        DIRECT("nothing", global_norm, 0, F(), F(0)),
    };
    DIRECT_CHECK(cases);
}
