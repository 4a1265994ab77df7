/* Inside the layout file: what was given, for the checks that name its line. */
#ifndef TS_TRAIN_MOTION_LAYOUT_GIVEN_H
#define TS_TRAIN_MOTION_LAYOUT_GIVEN_H

#include "config/config.h"
#include "models/motion_layout.h"

typedef struct {
    const ts_config *config;
    const char *file;               /* for messages */
    const ts_motion_layout *preset; /* NULL: the file starts from nothing */
} layout_given;

/* "rig.yaml:12: columns.root", or "rig.yaml: columns.root (of preset kit)" where the file does not say it. Into text,
 * which it returns. */
enum { LAYOUT_PLACE = 256 };
const char *layout_place(const layout_given *given, const char *key, char text[LAYOUT_PLACE]);
#define LAYOUT_AT(given, key) layout_place(given, key, (char[LAYOUT_PLACE]){0})

/* The line in which the file says it, 0: it does not. And: does it? */
int layout_line(const layout_given *given, const char *key);
bool layout_says(const layout_given *given, const char *key);

extern const char *const layout_root_kinds[]; /* by ts_motion_root */

/* Can it stand as the name of a joint or of a layout? */
bool layout_is_name(const char *name);

/* The skeleton and the feet, over those of the preset. Errors: TS_ERR_USAGE. */
ts_status layout_read_joints(const layout_given *given, const ts_string_list *feet, ts_motion_layout *layout,
                             ts_error *err);

/* Does everything fit together? `layout` is complete. Errors: TS_ERR_USAGE. */
ts_status layout_check(const layout_given *given, const ts_motion_layout *layout, ts_error *err);

#endif
