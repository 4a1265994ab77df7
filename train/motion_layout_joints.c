/* The skeleton and the feet of a layout. */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "train/motion_layout_given.h"

static int find_joint(const ts_motion_layout *l, const char *name)
{
    for (int i = 0; i < l->joints; i++)
        if (strcmp(l->joint[i], name) == 0)
            return i;
    return -1;
}

static const char *nearest_joint(const ts_motion_layout *l, const char *typed)
{
    const char *names[TS_MAX_JOINTS + 1] = {0};
    for (int i = 0; i < l->joints; i++)
        names[i] = l->joint[i];
    return ts_nearest_name(typed, names);
}

bool layout_is_name(const char *name)
{
    size_t bytes = strlen(name);
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] < ' ')
            return false;
    return bytes > 0 && bytes < TS_JOINT_NAME;
}

static ts_status add_joint(const char *file, const ts_config_pair *pair, ts_motion_layout *l, ts_error *err)
{
    int64_t i = l->joints;
    if (i == TS_MAX_JOINTS)
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: skeleton: more than %d joints", TS_SHOWN(file), pair->line,
                       TS_MAX_JOINTS);
    if (!layout_is_name(pair->key))
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: skeleton: expected the name of a joint, at most %d bytes, found '%s'",
                       TS_SHOWN(file), pair->line, TS_JOINT_NAME - 1, TS_SHOWN(pair->key));
    if (find_joint(l, pair->key) >= 0)
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: skeleton: '%s' is there twice", TS_SHOWN(file), pair->line,
                       TS_SHOWN(pair->key));
    l->parent[i] = *pair->text ? find_joint(l, pair->text) : -1;
    if (i == 0 && *pair->text)
        return ts_fail(err, TS_ERR_USAGE, "%s:%d: skeleton: '%s' is the first joint, the root: it has no parent",
                       TS_SHOWN(file), pair->line, TS_SHOWN(pair->key));
    if (i > 0 && l->parent[i] < 0) {
        const char *near = nearest_joint(l, pair->text);
        return ts_fail(err, TS_ERR_USAGE,
                       "%s:%d: skeleton: the parent of '%s' must be a joint that stands above it, found '%s'%s%s%s",
                       TS_SHOWN(file), pair->line, TS_SHOWN(pair->key), TS_SHOWN(pair->text),
                       near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    }
    snprintf(l->joint[i], TS_JOINT_NAME, "%s", pair->key);
    l->joints++;
    return TS_OK;
}

static ts_status add_foot(const layout_given *given, ts_motion_layout *l, const char *name, ts_error *err)
{
    int joint = find_joint(l, name);
    const char *near = joint < 0 ? nearest_joint(l, name) : NULL;
    if (joint < 0)
        return ts_fail(err, TS_ERR_USAGE, "%s: '%s' is no joint%s%s%s", LAYOUT_AT(given, "feet"), TS_SHOWN(name),
                       near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    if (l->foot_count == TS_MAX_CONTACTS)
        return ts_fail(err, TS_ERR_USAGE, "%s: more than %d", LAYOUT_AT(given, "feet"), TS_MAX_CONTACTS);
    l->foot[l->foot_count++] = joint;
    return TS_OK;
}

/* Feet go by their names, so that those of the preset are found in another skeleton too. */
ts_status layout_read_joints(const layout_given *given, const ts_string_list *feet, ts_motion_layout *l, ts_error *err)
{
    ts_config_pair pair;
    if (layout_says(given, "skeleton"))
        l->joints = 0;
    for (int i = 0; ts_config_pair_at(given->config, "skeleton", i, &pair); i++)
        TS_TRY(add_joint(given->file, &pair, l, err));
    l->foot_count = 0;
    for (int i = 0; layout_says(given, "feet") && i < feet->count; i++)
        TS_TRY(add_foot(given, l, feet->value[i], err));
    for (int i = 0; !layout_says(given, "feet") && given->preset && i < given->preset->foot_count; i++)
        TS_TRY(add_foot(given, l, given->preset->joint[given->preset->foot[i]], err));
    return TS_OK;
}
