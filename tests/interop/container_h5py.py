"""Opens a checkpoint container with h5py, as users will, and checks it: container_h5py.py FILE

The file is the one that tests/core/files/test_container.c makes in h5py_opens_it."""
import json
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1], "r") as f:
    assert f.userblock_size == 512, f.userblock_size
    manifest = json.loads(bytes(f["manifest"][:]))
    assert manifest["format"] == 1
    assert sorted(manifest["tensors"]) == ["empty", "f64", "i32", "i64", "model/bf16", "model/conv1.weight", "step", "u8"]
    for name, entry in manifest["tensors"].items():
        d = f[name]
        assert list(d.shape) == (entry["shape"] or [1]), name
        assert d.chunks and d.fletcher32, name
        assert len(entry["xxh3"]) == 32
    w = f["model/conv1.weight"]
    assert w.dtype == np.float32 and w.shape == (2, 3, 5)
    assert np.array_equal(w[:].ravel(), np.arange(30, dtype=np.float32) / 4)
    assert f["step"].shape == (1,) and f["step"][0] == 1 << 40 and f["step"].dtype == np.int64
    assert f["f64"].dtype == np.float64 and f["f64"][0] == 0.1
    assert f["i32"].dtype == np.int32 and f["i32"][:].tolist() == [-(1 << 31), (1 << 31) - 1]
    assert f["i64"].dtype == np.int64
    assert f["u8"].dtype == np.uint8 and f["u8"][:].tolist() == [0, 127, 255]
    assert f["empty"].shape == (0, 4)
    b = f["model/bf16"]
    assert b.dtype == np.uint16 and b.attrs["dtype"] == b"bf16"
    values = (b[:].astype(np.uint32) << 16).view(np.float32)
    assert values.tolist() == [1.0, -2.0]
    assert f.attrs["config"].decode() == "seed: 7\nname: caf\u00e9\n"
    assert f.attrs["state"] == b""
    assert sorted(manifest["texts"]) == sorted(f.attrs) == ["config", "state"]
