#!/usr/bin/env python3
"""Training speed and memory of Tessera and of PyTorch, side by side on this machine.

  compare.py [small_fsq] [classic_vq] ... [--program build/release/tessera] [--rounds 5] [--python PYTHON ...] [--compile]
  compare.py [t2m_vq] ... --device cuda [--precisions f32 tf32 bf16] [--modes eager compile graph]

Each round runs every contestant once, one after the other, in alternating direction; the table shows medians over the
rounds and how many times faster Tessera is. Tessera is the whole program as installed: it loads its data and writes its
log.

On a CPU PyTorch runs in several settings: as installed and in a tuned environment, with images channels-first and
channels-last. Memory is the process's largest resident set.
On a GPU (the first one) both run in each precision, and a ratio is between equal ones: f32, f32 whose products may
round to TF32, and bf16 (torch.autocast; train.precision=bf16). PyTorch runs channels-last with fused optimizers, its
batches pinned and uploaded beside the step: eager, torch.compile with reduce-overhead, and eager with the whole
step captured in a CUDA graph. Memory is PyTorch's reserved memory of the device, and what the program plans to take.
--layouts adds PyTorch's channels-first ones.

The time to the first step is from the start of the process until the first step's loss was there.

PyTorch is looked for in $TESSERA_PYTHON (default python3); --python, which may be repeated, names others.
Nothing else should be running on the machine; the load that was found at the start is printed.
Exit status: 0; 1 where a contestant did not run or the two have not the same number of parameters; 2 where nothing could.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

from processes import HERE, ROOT, Failed, print_machine, run, torch_version, tuned
from workloads import WORKLOADS, write_clips


class Contestant:
    """run() gives a dict: steps_per_s, memory_mb, first_step_s, parameters."""

    def __init__(self, label, precision, measure):
        self.label, self.precision, self.run, self.ours = label, precision, measure, label.startswith("Tessera")
        self.results, self.failure = [], None

    def median(self, key):
        values = [result[key] for result in self.results if result[key] is not None]
        return statistics.median(values) if values else None


def train_lines(path):
    """The training lines of metrics.jsonl so far; a last line that is not whole yet is left out."""
    if not os.path.exists(path):
        return []
    with open(path) as lines:
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [entry for entry in entries if entry.get("split") == "train"]


def steady_speed(path):
    """Steps per second: the median over the second half of the lines that state it."""
    speeds = [entry["steps_per_s"] for entry in train_lines(path) if entry.get("steps_per_s")]
    if not speeds:
        raise Failed(f"{path}: no training line with steps_per_s")
    return statistics.median(speeds[len(speeds) // 2 :])


def tessera_settings(args, name, precision):
    """config, overrides and device options of the program; and what its environment has to say."""
    work = WORKLOADS[name]
    words = [args.config or work["config"], *work["set"], *args.set, f"train.batch={args.batch or work['batch']}"]
    words += ["train.precision=bf16"] * (precision == "bf16") + ["--device", args.device, "--threads", str(args.threads)]
    return words, {"TESSERA_TF32": "1" if precision == "tf32" else "0"} if args.device == "cuda" else {}


def planned(args, name, precision):
    """parameters, and MiB of memory"""
    words, env = tessera_settings(args, name, precision)
    plan = json.loads(run([args.program, "plan", *words, "--json"], env)[0])
    return plan["parameters"]["total"], plan["memory"]["peak_bytes"] / 2**20


def run_tessera(args, name, precision):
    words, env = tessera_settings(args, name, precision)
    steps = args.tessera_steps or WORKLOADS[name]["steps"][args.device][0]
    parameters, memory = planned(args, name, precision)
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        command = [args.program, "train", *words, "--quiet", "--run"]
        first, whole = (os.path.join(folder, part) for part in ("first", "whole"))
        path = os.path.join(first, "metrics.jsonl")
        _, _, reached = run(command + [first, "train.steps=1", "train.log_every=1"], env, lambda: train_lines(path))
        _, resident, _ = run(command + [whole, f"train.steps={steps}", f"train.log_every={max(1, steps // 20)}"], env)
        return {
            "steps_per_s": steady_speed(os.path.join(whole, "metrics.jsonl")),
            "memory_mb": memory if args.device == "cuda" else resident,
            "first_step_s": reached,
            "parameters": parameters,
        }


def run_torch(args, name, python, options, env):
    command = [python, os.path.join(HERE, "torch_steps.py"), name, *options, "--device", args.device]
    command += ["--threads", str(args.threads), "--batch", str(args.batch or WORKLOADS[name]["batch"])]
    command += ["--steps", str(args.torch_steps or WORKLOADS[name]["steps"][args.device][1])]
    out, resident, _ = run(command, env)
    result = json.loads(out.splitlines()[-1])
    return {**result, "memory_mb": result.get("memory_mb") or resident}


def on_cpu(args, name):
    """PyTorch's settings on a CPU: words of the label, options, environment."""
    for env in ({}, tuned(os.environ)):
        for layout in args.layouts or ("contiguous", "channels_last"):
            for mode in ("eager", "compile") if args.compile else ("eager",):
                words = ["tuned" if env else "as installed", "channels-last" * (layout == "channels_last")]
                yield words + ["compiled" * (mode == "compile")], ["--layout", layout, "--mode", mode], env


def on_cuda(args, precision):
    for layout in args.layouts or ("channels_last",):
        for mode in args.modes:
            words = [{"eager": "eager", "compile": "compiled, reduce-overhead", "graph": "one CUDA graph"}[mode]]
            words += ["channels-first" * (layout == "contiguous")]
            yield words, ["--layout", layout, "--mode", mode, "--precision", precision], {}


def contestants(args, name):
    entries = []
    for precision in args.precisions:
        word = f" {precision}" if args.device == "cuda" else ""
        if not args.no_tessera:
            entries.append(Contestant(f"Tessera{word}", precision, lambda p=precision: run_tessera(args, name, p)))
        for python in [] if args.no_torch else args.python:
            version = torch_version(python)
            for words, options, env in on_cpu(args, name) if args.device == "cpu" else on_cuda(args, precision):
                label = " ".join(["torch", version + word, *[w for w in words if w]])
                entries.append(
                    Contestant(label, precision, lambda p=python, o=options, e=env: run_torch(args, name, p, o, e))
                )
    return entries


def measure(args, name):
    entries = contestants(args, name)
    for turn in range(args.rounds):
        for entry in entries if turn % 2 == 0 else reversed(entries):
            if entry.failure:
                continue
            try:
                entry.results.append(entry.run())
                word = f"{entry.results[-1]['steps_per_s']:.4g} steps/s"
            except Failed as e:
                word = entry.failure = str(e)
            print(f"{name} round {turn + 1}: {entry.label}: {word}", file=sys.stderr, flush=True)
    return entries


def row(entry, ours):
    speeds, median = [result["steps_per_s"] for result in entry.results], entry.median("steps_per_s")
    ratio = f"{ours / median:.2f} x" if ours and not entry.ours else ""
    first, memory = entry.median("first_step_s"), entry.median("memory_mb")
    spread = f"{min(speeds):.4g} to {max(speeds):.4g}"
    print(
        f"| {entry.label} | {median:.4g} | {spread} | {1e3 / median:.4g} | {ratio} | {memory:.0f} | "
        f"{'' if first is None else f'{first:.2f}'} |"
    )


def table(name, entries, args):
    """Prints it; returns whether every contestant ran, all with as many parameters."""
    ran = [entry for entry in entries if entry.results]
    ours = {entry.precision: entry.median("steps_per_s") for entry in ran if entry.ours}
    batch, where = args.batch or WORKLOADS[name]["batch"], f"{args.threads} threads" if args.device == "cpu" else "GPU"
    print(f"\n### {name}, batch {batch}, {where}, medians of {args.rounds} rounds\n")
    print("| | steps/s | lowest to highest | ms a step | Tessera is faster by | peak memory, MiB | first step after, s |")
    print("|---|---|---|---|---|---|---|")
    for entry in sorted(ran, key=lambda e: -e.median("steps_per_s")):
        row(entry, ours.get(entry.precision))
    parameters = sorted({int(entry.median("parameters")) for entry in ran})
    print(f"\nparameters: {' and '.join(map(str, parameters))}")
    if len(parameters) > 1:
        print("so these are not the same model")
    for entry in entries:
        if entry.failure:
            print(f"\n{entry.label} did not run: {entry.failure}")
    sys.stdout.flush()
    return len(parameters) == 1 and not any(entry.failure for entry in entries)


def parser():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=" ".join(WORKLOADS))
    ap.add_argument("--program", default=os.path.join(ROOT, "build", "release", "tessera"))
    ap.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    ap.add_argument("--precisions", nargs="+", choices=["f32", "tf32", "bf16"], help="on a GPU; default: all")
    ap.add_argument("--modes", nargs="+", choices=["eager", "compile", "graph"], help="PyTorch's on a GPU; default: all")
    ap.add_argument("--layouts", nargs="+", choices=["contiguous", "channels_last"], help="PyTorch's")
    ap.add_argument("--config", help="instead of the workload's own")
    ap.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides for the program")
    ap.add_argument("--python", action="append", help="a Python with torch; may be repeated")
    ap.add_argument("--compile", action="store_true", help="on a CPU: also torch.compile")
    ap.add_argument("--no-tessera", action="store_true", help="PyTorch's settings among themselves")
    ap.add_argument("--no-torch", action="store_true", help="Tessera's precisions among themselves")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--tessera-steps", type=int, default=0)
    ap.add_argument("--torch-steps", type=int, default=0)
    return ap


def arguments():
    ap = parser()
    args = ap.parse_args()
    args.python = args.python or [os.environ.get("TESSERA_PYTHON", "python3")]
    args.workloads = args.workloads or ["small_fsq", "classic_vq"]
    args.program = os.path.abspath(args.program)
    args.config = args.config and os.path.abspath(args.config)
    unknown = set(args.workloads) - set(WORKLOADS)
    if unknown or (args.config and len(args.workloads) > 1):
        ap.error(f"no such workload: {', '.join(unknown)}" if unknown else "--config goes with one workload")
    if args.device == "cpu" and (args.precisions or args.modes):
        ap.error("--precisions and --modes go with --device cuda")
    args.precisions = args.precisions or (["f32"] if args.device == "cpu" else ["f32", "tf32", "bf16"])
    args.modes = args.modes or ["eager", "compile", "graph"]
    return args


def main():
    args, good = arguments(), True
    try:
        print_machine(None if args.no_tessera else args.program, args.device)
        for name in args.workloads:
            with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
                clips = WORKLOADS[name]["clips"]
                WORKLOADS[name]["set"] += write_clips(folder, clips) if clips else []
                good &= table(name, measure(args, name), args)
    except Failed as e:
        print(f"compare: {e}", file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
