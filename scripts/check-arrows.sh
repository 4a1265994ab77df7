#!/usr/bin/env bash
# check-arrows.sh
#
# The rule of the house: an include only ever points down.  train -> models -> quant -> layers -> autograd -> core
# Inside core: ref, cpu, cuda and files see core's own headers, never each other. And a library is known to one place.
# Prints every include that breaks the rule. Exit status: 0 when none does.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A may_see=(
    [core]="core"
    [core/ref]="core core/ref"
    [core/cpu]="core core/cpu"
    [core/cuda]="core core/cuda"
    [core/files]="core core/files"
    [autograd]="core autograd"
    [layers]="core autograd layers"
    [quant]="core autograd layers quant"
    [config]="core config"
    [models]="core core/files config autograd layers quant models"
    [train]="core core/files config autograd layers quant models train"
)

# header -> the files that may include it
declare -A known_to=(
    [hdf5.h]="core/files/hdf5_internal.h"
    [png.h]="core/files/image_png.c"
    [jpeglib.h]="core/files/image_jpeg.c"
    [xxhash.h]="core/files/hash.c"
    [onnx.pb-c.h]="core/files/onnx_internal.h"
    [yaml.h]="config/config_yaml.c"
    [cuda_runtime.h]="core/cuda/launch.h"
    [cublasLt.h]="core/cuda/cublas.cu"
    [cudnn.h]="core/cuda/cudnn.cu"
    [cairo.h]="train/skeleton_picture.c train/plot.c"
    [cairo-svg.h]="train/plot.c"
    [gif_lib.h]="train/gif.c"
    [events.pb-c.h]="train/event_file.c"
    [oneapi/dnnl/dnnl.h]="core/cpu/dnnl.c core/cpu/dnnl.h"
)

holds() {
    case " $1 " in *" $2 "*) return 0 ;; *) return 1 ;; esac
}

failed=0
broken() {
    echo "$1" >&2
    failed=1
}

includes=$(grep -rnE '^[[:space:]]*#[[:space:]]*include' --include='*.[ch]' --include='*.cu' --include='*.cuh' \
    core config autograd layers quant models train)
count=0
while IFS=: read -r file line text; do
    count=$((count + 1))
    room=$(dirname "$file")
    [ -n "${may_see[$room]:-}" ] || { broken "$file: no rule for the folder $room (scripts/check-arrows.sh)"; continue; }
    name=${text#*[<\"]}
    name=${name%%[>\"]*}
    if [[ $text == *\"* ]]; then
        holds "${may_see[$room]}" "$(dirname "$name")" ||
            broken "$file:$line: $room includes \"$name\"; it may see: ${may_see[$room]}"
    elif [ -n "${known_to[$name]:-}" ]; then
        holds "${known_to[$name]}" "$file" || broken "$file:$line: <$name> is for ${known_to[$name]} alone"
    fi
done <<<"$includes"

[ $count -gt 100 ] || broken "only $count includes were found: the search itself is broken"
[ $failed != 0 ] || echo "Arrows: $count includes, all of them point down."
exit $failed
