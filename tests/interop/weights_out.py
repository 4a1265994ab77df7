#!/usr/bin/env python3
"""Exported weights in the programs that they are for.

  weights_out.py [--program build/release/tessera]

Trains small tokenizers for a few steps, exports them, and loads them
  - with the safetensors package: every tensor, every text;
  - into lucidrains' FSQ, VectorQuantize, SimVQ and the autoencoder of its examples, by load_state_dict: the same ids for
    every image, reconstructions within 1e-5.
And the other way: what the safetensors package writes from that module is imported, and gives the same ids; headers that
the format's own implementation refuses are refused here.

Needs safetensors and numpy; the modules also torch, h5py and vector-quantize-pytorch, without which that part is said to
be skipped. Exit status: 0, 1 where anything differs, 2 where safetensors or numpy is missing.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from safetensors import SafetensorError, safe_open
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(2)
try:
    import h5py
    import torch
    from safetensors.torch import load_file, save_file
    from torch import nn
    from vector_quantize_pytorch import FSQ, GroupedResidualFSQ, GroupedResidualVQ, ResidualFSQ, ResidualVQ, SimVQ, VectorQuantize
    MISSING = None
except ImportError as e:
    MISSING = e

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
YAML = """name: interop
data: {kind: shapes, count: 256, val_count: 64, size: 16, channels: 1}
model: {kind: image_small, width: 8}
quantizer: {%s}
train: {steps: 60, batch: 16, log_every: 20, eval_every: 0, checkpoint_every: 0, picture_frames: 0}
"""

# name, quantizer here, the module there
QUANTIZERS = [
    ("FSQ", "kind: finite_scalar, levels: [8, 6, 5]", lambda: FSQ([8, 6, 5])),
    ("FSQ, projected", "kind: finite_scalar, levels: [7, 5, 5, 5], dim: 12", lambda: FSQ([7, 5, 5, 5], dim=12)),
    ("FSQ, symmetric", "kind: finite_scalar, levels: [8, 6, 5], bound: symmetric", lambda: FSQ([8, 6, 5], preserve_symmetry=True)),
    ("VQ EMA", "kind: vector_ema, codes: 64, dim: 8, averages: lucidrains", lambda: VectorQuantize(dim=8, codebook_size=64)),
    ("VQ cosine", "kind: vector_ema, codes: 64, dim: 8, averages: lucidrains, cosine: true",
     lambda: VectorQuantize(dim=8, codebook_size=64, use_cosine_sim=True)),
    ("residual VQ", "kind: vector_ema, codes: 32, dim: 8, averages: lucidrains, layers: 3",
     lambda: ResidualVQ(dim=8, codebook_size=32, num_quantizers=3)),
    ("grouped VQ", "kind: vector_ema, codes: 32, dim: 8, averages: lucidrains, layers: 2, groups: 2",
     lambda: GroupedResidualVQ(dim=8, codebook_size=32, num_quantizers=2, groups=2)),
    ("residual FSQ", "kind: finite_scalar, levels: [5, 5, 3], dim: 8, layers: 2, bound: symmetric, hard_clamp: true",
     lambda: ResidualFSQ(dim=8, levels=[5, 5, 3], num_quantizers=2)),
    ("grouped FSQ", "kind: finite_scalar, levels: [5, 5, 3], dim: 8, layers: 2, groups: 2, bound: symmetric, hard_clamp: true",
     lambda: GroupedResidualFSQ(dim=8, levels=[5, 5, 3], num_quantizers=2, groups=2)),
    ("SimVQ", "kind: sim_vq, codes: 64, dim: 8", lambda: SimVQ(dim=8, codebook_size=64)),
    ("VQ gradient", "kind: vector, codes: 64, dim: 8", lambda: VectorQuantize(dim=8, codebook_size=64, learnable_codebook=True, ema_update=False)),
]


class Autoencoder(object if MISSING else nn.Module):
    """The layers of the library's examples, in a list."""

    def __init__(self, quantizer, dim, width=8, channels=1):
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Conv2d(channels, width, 3, padding=1), nn.MaxPool2d(2), nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2 * width, dim, 1),
            quantizer,
            nn.Conv2d(dim, 2 * width, 3, padding=1), nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(2 * width, width, 3, padding=1), nn.GELU(), nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(width, channels, 3, padding=1),
        ])

    def forward(self, x):
        for layer in self.layers[:6]:
            x = layer(x)
        shape = x.shape
        rows = x.flatten(2).transpose(1, 2)
        codes, ids = self.layers[6](rows)[:2]
        if hasattr(self.layers[6], "rvqs"):  # [groups, B, N, layers]; a token's ids are group by group
            ids = ids.permute(1, 2, 0, 3)
        x = codes.transpose(1, 2).reshape(shape)
        for layer in self.layers[7:]:
            x = layer(x)
        return x, ids


def run(program, *words):
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def images(program, checkpoint, folder):
    """What the program encodes, as it sees it, and what it makes of it: x, ids, y [N, C, H, W]."""
    x = np.random.default_rng(1).integers(0, 256, (48, 16, 16, 1), dtype=np.uint8)
    path = os.path.join(folder, "x.h5")
    with h5py.File(path, "w") as f:
        f["images"] = x
    run(program, "encode", checkpoint, path, "--dataset", "images", "-o", os.path.join(folder, "t.h5"))
    run(program, "decode", checkpoint, os.path.join(folder, "t.h5"), "-o", os.path.join(folder, "y.h5"))
    with h5py.File(os.path.join(folder, "t.h5")) as f:
        ids = f["tokens"][:]
    with h5py.File(os.path.join(folder, "y.h5")) as f:
        y = f["images"][:]
    return torch.tensor(x.transpose(0, 3, 1, 2)).float() / 127.5 - 1, ids, y.transpose(0, 3, 1, 2)


def trained(program, quantizer, folder):
    """Trains and exports; config, checkpoint, and the folder of what was exported."""
    config, out = os.path.join(folder, "c.yaml"), os.path.join(folder, "out")
    with open(config, "w") as f:
        f.write(YAML % quantizer)
    run(program, "train", config, "--run", os.path.join(folder, "run"), "--quiet")
    checkpoint = os.path.join(folder, "run", "checkpoints", "last.h5")
    run(program, "export", checkpoint, "-o", out, "--state")
    return config, checkpoint, out


def compare(program, name, quantizer, module, folder):
    config, checkpoint, out = trained(program, quantizer, folder)
    weights = load_file(os.path.join(out, "model.safetensors"))
    with open(os.path.join(out, "config.json")) as f:
        dim = json.load(f)["code_width"]
    there = Autoencoder(module(), dim).eval()
    missing, unexpected = there.load_state_dict(weights, strict=False)
    allowed = ("initted", "zero", "codebook_mean", "codebook_variance", "batch_mean", "batch_variance", "affine")
    if "kind: vector," in quantizer:  # no moving averages, which the module keeps all the same
        allowed += ("cluster_size", "embed_avg")
    missing = [m for m in missing if not any(a in m for a in allowed)]
    x, ids, y = images(program, checkpoint, folder)
    for m in there.modules():  # lucidrains marks a codebook that k-means has filled
        if hasattr(m, "initted"):
            m.initted.fill_(True)
    with torch.no_grad():
        their_y, their_ids = there(x)
    wrong = int((their_ids.numpy().reshape(ids.shape) != ids).sum())
    worst = float(np.abs(their_y.numpy() - y).max()) if not wrong else float("nan")
    # and back: what the module saves is imported
    state = {k: v.contiguous() for k, v in there.state_dict().items()}
    save_file(state, os.path.join(folder, "theirs.safetensors"))
    run(program, "import", "weights", os.path.join(folder, "theirs.safetensors"), os.path.join(folder, "back.h5"), "--config", config)
    back = images(program, os.path.join(folder, "back.h5"), folder)[1]
    good = not wrong and worst < 1e-5 and not missing and not unexpected and (back == ids).all()
    print(f"{name:16} {'equal' if good else 'DIFFERENT'}: {ids.size} ids, {wrong} differ; reconstruction {worst:.1e}; "
          f"{len(weights)} tensors; missing {missing}, unexpected {unexpected}; imported back {'equal' if (back == ids).all() else 'DIFFERENT'}")
    return good


def from_checkpoint(program, folder):
    """docs/interop.md: a checkpoint read with h5py; the same weights as an export under our own names, minus codes by statistics."""
    checkpoint = trained(program, QUANTIZERS[3][1], folder)[1]
    run(program, "export", checkpoint, "-o", os.path.join(folder, "own"), "--names", "own", "--state")
    weights = {}
    with h5py.File(checkpoint) as f:
        for part in ("model", "state"):
            f[part].visititems(lambda name, d: weights.update({name: d[()]}) if isinstance(d, h5py.Dataset) else None)
        config = f.attrs["config"].decode()
    theirs = load_file(os.path.join(folder, "own", "model.safetensors"))
    good = "quantizer:" in config and len(theirs) > 12
    good &= all(name in weights and (np.squeeze(weights[name]) == np.squeeze(t.numpy())).all() for name, t in theirs.items())
    print("checkpoint       " + (f"h5py reads {len(theirs)} tensors as exported" if good else "DIFFERENT"))
    return good


def texts(program, folder):
    """Names, shapes and metadata, read by the format's own implementation."""
    out = trained(program, QUANTIZERS[0][1], folder)[2]
    with safe_open(os.path.join(out, "model.safetensors"), "np") as f:
        found, tensors = f.metadata(), {k: f.get_tensor(k) for k in f.keys()}
    good = found["format"] == "pt" and found["tessera.item"] == "16x16x1" and "quantizer:" in found["tessera.config"]
    good &= tensors["layers.3.weight"].shape == (16, 8, 3, 3) and len(tensors) == 12
    good &= all(np.isfinite(t).all() and t.any() for t in tensors.values())
    print("file             " + ("as written" if good else f"DIFFERENT: {found}"))
    return good


def refusals(program, folder):
    """What the format's own implementation refuses is refused, and what it takes is taken."""
    f32 = '{"dtype":"F32","shape":[2],"data_offsets":'
    headers = ['{"a":%s[0,8]}}' % f32, '{"a":%s[0,8]},"a":%s[0,8]}}' % (f32, f32), '{"a":%s[4,12]}}' % f32, '{"a":%s[0,4]}}' % f32,
               '{"a":%s[8,0]}}' % f32, '{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}', '[]', '{', '{"a":3}', ' {"a":%s[0,8]}}' % f32,
               '{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}', '{"__metadata__":{"a":1},"a":%s[0,8]}}' % f32,
               '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}',
               '{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[6],"data_offsets":[2,8]}}',
               '{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}']
    taken, stricter, good = 0, 0, True
    for header in headers:
        path = os.path.join(folder, "h.safetensors")
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(header)) + header.encode() + bytes(8))
        try:
            with safe_open(path, "np") as f:
                list(f.keys())
            theirs = True
        except SafetensorError:
            theirs = False
        ours = subprocess.run([program, "inspect", path], capture_output=True).returncode
        # The format's text forbids both; releases of the package differ.
        strict = header.startswith(" ") or header.count('"a":') == 2
        taken += theirs and not ours
        stricter += theirs and strict
        if ours != (0 if theirs and not strict else 4):
            good = False
            print(f"DIFFERENT: {header}: the package {'takes' if theirs else 'refuses'} it, exit status here {ours}")
    print(f"headers          {len(headers)}: {taken} taken by both, {stricter} refused here alone, as the format says"
          if good else "headers          DIFFERENT")
    return good and 0 < taken < len(headers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/tessera"))
    program = parser.parse_args().program
    with tempfile.TemporaryDirectory() as folder:
        good = texts(program, folder) and refusals(program, folder)
    if MISSING:
        print(f"skipped: lucidrains' modules ({MISSING})")
    else:
        with tempfile.TemporaryDirectory() as folder:
            good &= from_checkpoint(program, folder)
    for name, quantizer, module in [] if MISSING else QUANTIZERS:
        with tempfile.TemporaryDirectory() as folder:
            good &= compare(program, name, quantizer, module, folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
