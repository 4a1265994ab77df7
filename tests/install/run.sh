#!/usr/bin/env bash
# run.sh BUILD
#
# Installs Tessera from the build folder BUILD (static), and built anew as a shared library, each into an empty prefix;
# builds the programs here against it with pkg-config and with find_package, and runs them: quantize.c, and tokenize.c
# on tokenizers of a few steps, compared byte for byte with the program's encode and decode. Nothing of the program may
# be in them. Exit status: 0 when all of it works.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
build=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
source=$here/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect_id() {
    local said
    said=$("$@")
    [ "$said" = "id 124" ] || { echo "run.sh: $* said \"$said\", expected \"id 124\"" >&2; exit 1; }
}

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

# Two tokenizers of a few steps, what is to be encoded, and what the program makes of it: MODEL/x.npy, ids.npy, y.npy,
# and the weights that `tessera export` writes, with its texts and as another program leaves them.
train() {
    local model=$1 dataset=$2 tessera=$build/tessera folder=$work/$1
    shift 2
    mkdir "$folder"
    printf '%s\n' "$@" 'train: {steps: 4, batch: 4, eval_batch: 4, eval_every: 0, checkpoint_every: 0, ema: 0.5}' >"$folder/config.yaml"
    last=$folder/run/checkpoints/last.h5
    "$tessera" train "$folder/config.yaml" --run "$folder/run" --quiet --device cpu >/dev/null
    "$tessera" encode "$last" -o "$folder/first.h5" --device cpu >/dev/null
    if [ "$model" = motion ]; then
        "$tessera" decode "$last" "$folder/first.h5" -o "$folder/clips" --device cpu >/dev/null
        cp "$(find "$folder/clips" -name '*.npy' | sort | head -n 1)" "$folder/x.npy"
        "$tessera" encode "$last" "$folder/x.npy" -o "$folder/ids.h5" --device cpu >/dev/null
    else
        "$tessera" decode "$last" "$folder/first.h5" -o "$folder/x.h5" --device cpu >/dev/null
        "$work/static-cmake/dataset" "$folder/x.h5" "$dataset" "$folder/x.npy"
        "$tessera" encode "$last" "$folder/x.h5" -o "$folder/ids.h5" --device cpu >/dev/null
    fi
    "$tessera" decode "$last" "$folder/ids.h5" -o "$folder/y.h5" --device cpu >/dev/null
    "$work/static-cmake/dataset" "$folder/ids.h5" /tokens "$folder/ids.npy"
    "$work/static-cmake/dataset" "$folder/y.h5" "$dataset" "$folder/y.npy"
    "$tessera" export "$last" -o "$folder/out" --device cpu >/dev/null
}

# The same of an installed library: ids and values, byte for byte; a file that was cut, in the program's words.
tokenize() {
    local program=$1 model=$2 library=$3 file said
    for file in run/checkpoints/last.h5 out/model.safetensors; do
        LD_LIBRARY_PATH=$library "$program" "$work/$model/$file" "$work/$model/x.npy" "$work/ids.npy" "$work/y.npy" ||
            fail "$program failed on $model/$file"
        cmp "$work/$model/ids.npy" "$work/ids.npy" || fail "$model/$file: other ids than tessera encode gives"
        cmp "$work/$model/y.npy" "$work/y.npy" || fail "$model/$file: other values than tessera decode gives"
        head -c 3000 "$work/$model/$file" >"$work/cut"
        said=$(LD_LIBRARY_PATH=$library "$program" "$work/cut" "$work/$model/x.npy" "$work/ids.npy" "$work/y.npy" 2>&1) &&
            fail "$model/$file: was cut, and taken"
        [ "${said#tokenize: }" = "$("$build/tessera" inspect "$work/cut" 2>&1 | sed 's/^tessera: //')" ] ||
            fail "$model/$file: was cut; the library says \"$said\", and the program something else"
    done
}

use() {
    local prefix=$1 name=$2 folder flags
    folder=$(dirname "$(find "$prefix" -name tessera.pc)")
    read -r -a flags <<<"$(PKG_CONFIG_PATH=$folder pkg-config --cflags --libs tessera)"
    cc -Wall -Wextra -Werror -o "$work/$name-pkgconfig" "$here/quantize.c" "${flags[@]}"
    expect_id env LD_LIBRARY_PATH="${folder%/*}" "$work/$name-pkgconfig"

    cmake -G Ninja -S "$here" -B "$work/$name-cmake" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" ||
        { cat "$work/log"; exit 1; }
    cmake --build "$work/$name-cmake" >"$work/log" || { cat "$work/log"; exit 1; }
    expect_id "$work/$name-cmake/quantize"

    nm --defined-only --extern-only "$build/libtessera_train.a" | awk 'NF == 3 { print $3 }' | sort -u >"$work/program"
    nm --defined-only "$work/$name-cmake/tokenize" | awk 'NF == 3 { print $3 }' | sort -u >"$work/mine"
    [ -s "$work/program" ] || fail "libtessera_train.a has no symbols: the search itself is broken"
    comm -12 "$work/program" "$work/mine" >"$work/both"
    [ ! -s "$work/both" ] || fail "tokenize holds something of the program: $(head -n 3 "$work/both" | tr '\n' ' ')"
    ldd "$work/$name-cmake/tokenize" | grep -E 'cairo|libgif' && fail "tokenize needs what draws pictures"
    [ -d "$work/image" ] || {
        train image /images 'data: {kind: shapes, count: 32, val_count: 10, size: 8}' 'model: {kind: image_small, width: 4}' \
            'quantizer: {kind: vector_ema, codes: 16}'
        train motion /motion 'data: {kind: chains, window: 16}' 'model: {kind: motion_conv, width: 16, depth: 1}' \
            'quantizer: {kind: finite_scalar, levels: [5, 4, 4]}'
    }
    tokenize "$work/$name-cmake/tokenize" image "${folder%/*}"
    tokenize "$work/$name-cmake/tokenize" motion "${folder%/*}"
}

use_program() {
    local prefix=$1
    "$prefix/bin/tessera" --version
    for file in share/man/man1/tessera.1 share/bash-completion/completions/tessera; do
        [ -s "$prefix/$file" ] || { echo "run.sh: $file was not installed" >&2; exit 1; }
    done
    bash -n "$prefix/share/bash-completion/completions/tessera"
}

cmake --install "$build" --prefix "$work/static" >/dev/null
use "$work/static" static
use_program "$work/static"

cmake -G Ninja -S "$source" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DTESSERA_TESTS=OFF >/dev/null
cmake --build "$work/build" -j "$(nproc)" >"$work/log" || { tail -n 40 "$work/log"; exit 1; }
cmake --install "$work/build" --prefix "$work/shared" >/dev/null
use "$work/shared" shared
use_program "$work/shared"
echo "Install: static and shared, with pkg-config and with find_package."
