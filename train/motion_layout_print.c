/* A layout as a file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/text.h"
#include "train/motion_layout_file.h"
#include "train/motion_layout_given.h"

static void print_text(FILE *out, const char *text)
{
    char quoted[8 * TS_JOINT_NAME];
    ts_text_quote(text, false, quoted, sizeof quoted);
    fputs(quoted, out);
}

static void print_real(FILE *out, const char *key, double value)
{
    const ts_option as_option = {.name = key, .type = TS_OPTION_REAL};
    char text[40];
    ts_option_print(&as_option, &value, text, sizeof text);
    fprintf(out, "%s: %s\n", key, text);
}

static void print_group(FILE *out, const char *key, ts_columns c)
{
    if (c.count)
        fprintf(out, "  %s: %" PRId64 ":%" PRId64 "\n", key, c.first, c.first + c.count);
    else
        fprintf(out, "  %s: none\n", key);
}

static void print_columns(FILE *out, const ts_motion_layout *l)
{
    fprintf(out, "columns:\n  count: %" PRId64 "\n", l->columns);
    print_group(out, "root", l->root);
    fprintf(out, "  root_kind: %s\n", layout_root_kinds[l->root_kind]);
    if (!l->root_position)
        fprintf(out, "  height: %" PRId64 "\n", l->height);
    print_group(out, "positions", l->positions);
    print_group(out, "rotations", l->rotations);
    print_group(out, "velocities", l->velocities);
    print_group(out, "contacts", l->contacts);
}

static void print_joints(FILE *out, const ts_motion_layout *l)
{
    fputs("feet: [", out);
    for (int i = 0; i < l->foot_count; i++) {
        fputs(i ? ", " : "", out);
        print_text(out, l->joint[l->foot[i]]);
    }
    fputs("]\nskeleton:\n", out);
    for (int64_t i = 0; i < l->joints; i++) {
        fputs("  ", out);
        print_text(out, l->joint[i]);
        fputs(i ? ": " : ":", out);
        if (i)
            print_text(out, l->joint[l->parent[i]]);
        fputc('\n', out);
    }
}

ts_status ts_motion_layout_print(const ts_motion_layout *layout, char **text, ts_error *err)
{
    size_t bytes = 0;
    *text = NULL;
    FILE *out = open_memstream(text, &bytes);
    if (!out)
        return ts_out_of_memory(err, 0);
    fputs("name: ", out);
    print_text(out, layout->name);
    fputc('\n', out);
    print_real(out, "fps", layout->fps);
    print_real(out, "unit_mm", layout->unit_mm);
    print_columns(out, layout);
    print_joints(out, layout);
    bool good = !ferror(out);
    good &= fclose(out) == 0;
    if (good)
        return TS_OK;
    free(*text);
    *text = NULL;
    return ts_out_of_memory(err, bytes);
}
