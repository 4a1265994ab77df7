#!/usr/bin/env python3
"""PyTorch's side of compare.py: times training steps of one workload and prints one JSON line.

  torch_steps.py WORKLOAD [--device cuda] [--layout channels_last] [--mode eager|compile|graph] [--precision f32|tf32|bf16]
                 [--batch N] [--threads N] [--steps N]

Ids are counted with bincount and index_add (scatter_add on a GPU, where bincount waits for the host), not with one-hot
matrices: the fast way to write it. On a CPU data lie in memory, and a step reads its loss, as a trainer that logs does. On a GPU
batches lie in pinned memory and are uploaded without waiting, optimizers are fused, cuDNN may try its algorithms, and
a window of steps is timed from one synchronisation to the next; no loss is read within.
"""

import argparse
import json
import os
import statistics
import sys
import time

START = time.time()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from torch_models import Classic, Codebook, FiniteScalar, MovingCodebook, Small  # noqa: E402
from torch_motion import Motion, ProjectedFiniteScalar, ResetCodebook, lay_channels_last  # noqa: E402


def grid(width):
    return ProjectedFiniteScalar([8, 8, 8], width)


#            model, optimizer, shape of an image or of a window, default batch
WORKLOADS = {
    "small_fsq": (lambda: Small(FiniteScalar([8, 6, 5]), 3), "adamw", (1, 28, 28), 256),
    "small_vq": (lambda: Small(Codebook(256, 32), 32), "adamw", (1, 28, 28), 256),
    "classic_vq": (lambda: Classic(MovingCodebook(512, 64), 64), "adam", (3, 32, 32), 256),
    "classic_fsq": (lambda: Classic(grid(64), 64), "adam", (3, 32, 32), 256),
    "classic_vq_128": (lambda: Classic(MovingCodebook(512, 64), 64), "adam", (3, 128, 128), 256),
    "classic_fsq_128": (lambda: Classic(grid(64), 64), "adam", (3, 128, 128), 256),
    "t2m_vq": (lambda: Motion(ResetCodebook(512, 512)), "adamw", (64, 263), 256),
    "motionmillion_fsq": (
        lambda: Motion(ProjectedFiniteScalar([8, 8, 8, 5, 5, 5], 512), columns=272, levels=1, norm=True), "adamw", (96, 272), 64,
    ),
    "t2m_fsq": (lambda: Motion(grid(512)), "adamw", (64, 263), 256),
}
WINDOWS, WARM_UP, BATCHES = 5, 3, 4


def set_up(args):
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.benchmark = True


def prepared(args):
    """model, optimizer, batches on the host"""
    build, optimizer, shape, batch = WORKLOADS[args.workload]
    model, batches = build(), [torch.rand(args.batch or batch, *shape) * 2 - 1 for _ in range(BATCHES)]
    model = model.to(args.device)
    if args.layout == "channels_last":
        lay_channels_last(model)
        batches = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in batches]
    if args.device == "cuda":
        batches = [x.pin_memory() for x in batches]
    trained = [p for p in model.parameters() if p.requires_grad]
    kind, lr = {"adamw": (torch.optim.AdamW, 3e-4), "adam": (torch.optim.Adam, 1e-3)}[optimizer]
    settings = dict(fused=True, capturable=args.mode == "graph") if args.device == "cuda" else {}
    return model, kind(trained, lr=lr, **settings), batches


def loss_function(args, model):
    def loss_of(x):
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            y, _, quantizer_loss, _ = model(x)
        y = y.float()
        return model.loss(y, x, quantizer_loss) if isinstance(model, Motion) else F.mse_loss(y, x) + quantizer_loss

    if args.mode != "compile":
        return loss_of
    return torch.compile(loss_of, **(dict(mode="reduce-overhead") if args.device == "cuda" else {}))


def plain_step(args, model, optimizer, batches):
    """A function that makes one step and gives its loss, on the device."""
    loss_of, turn = loss_function(args, model), [0]

    def step():
        turn[0] += 1
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batches[turn[0] % BATCHES].to(args.device, non_blocking=True))
        loss.backward()
        optimizer.step()
        return loss

    return step


def captured_step(args, model, optimizer, batches):
    """The same as one CUDA graph: forward, backward and optimizer; a batch is copied to where the graph reads it."""
    loss_of, turn = loss_function(args, model), [0]
    x = batches[0].to(args.device)

    def body():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x)
        loss.backward()
        optimizer.step()
        return loss

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP):
            body()
    torch.cuda.current_stream().wait_stream(beside)
    recording = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(recording):
        loss = body()

    def step():
        turn[0] += 1
        x.copy_(batches[turn[0] % BATCHES], non_blocking=True)
        recording.replay()
        return loss

    return step


def timed(args, step):
    """Seconds a step: the median over windows. And the first step's loss, and seconds since START when it was there."""
    first, reached = float(step()), time.time() - START
    for _ in range(max(WARM_UP, args.steps // 10 if args.device == "cuda" else 0)):
        step()
    each, windows = max(1, args.steps // WINDOWS), []
    for _ in range(WINDOWS):
        if args.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(each):
            loss = step()
            if args.device == "cpu":
                loss.item()
        if args.device == "cuda":
            torch.cuda.synchronize()
        windows.append((time.perf_counter() - start) / each)
    if not torch.isfinite(loss):
        sys.exit(f"{args.workload}: the loss is {loss.item()} after the last step")
    return statistics.median(windows), first, reached


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("workload", choices=WORKLOADS)
    ap.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    ap.add_argument("--layout", default="contiguous", choices=["contiguous", "channels_last"])
    ap.add_argument("--mode", default="eager", choices=["eager", "compile", "graph"], help="compile needs torch 2.x")
    ap.add_argument("--precision", default="f32", choices=["f32", "tf32", "bf16"])
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--steps", type=int, default=50)
    args = ap.parse_args()
    if args.device == "cpu" and args.mode == "graph":
        ap.error("--mode graph needs --device cuda")
    return args


def main():
    args = arguments()
    set_up(args)
    model, optimizer, batches = prepared(args)
    seconds, loss, reached = timed(
        args, (captured_step if args.mode == "graph" else plain_step)(args, model, optimizer, batches)
    )
    answer = {"steps_per_s": 1 / seconds, "first_step_s": reached, "first_loss": loss, "torch": torch.__version__}
    answer["parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if args.device == "cuda":
        answer["memory_mb"] = torch.cuda.max_memory_reserved() / 2**20
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
