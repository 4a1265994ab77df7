#!/usr/bin/env python3
"""What training steps of compare.py's workloads, and quantizers.py's cases, must take at least on a GPU: no GPU needed.

  roofline.py [WORKLOAD or CASE ...] [--program build/release/tessera] [--driver build/release/tessera-bench-quantizer]

The time of a step is its floating-point operations over the peak rate of arithmetic plus its bytes over the peak bandwidth of
memory, both counted by the plan of the program: every op reads its operands and writes its results once. That is no bound in
the strict sense: the two can overlap, and results that stay in the cache are not read from memory. bf16 is taken to move half the
bytes of a step that is not fused, since ops of bf16 are in no chain. Peak rates are those of NVIDIA's data sheets "H100 Tensor Core GPU" and "H200 Tensor Core GPU", column SXM: dense, that
is half of what stands there for TF32 and bf16 "with sparsity".

Prints a table with empty cells for what is measured: compare.py --device cuda and quantizers.py --device cuda fill them.
"""

import argparse
import json
import os
import sys

from processes import ROOT, Failed, run
from quantizers import CASES
from workloads import WORKLOADS

FLOPS = {"f32": 67e12, "tf32": 494.7e12, "bf16": 989.4e12}  # a second; both GPUs
BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12}  # bytes a second


def step_work(args, name):
    """FLOPs of a training step, its bytes, and those of it without fusion."""
    work = WORKLOADS[name]
    command = [args.program, "plan", work["config"], *work["set"], f"train.batch={work['batch']}", "--json"]
    step = json.loads(run(command)[0])["step"]
    plain = json.loads(run([*command, "train.fuse=false"])[0])["step"]
    return step["flops"], step["moved_bytes"], plain["moved_bytes"]


def case_work(args, name):
    kind, tokens, dim, codes, _ = CASES[name]
    out = json.loads(run([args.driver, kind, str(tokens), str(dim), str(codes), "cpu", "0", "1"])[0])
    return out["flops"], out["moved_bytes"], out["moved_bytes"]


def rows(name, flops, moved, plain, precisions):
    for precision in precisions:
        nbytes = plain / 2 if precision == "bf16" else moved
        least = [1e3 * (flops / FLOPS[precision] + nbytes / BANDWIDTH[gpu]) for gpu in BANDWIDTH]
        print(
            f"| {name} | {precision} | {flops / 1e9:.4g} | {nbytes / 1e9:.3g} | "
            + " | ".join(f"{ms:.3g}" for ms in least)
            + " | | | |",
            flush=True,
        )


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("names", nargs="*", metavar="NAME", help=" ".join([*WORKLOADS, *CASES]))
    ap.add_argument("--program", default=os.path.join(ROOT, "build", "release", "tessera"))
    ap.add_argument("--driver", default=os.path.join(ROOT, "build", "release", "tessera-bench-quantizer"))
    args = ap.parse_args()
    unknown = set(args.names) - set(WORKLOADS) - set(CASES)
    if unknown:
        ap.error(f"no such workload or case: {', '.join(sorted(unknown))}")
    args.program, args.driver = os.path.abspath(args.program), os.path.abspath(args.driver)
    heads = ["", "", "GFLOP", "GB", *(f"{gpu} at least, ms" for gpu in BANDWIDTH), "Tessera, ms", "PyTorch's best, ms", "faster by"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    try:
        for name in args.names or [*WORKLOADS, *CASES]:
            known = name in WORKLOADS
            rows(name, *(step_work if known else case_work)(args, name), FLOPS if known else ["f32"])
    except Failed as e:
        print(f"roofline: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
