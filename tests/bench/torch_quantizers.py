#!/usr/bin/env python3
"""PyTorch's side of quantizers.py: times one quantizer by itself and prints one JSON line.

  torch_quantizers.py finite_scalar|vector_ema TOKENS DIM CODES [--search matmul|cdist|one_hot] [--compile] ...

finite_scalar, levels [8, 5, 5, 5]: codes, ids, perplexity from counts, and the gradient of z. vector_ema: the nearest code of each
token by the matrix of all distances, from a product or from torch.cdist, and the update of the codebook with index_add. one_hot is how
the published modules (zalando's notebook, T2M-GPT) write it: the product, and a matrix of tokens x codes whose products count and sum.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from torch_models import FiniteScalar, MovingCodebook, nearest  # noqa: E402

WINDOWS, WARM_UP = 5, 3


def by_distance(x, code):
    return torch.cdist(x, code).argmin(1)


def by_one_hot(book, x, ids):
    chosen = torch.zeros(len(x), len(book._ema_w), device=x.device).scatter_(1, ids.unsqueeze(1), 1)
    book.move(chosen.sum(0), chosen.t() @ x)


def step_of(args):
    if args.kind == "finite_scalar":
        quantizer = FiniteScalar([8, 5, 5, 5]).to(args.device)
        z = torch.randn(args.tokens, 4, device=args.device, requires_grad=True)
        given = torch.randn(args.tokens, 4, device=args.device)

        def gridded():
            z.grad = None
            codes, ids, _, spread = quantizer(z)
            codes.backward(given)
            return ids, spread

        return gridded
    book, x = MovingCodebook(args.codes, args.dim).to(args.device), torch.randn(args.tokens, args.dim, device=args.device)
    search = by_distance if args.search == "cdist" else nearest
    update = by_one_hot if args.search == "one_hot" else MovingCodebook.update

    @torch.no_grad()
    def moved():
        ids = search(x, book._embedding.weight)
        update(book, x, ids)
        return ids

    return moved


def timed(args, step):
    """Milliseconds of a run: median, lowest and highest window."""

    def settle():
        if args.device == "cuda":
            torch.cuda.synchronize()

    for _ in range(min(WARM_UP, args.runs)):
        step()
    count, windows = min(WINDOWS, args.runs), []
    for _ in range(count):
        settle()
        start = time.perf_counter()
        for _ in range(args.runs // count):
            step()
        settle()
        windows.append(1e3 * (time.perf_counter() - start) / (args.runs // count))
    return {"ms": statistics.median(windows), "lowest_ms": min(windows), "highest_ms": max(windows)}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("kind", choices=["finite_scalar", "vector_ema"])
    for name in ("tokens", "dim", "codes"):
        ap.add_argument(name, type=int)
    ap.add_argument("--search", default="matmul", choices=["matmul", "cdist", "one_hot"])
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--runs", type=int, default=10)
    args = ap.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    step = step_of(args)
    print(json.dumps(timed(args, torch.compile(step) if args.compile else step)))


if __name__ == "__main__":
    main()
