#include "autograd/fuse.h"

#include <stdlib.h>

#include "autograd/epilogue.h"
#include "autograd/node.h"

/* Nodes that become a chain, in their order; one alone stays what it is. */
typedef struct {
    int count;
    int32_t node[TS_CHAIN_STEPS];
} group;

typedef struct {
    ts_graph *g;
    int32_t node_count, value_count;
    const ts_node *nodes; /* as they were */
    bool *needed;         /* per node */
    bool *shown;          /* per root: it or an alias of it is an output */
    int32_t *root;        /* per value: whose memory it is */
    int32_t *producer;    /* per value: node, -1: a leaf */
    int32_t *begin;       /* per root, and one more: its readers in `reader`, aliases and nodes not needed left out */
    int32_t *reader;
    int32_t *group_of; /* per node: the last node of its group */
    group *groups;     /* at the last node of each */
    uint32_t bound;    /* bit b: something is bound to block b of the store while the program runs */
} pass;

static int64_t elements(const pass *p, int32_t v)
{
    return ts_shape_count(p->g->values[v].type.shape);
}

/* Is element i of y element (i / each) mod size of x? The axes along which x has y's size must be neighbours. */
static bool repeats(ts_shape x, ts_shape y, int64_t *each)
{
    bool inside = false, outside = false;
    *each = 1;
    for (int i = 1; i <= y.rank; i++) {
        const int64_t own = i <= x.rank ? x.dim[x.rank - i] : 1, whole = y.dim[y.rank - i];
        if (whole == 1)
            continue;
        if (own == 1 && !inside)
            *each *= whole;
        else if (own == 1)
            outside = true;
        else if (outside)
            return false;
        else
            inside = true;
    }
    return true;
}

/* ---- what the graph is like ---- */

/* Behind the pass nobody differentiates: an alias needs the operand whose memory it is, and no other. */
static void cut_aliases(ts_graph *g)
{
    for (int32_t i = 0; i < g->node_count; i++)
        if (ts_node_is_alias(&g->nodes[i]))
            g->nodes[i].in_count = 1;
}

static void look_at_values(pass *p)
{
    ts_find_roots(p->g, p->root);
    for (int32_t v = 0; v < p->value_count; v++) {
        const ts_value_info *info = &p->g->values[v];
        p->producer[v] = info->node;
        if (info->store && info->kind == TS_KIND_RESULT)
            p->bound |= 1u << info->block;
        p->shown[p->root[v]] |= info->output_name != NULL;
    }
}

/* Two rounds: how many readers a root has, then who they are. */
static void find_readers(pass *p)
{
    for (int round = 0; round < 2; round++) {
        for (int32_t i = 0; i < p->node_count; i++)
            for (int k = 0; p->needed[i] && !ts_node_is_alias(&p->nodes[i]) && k < p->nodes[i].in_count; k++) {
                const int32_t v = p->nodes[i].in[k];
                if (v >= 0 && round == 0)
                    p->begin[p->root[v] + 1]++;
                else if (v >= 0)
                    p->reader[p->begin[p->root[v]]++] = i;
            }
        for (int32_t v = 0; v < p->value_count; v++)
            p->begin[round ? p->value_count - v : v + 1] =
                round ? p->begin[p->value_count - v - 1] : p->begin[v] + p->begin[v + 1];
    }
    p->begin[0] = 0;
}

/* An operand that is written while the program runs must be read at its own time. */
static bool is_readable(const pass *p, int32_t v, ts_shape result)
{
    int64_t each;
    const ts_value_info *info = v < 0 ? NULL : &p->g->values[v];
    return info && info->type.dtype == p->g->real && repeats(info->type.shape, result, &each) &&
           !(info->kind == TS_KIND_PLACE && p->bound >> info->block & 1);
}

static bool can_join(const pass *p, int32_t i)
{
    const ts_node *node = &p->nodes[i];
    if (!p->needed[i] || !ts_op_chains(node->op))
        return false;
    const ts_value_info *out = &p->g->values[node->out[0]];
    bool fits = out->type.dtype == p->g->real && !out->store && ts_shape_count(out->type.shape) > 0;
    for (int k = 0; fits && k < node->in_count; k++)
        fits = is_readable(p, node->in[k], out->type.shape);
    return fits;
}

/* When a node runs: with its group; what writes state, last of all. */
static int32_t time_of(const pass *p, int32_t node)
{
    return ts_ops[p->nodes[node].op].op_class == TS_CLASS_STATE ? INT32_MAX : p->group_of[node];
}

static bool is_member(const group *u, int32_t node)
{
    for (int i = 0; i < u->count; i++)
        if (u->node[i] == node)
            return true;
    return false;
}

/* When a root is read for the last time by others than `u`; never: -1. */
static int32_t last_read(const pass *p, int32_t root, const group *u)
{
    int32_t last = p->shown[root] ? INT32_MAX : -1;
    for (int32_t r = p->begin[root]; r < p->begin[root + 1]; r++)
        if (!is_member(u, p->reader[r]) && time_of(p, p->reader[r]) > last)
            last = time_of(p, p->reader[r]);
    return last;
}

/* Does it take memory of the arena that is free again once nobody reads it? */
static bool is_passing(const pass *p, int32_t root)
{
    return p->g->values[root].kind == TS_KIND_RESULT && !p->g->values[root].store;
}

/* ---- a chain ---- */

typedef struct {
    ts_node node;
    int32_t value[TS_MAX_IN + TS_CHAIN_STEPS]; /* operands, then what the steps give */
    int last[TS_MAX_IN + TS_CHAIN_STEPS];      /* the last step that reads it */
} chain;

/* The operand (root, each), added where it is new; -1: there are too many. */
static int operand(chain *c, int32_t root, int64_t each)
{
    for (int k = 0; k < c->node.in_count; k++)
        if (c->node.in[k] == root && c->node.attr.chain.each[k] == each)
            return k;
    if (c->node.in_count == TS_MAX_IN)
        return -1;
    c->node.in[c->node.in_count] = root;
    c->node.attr.chain.each[c->node.in_count] = each;
    return c->node.in_count++;
}

static bool collect_operands(const pass *p, const group *u, chain *c)
{
    for (int i = 0; i < u->count; i++) {
        const ts_node *node = &p->nodes[u->node[i]];
        for (int k = 0; k < node->in_count; k++) {
            const int32_t root = p->root[node->in[k]];
            int64_t each;
            repeats(p->g->values[node->in[k]].type.shape, p->g->values[node->out[0]].type.shape, &each);
            if (!(p->producer[root] >= 0 && is_member(u, p->producer[root])) && operand(c, root, each) < 0)
                return false;
        }
    }
    return true;
}

/* Those that die here first, so that result k can take over the memory of operand k. */
static void order_operands(const pass *p, const group *u, chain *c)
{
    const int64_t n = elements(p, p->nodes[u->node[0]].out[0]);
    const int32_t now = u->node[u->count - 1];
    for (int k = 0, front = 0; k < c->node.in_count; k++) {
        const int32_t root = c->node.in[k];
        const int64_t each = c->node.attr.chain.each[k];
        if (elements(p, root) != n || !is_passing(p, root) || last_read(p, root, u) > now)
            continue;
        c->node.in[k] = c->node.in[front];
        c->node.attr.chain.each[k] = c->node.attr.chain.each[front];
        c->node.in[front] = root;
        c->node.attr.chain.each[front++] = each;
    }
}

/* Which value of the chain operand k of step i is: an operand, or TS_MAX_IN + the step that gives it. */
static int source(const pass *p, const group *u, chain *c, int i, int k)
{
    const ts_node *node = &p->nodes[u->node[i]];
    const int32_t root = p->root[node->in[k]];
    int64_t each;
    for (int j = 0; j < i; j++)
        if (p->nodes[u->node[j]].out[0] == root)
            return TS_MAX_IN + j;
    repeats(p->g->values[node->in[k]].type.shape, p->g->values[node->out[0]].type.shape, &each);
    return operand(c, root, each);
}

/* Slots for the steps: one whose value is read for the last time may be written by the step that reads it. */
static bool give_slots(const pass *p, const group *u, chain *c)
{
    int holds[TS_CHAIN_SLOTS], slot_of[TS_MAX_IN + TS_CHAIN_STEPS];
    for (int s = 0; s < TS_CHAIN_SLOTS; s++)
        holds[s] = s < c->node.in_count ? s : -1;
    for (int k = 0; k < c->node.in_count; k++)
        slot_of[k] = k;
    c->node.attr.chain.slots = c->node.in_count;
    for (int i = 0; i < u->count; i++) {
        ts_chain_step *step = &c->node.attr.chain.step[i];
        for (int k = 0; k < p->nodes[u->node[i]].in_count; k++)
            step->in[k] = (uint8_t)slot_of[source(p, u, c, i, k)];
        int s = 0;
        while (s < TS_CHAIN_SLOTS && holds[s] >= 0 && c->last[holds[s]] > i)
            s++;
        if (s == TS_CHAIN_SLOTS)
            return false;
        holds[s] = TS_MAX_IN + i;
        slot_of[TS_MAX_IN + i] = s;
        step->out = (uint8_t)s;
        if (s >= c->node.attr.chain.slots)
            c->node.attr.chain.slots = s + 1;
    }
    return true;
}

static void find_last_reads(const pass *p, const group *u, chain *c)
{
    for (int v = 0; v < TS_MAX_IN + TS_CHAIN_STEPS; v++)
        c->last[v] = -1;
    for (int i = 0; i < u->count; i++)
        for (int k = 0; k < p->nodes[u->node[i]].in_count; k++)
            c->last[source(p, u, c, i, k)] = i;
}

/* The steps without their slots; what others read is a result. */
static bool collect_steps(const pass *p, const group *u, chain *c)
{
    c->node.attr.chain.count = u->count;
    for (int i = 0; i < u->count; i++) {
        const ts_node *node = &p->nodes[u->node[i]];
        ts_chain_step *step = &c->node.attr.chain.step[i];
        *step =
            (ts_chain_step){.op = (uint8_t)node->op, .result = -1, .a = node->attr.scalar.a, .b = node->attr.scalar.b};
        if (last_read(p, node->out[0], u) < 0)
            continue;
        if (c->node.out_count == TS_MAX_OUT)
            return false;
        step->result = (int8_t)c->node.out_count;
        c->node.out[c->node.out_count++] = node->out[0];
    }
    return true;
}

/* The chain of a group; false: it is beyond the bounds. */
static bool make_chain(const pass *p, const group *u, chain *c)
{
    const ts_node *last = &p->nodes[u->node[u->count - 1]];
    *c = (chain){.node = {.op = TS_OP_chain, .path = last->path}};
    if (!collect_operands(p, u, c) || !collect_steps(p, u, c))
        return false;
    order_operands(p, u, c);
    find_last_reads(p, u, c);
    return give_slots(p, u, c);
}

/* ---- which nodes ---- */

/* Nobody but `u` may read what `part` gives before node `now`. */
static bool is_waited_for(const pass *p, const group *part, const group *u, int32_t now)
{
    for (int i = 0; i < part->count; i++) {
        const int32_t v = p->nodes[part->node[i]].out[0];
        for (int32_t r = p->begin[v]; r < p->begin[v + 1]; r++)
            if (!is_member(u, p->reader[r]) && time_of(p, p->reader[r]) < now)
                return false;
    }
    return true;
}

/* Does anything else run between `part` and `now`? */
static bool is_next(const pass *p, const group *part, const group *u, int32_t now)
{
    for (int32_t i = part->node[part->count - 1] + 1; i < now; i++)
        if (p->needed[i] && !ts_node_is_alias(&p->nodes[i]) && time_of(p, i) < now && !is_member(u, i))
            return false;
    return true;
}

/* Elements that stay in memory because `part` waits until `now`, less those of its results, which do not exist until
 * then. */
static int64_t kept_longer(const pass *p, const group *part, const group *u, int32_t now)
{
    chain c;
    int64_t kept = 0;
    if (is_next(p, part, u, now) || !make_chain(p, part, &c))
        return 0;
    for (int k = 0; k < c.node.in_count; k++)
        if (is_passing(p, c.node.in[k]) && last_read(p, c.node.in[k], u) < now)
            kept += elements(p, c.node.in[k]);
    for (int k = 0; k < c.node.out_count; k++)
        kept -= elements(p, c.node.out[k]);
    return kept;
}

static int by_number(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Takes the group of `node` into that of `now`, where that may be. */
static void try_to_join(pass *p, int32_t now, int32_t node)
{
    group *own = &p->groups[now];
    const group *part = &p->groups[p->group_of[node]];
    chain c;
    if (part == own || own->count + part->count > TS_CHAIN_STEPS)
        return;
    group u = *own;
    for (int i = 0; i < part->count; i++)
        u.node[u.count++] = part->node[i];
    qsort(u.node, (size_t)u.count, sizeof *u.node, by_number);
    if (!is_waited_for(p, part, &u, now) || kept_longer(p, part, &u, now) > 0 || !make_chain(p, &u, &c))
        return;
    *own = u;
    for (int i = 0; i < u.count; i++)
        p->group_of[u.node[i]] = now;
}

static void find_groups(pass *p)
{
    for (int32_t i = 0; i < p->node_count; i++)
        p->group_of[i] = i;
    for (int32_t i = 0; i < p->node_count; i++) {
        if (!can_join(p, i))
            continue;
        p->groups[i] = (group){.count = 1, .node = {i}};
        for (int k = p->nodes[i].in_count - 1; k >= 0; k--) {
            const int32_t root = p->root[p->nodes[i].in[k]], from = p->producer[root];
            if (from >= 0 && p->groups[p->group_of[from]].count && elements(p, root) == elements(p, p->nodes[i].out[0]))
                try_to_join(p, i, from);
        }
    }
}

/* ---- the nodes anew ---- */

/* Aliases of the chain's results, which stood before it. Those of what is inside are gone with it. */
static void append_aliases(pass *p, const chain *c, int32_t now)
{
    for (int32_t i = 0; i < now; i++)
        for (int k = 0; k < c->node.out_count && ts_node_is_alias(&p->nodes[i]) && p->needed[i]; k++)
            if (p->root[p->nodes[i].out[0]] == c->node.out[k])
                ts_node_append(p->g, &p->nodes[i]);
}

static bool waits(const pass *p, int32_t alias)
{
    const int32_t from = p->producer[p->root[p->nodes[alias].out[0]]];
    return from >= 0 && p->group_of[from] > alias;
}

/* Is it an alias of what a chain keeps to itself? */
static bool is_inside(const pass *p, int32_t alias)
{
    const int32_t root = p->root[p->nodes[alias].out[0]], from = p->producer[root];
    const group *u = from < 0 ? NULL : &p->groups[p->group_of[from]];
    return u && u->count > 1 && last_read(p, root, u) < 0;
}

static void rebuild(pass *p)
{
    chain c;
    ts_node *nodes = ts_nodes_take(p->g);
    p->nodes = nodes;
    for (int32_t v = 0; v < p->value_count; v++)
        p->g->values[v].node = -1;
    for (int32_t i = 0; i < p->node_count && p->g->error.code == TS_OK; i++) {
        const group *u = &p->groups[p->group_of[i]];
        if (!p->needed[i] || (ts_node_is_alias(&p->nodes[i]) && (waits(p, i) || is_inside(p, i))))
            continue;
        if (u->count < 2) {
            ts_node_append(p->g, &p->nodes[i]);
        } else if (i == p->group_of[i]) {
            const bool within = make_chain(p, u, &c); /* as when it was joined */
            TS_ASSERT(within);
            ts_node_append(p->g, &c.node);
            append_aliases(p, &c, i);
        }
    }
    ts_free(nodes);
}

static bool allocate(pass *p, size_t nodes, size_t values)
{
    p->needed = ts_calloc(nodes, sizeof *p->needed);
    p->shown = ts_calloc(values, sizeof *p->shown);
    p->root = ts_calloc(values, sizeof *p->root);
    p->producer = ts_calloc(values, sizeof *p->producer);
    p->begin = ts_calloc(values + 1, sizeof *p->begin);
    p->reader = ts_calloc(nodes * TS_MAX_IN, sizeof *p->reader);
    p->group_of = ts_calloc(nodes, sizeof *p->group_of);
    p->groups = ts_calloc(nodes, sizeof *p->groups);
    return p->needed && p->shown && p->root && p->producer && p->begin && p->reader && p->group_of && p->groups;
}

static void release(pass *p)
{
    ts_free(p->needed);
    ts_free(p->shown);
    ts_free(p->root);
    ts_free(p->producer);
    ts_free(p->begin);
    ts_free(p->reader);
    ts_free(p->group_of);
    ts_free(p->groups);
}

void ts_fuse(ts_graph *graph)
{
    if (graph->error.code != TS_OK || graph->node_count == 0)
        return;
    cut_aliases(graph);
    ts_take_epilogues(graph);
    pass p = {.g = graph, .node_count = graph->node_count, .value_count = graph->value_count, .nodes = graph->nodes};
    if (allocate(&p, (size_t)graph->node_count, (size_t)graph->value_count)) {
        ts_mark_needed(graph, p.needed);
        look_at_values(&p);
        find_readers(&p);
        find_groups(&p);
        rebuild(&p);
    } else {
        ts_build_out_of_memory(graph);
    }
    release(&p);
}
