"""Writes with h5py what core/files/hdf5.h must be able to read: hdf5_from_h5py.py OUT.h5 earliest|latest"""
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1], "w", libver=sys.argv[2]) as f:
    f.attrs["note"] = "variable length, caf\u00e9"
    f.attrs["fixed"] = np.bytes_(b"fixed")
    f.attrs["words"] = ["one", "two", "three"]
    f.attrs["count"] = 7
    f.attrs["flag"] = True
    f.attrs["rate"] = 0.25
    f.attrs["levels"] = np.array([8, 6, 5], np.int32)
    f.attrs["pair"] = np.array([0.5, 1.5], np.float32)
    f.attrs["void"] = np.void(b"opaque")
    g = f.create_group("a/b")
    for name in "i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split():
        g[name] = np.arange(6, dtype=name).reshape(2, 3)
    g["bool"] = np.array([True, False, True])
    g["big"] = np.arange(6, dtype=">f4")
    g["scalar"] = np.float32(2.5)
    g["empty"] = np.zeros((0, 4), np.float32)
    g["none"] = h5py.Empty("f4")
    g["complex"] = np.zeros(2, np.complex64)
    g["strings"] = ["clip_a", "", "clip_c"]
    g["bytes"] = np.array([b"x", b"yy"])
    g.create_dataset("packed", data=np.zeros((512, 512), np.float32), chunks=True, compression="gzip", shuffle=True)
    g.create_dataset("claimed", shape=(1 << 20, 1 << 12), dtype="f4", chunks=(64, 64))
    g["link"] = h5py.SoftLink("/a/b/i4")
    g["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
    f["loop"] = f["/"]
