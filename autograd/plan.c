#include "autograd/plan.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

/* A stretch of memory with a life: one root value, or several that hand it on in place. */
typedef struct {
    size_t bytes, offset;
    int32_t first, last; /* steps, inclusive */
} slot;

typedef struct {
    ts_plan *plan;
    bool *needed;      /* per node */
    int32_t *last_use; /* per root: the last step that touches it */
    int32_t *slot_of;  /* per root: index into slots, or -1 */
    slot *slots;
    int32_t slot_count;
} planner;

/* Without what rounding up to whole lines adds: [2, 1] is no [2, 8], though both take one line. */
static size_t exact_bytes(const ts_graph *g, int32_t v)
{
    return ts_tensor_bytes(&(ts_tensor){g->values[v].type.dtype, g->values[v].type.shape, NULL});
}

static size_t value_bytes(const ts_graph *g, int32_t v)
{
    return (exact_bytes(g, v) + ALIGN - 1) / ALIGN * ALIGN;
}

static ts_status add_step(planner *p, int32_t i, ts_error *err)
{
    ts_plan *plan = p->plan;
    const ts_node *node = &plan->graph->nodes[i];
    ts_plan_step *step = &plan->steps[plan->step_count];
    *step = (ts_plan_step){.node = i, .desc = ts_node_desc(plan->graph, node)};
    step->kernel = plan->device->backend->kernel(plan->device, &step->desc);
    if (!step->kernel)
        return ts_fail(err, TS_ERR_DEVICE, "%s: the %s backend has no kernel for %s", node->path,
                       plan->device->backend->name, ts_ops[node->op].name);
    plan->step_count++;
    plan->flops += ts_desc_flops(&step->desc);
    plan->moved_bytes += ts_desc_bytes(&step->desc);
    return TS_OK;
}

static ts_status order_steps(planner *p, ts_error *err)
{
    const ts_graph *g = p->plan->graph;
    for (int state = 0; state < 2; state++)
        for (int32_t i = 0; i < g->node_count; i++) {
            bool writes = ts_ops[g->nodes[i].op].op_class == TS_CLASS_STATE;
            if (p->needed[i] && writes == state && !ts_node_is_alias(&g->nodes[i]))
                TS_TRY(add_step(p, i, err));
        }
    return TS_OK;
}

/* Where a kernel's descriptors are made after its place in the plan is certain, so that a failure above costs nothing.
 */
static ts_status prepare_steps(planner *p, ts_error *err)
{
    ts_plan *plan = p->plan;
    for (int32_t i = 0; i < plan->step_count; i++) {
        ts_plan_step *step = &plan->steps[i];
        size_t scratch = 0;
        if (!step->kernel->prepare)
            continue;
        ts_status status = step->kernel->prepare(&step->desc, plan->device, &step->prepared, &scratch, err);
        if (status != TS_OK)
            return ts_error_prefix(err, "%s: %s", plan->graph->nodes[step->node].path, ts_ops[step->desc.op].name);
        if (scratch > plan->scratch_bytes)
            plan->scratch_bytes = scratch;
    }
    return TS_OK;
}

/* In the arena: results that are not bound to a store, and inputs. */
static bool in_arena(const ts_graph *g, int32_t v)
{
    const ts_value_info *info = &g->values[v];
    return (info->kind == TS_KIND_RESULT || info->kind == TS_KIND_INPUT) && !info->store;
}

static bool lives_to_the_end(const ts_graph *g, const int32_t *root, int32_t r)
{
    for (int32_t v = r; v < g->value_count; v++)
        if (root[v] == r && (g->values[v].output_name || g->values[v].kind == TS_KIND_INPUT))
            return true;
    return false;
}

static void find_lives(planner *p)
{
    ts_plan *plan = p->plan;
    const ts_graph *g = plan->graph;
    for (int32_t v = 0; v < g->value_count; v++)
        p->last_use[v] = -1;
    for (int32_t i = 0; i < plan->step_count; i++) {
        const ts_node *node = &g->nodes[plan->steps[i].node];
        for (int k = 0; k < node->in_count; k++)
            if (node->in[k] >= 0)
                p->last_use[plan->root[node->in[k]]] = i;
        for (int k = 0; k < node->out_count; k++)
            if (p->last_use[plan->root[node->out[k]]] < i)
                p->last_use[plan->root[node->out[k]]] = i;
    }
    for (int32_t v = 0; v < g->value_count; v++)
        if (plan->root[v] == v && in_arena(g, v) && lives_to_the_end(g, plan->root, v))
            p->last_use[v] = plan->step_count;
}

static int32_t new_slot(planner *p, int32_t value, int32_t first)
{
    size_t bytes = value_bytes(p->plan->graph, value);
    p->slots[p->slot_count] = (slot){.bytes = bytes, .first = first, .last = p->last_use[value]};
    p->plan->value_bytes += bytes;
    return p->slot_count++;
}

/* Output k may take over operand k's memory where the op allows it (but for a chain output 0 alone), the operand is an
 * arena tensor that dies here, no other operand shares it, and the sizes agree. */
static bool takes_over(const planner *p, const ts_node *node, int k, int32_t step)
{
    const ts_plan *plan = p->plan;
    if (!ts_ops[node->op].in_place || (k > 0 && node->op != TS_OP_chain) || node->in_count <= k || node->in[k] < 0)
        return false;
    int32_t from = plan->root[node->in[k]];
    if (p->slot_of[from] < 0 || p->last_use[from] != step || plan->graph->values[from].kind == TS_KIND_INPUT ||
        exact_bytes(plan->graph, from) != exact_bytes(plan->graph, node->out[k]))
        return false;
    for (int j = 0; j < node->in_count; j++)
        if (j != k && node->in[j] >= 0 && plan->root[node->in[j]] == from)
            return false;
    return true;
}

static void make_slots(planner *p)
{
    ts_plan *plan = p->plan;
    const ts_graph *g = plan->graph;
    for (int32_t v = 0; v < g->value_count; v++)
        p->slot_of[v] = g->values[v].kind == TS_KIND_INPUT ? new_slot(p, v, 0) : -1;
    for (int32_t i = 0; i < plan->step_count; i++) {
        const ts_node *node = &g->nodes[plan->steps[i].node];
        for (int k = 0; k < node->out_count; k++) {
            int32_t v = node->out[k];
            if (!in_arena(g, v))
                continue;
            if (takes_over(p, node, k, i)) {
                p->slot_of[v] = p->slot_of[plan->root[node->in[k]]];
                p->slots[p->slot_of[v]].last = p->last_use[v];
                plan->value_bytes += value_bytes(g, v);
            } else {
                p->slot_of[v] = new_slot(p, v, i);
            }
        }
    }
}

typedef struct {
    size_t bytes;
    int32_t slot;
} sized;

static int by_size(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->slot < y->slot ? -1 : 1;
}

/* The lowest place where `s` meets none of the slots placed before it that live at the same time. */
static size_t lowest_place(const planner *p, const sized *order, int32_t placed, const slot *s)
{
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t i = 0; i < placed; i++) {
            const slot *o = &p->slots[order[i].slot];
            bool together = o->first <= s->last && s->first <= o->last;
            if (together && at < o->offset + o->bytes && o->offset < at + s->bytes) {
                at = o->offset + o->bytes;
                moved = true;
            }
        }
    }
    return at;
}

/* Largest first, each at the lowest free place: within a few per cent of the largest sum of what lives at once. */
static ts_status place_slots(planner *p, ts_error *err)
{
    size_t bytes = (size_t)p->slot_count * sizeof(sized);
    sized *order = ts_alloc(bytes);
    if (!order)
        return ts_out_of_memory(err, bytes);
    for (int32_t i = 0; i < p->slot_count; i++)
        order[i] = (sized){p->slots[i].bytes, i};
    if (p->slot_count)
        qsort(order, (size_t)p->slot_count, sizeof *order, by_size);
    for (int32_t i = 0; i < p->slot_count; i++) {
        slot *s = &p->slots[order[i].slot];
        s->offset = lowest_place(p, order, i, s);
        if (s->offset + s->bytes > p->plan->arena_bytes)
            p->plan->arena_bytes = s->offset + s->bytes;
    }
    ts_free(order);
    return TS_OK;
}

static void note_offsets(planner *p)
{
    ts_plan *plan = p->plan;
    for (int32_t v = 0; v < plan->graph->value_count; v++)
        plan->offset[v] = p->slot_of[v] < 0 ? SIZE_MAX : p->slots[p->slot_of[v]].offset;
    plan->scratch_offset = plan->arena_bytes;
    plan->arena_bytes += (plan->scratch_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static ts_status fill_plan(planner *p, ts_error *err)
{
    ts_mark_needed(p->plan->graph, p->needed);
    ts_find_roots(p->plan->graph, p->plan->root);
    TS_TRY(order_steps(p, err));
    TS_TRY(prepare_steps(p, err));
    find_lives(p);
    make_slots(p);
    TS_TRY(place_slots(p, err));
    note_offsets(p);
    return TS_OK;
}

ts_status ts_plan_new(ts_graph *graph, ts_device *device, ts_plan **result, ts_error *err)
{
    *result = NULL;
    TS_TRY(ts_graph_check(graph, err));
    size_t values = (size_t)graph->value_count, nodes = (size_t)graph->node_count;
    ts_plan *plan = ts_calloc(1, sizeof *plan);
    planner p = {.plan = plan,
                 .needed = ts_calloc(nodes, sizeof(bool)),
                 .last_use = ts_calloc(values, sizeof(int32_t)),
                 .slot_of = ts_calloc(values, sizeof(int32_t)),
                 .slots = ts_calloc(values, sizeof(slot))};
    ts_status status = TS_OK;
    if (plan) {
        plan->graph = graph;
        plan->device = device;
        plan->steps = ts_calloc(nodes, sizeof *plan->steps);
        plan->root = ts_calloc(values, sizeof *plan->root);
        plan->offset = ts_calloc(values, sizeof *plan->offset);
    }
    if (!plan || !plan->steps || !plan->root || !plan->offset || !p.needed || !p.last_use || !p.slot_of || !p.slots)
        status = ts_out_of_memory(err, values * sizeof(slot));
    else
        status = fill_plan(&p, err);
    ts_free(p.needed);
    ts_free(p.last_use);
    ts_free(p.slot_of);
    ts_free(p.slots);
    if (status == TS_OK)
        *result = plan;
    else
        ts_plan_free(plan);
    return status;
}

void ts_plan_free(ts_plan *plan)
{
    if (!plan)
        return;
    for (int32_t i = 0; plan->steps && i < plan->step_count; i++)
        if (plan->steps[i].prepared && plan->steps[i].kernel->release)
            plan->steps[i].kernel->release(plan->steps[i].prepared);
    ts_free(plan->steps);
    ts_free(plan->root);
    ts_free(plan->offset);
    ts_free(plan);
}
