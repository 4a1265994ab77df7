#include "train/joint_map.h"

#include <string.h>

#include "config/config.h"
#include "core/text.h"

/* The layout humanml3d's joints. */
enum {
    PELVIS,
    L_HIP,
    R_HIP,
    SPINE1,
    L_KNEE,
    R_KNEE,
    SPINE2,
    L_ANKLE,
    R_ANKLE,
    SPINE3,
    L_FOOT,
    R_FOOT,
    NECK,
    L_COLLAR,
    R_COLLAR,
    HEAD,
    L_SHOULDER,
    R_SHOULDER,
    L_ELBOW,
    R_ELBOW,
    L_WRIST,
    R_WRIST
};

/* What Reallusion's iClone exports, what subjects of mocap.cs.cmu.edu were converted to (its own names), and the rig of
 * ReActIdle (Blender's Rigify). */
const ts_joint_map ts_joint_maps[] = {
    {"CC_Base",
     {[PELVIS] = "CC_Base_Hip",
      [L_HIP] = "CC_Base_L_Thigh",
      [R_HIP] = "CC_Base_R_Thigh",
      [SPINE1] = "CC_Base_Spine01",
      [L_KNEE] = "CC_Base_L_Calf",
      [R_KNEE] = "CC_Base_R_Calf",
      [L_ANKLE] = "CC_Base_L_Foot",
      [R_ANKLE] = "CC_Base_R_Foot",
      [SPINE3] = "CC_Base_Spine02",
      [L_FOOT] = "CC_Base_L_ToeBase",
      [R_FOOT] = "CC_Base_R_ToeBase",
      [NECK] = "CC_Base_NeckTwist01",
      [L_COLLAR] = "CC_Base_L_Clavicle",
      [R_COLLAR] = "CC_Base_R_Clavicle",
      [HEAD] = "CC_Base_Head",
      [L_SHOULDER] = "CC_Base_L_Upperarm",
      [R_SHOULDER] = "CC_Base_R_Upperarm",
      [L_ELBOW] = "CC_Base_L_Forearm",
      [R_ELBOW] = "CC_Base_R_Forearm",
      [L_WRIST] = "CC_Base_L_Hand",
      [R_WRIST] = "CC_Base_R_Hand"}},
    {"CMU", /* its collars lie on Chest2 */
     {[PELVIS] = "Hips",
      [L_HIP] = "LeftHip",
      [R_HIP] = "RightHip",
      [SPINE1] = "Chest",
      [L_KNEE] = "LeftKnee",
      [R_KNEE] = "RightKnee",
      [L_ANKLE] = "LeftAnkle",
      [R_ANKLE] = "RightAnkle",
      [SPINE3] = "Chest2",
      [L_FOOT] = "LeftToe",
      [R_FOOT] = "RightToe",
      [NECK] = "Neck",
      [HEAD] = "Head",
      [L_SHOULDER] = "LeftShoulder",
      [R_SHOULDER] = "RightShoulder",
      [L_ELBOW] = "LeftElbow",
      [R_ELBOW] = "RightElbow",
      [L_WRIST] = "LeftWrist",
      [R_WRIST] = "RightWrist"}},
    {"ReActIdle", /* its shoulder.L and shoulder.R lie on the neck */
     {[PELVIS] = "pelvis",
      [L_HIP] = "thigh.L",
      [R_HIP] = "thigh.R",
      [L_KNEE] = "shin.L",
      [R_KNEE] = "shin.R",
      [SPINE2] = "spine.001",
      [L_ANKLE] = "foot.L",
      [R_ANKLE] = "foot.R",
      [L_FOOT] = "foot.L/end",
      [R_FOOT] = "foot.R/end",
      [NECK] = "neck",
      [HEAD] = "face",
      [L_SHOULDER] = "upper_arm.L",
      [R_SHOULDER] = "upper_arm.R",
      [L_ELBOW] = "forearm.L",
      [R_ELBOW] = "forearm.R",
      [L_WRIST] = "forearm.L/end",
      [R_WRIST] = "forearm.R/end"}},
    {NULL, {NULL}},
};

int ts_joint_beyond(int64_t joint)
{
    static const int beyond[TS_MAX_JOINTS] = {
        [SPINE1] = SPINE2, [SPINE2] = SPINE3, [SPINE3] = NECK, [L_COLLAR] = L_SHOULDER, [R_COLLAR] = R_SHOULDER};
    return beyond[joint];
}

/* ---- a file ---- */

static ts_status copy_sources(ts_joint_map *map, const ts_motion_layout *layout, const ts_config *config,
                              ts_arena *arena, ts_error *err)
{
    const ts_joint_map *read = ts_config_options(config, "");
    for (int64_t j = 0; j < layout->joints; j++)
        if (!(map->source[j] = ts_arena_strdup(arena, read->source[j])))
            return ts_out_of_memory(err, strlen(read->source[j]));
    return TS_OK;
}

ts_status ts_joint_map_load(ts_joint_map *map, const ts_motion_layout *layout, const char *path, ts_arena *arena,
                            ts_error *err)
{
    ts_option rows[TS_MAX_JOINTS + 1] = {0};
    for (int64_t j = 0; j < layout->joints; j++)
        rows[j] = (ts_option){.name = layout->joint[j],
                              .type = TS_OPTION_STRING,
                              .offset = offsetof(ts_joint_map, source) + (size_t)j * sizeof *map->source,
                              .fallback = ts_joint_beyond(j) ? "" : NULL,
                              .help = "the joint's name in the recording"};
    const ts_option_table table = {"map", "joints of a recording", rows, sizeof *map};
    static const ts_config_section none[1];
    const ts_config_schema schema = {.top = &table, .sections = none};
    ts_config *config;
    TS_TRY(ts_config_load(&config, &schema, path, NULL, err));
    map->name = path;
    ts_status status = copy_sources(map, layout, config, arena, err);
    ts_config_free(config);
    return status;
}

/* ---- a recording ---- */

static int resolve(int source[TS_MAX_JOINTS], const ts_joint_map *map, const ts_motion_layout *layout,
                   const ts_bvh *bvh)
{
    int missing = 0;
    for (int64_t j = 0; j < layout->joints; j++) {
        const char *name = map->source[j];
        source[j] = name && *name ? (int)ts_bvh_find(bvh, name) : -1;
        missing += source[j] < 0 && name && *name;
    }
    return missing;
}

/* "a, b, c", cut with "..." where it is long. */
static size_t append(char *text, size_t bytes, size_t used, const char *start, const char *name)
{
    if (used + strlen(name) + 8 < bytes)
        return ts_text_append(text, bytes, used, "%s%s", used ? start : "", TS_SHOWN(name));
    if (used < bytes - 4)
        ts_text_append(text, bytes, used, "...");
    return bytes;
}

static ts_status unknown(const ts_joint_map *map, bool asked, const ts_motion_layout *layout, const ts_bvh *bvh,
                         const char *path, ts_error *err)
{
    int source[TS_MAX_JOINTS];
    char missing[256] = "", there[400] = "";
    size_t used = 0;
    resolve(source, map, layout, bvh);
    for (int64_t j = 0; j < layout->joints; j++)
        if (source[j] < 0 && map->source[j] && *map->source[j])
            used = append(missing, sizeof missing, used, ", ", map->source[j]);
    used = 0;
    for (int64_t j = 0; j < bvh->joints; j++)
        used = append(there, sizeof there, used, " ", bvh->joint[j].name);
    return ts_fail(err, TS_ERR_DATA, "%s: %s%s: it has no %s; its joints: %s%s", path,
                   asked ? "not the skeleton of " : "an unknown skeleton; the nearest known is ", map->name, missing,
                   there, asked ? "" : "; say with --map which is which");
}

ts_status ts_joint_map_find(int source[TS_MAX_JOINTS], const ts_joint_map *map, const ts_motion_layout *layout,
                            const ts_bvh *bvh, const char *path, ts_error *err)
{
    const ts_joint_map *nearest = map ? map : ts_joint_maps;
    int fewest = resolve(source, nearest, layout, bvh);
    for (const ts_joint_map *known = ts_joint_maps; !map && known->name; known++) {
        int missing = resolve(source, known, layout, bvh);
        if (missing < fewest) {
            fewest = missing;
            nearest = known;
        }
    }
    if (fewest > 0)
        return unknown(nearest, map != NULL, layout, bvh, path, err);
    resolve(source, nearest, layout, bvh);
    return TS_OK;
}
