#!/usr/bin/env python3
"""Trains a model in PyTorch from Tessera's initial weights on Tessera's batches and compares the losses.

  train_compare.py --program build/release/tessera --config CONFIG [--set key=value ...] [--steps 200]
  train_compare.py --run DIR --start FILE.h5          a run that exists already

What the program has to write (the first form asks for it with `--run DIR --dump-start FILE.h5 --dump-batches N`):

  FILE.h5  /param/<path>  f32  initial weights (and codebook state) under Tessera's paths, in PyTorch's layouts
           /batch/<i>     f32  [B, H, W, C] or [B, T, C], what the model is fed in step i = 0 .. N - 1
  DIR/metrics.jsonl            a line per training step: {"step": n, "split": "train", "loss": total, ...}

The names decide which model it is: with `encoder.pre_vq.weight` the classic VQ-VAE (EMA when `quantizer.sum` is there),
loss MSE / --variance + quantizer loss; with `encoder.down.0.conv.weight` the motion net of T2M-GPT (FSQ of --levels, or moving
averages with reset), loss smooth L1 + --position times that of the positions + quantizer loss; else the small net (FSQ of
--levels, or VQ when `quantizer.codebook` is there), loss MSE + quantizer loss.

The exit status is 1 when one of the first 20 losses differs by more than 1e-4 (absolute), or the mean over 25 steps by
more than 1 % up to step 200; a mistake in the input ends with 2. The Python that runs this is $TESSERA_PYTHON (default
the one it was started with).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

PYTHON = os.environ.get("TESSERA_PYTHON")
if __name__ == "__main__" and PYTHON and os.environ.get("TESSERA_PYTHON_STARTED") != PYTHON:
    os.environ["TESSERA_PYTHON_STARTED"] = PYTHON
    os.execvp(PYTHON, [PYTHON] + sys.argv)

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import torch_models  # noqa: E402
import torch_motion  # noqa: E402

EXACT_STEPS, EXACT_DIFFERENCE = 20, 1e-4
WINDOW, WINDOW_DIFFERENCE, LAST_STEP = 25, 0.01, 200


class Mistake(Exception):
    """Something in the input is not as it should be."""


def classic_name(path):
    """The name that the classic model's authors gave the parameter at this path."""
    module, _, kind = path.rpartition(".")
    named = {
        "encoder.pre_vq": "_pre_vq_conv",
        "encoder.conv1": "_encoder._conv_1",
        "encoder.conv2": "_encoder._conv_2",
        "encoder.conv3": "_encoder._conv_3",
        "decoder.conv1": "_decoder._conv_1",
        "decoder.up1": "_decoder._conv_trans_1",
        "decoder.up2": "_decoder._conv_trans_2",
    }
    state = {"codebook": "_embedding.weight", "count": "_ema_cluster_size", "sum": "_ema_w"}
    if module == "quantizer":
        return f"_vq_vae.{state[kind]}"
    if module in named:
        return f"{named[module]}.{kind}"
    side, _, _, unit, conv = module.split(".")  # encoder.residual.block.0.conv1
    return f"_{side}._residual_stack._layers.{unit}._block.{ {'conv1': 1, 'conv2': 3}[conv] }.{kind}"


def read_start(path):
    """Weights by name and the list of batches, [B, C, H, W] or [B, T, C]."""
    with h5py.File(path, "r") as f:
        for group in ("param", "batch"):
            if group not in f:
                raise Mistake(f"{path}: no group /{group}; was it written by --dump-start?")
        weights = {}
        f["param"].visititems(
            lambda n, o: weights.__setitem__(n, torch.tensor(o[()])) if isinstance(o, h5py.Dataset) else None
        )
        batches = [torch.tensor(f["batch"][str(i)][()]) for i in range(len(f["batch"]))]
        batches = [x.permute(0, 3, 1, 2).contiguous() if x.dim() == 4 else x for x in batches]
    if "encoder.pre_vq.weight" in weights:
        weights = {classic_name(n): w for n, w in weights.items()}
    if not batches:
        raise Mistake(f"{path}: no batch in /batch; use --dump-batches N")
    return weights, batches


def read_losses(path):
    """The training losses in order of their steps."""
    losses = {}
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError:
                raise Mistake(f"{path}:{number}: not a JSON object") from None
            if entry.get("split") == "train" and "loss" in entry:
                losses[entry["step"]] = float("nan") if entry["loss"] is None else float(entry["loss"])
    steps = sorted(losses)
    if not steps or steps[0] not in (0, 1) or steps != list(range(steps[0], steps[0] + len(steps))):
        raise Mistake(
            f"{path}: expected a training line for every step from the first on, found {len(steps)}: {steps[:5]} ..."
        )
    return [losses[s] for s in steps]


def small_model(weights, args):
    width = len(weights["encoder.conv3.weight"])
    if "quantizer.codebook" in weights:
        quantizer = torch_models.Codebook(*weights["quantizer.codebook"].shape, args.beta)
    else:
        if len(args.levels) != width:
            raise Mistake(f"the encoder ends with {width} channels, --levels {args.levels} has {len(args.levels)}")
        quantizer = torch_models.FiniteScalar(args.levels)
    return torch_models.Small(quantizer, width)


def classic_model(weights, args):
    codes, width = weights["_vq_vae._embedding.weight"].shape
    hidden, inner = len(weights["_encoder._conv_3.weight"]), 0
    units = len(
        [n for n in weights if n.startswith("_encoder._residual_stack._layers.") and n.endswith("_block.1.weight")]
    )
    if units:
        inner = len(weights["_encoder._residual_stack._layers.0._block.1.weight"])
    moving = "_vq_vae._ema_w" in weights
    quantizer = (
        torch_models.MovingCodebook(codes, width, args.beta, args.decay)
        if moving
        else torch_models.NamedCodebook(codes, width, args.beta)
    )
    return torch_models.Classic(quantizer, width, hidden, inner, units)


def motion_model(weights, args):
    width, columns, _ = weights["encoder.first.weight"].shape
    code_width = len(weights["encoder.last.weight"])
    if "quantizer.codebook" in weights:
        codes = len(weights["quantizer.codebook"])
        quantizer = torch_motion.ResetCodebook(codes, code_width, args.beta, args.decay)
    else:
        quantizer = torch_motion.ProjectedFiniteScalar(args.levels, code_width)
    names = [n for n in weights if n.startswith("encoder.down.") and n.endswith(".conv1.weight")]
    levels = len({n.split(".")[2] for n in names})
    return torch_motion.Motion(quantizer, columns, width, len(names) // levels, args.growth, levels, code_width)


def model_of(weights, args):
    """The model whose parameters have these names, with these weights."""
    if "encoder.conv3.weight" in weights:
        model = small_model(weights, args)
    elif "encoder.down.0.conv.weight" in weights:
        model = motion_model(weights, args)
    elif "_encoder._conv_1.weight" in weights and "_vq_vae._embedding.weight" in weights:
        model = classic_model(weights, args)
    else:
        raise Mistake(f"the names of the weights are of no known model: {', '.join(sorted(weights)[:4])} ...")
    try:
        model.load_state_dict(weights)
    except RuntimeError as e:
        raise Mistake(str(e)) from None
    return model


def optimizer_of(model, args):
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[args.optimizer]
    trained = [p for p in model.parameters() if p.requires_grad]
    return kind(trained, lr=args.lr, betas=tuple(args.betas), eps=args.eps, weight_decay=args.weight_decay)


def replay(model, batches, args):
    """The losses of a step per batch, each before its update."""
    optimizer, losses = optimizer_of(model, args), []
    for x in batches:
        y, _, quantizer_loss, _ = model(x)
        loss = (
            model.loss(y, x, quantizer_loss, args.position)
            if isinstance(model, torch_motion.Motion)
            else F.mse_loss(y, x) / args.variance + quantizer_loss
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def verdict(ours, theirs):
    """Lines that say where the two curves are too far apart."""
    wrong = []
    for step, (a, b) in enumerate(zip(ours[:EXACT_STEPS], theirs)):
        if not abs(a - b) <= EXACT_DIFFERENCE:
            wrong.append(f"step {step}: the losses differ by {abs(a - b):.3g}, allowed {EXACT_DIFFERENCE:g}")
    for start in range(0, min(len(ours), LAST_STEP) - WINDOW + 1, WINDOW):
        a, b = np.mean(ours[start : start + WINDOW]), np.mean(theirs[start : start + WINDOW])
        if not abs(a - b) <= WINDOW_DIFFERENCE * abs(b):
            wrong.append(
                f"steps {start} to {start + WINDOW - 1}: the means {a:.6g} and {b:.6g} differ by more than 1 %"
            )
    return wrong


def table(ours, theirs, every):
    print(f"{'step':>6} {'tessera':>14} {'torch':>14} {'difference':>12}")
    for step, (a, b) in enumerate(zip(ours, theirs)):
        if step < EXACT_STEPS or step % every == 0 or step == len(ours) - 1:
            print(f"{step:>6} {a:>14.7f} {b:>14.7f} {a - b:>12.2e}")


def run_program(args, folder):
    """Runs the program; the run directory and the file with its start."""
    run, start = os.path.join(folder, "run"), os.path.join(folder, "start.h5")
    command = [
        args.program,
        "train",
        args.config,
        *args.set,
        f"train.steps={args.steps}",
        "--run",
        run,
        "--dump-start",
        start,
        "--dump-batches",
        str(args.steps),
        "--threads",
        str(args.threads),
        "--quiet",
    ]
    done = subprocess.run(command)
    if done.returncode:
        raise Mistake(f"{' '.join(command)}: exit status {done.returncode}")
    return run, start


def compare(run, start, args):
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    weights, batches = read_start(start)
    ours = read_losses(os.path.join(run, "metrics.jsonl"))
    steps = min(len(ours), len(batches))
    if steps < EXACT_STEPS:
        raise Mistake(
            f"{steps} steps to compare ({len(ours)} losses, {len(batches)} batches), at least {EXACT_STEPS} are needed"
        )
    theirs = replay(model_of(weights, args), batches[:steps], args)
    table(ours[:steps], theirs, args.every)
    wrong = verdict(ours[:steps], theirs)
    worst = max(abs(a - b) for a, b in zip(ours[:EXACT_STEPS], theirs))
    for line in wrong:
        print(line)
    print(f"torch {torch.__version__}, {steps} steps, largest difference in the first {EXACT_STEPS}: {worst:.2e}")
    print("the curves are DIFFERENT" if wrong else "the curves are equal within the limits")
    return 1 if wrong else 0


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default="build/release/tessera")
    ap.add_argument("--config", help="run the program with this config")
    ap.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides for the program")
    ap.add_argument("--run", metavar="DIR", help="a finished run")
    ap.add_argument("--start", metavar="FILE", help="its --dump-start file")
    ap.add_argument("--steps", type=int, default=LAST_STEP)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--every", type=int, default=10, help="show each of the first 20 steps, then every so many")
    ap.add_argument("--optimizer", default="adamw", choices=["adamw", "adam"])
    ap.add_argument("--lr", type=float, default=3e-4)
    ap.add_argument("--betas", type=float, nargs=2, default=[0.9, 0.999])
    ap.add_argument("--eps", type=float, default=1e-8)
    ap.add_argument("--weight-decay", type=float, default=0.01)
    ap.add_argument("--levels", type=int, nargs="+", default=[8, 6, 5])
    ap.add_argument("--beta", type=float, default=0.25, help="weight of the commitment loss")
    ap.add_argument("--decay", type=float, default=0.99, help="of the moving average")
    ap.add_argument("--position", type=float, default=0.5, help="motion: weight of the loss of positions")
    ap.add_argument("--growth", type=int, default=3, help="motion: factor between the dilations")
    ap.add_argument("--variance", type=float, default=1.0, help="the reconstruction loss is MSE over this")
    args = ap.parse_args()
    if bool(args.config) == bool(args.run) or bool(args.run) != bool(args.start):
        ap.error("give either --config, or --run and --start")
    return args


def main():
    args = arguments()
    try:
        if args.run:
            return compare(args.run, args.start, args)
        with tempfile.TemporaryDirectory(prefix="tessera-compare-") as folder:
            return compare(*run_program(args, folder), args)
    except (Mistake, OSError) as e:
        print(f"train_compare: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
