#include "models/motion_loss.h"

#include "autograd/elementwise.h"
#include "autograd/index.h"
#include "autograd/node.h"

typedef struct {
    ts_value y, x;
} pair;

static pair columns_of(pair p, ts_columns c)
{
    return (pair){ts_slice(p.y, 2, c.first, c.count), ts_slice(p.x, 2, c.first, c.count)};
}

/* [B, T, C] -> [B, T-1, C], each frame less the one before */
static ts_value steps_of(ts_value v)
{
    int64_t last = ts_dim(v, 1) - 1;
    return ts_subtract(ts_slice(v, 1, 1, last), ts_slice(v, 1, 0, last));
}

static pair differences(pair p)
{
    return (pair){steps_of(p.y), steps_of(p.x)};
}

static void add(ts_motion_losses *l, const char *name, double weight, ts_value value)
{
    l->term[l->count].name = name;
    l->term[l->count].weight = weight;
    l->term[l->count++].value = value;
}

bool ts_motion_weights_any(const ts_motion_weights *w)
{
    return w->position > 0 || w->velocity > 0 || w->acceleration > 0 || w->root > 0;
}

void ts_motion_losses_build(ts_motion_losses *losses, const ts_motion_weights *weights, const ts_motion_layout *layout,
                            ts_value (*loss)(ts_value y, ts_value x), ts_value y, ts_value x)
{
    *losses = (ts_motion_losses){0};
    if (!ts_motion_weights_any(weights) || !ts_present(y) || !ts_present(x))
        return;
    if (ts_value_shape(y).rank != 3 || ts_dim(y, 2) != layout->columns) {
        ts_build_fail(y.graph, "motion loss", "%s, expected [B, T, %lld]", ts_shape_print(ts_value_shape(y)).text,
                      (long long)layout->columns);
        return;
    }
    pair all = {y, x}, position = columns_of(all, layout->positions);
    if (weights->position > 0)
        add(losses, "position", weights->position, loss(position.y, position.x));
    if (weights->velocity > 0) {
        pair v = differences(position);
        add(losses, "velocity", weights->velocity, loss(v.y, v.x));
    }
    if (weights->acceleration > 0) {
        pair a = differences(differences(position));
        add(losses, "acceleration", weights->acceleration, loss(a.y, a.x));
    }
    if (weights->root > 0) {
        pair root = columns_of(all, layout->root);
        add(losses, "root", weights->root, loss(root.y, root.x));
    }
}
