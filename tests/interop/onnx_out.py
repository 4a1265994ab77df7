#!/usr/bin/env python3
"""Exported ONNX models beside the program: the onnx package's checker takes them, and ONNX Runtime gives the same ids and pictures.

For each model and quantizer a few steps of training, the weights out to safetensors and in again without a bit that differs,
`tessera export --to onnx`, and then, at batch sizes, lengths and sizes of images
other than those that the model was made at, ids against `tessera encode` and reconstructions against `tessera decode`. Where an id
differs, the input is moved by a millionth of its size: it is a tie where that alone brings ONNX Runtime to our id. Exit status: 0 when
all agree (ties are listed), 1 when not, 2 when a package is missing."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
    import onnx
    import onnxruntime
    from safetensors import safe_open
    from safetensors.numpy import save_file
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(2)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRAIN = "train: {steps: %d, batch: 16, lr: 1e-3, log_every: 20, eval_every: 0, checkpoint_every: 0, picture_frames: 0}\n"
SHAPES = "data: {kind: shapes, count: 256, val_count: 64, size: %d, channels: %d}\n"
CHAINS = "data: {kind: chains, count: 40, val_count: 4, window: 48}\n"

# name, text of the model, channels of images or None for motion
MODELS = [
    ("image_small", "model: {kind: image_small, width: 8}\n", 1),
    ("image_classic", "model: {kind: image_classic, hidden: 16, residual_hidden: 8}\n", 3),
    ("motion T2M-GPT", "model: {kind: motion_conv, width: 32, depth: 2}\n", None),
    ("motion MotionMillion", "model: {kind: motion_conv, width: 32, depth: 2, norm: LN, activation: silu, patch_size: 2, down_t: 1}\n", None),
    ("motion causal", "model: {kind: motion_conv, width: 32, depth: 2, norm: BN, activation: gelu, causal: true, down_t: 1, patch: rearrange, patch_size: 2}\n", None),
    ("motion attention", "model: {kind: motion_conv, width: 64, depth: 1, norm: GN, attention: true, down_t: 1}\n", None),
    ("motion attention, causal", "model: {kind: motion_conv, width: 32, depth: 1, norm: LN, attention: true, causal: true, stride: 3, down_t: 1}\n", None),
]

# One of each kind, for every model.
KINDS = [
    ("FSQ", "kind: finite_scalar, levels: [8, 6, 5]"),
    ("VQ", "kind: vector, codes: 64, dim: 8"),
    ("VQ EMA", "kind: vector_ema, codes: 64, dim: 8, init: kmeans"),
    ("VQ reset", "kind: vector_reset, codes: 64, dim: 8"),
    ("LFQ", "kind: lookup_free, bits: 8"),
    ("BSQ", "kind: spherical, bits: 18, group: 9, dim: 24"),
    ("SimVQ", "kind: sim_vq, codes: 64, dim: 8"),
    ("latent", "kind: latent, levels: [8, 5, 5]"),
    ("random projection", "kind: random_projection, codes: 64, dim: 8, code_dim: 4, codebooks: 2"),
    ("FSP", "kind: scalar_perturbation, levels: [8, 8, 5]"),
]

# What else a quantizer can be told, for the first model.
OPTIONS = [
    ("FSQ, google", "kind: finite_scalar, levels: [8, 6, 5], bound: google"),
    ("FSQ, symmetric", "kind: finite_scalar, levels: [8, 6, 5], bound: symmetric"),
    ("FSQ, hard clamp", "kind: finite_scalar, levels: [8, 6, 5], hard_clamp: true"),
    ("FSQ, projected", "kind: finite_scalar, levels: [7, 5, 5, 5], dim: 12"),
    ("FSQ, rotated", "kind: finite_scalar, levels: [8, 6, 5], rotation: true"),
    ("FSQ, 2 codebooks", "kind: finite_scalar, levels: [5, 5], codebooks: 2"),
    ("FSQ, 2 groups", "kind: finite_scalar, levels: [5, 5], dim: 8, groups: 2"),
    ("FSQ, 3 layers", "kind: finite_scalar, levels: [5, 3], dim: 8, layers: 3, bound: symmetric, hard_clamp: true"),
    ("VQ, cosine", "kind: vector, codes: 64, dim: 8, cosine: true"),
    ("VQ, 2 heads", "kind: vector, codes: 64, dim: 8, heads: 2"),
    ("VQ, heads with own codebooks", "kind: vector_ema, codes: 32, dim: 8, heads: 2, separate_codebooks: true"),
    ("VQ, narrow codebook", "kind: vector, codes: 64, dim: 8, codebook_dim: 4"),
    ("VQ, rotation trick", "kind: vector, codes: 64, dim: 8, rotation: true"),
    ("VQ, 3 layers", "kind: vector_ema, codes: 32, dim: 8, layers: 3, init: kmeans"),
    ("VQ, 3 layers, one codebook", "kind: vector_ema, codes: 32, dim: 8, layers: 3, shared: true, dropout: 1, init: kmeans"),
    ("VQ, 2 groups of 2 layers", "kind: vector_reset, codes: 32, dim: 8, groups: 2, layers: 2"),
    ("VQ EMA, cosine, lucidrains", "kind: vector_ema, codes: 64, dim: 8, cosine: true, averages: lucidrains"),
    ("LFQ, spherical, 2 codebooks", "kind: lookup_free, bits: 6, codebooks: 2, spherical: true, soft_clamp: 2"),
    ("LFQ, 3 layers", "kind: lookup_free, bits: 6, layers: 3, dim: 10"),
    ("LFQ, rotated", "kind: lookup_free, bits: 6, rotation: true"),
    ("SimVQ, rotation trick", "kind: sim_vq, codes: 64, dim: 8, rotation: true"),
    ("latent, 2 codebooks", "kind: latent, levels: [5, 4], codebooks: 2, dim: 6"),
    ("random projection, norm", "kind: random_projection, codes: 64, dim: 8, code_dim: 4, norm: true"),
    ("FSP, sigmoid", "kind: scalar_perturbation, levels: [8, 8, 5], activation: sigmoid, norm: none"),
    ("FSP, normal", "kind: scalar_perturbation, levels: [8, 8, 5], activation: normal, norm: none"),
    ("FSP, laplace", "kind: scalar_perturbation, levels: [8, 8, 5], activation: laplace, norm: none"),
]

# What cannot be exported, and the words of the reason.
REFUSED = [("FSQ without ids", "kind: finite_scalar, levels: [8, 6, 5], indices: false", "computes no ids")]


def run(program, *words):
    done = subprocess.run([program, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Case:
    """A trained checkpoint, and the sessions of its exported models."""

    def __init__(self, program, folder, model, quantizer, channels, steps):
        self.program, self.folder, self.channels = program, folder, channels
        self.text = "name: interop\n" + model + "quantizer: {%s}\n" % quantizer + TRAIN % steps
        self.train(SHAPES % (16, channels) if channels else CHAINS)
        self.checkpoint = self.path("wide.h5")
        run(program, "import", "weights", self.widen(), self.checkpoint)
        self.sessions = {}

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def train(self, data):
        run(self.program, "train", self.write("c.yaml", data + self.text), "--run", self.path("run"), "--quiet")

    def widen(self):
        """The weights, and the encoder's last layer so much larger that z meets many codes. After a few steps it is small."""
        path, last = self.path("weights", "model.safetensors"), self.path("run", "checkpoints", "last.h5")
        run(self.program, "export", last, "-o", self.path("weights"), "--names", "own", "--state")
        run(self.program, "import", "weights", path, self.path("back.h5"))
        found = subprocess.run([self.program, "diff", last, self.path("back.h5"), "--json"], capture_output=True, text=True)
        found = json.loads(found.stdout)
        lost = [name for name in found["only_in_a"] if name.startswith(("model/", "state/")) and "trainer" not in name]
        assert found["equal_tensors"] and not found["different"] and not lost and not found["config"], found
        with safe_open(path, "np") as f:
            metadata, tensors = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}
        for name in ("encoder.conv3.weight", "encoder.pre_vq.weight", "encoder.last.weight"):
            if name in tensors and not (name == "encoder.conv3.weight" and "encoder.pre_vq.weight" in tensors):
                tensors[name] = tensors[name] * np.float32(8)
        save_file(tensors, path, metadata)
        return path

    def export(self):
        run(self.program, "export", self.checkpoint, "--to", "onnx", "-o", self.path("out"))
        for name in ("encoder", "decoder", "tokenizer"):
            path = self.path("out", name + ".onnx")
            onnx.checker.check_model(path, full_check=True)
            described = json.loads(run(self.program, "inspect", path, "--json"))
            assert described["verified"] and described["kind"] == "onnx", described
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            self.sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def of_size(self, size):
        """The same weights for images of another size."""
        if size == 16:
            return self.checkpoint
        config = self.write("other.yaml", SHAPES % (size, self.channels) + self.text)
        run(self.program, "import", "weights", self.path("weights", "model.safetensors"), self.path("other.h5"), "--config", config,
            "--item", f"{size}x{size}x{self.channels}")
        return self.path("other.h5")

    def images(self, count, size):
        """x as PyTorch has it, our ids and our reconstruction of them."""
        draws = np.random.default_rng(count)
        patches = draws.integers(0, 200, (count, size // 4, size // 4, self.channels)).repeat(4, 1).repeat(4, 2)
        pixels = (patches + draws.integers(0, 56, patches.shape)).astype(np.uint8)
        with h5py.File(self.path("x.h5"), "w") as f:
            f["images"] = pixels
        checkpoint = self.of_size(size)
        run(self.program, "encode", checkpoint, self.path("x.h5"), "--dataset", "images", "-o", self.path("t.h5"))
        run(self.program, "decode", checkpoint, self.path("t.h5"), "-o", self.path("y.h5"))
        with h5py.File(self.path("t.h5")) as f, h5py.File(self.path("y.h5")) as g:
            ids, y = f["tokens"][:], g["images"][:]
        x = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - np.float32(1)
        return x, ids.reshape(count, size // 4, size // 4, -1), y.transpose(0, 3, 1, 2)

    def motion(self, count, length):
        """As the model sees it: normalised."""
        mean, std = np.load(self.path("out", "mean.npy")), np.load(self.path("out", "std.npy"))
        draws = np.random.default_rng(count * 1000 + length).standard_normal((count, length, mean.size))
        clips = (mean + std * draws.cumsum(1) * 0.3).astype(np.float32)
        folder = self.path(f"clips{count}x{length}")
        os.mkdir(folder)
        for i, clip in enumerate(clips):
            np.save(os.path.join(folder, f"{i:03}.npy"), clip)
        run(self.program, "encode", self.checkpoint, folder, "-o", self.path("t.h5"))
        run(self.program, "decode", self.checkpoint, self.path("t.h5"), "-o", self.path("y.h5"))
        with h5py.File(self.path("t.h5")) as f, h5py.File(self.path("y.h5")) as g:
            ids, y = f["tokens"][:], g["motion"][:]
        return (clips - mean) / std, ids, (y - mean) / std

    def ties(self, x, ids, wrong):
        """How many of the ids that differ become ours when the input moves by a millionth."""
        draws, found = np.random.default_rng(0), np.zeros_like(wrong)
        for _ in range(64):
            moved = x + (1e-6 * np.abs(x).max() * draws.uniform(-1, 1, x.shape)).astype(np.float32)
            found |= self.sessions["encoder"].run(None, {"x": moved})[0] == ids
        return int((found & wrong).sum())

    def compare(self, x, ids, y):
        """Ids, how many of them are different codes, how many differ, how many of these are ties, the largest difference of a reconstruction."""
        theirs = self.sessions["encoder"].run(None, {"x": x})[0]
        again, whole = self.sessions["tokenizer"].run(None, {"x": x})
        picture = self.sessions["decoder"].run(None, {"ids": ids.astype(np.int64)})[0]
        assert theirs.dtype == np.int64 and theirs.shape == ids.shape, (theirs.shape, ids.shape)
        wrong, scale = theirs != ids, max(1.0, float(np.abs(y).max()))
        worst = float(np.abs(picture - y).max()) / scale
        if not wrong.any() and (again == ids).all():
            worst = max(worst, float(np.abs(whole - y).max()) / scale)
        none = self.sessions["decoder"].run(None, {"ids": np.full_like(ids, -1, dtype=np.int64)})[0]
        broken = not np.isfinite(picture).all() or not np.isnan(none).all()  # an id that names no code must not pass as one
        return ids.size, len(np.unique(ids)), int(wrong.sum()), self.ties(x, ids, wrong) if wrong.any() else 0, float("inf") if broken else worst


def sizes(case):
    """Batch sizes and lengths that no build had."""
    if case.channels:
        return [case.images(7, 16), case.images(1, 16), case.images(3, 28)]
    return [case.motion(3, 72), case.motion(1, 12), case.motion(2, 120)]


def check(program, model, quantizer, steps):
    (model_name, model_text, channels), (name, text) = model, quantizer
    with tempfile.TemporaryDirectory() as folder:
        case = Case(program, folder, model_text, text, channels, steps)
        case.export()
        rows = [case.compare(*data) for data in sizes(case)]
    ids, codes, wrong, ties, worst = (f(row[i] for row in rows) for i, f in enumerate((sum, max, sum, sum, max)))
    good = wrong == ties and worst < 1e-5 and codes > 1
    print(f"{model_name:25} {name:29} {'equal' if good else 'DIFFERENT':9} {ids:5} ids of {codes:3} codes, {wrong} differ ({ties} of them ties); "
          f"reconstruction {worst:.1e}", flush=True)
    return good


def refusals(program, steps):
    good = True
    for name, text, reason in REFUSED:
        with tempfile.TemporaryDirectory() as folder:
            case = Case(program, folder, MODELS[0][1], text, MODELS[0][2], steps)
            done = subprocess.run([program, "export", case.checkpoint, "--to", "onnx", "-o", case.path("out")], capture_output=True, text=True)
        said = done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1
        good &= said
        print(f"{MODELS[0][0]:25} {name:29} {'refused' if said else 'DIFFERENT'}: {done.stderr.strip()}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/tessera"))
    parser.add_argument("--all", action="store_true", help="every quantizer in every model, not one of each kind")
    parser.add_argument("--only", default="", help="models and quantizers whose names hold this")
    parser.add_argument("--steps", type=int, default=5, help="of training")
    a = parser.parse_args()
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    cells = [(m, q) for i, m in enumerate(MODELS) for q in KINDS + (OPTIONS if i == 0 or a.all else [])]
    cells = [c for c in cells if a.only in c[0][0] + " " + c[1][0]]
    bad = [f"{m[0]} with {q[0]}" for m, q in cells if not check(a.program, m, q, a.steps)]
    if not a.only and not refusals(a.program, a.steps):
        bad.append("what must be refused")
    print(f"{len(cells)} models, all checked at 3 sizes" if not bad else f"DIFFERENT: {'; '.join(bad)}")
    return 0 if not bad and cells else 1


if __name__ == "__main__":
    sys.exit(main())
