#!/usr/bin/env bash
# check-cuda.sh [ARCHITECTURES]
#
# Compiles and links the CUDA backend with nvcc (default: 8.0, 8.6, 8.9, 9.0 and PTX, as it is shipped) and reads what ptxas says
# of each kernel: one that spills registers to memory is a defect. No GPU is needed. The report is
# build/cuda-check/ptxas.txt: a line per kernel with registers, shared memory and spills.
# Exit status: 0 when all is well, or where there is no nvcc: that is said, and nothing was checked.
set -euo pipefail
cd "$(dirname "$0")/.."
architectures=${1:-80-real;86-real;89-real;90-real;90-virtual}
build=build/cuda-check
if ! command -v nvcc >/dev/null; then
    echo "SKIPPED: no nvcc on this machine, so the CUDA backend was not compiled."
    exit 0
fi
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_CUDA=ON -DTESSERA_TESTS=OFF \
    -DCMAKE_CUDA_ARCHITECTURES="$architectures" >/dev/null
cmake --build $build --target clean >/dev/null # so that ptxas speaks of every kernel
log=$build/build.log
cmake --build $build --target tessera-cuda -v >$log 2>&1 || { grep -E 'error|Error|undefined' $log | head -n 40; exit 1; }

# "Compiling entry function 'NAME' for 'sm_90'", then a line of spills, then "Used N registers, ..."
awk '/Compiling entry function/ { split($0, part, "\x27"); name = part[2]; arch = part[4] }
     /bytes spill stores/       { spills = $0; sub(/^ */, "", spills) }
     /: Used [0-9]+ registers/  { used = $0; sub(/^.*Used /, "", used); print arch "\t" name "\t" used "\t" spills }' $log |
    c++filt | sort >$build/ptxas.txt
kernels=$(wc -l <$build/ptxas.txt)
[ "$kernels" -gt 0 ] || { echo "ptxas said nothing of any kernel: $log" >&2; exit 1; }
spilling=$(grep -vc '0 bytes spill stores, 0 bytes spill loads' $build/ptxas.txt || true)
if grep -v '0 bytes spill stores, 0 bytes spill loads' $build/ptxas.txt; then
    echo "check-cuda.sh: $spilling of $kernels kernels spill registers" >&2
    exit 1
fi
[ "$(nm -D --defined-only $build/libtessera-cuda.so | grep -c ' T ')" = 1 ] ||
    { echo "check-cuda.sh: the module exports more than ts_cuda_module" >&2; exit 1; }
missing=$(nm -D --undefined-only $build/libtessera-cuda.so | grep -E ' ts_' || true)
[ -z "$missing" ] || { echo "check-cuda.sh: the module needs what it does not have: $missing" >&2; exit 1; }
echo "CUDA: $kernels kernels for $architectures, none spills registers ($build/ptxas.txt)."
