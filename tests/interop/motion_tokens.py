"""Reads tokens and decoded motion as the users of numpy and h5py do, and writes tokens as they do: motion_tokens.py FOLDER

FOLDER is what tests/train/test_motion_tokens.c makes in python_reads_and_writes: t2m/, million/, tokens.h5 of the same clips,
decoded/ and decoded.h5 of the same tokens. New: theirs/, tokens as T2M-GPT, MotionMillion and plain numpy may save them."""
import json
import os
import random
import sys

import h5py
import numpy as np

folder = sys.argv[1]


def path(*parts):
    return os.path.join(folder, *parts)


with h5py.File(path("tokens.h5"), "r") as f:
    tokens, lengths = f["tokens"][:], f["lengths"][:]
    names = [n.decode() for n in f["names"][:]]
    codes, weights = int(f.attrs["codes"]), f.attrs["weights"]
assert tokens.dtype == np.int32 and tokens.ndim == 3 and tokens.shape[2] == 1
assert lengths.max() == tokens.shape[1] and len(names) == len(lengths)

# as Text2MotionDataset reads them: a list of sequences, one of which is drawn
for layout, dtype in (("t2m", np.int64), ("million", np.int32)):
    for i, name in enumerate(names):
        m_token_list = np.load(path(layout, f"{name}.npy"))
        assert m_token_list.dtype == dtype and m_token_list.shape == (1, lengths[i]), (name, m_token_list.shape)
        m_tokens = random.choice(m_token_list)
        assert np.array_equal(m_tokens, tokens[i, : lengths[i], 0]) and m_tokens.max() < codes
        assert (tokens[i, lengths[i]:] == -1).all()
        end = np.concatenate([m_tokens, np.ones((1), dtype=int) * codes])
        assert end.shape == (lengths[i] + 1,)
    manifest = json.load(open(path(layout, "tessera.json")))
    assert manifest["weights"] == weights.decode() and manifest["codes"] == codes and manifest["groups"] == 1

with h5py.File(path("decoded.h5"), "r") as f:
    motion, frames = f["motion"][:], f["lengths"][:]
    assert [n.decode() for n in f["names"][:]] == names
assert motion.dtype == np.float32 and (frames == 4 * lengths).all()
for i, name in enumerate(names):
    clip = np.load(path("decoded", f"{name}.npy"))
    assert clip.dtype == np.float32 and clip.shape == (frames[i], motion.shape[2])
    assert np.array_equal(clip, motion[i, : frames[i]])
    assert not motion[i, frames[i]:].any()

os.mkdir(path("theirs"))
for i, name in enumerate(names):
    ids = tokens[i, : lengths[i], 0]
    ways = (ids, ids[None], ids[:, None], ids.astype(np.int64)[None], np.asfortranarray(ids[None]))
    target = path("theirs", f"{name}.npy")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    np.save(target, ways[i % len(ways)])
