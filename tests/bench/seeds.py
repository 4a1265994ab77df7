#!/usr/bin/env python3
"""Trains one config with several seeds and prints the last evaluation of each, with the mean, as a table.

  seeds.py --config configs/images/mnist_fsq.yaml [--set data.path=DIR ...] [--seeds 1 2 3 4 5] [--at-most 0.0485]

With --at-most the exit status is 1 where the mean of the validation MSE is larger.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile


def last_evaluation(args, seed, folder):
    run = os.path.join(folder, str(seed))
    command = [args.program, "train", args.config, *args.set, f"seed={seed}", "--run", run, "--quiet"]
    if subprocess.run(command).returncode:
        sys.exit(f"seeds: {' '.join(command)} failed")
    with open(os.path.join(run, "metrics.jsonl")) as lines:
        entries = [json.loads(line) for line in lines]
    return [e for e in entries if e["split"] == "val"][-1]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default="build/release/tessera")
    ap.add_argument("--config", required=True)
    ap.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    ap.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    ap.add_argument("--at-most", type=float)
    args = ap.parse_args()
    columns = ["mse", "l1", "psnr", "ssim", "usage", "perplexity"]
    print(f"| seed | steps | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 2) + "|")
    with tempfile.TemporaryDirectory(prefix="tessera-seeds-") as folder:
        results = []
        for seed in args.seeds:
            e = last_evaluation(args, seed, folder)
            results.append(e)
            print(f"| {seed} | {e['step']} | {' | '.join(f'{e[c]:.5g}' for c in columns)} |", flush=True)
    means = {c: sum(e[c] for e in results) / len(results) for c in columns}
    print(f"| mean | | {' | '.join(f'{means[c]:.5g}' for c in columns)} |")
    return 1 if args.at_most is not None and not means["mse"] <= args.at_most else 0


if __name__ == "__main__":
    sys.exit(main())
