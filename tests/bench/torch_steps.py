#!/usr/bin/env python3
"""PyTorch's side of compare.py: times training steps of one workload and prints one JSON line.

  torch_steps.py WORKLOAD [--layout channels_last] [--compile] [--batch N] [--threads N] [--steps N]

A step reads its loss, as a trainer that logs does. Ids are counted with bincount and index_add, not with one-hot
matrices: the fast way to write it. Data lie in memory, so nothing is spent on loading them.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from torch_models import Classic, Codebook, FiniteScalar, MovingCodebook, Small  # noqa: E402
from torch_motion import Motion, ResetCodebook  # noqa: E402

#            model, optimizer, shape of an image or of a window, default batch
WORKLOADS = {
    "small_fsq": (lambda: Small(FiniteScalar([8, 6, 5]), 3), "adamw", (1, 28, 28), 256),
    "small_vq": (lambda: Small(Codebook(256, 32), 32), "adamw", (1, 28, 28), 256),
    "classic_vq": (lambda: Classic(MovingCodebook(512, 64), 64), "adam", (3, 32, 32), 256),
    "t2m_vq": (lambda: Motion(ResetCodebook(512, 512)), "adamw", (64, 263), 128),
}
WINDOWS = 5
WARM_UP = 3


def prepared(args):
    """model, optimizer, batches"""
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    build, optimizer, shape, batch = WORKLOADS[args.workload]
    model, batch = build(), args.batch or batch
    batches = [torch.rand(batch, *shape) * 2 - 1 for _ in range(4)]
    if args.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        batches = [x.contiguous(memory_format=torch.channels_last) for x in batches]
    trained = [p for p in model.parameters() if p.requires_grad]
    kind, lr = {"adamw": (torch.optim.AdamW, 3e-4), "adam": (torch.optim.Adam, 1e-3)}[optimizer]
    return model, kind(trained, lr=lr), batches


def step_of(model, optimizer, batches, compiled):
    def loss_of(x):
        y, _, quantizer_loss, _ = model(x)
        return model.loss(y, x, quantizer_loss) if isinstance(model, Motion) else F.mse_loss(y, x) + quantizer_loss

    loss_of, turn = torch.compile(loss_of) if compiled else loss_of, [0]

    def step():
        turn[0] += 1
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batches[turn[0] % len(batches)])
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def timed(step, steps):
    """Seconds a step: the median over windows."""
    for _ in range(WARM_UP):
        step()
    each, windows = max(1, steps // WINDOWS), []
    for _ in range(WINDOWS):
        start = time.perf_counter()
        for _ in range(each):
            step()
        windows.append((time.perf_counter() - start) / each)
    return statistics.median(windows)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("workload", choices=WORKLOADS)
    ap.add_argument("--layout", default="contiguous", choices=["contiguous", "channels_last"])
    ap.add_argument("--compile", action="store_true", help="torch.compile (2.x)")
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--steps", type=int, default=50)
    args = ap.parse_args()
    model, optimizer, batches = prepared(args)
    seconds = timed(step_of(model, optimizer, batches, args.compile), args.steps)
    print(
        json.dumps(
            {
                "steps_per_s": 1 / seconds,
                "torch": torch.__version__,
                "parameters": sum(p.numel() for p in model.parameters()),
            }
        )
    )


if __name__ == "__main__":
    main()
