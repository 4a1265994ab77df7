"""A file of golden vectors: reading, writing, comparing.

One HDF5 group per case; its attributes are the configuration, its data sets the numbers. A data set is either an input
(in/, param/, random draws, the state that a case starts from) or a result that somebody has to reproduce.
"""

import re

import h5py
import numpy as np

SMALL_BYTES = 4096  # up to here a data set is contiguous, above it chunked, shuffled and compressed


def stored(value):
    """What a data set holds for `value`: f32 or i32, scalars as [1]."""
    a = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    kind = np.int32 if a.dtype.kind in "iub" else np.float32
    return np.ascontiguousarray(a.reshape(1) if a.ndim == 0 else a, dtype=kind)


class Case:
    """attrs: name -> int, float, str or a list of numbers; data: path inside the group -> f32 or i32 array."""

    def __init__(self, name, attrs, data):
        self.name, self.attrs, self.data = name, dict(attrs), {n: stored(v) for n, v in data.items()}


def attribute(value):
    if value is None or isinstance(value, str):
        return np.bytes_(str(value))
    if isinstance(value, (list, tuple)):
        return np.array(value, dtype=np.int32 if all(isinstance(v, int) for v in value) else np.float64)
    return np.int32(value) if isinstance(value, (bool, int)) else np.float64(value)


def plain(value):
    if isinstance(value, bytes):
        return None if value == b"None" else value.decode()
    return value.tolist() if hasattr(value, "tolist") else value


def write(path, attrs, cases):
    with h5py.File(path, "w", libver="earliest", track_order=False) as f:
        for key, value in attrs.items():
            f.attrs[key] = attribute(value)
        for case in cases:
            group = f.create_group(case.name)
            for key, value in case.attrs.items():
                group.attrs[key] = attribute(value)
            for name, a in case.data.items():
                packed = dict(chunks=a.shape, shuffle=True, compression="gzip", compression_opts=9)
                group.create_dataset(name, data=a, track_times=False, **(packed if a.nbytes > SMALL_BYTES else {}))


def read(path):
    """The cases of a file, by name."""
    cases = []
    with h5py.File(path, "r") as f:
        for name, group in f.items():
            data = {}
            group.visititems(lambda n, o: data.__setitem__(n, o[()]) if isinstance(o, h5py.Dataset) else None)
            cases.append(Case(name, {k: plain(v) for k, v in group.attrs.items()}, data))
    return cases


def difference(got, want, relative, at_least):
    """How far `got` is from `want`, as a share of what is allowed: above 1 is a failure. Integers must be equal."""
    got, want = stored(got), stored(want)
    if got.shape != want.shape:
        return float("inf")
    if want.dtype == np.int32:
        return 0.0 if np.array_equal(got, want) else float("inf")
    worst = np.abs(got.astype(np.float64) - want).max(initial=0.0)
    allowed = relative * max(at_least, np.abs(want).max(initial=0.0))
    return 0.0 if worst == 0 else (worst / allowed if allowed else float("inf"))


def matches(patterns, name):
    return any(re.fullmatch(p, name) for p in patterns)
