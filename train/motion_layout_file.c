#include "train/motion_layout_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "train/motion_layout_given.h"

/* ---- what a file can say ---- */

typedef struct {
    const char *preset, *name;
    double fps, unit_mm;
    ts_string_list feet;
} top_options;

typedef struct {
    int64_t count, height;
    int root_kind;
    const char *root, *positions, *rotations, *velocities, *contacts;
} column_options;

const char *const layout_root_kinds[] = {"yaw", "heading", NULL};

#define GROUP(name_, help_)                                                                                            \
    {                                                                                                                  \
        .name = #name_, .type = TS_OPTION_STRING, .offset = offsetof(column_options, name_), .fallback = "none",       \
        .help = help_                                                                                                  \
    }

static const ts_option top_rows[] = {
    {.name = "preset",
     .type = TS_OPTION_STRING,
     .offset = offsetof(top_options, preset),
     .fallback = "",
     .help = "layout to start from: humanml3d, kit, motionmillion"},
    {.name = "name",
     .type = TS_OPTION_STRING,
     .offset = offsetof(top_options, name),
     .fallback = "",
     .help = "what the layout is called; without it as the file"},
    {.name = "fps",
     .type = TS_OPTION_REAL,
     .offset = offsetof(top_options, fps),
     .fallback = "1",
     .min = 1e-3,
     .max = 1e6,
     .help = "frames a second"},
    {.name = "unit_mm",
     .type = TS_OPTION_REAL,
     .offset = offsetof(top_options, unit_mm),
     .fallback = "1000",
     .min = 1e-6,
     .max = 1e9,
     .help = "millimetres of one unit of positions"},
    {.name = "feet",
     .type = TS_OPTION_STRINGS,
     .offset = offsetof(top_options, feet),
     .fallback = "[]",
     .help = "joints that touch the floor, left ones first, in the order of the contacts"},
    {0},
};
static const ts_option_table top_table = {"layout", "a layout of motion", top_rows, sizeof(top_options)};

static const ts_option column_rows[] = {
    {.name = "count",
     .type = TS_OPTION_INT,
     .offset = offsetof(column_options, count),
     .fallback = "1",
     .min = 1,
     .max = 65536,
     .help = "columns of a frame"},
    GROUP(root, "how the root moves, FIRST:END (the end excluded)"),
    {.name = "root_kind",
     .type = TS_OPTION_CHOICE,
     .offset = offsetof(column_options, root_kind),
     .fallback = "yaw",
     .choices = layout_root_kinds,
     .help = "yaw: turn, x, z, height; heading: x, z and the turn's 6D rotation"},
    {.name = "height",
     .type = TS_OPTION_INT,
     .offset = offsetof(column_options, height),
     .fallback = "0",
     .min = 0,
     .max = 65535,
     .help = "column of the root's height, where positions do not begin with the root's own"},
    GROUP(positions, "x, y, z of each joint, with or without the root"),
    GROUP(rotations, "6D rotation of each joint, with or without the root, or none"),
    GROUP(velocities, "x, y, z a frame of each joint, or none"),
    GROUP(contacts, "of each of `feet` with the floor, 0 or 1, or none"),
    {0},
};
static const ts_option_table column_table = {"columns", "the columns", column_rows, sizeof(column_options)};
static const ts_option_table *const column_tables[] = {&column_table, NULL};

static const ts_config_section sections[] = {
    {.name = "columns", .kinds = column_tables, .help = "what the columns of a frame are"},
    {.name = "skeleton", .help = "joints and their parents, the root first"},
    {0},
};
static const ts_config_schema schema = {
    .top = &top_table, .sections = sections, .lister = "tessera config --layout humanml3d"};

/* ---- places ---- */

int layout_line(const layout_given *given, const char *key)
{
    ts_config_pair pair;
    if (strcmp(key, "skeleton") == 0)
        return ts_config_pair_at(given->config, key, 0, &pair) ? pair.line : 0;
    return ts_config_where(given->config, key).line;
}

bool layout_says(const layout_given *given, const char *key)
{
    return layout_line(given, key) > 0;
}

const char *layout_place(const layout_given *given, const char *key, char text[LAYOUT_PLACE])
{
    int line = layout_line(given, key);
    size_t used = ts_text_append(text, LAYOUT_PLACE, 0, "%s:", TS_SHOWN(given->file));
    if (line)
        used = ts_text_append(text, LAYOUT_PLACE, used, "%d:", line);
    used = ts_text_append(text, LAYOUT_PLACE, used, " %s", key);
    if (!line && given->preset)
        ts_text_append(text, LAYOUT_PLACE, used, " (of preset %s)", given->preset->name);
    return text;
}

/* ---- columns ---- */

/* Digits alone: what strtoll takes beyond them is no column. */
static bool read_number(const char **at, int64_t *number)
{
    size_t digits = strspn(*at, "0123456789");
    *number = digits && digits < 10 ? strtoll(*at, NULL, 10) : -1;
    *at += digits;
    return *number >= 0;
}

static ts_status read_group(const layout_given *given, const char *key, const char *text, ts_columns *columns,
                            ts_error *err)
{
    int64_t end;
    const char *at = text;
    if (!layout_says(given, key))
        return TS_OK;
    *columns = (ts_columns){0};
    if (strcmp(text, "none") == 0)
        return TS_OK;
    bool good = read_number(&at, &columns->first) && *at++ == ':' && read_number(&at, &end) && *at == '\0';
    if (!good || end <= columns->first)
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: expected FIRST:END, such as 4:67, with the end behind the last column, or none, found '%s'",
                       LAYOUT_AT(given, key), TS_SHOWN(text));
    columns->count = end - columns->first;
    return TS_OK;
}

static ts_status read_columns(const layout_given *given, ts_motion_layout *l, ts_error *err)
{
    const column_options *o = ts_config_options(given->config, "columns");
    const struct {
        const char *key, *text;
        ts_columns *columns;
    } groups[] = {{"columns.root", o->root, &l->root},
                  {"columns.positions", o->positions, &l->positions},
                  {"columns.rotations", o->rotations, &l->rotations},
                  {"columns.velocities", o->velocities, &l->velocities},
                  {"columns.contacts", o->contacts, &l->contacts}};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        TS_TRY(read_group(given, groups[i].key, groups[i].text, groups[i].columns, err));
    if (layout_says(given, "columns.count"))
        l->columns = o->count;
    if (layout_says(given, "columns.root_kind"))
        l->root_kind = (ts_motion_root)o->root_kind;
    return TS_OK;
}

/* A root that is told by a yaw has its height as its last column. */
static ts_status read_height(const layout_given *given, ts_motion_layout *l, ts_error *err)
{
    const column_options *o = ts_config_options(given->config, "columns");
    l->root_position = l->positions.count == 3 * l->joints;
    if (l->root_position)
        l->height = 0;
    else if (layout_says(given, "columns.height"))
        l->height = o->height;
    else if (l->root_kind == TS_ROOT_YAW)
        l->height = l->root.first + 3;
    else
        return ts_fail(err, TS_ERR_USAGE,
                       "%s: must be given where columns.positions does not begin with the root's own",
                       LAYOUT_AT(given, "columns.height"));
    return TS_OK;
}

/* ---- the whole ---- */

static ts_status no_preset(const char *typed, ts_error *err)
{
    const char *names[8] = {0};
    char all[200] = "";
    size_t used = 0;
    for (int i = 0; ts_motion_layouts[i] && i < 7; i++) {
        names[i] = ts_motion_layouts[i]->name;
        used = ts_text_append(all, sizeof all, used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = ts_nearest_name(typed, names);
    return ts_fail(err, TS_ERR_USAGE, "expected a layout of %s, found '%s'%s%s%s", all, TS_SHOWN(typed),
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static ts_status check_required(const layout_given *given, ts_error *err)
{
    static const char *const keys[] = {
        "fps", "columns.count", "columns.root", "columns.root_kind", "columns.positions", "skeleton"};
    for (size_t i = 0; !given->preset && i < sizeof keys / sizeof *keys; i++)
        if (!layout_says(given, keys[i]))
            return ts_fail(err, TS_ERR_USAGE, "%s: %s must be given, or a preset to start from", TS_SHOWN(given->file),
                           keys[i]);
    return TS_OK;
}

/* The file's own name without its folder and ending. */
static void name_after(const char *file, char name[TS_JOINT_NAME])
{
    const char *slash = strrchr(file, '/'), *start = slash ? slash + 1 : file, *dot = strrchr(start, '.');
    int bytes = (int)(dot && dot > start ? (size_t)(dot - start) : strlen(start));
    snprintf(name, TS_JOINT_NAME, "%.*s", bytes < TS_JOINT_NAME ? bytes : TS_JOINT_NAME - 1, start);
}

static ts_status read_name(const layout_given *given, ts_motion_layout *l, ts_error *err)
{
    const top_options *o = ts_config_options(given->config, "");
    if (!*o->name)
        name_after(given->file, l->name);
    else if (layout_is_name(o->name))
        snprintf(l->name, sizeof l->name, "%s", o->name);
    else
        return ts_fail(err, TS_ERR_USAGE, "%s: expected a name of at most %d bytes, found '%s'",
                       LAYOUT_AT(given, "name"), TS_JOINT_NAME - 1, TS_SHOWN(o->name));
    return TS_OK;
}

static ts_status read_layout(layout_given *given, ts_motion_layout *l, ts_error *err)
{
    const top_options *o = ts_config_options(given->config, "");
    *l = (ts_motion_layout){.unit_mm = o->unit_mm};
    if (*o->preset && !(given->preset = ts_motion_layout_find(o->preset))) {
        no_preset(o->preset, err);
        return ts_error_prefix(err, "%s", LAYOUT_AT(given, "preset"));
    }
    TS_TRY(check_required(given, err));
    if (given->preset)
        *l = *given->preset;
    if (layout_says(given, "fps"))
        l->fps = o->fps;
    if (layout_says(given, "unit_mm"))
        l->unit_mm = o->unit_mm;
    TS_TRY(read_name(given, l, err));
    TS_TRY(read_columns(given, l, err));
    TS_TRY(layout_read_joints(given, &o->feet, l, err));
    TS_TRY(read_height(given, l, err));
    return layout_check(given, l, err);
}

static ts_status take_config(ts_motion_layout *layout, ts_config *config, const char *name, ts_error *err)
{
    layout_given given = {.config = config, .file = name};
    ts_motion_layout whole;
    ts_status status = read_layout(&given, &whole, err);
    ts_config_free(config);
    if (status == TS_OK)
        *layout = whole;
    return status;
}

ts_status ts_motion_layout_parse(ts_motion_layout *layout, const char *name, const char *text, size_t bytes,
                                 ts_error *err)
{
    ts_config *config;
    TS_TRY(ts_config_parse(&config, &schema, name, text, bytes, NULL, err));
    return take_config(layout, config, name, err);
}

ts_status ts_motion_layout_load(ts_motion_layout *layout, const char *path, ts_error *err)
{
    ts_config *config;
    TS_TRY(ts_config_load(&config, &schema, path, NULL, err));
    return take_config(layout, config, path, err);
}

ts_status ts_motion_layout_named(ts_motion_layout *layout, const char *typed, ts_error *err)
{
    const ts_motion_layout *preset = ts_motion_layout_find(typed);
    if (!preset && strpbrk(typed, "./"))
        return ts_motion_layout_load(layout, typed, err);
    if (!preset)
        return no_preset(typed, err);
    *layout = *preset;
    return TS_OK;
}
