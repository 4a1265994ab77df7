#!/usr/bin/env python3
"""Training speed and memory of Tessera and of PyTorch, side by side on this machine.

  compare.py [small_fsq] [classic_vq] [--program build/release/tessera] [--rounds 5] [--python PYTHON ...] [--compile]

Each round runs every contestant once, one after the other, in alternating direction; the table shows medians over the
rounds and how many times faster Tessera is. PyTorch runs in several settings: as installed and in a tuned environment,
with images channels-first and channels-last. Tessera runs as installed. Memory is the process's largest resident set.

PyTorch is looked for in $TESSERA_PYTHON (default python3); --python, which may be repeated, names others.
Nothing else should be running on the machine; the load that was found at the start is printed.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# What PyTorch wants on a CPU with AVX-512: its vector kernels, a BLAS that knows the core, threads that do not spin for
# long, and a malloc that keeps its pages. `tuned` leaves a variable alone that the caller has set.
TUNED = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "ATEN_CPU_CAPABILITY": "avx512",
    "GOMP_SPINCOUNT": "10000",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 26),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

# config of the program, its overrides, batch, steps of a Tessera run, steps timed in a PyTorch run; no layouts where it has
# one only
WORKLOADS = {
    "small_fsq": dict(config="configs/images/mnist_fsq.yaml", set=[], batch=256, tessera_steps=200, torch_steps=50),
    "small_vq": dict(config="configs/images/mnist_vq.yaml", set=[], batch=256, tessera_steps=200, torch_steps=50),
    "classic_vq": dict(config="configs/images/cifar_vq_ema.yaml", set=[], batch=256, tessera_steps=20, torch_steps=10),
    "t2m_vq": dict(
        config="configs/motion/t2m_vqvae.yaml",
        set=["train.log_every=5", "train.eval_limit=8"],
        batch=128,
        tessera_steps=20,
        torch_steps=10,
        layouts=("contiguous",),
    ),
}


class Failed(Exception):
    """A contestant could not run."""


def run(command, env=None):
    """stdout of a process and its largest resident set in MB. Errors: Failed with the end of stderr."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=env, cwd=ROOT)
        except OSError as e:
            raise Failed(str(e)) from None
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise Failed(f"{' '.join(command)}: exit status {process.returncode}: {err.read()[-400:].strip()}")
        return out.read(), usage.ru_maxrss / 1024


def tessera_speed(run_dir):
    """Steady steps per second of a finished run: the median over the second half of the lines that state it."""
    speeds = []
    with open(os.path.join(run_dir, "metrics.jsonl")) as lines:
        for line in lines:
            entry = json.loads(line)
            if entry.get("split") == "train" and entry.get("steps_per_s"):
                speeds.append(entry["steps_per_s"])
    if not speeds:
        raise Failed(f"{run_dir}/metrics.jsonl: no training line with steps_per_s")
    return statistics.median(speeds[len(speeds) // 2 :])


def run_tessera(args, name):
    work = WORKLOADS[name]
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        run_dir = os.path.join(folder, "run")
        command = [
            args.program,
            "train",
            args.config or work["config"],
            *work["set"],
            *args.set,
            f"train.steps={args.tessera_steps or work['tessera_steps']}",
            f"train.batch={args.batch or work['batch']}",
            "--run",
            run_dir,
            "--threads",
            str(args.threads),
            "--quiet",
        ]
        _, memory = run(command)
        return tessera_speed(run_dir), memory


def run_torch(args, name, python, layout, tuned, compiled):
    work = WORKLOADS[name]
    command = [
        python,
        os.path.join(HERE, "torch_steps.py"),
        name,
        "--layout",
        layout,
        "--threads",
        str(args.threads),
        "--batch",
        str(args.batch or work["batch"]),
        "--steps",
        str(args.torch_steps or work["torch_steps"]),
    ]
    out, memory = run(command + ["--compile"] * compiled, {**TUNED, **os.environ} if tuned else None)
    return json.loads(out.splitlines()[-1])["steps_per_s"], memory


def torch_version(python):
    out, _ = run([python, "-c", "import torch; print(torch.__version__)"])
    return out.strip()


def contestants(args, name):
    """label -> a function that runs it once and returns (steps per second, MB)"""
    entries = {} if args.no_tessera else {"Tessera": lambda: run_tessera(args, name)}
    for python in args.python:
        version = torch_version(python)
        for tuned in (False, True):
            for layout in WORKLOADS[name].get("layouts", ("contiguous", "channels_last")):
                for compiled in (False, True) if args.compile else (False,):
                    words = ["torch", version, "tuned" if tuned else "as installed"] + ["channels-last"] * (
                        layout == "channels_last"
                    )
                    label = " ".join(words + ["compiled"] * compiled)
                    entries[label] = lambda p=python, lay=layout, t=tuned, c=compiled: run_torch(
                        args, name, p, lay, t, c
                    )
    return entries


def measure(args, name):
    """label -> list of (steps per second, MB), one a round"""
    entries = contestants(args, name)
    results, failed = {label: [] for label in entries}, {}
    for turn in range(args.rounds):
        for label in list(entries) if turn % 2 == 0 else reversed(list(entries)):
            if label in failed:
                continue
            try:
                results[label].append(entries[label]())
            except Failed as e:
                failed[label] = str(e)
            print(
                f"{name} round {turn + 1}: {label}: " + (failed.get(label) or f"{results[label][-1][0]:.3g} steps/s"),
                file=sys.stderr,
                flush=True,
            )
    return {label: r for label, r in results.items() if label not in failed}, failed


def table(name, results, failed, args):
    median = {label: statistics.median(r[0] for r in runs) for label, runs in results.items()}
    ours = median.get("Tessera")
    batch = args.batch or WORKLOADS[name]["batch"]
    print(f"\n### {name}, batch {batch}, {args.threads} threads, medians of {args.rounds} rounds\n")
    print("| | steps/s | lowest to highest | ms a step | Tessera is faster by | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for label in sorted(results, key=lambda k: -median[k]):
        speeds, memory = [r[0] for r in results[label]], statistics.median(r[1] for r in results[label])
        ratio = f"{ours / median[label]:.2f} x" if ours and label != "Tessera" else ""
        spread = f"{min(speeds):.3g} to {max(speeds):.3g}"
        print(f"| {label} | {median[label]:.3g} | {spread} | {1e3 / median[label]:.1f} | {ratio} | {memory:.0f} |")
    for label, why in failed.items():
        print(f"\n{label} did not run: {why}")


def machine(args):
    """What the numbers were measured on."""
    names = {}
    for line in subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines():
        key, _, value = line.partition(":")
        names[key.strip()] = value.strip()
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 2**20
    version = "" if args.no_tessera else run([args.program, "--version"])[0].splitlines()[0]
    date = datetime.datetime.now(datetime.timezone.utc)
    cpu = f"{names.get('Model name', '?')} (family {names.get('CPU family', '?')}, model {names.get('Model', '?')})"
    print(
        f"{cpu}, {os.cpu_count()} CPUs, {memory:.0f} GiB; {version}{', ' if version else ''}{date:%Y-%m-%d %H:%M} UTC"
    )
    print(f"load at the start {os.getloadavg()[0]:.2f}")


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=" ".join(WORKLOADS))
    ap.add_argument("--program", default=os.path.join(ROOT, "build", "release", "tessera"))
    ap.add_argument("--config", help="instead of the workload's own")
    ap.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides for the program")
    ap.add_argument("--python", action="append", help="a Python with torch; may be repeated")
    ap.add_argument("--compile", action="store_true", help="also torch.compile")
    ap.add_argument("--no-tessera", action="store_true", help="PyTorch's settings among themselves")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--threads", type=int, default=os.cpu_count())
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--tessera-steps", type=int, default=0)
    ap.add_argument("--torch-steps", type=int, default=0)
    args = ap.parse_args()
    args.python = args.python or [os.environ.get("TESSERA_PYTHON", "python3")]
    args.workloads = args.workloads or ["small_fsq", "classic_vq"]
    args.program = os.path.abspath(args.program)
    args.config = args.config and os.path.abspath(args.config)
    unknown = set(args.workloads) - set(WORKLOADS)
    if unknown or (args.config and len(args.workloads) > 1):
        ap.error(f"no such workload: {', '.join(unknown)}" if unknown else "--config goes with one workload")
    return args


def main():
    args = arguments()
    try:
        machine(args)
        for name in args.workloads:
            results, failed = measure(args, name)
            table(name, results, failed, args)
            if failed or not results:
                return 1
    except Failed as e:
        print(f"compare: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
