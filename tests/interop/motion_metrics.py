"""Errors of reconstructed motion in numpy, by the definitions of models/motion_metrics.h; written apart from it, so that each
checks the other. Clips are [frames, 263], values and not normalised ones, in metres, as HumanML3D's files have them."""

import numpy as np

JOINTS, FEET = 22, [7, 10, 8, 11]
TURN, WAY, HEIGHT, POSITIONS, VELOCITIES, CONTACTS = 0, slice(1, 3), 3, slice(4, 67), slice(193, 259), slice(259, 263)


def local(clip):
    """Joints in the heading of their frame, above the floor under the root: [frames, 22, 3]."""
    root = np.zeros((len(clip), 1, 3))
    root[:, 0, 1] = clip[:, HEIGHT]
    return np.concatenate([root, clip[:, POSITIONS].reshape(len(clip), JOINTS - 1, 3).astype(float)], 1)


def turned(v, angle):
    """v [..., 3] by `angle` [...] about +y."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * v[..., 0] + s * v[..., 2], v[..., 1], c * v[..., 2] - s * v[..., 0]], -1)


def world(clip, half):
    """Joints in the world. `half`: column 0 is half the turn and the way is in the heading of the next frame, as the files of
    HumanML3D have it; else it is the turn, and the way is in the heading of its own frame."""
    clip = clip.astype(float)
    heading = np.concatenate([[0], np.cumsum(clip[:-1, TURN] * (2 if half else 1))])
    way = np.zeros((len(clip) - 1, 3))
    way[:, [0, 2]] = clip[:-1, WAY]
    way = turned(way, -heading[1:] if half else -heading[:-1])
    root = np.concatenate([np.zeros((1, 3)), np.cumsum(way, 0)])
    return turned(local(clip), -heading[:, None]) + root[:, None]


def half_turns(clip):
    """Do the joints move as the columns of velocities say with half turns, rather than with whole ones?"""
    said = clip[:-1, VELOCITIES].reshape(-1, JOINTS, 3).astype(float)

    def disagreement(half):
        heading = np.concatenate([[0], np.cumsum(clip[:-2, TURN].astype(float) * (2 if half else 1))])
        return np.square(np.diff(world(clip, half), axis=0) - turned(said, -heading[:, None])).sum()

    return len(clip) > 1 and disagreement(True) < 0.99 * disagreement(False)


def metrics(pairs):
    """pairs of (reconstruction, original), any lengths; every frame weighs the same."""
    sums = {k: [] for k in ("mpjpe", "velocity", "acceleration", "skate", "original_skate")}
    for y, x in pairs:
        of_y, of_x = local(y), local(x)
        error = (of_y - of_y[:, :1]) - (of_x - of_x[:, :1])
        for order, name in enumerate(("mpjpe", "velocity", "acceleration")):
            sums[name].append(np.linalg.norm(np.diff(error, order, axis=0), axis=2).mean(1))
        half, still = half_turns(x), x[:-1, CONTACTS] > 0.5
        for name, clip in (("skate", y), ("original_skate", x)):
            feet = np.diff(world(clip, half)[:, FEET], axis=0)[..., [0, 2]]
            sums[name].append(np.linalg.norm(feet, axis=2)[still])
    return {k: 1000 * float(np.concatenate(v).mean()) for k, v in sums.items()}
