#!/usr/bin/env python3
"""Tests train_compare.py without the program: PyTorch plays Tessera's part, once rightly and several times wrongly.

test_train_compare.py          exit status 1 when an expectation fails
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile

import h5py
import torch
import torch.nn.functional as F

import torch_models
import torch_motion
import train_compare


def models():
    """name -> a fresh model and the shape of its pictures, or of its windows"""
    return {
        "motion fsq": (torch_motion.Motion(torch_motion.ProjectedFiniteScalar([8, 6, 5], 8), 263, 8, 2), (16, 263)),
        "motion vq": (torch_motion.Motion(torch_motion.ResetCodebook(16, 8, 0.25), 251, 8, 1, levels=1), (16, 251)),
        "small fsq": (torch_models.Small(torch_models.FiniteScalar([8, 6, 5]), 3), (1, 12, 12)),
        "small vq": (torch_models.Small(torch_models.Codebook(32, 8), 8), (1, 12, 12)),
        "classic vq": (torch_models.Classic(torch_models.NamedCodebook(16, 4), 4, 12, 6), (3, 16, 16)),
        "classic ema": (torch_models.Classic(torch_models.MovingCodebook(16, 4), 4, 12, 6), (3, 16, 16)),
    }


def defaults(**changed):
    values = dict(
        optimizer="adamw",
        lr=3e-4,
        betas=[0.9, 0.999],
        eps=1e-8,
        weight_decay=0.01,
        levels=[8, 6, 5],
        beta=0.25,
        decay=0.99,
        variance=1.0,
        position=0.5,
        growth=3,
        threads=1,
        every=1000,
    )
    return argparse.Namespace(**{**values, **changed})


def pretend(model, shape, folder, change, steps=30):
    """Writes what the program would write, from a run of the same model with the arguments `change`d."""
    batches = [torch.rand(8, *shape) for _ in range(steps)]
    start = os.path.join(folder, "start.h5")
    with h5py.File(start, "w") as f:
        for name, value in model.state_dict().items():
            f[f"param/{name}"] = value.numpy()
        for i, x in enumerate(batches):
            f[f"batch/{i}"] = (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).numpy()
    losses = train_compare.replay(model, batches, defaults(**change))
    with open(os.path.join(folder, "metrics.jsonl"), "w") as f:
        for i, loss in enumerate(losses):
            f.write(json.dumps({"step": i + 1, "split": "train", "loss": loss}) + "\n")
            f.write(json.dumps({"step": i + 1, "split": "val", "loss": 9.0}) + "\n")
    return start


def outcome(model, shape, change=None):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        start = pretend(model, shape, folder, change or {})
        return train_compare.compare(folder, start, defaults())


def in_place_relu_matters():
    """The skip of a unit starts behind its ReLU."""
    unit, x = torch_models.Unit(4, 2), torch.randn(2, 4, 5, 5)
    h = F.relu(x)
    want = h + unit._block["3"](F.relu(unit._block["1"](h)))
    return torch.allclose(unit(x), want) and not torch.allclose(want, x + want - h)


def main():
    torch.manual_seed(3)
    torch.set_num_threads(1)
    wrong = [] if in_place_relu_matters() else ["the residual unit is not as the original"]
    for name, (model, shape) in models().items():
        if outcome(model, shape) != 0:
            wrong.append(f"{name}: the same training was called different")
    for change in ({"lr": 4e-4}, {"variance": 1.01}, {"betas": [0.8, 0.999]}):
        model, shape = models()["small vq"]
        if outcome(model, shape, change) != 1:
            wrong.append(f"{change}: a different training was called equal")
    model, shape = models()["classic ema"]
    model._vq_vae.beta = 0.5
    if outcome(model, shape) != 1:
        wrong.append("another commitment weight was called equal")
    model, shape = models()["motion fsq"]
    if outcome(model, shape, {"position": 0.4}) != 1:
        wrong.append("another weight of the positions was called equal")
    print("\n".join(wrong) or "test_train_compare: 12 expectations hold")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
