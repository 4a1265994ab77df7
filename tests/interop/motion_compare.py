#!/usr/bin/env python3
"""Trains T2M-GPT's motion tokenizer in Tessera and in PyTorch, several seeds each, and compares what they come to.

  motion_compare.py --program build/release/tessera --data DATA/motion [--steps 600] [--batch 32] [--seeds 1 2 3]

The two share the data, the recipe (configs/motion/small_fsq.yaml, small_vq.yaml) and nothing else: each draws its own initial
weights, its own order of clips and its own windows, and trains by its own arithmetic. From equal weights and batches,
train_compare.py finds equal losses step by step; here the question is whether the results are equally good.

Every run is evaluated on the whole clips of the validation split, cropped to whole tokens, by this script: the weights that
Tessera saved are loaded into the PyTorch model, and the errors are those of motion_metrics.py. What `tessera eval` says of the
same checkpoint stands beside it and has to agree.

The exit status is 1 where, for one of the quantizers, Tessera's mean MPJPE is worse than PyTorch's by more than the spread of
the seeds (largest minus smallest, the wider of the two; one seed has none, and no verdict), or where `tessera eval` disagrees; 2 for a mistake in the input.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

PYTHON = os.environ.get("TESSERA_PYTHON")
if __name__ == "__main__" and PYTHON and os.environ.get("TESSERA_PYTHON_STARTED") != PYTHON:
    os.environ["TESSERA_PYTHON_STARTED"] = PYTHON
    os.execvp(PYTHON, [PYTHON] + sys.argv)

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import motion_metrics  # noqa: E402
import torch_motion  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WIDTH, DEPTH, GROWTH, LEVELS, CODES = 128, 3, 3, [8, 8, 8], 512
LR, WARMUP, BETAS, COMMITMENT, DECAY = 4e-4, 100, (0.9, 0.99), 0.02, 0.99
COLUMNS = ["mpjpe", "velocity", "acceleration", "skate", "usage", "perplexity"]
OWN = {  # what `tessera eval --json` calls them
    "mpjpe": "mpjpe_mm",
    "velocity": "velocity_mm_per_frame",
    "acceleration": "acceleration_mm_per_frame2",
    "skate": "skate_mm_per_frame",
    "usage": "usage",
    "perplexity": "perplexity",
}
AGREE = 2e-3  # relative; ids near a border may fall the other way


class Mistake(Exception):
    """Something in the input is not as it should be."""


# ---- data ----


class Tree:
    """The clips of a tree of HumanML3D's kind."""

    def __init__(self, path, window):
        self.mean, self.std = (np.load(os.path.join(path, n)) for n in ("Mean.npy", "Std.npy"))
        self.window = window
        self.train, self.val = self.read(path, "train"), self.read(path, "val")

    def read(self, path, split):
        with open(os.path.join(path, split + ".txt")) as names:
            return [np.load(os.path.join(path, "new_joint_vecs", n + ".npy")) for n in names.read().split()]

    def normalised(self, clip):
        return torch.from_numpy(((clip - self.mean) / self.std).astype(np.float32))

    def item(self, clip, draws):
        """A window from anywhere in the clip; a shorter clip holds its last frame."""
        start = draws.integers(0, max(len(clip) - self.window, 0) + 1)
        x = clip[start : start + self.window]
        return self.normalised(np.concatenate([x, np.repeat(x[-1:], self.window - len(x), 0)]))

    def batches(self, size, seed):
        """Without end: every clip comes as often as any other, in epochs of an order of their own."""
        draws, order = np.random.default_rng(seed), []
        while True:
            while len(order) < size:
                order += [int(i) for i in draws.permutation(len(self.train))]
            yield torch.stack([self.item(self.train[i], draws) for i in order[:size]])
            order = order[size:]


# ---- the two ----


def model_of(quantizer):
    one = (
        torch_motion.ProjectedFiniteScalar(LEVELS, WIDTH)
        if quantizer == "fsq"
        else torch_motion.ResetCodebook(CODES, WIDTH, COMMITMENT, DECAY)
    )
    return torch_motion.Motion(one, 263, WIDTH, DEPTH, GROWTH, 2)


def train_torch(args, tree, quantizer, seed):
    torch.manual_seed(seed)
    model, batches = model_of(quantizer), tree.batches(args.batch, seed)
    optimizer = torch.optim.AdamW(model.parameters(), LR, BETAS, weight_decay=0)
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (step + 1) / (WARMUP + 1))
        x = next(batches)
        y, _, quantizer_loss, _ = model(x)
        loss = model.loss(y, x, quantizer_loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def tessera(args, *words):
    done = subprocess.run([args.program, *words, "--threads", str(args.threads)], capture_output=True, text=True)
    if done.returncode:
        raise Mistake(f"{args.program} {' '.join(words)}: exit status {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


def train_tessera(args, quantizer, seed, run):
    """The finished run's last checkpoint."""
    settings = dict(steps=args.steps, batch=args.batch, lr=LR, warmup=WARMUP, eval_every=0, checkpoint_every=0)
    words = [f"train.{k}={v}" for k, v in settings.items()]
    words += [f"seed={seed}", f"data.path={args.data}", f"data.window={args.window}", "--run", run, "--quiet"]
    tessera(args, "train", os.path.join(ROOT, "configs", "motion", f"small_{quantizer}.yaml"), *words)
    return os.path.join(run, "checkpoints", "last.h5")


def loaded(checkpoint, quantizer):
    """The PyTorch model with a checkpoint's weights."""
    weights = {}

    def add(name, item):
        group, _, path = name.partition("/")
        if isinstance(item, h5py.Dataset) and group in ("model", "state"):
            weights[path] = torch.from_numpy(item[()])

    with h5py.File(checkpoint, "r") as f:
        f.visititems(add)
    model = model_of(quantizer)
    missing = set(model.state_dict()) - set(weights)
    if missing:
        raise Mistake(f"{checkpoint}: no {', '.join(sorted(missing))}; it has {', '.join(sorted(weights))}")
    model.load_state_dict({n: weights[n] for n in model.state_dict()})
    return model


# ---- how good they are ----


@torch.no_grad()
def evaluated(model, tree):
    model.eval()
    pairs, ids = [], []
    for clip in tree.val:
        x = clip[: len(clip) - len(clip) % model.frames_per_token]
        y, found, _, _ = model(tree.normalised(x)[None])
        pairs.append((y[0].numpy() * tree.std + tree.mean, x))
        ids.append(found.flatten())
    ids = torch.cat(ids)
    share = torch.bincount(ids, minlength=model.quantizer.size).double() / len(ids)
    used = share[share > 0]
    return {
        **motion_metrics.metrics(pairs),
        "usage": len(used) / model.quantizer.size,
        "perplexity": float(torch.exp(-(used * used.log()).sum())),
        "tokens": len(ids),
    }


def disagreements(args, checkpoint, result):
    """Where `tessera eval` says something else of the checkpoint than this script has found."""
    own = json.loads(tessera(args, "eval", checkpoint, "--json"))
    if OWN["velocity"] not in own:
        print("tessera eval evaluates no whole clips: not compared", file=sys.stderr)
        return []
    return [
        f"{name}: tessera eval says {own[key]:.6g}, the script {result[name]:.6g}"
        for name, key in OWN.items()
        if not abs(own[key] - result[name]) <= AGREE * abs(result[name])
    ]


def one_run(args, tree, side, quantizer, seed, folder):
    start, wrong = time.time(), []
    if side == "Tessera":
        checkpoint = train_tessera(args, quantizer, seed, os.path.join(folder, f"{quantizer}-{seed}"))
        seconds = time.time() - start
        result = evaluated(loaded(checkpoint, quantizer), tree)
        wrong = disagreements(args, checkpoint, result)
    else:
        model = train_torch(args, tree, quantizer, seed)
        seconds = time.time() - start
        result = evaluated(model, tree)
    print(f"{side} {quantizer} seed {seed}: mpjpe {result['mpjpe']:.2f} mm, {seconds:.0f} s", file=sys.stderr, flush=True)
    for line in wrong:
        print(f"{side} {quantizer} seed {seed}: {line}")
    return result, bool(wrong)


def row(label, results):
    """Mean, and from the smallest to the largest of the seeds."""
    cells = []
    for name in COLUMNS:
        v = np.array([r[name] for r in results]) * (100 if name == "usage" else 1)
        cells.append(f"{v.mean():.4g} ({v.min():.4g} to {v.max():.4g})" if len(v) > 1 else f"{v[0]:.4g}")
    print(f"| {label} | {' | '.join(cells)} |")


def anchor(tree):
    """What the mean frame would come to."""
    clips = [c[: len(c) - len(c) % 4] for c in tree.val]
    return {**motion_metrics.metrics([(np.tile(tree.mean, (len(c), 1)), c) for c in clips]), "usage": 0, "perplexity": 1}


def compare(args, folder):
    tree, failed = Tree(args.data, args.window), False
    results = {(s, q): [] for q in args.quantizers for s in ("Tessera", "PyTorch")}
    for seed in args.seeds:  # by turns, so that a machine that others use is fair to both
        for side, quantizer in results:
            result, wrong = one_run(args, tree, side, quantizer, seed, folder)
            results[side, quantizer].append(result)
            failed |= wrong
    some = next(iter(results.values()))[0]
    print(
        f"\nwidth {WIDTH}, {args.steps} steps of {args.batch} windows of {args.window} frames, seeds "
        f"{', '.join(map(str, args.seeds))}; {len(tree.val)} clips, {some['tokens']} tokens; torch {torch.__version__}\n"
    )
    print("| | MPJPE, mm | velocity, mm/frame | acceleration, mm/frame^2 | foot skate, mm/frame | usage, % | perplexity |")
    print("|---|---|---|---|---|---|---|")
    for (side, quantizer), r in results.items():
        row(f"{quantizer.upper()}, {side}", r)
    row("the mean frame", [anchor(tree)])
    print(f"\nThe feet of the original itself skate by {some['original_skate']:.4g} mm a frame.")
    for q in args.quantizers:
        ours, theirs = (np.array([r["mpjpe"] for r in results[s, q]]) for s in ("Tessera", "PyTorch"))
        if len(args.seeds) > 1 and ours.mean() - theirs.mean() > max(np.ptp(ours), np.ptp(theirs)):
            print(f"{q}: Tessera is worse by {ours.mean() - theirs.mean():.3g} mm, more than the spread of the seeds")
            failed = True
    return 1 if failed else 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default=os.path.join(ROOT, "build", "release", "tessera"))
    ap.add_argument("--data", required=True, help="a tree of HumanML3D's kind")
    ap.add_argument("--quantizers", nargs="+", default=["fsq", "vq"], choices=["fsq", "vq"])
    ap.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    ap.add_argument("--steps", type=int, default=600)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--window", type=int, default=64)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--keep", metavar="DIR", help="keep Tessera's runs here")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="tessera-motion-") as folder:
            return compare(args, args.keep or folder)
    except (Mistake, OSError) as e:
        print(f"motion_compare: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
