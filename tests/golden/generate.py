#!/usr/bin/env python3
"""Writes the project's golden vectors, or checks this code against somebody else's.

  generate.py [--out DIR] [TOPIC ...]      write DIR/TOPIC.h5 (default: next to this file, every topic)
  generate.py --check DIR [TOPIC ...]      recompute the files in DIR from their own inputs and compare every result

Needs torch, h5py and numpy. Everything is computed in float32 on the CPU, with one thread.
"""

import argparse
import os
import sys

import torch

import finite_scalar
import image_model
import lookup_free
import motion_model
import ops
import residual
import scalars
import sim_vq
import vector
import vectors

FILES = {
    "ops": ops,
    "fsq_motionmillion": finite_scalar.MotionMillion,
    "fsq_lucidrains": finite_scalar.Lucidrains,
    "fsq_bounds": finite_scalar.Bounds,
    "vq_classic": vector.Classic,
    "vq_t2mgpt": vector.T2mGpt,
    "lfq_lucidrains": lookup_free.Lucidrains,
    "lfq_motionmillion": lookup_free.MotionMillion,
    "bsq": lookup_free.Spherical,
    "sim_vq": sim_vq,
    "latent": scalars.Latent,
    "random_projection": scalars.Projection,
    "scalar_perturbation": scalars.Perturbation,
    "residual_fsq": residual.Scalar,
    "residual_lfq": residual.Signs,
    "residual_vq": residual.Vector,
    "vqvae_image": image_model,
    "vqvae_motionmillion": motion_model,
}


def data_of(case, computed):
    """The whole content of a case that was just generated: its inputs and what was computed from them."""
    return vectors.Case(case.name, {**case.attrs, **computed.pop("attrs", {})}, {**case.data, **computed})


def generate(out, topic):
    module = FILES[topic]
    cases = [data_of(case, module.compute(case)) for case in module.cases()]
    path = os.path.join(out, topic + ".h5")
    about = {
        "topic": topic,
        "split": "project",
        "upstream": "tests/golden/generate.py",
        "commit": "-",
        "torch": torch.__version__,
    }
    vectors.write(path, {**about, **module.ABOUT}, cases)
    print(f"{path}: {len(cases)} cases, {os.path.getsize(path)} bytes")


def check_case(module, case):
    """Lines that say what is wrong with a case, and the worst deviation as a share of the tolerance."""
    inputs = {n: v for n, v in case.data.items() if vectors.matches(module.INPUTS, n)}
    computed = module.compute(vectors.Case(case.name, case.attrs, inputs))
    computed.pop("attrs", None)
    wrong, worst = [], 0.0
    for name in sorted(set(case.data) - set(inputs)):
        if name not in computed:
            wrong.append(f"{case.name}/{name}: not recomputed")
            continue
        share = (
            module.compare(case, name, computed[name])
            if hasattr(module, "compare")
            else vectors.difference(computed[name], case.data[name], *module.tolerance(case, name))
        )
        worst = max(worst, share)
        if not share <= 1:
            wrong.append(f"{case.name}/{name}: {share:.3g} times the tolerance")
    return wrong, worst


def check(folder, topic):
    path, module = os.path.join(folder, topic + ".h5"), FILES[topic]
    if not os.path.exists(path):
        print(f"{path}: not there, skipped")
        return 0
    wrong, worst, cases = [], 0.0, vectors.read(path)
    for case in cases:
        lines, share = check_case(module, case)
        wrong, worst = wrong + lines, max(worst, share)
    print(
        "\n".join(
            wrong + [f"{path}: {len(cases)} cases, {len(wrong)} wrong, worst deviation {worst:.3g} of the tolerance"]
        )
    )
    return len(wrong)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("topics", nargs="*", metavar="TOPIC", help=" ".join(FILES))
    ap.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)), metavar="DIR")
    ap.add_argument("--check", metavar="DIR")
    args = ap.parse_args()
    unknown = set(args.topics) - set(FILES)
    if unknown:
        ap.error(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(FILES)}")
    torch.set_num_threads(1)
    topics = args.topics or list(FILES)
    if args.check:
        sys.exit(1 if sum(check(args.check, t) for t in topics) else 0)
    for topic in topics:
        generate(args.out, topic)


if __name__ == "__main__":
    main()
