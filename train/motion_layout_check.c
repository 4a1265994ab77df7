/* The contradictions that a layout can hold, once it is complete. */
#include <inttypes.h>
#include <string.h>

#include "train/motion_layout_given.h"

enum { GROUPS = 5 };

typedef struct {
    const char *key;
    ts_columns columns;
    int64_t each;       /* columns of one joint; 0: not by joints */
    bool root_may_miss; /* joints 1 ... will do */
} group;

static void list_groups(const ts_motion_layout *l, group groups[GROUPS])
{
    const group all[GROUPS] = {{"columns.root", l->root, 0, false},
                               {"columns.positions", l->positions, 3, true},
                               {"columns.rotations", l->rotations, 6, true},
                               {"columns.velocities", l->velocities, 3, false},
                               {"columns.contacts", l->contacts, 0, false}};
    memcpy(groups, all, sizeof all);
}

static int64_t end_of(ts_columns c)
{
    return c.first + c.count;
}

static ts_status check_end(const layout_given *given, const ts_motion_layout *l, const group *g, ts_error *err)
{
    if (end_of(g->columns) <= l->columns)
        return TS_OK;
    return ts_fail(err, TS_ERR_USAGE,
                   "%s: %" PRId64 ":%" PRId64 " goes beyond the %" PRId64 " columns of columns.count",
                   LAYOUT_AT(given, g->key), g->columns.first, end_of(g->columns), l->columns);
}

static ts_status check_joints(const layout_given *given, const ts_motion_layout *l, const group *g, ts_error *err)
{
    int64_t all = g->each * l->joints, others = all - g->each, found = g->columns.count;
    if (!g->each || !found || found == all || (g->root_may_miss && found == others && others))
        return TS_OK;
    char or_less[64] = "";
    if (g->root_may_miss && others)
        snprintf(or_less, sizeof or_less, " (or %" PRId64 ", without the root)", others);
    return ts_fail(err, TS_ERR_USAGE,
                   "%s: %" PRId64 ":%" PRId64 " are %" PRId64 " columns, expected %" PRId64 "%s, %" PRId64
                   " for each of %" PRId64 " joints",
                   LAYOUT_AT(given, g->key), g->columns.first, end_of(g->columns), found, all, or_less, g->each,
                   l->joints);
}

static ts_status check_overlap(const layout_given *given, const group *a, const group *b, ts_error *err)
{
    ts_columns x = a->columns, y = b->columns;
    if (!x.count || !y.count || end_of(x) <= y.first || end_of(y) <= x.first)
        return TS_OK;
    if (layout_line(given, b->key) < layout_line(given, a->key)) /* what came last is told of */
        return check_overlap(given, b, a, err);
    return ts_fail(err, TS_ERR_USAGE, "%s: %" PRId64 ":%" PRId64 " shares columns with %s, %" PRId64 ":%" PRId64,
                   LAYOUT_AT(given, b->key), y.first, end_of(y), a->key, x.first, end_of(x));
}

static ts_status check_root(const layout_given *given, const ts_motion_layout *l, ts_error *err)
{
    int64_t expected = l->root_kind == TS_ROOT_YAW ? 4 : 8;
    if (l->root.count == expected)
        return TS_OK;
    return ts_fail(err, TS_ERR_USAGE, "%s: %" PRId64 " columns, expected %" PRId64 ", as root_kind %s has them",
                   LAYOUT_AT(given, "columns.root"), l->root.count, expected,
                   l->root_kind == TS_ROOT_YAW ? "yaw" : "heading");
}

static bool within(ts_columns c, int64_t column)
{
    return column >= c.first && column < end_of(c);
}

/* The root's height is a column of the root, or one that no group has. */
static ts_status check_height(const layout_given *given, const ts_motion_layout *l, const group groups[GROUPS],
                              ts_error *err)
{
    if (l->root_position)
        return layout_says(given, "columns.height")
                   ? ts_fail(err, TS_ERR_USAGE, "%s: is not needed: columns.positions begins with the root's own",
                             LAYOUT_AT(given, "columns.height"))
                   : TS_OK;
    if (l->height < 0 || l->height >= l->columns)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: expected a column from 0 to %" PRId64 ", where the root's height is, found %" PRId64,
                       LAYOUT_AT(given, "columns.height"), l->columns - 1, l->height);
    for (int i = 1; i < GROUPS; i++)
        if (within(groups[i].columns, l->height))
            return ts_fail(err, TS_ERR_USAGE, "%s: column %" PRId64 " is one of %s", LAYOUT_AT(given, "columns.height"),
                           l->height, groups[i].key);
    return TS_OK;
}

static ts_status check_contacts(const layout_given *given, const ts_motion_layout *l, ts_error *err)
{
    if (!l->contacts.count || l->contacts.count == l->foot_count)
        return TS_OK;
    return ts_fail(err, TS_ERR_USAGE, "%s: %" PRId64 " columns, expected %d, one for each of `feet`",
                   LAYOUT_AT(given, "columns.contacts"), l->contacts.count, l->foot_count);
}

ts_status layout_check(const layout_given *given, const ts_motion_layout *layout, ts_error *err)
{
    group groups[GROUPS];
    list_groups(layout, groups);
    for (int i = 0; i < GROUPS; i++)
        TS_TRY(check_end(given, layout, &groups[i], err));
    TS_TRY(check_root(given, layout, err));
    if (!layout->positions.count)
        return ts_fail(err, TS_ERR_USAGE, "%s: expected FIRST:END, found none", LAYOUT_AT(given, "columns.positions"));
    for (int i = 0; i < GROUPS; i++)
        TS_TRY(check_joints(given, layout, &groups[i], err));
    TS_TRY(check_contacts(given, layout, err));
    for (int i = 0; i < GROUPS; i++)
        for (int k = i + 1; k < GROUPS; k++)
            TS_TRY(check_overlap(given, &groups[i], &groups[k], err));
    return check_height(given, layout, groups, err);
}
