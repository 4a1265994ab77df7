#!/usr/bin/env python3
"""Quantizers by themselves: Tessera's and the usual PyTorch code, side by side on this machine, in f32.

  quantizers.py [fsq] [vq_64_512] ... [--device cuda] [--rounds 3] [--python PYTHON] [--compile]

fsq: 1e6 tokens, levels [8, 5, 5, 5]: codes, ids, counts of codes, gradient. vq_D_K: 16384 tokens of width D, K codes: search,
and update of the codebook by moving averages. Each round runs every contestant once, alternating; medians over the
rounds. On a CPU PyTorch runs in the tuned environment of compare.py.

`of the floor` is the time that Tessera's arithmetic and bytes take at the rates which were measured in the same process (a matrix
product; y = x + x), whichever is larger, as a share of its time. PyTorch is looked for in $TESSERA_PYTHON (default python3).
Exit status: 0; 1 where a contestant did not run; 2 where nothing could.
"""

import argparse
import json
import os
import statistics
import sys

from processes import HERE, ROOT, Failed, print_machine, run, torch_version, tuned

TOKENS = 16384
#       kind, tokens, dim, codes, runs on a CPU
CASES = {"fsq": ("finite_scalar", 1000000, 4, 1000, 20)}
for dim in (64, 512):
    for codes, runs in ((512, 20), (8192, 5), (65536, 1)):
        CASES[f"vq_{dim}_{codes}"] = ("vector_ema", TOKENS, dim, codes, runs)


def words_of(args, name):
    """What both sides are told of a case, and the number of runs."""
    kind, tokens, dim, codes, runs = CASES[name]
    runs = args.runs or (runs if args.device == "cpu" else 10 * runs)
    return [kind, str(tokens), str(dim), str(codes)], str(runs)


def run_tessera(args, name):
    words, runs = words_of(args, name)
    return json.loads(run([args.driver, *words, args.device, str(args.threads), runs])[0])


def run_torch(args, name, options):
    words, runs = words_of(args, name)
    command = [args.python, os.path.join(HERE, "torch_quantizers.py"), *words, *options, "--device", args.device]
    command += ["--threads", str(args.threads), "--runs", runs]
    return json.loads(run(command, tuned(os.environ) if args.device == "cpu" else None)[0].splitlines()[-1])


def contestants(args, name):
    """label -> a function that runs it once"""
    entries = {"Tessera": lambda: run_tessera(args, name)}
    for search in [] if args.no_torch else ["matmul"] if name == "fsq" else ["matmul", "cdist", "one_hot"]:
        for compiled in (False, True) if args.compile else (False,):
            options = ["--search", search] + ["--compile"] * compiled
            label = "torch" if name == "fsq" else f"torch, {search}"
            entries[label + ", compiled" * compiled] = lambda o=options: run_torch(args, name, o)
    return entries


def measure(args, name):
    """label -> results, one a round; label -> why it did not run"""
    entries, failed = contestants(args, name), {}
    results = {label: [] for label in entries}
    for turn in range(args.rounds):
        for label in list(entries) if turn % 2 == 0 else reversed(list(entries)):
            if label in failed:
                continue
            try:
                results[label].append(entries[label]())
                word = f"{results[label][-1]['ms']:.4g} ms"
            except Failed as e:
                word = failed[label] = str(e)
            print(f"{name} round {turn + 1}: {label}: {word}", file=sys.stderr, flush=True)
    return {label: runs for label, runs in results.items() if label not in failed}, failed


def floor_share(result):
    return 1e3 * max(result["flops"] / result["flops_per_s"], result["moved_bytes"] / result["bytes_per_s"]) / result["ms"]


def rows(name, results):
    median = {label: statistics.median(r["ms"] for r in runs) for label, runs in results.items()}
    for label, runs in results.items():
        spread = f"{min(r['ms'] for r in runs):.4g} to {max(r['ms'] for r in runs):.4g}"
        ratio = share = memory = ""
        if label == "Tessera":
            share = f"{100 * statistics.median(map(floor_share, runs)):.0f} %"
            memory = f"{runs[0]['memory_mb']:.0f}"
        elif "Tessera" in median:
            ratio = f"{median[label] / median['Tessera']:.2f} x"
        print(f"| {name} | {label} | {median[label]:.4g} | {spread} | {ratio} | {share} | {memory} |", flush=True)


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    ap.add_argument("--driver", default=os.path.join(ROOT, "build", "release", "tessera-bench-quantizer"))
    ap.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    ap.add_argument("--python", default=os.environ.get("TESSERA_PYTHON", "python3"))
    ap.add_argument("--compile", action="store_true", help="also torch.compile")
    ap.add_argument("--no-torch", action="store_true", help="Tessera alone")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--runs", type=int, default=0, help="of each contestant in a round")
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    args = ap.parse_args()
    args.driver = os.path.abspath(args.driver)
    args.cases = args.cases or list(CASES)
    unknown = set(args.cases) - set(CASES)
    if unknown:
        ap.error(f"no such case: {', '.join(sorted(unknown))}")
    return args


def main():
    args, all_failed = arguments(), {}
    try:
        print_machine(None, args.device)
        if not args.no_torch:
            print(f"torch {torch_version(args.python)}")
        print(f"medians of {args.rounds} rounds\n")
        print("| case | | ms | lowest to highest | Tessera is faster by | of the floor | planned memory, MiB |")
        print("|---|---|---|---|---|---|---|")
        for name in args.cases:
            results, failed = measure(args, name)
            rows(name, results)
            all_failed.update({f"{name}: {label}": why for label, why in failed.items()})
    except Failed as e:
        print(f"quantizers: {e}", file=sys.stderr)
        return 2
    for label, why in all_failed.items():
        print(f"\n{label} did not run: {why}")
    return 1 if all_failed else 0


if __name__ == "__main__":
    sys.exit(main())
