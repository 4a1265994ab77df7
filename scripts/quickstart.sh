#!/usr/bin/env bash
# quickstart.sh
#
# From a fresh Debian or Ubuntu machine to two trained tokenizers: installs what is missing (with sudo where it is not
# root), builds build/release/tessera, trains a finite scalar (FSQ) and a vector quantized (VQ) tokenizer on generated
# images, and says what to do next. A few minutes; asks nothing; downloads nothing but packages.
#   QUICKSTART_STEPS   training steps of each, instead of what the configs say
#   QUICKSTART_RUNS    folder of the run directories (default: runs)
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
    '') ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit ;;
    *) echo "quickstart.sh: no arguments are expected (see --help)" >&2; exit 2 ;;
esac
begin=$SECONDS
runs=${QUICKSTART_RUNS:-runs}

scripts/dependencies.sh build
# The tests need one more library; scripts/test.sh switches them on.
already=()
[ -f build/release/CMakeCache.txt ] || already=(-DTESSERA_TESTS=OFF)
cmake --preset release "${already[@]}"
cmake --build build/release --target tessera_program
program=build/release/tessera

# A run that is there already goes on where it stopped, which is at its end where it is complete.
train() {
    local name=$1 resume=()
    [ ! -f "$runs/$name/checkpoints/last.h5" ] || resume=(--resume)
    echo
    echo "== $program train configs/images/$name.yaml --run $runs/$name ${resume[*]}"
    "$program" train "configs/images/$name.yaml" --run "$runs/$name" "${resume[@]}" \
        ${QUICKSTART_STEPS:+train.steps="$QUICKSTART_STEPS"}
}
train shapes_fsq
train shapes_vq

pictures=$(find "$runs/shapes_fsq" "$runs/shapes_vq" -name '*.png' -printf '    %p\n' | sort)
[ -n "$pictures" ] || { echo "quickstart.sh: the runs left no pictures" >&2; exit 1; }
cat <<END

Two tokenizers in $((SECONDS - begin)) seconds. Pictures, originals above their reconstructions:
$pictures

Next:
    $program eval $runs/shapes_fsq/checkpoints/best.h5
    $program encode $runs/shapes_fsq/checkpoints/best.h5 FOLDER-OF-IMAGES -o tokens.h5
    $program decode $runs/shapes_fsq/checkpoints/best.h5 tokens.h5 -o decoded
    $program train configs/images/shapes_fsq.yaml --run $runs/mine data.kind=folder data.path=FOLDER-OF-IMAGES
    $program config --list              every key that a config can have
    scripts/test.sh                     the test suite
END
