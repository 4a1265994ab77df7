#!/usr/bin/env python3
"""Training curves of several seeds, Tessera beside PyTorch from the same initial weights and batches.

  seeds_compare.py --program build/release/tessera --config CONFIG [--seeds 1 2 3] [--steps 500] [options of train_compare.py]

Where small differences grow (a codebook that starts cold takes other codes), two runs of one framework differ from seed to
seed as much as two frameworks do from one start. So what is compared is the mean loss of a window of 50 steps, over the
seeds: the exit status is 1 where the frameworks' means differ by more than the spread (largest minus smallest) of
PyTorch's own seeds, or by more than 1 % where the seeds lie closer together than that.
"""

import os
import sys
import tempfile

import train_compare  # starts again under $TESSERA_PYTHON where that is set

import numpy as np  # noqa: E402
import torch  # noqa: E402

WINDOW = 50


def curves(args, seed):
    """The losses of one seed, step by step: the program's and PyTorch's."""
    settings = list(args.set)
    args.set = settings + [f"seed={seed}"]
    try:
        with tempfile.TemporaryDirectory(prefix="tessera-seeds-") as folder:
            run, start = train_compare.run_program(args, folder)
            torch.manual_seed(0)
            torch.set_num_threads(args.threads)
            weights, batches = train_compare.read_start(start)
            ours = train_compare.read_losses(os.path.join(run, "metrics.jsonl"))[: args.steps]
            return ours, train_compare.replay(train_compare.model_of(weights, args), batches, args)
    finally:
        args.set = settings


def report(ours, theirs):
    """ours, theirs [seeds, steps]; prints the table, returns the windows in which the means are too far apart."""
    wrong = []
    print("| steps | tessera, mean of seeds | torch, mean of seeds | difference | torch, smallest to largest |")
    print("|---|---|---|---|---|")
    for start in range(0, ours.shape[1] - WINDOW + 1, WINDOW):
        a, b = (x[:, start : start + WINDOW].mean(axis=1) for x in (ours, theirs))
        difference, allowed = a.mean() - b.mean(), max(np.ptp(b), 0.01 * b.mean())
        print(
            f"| {start + 1} to {start + WINDOW} | {a.mean():.5f} | {b.mean():.5f} | {difference:+.5f} | {b.min():.5f} to {b.max():.5f} |"
        )
        if not abs(difference) <= allowed:
            wrong.append(f"steps {start + 1} to {start + WINDOW}: {abs(difference):.5f} apart, allowed {allowed:.5f}")
    return wrong


def main():
    seeds = [1, 2, 3]
    if "--seeds" in sys.argv:
        at = sys.argv.index("--seeds")
        end = next((i for i in range(at + 1, len(sys.argv)) if sys.argv[i].startswith("--")), len(sys.argv))
        seeds = [int(s) for s in sys.argv[at + 1 : end]]
        del sys.argv[at:end]
    args = train_compare.arguments()
    try:
        pairs = [curves(args, seed) for seed in seeds]
    except (train_compare.Mistake, OSError) as e:
        print(f"seeds_compare: {e}", file=sys.stderr)
        return 2
    wrong = report(*(np.array(x) for x in zip(*pairs)))
    for line in wrong:
        print(line)
    print(f"torch {torch.__version__}, seeds {seeds}: the curves are {'DIFFERENT' if wrong else 'within the spread of the seeds'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
