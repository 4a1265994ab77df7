/* Functions whose derivative is zero or missing. */
#include <math.h>

#include "core/op.h"
#include "core/ref/ref.h"

static void map(const ts_call *call, double (*f)(double))
{
    int64_t n = ts_shape_count(call->desc->out[0].shape);
    const real *x = call->in[0];
    real *y = call->out[0];
    for (int64_t i = 0; i < n; i++)
        y[i] = (real)f(x[i]);
}

static double sign(double x)
{
    return isnan(x) ? x : (double)((x > 0) - (x < 0));
}

void REF(round)(const ts_call *call)
{
    map(call, rint);
}

void REF(floor)(const ts_call *call)
{
    map(call, floor);
}

void REF(sign)(const ts_call *call)
{
    map(call, sign);
}
