"""What the benchmarks here share: contestants are processes of their own, and a line says what they ran on."""

import datetime
import os
import subprocess
import tempfile
import time

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


class Failed(Exception):
    """A contestant could not run."""


def run(command, env=None, until=None):
    """stdout of a process, its largest resident set in MiB, and the seconds until `until()` was true the first time
    (None: never, or not asked). env is added to the environment. Errors: Failed with the end of stderr."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start, reached = time.monotonic(), None
        try:
            process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(env or {})}, cwd=ROOT)
        except OSError as e:
            raise Failed(str(e)) from None
        ended = 0
        while until and reached is None and not ended:
            time.sleep(0.005)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            reached = time.monotonic() - start if until() else None
        if not ended:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise Failed(f"{' '.join(command)}: exit status {process.returncode}: {err.read()[-400:].strip()}")
        return out.read(), usage.ru_maxrss / 1024, reached


def tuned(env):
    """TUNED, but for what the caller has set."""
    return {key: value for key, value in TUNED.items() if key not in env}


def torch_version(python):
    return run([python, "-c", "import torch; print(torch.__version__)"])[0].strip()


def gpu():
    """The first GPU, its driver and its memory, as nvidia-smi names them."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return run(query)[0].splitlines()[0]


def print_machine(program, device):
    """What the numbers were measured on; program may be None."""
    names = {}
    for line in subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines():
        key, _, value = line.partition(":")
        names[key.strip()] = value.strip()
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 2**20
    words = [f"{names.get('Model name', '?')} (family {names.get('CPU family', '?')}, model {names.get('Model', '?')})"]
    words += [f"{os.cpu_count()} CPUs", f"{memory:.0f} GiB"] + ([gpu()] if device == "cuda" else [])
    words += [run([program, "--version"])[0].splitlines()[0]] if program else []
    print(f"{', '.join(words)}, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC")
    print(f"load at the start {os.getloadavg()[0]:.2f}", flush=True)
