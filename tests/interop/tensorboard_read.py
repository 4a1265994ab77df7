#!/usr/bin/env python3
"""What TensorBoard reads out of a run directory.

  tensorboard_read.py [--program build/release/tessera]

Trains small tokenizers for a few steps, one of them killed and resumed from a checkpoint before the kill, and reads
their event files with the tensorboard package, as the board does it:
  - every number of metrics.jsonl is there, once for its step, under the tag that docs/run-directory.md gives, and nothing else;
  - train.csv and val.csv hold the same numbers;
  - pictures are the files of pictures/, byte for byte;
  - histograms count every token of the last evaluation (codes.npy).
Damaged records are not checked here: the package checks both checksums of each record it reads.

Needs tensorboard and numpy. Exit status: 0, 1 where anything differs, 2 where a package is missing.
"""

import argparse
import csv
import glob
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    from tensorboard.backend.event_processing import event_accumulator
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(2)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGES = """data: {kind: shapes, count: 256, val_count: 64, size: 16}
model: {kind: image_small, width: 8}
quantizer: {kind: finite_scalar, levels: [8, 6, 5], codebooks: 2}
train: {steps: 60, batch: 16, log_every: 5, eval_every: 20, checkpoint_every: 15}
"""
MOTION = """data: {kind: chains, window: 16, val_count: 8}
model: {kind: motion_conv, width: 16, depth: 1}
quantizer: {kind: vector_reset, codes: 100}
train: {steps: 20, batch: 8, loss: smooth_l1, log_every: 5, eval_every: 10, checkpoint_every: 0}
"""
TAGS = {"perplexity": "PPL", "commitment": "Commit", "usage": "Activate", "mpjpe_mm": "MPJPE"}
EVERYTHING = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}

failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print(f"FAILED: {what}")


def flat(line):
    for key, value in line.items():
        if isinstance(value, list):
            yield from ((f"{key}/{i}", v) for i, v in enumerate(value))
        elif not isinstance(value, str) and key != "step":
            yield key, value


def lines_of(run):
    with open(os.path.join(run, "metrics.jsonl")) as f:
        return [json.loads(line) for line in f]


def expected_scalars(run, recon):
    """{tag: {step: value}}"""
    tags = {}
    for line in lines_of(run):
        prefix = "Train" if line["split"] == "train" else "Test"
        for key, value in flat(line):
            if value is None or isinstance(value, bool):
                continue
            name = recon if key == "recon" else TAGS.get(key, key)
            tags.setdefault(f"{prefix}/{name}", {})[line["step"]] = value
    return tags


def near(a, b):
    return math.isclose(a, b, rel_tol=2e-7, abs_tol=1e-37)  # an event's scalars are f32


def check_scalars(name, board, run, recon):
    expected = expected_scalars(run, recon)
    check(set(board.Tags()["scalars"]) == set(expected),
          f"{name}: tags {sorted(set(board.Tags()['scalars']) ^ set(expected))} are on one side alone")
    count = 0
    for tag, values in expected.items():
        events = board.Scalars(tag)
        check([e.step for e in events] == sorted(values), f"{name}: {tag}: steps {[e.step for e in events]}, not {sorted(values)}")
        for e in events:
            check(near(e.value, values.get(e.step, math.nan)), f"{name}: {tag} of step {e.step}: {e.value}, not {values.get(e.step)}")
            count += 1
    return count


def check_tables(name, run):
    for split in ("train", "val"):
        with open(os.path.join(run, split + ".csv")) as f:
            rows = list(csv.DictReader(f))
        lines = [line for line in lines_of(run) if line["split"] == split]
        check(len(rows) == len(lines) > 0, f"{name}: {split}.csv has {len(rows)} rows for {len(lines)} lines")
        for row, line in zip(rows, lines):
            check(int(row["step"]) == line["step"], f"{name}: {split}.csv: step {row['step']}, not {line['step']}")
            for key, value in flat(line):
                same = row[key] == "" if value is None else math.isclose(float(row[key]), value, rel_tol=1e-9)
                check(same, f"{name}: {split}.csv: {key} is {row[key]}, not {value}")


def check_pictures(name, board, run, tag, pattern):
    files = {int(os.path.basename(f).split("_")[1].split(".")[0]): f for f in glob.glob(os.path.join(run, "pictures", pattern))}
    events = board.Images(tag) if tag in board.Tags()["images"] else []
    check([e.step for e in events] == sorted(files) and files, f"{name}: {tag}: steps {[e.step for e in events]}, files {sorted(files)}")
    for e in events:
        with open(files[e.step], "rb") as f:
            check(e.encoded_image_string == f.read(), f"{name}: {tag} of step {e.step} is not the file's picture")
        check(e.width > 0 and e.height > 0, f"{name}: {tag}: {e.width} x {e.height}")
    return len(events)


def check_histograms(name, board, run):
    counts = np.load(os.path.join(run, "codes.npy"))
    events = board.Histograms("Test/codes")
    tokens = {line["step"]: line["tokens"] for line in lines_of(run) if line["split"] == "val"}
    check([e.step for e in events] == sorted(tokens), f"{name}: histograms of {[e.step for e in events]}")
    for e in events:
        h = e.histogram_value
        check(h.num == sum(h.bucket) == tokens[e.step], f"{name}: a histogram of {h.num} tokens, not {tokens[e.step]}")
        check(all(a < b for a, b in zip(h.bucket_limit, h.bucket_limit[1:])), f"{name}: limits do not rise")
    h, ids = events[-1].histogram_value, np.arange(len(counts))
    used = ids[counts > 0]
    check(h.sum == (ids * counts).sum() and h.sum_squares == (ids.astype(float) ** 2 * counts).sum(), f"{name}: sums")
    check((h.min, h.max) == (used[0], used[-1]), f"{name}: ids from {h.min} to {h.max}, not {used[0]} to {used[-1]}")
    first = 0
    for limit, n in zip(h.bucket_limit, h.bucket):
        check(n == counts[first:int(limit) + 1].sum(), f"{name}: bucket up to {limit}: {n}")
        first = int(limit) + 1
    check(first == len(counts), f"{name}: buckets end at {first}")
    return len(events)


def read(run):
    board = event_accumulator.EventAccumulator(run, size_guidance=EVERYTHING)
    board.Reload()
    return board


def check_run(name, run, recon, pictures):
    board = read(run)
    scalars = check_scalars(name, board, run, recon)
    check_tables(name, run)
    images = sum(check_pictures(name, board, run, tag, pattern) for tag, pattern in pictures)
    print(f"{name}: {scalars} scalars, {images} pictures, {check_histograms(name, board, run)} histograms, "
          f"{len(glob.glob(os.path.join(run, 'events.out.tfevents.*')))} files")


def kill_after(program, config, run, step):
    """Killed once metrics.jsonl has a line of that step."""
    job = subprocess.Popen([program, "train", config, "--run", run, "--quiet", "train.steps=4000"])
    until = time.time() + 60
    while time.time() < until and job.poll() is None:
        if os.path.exists(os.path.join(run, "metrics.jsonl")) and any(line["step"] >= step for line in whole_lines(run)):
            break
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()


def whole_lines(run):
    with open(os.path.join(run, "metrics.jsonl")) as f:
        return [json.loads(line) for line in f.read().split("\n")[:-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "release", "tessera"))
    program = parser.parse_args().program
    with tempfile.TemporaryDirectory() as folder:
        for name, yaml in (("images", IMAGES), ("motion", MOTION)):
            with open(os.path.join(folder, name + ".yaml"), "w") as f:
                f.write(yaml)
        images, motion = (os.path.join(folder, name + ".yaml") for name in ("images", "motion"))
        usage = ("Test/usage", "usage_*.png")
        drawn = [("Test/reconstructions", "reconstructions_*.png"), usage]

        run = os.path.join(folder, "whole")
        subprocess.run([program, "train", images, "--run", run, "--quiet"], check=True)
        check_run("images", run, "recon", drawn)

        run = os.path.join(folder, "killed")
        kill_after(program, images, run, 23)
        before = whole_lines(run)[-1]["step"]
        subprocess.run([program, "train", "--run", run, "--resume", "--quiet", f"train.steps={before + 30}"], check=True)
        check_run("killed and resumed", run, "recon", [])
        check(len(glob.glob(os.path.join(run, "events.out.tfevents.*"))) == 2, "killed and resumed: not two event files")

        run = os.path.join(folder, "motion")
        subprocess.run([program, "train", motion, "--run", run, "--quiet"], check=True)
        drawn = [usage] + ([("Test/motion", "step_*.gif")] if glob.glob(os.path.join(run, "pictures", "*.gif")) else [])
        check_run("motion", run, "L1", drawn)

        run = os.path.join(folder, "off")
        subprocess.run([program, "train", images, "--run", run, "--quiet", "train.steps=5", "train.tensorboard=false"], check=True)
        check(not glob.glob(os.path.join(run, "events*")), "train.tensorboard=false writes event files")
    print("failed" if failures else "passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
