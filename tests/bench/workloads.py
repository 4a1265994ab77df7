"""What compare.py and roofline.py run: a config of the program with the overrides that make it the model which
torch_steps.py has under the same name, the batch, and how many steps are timed on a CPU and on a GPU.

Where the config's own data set would have to be fetched, generated data of the same shape take its place.
"""

import os
import random
import struct

SMALL_IMAGES = ["data.kind=shapes", "data.count=3000", "data.size=32", "data.channels=3", "train.eval_limit=256"]
LARGE_IMAGES = ["data.kind=shapes", "data.count=1024", "data.size=128", "data.channels=3", "train.eval_limit=64"]
MOTION = ["data.kind=chains", "data.count=512", "data.val_count=8", "train.eval_limit=8"]
ONE_GRID = ["quantizer.kind=finite_scalar", "quantizer.levels=[8,8,8]"]
NO_STOPS = ["train.eval_every=0", "train.checkpoint_every=0"]


def write_clips(folder, columns, count=80, frames=128):
    """A tree of MotionMillion's form, of noise: nothing generates motion of its layout. Returns the overrides that read it."""
    names = [f"clip{i}" for i in range(count)]
    for part in ("motion_data/vector_272", "split/version1/tokenizer_96"):
        os.makedirs(os.path.join(folder, part))
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({frames}, {columns}), }}"
    header = text.ljust(117) + "\n"
    for name in names:
        with open(os.path.join(folder, f"motion_data/vector_272/{name}.npy"), "wb") as f:
            f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
            f.write(struct.pack(f"<{frames * columns}f", *(random.gauss(0, 1) for _ in range(frames * columns))))
    for split in ("train", "val"):
        with open(os.path.join(folder, f"split/version1/tokenizer_96/{split}.txt"), "w") as f:
            f.write("\n".join(names[:4] if split == "val" else names) + "\n")
    return [f"data.path={folder}"]


def workload(config, overrides, batch, cpu, cuda, clips=0):
    """cpu, cuda: steps of a Tessera run, steps timed in a PyTorch run. clips: columns of those that write_clips has to write."""
    steps = dict(cpu=cpu, cuda=cuda)
    return dict(config=f"configs/{config}.yaml", set=overrides + NO_STOPS, batch=batch, steps=steps, clips=clips)


WORKLOADS = {
    "small_fsq": workload("images/mnist_fsq", [], 256, (200, 50), (4000, 1000)),
    "small_vq": workload("images/mnist_vq", [], 256, (200, 50), (4000, 1000)),
    "classic_vq": workload("images/cifar_vq_ema", SMALL_IMAGES, 256, (20, 10), (1000, 500)),
    "classic_fsq": workload("images/cifar_vq_ema", SMALL_IMAGES + ONE_GRID + ["quantizer.dim=64"], 256, (20, 10), (1000, 500)),
    "classic_vq_128": workload("images/cifar_vq_ema", LARGE_IMAGES, 256, (4, 5), (200, 100)),
    "classic_fsq_128": workload(
        "images/cifar_vq_ema", LARGE_IMAGES + ONE_GRID + ["quantizer.dim=64"], 256, (4, 5), (200, 100)
    ),
    "t2m_vq": workload("motion/t2m_vqvae", MOTION, 256, (12, 5), (400, 200)),
    "motionmillion_fsq": workload("motion/motionmillion_fsq", ["train.eval_limit=4"], 64, (12, 5), (400, 200), clips=272),
    "t2m_fsq": workload("motion/t2m_vqvae", MOTION + ONE_GRID + ["quantizer.dim=512"], 256, (12, 5), (400, 200)),
}
