#include "models/motion_loss.h"

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/node.h"
#include "autograd/reduce.h"

/* y against x, and which frames count; an absent mask: all. */
typedef struct {
    ts_value y, x, mask;
} frames;

static frames columns_of(frames f, ts_columns c)
{
    return (frames){ts_slice(f.y, 2, c.first, c.count), ts_slice(f.x, 2, c.first, c.count), f.mask};
}

/* All but the first frame, or all but the last: [B, T, ..] -> [B, T-1, ..] */
static ts_value later(ts_value v)
{
    return ts_slice(v, 1, 1, ts_dim(v, 1) - 1);
}

static ts_value earlier(ts_value v)
{
    return ts_slice(v, 1, 0, ts_dim(v, 1) - 1);
}

/* Each frame less the one before. */
static ts_value steps_of(ts_value v)
{
    return ts_subtract(later(v), earlier(v));
}

static frames differences(frames f)
{
    return (frames){steps_of(f.y), steps_of(f.x), f.mask.graph ? ts_mul(later(f.mask), earlier(f.mask)) : TS_ABSENT};
}

typedef ts_value (*loss_fn)(ts_value y, ts_value x, ts_value mask);

static void add(ts_motion_losses *l, const char *name, double weight, loss_fn loss, frames f)
{
    if (!(weight > 0))
        return;
    l->term[l->count].name = name;
    l->term[l->count].weight = weight;
    l->term[l->count].rows = f.mask.graph ? ts_sum_all(f.mask) : TS_ABSENT;
    l->term[l->count++].value = loss(f.y, f.x, f.mask);
}

bool ts_motion_weights_any(const ts_motion_weights *w)
{
    return w->position > 0 || w->velocity > 0 || w->acceleration > 0 || w->root > 0;
}

void ts_motion_losses_build(ts_motion_losses *losses, const ts_motion_weights *weights, const ts_motion_layout *layout,
                            ts_value (*loss)(ts_value y, ts_value x, ts_value mask), ts_value y, ts_value x,
                            ts_value mask)
{
    *losses = (ts_motion_losses){0};
    if (!ts_motion_weights_any(weights) || !ts_present(y) || !ts_present(x))
        return;
    if (ts_value_shape(y).rank != 3 || ts_dim(y, 2) != layout->columns) {
        ts_build_fail(y.graph, "motion loss", "%s, expected [B, T, %lld]", ts_shape_print(ts_value_shape(y)).text,
                      (long long)layout->columns);
        return;
    }
    frames all = {y, x, mask}, position = columns_of(all, layout->positions);
    add(losses, "position", weights->position, loss, position);
    if (weights->velocity > 0)
        add(losses, "velocity", weights->velocity, loss, differences(position));
    if (weights->acceleration > 0)
        add(losses, "acceleration", weights->acceleration, loss, differences(differences(position)));
    add(losses, "root", weights->root, loss, columns_of(all, layout->root));
}
