/* A layout of motion as a file: what the columns of a frame are, and the skeleton that they move.
 *
 *     preset: humanml3d                  # starts from it (humanml3d, kit, motionmillion); what follows replaces
 *     name: ours
 *     fps: 20                            # frames a second
 *     unit_mm: 1000                      # millimetres of one unit of positions
 *     columns:
 *       count: 263                       # in all
 *       root: 0:4                        # first to last, the last excluded, as Python slices; none: there are none
 *       root_kind: yaw                   # models/motion_layout.h says what the kinds are
 *       height: 3                        # the root's, where positions do not begin with the root's own
 *       positions: 4:67
 *       rotations: 67:193
 *       velocities: 193:259
 *       contacts: 259:263
 *     feet: [left_ankle, left_foot, right_ankle, right_foot]
 *     skeleton:                          # every joint with its parent, which stands above it; the root first
 *       pelvis:
 *       left_hip: pelvis
 *       ...
 *
 * Without a preset fps, count, root, root_kind, positions and skeleton must be given. Groups may leave columns free
 * that nothing is said of, and may not share one. docs/motion.md#representations tells it to users. */
#ifndef TS_TRAIN_MOTION_LAYOUT_FILE_H
#define TS_TRAIN_MOTION_LAYOUT_FILE_H

#include "core/status.h"
#include "models/motion_layout.h"

/* Errors: TS_ERR_USAGE with the path and, where it has one, the line: no such file, no YAML, an unknown key (and the
 * nearest), a value of another kind, and every contradiction: a group beyond the columns, or of a size that does not
 * fit the joints, two groups that share a column, a parent that is no earlier joint, a foot that is none. */
ts_status ts_motion_layout_load(ts_motion_layout *layout, const char *path, ts_error *err);

/* The same from `bytes` of YAML; `name` stands for the path. */
ts_status ts_motion_layout_parse(ts_motion_layout *layout, const char *name, const char *text, size_t bytes,
                                 ts_error *err);

/* The whole layout as such a file; parsing it gives the same layout. *text is freed with ts_free.
 * Errors: out of memory. */
ts_status ts_motion_layout_print(const ts_motion_layout *layout, char **text, ts_error *err);

/* By what a user types: the name of a preset, or a file (whose name has a dot or a slash).
 * Errors: as ts_motion_layout_load; TS_ERR_USAGE for a preset that does not exist, with the nearest name. */
ts_status ts_motion_layout_named(ts_motion_layout *layout, const char *typed, ts_error *err);

#endif
